"""What can be said about the values of a tensor without running the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate_convert._graph import Graph

_ALWAYS = frozenset({"Abs", "Exp", "HardSigmoid", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})
_IF_INPUTS = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Gather",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Reshape",
        "Resize",
        "Slice",
        "Transpose",
    }
)


def nonnegative(graph: Graph) -> frozenset[str]:
    """The computed values that are >= 0 everywhere, whatever the input."""
    found: set[str] = set()

    def holds(name: str) -> bool:
        constant = graph.constants.get(name)
        return name in found if constant is None else bool((constant >= 0).all())

    for node in graph.nodes:
        low = node.attributes["min"] if node.op == "Clip" else None
        square = node.op == "Mul" and node.inputs[0] == node.inputs[1]
        if (
            node.op in _ALWAYS
            or square
            or (low is not None and low >= 0)
            or (node.op in _IF_INPUTS and all(holds(i) for i in node.inputs))
        ):
            found.update(node.outputs)
    return frozenset(found)
