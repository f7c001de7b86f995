"""Shapes that operators give, for constants and for values alike, as ONNX says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from facegate_convert._graph._builder import MAX_LISTED, MAX_RANK, normalize_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_convert._graph._builder import OnnxNode

    Array = npt.NDArray[Any]

# A constant that is made is a shape, a grid or a mask; a larger one is a mistake or an attack on the build host. What
# only rearranges a weight may be as large as the file made it.
MAX_ELEMENTS = 2**24
_TO_THE_END = (2**31 - 1, 2**63 - 1)


def integer_list(node: OnnxNode, array: Array | None, attribute: str) -> tuple[int, ...] | None:
    """Integers from an attribute (older operator sets) or from an array (newer ones)."""
    given = node.integers(attribute)
    if given is not None:
        return given
    return None if array is None else listed(node, array)


def listed(node: OnnxNode, array: Array) -> tuple[int, ...]:
    """A constant as a list of integers."""
    if array.size > MAX_LISTED or array.dtype.kind not in "iub":
        node.invalid(f"a tensor of shape {array.shape} and type {array.dtype} is no list of integers")
    return tuple(int(v) for v in array.reshape(-1).tolist())


def limited(node: OnnxNode, shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(d) for d in shape)
    if any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        node.invalid(f"it would make a constant of shape {shape}")
    return shape


def reshape_target(node: OnnxNode, source: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """The shape that Reshape gives: 0 copies a dimension (unless allowzero), -1 takes what is left."""
    shape = [int(d) for d in target]
    if len(shape) > MAX_RANK:
        node.invalid(f"a tensor of {len(shape)} dimensions is beyond the {MAX_RANK} that are known")
    if not node.attribute("allowzero", 0):
        for i, d in enumerate(shape):
            if d == 0:
                if i >= len(source):
                    node.invalid(f"cannot copy dimension {i} of a tensor of rank {len(source)}")
                shape[i] = source[i]
    total = math.prod(source)
    if shape.count(-1) == 1:
        known = math.prod(d for d in shape if d != -1)
        if known == 0 or total % known:
            node.invalid(f"a tensor of shape {tuple(source)} cannot be reshaped to {tuple(target)}")
        shape[shape.index(-1)] = total // known
    if any(d < 0 for d in shape) or math.prod(shape) != total:
        node.invalid(f"a tensor of shape {tuple(source)} cannot be reshaped to {tuple(target)}")
    return tuple(shape)


def flatten_shape(node: OnnxNode, shape: Sequence[int]) -> tuple[int, int]:
    """The shape that Flatten gives."""
    rank = len(shape)
    axis = node.attribute("axis", 1)
    axis = axis if axis == rank else normalize_axis(node, axis, rank)
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def squeeze_shape(node: OnnxNode, shape: Sequence[int], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The shape that Squeeze gives."""
    if axes is None:
        return tuple(d for d in shape if d != 1)
    drop = {normalize_axis(node, a, len(shape)) for a in axes}
    if any(shape[a] != 1 for a in drop):
        node.invalid(f"axes {tuple(axes)} of shape {tuple(shape)} are not all of size 1")
    return tuple(d for i, d in enumerate(shape) if i not in drop)


def unsqueeze_shape(node: OnnxNode, shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape that Unsqueeze gives."""
    rank = len(shape) + len(axes)
    places = {normalize_axis(node, a, rank) for a in axes}
    if len(places) != len(axes):
        node.invalid(f"axes {tuple(axes)} repeat")
    rest = iter(shape)
    return tuple(1 if i in places else next(rest) for i in range(rank))


def slice_bounds(
    node: OnnxNode,
    shape: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> list[slice]:
    """One slice an axis, with bounds as numpy reads them (clamped as ONNX clamps)."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        node.invalid("starts, ends, axes and steps do not fit together")
    result = [slice(0, d, 1) for d in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = normalize_axis(node, axis, len(shape))
        # Python clamps as ONNX does, huge numbers that mean "to the end" included, but for one case: a start before the
        # first element is the first element in ONNX when the step is negative, and nothing in Python.
        # The largest integers say "to the end", which is the front if the step is negative (so does onnxruntime).
        to_the_end = end in _TO_THE_END and step < 0
        first, last, stride = slice(start, None if to_the_end else end, step).indices(shape[place])
        result[place] = slice(max(first, 0), last, stride)
    return result


def as_index(bounds: slice) -> slice:
    """A normalised slice for indexing: an end of -1 after a negative step means "up to and with 0"."""
    return slice(bounds.start, None if bounds.stop < 0 else bounds.stop, bounds.step)


def split_sizes(node: OnnxNode, size: int, sizes: Sequence[int] | None) -> tuple[int, ...]:
    """Sizes of the parts of a Split."""
    if sizes is None:
        parts = int(node.attribute("num_outputs", len(node.outputs)))
        chunk = -(-size // parts)
        sizes = [chunk] * (parts - 1) + [size - chunk * (parts - 1)]
    if sum(sizes) != size or any(s <= 0 for s in sizes) or len(sizes) != len(node.outputs):
        node.invalid(f"cannot split {size} into {tuple(sizes)}")
    return tuple(int(s) for s in sizes)
