"""Counting comparisons: once for the figures, and once more by group, at a threshold that is known by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._evaluate._attributes import UNSTATED
from facegate_convert._metrics import GroupCounter, SubjectCounter
from facegate_convert.errors import EvaluationError

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_convert._evaluate._attributes import Attribute
    from facegate_convert._evaluate._dataset import Dataset, Progress
    from facegate_convert._evaluate._similarity import Block, Templates
    from facegate_convert._metrics import GroupReport, SubjectScores

_BINS = 2000  # of a group's curve, over -1..1: thresholds to 0.001


@dataclass(frozen=True, slots=True)
class WorstPair:
    """A comparison that went wrong most: two photographs by index, and their similarity."""

    a: int
    b: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """All comparisons, counted.

    Attributes:
        subjects: their scores, with whose they are.
        genuine_failed, impostor_failed: comparisons that could not be made: a photograph has no template.
        failed_of: int64[people], the genuine ones of them by person.
        genuine: the least similar comparisons of the same person, the worst first.
        impostor: the most similar ones of two people, the worst first.
    """

    subjects: SubjectScores
    genuine_failed: int
    impostor_failed: int
    failed_of: npt.NDArray[np.int64]
    genuine: tuple[WorstPair, ...]
    impostor: tuple[WorstPair, ...]


class _Extreme:
    """Keeps the few pairs with the highest scores (sign 1) or the lowest (sign -1)."""

    def __init__(self, count: int, sign: int) -> None:
        self._count, self._sign = count, sign
        self._edge = -np.inf
        self._scores, self._a, self._b = np.zeros(0), np.zeros(0, np.intp), np.zeros(0, np.intp)

    def add(self, block: Block) -> None:
        signed = self._sign * block.score
        places = np.flatnonzero(signed.ravel() > self._edge)
        if not places.size or not self._count:
            return
        if places.size > self._count:
            found = signed.ravel()[places]
            places = places[np.argpartition(-found, self._count - 1)[: self._count]]
        shape = block.score.shape
        scores = np.concatenate([self._scores, signed.ravel()[places]])
        a = np.concatenate([self._a, np.broadcast_to(block.a, shape)[np.unravel_index(places, shape)]])
        b = np.concatenate([self._b, np.broadcast_to(block.b, shape)[np.unravel_index(places, shape)]])
        order = np.lexsort((b, a, -scores))[: self._count]
        self._scores, self._a, self._b = scores[order], a[order], b[order]
        if order.size == self._count:
            self._edge = float(self._scores[-1])

    def pairs(self) -> tuple[WorstPair, ...]:
        rows = zip(self._a.tolist(), self._b.tolist(), (self._sign * self._scores).tolist(), strict=True)
        return tuple(WorstPair(min(a, b), max(a, b), score) for a, b, score in rows)


def count(dataset: Dataset, templates: Templates, *, worst: int = 20, progress: Progress | None = None) -> Counted:
    """Make all comparisons and count them.

    Args:
        dataset: who is compared with whom.
        templates: of its photographs.
        worst: how many of the worst pairs of each kind to keep.
        progress: is told (step, done, total).

    Raises:
        EvaluationError: no comparison of one of the kinds can be made.
    """
    people = len(dataset.identities)
    images = None
    if dataset.pairs is None:
        images = np.bincount(dataset.identity[templates.usable], minlength=people)
    counter = SubjectCounter(people, images=images)
    extremes = {True: _Extreme(worst, -1), False: _Extreme(worst, 1)}
    made = {True: 0, False: 0}
    total = sum(dataset.counts)
    for block in templates.blocks():
        a, b = _subjects(dataset.identity, block)
        counter.add(block.score, a, b)
        extremes[block.genuine].add(block)
        made[block.genuine] += block.score.size
        if progress is not None:
            progress("comparing", sum(made.values()), total)
    if not all(made.values()):
        failed = int((~templates.usable).sum())
        raise EvaluationError(
            f"{made[True]} comparisons of the same person and {made[False]} of two people can be made; of "
            f"{len(dataset.names)} photographs {failed} have no template",
            hint="an evaluation needs both kinds: people with two photographs, and two people",
        )
    genuine, impostor = dataset.counts
    return Counted(
        counter.result(),
        genuine - made[True],
        impostor - made[False],
        _failed_of(dataset, templates.usable),
        extremes[True].pairs(),
        extremes[False].pairs(),
    )


def _failed_of(dataset: Dataset, usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many genuine comparisons of each person could not be made."""
    people = len(dataset.identities)
    if dataset.pairs is not None and dataset.same is not None:
        lost = dataset.same & ~usable[dataset.pairs].all(axis=1)
        return np.bincount(dataset.identity[dataset.pairs[lost, 0]], minlength=people).astype(np.int64)
    every, good = (np.bincount(dataset.identity[chosen], minlength=people) for chosen in (slice(None), usable))
    found: npt.NDArray[np.int64] = (every * (every - 1) - good * (good - 1)) // 2
    return found


def _subjects(identity: npt.NDArray[np.int32], block: Block) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    shape = block.score.shape
    return np.broadcast_to(identity[block.a], shape), np.broadcast_to(identity[block.b], shape)


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """One attribute's groups at a threshold.

    Attributes:
        attribute: the column.
        report: rates by group and between groups.
        images: photographs with a template in each group, by name.
        unstated: people of whom no photograph is in a group.
        genuine, impostor: int64 (G, 2000), comparisons inside each group by score, from -1 to 1.
    """

    attribute: Attribute
    report: GroupReport
    images: dict[str, int]
    unstated: int
    genuine: npt.NDArray[np.int64]
    impostor: npt.NDArray[np.int64]


def count_groups(
    dataset: Dataset,
    templates: Templates,
    attributes: tuple[Attribute, ...],
    threshold: float,
    *,
    progress: Progress | None = None,
) -> tuple[Grouped, ...]:
    """Make all comparisons again and count them by group.

    An attribute may differ between photographs of one person (glasses, light). Then a comparison of that person counts
    for a group if both photographs are in it.
    """
    people = len(dataset.identities)
    found = []
    for attribute in attributes:
        group = attribute.group.astype(np.int64)
        kinds = len(attribute.groups)
        # Somebody with photographs in two groups is one subject in each.
        subject = dataset.identity.astype(np.int64) * kinds + group
        subject[group == UNSTATED] = people * kinds
        names: list[str | None] = [None] * (people * kinds + 1)
        for number in np.unique(subject[templates.usable]).tolist():
            names[number] = attribute.groups[number % kinds] if number < people * kinds else None
        counter = GroupCounter(names, threshold)
        curves = np.zeros((2, kinds, _BINS), np.int64)
        total, done = sum(dataset.counts), 0
        for block in templates.blocks():
            shape = block.score.shape
            of_a, of_b = np.broadcast_to(group[block.a], shape), np.broadcast_to(group[block.b], shape)
            a, b = np.broadcast_to(subject[block.a], shape), np.broadcast_to(subject[block.b], shape)
            score = block.score
            inside = (of_a == of_b) & (of_a != UNSTATED)
            if block.genuine:
                counter.add(score[inside], a[inside], b[inside])
            else:
                counter.add(score, a, b)
            bins = np.clip(((score[inside] + 1) * (_BINS / 2)).astype(np.int64), 0, _BINS - 1)
            curves[int(not block.genuine)] += np.bincount(of_a[inside] * _BINS + bins, minlength=kinds * _BINS).reshape(
                kinds, _BINS
            )
            done += block.score.size
            if progress is not None:
                progress(f"comparing by {attribute.name}", done, total)
        used = group[templates.usable]
        images = {name: int((used == i).sum()) for i, name in enumerate(attribute.groups)}
        unstated = people - np.unique(dataset.identity[group != UNSTATED]).size
        found.append(Grouped(attribute, counter.result(), images, unstated, curves[0], curves[1]))
    return tuple(found)
