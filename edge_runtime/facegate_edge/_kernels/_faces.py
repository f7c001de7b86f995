"""Detector outputs into faces: tensors, heads, suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegate_edge._kernels._core import TYPES, check, checked
from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_edge._manifest import Quantization


FACE_DTYPE: Final = np.dtype(
    [("box", "<f4", (4,)), ("landmarks", "<f4", (5, 2)), ("score", "<f4"), ("position", "<i4")],
)


class Tensor:
    """One output tensor of an engine, prepared: fg_tensor. `array` is the engine's own, float32, int8 or uint8."""

    __slots__ = ("_keep", "array", "struct")

    def __init__(self, array: npt.NDArray[np.generic], quantization: Quantization | None = None) -> None:
        checked(array, "a tensor", *TYPES)
        if array.dtype != np.float32 and quantization is None:
            raise KernelError("a quantised tensor without its quantisation", hint="check the manifest")
        self.array = array
        data = ffi.from_buffer(array)
        self._keep = data
        self.struct: Any = ffi.new("fg_tensor *")
        self.struct.data, self.struct.size = data, array.nbytes
        self.struct.type = TYPES[array.dtype.name]
        if quantization is not None:
            self.struct.scale, self.struct.zero_point = quantization.scale, quantization.zero_point


def _optional(tensor: Tensor | None) -> Any:
    return ffi.NULL if tensor is None else tensor.struct


class Faces:
    """fg_faces: a bounded list that heads decode into. `capacity` faces at most; the best-scoring ones stay."""

    __slots__ = ("_items", "_records", "struct")

    def __init__(self, capacity: int = 256) -> None:
        if not 1 <= capacity <= 65536:  # noqa: PLR2004
            raise KernelError(f"a capacity of {capacity}", hint="1 to 65536")
        self._records = np.zeros(capacity, FACE_DTYPE)
        self._items = ffi.from_buffer("fg_face[]", self._records)
        self.struct: Any = ffi.new("fg_faces *")
        self.struct.items, self.struct.capacity = self._items, capacity

    def __len__(self) -> int:
        return int(self.struct.count)

    @property
    def records(self) -> npt.NDArray[np.void]:
        """View of the faces, dtype FACE_DTYPE (box, landmarks, score, position); overwritten by the next frame."""
        return self._records[: self.struct.count]

    def clear(self) -> None:
        """Forget all faces: before the first head of a frame."""
        self.struct.count = self.struct.rows = 0

    def nms(self, iou: float, limit: int | None = None) -> int:
        """fg_nms: sort, suppress, keep at most `limit`; returns how many are left.

        Raises:
            KernelError: `iou` is not in 0..1 or `limit` is negative.
        """
        check(lib.fg_nms(self.struct, iou, self.struct.capacity if limit is None else limit), "nms")
        return int(self.struct.count)

    def scale(self, factor: float) -> None:
        """fg_scale_faces: multiply boxes and landmarks (1 / scale of the letterbox leads to the frame)."""
        check(lib.fg_scale_faces(self.struct, factor), "scale")


class ScrfdHead:
    """fg_decode_scrfd for one stride of an input of `width` x `height`."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        stride: int,
        anchors: int,
    ) -> None:
        self._keep = (score, box, landmarks)
        self._args = (score.struct, box.struct, _optional(landmarks), width, height, stride, anchors)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        check(lib.fg_decode_scrfd(*self._args, threshold, faces.struct), "decode SCRFD")


class YunetHead:
    """fg_decode_yunet for one stride of an input of `width` x `height`."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        objectness: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        stride: int,
    ) -> None:
        self._keep = (score, objectness, box, landmarks)
        structs = (score.struct, objectness.struct, box.struct, _optional(landmarks))
        self._args = (*structs, width, height, stride)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        check(lib.fg_decode_yunet(*self._args, threshold, faces.struct), "decode YuNet")


class RetinafaceHead:
    """fg_decode_retinaface for an input of `width` x `height`; `min_sizes` has one sequence a stride."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        strides: Sequence[int],
        min_sizes: Sequence[Sequence[float]],
        variances: Sequence[float],
    ) -> None:
        if not 1 <= len(strides) == len(min_sizes) <= 8 or not all(1 <= len(s) <= 16 for s in min_sizes):  # noqa: PLR2004
            raise KernelError("strides and min_sizes do not fit", hint="1 to 8 strides, 1 to 16 sizes for each")
        priors = ffi.new("fg_priors *")
        priors.levels = len(strides)
        for level, (stride, sizes) in enumerate(zip(strides, min_sizes, strict=True)):
            priors.strides[level], priors.anchors[level] = stride, len(sizes)
            for anchor, size in enumerate(sizes):
                priors.min_sizes[level][anchor] = size
        priors.variances[0], priors.variances[1] = variances
        self._keep = (score, box, landmarks, priors)
        self._args = (score.struct, box.struct, _optional(landmarks), priors, width, height)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        check(lib.fg_decode_retinaface(*self._args, threshold, faces.struct), "decode RetinaFace")
