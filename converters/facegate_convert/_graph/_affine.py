"""Passes on the canonical graph: per-channel factors and terms move into weights, dead nodes go.

All of it is exact but for rounding, which is done once, from float64.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph._values import Node

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_convert._graph._builder import Builder

    Vector = npt.NDArray[np.float64]

_MAX_NEUTRAL = 2**16  # larger constants are not searched
_LINEAR = ("Conv", "ConvTranspose", "Gemm")
_AFFINE = ("Affine", "Add", "Sub", "Mul", "Div")


def fold_affine(b: Builder, outputs: list[str]) -> None:
    """Fold factors and terms after (and, for Gemm, before) a linear node into its weight and bias."""
    uses: dict[str, int] = {}
    for node in b.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    for name in outputs:
        uses[name] = uses.get(name, 0) + 1
    producers: dict[str, int] = {}
    result: list[Node | None] = []
    for node in b.nodes:
        current = _resolved(node, b)
        folded = _into_producer(b, current, result, producers, uses, outputs)
        current = folded or _into_gemm(b, current, result, producers, uses)
        for name in current.outputs:
            producers[name] = len(result)
        result.append(current)
    b.nodes = [step for node in result if node is not None for step in _expand(b, node)]


def _resolved(node: Node, b: Builder) -> Node:
    return replace(node, inputs=tuple(b.resolve(i) for i in node.inputs))


def _into_producer(
    b: Builder,
    node: Node,
    result: list[Node | None],
    producers: dict[str, int],
    uses: dict[str, int],
    outputs: list[str],
) -> Node | None:
    """`node` merged into the linear node that computes its input, which is then removed; None where impossible."""
    if node.op not in _AFFINE:
        return None
    for place, name in enumerate(node.inputs[: 1 if node.op == "Affine" else 2]):
        at = producers.get(name)
        linear = None if at is None else result[at]
        if at is None or linear is None or linear.op not in _LINEAR or uses.get(name) != 1 or name in outputs:
            continue
        axis = len(b.shapes[name]) - 1 if linear.op == "Gemm" else 1
        pair = _scale_and_shift(b, node, place, axis)
        if pair is None or not b.affordable(b.constants[linear.inputs[1]].size):
            continue
        result[at] = None
        return replace(_scaled(b, linear, *pair), outputs=node.outputs)
    return None


def _scale_and_shift(  # noqa: PLR0911 - one case a line
    b: Builder, node: Node, place: int, axis: int
) -> tuple[Vector, Vector] | None:
    """What `node` does to its input number `place`, for each index on `axis`; None if that is no such thing."""
    x = node.inputs[place]
    rank, channels = len(b.shapes[x]), b.shapes[x][axis]
    one, zero = np.ones(channels), np.zeros(channels)
    if node.op == "Affine":
        vectors = [np.asarray(b.constants[i], np.float64).reshape(-1) for i in node.inputs[1:]]
        return (vectors[0], vectors[1]) if axis == 1 else None
    other = b.constant(node.inputs[1 - place])
    if other is None or b.shapes[node.outputs[0]] != b.shapes[x]:
        return None
    shape = (1,) * (rank - other.ndim) + other.shape
    if any(d != 1 for i, d in enumerate(shape) if i != axis):
        return None
    vector = np.broadcast_to(np.asarray(other, np.float64).reshape(-1), (channels,))
    if node.op == "Add":
        return one, vector
    if node.op == "Sub":
        return (one, -vector) if place == 0 else (-one, vector)
    if node.op == "Mul":
        return vector, zero
    if place == 0 and (vector != 0).all():
        return 1 / vector, zero
    return None


def _scaled(b: Builder, linear: Node, scale: Vector, shift: Vector) -> Node:
    """The linear node with its result multiplied by `scale` and increased by `shift`."""
    weight = np.asarray(b.constants[linear.inputs[1]], np.float64)
    if linear.op == "ConvTranspose":  # (C, M / group, kH, kW): output channel = group * (M / group) + column
        group = int(linear.attributes["group"])
        factors = scale.reshape(group, 1, weight.shape[1], 1, 1)
        weight = (weight.reshape(group, -1, *weight.shape[1:]) * factors).reshape(weight.shape)
    else:
        weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    bias = np.asarray(b.constants[linear.inputs[2]], np.float64) if len(linear.inputs) > 2 else 0.0  # noqa: PLR2004
    return _with_parameters(b, linear, weight, bias * scale + shift)


def _with_parameters(b: Builder, linear: Node, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Node:
    # float64 until the graph is finished: several folds round once.
    inputs = [linear.inputs[0], b.new_constant(linear.inputs[1], weight)]
    inputs.append(b.new_constant(linear.inputs[2] if len(linear.inputs) > 2 else f"{linear.outputs[0]}/bias", bias))  # noqa: PLR2004
    return replace(linear, inputs=tuple(inputs))


def _into_gemm(
    b: Builder, node: Node, result: list[Node | None], producers: dict[str, int], uses: dict[str, int]
) -> Node:
    """A Gemm with a BatchNormalization before it that nothing else reads takes it into its weight."""
    at = producers.get(node.inputs[0]) if node.op == "Gemm" else None
    affine = None if at is None else result[at]
    if at is None or affine is None or affine.op != "Affine" or uses.get(node.inputs[0]) != 1:
        return node
    if len(b.shapes[affine.inputs[0]]) != 2:  # noqa: PLR2004 - channels are the last axis of a matrix only
        return node
    scale, shift = (np.asarray(b.constants[i], np.float64).reshape(-1) for i in affine.inputs[1:])
    weight = np.asarray(b.constants[node.inputs[1]], np.float64)
    bias = np.asarray(b.constants[node.inputs[2]], np.float64) if len(node.inputs) > 2 else 0.0  # noqa: PLR2004
    result[at] = None
    return _with_parameters(
        b, replace(node, inputs=(affine.inputs[0], *node.inputs[1:])), weight * scale, bias + weight @ shift
    )


def _expand(b: Builder, node: Node) -> list[Node]:
    """An Affine that found no place becomes Mul and Add."""
    if node.op != "Affine":
        return [node]
    product = b.new_name(f"{node.outputs[0]}/mul")
    b.declare(product, b.shapes[node.outputs[0]], "float32")
    x, scale, shift = node.inputs
    return [
        Node("Mul", node.name, (x, scale), (product,), {}),
        Node("Add", node.name, (product, shift), node.outputs, {}),
    ]


def drop_neutral(b: Builder) -> None:
    """Remove additions of 0, multiplications by 1 and the like."""
    kept = []
    neutral = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
    for original in b.nodes:
        node = _resolved(original, b)
        if node.op in neutral:
            places = (0, 1) if node.op in ("Add", "Mul") else (0,)
            for place in places:
                other = b.constant(node.inputs[1 - place])
                if other is not None and other.size > _MAX_NEUTRAL:
                    continue
                same = b.shapes[node.inputs[place]] == b.shapes[node.outputs[0]]
                if other is not None and same and (other == neutral[node.op]).all():
                    b.alias(node.outputs[0], node.inputs[place])
                    break
            else:
                kept.append(node)
        else:
            kept.append(node)
    b.nodes = kept


def drop_dead(b: Builder, outputs: list[str]) -> None:
    """Remove nodes whose results nobody reads."""
    needed = set(outputs)
    kept = []
    for node in reversed(b.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    b.nodes = kept[::-1]
    b.constants = {k: v for k, v in b.constants.items() if k in needed}
