"""Finishing a graph: outputs as the runtime reads them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegate_convert._graph import Graph, Node, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegate_convert._families import MatchedOutput


def finish(graph: Graph, outputs: Iterable[MatchedOutput]) -> Graph:
    """The graph with outputs in the order of `outputs`, feature maps as rows and scores as probabilities.

    A feature map (1, anchors * C, H, W) becomes (H * W * anchors, C): in NHWC that is the same memory. Outputs keep
    their ONNX names, so that each can be held against the source.
    """
    nodes = list(graph.nodes)
    shapes, dtypes = dict(graph.shapes), dict(graph.dtypes)
    values = []
    for output in outputs:
        steps: list[tuple[str, tuple[int, ...], dict[str, object]]] = []
        shape = shapes[output.source]
        if output.rows is not None:
            _, channels, height, width = shape
            steps.append(("Transpose", (1, height, width, channels), {"perm": (0, 2, 3, 1)}))
            steps.append(("Reshape", output.rows, {}))
            shape = output.rows
        if output.activation == "sigmoid":
            steps.append(("Sigmoid", shape, {}))
        elif output.activation == "softmax":
            steps.append(("Softmax", shape, {"axes": (len(shape) - 1,)}))
        _append(nodes, shapes, dtypes, output.source, steps)
        values.append(Value(output.source, shape, dtypes[output.source]))
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=tuple(values), shapes=shapes, dtypes=dtypes)


def _append(
    nodes: list[Node],
    shapes: dict[str, tuple[int, ...]],
    dtypes: dict[str, str],
    name: str,
    steps: list[tuple[str, tuple[int, ...], dict[str, object]]],
) -> None:
    """Put steps behind the value `name`; the last step's result takes the name over."""
    if not steps:
        return
    names = [f"{name}/before", *(f"{name}/{op.lower()}" for op, _, _ in steps[:-1]), name]
    before = names[0]
    for place, node in enumerate(nodes):
        nodes[place] = dataclasses.replace(
            node,
            inputs=tuple(before if i == name else i for i in node.inputs),
            outputs=tuple(before if o == name else o for o in node.outputs),
        )
    shapes[before], dtypes[before] = shapes[name], dtypes[name]
    for (op, shape, attributes), source, target in zip(steps, names[:-1], names[1:], strict=True):
        nodes.append(Node(op, f"{name}/{op.lower()}", (source,), (target,), attributes))
        shapes[target], dtypes[target] = shape, dtypes[before]
