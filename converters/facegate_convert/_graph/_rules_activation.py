"""Import rules: activations and other elementwise operators, most of them made of simpler ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._graph._builder import broadcast

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._graph._builder import Builder, OnnxNode

# ONNX's defaults, from Klambauer et al., "Self-Normalizing Neural Networks", 2017.
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _step(b: Builder, n: OnnxNode, op: str, *inputs: str, last: bool = False) -> str:
    """Append an elementwise node; the last one of several computes the ONNX node's output."""
    shape = b.shapes[inputs[0]]
    for other in inputs[1:]:
        shape = broadcast(n, shape, b.shapes[other])
    return b.add(op, n, inputs, shape, output=n.outputs[0] if last else None)


def _elu(b: Builder, n: OnnxNode, x: str, alpha: float, gamma: float) -> None:
    """Gamma * (relu(x) + alpha * (exp(min(x, 0)) - 1))."""
    if alpha == gamma == 1.0:
        _step(b, n, "Elu", x, last=True)
        return
    low = b.add("Clip", n, [x], b.shapes[x], min=None, max=0.0)
    low = _step(b, n, "Mul", _step(b, n, "Elu", low), b.scalar(n, alpha * gamma))
    high = _step(b, n, "Relu", x)
    if gamma != 1.0:
        high = _step(b, n, "Mul", high, b.scalar(n, gamma))
    _step(b, n, "Add", high, low, last=True)


def elu(b: Builder, n: OnnxNode) -> None:
    """Elu(alpha)."""
    b.floating(n, 0)
    _elu(b, n, n.inputs[0], float(n.attribute("alpha", 1.0)), 1.0)


def selu(b: Builder, n: OnnxNode) -> None:
    """Selu(alpha, gamma)."""
    b.floating(n, 0)
    _elu(b, n, n.inputs[0], float(n.attribute("alpha", _SELU_ALPHA)), float(n.attribute("gamma", _SELU_GAMMA)))


def celu(b: Builder, n: OnnxNode) -> None:
    """Celu(alpha) = alpha * elu(x / alpha)."""
    b.floating(n, 0)
    alpha = float(n.attribute("alpha", 1.0))
    if alpha == 0:
        n.invalid("its alpha is 0")
    if alpha < 0:
        n.refuse(f"its alpha is {alpha}", "use a positive alpha")
    inner = _step(b, n, "Elu", _step(b, n, "Mul", n.inputs[0], b.scalar(n, 1 / alpha)))
    _step(b, n, "Mul", inner, b.scalar(n, alpha), last=True)


def softsign(b: Builder, n: OnnxNode) -> None:
    """Softsign = x / (1 + |x|)."""
    b.floating(n, 0)
    size = _step(b, n, "Add", _step(b, n, "Abs", n.inputs[0]), b.scalar(n, 1.0))
    _step(b, n, "Div", n.inputs[0], size, last=True)


def mish(b: Builder, n: OnnxNode) -> None:
    """Mish = x * tanh(softplus(x))."""
    b.floating(n, 0)
    _step(b, n, "Mul", n.inputs[0], _step(b, n, "Tanh", _step(b, n, "Softplus", n.inputs[0])), last=True)


def thresholded_relu(b: Builder, n: OnnxNode) -> None:
    """ThresholdedRelu(alpha): x where it is above alpha, else 0."""
    shape = b.shape(n)
    b.floating(n, 0)
    above = b.add("Greater", n, [n.inputs[0], b.scalar(n, float(n.attribute("alpha", 1.0)))], shape, dtype="bool")
    b.add("Where", n, [above, n.inputs[0], b.scalar(n, 0.0)], shape, output=n.outputs[0], dtype="float32")


def reciprocal(b: Builder, n: OnnxNode) -> None:
    """Reciprocal = 1 / x."""
    b.floating(n, 0)
    _step(b, n, "Div", b.scalar(n, 1.0), n.inputs[0], last=True)


def gelu(b: Builder, n: OnnxNode) -> None:
    """Gelu(approximate): by the error function, or by a hyperbolic tangent."""
    shape = b.shape(n)
    b.floating(n, 0)
    kind = n.attribute("approximate", "none")
    if kind not in ("none", "tanh"):
        n.refuse(f"its approximation {kind!r} is not known", "use none or tanh")
    b.add("Gelu", n, n.inputs[:1], shape, output=n.outputs[0], tanh=kind == "tanh")


def several(b: Builder, n: OnnxNode) -> None:
    """Max, Min, Sum and Mean of any number of operands."""
    b.floating(n, *range(len(n.inputs)))
    for i in range(len(n.inputs)):
        b.shape(n, i)
    op = {"Max": "Max", "Min": "Min"}.get(n.op, "Add")
    if len(n.inputs) == 1:
        b.alias(n.outputs[0], n.inputs[0])
        return
    result = n.inputs[0]
    for i, other in enumerate(n.inputs[1:]):
        last = i == len(n.inputs) - 2 and n.op != "Mean"
        result = _step(b, n, op, result, other, last=last)
    if n.op == "Mean":
        _step(b, n, "Mul", result, b.scalar(n, 1 / len(n.inputs)), last=True)


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "Celu": celu,
    "Elu": elu,
    "Gelu": gelu,
    "Max": several,
    "Mean": several,
    "Min": several,
    "Mish": mish,
    "Reciprocal": reciprocal,
    "Selu": selu,
    "Softsign": softsign,
    "Sum": several,
    "ThresholdedRelu": thresholded_relu,
}
