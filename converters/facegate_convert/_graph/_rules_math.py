"""Import rules: elementwise operators, reductions and normalisations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._graph._builder import broadcast, normalize_axis

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph._builder import Builder, OnnxNode

_SOFTMAX_PER_AXIS = 13  # operator set from which Softmax works on one axis instead of a flattened tail


def binary(b: Builder, n: OnnxNode) -> None:
    """Add, Sub, Mul, Div."""
    n.inputs = b.unstretched(n, 2)
    shape = broadcast(n, b.shape(n, 0), b.shape(n, 1))
    b.floating(n, 0, 1)
    b.add(n.op, n, n.inputs, shape, output=n.outputs[0])


def power(b: Builder, n: OnnxNode) -> None:
    """Pow: an integer exponent is computed as a float."""
    shape = broadcast(n, b.shape(n, 0), b.shape(n, 1))
    exponent = b.constant(n.inputs[1])
    if exponent is not None:
        n.inputs[1] = b.new_constant(n.inputs[1], exponent.astype(np.float32))
    b.floating(n, 0, 1)
    b.add("Pow", n, n.inputs[:2], shape, output=n.outputs[0])


def unary(b: Builder, n: OnnxNode) -> None:
    """Relu, Sigmoid, Tanh, Sqrt, Exp, HardSwish and others without parameters."""
    shape = b.shape(n)
    b.floating(n, 0)
    b.add(n.op, n, n.inputs[:1], shape, output=n.outputs[0])


def leaky_relu(b: Builder, n: OnnxNode) -> None:
    """LeakyRelu(alpha)."""
    shape = b.shape(n)
    b.floating(n, 0)
    b.add("LeakyRelu", n, n.inputs[:1], shape, output=n.outputs[0], alpha=float(n.attribute("alpha", 0.01)))


def prelu(b: Builder, n: OnnxNode) -> None:
    """PRelu with constant slopes, broadcast to the input."""
    shape = b.shape(n)
    b.floating(n, 0)
    slope = b.parameter(n, 1, "slope")
    if slope is None or broadcast(n, shape, slope.shape) != shape:
        n.invalid(f"its slope does not fit its input of shape {shape}")
    b.add("PRelu", n, n.inputs[:2], shape, output=n.outputs[0])


def hard_sigmoid(b: Builder, n: OnnxNode) -> None:
    """HardSigmoid(alpha, beta) = clip(alpha * x + beta, 0, 1)."""
    shape = b.shape(n)
    b.floating(n, 0)
    alpha, beta = float(n.attribute("alpha", 0.2)), float(n.attribute("beta", 0.5))
    b.add("HardSigmoid", n, n.inputs[:1], shape, output=n.outputs[0], alpha=alpha, beta=beta)


def clip(b: Builder, n: OnnxNode) -> None:
    """Clip(min, max): bounds as attributes before operator set 11, as inputs after; None where open."""
    shape = b.shape(n)
    b.floating(n, 0)
    bounds: list[float | None] = []
    largest = float(np.finfo(np.float32).max)
    for index, name, end in ((1, "min", -math.inf), (2, "max", math.inf)):
        given = n.attribute(name, end) if name in n.attributes else None
        if given is None:
            array = b.parameter(n, index, name)
            given = end if array is None or array.size == 0 else float(array.reshape(-1)[0])
        # The old attributes' default is the largest float, which bounds nothing.
        bounds.append(None if abs(given) >= largest else float(given))
    if bounds == [None, None]:
        b.alias(n.outputs[0], n.inputs[0])
    else:
        b.add("Clip", n, n.inputs[:1], shape, output=n.outputs[0], min=bounds[0], max=bounds[1])


def softmax(b: Builder, n: OnnxNode) -> None:
    """Softmax over one axis, or before operator set 13 over an axis and everything after it."""
    shape = b.shape(n)
    b.floating(n, 0)
    old = b.opset < _SOFTMAX_PER_AXIS
    axis = normalize_axis(n, n.attribute("axis", 1 if old else -1), len(shape))
    axes = tuple(range(axis, len(shape))) if old else (axis,)
    b.add("Softmax", n, n.inputs[:1], shape, output=n.outputs[0], axes=axes)


def reduce(b: Builder, n: OnnxNode) -> None:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceProd, ReduceL2: axes as attribute or input."""
    shape = b.shape(n)
    b.floating(n, 0)
    listed = b.integers(n, 1, "axes")
    keep = bool(n.attribute("keepdims", 1))
    if not listed:
        if n.attribute("noop_with_empty_axes", 0):
            if n.op == "ReduceL2":
                n.refuse("it reduces nothing, and then is an absolute value", "give it axes")
            b.alias(n.outputs[0], n.inputs[0])
            return
        listed = tuple(range(len(shape)))
    axes = tuple(sorted({normalize_axis(n, a, len(shape)) for a in listed}))
    result = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    b.add(n.op, n, n.inputs[:1], result, output=n.outputs[0], axes=axes, keepdims=keep)


def global_pool(b: Builder, n: OnnxNode) -> None:
    """GlobalAveragePool is ReduceMean, GlobalMaxPool ReduceMax, over everything but batch and channels."""
    shape = b.shape(n)
    b.floating(n, 0)
    axes = tuple(range(2, len(shape)))
    if not axes:
        n.invalid(f"its input has the shape {shape}, which has no spatial dimension")
    result = (*shape[:2], *(1 for _ in axes))
    op = "ReduceMean" if n.op == "GlobalAveragePool" else "ReduceMax"
    b.add(op, n, n.inputs[:1], result, output=n.outputs[0], axes=axes, keepdims=True)


def lp_normalization(b: Builder, n: OnnxNode) -> None:
    """LpNormalization(axis, p), p 1 or 2; a vector of norm 0 stays 0."""
    shape = b.shape(n)
    b.floating(n, 0)
    axis = normalize_axis(n, n.attribute("axis", -1), len(shape))
    p = int(n.attribute("p", 2))
    if p not in (1, 2):
        n.refuse(f"its norm is of order {p}; 1 and 2 are known")
    b.add("LpNormalization", n, n.inputs[:1], shape, output=n.outputs[0], axis=axis, p=p)


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "Abs": unary,
    "Add": binary,
    "Ceil": unary,
    "Clip": clip,
    "Cos": unary,
    "Div": binary,
    "Erf": unary,
    "Exp": unary,
    "Floor": unary,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": unary,
    "LeakyRelu": leaky_relu,
    "Log": unary,
    "LpNormalization": lp_normalization,
    "Mul": binary,
    "Neg": unary,
    "PRelu": prelu,
    "Pow": power,
    "ReduceL2": reduce,
    "ReduceMax": reduce,
    "ReduceMean": reduce,
    "ReduceMin": reduce,
    "ReduceProd": reduce,
    "ReduceSum": reduce,
    "Relu": unary,
    "Round": unary,
    "Sigmoid": unary,
    "Sign": unary,
    "Sin": unary,
    "Softmax": softmax,
    "Softplus": unary,
    "Sqrt": unary,
    "Sub": binary,
    "Tanh": unary,
}
