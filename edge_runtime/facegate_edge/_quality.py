"""Is a face good enough to be compared? Measured before it is embedded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_edge import _kernels
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_edge._values import Face

REASONS = ("too_small", "blurred", "too_dark", "too_bright", "turned")


@dataclass(frozen=True, slots=True, repr=False)
class Quality:
    """Measures of one face. What could not be measured is NaN.

    Attributes:
        eye_distance: between the eyes' landmarks, in pixels of the frame.
        box_side: the shorter side of the face's box, in pixels of the frame.
        sharpness: variance of the Laplacian of the aligned face's luma, in levels squared, >= 0. It depends on the size
            of the recogniser's input: a limit holds for one input size.
        brightness: mean luma of the aligned face, 0..255.
        dark: share of its pixels with a luma below 32, 0..1.
        bright: share of its pixels with a luma of 224 and more, 0..1.
        yaw: degrees, > 0 if the nose points to larger x.
        pitch: degrees, > 0 if it points up.
        roll: degrees, > 0 if the face is turned clockwise as seen in the image. See `facegate.h` for the model behind
            the three and its limits.
    """

    eye_distance: float
    box_side: float
    sharpness: float
    brightness: float
    dark: float
    bright: float
    yaw: float
    pitch: float
    roll: float

    def __repr__(self) -> str:
        return "Quality()"


@dataclass(frozen=True, slots=True)
class QualityGate:
    """Limits of what is compared. A measure that is NaN passes no limit.

    The defaults are for recognisers of 112x112 pixels and refuse little: of 103 faces in press photographs, two turned
    by more than 40 degrees and one blurred beyond recognition. The limits on brightness are wide on purpose, so that
    dark skin in poor light is not refused. Pitch carries a bias of the mean face behind it (the median of those faces
    is -15 degrees), roll is taken out by alignment: both are limited loosely.
    """

    min_eye_distance: float = 20.0
    min_box_side: float = 40.0
    min_sharpness: float = 30.0
    min_brightness: float = 30.0
    max_brightness: float = 225.0
    max_dark: float = 0.85
    max_bright: float = 0.6
    max_yaw: float = 40.0
    max_pitch: float = 35.0
    max_roll: float = 45.0

    def reasons(self, quality: Quality) -> tuple[str, ...]:
        """Why the face is not good enough, a subset of `REASONS` in that order; empty if it is."""
        q = quality
        fine = (
            q.eye_distance >= self.min_eye_distance and q.box_side >= self.min_box_side,
            q.sharpness >= self.min_sharpness,
            q.brightness >= self.min_brightness and q.dark <= self.max_dark,
            q.brightness <= self.max_brightness and q.bright <= self.max_bright,
            abs(q.yaw) <= self.max_yaw and abs(q.pitch) <= self.max_pitch and abs(q.roll) <= self.max_roll,
        )
        return tuple(reason for reason, good in zip(REASONS, fine, strict=True) if not good)


class QualityMeter:
    """Measures faces.

    Args:
        luma: uint8 (H, W), the aligned face's luma; overwritten from face to face by an `Aligner`.
    """

    def __init__(self, luma: npt.NDArray[np.uint8]) -> None:
        self._crop = _kernels.Quality(luma)

    def measure(self, face: Face, *, aligned: bool) -> Quality:
        """The measures of a face; those of its pixels only if it could be aligned into the luma."""
        nan = math.nan
        x1, y1, x2, y2 = face.box.tolist()
        eye_distance = yaw = pitch = roll = nan
        if face.landmarks is not None:
            (left_x, left_y), (right_x, right_y) = face.landmarks[:2].tolist()
            eye_distance = math.hypot(right_x - left_x, right_y - left_y)
            try:
                yaw, pitch, roll = _kernels.pose(face.landmarks)
            except KernelError:  # landmarks that no head can have: nothing to measure, and no limit is passed
                yaw = pitch = roll = nan
        sharpness = self._crop.sharpness() if aligned else nan
        brightness, dark, bright = self._crop.brightness() if aligned else (nan, nan, nan)
        side = min(x2 - x1, y2 - y1)
        return Quality(eye_distance, side, sharpness, brightness, dark, bright, yaw, pitch, roll)
