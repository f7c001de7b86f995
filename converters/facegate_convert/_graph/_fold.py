"""Constant folding: the operators that models use to compute shapes and parameters, in numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph._builder import normalize_axis
from facegate_convert.errors import InvalidGraphError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from facegate_convert._graph._builder import OnnxNode

    Array = npt.NDArray[Any]

# A folded constant is a shape or a weight; what is larger than this is a mistake or an attack on the build host.
MAX_ELEMENTS = 64 * 2**20

# ONNX element type -> numpy type; half types are computed as float32.
_CAST: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float32,
    11: np.float64,
    16: np.float32,
}


def fold(node: OnnxNode, arrays: Sequence[Array | None]) -> list[Array] | None:
    """The outputs of a node whose inputs are all constants, None if its operator is not one that is folded."""
    rule = _RULES.get(node.op)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            result = rule(node, *arrays)
    except InvalidGraphError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, KeyError, AttributeError, ZeroDivisionError):
        node.invalid("its constant inputs do not fit together")
    outputs = result if isinstance(result, list) else [result]
    return [np.asarray(o) for o in outputs]


def integer_list(node: OnnxNode, array: Array | None, attribute: str) -> tuple[int, ...] | None:
    """Integers from an attribute (older operator sets) or from an array (newer ones)."""
    given = node.integers(attribute)
    if given is not None:
        return given
    return None if array is None else tuple(int(v) for v in array.reshape(-1))


def _limited(node: OnnxNode, shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(d) for d in shape)
    if any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        node.invalid(f"it would make a constant of shape {shape}")
    return shape


def reshape_target(node: OnnxNode, source: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """The shape that Reshape gives: 0 copies a dimension (unless allowzero), -1 takes what is left."""
    shape = [int(d) for d in target]
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
        first, last, stride = slice(start, end, step).indices(shape[place])
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


def _slice(node: OnnxNode, x: Array, *rest: Array | None) -> Array:
    names = ("starts", "ends", "axes", "steps")
    given = [integer_list(node, rest[i] if i < len(rest) else None, n) for i, n in enumerate(names)]
    starts, ends, axes, steps = given
    return x[tuple(as_index(s) for s in slice_bounds(node, x.shape, starts or (), ends or (), axes, steps))]


def _split(node: OnnxNode, x: Array, sizes: Array | None = None) -> list[Array]:
    axis = normalize_axis(node, node.attribute("axis", 0), x.ndim)
    parts = split_sizes(node, x.shape[axis], integer_list(node, sizes, "split"))
    return [np.ascontiguousarray(p) for p in np.split(x, np.cumsum(parts)[:-1], axis)]


def _divide(_: OnnxNode, a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    # ONNX truncates towards zero, numpy floors.
    return np.asarray((np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype))


def _cast(node: OnnxNode, x: Array) -> Array:
    to = node.attribute("to", 1)
    if to not in _CAST:
        node.refuse(f"it casts to ONNX type {to}")
    return x.astype(_CAST[to])


def _constant(node: OnnxNode) -> Array:
    for key, value in node.attributes.items():
        if key == "value":
            return np.asarray(value)
        if key.startswith("value_") and "string" not in key:
            return np.asarray(value, np.int64 if "int" in key else np.float32)
    return node.refuse("it holds neither a tensor nor numbers")


def _constant_of_shape(node: OnnxNode, shape: Array) -> Array:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    return np.full(_limited(node, shape.reshape(-1).tolist()), value.reshape(-1)[0], value.dtype)


def _range(node: OnnxNode, start: Array, limit: Array, delta: Array) -> Array:
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    return (start + np.arange(*_limited(node, (count,))) * delta).astype(start.dtype)


def _gather(node: OnnxNode, x: Array, indices: Array) -> Array:
    return np.take(x, indices.astype(np.int64), normalize_axis(node, node.attribute("axis", 0), x.ndim))


def _concat(node: OnnxNode, *arrays: Array) -> Array:
    _limited(node, (sum(a.size for a in arrays),))
    return np.concatenate(arrays, node.attribute("axis", 1))


def _expand(node: OnnxNode, x: Array, shape: Array) -> Array:
    target = np.broadcast_shapes(x.shape, tuple(int(d) for d in shape.reshape(-1)))
    return np.ascontiguousarray(np.broadcast_to(x, _limited(node, target)))


def _tile(node: OnnxNode, x: Array, repeats: Array) -> Array:
    counts = [int(r) for r in repeats.reshape(-1)]
    _limited(node, [d * r for d, r in zip(x.shape, counts, strict=True)])
    return np.tile(x, counts)


def _reduce(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(node: OnnxNode, x: Array, axes: Array | None = None) -> Array:
        listed = integer_list(node, axes, "axes") or None  # no axes are all axes, unless noop_with_empty_axes
        if listed is None and node.attribute("noop_with_empty_axes", 0):
            return x
        keep = bool(node.attribute("keepdims", 1))
        return np.asarray(function(x, axis=listed, keepdims=keep)).astype(x.dtype)

    return rule


def _elementwise(function: Callable[..., Any]) -> Callable[..., Array]:
    return lambda _node, *arrays: np.asarray(function(*arrays))


def _same_type(function: Callable[..., Any]) -> Callable[..., Array]:
    return lambda _node, x, *rest: np.asarray(function(x, *rest)).astype(x.dtype)


_RULES: dict[str, Callable[..., Any]] = {
    "Abs": _same_type(np.abs),
    "Add": _same_type(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Ceil": _same_type(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _divide,
    "Dropout": _elementwise(lambda x, *_: x),
    "Equal": _elementwise(np.equal),
    "Exp": _same_type(np.exp),
    "Expand": _expand,
    "Flatten": lambda node, x: x.reshape(flatten_shape(node, x.shape)),
    "Floor": _same_type(np.floor),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "Identity": _elementwise(lambda x: x),
    "Less": _elementwise(np.less),
    "Max": lambda _node, *arrays: np.asarray(np.maximum.reduce(np.broadcast_arrays(*arrays))),
    "Min": lambda _node, *arrays: np.asarray(np.minimum.reduce(np.broadcast_arrays(*arrays))),
    "Mul": _same_type(np.multiply),
    "Neg": _same_type(np.negative),
    "Not": _elementwise(np.logical_not),
    "Pow": _same_type(np.power),
    "Range": _range,
    "Reciprocal": _same_type(np.reciprocal),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": lambda node, x, shape: x.reshape(reshape_target(node, x.shape, shape.reshape(-1))),
    "Round": _same_type(np.round),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _same_type(np.sqrt),
    "Squeeze": lambda node, x, axes=None: x.reshape(squeeze_shape(node, x.shape, integer_list(node, axes, "axes"))),
    "Sub": _same_type(np.subtract),
    "Tile": _tile,
    "Transpose": lambda node, x: np.ascontiguousarray(
        np.transpose(x, node.attribute("perm", tuple(reversed(range(x.ndim)))))
    ),
    "Unsqueeze": lambda node, x, axes=None: x.reshape(
        unsqueeze_shape(node, x.shape, integer_list(node, axes, "axes") or ())
    ),
    "Where": _elementwise(np.where),
}

FOLDED = frozenset(_RULES)
