"""Light: one lamp, the light of the surroundings, and perhaps a bright window behind the person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facegate.errors import FrameError
from facegate.simulation._checks import check_range

Vector = tuple[float, float, float]

_BRIGHTEST = 100.0


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a scene, linear RGB.

    Attributes:
        direction: unit vector toward the lamp: x to the image's right, y up, z toward the camera.
        color: the lamp's light on a surface that faces it; 1 is white paper at full exposure.
        ambient: what comes from all sides, from above.
        ground: what comes from below.
        back: light from behind the person, 0 (none)..1; it also makes the background bright.
        background: how bright the background is beside the person's light.

    Raises:
        FrameError: a light is negative or no number, or the direction is no unit vector.
    """

    direction: Vector = (-0.35, 0.5, 0.79)
    color: Vector = (0.85, 0.82, 0.78)
    ambient: Vector = (0.35, 0.36, 0.38)
    ground: Vector = (0.2, 0.18, 0.16)
    back: float = 0.0
    background: float = 0.9

    def __post_init__(self) -> None:
        for name in ("color", "ambient", "ground"):
            for value in getattr(self, name):
                check_range(name, value, 0, _BRIGHTEST)
        check_range("back", self.back, 0, 1)
        check_range("background", self.background, 0, _BRIGHTEST)
        # Written so that a direction with no number in it is refused too.
        if not abs(float(np.linalg.norm(self.direction)) - 1) < 0.02:  # noqa: PLR2004
            raise FrameError("a light's direction is no unit vector", hint="divide it by its length")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw a light: from even daylight to one lamp from the side, warm to cold, and at times from behind."""
        azimuth, height = np.radians(rng.uniform(-85, 85)), np.radians(rng.uniform(-15, 70))
        direction = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
        warmth = rng.normal(0, 0.14)
        tint = np.array([1 + warmth, 1.0 + rng.normal(0, 0.02), 1 - warmth])
        contrast = rng.uniform(0.25, 0.85)
        level = float(np.exp(rng.normal(0, 0.18)))
        back = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.14 else 0.0  # noqa: PLR2004
        key = 1.15 * contrast * level * (1 - 0.65 * back) * tint
        cool = np.array([1 - 0.4 * warmth, 1.0, 1 + 0.4 * warmth])
        ambient = (0.95 - 0.85 * contrast) * level * (1 - 0.35 * back) * cool
        ground = ambient * rng.uniform(0.3, 0.8) * np.array([1.05, 0.98, 0.92])
        return cls(
            direction=_vector(direction),
            color=_vector(key),
            ambient=_vector(ambient),
            ground=_vector(ground),
            back=back,
            background=float(np.exp(rng.normal(-0.2, 0.35))) * level * (1 + 1.6 * back),
        )


def _vector(values: object) -> Vector:
    x, y, z = (float(v) for v in np.asarray(values))
    return x, y, z
