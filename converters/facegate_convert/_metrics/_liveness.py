"""Presentation attacks: APCER for each species, BPCER (words of ISO/IEC 30107-3).

A liveness score is the higher the more genuine; a presentation is taken as bona fide when score >= threshold. There is
no average of the two rates here: the standard has none, and it would hide the species that gets in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE
from facegate_convert._metrics._rates import DECIMALS, Rate, rate, threshold_for
from facegate_convert._metrics._scores import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Species:
    """Attack presentations made with one kind of instrument.

    Attributes:
        name: of the species.
        apcer: presentations that were taken as bona fide, of those that were classified.
        apnrr: presentations without an answer (no face found), of all.
    """

    name: str
    apcer: Rate
    apnrr: Rate


@dataclass(frozen=True, slots=True)
class LivenessFigure:
    """What a threshold does.

    Attributes:
        threshold: bona fide when score >= threshold.
        bpcer: bona fide presentations taken as attacks, of those that were classified.
        bpnrr: bona fide presentations without an answer, of all.
        species: by name.
        worst: name of the species with the highest APCER, the figure that counts.
        apcer: of the worst species.
    """

    threshold: float
    bpcer: Rate
    bpnrr: Rate
    species: tuple[Species, ...]
    worst: str
    apcer: Rate

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class LivenessCurve:
    """Rates over thresholds, ascending.

    Attributes:
        threshold, bpcer: float64[k].
        apcer: float64[k] of the worst species at each threshold.
        species: float64[k] by species.
    """

    threshold: Floats
    bpcer: Floats
    apcer: Floats
    species: dict[str, Floats]

    def to_dict(self) -> dict[str, Any]:
        """JSON values: lists of float."""
        return {
            "threshold": self.threshold.tolist(),
            "bpcer": self.bpcer.tolist(),
            "apcer": self.apcer.tolist(),
            "species": {name: values.tolist() for name, values in self.species.items()},
        }


def liveness_at(
    bona_fide: npt.ArrayLike,
    attacks: Mapping[str, npt.ArrayLike],
    threshold: float,
    *,
    no_answer: int = 0,
    attacks_no_answer: Mapping[str, int] | None = None,
    confidence: float = CONFIDENCE,
) -> LivenessFigure:
    """APCER for each species and BPCER at a threshold.

    Args:
        bona_fide: scores of real people, float[n].
        attacks: scores by species, float[m] each.
        threshold: bona fide when score >= threshold.
        no_answer: bona fide presentations that got no score.
        attacks_no_answer: attack presentations that got no score, by species.
        confidence: 0..1, exclusive.

    Raises:
        ValueError: if there are no bona fide scores, no species, or a species without presentations.
    """
    real, species = _samples(bona_fide, attacks)
    silent = attacks_no_answer or {}
    found = []
    for name in sorted(species.keys() | silent.keys()):
        sample = species.get(name) or Sample.of([])
        lost = silent.get(name, 0)
        if not sample.total + lost:
            raise ValueError(f"species {name!r} has no presentations")
        apcer = rate(int(sample.at_least(threshold)), sample.total, confidence=confidence)
        found.append(Species(name, apcer, rate(lost, sample.total + lost, confidence=confidence)))
    worst = max(found, key=lambda s: (s.apcer.value, s.apcer.high))
    return LivenessFigure(
        threshold,
        rate(int(real.lower(threshold)), real.total, confidence=confidence),
        rate(no_answer, real.total + no_answer, confidence=confidence),
        tuple(found),
        worst.name,
        worst.apcer,
    )


def liveness_curve(bona_fide: npt.ArrayLike, attacks: Mapping[str, npt.ArrayLike], points: int = 200) -> LivenessCurve:
    """APCER and BPCER over all thresholds, at most `points`, evenly spread over the scores that were seen.

    Raises:
        ValueError: if there are no bona fide scores, no species, or a species without scores.
    """
    real, species = _samples(bona_fide, attacks)
    values = np.unique(np.concatenate([real.values, *(s.values for s in species.values())]))
    thresholds = np.append(values, np.nextafter(values[-1], np.inf))
    if len(thresholds) > points:
        thresholds = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, points).round().astype(int))]
    by_species = {name: s.at_least(thresholds) / s.total for name, s in sorted(species.items())}
    worst = np.max(np.stack(list(by_species.values())), axis=0)
    return LivenessCurve(thresholds, real.lower(thresholds) / real.total, worst, by_species)


def bpcer_at_apcer(
    bona_fide: npt.ArrayLike,
    attacks: Mapping[str, npt.ArrayLike],
    apcer: float,
    *,
    confidence: float = CONFIDENCE,
    decimals: int = DECIMALS,
) -> LivenessFigure:
    """The lowest threshold at which no species has an APCER above `apcer`, and what it costs (BPCER20 is at 0.05).

    Raises:
        ValueError: if `apcer` is not between 0 and 1, or scores are missing.
    """
    _, species = _samples(bona_fide, attacks)
    threshold = max(threshold_for(sample, apcer, decimals=decimals) for sample in species.values())
    return liveness_at(bona_fide, attacks, threshold, confidence=confidence)


def _samples(bona_fide: npt.ArrayLike, attacks: Mapping[str, npt.ArrayLike]) -> tuple[Sample, dict[str, Sample]]:
    real = Sample.of(bona_fide)
    species = {name: Sample.of(scores) for name, scores in attacks.items()}
    if not real.total or not species:
        raise ValueError(f"{real.total} bona fide scores and {len(species)} species: both are needed")
    return real, species
