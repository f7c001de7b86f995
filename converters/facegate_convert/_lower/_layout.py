"""How a value of the graph lies in the memory of a TFLite tensor.

Every dimension of a value is a row-major product of atoms, and each atom has a stride in the tensor's memory, which is
dense. An image in NHWC has the dimensions (N, C, H, W) with the strides of (N, H, W, C). Transpose only exchanges
dimensions and Reshape only regroups atoms: neither moves data. Data moves where an operator needs one particular order
and the value is in another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


class Atom(NamedTuple):
    """`extent` steps of `stride` elements."""

    extent: int
    stride: int


class Piece(NamedTuple):
    """An atom's place in memory.

    Attributes:
        dim: the dimension it belongs to.
        extent: its size (1 only as a place holder).
        part: its rank among the atoms of its dimension, 0 for the outermost: memory may hold them in another order.
    """

    dim: int
    extent: int
    part: int = 0


Dims = tuple[tuple[Atom, ...], ...]
Order = tuple[Piece, ...]


def shape_of(dims: Dims) -> tuple[int, ...]:
    """The value's shape."""
    return tuple(math.prod(a.extent for a in dim) for dim in dims)


def sequence_of(dims: Dims) -> Order:
    """The pieces in memory order, outermost first; dimensions of size 1 have none."""
    atoms = [(a.stride, Piece(i, a.extent, part)) for i, dim in enumerate(dims) for part, a in enumerate(dim)]
    return tuple(piece for _, piece in sorted(atoms, key=lambda t: -t[0]))


def dims_of(sequence: Sequence[Piece], rank: int) -> Dims:
    """The dimensions of a value whose pieces lie in memory in this order."""
    dims: list[dict[int, Atom]] = [{} for _ in range(rank)]
    stride = 1
    for piece in reversed(sequence):
        if piece.extent > 1:
            dims[piece.dim][piece.part] = Atom(piece.extent, stride)
            stride *= piece.extent
    return coalesced(tuple(tuple(dim[part] for part in sorted(dim)) for dim in dims))


def coalesced(dims: Dims) -> Dims:
    """The same with neighbouring atoms of a dimension joined where they are contiguous."""
    return tuple(_join(dim) for dim in dims)


def _join(atoms: Sequence[Atom]) -> tuple[Atom, ...]:
    joined: list[Atom] = []
    for atom in atoms:
        if atom.extent == 1:
            continue
        if joined and joined[-1].stride == atom.extent * atom.stride:
            joined[-1] = Atom(joined[-1].extent * atom.extent, atom.stride)
        else:
            joined.append(atom)
    return tuple(joined)


def stored(shape: Sequence[int], order: Sequence[int]) -> Dims:
    """A value whose dimensions lie in memory in `order`, outermost first."""
    return dims_of([Piece(d, shape[d]) for d in order], len(shape))


def row_major(shape: Sequence[int]) -> Dims:
    """A value in ONNX's own order."""
    return stored(shape, range(len(shape)))


def transposed(dims: Dims, perm: Sequence[int]) -> Dims:
    """The dimensions exchanged; no data moves."""
    return tuple(dims[p] for p in perm)


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """The atoms regrouped into another shape; None where a new dimension would need half an atom."""
    atoms = [*_join([a for dim in dims for a in dim])][::-1]
    result = []
    for size in shape:
        rest, dim = size, []
        while rest > 1:
            atom = atoms.pop()
            if rest % atom.extent == 0:
                dim.append(atom)
                rest //= atom.extent
            elif atom.extent % rest == 0:
                inner = atom.extent // rest
                dim.append(Atom(rest, atom.stride * inner))
                atoms.append(Atom(inner, atom.stride))
                rest = 1
            else:
                return None
        result.append(tuple(dim))
    return coalesced(tuple(result))


def with_axis(sequence: Order, axis: int, rank: int) -> Order:
    """The sequence with `axis` as exactly one piece.

    A dimension in several pieces is gathered where its last one lies. One of size 1 gets a place holder: channels
    innermost, as everywhere in NHWC, others before what follows them in ONNX's order.
    """
    pieces = [p for p in sequence if p.dim == axis]
    if len(pieces) == 1:
        return sequence
    if pieces:
        last = max(i for i, p in enumerate(sequence) if p.dim == axis)
        whole = Piece(axis, math.prod(p.extent for p in pieces))
        return tuple(whole if i == last else p for i, p in enumerate(sequence) if p.dim != axis or i == last)
    holder = Piece(axis, 1)
    image_channels = rank == 4 and axis == 1  # noqa: PLR2004
    later = [i for i, p in enumerate(sequence) if p.dim > axis]
    place = len(sequence) if image_channels or not later else later[0]
    return (*sequence[:place], holder, *sequence[place:])


def runs(sequence: Sequence[Piece], keys: Sequence[object]) -> tuple[tuple[int, ...], tuple[object, ...]]:
    """The shortest shape in which every dimension has one key: neighbours with equal keys are joined."""
    shape: list[int] = []
    found: list[object] = []
    for piece, key in zip(sequence, keys, strict=True):
        if found and found[-1] == key:
            shape[-1] *= piece.extent
        else:
            shape.append(piece.extent)
            found.append(key)
    return tuple(shape), tuple(found)


def keys_of_shape(shape: Sequence[int], sequence: Sequence[Piece], keys: Sequence[object]) -> tuple[object, ...] | None:
    """The key of every dimension of a tensor's shape over the same memory; None if one would mix two keys.

    Dimensions of size 1 get the key None.
    """
    pending = [(p.extent, k) for p, k in zip(sequence, keys, strict=True) if p.extent > 1][::-1]
    found: list[object] = []
    for size in shape:
        rest, key = size, None
        while rest > 1:
            if not pending:
                return None
            extent, current = pending.pop()
            if key is not None and current != key:
                return None
            key = current
            if rest % extent == 0:
                rest //= extent
            elif extent % rest == 0:
                pending.append((extent // rest, current))
                rest = 1
            else:
                return None
        found.append(key)
    return tuple(found)


def arranged(array: npt.NDArray[np.generic], sequence: Sequence[Piece]) -> npt.NDArray[np.generic]:
    """A constant with its elements in the memory order of `sequence`, flat.

    Dimensions of size 1 in the array are left out (they broadcast); the others have the size the sequence gives them.
    """
    kept = [p for p in sequence if array.shape[p.dim] > 1 and p.extent > 1]
    by_dim = sorted(range(len(kept)), key=lambda i: (kept[i].dim, kept[i].part))
    split = array.reshape([kept[i].extent for i in by_dim])
    return np.ascontiguousarray(split.transpose([by_dim.index(i) for i in range(len(kept))])).reshape(-1)
