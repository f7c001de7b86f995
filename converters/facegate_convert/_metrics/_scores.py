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

DECIMALS = 6  # of ScoreCounter
_MOST_DECIMALS = 7
_CHUNK = 1 << 16  # what is computed on stays in the processor's cache
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

    def __init__(
        self, genuine: npt.ArrayLike | Sample, impostor: npt.ArrayLike | Sample, resolution: float = 0.0
    ) -> None:
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
    """Counts scores in bounded memory: 32 MB with six decimals, 320 kB with four, however many comparisons there are.

    Each score is rounded down to so many decimals, and everything is exact for the scores so rounded. So at a threshold
    of no more decimals (a bundle's have four) every count is that of the scores themselves. Scores below -1 or above 1
    count as -1 and 1: cosine similarities leave that range only by rounding.
    """

    def __init__(self, *, decimals: int = DECIMALS) -> None:
        """Start counting.

        Raises:
            ValueError: if `decimals` is not 1..7.
        """
        if not 1 <= decimals <= _MOST_DECIMALS:
            raise ValueError(f"{decimals} decimals")
        self._unit = 10**decimals
        self._bins = np.zeros((2, 2 * self._unit + 1), np.int64)

    def add(self, *, genuine: npt.ArrayLike = (), impostor: npt.ArrayLike = ()) -> None:
        """Count float[n] scores of each kind, in any order and any number of calls.

        Raises:
            ValueError: if a score is not a finite number; the scores of this call may be counted in part then.
        """
        for bins, scores in zip(self._bins, (genuine, impostor), strict=True):
            array = np.asarray(scores).ravel()
            for start in range(0, array.size, _CHUNK):
                self._count(bins, array[start : start + _CHUNK].astype(np.float64))

    @property
    def totals(self) -> tuple[int, int]:
        """How many genuine and impostor scores were counted."""
        genuine, impostor = self._bins.sum(axis=1)
        return int(genuine), int(impostor)

    def scores(self) -> Scores:
        """What was counted so far.

        Raises:
            ValueError: if a kind is empty.
        """
        samples = []
        for bins in self._bins:
            seen = np.flatnonzero(bins)
            samples.append(Sample.counted((seen - self._unit) / self._unit, bins[seen]))
        return Scores(samples[0], samples[1], 1 / self._unit)

    def _count(self, bins: Counts, scores: Floats) -> None:
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number")
        clipped = np.clip(scores, -1, 1)
        scaled = clipped * self._unit
        places = np.floor(scaled).astype(np.int64)
        # The product is rounded: beside a whole number the floor may be one off. There the edges themselves decide.
        whole = np.rint(scaled)
        near = np.flatnonzero(np.abs(scaled - whole) < _NEAR)
        edge = whole[near]
        places[near] = edge.astype(np.int64) - (clipped[near] < edge / self._unit)
        np.add.at(bins, places + self._unit, 1)
