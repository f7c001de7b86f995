"""A print attack: a photo on paper held before the camera."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from facegate.simulation import _held
from facegate.simulation._noise import Dice, smooth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._held import Box, Color, Matrix, Placement, Presented, Sheet

__all__ = ["ink", "present_print"]

_LUMA = (0.299, 0.587, 0.114)


def ink(part: Image.Image, dice: Dice) -> Image.Image:
    """The photo as a printer's inks show it: fewer colors, less contrast, blacks that are gray."""
    keep = 0.0 if dice.chance(0.1) else dice.real(0.45, 1.1)
    casts = [dice.real(0.9, 1.08) for _ in range(3)]
    rows = []
    for i in range(3):
        rows += [casts[i] * ((1 - keep) * _LUMA[j] + (keep if i == j else 0.0)) for j in range(3)]
        rows.append(0.0)
    matrix = tuple(rows)
    black, white, gamma = dice.real(6, 62), dice.real(205, 252), dice.log(0.75, 1.35)
    warm = dice.real(-8, 8)
    levels = (np.arange(256) / 255) ** gamma
    table: list[int] = []
    for paper in (white + max(warm, 0), white, white - max(warm, 0)):
        table += np.clip(black + (paper - black) * levels, 0, 255).astype(int).tolist()
    return part.convert("RGB", matrix).point(table)


def _halftone(sheet: Sheet, dice: Dice, pitch: float, depth: float) -> Floats:
    """A screen of dots over the sheet, float32 (h, w), mean 1: a product of two waves, averaged over a pixel.

    The average over a pixel of a wave of f periods a pixel is the wave times sin(pi f) / (pi f).
    """
    angle = dice.real(0, math.pi / 2)
    wave = np.float32(2 * math.pi / pitch)
    c, s = np.float32(math.cos(angle)) * wave, np.float32(math.sin(angle)) * wave
    kept = depth * float(np.sinc(1 / pitch)) ** 2
    dots: Floats = np.cos(sheet.u * c + sheet.v * s)
    dots *= np.cos(sheet.v * c - sheet.u * s)
    dots *= np.float32(kept)
    dots += np.float32(1)
    return dots


def _relief(sheet: Sheet, dice: Dice, rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """How bright bends, folds and waves of the paper make it: float32 (h, w), about 1."""
    angle, reach = dice.real(0, math.pi), max(size)
    c, s = math.cos(angle) / reach, math.sin(angle) / reach
    across = sheet.u * np.float32(c) + sheet.v * np.float32(s)
    across -= np.float32(0.5 * (size[0] * c + size[1] * s))  # -0.5..0.5 over the sheet
    slope, bow = dice.real(-0.45, 0.45), dice.real(-1.0, 0.6) * dice.unit()
    relief: Floats = np.float32(1 + dice.real(0, 0.1)) + across * (np.float32(slope) + across * np.float32(bow))
    for _ in range(dice.weighted(((6.0, 0), (2.0, 1), (1.0, 2), (0.5, 4)))):
        angle = dice.pick((0.0, math.pi / 2, dice.real(0, math.pi)))
        c, s = math.cos(angle), math.sin(angle)
        at = dice.real(0.2, 0.8) * size[0] * c + dice.real(0.2, 0.8) * size[1] * s
        distance = sheet.u * np.float32(c) + sheet.v * np.float32(s) - np.float32(at)
        relief += np.where(distance > 0, np.float32(dice.real(-0.12, 0.12)), np.float32(0))
        np.abs(distance, out=distance)
        relief += np.where(distance < dice.real(0.5, 1.4), np.float32(dice.real(-0.2, 0.25)), np.float32(0))
    if dice.chance(0.5):
        height, width = relief.shape
        relief += smooth(rng, width, height, dice.log(2, 40)) * np.float32(dice.log(0.01, 0.08))
    return relief


def _bent(image: Image.Image, mask: Image.Image, bow: float) -> tuple[Image.Image, Image.Image]:
    """The sheet with its upper and lower edges bowed by `bow` pixels at the sides, the middle left where it is."""
    wide, tall = image.size
    pieces: list[tuple[tuple[int, int, int, int], tuple[float, ...]]] = []
    edges = [round(wide * i / 10) for i in range(11)]
    for left, right in itertools.pairwise(edges):
        a, b = (bow * (2 * x / wide - 1) ** 2 for x in (left, right))
        pieces.append(((left, 0, right, tall), (left, -a, left, tall - a, right, tall - b, right, -b)))
    bilinear = Image.Resampling.BILINEAR
    return (
        image.transform(image.size, Image.Transform.MESH, pieces, bilinear),
        mask.transform(mask.size, Image.Transform.MESH, pieces, bilinear),
    )


def _paper(
    photo: Image.Image, part: Box, scale: float, dice: Dice
) -> tuple[Image.Image, Image.Image | None, tuple[float, float]]:
    """The printed sheet at the frame's scale, its outline, and where the photo's part begins on it."""
    wide, tall = max(4, round((part[2] - part[0]) * scale)), max(4, round((part[3] - part[1]) * scale))
    coarse = dice.weighted(((5.0, 1.0), (5.0, dice.log(1.0, 2.6))))
    low = (max(4, int(wide / coarse)), max(4, int(tall / coarse)))
    shown = photo.resize(low, Image.Resampling.BILINEAR, part, reducing_gap=2.0)
    shown = ink(shown, dice)
    if low != (wide, tall):
        shown = shown.resize((wide, tall), Image.Resampling.BICUBIC)
    if dice.chance(0.15):
        shown = shown.filter(ImageFilter.UnsharpMask(1, dice.whole(60, 200), 0))
    least = min(wide, tall)
    even = dice.weighted(((4.0, 0.0), (6.0, dice.log(0.01, 0.25) * least)))
    left, top, right, bottom = (int(even * dice.weighted(((3.0, 1.0), (1.0, dice.real(0, 2))))) for _ in range(4))
    white = dice.whole(205, 252)
    tone = (white, white - dice.whole(0, 5), white - dice.whole(0, 22))
    bow = dice.real(-0.05, 0.05) * tall if dice.chance(0.4) else 0.0
    room = math.ceil(abs(bow))
    sheet = Image.new("RGB", (left + wide + right, top + tall + bottom + 2 * room), tone)
    sheet.paste(shown, (left, top + room))
    if not room:
        return sheet, None, (left, top)
    mask = Image.new("L", sheet.size)
    mask.paste(255, (0, room, sheet.width, sheet.height - room))
    return *_bent(sheet, mask, bow), (left, top + room)


def present_print(
    photo: NDArray[np.uint8],
    face: Box,
    background: Floats,
    rng: np.random.Generator,
    *,
    at: Placement,
    light: Color,
) -> Presented:
    """Hold a print of a photo before the camera.

    Args:
        photo: uint8 (h, w, 3), sRGB: a face with some of its surroundings; the more there is of them, the farther from
            the face the paper's edges may be.
        face: x1, y1, x2, y2 of the face in the photo.
        background: float32 (H, W, 3), the scene behind, linear light. Not changed.
        rng: draws paper, printer and how it is held.
        at: where the face comes to lie in the frame.
        light: linear red, green, blue that falls on what faces the camera; 1 makes white paper white.

    Returns:
        The scene with the print.

    Raises:
        FrameError: the pictures, the box or the light cannot be used.
    """
    _held.check(photo, background, face, light)
    dice = Dice(rng)
    height, width = background.shape[:2]
    scale = at.width / (face[2] - face[0])
    part = _held.cut(dice, (photo.shape[1], photo.shape[0]), face, _held.room(at, (width, height)))
    image, mask, corner = _paper(Image.fromarray(photo), part, scale, dice)
    middle = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
    anchor = ((middle[0] - part[0]) * scale + corner[0], (middle[1] - part[1]) * scale + corner[1])
    held = _held.hold(dice, at, anchor, 38, max(image.size))
    onto = np.array([[scale, 0, corner[0] - part[0] * scale], [0, scale, corner[1] - part[1] * scale], [0, 0, 1]])
    matrix: Matrix = held @ onto
    cover = np.zeros((height, width), np.float32)
    sheet = _held.lay(image, mask, held, (width, height))
    if sheet is None:
        return _held.Presented(background.copy(), matrix, cover)
    wide, tall = image.size
    outline = _held.mapped(held, np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float64))
    linear = _held.shadow(background, outline, dice, dice.real(0.0, 0.75)) if dice.chance(0.7) else background.copy()

    color = sheet.color
    gray = _relief(sheet, dice, rng, image.size)
    # A print whose edges are outside the frame is so near that its dots and its sheen show.
    near = sheet.borderless
    if near or dice.chance(0.45):
        gray *= _halftone(sheet, dice, dice.log(2.2 if near else 0.9, 6.0), dice.real(0.12 if near else 0.05, 0.3))
    if dice.chance(0.3):
        bands = 1 + smooth(rng, tall + 2, 1, dice.log(10, 150))[0] * np.float32(dice.real(0.01, 0.08))
        gray *= np.take(bands, sheet.v.astype(np.int32), mode="clip")
    np.maximum(gray, 0.05, out=gray)
    color *= gray[:, :, None]
    left, top, right, bottom = sheet.box
    if dice.chance(0.7 if near else 0.45):  # photo paper, or a sleeve
        shine = _held.glow(dice, (right - left, bottom - top), dice.pick(("lamp", "lamp", "window", "streak")))
        color += (shine * np.float32(dice.log(0.15 if near else 0.05, 0.9)))[:, :, None]
    color *= np.asarray(light, np.float32) * np.float32(dice.log(0.65, 1.3))
    seen = linear[top:bottom, left:right]
    color -= seen
    color *= sheet.alpha[:, :, None]
    seen += color
    cover[top:bottom, left:right] = sheet.alpha
    for _ in range(dice.weighted(((5.0, 0), (3.0, 1), (2.0, 2)))):
        _held.fingers(linear, cover, outline, dice, light, min(wide, tall) * dice.log(0.06, 0.16))
    return _held.Presented(linear, matrix, cover)
