"""Small TFLite models, written here field by field: what the engines are tested with, without any converter."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
}


class TinyModel:
    """Collects tensors and operators of one subgraph and writes them with a signature."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        *,
        quantization: tuple[float, int] | None = None,
        data: np.ndarray[Any, Any] | None = None,
    ) -> int:
        """Add a tensor, constant if it has data; return its index."""
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = list(shape)
        tensor.type = _TYPES[dtype]
        if data is None:
            tensor.buffer = 0
        else:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [quantization[0]]
            tensor.quantization.zeroPoint = [quantization[1]]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, code: int, inputs: list[int], outputs: list[int], options: tuple[int, Any] | None = None) -> None:
        """Add an operator of a builtin code."""
        known = schema.OperatorCodeT()
        known.builtinCode = code
        known.deprecatedBuiltinCode = min(code, 127)
        known.version = 1
        self.model.operatorCodes.append(known)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs = inputs
        operator.outputs = outputs
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = options
        self.graph.operators.append(operator)

    def build(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        """The flatbuffer, with the given signature names."""
        self.graph.inputs = list(inputs.values())
        self.graph.outputs = list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey = b"serving_default"
        signature.subgraphIndex = 0

        def entries(tensors: dict[str, int]) -> list[Any]:
            found = []
            for name, index in tensors.items():
                entry = schema.TensorMapT()
                entry.name = name.encode()
                entry.tensorIndex = index
                found.append(entry)
            return found

        signature.inputs = entries(inputs)
        signature.outputs = entries(outputs)
        self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def conv_model(weights: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], height: int = 4, width: int = 6) -> bytes:
    """A 1x1 convolution: `image` (1, H, W, C) float32 -> `features` (1, H, W, O); weights (O, C), bias (O,)."""
    out, channels = weights.shape
    tiny = TinyModel()
    image = tiny.tensor("image", (1, height, width, channels))
    kernel = tiny.tensor("kernel", (out, 1, 1, channels), data=weights.astype(np.float32))
    offset = tiny.tensor("bias", (out,), data=bias.astype(np.float32))
    features = tiny.tensor("features", (1, height, width, out))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.padding = schema.Padding.VALID
    tiny.op(
        schema.BuiltinOperator.CONV_2D,
        [image, kernel, offset],
        [features],
        (schema.BuiltinOptions.Conv2DOptions, options),
    )
    return tiny.build({"image": image}, {"features": features})


def big_conv_model(size: int, channels: int, seed: int = 0) -> bytes:
    """A 1x1 convolution large enough that threads and memory can be seen: (1, size, size, channels), square."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((channels, channels)) / channels**0.5
    return conv_model(weights, np.zeros(channels), size, size)


def sigmoid_model(shape: tuple[int, ...] = (1, 5, 7, 3)) -> bytes:
    """An int8 sigmoid with quantised input (scale 0.05, zero point 3) and output (1/256, -128)."""
    tiny = TinyModel()
    x = tiny.tensor("x", shape, "int8", quantization=(0.05, 3))
    y = tiny.tensor("y", shape, "int8", quantization=(1 / 256, -128))
    tiny.op(schema.BuiltinOperator.LOGISTIC, [x], [y])
    return tiny.build({"x": x}, {"y": y})


def two_outputs_model(shape: tuple[int, ...] = (1, 5)) -> bytes:
    """`x` -> `tanh` and `sigmoid` of it; the outputs stand in the signature in the other order than in the graph."""
    tiny = TinyModel()
    x = tiny.tensor("x", shape)
    a = tiny.tensor("a", shape)
    b = tiny.tensor("b", shape)
    tiny.op(schema.BuiltinOperator.TANH, [x], [a])
    tiny.op(schema.BuiltinOperator.LOGISTIC, [x], [b])
    return tiny.build({"x": x}, {"tanh": a, "sigmoid": b})


def custom_op_model() -> bytes:
    """A model whose operator no engine has."""
    tiny = TinyModel()
    x = tiny.tensor("x", (1, 4))
    y = tiny.tensor("y", (1, 4))
    tiny.op(schema.BuiltinOperator.CUSTOM, [x], [y])
    tiny.model.operatorCodes[0].customCode = b"NobodyHasThis"
    return tiny.build({"x": x}, {"y": y})
