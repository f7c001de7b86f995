"""Import rules: comparisons, what depends on them, and the place of the largest value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._graph._builder import broadcast, normalize_axis

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph._builder import Array, Builder, OnnxNode, Shape


def compare(b: Builder, n: OnnxNode) -> None:
    """Equal, Greater, GreaterOrEqual, Less, LessOrEqual."""
    n.inputs = b.unstretched(n, 2)
    shape = broadcast(n, b.shape(n, 0), b.shape(n, 1))
    b.floating(n, 0, 1)
    b.add(n.op, n, n.inputs, shape, output=n.outputs[0], dtype="bool")


def _boolean(b: Builder, n: OnnxNode, *indices: int) -> None:
    for index in indices:
        if b.shape(n, index) is not None and b.dtypes[n.inputs[index]] != "bool":
            n.invalid(f"its input {n.inputs[index]!r} is {b.dtypes[n.inputs[index]]}, not boolean")


def logic(b: Builder, n: OnnxNode) -> None:
    """And, Or."""
    _boolean(b, n, 0, 1)
    shape = broadcast(n, b.shape(n, 0), b.shape(n, 1))
    b.add(n.op, n, n.inputs[:2], shape, output=n.outputs[0], dtype="bool")


def negation(b: Builder, n: OnnxNode) -> None:
    """Not."""
    _boolean(b, n, 0)
    b.add("Not", n, n.inputs[:1], b.shape(n), output=n.outputs[0], dtype="bool")


def where(b: Builder, n: OnnxNode) -> None:
    """Where(condition, x, y)."""
    n.inputs = b.unstretched(n, 3)
    _boolean(b, n, 0)
    b.floating(n, 1, 2)
    shape = broadcast(n, broadcast(n, b.shape(n, 0), b.shape(n, 1)), b.shape(n, 2))
    condition = b.constant(n.inputs[0])
    if condition is not None:
        _masked(b, n, condition, shape)
        return
    b.add("Where", n, n.inputs, shape, output=n.outputs[0], dtype="float32")


def _masked(b: Builder, n: OnnxNode, condition: Array, shape: Shape) -> None:
    """A constant condition is a factor: x * mask + y * (1 - mask). XNNPACK takes products, and no choices."""
    parts = []
    for name, kept in ((n.inputs[1], condition), (n.inputs[2], ~condition)):
        array = b.constant(name)
        if array is not None:  # chosen here, so that an infinity stays one
            b.spend(n, int(np.prod(np.broadcast_shapes(kept.shape, array.shape))))
            chosen = np.where(kept, array, np.float32(0)).astype(np.float32)
            parts.append(b.new_constant(f"{n.outputs[0]}/part", chosen))
        else:
            mask = b.new_constant(f"{n.outputs[0]}/mask", kept.astype(np.float32))
            parts.append(b.add("Mul", n, [name, mask], broadcast(n, b.shapes[name], kept.shape)))
    b.add("Add", n, parts, shape, output=n.outputs[0], dtype="float32")


def argument(b: Builder, n: OnnxNode) -> None:
    """ArgMax, ArgMin: of equal values the first."""
    shape = b.shape(n)
    b.floating(n, 0)
    if n.attribute("select_last_index", 0):
        n.refuse("of equal values it takes the last", "export with select_last_index=0")
    axis = normalize_axis(n, n.attribute("axis", 0), len(shape))
    keep = bool(n.attribute("keepdims", 1))
    result = [1 if i == axis else d for i, d in enumerate(shape) if keep or i != axis]
    b.add(n.op, n, n.inputs[:1], result, output=n.outputs[0], dtype="int64", axis=axis, keepdims=keep)


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "And": logic,
    "ArgMax": argument,
    "ArgMin": argument,
    "Equal": compare,
    "Greater": compare,
    "GreaterOrEqual": compare,
    "Less": compare,
    "LessOrEqual": compare,
    "Not": negation,
    "Or": logic,
    "Where": where,
}
