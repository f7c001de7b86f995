"""Lowering rules: activations and other functions of one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._lower._elementwise import apply, combine, full, operands_of, unary

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph import Node
    from facegate_convert._lower._emitter import Emitter

# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| <= 1.5e-7.
_ERF_P = 0.3275911
_ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
# Keeps x / |x| finite: the sign of 0 is 0.
_TINY = float(np.finfo(np.float32).tiny)


def gelu(e: Emitter, node: Node) -> None:
    """Gelu: the operator, exact or by tanh as the model has it."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    e.views[name] = apply(e, "GELU", x, name, approximate=node.attributes["tanh"])


def erf(e: Emitter, node: Node) -> None:
    """Erf, for which TFLite has no operator: sign(x) * (1 - polynomial(1 / (1 + p |x|)) * exp(-x^2))."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    size = apply(e, "ABS", x, f"{name}/abs")
    scaled = combine(e, "MUL", size, full(_ERF_P), f"{name}/scaled")
    t = combine(e, "DIV", full(1.0), combine(e, "ADD", scaled, full(1.0), f"{name}/denominator"), f"{name}/t")
    total = combine(e, "MUL", t, full(_ERF_A[-1]), f"{name}/a5")
    for i, factor in reversed(list(enumerate(_ERF_A[:-1]))):
        total = combine(e, "ADD", total, full(factor), f"{name}/sum{i}")
        total = combine(e, "MUL", total, t, f"{name}/a{i}")
    square = combine(e, "MUL", x, x, f"{name}/square")
    fall = apply(e, "EXP", apply(e, "NEG", square, f"{name}/negative"), f"{name}/exp")
    value = combine(e, "SUB", full(1.0), combine(e, "MUL", total, fall, f"{name}/rest"), f"{name}/value")
    divisor = combine(e, "MAXIMUM", size, full(_TINY), f"{name}/nonzero")
    sign = combine(e, "DIV", x, divisor, f"{name}/sign")
    e.views[name] = combine(e, "MUL", sign, value, name)


def softplus(e: Emitter, node: Node) -> None:
    """Softplus: log(1 + exp(x)), written so that nothing overflows: relu(x) + log(1 + exp(-|x|))."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    falling = apply(e, "EXP", apply(e, "NEG", apply(e, "ABS", x, f"{name}/abs"), f"{name}/negative"), f"{name}/exp")
    rest = apply(e, "LOG", combine(e, "ADD", falling, full(1.0), f"{name}/above"), f"{name}/log")
    e.views[name] = combine(e, "ADD", apply(e, "RELU", x, f"{name}/relu"), rest, name)


def extreme(e: Emitter, node: Node) -> None:
    """Max and Min of two operands."""
    first, second = operands_of(e, node)
    code = {"Max": "MAXIMUM", "Min": "MINIMUM"}[node.op]
    e.views[node.outputs[0]] = combine(e, code, first, second, node.outputs[0])


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "Abs": unary("ABS"),
    "Ceil": unary("CEIL"),
    "Cos": unary("COS"),
    "Elu": unary("ELU"),
    "Erf": erf,
    "Exp": unary("EXP"),
    "Floor": unary("FLOOR"),
    "Gelu": gelu,
    "HardSwish": unary("HARD_SWISH"),
    "Log": unary("LOG"),
    "Max": extreme,
    "Min": extreme,
    "Neg": unary("NEG"),
    "Relu": unary("RELU"),
    "Round": unary("ROUND"),
    "Sigmoid": unary("LOGISTIC"),
    "Sign": unary("SIGN"),
    "Sin": unary("SIN"),
    "Softplus": softplus,
    "Sqrt": unary("SQRT"),
    "Tanh": unary("TANH"),
}
