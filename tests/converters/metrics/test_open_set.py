"""Identification in an open set, against searches made one by one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_convert import _metrics as m

# Gallery: person 0 twice, person 1, person 2. Probes: of 0, 1, 2 and of the stranger 9.
GALLERY = [0, 1, 0, 2]
SIMILARITIES = [
    [0.4, 0.1, 0.8, 0.2],  # 0: found by the second template, at rank 1
    [0.6, 0.5, 0.1, 0.2],  # 1: rank 2, behind 0
    [0.3, 0.3, 0.1, 0.3],  # 2: three as similar: rank 3
    [0.1, 0.7, 0.2, 0.3],  # stranger: top 0.7
    [0.1, 0.1, 0.2, 0.3],  # stranger: top 0.3
]
PROBES = [0, 1, 2, 9, 9]


@pytest.fixture
def found():
    """The searches above, in two calls."""
    counter = m.SearchCounter(GALLERY)
    counter.add(SIMILARITIES[:2], PROBES[:2])
    counter.add(np.float32(SIMILARITIES[2:]), PROBES[2:])
    return counter.result()


def test_searches_by_hand(found):
    """Ranks and tops as read off the table; a tie is no success."""
    assert (found.gallery, found.mated, found.nonmated) == (3, 3, 2)
    assert found.rank.tolist() == [1, 2, 3]
    assert found.mate.tolist() == pytest.approx([0.8, 0.5, 0.3])
    assert found.top.values.tolist() == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize(
    ("threshold", "rank", "fpir", "fnir"),
    [(0.0, 1, 2, 2), (0.0, 2, 2, 1), (0.0, 3, 2, 0), (0.4, 3, 1, 1), (0.6, 3, 1, 2), (0.71, 1, 0, 2), (0.9, 1, 0, 3)],
)
def test_rates_by_hand(found, threshold, rank, fpir, fnir):
    """FPIR counts strangers with any candidate; FNIR people who are not among the first at or above the threshold."""
    false_positive, false_negative = found.fpir_at(threshold), found.fnir_at(threshold, rank)
    assert (false_positive.errors, false_positive.trials) == (fpir, 2)
    assert (false_negative.errors, false_negative.trials) == (fnir, 3)
    assert (false_negative.low, false_negative.high) == m.clopper_pearson(fnir, 3)


def test_rank_without_a_threshold(found):
    """The share missed at rank 1 is 2/3, at rank 3 none."""
    assert [found.miss_at_rank(r).errors for r in (1, 2, 3, 4)] == [2, 1, 0, 0]


def test_failures_are_searches():
    """A probe without a face is a miss if its person is enrolled, and no false alarm otherwise."""
    counter = m.SearchCounter(GALLERY)
    counter.add(SIMILARITIES, PROBES)
    counter.fail(mated=GALLERY[:2], nonmated=range(90, 98))
    found = counter.result()
    assert (found.fnir_at(0, 3).errors, found.fnir_at(0, 3).trials) == (2, 5)
    assert (found.fpir_at(0).errors, found.fpir_at(0).trials) == (2, 10)
    assert found.miss_at_rank(3).errors == 2


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, 9))
def test_random_searches_agree_with_a_plain_loop(seed, chunk):
    """Whatever the sizes of the chunks, every search ends as if made alone."""
    rng = np.random.default_rng(seed)
    gallery = rng.integers(0, 6, rng.integers(1, 10))
    probes = rng.integers(0, 9, 12)
    table = rng.integers(-5, 6, (12, gallery.size)) / 5
    counter = m.SearchCounter(gallery)
    for start in range(0, 12, chunk):
        counter.add(table[start : start + chunk], probes[start : start + chunk])
    found = counter.result()
    misses, alarms = 0, 0
    for row, probe in zip(table, probes, strict=True):
        best = {person: max(s for s, g in zip(row, gallery, strict=True) if g == person) for person in set(gallery)}
        if probe in best:
            ahead = sum(s >= best[probe] for person, s in best.items() if person != probe)
            misses += not (best[probe] >= 0.2 and ahead + 1 <= 2)
        else:
            alarms += max(best.values()) >= 0.2
    assert (found.fnir_at(0.2, 2).errors, found.fpir_at(0.2).errors) == (misses, alarms)


def test_fnir_at_fpir_says_what_it_cannot_carry():
    """The threshold keeps the FPIR; fewer than 3 over FPIR searches are said to be too few."""
    rng = np.random.default_rng(1)
    counter = m.SearchCounter(np.arange(50))
    table = rng.normal(0, 0.2, (400, 50))
    owner = np.r_[np.arange(100) % 50, np.full(300, 77)]
    table[np.arange(100), owner[:100]] += 0.8
    counter.add(table, owner)
    found = counter.result()
    figure = found.fnir_at_fpir(0.01)
    assert figure.fpir_measured.errors <= 3
    assert figure.carried
    assert "rule of 30" in figure.note
    assert not found.fnir_at_fpir(0.001).carried
    assert "3,000 nonmated searches" in found.fnir_at_fpir(0.001).note
    assert json.loads(json.dumps(figure.to_dict()))["rank"] == 1
    threshold, fpir, fnir = found.det()
    assert (fpir[0], fpir[-1], fnir[-1]) == (1, 0, 1)
    assert np.all(np.diff(fpir) <= 0)
    assert np.all(np.diff(fnir) >= 0)
    for t, p, n in zip(threshold[::7], fpir[::7], fnir[::7], strict=True):
        assert (p, n) == (found.fpir_at(t).value, found.fnir_at(t).value)
    assert len(found.det(points=20)[0]) <= 20


@pytest.mark.parametrize(
    ("table", "probes", "message"),
    [
        ([[0.1, 0.2]], [0], "templates"),
        ([[0.1, 0.2, 0.3, 0.4]], [0, 1], "probes"),
        ([[0.1, 0.2, 0.3, np.nan]], [0], "finite"),
    ],
)
def test_similarities_that_do_not_fit_are_refused(table, probes, message):
    """Wrong shapes and values that are no numbers."""
    with pytest.raises(ValueError, match=message):
        m.SearchCounter(GALLERY).add(table, probes)


def test_searches_for_one_person_depend_on_each_other():
    """Ten people searched for twenty times each are worth ten searches as long as next to nothing goes wrong."""
    people = np.arange(20)
    counter = m.SearchCounter(people[:10])
    probes = np.repeat(people, 20)
    table = np.where(probes[:, None] == people[:10], 0.9, 0.1)
    counter.add(table, probes)
    found = counter.result()
    for missed in (found.fnir_at(0.5), found.fpir_at(0.5), found.miss_at_rank(1)):
        assert (missed.errors, missed.trials, missed.effective) == (0, 200, 10)
        assert (missed.low, missed.high) == m.clopper_pearson(0, 10)
    # Two people are never found: forty errors, and yet two of ten.
    counter.add(np.full((40, 10), 0.2), np.repeat(people[:2], 20))
    worse = counter.result().fnir_at(0.5)
    assert (worse.errors, worse.trials) == (40, 240)
    assert worse.effective < 20
    assert worse.high > 1.9 * m.clopper_pearson(40, 240)[1]


def test_a_point_that_rests_on_few_false_alarms_says_so():
    """The rule of 3 is met and that of 30 is not; with enough searches nothing is to be said."""
    for searches, text in ((40, "rests on 4 false alarms; it takes 30 (300 nonmated searches)"), (400, "")):
        counter = m.SearchCounter([0])
        counter.add(np.linspace(0, 1, searches)[:, None], np.arange(1, searches + 1))
        counter.add([[0.9]], [0])
        point = counter.result().fnir_at_fpir(0.1)
        assert point.carried
        assert text in point.note
        assert bool(point.note) == bool(text)


def test_what_makes_no_sense_is_refused(found):
    """An empty gallery, rank 0, a curve of nothing."""
    with pytest.raises(ValueError, match="empty"):
        m.SearchCounter([])
    with pytest.raises(ValueError, match="rank 0"):
        found.fnir_at(0.5, 0)
    with pytest.raises(ValueError, match="both are needed"):
        m.SearchCounter(GALLERY).result().det()


def test_no_probes_are_no_searches():
    """An empty chunk changes nothing."""
    counter = m.SearchCounter(GALLERY)
    counter.add(np.zeros((0, 4)), [])
    assert (counter.result().mated, counter.result().nonmated) == (0, 0)
    assert counter.result().fpir_at(0.5).high == 1
