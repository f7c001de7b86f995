"""Two functions of `_metrics` as the training's figures call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._metrics import Sample, clopper_pearson
from facegate_convert._metrics import _rates as rates

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["clopper_pearson", "threshold_for"]


def threshold_for(impostor: Sequence[float], rate: float) -> float:
    """The lowest threshold, of 4 decimals, at which at most `rate` (0..1 exclusive) of the similarities are accepted.

    Raises:
        ValueError: if there are no similarities, or the rate is not between 0 and 1.
    """
    return rates.threshold_for(Sample.of(impostor), rate)
