"""Triangles to pixels: a z-buffer without a loop over triangles.

Triangles are sorted into classes by the size of their bounding box; all triangles of a class are tested against the
same block of pixels at once, and the nearest one wins each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats, Ints

# Samples handled at once: bounds the memory of large triangles.
_BLOCK = 1 << 19
# Twice the area, in pixels squared, below which a triangle is seen from its edge.
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Hits:
    """The nearest triangle at each pixel that any triangle covers.

    Attributes:
        pixel: flat indices y * width + x, (N,).
        triangle: its index, (N,).
        weights: barycentric weights of its corners, (N, 3).
        depth: (N,), larger is nearer.
    """

    pixel: Ints
    triangle: Ints
    weights: Floats
    depth: Floats


def rasterize(points: Floats, triangles: Ints, width: int, height: int, *, cull: NDArray[np.bool_]) -> Hits:
    """Find what is seen at each pixel's centre.

    Args:
        points: (V, 3): x and y in pixels, z with larger nearer.
        triangles: (T, 3) indices of points; counter-clockwise as seen (with y downward) is the front.
        width: pixels.
        height: pixels.
        cull: (T,) whether the triangle is invisible from behind.
    """
    x, y = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
    a, b, c = (np.ascontiguousarray(triangles[:, k]) for k in range(3))
    ax, ay, bx, by, cx, cy = x[a], y[a], x[b], y[b], x[c], y[c]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    # The pixels whose centres (at .5) the bounding box holds, inside the picture.
    left = np.maximum(np.ceil(np.minimum(np.minimum(ax, bx), cx) - 0.5), 0).astype(np.int32)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy) - 0.5), 0).astype(np.int32)
    right = np.minimum(np.floor(np.maximum(np.maximum(ax, bx), cx) - 0.5), width - 1).astype(np.int32)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy) - 0.5), height - 1).astype(np.int32)
    seen = ((area < -_EDGE) | (~cull & (area > _EDGE))) & (right >= left) & (bottom >= top)
    span = np.where(seen, np.maximum(right - left, bottom - top) + 1, 0)
    found: list[tuple[Ints, Ints, Floats, Floats, Floats]] = []
    smallest = 0
    for size in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512, 1 << 20):
        chosen = np.flatnonzero((span > smallest) & (span <= size))
        smallest = size
        if not len(chosen):
            continue
        side = min(size, int(span[chosen].max()))
        block = max(1, _BLOCK // (side * side))
        for start in range(0, len(chosen), block):
            t = chosen[start : start + block]
            # Barycentric weights are linear: their value at the first pixel, and their slopes.
            scale = 1 / area[t]
            px, py = (edge[t].astype(np.float32) + np.float32(0.5) for edge in (left, top))
            u = ((bx[t] - px) * (cy[t] - py) - (by[t] - py) * (cx[t] - px)) * scale
            v = ((cx[t] - px) * (ay[t] - py) - (cy[t] - py) * (ax[t] - px)) * scale
            slopes = (by[t] - cy[t]) * scale, (cx[t] - bx[t]) * scale, (cy[t] - ay[t]) * scale, (ax[t] - cx[t]) * scale
            at, row, column, u, v = _cover(u, v, slopes, side)
            inside = np.flatnonzero((column <= (right - left)[t][at]) & (row <= (bottom - top)[t][at]))
            at, row, column = at[inside], row[inside], column[inside]
            pixel = (top[t][at] + row) * width + left[t][at] + column
            u, v = u[inside], v[inside]
            z = points[:, 2]
            t = t[at]
            depth = u * z[a[t]] + v * z[b[t]] + (1 - u - v) * z[c[t]]
            found.append((pixel, t, u, v, depth))
    if not found:
        none = np.zeros(0, np.int64)
        return Hits(none, none, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    pixel, triangle, u, v, depth = (np.concatenate(parts) for parts in zip(*found, strict=True))
    nearest = np.full(width * height, -np.inf, np.float32)
    np.maximum.at(nearest, pixel, depth)
    visible = np.flatnonzero(depth == nearest[pixel])
    winner = np.full(width * height, -1, np.int64)
    winner[pixel[visible]] = visible
    order = winner[winner >= 0]
    u, v = u[order], v[order]
    return Hits(pixel[order], triangle[order], np.stack((u, v, 1 - u - v), 1), depth[order])


def _cover(
    u: Floats, v: Floats, slopes: tuple[Floats, Floats, Floats, Floats], side: int
) -> tuple[Ints, Ints, Ints, Floats, Floats]:
    """The samples inside triangles: triangle, row and column from its first pixel, and two weights of each."""
    steps = np.arange(side, dtype=np.float32)
    u_across, u_down, v_across, v_down = slopes
    us = (u[:, None] + u_down[:, None] * steps)[:, :, None] + (u_across[:, None] * steps)[:, None, :]
    vs = (v[:, None] + v_down[:, None] * steps)[:, :, None] + (v_across[:, None] * steps)[:, None, :]
    inside = np.flatnonzero((us >= 0) & (vs >= 0) & (us + vs <= 1))
    at, rest = np.divmod(inside, side * side)
    row, column = np.divmod(rest, side)
    return at, row, column, us.reshape(-1)[inside], vs.reshape(-1)[inside]
