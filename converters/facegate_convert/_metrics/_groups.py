"""Error rates by group of people, with intervals that know that a person takes part in many comparisons.

Groups are what the evaluator states about people; nothing here looks at a photograph.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._binomial import CONFIDENCE
from facegate_convert._metrics._rates import Rate, dependent_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

MARGIN = 1.25  # NIST SP 800-63-4: no group more than 25 % worse
_FEW = 10  # errors; with fewer, how much people differ cannot be estimated from them
_MERGE = 1 << 20


@dataclass(frozen=True, slots=True)
class GroupFigure:
    """Rates of one group at the threshold.

    Attributes:
        name: of the group.
        subjects: people in it.
        fmr: comparisons of two of its people.
        fnmr: comparisons of its people with themselves.
        note: what its size cannot carry; "" if nothing is to be said.
    """

    name: str
    subjects: int
    fmr: Rate
    fnmr: Rate
    note: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """The worst group against the best.

    Attributes:
        value: worst rate over best; infinite if the best has no errors and the worst has, 1 if none has any.
        low, high: interval of this ratio; at `confidence` for all pairs of groups together (Bonferroni).
        worst, best: names of the groups.
        confidence: of the interval.
        verdict: "met", "not met" or "cannot be told", of the rule that no group is more than 25 % worse than another.
        why: a sentence.
    """

    value: float
    low: float
    high: float
    worst: str
    best: str
    confidence: float
    verdict: str
    why: str


@dataclass(frozen=True, slots=True)
class GroupReport:
    """FMR and FNMR by group at one threshold.

    Attributes:
        threshold: accept when score >= threshold.
        confidence: of the intervals.
        groups: by name.
        cross: FMR of comparisons between two groups: cross[i][j] of groups i and j (cross[i][i] is the group's own).
        fmr, fnmr: the ratios; None if fewer than two groups have such comparisons.
        unlabeled: people without a group, who are in none of these figures.
    """

    threshold: float
    confidence: float
    groups: tuple[GroupFigure, ...]
    cross: tuple[tuple[Rate, ...], ...]
    fmr: Ratio | None
    fnmr: Ratio | None
    unlabeled: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values, one for each attribute; an infinite ratio becomes None."""
        found: dict[str, Any] = _finite(asdict(self))
        return found


class GroupCounter:
    """Counts comparisons by group of people in bounded memory: a few numbers for each person and group.

    What it keeps grows with people, groups and errors, not with comparisons.
    """

    def __init__(self, groups: Sequence[str | None], threshold: float) -> None:
        """Take the group of each subject (None or "" if it is not known) and the threshold.

        Raises:
            ValueError: if nobody has a group.
        """
        self.names = tuple(sorted({g for g in groups if g}))
        if not self.names:
            raise ValueError("nobody has a group")
        self.threshold = float(threshold)
        number = {name: i for i, name in enumerate(self.names)}
        self._of = np.array([number[g] if g else -1 for g in groups], np.int64)
        people, kinds = len(groups), len(self.names)
        self._genuine = np.zeros((2, people), np.int64)  # errors, trials
        self._impostor = np.zeros((2, people, kinds), np.int64)
        self._pairs = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._pending: list[Ints] = []

    def add(self, scores: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> None:
        """Count comparisons: float[n] scores, int[n] and int[n] subjects; genuine where the two are the same.

        Raises:
            ValueError: if the arrays differ in length, or a score is not a finite number.
        """
        values = np.asarray(scores).ravel()
        first, second = np.asarray(a, np.int64).ravel(), np.asarray(b, np.int64).ravel()
        if not values.size == first.size == second.size:
            raise ValueError(f"{values.size} scores of {first.size} and {second.size} subjects")
        if not np.isfinite(values).all():
            raise ValueError("a score is not a finite number")
        known = (self._of[first] >= 0) & (self._of[second] >= 0)
        if not known.all():
            values, first, second = values[known], first[known], second[known]
        accepted = values >= self.threshold
        same = first == second
        people = self._of.size
        self._genuine[0] += np.bincount(first[same & ~accepted], minlength=people)
        self._genuine[1] += np.bincount(first[same], minlength=people)
        kinds = len(self.names)
        for row, chosen in ((0, accepted & ~same), (1, ~same)):
            x, y = first[chosen], second[chosen]
            flat = self._impostor[row].reshape(-1)
            flat += np.bincount(x * kinds + self._of[y], minlength=flat.size)
            flat += np.bincount(y * kinds + self._of[x], minlength=flat.size)
            if not row:
                self._pending.append(np.minimum(x, y) * people + np.maximum(x, y))
        if sum(p.size for p in self._pending) > _MERGE:
            self._merge()

    def _merge(self) -> None:
        keys, counts = np.unique(np.concatenate([*self._pending, np.zeros(0, np.int64)]), return_counts=True)
        self._pending = []
        together, place = np.unique(np.concatenate([self._pairs[0], keys]), return_inverse=True)
        total = np.bincount(place, np.concatenate([self._pairs[1], counts]), len(together))
        self._pairs = together, total.astype(np.int64)

    def result(self, *, confidence: float = CONFIDENCE, margin: float = MARGIN) -> GroupReport:
        """What was counted so far.

        Args:
            confidence: of the intervals, 0..1 exclusive.
            margin: how much worse a group may be than another (1.25: 25 %).
        """
        self._merge()
        count = len(self.names)
        cross = [[self._fmr(i, j, confidence) for j in range(count)] for i in range(count)]
        own = [cross[i][i] for i in range(count)]
        fnmr = [self._fnmr(i, confidence) for i in range(count)]
        pairs = max(count * (count - 1) // 2, 1)
        strict = 1 - (1 - confidence) / pairs
        figures = tuple(
            GroupFigure(name, int((self._of == i).sum()), own[i], fnmr[i], _note(own, fnmr, i, margin))
            for i, name in enumerate(self.names)
        )
        return GroupReport(
            self.threshold,
            confidence,
            figures,
            tuple(tuple(row) for row in cross),
            _ratio(self.names, own, [self._fmr(i, i, strict) for i in range(count)], confidence, margin),
            _ratio(self.names, fnmr, [self._fnmr(i, strict) for i in range(count)], confidence, margin),
            int((self._of < 0).sum()),
        )

    def _fnmr(self, group: int, confidence: float) -> Rate:
        errors, trials = self._genuine[:, self._of == group]
        units = int((trials > 0).sum())
        return clustered_rate(errors, trials, units=units, confidence=confidence)

    def _fmr(self, one: int, other: int, confidence: float) -> Rate:
        in_one, in_other = self._of == one, self._of == other
        errors, trials = self._impostor[0, in_one, other], self._impostor[1, in_one, other]
        first, second = np.divmod(self._pairs[0], self._of.size)
        kinds = np.sort(np.stack([self._of[first], self._of[second]]), axis=0)
        chosen = (kinds[0] == min(one, other)) & (kinds[1] == max(one, other))
        squares = float((self._pairs[1][chosen].astype(np.float64) ** 2).sum())
        if one == other:
            busy = int((trials > 0).sum())
            return dyadic_rate(errors, trials, squares, units=busy * (busy - 1) // 2, confidence=confidence)
        back = self._impostor[0, in_other, one], self._impostor[1, in_other, one]
        units = int((trials > 0).sum()) * int((back[1] > 0).sum())
        return dyadic_rate(
            np.concatenate([errors, back[0]]),
            np.concatenate([trials, back[1]]),
            squares,
            units=units,
            confidence=confidence,
        )


def by_group(
    scores: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: Sequence[str | None],
    threshold: float,
    *,
    confidence: float = CONFIDENCE,
    margin: float = MARGIN,
) -> GroupReport:
    """Rates by group of comparisons that fit in memory; see `GroupCounter` for the arguments.

    Raises:
        ValueError: if nobody has a group, or the arrays do not fit.
    """
    counter = GroupCounter(groups, threshold)
    counter.add(scores, a, b)
    return counter.result(confidence=confidence, margin=margin)


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


def _note(own: Sequence[Rate], fnmr: Sequence[Rate], i: int, margin: float) -> str:
    parts = []
    for name, rates in (("FMR", own), ("FNMR", fnmr)):
        others = [r for k, r in enumerate(rates) if k != i and r.trials]
        errors, trials = sum(r.errors for r in others), sum(r.trials for r in others)
        mine = rates[i]
        if not mine.trials:
            parts.append(f"{name}: no comparisons")
        elif errors and mine.effective < (needed := math.ceil(3 * trials / (errors * margin))):
            parts.append(
                f"{name}: worth {mine.effective:.0f} independent comparisons, too few to say anything: {needed} "
                f"without an error would show that it is not worse than {margin:g} times the other groups'"
            )
    return "; ".join(parts)


def _ratio(
    names: Sequence[str], rates: Sequence[Rate], strict: Sequence[Rate], confidence: float, margin: float
) -> Ratio | None:
    present = [i for i, r in enumerate(rates) if r.trials]
    if len(present) < 2:  # noqa: PLR2004 - nothing to compare
        return None
    worst = max(present, key=lambda i: (rates[i].value, rates[i].high))
    best = min((i for i in present if i != worst), key=lambda i: (rates[i].value, rates[i].high))
    bounds = {(i, j): _quotient(strict[i], strict[j]) for i, j in itertools.permutations(present, 2)}
    low, high = bounds[worst, best]
    value = _over(rates[worst].value, rates[best].value)
    guilty = next(((i, j) for (i, j), (lower, _) in bounds.items() if lower > margin), None)
    if guilty:
        verdict = "not met"
        i, j = guilty
        why = f"{names[i]} is more than {margin:g} times as bad as {names[j]}, chance aside"
    elif all(upper <= margin for _, upper in bounds.values()):
        verdict = "met"
        why = f"no group can be more than {margin:g} times as bad as another"
    else:
        verdict = "cannot be told"
        i, j = max(bounds, key=lambda pair: bounds[pair][1])
        why = (
            f"{names[i]} could be up to {bounds[i, j][1]:.3g} times as bad as {names[j]}: too few comparisons to "
            f"show or to refute {margin:g}"
        )
    return Ratio(value, low, high, names[worst], names[best], confidence, verdict, why)


def _over(a: float, b: float) -> float:
    if b:
        return a / b
    return math.inf if a else 1.0


def _quotient(a: Rate, b: Rate) -> tuple[float, float]:
    """Interval of a ratio of rates from their intervals (MOVER on logs; Zou & Donner, Stat. Med. 27, 2008)."""
    if a.errors and b.errors:
        ratio = math.log(a.value / b.value)
        down = math.hypot(math.log(a.value / a.low), math.log(b.high / b.value))
        up = math.hypot(math.log(a.high / a.value), math.log(b.value / b.low))
        return math.exp(ratio - down), math.exp(ratio + up)
    return _over(a.low, b.high), (a.high / b.low if b.low else math.inf)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
