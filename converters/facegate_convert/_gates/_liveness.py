"""Does a liveness model judge as its source does?

Photographs that a recogniser is calibrated on show live faces only, and a model that takes everything for live would
agree with its source on all of them. So the two sides are counted apart, altered pictures are judged as well, and
without attacks the gate of attacks says that it was not run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_convert._gates import _runs
from facegate_convert._gates._findings import Findings, histogram, scatter, worst
from facegate_convert._gates._gate import Gate, level_gate, not_run, paired_gate, rate_gate
from facegate_convert._gates._limits import LIMITS
from facegate_convert._samples import LIVE, Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._gates._limits import Limits
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import ModelInfo

    Values = npt.NDArray[np.float64]

THRESHOLD = 0.5  # of the live probability: a policy has limits of its own, this is where the larger side wins
_ALTERED = 32


class Evidence(NamedTuple):
    """Faces to judge a liveness model on.

    Attributes:
        faces: of which is not known what they are, and the first of them altered.
        labeled: live faces and attacks by folder, empty if there are none.
        synthetic: the faces are no faces.
    """

    faces: Inputs
    labeled: Mapping[str, Inputs]
    synthetic: bool


class Reference(NamedTuple):
    """The source's live probabilities."""

    faces: Values
    labeled: Mapping[str, Values]


def evidence(faces: Inputs, info: ModelInfo, labeled: Mapping[str, Inputs], *, synthetic: bool) -> Evidence:
    """Make the evidence of what there is."""
    if not synthetic:
        kinds = _runs.altered(faces.arrays[:_ALTERED], info.input).items()
        more = [(array, f"{faces.samples[p]} {kind}") for kind, arrays in kinds for p, array in enumerate(arrays)]
        faces = Inputs((*faces.arrays, *(a for a, _ in more)), (*faces.samples, *(name for _, name in more)))
    return Evidence(faces, labeled, synthetic)


def reference(source: Engine, info: ModelInfo, given: Evidence) -> Reference:
    """Ask the source."""
    labeled = {name: _runs.live(source, info, part.arrays) for name, part in given.labeled.items()}
    return Reference(_runs.live(source, info, given.faces.arrays), labeled)


def judge(known: Reference, engine: Engine, info: ModelInfo, given: Evidence, limits: Limits = LIMITS) -> Findings:
    """Judge a converted liveness model.

    Args:
        known: what the source says.
        engine: the model, compiled.
        info: its manifest entry.
        given: what to judge it on.
        limits: how far it may be from the source.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    found = _runs.live(engine, info, given.faces.arrays)
    labeled = {name: _runs.live(engine, info, part.arrays) for name, part in given.labeled.items()}
    source = np.concatenate([known.faces, *known.labeled.values()])
    model = np.concatenate([found, *labeled.values()])
    inputs = Inputs((), sum((part.samples for part in given.labeled.values()), given.faces.samples))
    change = np.abs(source - model)
    what = f"{len(source)} {'synthetic images' if given.synthetic else 'faces, altered ones among them'}"
    gates = [
        level_gate(
            "probability",
            "change of the live probability against the source's, 95th percentile",
            float(np.percentile(change, 95)),
            limits.probability,
            unit="",
            evidence=what,
            why="probabilities are not the source's",
        ),
        *_agreement(source, model, given, limits),
        *_error_rates(known, labeled, limits),
    ]
    sections: dict[str, Any] = {
        "liveness": _section(known, labeled, source, model),
        "worst": worst(inputs, change.tolist(), "change of the live probability"),
    }
    is_live = source >= THRESHOLD
    if labeled:
        names = np.concatenate([[LIVE if n == LIVE else "" for _ in v] for n, v in known.labeled.items()])
        values = [np.concatenate(list(part.values())) for part in (known.labeled, labeled)]
        is_live, labels = names == LIVE, {"genuine": "live faces", "impostor": "attacks"}
    else:
        values, labels = [source, model], {"genuine": "live to the source", "impostor": "attacks to the source"}
    sections["scores"] = {
        "what": "probability of a live face",
        "labels": labels,
        "evidence": what,
        "source": histogram(values[0][is_live], values[0][~is_live], 0.0, 1.0),
        "model": histogram(values[1][is_live], values[1][~is_live], 0.0, 1.0),
    }
    sections["pairs"] = scatter(values[0], values[1], is_live)
    return Findings(tuple(gates), sections, loss=float(change.mean()))


def _agreement(source: Values, model: Values, given: Evidence, limits: Limits) -> list[Gate]:
    """Both sides counted apart: on photographs of live faces alone, a model that says live to all would agree."""
    titles = {
        "agreement-live": "faces that the source takes for live and the model for attacks",
        "agreement-attack": "faces that the source takes for attacks and the model for live",
    }
    gates = []
    for (name, title), side in zip(titles.items(), (source >= THRESHOLD, source < THRESHOLD), strict=True):
        if given.synthetic:
            gates.append(not_run(name, title, "no photographs (--calibration)"))
            continue
        if not side.any():
            kind = "live faces" if name == "agreement-live" else "attacks"
            gates.append(not_run(name, title, f"among {len(side)} faces the source sees no {kind} (--attacks)"))
            continue
        other = (model >= THRESHOLD) != (source >= THRESHOLD)
        evidence = f"{int(side.sum())} of {len(side)} faces, altered ones among them"
        errors = int((other & side).sum())
        gates.append(
            rate_gate(name, title, errors, int(side.sum()), limits.judged, what="judged otherwise", evidence=evidence)
        )
    return gates


def _error_rates(known: Reference, labeled: Mapping[str, Values], limits: Limits) -> list[Gate]:
    """BPCER and the APCER of each species, of the model less those of the source, on the same faces."""
    titles = {LIVE: "live faces taken for attacks (BPCER), against the source's"}
    if not labeled:
        why = "no labelled attacks (--attacks)"
        apcer = "attacks taken for live faces (APCER), against the source's"
        return [not_run("bpcer", titles[LIVE], why), not_run("apcer", apcer, why)]
    gates = []
    for species, found in labeled.items():
        live = species == LIVE
        right = (known.labeled[species] >= THRESHOLD) == live
        still = (found >= THRESHOLD) == live
        title = titles.get(
            species, f"attacks of the species {species} taken for live faces (APCER), against the source's"
        )
        gates.append(
            paired_gate(
                "bpcer" if live else f"apcer-{_slug(species)}",
                title,
                int((right & ~still).sum()),
                int((~right & still).sum()),
                len(found),
                limits.error_rates,
                what="more judged wrong",
                evidence=f"{len(found)} {'live faces' if live else 'attacks'}",
            )
        )
    return gates


def _slug(species: str) -> str:
    """A folder's name as part of a gate's."""
    return re.sub(r"[^a-z0-9]+", "-", species.lower()).strip("-")[:40] or "attack"


def _section(known: Reference, labeled: Mapping[str, Values], source: Values, model: Values) -> dict[str, Any]:
    from facegate_convert._gates._gate import rate_of  # noqa: PLC0415
    from facegate_convert._metrics import liveness_at  # noqa: PLC0415

    other = int(((source >= THRESHOLD) != (model >= THRESHOLD)).sum())
    section: dict[str, Any] = {"threshold": THRESHOLD, "agreement": rate_of(other, len(source))}
    for name, values in (("source", known.labeled), ("model", labeled)):
        if not labeled:
            section[name] = {"not_run": "no labelled attacks (--attacks)"}
            continue
        figure = liveness_at(values[LIVE], {k: v for k, v in values.items() if k != LIVE}, THRESHOLD)
        section[name] = {
            "bpcer": figure.bpcer.to_dict(),
            "species": [{"name": s.name, "apcer": s.apcer.to_dict()} for s in figure.species],
            "worst": figure.worst,
        }
    return section
