"""Channels of one size before quantising: one scale for a tensor must serve the widest and the narrowest of them.

Where nothing but additions, pooling and activations such as ReLU or PReLU lies between convolutions, a channel may be
divided by any positive factor if the convolutions that read it multiply it again: the network computes the same. The
factors here move the range of activations into the weights, which have a scale for each channel to spend (Nagel et al.
2019, arXiv:1906.04721, for weights; Xiao et al. 2022, arXiv:2211.10438, for activations). How much of it moves is
chosen for each place by the noise that rounding is expected to make there: a wide channel costs the precision of the
activations, a large factor that of the weights behind it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from facegate_convert._interpreter import make_interpreter
from facegate_convert._quantize._scaling import find_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph, Node
    from facegate_convert._quantize._scaling import Group

    Vector = npt.NDArray[np.float64]

_LARGEST_RATIO = 1e3
# How far beyond what the inputs showed a channel behind a ReLU6 may go before it is clipped.
_MARGIN = 2.0
_SHARES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
_ACTIVATION_STEPS, _WEIGHT_STEPS = 255, 127


class _Channels(NamedTuple):
    """What a tensor's channels did: float64 (C,) each."""

    low: Vector
    high: Vector
    square: Vector
    largest: Vector


def equalize(
    graph: Graph, model: bytes, names: Mapping[str, str], inputs: Sequence[npt.NDArray[np.float32]]
) -> tuple[Graph, int]:
    """A graph that computes the same with channels of nearer ranges.

    Behind a ReLU6, "the same" holds for values up to those that the inputs showed: a channel that never came near 6 is
    enlarged until it does, and is clipped there.

    Args:
        graph: a canonical graph.
        model: the same, lowered to float32; its tensors have the names of the graph's values.
        names: names of the model's outputs by the graph's, which are left alone.
        inputs: float32 inputs to measure channels on.

    Returns:
        (the graph with other weights, how many places were equalised).
    """
    import numpy as np  # noqa: PLC0415

    groups = find_groups(graph, names)
    wanted = {v for group in groups for v in group.values}
    wanted |= {_after(graph, node.outputs[0]) for group in groups for node, _ in group.readers}
    wanted |= {node.outputs[0] for group in groups for node, _ in group.readers}
    seen = _channels(model, wanted, inputs)
    constants = dict(graph.constants)
    done = 0
    for group in groups:
        tensors = [seen[v] for v in group.values if v in seen]
        if not tensors or not any(t.square.any() for t in tensors):
            continue
        factors = _factors(group, tensors, graph, seen, constants)
        for node, repeat in group.readers:
            weight = np.asarray(constants[node.inputs[1]], np.float64)
            constants[node.inputs[1]] = _single(weight * _spread(node, weight.shape, factors, repeat))
        for node in group.producers:
            constants[node.inputs[1]] = _single(constants[node.inputs[1]] / factors.reshape(-1, 1, 1, 1))
            for bias in node.inputs[2:]:
                constants[bias] = _single(constants[bias] / factors)
        done += 1
    return dataclasses.replace(graph, constants=constants), done


def _single(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return values.astype("float32")


def _spread(node: Node, shape: tuple[int, ...], factors: Vector, repeat: int) -> Vector:
    """The factors in the shape of a reader's weights."""
    if node.op == "Gemm":
        return factors.repeat(repeat).reshape(1, -1)
    if int(node.attributes.get("group", 1)) > 1:
        return factors.repeat(shape[0] // len(factors)).reshape(-1, 1, 1, 1)
    return factors.reshape(1, -1, 1, 1)


def _factors(
    group: Group,
    tensors: Sequence[_Channels],
    graph: Graph,
    seen: Mapping[str, _Channels],
    constants: Mapping[str, npt.NDArray[np.generic]],
) -> Vector:
    """What each channel is divided by: of a family of factors, those that are expected to make the least noise."""
    import numpy as np  # noqa: PLC0415

    ranges = np.max([np.maximum(t.high, -t.low) for t in tensors], axis=0)
    ranges = np.maximum(ranges, ranges.max() / _LARGEST_RATIO)
    square = np.mean([t.square for t in tensors], axis=0)
    importance = np.zeros(group.channels)
    dense: list[tuple[Vector, float]] = []
    for node, _ in group.readers:
        weight = np.abs(np.asarray(constants[node.inputs[1]], np.float64))
        after = seen.get(node.outputs[0]) or seen.get(_after(graph, node.outputs[0]))
        if node.op == "Conv" and int(node.attributes.get("group", 1)) > 1:
            energy = (weight**2).reshape(group.channels, -1).sum(axis=1)
            power = float(after.square.sum()) if after else float((energy * square).sum())
            importance += energy / (power or 1.0)
            continue
        rows = weight.reshape(weight.shape[0], group.channels, -1)
        energy = (rows**2).sum(axis=(0, 2))
        power = float(after.square.sum()) if after else float((energy * square).sum())
        importance += energy / (power or 1.0)
        dense.append((rows.max(axis=2), rows.shape[2] / (power or 1.0)))

    def noise(factors: Vector) -> float:
        total = 0.0
        for tensor in tensors:
            width = (tensor.high / factors).max() - min(float((tensor.low / factors).min()), 0.0)
            total += (width / _ACTIVATION_STEPS) ** 2 * float((factors**2 * importance).sum())
        for largest, scale in dense:
            steps = (largest * factors).max(axis=1) / _WEIGHT_STEPS
            total += scale * float((steps**2).sum()) * float((square / factors**2).sum())
        return total

    strength = np.ones(group.channels)
    for largest, _ in dense:
        whole = largest / np.maximum(largest.max(axis=1, keepdims=True), 1e-30)
        strength = np.maximum(strength * 0, whole.max(axis=0))
    strength = np.maximum(strength, strength.max() / _LARGEST_RATIO)
    largest_seen = np.max([t.largest for t in tensors], axis=0)
    best, least = np.ones(group.channels), noise(np.ones(group.channels))
    for share in _SHARES:
        for other in _SHARES if dense else (0.0,):
            factors = _normal(group, ranges, largest_seen, ranges**share / strength**other)
            if (found := noise(factors)) < least:
                best, least = factors, found
    return best


def _normal(group: Group, ranges: Vector, largest: Vector, factors: Vector) -> Vector:
    """Factors such that the widest channel keeps its range: nothing else of the network changes its scale."""
    import numpy as np  # noqa: PLC0415

    factors = np.maximum(factors, factors.max() / _LARGEST_RATIO)
    factors = factors * ((ranges / factors).max() / ranges.max())
    return factors if group.limit is None else np.clip(factors, np.minimum(_MARGIN * largest / group.limit, 1.0), 1.0)


def _after(graph: Graph, value: str) -> str:
    """The value behind the only activation that reads a value: a fused one has the only tensor."""
    readers = graph.consumers(value)
    return readers[0].outputs[0] if len(readers) == 1 else value


def _channels(model: bytes, values: set[str], inputs: Sequence[npt.NDArray[np.float32]]) -> dict[str, _Channels]:
    """What the channels of values did, where they are tensors of rank 4: means over the inputs of their extremes."""
    import numpy as np  # noqa: PLC0415

    runner = make_interpreter(model, inner_tensors=True)
    index = runner.get_input_details()[0]["index"]
    places = {d["name"]: d["index"] for d in runner.get_tensor_details() if d["name"] in values}
    sums: dict[str, _Channels] = {}
    for value in inputs:
        runner.set_tensor(index, value)
        runner.invoke()
        for name, place in places.items():
            tensor = runner.get_tensor(place)
            rows = tensor.reshape(-1, tensor.shape[-1]).astype(np.float64)
            low, high, square = rows.min(axis=0), rows.max(axis=0), (rows**2).mean(axis=0)
            before = sums.get(name)
            sums[name] = (
                _Channels(low, high, square, high)
                if before is None
                else _Channels(
                    before.low + low, before.high + high, before.square + square, np.maximum(before.largest, high)
                )
            )
    n = len(inputs)
    return {name: _Channels(t.low / n, t.high / n, t.square / n, t.largest) for name, t in sums.items()}
