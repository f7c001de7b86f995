"""Samples of scores, and counting them in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate_convert import _metrics as m

values = st.lists(st.floats(-1, 1), min_size=1, max_size=60)
coarse = st.lists(st.sampled_from([-0.5, 0.0, 0.1, 0.25, 0.9]), min_size=1, max_size=60)


@given(scores=st.one_of(values, coarse), threshold=st.floats(-1.5, 1.5))
def test_counts_are_those_of_the_scores(scores, threshold):
    """How many lie below and how many at or above a threshold, ties included."""
    sample = m.Sample.of(scores)
    assert sample.total == len(scores)
    assert int(sample.lower(threshold)) == sum(s < threshold for s in scores)
    assert int(sample.at_least(threshold)) == sum(s >= threshold for s in scores)
    assert sample.at_least(min(scores)) == len(scores)


@given(scores=st.one_of(values, coarse))
def test_moments_and_quantiles_are_numpys(scores):
    """Mean, variance (n - 1) and quantiles of the counted scores are those of the list."""
    sample = m.Sample.of(scores)
    assert sample.mean() == pytest.approx(np.mean(scores), abs=1e-12)
    if len(scores) > 1:
        assert sample.variance() == pytest.approx(np.var(scores, ddof=1), abs=1e-12)
    for share in (0, 0.25, 0.5, 0.975, 1):
        assert sample.quantile(share) == np.quantile(scores, share, method="inverted_cdf")


@given(scores=st.one_of(values, coarse))
def test_histogram_is_numpys(scores):
    """Bins are half open, the last one is closed."""
    edges = [-1, -0.5, 0, 0.1, 0.25, 0.9]
    np.testing.assert_array_equal(m.Sample.of(scores).histogram(edges), np.histogram(scores, edges)[0])


@pytest.mark.parametrize("bad", [[np.nan], [0.1, np.inf], [-np.inf]])
def test_scores_that_are_no_numbers_are_refused(bad):
    """Neither a list nor a counter takes them."""
    with pytest.raises(ValueError, match="not a finite number"):
        m.Scores(bad, [0.1])
    with pytest.raises(ValueError, match="not a finite number"):
        m.ScoreCounter().add(impostor=bad)


@pytest.mark.parametrize(("genuine", "impostor"), [([], []), ([0.1], []), ([], [0.1])])
def test_both_kinds_are_needed(genuine, impostor):
    """Without one of the two nothing can be told apart."""
    with pytest.raises(ValueError, match="both kinds"):
        m.Scores(genuine, impostor)
    counter = m.ScoreCounter(decimals=2)
    counter.add(genuine=genuine, impostor=impostor)
    with pytest.raises(ValueError, match="both kinds"):
        counter.scores()


@given(
    thousandths=st.lists(st.integers(-1000, 1000), min_size=1, max_size=40),
    nudge=st.sampled_from([-2, -1, 0, 1, 2]),
)
def test_counter_puts_scores_beside_an_edge_on_the_right_side(thousandths, nudge):
    """A score one or two floats below an edge is counted below it, one at the edge is not."""
    scores = [t / 1000 for t in thousandths]
    for _ in range(abs(nudge)):
        scores = [float(np.nextafter(s, np.sign(nudge))) for s in scores]
    scores = [min(max(s, -1.0), 1.0) for s in scores]
    counter = m.ScoreCounter(decimals=3)
    counter.add(genuine=scores, impostor=[0.0])
    found = counter.scores().genuine
    for edge in {t / 1000 for t in thousandths}:
        assert int(found.at_least(edge)) == sum(s >= edge for s in scores)


@pytest.mark.parametrize("decimals", [4, 6])
def test_counter_is_exact_at_thresholds_of_its_decimals(decimals):
    """Counts of a hundred thousand scores at random thresholds are those of the scores themselves."""
    rng = np.random.default_rng(4)
    scores = np.clip(rng.normal(0.1, 0.3, 100_000), -1, 1)
    counter = m.ScoreCounter(decimals=decimals)
    for part in np.array_split(scores, 7):
        counter.add(impostor=part.astype(np.float64), genuine=-part[:5])
    found = counter.scores()
    thresholds = np.round(rng.uniform(-1, 1, 500), decimals)
    np.testing.assert_array_equal(found.impostor.at_least(thresholds), (scores >= thresholds[:, None]).sum(axis=1))
    assert found.resolution == pytest.approx(10**-decimals)
    assert np.abs(found.impostor.mean() - scores.mean()) < 10**-decimals
    assert counter.totals == (35, 100_000)


def test_every_edge_is_a_place_of_its_own():
    """All two million edges of six decimals are counted each in its own place, whatever the rounding of k * 1e-6."""
    edges = np.arange(-1_000_000, 1_000_001) / 1_000_000
    counter = m.ScoreCounter()
    counter.add(genuine=edges, impostor=np.nextafter(edges[1:], -2))
    found = counter.scores()
    np.testing.assert_array_equal(found.genuine.values, edges)
    assert found.genuine.counts.max() == 1
    np.testing.assert_array_equal(found.impostor.values, edges[:-1])


def test_float32_scores_are_counted_as_what_they_are():
    """A float32 just below a threshold as float64 is below it."""
    score = np.float32(0.3)  # 0.30000001192...
    counter = m.ScoreCounter()
    counter.add(genuine=np.array([score, np.nextafter(score, np.float32(0))]), impostor=[0.0])
    assert int(counter.scores().genuine.at_least(0.3)) == 1


def test_scores_beyond_one_count_as_one():
    """Rounding may carry a cosine beyond its range; it is still counted."""
    counter = m.ScoreCounter()
    counter.add(genuine=[1.0000001, 1.0, 7.0], impostor=[-1.0000001, -1.0])
    found = counter.scores()
    assert (found.genuine.values.tolist(), found.impostor.values.tolist()) == ([1.0], [-1.0])


@pytest.mark.parametrize("decimals", [0, 8, -1])
def test_a_counter_of_no_sensible_size_is_refused(decimals):
    """Too coarse to say anything, or too large to keep."""
    with pytest.raises(ValueError, match="decimals"):
        m.ScoreCounter(decimals=decimals)
