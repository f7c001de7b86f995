"""Surfaces as grids of points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facegate.simulation._arrays import Floats, Ints


@dataclass(frozen=True, slots=True)
class Mesh:
    """A surface of one material.

    Attributes:
        points: (rows, columns, 3) in cm: x to the image's right, y up, z toward the camera.
        canon: (rows, columns, 3): where on the unshaped surface a point lies, what materials are painted by.
        material: its name.
        closed: whether the last column meets the first.
        solid: whether it is seen from the front only.
    """

    points: Floats
    canon: Floats
    material: str
    closed: bool = False
    solid: bool = True

    def moved(self, matrix: Floats, offset: Floats) -> Mesh:
        """The same surface, turned and moved."""
        points = (self.points @ matrix.T + offset).astype(np.float32)
        return Mesh(points, self.canon, self.material, self.closed, self.solid)

    @property
    def triangles(self) -> Ints:
        """(T, 3) indices into the flat points."""
        return _triangles(self.points.shape[0], self.points.shape[1], self.closed)

    def normals(self) -> Floats:
        """(rows * columns, 3), unit, outward for grids whose rows run downward and columns counter-clockwise."""
        p = self.points
        down = np.empty_like(p)
        down[1:-1] = p[2:] - p[:-2]
        down[0], down[-1] = p[1] - p[0], p[-1] - p[-2]
        along = np.empty_like(p)
        along[:, 1:-1] = p[:, 2:] - p[:, :-2]
        if self.closed:
            along[:, 0], along[:, -1] = p[:, 1] - p[:, -1], p[:, 0] - p[:, -2]
        else:
            along[:, 0], along[:, -1] = p[:, 1] - p[:, 0], p[:, -1] - p[:, -2]
        normal = np.empty_like(p)
        normal[..., 0] = down[..., 1] * along[..., 2] - down[..., 2] * along[..., 1]
        normal[..., 1] = down[..., 2] * along[..., 0] - down[..., 0] * along[..., 2]
        normal[..., 2] = down[..., 0] * along[..., 1] - down[..., 1] * along[..., 0]
        length = np.sqrt(np.einsum("rck,rck->rc", normal, normal))
        normal /= np.maximum(length, 1e-9)[..., None]
        return normal.reshape(-1, 3)


@cache
def _triangles(rows: int, columns: int, closed: bool) -> Ints:
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate((index, index[:, :1]), 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    first = np.stack((a, c, b), -1).reshape(-1, 3)
    second = np.stack((b, c, d), -1).reshape(-1, 3)
    return np.concatenate((first, second))


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """A turn of the head, in degrees: yaw toward the image's right, pitch up, roll clockwise as seen."""
    y, p, r = np.radians((yaw, -pitch, -roll))
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(tilt @ turn @ nod, np.float32)


def ball(rows: int, columns: int, radii: tuple[float, float, float], center: tuple[float, float, float]) -> Floats:
    """An ellipsoid's grid (rows, columns, 3) from its top to its bottom."""
    down = np.linspace(0.02, np.pi - 0.02, rows, dtype=np.float32)[:, None]
    around = np.linspace(-np.pi, np.pi, columns, endpoint=False, dtype=np.float32)[None, :]
    points = np.empty((rows, columns, 3), np.float32)
    points[..., 0] = radii[0] * np.sin(down) * np.sin(around) + center[0]
    points[..., 1] = radii[1] * np.cos(down) + center[1]
    points[..., 2] = radii[2] * np.sin(down) * np.cos(around) + center[2]
    return points


def capsule(start: Floats, end: Floats, radius: float, rows: int = 8, columns: int = 10) -> Floats:
    """A finger's grid (rows, columns, 3) from `start` to `end`, round at both ends."""
    axis = end - start
    length = float(np.linalg.norm(axis)) or 1e-6
    axis = axis / length
    side = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))  # noqa: PLR2004
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    t = np.linspace(0, 1, rows)
    along = -radius + t * (length + 2 * radius)
    beyond = np.maximum(-along, along - length).clip(0, radius)
    wide = np.sqrt(np.maximum(radius**2 - beyond**2, 1e-6))
    around = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    ring = np.sin(around)[None, :, None] * side + np.cos(around)[None, :, None] * other
    return np.asarray(start + along[:, None, None] * axis + wide[:, None, None] * ring, np.float32)
