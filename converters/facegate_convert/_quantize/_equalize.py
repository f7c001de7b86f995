"""Channels of one size before quantising: one scale for a tensor must serve the widest and the narrowest of them.

Between two convolutions with nothing but a ReLU, LeakyReLU or PReLU between, a channel may be divided by any positive
factor if the next convolution multiplies it again: the network computes the same. The factors here move the range of
activations into the weights, which have a scale for each channel to spend (Nagel et al. 2019, arXiv:1906.04721, for
weights; Xiao et al. 2022, arXiv:2211.10438, for activations).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegate_convert._interpreter import make_interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph, Node

    Vector = npt.NDArray[np.float64]

_HOMOGENEOUS = ("LeakyRelu", "PRelu", "Relu")  # f(x / s) = f(x) / s for s > 0; ReLU6 is not
# The share of the activations' range that moves into a dense convolution's weights. Measured on MobileFaceNet with
# PReLU: cosine of int8 to float32, 1st percentile, 0.78 without, 0.977 at 0.3, 0.969 at 0.5, 0.964 at 1.
_SHARE = 0.3
_LARGEST_RATIO = 1e3


def equalize(
    graph: Graph, model: bytes, names: Mapping[str, str], inputs: Sequence[npt.NDArray[np.float32]]
) -> tuple[Graph, int]:
    """A graph that computes the same with channels of nearer ranges.

    Args:
        graph: a canonical graph.
        model: the same, lowered to float32; its tensors have the names of the graph's values.
        names: names of the model's outputs by the graph's, which are left alone.
        inputs: float32 inputs to measure channels on.

    Returns:
        (the graph with other weights, how many places were equalised).
    """
    import numpy as np  # noqa: PLC0415

    places = _places(graph, names)
    magnitudes = _magnitudes(
        model, {v for first, between, _ in places for v in (*first.outputs, *between.outputs)}, inputs
    )
    constants = dict(graph.constants)
    done = 0
    for first, between, second in places:
        # A convolution whose activation is fused into it has no tensor of its own.
        found = magnitudes.get(first.outputs[0], magnitudes.get(between.outputs[0]))
        if found is None or not found.any():
            continue
        weight = np.asarray(constants[second.inputs[1]], np.float64)
        depthwise = int(second.attributes.get("group", 1)) > 1
        factors = _factors(found, None if depthwise else np.abs(weight).max(axis=(0, 2, 3)))
        constants[second.inputs[1]] = _single(weight * factors.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)))
        constants[first.inputs[1]] = _single(constants[first.inputs[1]] / factors.reshape(-1, 1, 1, 1))
        for bias in first.inputs[2:]:
            constants[bias] = _single(constants[bias] / factors)
        done += 1
    return dataclasses.replace(graph, constants=constants), done


def _single(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return values.astype("float32")


def _factors(activations: Vector, weights: Vector | None) -> Vector:
    """What each channel is divided by: all of its range before a depthwise convolution, a share of it before others.

    Before a depthwise convolution that costs nothing, because each of its channels has a scale of its own.
    """
    import numpy as np  # noqa: PLC0415

    ranges = np.maximum(activations, activations.max() / _LARGEST_RATIO)
    if weights is None or not weights.any():
        factors = ranges
    else:
        factors = ranges**_SHARE / np.maximum(weights, weights.max() / _LARGEST_RATIO) ** (1 - _SHARE)
    factors = np.maximum(factors, factors.max() / _LARGEST_RATIO)
    # The widest channel keeps its range: nothing else of the network changes its scale.
    equalized: Vector = factors * ((ranges / factors).max() / ranges.max())
    return equalized


def _places(graph: Graph, names: Mapping[str, str]) -> list[tuple[Node, Node, Node]]:
    """(convolution, activation, convolution) in a row, where nobody else reads what is between or uses the weights."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    producers = {value: node for node in graph.nodes for value in node.outputs}

    def alone(value: str) -> bool:
        return len(readers.get(value, ())) == 1 and value not in names

    found = []
    for between in graph.nodes:
        if between.op not in _HOMOGENEOUS or not alone(between.outputs[0]):
            continue
        first, second = producers.get(between.inputs[0]), readers[between.outputs[0]][0]
        if first is None or first.op != "Conv" or second.op != "Conv" or not alone(between.inputs[0]):
            continue
        own = all(alone(value) and value in graph.constants for value in (*first.inputs[1:], second.inputs[1]))
        channels = graph.shapes[between.inputs[0]][1]
        if own and int(second.attributes.get("group", 1)) in (1, channels):
            found.append((first, between, second))
    return found


def _magnitudes(model: bytes, values: set[str], inputs: Sequence[npt.NDArray[np.float32]]) -> dict[str, Vector]:
    """The mean over the inputs of each channel's largest magnitude, float64 (C,), of the values that are tensors."""
    import numpy as np  # noqa: PLC0415

    runner = make_interpreter(model, inner_tensors=True)
    index = runner.get_input_details()[0]["index"]
    places = {d["name"]: d["index"] for d in runner.get_tensor_details() if d["name"] in values}
    sums: dict[str, Vector] = {}
    for value in inputs:
        runner.set_tensor(index, value)
        runner.invoke()
        for name, place in places.items():
            tensor = runner.get_tensor(place)
            largest = np.abs(tensor).reshape(-1, tensor.shape[-1]).max(axis=0).astype(np.float64)
            sums[name] = sums.get(name, 0) + largest
    return {name: total / len(inputs) for name, total in sums.items()}
