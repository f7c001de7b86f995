"""The result of lowering: a TFLite model and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._files import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from facegate_edge import TensorInfo


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LoweredModel:
    """A float32 TFLite model with one signature, "serving_default".

    Attributes:
        model: the flatbuffer's bytes; the same graph and options always give the same bytes.
        inputs, outputs: tensors of the signature, by signature name, in the ONNX model's order.
        operators: how many of each builtin operator, e.g. {"CONV_2D": 51}.
        layouts: for each input and output (signature name) the order in which it stores ONNX's dimensions:
            stored = onnx.transpose(layouts[name]). (0, 2, 3, 1) is an image that stayed NHWC; tensors of rank <= 3 are
            always in ONNX's order.
        onnx_names: the ONNX name of each input and output, by signature name.
        source_sha256: of the ONNX file, hex.
    """

    model: bytes
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: Mapping[str, int]
    layouts: Mapping[str, tuple[int, ...]]
    onnx_names: Mapping[str, str]
    source_sha256: str

    def __repr__(self) -> str:
        return f"LoweredModel({len(self.model)} bytes, {sum(self.operators.values())} operators)"

    @property
    def transposes(self) -> int:
        """Number of TRANSPOSE operators: 0 unless the model forces one."""
        return self.operators.get("TRANSPOSE", 0)

    def arrange(self, name: str, onnx_array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Bring an array in ONNX's dimension order into the order of the tensor `name`; C-contiguous."""
        return np.asarray(np.transpose(onnx_array, self.layouts[name]), order="C")

    def save(self, path: Path) -> None:
        """Write the model to `path` (mode 0600): the whole file or nothing."""
        write_file(path, [self.model], mode=0o600)
