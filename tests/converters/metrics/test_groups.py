"""Rates by group, intervals of comparisons that share people, and the 25 % rule."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_convert import _metrics as m


def population(rng, sizes, rates, *, photographs=2, noise=0.0):
    """Everybody compared with everybody: (scores, a, b, groups); a score is 1 or 0, accepted at 0.5.

    rates[i] is the chance of an error of group i, genuine or impostor; `noise` makes people differ in theirs.
    """
    groups = [name for name, size in sizes.items() for _ in range(size)]
    chance = np.array([rates[g] for g in groups]) * np.exp(noise * rng.normal(size=len(groups)))
    rows = [(i, p) for i in range(len(groups)) for p in range(photographs)]
    a, b, scores = [], [], []
    for (i, _), (j, _) in itertools.combinations(rows, 2):
        wrong = rng.random() < min((chance[i] + chance[j]) / 2, 1)
        a.append(i)
        b.append(j)
        scores.append(float(wrong != (i == j)))
    return np.array(scores), np.array(a), np.array(b), groups


def test_rates_counted_by_hand():
    """Two people of each group; every comparison is looked up."""
    a = [0, 0, 2, 0, 0, 1, 2, 1]
    b = [0, 1, 2, 2, 3, 2, 3, 1]
    scores = [0.9, 0.6, 0.1, 0.7, 0.2, 0.5, 0.1, 0.4]
    found = m.by_group(counted(scores, a, b, 4), ["x", "x", "y", "y"], 0.5)
    x, y = found.groups
    assert (x.name, x.subjects, y.name) == ("x", 2, "y")
    assert (x.fnmr.errors, x.fnmr.trials) == (1, 2)  # 0.9 and 0.4
    assert (y.fnmr.errors, y.fnmr.trials) == (1, 1)  # 0.1
    assert (x.fmr.errors, x.fmr.trials) == (1, 1)  # 0.6
    assert (y.fmr.errors, y.fmr.trials) == (0, 1)  # 0.1
    assert (found.cross[0][1].errors, found.cross[0][1].trials) == (2, 3)  # 0.7, 0.5 of 0.7, 0.2, 0.5
    assert found.cross[0][1] == found.cross[1][0]
    assert found.cross[0][0] == x.fmr


def counted(scores, a, b, people, **options):
    """A SubjectCounter's result."""
    counter = m.SubjectCounter(people, **options)
    counter.add(scores, a, b)
    return counter.result()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), labels=st.lists(st.sampled_from(["x", "y", "z", "", None]), min_size=3, max_size=8))
def test_three_ways_of_counting_agree_with_a_plain_loop(seed, labels):
    """From kept comparisons with and without the number of photographs, and while they are made."""
    if not any(labels):
        labels[0] = "x"
    rng = np.random.default_rng(seed)
    people = len(labels)
    images = rng.integers(1, 4, people)
    images[:2] = 2
    owner = np.repeat(np.arange(people), images)
    blocks = list(m.all_pairs(rng.normal(size=(owner.size, 3)), owner, block=20))
    counters = m.SubjectCounter(people, images=images), m.SubjectCounter(people), m.GroupCounter(labels, 0.3)
    for block, counter in itertools.product(blocks, counters):
        counter.add(*block)
    complete, listed = (m.by_group(c.result(), labels, 0.3) for c in counters[:2])
    streamed = counters[2].result()
    assert complete == listed == streamed
    scores, a, b = (np.concatenate(part) for part in zip(*blocks, strict=True))
    names = [g.name for g in complete.groups]
    assert names == sorted({g for g in labels if g})
    assert complete.unlabeled == sum(not g for g in labels)
    for (i, one), (j, other) in itertools.product(enumerate(names), repeat=2):
        kept = [p != q and {labels[p], labels[q]} == {one, other} for p, q in zip(a, b, strict=True)]
        mine = scores[kept] >= 0.3
        assert (complete.cross[i][j].errors, complete.cross[i][j].trials) == (mine.sum(), mine.size)
    for i, one in enumerate(names):
        mine = scores[[p == q and labels[p] == one for p, q in zip(a, b, strict=True)]] < 0.3
        assert (complete.groups[i].fnmr.errors, complete.groups[i].fnmr.trials) == (mine.sum(), mine.size)


def test_independent_trials_keep_their_worth():
    """One trial a person: worth what they are, but for the one degree of freedom that their rate takes."""
    errors = np.r_[np.ones(40), np.zeros(160)]
    found = m.clustered_rate(errors, np.ones(200))
    assert found.effective == pytest.approx(199)
    assert found.value == 0.2


def test_people_who_always_fail_are_worth_one_trial_each():
    """20 of 100 people fail in all of their 10 trials: the trials are worth about 100, not 1000."""
    errors = np.r_[np.full(20, 10), np.zeros(80)]
    found = m.clustered_rate(errors, np.full(100, 10))
    assert (found.errors, found.trials) == (200, 1000)
    assert found.effective == pytest.approx(99)
    assert (found.low, found.high) == pytest.approx(m.clopper_pearson(19.8, 99), rel=1e-9)


def test_pairs_that_share_a_person_may_depend_on_each_other():
    """The variance is the double sum over all pairs of comparisons that share a person, written out."""
    rng = np.random.default_rng(8)
    people = 12
    wolf = np.exp(rng.normal(size=people))
    pairs = list(itertools.combinations(range(people), 2))
    wrong = {p: float(rng.random() < 0.15 * wolf[p[0]] * wolf[p[1]]) for p in pairs}
    value = sum(wrong.values()) / len(pairs)
    rest = {p: wrong[p] - value for p in pairs}
    corner = people / (people - 1)
    by_person = [sum(rest[p] for p in pairs if i in p) for i in range(people)]
    shared = sum(rest[p] * rest[q] for p in pairs for q in pairs if set(p) & set(q))
    assert sum(s * s for s in by_person) - sum(r * r for r in rest.values()) == pytest.approx(shared)
    spread = corner * sum(s * s for s in by_person) - sum(r * r for r in rest.values())
    errors = [sum(wrong[p] for p in pairs if i in p) for i in range(people)]
    found = m.dyadic_rate(errors, np.full(people, people - 1), sum(v * v for v in wrong.values()), units=len(pairs))
    assert found.errors == sum(wrong.values()) >= 10
    assert found.effective == pytest.approx(min(value * (1 - value) * len(pairs) ** 2 / spread, len(pairs)), rel=1e-9)


def test_few_errors_are_worth_one_trial_a_person_at_most():
    """Three errors in a thousand trials of ten people: nobody can say how much people differ."""
    found = m.clustered_rate([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], np.full(10, 100))
    assert found.effective == 10
    assert found.high > 0.2


@pytest.mark.parametrize(
    ("rates", "sizes", "verdict"),
    [
        ({"x": 0.30, "y": 0.30}, {"x": 90, "y": 90}, "met"),
        ({"x": 0.02, "y": 0.20}, {"x": 60, "y": 60}, "not met"),
        ({"x": 0.05, "y": 0.05}, {"x": 15, "y": 15}, "cannot be told"),
    ],
)
def test_the_25_percent_rule(rates, sizes, verdict):
    """Equal groups that are large enough meet it, unequal ones do not, small ones cannot tell."""
    scores, a, b, groups = population(np.random.default_rng(1), sizes, rates)
    found = m.by_group(counted(scores, a, b, len(groups)), groups, 0.5)
    assert found.fmr.verdict == verdict
    assert found.fmr.low <= found.fmr.value <= found.fmr.high
    own = {g.name: g.fmr.value for g in found.groups}
    assert found.fmr.value == pytest.approx(max(own.values()) / min(own.values()))
    assert own[found.fmr.worst] == max(own.values())
    assert found.fmr.why


def test_a_wider_margin_is_met_more_easily():
    """What cannot be told of 25 % may be sure of 400 %."""
    scores, a, b, groups = population(np.random.default_rng(1), {"x": 25, "y": 25}, {"x": 0.1, "y": 0.1})
    data = counted(scores, a, b, len(groups))
    assert m.by_group(data, groups, 0.5).fmr.verdict == "cannot be told"
    assert m.by_group(data, groups, 0.5, margin=5).fmr.verdict == "met"


def test_a_group_without_an_error_proves_nothing():
    """No error in few comparisons: the ratio has no upper end, and it is said which size would tell."""
    scores, a, b, groups = population(np.random.default_rng(2), {"x": 60, "y": 3}, {"x": 0.05, "y": 0.0})
    found = m.by_group(counted(scores, a, b, len(groups)), groups, 0.5)
    y = found.groups[1]
    assert y.fmr.errors == 0
    assert "too few to say anything" in y.note
    assert found.groups[0].note == ""
    assert found.fmr.verdict == "cannot be told"
    assert math.isinf(found.fmr.high)
    assert "how much worse than 'y' 'x' could be is not known at all" in found.fmr.why
    written = found.to_dict()
    assert written["fmr"]["high"] is None
    assert json.loads(json.dumps(written)) == written


def test_one_group_has_no_ratio():
    """With one group, or comparisons of one only, there is nothing to compare."""
    found = m.by_group(counted([0.9, 0.1, 0.9], [0, 0, 1], [0, 1, 1], 2), ["x", "x"], 0.5)
    assert (found.fmr, found.fnmr) == (None, None)
    apart = m.by_group(counted([0.9, 0.1, 0.9], [0, 0, 1], [0, 1, 1], 2), ["x", "y"], 0.5)
    assert apart.fmr is None
    assert "FMR: no comparisons" in apart.groups[0].note
    assert apart.fnmr.value == 1


def test_more_groups_are_held_to_stricter_intervals():
    """The more pairs of groups there are, the wider each ratio's interval, so that all hold together."""
    rng = np.random.default_rng(3)
    scores, a, b, two = population(rng, {"u": 30, "v": 30}, {"u": 0.1, "v": 0.1})
    data = counted(scores, a, b, 60)
    wide = m.by_group(data, two, 0.5).fmr
    names = [f"{g}{i % 3 if i % 30 < 3 else ''}" for i, g in enumerate(two)]
    many = m.by_group(data, names, 0.5)
    assert len(many.groups) > 4
    assert many.confidence == wide.confidence == 0.95
    assert many.fmr.high / max(many.fmr.value, 1e-9) > wide.high / wide.value


def test_threshold_beyond_what_was_kept_is_refused():
    """Where errors were not kept with whose they are, no figure is made up."""
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(30), 2)
    counter = m.SubjectCounter(30, tail=50)
    for block in m.all_pairs(rng.normal(size=(60, 8)), owner, block=100):
        counter.add(*block)
    data = counter.result()
    with pytest.raises(ValueError, match="beyond the comparisons that were kept"):
        m.by_group(data, ["x"] * 30, -0.5)
    assert m.by_group(data, ["x"] * 30, 0.9).groups[0].fmr.trials == 60 * 59 // 2 - 30
    with pytest.raises(ValueError, match="groups of 2 people"):
        m.by_group(data, ["x", "y"], 0.9)


def test_curves_by_group_are_those_of_the_group():
    """Scores of a group's own comparisons, exact at thresholds of four decimals."""
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(20), 3)
    groups = ["x"] * 12 + ["y"] * 7 + [None]
    counter = m.GroupScores(groups)
    kept = []
    for block in m.all_pairs(rng.normal(size=(60, 4)), owner, block=300):
        counter.add(*block)
        kept.append(block)
    scores, a, b = (np.concatenate(part) for part in zip(*kept, strict=True))
    found = counter.result()
    assert set(found) == {"x", "y"}
    for name, scores_of in found.items():
        mine = np.array([groups[p] == groups[q] == name for p, q in zip(a, b, strict=True)])
        assert int(scores_of.impostor.at_least(0.1234)) == (scores[mine & (a != b)] >= 0.1234).sum()
        assert scores_of.genuine.total == (mine & (a == b)).sum()


@pytest.mark.parametrize("make", [lambda g: m.GroupCounter(g, 0.5), m.GroupScores])
def test_counters_refuse_what_does_not_fit(make):
    """Nobody with a group, arrays of different lengths, scores that are no numbers."""
    with pytest.raises(ValueError, match="nobody has a group"):
        make([None, ""])
    with pytest.raises(ValueError, match="subjects"):
        make(["x", "y"]).add([0.1, 0.2], [0], [1])
    with pytest.raises(ValueError, match="finite"):
        make(["x", "x"]).add([np.nan], [0], [1])
