"""The hosted protocol's crop: a face's box with a symmetric margin, at most 256 pixels long, as PNG."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._hosted._png import MAX_SIDE
from facegate_convert.errors import CropError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_edge._values import Frame

__all__ = ["EXPANSION", "crop_face", "encode_png", "shrink", "upright_rgb"]

EXPANSION = 0.2
"""The protocol's expansion factor: the crop is 1.2 times as wide and high as the box, 10 % more on each side."""


def crop_face(pixels: npt.NDArray[np.uint8], box: Sequence[float] | npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Cut a face out as the protocol says.

    The box grows by `EXPANSION / 2` of its width to the left and to the right, and of its height up and down; it then
    takes in every pixel that it touches, and is clamped to the image. A crop whose longest side has more than 256
    pixels is scaled down to that, keeping its shape, by averaging the area under each pixel; none is ever enlarged.

    Args:
        pixels: uint8 (H, W, 3), the upright image.
        box: x1, y1, x2, y2 in its pixels; may reach outside.

    Returns:
        uint8 (h, w, 3), a copy, max(h, w) <= 256.

    Raises:
        CropError: the box is no box, or holds nothing of the image.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    if not all(map(math.isfinite, (x1, y1, x2, y2))) or x2 <= x1 or y2 <= y1:
        raise CropError("the face's box is no box", hint="it is x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    dx, dy = (x2 - x1) * EXPANSION / 2, (y2 - y1) * EXPANSION / 2
    height, width = pixels.shape[:2]
    left, right = max(0, math.floor(x1 - dx)), min(width, math.ceil(x2 + dx))
    top, bottom = max(0, math.floor(y1 - dy)), min(height, math.ceil(y2 + dy))
    if left >= right or top >= bottom:
        raise CropError("the face's box lies outside the image", hint="boxes are in pixels of the upright image")
    return shrink(pixels[top:bottom, left:right])


def shrink(pixels: npt.NDArray[np.uint8], longest: int = MAX_SIDE) -> npt.NDArray[np.uint8]:
    """Scale an image down until its longest side has `longest` pixels, each the mean of the area that it covers.

    That is OpenCV's INTER_AREA. (Pillow's BOX takes whole pixels only: it differs where the ratio is no whole number.)

    Args:
        pixels: uint8 (H, W, C).
        longest: pixels.

    Returns:
        uint8 (h, w, C); a copy of an image that is small enough.
    """
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return np.array(pixels)
    rows, columns = (max(1, round(side * factor)) for side in (height, width))
    # Rows first, one of the result at a time: the whole image as float64 would be eight times its size.
    mixed = np.empty((rows, width, pixels.shape[2]))
    for row, (first, weights) in enumerate(_areas(height, rows)):
        band = pixels[first : first + len(weights)]
        mixed[row] = np.tensordot(weights, band.astype(np.float64), axes=1)
    result = np.empty((rows, columns, pixels.shape[2]))
    for column, (first, weights) in enumerate(_areas(width, columns)):
        result[:, column] = np.tensordot(mixed[:, first : first + len(weights)], weights, axes=(1, 0))
    scaled: npt.NDArray[np.uint8] = np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)
    return scaled


def _areas(size: int, parts: int) -> list[tuple[int, npt.NDArray[np.float64]]]:
    """For each of `parts` equal parts of a side: the first pixel that it touches, and how much of each is in it."""
    found = []
    for part in range(parts):
        start, end = part * size / parts, (part + 1) * size / parts
        first, last = math.floor(start), min(size, math.ceil(end))
        edges = np.arange(first, last, dtype=np.float64)
        weights = np.minimum(edges + 1, end) - np.maximum(edges, start)
        found.append((first, weights / weights.sum()))
    return found


def upright_rgb(frame: Frame) -> npt.NDArray[np.uint8]:
    """The pixels of an image file's frame as boxes see them: uint8 (H, W, 3), turned upright, grey as three channels.

    Raises:
        CropError: the frame is a camera's (YUV), not an image file's.
    """
    from facegate_edge import PixelFormat  # noqa: PLC0415 - where it is used

    data = frame.data
    if frame.format == PixelFormat.GRAY:
        data = np.repeat(data[:, :, None], 3, axis=2)
    elif frame.format == PixelFormat.BGR:
        data = data[:, :, ::-1]
    elif frame.format != PixelFormat.RGB:
        raise CropError(f"a {frame.format.name} frame cannot be cropped", hint="read an image file")
    return np.ascontiguousarray(np.rot90(data, -(frame.rotation // 90)))


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image as PNG: 8-bit RGB, lossless, nothing in it but pixels.

    Args:
        pixels: uint8 (H, W, 3).
    """
    from PIL import Image  # noqa: PLC0415 - where it is used

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
