"""Reading a TFLite model: which operators it has, and the tensors between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt


WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


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


def open_model(model: bytes | bytearray) -> Any:
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
                sum(_length(root, graph.Tensors(i)) for i in inputs if i >= 0),
            )
        )
    return tuple(found)


def multiplications(model: bytes) -> int:
    """Multiplications of one run, in convolutions and fully connected layers.

    They tell what measuring a model costs without a clock, so that results do not depend on the machine.
    """
    root = open_model(model)
    graph = root.Subgraphs(0)
    total = 0
    for operation in operations(model):
        if operation.code not in WEIGHTED:
            continue
        kernel = graph.Tensors(operation.inputs[1])
        shape = [kernel.Shape(i) for i in range(kernel.ShapeLength())]
        output = graph.Tensors(operation.outputs[0])
        outputs = math.prod(output.Shape(i) for i in range(output.ShapeLength()))
        channels = shape[-1] if operation.code == "DEPTHWISE_CONV_2D" else shape[0]
        total += math.prod(shape) // channels * outputs
    return total


def constants(model: bytes) -> set[int]:
    """The indices of tensors that are weights: those with bytes of their own."""
    root = open_model(model)
    graph = root.Subgraphs(0)
    return {i for i in range(graph.TensorsLength()) if _length(root, graph.Tensors(i))}


def stored(data: bytes | bytearray, root: Any, tensor: Any) -> npt.NDArray[Any] | None:
    """A constant tensor's values, a view into `data` (writable if that is a bytearray); None for computed tensors."""
    import numpy as np  # noqa: PLC0415

    names = {0: np.float32, 2: np.int32, 4: np.int64, 9: np.int8}
    buffer = root.Buffers(tensor.Buffer())
    shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
    if tensor.Type() not in names or not _length(root, tensor):
        return None
    if buffer.DataLength():
        found: npt.NDArray[Any] = buffer.DataAsNumpy().view(names[tensor.Type()])
    else:  # the quantizer puts large buffers behind the flatbuffer
        found = np.frombuffer(data, np.uint8, buffer.Size(), buffer.Offset()).view(names[tensor.Type()])
    return found.reshape(shape)


def _length(root: Any, tensor: Any) -> int:
    buffer = root.Buffers(tensor.Buffer())
    return int(buffer.DataLength() or (buffer.Size() if buffer.Offset() > 1 else 0))
