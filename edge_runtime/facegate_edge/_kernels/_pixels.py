"""Frames into model inputs: tables, letterbox, warp, alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_edge._kernels._core import BORDERS, PATHS, TYPES, check, checked, number_of, writable
from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_edge._manifest import Quantization
    from facegate_edge._values import Frame


def make_lut(
    mean: Sequence[float],
    scale: Sequence[float],
    dtype: str,
    quantization: Quantization | None = None,
) -> npt.NDArray[np.generic]:
    """The table (3, 256) of what a model is fed for each channel and pixel value.

    Float32: (pixel - mean) * scale, computed in float64. int8 and uint8: that, divided by the quantisation's scale,
    rounded half to even, plus the zero point, saturated.

    Raises:
        KernelError: unknown dtype, a quantised type without quantisation, or values that are not finite.
    """
    number_of(TYPES, dtype, "dtype")
    pixels = np.arange(256, dtype=np.float64)
    real = (pixels - np.asarray(mean, np.float64).reshape(3, 1)) * np.asarray(scale, np.float64).reshape(3, 1)
    if not np.isfinite(real).all():
        raise KernelError("mean or scale is not finite", hint="check the model's input in the manifest")
    if dtype == "float32":
        return real.astype(np.float32)
    if quantization is None or not quantization.scale > 0 or not np.isfinite(quantization.scale):
        raise KernelError(f"an {dtype} input needs a quantisation with a positive scale", hint="check the manifest")
    info = np.iinfo(dtype)
    quantized = np.rint(real / quantization.scale) + quantization.zero_point
    return np.asarray(np.clip(quantized, info.min, info.max), dtype)


class Target:
    """A model's image input, prepared: fg_target.

    Args:
        array: (H, W, 3) or (1, H, W, 3), float32, int8 or uint8: the engine's own input array.
        lut: (3, 256) of the same dtype, channels in the order of `color` (see `make_lut`).
        color: "RGB" or "BGR", the channel order of `array`.
    """

    __slots__ = ("_keep", "height", "struct", "width")

    def __init__(self, array: npt.NDArray[np.generic], lut: npt.NDArray[np.generic], color: str) -> None:
        writable(array, "the input", *TYPES)
        checked(lut, "the table", array.dtype.name)
        shape = array.shape[1:] if array.ndim == 4 and array.shape[0] == 1 else array.shape  # noqa: PLR2004
        if len(shape) != 3 or shape[2] != 3 or lut.shape != (3, 256):  # noqa: PLR2004
            raise KernelError(
                f"an input of shape {array.shape} with a table of shape {lut.shape}",
                hint="an input is (H, W, 3) or (1, H, W, 3), a table (3, 256)",
            )
        self.height, self.width = int(shape[0]), int(shape[1])
        bgr = number_of({"RGB": 0, "BGR": 1}, color, "color")
        data, table = ffi.from_buffer(array), ffi.from_buffer(lut)
        self._keep = (array, lut, data, table)
        self.struct: Any = ffi.new("fg_target *")
        self.struct.data, self.struct.size = data, array.nbytes
        self.struct.lut, self.struct.lut_size = table, lut.nbytes
        self.struct.width, self.struct.height = self.width, self.height
        self.struct.type, self.struct.bgr = TYPES[array.dtype.name], bgr


class _FrameRef:
    """An fg_frame that is pointed at one Frame after another."""

    __slots__ = ("_data", "struct")

    def __init__(self) -> None:
        self.struct: Any = ffi.new("fg_frame *")
        self._data: Any = None

    def set(self, frame: Frame) -> Any:
        data = checked(frame.data, "the frame", "uint8")
        struct = self.struct
        self._data = ffi.from_buffer("uint8_t[]", data)
        struct.data, struct.size = self._data, data.nbytes
        struct.width, struct.height = frame.stored_size
        struct.format, struct.rotation = frame.format, frame.rotation
        return struct

    def clear(self) -> None:
        """Keep no frame alive between calls."""
        self.struct.data = ffi.NULL
        self._data = None


class Letterbox:
    """fg_letterbox into one target. Scratch memory grows once when a frame of a new geometry comes."""

    __slots__ = ("_frame", "_geometry", "_path", "_scale", "_scratch", "_scratch_size", "target")

    def __init__(self, target: Target, path: str = "auto") -> None:
        self.target = target
        self._frame = _FrameRef()
        self._path = number_of(PATHS, path, "path")
        self._scale: Any = ffi.new("double *")
        self._scratch: Any = ffi.NULL
        self._scratch_size = 0
        self._geometry: tuple[Any, ...] = ()

    def run(self, frame: Frame) -> float:
        """Fill the target from `frame`; returns the scale (a length in the frame times it is a length in the input).

        Raises:
            KernelError: the frame's size, format or rotation is wrong.
        """
        struct = self._frame.set(frame)
        try:
            geometry = (struct.width, struct.height, struct.format, struct.rotation)
            if geometry != self._geometry:
                size = ffi.new("size_t *")
                check(lib.fg_letterbox_scratch(struct, self.target.struct, size), "letterbox")
                if size[0] > self._scratch_size:
                    self._scratch, self._scratch_size = ffi.new("uint8_t[]", size[0]), size[0]
                self._geometry = geometry
            status = lib.fg_letterbox(
                struct, self.target.struct, self._path, self._scratch, self._scratch_size, self._scale
            )
            check(status, "letterbox")
        finally:
            self._frame.clear()
        return float(self._scale[0])


class Warp:
    """fg_warp into one target.

    Args:
        target: the model's input.
        border: what lies outside the frame: "black", "mirror" or "nearest".
        luma: uint8 (H, W) that receives the luma of the warped pixels, or None.
    """

    __slots__ = ("_border", "_frame", "_keep", "_luma", "_luma_size", "_path", "target")

    def __init__(
        self,
        target: Target,
        *,
        border: str = "black",
        luma: npt.NDArray[np.uint8] | None = None,
        path: str = "auto",
    ) -> None:
        self.target = target
        self._frame = _FrameRef()
        self._path = number_of(PATHS, path, "path")
        self._border = number_of(BORDERS, border, "border")
        self._keep = luma
        self._luma: Any = ffi.NULL
        self._luma_size = 0
        if luma is not None:
            if writable(luma, "luma", "uint8").shape != (target.height, target.width):
                raise KernelError(f"luma has shape {luma.shape}", hint="it is (H, W) of the input")
            self._luma, self._luma_size = ffi.from_buffer("uint8_t[]", luma), luma.nbytes

    def run(self, frame: Frame, matrix: npt.NDArray[np.float64], samples: int = 1) -> None:
        """Fill the target: `matrix`, float64 (2, 3), takes input pixels to pixels of the upright frame.

        Raises:
            KernelError: the frame's geometry, the matrix or `samples` (1..8) is out of range.
        """
        if checked(matrix, "the matrix", "float64").shape != (2, 3):
            raise KernelError(f"a matrix of shape {matrix.shape}", hint="it is (2, 3)")
        try:
            status = lib.fg_warp(
                self._frame.set(frame),
                ffi.from_buffer("double[]", matrix),
                samples,
                self._border,
                self.target.struct,
                self._path,
                self._luma,
                self._luma_size,
            )
            check(status, "warp")
        finally:
            self._frame.clear()


def similarity(
    src: npt.NDArray[np.float32],
    dst: npt.NDArray[np.float32],
    out: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """fg_similarity: the matrix (2, 3) that takes points of `dst` (N, 2) to points of `src` (N, 2).

    Raises:
        KernelError: points that coincide, are not finite, or are not 2..64 pairs.
    """
    checked(src, "src", "float32")
    if checked(dst, "dst", "float32").shape != src.shape or src.ndim != 2 or src.shape[1] != 2:  # noqa: PLR2004
        raise KernelError(f"points of shape {src.shape} and {dst.shape}", hint="both are (N, 2)")
    matrix = np.empty((2, 3), np.float64) if out is None else writable(out, "out", "float64")
    if matrix.shape != (2, 3):
        raise KernelError(f"out has shape {matrix.shape}", hint="it is (2, 3)")
    status = lib.fg_similarity(
        ffi.from_buffer("float[]", src), ffi.from_buffer("float[]", dst), len(src), ffi.from_buffer("double[]", matrix)
    )
    check(status, "similarity")
    return matrix
