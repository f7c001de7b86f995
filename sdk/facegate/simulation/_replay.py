"""A replay attack: a photo or film on the screen of a phone, a tablet or a monitor."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from facegate.simulation import _held
from facegate.simulation._noise import Dice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._held import Box, Color, Matrix, Placement, Presented, Sheet

__all__ = ["pixel_grid", "present_replay"]

_LUMA = (0.299, 0.587, 0.114)
# What a photosite sees of the distance to the next pixel: green ones are twice as many as red or blue ones.
_FILLS = (0.5, 0.7, 0.5)


def pixel_grid(u: Floats, v: Floats, pitch: float, *, blur: float, gap: float, phase: float) -> Floats:
    """The light of a display's pixels as a camera samples it, float32 (h, w, 3), mean 1 in each color.

    A pixel of the display is three upright stripes, red, green and blue, each a third of it wide, and has dark rows of
    depth `gap` between it and the next. Written as a Fourier series (two harmonics across, one down), each wave
    of f periods a camera pixel is weakened by what a photosite averages, sinc(f fill), and by the lens,
    exp(-2 (pi blur f)^2), and then *sampled* at the camera's pixels: what is finer than those comes back as moire.

    Args:
        u: float32 (h, w), place on the screen at the middle of each camera pixel, in camera pixels.
        v: likewise, downward.
        pitch: of the display's pixels, in camera pixels.
        blur: sigma of the lens, in camera pixels.
        gap: 0..1, depth of the dark rows.
        phase: 0..1, where on the display's pixel the series starts.
    """
    across = u * np.float32(2 * math.pi / pitch)
    across += np.float32(2 * math.pi * phase)
    c, s = np.cos(across), np.sin(across)
    c2, s2 = 2 * c * c - 1, 2 * s * c

    def kept(harmonic: int, fill: float) -> float:
        f = harmonic / pitch
        return float(np.sinc(f * fill)) * math.exp(-2 * (math.pi * blur * f) ** 2)

    rows = np.cos(v * np.float32(2 * math.pi / pitch))
    rows *= np.float32(gap * kept(1, _FILLS[1]))
    rows += np.float32(1)
    grid = np.empty((*u.shape, 3), np.float32)
    for i, fill in enumerate(_FILLS):
        turn = 2 * math.pi * i / 3
        first, second = 2 * float(np.sinc(1 / 3)) * kept(1, fill), 2 * float(np.sinc(2 / 3)) * kept(2, fill)
        stripe = c * np.float32(first * math.cos(turn))
        stripe += s * np.float32(first * math.sin(turn))
        if second > 0.01:  # noqa: PLR2004 - what 8 bits do not show is not worth four passes
            stripe += c2 * np.float32(second * math.cos(2 * turn))
            stripe += s2 * np.float32(second * math.sin(2 * turn))
        stripe += np.float32(1)
        np.maximum(stripe, 0, out=stripe)
        np.multiply(stripe, rows, out=grid[:, :, i])
    return grid


def _film(part: Image.Image, dice: Dice) -> Image.Image:
    """The photo after the display's color and, at times, a video's compression."""
    keep, cast = dice.real(0.75, 1.4), [dice.real(0.88, 1.06) for _ in range(3)]
    cast[2] *= dice.real(0.95, 1.12)
    rows = []
    for i in range(3):
        rows += [cast[i] * ((1 - keep) * _LUMA[j] + (keep if i == j else 0.0)) for j in range(3)]
        rows.append(0.0)
    contrast, lift = dice.real(0.85, 1.3), dice.real(-12, 18)
    table = [max(0, min(255, int((level - 128) * contrast + 128 + lift))) for level in range(256)] * 3
    part = part.convert("RGB", tuple(rows)).point(table)
    if dice.chance(0.4):
        file = io.BytesIO()
        part.save(file, "JPEG", quality=dice.whole(18, 75))
        part = Image.open(file)
        part.load()
    return part


def _device(
    photo: Image.Image, part: Box, scale: float, dice: Dice
) -> tuple[Image.Image, Image.Image, Box, tuple[float, float]]:
    """The device at the frame's scale, its outline, the lit screen on it, and where the photo's part begins."""
    wide, tall = max(6, round((part[2] - part[0]) * scale)), max(6, round((part[3] - part[1]) * scale))
    coarse = dice.weighted(((6.0, 1.0), (4.0, dice.log(1.0, 2.2))))
    low = (max(6, int(wide / coarse)), max(6, int(tall / coarse)))
    shown = _film(photo.resize(low, Image.Resampling.BILINEAR, part, reducing_gap=2.0), dice)
    if low != (wide, tall):
        shown = shown.resize((wide, tall), Image.Resampling.BICUBIC)
    least = min(wide, tall)
    bars = [0, 0]  # beside the photo on the screen: left and right, above and below
    if dice.chance(0.35):
        bars[dice.whole(0, 1)] = int(least * dice.log(0.02, 0.4))
    bezel = dice.weighted(((3.0, dice.log(0.008, 0.03)), (4.0, dice.log(0.03, 0.12)), (1.0, 0.0))) * least
    more = dice.weighted(((3.0, 1.0), (2.0, dice.real(1.0, 4.0))))
    left, top = int(bezel), int(bezel * more)
    right, bottom = int(bezel * dice.pick((1.0, 1.0, 1.5))), int(bezel * dice.pick((more, more, dice.real(1.0, 3.0))))
    screen = (wide + 2 * bars[0], tall + 2 * bars[1])
    body = dice.weighted(((6.0, dice.whole(8, 40)), (2.0, dice.whole(205, 245)), (1.5, dice.whole(90, 180))))
    tint = (body, min(255, body + dice.whole(-4, 4)), min(255, body + dice.whole(-4, 10)))
    image = Image.new("RGB", (left + screen[0] + right, top + screen[1] + bottom), tint)
    bar = dice.pick(((0, 0, 0), (0, 0, 0), (255, 255, 255), (30, 30, 34)))
    image.paste(bar, (left, top, left + screen[0], top + screen[1]))
    corner = (left + bars[0], top + bars[1])
    image.paste(shown, corner)
    if dice.chance(0.3):
        _interface(image, (left, top, left + screen[0], top + screen[1]), dice)
    mask = Image.new("L", image.size)
    round_off = dice.weighted(((4.0, 0.0), (6.0, dice.log(0.02, 0.12)))) * min(image.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, image.width - 1, image.height - 1), round_off, fill=255)
    return image, mask, (left, top, left + screen[0], top + screen[1]), corner


def _interface(image: Image.Image, screen: tuple[int, int, int, int], dice: Dice) -> None:
    """What a phone or a player writes over a picture: a status line, a progress bar, a row of buttons."""
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = screen
    wide, tall = right - left, bottom - top
    ink = dice.pick(((255, 255, 255), (230, 230, 230), (20, 20, 20)))
    step = max(2, int(0.02 * tall))
    if dice.chance(0.6):
        for x in (0.05, 0.12, 0.8, 0.86, 0.92):
            if dice.chance(0.8):
                pen.rectangle((left + x * wide, top + step, left + (x + 0.04) * wide, top + 2 * step), fill=ink)
    if dice.chance(0.5):
        y, done = bottom - 3 * step, dice.unit()
        pen.line((left + 0.06 * wide, y, right - 0.06 * wide, y), fill=(150, 150, 150), width=max(1, step // 3))
        pen.line((left + 0.06 * wide, y, left + (0.06 + 0.88 * done) * wide, y), fill=ink, width=max(1, step // 2))
    if dice.chance(0.4):
        level = bottom - 1.5 * step
        for share in (0.3, 0.5, 0.7):
            x = left + share * wide
            pen.ellipse((x - step / 2, level - step / 2, x + step / 2, level + step / 2), fill=ink)


def _emission(sheet: Sheet, dice: Dice, size: tuple[int, int]) -> None:
    """Make the color of a screen light: leaking blacks, its pixels, bands of its refresh, its view angle; in place."""
    color = sheet.color
    leak = dice.log(0.002, 0.06)
    color *= np.float32(1 - leak)
    color += np.array([leak, leak, leak * dice.real(1.0, 1.3)], np.float32)
    # From pixels four camera pixels wide, seen as such, to some finer than the camera can tell apart.
    # Those of a screen that fills the frame are large, or nearly as large as the camera's.
    if sheet.borderless:
        pitch = dice.weighted(((6.0, dice.log(0.85, 1.25)), (2.5, dice.log(1.6, 4.0))))
    else:
        pitch = dice.weighted(((6.0, dice.log(0.7, 1.6)), (2.5, dice.log(1.6, 4.0)), (1.5, dice.log(0.4, 0.7))))
    u, v = (sheet.u, sheet.v) if dice.chance(0.7) else (sheet.v, sheet.u)
    color *= pixel_grid(u, v, pitch, blur=dice.real(0.15, 0.5), gap=dice.real(0.1, 0.6), phase=dice.unit())
    _, top, _, bottom = sheet.box
    falloff = dice.real(0.0, 0.5)
    tilt = (sheet.u * np.float32(1 / size[0]) - np.float32(0.5)) * np.float32(falloff * dice.sign())
    tilt += (sheet.v * np.float32(1 / size[1]) - np.float32(0.5)) * np.float32(dice.real(-0.3, 0.3))
    tilt += np.float32(1)
    if dice.chance(0.4):  # the shutter against the refresh or the dimming of the backlight
        period, depth, start = dice.log(12, 240), dice.log(0.02, 0.3), dice.real(0, 6.3)
        wave = np.sin(np.arange(top, bottom) * (2 * math.pi / period) + start)
        if dice.chance(0.4):
            wave = np.clip(wave * 3, -1, 1)
        tilt *= (1 + depth * wave).astype(np.float32)[:, None]
    color *= tilt[:, :, None]
    color *= np.float32(dice.log(0.35, 1.8))


def present_replay(
    photo: NDArray[np.uint8],
    face: Box,
    background: Floats,
    rng: np.random.Generator,
    *,
    at: Placement,
    light: Color,
) -> Presented:
    """Show a photo on a screen before the camera.

    Args:
        photo: uint8 (h, w, 3), sRGB: a face with some of its surroundings; the more there is of them, the farther from
            the face the screen's edges may be.
        face: x1, y1, x2, y2 of the face in the photo.
        background: float32 (H, W, 3), the scene behind, linear light. Not changed.
        rng: draws device, screen, glare and how it is held.
        at: where the face comes to lie in the frame.
        light: linear red, green, blue that falls on what faces the camera; the screen's own light is its own.

    Returns:
        The scene with the device.

    Raises:
        FrameError: the pictures, the box or the light cannot be used.
    """
    _held.check(photo, background, face, light)
    dice = Dice(rng)
    height, width = background.shape[:2]
    scale = at.width / (face[2] - face[0])
    part = _held.cut(dice, (photo.shape[1], photo.shape[0]), face, _held.room(at, (width, height)))
    image, mask, screen, corner = _device(Image.fromarray(photo), part, scale, dice)
    middle = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
    anchor = ((middle[0] - part[0]) * scale + corner[0], (middle[1] - part[1]) * scale + corner[1])
    held = _held.hold(dice, at, anchor, 30, max(image.size))
    onto = np.array([[scale, 0, corner[0] - part[0] * scale], [0, scale, corner[1] - part[1] * scale], [0, 0, 1]])
    matrix: Matrix = held @ onto
    cover = np.zeros((height, width), np.float32)
    sheet = _held.lay(image, mask, held, (width, height))
    if sheet is None:
        return _held.Presented(background.copy(), matrix, cover)
    wide, tall = image.size
    outline = _held.mapped(held, np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float64))
    linear = _held.shadow(background, outline, dice, dice.real(0.0, 0.6)) if dice.chance(0.5) else background.copy()

    body = sheet.color * (np.asarray(light, np.float32) * np.float32(0.7))
    outside = (sheet.u < screen[0]) | (sheet.u >= screen[2]) | (sheet.v < screen[1]) | (sheet.v >= screen[3])
    _emission(sheet, dice, image.size)
    color = sheet.color
    np.copyto(color, body, where=outside[:, :, None])
    left, top, right, bottom = sheet.box
    # Glass mirrors a few percent of the room, and all of a lamp.
    veil = np.full(sheet.u.shape, dice.log(0.002, 0.06), np.float32)
    for kind, share in (("window", 0.4), ("streak", 0.25), ("lamp", 0.25)):
        if dice.chance(share):
            veil += _held.glow(dice, (right - left, bottom - top), kind) * np.float32(dice.log(0.02, 0.7))
    color += veil[:, :, None] * np.asarray(light, np.float32)
    seen = linear[top:bottom, left:right]
    color -= seen
    color *= sheet.alpha[:, :, None]
    seen += color
    cover[top:bottom, left:right] = sheet.alpha
    for _ in range(dice.weighted(((6.0, 0), (3.0, 1), (1.0, 2)))):
        _held.fingers(linear, cover, outline, dice, light, min(wide, tall) * dice.log(0.06, 0.18))
    return _held.Presented(linear, matrix, cover)
