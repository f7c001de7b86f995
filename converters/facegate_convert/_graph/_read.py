"""ONNX bytes as a checked protobuf, and its tensors as arrays. Every way a file can be broken has its own error."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from facegate_convert._graph._builder import MAX_RANK
from facegate_convert.errors import (
    ExternalDataError,
    InvalidGraphError,
    ModelFileError,
    NotOnnxError,
    TruncatedModelError,
    UnsupportedOpsetError,
)

OPSETS = range(9, 22)
MAX_FILE = 2**31 - 1  # bytes: what protobuf reads in one message
_NOT_ONNX_HINT = "give an .onnx file; export other formats to ONNX first"

# Field number -> wire type of onnx.ModelProto (onnx.proto, IR version 10): what a file may start with.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_MAX_VALUES = 2**31 - 1
_VARINT, _LENGTH_DELIMITED = 0, 2
_MAX_VARINT = 10
_FLOATS = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
_DTYPES: dict[int, Any] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
    onnx.TensorProto.BFLOAT16: np.dtype("<u2"),
    onnx.TensorProto.INT64: np.dtype("<i8"),
    onnx.TensorProto.INT32: np.dtype("<i4"),
    onnx.TensorProto.INT16: np.dtype("<i2"),
    onnx.TensorProto.INT8: np.dtype("i1"),
    onnx.TensorProto.UINT8: np.dtype("u1"),
    onnx.TensorProto.UINT16: np.dtype("<u2"),
    onnx.TensorProto.BOOL: np.dtype("?"),
}
# Which repeated field holds a tensor's values when raw_data does not.
_FIELDS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
    onnx.TensorProto.INT64: "int64_data",
}


def read_model(source: Path | bytes) -> tuple[onnx.ModelProto, str, Path | None]:
    """Read and check a model.

    Returns:
        The protobuf, the SHA-256 of its bytes (hex), and the directory of its external data (None for bytes).
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, directory = bytes(source), None
    else:
        path = Path(source)
        directory = path.parent
        data = _bytes_of(path)
    model = _parse(data)
    _check_opset(model)
    return model, hashlib.sha256(data).hexdigest(), directory


def _bytes_of(path: Path) -> bytes:
    """The contents of a regular file that a protobuf message can have: devices and pipes may have no end."""
    hint = "give the path of a readable .onnx file"
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"cannot read {path}: it is no regular file", hint=hint)
            if status.st_size > MAX_FILE:
                raise ModelFileError(
                    f"{path} has {status.st_size} bytes; an ONNX file has at most {MAX_FILE}",
                    hint="larger models keep their weights in other files",
                )
            return file.read(MAX_FILE)
    except OSError as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}", hint=hint) from None


def _parse(data: bytes) -> onnx.ModelProto:
    if not data:
        raise NotOnnxError("the model is empty", hint=_NOT_ONNX_HINT)
    fields = _framing(data)
    truncated = TruncatedModelError(
        f"the ONNX model is truncated: its {len(data)} bytes end in the middle", hint="copy or download the file again"
    )
    if fields is None:
        raise truncated
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise NotOnnxError("the ONNX model is damaged: its contents cannot be decoded", hint=_NOT_ONNX_HINT) from None
    if 7 not in fields or 8 not in fields:  # noqa: PLR2004 - the graph and the operator sets, which come last
        raise truncated
    return model


def _framing(data: bytes) -> set[int] | None:
    """The top-level fields of a ModelProto, or None if a field reaches past the end; NotOnnxError if it is none."""
    fields: set[int] = set()
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag is None:
            return None
        field, wire = tag >> 3, tag & 7
        if _MODEL_FIELDS.get(field) != wire:
            raise NotOnnxError("the file is not an ONNX model", hint=_NOT_ONNX_HINT)
        length, position = _varint(data, position)
        if length is None:
            return None
        if wire == _LENGTH_DELIMITED:
            position += length
            if position > len(data):
                # A plausible first field proves little: text files, too, start with plausible tags.
                if not fields:
                    raise NotOnnxError("the file is not an ONNX model", hint=_NOT_ONNX_HINT)
                return None
        fields.add(field)
    return fields


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if position + shift >= len(data):
            return None, position
        byte = data[position + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + shift + 1
    raise NotOnnxError("the file is not an ONNX model", hint=_NOT_ONNX_HINT)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the default operator set."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _check_opset(model: onnx.ModelProto) -> None:
    version = opset_of(model)
    if version not in OPSETS:
        raise UnsupportedOpsetError(
            f"the model uses operator set {version}; known are {OPSETS[0]} to {OPSETS[-1]}",
            hint=f"export it again with opset_version between {OPSETS[0]} and {OPSETS[-1]}, "
            "or convert it with onnx.version_converter",
        )
    if not model.graph.output:
        raise InvalidGraphError("the model has no outputs", hint="export it again; the graph is empty")


def dtype_name(element_type: int, owner: str) -> str:
    """The numpy dtype name under which a tensor is computed: every floating type is float32."""
    if element_type in _FLOATS:
        return "float32"
    if element_type not in _DTYPES:
        raise InvalidGraphError(
            f"{owner} has an element type that cannot be converted (ONNX type {element_type})",
            hint="export the model with float32 tensors",
        )
    return str(_DTYPES[element_type].name)


def to_array(tensor: onnx.TensorProto, directory: Path | None) -> npt.NDArray[Any]:
    """The values of a tensor; floating types other than float64 as float32 (float64 matters in shape computations)."""
    name = tensor.name or "(unnamed)"
    dtype_name(tensor.data_type, f"tensor {name!r}")
    dtype = _DTYPES[tensor.data_type]
    shape = tuple(int(d) for d in tensor.dims)
    if any(d < 0 for d in shape):
        raise InvalidGraphError(
            f"tensor {name!r} has a negative dimension", hint="the model is damaged: export it again"
        )
    # numpy counts bytes without the empty dimensions.
    if len(shape) > MAX_RANK or math.prod(d or 1 for d in shape) > _MAX_VALUES:
        raise InvalidGraphError(
            f"tensor {name!r} has the shape {shape[:MAX_RANK]}..., which no model needs",
            hint="the model is damaged: export it again",
        )
    count = math.prod(shape)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        array: npt.NDArray[Any] = np.frombuffer(_external(tensor, directory, count * dtype.itemsize), dtype)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * dtype.itemsize:
            raise InvalidGraphError(
                f"tensor {name!r} has {len(raw)} bytes where its shape {shape} needs {count * dtype.itemsize}",
                hint="the model is damaged: export or download it again",
            )
        array = np.frombuffer(raw, dtype)
    else:
        values = getattr(tensor, _FIELDS.get(int(tensor.data_type), "int32_data"))
        if len(values) != count:
            raise InvalidGraphError(
                f"tensor {name!r} has {len(values)} values where its shape {shape} needs {count}",
                hint="the model is damaged: export or download it again",
            )
        if tensor.data_type == onnx.TensorProto.FLOAT16:  # stored as bit patterns in int32
            array = np.asarray(values, np.int32).astype(np.uint16).view(np.float16)
        else:
            array = np.asarray(values).astype(dtype)
    array = array.reshape(shape)
    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        return np.asarray((array.astype(np.uint32) << np.uint32(16)).view(np.float32))
    return np.asarray(array, np.float32) if array.dtype == np.float16 else array


def _external(tensor: onnx.TensorProto, directory: Path | None, size: int) -> bytes:
    """The bytes of a tensor that is stored beside the model."""
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    hint = "keep the data file beside the .onnx file, or save the model with its data inside (onnx.save_model)"
    if directory is None:
        raise ExternalDataError(
            f"tensor {tensor.name!r} is stored in another file ({location!r}), but the model was given as bytes",
            hint="give the path of the .onnx file instead",
        )
    path = (directory / location).resolve()
    if not location or directory.resolve() not in path.parents:
        raise ExternalDataError(
            f"tensor {tensor.name!r} names a data file outside the model's directory ({location!r})", hint=hint
        )
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
    except ValueError:
        raise ExternalDataError(f"tensor {tensor.name!r} has a malformed offset or length", hint=hint) from None
    try:
        with path.open("rb") as file:
            file.seek(max(offset, 0))
            data: bytes = file.read(size)
    except OSError as error:
        raise ExternalDataError(
            f"the data file {location!r} of tensor {tensor.name!r} cannot be read: {error.strerror or error}", hint=hint
        ) from None
    if offset < 0 or length != size or len(data) != size:
        raise ExternalDataError(f"the data file {location!r} is too short for tensor {tensor.name!r}", hint=hint)
    return data


def attributes_of(node: onnx.NodeProto, directory: Path | None) -> dict[str, Any]:
    """A node's attributes as Python values; None for kinds that no supported operator has (graphs, types)."""
    kinds = onnx.AttributeProto
    decoded: dict[str, Any] = {}
    for a in node.attribute:
        if a.type == kinds.FLOAT:
            decoded[a.name] = float(a.f)
        elif a.type == kinds.INT:
            decoded[a.name] = int(a.i)
        elif a.type == kinds.STRING:
            decoded[a.name] = a.s.decode("utf-8", "replace")
        elif a.type == kinds.TENSOR:
            decoded[a.name] = to_array(a.t, directory)
        elif a.type == kinds.FLOATS:
            decoded[a.name] = tuple(float(v) for v in a.floats)
        elif a.type == kinds.INTS:
            decoded[a.name] = tuple(int(v) for v in a.ints)
        elif a.type == kinds.STRINGS:
            decoded[a.name] = tuple(v.decode("utf-8", "replace") for v in a.strings)
        else:
            decoded[a.name] = None  # there, but of a kind that no supported operator has: never taken for absent
    return decoded
