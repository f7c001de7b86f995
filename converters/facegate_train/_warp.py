"""Batches of crops, cut by the runtime's own kernels: what a net is trained on is what a device will feed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._families import ARCFACE_112
from facegate_edge import _kernels
from facegate_edge._aligner import supersampling
from facegate_edge._liveness import crop
from facegate_edge._manifest import LivenessInfo, Quantization
from facegate_edge._values import Frame

if TYPE_CHECKING:
    import numpy.typing as npt

REFERENCE = np.array(ARCFACE_112, np.float32)
# As facegate_convert._families gives MiniFASNet's 2.7x variant.
_LIVENESS = LivenessInfo("logits", 3, 1, 2.7, square=False, border="shift")
_SIDE = 80
_IDENTITY = Quantization(1.0, 0)
_PIXELS = np.arange(256, dtype=np.float32)


class Batch:
    """Rows of a float32 batch (N, side, side, 3), each with a table of its own through which pixels become inputs.

    Colour jitter costs nothing that way: it is in the table.

    Args:
        count: N.
        side: pixels.
        color: "RGB" or "BGR".
        border: what lies outside a picture: "black", "mirror" or "nearest".
    """

    def __init__(self, count: int, side: int, color: str, border: str = "black") -> None:
        self.array = np.zeros((count, side, side, 3), np.float32)
        self._tables = np.zeros((count, 3, 256), np.float32)
        self._warps = [
            _kernels.Warp(_kernels.Target(self.array[row], self._tables[row], color), border=border)
            for row in range(count)
        ]

    def put(
        self,
        row: int,
        pixels: npt.NDArray[np.uint8],
        matrix: npt.NDArray[np.float64],
        table: npt.NDArray[np.float32],
        samples: int = 1,
    ) -> None:
        """Fill a row: `matrix` (2, 3) takes its pixels to the picture's, `table` (3, 256) is in the row's order."""
        self._tables[row] = table
        self._warps[row].run(Frame(pixels), matrix, samples)


def jitter_tables(rng: np.random.Generator, count: int, mean: float, scale: float) -> npt.NDArray[np.float32]:
    """A random gain for all channels and each, gamma and offset, then (pixel - mean) * scale.

    One in six is a good deal darker, as what a camera shows of very dark skin in little light.

    Args:
        rng: the source of chance.
        count: N.
        mean: the family's preprocessing.
        scale: likewise.

    Returns:
        Tables, float32 (N, 3, 256).
    """
    gamma = np.exp(rng.normal(0, 0.18, (count, 1, 1)))
    gain = np.exp(rng.normal(0, 0.10, (count, 1, 1))) * np.exp(rng.normal(0, 0.05, (count, 3, 1)))
    gain *= np.where(rng.random((count, 1, 1)) < 1 / 6, rng.uniform(0.35, 0.85, (count, 1, 1)), 1.0)
    offset = rng.normal(0, 6, (count, 1, 1))
    values = np.clip(255 * (_PIXELS / 255) ** gamma * gain + offset, 0, 255)
    return np.asarray((values - mean) * scale, np.float32)


def plain_table(mean: float, scale: float) -> npt.NDArray[np.float32]:
    """(pixel - mean) * scale for three channels, as the runtime computes it; float32 (3, 256)."""
    return np.asarray(_kernels.make_lut((mean,) * 3, (scale,) * 3, "float32"), np.float32)


def halved(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture at half its size: the mean of every four pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    wide = pixels[:height, :width].astype(np.uint16)
    four = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((four + 2) // 4).astype(np.uint8)


def alignment(landmarks: npt.NDArray[np.float32], side: int = 112) -> tuple[npt.NDArray[np.float64], int]:
    """What `facegate_edge.Aligner` does with landmarks (5, 2) for a face of `side` pixels: (matrix (2, 3), samples)."""
    reference = ((REFERENCE + 0.5) * (side / 112) - 0.5).astype(np.float32)
    matrix = _kernels.similarity(np.ascontiguousarray(landmarks, np.float32), reference, np.zeros((2, 3), np.float64))
    return matrix, supersampling(float(np.hypot(matrix[0, 0], matrix[1, 0])))


def liveness_crops(
    pixels: npt.NDArray[np.uint8], box: npt.NDArray[np.float64], rng: np.random.Generator, count: int
) -> npt.NDArray[np.uint8]:
    """What `facegate_edge.Liveness` sees of a face; uint8 (count, 80, 80, 3) RGB.

    The first around the true box, the others around boxes that are off by some per cent, as a detector's are.
    """
    table = _kernels.make_lut((0.0,) * 3, (1.0,) * 3, "uint8", _IDENTITY)
    crops = np.zeros((count, _SIDE, _SIDE, 3), np.uint8)
    height, width = pixels.shape[:2]
    frame = Frame(pixels)
    for number in range(count):
        x1, y1, x2, y2 = box
        if number:
            side = ((x2 - x1) + (y2 - y1)) / 2
            dx1, dy1, dx2, dy2 = rng.normal(0, 0.04 * side, 4)
            x1, y1, x2, y2 = x1 + dx1, y1 + dy1, x2 + dx2, y2 + dy2
        x, y, across, down = crop([float(x1), float(y1), float(x2), float(y2)], (width, height), _LIVENESS)
        across, down = across / _SIDE, down / _SIDE
        matrix = np.array([[across, 0, x + 0.5 * across - 0.5], [0, down, y + 0.5 * down - 0.5]])
        _kernels.Warp(_kernels.Target(crops[number], table, "RGB"), border="nearest").run(frame, matrix)
    return crops
