"""Failures are counted as errors."""

from __future__ import annotations

import pytest

from facegate_convert import _metrics as m


def test_genuine_comparisons_that_could_not_be_made_are_false_non_matches():
    """3 of 100 refused, 20 photographs without a face: 23 of 120 people were not let in."""
    found = m.fnmr_with_failures(m.rate(3, 100), 20)
    assert (found.errors, found.trials) == (23, 120)
    assert (found.low, found.high) == m.clopper_pearson(23, 120)


def test_impostors_that_could_not_be_compared_are_not_let_in():
    """3 of 100 accepted, 20 without a face: 3 of 120."""
    found = m.fmr_with_failures(m.rate(3, 100, confidence=0.9), 20)
    assert (found.errors, found.trials, found.confidence) == (3, 120, 0.9)


def test_generalized_rates_by_hand():
    """FTE 10 %, FTA 20 %, FNMR 50 %: 0.1 + 0.9 * 0.2 + 0.9 * 0.8 * 0.5; FMR 50 %: 0.9 * 0.8 * 0.5."""
    assert m.generalized_frr(0.5, 0.2, 0.1) == pytest.approx(0.1 + 0.18 + 0.36)
    assert m.generalized_far(0.5, 0.2, 0.1) == pytest.approx(0.36)
    assert m.generalized_frr(0.03, 0.0) == pytest.approx(0.03)


def test_the_formula_agrees_with_counting():
    """20 of 120 attempts fail, 3 of the other 100 do not match: counted or by formula the same."""
    counted = m.fnmr_with_failures(m.rate(3, 100), 20)
    assert m.generalized_frr(3 / 100, 20 / 120) == pytest.approx(counted.value)


def test_failure_rate_has_an_interval():
    """Failure to enroll is a rate like the others."""
    assert m.failure_rate(0, 30).high == pytest.approx(1 - 0.025 ** (1 / 30))


@pytest.mark.parametrize("rates", [(1.1, 0, 0), (0.5, -0.1, 0), (0.5, 0, 2)])
def test_rates_that_are_none_are_refused(rates):
    """A rate lies between 0 and 1."""
    for formula in (m.generalized_frr, m.generalized_far):
        with pytest.raises(ValueError, match=r"rates are 0\.\.1"):
            formula(*rates)


def test_negative_failures_are_refused():
    """There are none or some."""
    with pytest.raises(ValueError, match="-1 failures"):
        m.fnmr_with_failures(m.rate(0, 3), -1)
