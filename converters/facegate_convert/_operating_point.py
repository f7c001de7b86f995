"""Thresholds and what was measured at them.

The words are those of ISO/IEC 19795-1: FMR, FNMR, failure to enrol. The intervals treat comparisons as independent; a
photograph that takes part in many comparisons makes them a little too narrow, which the documentation says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert.errors import DatasetError
from facegate_edge._manifest import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from facegate_convert._comparisons import Comparisons
    from facegate_convert._metrics import Scores
    from facegate_edge._values import Template

FMR_TARGETS = (1e-2, 1e-3, 1e-4)
_MIN_COMPARISONS = 30
_MIN_EXPECTED = 0.1  # false matches at the target


@dataclass(frozen=True, slots=True)
class Similarities:
    """The outcome of comparisons.

    Attributes:
        genuine, impostor: cosine similarities, -1..1, ascending.
        failed: photographs without a usable face (failures to enrol); comparisons with them are left out.
        images: photographs looked at.
        dataset: the comparisons' fingerprint.
    """

    genuine: tuple[float, ...]
    impostor: tuple[float, ...]
    failed: int
    images: int
    dataset: str


def compare(comparisons: Comparisons, embed: Callable[[Path], Template | None]) -> Similarities:
    """Make the comparisons.

    Args:
        comparisons: what to compare.
        embed: the template of the largest face of a photograph, or None if it shows none.

    Raises:
        DatasetError: if nothing genuine or nothing impostor is left to compare.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    templates = [embed(path) for path in comparisons.images]
    length = next((t.data.size for t in templates if t is not None), 0)
    matrix = np.zeros((len(templates), length), np.float64)
    for row, template in enumerate(templates):
        if template is not None:
            # Integer values in float64: the dot products are exact.
            matrix[row] = template.data
    norms = np.sqrt((matrix * matrix).sum(axis=1))

    def similarities(pairs: Sequence[tuple[int, int]]) -> tuple[float, ...]:
        usable = np.array(
            [p for p in pairs if templates[p[0]] is not None and templates[p[1]] is not None], np.intp
        ).reshape(-1, 2)
        a, b = usable.T
        values = np.einsum("ij,ij->i", matrix[a], matrix[b]) / (norms[a] * norms[b])
        return tuple(sorted(float(v) for v in values))

    genuine, impostor = similarities(comparisons.genuine), similarities(comparisons.impostor)
    failed = sum(t is None for t in templates)
    if not genuine or not impostor:
        raise DatasetError(
            f"{len(genuine)} genuine and {len(impostor)} impostor comparisons are left; of {len(templates)} "
            f"photographs {failed} show no usable face",
            hint="an operating point needs pairs of the same person and pairs of two people",
        )
    return Similarities(genuine, impostor, failed, len(templates), comparisons.fingerprint)


def operating_points(
    similarities: Similarities, targets: Iterable[float] = FMR_TARGETS
) -> tuple[tuple[OperatingPoint, ...], tuple[str, ...]]:
    """A threshold for each FMR target, and what the data cannot carry.

    A target f is carried if there are at least 3/f impostor comparisons (rule of 3: fewer could not show an FMR of f
    with 95 % confidence even without one false match). A target that is not carried still gets a point, the threshold
    at which these comparisons stay within it, and its `fmr_upper` says how little that proves.

    Returns:
        (points, notes): the points by descending FMR, a sentence for each that is not carried.

    Raises:
        ValueError: if a target is not between 0 and 1.
    """
    from facegate_convert._metrics import Scores, trials_needed  # noqa: PLC0415 - numpy, not before it is used

    scores = Scores(similarities.genuine, similarities.impostor)
    points, notes = [], []
    for target in sorted(set(targets), reverse=True):
        if not 0 < target < 1:
            raise ValueError(f"an FMR target lies between 0 and 1, not at {target}")
        point = _point(scores, target, similarities.dataset)
        points.append(point)
        needed = trials_needed(target)
        if point.impostor < needed:
            notes.append(
                f"FMR {target:g}: {needed:,} impostor comparisons are needed to show it, there are {point.impostor:,}; "
                f"known is an FMR below {point.fmr_upper:.2g} at threshold {point.threshold:.4f} (95 % confidence)"
            )
    return tuple(points), tuple(notes)


def check_evidence(similarities: Similarities, targets: Iterable[float]) -> None:
    """Refuse targets about which these comparisons say next to nothing, even for somebody who insists.

    Below the rule of 3 a threshold is a guess that says so; below a tenth of a false match to be expected, or 30
    comparisons, it is none: a gate that trusted it would open for nearly anybody.

    Raises:
        DatasetError: for the first such target.
    """
    from facegate_convert._metrics import trials_needed  # noqa: PLC0415 - numpy, not before it is used

    count = len(similarities.impostor)
    for target in sorted(targets):
        if count < max(_MIN_COMPARISONS, _MIN_EXPECTED / target):
            raise DatasetError(
                f"{count} impostor comparisons say nothing about an FMR of {target:g}",
                hint=f"add photographs of other people ({trials_needed(target):,} comparisons show it), or "
                "ask for a higher --fmr",
            )


def _point(scores: Scores, target: float, dataset: str) -> OperatingPoint:
    from facegate_convert._metrics import fnmr_at_fmr  # noqa: PLC0415 - numpy, not before it is used

    found = fnmr_at_fmr(scores, target)
    return OperatingPoint(
        fmr=target,
        threshold=found.threshold,
        fmr_upper=found.fmr_measured.high,
        fnmr=found.fnmr.value,
        fnmr_low=found.fnmr.low,
        fnmr_high=found.fnmr.high,
        genuine=found.fnmr.trials,
        impostor=found.fmr_measured.trials,
        dataset=dataset,
    )


def stated_operating_point(fmr: float, threshold: float) -> OperatingPoint:
    """An operating point that somebody states without data: no comparisons, no dataset, intervals from 0 to 1.

    The FNMR is unknown, which is written as the worst.
    """
    return OperatingPoint(fmr, threshold, 1.0, 1.0, 0.0, 1.0, 0, 0, "")
