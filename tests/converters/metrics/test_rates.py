"""Error rates at a threshold, and thresholds for an error rate."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facegate_convert import _metrics as m
from facegate_convert import _statistics
from facegate_convert._metrics._rates import say

scores_lists = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=100)

GENUINE = [0.9, 0.8, 0.8, 0.5, 0.3]
IMPOSTOR = [0.6, 0.5, 0.2, 0.2, 0.1, 0.0, -0.1, -0.2, -0.3, -0.4]


@pytest.mark.parametrize(
    ("threshold", "false_matches", "false_non_matches"),
    [
        (-1, 10, 0),
        (0.2, 4, 0),
        (0.2001, 2, 0),
        (0.5, 2, 1),
        (0.5001, 1, 2),
        (0.6, 1, 2),
        (0.6001, 0, 2),
        (0.8, 0, 2),
        (0.95, 0, 5),
    ],
)
def test_rates_counted_by_hand(threshold, false_matches, false_non_matches):
    """Accepted is what is at or above the threshold."""
    scores = m.Scores(GENUINE, IMPOSTOR)
    fmr, fnmr = m.fmr_at(scores, threshold), m.fnmr_at(scores, threshold)
    assert (fmr.errors, fmr.trials, fmr.value) == (false_matches, 10, false_matches / 10)
    assert (fnmr.errors, fnmr.trials, fnmr.value) == (false_non_matches, 5, false_non_matches / 5)
    assert (fmr.low, fmr.high) == m.clopper_pearson(false_matches, 10)
    assert (fnmr.confidence, fnmr.effective) == (0.95, 5)


@given(impostor=scores_lists, rate=st.floats(1e-6, 0.99))
@example(impostor=[1.0, 1.0], rate=0.5)
def test_threshold_keeps_the_rate_and_is_lowest(impostor, rate):
    """At the threshold at most the rate is accepted; 1e-4 lower, where it matters, more than that would be."""
    threshold = m.threshold_at_fmr(m.Scores([0.0], impostor), rate)
    allowed = math.floor(rate * len(impostor) + 1e-9)
    assert sum(s >= threshold for s in impostor) <= allowed
    assert sum(s >= threshold - 1.001e-4 for s in impostor) > allowed
    assert threshold == round(threshold, 4)
    assert _statistics.threshold_for(impostor, rate) == threshold


@pytest.mark.parametrize(
    ("impostor", "rate", "threshold"),
    [
        ([0.1], 0.01, 0.1001),
        ([0.1, 0.2, 0.3, 0.4], 0.25, 0.3001),
        ([0.1, 0.4, 0.4, 0.4], 0.25, 0.4001),
        ([-0.5, -0.25], 0.5, -0.4999),
        ([0.12345, 0.2], 0.5, 0.1235),
        ([1.0], 0.5, 1.0001),
    ],
)
def test_threshold_table(impostor, rate, threshold):
    """The threshold lies just above the first impostor that may not be accepted, rounded up; ties fall together."""
    assert m.threshold_at_fmr(m.Scores([0.0], impostor), rate) == pytest.approx(threshold, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(impostor=scores_lists, rate=st.floats(1e-3, 0.99))
def test_threshold_of_a_counter_is_that_of_the_scores(impostor, rate):
    """Rounding scores down to six decimals does not move a threshold of four."""
    counter = m.ScoreCounter()
    counter.add(genuine=[0.5], impostor=impostor)
    exact = m.Scores([0.5], impostor)
    assert m.threshold_at_fmr(counter.scores(), rate) == m.threshold_at_fmr(exact, rate)
    assert m.fnmr_at_fmr(counter.scores(), rate) == m.fnmr_at_fmr(exact, rate)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, math.nan])
def test_a_target_that_is_no_rate_is_refused(rate):
    """A target lies between 0 and 1."""
    with pytest.raises(ValueError, match="no threshold"):
        m.fnmr_at_fmr(m.Scores(GENUINE, IMPOSTOR), rate)


@pytest.mark.parametrize(
    ("comparisons", "fmr", "carried", "words"),
    [
        (299, 1e-2, False, "300 impostor comparisons are needed to show it (rule of 3), there are 299"),
        (300, 1e-2, True, "rests on 3 false matches; it takes 30 (3,000 comparisons)"),
        (2999, 1e-2, True, "(rule of 30)"),
        (3000, 1e-2, True, ""),
    ],
)
def test_what_the_comparisons_cannot_carry_is_said(comparisons, fmr, carried, words):
    """Below the rule of 3 a figure is not carried; below the rule of 30 it is coarse; above there is nothing to say."""
    impostor = [k / comparisons - 0.5 for k in range(comparisons)]
    found = m.fnmr_at_fmr(m.Scores([0.9, 0.1], impostor), fmr)
    assert found.carried is carried
    assert words in found.note
    assert bool(found.note) is bool(words)
    assert found.fmr_measured.value <= fmr


def test_figures_are_json():
    """Every figure can be written down and read again."""
    found = m.fnmr_at_fmr(m.Scores(GENUINE, IMPOSTOR), 0.1).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["fmr_measured"]["errors"] == 1
    assert found["fnmr"]["value"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("value", "text", "up"),
    [
        (0.01, "0.01", "0.01"),
        (1e-5, "1e-5", "1e-5"),
        (0.00371, "0.0037", "0.0038"),
        (0.0995, "0.1", "0.1"),
        (1.0, "1", "1"),
        (0, "0", "0"),
    ],
)
def test_rates_in_sentences(value, text, up):
    """Two digits; an upper bound is never rounded down."""
    assert (say(value), say(value, up=True)) == (text, up)
