"""Reading a TFLite model: which operators it has, and the tensors between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

_INT8 = 9


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator of a model.

    Attributes:
        code: builtin operator, e.g. "CONV_2D".
        inputs: indices of tensors; -1 for one that is left out.
        outputs: likewise.
        name: of its first output's tensor.
        weights: bytes of the constants that it reads.
    """

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str
    weights: int


@cache
def _code_names() -> dict[int, str]:
    from facegate_convert._lower._flatbuffer import schema  # noqa: PLC0415 - heavy: only where it is used

    return {value: name for name, value in vars(schema().BuiltinOperator).items() if not name.startswith("_")}


def open_model(model: bytes) -> Any:
    """The root of a flatbuffer."""
    from facegate_convert._lower._flatbuffer import schema  # noqa: PLC0415

    return schema().Model.GetRootAs(model)


def operations(model: bytes) -> tuple[Operation, ...]:
    """The operators of a model's first subgraph, in execution order."""
    root = open_model(model)
    graph = root.Subgraphs(0)
    names = _code_names()
    found = []
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        code = root.OperatorCodes(operator.OpcodeIndex())
        inputs = tuple(int(operator.Inputs(i)) for i in range(operator.InputsLength()))
        outputs = tuple(int(operator.Outputs(i)) for i in range(operator.OutputsLength()))
        found.append(
            Operation(
                names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())],
                inputs,
                outputs,
                graph.Tensors(outputs[0]).Name().decode(),
                sum(root.Buffers(graph.Tensors(i).Buffer()).DataLength() for i in inputs if i >= 0),
            )
        )
    return tuple(found)


def constants(model: bytes) -> set[int]:
    """The indices of tensors that are weights: those with bytes of their own."""
    root = open_model(model)
    graph = root.Subgraphs(0)
    return {i for i in range(graph.TensorsLength()) if root.Buffers(graph.Tensors(i).Buffer()).DataLength()}
