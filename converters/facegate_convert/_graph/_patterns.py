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
_MAX_HEARTS = 1000  # a file made to be slow has more
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
    hearts = [(i, n) for i, n in enumerate(nodes) if n.op in _HEARTS]
    for place, heart in hearts[:_MAX_HEARTS]:
        before, after, targets = _HEARTS[heart.op]
        roots = list(_roots(b, nodes, producers, heart.inputs[0], before))
        for end in _ends(nodes, readers, place, after):
            found = _match(b, nodes, producers, end, roots, targets)
            if found is not None:
                nodes[end] = found
                break
    b.nodes = nodes


def invert_roots(b: Builder) -> None:
    """Division by the root of something smaller becomes a product with its inverse root.

    So a LayerNormalization that an exporter wrote in parts is lowered like one that it wrote whole: the many values of
    the result cost a product each, not a division.
    """
    producers = {o: n for n in b.nodes for o in n.outputs}
    nodes = []
    for original in b.nodes:
        node = _resolved(b, original)
        root = producers.get(node.inputs[1]) if node.op == "Div" else None
        if root is not None and _is_root(b, root) and b.shapes[root.outputs[0]] != b.shapes[node.outputs[0]]:
            inverse = b.new_name(f"{node.outputs[0]}/inverse")
            b.declare(inverse, b.shapes[root.outputs[0]], "float32")
            exponent = b.new_constant(f"{node.outputs[0]}/exponent", np.asarray(-0.5, np.float32))
            nodes.append(Node("Pow", node.name, (b.resolve(root.inputs[0]), exponent), (inverse,), {}))
            node = Node("Mul", node.name, (node.inputs[0], inverse), node.outputs, {})
        nodes.append(node)
    b.nodes = nodes


def merge_padding(b: Builder) -> None:
    """Zeros around an image before a Conv become the Conv's own padding: often that is SAME, which costs nothing."""
    producers = {o: n for n in b.nodes for o in n.outputs}
    nodes = []
    for original in b.nodes:
        node = _resolved(b, original)
        pad = producers.get(node.inputs[0]) if node.op == "Conv" else None
        if pad is not None and _is_border(pad):
            begin, end = pad.attributes["begin"], pad.attributes["end"]
            pads = tuple(p + q for p, q in zip(node.attributes["pads"], (*begin[2:], *end[2:]), strict=True))
            inputs = (b.resolve(pad.inputs[0]), *node.inputs[1:])
            node = Node("Conv", node.name, inputs, node.outputs, {**node.attributes, "pads": pads})
        nodes.append(node)
    b.nodes = nodes


def merge_channels(b: Builder) -> None:
    """Channels exchanged before a Conv (colours turned round, a shuffle) go into its weight, which costs nothing."""
    producers = {o: n for n in b.nodes for o in n.outputs}
    nodes = []
    for original in b.nodes:
        node = _resolved(b, original)
        before = producers.get(node.inputs[0]) if node.op == "Conv" and node.attributes["group"] == 1 else None
        order = None if before is None else _exchanged(b, before)
        weight = None if order is None else b.constant(node.inputs[1])
        if before is not None and weight is not None and b.affordable(weight.size):
            merged = np.empty_like(weight)
            merged[:, order] = weight
            inputs = (b.resolve(before.inputs[0]), b.new_constant(node.inputs[1], merged), *node.inputs[2:])
            node = Node("Conv", node.name, inputs, node.outputs, node.attributes)
        nodes.append(node)
    b.nodes = nodes


def _exchanged(b: Builder, node: Node) -> list[int] | None:
    """Which channel comes from where, if an image's channels are exchanged and nothing else happens."""
    shape = b.shapes[node.outputs[0]]
    if len(shape) != 4 or b.shapes[node.inputs[0]] != shape:  # noqa: PLR2004 - NCHW
        return None
    every = list(range(shape[1]))
    if node.op == "Gather" and node.attributes["axis"] == 1:
        order = list(node.attributes["indices"])
        return order if sorted(order) == every else None
    back = (0, shape[1] - 1, 0, 0), (1, -1, 1, 1)
    return every[::-1] if node.op == "Slice" and (node.attributes["starts"], node.attributes["steps"]) == back else None


def _is_border(node: Node) -> bool:
    """Whether it pads rows and columns of an image with zeros, and nothing else."""
    a = node.attributes
    if node.op != "Pad" or a["mode"] != "constant" or a["value"] != 0 or len(a["begin"]) != 4:  # noqa: PLR2004 - NCHW
        return False
    return not any((*a["begin"][:2], *a["end"][:2]))


def _is_root(b: Builder, node: Node) -> bool:
    if node.op == "Sqrt":
        return True
    exponent = b.constant(node.inputs[1]) if node.op == "Pow" else None
    same = b.shapes[node.outputs[0]] == b.shapes[node.inputs[0]]
    return exponent is not None and exponent.size == 1 and same and float(exponent.reshape(-1)[0]) == 0.5  # noqa: PLR2004


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
            values = _evaluate(b, nodes, producers, node.outputs[0], {root: _SAMPLES}, 10)
        if values is None or values.shape != _SAMPLES.shape:
            continue
        for op, attributes, function in targets:
            if np.allclose(values, function(_SAMPLES), rtol=_TOLERANCE, atol=_TOLERANCE):
                return Node(op, node.name, (root,), node.outputs, attributes)
    return None


def _evaluate(
    b: Builder,
    nodes: Sequence[Node],
    producers: dict[str, int],
    name: str,
    known: dict[str, Samples | None],
    depth: int,
) -> Samples | None:
    """A value for each sample of the root, which is known; None if the value depends on more than that."""
    if name in known:
        return known[name]
    constant = b.constant(name)
    result: Samples | None = None
    if constant is not None:
        result = np.asarray(constant, np.float64).reshape(()) if constant.size == 1 else None
    elif name in producers and depth:
        node = nodes[producers[name]]
        rule = _FUNCTIONS.get(node.op)
        inputs = [_evaluate(b, nodes, producers, i, known, depth - 1) for i in node.inputs] if rule else []
        values = [v for v in inputs if v is not None]
        if rule is not None and len(values) == len(inputs):
            result = np.asarray(rule(node, *values))
    known[name] = result
    return result


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
