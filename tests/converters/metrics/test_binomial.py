"""Binomial intervals against scipy and published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from facegate_convert import _metrics as m
from facegate_convert._metrics._binomial import beta_quantile, incomplete_beta


@pytest.mark.parametrize("trials", [1, 3, 30, 10_000])
def test_no_errors_has_the_closed_form(trials):
    """Without an error the upper bound is 1 - (alpha/2)^(1/n), and the lower one 0; all errors mirror it."""
    upper = 1 - 0.025 ** (1 / trials)
    assert m.clopper_pearson(0, trials) == pytest.approx((0, upper), rel=1e-12)
    low, high = m.clopper_pearson(trials, trials)
    assert (low, high) == pytest.approx((1 - upper, 1), rel=1e-12)


@pytest.mark.parametrize(
    ("errors", "trials", "confidence", "low", "high"),
    [
        # Table of exact 95 % limits that textbooks carry (Clopper & Pearson 1934, chart for n = 10).
        (1, 10, 0.95, 0.0025, 0.4450),
        (2, 10, 0.95, 0.0252, 0.5561),
        (5, 10, 0.95, 0.1871, 0.8129),
    ],
)
def test_published_limits(errors, trials, confidence, low, high):
    """Tables agree to their last digit."""
    found = m.clopper_pearson(errors, trials, confidence)
    assert [round(v, 4) for v in found] == [low, high]


@pytest.mark.parametrize(
    ("errors", "trials"),
    [
        (0, 1),
        (1, 1),
        (7, 3000),
        (1, 10**8),
        (100, 10**8),
        (10**5, 10**8),
        (5 * 10**7, 10**8),
        (10**8 - 3, 10**8),
        (3, 10**10),
    ],
)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
def test_limits_are_those_of_scipy_to_1e_9(errors, trials, confidence):
    """From one trial to ten thousand million, near 0, near 1 and in the middle."""
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, errors, trials - errors + 1) if errors else 0
    high = 1 - stats.beta.ppf(tail, trials - errors, errors + 1) if errors < trials else 1
    if errors < trials / 2:  # scipy's own far tail, which is the more precise there
        high = stats.beta.ppf(1 - tail, errors + 1, trials - errors)
    assert m.clopper_pearson(errors, trials, confidence) == pytest.approx((low, high), rel=2e-9, abs=0)


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [(1, 10**8, 2.531780798108492e-10, 5.571643263581067e-8), (3, 10**10, None, 8.767273067214163e-10)],
)
def test_limits_of_very_many_trials_to_the_last_digits(errors, trials, low, high):
    """As computed with 40 digits by mpmath; scipy 1.17 is off by 1e-9 in such places."""
    found = m.clopper_pearson(errors, trials)
    assert found[1] == pytest.approx(high, rel=1e-14, abs=0)
    if low:
        assert found[0] == pytest.approx(low, rel=1e-14, abs=0)


@settings(max_examples=60, deadline=None)
@given(trials=st.integers(1, 10**6), share=st.floats(0, 1), confidence=st.floats(0.01, 0.9999))
def test_limits_hold_the_rate_and_agree_with_scipy(trials, share, confidence):
    """Any rate lies within its interval, whose ends are scipy's."""
    errors = round(share * trials)
    low, high = m.clopper_pearson(errors, trials, confidence)
    assert 0 <= low <= errors / trials <= high <= 1
    exact = stats.binomtest(errors, trials).proportion_ci(confidence, "exact")
    # scipy searches its ends to an absolute 2e-12 only.
    assert (low, high) == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-11)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(1e-12, 1, exclude_max=True), a=st.floats(0.01, 1e6), b=st.floats(0.01, 1e6))
def test_incomplete_beta_is_that_of_scipy(x, a, b):
    """Also for parameters that are no whole numbers."""
    assert float(incomplete_beta([x], [a], [b])[0]) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("x", [0.0, 1e-300, 5e-324, 1 - 2**-53, 1.0])
def test_incomplete_beta_at_the_ends(x):
    """Beside 0 and 1 nothing is left of a density with large parameters."""
    assert float(incomplete_beta([x], [201.0], [201.0])[0]) == pytest.approx(round(x), abs=1e-15)


def test_many_intervals_are_the_same_as_each():
    """Intervals for an array are those of its elements."""
    errors, trials = np.array([0, 1, 5, 17, 1000]), np.array([10, 1, 5, 400, 1000])
    low, high = m.clopper_pearson_many(errors, trials, 0.9)
    each = [m.clopper_pearson(e, t, 0.9) for e, t in zip(errors, trials, strict=True)]
    np.testing.assert_allclose(np.stack([low, high], 1), each, rtol=1e-12)


def test_quantile_of_beta_with_small_parameters():
    """Far tails of a U-shaped density are found by halving."""
    found = beta_quantile(0.01, [0.05], [0.05])
    assert float(found[0]) == pytest.approx(special.betaincinv(0.05, 0.05, 0.01), rel=1e-6)


def test_fewer_effective_trials_widen_the_interval():
    """An effective number of trials need not be whole; at the trials themselves nothing changes."""
    plain, worth = m.rate(5, 100), m.dependent_rate(5, 100, 33.3)
    assert (worth.low, worth.high) == pytest.approx(m.clopper_pearson(5 * 0.333, 33.3), rel=1e-12)
    assert worth.low < plain.low < plain.value == worth.value < plain.high < worth.high
    assert m.dependent_rate(5, 100, 1e9) == plain


def test_no_trials_say_nothing():
    """Of nothing nothing is known."""
    assert m.clopper_pearson(0, 0) == (0, 1)
    assert m.rate(0, 0) == m.Rate(0, 0, 0.0, 0.0, 1.0, 0.95, 0.0)


@pytest.mark.parametrize(
    ("errors", "trials", "confidence"),
    [(-1, 3, 0.95), (4, 3, 0.95), (1, 3, 0), (1, 3, 1), (math.nan, 3, 0.95), (1, -1, 0.95)],
)
def test_impossible_counts_are_refused(errors, trials, confidence):
    """More errors than trials, or a confidence that is none."""
    with pytest.raises(ValueError, match="no interval"):
        m.clopper_pearson(errors, trials, confidence)


@pytest.mark.parametrize(
    ("rate", "three", "thirty"), [(0.1, 30, 300), (1e-2, 300, 3000), (1e-4, 30_000, 300_000), (3e-3, 1000, 10_000)]
)
def test_rules_of_3_and_30(rate, three, thirty):
    """3/p trials without an error put p above the one-sided 95 % bound; 30/p trials show 30 errors on average."""
    assert (m.trials_needed(rate), m.trials_for_precision(rate)) == (three, thirty)
    assert m.clopper_pearson(0, three, 0.90)[1] <= rate
    assert thirty * rate == pytest.approx(30)
