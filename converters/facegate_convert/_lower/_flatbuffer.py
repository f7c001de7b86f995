"""TFLite flatbuffers, written with the schema that ai-edge-litert ships."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np

from facegate_edge.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._lower._emitter import Operator, Tensor

SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
_MAX_DEPRECATED_CODE = 127
_BROADCAST_RANK = 4

# Operators and their options tables; those not listed have none.
_OPTIONS = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "COS": "CosOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "EQUAL": "EqualOptions",
    "EXP": "ExpOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "GREATER": "GreaterOptions",
    "GREATER_EQUAL": "GreaterEqualOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LESS": "LessOptions",
    "LESS_EQUAL": "LessEqualOptions",
    "LOGICAL_AND": "LogicalAndOptions",
    "LOGICAL_NOT": "LogicalNotOptions",
    "LOGICAL_OR": "LogicalOrOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "POW": "PowOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SELECT_V2": "SelectV2Options",
    "SIGN": "SignOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
_ENUMS = {
    "fusedActivationFunction": "ActivationFunctionType",
    "padding": "Padding",
    "mode": "MirrorPadMode",
    "outputType": "TensorType",
}
_DTYPES = {
    "float32": "FLOAT32",
    "int32": "INT32",
    "int64": "INT64",
    "int16": "INT16",
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "BOOL",
}


@cache
def schema() -> Any:
    """The schema module, loaded by its file: importing its package would start the whole runtime (120 MB)."""
    package = importlib.util.find_spec("ai_edge_litert")
    folders = (package.submodule_search_locations or []) if package is not None else []
    path = next((p for f in folders if (p := Path(f) / "schema_py_generated.py").is_file()), None)
    spec = None if path is None else importlib.util.spec_from_file_location("facegate_convert._schema", path)
    if spec is None or spec.loader is None:
        raise EngineUnavailableError(
            "the TFLite schema of ai-edge-litert is not installed", hint="pip install 'facegate[convert]'"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def version_of(operator: Operator, tensors: Sequence[Tensor]) -> int:
    """The lowest version of the builtin that has what the operator uses (tflite/tools/versioning/op_version.cc)."""
    options = operator.options
    ranks = [len(tensors[t].shape) for t in operator.inputs if tensors[t].data is None or operator.code != "RESHAPE"]
    deep = max(ranks, default=0) > _BROADCAST_RANK
    versions = {
        "BATCH_MATMUL": 1,
        "DEPTHWISE_CONV_2D": 2 if (options.get("dilationHFactor"), options.get("dilationWFactor")) != (1, 1) else 1,
        "FULLY_CONNECTED": 5 if options.get("keepNumDims") else 1,
        "RESIZE_BILINEAR": 3 if options.get("halfPixelCenters") else 1,
        "RESIZE_NEAREST_NEIGHBOR": 3 if options.get("halfPixelCenters") or options.get("alignCorners") else 1,
        "TRANSPOSE_CONV": 4 if "fusedActivationFunction" in options else 3,
        "MAXIMUM": 3 if deep else 1,
        "MINIMUM": 3 if deep else 1,
        "SUB": 3 if deep else 1,
        "DIV": 2 if deep else 1,
        "SLICE": 5 if deep else 1,
        "STRIDED_SLICE": 4 if deep else 1,
        "TRANSPOSE": 4 if deep else 1,
        "CONV_2D": _conv_version(operator, tensors),
    }
    return versions.get(operator.code, 1)


def _conv_version(operator: Operator, tensors: Sequence[Tensor]) -> int:
    if operator.code != "CONV_2D":
        return 1
    grouped = tensors[operator.inputs[0]].shape[3] != tensors[operator.inputs[1]].shape[3]
    return 6 if grouped else 1


def serialize(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]],
) -> bytes:
    """A model with one subgraph and one signature, "serving_default".

    Args:
        tensors: all tensors; those that nothing uses are left out.
        operators: in execution order.
        inputs: signature names and tensor indices.
        outputs: likewise.
    """
    s = schema()
    used = sorted({t for o in operators for t in (*o.inputs, *o.outputs)} | {t for _, t in (*inputs, *outputs)})
    index = {t: i for i, t in enumerate(used)}
    buffers = [s.BufferT()]
    subgraph = s.SubGraphT(name="main", tensors=[])
    for number in used:
        tensor = tensors[number]
        made = s.TensorT(
            shape=list(tensor.shape), type=getattr(s.TensorType, _DTYPES[tensor.dtype]), name=tensor.name, hasRank=True
        )
        made.quantization = s.QuantizationParametersT()
        if tensor.data is not None:
            made.buffer = len(buffers)
            buffers.append(_buffer(s, np.ascontiguousarray(tensor.data).tobytes()))
        subgraph.tensors.append(made)
    codes: dict[tuple[str, int], int] = {}
    subgraph.operators = []
    for operator in operators:
        key = (operator.code, version_of(operator, tensors))
        made = s.OperatorT(opcodeIndex=codes.setdefault(key, len(codes)))
        made.inputs = [index[t] for t in operator.inputs]
        made.outputs = [index[t] for t in operator.outputs]
        table = _OPTIONS.get(operator.code)
        if table is not None:
            made.builtinOptionsType = getattr(s.BuiltinOptions, table)
            made.builtinOptions = _options(s, table, operator, tensors)
        subgraph.operators.append(made)
    subgraph.inputs = [index[t] for _, t in inputs]
    subgraph.outputs = [index[t] for _, t in outputs]
    model = s.ModelT(version=SCHEMA_VERSION, description="facegate", subgraphs=[subgraph])
    model.operatorCodes = [_code(s, name, version) for name, version in codes]
    signature = s.SignatureDefT(signatureKey="serving_default", subgraphIndex=0)
    signature.inputs = [s.TensorMapT(name=n, tensorIndex=index[t]) for n, t in inputs]
    signature.outputs = [s.TensorMapT(name=n, tensorIndex=index[t]) for n, t in outputs]
    model.signatureDefs = [signature]
    model.metadata = [s.MetadataT(name="min_runtime_version", buffer=len(buffers))]
    buffers.append(_buffer(s, b"2.1.0".ljust(16, b"\0")))
    model.buffers = buffers
    size = sum(len(b.data) + 64 for b in buffers if b.data is not None)
    builder = flatbuffers.Builder(size + 256 * (len(used) + len(operators)) + 4096)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _code(s: Any, name: str, version: int) -> Any:
    number = getattr(s.BuiltinOperator, name)
    return s.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, _MAX_DEPRECATED_CODE), version=version)


def _options(s: Any, table: str, operator: Operator, tensors: Sequence[Tensor]) -> Any:
    made = getattr(s, f"{table}T")()
    for key, value in operator.options.items():
        enum = _ENUMS.get(key)
        setattr(made, key, value if enum is None else getattr(getattr(s, enum), value))
    if operator.code == "CAST":
        made.inDataType, made.outDataType = (
            getattr(s.TensorType, _DTYPES[tensors[t].dtype]) for t in (operator.inputs[0], operator.outputs[0])
        )
    return made


def _buffer(s: Any, data: bytes) -> Any:
    """A buffer whose bytes are aligned as the schema demands (force_align: 16), which its Python code forgets."""

    class Aligned(s.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's name
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
            s.BufferStart(builder)
            s.BufferAddData(builder, vector)
            return s.BufferEnd(builder)

    return Aligned(data=data)
