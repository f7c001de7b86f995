"""What is worn or held before the face, and the body below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._hair import azimuth
from facegate.simulation._head import canon_grid, on_head
from facegate.simulation._mesh import Mesh, ball, capsule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._head import Shape


def mask(shape: Shape) -> list[Mesh]:
    """A surgical or cloth mask over mouth and nose."""
    if not shape.look.mask:
        return []
    canon = canon_grid(66, 64)
    x, y = canon[..., 0], canon[..., 1]
    top = -1.5 - 0.06 * x**2
    over = np.minimum(np.minimum(top - y, y + 11.9), 6.6 - np.abs(x))
    over = np.where(canon[..., 2] > 0, over * 1.6, -3.0)
    # Cloth spans from the nose to the chin: the lips do not show, the nose does.
    tent = 0.7 * np.exp(-0.5 * ((x / 2.2) ** 2 + ((y + 7.4) / 1.6) ** 2))
    inside = np.clip(over / 0.5 + 0.35, 0, 1)
    lift = (-0.6 + (0.9 + tent) * inside * (2 - inside))[..., None]
    outward = canon * np.array([1, 0.4, 1], np.float32)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    return [Mesh(shape(canon) + outward * lift, canon, "mask", closed=True)]


def hand(shape: Shape) -> list[Mesh]:
    """Fingers and a palm before the lower face."""
    if not shape.look.hand:
        return []
    rng = np.random.default_rng([0x4A4D, shape.look.style])
    sign = float(rng.choice((-1, 1)))
    tilt = sign * rng.uniform(-0.2, 1.1)
    center = np.array([sign * rng.uniform(0.5, 5.0), rng.uniform(-10.5, -6.0), 12.6 + rng.uniform(0, 1.5)])
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    found = []
    palm = ball(10, 14, (3.7, 4.2, 1.2), (0, -3.4, 0.2))
    found.append(palm)
    for finger in range(4):
        at = -2.7 + 1.8 * finger
        long = (5.4, 6.6, 6.9, 5.8)[finger] * rng.uniform(0.9, 1.1)
        bend = rng.uniform(-0.5, 0.5)
        found.append(
            capsule(np.array([at, -0.6, 0.0]), np.array([at * 1.2 + bend * 0.5, long - 0.6, -0.5 + bend]), 0.82)
        )
    found.append(capsule(np.array([3.0, -4.0, 0.3]), np.array([5.6, 0.2, 0.8]), 0.95))
    return [
        Mesh((p @ turn.T + center).astype(np.float32), np.asarray(p, np.float32), "hand", closed=True) for p in found
    ]


def glasses(shape: Shape) -> list[Mesh]:
    """A sheet before the eyes that is transparent but for frame and lenses, and the two temples."""
    if shape.look.glasses == "none":
        return []
    i = shape.identity
    nose = shape(on_head(np.zeros(1), np.full(1, i.eye_height - 0.6)))[0]
    rows, columns = 9, 33
    x = np.linspace(-7.6, 7.6, columns, dtype=np.float32)[None, :] + np.zeros((rows, 1), np.float32)
    y = np.linspace(3.2, -3.2, rows, dtype=np.float32)[:, None] + np.zeros((1, columns), np.float32)
    points = np.empty((rows, columns, 3), np.float32)
    points[..., 0], points[..., 1] = x * (i.head_width / 7.3), y + i.eye_height - 0.15
    points[..., 2] = nose[2] + 0.55 - 0.028 * x**2 + 0.05 * y
    canon = np.stack((x, y, np.zeros_like(x)), -1)
    found = [Mesh(points, canon, "glasses", solid=False)]
    for sign in (-1, 1):
        t = np.linspace(0, 1, 6, dtype=np.float32)[None, :]
        edge = np.array([0.22, -0.22], np.float32)[:, None]
        arm = np.empty((2, 6, 3), np.float32)
        arm[..., 0] = sign * (i.head_width * 0.93 + 0.5 * t + 0.25)
        arm[..., 1] = i.eye_height + 1.0 + edge * (1 - 0.3 * t)
        arm[..., 2] = points[0, 0, 2] + 0.4 + t * (-1.0 - points[0, 0, 2])
        found.append(Mesh(arm, arm.copy(), "temple", solid=False))
    return found


def body(shape: Shape) -> list[Mesh]:
    """Shoulders in clothes; they turn less than the head does."""
    rng = np.random.default_rng([0xB0D7, shape.look.style])
    wide = 19.5 + rng.uniform(-2.5, 2.5)
    rows, columns = 18, 32
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    around = np.linspace(-np.pi, np.pi, columns, endpoint=False, dtype=np.float32)[None, :]
    # From the collar outward over the shoulders, then straight down.
    spread = np.interp(t, (0, 0.12, 0.5, 0.75, 1), (0.31, 0.36, 0.86, 1.0, 1.02))
    drop = np.interp(t, (0, 0.12, 0.5, 0.75, 1), (-13.0, -14.5, -18.0, -23.0, -95.0))
    points = np.empty((rows, columns, 3), np.float32)
    points[..., 0] = wide * spread * np.sin(around)
    points[..., 1] = drop + 0 * around
    points[..., 2] = (0.3 * 19 + (11.0 - 5.7) * np.clip((spread - 0.31) / 0.7, 0, 1)) * np.cos(around) * 1.1 - 3.0
    return [Mesh(points, points.copy(), "clothes", closed=True)]


def outline(canon: Floats) -> NDArray[np.bool_]:
    """Which points of the ellipsoid are face: from the forehead to under the chin, from ear to ear."""
    return np.asarray((azimuth(canon) < 72) & (canon[..., 1] < 5.6) & (canon[..., 1] > -11.3))  # noqa: PLR2004
