"""People as layers over a picture, and the camera's automatic exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facegate.simulation._arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One person, to be laid over a picture.

    Attributes:
        color: float32 (h, w, 3), linear light, multiplied by `alpha`.
        alpha: float32 (h, w).
        face: float32 (h, w), how much of a pixel is face that shows.
        area: how many pixels the face would fill if nothing hid it and it were inside the picture.
        corner: (x, y) of the layer's first pixel in the picture.
    """

    color: Floats
    alpha: Floats
    face: Floats
    area: float
    corner: tuple[int, int]

    @property
    def visible(self) -> float:
        """How much of the face shows, 0..1."""
        return float(min(1.0, self.face.sum() / max(self.area, 1.0)))


def lay(linear: Floats, layer: Layer) -> None:
    """Lay a person over a picture."""
    x, y = layer.corner
    height, width = layer.alpha.shape
    part = linear[y : y + height, x : x + width]
    part *= (1 - layer.alpha)[..., None]
    part += layer.color


def hide(below: Layer, above: Layer) -> None:
    """Take what a nearer layer covers from the face that shows of a farther one."""
    (ax, ay), (bx, by) = above.corner, below.corner
    left, top = max(ax, bx), max(ay, by)
    right = min(ax + above.alpha.shape[1], bx + below.face.shape[1])
    bottom = min(ay + above.alpha.shape[0], by + below.face.shape[0])
    if left < right and top < bottom:
        below.face[top - by : bottom - by, left - bx : right - bx] *= (
            1 - above.alpha[top - ay : bottom - ay, left - ax : right - ax]
        )


def meter(linear: Floats) -> float:
    """The gain of a camera's automatic exposure, which goes two thirds of the way to a middle gray on average."""
    level = float(linear[::4, ::4].mean())
    return float(np.clip((0.2 / max(level, 1e-4)) ** 0.67, 0.35, 5.0))
