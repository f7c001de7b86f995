"""Things in front of a backdrop; most are such as a careless face detector takes for a face, and none is one."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facegate.simulation._backdrop import Color, paint, shade

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facegate.simulation._noise import Dice

__all__ = ["THINGS", "lit", "skin"]

_SHADE_SIDE = 48  # pixels of the small picture of a lit ball that is enlarged for every round thing
_LIGHTS = 16  # directions that the light comes from
# Skin from the lightest to the darkest, a few shades between.
_SKINS: tuple[Color, ...] = (
    (243, 212, 190),
    (228, 184, 150),
    (205, 154, 115),
    (168, 116, 80),
    (118, 78, 54),
    (66, 44, 34),
)
_Place: TypeAlias = tuple[float, float, float]  # x, y of the middle and the radius, pixels


def skin(dice: Dice) -> Color:
    """A color of skin under some light."""
    position = dice.real(0, len(_SKINS) - 1.001)
    i = int(position)
    a, b = _SKINS[i], _SKINS[i + 1]
    t, light, warm = position - i, dice.real(0.7, 1.1), dice.real(0.92, 1.08)
    red, green, blue = (x + (y - x) * t for x, y in zip(a, b, strict=True))
    return shade((int(red * warm), int(green), int(blue / warm)), light)


def _place(image: Image.Image, dice: Dice, low: float = 0.03, high: float = 0.28) -> _Place:
    width, height = image.size
    return dice.real(-0.05, 1.05) * width, dice.real(-0.05, 1.05) * height, dice.log(low, high) * max(width, height)


def _box(x: float, y: float, a: float, b: float) -> tuple[int, int, int, int]:
    """The whole-numbered box about a middle with half sides a and b, at least 2 pixels wide and high."""
    left, top = int(x - a), int(y - b)
    return left, top, left + max(2, int(2 * a)), top + max(2, int(2 * b))


@functools.lru_cache(maxsize=_LIGHTS)
def _ball(direction: int) -> NDArray[np.float32]:
    """float32 (48, 48): how bright a ball is under a lamp from one of 16 directions; 1 is its plain color."""
    axis = np.linspace(-1, 1, _SHADE_SIDE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    angle = 2 * math.pi * direction / _LIGHTS
    lamp = 0.65 * (x * math.cos(angle) + y * math.sin(angle)) + 0.76 * z
    lit: NDArray[np.float32] = (0.35 + 0.75 * np.maximum(lamp, 0)).astype(np.float32)
    return lit


def lit(color: Color, size: tuple[int, int], dice: Dice, *, gloss: bool = False) -> Image.Image:
    """A picture of a color, lit as a ball that fills it."""
    light = _ball(dice.whole(0, _LIGHTS - 1))
    pixels = light[:, :, None] * np.array(color, np.float32)
    if gloss:
        pixels += (np.maximum(light - 0.98, 0) * 1500)[:, :, None]
    np.clip(pixels, 0, 255, out=pixels)
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def _solid(
    image: Image.Image, box: tuple[int, int, int, int], color: Color, dice: Dice, *, gloss: bool = False
) -> None:
    """A lit ellipse."""
    size = (box[2] - box[0], box[3] - box[1])
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((0, 0, size[0] - 1, size[1] - 1), fill=255)
    image.paste(lit(color, size, dice, gloss=gloss), box[:2], mask)


def _oval(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """An oval of skin color; at times half under something dark, as the back of a head."""
    x, y, r = _place(image, dice)
    _solid(image, _box(x, y, r, r * dice.real(0.8, 1.6)), skin(dice), dice)
    if dice.chance(0.35):
        dark = paint(dice, 10, 90)
        cap = r * dice.real(1.02, 1.2)
        pen.pieslice(_box(x, y, cap, cap * 1.25), 180 - dice.real(0, 40), 360 + dice.real(0, 40), fill=dark)


def _blob(image: Image.Image, _pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A lump of skin color without an order: an arm, a knee, a stain."""
    x, y, r = _place(image, dice)
    box = _box(x, y, 1.4 * r, 1.4 * r)
    size = (box[2] - box[0], box[3] - box[1])
    mask = Image.new("L", size)
    pencil = ImageDraw.Draw(mask)
    for _ in range(dice.whole(2, 5)):
        u, v = (0.7 + dice.real(-0.3, 0.3)) * size[0] / 1.4, (0.7 + dice.real(-0.3, 0.3)) * size[1] / 1.4
        a, b = dice.real(0.15, 0.34) * size[0], dice.real(0.15, 0.34) * size[1]
        pencil.ellipse((u - a, v - b, u + a, v + b), fill=255)
    image.paste(lit(skin(dice), size, dice), box[:2], mask)


def _hand(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A palm with fingers."""
    x, y, r = _place(image, dice, 0.03, 0.14)
    color = skin(dice)
    dark = shade(color, 0.75)
    turn, spread = dice.real(-math.pi, math.pi), dice.real(0.12, 0.3)
    for i in range(dice.whole(3, 5)):
        angle = turn + (i - 2) * spread
        reach, thick = r * dice.real(1.5, 2.3), max(2, int(r * 0.42))
        u, v = x + reach * math.cos(angle), y + reach * math.sin(angle)
        for width, tone in ((thick + 2, dark), (thick, color)):
            pen.line((x, y, u, v), fill=tone, width=width)
            pen.ellipse((u - width / 2, v - width / 2, u + width / 2, v + width / 2), fill=tone)
    pen.line((x, y, x - 4 * r * math.cos(turn), y - 4 * r * math.sin(turn)), fill=color, width=max(2, int(1.3 * r)))
    pen.ellipse((x - r, y - r, x + r, y + r), fill=color)


def _clock(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A round clock or a gauge."""
    x, y, r = _place(image, dice, 0.03, 0.2)
    rim, face, ink = paint(dice), paint(dice, 170, 255), paint(dice, 0, 70)
    pen.ellipse((x - r * 1.1, y - r * 1.1, x + r * 1.1, y + r * 1.1), fill=rim)
    pen.ellipse((x - r, y - r, x + r, y + r), fill=face)
    for i in range(dice.pick((0, 4, 12))):
        angle = i * math.pi / 6
        c, s = math.cos(angle), math.sin(angle)
        pen.line(
            (x + 0.8 * r * c, y + 0.8 * r * s, x + 0.92 * r * c, y + 0.92 * r * s), fill=ink, width=max(1, int(r / 14))
        )
    for length in (0.5, 0.8):
        angle = dice.real(0, 2 * math.pi)
        pen.line(
            (x, y, x + length * r * math.cos(angle), y + length * r * math.sin(angle)),
            fill=ink,
            width=max(1, int(r / 12)),
        )


def _socket(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """Sockets and switches: a plate, two holes, at times a bar below or above them."""
    x, y, r = _place(image, dice, 0.02, 0.14)
    plate = paint(dice, 120, 255)
    hole = shade(plate, dice.real(0.1, 0.6))
    pen.rounded_rectangle(
        (x - r, y - r, x + r, y + r), radius=r * dice.real(0.05, 0.5), fill=plate, outline=shade(plate, 0.75)
    )
    if dice.chance(0.5):
        pen.ellipse((x - 0.75 * r, y - 0.75 * r, x + 0.75 * r, y + 0.75 * r), fill=shade(plate, dice.real(0.7, 0.95)))
    apart, small = dice.real(0.25, 0.5) * r, dice.real(0.06, 0.18) * r
    level = y + dice.real(-0.45, 0.3) * r
    for u in (x - apart, x + apart):
        if dice.chance(0.7):
            pen.ellipse((u - small, level - small, u + small, level + small), fill=hole)
        else:
            pen.rectangle((u - 0.4 * small, level - small, u + 0.4 * small, level + small), fill=hole)
    if dice.chance(0.5):
        v = y + dice.pick((-0.65, 0.45, 0.6)) * r
        pen.rectangle((x - apart, v - 0.06 * r, x + apart, v + 0.06 * r), fill=hole)


def _unlike_skin(dice: Dice) -> Color:
    """A color with less red than green or blue."""
    red, green, blue = sorted(paint(dice))
    return dice.pick(((red, green, blue), (red, blue, green), (green, red, blue), (green, blue, red)))


def _dots(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """Two dots and a bar on a plate; never upright if it has the color of skin: from afar that may well be a face."""
    x, y, r = _place(image, dice, 0.03, 0.2)
    if dice.chance(0.35):
        plate, turn = skin(dice), dice.real(1.0, 2 * math.pi - 1.0)
    else:
        plate, turn = _unlike_skin(dice), dice.pick((0.0, dice.real(-3.1, 3.1)))
    ink = paint(dice, 0, 255)
    c, s = math.cos(turn), math.sin(turn)
    if dice.chance(0.5):
        pen.ellipse((x - r, y - r, x + r, y + r), fill=plate)
    else:
        pen.rectangle((x - r, y - r, x + r, y + r), fill=plate)
    apart, up = dice.real(0.25, 0.5), dice.real(0.1, 0.4)
    for u, v in ((-apart, -up), (apart, -up)):
        a, b, small = x + r * (u * c - v * s), y + r * (u * s + v * c), r * dice.real(0.08, 0.14)
        pen.ellipse((a - small, b - small, a + small, b + small), fill=ink)
    if dice.chance(0.8):
        ends = [(x + r * (u * c - 0.45 * s), y + r * (u * s + 0.45 * c)) for u in (-apart, apart)]
        pen.line(ends, fill=ink, width=max(1, int(0.1 * r)))


def _sphere(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A ball, balloon, fruit or lamp shade."""
    x, y, r = _place(image, dice)
    color = paint(dice, 60, 240)
    _solid(image, _box(x, y, r, r), color, dice, gloss=dice.chance(0.5))
    if dice.chance(0.25):
        for _ in range(dice.whole(2, 6)):
            u, v, small = x + dice.real(-0.6, 0.6) * r, y + dice.real(-0.6, 0.6) * r, r * dice.real(0.1, 0.3)
            pen.regular_polygon((u, v, small), 5, fill=paint(dice, 0, 80))
    elif dice.chance(0.2):
        pen.arc((x - r, y - 0.3 * r, x + r, y + 0.3 * r), 0, 180, fill=paint(dice), width=max(1, int(r / 10)))


def _cushion(image: Image.Image, _pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A soft square with stripes."""
    x, y, r = _place(image, dice)
    box = _box(x, y, r, r * dice.real(0.5, 1.1))
    size = (box[2] - box[0], box[3] - box[1])
    cloth = lit(paint(dice, 60, 240), size, dice)
    if dice.chance(0.5):
        pencil, ink, pitch = ImageDraw.Draw(cloth), paint(dice), max(4, int(dice.real(0.1, 0.4) * size[0]))
        for u in range(0, size[0], pitch):
            pencil.line((u, 0, u, size[1]), fill=ink, width=max(1, pitch // 3))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=0.3 * min(size), fill=255)
    image.paste(cloth, box[:2], mask)


def _lamp(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A bright lamp, round or long."""
    x, y, r = _place(image, dice, 0.015, 0.12)
    glow = dice.pick(((255, 255, 255), (255, 240, 205), (255, 220, 160)))
    if dice.chance(0.4):
        pen.rounded_rectangle((x - 3 * r, y - 0.4 * r, x + 3 * r, y + 0.4 * r), radius=0.4 * r, fill=glow)
    else:
        pen.ellipse((x - 1.25 * r, y - 1.25 * r, x + 1.25 * r, y + 1.25 * r), fill=shade(glow, 0.8))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=glow)


def _poster(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A poster, sign, book or screen: a frame, lines of writing, bars or a blur of colors."""
    x, y, r = _place(image, dice, 0.06, 0.3)
    tall = r * dice.real(0.5, 1.5)
    paper, ink = paint(dice, 10, 255), paint(dice)
    edge = r * dice.pick((0.0, 0.04, 0.1))
    pen.rectangle((x - r - edge, y - tall - edge, x + r + edge, y + tall + edge), fill=paint(dice))
    pen.rectangle((x - r, y - tall, x + r, y + tall), fill=paper)
    kind = dice.whole(0, 3)
    if kind == 0:
        pitch = max(3.0, dice.real(0.08, 0.25) * r)
        v = y - 0.85 * tall
        while v < y + 0.8 * tall:
            u = x - 0.85 * r
            while u < x + 0.6 * r:
                word = dice.real(0.1, 0.5) * r
                pen.rectangle((u, v, min(u + word, x + 0.85 * r), v + 0.45 * pitch), fill=ink)
                u += word + 0.1 * r
            v += pitch
    elif kind == 1:
        for i in range(dice.whole(2, 7)):
            u = x + (i / 3.5 - 0.9) * r
            pen.rectangle((u, y + tall * dice.real(-0.8, 0.6), u + 0.18 * r, y + 0.85 * tall), fill=paint(dice))
    elif kind == 2:  # noqa: PLR2004
        box = _box(x, y, r, tall)
        patch = np.array([[paint(dice) for _ in range(5)] for _ in range(5)], np.uint8)
        image.paste(
            Image.fromarray(patch).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC), box[:2]
        )


def _plant(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A plant in a pot."""
    x, y, r = _place(image, dice, 0.05, 0.2)
    green = (dice.whole(20, 110), dice.whole(60, 170), dice.whole(10, 80))
    for _ in range(dice.whole(6, 22)):
        angle, reach = dice.real(-math.pi, 0), r * dice.real(0.6, 1.8)
        u, v, wide = x + reach * math.cos(angle), y + reach * math.sin(angle), r * dice.real(0.05, 0.2)
        side_x, side_y = -math.sin(angle) * wide, math.cos(angle) * wide
        a, b = (x + u) / 2, (y + v) / 2
        leaf = [(x, y), (a + side_x, b + side_y), (u, v), (a - side_x, b - side_y)]
        pen.polygon(leaf, fill=shade(green, dice.real(0.5, 1.5)))
    pot = paint(dice)
    pen.polygon([(x - 0.5 * r, y), (x + 0.5 * r, y), (x + 0.35 * r, y + r), (x - 0.35 * r, y + r)], fill=pot)


def _coat(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A coat on a hook, or shoulders cut off by something: clothes without a head."""
    x, y, r = _place(image, dice, 0.08, 0.3)
    cloth = paint(dice, 10, 220)
    pen.polygon(
        [
            (x - 0.25 * r, y),
            (x + 0.25 * r, y),
            (x + 0.9 * r, y + 0.5 * r),
            (x + r, y + 2 * r),
            (x - r, y + 2 * r),
            (x - 0.9 * r, y + 0.5 * r),
        ],
        fill=cloth,
    )
    pen.line((x, y, x, y + 2 * r), fill=shade(cloth, 0.6), width=max(1, int(r / 25)))
    if dice.chance(0.5):
        pen.polygon([(x - 0.25 * r, y), (x + 0.25 * r, y), (x, y + 0.5 * r)], fill=paint(dice))
    if dice.chance(0.3):
        for i in range(4):
            v = y + (0.6 + 0.3 * i) * r
            pen.ellipse((x + 0.05 * r, v, x + 0.13 * r, v + 0.08 * r), fill=shade(cloth, 1.8))


def _rings(image: Image.Image, pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """Speakers, wheels, plates, pairs of glasses: rings side by side or inside each other."""
    x, y, r = _place(image, dice, 0.02, 0.12)
    level = dice.chance(0.6)
    for i in range(dice.whole(1, 3)):
        u, v = (x + 2.3 * r * i, y) if level else (x, y + 2.3 * r * i)
        for share in (1.0, 0.8, 0.4, 0.15)[: dice.whole(1, 4)]:
            pen.ellipse(
                (u - share * r, v - share * r, u + share * r, v + share * r), fill=paint(dice), outline=paint(dice)
            )
    if level and dice.chance(0.4):
        pen.line((x, y, x + 2.3 * r, y), fill=paint(dice), width=max(1, int(r / 8)))


def _haze(image: Image.Image, _pen: ImageDraw.ImageDraw, dice: Dice) -> None:
    """A soft patch of light or color, out of focus before the camera."""
    x, y, r = _place(image, dice, 0.08, 0.35)
    box = _box(x, y, r, r)
    mask = Image.new("L", (24, 24))
    ImageDraw.Draw(mask).ellipse((6, 6, 17, 17), fill=dice.whole(60, 255))
    size = (box[2] - box[0], box[3] - box[1])
    soft = mask.filter(ImageFilter.BoxBlur(4)).resize(size, Image.Resampling.BICUBIC)
    image.paste(skin(dice) if dice.chance(0.4) else paint(dice), box, soft)


Thing: TypeAlias = "Callable[[Image.Image, ImageDraw.ImageDraw, Dice], None]"
THINGS: tuple[tuple[float, Thing], ...] = (
    (2.0, _oval),
    (1.2, _blob),
    (1.2, _hand),
    (1.0, _clock),
    (1.0, _socket),
    (1.2, _dots),
    (1.4, _sphere),
    (1.0, _cushion),
    (0.8, _lamp),
    (2.0, _poster),
    (1.0, _plant),
    (0.8, _coat),
    (1.0, _rings),
    (1.0, _haze),
)
