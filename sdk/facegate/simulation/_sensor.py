"""The camera's sensor: what becomes of linear light between the lens and a frame of 8 bits.

In the order of a real camera: the shutter (motion), the lens (defocus), exposure and white balance, the noise of
photons and of the electronics, the tone curve with its highlight shoulder, 8 bits, JPEG.
"""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from facegate.errors import FrameError
from facegate.simulation._noise import Dice, normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sensor", "expose", "linear_to_srgb", "srgb_to_linear"]

_STEPS = 4096  # of linear light between black and white: below 1 step of sRGB even in the shadows
_LIGHTEST = 4.0  # linear light beyond it is white
_SHOULDER = 0.8  # linear light from which highlights are compressed
_KNEE = 0.25  # how fast: the shoulder reaches white for light without end
_SMALLEST_BLUR = 0.2  # pixels; below it a Gaussian is a single sample
_COLORS = 3
_STRIP = 32  # rows


@dataclass(frozen=True, slots=True)
class Sensor:
    """How a camera sees.

    Attributes:
        exposure: gain; 1.0 exposes right, 0.5 is one stop under.
        white_balance: gains of red, green and blue left over by an imperfect white balance.
        blur: defocus, sigma of a Gaussian in pixels.
        motion: way of the picture over the sensor while the shutter is open, (dx, dy) pixels.
        shot_noise: standard deviation of the photons' noise at white; it grows with the root of the light.
        read_noise: standard deviation of the electronics' noise, as a share of white.
        jpeg: quality of the JPEG that the frame passed through, 1..95, or None.
    """

    exposure: float
    white_balance: tuple[float, float, float]
    blur: float
    motion: tuple[float, float]
    shot_noise: float
    read_noise: float
    jpeg: int | None

    def __post_init__(self) -> None:
        numbers = (self.exposure, *self.white_balance, self.blur, *self.motion, self.shot_noise, self.read_noise)
        if not all(math.isfinite(number) for number in numbers):
            raise FrameError("a sensor's property is not a finite number", hint="Give finite numbers.")
        positive = (self.exposure, *self.white_balance)
        if min(positive) <= 0 or min(self.blur, self.shot_noise, self.read_noise) < 0:
            raise FrameError(
                "a sensor's gain is not above zero, or its blur or noise is below zero",
                hint="Gains are above 0, blur and noise 0 or more. Sensor.clean() is a sensor without faults.",
            )
        if self.jpeg is not None and not 1 <= self.jpeg <= 95:  # noqa: PLR2004 - JPEG's scale
            raise FrameError(f"no JPEG quality: {self.jpeg}", hint="Give 1..95, or None for no JPEG.")

    @classmethod
    def clean(cls) -> Sensor:
        """A sensor without faults: exposed right, sharp, without noise or JPEG."""
        return cls(1.0, (1.0, 1.0, 1.0), 0.0, (0.0, 0.0), 0.0, 0.0, None)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Sensor:
        """A sensor as terminals have them, poor ones among them.

        Exposure -1.5..+1 stops (mostly within one), blur up to 1.6 px, motion up to 6 px in one frame of eight, JPEG
        quality 40..95 in two frames of three. Low light, a state of its own in one frame of five, brings noise,
        underexposure and longer shutter times together: at most the read noise of a small sensor at its highest useful
        gain, about a hundredth of white, beyond which a terminal would switch on its lamp.
        """
        dice = Dice(rng)
        dim = dice.chance(0.2)
        stops = (
            dice.real(-1.5, 0.0) if dim else dice.weighted(((8.0, dice.real(-0.7, 0.6)), (2.0, dice.real(-1.5, 1.0))))
        )
        red, blue = 2.0 ** dice.real(-0.22, 0.22), 2.0 ** dice.real(-0.22, 0.22)
        length = 0.0
        if dice.chance(0.35 if dim else 0.125):
            length = dice.log(1.0, 6.0)
        angle = dice.real(0.0, 2 * math.pi)
        shot = dice.log(0.03, 0.09) if dim else dice.log(0.004, 0.05)
        read = dice.log(0.003, 0.012) if dim else dice.log(0.0006, 0.005)
        return cls(
            exposure=2.0**stops,
            white_balance=(red, 1.0, blue),
            blur=0.0 if dice.chance(0.25) else 1.6 * dice.unit() ** 1.5,
            motion=(length * math.cos(angle), length * math.sin(angle)),
            shot_noise=shot,
            read_noise=read,
            jpeg=None if dice.chance(1 / 3) else dice.whole(40, 95),
        )


@functools.cache
def _to_linear() -> NDArray[np.float32]:
    """float32 (256,): linear light of each sRGB level (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    table = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)  # noqa: PLR2004
    table.flags.writeable = False
    return table


@functools.cache
def _to_srgb(*, shoulder: bool) -> NDArray[np.uint8]:
    """uint8 (levels,): sRGB of linear light in steps of 1 / 4096 (IEC 61966-2-1), up to where it is white.

    With the shoulder, light x above 0.8 becomes 0.8 + 0.2 (1 - exp(-(x - 0.8) / 0.25)), nearly as steep at first:
    highlights lose contrast before they clip, as in a camera's tone curve.
    """
    light = np.arange(int(_LIGHTEST * _STEPS) + 1 if shoulder else _STEPS + 1) / _STEPS
    if shoulder:
        rest = 1 - _SHOULDER
        light = np.where(light > _SHOULDER, _SHOULDER + rest * -np.expm1(-(light - _SHOULDER) / _KNEE), light)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)  # noqa: PLR2004
    table = np.rint(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
    table.flags.writeable = False
    return cast("NDArray[np.uint8]", table)


def srgb_to_linear(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear light 0..1, float32, of sRGB levels, uint8 of any shape."""
    if pixels.dtype != np.uint8:
        raise FrameError(f"sRGB levels are {pixels.dtype}, not uint8", hint="Round to 0..255 and convert to uint8.")
    return np.take(_to_linear(), pixels)


def linear_to_srgb(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SRGB levels, uint8, of linear light, float32 of any shape; clipped at 0 and 1. Undoes `srgb_to_linear`."""
    return _look_up(linear * np.float32(_STEPS), _to_srgb(shoulder=False))


def _look_up(steps: NDArray[np.float32], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table's entries at steps rounded to whole numbers; changes `steps`."""
    steps += np.float32(0.5)
    np.clip(steps, 0, len(table) - 1, out=steps)
    return np.take(table, steps.astype(np.uint16))


def _padded(linear: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """The picture with its edge repeated outwards."""
    return np.pad(linear, ((rows, rows), (columns, columns), (0, 0)), mode="edge")


def _taps(sigma: float) -> list[np.float32]:
    """The middle and one half of a Gaussian of standard deviation `sigma` pixels, cut at 2.5 sigma, of sum 1."""
    if sigma <= _SMALLEST_BLUR:
        return [np.float32(1)]
    weights = np.exp(-0.5 * (np.arange(math.ceil(2.5 * sigma) + 1) / sigma) ** 2)
    weights /= weights[0] + 2 * weights[1:].sum()
    return [np.float32(weight) for weight in weights]


def _blurred(flat: NDArray[np.float32], taps: list[np.float32]) -> NDArray[np.float32]:
    """Rows (height, width * 3) out of rows that have as many more pixels on every side as the taps reach."""
    reach = len(taps) - 1
    height, length = flat.shape[0] - 2 * reach, flat.shape[1] - 2 * reach * _COLORS
    down = flat[reach : reach + height] * taps[0]
    for i in range(1, reach + 1):
        pair = flat[reach - i : reach - i + height] + flat[reach + i : reach + i + height]
        pair *= taps[i]
        down += pair
    out = down[:, reach * _COLORS : reach * _COLORS + length] * taps[0]
    for i in range(1, reach + 1):
        left, right = (reach - i) * _COLORS, (reach + i) * _COLORS
        pair = down[:, left : left + length] + down[:, right : right + length]
        pair *= taps[i]
        out += pair
    return out


def _shifted(padded: NDArray[np.float32], dx: float, dy: float, border: int) -> NDArray[np.float32]:
    """The inner picture of a padded one, moved by a fraction of a pixel (bilinear) and at most the border less 1."""
    height, width = padded.shape[0] - 2 * border, padded.shape[1] - 2 * border
    column, row = math.floor(dx), math.floor(dy)
    share_x, share_y = dx - column, dy - row
    out = np.zeros((height, width, padded.shape[2]), np.float32)
    for step_y, weight_y in ((0, 1 - share_y), (1, share_y)):
        for step_x, weight_x in ((0, 1 - share_x), (1, share_x)):
            weight = weight_x * weight_y
            if weight > 0.01:  # noqa: PLR2004 - what 8 bits do not show is not worth a pass
                top, left = border + row + step_y, border + column + step_x
                out += padded[top : top + height, left : left + width] * np.float32(weight)
    return out


def _moved(linear: NDArray[np.float32], dx: float, dy: float) -> NDArray[np.float32]:
    """The mean of the picture along a straight way: each halving of it averages two copies."""
    doublings = max(1, math.ceil(math.log2(max(abs(dx), abs(dy)) + 1)))
    for i in range(1, doublings + 1):
        share = 0.5**i / 2  # the copies lie half a step to both sides, so that the middle stays
        border = math.ceil(max(abs(dx), abs(dy)) * share) + 1
        padded = _padded(linear, border, border)
        linear = _shifted(padded, dx * share, dy * share, border)
        linear += _shifted(padded, -dx * share, -dy * share, border)
        linear *= np.float32(0.5)
    return linear


def _add_noise(flat: NDArray[np.float32], sensor: Sensor, rng: np.random.Generator) -> None:
    """Add the noise of photons and electronics to rows of linear light, in place.

    Demosaicing spreads each photosite's noise over its neighbors: the noise of a pixel is half its neighbor's.
    """
    height, length = flat.shape
    raw = normal(rng, (height + 1, length))
    noise = raw[:-1]
    noise += raw[1:]
    deviation = flat * np.float32(sensor.shot_noise**2 / 2)
    np.maximum(deviation, 0, out=deviation)
    deviation += np.float32(sensor.read_noise**2 / 2)
    np.sqrt(deviation, out=deviation)
    deviation *= noise
    flat += deviation


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture after JPEG, colors at half resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file), dtype=np.uint8)


def expose(linear: NDArray[np.float32], sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take the picture of a scene.

    Args:
        linear: float32 (height, width, 3), linear light in red, green, blue; 1.0 is white when exposed right, more is
            brighter still. Not changed.
        sensor: how the camera sees.
        rng: where the noise comes from.

    Returns:
        uint8 (height, width, 3), sRGB, C-contiguous.

    Raises:
        FrameError: the light is not float32 of that shape.
    """
    if linear.dtype != np.float32 or linear.ndim != _COLORS or linear.shape[2] != _COLORS or 0 in linear.shape:
        raise FrameError(
            f"light is {linear.dtype} {linear.shape}, not float32 (height, width, 3)",
            hint="Give linear light in red, green and blue as float32.",
        )
    if max(abs(part) for part in sensor.motion) > _SMALLEST_BLUR:
        linear = _moved(linear, *sensor.motion)
    height, width = linear.shape[:2]
    taps = _taps(sensor.blur)
    reach = len(taps) - 1
    around = (_padded(linear, reach, reach) if reach else linear).reshape(height + 2 * reach, -1)
    gains = np.tile(np.asarray(sensor.white_balance, np.float32) * np.float32(sensor.exposure), width)
    table = _to_srgb(shoulder=True)
    pixels = np.empty((height, width * _COLORS), np.uint8)
    for top in range(0, height, _STRIP):  # strips stay in the processor's cache: twice as fast as whole pictures
        rows = min(_STRIP, height - top)
        strip = _blurred(around[top : top + rows + 2 * reach], taps)
        strip *= gains
        if sensor.shot_noise > 0 or sensor.read_noise > 0:
            _add_noise(strip, sensor, rng)
        strip *= np.float32(_STEPS)
        pixels[top : top + rows] = _look_up(strip, table)
    frame = pixels.reshape(height, width, _COLORS)
    return frame if sensor.jpeg is None else _through_jpeg(frame, sensor.jpeg)
