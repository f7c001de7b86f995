"""Lowering rules: comparisons, what is chosen by them, and the place of the largest value.

XNNPACK takes none of the comparisons: each cuts the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._lower import _layout
from facegate_convert._lower._elementwise import combine_all, operands_of, unary
from facegate_convert._lower._emitter import Emitter, View
from facegate_convert._lower._movement import isolated

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph import Node

_CODES = {
    "And": "LOGICAL_AND",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Or": "LOGICAL_OR",
}


def compare(e: Emitter, node: Node) -> None:
    """Comparisons, And and Or."""
    name = node.outputs[0]
    e.views[name] = combine_all(e, _CODES[node.op], operands_of(e, node), name, dtype="bool")


def where(e: Emitter, node: Node) -> None:
    """Where: SELECT_V2."""
    name = node.outputs[0]
    e.views[name] = combine_all(e, "SELECT_V2", operands_of(e, node), name, dtype="float32")


def argument(e: Emitter, node: Node) -> None:
    """ArgMax, ArgMin, along an axis wherever it lies in memory."""
    name, x, axis = node.outputs[0], e.view(node.inputs[0]), node.attributes["axis"]
    order, shape, places = isolated(e, x, [axis])
    place = places[axis]
    inputs = [e.ordered(x, order, shape), e.integers([place], "axis")]
    code = {"ArgMax": "ARG_MAX", "ArgMin": "ARG_MIN"}[node.op]
    left = [*shape[:place], *shape[place + 1 :]]
    tensor = e.emit(code, inputs, left, name, dtype="int64", outputType="INT64")
    dims = _layout.dims_of([p for p in order if p.dim != axis], len(x.dims))
    e.views[name] = View(tensor, dims if node.attributes["keepdims"] else (*dims[:axis], *dims[axis + 1 :]))


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "And": compare,
    "ArgMax": argument,
    "ArgMin": argument,
    "Equal": compare,
    "Greater": compare,
    "GreaterOrEqual": compare,
    "Less": compare,
    "LessOrEqual": compare,
    "Not": unary("LOGICAL_NOT"),
    "Or": compare,
    "Where": where,
}
