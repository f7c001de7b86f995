"""Graphs without weights: how they are stored, and how weights are made for them.

An architecture is kept as what an exporter wrote, without the values of its larger floating-point tensors: those come
from a seeded generator, by what the tensor is for, so that activations keep their size through the net. No torch here.
"""

from __future__ import annotations

import lzma
import math
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "graphs"
MARK = "filled"  # stands where a tensor's values were
KEPT = 8  # tensors of so few values keep them: scales, clipping bounds, exponents
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
_NORMALISATIONS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization")


def stripped(model: onnx.ModelProto) -> bytes:
    """What is kept of an exported model: no values, no comments, short names."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return names.setdefault(name, f"{len(names):x}")

    for value in (*model.graph.input, *model.graph.output):
        names[value.name] = value.name
        value.doc_string = ""
        del value.metadata_props[:]
    model.producer_name = model.producer_version = model.doc_string = model.graph.doc_string = ""
    for part in (model.metadata_props, model.graph.metadata_props, model.graph.value_info):
        del part[:]
    model.graph.name = "g"
    for tensor in model.graph.initializer:
        _strip(tensor)
        tensor.name = short(tensor.name)
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"{node.op_type}{number}", ""
        del node.metadata_props[:]
        node.input[:] = [short(i) for i in node.input]
        node.output[:] = [short(o) for o in node.output]
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.type == onnx.AttributeProto.TENSOR:
                _strip(attribute.t)
    return lzma.compress(model.SerializeToString(deterministic=True), lzma.FORMAT_XZ, filters=_FILTERS)


def _strip(tensor: onnx.TensorProto) -> None:
    tensor.doc_string = ""
    if tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > KEPT:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.doc_string = MARK


def filled(data: bytes) -> onnx.ModelProto:
    """A stored graph with weights, the same ones every time."""
    model = onnx.ModelProto.FromString(lzma.decompress(data))
    uses: dict[str, tuple[onnx.NodeProto, int]] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            uses.setdefault(name, (node, place))
    # A transposed, reshaped or renamed weight is for what its result is for.
    for node in reversed(model.graph.node):
        if node.op_type in ("Transpose", "Identity", "Reshape") and node.output[0] in uses:
            uses[node.input[0]] = uses[node.output[0]]
    for tensor in model.graph.initializer:
        if tensor.doc_string == MARK:
            _fill(tensor, tensor.name, uses.get(tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.doc_string == MARK:
                _fill(attribute.t, node.output[0], uses.get(node.output[0]))
    return model


def _fill(tensor: onnx.TensorProto, name: str, use: tuple[onnx.NodeProto, int] | None) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shape = tuple(tensor.dims)
    op, place = ("", 0) if use is None else (use[0].op_type, use[1])
    values = rng.normal(size=shape)
    if op in ("Conv", "Gemm", "MatMul", "ConvTranspose") and place < 2 and len(shape) > 1:
        share = {"Conv": math.prod(shape[1:]), "ConvTranspose": math.prod(shape[2:]) * shape[0] / 4}
        values *= 1.3 / math.sqrt(max(share.get(op, max(shape[-2:])), 1))
    elif (op in _NORMALISATIONS and place in (1, 4)) or op in ("Mul", "Div"):  # scales and variances
        values = rng.uniform(0.5, 1.5, shape)
    elif op == "PRelu":
        values = rng.uniform(0.05, 0.4, shape)
    else:
        values *= 0.1
    stored = numpy_helper.from_array(values.astype(np.float32), tensor.name)
    tensor.CopyFrom(stored)


def names() -> list[str]:
    """Every stored graph: architecture, exporter and operator set."""
    return sorted(path.name.removesuffix(".onnx.xz") for path in FOLDER.glob("*.onnx.xz"))


def load(name: str) -> bytes:
    """A stored graph's ONNX bytes, filled."""
    return filled((FOLDER / f"{name}.onnx.xz").read_bytes()).SerializeToString()


def image_size(name: str) -> tuple[int, int] | None:
    """The size that an input needs where the graph leaves it open."""
    return (64, 64) if ".open" in name else None


def feeds(model: bytes, size: tuple[int, int] | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Pictures in -1..1 for every input."""
    rng = np.random.default_rng(seed)
    result = {}
    for value in onnx.ModelProto.FromString(model).graph.input:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        shape = [1, *dims[1:]] if size is None else [1, dims[1], size[1], size[0]]
        result[value.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return result
