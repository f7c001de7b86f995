"""Where a resize reads its input: the ONNX formulas (operator Resize, versions 10 to 19), one axis at a time.

Computed in float32 in the order of the reference implementation, so that ties fall on the same side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Positions = npt.NDArray[Any]

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")
_HALF = np.float32(0.5)
_MIDDLE = np.float32(1e-6)


def positions(coordinates: str, size: int, result: int, scale: float) -> Positions:
    """Position in the input, in samples, of each of the `result` outputs of an axis of `size` samples (float32)."""
    x: Positions = np.arange(result, dtype=np.float32)
    factor = np.float32(scale)
    if result == 1 and coordinates in ("align_corners", "pytorch_half_pixel"):
        x = np.zeros(1, np.float32)
    elif coordinates == "asymmetric":
        x = x / factor
    elif coordinates == "align_corners":
        x = x * np.float32(size - 1) / np.float32(result - 1)
    elif coordinates == "tf_half_pixel_for_nn":
        x = (x + _HALF) / factor
    elif coordinates == "half_pixel_symmetric":
        # onnxruntime's constants are double here, and its offset single.
        adjustment = np.float32(result) / (factor * np.float32(size))
        offset = np.float32(size) / np.float32(2) * (np.float32(1) - adjustment)
        x = (np.float64(offset) + (x.astype(np.float64) + 0.5) / np.float64(factor) - 0.5).astype(np.float32)
    else:
        x = (x + _HALF) / factor - _HALF
    return x


def nearest(at: Positions, size: int, mode: str, *, shrinks: bool) -> npt.NDArray[np.int64]:
    """Index of the sample that each output copies. `simple` is what Resize was before version 11.

    Within a millionth of the middle between two samples a position is in the middle, as in onnxruntime: 28 samples
    to 8 read number 3.5, which in float32 is a little less.
    """
    if mode == "simple":
        rounded = np.ceil(at) if shrinks else np.trunc(at)
    elif mode == "floor":
        rounded = np.floor(at)
    elif mode == "ceil":
        rounded = np.ceil(at)
    else:
        low = np.floor(at)
        between = np.abs(at - low - _HALF) <= _MIDDLE
        middle = low if mode == "round_prefer_floor" else low + 1
        rounded = np.where(between, middle, np.floor(at.astype(np.float64) + 0.5))
    return np.clip(rounded.astype(np.int64), 0, size - 1)


def linear(at: Positions, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Positions]:
    """For each output the two samples it mixes and the weight (0..1) of the second."""
    clamped = np.clip(at, 0, np.float32(size - 1))
    low = np.floor(clamped).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    return low, high, (clamped - low.astype(np.float32)).astype(np.float32)


def sampling(mode: str, coordinates: str, rounding: str, size: int, result: int, scale: float) -> dict[str, Any]:
    """How an axis is sampled, as plain values: {"nearest": indices} or {"low", "high", "weight"}."""
    at = positions(coordinates, size, result, scale)
    if mode == "nearest":
        return {"nearest": tuple(nearest(at, size, rounding, shrinks=scale < 1).tolist())}
    low, high, weight = linear(at, size)
    return {"low": tuple(low.tolist()), "high": tuple(high.tolist()), "weight": tuple(weight.tolist())}
