"""What a model is made of: its operators, the way through them, and what XNNPACK takes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._interpreter import make_interpreter
from facegate_convert.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facegate_convert._graph import Graph

_DELEGATE = "DELEGATE"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The operators of a model.

    Attributes:
        operators: how many of each kind.
        flow: the longest way from input to output: (operator, how many in a row, shape of the last result).
        partitions: pieces that XNNPACK cuts it into; 0 for an ONNX graph.
        outside: operators that XNNPACK leaves to other kernels, how many of each kind.
    """

    operators: dict[str, int]
    flow: tuple[tuple[str, int, str], ...]
    partitions: int
    outside: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON types."""
        return {
            "nodes": sum(self.operators.values()),
            "operators": dict(sorted(self.operators.items(), key=lambda o: (-o[1], o[0]))),
            "flow": [list(step) for step in self.flow],
            "partitions": self.partitions,
            "outside": dict(self.outside),
        }


def of_graph(graph: Graph) -> Anatomy:
    """The anatomy of a canonical ONNX graph, shapes in ONNX's order."""
    nodes = [(n.op, [i for i in n.inputs if i not in graph.constants], list(n.outputs)) for n in graph.nodes]
    shapes = {name: tuple(shape) for name, shape in graph.shapes.items()}
    return Anatomy(dict(Counter(n.op for n in graph.nodes)), _flow(nodes, shapes), 0, {})


def of_model(model: bytes) -> Anatomy:
    """The anatomy of a TFLite model, as the interpreter prepares it.

    Raises:
        MeasureError: the interpreter refuses the model.
    """
    try:
        runner = make_interpreter(model)
        details = runner._get_ops_details()  # noqa: SLF001 - there is no public way to see the delegate's nodes
        shapes = {d["index"]: tuple(int(n) for n in d["shape"]) for d in runner.get_tensor_details()}
    except (RuntimeError, ValueError) as error:
        raise MeasureError("the LiteRT interpreter refuses the converted model") from error
    nodes = [(str(d["op_name"]), _numbers(d["inputs"]), _numbers(d["outputs"])) for d in details]
    real = [node for node in nodes if node[0] != _DELEGATE]
    pieces = [node for node in nodes if node[0] == _DELEGATE]
    taken = _taken(real, pieces)
    return Anatomy(
        dict(Counter(op for op, _, _ in real)),
        _flow(real, shapes),
        len(pieces),
        dict(Counter(op for place, (op, _, _) in enumerate(real) if place not in taken)),
    )


def _numbers(values: Iterable[Any]) -> list[int]:
    return [int(v) for v in values if int(v) >= 0]


def _taken(
    nodes: Sequence[tuple[str, list[int], list[int]]], pieces: Sequence[tuple[str, list[int], list[int]]]
) -> set[int]:
    """The places of nodes that the delegate replaced: those behind each piece's outputs, up to its inputs."""
    producer = {tensor: place for place, (_, _, outputs) in enumerate(nodes) for tensor in outputs}
    found: set[int] = set()
    for _, inputs, outputs in pieces:
        border, left = set(inputs), list(outputs)
        while left:
            place = producer.get(left.pop())
            if place is not None and place not in found:
                found.add(place)
                left += [tensor for tensor in nodes[place][1] if tensor not in border]
    return found


def _flow(
    nodes: Sequence[tuple[str, list[Any], list[Any]]], shapes: dict[Any, tuple[int, ...]]
) -> tuple[tuple[str, int, str], ...]:
    """The longest way through the nodes, equal operators in a row put together."""
    length: dict[Any, int] = {}
    before: dict[Any, int | None] = {}
    producer: dict[Any, int] = {}
    best, last = 0, None
    for place, (_, inputs, outputs) in enumerate(nodes):
        known = [(length[i], producer[i]) for i in inputs if i in producer]
        steps, previous = max(known, default=(0, None), key=lambda k: k[0])
        before[place] = previous
        for output in outputs:
            length[output], producer[output] = steps + 1, place
        if steps + 1 > best:
            best, last = steps + 1, place
    way: list[int] = []
    while last is not None:
        way.append(last)
        last = before[last]
    found: list[list[Any]] = []
    for place in reversed(way):
        op, _, outputs = nodes[place]
        shape = "x".join(map(str, shapes.get(outputs[0], ())))
        if found and found[-1][0] == op:
            found[-1][1] += 1
            found[-1][2] = shape
        else:
            found.append([op, 1, shape])
    return tuple((op, count, shape) for op, count, shape in found)
