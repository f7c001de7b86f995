"""Activations that exporters write as several nodes, found by what they compute and written as one.

A group of elementwise nodes between one value and another is a function of one number. Where that function is Gelu or
HardSwish, it becomes that node: an exporter may write it in any form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._graph._values import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from facegate_convert._graph._builder import Builder

    Samples = npt.NDArray[np.float64]

_ERF = np.vectorize(math.erf, otypes=[np.float64])
_SAMPLES: Samples = np.concatenate([np.linspace(-9, 9, 73), np.linspace(-0.5, 0.5, 21)])
_TOLERANCE = 3e-6  # the constants of exporters are float32 numbers


def _gelu(x: Samples) -> Samples:
    return np.asarray(0.5 * x * (1 + _ERF(x / math.sqrt(2))))


def _gelu_tanh(x: Samples) -> Samples:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _hard_swish(x: Samples) -> Samples:
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6)


# The node in the middle by which a group is noticed -> (nodes before it, nodes after it, what it may be).
_Target = tuple[str, dict[str, bool], "Callable[[Samples], Samples]"]
_HEARTS: dict[str, tuple[int, int, tuple[_Target, ...]]] = {
    "Erf": (2, 3, (("Gelu", {"tanh": False}, _gelu),)),
    "Tanh": (5, 3, (("Gelu", {"tanh": True}, _gelu_tanh),)),
    "Clip": (1, 2, (("HardSwish", {}, _hard_swish),)),
    "HardSigmoid": (0, 1, (("HardSwish", {}, _hard_swish),)),
}


def fuse_activations(b: Builder) -> None:
    """Replace groups that are one activation. What is left of them is dead, unless something else reads it."""
    nodes = [_resolved(b, n) for n in b.nodes]
    if not any(n.op in _HEARTS for n in nodes):
        return
    producers = {o: i for i, n in enumerate(nodes) for o in n.outputs}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(nodes):
        for name in node.inputs:
            readers.setdefault(name, []).append(i)
    for place, heart in enumerate(nodes):
        if heart.op not in _HEARTS:
            continue
        before, after, targets = _HEARTS[heart.op]
        roots = list(_roots(b, nodes, producers, heart.inputs[0], before))
        for end in _ends(nodes, readers, place, after):
            found = _match(b, nodes, producers, end, roots, targets)
            if found is not None:
                nodes[end] = found
                break
    b.nodes = nodes


def _resolved(b: Builder, node: Node) -> Node:
    return Node(node.op, node.name, tuple(b.resolve(i) for i in node.inputs), node.outputs, node.attributes)


def _roots(b: Builder, nodes: Sequence[Node], producers: dict[str, int], name: str, depth: int) -> Iterator[str]:
    """Values from which the heart may be computed, nearest first."""
    level = [name]
    for _ in range(depth + 1):
        yield from level
        level = [
            i for value in level if value in producers for i in nodes[producers[value]].inputs if b.constant(i) is None
        ][:4]  # fmt: skip


def _ends(nodes: Sequence[Node], readers: dict[str, list[int]], place: int, depth: int) -> Iterator[int]:
    """The nodes after the heart, nearest first."""
    level = [place]
    for _ in range(depth):
        level = [r for i in level for r in readers.get(nodes[i].outputs[0], [])][:4]
        yield from level


def _match(
    b: Builder,
    nodes: Sequence[Node],
    producers: dict[str, int],
    end: int,
    roots: Sequence[str],
    targets: Sequence[_Target],
) -> Node | None:
    node = nodes[end]
    if node.op not in ("Mul", "Div"):
        return None
    for root in roots:
        if root not in b.shapes or b.shapes[root] != b.shapes[node.outputs[0]] or b.dtypes[root] != "float32":
            continue
        with np.errstate(all="ignore"):
            values = _evaluate(b, nodes, producers, node.outputs[0], root, 10)
        if values is None or values.shape != _SAMPLES.shape:
            continue
        for op, attributes, function in targets:
            if np.allclose(values, function(_SAMPLES), rtol=_TOLERANCE, atol=_TOLERANCE):
                return Node(op, node.name, (root,), node.outputs, attributes)
    return None


def _evaluate(
    b: Builder, nodes: Sequence[Node], producers: dict[str, int], name: str, root: str, depth: int
) -> Samples | None:
    """A value for each sample of the root, None if it depends on more than that."""
    if name == root:
        return _SAMPLES
    constant = b.constant(name)
    if constant is not None:
        return np.asarray(constant, np.float64).reshape(()) if constant.size == 1 else None
    if name not in producers or not depth:
        return None
    node = nodes[producers[name]]
    inputs = [_evaluate(b, nodes, producers, i, root, depth - 1) for i in node.inputs]
    values = [v for v in inputs if v is not None]
    if len(values) < len(inputs):
        return None
    rule = _FUNCTIONS.get(node.op)
    return None if rule is None else np.asarray(rule(node, *values))


def _clipped(node: Node, x: Samples) -> Samples:
    low, high = node.attributes["min"], node.attributes["max"]
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


_FUNCTIONS: dict[str, Callable[..., Samples]] = {
    "Add": lambda _, x, y: x + y,
    "Clip": _clipped,
    "Div": lambda _, x, y: x / y,
    "Erf": lambda _, x: _ERF(x),
    "HardSigmoid": lambda n, x: np.clip(n.attributes["alpha"] * x + n.attributes["beta"], 0, 1),
    "Mul": lambda _, x, y: x * y,
    "Pow": lambda _, x, y: np.power(x, y),
    "Sub": lambda _, x, y: x - y,
    "Tanh": lambda _, x: np.tanh(x),
}
