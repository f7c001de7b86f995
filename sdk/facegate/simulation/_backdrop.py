"""Backdrops: the farthest layer of a scene, drawn in sRGB over the whole picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from facegate.simulation._noise import Dice, smooth

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageDraw

__all__ = ["BACKDROPS", "Color", "paint", "shade"]

Color: TypeAlias = tuple[int, int, int]


def paint(dice: Dice, low: int = 15, high: int = 245) -> Color:
    """A color as walls and things have them: mostly dull, at times bright."""
    level = dice.real(low, high)
    strength = dice.weighted(((6.0, 0.07), (4.0, 0.22), (2.5, 0.65)))
    hue = dice.real(0, 2 * math.pi)
    chroma = strength * min(level, 255 - level * 0.6)
    return (
        _level(level + chroma * math.cos(hue)),
        _level(level + chroma * math.cos(hue - 2.1) * 0.7),
        _level(level + chroma * math.cos(hue + 2.1)),
    )


def shade(color: Color, factor: float) -> Color:
    """The color lighter or darker by a factor."""
    return _level(color[0] * factor), _level(color[1] * factor), _level(color[2] * factor)


def _level(value: float) -> int:
    return 0 if value < 0 else 255 if value > 255 else int(value)  # noqa: PLR2004 - the range of 8 bits


def _fill(image: Image.Image, top: Color, bottom: Color) -> None:
    """A gradient from top to bottom over the whole picture."""
    ends = np.array([[top], [bottom]], np.uint8)
    image.paste(Image.fromarray(ends).resize(image.size, Image.Resampling.BILINEAR))


def _grain(image: Image.Image, rng: np.random.Generator, cells: float, strength: float, stretch: float = 1.0) -> None:
    """Multiply the picture with noise in all three colors: stains, plaster, cloth, grain of wood (stretched)."""
    width, height = image.size
    noise = smooth(rng, max(2, int(width / stretch)), height, cells)
    noise = 128 + noise * np.float32(127 * strength)
    layer = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    mixed = pixels * (np.asarray(layer)[:, :, None] * np.float32(1 / 128))
    np.clip(mixed, 0, 255, out=mixed)
    image.paste(Image.fromarray(mixed.astype(np.uint8)))


def _wall(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """A painted wall, perhaps in two colors, with a skirting board, a corner, a door."""
    width, height = image.size
    color = paint(dice, 50, 250)
    _fill(image, shade(color, dice.real(0.85, 1.1)), shade(color, dice.real(0.7, 1.05)))
    if dice.chance(0.4):
        corner = dice.real(0, width)
        lean = dice.real(-0.15, 0.15) * width
        other = shade(color, dice.real(0.6, 0.95))
        pen.polygon([(corner, 0), (width, 0), (width, height), (corner + lean, height)], fill=other)
    if dice.chance(0.3):
        pen.rectangle((0, height * dice.real(0.35, 0.8), width, height), fill=paint(dice))
    if dice.chance(0.5):
        _door(image, pen, dice)
    if dice.chance(0.4):
        floor = height * dice.real(0.75, 1.0)
        pen.rectangle((0, floor, width, height), fill=paint(dice, 20, 160))
        pen.rectangle((0, floor - 0.03 * height, width, floor), fill=shade(color, dice.real(0.5, 1.3)))
    if dice.chance(0.6):
        _grain(image, rng, dice.log(4, 120), dice.real(0.03, 0.25))


def _door(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    width, height = image.size
    left, top, wide = dice.real(-0.2, 0.9) * width, dice.real(-0.1, 0.3) * height, dice.real(0.2, 0.5) * width
    color = paint(dice)
    frame = dice.real(0.01, 0.04) * width
    pen.rectangle((left - frame, top - frame, left + wide + frame, height), fill=shade(color, dice.real(0.5, 1.5)))
    pen.rectangle((left, top, left + wide, height), fill=color)
    rows = dice.whole(0, 3)
    for row in range(rows):
        y = top + (row + 0.12) * (height - top) / rows
        panel = (left + 0.15 * wide, y, left + 0.85 * wide, y + 0.7 * (height - top) / rows)
        light = dice.chance(0.3)
        pen.rectangle(
            panel, fill=(235, 240, 245) if light else shade(color, dice.real(0.8, 1.2)), outline=shade(color, 0.7)
        )
    knob = left + wide * dice.pick((0.08, 0.92))
    y, radius = top + 0.55 * (height - top), 0.02 * width + 1
    pen.ellipse((knob - radius, y - radius, knob + radius, y + radius), fill=paint(dice, 120, 240))


def _corridor(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """A corridor in perspective: floor, ceiling with lamps, doors on both sides, a bright end at times."""
    width, height = image.size
    x, y = dice.real(0.2, 0.8) * width, dice.real(0.25, 0.65) * height
    far = dice.real(0.08, 0.35)
    wall, floor, ceiling = paint(dice, 80, 240), paint(dice, 30, 180), paint(dice, 140, 250)
    big = 3.0 * max(width, height)

    def point(u: float, v: float, depth: float) -> tuple[float, float]:
        near = far + (1 - far) * depth
        return x + (u * 0.75 * width) * near, y + (v * 0.75 * height) * near

    image.paste(wall, (0, 0, width, height))
    pen.polygon([point(-1, 1, 0), point(1, 1, 0), (x + big, y + big), (x - big, y + big)], fill=floor)
    pen.polygon([point(-1, -1, 0), point(1, -1, 0), (x + big, y - big), (x - big, y - big)], fill=ceiling)
    other = shade(wall, dice.real(0.6, 1.1))
    pen.polygon([point(1, -1, 0), (x + big, y - big), (x + big, y + big), point(1, 1, 0)], fill=other)
    pen.rectangle(
        (*point(-1, -1, 0), *point(1, 1, 0)), fill=dice.pick((paint(dice), (250, 250, 248), shade(wall, 0.7)))
    )
    for side in (-1, 1):
        for _ in range(dice.whole(0, 3)):
            depth = dice.unit() ** 2
            end = depth + dice.real(0.05, 0.3)
            top = dice.real(-0.6, -0.2)
            door = [point(side, top, depth), point(side, top, end), point(side, 1, end), point(side, 1, depth)]
            pen.polygon(door, fill=paint(dice), outline=shade(wall, 0.6))
    for depth in np.linspace(0.1, 1.4, dice.whole(0, 5)).tolist():
        lamp = [
            point(-0.2, -1, depth),
            point(0.2, -1, depth),
            point(0.2, -1, depth * 1.2),
            point(-0.2, -1, depth * 1.2),
        ]
        pen.polygon(lamp, fill=(255, 255, 250))
    for _ in range(dice.whole(0, 6)):
        pen.line([point(dice.real(-1, 1), 1, 0), (x + dice.real(-big, big), y + big)], fill=shade(floor, 0.8))
    if dice.chance(0.4):
        _grain(image, rng, dice.log(3, 60), dice.real(0.05, 0.2))


def _tiles(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """Bricks, tiles, panels or planks, level or leaning."""
    width, height = image.size
    color, joint = paint(dice, 40, 240), paint(dice)
    image.paste(joint, (0, 0, width, height))
    wide = dice.log(0.04, 0.5) * width
    tall = wide * dice.pick((0.3, 0.45, 1.0, 1.0, 2.0, 6.0))
    if height / tall * width / wide > 260:  # noqa: PLR2004 - a drawing of more bricks takes too long
        factor = math.sqrt(height / tall * width / wide / 260)
        wide, tall = wide * factor, tall * factor
    gap, shift, spread = dice.real(0.02, 0.12) * min(wide, tall), dice.pick((0.0, 0.5)), dice.real(0.0, 0.25)
    lean = dice.pick((0.0, dice.real(-0.3, 0.3)))
    reach = abs(lean) * width
    row = 0
    y = -reach - dice.unit() * tall
    while y < height + reach:
        x = -dice.unit() * wide if shift else 0.0
        while x < width:
            a, b = y + lean * x, y + lean * (x + wide)
            corners = [(x + gap, a + gap), (x + wide, b + gap), (x + wide, b + tall), (x + gap, a + tall)]
            pen.polygon(corners, fill=shade(color, 1 + dice.real(-spread, spread)))
            x += wide
        y += tall
        row += 1
    if dice.chance(0.5):
        _grain(image, rng, dice.log(5, 100), dice.real(0.05, 0.3), dice.pick((1.0, 1.0, 8.0)))


def _shelves(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, _rng: np.random.Generator) -> None:
    """Shelves full of books, boxes and bottles."""
    width, height = image.size
    back = paint(dice, 15, 200)
    image.paste(back, (0, 0, width, height))
    board, pitch = shade(back, dice.real(0.6, 1.8)), dice.real(0.16, 0.45) * height
    y = dice.real(0.1, 1.0) * pitch
    while y < height + pitch:
        x = 0.0
        while x < width:
            wide = dice.log(0.02, 0.16) * width
            tall = dice.real(0.4, 0.92) * pitch
            kind = dice.unit()
            color = paint(dice)
            if kind < 0.75:  # noqa: PLR2004
                pen.rectangle((x, y - tall, x + wide, y), fill=color, outline=shade(color, 0.7))
                if dice.chance(0.4):
                    stripe = y - tall * dice.real(0.4, 0.9)
                    pen.rectangle((x, stripe, x + wide, stripe + 0.12 * tall), fill=paint(dice, 120, 250))
            elif kind < 0.88:  # noqa: PLR2004
                pen.ellipse((x, y - wide, x + wide, y), fill=color)
            x += wide * dice.real(1.0, 1.15)
        pen.rectangle((0, y, width, y + 0.06 * pitch), fill=board)
        y += pitch


def _window(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """A wall with bright windows, blinds or curtains."""
    width, height = image.size
    wall = paint(dice, 25, 200)
    image.paste(wall, (0, 0, width, height))
    _grain(image, rng, dice.log(3, 60), dice.real(0.02, 0.15))
    count = dice.whole(1, 3)
    frame, sill = paint(dice, 20, 250), dice.real(0.4, 1.1) * height
    top = dice.real(-0.2, 0.25) * height
    step = width * dice.real(0.9, 1.3) / count
    start = dice.real(-0.3, 0.2) * width
    sky, ground = dice.pick(((255, 255, 255), (225, 238, 255), (255, 246, 225), (120, 150, 190))), paint(dice, 90, 220)
    for i in range(count):
        left, right = start + i * step, start + (i + dice.real(0.6, 0.92)) * step
        middle = top + (sill - top) * dice.real(0.3, 1.0)
        pen.rectangle((left, top, right, sill), fill=sky)
        if dice.chance(0.6):
            pen.rectangle((left, middle, right, sill), fill=ground)
        bar = max(1, int(dice.real(0.005, 0.03) * width))
        for share in dice.pick(((), (0.5,), (0.33, 0.66))):
            x = left + share * (right - left)
            pen.line((x, top, x, sill), fill=frame, width=bar)
        if dice.chance(0.4):
            y = top + (sill - top) * dice.real(0.25, 0.6)
            pen.line((left, y, right, y), fill=frame, width=bar)
        if dice.chance(0.3):
            blind, pitch = paint(dice, 120, 250), max(3.0, dice.real(0.015, 0.04) * height)
            for y in np.arange(top, sill, pitch).tolist():
                pen.line((left, y, right, y), fill=blind, width=max(1, int(pitch * 0.6)))
        pen.rectangle((left, top, right, sill), outline=frame, width=bar + 1)


def _street(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """Outdoors: sky, houses with windows, trees, ground."""
    width, height = image.size
    sky = dice.pick(((120, 170, 230), (200, 215, 230), (245, 245, 245), (240, 190, 140), (60, 70, 100)))
    _fill(image, shade(sky, dice.real(0.75, 1.0)), shade(sky, dice.real(1.0, 1.25)))
    horizon = dice.real(0.45, 0.85) * height
    for _ in range(dice.whole(0, 4)):
        left, wide, top = dice.real(-0.3, 1) * width, dice.real(0.15, 0.6) * width, horizon * dice.real(0.05, 0.8)
        color, glass = paint(dice, 40, 220), paint(dice, 15, 240)
        pen.rectangle((left, top, left + wide, horizon), fill=color)
        columns, rows = dice.whole(1, 6), dice.whole(1, 7)
        for i in range(columns):
            for j in range(rows):
                x, y = left + (i + 0.25) * wide / columns, top + (j + 0.25) * (horizon - top) / rows
                pane = glass if dice.chance(0.85) else paint(dice)
                pen.rectangle((x, y, x + 0.5 * wide / columns, y + 0.55 * (horizon - top) / rows), fill=pane)
    green = (dice.whole(25, 110), dice.whole(60, 140), dice.whole(15, 70))
    for _ in range(dice.whole(0, 3)):
        x, y, radius = dice.unit() * width, horizon * dice.real(0.3, 0.9), dice.real(0.08, 0.25) * width
        pen.line((x, y, x, horizon), fill=(70, 55, 40), width=max(2, int(radius / 5)))
        for _ in range(14):
            u, v, r = x + dice.real(-1, 1) * radius, y + dice.real(-1, 1) * radius, radius * dice.real(0.15, 0.5)
            pen.ellipse((u - r, v - r, u + r, v + r), fill=shade(green, dice.real(0.5, 1.6)))
    ground = dice.pick((green, paint(dice, 60, 190)))
    pen.rectangle((0, horizon, width, height), fill=ground)
    if dice.chance(0.5):
        x, wide = dice.unit() * width, dice.real(0.1, 0.9) * width
        pen.polygon(
            [(x, horizon), (x + 0.05 * width, horizon), (x + wide, height), (x - wide, height)], fill=(120, 118, 115)
        )
    if dice.chance(0.7):
        _grain(image, rng, dice.log(8, 120), dice.real(0.05, 0.35))


def _lights(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """Lights out of focus before something dark."""
    width, height = image.size
    dark = paint(dice, 4, 90)
    _fill(image, shade(dark, dice.real(0.3, 1.2)), dark)
    _grain(image, rng, dice.log(2, 12), dice.real(0.2, 0.9))
    base = dice.log(0.015, 0.12) * width
    for _ in range(dice.whole(6, 40)):
        x, y, radius = dice.unit() * width, dice.unit() * height, base * dice.real(0.6, 1.4)
        color = dice.pick(((255, 214, 150), (255, 245, 230), (255, 120, 70), (140, 190, 255), (250, 200, 90)))
        color = shade(color, dice.real(0.2, 1.0))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color, outline=shade(color, 1.2))


def _folds(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """A curtain, stripes, or a fence: bright and dark across the picture."""
    width, height = image.size
    color, other = np.array(paint(dice), np.float32), np.array(paint(dice), np.float32)
    across = np.linspace(0, dice.log(3, 60), width, dtype=np.float32) + smooth(rng, width, 1, dice.log(1, 8))[0]
    wave = np.sin(across * np.float32(2)) * np.float32(0.5) + np.float32(0.5)
    if dice.chance(0.3):
        wave = (wave > 0.5).astype(np.float32)  # noqa: PLR2004
    row = color + wave[:, None] * (other - color) * np.float32(dice.real(0.15, 1.0))
    strip = Image.fromarray(row[None].clip(0, 255).astype(np.uint8))
    if dice.chance(0.25):
        strip = strip.resize((height, 1)).rotate(90, expand=True)
    image.paste(strip.resize((width, height), Image.Resampling.NEAREST))
    if dice.chance(0.4):
        y = dice.real(0.5, 0.95) * height
        pen.rectangle((0, y, width, height), fill=paint(dice))
    if dice.chance(0.4):
        _grain(image, rng, dice.log(2, 20), dice.real(0.05, 0.3))


def _clouds(image: Image.Image, _pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """Colored noise of one grain or several: stone, foliage, cloth, or a blur of anything."""
    width, height = image.size
    base, cells = np.array(paint(dice, 40, 220), np.float32), dice.log(2, 60)
    first, second = (np.array(paint(dice), np.float32) - base for _ in range(2))
    field = smooth(rng, width, height, cells)[:, :, None] * first
    field += smooth(rng, width, height, cells * dice.log(0.3, 4.0))[:, :, None] * second
    field *= np.float32(dice.real(0.2, 1.0))
    field += base
    np.clip(field, 0, 255, out=field)
    image.paste(Image.fromarray(field.astype(np.uint8)))


def _clutter(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice, rng: np.random.Generator) -> None:
    """Many plain shapes upon each other."""
    width, height = image.size
    _fill(image, paint(dice), paint(dice))
    largest = dice.log(0.1, 0.5)
    for _ in range(dice.whole(10, 60)):
        x, y, radius = dice.real(-0.1, 1.1) * width, dice.real(-0.1, 1.1) * height, dice.log(0.02, largest) * width
        color, kind = paint(dice), dice.whole(0, 3)
        if kind == 0:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius * dice.real(0, 1.6)), fill=color)
        elif kind == 1:
            pen.rectangle((x - radius, y - radius, x + radius, y + radius * dice.real(0, 2)), fill=color)
        elif kind == 2:  # noqa: PLR2004
            ring = [(x + radius * dice.real(-1, 1), y + radius * dice.real(-1, 1)) for _ in range(dice.whole(3, 6))]
            pen.polygon(ring, fill=color)
        else:
            ends = (x, y, x + radius * dice.real(-3, 3), y + radius * dice.real(-3, 3))
            pen.line(ends, fill=color, width=max(1, int(radius * dice.real(0.05, 0.4))))
    if dice.chance(0.3):
        _grain(image, rng, dice.log(4, 80), dice.real(0.05, 0.3))


Backdrop: TypeAlias = "Callable[[Image.Image, ImageDraw.ImageDraw, Dice, np.random.Generator], None]"
BACKDROPS: tuple[tuple[float, Backdrop], ...] = (
    (3.0, _wall),
    (2.0, _corridor),
    (1.5, _tiles),
    (1.5, _shelves),
    (1.5, _window),
    (1.5, _street),
    (1.0, _lights),
    (1.0, _folds),
    (1.2, _clouds),
    (1.5, _clutter),
)
