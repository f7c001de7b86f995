"""Comparisons: similarities of templates, block by block, in bounded memory however many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._evaluate._cache import OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from facegate_convert._evaluate._cache import Records
    from facegate_convert._evaluate._dataset import Dataset

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

_BLOCK = 1 << 21  # similarities at a time: 16 MB
_ROWS = 512
_UNIT = 1e-3  # how far from 1 the length of a feature may be
_EXACT = 1 << 24  # integers below it are exact in float32


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some comparisons of one kind.

    Attributes:
        genuine: whether they are of the same person, or of two people.
        a, b: indices of the photographs; together of the shape of `score` by broadcasting.
        score: float64, similarities.
    """

    genuine: bool
    a: Indices
    b: Indices
    score: Floats


class Templates:
    """The templates of a dataset's photographs, ready to be compared.

    int8 templates are compared as a device compares them: dot(a, b) / sqrt(dot(a, a) * dot(b, b)), the dot products
    exact. Features of a hosted model are compared as its protocol says, by their dot product, not normalised again.

    Args:
        dataset: the photographs.
        records: what became of them.

    Attributes:
        usable: bool (N,), which photographs have a template.
        notes: what the reader of the figures should know, a sentence each.
    """

    def __init__(self, dataset: Dataset, records: Records) -> None:
        self._dataset = dataset
        self.notes: tuple[str, ...] = ()
        self.usable = records.present & (records.rows["status"] == OK)
        values = records.rows["values"]
        self.space_length = values.shape[1]
        if values.dtype == np.int8:
            # Whole numbers: every dot product is exact as long as it fits the mantissa.
            kind = np.float32 if values.shape[1] * 127 * 127 < _EXACT else np.float64
            self._vectors = values.astype(kind)
            norms = np.sqrt((values.astype(np.float64) ** 2).sum(axis=1))
            self._weights = 1 / np.where(self.usable, norms, 1.0)
        else:
            self._vectors = values.astype(np.float64)
            self._weights = np.ones(len(values))
            lengths = np.sqrt((self._vectors**2).sum(axis=1))
            if (np.abs(lengths[self.usable] - 1) > _UNIT).any():
                self._weights = 1 / np.where(self.usable, lengths, 1.0)
                self.notes = ("the stored features are not of length 1: they are compared as if they were",)

    def scores(self, a: Indices, b: Indices) -> Floats:
        """Similarities of photographs pairwise, float64 (n,)."""
        dots: Floats = np.einsum("ij,ij->i", self._vectors[a], self._vectors[b]).astype(np.float64)
        dots *= self._weights[a] * self._weights[b]
        return np.clip(dots, -1, 1, out=dots)  # rounding alone leads out of the range

    def directions(self, places: Indices) -> Floats:
        """The templates of photographs as vectors whose dot products are their similarities, float64 (n, D)."""
        vectors: Floats = self._vectors[places].astype(np.float64)
        vectors *= self._weights[places, None]
        return vectors

    def table(self, rows: Indices, columns: Indices) -> Floats:
        """Similarities of every one of `rows` with every one of `columns`, float64 (r, c)."""
        return self._table(self._vectors[rows], self._vectors[columns], self._weights[rows], self._weights[columns])

    @staticmethod
    def _table(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], of_a: Floats, of_b: Floats) -> Floats:
        score: Floats = (a @ b.T).astype(np.float64)
        score *= of_a[:, None]
        score *= of_b
        return np.clip(score, -1, 1, out=score)

    def blocks(self) -> Iterator[Block]:
        """All comparisons that can be made, each once."""
        yield from self._all_pairs() if self._dataset.pairs is None else self._listed()

    def _listed(self) -> Iterator[Block]:
        pairs, same = self._dataset.pairs, self._dataset.same
        assert pairs is not None  # noqa: S101 - both are there or neither
        assert same is not None  # noqa: S101
        usable = self.usable[pairs[:, 0]] & self.usable[pairs[:, 1]]
        step = max(1, _BLOCK // max(1, self.space_length))
        for genuine in (True, False):
            chosen = pairs[usable & (same == genuine)].astype(np.intp)
            for start in range(0, len(chosen), step):
                a, b = chosen[start : start + step].T
                yield Block(genuine, a, b, self.scores(a, b))

    def _all_pairs(self) -> Iterator[Block]:
        """Photographs in the order of their people: beyond a person's own end every comparison is of two people."""
        identity = self._dataset.identity
        order = np.argsort(identity, kind="stable")
        order = order[self.usable[order]]
        people = identity[order]
        vectors, weights = np.ascontiguousarray(self._vectors[order]), self._weights[order]
        count = len(order)
        start = 0
        while start < count:
            end = min(count, start + max(1, min(_ROWS, _BLOCK // (count - start))))
            # The last row's person may go on beyond the block.
            beyond = int(np.searchsorted(people, people[end - 1], side="right"))
            near = self._table(vectors[start:end], vectors[start:beyond], weights[start:end], weights[start:beyond])
            later = np.arange(start, beyond) > np.arange(start, end)[:, None]
            same = people[start:end, None] == people[start:beyond]
            for genuine, mask in ((True, later & same), (False, later & ~same)):
                i, j = np.nonzero(mask)
                if i.size:
                    yield Block(genuine, order[start + i], order[start + j], near[i, j])
            if beyond < count:
                score = self._table(vectors[start:end], vectors[beyond:], weights[start:end], weights[beyond:])
                yield Block(False, order[start:end, None], order[None, beyond:], score)
            start = end
