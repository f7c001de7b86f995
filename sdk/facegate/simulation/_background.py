"""What a terminal sees behind people, and what a face detector must not take for a face.

A backdrop (wall, corridor, shelves, street, lights at night, ...), in front of it a few things, among them the hard
ones: skin-colored ovals and blobs, clocks, balls, sockets, two dots over a bar. No picture ever holds a face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facegate.errors import FrameError
from facegate.simulation._backdrop import BACKDROPS
from facegate.simulation._noise import Dice, smooth
from facegate.simulation._sensor import srgb_to_linear
from facegate.simulation._things import THINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_background"]

_WORKING_SIDE = 288  # the longer side that is drawn at most: enlarging it smooths the edges


def draw_background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Draw a cluttered scene without a face.

    Args:
        rng: what is drawn depends on it alone.
        width: pixels, at least 1.
        height: pixels, at least 1.

    Returns:
        float32 (height, width, 3), linear light in red, green, blue: 0..1, and up to about 2 in windows and lamps.

    Raises:
        FrameError: there is no such picture.
    """
    if width < 1 or height < 1:
        raise FrameError(f"no background of {width} x {height} pixels", hint="Give at least 1 x 1.")
    dice = Dice(rng)
    scale = min(1.0, _WORKING_SIDE / max(width, height)) * dice.real(0.6, 1.0)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    dice.weighted(BACKDROPS)(image, pen, dice, rng)
    for _ in range(int(9 * dice.unit() ** 1.6)):
        dice.weighted(THINGS)(image, pen, dice)
    if dice.chance(0.45):  # out of focus, as a terminal's near focus leaves most of what is behind people
        image = image.filter(ImageFilter.BoxBlur(dice.log(0.5, 7.0) * max(size) / 320))
    if dice.chance(0.4):
        tone = _tone(dice)
        image = image.point(tone)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    linear = srgb_to_linear(np.asarray(image))
    linear *= _light(dice, rng, width, height)[:, :, None]
    return linear


def _tone(dice: Dice) -> list[int]:
    """Other contrast and color: a table of 3 x 256 levels."""
    contrast, lift = dice.log(0.45, 1.4), dice.real(-30, 30)
    levels = np.arange(256)
    tables = [
        np.clip((levels - 128) * contrast + 128 + lift + dice.real(-18, 18), 0, 255).astype(int).tolist()
        for _ in range(3)
    ]
    return [level for table in tables for level in table]


def _light(dice: Dice, rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Uneven light over the scene: float32 (height, width), 0.1..2."""
    strength = dice.real(0.0, 0.55)
    light: NDArray[np.float32] = smooth(rng, width, height, dice.log(1.0, 4.0)) * np.float32(strength)
    fall = dice.real(-0.5, 0.5)
    light += np.linspace(fall, -fall, height, dtype=np.float32)[:, None]
    light += np.linspace(-fall, fall, width, dtype=np.float32) * np.float32(dice.real(-1, 1))
    light += np.float32(1)
    np.clip(light, 0.1, 2, out=light)
    light *= np.float32(dice.log(0.45, 1.35))
    return light
