"""Intervals that know that people, not comparisons, were sampled: the bootstrap by identity.

People are drawn with replacement; a genuine comparison counts as often as its person was drawn, an impostor comparison
as often as the product for its two people says. This is the vertex bootstrap of Snijders & Borgatti (Connections 22,
1999; the two-way weights also in Owen, Annals of Applied Statistics 1, 2007), whose use for false matches Fogliato,
Patil & Perona examine (International Journal of Computer Vision, 2024); for genuine comparisons it is the subsets
bootstrap of Bolle, Ratha & Pankanti (Computer Vision and Image Understanding 93, 2004).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE, clopper_pearson
from facegate_convert._metrics._curves import cross, eer
from facegate_convert._metrics._groups import by_group
from facegate_convert._metrics._rates import DECIMALS, fmr_at, fnmr_at, round_up, threshold_at_fmr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from facegate_convert._metrics._curves import EqualErrorRate
    from facegate_convert._metrics._subjects import SubjectScores

    Floats = npt.NDArray[np.float64]

REPLICATES = 1000
FEW = 10  # false matches or false non-matches
BOOTSTRAP = "bootstrap by identity"
WIDENED = "bootstrap by identity, widened to the exact interval of one trial for each person"
DYADIC = "Clopper-Pearson, comparisons that share a person may depend on each other"
_USABLE = 0.99  # of the replicates must have comparisons of both kinds
_SPARE = 1.5  # of the tail, beyond the highest FMR: a replicate may need more than the sample did
_UINT8 = 15  # its square is the last that fits


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the interval of its true value.

    Attributes:
        value: measured.
        low, high: at the bootstrap's confidence.
        method: `BOOTSTRAP`; `WIDENED` where so few errors were seen that resampling them says too little; `DYADIC` for
            a rate of impostor comparisons; "fixed" for a threshold that was given.
    """

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class BootstrapPoint:
    """An operating point.

    Attributes:
        fmr: the FMR that the threshold was chosen for, anew in every replicate; None if the threshold is fixed.
        threshold: the threshold; low and high equal it if it is fixed.
        fmr_measured: FMR at `threshold.value`, held fixed; by the dyadic variance, because products of draws count the
            chance that belongs to a pair of people three times (Owen 2007).
        fnmr: FNMR at the replicate's threshold.
        note: what the numbers cannot carry; "" if nothing is to be said.
    """

    fmr: float | None
    threshold: Interval | None
    fmr_measured: Interval | None
    fnmr: Interval | None
    note: str


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentile intervals over replicates.

    Attributes:
        points: for the FMR targets by descending FMR, then for the fixed thresholds.
        eer: equal error rate; None if it lies outside of what was kept.
        subjects, replicates, seed, confidence: what was drawn.
    """

    points: tuple[BootstrapPoint, ...]
    eer: Interval | None
    subjects: int
    replicates: int
    seed: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute."""
        return asdict(self)


def draw(subjects: int, seed: int, replicate: int) -> Floats:
    """How often each person is drawn: float64[subjects], whole numbers that add up to `subjects`.

    The bits are PCG64's own, which numpy keeps for ever, so that a seed gives the same draw with every version.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, replicate])).random_raw(subjects)
    drawn = ((bits >> np.uint64(32)) * np.uint64(subjects)) >> np.uint64(32)
    return np.bincount(drawn.astype(np.int64), minlength=subjects).astype(np.float64)


def bootstrap(
    data: SubjectScores,
    *,
    fmr: Iterable[float] = (1e-2, 1e-3),
    thresholds: Iterable[float] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    decimals: int = DECIMALS,
    progress: Callable[[int, int], None] | None = None,
) -> Bootstrap:
    """Percentile intervals for FNMR at FMR targets, their thresholds, and the equal error rate.

    Args:
        data: comparisons with whose they are.
        fmr: targets, 0..1 exclusive; the threshold is chosen anew in every replicate.
        thresholds: fixed thresholds, e.g. those of a bundle: FMR and FNMR there.
        replicates: how often people are drawn.
        seed: the same seed gives the same intervals.
        confidence: 0..1, exclusive.
        decimals: of thresholds.
        progress: called with (done, replicates).

    Raises:
        ValueError: if a target or the number of replicates makes no sense.
    """
    targets, fixed = sorted(set(fmr), reverse=True), list(thresholds)
    if replicates < 2 or not 0 < confidence < 1 or not all(0 < f < 1 for f in targets):  # noqa: PLR2004
        raise ValueError(f"no bootstrap for FMR {targets}, {replicates} replicates, confidence {confidence}")
    chosen = [threshold_at_fmr(data.scores, f, decimals=decimals) for f in targets]
    equal = eer(data.scores)
    highest = max([equal.fmr, *targets])
    run = _Run(data, highest, decimals)
    rows = []
    for number in range(replicates):
        row = run.replicate(draw(data.subjects, seed, number), targets, fixed)
        if row:
            rows.append(row)
        if progress:
            progress(number + 1, replicates)
    if len(rows) < _USABLE * replicates:
        rows = []
    table = np.array(rows).reshape(-1, 1 + 2 * len(targets) + len(fixed))  # see _Run.replicate
    summary = _Summary(data, confidence, enough=bool(rows))
    points = []
    for i, (target, value) in enumerate(zip(targets, chosen, strict=True)):
        threshold = summary.interval(value, table[:, 1 + 2 * i])
        false_non_match = summary.false_non_match(value, table[:, 2 + 2 * i])
        points.append(
            BootstrapPoint(target, threshold, summary.false_match(value), false_non_match, summary.note(value))
        )
    for i, value in enumerate(fixed, 1 + 2 * len(targets)):
        stays = Interval(value, value, value, "fixed")
        false_non_match = summary.false_non_match(value, table[:, i])
        points.append(BootstrapPoint(None, stays, summary.false_match(value), false_non_match, summary.note(value)))
    rate = summary.equal(equal, table[:, 0])
    return Bootstrap(tuple(points), rate, data.subjects, replicates, seed, confidence)


class _Run:
    """What all replicates have in common: the tails in order, and where their scores lie among each other."""

    def __init__(self, data: SubjectScores, highest: float, decimals: int) -> None:
        self.data, self.decimals = data, decimals
        tail = data.impostor
        self.length = min(int(_SPARE * highest * data.scores.impostor.total) + 1000, tail.scores.size)
        self.genuine = data.genuine.scores
        self.owner = data.genuine.first.astype(np.intp)
        self._arrange()

    def _arrange(self) -> None:
        tail = self.data.impostor
        self.impostor = tail.scores[: self.length]
        self.first, self.second = (v[: self.length].astype(np.intp) for v in (tail.first, tail.second))
        # Thresholds between which everything is known: below all of them impostors are missing, above genuine ones.
        whole = self.length == tail.scores.size
        lowest = tail.edge if whole else self.impostor[-1]
        values = np.unique(np.concatenate([self.impostor, self.genuine]))
        values = values[(values > lowest) & (values <= self.data.genuine.edge)]
        if whole and np.isinf(lowest) and np.isinf(self.data.genuine.edge) and values.size:
            values = np.append(values, np.nextafter(values[-1], np.inf))
        self.values = values
        ascending = self.impostor[::-1]
        self.accepted = self.length - np.searchsorted(ascending, values, "left")
        self.refused = np.searchsorted(self.genuine, values, "left")

    def replicate(self, weights: Floats, targets: list[float], thresholds: list[float]) -> list[float]:
        """[EER, (threshold, FNMR) for each target, FNMR for each threshold]; nan where the tails end.

        Empty if the people drawn have no comparisons of a kind.
        """
        whole, trials = self.data.impostor_weight(weights), float(np.dot(weights, self.data.trials))
        if not whole or not trials:
            return []
        reach = max([whole * f for f in targets], default=0.0)
        cumulated = self._cumulate(weights)
        while cumulated[-1] <= reach and self.length < self.data.impostor.scores.size:
            self._extend()
            cumulated = self._cumulate(weights)
        refused = np.zeros(self.genuine.size + 1, np.int64)
        np.cumsum(weights.astype(np.int64)[self.owner], out=refused[1:])
        result = [self._equal(cumulated, refused, whole, trials)]
        while np.isnan(result[0]) and self.length < self.data.impostor.scores.size:
            self._extend()
            cumulated = self._cumulate(weights)
            result = [self._equal(cumulated, refused, whole, trials)]
        for target in targets:
            place = int(np.searchsorted(cumulated, np.floor(target * whole + 1e-9), "right"))
            if place == len(cumulated):
                result += [np.nan, np.nan]
                continue
            threshold = round_up(float(self.impostor[place - 1]), self.decimals)
            result += [threshold, self._missed(refused, threshold) / trials]
        return result + [self._missed(refused, threshold) / trials for threshold in thresholds]

    def _extend(self) -> None:
        self.length = min(2 * self.length, self.data.impostor.scores.size)
        self._arrange()

    def _cumulate(self, weights: Floats) -> npt.NDArray[np.int64]:
        """Weight of the k highest impostor scores, int64[length + 1]."""
        small = weights.astype(np.uint8 if weights.max() <= _UINT8 else np.int64)
        total = np.zeros(self.length + 1, np.int64)
        np.cumsum(small[self.first] * small[self.second], dtype=np.int64, out=total[1:])
        return total

    def _missed(self, refused: npt.NDArray[np.int64], threshold: float) -> float:
        if threshold > self.data.genuine.edge:
            return np.nan
        return float(refused[np.searchsorted(self.genuine, threshold, "left")])

    def _equal(
        self, cumulated: npt.NDArray[np.int64], refused: npt.NDArray[np.int64], whole: float, trials: float
    ) -> float:
        def at(i: int) -> tuple[float, float]:
            return float(cumulated[self.accepted[i]]) / whole, float(refused[self.refused[i]]) / trials

        low, high = 0, len(self.values) - 1
        if high < 1:
            return np.nan
        (fmr, fnmr), (above_fmr, above_fnmr) = at(low), at(high)
        if fmr < fnmr or above_fmr >= above_fnmr:
            return np.nan
        while high - low > 1:
            middle = (low + high) // 2
            fmr, fnmr = at(middle)
            low, high = (middle, high) if fmr >= fnmr else (low, middle)
        return cross(*at(high), *at(low))


class _Summary:
    """Percentiles of replicates, and what is done where errors are few."""

    def __init__(self, data: SubjectScores, confidence: float, *, enough: bool) -> None:
        self.data, self.tail, self.confidence, self.enough = data, (1 - confidence) / 2, confidence, enough
        self.people = int((data.trials > 0).sum())

    def interval(self, value: float, column: Floats) -> Interval | None:
        if not self.enough or np.isnan(column).any():
            return None
        low, high = np.quantile(column, [self.tail, 1 - self.tail])
        return Interval(value, float(low), float(high), BOOTSTRAP)

    def false_match(self, threshold: float) -> Interval | None:
        if threshold <= self.data.impostor.edge or threshold > self.data.genuine.edge:
            return None
        everybody = by_group(self.data, ["all"] * self.data.subjects, threshold, confidence=self.confidence)
        found = everybody.groups[0].fmr
        return Interval(found.value, found.low, found.high, DYADIC)

    def false_non_match(self, threshold: float, column: Floats) -> Interval | None:
        found = fnmr_at(self.data.scores, threshold)
        return self._widened(found.errors, found.trials, self.interval(found.value, column))

    def equal(self, found: EqualErrorRate, column: Floats) -> Interval | None:
        genuine = self.data.scores.genuine
        return self._widened(int(genuine.lower(found.threshold)), genuine.total, self.interval(found.value, column))

    def _widened(self, errors: int, trials: int, found: Interval | None) -> Interval | None:
        if found is None or min(errors, trials - errors) >= FEW:
            return found
        worth = min(trials, self.people)
        low, high = clopper_pearson(found.value * worth, worth, self.confidence)
        return Interval(found.value, min(low, found.low), max(high, found.high), WIDENED)

    def note(self, threshold: float) -> str:
        parts = [] if self.enough else [f"{self.data.subjects} people are too few to be drawn from: no interval"]
        errors = fmr_at(self.data.scores, threshold).errors
        if errors < FEW:
            parts.append(f"the threshold rests on {errors} false matches: its interval says too little")
        if threshold <= self.data.impostor.edge or threshold > self.data.genuine.edge:
            parts.append("beyond the comparisons that were kept with whose they are: no interval")
        return "; ".join(parts)
