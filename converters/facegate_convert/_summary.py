"""The report of a conversion, put together from what its steps found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_convert import _anatomy, _families, _gates, _statements
from facegate_convert._quantize import MIN_CALIBRATION_INPUTS
from facegate_convert._report import NOT_MEASURED, Report

if TYPE_CHECKING:
    from facegate_convert._anatomy import Anatomy
    from facegate_convert._gates import Findings, Gate, Labels
    from facegate_convert._quantize import Search
    from facegate_convert._samples import Samples
    from facegate_convert._source import Source
    from facegate_edge._manifest import ModelInfo
    from facegate_edge._targets import Target

CALIBRATED = ("int8", "mixed")  # precisions whose activations have fixed ranges, which photographs must show


class Found(NamedTuple):
    """What the steps of a conversion found.

    Attributes:
        info: the manifest entry of the model.
        chosen: how it was made.
        gates: their outcomes, after the caller's word.
        findings: what the gates of decisions saw.
        float32, model: what both forms are made of.
        parity_float: of the float32 model.
        latency: medians by threads and precision.
        operators: where the time goes.
        labels: what is known of other photographs.
    """

    info: ModelInfo
    chosen: Search
    gates: tuple[Gate, ...]
    findings: Findings
    float32: Anatomy
    model: Anatomy
    parity_float: dict[str, dict[str, float]]
    latency: dict[str, dict[str, float]]
    operators: Any
    labels: Labels


def summarize(
    source: Source, wanted: Target, samples: Samples, float32: bytes, found: Found, seconds: dict[str, float]
) -> Report:
    """The report.

    Args:
        source: what was converted.
        wanted: the target.
        samples: what it was calibrated and compared on.
        float32: the float32 model.
        found: what the steps found.
        seconds: how long they took.
    """
    match, info, crops, chosen = source.match, found.info, samples.crops, found.chosen
    calibrated = crops is not None and chosen.chosen.recipe.calibrated
    slopes = any(node.op in ("PRelu", "LeakyRelu") for node in source.graph.nodes)
    nothing = {"not_run": "for another kind of model"}
    sections: dict[str, Any] = {name: dict(nothing) for name in NOT_MEASURED}
    sections |= found.findings.sections
    return Report(
        source=source.path.name,
        source_sha256=source.sha256,
        role=match.role,
        family=match.family,
        asked=source.options.precision,
        precision=info.precision,
        via=source.options.via,
        target={"name": wanted.name, "title": wanted.title},
        input=f"{match.sketch.width}x{match.sketch.height} {match.preprocessing.color}, "
        f"{_families.describe(match.preprocessing)}",
        assumptions=match.assumptions,
        warnings=_warnings(samples, found),
        inputs=samples.described,
        calibration=info.provenance.calibration,
        calibration_method=_said(chosen.chosen.recipe.describe(), slopes).split(", ", 1)[-1] if calibrated else "",
        calibration_images=crops.images if crops else 0,
        calibration_inputs=len(samples.fit) if calibrated else 0,
        unreadable=crops.unreadable if crops else 0,
        without_face=crops.without_face if crops else 0,
        parity_float=found.parity_float,
        parity=info.provenance.parity,
        size_source=source.size,
        size_float=len(float32),
        size=info.size,
        partitions=found.model.partitions,
        latency=found.latency,
        why=_said(chosen.why, slopes),
        recipes=_recipes(chosen, slopes),
        graph={"before": _anatomy.of_graph(source.raw).to_dict(), "after": found.model.to_dict()},
        layers=[layer.to_dict() for layer in chosen.chosen.layers],
        gates=[gate.to_dict() for gate in found.gates],
        operators=found.operators,
        allowances=list(info.provenance.allowances),
        refused=_gates.refusal(found.gates),
        seconds=seconds,
        **sections,
    )


def _recipes(chosen: Search, slopes: bool) -> list[dict[str, Any]]:
    return [
        {
            "text": _said(candidate.recipe.describe(), slopes),
            "precision": candidate.recipe.precision,
            "error": _number(candidate.error),
            "size": candidate.size,
            "partitions": candidate.partitions,
            "loss": _number(candidate.loss),
            "accepted": candidate.accepted,
            "chosen": candidate is chosen.chosen,
            "why": candidate.note,
        }
        for candidate in chosen.tried
    ]


def _number(value: float | None) -> float | None:
    """A figure for JSON, which knows no NaN: what was not measured is None."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _said(text: str, slopes: bool) -> str:
    """A recipe says what becomes of PReLU; nobody asks where there is none."""
    return text if slopes else text.replace(", PReLU left float", "").replace(", PReLU rewritten", "")


def _warnings(samples: Samples, given: Found) -> tuple[str, ...]:
    info, gates, crops, fitted = given.info, given.gates, samples.crops, len(samples.fit)
    found = []
    if info.precision in CALIBRATED and fitted < MIN_CALIBRATION_INPUTS:
        found.append(f"calibrated on {fitted} inputs only; use at least {MIN_CALIBRATION_INPUTS}, better some hundreds")
    shared = {name.split("#")[0] for name in samples.fit.samples} & given.labels.photographs
    if info.precision in CALIBRATED and shared:
        found.append(
            f"{len(shared)} of the {len(given.labels.photographs)} labelled photographs were calibrated on, too: "
            "the gates that they are for see less than they would on others"
        )
    if crops and crops.unreadable:
        found.append(f"{crops.unreadable} files of the calibration folder are no images that can be read")
    if crops and crops.without_face:
        found.append(f"no usable face was found in {crops.without_face} photographs of the calibration folder")
    if crops and crops.left_out:
        found.append(f"{crops.left_out} photographs were left out: the others fill the memory that inputs may take")
    found += [f"gate {gate.describe()}" for gate in gates if gate.status == "unsure"]
    found += [f"gate {gate.describe()}; accepted with {gate.option}" for gate in gates if gate.status == "allowed"]
    if info.arithmetic == "float16":
        found.append("calculated in float16 on the device, which no gate of this machine has seen (docs/targets.md)")
    if info.provenance.demonstration:
        found.append("for demonstrations only: every decision made with a bundle that holds this model is marked so")
    if info.provenance.licence == _statements.UNKNOWN:
        found.append("the licence of the weights is unknown (--licence, --commercial-use)")
    return tuple(found)
