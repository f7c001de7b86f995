"""Image files as frames, through Pillow.

Only formats that Pillow decodes itself are tried (no PostScript, no plugins that start other programs), and the size is
checked before a pixel is decoded.
"""

from __future__ import annotations

import os
import struct
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from facegate_edge._values import Frame, PixelFormat
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 64_000_000
MAX_SIDE = 16384

_ORIENTATION = 0x0112
# EXIF orientation to degrees clockwise, for those that only turn.
_ROTATIONS = {1: 0, 3: 180, 6: 90, 8: 270}
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# What Pillow raises on damaged files, besides its own subclass of OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


def load_image(source: str | os.PathLike[str] | BinaryIO) -> Frame:
    """Read an image file as a frame.

    Colour images become RGB, grey ones GRAY; EXIF orientation becomes the frame's `rotation` without touching a pixel
    (mirrored orientations are mirrored back). Transparent pixels are laid over black, of 16-bit images the high byte is
    kept, of animations the first picture. An EXIF block that cannot be read states no orientation.

    Args:
        source: a path, or a binary stream at the start of the image.

    Raises:
        FrameError: there is no such file, it is no image of a known format (`FORMATS`), it is damaged, or larger than
            64 megapixels or 16384 pixels on a side.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - frames of a camera need no Pillow

    name = f"'{os.fspath(source)}'" if isinstance(source, (str, os.PathLike)) else "the image"
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):  # noqa: PTH112 - also str
        raise FrameError(f"{name} is a folder", hint="name the image files in it")
    try:
        with warnings.catch_warnings():
            # Of sizes up to twice its own limit, which is not ours, and of headers that are not used.
            warnings.simplefilter("ignore")
            opened = Image.open(source, formats=FORMATS)
    except FileNotFoundError:
        raise FrameError(f"there is no file {name}", hint="check the path") from None
    except PermissionError:
        raise FrameError(f"{name} may not be read", hint="check the file's permissions") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise FrameError(f"{name} is no image that can be read", hint=f"the formats are {known}") from None
    except _DAMAGE:
        raise FrameError(
            f"{name} cannot be read", hint="the file or device gives no data, or its header is damaged"
        ) from None
    with opened as image:
        width, height = image.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise _too_large(name)
        try:
            image.load()
            orientation = _orientation(image)
            upright = _mirrored_back(image, orientation)
            data, fmt = _pixels(upright, name)
        except FrameError:
            raise
        except _DAMAGE:
            raise FrameError(
                f"{name} is damaged or truncated", hint="get the file again, or open and save it in an image viewer"
            ) from None
        return Frame(data, fmt, _ROTATIONS.get(orientation, 0))


def _too_large(name: str) -> FrameError:
    return FrameError(
        f"{name} is larger than {MAX_PIXELS // 1_000_000} megapixels or {MAX_SIDE} pixels on a side",
        hint="scale it down first; a face needs about 100 pixels between its sides",
    )


def _orientation(image: Image) -> int:
    """EXIF orientation 1..8; 1 if there is none, or none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow describes what is wrong with the block; it is simply not used
            value = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004 - EXIF has eight


def _mirrored_back(image: Image, orientation: int) -> Image:
    """Undo the four orientations that a rotation alone cannot express."""
    from PIL.Image import Transpose  # noqa: PLC0415 - frames of a camera need no Pillow

    undo = {2: Transpose.FLIP_LEFT_RIGHT, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE, 7: Transpose.TRANSVERSE}
    return image.transpose(undo[orientation]) if orientation in undo else image


def _may_be_transparent(image: Image) -> bool:
    """Whether the image has an alpha channel, a transparent color or a palette with one.

    What Pillow says itself as `has_transparency_data` from 10.1 on; the Pillow of Debian 12 is older.
    """
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _pixels(image: Image, name: str) -> tuple[Any, PixelFormat]:
    """The pixels as RGB or GRAY, uint8."""
    mode = image.mode
    if mode in ("1", "L"):
        return np.asarray(image if mode == "L" else image.convert("L")), PixelFormat.GRAY
    if mode.startswith("I"):
        # 16-bit grey: "I;16" and its byte orders, or "I" (32 bits wide, which PNG and TIFF fill with 16-bit values).
        levels = np.asarray(image.convert("I"))
        if levels.min() < 0 or levels.max() > 0xFFFF:  # noqa: PLR2004 - 16 bits
            raise FrameError(f"{name} has 32-bit pixels of unknown range", hint="save it with 8 or 16 bits a channel")
        return (levels >> 8).astype(np.uint8), PixelFormat.GRAY
    if mode == "F":
        raise FrameError(f"{name} has floating-point pixels of unknown range", hint="save it with 8 bits a channel")
    if _may_be_transparent(image):
        from PIL import Image as image_module  # noqa: N813, PLC0415 - frames of a camera need no Pillow

        rgba = image.convert("RGBA")
        black = image_module.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = image_module.alpha_composite(black, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), PixelFormat.RGB
