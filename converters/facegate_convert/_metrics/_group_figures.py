"""What is said of groups of people, with intervals that know that a person takes part in many comparisons.

Groups are what the evaluator states about people; nothing here looks at a photograph.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._metrics._dependence import clustered_rate, dyadic_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_convert._metrics._rates import Rate

    Ints = npt.NDArray[np.int64]

MARGIN = 1.25  # NIST SP 800-63-4: no group more than 25 % worse
_ANY = 1000.0  # times as bad: beyond it a number says nothing


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


class GroupCounts:
    """Errors and trials of each person, by the group of the other person: what every figure by group follows from.

    Attributes:
        names: of the groups, in order.
        of: int64[people], each person's group; -1 if it is not known.
        genuine: int64[2, people], errors and trials.
        impostor: int64[2, people, groups], errors and trials, each counted with both people.
        keys, counts: int64[k], false matches of each pair of people, key = lower * people + higher.
    """

    def __init__(self, groups: Sequence[str | None]) -> None:
        """Take the group of each person.

        Raises:
            ValueError: if nobody has a group.
        """
        self.names = tuple(sorted({g for g in groups if g}))
        if not self.names:
            raise ValueError("nobody has a group")
        number = {name: i for i, name in enumerate(self.names)}
        self.of: Ints = np.array([number[g] if g else -1 for g in groups], np.int64)
        people = len(groups)
        self.genuine: Ints = np.zeros((2, people), np.int64)
        self.impostor: Ints = np.zeros((2, people, len(self.names)), np.int64)
        self.keys: Ints = np.zeros(0, np.int64)
        self.counts: Ints = np.zeros(0, np.int64)

    def known(self, first: Ints, second: Ints) -> npt.NDArray[np.bool_]:
        """Which pairs of people have a group each."""
        return (self.of[first] >= 0) & (self.of[second] >= 0)

    def count_impostors(self, row: int, first: Ints, second: Ints, times: Ints | None = None) -> None:
        """Count impostor comparisons (int[n] people with a group each) as errors (row 0) or trials (row 1)."""
        flat = self.impostor[row].reshape(-1)
        for one, other in ((first, second), (second, first)):
            place = one * len(self.names) + self.of[other]
            flat += np.bincount(place, times, flat.size).astype(np.int64)

    def report(self, threshold: float, confidence: float, margin: float) -> GroupReport:
        """The figures."""
        count = len(self.names)
        between = {(i, j): self.fmr(i, j, confidence) for i in range(count) for j in range(i, count)}
        cross = tuple(tuple(between[min(i, j), max(i, j)] for j in range(count)) for i in range(count))
        own = [cross[i][i] for i in range(count)]
        fnmr = [self.fnmr(i, confidence) for i in range(count)]
        strict = 1 - (1 - confidence) / max(count * (count - 1) // 2, 1)
        figures = tuple(
            GroupFigure(name, int((self.of == i).sum()), own[i], fnmr[i], _note(own, fnmr, i, margin))
            for i, name in enumerate(self.names)
        )
        return GroupReport(
            threshold,
            confidence,
            figures,
            cross,
            _ratio(self.names, own, [self.fmr(i, i, strict) for i in range(count)], confidence, margin),
            _ratio(self.names, fnmr, [self.fnmr(i, strict) for i in range(count)], confidence, margin),
            int((self.of < 0).sum()),
        )

    def fnmr(self, group: int, confidence: float) -> Rate:
        """FNMR of one group."""
        errors, trials = self.genuine[:, self.of == group]
        return clustered_rate(errors, trials, confidence=confidence)

    def fmr(self, one: int, other: int, confidence: float) -> Rate:
        """FMR between two groups, or of one."""
        in_one, in_other = self.of == one, self.of == other
        errors, trials = self.impostor[0, in_one, other], self.impostor[1, in_one, other]
        first, second = np.divmod(self.keys, self.of.size)
        kinds = np.sort(np.stack([self.of[first], self.of[second]]), axis=0)
        chosen = (kinds[0] == min(one, other)) & (kinds[1] == max(one, other))
        squares = float((self.counts[chosen].astype(np.float64) ** 2).sum())
        busy = int((trials > 0).sum())
        units = busy * (busy - 1) // 2
        if one != other:
            back = self.impostor[0, in_other, one], self.impostor[1, in_other, one]
            units = busy * int((back[1] > 0).sum())
            errors, trials = np.concatenate([errors, back[0]]), np.concatenate([trials, back[1]])
        return dyadic_rate(errors, trials, squares, units=units, confidence=confidence)


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
                f"{name}: worth {mine.effective:,.0f} independent comparisons, too few to say anything: {needed:,} "
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
        why = f"'{names[i]}' is more than {margin:g} times as bad as '{names[j]}', chance aside"
    elif all(upper <= margin for _, upper in bounds.values()):
        verdict = "met"
        why = f"no group can be more than {margin:g} times as bad as another"
    else:
        verdict = "cannot be told"
        i, j = max(bounds, key=lambda pair: bounds[pair][1])
        worse = bounds[i, j][1]
        known = f"'{names[i]}' could be up to {worse:.3g} times as bad as '{names[j]}'"
        if worse > _ANY:
            known = f"how much worse than '{names[j]}' '{names[i]}' could be is not known at all"
        why = f"{known}: too few comparisons to show or to refute {margin:g}"
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
