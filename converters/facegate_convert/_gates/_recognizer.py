"""Does a recogniser decide as its source does?

Two kinds of evidence. Unlabelled faces show how far embeddings drift, and whether pictures of one face that the source
takes for one face are still taken for one. Labelled pairs show error rates: the FNMR of both models at the same FMR,
each at a threshold of its own, for a threshold belongs to a bundle and not to a model.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_convert._gates import _runs
from facegate_convert._gates._findings import Findings, histogram, scatter, worst
from facegate_convert._gates._gate import Gate, level_gate, not_run, paired_gate, rate_gate
from facegate_convert._gates._limits import LIMITS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_convert._gates._limits import Limits
    from facegate_convert._samples import Inputs, LabeledPairs
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import ModelInfo

    Array = npt.NDArray[np.float32]
    Values = npt.NDArray[np.float64]

FMRS = (1e-2, 1e-3)
_ACCEPTED = 1e-2  # share of pairs of different photographs that the threshold of `agreement` accepts, or one of them
_MIN_STRANGERS = 30
_ALTERED = 32  # faces that are altered
_MAX_STRANGERS = 20_000
_POINTS = 100  # of a curve


class Reference(NamedTuple):
    """What the source says of the faces of an `Evidence`: computed once, for all candidates."""

    held_out: Array
    altered: Array
    labeled: Array


class Evidence(NamedTuple):
    """Faces to judge a recogniser on.

    Attributes:
        faces: aligned faces of unknown people.
        altered: the first of them, altered: `copies` for each, one kind after the other.
        of: for each altered face, the place of the face that it shows.
        strangers: pairs of faces from different photographs.
        labeled: faces of known people, None if there are none.
        synthetic: the faces are no faces: only arithmetic can be judged.
    """

    faces: Inputs
    altered: tuple[Array, ...]
    of: tuple[int, ...]
    strangers: tuple[tuple[int, int], ...]
    labeled: LabeledPairs | None
    synthetic: bool


def evidence(faces: Inputs, info: ModelInfo, labeled: LabeledPairs | None, *, synthetic: bool) -> Evidence:
    """Make the evidence of what there is.

    Args:
        faces: held back from calibration.
        info: of the float32 model.
        labeled: pairs of known people.
        synthetic: `faces` are synthetic images.
    """
    few = faces.arrays[:_ALTERED]
    copies = (
        [] if synthetic else [(p, a) for kind in _runs.altered(few, info.input).values() for p, a in enumerate(kind)]
    )
    photographs = [sample.split("#")[0] for sample in faces.samples]
    pairs = [(a, b) for a, b in itertools.combinations(range(len(faces)), 2) if photographs[a] != photographs[b]]
    step = max(1, -(-len(pairs) // _MAX_STRANGERS))
    return Evidence(
        faces, tuple(a for _, a in copies), tuple(p for p, _ in copies), tuple(pairs[::step]), labeled, synthetic
    )


def reference(source: Engine, info: ModelInfo, given: Evidence) -> Reference:
    """Ask the source."""
    labeled = given.labeled.inputs.arrays if given.labeled else ()
    return Reference(
        *(_runs.embed(source, info, part).embeddings for part in (given.faces.arrays, given.altered, labeled))
    )


def judge(known: Reference, engine: Engine, info: ModelInfo, given: Evidence, limits: Limits = LIMITS) -> Findings:
    """Judge a converted recogniser.

    Args:
        known: what the source says of the evidence.
        engine: the model, compiled.
        info: its manifest entry.
        given: what to judge it on.
        limits: how far it may be from the source.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    held_out = _runs.embed(engine, info, given.faces.arrays)
    drift = _rows(known.held_out, held_out.embeddings)
    what = f"{len(drift)} {'synthetic images' if given.synthetic else 'faces'}"
    gates = [
        level_gate(
            "drift-p50",
            "cosine between embedding and source's embedding, median",
            float(np.percentile(drift, 50)),
            limits.drift_p50,
            unit="cosine",
            evidence=what,
            at_least=True,
            why="embeddings point elsewhere than the source's",
        ),
        level_gate(
            "drift-p1",
            "cosine between embedding and source's embedding, 1st percentile",
            float(np.percentile(drift, 1)),
            limits.drift_p1,
            unit="cosine",
            evidence=f"{what}{'' if len(drift) >= 100 else ': the smallest of so few'}",  # noqa: PLR2004
            at_least=True,
            why="embeddings of single faces point elsewhere than the source's",
        ),
    ]
    sections: dict[str, Any] = {"worst": worst(given.faces, drift.tolist(), "cosine to the source", lowest=True)}
    # The templates are what a device compares; the source's embeddings have never been templates.
    copies = _runs.embed(engine, info, given.altered)
    own = _Scores(known.held_out, known.altered, given), _Scores(held_out.templates, copies.templates, given)
    gates.append(_agreement(*own, given, limits))
    labeled = given.labeled
    if labeled is None or not labeled.genuine or not labeled.impostor:
        why = "no labelled photographs (--pairs, --images)"
        if labeled is not None:
            why = f"{len(labeled.genuine)} genuine and {len(labeled.impostor)} impostor comparisons are left"
        gates += [not_run(_fnmr_name(fmr), f"FNMR at FMR {fmr:g} against the source's", why) for fmr in FMRS]
        sections |= {"curves": {"not_run": why}, "operating_points": {"not_run": why}}
        sections |= _unlabeled(*own)
    else:
        templates = _runs.embed(engine, info, labeled.inputs.arrays).templates
        found, shown = _labeled(known.labeled, templates, labeled, limits)
        gates += found
        sections |= shown
    return Findings(tuple(gates), sections, loss=1 - float(drift.mean()))


class _Scores:
    """Similarities of unlabelled faces as one model sees them: each with its altered copies, and strangers."""

    def __init__(self, faces: npt.NDArray[Any], altered: npt.NDArray[Any], given: Evidence) -> None:
        import numpy as np  # noqa: PLC0415

        both = np.concatenate([faces, altered]) if len(altered) else faces
        selves = [(place, len(faces) + number) for number, place in enumerate(given.of)]
        self.selves = _runs.cosines(both, selves)
        self.strangers = _runs.cosines(both, given.strangers)

    @property
    def threshold(self) -> float:
        """What the share _ACCEPTED of the pairs of different photographs reaches, of a few pairs the highest."""
        import numpy as np  # noqa: PLC0415

        return float(np.quantile(self.strangers, 1 - _ACCEPTED))


def _agreement(source: _Scores, model: _Scores, given: Evidence, limits: Limits) -> Gate:
    name = "agreement"
    title = "pictures of one face, altered, that the source takes for one face and the model does not"
    if given.synthetic:
        return not_run(name, title, "no photographs (--calibration)")
    count = len(given.strangers)
    if count < _MIN_STRANGERS:
        why = f"{count} pairs of different photographs set no threshold: {_MIN_STRANGERS} are needed"
        return not_run(name, title, why)
    accepted = source.selves >= source.threshold
    lost = accepted & (model.selves < model.threshold)
    evidence = (
        f"{len(source.selves)} altered pictures of {min(len(given.faces), _ALTERED)} faces, at the thresholds that 1 % "
        f"of {len(given.strangers)} pairs of different photographs reach; who they show is not known, so that this is "
        "no error rate"
    )
    return rate_gate(
        name, title, int(lost.sum()), int(accepted.sum()), limits.agreement, what="decided otherwise", evidence=evidence
    )


def _unlabeled(source: _Scores, model: _Scores) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415

    if not len(source.selves) or not len(source.strangers):
        why = {"not_run": "no photographs (--calibration)"}
        return {"scores": why, "pairs": why}
    genuine = np.repeat([True, False], [len(source.selves), len(source.strangers)])
    series = [np.concatenate([m.selves, m.strangers]) for m in (source, model)]
    return {
        "scores": {
            "what": "cosine similarity",
            "labels": {"genuine": "one face, altered", "impostor": "different photographs"},
            "evidence": f"{len(source.selves)} altered pictures, {len(source.strangers)} pairs of different "
            "photographs; who they show is not known",
            "source": histogram(source.selves, source.strangers, -0.5, 1.0),
            "model": histogram(model.selves, model.strangers, -0.5, 1.0),
        },
        "pairs": scatter(series[0], series[1], genuine),
    }


def _fnmr_name(fmr: float) -> str:
    return f"fnmr@{fmr:.0e}".replace("e-0", "e-")


def _labeled(
    source: Array, templates: npt.NDArray[np.int8], labeled: LabeledPairs, limits: Limits
) -> tuple[list[Gate], dict[str, Any]]:
    import numpy as np  # noqa: PLC0415

    from facegate_convert._metrics import Scores, det, fnmr_at_fmr  # noqa: PLC0415

    counts = f"{len(labeled.genuine)} genuine and {len(labeled.impostor)} impostor comparisons"
    genuine = [_runs.cosines(vectors, labeled.genuine) for vectors in (source, templates)]
    impostor = [_runs.cosines(vectors, labeled.impostor) for vectors in (source, templates)]
    scores = [Scores(g, i) for g, i in zip(genuine, impostor, strict=True)]
    gates: list[Gate] = []
    points: tuple[list[Any], list[Any]] = ([], [])
    for fmr in FMRS:
        title = f"FNMR at FMR {fmr:g} against the source's, on the same pairs"
        figures = [fnmr_at_fmr(s, fmr) for s in scores]
        for kept, figure in zip(points, figures, strict=True):
            kept.append(figure.to_dict())
        if len(labeled.impostor) * fmr < 1:
            gates.append(
                not_run(_fnmr_name(fmr), title, f"{counts} say nothing about an FMR of {fmr:g}: {3 / fmr:.0f} show it")
            )
            continue
        accepted = [g >= f.threshold for g, f in zip(genuine, figures, strict=True)]
        note = "" if figures[0].carried else f"; {figures[0].note}"
        gates.append(
            paired_gate(
                _fnmr_name(fmr),
                title,
                int((accepted[0] & ~accepted[1]).sum()),
                int((~accepted[0] & accepted[1]).sum()),
                len(labeled.genuine),
                limits.fnmr,
                what="genuine pairs lost",
                evidence=f"{counts}, each model at its own threshold{note}",
            )
        )
    flags = np.repeat([True, False], [len(labeled.genuine), len(labeled.impostor)])
    series = [np.concatenate([g, i]) for g, i in zip(genuine, impostor, strict=True)]
    sections: dict[str, Any] = {
        "scores": {
            "what": "cosine similarity",
            "labels": {"genuine": "the same person", "impostor": "two people"},
            "evidence": counts,
            "source": histogram(genuine[0], impostor[0], -0.5, 1.0),
            "model": histogram(genuine[1], impostor[1], -0.5, 1.0),
        },
        "pairs": scatter(series[0], series[1], flags),
        "curves": {name: det(s, _POINTS).to_dict() for name, s in zip(("source", "model"), scores, strict=True)},
        "operating_points": {"source": points[0], "model": points[1]},
    }
    return gates, sections


def _rows(a: Array, b: Array) -> Values:
    """The cosine of each row of `a` with the same row of `b`."""
    import numpy as np  # noqa: PLC0415

    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    found: Values = (x * y).sum(axis=1) / np.where(norms > 0, norms, 1)
    return found
