"""Where to clip an activation before 255 levels are spread over the rest: by percentile, squared error or entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._quantize._trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._quantize._quantizer import Ranges

    Vector = npt.NDArray[np.float64]

BINS = 1024
MAX_INPUTS = 48
_SAMPLES = 8192  # values looked at of one tensor for one input
_OUTSIDE = 1e-5  # the share of values that "percentile" clips at either end
_LEVELS = 255
_SHRUNK = tuple(0.95**step for step in range(24))  # shares of an end that are tried, down to 0.3


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Histograms:
    """How the values of each tensor are spread.

    Attributes:
        counts: float64 (tensors, BINS), over the tensor's whole range.
        low: float64 (tensors,), the lower end.
        high: float64 (tensors,), the upper end.
    """

    counts: npt.NDArray[np.float64]
    low: Vector
    high: Vector

    def clip(self, how: str) -> tuple[Vector, Vector]:
        """(low, high) of each tensor, float64: "percentile", "mse" or "entropy"."""
        import numpy as np  # noqa: PLC0415

        choose = {"percentile": _percentile, "mse": _least_error, "entropy": _least_divergence}[how]
        ends = [choose(c, lo, hi) for c, lo, hi in zip(self.counts, self.low, self.high, strict=True)]
        return np.array([e[0] for e in ends]), np.array([e[1] for e in ends])


def measure_histograms(
    model: bytes,
    inputs: Sequence[npt.NDArray[np.float32]],
    ranges: Ranges,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Histograms:
    """Run a float32 model and count the values of each activation, evenly chosen where there are many.

    Args:
        model: the flatbuffer.
        inputs: float32 inputs; at most MAX_INPUTS of them are used.
        ranges: of its activations, which the counts are spread over.
        progress: called with (inputs done, inputs in all).
    """
    import numpy as np  # noqa: PLC0415

    inputs = inputs[:: max(1, len(inputs) // MAX_INPUTS)][:MAX_INPUTS]
    low, high = ranges.low.min(axis=0).astype(np.float64), ranges.high.max(axis=0).astype(np.float64)
    counts = np.zeros((len(low), BINS))
    tracer = Tracer(model)
    for done, value in enumerate(inputs):
        seen = tracer.run(value, ranges.names)
        for place, name in enumerate(ranges.names):
            width = high[place] - low[place]
            if width <= 0:
                continue
            flat = seen[name].reshape(-1)
            flat = flat[:: max(1, flat.size // _SAMPLES) | 1]  # an odd step meets every channel
            bins = ((flat - np.float32(low[place])) * np.float32(BINS / width)).astype(np.int32)
            counts[place] += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
        if progress:
            progress(done + 1, len(inputs))
    return Histograms(counts, low, high)


def _centers(low: float, high: float) -> Vector:
    import numpy as np  # noqa: PLC0415

    return np.asarray(low + (np.arange(BINS) + 0.5) * ((high - low) / BINS), np.float64)


def _percentile(counts: Vector, low: float, high: float) -> tuple[float, float]:
    import numpy as np  # noqa: PLC0415

    total = counts.sum()
    if not total:
        return low, high
    share = np.cumsum(counts) / total
    width = (high - low) / BINS
    first = int(np.searchsorted(share, _OUTSIDE, side="right"))
    last = int(np.searchsorted(share, 1 - _OUTSIDE, side="left"))
    return low + first * width, low + (last + 1) * width


def _each_end(loss: Callable[[float, float], float], low: float, high: float) -> tuple[float, float]:
    """The range of the least loss: the end that reaches farther is drawn in first, then the other."""
    far, near = (high, low) if high >= -low else (low, high)

    def ends(a: float, b: float) -> tuple[float, float]:
        return (b, a) if high >= -low else (a, b)

    far = min((far * share for share in _SHRUNK), key=lambda end: loss(*ends(end, near)))
    if near:
        near = min((near * share for share in _SHRUNK), key=lambda end: loss(*ends(far, end)))
    return ends(far, near)


def _least_error(counts: Vector, low: float, high: float) -> tuple[float, float]:
    """The range whose rounding and clipping together have the smallest squared error."""
    import numpy as np  # noqa: PLC0415

    if not counts.sum():
        return low, high
    values = _centers(low, high)

    def error(a: float, b: float) -> float:
        outside = np.where(values > b, values - b, np.where(values < a, a - values, 0.0))
        inside = outside == 0
        return float((counts * outside**2).sum() + counts[inside].sum() * ((b - a) / _LEVELS) ** 2 / 12)

    return _each_end(error, low, high)


def _least_divergence(counts: Vector, low: float, high: float) -> tuple[float, float]:
    """The range whose 255 levels tell most of what the values told: the smallest Kullback-Leibler divergence."""
    import numpy as np  # noqa: PLC0415

    total = counts.sum()
    if not total:
        return low, high
    values = _centers(low, high)
    # Zeros, of which an activation is full, are exact at any range: counted, they would have it clip all else.
    zero = min(BINS - 1, max(0, int(-low * BINS / (high - low))))
    counts = counts.copy()
    counts[zero] = np.delete(counts[max(0, zero - 1) : zero + 2], min(zero, 1)).mean()

    def divergence(a: float, b: float) -> float:
        clipped = counts.copy()
        inside = (values >= a) & (values <= b)
        if not inside.any():
            return float("inf")
        places = np.flatnonzero(inside)
        clipped[places[0]] += counts[: places[0]].sum()
        clipped[places[-1]] += counts[places[-1] + 1 :].sum()
        level = np.clip(((values[inside] - a) / max(b - a, 1e-30) * _LEVELS).astype(int), 0, _LEVELS - 1)
        given, kept = clipped[inside], counts[inside]
        filled = kept > 0
        mass = np.bincount(level, kept, _LEVELS)
        cells = np.bincount(level, filled, _LEVELS)
        spread = np.where(filled, (mass / np.maximum(cells, 1))[level], 0.0)
        p, q = given / given.sum(), np.maximum(spread / max(spread.sum(), 1e-30), 1e-12)
        used = p > 0
        return float((p[used] * np.log(p[used] / q[used])).sum())

    return _each_end(divergence, low, high)
