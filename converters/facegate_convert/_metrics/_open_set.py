"""Identification in an open set: is this person enrolled, and who is it (words of ISO/IEC 19795-1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE, trials_for_precision, trials_needed
from facegate_convert._metrics._dependence import clustered_rate
from facegate_convert._metrics._rates import DECIMALS, Rate, rate, say, threshold_for
from facegate_convert._metrics._scores import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


class SearchCounter:
    """Counts searches of probes in a gallery; of each it keeps three numbers, whatever the size of the gallery.

    A probe whose person is in the gallery is mated, another is nonmated.
    """

    def __init__(self, gallery_subjects: npt.ArrayLike) -> None:
        """Take the subject number of each template in the gallery, int[n]; a person may have several.

        Raises:
            ValueError: if the gallery is empty.
        """
        subjects = np.asarray(gallery_subjects, np.int64).ravel()
        if not subjects.size:
            raise ValueError("the gallery is empty")
        self._order = np.argsort(subjects, kind="stable")
        self._people, self._starts = np.unique(subjects[self._order], return_index=True)
        self._mated: list[tuple[Floats, Ints, Ints]] = []
        self._nonmated: list[tuple[Floats, Ints]] = []
        self._failed: tuple[list[Ints], list[Ints]] = ([], [])

    def add(self, similarities: npt.ArrayLike, probe_subjects: npt.ArrayLike) -> None:
        """Count searches.

        Args:
            similarities: float[p, n], of each probe with each template of the gallery; a person's best counts.
            probe_subjects: int[p], whose the probes are.

        Raises:
            ValueError: if the shapes do not fit, or a similarity is not a finite number.
        """
        table, subjects = np.asarray(similarities), np.asarray(probe_subjects, np.int64).ravel()
        if table.shape != (subjects.size, self._order.size):
            raise ValueError(f"{table.shape} similarities for {subjects.size} probes and {self._order.size} templates")
        if not np.isfinite(table).all():
            raise ValueError("a similarity is not a finite number")
        if not subjects.size:
            return
        best = np.maximum.reduceat(table[:, self._order], self._starts, axis=1).astype(np.float64)
        place = np.minimum(np.searchsorted(self._people, subjects), len(self._people) - 1)
        mated = self._people[place] == subjects
        own = best[mated, place[mated]]
        # Somebody else who is as similar comes first: a tie is no success.
        rank = (best[mated] >= own[:, None]).sum(axis=1)
        self._mated.append((own, rank.astype(np.int64), subjects[mated]))
        self._nonmated.append((best[~mated].max(axis=1), subjects[~mated]))

    def fail(self, *, mated: npt.ArrayLike = (), nonmated: npt.ArrayLike = ()) -> None:
        """Count probes without a usable face: a mated one is a false negative, a nonmated one is no false positive.

        Args:
            mated: int[m], whose they are.
            nonmated: int[n], likewise.
        """
        for kept, subjects in zip(self._failed, (mated, nonmated), strict=True):
            kept.append(np.asarray(subjects, np.int64).ravel())

    def result(self) -> OpenSet:
        """What was counted so far."""
        nobody = np.zeros(0, np.int64)
        mate, rank, mate_of = (
            _joined(parts) for parts in zip((np.zeros(0), nobody, nobody), *self._mated, strict=True)
        )
        top, top_of = (_joined(parts) for parts in zip((np.zeros(0), nobody), *self._nonmated, strict=True))
        first, second = (_joined((nobody, *failed)) for failed in self._failed)
        return OpenSet(
            len(self._people),
            mate,
            rank,
            Sample.of(top),
            first.size,
            second.size,
            np.concatenate([mate_of, first]),
            top,
            np.concatenate([top_of, second]),
        )


def _joined(parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(list(parts))


@dataclass(frozen=True, slots=True)
class OpenSetFigure:
    """What was measured at the threshold for an FPIR.

    Attributes:
        fpir: that was asked for.
        threshold: a candidate is returned when score >= threshold.
        rank: how many candidates are looked at.
        fpir_measured, fnir: at that threshold.
        carried: whether there are enough nonmated searches to show this FPIR at all (rule of 3).
        note: what the numbers cannot carry; "" if nothing is to be said.
    """

    fpir: float
    threshold: float
    rank: int
    fpir_measured: Rate
    fnir: Rate
    carried: bool
    note: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """Searches in a gallery.

    Attributes:
        gallery: N, people enrolled.
        mate: float64[m], of each mated search the similarity of the right person.
        rank: int64[m], of the right person; 1 is the best.
        top: of each nonmated search the highest similarity.
        failed_mated, failed_nonmated: probes without a usable face; they count as searches.
        mated_of: int64[m + failed_mated], whose the mated probes are, failures last.
        tops: float64[n], of each nonmated search the highest similarity, in the order of `nonmated_of`.
        nonmated_of: int64[n + failed_nonmated], whose the nonmated probes are, failures last.
    """

    gallery: int
    mate: Floats
    rank: Ints
    top: Sample
    failed_mated: int
    failed_nonmated: int
    mated_of: Ints
    tops: Floats
    nonmated_of: Ints

    @property
    def mated(self) -> int:
        """Mated searches, failures included."""
        return self.mate.size + self.failed_mated

    @property
    def nonmated(self) -> int:
        """Nonmated searches, failures included."""
        return self.top.total + self.failed_nonmated

    def fpir_at(self, threshold: float, *, confidence: float = CONFIDENCE) -> Rate:
        """FPIR(N, T): nonmated searches that return anybody. Searches for one person may depend on each other."""
        wrong = np.zeros(self.nonmated, np.bool_)
        wrong[: self.tops.size] = self.tops >= threshold
        return _by_person(wrong, self.nonmated_of, confidence)

    def fnir_at(self, threshold: float, rank: int = 1, *, confidence: float = CONFIDENCE) -> Rate:
        """FNIR(N, R, T): mated searches that do not return the right person at or above T among the first R.

        Searches for one person may depend on each other.

        Raises:
            ValueError: if `rank` is below 1.
        """
        if rank < 1:
            raise ValueError(f"rank {rank}")
        missed = np.ones(self.mated, np.bool_)
        missed[: self.mate.size] = (self.mate < threshold) | (self.rank > rank)
        return _by_person(missed, self.mated_of, confidence)

    def miss_at_rank(self, rank: int = 1, *, confidence: float = CONFIDENCE) -> Rate:
        """FNIR(N, R, 0): mated searches without the right person among the first R, whatever the similarity.

        The rank-1 identification rate is one minus its value at rank 1.
        """
        return self.fnir_at(-np.inf, rank, confidence=confidence)

    def threshold_at_fpir(self, fpir: float, *, decimals: int = DECIMALS) -> float:
        """The lowest threshold at which at most `fpir` of the nonmated searches return anybody, rounded up.

        Failures are not counted here: a threshold must hold for the probes that can be searched.

        Raises:
            ValueError: if `fpir` is not between 0 and 1, or nobody was searched in vain.
        """
        return threshold_for(self.top, fpir, decimals=decimals)

    def fnir_at_fpir(
        self, fpir: float, rank: int = 1, *, confidence: float = CONFIDENCE, decimals: int = DECIMALS
    ) -> OpenSetFigure:
        """The FNIR at the lowest threshold that keeps an FPIR.

        Raises:
            ValueError: if `fpir` is not between 0 and 1, or nobody was searched in vain.
        """
        threshold = self.threshold_at_fpir(fpir, decimals=decimals)
        measured = self.fpir_at(threshold, confidence=confidence)
        needed, precise = trials_needed(fpir), trials_for_precision(fpir)
        carried = measured.trials >= needed
        note = ""
        if not carried:
            note = f"FPIR {say(fpir)}: {needed:,} nonmated searches show it (rule of 3), there are {measured.trials:,}"
        elif measured.trials < precise:
            within = f"it takes 30 ({precise:,} nonmated searches) to be within 30 % of it (rule of 30)"
            note = f"FPIR {say(fpir)} rests on {measured.errors} false alarms; {within}"
        fnir = self.fnir_at(threshold, rank, confidence=confidence)
        return OpenSetFigure(fpir, threshold, rank, measured, fnir, carried, note)

    def det(self, rank: int = 1, points: int = 200) -> tuple[Floats, Floats, Floats]:
        """(threshold, FPIR, FNIR), float64[k] each, by ascending threshold, at most `points`.

        Raises:
            ValueError: if there are no searches of one kind.
        """
        if not self.mated or not self.top.total:
            raise ValueError(f"{self.mated} mated and {self.top.total} nonmated searches: both are needed")
        hits = Sample.of(self.mate[self.rank <= rank])
        values = np.union1d(hits.values, self.top.values)
        thresholds = np.append(values, np.nextafter(values[-1], np.inf))
        found, false = hits.at_least(thresholds), self.top.at_least(thresholds)
        if len(thresholds) > points:
            way = np.log(self.mated - found + 0.5) - np.log(false + 0.5)
            steps = np.linspace(way[0], way[-1], points)
            chosen = np.unique(np.clip(np.searchsorted(way, steps), 0, len(way) - 1))
            thresholds, found, false = thresholds[chosen], found[chosen], false[chosen]
        return thresholds, false / self.nonmated, (self.mated - found) / self.mated


def _by_person(wrong: npt.NDArray[np.bool_], people: Ints, confidence: float) -> Rate:
    """The rate of searches that went wrong, with an interval that knows whose they are."""
    _, place, each = np.unique(people, return_inverse=True, return_counts=True)
    if each.max(initial=1) == 1:  # one search for each person: nothing depends on anything
        return rate(int(wrong.sum()), wrong.size, confidence=confidence)
    return clustered_rate(np.bincount(place, wrong), each, confidence=confidence)
