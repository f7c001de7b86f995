"""Import rules: blocks of pixels and channels exchanged, tensors repeated, parts of tensors replaced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph._builder import Array, Builder, OnnxNode, Shape

_IMAGE_RANK = 4
_MAX_REPEATS = 64
_MAX_INDICES = 2**22  # of a part that is replaced


def _block(b: Builder, n: OnnxNode) -> tuple[Shape, int]:
    shape = b.shape(n)
    b.floating(n, 0)
    size = int(n.attribute("blocksize", 0))
    if len(shape) != _IMAGE_RANK or size < 1:
        n.invalid(f"blocks of {size} do not fit an input of shape {shape}")
    return shape, size


def _regrouped(b: Builder, n: OnnxNode, split: Shape, perm: tuple[int, ...], result: Shape) -> None:
    """Reshape, Transpose, Reshape: three views of one memory."""
    parts = b.reshape(n, n.inputs[0], split)
    moved = b.add("Transpose", n, [parts], [split[p] for p in perm], perm=perm)
    b.reshape(n, moved, result, n.outputs[0])


def depth_to_space(b: Builder, n: OnnxNode) -> None:
    """DepthToSpace(blocksize, mode), torch's PixelShuffle: channels become pixels."""
    (batch, channels, height, width), size = _block(b, n)
    mode = n.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD") or channels % size**2:
        n.invalid(f"blocks of {size} in mode {mode!r} do not fit {channels} channels")
    depth = channels // size**2
    result = (batch, depth, height * size, width * size)
    if mode == "CRD":
        _regrouped(b, n, (batch, depth, size, size, height, width), (0, 1, 4, 2, 5, 3), result)
    else:
        _regrouped(b, n, (batch, size, size, depth, height, width), (0, 3, 4, 1, 5, 2), result)


def space_to_depth(b: Builder, n: OnnxNode) -> None:
    """SpaceToDepth(blocksize): pixels become channels."""
    (batch, channels, height, width), size = _block(b, n)
    if height % size or width % size:
        n.invalid(f"blocks of {size} do not fit an image of {width}x{height}")
    split = (batch, channels, height // size, size, width // size, size)
    result = (batch, channels * size**2, height // size, width // size)
    _regrouped(b, n, split, (0, 3, 5, 1, 2, 4), result)


def tile(b: Builder, n: OnnxNode) -> None:
    """Tile: an axis of size 1 is stretched, others are joined with themselves."""
    shape = b.shape(n)
    b.floating(n, 0)
    repeats = b.integers(n, 1, "repeats")
    if repeats is None or len(repeats) != len(shape) or min(repeats, default=1) < 1:
        n.invalid(f"its repeats {repeats} do not fit an input of shape {shape}")
    value = n.inputs[0]
    stretched = tuple(r if d == 1 else d for d, r in zip(shape, repeats, strict=True))
    if stretched != shape:
        value = stretch(b, n, value, stretched)
    for axis, (size, count) in enumerate(zip(shape, repeats, strict=True)):
        if size > 1 and count > 1:
            if count > _MAX_REPEATS:
                n.refuse(f"it repeats an axis {count} times", f"repeat at most {_MAX_REPEATS} times")
            result = list(b.shapes[value])
            result[axis] *= count
            value = b.add("Concat", n, [value] * count, result, axis=axis)
    b.reshape(n, value, b.shapes[value], n.outputs[0])


def stretch(b: Builder, n: OnnxNode, value: str, result: Shape, output: str | None = None) -> str:
    """A value broadcast to a shape: a product with ones, as small as they can be."""
    shape = (1,) * (len(result) - len(b.shapes[value])) + b.shapes[value]
    ones = tuple(r if d == 1 else 1 for d, r in zip(shape, result, strict=True))
    b.spend(n, math.prod(ones))
    factor = b.new_constant(f"{n.outputs[0]}/ones", np.ones(ones, np.float32))
    name = b.add("Mul", n, [value, factor], result, output=output)
    b.stretch(name, value)
    return name


def scatter_nd(b: Builder, n: OnnxNode) -> None:
    """ScatterND of a block, as `x[..., 2:5] = y` is exported: the parts before, the new one, the parts after."""
    shape = b.shape(n)
    b.floating(n, 0, 2)
    indices = b.parameter(n, 1, "indices")
    if n.attribute("reduction", "none") != "none":
        n.refuse("it combines what it scatters", "assign to a slice instead")
    if indices is None or not indices.ndim or indices.shape[-1] > len(shape) or not 0 < indices.size <= _MAX_INDICES:
        n.invalid("its indices do not fit its input")
    block = _block_of(indices, shape)
    if block is None:
        n.refuse("what it replaces is not one block", "assign to a slice with step 1, or join parts with cat")
    bounds = [*block, *((0, d) for d in shape[len(block) :])]
    sizes = [stop - start for start, stop in bounds]
    if math.prod(b.shape(n, 2)) != math.prod(sizes):
        n.invalid(f"updates of shape {b.shape(n, 2)} do not fit a block of shape {tuple(sizes)}")
    value = b.reshape(n, n.inputs[2], sizes)
    # From the last axis outwards: each joins what lies beside the block on that axis, cut to it on the axes before.
    for axis in reversed(range(len(shape))):
        start, stop = bounds[axis]
        full = [0 if i >= axis else bounds[i][0] for i in range(len(shape))]
        ends = [shape[i] if i >= axis else bounds[i][1] for i in range(len(shape))]
        parts = [value]
        if start:
            parts.insert(0, _part(b, n, full, [start if i == axis else e for i, e in enumerate(ends)]))
        if stop < shape[axis]:
            parts.append(_part(b, n, [stop if i == axis else f for i, f in enumerate(full)], ends))
        if len(parts) > 1:
            result = [e - f for f, e in zip(full, ends, strict=True)]
            value = b.add("Concat", n, parts, result, axis=axis)
    b.reshape(n, value, shape, n.outputs[0])


def _block_of(indices: Array, shape: Shape) -> list[tuple[int, int]] | None:
    """First and last (exclusive) index of each axis, if the indices name every place of one block in order."""
    depth = indices.shape[-1]
    rows = indices.reshape(-1, depth).astype(np.int64)
    rows = np.where(rows < 0, rows + np.asarray(shape[:depth]), rows)
    low, high = rows.min(0), rows.max(0) + 1
    sizes = high - low
    if (low < 0).any() or (high > shape[:depth]).any() or math.prod(sizes.tolist()) != len(rows):
        return None
    expected = np.stack(np.unravel_index(np.arange(len(rows)), sizes.tolist()), -1) + low
    return list(zip(low.tolist(), high.tolist(), strict=True)) if (rows == expected).all() else None


def _part(b: Builder, n: OnnxNode, starts: list[int], ends: list[int]) -> str:
    sizes = [e - s for s, e in zip(starts, ends, strict=True)]
    array = b.constant(n.inputs[0])
    if array is not None:
        cut = array[tuple(slice(s, e) for s, e in zip(starts, ends, strict=True))]
        return b.new_constant(f"{n.outputs[0]}/part", np.ascontiguousarray(cut))
    if tuple(sizes) == b.shapes[n.inputs[0]]:
        return n.inputs[0]
    return b.add("Slice", n, n.inputs[:1], sizes, starts=tuple(starts), steps=(1,) * len(sizes))


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "DepthToSpace": depth_to_space,
    "ScatterND": scatter_nd,
    "SpaceToDepth": space_to_depth,
    "Tile": tile,
}
