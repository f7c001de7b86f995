"""Scores with whose they are, in bounded memory: what a bootstrap by identity needs.

False matches are made at the high end of the impostor scores and false non-matches at the low end of the genuine ones.
There every comparison is kept with its two people; of the rest it is enough to know how many each had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._scores import ScoreCounter, Scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Subjects = npt.NDArray[np.int32]

TAIL = 1 << 22
_MERGE = 1 << 22
_BLOCK = 1 << 20
_SLACK = 1.25  # how far a tail may grow before it is cut
_EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The extreme scores of one kind, the most extreme first.

    Attributes:
        scores: float64[k].
        first, second: int32[k], whose they are.
        edge: every score beyond it is here (higher for impostors, lower for genuine); infinite if all are.
    """

    scores: Floats
    first: Subjects
    second: Subjects
    edge: float


@dataclass(frozen=True, slots=True, eq=False)
class SubjectScores:
    """Scores with whose they are.

    Attributes:
        subjects: number of people.
        scores: all of them, without whose they are.
        impostor: the highest impostor scores.
        genuine: the lowest genuine scores.
        trials: int64[subjects], genuine comparisons of each person.
        images: int64[subjects], photographs of each person, if every two photographs were compared; else None.
        pairs: (keys, counts), int64[k] each: impostor comparisons of each pair of people, key = lower * subjects +
            higher; empty if `images` says it.
    """

    subjects: int
    scores: Scores
    impostor: Tail
    genuine: Tail
    trials: Ints
    images: Ints | None
    pairs: tuple[Ints, Ints]

    def impostor_weight(self, weights: Floats) -> float:
        """The weight of all impostor comparisons, if each has the product of its people's weights."""
        if self.images is not None:
            load = weights * self.images
            return float((load.sum() ** 2 - np.dot(load, load)) / 2)
        low, high = np.divmod(self.pairs[0], self.subjects)
        return float(np.dot(weights[low] * weights[high], self.pairs[1]))


def columns(scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[Any], Ints, Ints]:
    """Comparisons as columns: scores of whatever precision they came in, int64[n] and int64[n] subjects.

    Raises:
        ValueError: if the columns differ in length, or a score is not a finite number.
    """
    values = np.asarray(scores).ravel()
    first, second = np.asarray(a, np.int64).ravel(), np.asarray(b, np.int64).ravel()
    if not values.size == first.size == second.size:
        raise ValueError(f"{values.size} scores of {first.size} and {second.size} subjects")
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    return values, first, second


class PairTable:
    """How often each pair of people came up: 16 bytes a pair, merged now and then."""

    def __init__(self, people: int) -> None:
        self._people = people
        self._keys, self._counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._pending: list[Ints] = []
        self._waiting = 0

    def add(self, first: Ints, second: Ints) -> None:
        """Count pairs, int64[n] and int64[n]."""
        self._pending.append(np.minimum(first, second) * self._people + np.maximum(first, second))
        self._waiting += first.size
        if self._waiting > _MERGE:
            self.result()

    def result(self) -> tuple[Ints, Ints]:
        """(keys, counts), int64[k] each, ascending; key = lower * people + higher."""
        if self._waiting:
            keys, counts = np.unique(np.concatenate(self._pending), return_counts=True)
            self._pending, self._waiting = [], 0
            together, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
            total = np.bincount(place, np.concatenate([self._counts, counts]), len(together))
            self._keys, self._counts = together, total.astype(np.int64)
        return self._keys, self._counts


class _Extremes:
    """Keeps the `limit` highest scores (sign 1) or lowest (sign -1) that were added."""

    def __init__(self, limit: int, sign: int) -> None:
        self.limit, self.sign = limit, sign
        self.edge = -np.inf  # of sign * score
        self.chunks: list[tuple[Floats, Subjects, Subjects]] = []
        self.held = 0

    def add(self, scores: Floats, a: Ints, b: Ints) -> None:
        if self.edge > -np.inf:
            kept = self.sign * scores > self.edge
            scores, a, b = scores[kept], a[kept], b[kept]
        self.chunks.append((scores, a.astype(np.int32), b.astype(np.int32)))
        self.held += scores.size
        if self.held > _SLACK * self.limit:
            self.prune()

    def joined(self) -> tuple[Floats, Subjects, Subjects]:
        if not self.chunks:
            return np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32)
        scores, first, second = (np.concatenate(part) for part in zip(*self.chunks, strict=True))
        return scores, first, second

    def prune(self) -> None:
        scores, first, second = self.joined()
        signed = self.sign * scores
        self.edge = float(np.partition(signed, signed.size - self.limit - 1)[signed.size - self.limit - 1])
        # Scores equal to the edge go: of a tie that was cut nothing may be said.
        kept = signed > self.edge
        self.chunks = [(scores[kept], first[kept], second[kept])]
        self.held = int(kept.sum())

    def tail(self) -> Tail:
        if self.held > self.limit:
            self.prune()
        scores, first, second = self.joined()
        order = np.argsort(-self.sign * scores, kind="stable")
        return Tail(scores[order], first[order], second[order], self.sign * self.edge)


class SubjectCounter:
    """Counts comparisons with whose they are, in bounded memory.

    It keeps `tail` comparisons of each kind (16 bytes each, a multiple of it while it is cut), a `ScoreCounter`
    (32 MB), and how many impostor comparisons each pair of people had (16 bytes a pair; nothing if `images` is given).
    Up to `tail` comparisons of each kind the scores stay exact; beyond, they are a `ScoreCounter`'s.
    """

    def __init__(self, subjects: int, *, images: npt.ArrayLike | None = None, tail: int = TAIL) -> None:
        """Start counting.

        Args:
            subjects: number of people; their numbers are 0..subjects - 1.
            images: photographs of each person, int[subjects], if every two photographs are going to be compared once.
            tail: comparisons of each kind that are kept.

        Raises:
            ValueError: if the numbers do not fit.
        """
        self.subjects = int(subjects)
        self._images = None if images is None else np.asarray(images, np.int64).ravel()
        if self.subjects < 1 or tail < 1 or (self._images is not None and self._images.size != self.subjects):
            raise ValueError(f"{subjects} subjects, a tail of {tail}, or photographs of other people")
        self._counter: ScoreCounter | None = None
        self._impostor, self._genuine = _Extremes(tail, 1), _Extremes(tail, -1)
        self._trials = np.zeros(self.subjects, np.int64)
        self._impostors = 0
        self._pairs = PairTable(self.subjects)
        self._tail = tail

    def add(self, scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> None:
        """Count comparisons: float[n] scores, int[n] and int[n] subjects; genuine where the two are the same.

        Raises:
            ValueError: if the arrays differ in length, a score is not a finite number, or a subject is out of range.
        """
        values, first, second = columns(scores, a, b)
        values = values.astype(np.float64, copy=False)
        if not values.size:
            return
        if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= self.subjects:
            raise ValueError(f"subjects are numbered 0..{self.subjects - 1}")
        same = np.flatnonzero(first == second)
        other = np.delete(values, same)
        if self._counter is None and max(self._genuine.held, self._impostor.held) + values.size > self._tail:
            self._counter = ScoreCounter()
            self._counter.add(genuine=self._genuine.joined()[0], impostor=self._impostor.joined()[0])
        if self._counter is not None:
            self._counter.add(genuine=values[same], impostor=other)
        self._genuine.add(values[same], first[same], second[same])
        self._trials += np.bincount(first[same], minlength=self.subjects)
        self._impostors += other.size
        if self._images is None:
            x, y = np.delete(first, same), np.delete(second, same)
            self._pairs.add(x, y)
            self._impostor.add(other, x, y)
        else:
            kept = np.flatnonzero((values > self._impostor.edge) & (first != second))
            self._impostor.add(values[kept], first[kept], second[kept])

    def result(self) -> SubjectScores:
        """What was counted so far.

        Raises:
            ValueError: if a kind is empty, or `images` was given and not every two photographs were compared once.
        """
        if self._images is not None:
            whole = int((self._images.sum() ** 2 - (self._images**2).sum()) // 2)
            if whole != self._impostors:
                raise ValueError(f"{self._impostors} impostor comparisons, but the photographs make {whole}")
        impostor, genuine = self._impostor.tail(), self._genuine.tail()
        scores = Scores(genuine.scores, impostor.scores) if self._counter is None else self._counter.scores()
        return SubjectScores(self.subjects, scores, impostor, genuine, self._trials, self._images, self._pairs.result())


def all_pairs(
    features: npt.NDArray[np.generic], subjects: npt.ArrayLike, *, normalize: bool = True, block: int = _BLOCK
) -> Iterator[tuple[Floats, Ints, Ints]]:
    """Compare every two templates once, a block at a time.

    Args:
        features: [n, d]; int8 templates (their cosines are exact: whole numbers below 2^24 are in float32) or float32
            embeddings.
        subjects: int[n], whose they are.
        normalize: divide by the lengths; False compares by the dot product, for embeddings of unit length.
        block: comparisons at a time, about.

    Yields:
        (scores float64[m], subject int64[m], subject int64[m]).

    Raises:
        ValueError: if the shapes do not fit, or a template has no length.
    """
    owner = np.asarray(subjects, np.int64).ravel()
    if features.ndim != 2 or len(features) != owner.size:  # noqa: PLR2004
        raise ValueError(f"templates of shape {features.shape} for {owner.size} subjects")
    whole = np.issubdtype(features.dtype, np.integer)
    peak = int(np.abs(features.astype(np.int64)).max(initial=0)) if whole else 0
    exact = peak * peak * features.shape[1] < _EXACT_IN_FLOAT32
    matrix = features.astype(np.float32 if (whole and exact) or features.dtype == np.float32 else np.float64)
    wide = matrix.astype(np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide)) if normalize else np.ones(owner.size)
    if not np.all(length > 0):
        raise ValueError("a template has no length")
    del wide
    start, total = 0, owner.size
    while start < total - 1:
        rows = max(min(block // (total - start), total - start), 1)
        dots = (matrix[start : start + rows] @ matrix[start:].T).astype(np.float64)
        dots /= length[start : start + rows, None]
        dots /= length[None, start:]
        upper = np.arange(total - start)[None, :] > np.arange(rows)[:, None]
        counts = upper.sum(axis=1)
        first = np.repeat(owner[start : start + rows], counts)
        second = np.broadcast_to(owner[start:], upper.shape)[upper]
        yield dots[upper], first, second
        start += rows
