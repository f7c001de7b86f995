"""Rates of comparisons that depend on each other because people take part in several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE
from facegate_convert._metrics._rates import Rate, dependent_rate

if TYPE_CHECKING:
    import numpy.typing as npt

_FEW = 10  # errors; from fewer it cannot be told how much people differ


def clustered_rate(
    errors: npt.ArrayLike, trials: npt.ArrayLike, *, units: int | None = None, confidence: float = CONFIDENCE
) -> Rate:
    """A rate of trials that belong to people: errors and trials of each, int[s].

    The variance is that of a ratio between clusters (Cochran, Sampling Techniques, 3rd ed. 1977, 6.3); it gives the
    number of independent trials that these are worth, and the interval is Clopper-Pearson's for so many (Korn &
    Graubard 1998). With fewer than 10 errors, from which no variance can be told, a person counts as one trial at most.

    Args:
        errors: by person.
        trials: by person.
        units: how many independent units there are at least; the people with trials if None.
        confidence: 0..1, exclusive.
    """
    x, n = np.asarray(errors, np.float64), np.asarray(trials, np.float64)
    people = int((n > 0).sum())
    total, count = float(x.sum()), float(n.sum())
    value = total / count if count else 0.0
    spread = float(((x - value * n) ** 2).sum()) * people / max(people - 1, 1)
    return _worth(total, count, spread, people if units is None else units, confidence)


def dyadic_rate(
    errors: npt.ArrayLike, trials: npt.ArrayLike, squares: float, *, units: int, confidence: float = CONFIDENCE
) -> Rate:
    """A rate of trials that belong to two people each.

    The variance lets any two trials depend on each other that share a person (Fafchamps & Gubert, Journal of
    Development Economics 83, 2007; for false matches: Fogliato, Patil & Perona, International Journal of Computer
    Vision, 2024). As in `clustered_rate` it becomes an effective number of trials.

    Args:
        errors: by person; each is counted with both of its people.
        trials: by person, likewise.
        squares: sum over the pairs of people of their errors squared (a pair's own share, counted twice above).
        units: pairs of people: what the trials are worth at most while there are fewer than 10 errors.
        confidence: 0..1, exclusive.
    """
    x, n = np.asarray(errors, np.float64), np.asarray(trials, np.float64)
    people = int((n > 0).sum())
    total, count = float(x.sum()) / 2, float(n.sum()) / 2
    value = total / count if count else 0.0
    spread = float(((x - value * n) ** 2).sum()) * people / max(people - 1, 1) - (1 - value) * squares
    return _worth(total, count, spread, units, confidence)


def _worth(errors: float, trials: float, spread: float, units: int, confidence: float) -> Rate:
    value = errors / trials if trials else 0.0
    effective = trials
    if 0 < value < 1 and spread > 0:
        effective = value * (1 - value) * trials * trials / spread
    if min(errors, trials - errors) < _FEW:
        effective = min(effective, float(units))
    return dependent_rate(round(errors), round(trials), effective, confidence=confidence)
