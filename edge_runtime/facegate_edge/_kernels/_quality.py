"""Measures of an aligned face and of its pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_edge._kernels._core import check, checked
from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Quality:
    """fg_sharpness and fg_brightness of one luma plane, uint8 (H, W), that is overwritten from face to face."""

    __slots__ = ("_args", "_keep", "_out")

    def __init__(self, luma: npt.NDArray[np.uint8]) -> None:
        if checked(luma, "luma", "uint8").ndim != 2:  # noqa: PLR2004
            raise KernelError(f"luma has shape {luma.shape}", hint="it is (H, W)")
        self._keep = luma
        self._args = (ffi.from_buffer("uint8_t[]", luma), luma.nbytes, luma.shape[1], luma.shape[0])
        self._out: Any = ffi.new("double[3]")

    def sharpness(self) -> float:
        """Variance of the Laplacian, in levels squared, >= 0. Raises KernelError if H or W is below 3."""
        check(lib.fg_sharpness(*self._args, self._out), "sharpness")
        return float(self._out[0])

    def brightness(self) -> tuple[float, float, float]:
        """Mean luma (0..255), share of under-exposed and of over-exposed pixels (0..1)."""
        check(lib.fg_brightness(*self._args, self._out, self._out + 1, self._out + 2), "brightness")
        return float(self._out[0]), float(self._out[1]), float(self._out[2])


def pose(landmarks: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """fg_pose: yaw, pitch and roll in degrees from landmarks, float32 (5, 2).

    Raises:
        KernelError: landmarks that coincide or are not finite.
    """
    if checked(landmarks, "landmarks", "float32").shape != (5, 2):
        raise KernelError(f"landmarks of shape {landmarks.shape}", hint="they are (5, 2)")
    out = ffi.new("double[3]")
    check(lib.fg_pose(ffi.from_buffer("float[]", landmarks), landmarks.nbytes, out), "pose")
    return float(out[0]), float(out[1]), float(out[2])
