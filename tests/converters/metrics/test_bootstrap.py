"""Scores with whose they are, and the bootstrap by identity against one that copies every comparison."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_convert import _metrics as m
from facegate_convert._metrics._bootstrap import BOOTSTRAP, DYADIC, WIDENED, draw

KNOWN = [[2, 0, 1, 0, 1, 2, 1, 1], [2, 1, 0, 0, 1, 0, 2, 2], [0, 1, 1, 2, 1, 0, 1, 2]]


def people(seed, count=25, length=6, noise=0.9):
    """Float templates of people with one to four photographs, and whose they are."""
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 5, count)
    images[:2] = 3
    owner = np.repeat(np.arange(count), images)
    features = rng.normal(size=(count, length))[owner] + noise * rng.normal(size=(owner.size, length))
    return features, owner, images


def counted(features, owner, *, images=None, tail=1 << 22, block=1 << 20):
    """Every two templates compared once."""
    counter = m.SubjectCounter(int(owner.max()) + 1, images=images, tail=tail)
    for part in m.all_pairs(features, owner, block=block):
        counter.add(*part)
    return counter.result()


def copied(features, owner, weights):
    """The scores of a replicate, each comparison copied as often as it counts."""
    scores, a, b = (np.concatenate(part) for part in zip(*m.all_pairs(features, owner), strict=True))
    w = weights.astype(int)
    same = a == b
    return np.repeat(scores[same], w[a[same]]), np.repeat(scores[~same], w[a[~same]] * w[b[~same]])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("images", [True, False])
def test_replicates_are_those_of_copied_comparisons(seed, images):
    """Percentiles of FNMR at FMR, thresholds and EER equal those of the plain figures on copied comparisons."""
    features, owner, counts = people(seed)
    data = counted(features, owner, images=counts if images else None)
    targets, fixed = (0.1, 0.02), 0.55
    found = m.bootstrap(data, fmr=targets, thresholds=[fixed], replicates=60, seed=seed)
    rows = []
    for number in range(60):
        genuine, impostor = copied(features, owner, draw(counts.size, seed, number))
        scores = m.Scores(genuine, impostor)
        thresholds = [m.threshold_at_fmr(scores, f) for f in targets]
        missed = [(genuine < t).mean() for t in [*thresholds, fixed]]
        rows.append([m.eer(scores).value, *thresholds, *missed])
    low, high = np.quantile(np.array(rows), [0.025, 0.975], axis=0)
    intervals = [found.eer, *(p.threshold for p in found.points[:2]), *(p.fnmr for p in found.points[:2])]
    intervals.append(found.points[2].fnmr)
    for k, interval in enumerate(intervals):
        if interval.method == BOOTSTRAP:
            assert (interval.low, interval.high) == pytest.approx((low[k], high[k]), abs=1e-12)
        else:
            assert interval.method == WIDENED
            assert interval.low <= low[k] + 1e-12
            assert interval.high >= high[k] - 1e-12
    assert sum(i.method == BOOTSTRAP for i in intervals) >= 4
    assert found.eer.value == pytest.approx(m.eer(data.scores).value)


def test_tail_is_enough():
    """What is kept of a thousandth of the comparisons gives the same intervals as all of them."""
    features, owner, images = people(5, count=60, length=24, noise=0.4)
    whole = m.bootstrap(counted(features, owner, images=images), fmr=(0.01,), replicates=50)
    part = counted(features, owner, images=images, tail=1000, block=700)
    assert part.scores.resolution > 0
    assert part.impostor.scores.size <= 1000 < part.scores.impostor.total
    found = m.bootstrap(part, fmr=(0.01,), replicates=50)
    assert found.points == whole.points
    assert found.eer.low == pytest.approx(whole.eer.low, abs=1e-5)
    assert found.eer.high == pytest.approx(whole.eer.high, abs=1e-5)


def test_beyond_the_tail_there_is_no_interval():
    """Where comparisons were not kept with whose they are, it is said, and nothing is made up."""
    features, owner, images = people(6, count=60, length=6, noise=0.9)
    data = counted(features, owner, images=images, tail=100, block=700)
    found = m.bootstrap(data, fmr=(0.3,), thresholds=[0.0], replicates=20)
    assert found.eer is None
    assert (found.points[0].threshold, found.points[0].fnmr, found.points[0].fmr_measured) == (None, None, None)
    assert "beyond the comparisons that were kept" in found.points[0].note
    assert found.points[1].fmr_measured is None
    assert found.points[1].fnmr is not None
    assert json.loads(json.dumps(found.to_dict()))["eer"] is None


def test_fmr_at_the_threshold_has_the_dyadic_interval():
    """The FMR that was measured is that of one group of everybody."""
    features, owner, images = people(4)
    data = counted(features, owner, images=images)
    point = m.bootstrap(data, fmr=(0.05,), replicates=5, confidence=0.9).points[0]
    alone = m.by_group(data, ["all"] * images.size, point.threshold.value, confidence=0.9).groups[0].fmr
    assert (point.fmr_measured.low, point.fmr_measured.high) == (alone.low, alone.high)
    assert point.fmr_measured.value == m.fmr_at(data.scores, point.threshold.value).value
    assert point.fmr_measured.method == DYADIC


def test_a_seed_gives_the_same_intervals_and_another_others():
    """A result can be reproduced from its seed."""
    data = counted(*people(7)[:2])
    one, two, other = (m.bootstrap(data, fmr=(0.1,), replicates=40, seed=s) for s in (3, 3, 4))
    assert one == two != other
    assert (one.seed, one.replicates, one.subjects, one.confidence) == (3, 40, 25, 0.95)


def test_draws_are_known_numbers():
    """PCG64's bits do not change with numpy's versions, and so neither do the draws."""
    assert draw(8, 0, 0).tolist() == KNOWN[0]
    assert draw(8, 0, 1).tolist() == KNOWN[1]
    assert draw(8, 1, 0).tolist() == KNOWN[2]


def test_draws_are_fair():
    """Everybody is drawn once on average, with the variance of a multinomial."""
    drawn = np.array([draw(50, 9, k) for k in range(2000)])
    assert np.all(drawn.sum(axis=1) == 50)
    assert drawn.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_without_an_error_the_interval_is_not_empty():
    """Resampling no errors gives none; the exact bound of one trial a person stands in."""
    features, owner, images = people(8, count=40, length=64, noise=0.1)
    data = counted(features, owner, images=images)
    found = m.bootstrap(data, fmr=(0.01,), thresholds=[0.8], replicates=20)
    several = int((images > 1).sum())
    fixed = found.points[1]
    assert (fixed.fnmr.value, fixed.fnmr.low, fixed.fnmr.method) == (0, 0, WIDENED)
    assert fixed.fnmr.high == pytest.approx(1 - 0.025 ** (1 / several))
    assert fixed.fmr_measured.high == pytest.approx(1 - 0.025 ** (1 / (40 * 39 / 2)))
    assert "rests on 0 false matches" in fixed.note


def test_two_people_are_too_few():
    """Drawing one of them twice leaves no impostors: no interval, and it is said."""
    counter = m.SubjectCounter(2)
    counter.add([0.9, 0.8, 0.1, 0.2], [0, 1, 0, 1], [0, 1, 1, 0])
    found = m.bootstrap(counter.result(), fmr=(0.1,), replicates=20)
    assert (found.eer, found.points[0].threshold, found.points[0].fnmr) == (None, None, None)
    assert "2 people are too few" in found.points[0].note


def test_progress_is_told():
    """After each replicate."""
    seen = []
    m.bootstrap(counted(*people(9)[:2]), fmr=(0.1,), replicates=5, progress=lambda *v: seen.append(v))
    assert seen == [(k, 5) for k in range(1, 6)]


@pytest.mark.parametrize("options", [{"fmr": [0]}, {"fmr": [1.0]}, {"replicates": 1}, {"confidence": 1}])
def test_a_bootstrap_of_nothing_is_refused(options):
    """Targets that are no rates, one replicate, certainty."""
    with pytest.raises(ValueError, match="no bootstrap"):
        m.bootstrap(counted(*people(1)[:2]), **options)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 12),
    block=st.integers(1, 40),
    kind=st.sampled_from(["int8", "float32", "float64"]),
)
def test_all_pairs_are_every_two_once(seed, count, block, kind):
    """Whatever the size of the blocks: each pair once, its cosine that of the two vectors."""
    rng = np.random.default_rng(seed)
    features = rng.integers(-127, 128, (count, 5)) if kind == "int8" else rng.normal(size=(count, 5))
    features = features.astype(kind)
    features[:, 0] = 3
    owner = np.arange(count)  # a person each: the subjects are the rows
    found = {
        (int(i), int(j)): s for part in m.all_pairs(features, owner, block=block) for s, i, j in zip(*part, strict=True)
    }
    assert sorted(found) == list(itertools.combinations(range(count), 2))
    wide = features.astype(np.float64)
    for (i, j), score in found.items():
        cosine = wide[i] @ wide[j] / (np.linalg.norm(wide[i]) * np.linalg.norm(wide[j]))
        assert score == pytest.approx(cosine, abs=1e-6 if kind == "float32" else 1e-14)


def test_all_pairs_of_unit_vectors_are_not_normalized_again():
    """A vector of length 2 gives twice the similarity if asked for the plain product."""
    features = np.array([[2.0, 0.0], [1.0, 0.0]])
    ((scores, _, _),) = m.all_pairs(features, [0, 1], normalize=False)
    assert scores.tolist() == [2.0]


@pytest.mark.parametrize(
    ("features", "owner", "message"),
    [
        (np.ones((3, 2)), [0, 1], "templates of shape"),
        (np.ones(3), [0, 1, 2], "templates of shape"),
        (np.zeros((2, 2)), [0, 1], "no length"),
    ],
)
def test_templates_that_cannot_be_compared_are_refused(features, owner, message):
    """Shapes that do not fit, and a template of zeros."""
    with pytest.raises(ValueError, match=message):
        list(m.all_pairs(features, owner))


def test_single_template_makes_no_pair():
    """One photograph, or none, is compared with nothing."""
    assert list(m.all_pairs(np.ones((1, 2)), [0])) == []
    assert list(m.all_pairs(np.ones((0, 2)), [])) == []


@pytest.mark.parametrize(
    ("scores", "a", "b", "message"),
    [
        ([0.1], [0, 1], [1], "1 scores"),
        ([np.nan], [0], [1], "finite"),
        ([0.1], [0], [2], "0..1"),
        ([0.1], [-1], [0], "0..1"),
    ],
)
def test_comparisons_that_do_not_fit_are_refused(scores, a, b, message):
    """Lengths that differ, scores that are no numbers, people out of range."""
    with pytest.raises(ValueError, match=message):
        m.SubjectCounter(2).add(scores, a, b)


def test_a_set_that_is_not_complete_is_not_taken_as_complete():
    """The number of photographs promises every pair; if one is missing, the result is refused."""
    counter = m.SubjectCounter(2, images=[2, 1])
    counter.add([0.9, 0.1], [0, 0], [0, 1])
    with pytest.raises(ValueError, match="1 impostor comparisons, but the photographs make 2"):
        counter.result()
    counter.add([0.2], [0], [1])
    assert counter.result().scores.impostor.total == 2


@pytest.mark.parametrize("options", [{"images": [1]}, {"tail": 0}])
def test_a_counter_that_makes_no_sense_is_refused(options):
    """Photographs of another number of people, or nothing to keep."""
    with pytest.raises(ValueError, match="subjects"):
        m.SubjectCounter(2, **options)


def test_scores_stay_exact_until_they_are_too_many():
    """Up to the tail's size nothing is rounded; beyond, scores are rounded down to six decimals."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(-1, 1, 40)
    a, b = np.zeros(40, int), np.arange(40) % 2
    exact, rounded = m.SubjectCounter(2, tail=40), m.SubjectCounter(2, tail=19)
    for counter in (exact, rounded):
        for part in range(0, 40, 10):
            counter.add(scores[part : part + 10], a[part : part + 10], b[part : part + 10])
    assert exact.result().scores.resolution == 0
    found = rounded.result().scores
    assert found.resolution == pytest.approx(1e-6)
    np.testing.assert_allclose(found.genuine.values, np.floor(np.sort(scores[b == 0]) * 1e6) / 1e6, atol=1e-12)
    assert found.impostor.total == 20
