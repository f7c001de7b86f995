"""Cheap randomness for pictures: dice that roll fast, smooth noise from few cells, normal noise from a table."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Dice", "normal", "smooth"]

_T = TypeVar("_T")
_ROLLS = 256  # drawn at once: a scalar draw from a Generator costs some ten times as much
_QUANTILES = 65536  # every value of 16 random bits


class Dice:
    """Scalar random numbers from a generator, drawn in bulk: a scene of polygons rolls hundreds of them."""

    __slots__ = ("_rng", "_rolls")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rolls: list[float] = []

    def unit(self) -> float:
        """A number in [0, 1)."""
        if not self._rolls:
            self._rolls = self._rng.random(_ROLLS).tolist()
        return self._rolls.pop()

    def real(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def log(self, low: float, high: float) -> float:
        """A number in [low, high), both above zero, with each doubling as likely as every other."""
        return low * math.exp(math.log(high / low) * self.unit())

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.unit())

    def chance(self, probability: float) -> bool:
        """True with the probability."""
        return self.unit() < probability

    def sign(self) -> int:
        """1 or -1."""
        return 1 if self.unit() < 0.5 else -1  # noqa: PLR2004 - one half

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of the choices."""
        return choices[int(len(choices) * self.unit())]

    def weighted(self, choices: Sequence[tuple[float, _T]]) -> _T:
        """One of the choices, each with its weight."""
        roll = self.unit() * sum(weight for weight, _ in choices)
        for weight, choice in choices:
            roll -= weight
            if roll < 0:
                return choice
        return choices[-1][1]


def smooth(rng: np.random.Generator, width: int, height: int, cells: float) -> NDArray[np.float32]:
    """Smooth noise: a coarse grid of uniform numbers, enlarged with a cubic kernel.

    Args:
        rng: where the numbers come from.
        width: columns of the result, at least 1.
        height: rows of the result, at least 1.
        cells: cells of the grid along the longer side.

    Returns:
        float32 (height, width), about -1.2..1.2 (a cubic kernel overshoots), mean about 0.
    """
    cell = max(width, height) / max(cells, 1.0)
    columns, rows = math.ceil(width / cell) + 1, math.ceil(height / cell) + 1
    grid = rng.random((rows, columns), dtype=np.float32)
    grid *= 2
    grid -= 1
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


@functools.cache
def _quantiles() -> NDArray[np.float32]:
    """float32 (65536,): the standard normal distribution's quantiles of (i + 0.5) / 65536."""
    steps = np.linspace(-6, 6, 8193)
    density = np.exp(-0.5 * steps * steps)
    cumulative = np.cumsum((density[1:] + density[:-1]) / 2)
    cumulative /= cumulative[-1]
    wanted = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    table = np.interp(wanted, np.concatenate(([0.0], cumulative)), steps).astype(np.float32)
    table.flags.writeable = False
    return table


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal noise, float32, of at most 4.3 standard deviations: 16 random bits each, looked up.

    Several times as fast as `Generator.standard_normal`, and exact as far as a picture of 8 bits can show.
    """
    count = math.prod(shape)
    bits = rng.integers(0, 2**64, (count + 3) // 4, dtype=np.uint64).view(np.uint16)[:count]
    return np.take(_quantiles(), bits).reshape(shape)
