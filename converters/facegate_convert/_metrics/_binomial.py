"""Binomial intervals: the incomplete beta function and what Clopper and Pearson made of it, in numpy.

scipy would be 40 MB for one quantile; this agrees with it to 1e-9, from one trial to ten thousand million.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_SMALL = 15.0  # below it Stirling's series has not converged
_STEPS = 200_000
_CLOSE = 1e-15


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
    low, high = np.zeros(x.shape), np.ones(x.shape)
    some, others = x > 0, x < n
    low[some] = beta_quantile(tail, x[some], n[some] - x[some] + 1)
    high[others] = beta_quantile(1 - tail, x[others] + 1, n[others] - x[others])
    return low, high


def beta_quantile(probability: float, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The x at which I_x(a, b) is `probability`: Newton's method, kept between bounds that close in.

    Args:
        probability: 0..1, exclusive.
        a: float64[n], > 0.
        b: float64[n], > 0.

    Returns:
        float64[n], with a relative error of about 1e-12.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    x: Floats = a / (a + b)
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
        active[active] = np.abs(new - at) > _CLOSE * at
    return x


def incomplete_beta(x: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The regularised incomplete beta function I_x(a, b), a, b > 0, 0 <= x <= 1 (DLMF 8.17.22); float64[n]."""
    x, a, b = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, a, b)))
    value = (x >= 1).astype(np.float64)
    inner = (x > 0) & (x < 1)
    x, a, b = x[inner], a[inner], b[inner]
    # The continued fraction converges fast only below the mean; above it the complement is computed.
    swapped = x > (a + 1) / (a + b + 2)
    front = np.exp(_log_front(x, a, b))
    first, second = np.where(swapped, b, a), np.where(swapped, a, b)
    part = front / (first * _continued_fraction(np.where(swapped, 1 - x, x), first, second))
    value[inner] = np.where(swapped, 1 - part, part)
    return value


def _log_front(x: Floats, a: Floats, b: Floats) -> Floats:
    """log(x^a (1-x)^b / B(a, b)), by the saddle point of the binomial density (Loader, 2000).

    The plain formula subtracts numbers of the size of n log n: with 1e8 trials seven digits would be left.
    """
    n = a + b
    density = _stirling_error(n) - _stirling_error(a) - _stirling_error(b)
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
    for j in range(1, 20):
        term = term * square
        total = total + term / (2 * j + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = x * np.log(x / mean) + mean - x
    result: Floats = np.where(np.abs(share) < 0.1, total, plain)  # noqa: PLR2004 - where the series has converged
    return result


def _continued_fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22, by the modified Lentz method; it takes about sqrt(a + b) steps."""
    tiny = 1e-300
    result = np.ones(x.shape)
    place = np.arange(x.size)
    value, ratio, inverse = np.ones(x.shape), np.ones(x.shape), np.zeros(x.shape)
    for step in range(1, _STEPS):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        inverse = 1 + term * inverse
        inverse = 1 / np.where(inverse == 0, tiny, inverse)
        ratio = 1 + term / ratio
        ratio = np.where(ratio == 0, tiny, ratio)
        factor = inverse * ratio
        value = value * factor
        done = np.abs(factor - 1) < _CLOSE
        if done.any():
            result[place[done]] = value[done]
            left = ~done
            if not left.any():
                return result
            place, x, a, b = place[left], x[left], a[left], b[left]
            value, ratio, inverse = value[left], ratio[left], inverse[left]
    result[place] = value
    return result


def trials_needed(rate: float) -> int:
    """How many error-free trials it takes to claim an error rate of at most `rate` with 95 % confidence (rule of 3)."""
    return math.ceil(round(3 / rate, 6))


def trials_for_precision(rate: float) -> int:
    """How many trials show 30 errors at `rate`: enough to be within 30 % of it with 90 % confidence (rule of 30).

    Doddington, Przybocki, Martin & Reynolds, "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
    """
    return math.ceil(round(30 / rate, 6))
