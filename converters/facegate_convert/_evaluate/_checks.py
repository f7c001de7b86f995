"""Requirements: what a result must hold for the answer to be yes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FORM = re.compile(r"([a-z0-9-]+)(?:@([0-9.eE+-]+))?\s*(<=|>=)\s*([0-9.eE+-]+)")
_HINT = "write e.g. fnmr@1e-3<=0.02, eer<=0.01, accuracy>=0.99, group-ratio<=1.25, apcer<=0.05, failure-to-enroll<=0.01"

Found = tuple[float, float, float, str]
"""(value, low, high, note)"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement.

    Attributes:
        text: as it was written.
        figure: its name, e.g. "fnmr".
        at: what the figure is taken at, e.g. the FMR; None if it needs nothing.
        most: whether the figure may be at most `limit`, else at least.
        limit: the value that must not be passed.
    """

    text: str
    figure: str
    at: float | None
    most: bool
    limit: float


def parse_requirement(text: str) -> Requirement:
    """Read a requirement, e.g. `fnmr@1e-3<=0.02`.

    Raises:
        EvaluationError: it is none, or names a figure that does not exist.
    """
    found = _FORM.fullmatch(text.strip())
    numbers = _numbers(found[2], found[4]) if found is not None else None
    if found is None or numbers is None:
        raise EvaluationError(f"'{text}' is no requirement", hint=_HINT)
    at, limit = numbers
    if found[1] not in _FIGURES:
        raise EvaluationError(
            f"'{text}': there is no figure '{found[1]}'; there are {', '.join(sorted(_FIGURES))}", hint=_HINT
        )
    needs = found[1] in _AT
    if needs != (at is not None):
        raise EvaluationError(
            f"'{text}': {found[1]} {'is taken at an error rate, e.g. ' + found[1] + '@1e-3' if needs else 'has no @'}",
            hint=_HINT,
        )
    return Requirement(text.strip(), found[1], at, found[3] == "<=", limit)


def _numbers(at: str | None, limit: str) -> tuple[float | None, float] | None:
    try:
        found = float(at) if at else None, float(limit)
    except ValueError:
        return None
    return None if found[0] is not None and not 0 < found[0] < 1 else found


def targets_of(requirements: tuple[Requirement, ...], figure: str) -> tuple[float, ...]:
    """The error rates that requirements of a figure are taken at: what must be measured to answer them."""
    return tuple(r.at for r in requirements if r.figure == figure and r.at is not None)


def check(requirement: Requirement, result: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Whether a result meets a requirement; one that cannot be answered from the data is not met.

    Args:
        requirement: to be met.
        result: the evaluation's sections.
        strict: take the end of the interval that is worse, not the measured value.
    """
    found = _FIGURES[requirement.figure](result, requirement.at)
    if isinstance(found, str):
        return {"require": requirement.text, "measured": None, "met": False, "strict": strict, "note": found}
    value, low, high, note = found
    taken = (high if requirement.most else low) if strict else value
    if math.isinf(value):
        note = note or "the best group has no errors: every other is infinitely worse"
    met = taken <= requirement.limit if requirement.most else taken >= requirement.limit
    return {
        "require": requirement.text,
        "measured": value,
        "low": low,
        "high": high,
        "met": bool(met) and not note,
        "strict": strict,
        "note": note,
    }


def _rate(rate: Mapping[str, Any], note: str = "") -> Found:
    return float(rate["value"]), float(rate["low"]), float(rate["high"]), note


def _missing(section: Any) -> str:
    return section.get("not_run", "") if isinstance(section, dict) else ""


def _at_fmr(name: str) -> Callable[[Mapping[str, Any], float | None], Found | str]:
    def find(result: Mapping[str, Any], at: float | None) -> Found | str:
        point = next((p for p in result["operating_points"] if p["fmr"] == at), None)
        if point is None:
            return f"FMR {at:g} was not measured"
        return _rate(point[name], "" if point["carried"] else point["note"])

    return find


def _fnir(result: Mapping[str, Any], at: float | None) -> Found | str:
    section = result["open_set"]
    point = next((p for p in section.get("points", ()) if p["fpir"] == at), None)
    if point is None:
        return _missing(section) or f"FPIR {at:g} was not measured"
    return _rate(point["fnir"], "" if point["carried"] else point["note"])


def _equal(result: Mapping[str, Any], _at: float | None) -> Found | str:
    found = result["summary"]["eer"]
    return float(found["value"]), float(found.get("low", 0.0)), float(found.get("high", 1.0)), ""


def _accuracy(result: Mapping[str, Any], _at: float | None) -> Found | str:
    section = result["folds"]
    if "mean" not in section:
        return _missing(section)
    from facegate_convert._metrics import clopper_pearson  # noqa: PLC0415 - where it is used

    mean, error = float(section["mean"]), student(len(section["folds"]) - 1) * float(section["standard_error"])
    # Folds that are all alike, without an error each, prove no more than their pairs do.
    pairs = sum(fold["pairs"] for fold in section["folds"])
    wrong = sum(round((1 - fold["accuracy"]) * fold["pairs"]) for fold in section["folds"])
    low, high = clopper_pearson(wrong, pairs)
    return mean, max(min(mean - error, 1 - high), 0.0), min(max(mean + error, 1 - low), 1.0), ""


def student(freedom: int) -> float:
    """Student's t for 95 % on both sides: ten folds are few, and 1.96 standard errors would claim too much.

    Within 0.2 % of the exact value from 3 degrees of freedom on (expansion in their inverse, Abramowitz & Stegun
    26.7.5); 1 and 2 are given.
    """
    if freedom < 3:  # noqa: PLR2004 - where the expansion is good enough
        return {1: 12.7062, 2: 4.3027}.get(freedom, math.inf)
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, start=1)))


def _rank1(result: Mapping[str, Any], _at: float | None) -> Found | str:
    section = result["open_set"]
    return _rate(section["rank1"]) if "rank1" in section else _missing(section)


def _ratio(kinds: tuple[str, ...]) -> Callable[[Mapping[str, Any], float | None], Found | str]:
    def find(result: Mapping[str, Any], _at: float | None) -> Found | str:
        found = [
            s["ratios"][k] for s in result["groups"] for k in kinds if "ratios" in s and s["ratios"][k] is not None
        ]
        if not found:
            return "no attributes were given, or none with two groups"
        # A ratio without an upper end is written as None: the best group has no errors.
        infinite = float("inf")
        rows = [(r["value"], r["low"], r["high"]) for r in found]
        values, lows, highs = (
            [infinite if v is None else float(v) for v in column] for column in zip(*rows, strict=True)
        )
        return max(values), max(lows), max(highs), ""

    return find


def _failure(name: str) -> Callable[[Mapping[str, Any], float | None], Found | str]:
    return lambda result, _at: _rate(result["failures"][name])


def _liveness(name: str) -> Callable[[Mapping[str, Any], float | None], Found | str]:
    def find(result: Mapping[str, Any], _at: float | None) -> Found | str:
        section = result["liveness"]
        return _rate(section[name]) if name in section else _missing(section)

    return find


_FIGURES: dict[str, Callable[[Mapping[str, Any], float | None], Found | str]] = {
    "fnmr": _at_fmr("fnmr"),
    "fnmr-with-failures": _at_fmr("fnmr_with_failures"),
    "fnir": _fnir,
    "eer": _equal,
    "accuracy": _accuracy,
    "rank1": _rank1,
    "group-ratio": _ratio(("fmr", "fnmr")),
    "group-fmr-ratio": _ratio(("fmr",)),
    "group-fnmr-ratio": _ratio(("fnmr",)),
    "failure-to-detect": _failure("detect"),
    "failure-to-enroll": _failure("enroll"),
    "apcer": _liveness("apcer"),
    "bpcer": _liveness("bpcer"),
}
_AT = frozenset(("fnmr", "fnmr-with-failures", "fnir"))
