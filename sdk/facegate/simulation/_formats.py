"""RGB pixels in the formats that cameras give: the inverse of what the runtime does with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate.errors import FrameError
from facegate_edge import Frame, PixelFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

__all__ = ["check_size", "to_frame"]

# What the runtime's kernels multiply with (csrc/facegate.h: BT.601 in video range, in 1/2^20 of 1/128 level); the way
# there is the inverse of the way back, so that only rounding is lost.
_TO_RGB = np.array([(9539, 0, 13075), (9539, -3209, -6660), (9539, 16525, 0)]) * (128 / (1 << 20))
_TO_YUV = np.linalg.inv(_TO_RGB).astype(np.float32)
_ZERO = (16, 128, 128)
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # BT.601, full range: what a grey camera gives


def check_size(width: int, height: int, pixel_format: PixelFormat) -> None:
    """Refuse a size that the format cannot have. Raises FrameError."""
    odd_width = width % 2 and pixel_format in (PixelFormat.NV12, PixelFormat.NV21, PixelFormat.YUYV)
    odd_height = height % 2 and pixel_format in (PixelFormat.NV12, PixelFormat.NV21)
    if odd_width or odd_height:
        raise FrameError(f"there is no {pixel_format.name} frame of {width}x{height}", hint="use even sides")


def to_frame(pixels: Bytes, pixel_format: PixelFormat) -> Frame:
    """A frame in another format.

    Chroma is the mean of the pixels that share it, which is where it is sited for the runtime.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        pixel_format: what is asked for.

    Raises:
        FrameError: the format has no frame of this size.
    """
    height, width = pixels.shape[:2]
    check_size(width, height, pixel_format)
    if pixel_format is PixelFormat.RGB:
        return Frame(pixels)
    if pixel_format is PixelFormat.BGR:
        return Frame(np.ascontiguousarray(pixels[..., ::-1]), pixel_format)
    if pixel_format is PixelFormat.GRAY:
        return Frame(_bytes(pixels @ _LUMA), pixel_format)
    luma = _bytes(pixels @ _TO_YUV[0] + _ZERO[0])
    if pixel_format is PixelFormat.YUYV:
        shared = pixels.reshape(height, width // 2, 2, 3).mean(2, dtype=np.float32)
        packed = np.empty((height, width, 2), np.uint8)
        packed[:, :, 0] = luma
        packed[:, 0::2, 1], packed[:, 1::2, 1] = _chroma(shared)
        return Frame(packed, pixel_format)
    u, v = _chroma(pixels.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3), dtype=np.float32))
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = luma
    first, second = (u, v) if pixel_format is PixelFormat.NV12 else (v, u)
    planes[height:, 0::2], planes[height:, 1::2] = first, second
    return Frame(planes, pixel_format)


def _chroma(shared: NDArray[np.float32]) -> tuple[Bytes, Bytes]:
    return _bytes(shared @ _TO_YUV[1] + _ZERO[1]), _bytes(shared @ _TO_YUV[2] + _ZERO[2])


def _bytes(values: NDArray[np.float32]) -> Bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
