"""Constant folding: the operators that models use to compute shapes and parameters, in numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph._builder import MAX_RANK, normalize_axis
from facegate_convert._graph._shapes import (
    as_index,
    flatten_shape,
    integer_list,
    limited,
    listed,
    reshape_target,
    slice_bounds,
    split_sizes,
    squeeze_shape,
    unsqueeze_shape,
)
from facegate_convert.errors import InvalidGraphError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from facegate_convert._graph._builder import OnnxNode

    Array = npt.NDArray[Any]

_MAX_PRODUCTS = 2**30

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
        outputs = [np.asarray(o) for o in (result if isinstance(result, list) else [result])]
    except (InvalidGraphError, UnsupportedOperatorError):
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError):
        node.invalid("its constant inputs do not fit together")
    if any(o.ndim > MAX_RANK for o in outputs):
        node.invalid(f"its result would have more than {MAX_RANK} dimensions")
    return outputs


def _slice(node: OnnxNode, x: Array, *rest: Array | None) -> Array:
    names = ("starts", "ends", "axes", "steps")
    given = [integer_list(node, rest[i] if i < len(rest) else None, n) for i, n in enumerate(names)]
    starts, ends, axes, steps = given
    return x[tuple(as_index(s) for s in slice_bounds(node, x.shape, starts or (), ends or (), axes, steps))]


def _split(node: OnnxNode, x: Array, sizes: Array | None = None) -> list[Array]:
    axis = normalize_axis(node, node.attribute("axis", 0), x.ndim)
    parts = split_sizes(node, x.shape[axis], integer_list(node, sizes, "split"))
    return [np.ascontiguousarray(p) for p in np.split(x, np.cumsum(parts)[:-1], axis)]


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
    return np.full(limited(node, listed(node, shape)), value.reshape(-1)[0], value.dtype)


def _range(node: OnnxNode, start: Array, limit: Array, delta: Array) -> Array:
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    return (start + np.arange(*limited(node, (count,))) * delta).astype(start.dtype)


def _gather(node: OnnxNode, x: Array, indices: Array) -> Array:
    axis = normalize_axis(node, node.attribute("axis", 0), x.ndim)
    if indices.size > x.shape[axis]:
        limited(node, (*x.shape[:axis], indices.size, *x.shape[axis + 1 :]))
    return np.take(x, indices.astype(np.int64), normalize_axis(node, node.attribute("axis", 0), x.ndim))


def _concat(node: OnnxNode, *arrays: Array) -> Array:
    if len({id(a) for a in arrays}) < len(arrays):  # the same one twice: a way to grow
        limited(node, (sum(a.size for a in arrays),))
    return np.concatenate(arrays, node.attribute("axis", 1))


def _expand(node: OnnxNode, x: Array, shape: Array) -> Array:
    target = np.broadcast_shapes(x.shape, listed(node, shape))
    return np.asarray(np.broadcast_to(x, limited(node, target)), order="C")


def _tile(node: OnnxNode, x: Array, repeats: Array) -> Array:
    counts = listed(node, repeats)
    limited(node, [d * r for d, r in zip(x.shape, counts, strict=True)])
    return np.tile(x, counts)


def _reduce(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(node: OnnxNode, x: Array, axes: Array | None = None) -> Array:
        listed = integer_list(node, axes, "axes") or None  # no axes are all axes, unless noop_with_empty_axes
        if listed is None and node.attribute("noop_with_empty_axes", 0):
            return x
        keep = bool(node.attribute("keepdims", 1))
        if listed is not None:
            listed = tuple(sorted({normalize_axis(node, a, x.ndim) for a in listed}))
        return np.asarray(function(x, axis=listed, keepdims=keep)).astype(x.dtype)

    return rule


def _fitting(node: OnnxNode, arrays: Sequence[Array]) -> None:
    """What operands broadcast to must not be large unless one of them is: (N, 1) and (1, N) are small, N x N is not."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    if math.prod(shape) > max(a.size for a in arrays):
        limited(node, shape)


def _elementwise(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(node: OnnxNode, *arrays: Array) -> Array:
        _fitting(node, arrays)
        return np.asarray(function(*arrays))

    return rule


def _same_type(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(node: OnnxNode, x: Array, *rest: Array) -> Array:
        _fitting(node, (x, *rest))
        return np.asarray(function(x, *rest)).astype(x.dtype)

    return rule


def _of_all(function: Callable[..., Any]) -> Callable[..., Array]:
    """Max, Min, Sum: of any number of operands."""

    def rule(node: OnnxNode, *arrays: Array) -> Array:
        _fitting(node, arrays)
        result = arrays[0]
        for array in arrays[1:]:
            result = function(result, array)
        return np.asarray(result)

    return rule


def _divide(node: OnnxNode, a: Array, b: Array) -> Array:
    _fitting(node, (a, b))
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    # ONNX truncates towards zero, numpy floors.
    return np.asarray((np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype))


def _modulo(node: OnnxNode, a: Array, b: Array) -> Array:
    _fitting(node, (a, b))
    if a.dtype.kind in "iu" and not np.all(b):
        node.invalid("it divides by 0")
    return np.asarray((np.fmod if node.attribute("fmod", 0) else np.mod)(a, b)).astype(a.dtype)


def _clip(node: OnnxNode, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    least = node.attribute("min", -math.inf) if low is None else low
    most = node.attribute("max", math.inf) if high is None else high
    return np.asarray(np.minimum(np.maximum(x, least), most)).astype(x.dtype).reshape(x.shape)


def _matmul(node: OnnxNode, a: Array, b: Array) -> Array:
    # One of the two was in the file, or was limited when it was made: their product is bounded by this alone.
    if a.ndim and b.ndim and a.size * (b.shape[-1] if b.ndim > 1 else 1) > _MAX_PRODUCTS:
        node.invalid(f"the product of constants of shapes {a.shape} and {b.shape} is too large")
    return np.asarray(np.matmul(a, b))


def _cumulative(node: OnnxNode, x: Array, axis: Array) -> Array:
    place = normalize_axis(node, int(axis.reshape(-1)[0]), x.ndim)
    if node.attribute("reverse", 0):
        x = np.flip(x, place)
    total = np.cumsum(x, place, dtype=x.dtype)
    if node.attribute("exclusive", 0):
        total = total - x
    return np.asarray(np.flip(total, place) if node.attribute("reverse", 0) else total)


def _triangle(node: OnnxNode, x: Array, k: Array | None = None) -> Array:
    offset = 0 if k is None else int(k.reshape(-1)[0])
    return np.asarray(np.triu(x, offset) if node.attribute("upper", 1) else np.tril(x, offset))


def _scattered(node: OnnxNode, x: Array, indices: Array, updates: Array) -> Array:
    if node.attribute("reduction", "none") != "none":
        node.refuse("it combines what it scatters", "export without scatter_add and its kin")
    result: Array = x.copy()
    result[tuple(np.moveaxis(indices, -1, 0))] = updates
    return result


def _argument(function: Callable[..., Any]) -> Callable[..., Array]:
    def rule(node: OnnxNode, x: Array) -> Array:
        axis = normalize_axis(node, node.attribute("axis", 0), x.ndim)
        if node.attribute("select_last_index", 0):
            return np.asarray(
                x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=bool(node.attribute("keepdims", 1)))
            )
        return np.asarray(function(x, axis=axis, keepdims=bool(node.attribute("keepdims", 1))))

    return rule


def _gather_nd(node: OnnxNode, x: Array, indices: Array) -> Array:
    if node.attribute("batch_dims", 0):
        node.refuse("it gathers by batch")
    limited(node, (*indices.shape[:-1], *x.shape[indices.shape[-1] :]))
    return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])


_RULES: dict[str, Callable[..., Any]] = {
    "Abs": _same_type(np.abs),
    "Add": _same_type(np.add),
    "And": _elementwise(np.logical_and),
    "ArgMax": _argument(np.argmax),
    "ArgMin": _argument(np.argmin),
    "Cast": _cast,
    "CastLike": lambda _node, x, like: x.astype(like.dtype),
    "Ceil": _same_type(np.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _same_type(np.cos),
    "CumSum": _cumulative,
    "Div": _divide,
    "Dropout": _elementwise(lambda x, *_: x),
    "Equal": _elementwise(np.equal),
    "Exp": _same_type(np.exp),
    "Expand": _expand,
    "Flatten": lambda node, x: x.reshape(flatten_shape(node, x.shape)),
    "Floor": _same_type(np.floor),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": _elementwise(lambda x: x),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Log": _same_type(np.log),
    "MatMul": _matmul,
    "Max": _of_all(np.maximum),
    "Min": _of_all(np.minimum),
    "Mod": _modulo,
    "Mul": _same_type(np.multiply),
    "Neg": _same_type(np.negative),
    "NonZero": lambda _node, x: np.asarray(np.nonzero(np.atleast_1d(x)), np.int64),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _same_type(np.power),
    "Range": _range,
    "Reciprocal": _same_type(np.reciprocal),
    "ReduceL1": _reduce(lambda x, **over: np.abs(x).sum(**over)),
    "ReduceL2": _reduce(lambda x, **over: np.sqrt(np.square(x).sum(**over))),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceSumSquare": _reduce(lambda x, **over: np.square(x).sum(**over)),
    "Relu": _same_type(lambda x: np.maximum(x, 0)),
    "Reshape": lambda node, x, shape: x.reshape(reshape_target(node, x.shape, listed(node, shape))),
    "Round": _same_type(np.round),
    "ScatterND": _scattered,
    "Sigmoid": _same_type(lambda x: 1 / (1 + np.exp(-x))),
    "Sign": _same_type(np.sign),
    "Sin": _same_type(np.sin),
    "Size": lambda _node, x: np.asarray(x.size, np.int64),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _same_type(np.sqrt),
    "Squeeze": lambda node, x, axes=None: x.reshape(squeeze_shape(node, x.shape, integer_list(node, axes, "axes"))),
    "Sub": _same_type(np.subtract),
    "Sum": _of_all(np.add),
    "Tanh": _same_type(np.tanh),
    "Tile": _tile,
    # numpy's ascontiguousarray would make a vector of a scalar.
    "Transpose": lambda node, x: np.asarray(
        np.transpose(x, node.attribute("perm", tuple(reversed(range(x.ndim))))), order="C"
    ),
    "Trilu": _triangle,
    "Unsqueeze": lambda node, x, axes=None: x.reshape(
        unsqueeze_shape(node, x.shape, integer_list(node, axes, "axes") or ())
    ),
    "Where": _elementwise(np.where),
    "Xor": _elementwise(np.logical_xor),
}

FOLDED = frozenset(_RULES)
