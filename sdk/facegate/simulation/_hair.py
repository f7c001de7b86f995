"""Hair and what is worn on the head: shells that dive under the skin where they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._head import canon_grid
from facegate.simulation._mesh import Mesh

if TYPE_CHECKING:
    from facegate.simulation._arrays import Floats
    from facegate.simulation._head import Shape


# Where hair ends: degrees from the front, and cm above the eyes; 0 stands for the person's own hair line.
_ANGLES = (0.0, 28.0, 46.0, 58.0, 66.0, 76.0, 83.0, 96.0, 106.0, 180.0)
_LINE = (0.0, -0.3, -1.3, -4.0, -8.6, -8.0, -4.4, -4.8, -12.5, -14.0)
# Thickness in cm, how curly, by style.
_THICK = {"buzz": 0.16, "short": 0.6, "medium": 1.15, "long": 0.9, "curly": 1.7, "receding": 0.35}


def azimuth(canon: Floats) -> Floats:
    """Degrees from the front, 0..180."""
    return np.degrees(np.arctan2(np.abs(canon[..., 0]), canon[..., 2])).astype(np.float32)


def shell(shape: Shape, over: Floats, thickness: Floats, material: str, rows: int = 40, columns: int = 56) -> Mesh:
    """A layer on the head.

    Args:
        shape: whose head.
        over: (rows, columns), cm by which a point lies within the layer's outline; negative outside.
        thickness: (rows, columns), cm.
        material: its name.
        rows: of the grid.
        columns: of the grid.
    """
    canon = canon_grid(rows, columns)
    outward = canon - np.array([0, 1.0, -1.0], np.float32)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    inside = np.clip(over / 0.9 + 0.35, 0, 1)
    height = -0.6 + (0.6 + thickness) * inside * (2 - inside)
    return Mesh(shape(canon, features=0.25) + outward * height[..., None], canon, material, closed=True)


def hair(shape: Shape) -> list[Mesh]:
    """What of the hair is seen under a covering, if any."""
    identity, covering = shape.identity, shape.look.covering
    style = identity.hair_style
    if style == "bald" or covering == "scarf":
        return []
    canon = canon_grid(40, 56)
    rng = np.random.default_rng([0x4A12, identity.hair_seed])
    angle = azimuth(canon)
    line = identity.hair_line + np.interp(angle, _ANGLES, _LINE)
    if style == "receding":
        line += np.interp(angle, (0, 20, 40, 60, 80), (1.6, 2.6, 3.4, 2.0, 0))
    if style in ("medium", "long") and abs(identity.hair_part) > 0.45:  # noqa: PLR2004 - a fringe to one side
        across = np.sign(identity.hair_part) * canon[..., 0]
        line -= (np.abs(identity.hair_part) + 0.6) * np.exp(-0.5 * ((across - 1.5) / 3.2) ** 2) * (angle < 60)  # noqa: PLR2004
    ragged = 0.7 if style == "curly" else 0.35
    noise = rng.normal(0, 1, angle.shape).astype(np.float32)
    over = canon[..., 1] - line + ragged * noise * 0.6
    thick = _THICK[style] * (0.55 + 0.45 * identity.hair_volume)
    thickness = np.full(angle.shape, thick, np.float32)
    thickness *= 1 + (0.35 if style == "curly" else 0.1) * noise
    if style in ("medium", "long", "short"):
        parting = np.exp(-0.5 * ((canon[..., 0] - 3.5 * identity.hair_part) / 0.9) ** 2) * (canon[..., 1] > 6)  # noqa: PLR2004
        thickness *= 1 - 0.55 * parting
    if covering != "none":
        thickness = np.minimum(thickness, 0.25)
    found = [shell(shape, over, thickness, "hair")]
    if style == "long" or (style == "curly" and identity.hair_volume > 1.1):  # noqa: PLR2004
        length = 9.0 + 7.0 * identity.hair_volume if style == "long" else 5.5
        found.append(_curtain(shape, length, thick, np.radians(66), "hair"))
    return found


def _curtain(shape: Shape, length: float, thick: float, opening: float, material: str, *, top: float = 5.0) -> Mesh:
    """Hair or cloth that hangs from the head's sides and back."""
    rows, columns = 16, 40
    rng = np.random.default_rng([0xC027, shape.identity.hair_seed])
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    around = np.linspace(opening, 2 * np.pi - opening, columns, dtype=np.float32)[None, :]
    # Columns run as everywhere: from the back's left over the front; here from the right temple round the back.
    wave = 1 + 0.03 * np.sin(9 * around + 5 * t + rng.uniform(0, 6)) + 0.02 * rng.normal(size=(1, columns))
    flare = (1 + 0.16 * t) * wave
    points = np.empty((rows, columns, 3), np.float32)
    points[..., 0] = (shape.identity.head_width + thick) * np.sin(around) * flare
    points[..., 1] = top - (top + length) * t + 0.0 * around
    points[..., 2] = (shape.identity.head_depth * 0.92 + thick) * np.cos(around) * flare - 0.4 - 1.2 * t
    return Mesh(points, points.copy(), material, solid=False)


def covering(shape: Shape) -> list[Mesh]:
    """A cap, a beanie or a headscarf."""
    kind = shape.look.covering
    if kind == "none":
        return []
    canon = canon_grid(40, 56)
    angle = azimuth(canon)
    rng = np.random.default_rng([0xCA9, shape.look.style])
    if kind == "scarf":
        # The face's outline: an oval from the forehead to under the chin.
        x, y = canon[..., 0], canon[..., 1]
        tight = float(np.random.default_rng([0x5CA, shape.identity.seed]).uniform(0.92, 1.08))
        oval = np.sqrt((x / (5.9 * tight)) ** 2 + ((y + 2.6) / (8.6 * tight)) ** 2)
        over = np.where(canon[..., 2] > 0, (oval - 1) * 5.0, 4.0)
        thickness = 0.7 + 0.12 * np.sin(y * 1.7 + x + rng.uniform(0, 6))
        return [
            shell(shape, over, thickness, "cloth"),
            _curtain(shape, 15.0, 0.9, np.radians(20), "cloth", top=-9.5),
        ]
    level = np.interp(angle, (0, 60, 90, 180), (4.6, 3.8, 2.4, -3.0)) + rng.uniform(-0.5, 1.0)
    if kind == "beanie":
        return [shell(shape, canon[..., 1] - level + 0.3, np.full(angle.shape, 0.9 + rng.uniform(0, 0.5)), "cloth")]
    found = [shell(shape, canon[..., 1] - level, np.full(angle.shape, 0.8), "cloth")]
    rows, columns = 8, 24
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    around = np.linspace(-1.05, 1.05, columns, dtype=np.float32)[None, :]
    reach = t * (6.2 + rng.uniform(-1, 1)) * np.cos(around) ** 0.6
    points = np.empty((rows, columns, 3), np.float32)
    points[..., 0] = (shape.identity.head_width + 0.5) * np.sin(around) * (1 - 0.06 * t)
    points[..., 1] = float(level.flat[np.argmin(angle)]) + 0.6 - 1.7 * t**1.5 - 0.9 * np.sin(around) ** 2
    points[..., 2] = 8.9 * np.cos(around) - 0.6 + reach
    found.append(Mesh(points, points.copy(), "cloth", solid=False))
    return found
