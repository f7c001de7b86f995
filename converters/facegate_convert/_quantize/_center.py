"""Normalising inside the graph, made exact at int8: pixels stay the integers that they are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate_convert._graph import Graph, Node

_PIXELS = (0.0, 255.0)
_LEVELS = 255
_TIE = 0.05
_WIDER = 1 / 1024


def center_pixels(graph: Graph, input_range: tuple[float, float]) -> Graph:
    """A graph that normalises its pixels by subtracting a whole number, the rest moved into the first convolution.

    (pixel - 127.5) / 128 at int8 has its levels halfway between integers: each is rounded, to and fro, by half a level,
    which is noise of the highest frequency, and the first convolutions amplify just that (measured on a MobileFaceNet:
    0.7 % of noise before, 12 % behind the second convolution). pixel - 128 is exact. Zero padding then stands for a
    pixel of 128 instead of 127.5.

    Args:
        graph: a canonical graph.
        input_range: smallest and largest value of the input; only (0, 255), pixels as they are, is centered.

    Returns:
        The graph, or the same one if it does not normalise.
    """
    import numpy as np  # noqa: PLC0415

    chain = _chain(graph)
    if input_range != _PIXELS or len(chain) < 2 or chain[-1].op != "Conv":  # noqa: PLR2004
        return graph
    *normalizing, conv = chain
    factor, offset = 1.0, 0.0
    for node in normalizing:
        first_is_constant = node.inputs[0] in graph.constants
        value = float(np.asarray(graph.constants[node.inputs[0 if first_is_constant else 1]]).reshape(-1)[0])
        if node.op == "Mul":
            factor, offset = factor * value, offset * value
        else:
            offset += value if node.op == "Add" else -value
    center = float(np.rint(-offset / factor))
    rest = offset + factor * center
    if not 0 <= center <= _LEVELS or abs(rest) > abs(factor):
        return graph
    weight = np.asarray(graph.constants[conv.inputs[1]], np.float64)
    constants = dict(graph.constants)
    shapes, dtypes = dict(graph.shapes), dict(graph.dtypes)
    name = f"{conv.name}/center"
    subtracted = dataclasses.replace(
        normalizing[0], op="Sub", inputs=(graph.inputs[0].name, name), outputs=(f"{name}ed",), attributes={}
    )
    constants[name] = np.asarray([center], np.float32)
    shapes[name], dtypes[name] = (1,), "float32"
    shapes[f"{name}ed"], dtypes[f"{name}ed"] = graph.inputs[0].shape, "float32"
    constants[conv.inputs[1]] = (weight * factor).astype(np.float32)
    inputs = (f"{name}ed", *conv.inputs[1:])
    moved = rest * weight.sum(axis=(1, 2, 3))
    if len(conv.inputs) > 2:  # noqa: PLR2004
        constants[conv.inputs[2]] = (np.asarray(constants[conv.inputs[2]], np.float64) + moved).astype(np.float32)
    else:
        bias = f"{name}/bias"
        constants[bias] = moved.astype(np.float32)
        shapes[bias], dtypes[bias] = (len(weight),), "float32"
        inputs = (*inputs, bias)
    nodes = [n for n in graph.nodes if n not in normalizing]
    place = nodes.index(conv)
    nodes[place] = dataclasses.replace(conv, inputs=inputs)
    nodes.insert(place, subtracted)
    return dataclasses.replace(graph, nodes=tuple(nodes), constants=constants, shapes=shapes, dtypes=dtypes)


def without_ties(input_range: tuple[float, float]) -> tuple[float, float]:
    """A range whose levels are never halfway between the input's own 256, made wider by a thousandth if need be.

    Halfway, rounding to even merges neighbouring levels all over; a little wider, only the two in the middle meet.
    """
    low, high = input_range
    step = (high - low) / _LEVELS
    place = -low / step if step else 0.0
    if abs(place % 1 - 0.5) > _TIE:
        return input_range
    return low * (1 + _WIDER), high * (1 + _WIDER)


def _chain(graph: Graph) -> list[Node]:
    """The input's only reader, its only reader, and so on, through sums and products with one number."""
    kept = {v.name for v in graph.outputs}
    value, found = graph.inputs[0].name, []
    while True:
        readers = graph.consumers(value)
        if len(readers) != 1 or value in kept:
            return []
        (node,) = readers
        found.append(node)
        if node.op == "Conv":
            own = all(v in graph.constants and sum(v in n.inputs for n in graph.nodes) == 1 for v in node.inputs[1:])
            return found if own and int(node.attributes.get("group", 1)) == 1 else []
        others = [v for v in node.inputs if v in graph.constants]
        single = len(others) == 1 and len(node.inputs) == 2 and graph.constants[others[0]].size == 1  # noqa: PLR2004
        if not single or node.op not in ("Add", "Mul", "Sub") or (node.op == "Sub" and node.inputs[0] in others):
            return []
        value = node.outputs[0]
