"""Lowering rules: reductions, normalisations and Softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._lower import _layout
from facegate_convert._lower._elementwise import apply, combine, full
from facegate_convert._lower._emitter import Emitter, View, keyed_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegate_convert._graph import Node

# The smallest normal float32: keeps 1 / norm finite, and so the normalised null vector null.
_TINY = float(np.finfo(np.float32).tiny)


_CODES = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}


def reduced(e: Emitter, code: str, view: View, axes: Sequence[int], name: str, *, keep: bool = True) -> View:
    """A reduction over some dimensions, wherever they lie in memory."""
    order = _layout.sequence_of(view.dims)
    keys = [p.dim in axes for p in order]
    left = tuple(p for p in order if p.dim not in axes)
    dims = _layout.dims_of(left, len(view.dims))
    if not keep:
        dims = tuple(d for i, d in enumerate(dims) if i not in axes)
    if not any(keys):  # everything reduced has size 1
        return View(view.tensor, dims)
    shape, found = keyed_shape(e.shape(view.tensor), order, keys)
    places = [i for i, k in enumerate(found) if k]
    result = [1 if i in places else s for i, s in enumerate(shape)]
    inputs = [e.reshape(view.tensor, shape), e.integers(places, "axes")]
    return View(e.emit(code, inputs, result, name, keepDims=True), dims)


def reduce(e: Emitter, node: Node) -> None:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceProd."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    code = _CODES[node.op]
    e.views[name] = reduced(e, code, x, node.attributes["axes"], name, keep=node.attributes["keepdims"])


def reduce_l2(e: Emitter, node: Node) -> None:
    """ReduceL2: the square root of the sum of squares."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    square = combine(e, "MUL", x, x, f"{name}/square")
    total = reduced(e, "SUM", square, node.attributes["axes"], f"{name}/sum", keep=node.attributes["keepdims"])
    e.views[name] = apply(e, "SQRT", total, name)


def lp_normalization(e: Emitter, node: Node) -> None:
    """LpNormalization: x / norm, written so that a null vector stays null."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    axes = (node.attributes["axis"],)
    if node.attributes["p"] == 1:
        norm = reduced(e, "SUM", apply(e, "ABS", x, f"{name}/abs"), axes, f"{name}/sum")
        norm = combine(e, "MAXIMUM", norm, full(_TINY), f"{name}/norm")
        e.views[name] = combine(e, "DIV", x, norm, name)
    else:
        total = reduced(e, "SUM", combine(e, "MUL", x, x, f"{name}/square"), axes, f"{name}/sum")
        total = combine(e, "MAXIMUM", total, full(_TINY), f"{name}/positive")
        e.views[name] = combine(e, "MUL", x, apply(e, "RSQRT", total, f"{name}/rsqrt"), name)


def softmax(e: Emitter, node: Node) -> None:
    """Softmax over dimensions that lie innermost in memory, in any order among themselves."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    axes = node.attributes["axes"]
    order = _layout.sequence_of(x.dims)
    wanted = (*(p for p in order if p.dim not in axes), *(p for p in order if p.dim in axes))
    tensor = e.ordered(x, wanted)
    inner = math.prod(p.extent for p in wanted if p.dim in axes)
    shape = e.shape(tensor)
    if not shape or shape[-1] != inner:
        shape = (math.prod(shape) // inner, inner)
    result = e.emit("SOFTMAX", [e.reshape(tensor, shape)], shape, name, beta=1.0)
    e.views[name] = View(result, _layout.dims_of(wanted, len(x.dims)))


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "LpNormalization": lp_normalization,
    "ReduceL2": reduce_l2,
    "ReduceMax": reduce,
    "ReduceMean": reduce,
    "ReduceMin": reduce,
    "ReduceProd": reduce,
    "ReduceSum": reduce,
    "Softmax": softmax,
}
