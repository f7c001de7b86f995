"""Flat things held before a camera: how they lie in the picture, how they are laid over it, the fingers that hold them.

Coordinates are continuous: (0, 0) is the corner of the first pixel, (0.5, 0.5) its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facegate.errors import FrameError
from facegate.simulation._sensor import srgb_to_linear
from facegate.simulation._things import lit, skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._noise import Dice

    Matrix = NDArray[np.float64]
    Box = tuple[float, float, float, float]
    Color = tuple[float, float, float]

__all__ = [
    "Placement",
    "Presented",
    "Sheet",
    "check",
    "cut",
    "fingers",
    "glow",
    "hold",
    "lay",
    "mapped",
    "room",
    "shadow",
]

_MARGIN = 2  # transparent pixels about a sheet, so that its edges come out smooth
_COARSE = 8  # shadows and glares are drawn at an eighth of the size
_COLORS = 3
_LARGEST = 4096  # pixels: the side of a large camera's frame


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the face that is shown comes to lie.

    Raises:
        FrameError: it is no such place or size.

    Attributes:
        x, y: the middle of its box, in pixels of the frame.
        width: of its box, in pixels of the frame.
        roll: how the face is turned in the frame beyond how it is in the photo, degrees, clockwise.
    """

    x: float
    y: float
    width: float
    roll: float = 0.0

    def __post_init__(self) -> None:
        if not (1 <= self.width <= _LARGEST and all(math.isfinite(number) for number in (self.x, self.y, self.roll))):
            raise FrameError(
                "a face cannot be placed there", hint=f"x, y and roll are finite, the width is 1 to {_LARGEST} pixels."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Presented:
    """A presentation attack before the camera.

    Attributes:
        linear: float32 (H, W, 3), linear light: the whole scene.
        matrix: float64 (3, 3), takes pixels of the photo to pixels of the frame (homogeneous coordinates).
        cover: float32 (H, W), 0..1, what the presented thing hides of the scene.
    """

    linear: Floats
    matrix: Matrix
    cover: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A flat thing as the frame sees it, within a part of the frame.

    Attributes:
        box: left, top, right, bottom of the part; whole pixels.
        color: float32 (h, w, 3), linear, not multiplied by alpha.
        alpha: float32 (h, w).
        u, v: float32 (h, w), the place on the sheet, in pixels of the sheet.
    """

    box: tuple[int, int, int, int]
    color: Floats
    alpha: Floats
    u: Floats
    v: Floats

    @property
    def borderless(self) -> bool:
        """Whether no edge of the sheet is in this part of the frame."""
        return bool(self.alpha.min() > 0.99)  # noqa: PLR2004 - but for rounding


def check(photo: NDArray[np.uint8], linear: Floats, face: Box, light: Color) -> None:
    """Refuse what no attack can be made from.

    Raises:
        FrameError: a picture has the wrong type or shape, the box is empty or not in the photo, the light is not there.
    """
    if photo.dtype != np.uint8 or photo.ndim != _COLORS or photo.shape[2] != _COLORS or 0 in photo.shape:
        raise FrameError(
            f"a photo is {photo.dtype} {photo.shape}, not uint8 (height, width, 3)", hint="Give an sRGB picture."
        )
    if linear.dtype != np.float32 or linear.ndim != _COLORS or linear.shape[2] != _COLORS or 0 in linear.shape:
        raise FrameError(
            f"light is {linear.dtype} {linear.shape}, not float32 (height, width, 3)", hint="Give linear light."
        )
    height, width = photo.shape[:2]
    x1, y1, x2, y2 = face
    # The comparisons are false for numbers that are not numbers.
    if not (x2 - x1 >= 1 and y2 - y1 >= 1 and x1 < width and y1 < height and x2 > 0 and y2 > 0):
        raise FrameError(
            "the face's box is empty or outside the photo", hint="Give x1, y1, x2, y2 in the photo's pixels."
        )
    if not all(0 <= part < math.inf for part in light):
        raise FrameError("light is below zero or without end", hint="Give linear red, green and blue of 0 or more.")


def room(at: Placement, size: tuple[int, int]) -> tuple[float, float]:
    """How much a frame shows around a placed face, on its narrowest side and at most; in widths of the face."""
    nearest = min(at.x, at.y, size[0] - at.x, size[1] - at.y)
    return nearest / at.width - 0.5, 1.3 * max(size) / at.width


def cut(dice: Dice, size: tuple[int, int], face: Box, around: tuple[float, float]) -> Box:
    """Which part of a photo is shown: the face with more or less around it.

    Args:
        dice: draws it.
        size: width and height of the photo.
        face: the face's box in it.
        around: how far around the face the frame shows a picture's edge, and at most how much is worth showing; in
            widths of the face. Six in seven have an edge or two in the frame.
    """
    wide, tall = face[2] - face[0], face[3] - face[1]
    seen = min(0.85, around[0])
    least, far = 0.05, (0.4, 2.0)
    if seen <= 2 * least:
        far = (least, 1.4)
    even = dice.log(least, seen) if seen > 2 * least and dice.chance(0.85) else dice.log(*far)
    sides = [min(even * dice.log(0.6, 1.7), around[1]) for _ in range(4)]
    return (
        max(0.0, face[0] - sides[0] * wide),
        max(0.0, face[1] - sides[1] * tall * 0.8),
        min(float(size[0]), face[2] + sides[2] * wide),
        min(float(size[1]), face[3] + sides[3] * tall),
    )


def hold(dice: Dice, placement: Placement, anchor: tuple[float, float], tilt: float, reach: float) -> Matrix:
    """How a sheet is held: pixels of the sheet to pixels of the frame.

    Args:
        dice: draws the tilt.
        placement: where the anchor goes; pixels of the sheet are as large as the frame's.
        anchor: the place on the sheet that goes there.
        tilt: largest tilt about each axis, degrees.
        reach: the longer side of the sheet, pixels; the camera is two to eight of it away.

    Returns:
        float64 (3, 3).
    """
    yaw, pitch = (math.radians(dice.real(-tilt, tilt) * dice.unit()) for _ in range(2))
    roll = math.radians(placement.roll + dice.real(-14, 14) * dice.unit())
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    turn = about_z @ about_x @ about_y
    away = reach * dice.log(2.0, 8.0)
    flat = np.array(
        [[turn[0, 0], turn[0, 1], 0], [turn[1, 0], turn[1, 1], 0], [turn[2, 0] / away, turn[2, 1] / away, 1]]
    )
    there = np.array([[1, 0, placement.x], [0, 1, placement.y], [0, 0, 1.0]])
    back = np.array([[1, 0, -anchor[0]], [0, 1, -anchor[1]], [0, 0, 1.0]])
    return cast("Matrix", there @ flat @ back)


def mapped(matrix: Matrix, points: NDArray[np.floating]) -> Matrix:
    """Points (n, 2) after a homography; float64."""
    out = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return cast("Matrix", out[:, :2] / out[:, 2:])


def lay(image: Image.Image, mask: Image.Image | None, matrix: Matrix, size: tuple[int, int]) -> Sheet | None:
    """Look at a sheet through the camera.

    Args:
        image: RGB, the sheet.
        mask: L, the sheet's outline within the image; None for all of it.
        matrix: pixels of the image to pixels of the frame.
        size: width and height of the frame.

    Returns:
        The sheet in the frame, None if it is outside.
    """
    wide, tall = image.size
    corners = mapped(matrix, np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float64))
    left, top = (max(0, math.floor(value) - 1) for value in corners.min(0))
    right, bottom = (min(limit, math.ceil(value) + 1) for limit, value in zip(size, corners.max(0), strict=True))
    if right - left < 1 or bottom - top < 1:
        return None
    canvas = Image.new("RGB", (wide + 2 * _MARGIN, tall + 2 * _MARGIN), image.getpixel((0, 0)))
    canvas.paste(image, (_MARGIN, _MARGIN))
    alpha = Image.new("L", canvas.size)
    alpha.paste(255 if mask is None else mask, (_MARGIN, _MARGIN, _MARGIN + wide, _MARGIN + tall))
    canvas.putalpha(alpha)
    inverse = np.linalg.inv(matrix)
    shifted = (
        np.array([[1, 0, _MARGIN], [0, 1, _MARGIN], [0, 0, 1.0]])
        @ inverse
        @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    )
    shifted /= shifted[2, 2]
    seen = canvas.transform(
        (right - left, bottom - top),
        Image.Transform.PERSPECTIVE,
        shifted.ravel()[:8].tolist(),
        Image.Resampling.BILINEAR,
    )
    pixels = np.asarray(seen)
    x = np.arange(right - left, dtype=np.float32) + np.float32(left + 0.5)
    y = np.arange(bottom - top, dtype=np.float32)[:, None] + np.float32(top + 0.5)
    (a, b, c), (d, e, f), (g, h, i) = np.float32(inverse / inverse[2, 2])
    depth = 1 / (g * x + (h * y + i))
    return Sheet(
        (left, top, right, bottom),
        srgb_to_linear(pixels[:, :, :3]),
        pixels[:, :, 3] * np.float32(1 / 255),
        (a * x + (b * y + c)) * depth,
        (d * x + (e * y + f)) * depth,
    )


def shadow(linear: Floats, outline: Matrix, dice: Dice, strength: float) -> Floats:
    """The scene behind a thing of this outline (n, 2), darkened by the thing's soft shadow; a new array."""
    height, width = linear.shape[:2]
    small = Image.new("L", (width // _COARSE + 2, height // _COARSE + 2), 255)
    reach = float(np.ptp(outline, axis=0).max())
    moved = outline + np.array([dice.real(-0.12, 0.12), dice.real(-0.04, 0.15)]) * reach
    points = [(float(x), float(y)) for x, y in moved / _COARSE]
    ImageDraw.Draw(small).polygon(points, fill=int(255 * (1 - strength)))
    small = small.filter(ImageFilter.BoxBlur(dice.real(0.3, 0.08 * reach / _COARSE + 0.6)))
    dark = small.resize((small.width * _COARSE, small.height * _COARSE), Image.Resampling.BILINEAR)
    factor = np.asarray(dark)[:height, :width] * np.float32(1 / 255)
    return cast("Floats", linear * factor[:, :, None])


def glow(dice: Dice, size: tuple[int, int], kind: str) -> Floats:
    """What a shiny surface mirrors: float32 (height, width), 0..1: a "lamp", a "window" or a "streak"."""
    wide, tall = max(6, size[0] // _COARSE), max(6, size[1] // _COARSE)
    small = Image.new("L", (wide, tall))
    pen = ImageDraw.Draw(small)
    x, y, r = dice.real(-0.1, 1.1) * wide, dice.real(-0.1, 1.1) * tall, dice.log(0.08, 0.4) * max(wide, tall)
    if kind == "lamp":
        pen.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=255)
        soft = r * dice.real(0.3, 0.8)
    elif kind == "window":
        lean, high = dice.real(-0.4, 0.4) * r, r * dice.real(0.6, 1.6)
        for i in range(dice.whole(1, 2)):
            left = x + 1.1 * r * i
            pen.polygon(
                [(left, y), (left + r, y + lean * 0.3), (left + r + lean, y + high), (left + lean, y + high)], fill=255
            )
        soft = dice.real(0.3, 1.6)
    else:
        angle = dice.real(0, math.pi)
        dx, dy = 2 * wide * math.cos(angle), 2 * tall * math.sin(angle)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=255, width=max(1, int(r * dice.real(0.2, 0.8))))
        soft = dice.real(0.6, 0.5 * r + 0.7)
    blurred = small.filter(ImageFilter.BoxBlur(soft)).resize(size, Image.Resampling.BICUBIC)
    return cast("Floats", np.asarray(blurred) * np.float32(1 / 255))


def fingers(linear: Floats, cover: Floats, outline: Matrix, dice: Dice, light: Color, thick: float) -> None:
    """A hand at one of the edges of a sheet (corners (4, 2)): a thumb or fingers that reach over it; in place.

    Args:
        linear: the frame with the sheet.
        cover: what is hidden of the scene; the hand is added.
        outline: corners of the sheet in the frame, clockwise from the top left.
        dice: draws edge, place, skin and number of fingers.
        light: of the scene.
        thick: how thick a finger is, pixels.
    """
    height, width = cover.shape
    edge = dice.pick((1, 2, 2, 3))  # right, bottom, left; nobody holds a picture from above
    start, end = outline[edge], outline[(edge + 1) % 4]
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    inward = np.array([-along[1], along[0]])
    place = start + (end - start) * dice.real(0.15, 0.85)
    count = dice.pick((1, 1, 3, 4))
    reach = thick * dice.real(0.4, 1.5)
    color, lean = skin(dice), dice.real(-0.4, 0.4)
    around = 7 * thick + reach
    # Only the part of the hand that is in the frame is drawn.
    left, top = max(int(place[0] - around), 0), max(int(place[1] - around), 0)
    right, bottom = min(int(place[0] + around) + 2, width), min(int(place[1] + around) + 2, height)
    if right - left < 1 or bottom - top < 1:
        return
    size = (right - left, bottom - top)
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    origin = place - np.array([left, top])
    tips = []
    for i in range(count):
        root = origin + along * (i - (count - 1) / 2) * 1.05 * thick - inward * 1.8 * thick
        tip = root + along * lean * thick + inward * (reach * (1 - 0.15 * abs(i - count / 2)) + 1.8 * thick)
        _stroke(pen, root, tip, thick, 255)
        tips.append(tip)
    palm = origin - inward * 3.2 * thick
    _stroke(pen, palm, palm + along * dice.real(-1.0, 1.0) * thick, 3.6 * thick, 255)
    wrist = palm + along * dice.real(-2.0, 2.0) * thick - inward * 2 * around
    _stroke(pen, palm, wrist, dice.real(2.0, 2.8) * thick, 255)
    shrink = max(1, int(0.15 * thick))
    soft = mask.reduce(shrink).filter(ImageFilter.BoxBlur(max(1.0, 0.3 * thick / shrink))).point(_ROUND)
    soft = soft.resize(size, Image.Resampling.BILINEAR)
    dark = Image.new("RGB", size, tuple(part // 3 for part in color))
    hand = Image.composite(lit(color, size, dice), dark, soft)
    if count == 1 and dice.chance(0.7):
        nail = tuple(min(255, int(part * 1.12 + 14)) for part in color)
        start, end = (tips[0] - inward * share * thick for share in (0.35, 0.1))
        _stroke(ImageDraw.Draw(hand), start, end, 0.55 * thick, nail)
    alpha = np.asarray(mask.filter(_EDGE)) * np.float32(1 / 255)
    part = linear[top:bottom, left:right]
    skin_light = srgb_to_linear(np.asarray(hand)) * np.asarray(light, np.float32)
    skin_light -= part
    skin_light *= alpha[:, :, None]
    part += skin_light
    np.maximum(cover[top:bottom, left:right], alpha, out=cover[top:bottom, left:right])


_EDGE = ImageFilter.BoxBlur(0.6)  # pixels: drawn edges are jagged
_ROUND = [min(255, int(1.6 * level)) for level in range(256)]  # fingers darken toward their sides only


def _stroke(pen: ImageDraw.ImageDraw, start: Matrix, end: Matrix, thick: float, fill: int | tuple[int, ...]) -> None:
    """A thick line with round ends."""
    pen.line((*start.tolist(), *end.tolist()), fill=fill, width=max(1, int(thick)))
    for x, y in (start.tolist(), end.tolist()):
        pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=fill)
