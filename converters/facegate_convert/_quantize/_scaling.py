"""Which values of a graph may have their channels scaled together, without changing what the graph computes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._graph import Graph, Node

_IMAGE = 4  # ranks of values that have channels: N, C, H, W
# f(x / s) = f(x) / s for s > 0, in every channel by itself.
_HOMOGENEOUS = frozenset({"AveragePool", "LeakyRelu", "MaxPool", "PRelu", "Relu", "Resize"})


@dataclass(frozen=True, slots=True)
class Group:
    """Values that have to share a factor for each channel, and the operators that can carry it.

    Attributes:
        channels: number of channels.
        values: names of the values of rank 4.
        producers: convolutions that write them: their weights and biases are divided.
        readers: (convolution or Gemm, how many of its inputs belong to one channel): their weights are multiplied.
        limit: the lowest bound that a clip inside the group has, or None: what is clipped at 6 may be enlarged up to
            that, but never made smaller, or it would be clipped elsewhere.
    """

    channels: int
    values: tuple[str, ...]
    producers: tuple[Node, ...]
    readers: tuple[tuple[Node, int], ...]
    limit: float | None


def find_groups(graph: Graph, kept: Mapping[str, str]) -> tuple[Group, ...]:
    """The groups of a graph, in the order of their first value.

    Args:
        graph: a canonical graph.
        kept: values that must stay what they are (the outputs).
    """
    finder = _Finder(graph, kept)
    return finder.groups()


class _Finder:
    """Values are in one group if an operator ties them; a group is barred if anything touches it that carries none."""

    def __init__(self, graph: Graph, kept: Mapping[str, str]) -> None:
        self._graph = graph
        self._parents: dict[str, str] = {}
        self._producers: dict[str, list[Node]] = {}
        self._readers: dict[str, list[tuple[Node, int]]] = {}
        self._limits: dict[str, float] = {}
        self._used = Counter(v for node in graph.nodes for v in node.inputs if v in graph.constants)
        for node in graph.nodes:
            for value in _tied(graph, node):
                self._parents[self._root(value)] = self._root(node.outputs[0])
        self._barred = {self._root(v.name) for v in graph.inputs} | {self._root(v) for v in kept}
        for node in graph.nodes:
            tied = _tied(graph, node)
            self._write(node, tied)
            self._read(node, tied)

    def groups(self) -> tuple[Group, ...]:
        """Those that can be scaled."""
        shapes = self._graph.shapes
        members: dict[str, list[str]] = {}
        for value in self._parents:
            members.setdefault(self._root(value), []).append(value)
        found = []
        for group, made in self._producers.items():
            values = [v for v in members.get(group, [group]) if len(shapes[v]) == _IMAGE]
            counts = {shapes[v][1] for v in values}
            if group not in self._barred and group in self._readers and len(counts) == 1:
                limit = self._limits.get(group)
                found.append(Group(counts.pop(), tuple(values), tuple(made), tuple(self._readers[group]), limit))
        return tuple(found)

    def _root(self, value: str) -> str:
        while self._parents.setdefault(value, value) != value:
            value = self._parents[value]
        return value

    def _write(self, node: Node, tied: tuple[str, ...]) -> None:
        group = self._root(node.outputs[0])
        if tied:
            if node.op == "Clip" and (most := node.attributes["max"]) is not None:
                self._limits[group] = min(self._limits.get(group, most), most)
        elif node.op == "Conv" and len(self._graph.shapes[node.outputs[0]]) == _IMAGE and self._own(node.inputs[1:]):
            self._producers.setdefault(group, []).append(node)
        else:
            self._barred.update(self._root(value) for value in node.outputs)

    def _read(self, node: Node, tied: tuple[str, ...]) -> None:
        for value in node.inputs:
            if value in tied or value in self._graph.constants:
                continue
            group = self._root(value)
            if repeat := self._carries(node, value):
                self._readers.setdefault(group, []).append((node, repeat))
            else:
                self._barred.add(group)

    def _own(self, values: tuple[str, ...]) -> bool:
        """Whether values are constants that nobody else uses."""
        return all(self._used[v] == 1 for v in values)

    def _carries(self, node: Node, value: str) -> int:
        """How many of a node's inputs belong to one channel of the value, if it can carry its factors; else 0."""
        graph = self._graph
        if node.op not in ("Conv", "Gemm") or node.inputs[0] != value or node.inputs.count(value) > 1:
            return 0
        if not self._own(node.inputs[1:2]):
            return 0
        shape = graph.shapes[value]
        if node.op == "Gemm":
            producer = graph.producer(value)
            if producer is None or producer.op != "Reshape" or len(graph.shapes[producer.inputs[0]]) != _IMAGE:
                return 0
            return shape[1] // graph.shapes[producer.inputs[0]][1]
        return 1 if len(shape) == _IMAGE and int(node.attributes.get("group", 1)) in (1, shape[1]) else 0


def _tied(graph: Graph, node: Node) -> tuple[str, ...]:
    """The inputs of a node that must be scaled as its output is; none if it is a barrier or a convolution."""
    x, shapes = node.inputs[0] if node.inputs else "", graph.shapes
    computed = tuple(v for v in node.inputs if v not in graph.constants)
    if not computed or len(shapes[computed[0]]) != _IMAGE:
        return ()
    attributes, result = node.attributes, shapes[node.outputs[0]]
    homogeneous = (
        node.op in _HOMOGENEOUS
        or (node.op == "Clip" and attributes["min"] == 0 and (attributes["max"] is None or attributes["max"] > 0))
        or (node.op == "ReduceMean" and set(attributes["axes"]) == {2, 3} and len(result) == _IMAGE)
        or (node.op == "Pad" and attributes["begin"][1] == attributes["end"][1] == 0 and not attributes.get("value"))
    )
    if homogeneous:
        return (x,)
    if node.op in ("Add", "Sub") and len(computed) > 1 and len({shapes[v] for v in computed}) == 1:
        return computed
    # A row of all channels, each with all its pixels: what a Gemm behind it reads.
    batch, channels, height, width = shapes[computed[0]]
    if node.op == "Reshape" and tuple(result) == (batch, channels * height * width):
        return (x,)
    return ()
