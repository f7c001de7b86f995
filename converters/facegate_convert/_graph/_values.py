"""The canonical graph, as values. Nothing of onnx or protobuf travels past this point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that enters or leaves a graph, in ONNX's dimension order (N, C, H, W for images)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a canonical graph.

    `op` is the ONNX operator's name, but every operation has one form only, whatever the opset: parameters are
    `attributes`, never inputs; inputs are tensors that are computed or weights. docs/lowering.md lists them.

    Attributes:
        op: canonical operator name.
        name: the name of the ONNX node it comes from (its first output if it had none).
        inputs: names of values or constants; never empty strings.
        outputs: names of values.
        attributes: parameters as Python ints, floats, strings and tuples.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A canonical graph: every shape known, nodes in execution order, no dead node, no constant expression.

    Attributes:
        inputs, outputs: in the model's order.
        nodes: in execution order.
        constants: arrays by name (float32 for every floating type, int64, int32, bool, uint8, int8).
        shapes: of every input, constant and computed value, by name.
        dtypes: numpy dtype names, likewise.
        source_sha256: of the ONNX file's bytes, hex.
        opset: the model's operator set version.
        metadata: what the file says about itself (ONNX `metadata_props`), by key.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    source_sha256: str
    opset: int
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, inputs {[v.name for v in self.inputs]})"

    def producer(self, name: str) -> Node | None:
        """The node that computes a value, or None for inputs and constants."""
        return next((n for n in self.nodes if name in n.outputs), None)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value, in execution order."""
        return tuple(n for n in self.nodes if name in n.inputs)
