"""The values that travel through the pipeline.

Their `repr` shows shapes and formats only: no pixel, box, landmark or template can reach a log through them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_edge.errors import FrameError, ModelError

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

ROTATIONS = (0, 90, 180, 270)


class PixelFormat(enum.IntEnum):
    """Layout of a frame's bytes; the numbers are those of `fg_format` in the C kernels."""

    RGB = 0
    BGR = 1
    GRAY = 2
    NV12 = 3
    NV21 = 4
    YUYV = 5


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """One image as a camera or a decoder gives it. Nothing is copied or converted until a model's input is filled.

    Attributes:
        data: uint8, C-contiguous; RGB and BGR (H, W, 3), GRAY (H, W), YUYV (H, W, 2) with W even,
            NV12 and NV21 (H * 3 // 2, W) with H and W even: the Y plane, then the interleaved chroma plane. YUV is
            BT.601 in video range (Y 16..235, U and V 16..240), as cameras and video decoders give it.
        format: the layout of `data`.
        rotation: degrees, clockwise, by which the stored image must be turned to be upright: 0, 90, 180 or 270.
    """

    data: npt.NDArray[np.uint8]
    format: PixelFormat = PixelFormat.RGB
    rotation: int = 0

    def __post_init__(self) -> None:
        """Refuse what the kernels would have to refuse later."""
        data = self.data
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or not data.flags.c_contiguous:
            raise FrameError("a frame's data is not a C-contiguous uint8 array", hint="use np.ascontiguousarray")
        if not isinstance(self.rotation, (int, np.integer)) or self.rotation not in ROTATIONS:
            raise FrameError(f"rotation {self.rotation!r} is not one of 0, 90, 180, 270")
        fmt = self.format
        if not isinstance(fmt, PixelFormat):
            raise FrameError(f"{fmt!r} is no PixelFormat", hint="e.g. PixelFormat.RGB")
        channels = {PixelFormat.RGB: 3, PixelFormat.BGR: 3, PixelFormat.YUYV: 2}.get(fmt)
        fits = data.ndim == 3 and data.shape[2] == channels if channels else data.ndim == 2  # noqa: PLR2004
        if fits and fmt in (PixelFormat.NV12, PixelFormat.NV21):
            fits = data.shape[0] % 3 == 0 and data.shape[1] % 2 == 0
        if fits and fmt is PixelFormat.YUYV:
            fits = data.shape[1] % 2 == 0
        if not fits or 0 in data.shape:
            raise FrameError(f"an array of shape {data.shape} is no {fmt.name} frame")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Frame:
        """Read an image file; see `facegate_edge.load_image` for what becomes of its modes and orientation.

        Raises:
            FrameError: it is missing, no image, damaged or too large.
        """
        from facegate_edge._image import load_image  # noqa: PLC0415 - frames of a camera need no Pillow

        return load_image(path)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) in pixels as stored, before rotation."""
        height, width = self.data.shape[:2]
        if self.format in (PixelFormat.NV12, PixelFormat.NV21):
            height = height * 2 // 3
        return width, height

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the upright image. Boxes and landmarks are in its coordinates."""
        width, height = self.stored_size
        return (height, width) if self.rotation in (90, 270) else (width, height)

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame({width}x{height} {self.format.name}, rotation={self.rotation})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Face:
    """A detected face.

    Attributes:
        box: float32 (4,), x1, y1, x2, y2 in pixels of the upright frame; may reach outside it.
        landmarks: float32 (5, 2), x, y of left eye, right eye, nose, left and right mouth corner as seen in the image
            (the first has the smaller x in a frontal face), or None if the detector gives none.
        score: the detector's confidence, 0..1.
    """

    box: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32] | None
    score: float

    def __repr__(self) -> str:
        return f"Face(landmarks={'yes' if self.landmarks is not None else 'no'})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Template:
    """A face as a direction in a template space.

    The embedding, L2-normalised and scaled so that its largest magnitude is 127. The similarity of two templates is the
    cosine of the integer vectors, dot(a, b) / sqrt(dot(a, a) * dot(b, b)): no scale has to travel with them, a template
    compared with itself gives exactly 1, and the integer parts are the same on every machine.

    Attributes:
        data: int8 (D,), values in -127..127, not all zero.
        space: id of the template space; templates of different spaces never compare.
    """

    data: npt.NDArray[np.int8]
    space: str

    def __post_init__(self) -> None:
        """Refuse an array that is no template."""
        data = self.data
        right = isinstance(data, np.ndarray) and data.dtype == np.int8 and data.ndim == 1 and np.count_nonzero(data)
        if not right or data.min() == -128:  # noqa: PLR2004
            raise ModelError("not a template: a template is a non-zero int8 vector with values in -127..127")

    def wipe(self) -> None:
        """Overwrite the template with zeros when it is needed no more; an array that is read-only stays as it is."""
        if self.data.flags.writeable:
            self.data.fill(0)

    def __repr__(self) -> str:
        return f"Template(length={self.data.size})"
