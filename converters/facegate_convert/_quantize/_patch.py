"""A quantised model whose weights and biases can be written where they lie, without building it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._quantize._flat import WEIGHTED, open_model, operations, stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_convert._quantize._flat import Operation

_INT8, _INT32 = 9, 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Layer:
    """A convolution or fully connected layer whose weights, input and output are integers.

    Attributes:
        operation: the operator.
        source: name of the tensor that it reads.
        weight: int8, as TFLite stores it: (O, H, W, C), (1, H, W, O) if depthwise, (O, C) if fully connected. A view
            into the model's bytes.
        scales: float32 (O,), of the weights, a view.
        bias: int32 (O,), a view, or None if it has none.
        bias_scales: float32 (O,), of the bias, a view; empty if it has none.
        input_scale: of the tensor that it reads.
        options: strides, dilations and padding: (stride h, w, dilation h, w, whether SAME).
    """

    operation: Operation
    source: str
    weight: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32] | None
    bias_scales: npt.NDArray[np.float32]
    input_scale: float
    options: tuple[int, int, int, int, bool]


class Patch:
    """A copy of a quantised model, and its layers of integers in execution order."""

    def __init__(self, model: bytes) -> None:
        self._data = bytearray(model)
        self._root = open_model(self._data)
        self._graph = self._root.Subgraphs(0)
        self.operations = operations(model)
        self.layers = tuple(layer for o in self.operations if (layer := self._layer(o)) is not None)

    def bytes(self) -> bytes:
        """The model as it is now."""
        return bytes(self._data)

    def _layer(self, operation: Operation) -> Layer | None:
        if operation.code not in WEIGHTED:
            return None
        source, kernel = (self._graph.Tensors(i) for i in operation.inputs[:2])
        weight = self._view(operation.inputs[1], _INT8)
        if weight is None or source.Type() != _INT8:
            return None
        bias = self._view(operation.inputs[2], _INT32) if len(operation.inputs) > 2 else None  # noqa: PLR2004
        return Layer(
            operation,
            source.Name().decode(),
            weight,
            kernel.Quantization().ScaleAsNumpy(),
            bias,
            kernel.Quantization().ScaleAsNumpy()[:0] if bias is None else self._scales(operation.inputs[2]),
            float(source.Quantization().Scale(0)),
            self._options(operation),
        )

    def _scales(self, index: int) -> Any:
        return self._graph.Tensors(index).Quantization().ScaleAsNumpy()

    def _view(self, index: int, kind: int) -> Any:
        tensor = self._graph.Tensors(index) if index >= 0 else None
        return stored(self._data, self._root, tensor) if tensor is not None and tensor.Type() == kind else None

    def _options(self, operation: Operation) -> tuple[int, int, int, int, bool]:
        from facegate_convert._lower._flatbuffer import schema  # noqa: PLC0415

        if operation.code == "FULLY_CONNECTED":
            return (1, 1, 1, 1, False)
        operator = self._graph.Operators(self.operations.index(operation))
        table = operator.BuiltinOptions()
        kind = schema().Conv2DOptions if operation.code == "CONV_2D" else schema().DepthwiseConv2DOptions
        options = kind()
        options.Init(table.Bytes, table.Pos)
        return (
            options.StrideH(),
            options.StrideW(),
            options.DilationHFactor(),
            options.DilationWFactor(),
            options.Padding() == schema().Padding.SAME,
        )
