"""The statistics behind operating points, against closed forms and an independent implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate_convert import _statistics


@pytest.mark.parametrize("trials", [1, 3, 10, 300, 10_000, 1_000_000])
def test_interval_without_errors_is_the_closed_form(trials):
    """No error in n trials: from 0 to 1 - 0.025^(1/n), and the mirror image if every trial is an error."""
    upper = -math.expm1(math.log(0.025) / trials)
    assert _statistics.clopper_pearson(0, trials) == pytest.approx((0, upper), rel=1e-8)
    low, high = _statistics.clopper_pearson(trials, trials)
    assert high == 1
    assert low == pytest.approx(1 - upper, rel=1e-8)


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        # Textbook values: 0/0 knows nothing; 5/10 and 1/20 from tables of exact 95 % limits.
        (0, 0, 0.0, 1.0),
        (5, 10, 0.187086, 0.812914),
        (1, 20, 0.001265, 0.248733),
    ],
)
def test_interval_equals_tables(errors, trials, low, high):
    """Exact limits equal the published ones."""
    assert _statistics.clopper_pearson(errors, trials) == pytest.approx((low, high), abs=1e-6)


@given(trials=st.integers(1, 200_000), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_equals_scipy(trials, share, confidence):
    """The limits equal scipy's quantiles of the beta distribution."""
    stats = pytest.importorskip("scipy.stats")
    errors = round(share * trials)
    exact = stats.binomtest(errors, trials).proportion_ci(confidence, method="exact")
    assert _statistics.clopper_pearson(errors, trials, confidence) == pytest.approx(
        (exact.low, exact.high), rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize(("errors", "trials", "confidence"), [(-1, 10, 0.95), (11, 10, 0.95), (1, 10, 1.0), (1, 10, 0)])
def test_interval_of_nonsense_is_refused(errors, trials, confidence):
    """More errors than trials, or a confidence of 100 %, has no interval."""
    with pytest.raises(ValueError, match="no interval"):
        _statistics.clopper_pearson(errors, trials, confidence)


@pytest.mark.parametrize(("rate", "trials"), [(1e-2, 300), (1e-3, 3000), (1e-4, 30_000), (0.03, 100)])
def test_rule_of_three(rate, trials):
    """3/f error-free trials are needed to claim a rate of f, and that many suffice at 95 % one-sided confidence."""
    assert _statistics.trials_needed(rate) == trials
    assert _statistics.clopper_pearson(0, trials, 0.90)[1] <= rate


@given(
    impostor=st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=200).map(sorted),
    rate=st.floats(1e-6, 0.99),
)
def test_threshold_keeps_the_rate_and_is_lowest(impostor, rate):
    """At the threshold at most the rate is accepted; 1e-4 lower, where it matters, more than that would be."""
    threshold = _statistics.threshold_for(impostor, rate)
    allowed = math.floor(rate * len(impostor) + 1e-9)
    assert sum(s >= threshold for s in impostor) <= allowed
    assert sum(s >= threshold - 1.001e-4 for s in impostor) > allowed


@pytest.mark.parametrize(
    ("impostor", "rate", "threshold"),
    [
        ([0.1], 0.01, 0.1001),
        ([0.1, 0.2, 0.3, 0.4], 0.25, 0.3001),
        ([0.1, 0.4, 0.4, 0.4], 0.25, 0.4001),
        ([-0.5, -0.25], 0.5, -0.4999),
        ([0.12345, 0.2], 0.5, 0.1235),
    ],
)
def test_threshold_table(impostor, rate, threshold):
    """The threshold lies just above the first impostor that may not be accepted, rounded up; ties fall together."""
    assert _statistics.threshold_for(impostor, rate) == pytest.approx(threshold, abs=1e-12)
