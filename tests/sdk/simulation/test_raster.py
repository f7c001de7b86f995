"""The z-buffer, against one that tests every pixel of every triangle."""

from __future__ import annotations

import numpy as np
import pytest

from facegate.simulation._raster import rasterize


def _slow(points: np.ndarray, triangles: np.ndarray, width: int, height: int, cull: np.ndarray) -> dict[int, int]:
    nearest: dict[int, tuple[float, int]] = {}
    for number, triangle in enumerate(triangles):
        a, b, c = points[triangle].astype(float)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area > 0 and cull[number]:
            continue
        for y in range(height):
            for x in range(width):
                p = (x + 0.5, y + 0.5)
                u = ((b[0] - p[0]) * (c[1] - p[1]) - (b[1] - p[1]) * (c[0] - p[0])) / area
                v = ((c[0] - p[0]) * (a[1] - p[1]) - (c[1] - p[1]) * (a[0] - p[0])) / area
                if u >= 0 and v >= 0 and u + v <= 1:
                    depth = u * a[2] + v * b[2] + (1 - u - v) * c[2]
                    key = y * width + x
                    if key not in nearest or depth > nearest[key][0]:
                        nearest[key] = (depth, number)
    return {pixel: number for pixel, (_, number) in nearest.items()}


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_triangle_wins_each_pixel(seed: int) -> None:
    """Every pixel's triangle is the one that a test of all triangles finds."""
    rng = np.random.default_rng(seed)
    points = np.column_stack((rng.uniform(-6, 30, (40, 2)), rng.uniform(0, 9, 40))).astype(np.float32)
    triangles = rng.integers(0, 40, (25, 3))
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    cull = rng.random(len(triangles)) < 0.5
    hits = rasterize(points, triangles, 24, 20, cull=cull)
    expected = _slow(points, triangles, 24, 20, cull)
    found = dict(zip(hits.pixel.tolist(), hits.triangle.tolist(), strict=True))
    # Where an edge passes within rounding of a pixel's centre, either answer is right.
    differing = {p for p in expected.keys() | found.keys() if expected.get(p) != found.get(p)}
    assert len(expected) > 60
    assert len(differing) <= 2


def test_weights_give_back_the_place() -> None:
    """A pixel's centre is the weighted mean of its triangle's corners."""
    points = np.array([[1, 1, 0], [4, 40, 1], [38, 3, 2]], np.float32)
    hits = rasterize(points, np.array([[0, 1, 2]]), 48, 48, cull=np.array([True]))
    place = hits.weights @ points
    assert np.allclose(place[:, 0], hits.pixel % 48 + 0.5, atol=1e-3)
    assert np.allclose(place[:, 1], hits.pixel // 48 + 0.5, atol=1e-3)
    assert np.allclose(place[:, 2], hits.depth, atol=1e-4)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([[-9, -9, 0], [-9, -2, 0], [-2, -9, 0]], id="outside"),
        pytest.param([[1, 1, 0], [5, 5, 0], [9, 9, 0]], id="no area"),
        pytest.param([[3.6, 3.6, 0], [3.6, 3.9, 0], [3.9, 3.6, 0]], id="between centres"),
        pytest.param([[1, 1, 0], [9, 1, 0], [1, 9, 0]], id="from behind"),
    ],
)
def test_nothing_is_seen(points: list[list[float]]) -> None:
    """What covers no pixel's centre from the front gives no hit."""
    hits = rasterize(np.array(points, np.float32), np.array([[0, 1, 2]]), 16, 16, cull=np.array([True]))
    assert len(hits.pixel) == len(hits.triangle) == len(hits.depth) == 0
    assert hits.weights.shape == (0, 3)
