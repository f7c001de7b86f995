"""Scores of comparisons: the distinct values and how often each was seen.

Every figure of this package follows from these counts. A score is a similarity: the higher, the more alike; a
comparison is accepted when score >= threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]

STEP = 1e-6  # of ScoreCounter
_PER_UNIT = 1_000_000
_CHUNK = 1 << 20
_NEAR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scores of one kind.

    Attributes:
        values: float64[k], the distinct scores, ascending.
        counts: int64[k], how often each was seen, > 0.
        below: int64[k + 1], how many scores are lower than values[i]; the last is the total.
    """

    values: Floats
    counts: Counts
    below: Counts

    @classmethod
    def of(cls, scores: npt.ArrayLike) -> Sample:
        """A sample of float[n] scores in any order.

        Raises:
            ValueError: if a score is not a number.
        """
        array = np.asarray(scores, np.float64).ravel()
        if not np.isfinite(array).all():
            raise ValueError("a score is not a finite number")
        return cls.counted(*np.unique(array, return_counts=True))

    @classmethod
    def counted(cls, values: Floats, counts: npt.NDArray[np.integer]) -> Sample:
        """A sample of ascending, distinct values and their counts, all > 0."""
        below = np.zeros(len(values) + 1, np.int64)
        np.cumsum(counts, out=below[1:])
        return cls(values, counts.astype(np.int64, copy=False), below)

    @property
    def total(self) -> int:
        """How many scores there are."""
        return int(self.below[-1])

    def lower(self, threshold: npt.ArrayLike) -> Counts:
        """How many scores are lower than each threshold; int64 of the thresholds' shape."""
        found: Counts = self.below[np.searchsorted(self.values, threshold, "left")]
        return found

    def at_least(self, threshold: npt.ArrayLike) -> Counts:
        """How many scores are at or above each threshold; int64 of the thresholds' shape."""
        found: Counts = self.below[-1] - self.lower(threshold)
        return found

    def mean(self) -> float:
        """The mean score."""
        return float(np.dot(self.values, self.counts) / self.total)

    def variance(self) -> float:
        """The variance of the scores (n - 1 in the denominator)."""
        return float(np.dot((self.values - self.mean()) ** 2, self.counts) / (self.total - 1))

    def quantile(self, share: float) -> float:
        """The lowest score that at least `share` (0..1) of the scores do not exceed."""
        rank = min(max(int(np.ceil(share * self.total - 1e-9)), 1), self.total)
        return float(self.values[np.searchsorted(self.below[1:], rank, "left")])

    def histogram(self, edges: npt.ArrayLike) -> Counts:
        """How many scores are in edges[i] <= score < edges[i + 1]; the last bin includes its upper edge.

        Args:
            edges: float64[n + 1], ascending.

        Returns:
            int64[n].
        """
        borders = np.asarray(edges, np.float64)
        lower = self.lower(borders)
        lower[-1] = self.below[np.searchsorted(self.values, borders[-1], "right")]
        return np.diff(lower)


class Scores:
    """Scores of genuine comparisons (the same person) and of impostor comparisons (two people).

    Attributes:
        genuine, impostor: `Sample` each.
        resolution: 0 if the scores are exact; else what they were rounded down to (see `ScoreCounter`).
    """

    __slots__ = ("genuine", "impostor", "resolution")

    def __init__(self, genuine: npt.ArrayLike | Sample, impostor: npt.ArrayLike | Sample, resolution: float = 0.0) -> None:
        """Take float[n] and float[m] scores in any order, or samples.

        Raises:
            ValueError: if a kind is empty or a score is not a finite number.
        """
        self.genuine = genuine if isinstance(genuine, Sample) else Sample.of(genuine)
        self.impostor = impostor if isinstance(impostor, Sample) else Sample.of(impostor)
        self.resolution = resolution
        if not self.genuine.total or not self.impostor.total:
            raise ValueError(
                f"{self.genuine.total} genuine and {self.impostor.total} impostor scores: both kinds are needed"
            )


class ScoreCounter:
    """Counts scores in bounded memory: 48 MB, however many comparisons there are.

    Each score is rounded down to six decimals, and everything is exact for the scores so rounded. So at a threshold of
    at most six decimals (a bundle's have four) every count is that of the scores themselves. Scores below -1 or above
    1 count as -1 and 1: cosine similarities leave that range only by rounding.
    """

    def __init__(self) -> None:
        self._bins = np.zeros((2, 2 * _PER_UNIT + 1), np.int64)

    def add(self, *, genuine: npt.ArrayLike = (), impostor: npt.ArrayLike = ()) -> None:
        """Count float[n] scores of each kind, in any order and any number of calls.

        Raises:
            ValueError: if a score is not a number.
        """
        for bins, scores in zip(self._bins, (genuine, impostor), strict=True):
            array = np.asarray(scores).ravel()
            for start in range(0, array.size, _CHUNK):
                _count(bins, array[start : start + _CHUNK])

    def merge(self, other: ScoreCounter) -> None:
        """Add what another counter counted, perhaps in another process."""
        self._bins += other._bins

    def scores(self) -> Scores:
        """What was counted so far.

        Raises:
            ValueError: if a kind is empty.
        """
        samples = []
        for bins in self._bins:
            seen = np.flatnonzero(bins)
            samples.append(Sample.counted((seen - _PER_UNIT) / _PER_UNIT, bins[seen]))
        return Scores(samples[0], samples[1], STEP)


def _count(bins: Counts, scores: npt.NDArray[np.floating]) -> None:
    scaled = np.clip(scores.astype(np.float64), -1, 1) * _PER_UNIT
    if not np.isfinite(scaled).all():
        raise ValueError("a score is not a finite number")
    places = np.floor(scaled).astype(np.int64)
    # The product is rounded: beside a whole number the floor may be one off. There the edges themselves decide.
    near = np.flatnonzero(np.abs(scaled - np.rint(scaled)) < _NEAR)
    exact, rounded = np.clip(scores[near].astype(np.float64), -1, 1), np.rint(scaled[near]).astype(np.int64)
    places[near] = rounded - (exact < rounded / _PER_UNIT)
    np.add.at(bins, places + _PER_UNIT, 1)
