"""Passes on the TFLite graph: activations fuse into what they follow, dead operators go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._lower._emitter import Operator

_ACTIVATIONS = frozenset({"RELU", "RELU6", "RELU_N1_TO_1"})
_FUSING = frozenset(
    {
        "ADD",
        "AVERAGE_POOL_2D",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DIV",
        "FULLY_CONNECTED",
        "MAX_POOL_2D",
        "MUL",
        "SUB",
        "TRANSPOSE_CONV",
    }
)


def fuse_activations(operators: list[Operator], outputs: Sequence[int]) -> list[Operator]:
    """Put an activation into the operator before it, where nothing else reads that operator's result."""
    readers: dict[int, int] = {}
    for operator in operators:
        for tensor in operator.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    producers = {o.outputs[0]: o for o in operators}
    kept = []
    for operator in operators:
        source = operator.inputs[0]
        before = producers.get(source)
        if (
            operator.code in _ACTIVATIONS
            and before is not None
            and before.code in _FUSING
            and "fusedActivationFunction" not in before.options
            and readers[source] == 1
            and source not in outputs
        ):
            before.options["fusedActivationFunction"] = operator.code
            before.outputs = operator.outputs
            producers[operator.outputs[0]] = before
        else:
            kept.append(operator)
    return kept


def drop_dead(operators: list[Operator], outputs: Sequence[int]) -> list[Operator]:
    """Remove operators whose results nobody reads."""
    needed = set(outputs)
    kept = []
    for operator in reversed(operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    return kept[::-1]
