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


def nonnegative(graph: Graph, name: str) -> bool:
    """Whether a value is >= 0 everywhere, whatever the input."""
    producers = {o: n for n in graph.nodes for o in n.outputs}
    pending, seen = [name], set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        constant = graph.constants.get(current)
        if constant is not None:
            if (constant < 0).any():
                return False
            continue
        node = producers.get(current)
        if node is None:
            return False
        low = node.attributes["min"] if node.op == "Clip" else None
        if node.op in _ALWAYS or (low is not None and low >= 0):
            continue
        if node.op not in _IF_INPUTS:
            return False
        pending.extend(node.inputs)
    return True
