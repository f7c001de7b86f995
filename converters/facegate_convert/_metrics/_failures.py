"""Failures are errors too: rates that count what could not be compared (ISO/IEC 19795-1)."""

from __future__ import annotations

from facegate_convert._metrics._binomial import CONFIDENCE
from facegate_convert._metrics._rates import Rate, rate


def failure_rate(failed: int, attempts: int, *, confidence: float = CONFIDENCE) -> Rate:
    """Failure to detect, to acquire or to enroll: attempts without a result.

    Raises:
        ValueError: if the numbers make no sense.
    """
    return rate(failed, attempts, confidence=confidence)


def fnmr_with_failures(fnmr: Rate, failed: int) -> Rate:
    """The share of genuine attempts that end without a match, whatever the reason.

    A comparison that could not be made because one of its photographs shows no usable face is a false non-match: the
    person stood before the gate and was not let in.

    Args:
        fnmr: of the comparisons that were made.
        failed: genuine comparisons that could not be made.

    Raises:
        ValueError: if `failed` is negative.
    """
    return _widened(fnmr, failed, failed)


def fmr_with_failures(fmr: Rate, failed: int) -> Rate:
    """The share of impostor attempts that end in a match; one that could not be compared ends in none.

    Raises:
        ValueError: if `failed` is negative.
    """
    return _widened(fmr, failed, 0)


def _widened(known: Rate, failed: int, errors: int) -> Rate:
    if failed < 0:
        raise ValueError(f"{failed} failures")
    return rate(known.errors + errors, known.trials + failed, confidence=known.confidence)


def generalized_frr(fnmr: float, fta: float, fte: float = 0.0) -> float:
    """The generalized false reject rate: FTE + (1 - FTE) FTA + (1 - FTE) (1 - FTA) FNMR (ISO/IEC 19795-1).

    For rates that were measured apart from each other; where comparisons were counted, `fnmr_with_failures` is exact.

    Args:
        fnmr: false non-match rate of the comparisons made.
        fta: failure to acquire, of attempts.
        fte: failure to enroll, of people; without it this is the false reject rate.

    Raises:
        ValueError: if a rate is not 0..1.
    """
    _check(fnmr, fta, fte)
    return fte + (1 - fte) * fta + (1 - fte) * (1 - fta) * fnmr


def generalized_far(fmr: float, fta: float, fte: float = 0.0) -> float:
    """The generalized false accept rate: (1 - FTE) (1 - FTA) FMR (ISO/IEC 19795-1).

    Raises:
        ValueError: if a rate is not 0..1.
    """
    _check(fmr, fta, fte)
    return (1 - fte) * (1 - fta) * fmr


def _check(*rates: float) -> None:
    if not all(0 <= r <= 1 for r in rates):
        raise ValueError(f"rates are 0..1, not {rates}")
