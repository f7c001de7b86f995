"""The protocol of Labeled Faces in the Wild: accuracy over folds, each with the threshold of the others."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._scores import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold, tested at the threshold that is best on the others.

    Attributes:
        accuracy: right answers over pairs; a pair that could not be compared is a wrong answer.
        threshold: accept when score >= threshold.
        pairs, failed: of this fold; `failed` of the pairs could not be compared.
    """

    accuracy: float
    threshold: float
    pairs: int
    failed: int


@dataclass(frozen=True, slots=True)
class TenFold:
    """Accuracy over folds.

    Attributes:
        mean: of the folds' accuracies.
        std: their standard deviation (n - 1 in the denominator).
        standard_error: std / sqrt(folds), what LFW's tables show after the plus-minus sign.
        folds: by fold.
    """

    mean: float
    std: float
    standard_error: float
    folds: tuple[Fold, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


def ten_fold(
    genuine: Sequence[npt.ArrayLike], impostor: Sequence[npt.ArrayLike], *, failed: Sequence[int] | None = None
) -> TenFold:
    """LFW's protocol (Huang, Ramesh, Berg & Learned-Miller 2007), for any number of folds.

    For each fold the threshold is chosen that answers most pairs of all the other folds rightly, and the fold's
    accuracy is taken at it. Among thresholds that are equally good the middle one is taken.

    Args:
        genuine: scores of the same person by fold, float[n] each.
        impostor: scores of two people by fold, float[n] each.
        failed: by fold, pairs that could not be compared (a photograph without a usable face).

    Raises:
        ValueError: if there are fewer than two folds, a fold is empty, or the lists differ in length.
    """
    missing = [0] * len(genuine) if failed is None else [int(f) for f in failed]
    if not len(genuine) == len(impostor) == len(missing) or len(genuine) < 2:  # noqa: PLR2004
        raise ValueError(f"folds do not fit: {len(genuine)} genuine, {len(impostor)} impostor, {len(missing)} failed")
    same = [np.asarray(g, np.float64).ravel() for g in genuine]
    other = [np.asarray(i, np.float64).ravel() for i in impostor]
    folds = []
    for k in range(len(same)):
        threshold, _ = best_threshold(
            np.concatenate(same[:k] + same[k + 1 :]), np.concatenate(other[:k] + other[k + 1 :])
        )
        pairs = same[k].size + other[k].size + missing[k]
        if not pairs:
            raise ValueError(f"fold {k + 1} is empty")
        right = int((same[k] >= threshold).sum() + (other[k] < threshold).sum())
        folds.append(Fold(right / pairs, threshold, pairs, missing[k]))
    accuracies = np.array([f.accuracy for f in folds])
    std = float(accuracies.std(ddof=1))
    return TenFold(float(accuracies.mean()), std, std / math.sqrt(len(folds)), tuple(folds))


def best_threshold(genuine: npt.ArrayLike, impostor: npt.ArrayLike) -> tuple[float, float]:
    """(threshold, accuracy): the threshold that answers most pairs rightly, between two neighboring scores.

    Raises:
        ValueError: if there are no scores, or one is not a finite number.
    """
    same, other = Sample.of(genuine), Sample.of(impostor)
    values = np.union1d(same.values, other.values)
    if not values.size:
        raise ValueError("no scores to choose a threshold on")
    middles = (values[1:] + values[:-1]) / 2
    # Between two neighboring floats there is no middle: the upper one separates them.
    middles = np.where(middles > values[:-1], middles, values[1:])
    candidates = np.concatenate([[values[0]], middles, [np.nextafter(values[-1], np.inf)]])
    right = same.at_least(candidates) + other.lower(candidates)
    best = np.flatnonzero(right == right.max())
    chosen = best[len(best) // 2]
    return float(candidates[chosen]), int(right[chosen]) / (same.total + other.total)
