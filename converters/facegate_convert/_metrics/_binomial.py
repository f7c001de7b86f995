"""Binomial intervals: the incomplete beta function and what Clopper and Pearson made of it, in numpy.

scipy would be 40 MB for one quantile; this agrees with it to 1e-9, from one trial to ten thousand million.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_SMALL = 15.0  # below it Stirling's series has not converged
_STEPS = 10_000
_MANY = 200.0  # above it the density is smooth enough to be integrated
_NODES = 64
_TINY = 1e-300
_CLOSE = 1e-15
_SHORT = 1e-9


def clopper_pearson(errors: float, trials: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact two-sided interval of a binomial proportion (Clopper & Pearson, Biometrika 26, 1934).

    Args:
        errors: events seen, 0..trials; need not be whole, for an effective number of trials (Korn & Graubard, Survey
            Methodology 24, 1998).
        trials: independent trials; 0 gives (0, 1): nothing is known.
        confidence: 0..1, exclusive.

    Returns:
        (low, high), both 0..1.

    Raises:
        ValueError: if the numbers make no sense.
    """
    low, high = clopper_pearson_many(np.array([errors], np.float64), np.array([trials], np.float64), confidence)
    return float(low[0]), float(high[0])


def clopper_pearson_many(
    errors: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """`clopper_pearson` for float64[n] errors and trials (or one number for all): (low, high), float64[n] each.

    Raises:
        ValueError: if the numbers make no sense.
    """
    x, n = np.broadcast_arrays(np.asarray(errors, np.float64), np.asarray(trials, np.float64))
    if not 0 < confidence < 1 or not np.all((x >= 0) & (x <= n)):
        raise ValueError(f"no interval for {x.tolist()} errors of {n.tolist()} at confidence {confidence}")
    tail = (1 - confidence) / 2
    # Successes are errors mirrored; what is near 1 is computed as what is near 0.
    mirrored = 2 * x > n
    fewer = np.where(mirrored, n - x, x)
    low, high = np.zeros(x.shape), np.ones(x.shape)
    some, others = fewer > 0, n > 0
    low[some] = beta_quantile(tail, fewer[some], n[some] - fewer[some] + 1)
    high[others] = beta_quantile(1 - tail, fewer[others] + 1, n[others] - fewer[others])
    return np.where(mirrored, 1 - high, low), np.where(mirrored, 1 - low, high)


def beta_quantile(probability: float, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The x at which I_x(a, b) is `probability`: Newton's method, kept between bounds that close in.

    Args:
        probability: 0..1, exclusive.
        a: float64[n], > 0.
        b: float64[n], > 0.

    Returns:
        float64[n], with a relative error of about 1e-14.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    x = _guess(probability, a, b)
    low, high = np.zeros(x.shape), np.ones(x.shape)
    active = np.ones(x.shape, bool)
    for _ in range(200):
        if not active.any():
            break
        at, p, q = x[active], a[active], b[active]
        off = incomplete_beta(at, p, q) - probability
        below = off < 0
        low[active] = np.where(below, at, low[active])
        high[active] = np.where(below, high[active], at)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = at - off * at * (1 - at) / np.exp(_log_front(at, p, q))
        inside = (step > low[active]) & (step < high[active])
        new = np.where(inside, step, (low[active] + high[active]) / 2)
        x[active] = new
        # Newton's error is squared by each step, so a step this short was the last one; halving must go to the end.
        moved = np.abs(new - at)
        active[active] = np.where(inside, moved > _SHORT * at, moved > _CLOSE * at)
    return x


def _guess(probability: float, a: Floats, b: Floats) -> Floats:
    """About the quantile (Abramowitz & Stegun 26.5.22), or the mean where that is not defined."""
    mean: Floats = a / (a + b)
    z = -NormalDist().inv_cdf(probability)
    with np.errstate(all="ignore"):
        first, second = 1 / (2 * a - 1), 1 / (2 * b - 1)
        h, bend = 2 / (first + second), (z * z - 3) / 6
        w = z * np.sqrt(h + bend) / h - (second - first) * (bend + 5 / 6 - 2 / (3 * h))
        x = a / (a + b * np.exp(2 * w))
    return np.where((a > 1) & (b > 1) & (x > 0) & (x < 1), x, mean)


def incomplete_beta(x: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The regularised incomplete beta function I_x(a, b), a, b > 0, 0 <= x <= 1 (DLMF 8.17.2); float64[n]."""
    x, a, b = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, a, b)))
    value = (x >= 1).astype(np.float64)
    inner = (x > 0) & (x < 1)
    x, a, b = x[inner], a[inner], b[inner]
    # Both ways converge fast only below the mean; above it the complement is computed.
    swapped = x > (a + 1) / (a + b + 2)
    many = np.minimum(a, b) > _MANY
    part = np.empty(x.shape)
    if many.any():
        part[many] = _quadrature(x[many], a[many], b[many], swapped[many])
    if not many.all():
        few = ~many
        part[few] = np.exp(_log_front(x[few], a[few], b[few])) / _fractions(x[few], a[few], b[few], swapped[few])
    value[inner] = np.where(swapped, 1 - part, part)
    return value


@functools.cache
def _nodes() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(_NODES)


def _quadrature(x: Floats, a: Floats, b: Floats, above: npt.NDArray[np.bool_]) -> Floats:
    """The mass beyond x, on the side away from the mean: the density by Gauss-Legendre over 14 standard deviations."""
    nodes, weights = _nodes()
    reach = 14 * np.sqrt(a * b / (a + b + 1)) / (a + b)
    end = np.where(above, np.minimum(x + reach, 1), np.maximum(x - reach, 0))
    half = (end - x) / 2
    at = x[:, None] + half[:, None] * (1 + nodes)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.exp(_log_front(at, a[:, None], b[:, None])) / (at * (1 - at))
    density[(at <= 0) | (at >= 1)] = 0  # both parameters are large: nothing is left at the ends
    mass: Floats = np.abs(half) * (density @ weights)
    return mass


def _fractions(x: Floats, a: Floats, b: Floats, swapped: npt.NDArray[np.bool_]) -> Floats:
    # How far below the mean: from x itself, because 1 - x has lost the digits of a small x.
    distance = np.where(swapped, (a + b) * x - a, a - (a + b) * x)
    first, second, at = np.where(swapped, b, a), np.where(swapped, a, b), np.where(swapped, 1 - x, x)
    rows = zip(at.tolist(), first.tolist(), second.tolist(), distance.tolist(), strict=True)
    return np.array([_fraction(*row) for row in rows], np.float64)


def _fraction(x: float, a: float, b: float, distance: float) -> float:
    """The continued fraction of DiDonato & Morris, by the modified Lentz method.

    ACM Transactions on Mathematical Software 18 (1992), BFRAC. `distance` is a - (a + b) x. All terms are positive
    while m < b, and it takes about sqrt(min(a, b)) steps.
    """
    value = ratio = a * (distance + 1) / (a + 1)
    inverse = 0.0
    for m in range(1, _STEPS):
        odd = a + 2 * m - 1
        upper = (a + m - 1) * (a + b + m - 1) * m * (b - m) * x * x / (odd * odd)
        lower = m + m * (b - m) * x / odd + (a + m) * (distance + 1 + m * (2 - x)) / (a + 2 * m + 1)
        inverse = 1 / ((lower + upper * inverse) or _TINY)
        ratio = (lower + upper / ratio) or _TINY
        value *= inverse * ratio
        if abs(inverse * ratio - 1) < _CLOSE:
            break
    return value


def _log_front(x: Floats, a: Floats, b: Floats) -> Floats:
    """log(x^a (1-x)^b / B(a, b)), by the saddle point of the binomial density (Loader, 2000).

    The plain formula subtracts numbers of the size of n log n: with 1e8 trials seven digits would be left.
    """
    n = a + b
    density: Floats = _stirling_error(n) - _stirling_error(a) - _stirling_error(b)
    density = density - _deviance(a, n * x) - _deviance(b, n * (1 - x))
    log_front: Floats = density + 0.5 * np.log(a * b / (2 * math.pi * n))
    return log_front


def _stirling_error(n: Floats) -> Floats:
    """log(Gamma(n+1)) - log(sqrt(2 pi n) (n/e)^n)."""
    square = n * n
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n
    small = n < _SMALL
    if small.any():
        few = n[small]
        gamma = np.array([math.lgamma(v + 1) for v in few.tolist()])
        series[small] = gamma - (few + 0.5) * np.log(few) + few - 0.5 * math.log(2 * math.pi)
    return series


def _deviance(x: Floats, mean: Floats) -> Floats:
    """X log(x/mean) + mean - x, without cancellation where x is near the mean."""
    share = (x - mean) / (x + mean)
    square = share * share
    total = (x - mean) * share
    term = 2 * x * share
    for j in range(1, 10):
        term = term * square
        total = total + term / (2 * j + 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plain = x * np.log(x / mean) + mean - x
    result: Floats = np.where(np.abs(share) < 0.1, total, plain)  # noqa: PLR2004 - where the series has converged
    return result


def trials_needed(rate: float) -> int:
    """How many error-free trials it takes to claim an error rate of at most `rate` with 95 % confidence (rule of 3)."""
    return math.ceil(round(3 / rate, 6))


def trials_for_precision(rate: float) -> int:
    """How many trials show 30 errors at `rate`: enough to be within 30 % of it with 90 % confidence (rule of 30).

    Doddington, Przybocki, Martin & Reynolds, "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
    """
    return math.ceil(round(30 / rate, 6))
