"""Lowering rules: elementwise operators. They work on memory in whatever order it lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._lower import _layout
from facegate_convert._lower._emitter import NHWC, Emitter, View, keyed_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from facegate_convert._graph import Node
    from facegate_convert._lower._layout import Piece

Rule = "Callable[[Emitter, Node], None]"
_SLOPE_RANK = 3  # XNNPACK takes slopes of shape (1, 1, C)
_RELU6 = 6.0


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + shape


def _common_order(views: list[View], shape: tuple[int, ...]) -> tuple[list[Piece], View | None]:
    """The memory order of a result that views broadcast to, and the view (if any) that already has it."""
    lead = max(views, key=lambda v: math.prod(v.shape))
    rank = len(shape)
    if lead.shape == shape:
        return list(_layout.sequence_of(lead.dims)), lead
    # No operand covers the result: images in NHWC, the rest as in ONNX.
    order = NHWC if rank == len(NHWC) else tuple(range(rank))
    return [_layout.Piece(d, shape[d]) for d in order if shape[d] > 1], None


def combine(e: Emitter, code: str, first: View | npt.NDArray[Any], second: View | npt.NDArray[Any], name: str) -> View:
    """A binary operator with broadcasting, in the memory order of its larger operand.

    Args:
        e: the graph being built.
        code: the builtin operator.
        first: a value, or a constant in ONNX's order.
        second: likewise; one of the two is a value.
        name: of the result.
    """
    return combine_all(e, code, (first, second), name)


def combine_all(
    e: Emitter, code: str, given: Sequence[View | npt.NDArray[Any]], name: str, dtype: str | None = None
) -> View:
    """An operator on operands that broadcast, in the memory order of the largest; one of them at least is a value."""
    shape = np.broadcast_shapes(*(o.shape for o in given))
    rank = len(shape)
    operands: list[View | npt.NDArray[Any]] = []
    for operand in given:
        if isinstance(operand, View):
            dims = ((),) * (rank - len(operand.dims)) + operand.dims
            operands.append(View(operand.tensor, dims))
        else:
            operands.append(operand.reshape(_padded(operand.shape, rank)))
    order, lead = _common_order([o for o in operands if isinstance(o, View)], shape)
    covers = [tuple(o.shape[p.dim] > 1 for o in operands) for p in order]
    start = e.shape(lead.tensor) if lead is not None else [shape[d] for d in (NHWC if rank == 4 else range(rank))]  # noqa: PLR2004
    common, keys = keyed_shape(start, order, covers)
    inputs = []
    for place, operand in enumerate(operands):
        own = [s if k is not None and k[place] else 1 for s, k in zip(common, keys, strict=True)]  # type: ignore[index]
        if isinstance(operand, View):
            pieces = tuple(p for p, c in zip(order, covers, strict=True) if c[place])
            inputs.append(e.ordered(operand, pieces, own))
        else:
            typed = operand.astype(np.float32) if operand.dtype.kind == "f" else operand
            data = _layout.arranged(typed, order).reshape(own)
            inputs.append(e.constant(_without_leading_ones(data, code), f"{name}/constant"))
    return View(e.emit(code, inputs, common, name, dtype=dtype), _layout.dims_of(order, rank))


def _without_leading_ones(data: npt.NDArray[Any], code: str) -> npt.NDArray[Any]:
    if code in ("MAXIMUM", "MINIMUM", "SELECT_V2"):  # the quantizer gives operands the scale of the result, of its rank
        return data
    keep = _SLOPE_RANK if code == "PRELU" else 1
    shape = list(data.shape)
    while len(shape) > keep and shape[0] == 1:
        shape.pop(0)
    return data.reshape(shape or [1])


def apply(e: Emitter, code: str, view: View, name: str, **options: Any) -> View:
    """A unary operator."""
    return View(e.emit(code, [view.tensor], e.shape(view.tensor), name, **options), view.dims)


def operand(e: Emitter, name: str) -> View | npt.NDArray[Any]:
    """An input as `combine` takes it."""
    array = e.array(name)
    return e.view(name) if array is None else array


def full(value: float) -> npt.NDArray[np.float32]:
    """A constant that broadcasts to anything."""
    return np.asarray(value, np.float32).reshape(())


def operands_of(e: Emitter, node: Node) -> list[View | npt.NDArray[Any]]:
    """The inputs as `combine_all` takes them: one of them at least is a value."""
    found = [operand(e, i) for i in node.inputs]
    if not any(isinstance(o, View) for o in found):
        found[0] = e.view(node.inputs[0])
    return found


def binary(e: Emitter, node: Node) -> None:
    """Add, Sub, Mul, Div. A division by constants is a multiplication, which every backend does well."""
    first, second = operands_of(e, node)
    code, name = node.op.upper(), node.outputs[0]
    if code == "DIV" and not isinstance(second, View):
        with np.errstate(divide="ignore", over="ignore"):
            inverse = (1.0 / second.astype(np.float64)).astype(np.float32)
        # Subnormal and infinite inverses lose digits: those keep the division.
        if (np.isfinite(inverse) & (np.abs(inverse) >= np.finfo(np.float32).tiny)).all():
            code, second = "MUL", inverse
    e.views[name] = combine(e, code, first, second, name)


def power(e: Emitter, node: Node) -> None:
    """Pow: the usual constant exponents as what they are."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    exponent = e.array(node.inputs[1])
    same = e.graph.shapes[name] == x.shape
    value = float(exponent.reshape(-1)[0]) if exponent is not None and exponent.size == 1 and same else None
    if value == 2.0:  # noqa: PLR2004
        e.views[name] = combine(e, "MUL", x, x, name)
    elif value == 3.0:  # noqa: PLR2004
        e.views[name] = combine(e, "MUL", combine(e, "MUL", x, x, f"{name}/square"), x, name)
    elif value == 0.5:  # noqa: PLR2004
        e.views[name] = apply(e, "SQRT", x, name)
    elif value == -0.5:  # noqa: PLR2004
        e.views[name] = apply(e, "RSQRT", x, name)
    elif value == -1.0:
        e.views[name] = combine(e, "DIV", full(1.0), x, name)
    else:
        first, second = operands_of(e, node)
        e.views[name] = combine(e, "POW", first, second, name)


def unary(code: str) -> Callable[[Emitter, Node], None]:
    """The rule of an operator of one operand and no parameters."""

    def rule(e: Emitter, node: Node) -> None:
        e.views[node.outputs[0]] = apply(e, code, e.view(node.inputs[0]), node.outputs[0])

    return rule


def clip(e: Emitter, node: Node) -> None:
    """Clip: the ranges that have an operator (and fuse), otherwise MAXIMUM and MINIMUM."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    low, high = node.attributes["min"], node.attributes["max"]
    # XNNPACK does not take RELU_0_TO_1: RELU, which fuses, and MINIMUM do the same.
    known = {(0.0, None): "RELU", (0.0, _RELU6): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
    code = known.get((low, high))
    if code is not None:
        e.views[name] = apply(e, code, x, name)
        return
    if low is not None:
        x = apply(e, "RELU", x, f"{name}/low") if low == 0 else combine(e, "MAXIMUM", x, full(low), f"{name}/low")
    if high is not None:
        x = combine(e, "MINIMUM", x, full(high), f"{name}/high")
    e.views[name] = x


def _rectified(e: Emitter, x: View, slope: npt.NDArray[Any], name: str) -> View:
    """A leaky rectifier of slope a for x < 0 without PRELU: x + s * relu(-|1 - a| * x), s = 1 where a <= 1, else -1.

    For x > 0 the second term is 0; for x < 0 it is s * |1 - a| * -x = (a - 1) * x. The RELU fuses into its factor.
    """
    if (slope == 0).all():
        return apply(e, "RELU", x, name)
    factor = -np.abs(1.0 - slope.astype(np.float64)).astype(np.float32)
    term = apply(e, "RELU", combine(e, "MUL", x, factor, f"{name}/negative"), f"{name}/rectified")
    above = slope > 1
    if above.all():
        return combine(e, "SUB", x, term, name)
    if above.any():
        term = combine(e, "MUL", term, np.where(above, -1.0, 1.0).astype(np.float32), f"{name}/signed")
    return combine(e, "ADD", x, term, name)


def prelu(e: Emitter, node: Node) -> None:
    """PRelu, kept or written as arithmetic."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    slope = np.asarray(e.graph.constants[node.inputs[1]])
    if e.prelu == "rewrite":
        e.views[name] = _rectified(e, x, slope, name)
    else:
        e.views[name] = combine(e, "PRELU", x, slope, name)


def leaky_relu(e: Emitter, node: Node) -> None:
    """LeakyRelu, kept or written as arithmetic."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    alpha = node.attributes["alpha"]
    if e.prelu == "rewrite":
        e.views[name] = _rectified(e, x, full(alpha), name)
    else:
        e.views[name] = apply(e, "LEAKY_RELU", x, name, alpha=alpha)


def hard_sigmoid(e: Emitter, node: Node) -> None:
    """HardSigmoid: clip(alpha * x + beta, 0, 1) = relu6(6 * alpha * x + 6 * beta) / 6, whose RELU6 fuses."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    alpha, beta = _RELU6 * node.attributes["alpha"], _RELU6 * node.attributes["beta"]
    if abs(alpha - 1) > np.finfo(np.float32).eps:
        x = combine(e, "MUL", x, full(alpha), f"{name}/scaled")
    x = apply(e, "RELU6", combine(e, "ADD", x, full(beta), f"{name}/shifted"), f"{name}/clipped")
    e.views[name] = combine(e, "MUL", x, full(1 / _RELU6), name)


def cast(e: Emitter, node: Node) -> None:
    """Cast between integers and float32."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    tensor = e.emit("CAST", [x.tensor], e.shape(x.tensor), name, dtype=node.attributes["to"])
    e.views[name] = View(tensor, x.dims)


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "Add": binary,
    "Cast": cast,
    "Clip": clip,
    "Div": binary,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "Mul": binary,
    "PRelu": prelu,
    "Pow": power,
    "Sub": binary,
}
