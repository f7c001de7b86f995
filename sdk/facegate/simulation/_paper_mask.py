"""A paper mask: the face of a print, cut out and worn on a live head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facegate.errors import FrameError
from facegate.simulation import _held
from facegate.simulation._noise import Dice, smooth
from facegate.simulation._print import ink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._held import Box, Color, Matrix, Presented, Sheet

__all__ = ["present_mask", "similarity"]

_POINTS = (5, 2)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Matrix:
    """The similarity that takes points (n, 2) nearest to others in the least squares, float64 (3, 3).

    With the points as complex numbers it is z -> a z + b, and a = <s, t> / <s, s> about their means.
    """
    s, t = (points.astype(np.float64) @ np.array([1, 1j]) for points in (source, target))
    a = np.vdot(s - s.mean(), t - t.mean()) / np.vdot(s - s.mean(), s - s.mean())
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]])


def _affine(source: Matrix, target: Matrix) -> Matrix:
    """The affine map that takes points (n, 2) nearest to others in the least squares, float64 (3, 3)."""
    full = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    solution = np.linalg.lstsq(full, target, rcond=None)[0]
    return np.concatenate([solution.T, [[0, 0, 1]]])


def _outline(dice: Dice, size: tuple[float, float]) -> list[tuple[float, float]]:
    """A cut about a face as scissors leave it: an oval that wobbles, or straight cuts; about (0, 0)."""
    straight = dice.chance(0.35)
    count = dice.whole(6, 11) if straight else 28
    square, phase = dice.real(0.0, 0.5), dice.real(0, 6.3)
    waves = [(dice.real(0.0, 0.05), dice.real(0, 6.3), k) for k in (2, 3, 5)]
    points = []
    for i in range(count):
        angle = 2 * math.pi * i / count + (phase if straight else 0)
        c, s = math.cos(angle), math.sin(angle)
        radius = (abs(c) ** (2 + 2 * square) + abs(s) ** (2 + 2 * square)) ** (-1 / (2 + 2 * square))
        radius *= 1 + sum(high * math.sin(k * angle + turn) for high, turn, k in waves)
        if straight:
            radius *= 1.0 / math.cos(math.pi / count) * dice.real(0.93, 1.03)
        points.append((radius * c * size[0] / 2, radius * s * size[1] / 2))
    return points


def _cut_out(
    photo: Image.Image,
    to_sheet: Matrix,
    landmarks: Matrix,
    half: tuple[int, int],
    face: tuple[float, float],
    dice: Dice,
) -> Image.Image:
    """The flat mask, RGBA, its middle in the middle of the picture.

    Args:
        photo: RGB.
        to_sheet: the photo's pixels to the sheet's (3, 3).
        landmarks: float64 (5, 2), on the sheet.
        half: half the width and height of the sheet.
        face: width and height of the face on the sheet.
        dice: draws printer, outline and holes.
    """
    size = (2 * half[0], 2 * half[1])
    grow = math.hypot(to_sheet[0, 0], to_sheet[1, 0])
    if grow < 0.75:  # noqa: PLR2004 - bilinear samples alone would alias
        small = (max(4, int(photo.width * grow)), max(4, int(photo.height * grow)))
        shrink = np.diag([small[0] / photo.width, small[1] / photo.height, 1])
        photo, to_sheet = (
            photo.resize(small, Image.Resampling.BILINEAR, reducing_gap=2.0),
            to_sheet @ np.linalg.inv(shrink),
        )
    inverse = np.linalg.inv(to_sheet)
    coefficients = inverse[:2].ravel().tolist()
    sheet = photo.transform(
        size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=(225, 222, 215)
    )
    sheet = ink(sheet, dice)
    if dice.chance(0.4):
        sheet = sheet.filter(ImageFilter.BoxBlur(dice.log(0.2, 1.2)))
    white = dice.whole(200, 250)
    edge = dice.weighted(((3.0, 0.0), (7.0, dice.log(0.008, 0.09) * face[0])))
    inner = _outline(dice, (face[0] * dice.real(0.95, 1.3), face[1] * dice.real(0.95, 1.3)))
    shift = face[1] * dice.real(-0.05, 0.02)
    mask, border = Image.new("L", size), Image.new("L", size)
    for plane, more in ((border, edge), (mask, 0.0)):
        ring = []
        for x, y in inner:
            away = 1 + more / max(math.hypot(x, y), 1.0)
            ring.append((half[0] + x * away, half[1] + shift + y * away))
        ImageDraw.Draw(plane).polygon(ring, fill=255)
    paper = Image.new("RGB", size, (white, white - dice.whole(0, 4), white - dice.whole(0, 16)))
    paper.paste(sheet, (0, 0), mask)
    pen, alpha = ImageDraw.Draw(paper), ImageDraw.Draw(border)
    apart = float(np.hypot(*(landmarks[1] - landmarks[0])))
    if dice.chance(0.4):
        for x, y in landmarks[:2].tolist():
            a, b = apart * dice.real(0.12, 0.24), apart * dice.real(0.07, 0.17)
            rim = apart * dice.pick((0.0, 0.03, 0.05))
            pen.ellipse((x - a - rim, y - b - rim, x + a + rim, y + b + rim), fill=(white, white, white - 6))
            alpha.ellipse((x - a, y - b, x + a, y + b), fill=0)
    if dice.chance(0.12):
        (x, y), a = landmarks[3:].mean(0).tolist(), apart * dice.real(0.2, 0.4)
        alpha.ellipse((x - a, y - 0.4 * a, x + a, y + 0.4 * a), fill=0)
    if dice.chance(0.3):
        x = half[0] + face[0] * dice.pick((0.0, dice.real(-0.3, 0.3)))
        tone = dice.pick((255, 235, 90, 60))
        pen.line((x, 0, x, size[1]), fill=(tone, tone, tone), width=max(1, int(0.012 * face[0])))
    if dice.chance(0.2):
        y = half[1] + face[1] * dice.real(-0.2, 0.3)
        pen.line((0, y, size[0], y + dice.real(-0.05, 0.05) * face[1]), fill=(white, white, white), width=1)
    paper.putalpha(border)
    return paper


def _rolled(sheet: Image.Image, radius: float, turn: float) -> tuple[Image.Image, Floats]:
    """The sheet wrapped around an upright cylinder and turned, as seen from the front.

    A place x from the middle of the sheet comes to radius * (sin(x / radius + turn) - sin(turn)).

    Returns:
        RGBA of the sheet's size, and float32 (width,): the angle of the surface away from the camera at each column.
    """
    wide, tall = sheet.size
    half = wide / 2
    columns = (np.arange(wide) + 0.5 - half) / radius + math.sin(turn)
    angles = np.arcsin(np.clip(columns, -1, 1))
    source = (angles - turn) * radius + half - 0.5
    source[np.abs(columns) >= 1] = -1
    seen = (source >= 0) & (source <= wide - 1)
    left = np.clip(source, 0, wide - 2).astype(np.int32)
    share = (np.clip(source, 0, wide - 1) - left).astype(np.float32)[None, :, None]
    pixels = np.asarray(sheet)
    first = pixels[:, left]
    mixed = first + (pixels[:, left + 1].astype(np.float32) - first) * share
    mixed[:, ~seen, 3] = 0
    return Image.fromarray(mixed.reshape(tall, wide, 4).astype(np.uint8)), angles.astype(np.float32)


def present_mask(
    photo: NDArray[np.uint8],
    face: Box,
    landmarks: NDArray[np.floating],
    live: Floats,
    live_landmarks: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    light: Color,
    side: float = 0.0,
) -> Presented:
    """Put a mask cut from a print of a photo on a live head.

    Args:
        photo: uint8 (h, w, 3), sRGB.
        face: x1, y1, x2, y2 of the face in the photo.
        landmarks: (5, 2), of that face: eyes, nose tip, corners of the mouth.
        live: float32 (H, W, 3), linear light: the scene with the wearer. Not changed.
        live_landmarks: (5, 2), of the wearer, in the frame.
        rng: draws printer, cut, holes and folds.
        light: linear red, green, blue that falls on what faces the camera; 1 makes white paper white.
        side: where it comes from: -1 from the left of the picture, 1 from the right, 0 from the front or all sides.

    Returns:
        The scene with the mask. Its matrix takes the photo's landmarks to where they are on the worn mask, but for what
        no affine map can do.

    Raises:
        FrameError: the pictures, the box, the landmarks or the light cannot be used.
    """
    _held.check(photo, live, face, light)
    for points in (landmarks, live_landmarks):
        if points.shape != _POINTS or not np.isfinite(points).all() or np.ptp(points, axis=0).min() <= 0:
            raise FrameError("landmarks are not five different points", hint="Give (5, 2) pixels, x before y.")
    dice = Dice(rng)
    height, width = live.shape[:2]
    fit = similarity(landmarks, live_landmarks)
    grow = math.hypot(fit[0, 0], fit[1, 0]) * dice.real(0.97, 1.12)
    wide, tall = (face[2] - face[0]) * grow, (face[3] - face[1]) * grow
    half = (int(0.85 * wide) + 3, int(0.85 * tall) + 3)

    # The sheet is upright as the wearer's head is, as large as in the frame, its middle where the photo's face has it.
    center = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
    middle = _held.mapped(fit, np.array([center]))[0] + [dice.real(-0.03, 0.03) * wide for _ in range(2)]
    to_sheet = _turn(grow, -_level(landmarks), center, half)
    flat = _held.mapped(to_sheet, landmarks)
    sheet = _cut_out(Image.fromarray(photo), to_sheet, flat, half, (wide, tall), dice)
    radius = wide / 2 / math.radians(dice.real(25, 75))
    turn = math.asin(max(-0.6, min(0.6, 0.8 * _turned(live_landmarks)))) + dice.real(-0.12, 0.12)
    sheet, angles = _rolled(sheet, radius, turn)
    worn = flat.copy()
    worn[:, 0] = radius * (np.sin((flat[:, 0] - half[0]) / radius + turn) - math.sin(turn)) + half[0]
    onto = _turn(1.0, _level(live_landmarks) + math.radians(dice.real(-4, 4)), half, (middle[0], middle[1]))
    matrix = _affine(landmarks.astype(np.float64), _held.mapped(onto, worn))

    cover = np.zeros((height, width), np.float32)
    linear = live.copy()
    shown = _held.lay(sheet.convert("RGB"), sheet.getchannel("A"), onto, (width, height))
    if shown is None:
        return _held.Presented(linear, matrix, cover)
    color = shown.color
    color *= _relief(shown, angles, side, dice, rng)[:, :, None]
    left, top, right, bottom = shown.box
    if dice.chance(0.3):
        shine = _held.glow(dice, (right - left, bottom - top), dice.pick(("lamp", "streak")))
        color += (shine * np.float32(dice.log(0.03, 0.4)))[:, :, None]
    color *= np.asarray(light, np.float32) * np.float32(dice.log(0.75, 1.2))
    seen = linear[top:bottom, left:right]
    seen *= 1 - _below(shown.alpha, dice, wide)[:, :, None]
    color -= seen
    color *= shown.alpha[:, :, None]
    seen += color
    cover[top:bottom, left:right] = shown.alpha
    return _held.Presented(linear, matrix, cover)


def _turn(grow: float, angle: float, source: tuple[float, float], target: tuple[float, float]) -> Matrix:
    """Grow and turn (radians, clockwise as seen) about a place that comes to another one, float64 (3, 3)."""
    c, s = grow * math.cos(angle), grow * math.sin(angle)
    (x, y), (u, v) = source, target
    return np.array([[c, -s, u - c * x + s * y], [s, c, v - s * x - c * y], [0, 0, 1]])


def _level(landmarks: NDArray[np.floating]) -> float:
    """How the line of the eyes is turned, radians, clockwise as seen."""
    x, y = landmarks[1] - landmarks[0]
    return math.atan2(y, x)


def _relief(shown: Sheet, angles: Floats, side: float, dice: Dice, rng: np.random.Generator) -> Floats:
    """How bright the curved paper is under light from a side: float32 like the sheet."""
    from_side = side * 0.9 + dice.real(-0.5, 0.5)
    shading = (1 - abs(from_side) * 0.3) * np.cos(angles) + from_side * 0.7 * np.sin(angles) + dice.real(0.1, 0.35)
    column = np.clip(shown.u, 0, len(shading) - 1).astype(np.int32)
    relief: Floats = np.take(np.maximum(shading, 0.12).astype(np.float32), column)
    if dice.chance(0.6):
        rows, columns = relief.shape
        relief *= 1 + smooth(rng, columns, rows, dice.log(2, 12)) * np.float32(dice.log(0.02, 0.15))
    return relief


def _turned(landmarks: NDArray[np.floating]) -> float:
    """How far a head is turned toward the right of the picture, about -1..1: where the nose is between the eyes."""
    eyes = landmarks[1] - landmarks[0]
    nose = landmarks[2] - (landmarks[0] + landmarks[1]) / 2
    mouth = (landmarks[3] + landmarks[4] - landmarks[0] - landmarks[1]) / 2
    apart = float(np.hypot(*eyes))
    along = eyes / max(apart, 1e-6)
    return float((nose - mouth * 0.5) @ along) / max(apart, 1e-6)


def _below(alpha: Floats, dice: Dice, wide: float) -> Floats:
    """The mask's shadow on the wearer: float32 like alpha, 0 where there is none."""
    strength = dice.real(0.0, 0.7)
    image = Image.fromarray((alpha * np.float32(255 * strength)).astype(np.uint8))
    small = image.reduce(4).filter(ImageFilter.BoxBlur(max(0.3, dice.real(0.01, 0.05) * wide / 4)))
    dx, dy = dice.real(-0.05, 0.05) * wide / 4, dice.real(0.0, 0.07) * wide / 4
    moved = small.transform(small.size, Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy), Image.Resampling.BILINEAR)
    return cast("Floats", np.asarray(moved.resize(image.size, Image.Resampling.BILINEAR)) * np.float32(1 / 255))
