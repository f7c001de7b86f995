"""Error rates at a threshold, and the threshold for an error rate (words of ISO/IEC 19795-1)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import (
    CONFIDENCE,
    clopper_pearson,
    trials_for_precision,
    trials_needed,
)

if TYPE_CHECKING:
    from facegate_convert._metrics._scores import Sample, Scores

DECIMALS = 4  # of a threshold
_FEW_ERRORS = 30


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate that was counted, with what is known about it.

    Attributes:
        errors, trials: what was counted.
        value: errors / trials; 0 if there were no trials (then the interval is 0..1).
        low, high: interval of the true rate.
        confidence: of the interval.
        effective: how many independent trials the trials are worth; equal to `trials` if they were taken as
            independent, fewer if people take part in several (see `dependent_rate`).
    """

    errors: int
    trials: int
    value: float
    low: float
    high: float
    confidence: float
    effective: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


def rate(errors: int, trials: int, *, confidence: float = CONFIDENCE) -> Rate:
    """A rate of independent trials, with its exact interval (Clopper-Pearson).

    Raises:
        ValueError: if the numbers make no sense.
    """
    return dependent_rate(errors, trials, trials, confidence=confidence)


def dependent_rate(errors: int, trials: int, effective: float, *, confidence: float = CONFIDENCE) -> Rate:
    """A rate of trials that are worth only `effective` independent ones (Korn & Graubard 1998).

    Args:
        errors: what was counted.
        trials: of so many.
        effective: 0..trials; more counts as `trials`.
        confidence: 0..1, exclusive.

    Raises:
        ValueError: if the numbers make no sense.
    """
    errors, trials = int(errors), int(trials)
    effective = min(float(effective), float(trials))
    value = errors / trials if trials else 0.0
    low, high = clopper_pearson(errors * (effective / trials) if trials else 0.0, effective, confidence)
    return Rate(errors, trials, value, low, high, confidence, effective)


def say(value: float, *, up: bool = False) -> str:
    """A rate in a sentence, with two significant digits: 0.01 or 1e-5; `up` rounds up, for what is at most so much."""
    if up and value > 0:
        unit = 10.0 ** (math.floor(math.log10(value)) - 1)
        value = math.ceil(value / unit - 1e-9) * unit
    return f"{value:.2g}".replace("e-0", "e-")


def fmr_at(scores: Scores, threshold: float, *, confidence: float = CONFIDENCE) -> Rate:
    """The false match rate: impostor comparisons accepted at the threshold."""
    return rate(int(scores.impostor.at_least(threshold)), scores.impostor.total, confidence=confidence)


def fnmr_at(scores: Scores, threshold: float, *, confidence: float = CONFIDENCE) -> Rate:
    """The false non-match rate: genuine comparisons not accepted at the threshold."""
    return rate(int(scores.genuine.lower(threshold)), scores.genuine.total, confidence=confidence)


def threshold_at_fmr(scores: Scores, fmr: float, *, decimals: int = DECIMALS) -> float:
    """The lowest threshold at which at most `fmr` of the impostor comparisons are accepted.

    Args:
        scores: what was measured.
        fmr: the false match rate not to be passed, 0..1 exclusive.
        decimals: of the threshold, which is rounded up: it never accepts one more.

    Returns:
        A threshold t: accept when score >= t. It may be above 1 if an impostor's score is 1.

    Raises:
        ValueError: if `fmr` is not between 0 and 1.
    """
    return threshold_for(scores.impostor, fmr, decimals=decimals)


def threshold_for(scores: Sample, share: float, *, decimals: int = DECIMALS) -> float:
    """The lowest threshold at which at most `share` of the scores are accepted, rounded up to `decimals`.

    Raises:
        ValueError: if `share` is not between 0 and 1, or there are no scores.
    """
    if not 0 < share < 1 or not scores.total:
        raise ValueError(f"no threshold for a rate of {share} of {scores.total} scores")
    allowed = math.floor(share * scores.total + 1e-9)
    # Ties make it worth counting: the threshold must lie above the first score that may not be accepted.
    refused = scores.values[np.searchsorted(scores.below, scores.total - 1 - allowed, "right") - 1]
    return round_up(float(refused), decimals)


def round_up(score: float, decimals: int = DECIMALS) -> float:
    """The lowest number of so many decimals that is greater than `score`."""
    unit = float(10**decimals)
    threshold = math.floor(score * unit) / unit
    while threshold <= score:
        threshold = round(threshold + 1 / unit, decimals)
    return threshold


@dataclass(frozen=True, slots=True)
class OperatingFigure:
    """What was measured at the threshold for an FMR.

    Attributes:
        fmr: the FMR that was asked for.
        threshold: accept when score >= threshold.
        fmr_measured, fnmr: measured at that threshold, on the comparisons that it was chosen on.
        carried: whether there are enough impostor comparisons to show this FMR at all (rule of 3).
        note: what the numbers cannot carry, a sentence; "" if nothing is to be said.
    """

    fmr: float
    threshold: float
    fmr_measured: Rate
    fnmr: Rate
    carried: bool
    note: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


def fnmr_at_fmr(
    scores: Scores, fmr: float, *, confidence: float = CONFIDENCE, decimals: int = DECIMALS
) -> OperatingFigure:
    """The FNMR at the lowest threshold that keeps an FMR.

    Raises:
        ValueError: if `fmr` is not between 0 and 1.
    """
    threshold = threshold_at_fmr(scores, fmr, decimals=decimals)
    measured = fmr_at(scores, threshold, confidence=confidence)
    note = note_on_fmr(fmr, measured, threshold, decimals=decimals)
    carried = measured.trials >= trials_needed(fmr)
    return OperatingFigure(fmr, threshold, measured, fnmr_at(scores, threshold, confidence=confidence), carried, note)


def note_on_fmr(fmr: float, measured: Rate, threshold: float, *, decimals: int = DECIMALS) -> str:
    """What so many comparisons cannot carry of an FMR, by the rules of 3 and of 30; "" if nothing is to be said.

    Args:
        fmr: that was asked for.
        measured: at the threshold, with the interval that stands beside it, which the note repeats.
        threshold: for it.
        decimals: of the threshold.
    """
    needed, precise = trials_needed(fmr), trials_for_precision(fmr)
    if measured.trials < needed:
        known = f"known is an FMR of at most {say(measured.high, up=True)} at threshold {threshold:.{decimals}f}"
        return (
            f"FMR {say(fmr)}: {needed:,} impostor comparisons are needed to show it (rule of 3), there are "
            f"{measured.trials:,}; {known}"
        )
    if measured.trials < precise:
        within = f"it takes {_FEW_ERRORS} ({precise:,} comparisons) to be within 30 % of it (rule of 30)"
        return f"FMR {say(fmr)} rests on {measured.errors} false matches; {within}"
    return ""
