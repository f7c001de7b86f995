"""The few statistics behind an operating point: exact binomial intervals and threshold choice.

Standard library only: scipy would be 40 MB for one quantile.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


def clopper_pearson(errors: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact two-sided interval of a binomial proportion (Clopper & Pearson, Biometrika 26, 1934).

    Args:
        errors: events seen, 0..trials.
        trials: independent trials; 0 gives (0, 1): nothing is known.
        confidence: 0..1, exclusive.

    Returns:
        (low, high), both 0..1.

    Raises:
        ValueError: if the numbers make no sense.
    """
    if not 0 <= errors <= trials or not 0 < confidence < 1:
        raise ValueError(f"no interval for {errors} errors of {trials} at confidence {confidence}")
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else beta_quantile(tail, errors, trials - errors + 1)
    high = 1.0 if errors == trials else beta_quantile(1 - tail, errors + 1, trials - errors)
    return low, high


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x at which the regularised incomplete beta function I_x(a, b) is `probability`; by bisection, to 1e-15."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), a, b > 0, 0 <= x <= 1 (DLMF 8.17.22)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the continued fraction converges fast only on this side
        return 1.0 - incomplete_beta(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * _continued_fraction(x, a, b))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22, by the modified Lentz method."""
    tiny = 1e-300
    value = ratio = 1.0
    inverse = 0.0
    for step in range(1, 10_000):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        inverse = 1 / ((1 + term * inverse) or tiny)
        ratio = (1 + term / ratio) or tiny
        value *= inverse * ratio
        if abs(inverse * ratio - 1) < 1e-15:  # noqa: PLR2004
            break
    return value


def trials_needed(rate: float) -> int:
    """How many error-free trials it takes to claim an error rate of at most `rate` with 95 % confidence (rule of 3)."""
    return math.ceil(round(3 / rate, 6))


def threshold_for(impostor: Sequence[float], rate: float) -> float:
    """The lowest threshold at which at most `rate` of the impostor similarities are accepted.

    Args:
        impostor: similarities of different people, sorted ascending, not empty.
        rate: the false match rate not to be passed, 0..1 exclusive.

    Returns:
        A threshold t: accept when similarity >= t. It has 4 decimals, rounded up: it never accepts one more.
    """
    allowed = math.floor(rate * len(impostor) + 1e-9)
    # Ties make it worth counting: the threshold must lie above the first similarity that may not be accepted.
    highest_refused = impostor[len(impostor) - 1 - allowed]
    unit = 10_000
    threshold: float = math.floor(highest_refused * unit) / unit
    while threshold <= highest_refused:
        threshold = round(threshold + 1 / unit, 4)
    return threshold


def accepted(similarities: Sequence[float], threshold: float) -> int:
    """How many of the ascending `similarities` are at or above `threshold`."""
    return len(similarities) - bisect.bisect_left(similarities, threshold)
