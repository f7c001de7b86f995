"""Import rules: normalisations by an image's own mean and variance, and reductions that are made of others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._graph._builder import broadcast, normalize_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegate_convert._graph._builder import Array, Builder, OnnxNode, Shape

_PER_CHANNEL = 21  # operator set from which GroupNormalization has a scale for each channel, not for each group


def _binary(b: Builder, n: OnnxNode, op: str, x: str, y: str, output: str | None = None) -> str:
    return b.add(op, n, [x, y], broadcast(n, b.shapes[x], b.shapes[y]), output=output)


def _reduced(b: Builder, n: OnnxNode, op: str, x: str, axes: Sequence[int]) -> str:
    shape = [1 if i in axes else d for i, d in enumerate(b.shapes[x])]
    return b.add(op, n, [x], shape, axes=tuple(axes), keepdims=True)


def _normalized(b: Builder, n: OnnxNode, x: str, axes: Sequence[int], epsilon: float, output: str | None = None) -> str:
    """(x - mean) / sqrt(variance + epsilon) over some axes."""
    centered = _binary(b, n, "Sub", x, _reduced(b, n, "ReduceMean", x, axes))
    variance = _reduced(b, n, "ReduceMean", _binary(b, n, "Mul", centered, centered), axes)
    spread = _binary(b, n, "Add", variance, b.scalar(n, epsilon))
    inverse = _binary(b, n, "Pow", spread, b.scalar(n, -0.5))
    return _binary(b, n, "Mul", centered, inverse, output)


def _scaled(b: Builder, n: OnnxNode, x: str, scale: Array | None, shift: Array | None) -> None:
    """X * scale + shift, either of which may be absent, as the node's result."""
    if scale is not None:
        factor = b.new_constant(f"{n.outputs[0]}/scale", scale.astype(np.float32))
        x = _binary(b, n, "Mul", x, factor, n.outputs[0] if shift is None else None)
    if shift is not None:
        term = b.new_constant(f"{n.outputs[0]}/shift", shift.astype(np.float32))
        x = _binary(b, n, "Add", x, term, n.outputs[0])
    if scale is None and shift is None:
        b.alias(n.outputs[0], x)


def _vector(b: Builder, n: OnnxNode, index: int, what: str, count: int, shape: Shape) -> Array:
    array = b.parameter(n, index, what)
    if array is None or array.shape != (count,):
        n.invalid(f"its {what} does not have {count} values")
    return array.reshape(shape)


def layer_normalization(b: Builder, n: OnnxNode) -> None:
    """LayerNormalization(axis, epsilon) over an axis and all after it; its mean and deviation may not be read."""
    shape = b.shape(n)
    b.floating(n, 0)
    if len([o for o in n.outputs if o]) > 1:
        n.refuse("its second or third output (mean, deviation) is used", "compute them apart")
    axis = normalize_axis(n, n.attribute("axis", -1), len(shape))
    scale, shift = b.parameter(n, 1, "scale"), b.parameter(n, 2, "bias")
    for array in (scale, shift):
        if array is not None and broadcast(n, shape, array.shape) != shape:
            n.invalid(f"a parameter of shape {array.shape} does not fit its input of shape {shape}")
    axes = range(axis, len(shape))
    _scaled(b, n, _normalized(b, n, n.inputs[0], axes, float(n.attribute("epsilon", 1e-5))), scale, shift)


def instance_normalization(b: Builder, n: OnnxNode) -> None:
    """InstanceNormalization(epsilon): each channel of each image for itself."""
    shape = b.shape(n)
    b.floating(n, 0)
    if len(shape) < 3:  # noqa: PLR2004 - batch, channels and at least one more
        n.invalid(f"its input has the shape {shape}, which has no spatial dimension")
    layout = (shape[1], *(1,) * (len(shape) - 2))
    scale, shift = (_vector(b, n, i + 1, what, shape[1], layout) for i, what in enumerate(("scale", "bias")))
    axes = range(2, len(shape))
    _scaled(b, n, _normalized(b, n, n.inputs[0], axes, float(n.attribute("epsilon", 1e-5))), scale, shift)


def group_normalization(b: Builder, n: OnnxNode) -> None:
    """GroupNormalization(num_groups, epsilon): the channels of a group together."""
    shape = b.shape(n)
    b.floating(n, 0)
    groups = int(n.attribute("num_groups", 0))
    if len(shape) < 3 or groups < 1 or shape[1] % groups:  # noqa: PLR2004 - as above
        n.invalid(f"{groups} groups do not fit an input of shape {shape}")
    count = shape[1] if b.opset >= _PER_CHANNEL else groups
    layout = (shape[1], *(1,) * (len(shape) - 2))
    scale, shift = (
        np.repeat(_vector(b, n, i + 1, what, count, (count,)), shape[1] // count).reshape(layout)
        for i, what in enumerate(("scale", "bias"))
    )
    grouped = b.reshape(n, n.inputs[0], (shape[0], groups, shape[1] // groups, *shape[2:]))
    axes = range(2, len(shape) + 1)
    normal = _normalized(b, n, grouped, axes, float(n.attribute("epsilon", 1e-5)))
    _scaled(b, n, b.reshape(n, normal, shape), scale, shift)


def mean_variance_normalization(b: Builder, n: OnnxNode) -> None:
    """MeanVarianceNormalization(axes): epsilon is 1e-9 beside the deviation, which is as good as none."""
    shape = b.shape(n)
    b.floating(n, 0)
    axes = sorted({normalize_axis(n, a, len(shape)) for a in n.integers("axes") or (0, 2, 3)})
    _normalized(b, n, n.inputs[0], axes, 1e-18, n.outputs[0])


def log_softmax(b: Builder, n: OnnxNode) -> None:
    """LogSoftmax: x - max - log(sum(exp(x - max))), over one axis, or before operator set 13 over all after it too."""
    shape = b.shape(n)
    b.floating(n, 0)
    old = b.opset < 13  # noqa: PLR2004 - as Softmax
    axis = normalize_axis(n, n.attribute("axis", 1 if old else -1), len(shape))
    axes = tuple(range(axis, len(shape))) if old else (axis,)
    shifted = _binary(b, n, "Sub", n.inputs[0], _reduced(b, n, "ReduceMax", n.inputs[0], axes))
    total = _reduced(b, n, "ReduceSum", b.add("Exp", n, [shifted], shape), axes)
    _binary(b, n, "Sub", shifted, b.add("Log", n, [total], b.shapes[total]), n.outputs[0])


def composed(b: Builder, n: OnnxNode) -> None:
    """ReduceL1, ReduceSumSquare, ReduceLogSum, ReduceLogSumExp."""
    shape = b.shape(n)
    b.floating(n, 0)
    listed = b.integers(n, 1, "axes")
    keep = bool(n.attribute("keepdims", 1))
    if not listed and n.attribute("noop_with_empty_axes", 0):
        n.refuse("it reduces nothing, and then is another operator", "give it axes")
    axes = sorted({normalize_axis(n, a, len(shape)) for a in listed or range(len(shape))})
    x = n.inputs[0]
    largest = None
    if n.op == "ReduceL1":
        x = b.add("Abs", n, [x], shape)
    elif n.op == "ReduceSumSquare":
        x = _binary(b, n, "Mul", x, x)
    elif n.op == "ReduceLogSumExp":
        largest = _reduced(b, n, "ReduceMax", x, axes)
        x = b.add("Exp", n, [_binary(b, n, "Sub", x, largest)], shape)
    total = _reduced(b, n, "ReduceSum", x, axes)
    if n.op.startswith("ReduceLog"):
        total = b.add("Log", n, [total], b.shapes[total])
    if largest is not None:
        total = _binary(b, n, "Add", total, largest)
    result = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    if tuple(result) == b.shapes[total]:
        b.alias(n.outputs[0], total)
    else:
        b.reshape(n, total, result, n.outputs[0])


def einsum(b: Builder, n: OnnxNode) -> None:
    """Einsum of one or two operands: dimensions brought in order, one product of matrices, and in order again."""
    equation = str(n.attribute("equation", "")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    shapes = [b.shape(n, i) for i in range(len(n.inputs))]
    if len(terms) != len(shapes):
        n.invalid(f"its equation {equation!r} does not name {len(shapes)} operands")
    if (
        not arrow
        or not "".join((*terms, result)).isalpha()
        or len(terms) > 2  # noqa: PLR2004 - two operands
        or any(len(set(t)) < len(t) for t in terms)
    ):
        n.refuse(f"its equation {equation!r} is not a product of two", "write it as matmul and transpose")
    b.floating(n, *range(len(n.inputs)))
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape) or any(sizes.setdefault(k, d) != d for k, d in zip(term, shape, strict=True)):
            n.invalid(f"its equation {equation!r} does not fit the shapes {', '.join(map(str, shapes))}")
    if len(set(result)) < len(result) or set(result) - set(sizes):
        n.invalid(f"its equation {equation!r} has a result that its operands do not")
    values = []
    for i, term in enumerate(terms):  # what only one operand has, and the result has not, is summed first
        others = {*result, *(k for j, t in enumerate(terms) if j != i for k in t)}
        alone = [p for p, k in enumerate(term) if k not in others]
        value = n.inputs[i]
        if alone:
            value = _reduced(b, n, "ReduceSum", value, alone)
            value = b.reshape(n, value, [sizes[k] for k in term if k in others])
        terms[i] = "".join(k for k in term if k in others)
        values.append(value)

    def ordered(value: str, have: str, want: str) -> str:
        perm = tuple(have.index(k) for k in want)
        return value if have == want else b.add("Transpose", n, [value], [sizes[k] for k in want], perm=perm)

    if len(terms) == 1:
        b.reshape(n, ordered(values[0], terms[0], result), b_shape(sizes, result), n.outputs[0])
        return
    both = set(terms[0]) & set(terms[1])
    batch = [k for k in result if k in both]
    inner = [k for k in terms[0] if k in both and k not in result]
    rows, columns = ([k for k in t if k not in both] for t in terms)
    extent = [math.prod(sizes[k] for k in part) for part in (rows, inner, columns)]
    first = b.reshape(
        n,
        ordered(values[0], terms[0], "".join((*batch, *rows, *inner))),
        (*b_shape(sizes, batch), extent[0], extent[1]),
    )
    second = b.reshape(
        n,
        ordered(values[1], terms[1], "".join((*batch, *inner, *columns))),
        (*b_shape(sizes, batch), extent[1], extent[2]),
    )
    product = b.add("MatMul", n, [first, second], (*b_shape(sizes, batch), extent[0], extent[2]))
    have = "".join((*batch, *rows, *columns))
    product = b.reshape(n, product, b_shape(sizes, have))
    b.reshape(n, ordered(product, have, result), b_shape(sizes, result), n.outputs[0])


def b_shape(sizes: dict[str, int], labels: Sequence[str]) -> tuple[int, ...]:
    """The shape of a value with these dimensions."""
    return tuple(sizes[k] for k in labels)


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "Einsum": einsum,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "MeanVarianceNormalization": mean_variance_normalization,
    "ReduceL1": composed,
    "ReduceLogSum": composed,
    "ReduceLogSumExp": composed,
    "ReduceSumSquare": composed,
}
