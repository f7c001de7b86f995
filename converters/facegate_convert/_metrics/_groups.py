"""Error rates by group of people: from comparisons that were counted, or while they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE
from facegate_convert._metrics._group_figures import MARGIN, GroupCounts
from facegate_convert._metrics._scores import ScoreCounter
from facegate_convert._metrics._subjects import PairTable, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_convert._metrics._group_figures import GroupReport
    from facegate_convert._metrics._scores import Scores
    from facegate_convert._metrics._subjects import SubjectScores


def by_group(
    data: SubjectScores,
    groups: Sequence[str | None],
    threshold: float,
    *,
    confidence: float = CONFIDENCE,
    margin: float = MARGIN,
) -> GroupReport:
    """FMR and FNMR by group at a threshold, from comparisons that were counted before it was known.

    Args:
        data: comparisons with whose they are.
        groups: of each person, in the order of the subject numbers; None or "" if it is not known.
        threshold: accept when score >= threshold.
        confidence: of the intervals, 0..1 exclusive.
        margin: how much worse a group may be than another (1.25: 25 %).

    Raises:
        ValueError: if nobody has a group, their number is another, or the threshold lies beyond the comparisons that
            were kept with whose they are (then a `GroupCounter` must see all comparisons once more).
    """
    if len(groups) != data.subjects:
        raise ValueError(f"groups of {len(groups)} people, comparisons of {data.subjects}")
    if threshold <= data.impostor.edge or threshold > data.genuine.edge:
        raise ValueError(f"threshold {threshold} lies beyond the comparisons that were kept with whose they are")
    found = GroupCounts(groups)
    labeled = found.of >= 0
    missed = data.genuine.first[data.genuine.scores < threshold]
    found.genuine[0] = np.bincount(missed, minlength=data.subjects)
    found.genuine[1] = data.trials
    found.genuine[:, ~labeled] = 0
    matched = data.impostor.scores >= threshold
    first, second = (v[matched].astype(np.int64) for v in (data.impostor.first, data.impostor.second))
    known = found.known(first, second)
    first, second = first[known], second[known]
    found.count_impostors(0, first, second)
    keys = np.minimum(first, second) * data.subjects + np.maximum(first, second)
    found.keys, found.counts = np.unique(keys, return_counts=True)
    if data.images is None:
        first, second = np.divmod(data.pairs[0], data.subjects)
        known = found.known(first, second)
        found.count_impostors(1, first[known], second[known], data.pairs[1][known])
    else:
        per_group = np.bincount(found.of[labeled], data.images[labeled], len(found.names)).astype(np.int64)
        others = np.repeat(per_group[None, :], data.subjects, axis=0)
        others[labeled, found.of[labeled]] -= data.images[labeled]
        found.impostor[1] = np.where(labeled[:, None], data.images[:, None] * others, 0)
    return found.report(float(threshold), confidence, margin)


class GroupCounter:
    """Counts comparisons by group at a threshold that is known before.

    What it keeps grows with people, groups and false matches, not with comparisons. Where the threshold is chosen on
    the same comparisons, `by_group` needs no second pass.
    """

    def __init__(self, groups: Sequence[str | None], threshold: float) -> None:
        """Take the group of each subject (None or "" if it is not known) and the threshold.

        Raises:
            ValueError: if nobody has a group.
        """
        self._found = GroupCounts(groups)
        self._threshold = float(threshold)
        self._pairs = PairTable(len(groups))

    def add(self, scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> None:
        """Count comparisons: float[n] scores, int[n] and int[n] subjects; genuine where the two are the same.

        Raises:
            ValueError: if the arrays differ in length, or a score is not a finite number.
        """
        values, first, second = columns(scores, a, b)
        known = self._found.known(first, second)
        if not known.all():
            values, first, second = values[known], first[known], second[known]
        accepted, same = values >= self._threshold, first == second
        people = self._found.of.size
        self._found.genuine[0] += np.bincount(first[same & ~accepted], minlength=people)
        self._found.genuine[1] += np.bincount(first[same], minlength=people)
        for row, chosen in ((0, accepted & ~same), (1, ~same)):
            self._found.count_impostors(row, first[chosen], second[chosen])
        self._pairs.add(first[accepted & ~same], second[accepted & ~same])

    def result(self, *, confidence: float = CONFIDENCE, margin: float = MARGIN) -> GroupReport:
        """What was counted so far.

        Args:
            confidence: of the intervals, 0..1 exclusive.
            margin: how much worse a group may be than another (1.25: 25 %).
        """
        self._found.keys, self._found.counts = self._pairs.result()
        return self._found.report(self._threshold, confidence, margin)


class GroupScores:
    """Counts scores of each group, for its curve; comparisons of two groups are left out.

    Each score is rounded down to `decimals`: with 4, a group takes 320 kB, and every count at a threshold of 4 decimals
    is exact.
    """

    def __init__(self, groups: Sequence[str | None], *, decimals: int = 4) -> None:
        """Take the group of each subject (None or "" if it is not known).

        Raises:
            ValueError: if nobody has a group.
        """
        found = GroupCounts(groups)
        self._of = found.of
        self._counters = {name: ScoreCounter(decimals=decimals) for name in found.names}

    def add(self, scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> None:
        """Count comparisons: float[n] scores, int[n] and int[n] subjects; genuine where the two are the same.

        Raises:
            ValueError: if the arrays differ in length, or a score is not a finite number.
        """
        values, first, second = columns(scores, a, b)
        group = np.where(self._of[first] == self._of[second], self._of[first], -1)
        for number, counter in enumerate(self._counters.values()):
            mine = group == number
            same = first[mine] == second[mine]
            counter.add(genuine=values[mine][same], impostor=values[mine][~same])

    def result(self) -> dict[str, Scores]:
        """Scores by group; a group without comparisons of both kinds is left out."""
        return {name: counter.scores() for name, counter in self._counters.items() if all(counter.totals)}
