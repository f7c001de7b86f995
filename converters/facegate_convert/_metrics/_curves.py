"""Curves over all thresholds, and single figures that summarise them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE, clopper_pearson_many

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_convert._metrics._scores import Scores

    Floats = npt.NDArray[np.float64]

POINTS = 200
_MAX_INT = 2**63


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Error rates over thresholds, by ascending threshold: FMR falls, FNMR rises.

    Attributes:
        threshold, fmr, fnmr: float64[k].
        fmr_low, fmr_high, fnmr_low, fnmr_high: float64[k], Clopper-Pearson intervals, comparisons taken as
            independent.
        confidence: of the intervals.
    """

    threshold: Floats
    fmr: Floats
    fnmr: Floats
    fmr_low: Floats
    fmr_high: Floats
    fnmr_low: Floats
    fnmr_high: Floats
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values: lists of float, and the confidence."""
        return {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in ((key, getattr(self, key)) for key in self.__slots__)
        }


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    """Where FMR and FNMR are equal.

    Attributes:
        value: the rate, on the straight line between the two thresholds where the order of FMR and FNMR changes.
        threshold: the highest score at which FMR >= FNMR.
        fmr, fnmr: at that threshold.
    """

    value: float
    threshold: float
    fmr: float
    fnmr: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


def thresholds_of(scores: Scores) -> Floats:
    """Every threshold that matters: float64[k], all distinct scores ascending, and one above them all."""
    values = np.union1d(scores.genuine.values, scores.impostor.values)
    return np.append(values, np.nextafter(values[-1], np.inf))


def det(scores: Scores, points: int = POINTS, *, confidence: float = CONFIDENCE) -> Curve:
    """The detection error trade-off: at most `points` thresholds, evenly spread over log FMR and log FNMR.

    The points are taken from all thresholds, first and last included, never interpolated.

    Raises:
        ValueError: if fewer than two points are asked for.
    """
    if points < 2:  # noqa: PLR2004
        raise ValueError(f"a curve has at least two points, not {points}")
    thresholds = thresholds_of(scores)
    false_match = scores.impostor.at_least(thresholds)
    false_non_match = scores.genuine.lower(thresholds)
    if len(thresholds) > points:
        # Distance along the curve: a step in log FMR or in log FNMR counts alike.
        way = np.log(false_non_match + 0.5) - np.log(false_match + 0.5)
        steps = np.linspace(way[0], way[-1], points)
        chosen = np.unique(np.clip(np.searchsorted(way, steps), 0, len(way) - 1))
        thresholds, false_match, false_non_match = thresholds[chosen], false_match[chosen], false_non_match[chosen]
    impostor, genuine = scores.impostor.total, scores.genuine.total
    return Curve(
        thresholds,
        false_match / impostor,
        false_non_match / genuine,
        *clopper_pearson_many(false_match, impostor, confidence),
        *clopper_pearson_many(false_non_match, genuine, confidence),
        confidence,
    )


def roc(scores: Scores, points: int | None = None) -> tuple[Floats, Floats, Floats]:
    """The receiver operating characteristic, from (0, 0) to (1, 1): (false match, true match, threshold), float64[k].

    Without `points` it is complete: every distinct score, descending, after one above them all.
    """
    thresholds = thresholds_of(scores) if points is None else det(scores, points).threshold
    thresholds = thresholds[::-1]
    return (
        scores.impostor.at_least(thresholds) / scores.impostor.total,
        scores.genuine.at_least(thresholds) / scores.genuine.total,
        thresholds,
    )


def eer(scores: Scores) -> EqualErrorRate:
    """The equal error rate, on the ROC drawn with straight lines (ties are crossed along the line)."""
    thresholds = thresholds_of(scores)
    low, high = 0, len(thresholds) - 1  # at `low` FMR >= FNMR, at `high` FMR < FNMR
    while high - low > 1:
        middle = (low + high) // 2
        fmr, fnmr = _rates(scores, thresholds[middle])
        low, high = (middle, high) if fmr >= fnmr else (low, middle)
    fmr, fnmr = _rates(scores, thresholds[low])
    above_fmr, above_fnmr = _rates(scores, thresholds[high])
    return EqualErrorRate(cross(above_fmr, above_fnmr, fmr, fnmr), float(thresholds[low]), fmr, fnmr)


def cross(above_fmr: float, above_fnmr: float, fmr: float, fnmr: float) -> float:
    """The FMR where the line between two operating points meets FMR = FNMR; the first has FMR < FNMR."""
    before, after = above_fnmr - above_fmr, fmr - fnmr
    return above_fmr + (fmr - above_fmr) * before / (before + after)


def _rates(scores: Scores, threshold: float) -> tuple[float, float]:
    return (
        int(scores.impostor.at_least(threshold)) / scores.impostor.total,
        int(scores.genuine.lower(threshold)) / scores.genuine.total,
    )


def auc(scores: Scores) -> float:
    """The chance that a genuine score is higher than an impostor score, ties counted half (area under the ROC)."""
    genuine, impostor = scores.genuine, scores.impostor
    lower = impostor.lower(genuine.values)
    lower_or_equal = impostor.below[np.searchsorted(impostor.values, genuine.values, "right")]
    whole = 2 * genuine.total * impostor.total
    wins = lower + lower_or_equal
    # Whole numbers: no rounding, whatever the size.
    twice = np.dot(genuine.counts, wins) if whole < _MAX_INT else np.dot(genuine.counts.astype(object), wins)
    return int(twice) / whole


def d_prime(scores: Scores) -> float:
    """How far apart the two kinds lie: difference of means over the root mean variance (n - 1 in the denominator).

    Infinite if neither kind varies; not a number if a kind has one score only.
    """
    genuine, impostor = scores.genuine, scores.impostor
    if min(genuine.total, impostor.total) < 2:  # noqa: PLR2004 - one score has no variance
        return math.nan
    spread = math.sqrt((genuine.variance() + impostor.variance()) / 2)
    apart = genuine.mean() - impostor.mean()
    return apart / spread if spread else math.copysign(math.inf, apart) if apart else math.nan
