"""Two results side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._evaluation import reading

if TYPE_CHECKING:
    from facegate_convert._evaluate._evaluation import Evaluation

Figure = dict[str, Any]


@reading()
def compare(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """The figures that both results may have, and whether they are of the same comparisons.

    Returns:
        JSON values: `same_dataset`, `figures` (each {"figure", "first", "second", "difference"}, a side is {"value",
        "low", "high"} or None), `notes`.

    Raises:
        ResultError: one of them lacks what a result holds.
    """
    sides = _figures(first), _figures(second)
    rows = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(name) for side in sides)
        both = one is not None and other is not None
        difference = other["value"] - one["value"] if both and one and other else None
        rows.append({"figure": name, "first": one, "second": other, "difference": difference})
    same = first.dataset["fingerprint"] == second.dataset["fingerprint"]
    notes = [
        f"the results differ in {what}: {first.dataset[what]} and {second.dataset[what]}"
        for what in ("multi_face", "quality_gate")
        if first.dataset[what] != second.dataset[what]
    ]
    if not same:
        notes.append("the two results are of different photographs or comparisons: their difference says little")
    if same:
        notes.append("intervals that overlap do not say that there is no difference: both saw the same photographs")
    return {"same_dataset": same, "figures": rows, "notes": notes}


def _figures(result: Evaluation) -> dict[str, Figure]:
    found = {
        "failure to detect": _of(result.failures["detect"]),
        "failure to enroll": _of(result.failures["enroll"]),
        "equal error rate": _of(result.summary["eer"]),
    }
    for point in (p for p in result.operating_points if p["carried"]):
        found[f"FNMR at FMR {point['fmr']:g}"] = _of(point["fnmr"])
        found[f"with failures, at FMR {point['fmr']:g}"] = _of(point["fnmr_with_failures"])
    if "mean" in result.folds:
        found["accuracy over folds"] = _of({"value": result.folds["mean"]})
    if "rank1" in result.open_set:
        found["rank 1"] = _of(result.open_set["rank1"])
    for point in (p for p in result.open_set.get("points", ()) if p["carried"]):
        found[f"FNIR at FPIR {point['fpir']:g}"] = _of(point["fnir"])
    for group in result.groups:
        known = {kind: ratio for kind, ratio in group["ratios"].items() if ratio and ratio["value"] is not None}
        for kind, ratio in known.items():
            found[f"{kind.upper()} worst over best by {group['column']}"] = _of(ratio)
    if "apcer" in result.liveness:
        found["APCER of the worst species"] = _of(result.liveness["apcer"])
        found["BPCER"] = _of(result.liveness["bpcer"])
    return found


def _of(figure: Figure) -> Figure:
    return {"value": figure["value"], "low": figure.get("low"), "high": figure.get("high")}
