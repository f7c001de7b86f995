"""Curves and single figures against scikit-learn and scipy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics

from facegate_convert import _metrics as m

fine = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=50)
tied = st.lists(st.sampled_from([-0.25, 0.0, 0.25, 0.5, 0.75]), min_size=1, max_size=50)
lists = st.one_of(fine, tied)


def labeled(genuine, impostor):
    """Scores as scikit-learn takes them."""
    return np.r_[np.ones(len(genuine)), np.zeros(len(impostor))], np.r_[genuine, impostor]


@given(genuine=lists, impostor=lists)
def test_roc_is_that_of_scikit_learn(genuine, impostor):
    """Every operating point, in its order."""
    false, true, thresholds = metrics.roc_curve(*labeled(genuine, impostor), drop_intermediate=False)
    found = m.roc(m.Scores(genuine, impostor))
    np.testing.assert_allclose(found[0], false, atol=1e-12)
    np.testing.assert_allclose(found[1], true, atol=1e-12)
    np.testing.assert_array_equal(found[2][1:], thresholds[1:])


@given(genuine=lists, impostor=lists)
def test_auc_is_that_of_scikit_learn_and_of_mann_whitney(genuine, impostor):
    """The area under the ROC is the share of pairs in the right order, ties counted half."""
    found = m.auc(m.Scores(genuine, impostor))
    assert found == pytest.approx(metrics.roc_auc_score(*labeled(genuine, impostor)), abs=1e-9)
    u = (
        stats.mannwhitneyu(genuine, impostor, method="asymptotic").statistic
        if len(set(genuine + impostor)) > 1
        else None
    )
    if u is not None:
        assert found == pytest.approx(u / (len(genuine) * len(impostor)), abs=1e-9)


def test_auc_of_very_many_scores_is_counted_in_whole_numbers():
    """Where the number of pairs does not fit 64 bits, nothing overflows."""
    many = m.Sample.counted(np.array([0.0, 0.5]), np.array([3 * 10**9, 10**9]))
    few = m.Sample.counted(np.array([0.5, 1.0]), np.array([2 * 10**9, 2 * 10**9]))
    assert m.auc(m.Scores(few, many)) == pytest.approx(0.5 * (0.75 + 0.125) + 0.5, abs=1e-15)


@given(genuine=lists, impostor=lists)
def test_eer_is_where_the_roc_of_scikit_learn_crosses(genuine, impostor):
    """The equal error rate is the root of 1 - x = TPR(x), the ROC being drawn with straight lines."""
    false, true, _ = metrics.roc_curve(*labeled(genuine, impostor), drop_intermediate=False)
    line = interp1d(false, true)
    crossing = brentq(lambda x: 1 - x - float(line(x)), 0, 1, xtol=1e-14)
    found = m.eer(m.Scores(genuine, impostor))
    assert found.value == pytest.approx(crossing, abs=1e-9)
    assert found.fmr >= found.fnmr
    assert 0 <= found.value <= 1


@pytest.mark.parametrize(
    ("genuine", "impostor", "value"),
    [
        ([0.9, 0.8], [0.1, 0.2], 0.0),  # apart
        ([0.1, 0.2], [0.9, 0.8], 1.0),  # the wrong way round
        ([0.5], [0.5], 0.5),  # one tie, crossed along the line
        ([0.1, 0.6, 0.7, 0.8], [0.0, 0.2, 0.3, 0.65], 0.25),  # a quarter of each on the wrong side
        ([0.5, 0.5, 0.9], [0.5, 0.1, 0.1], 2 / 9 / (1 / 3 + 2 / 3)),  # FMR 0 to 1/3 while FNMR 2/3 to 0
    ],
)
def test_eer_by_hand(genuine, impostor, value):
    """Small cases that can be drawn on paper."""
    assert m.eer(m.Scores(genuine, impostor)).value == pytest.approx(value, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(genuine=lists, impostor=lists)
def test_det_is_that_of_scikit_learn(genuine, impostor):
    """At every threshold that scikit-learn gives, the rates are its own."""
    false, missed, thresholds = metrics.det_curve(*labeled(genuine, impostor))
    found = m.det(m.Scores(genuine, impostor))
    by_threshold = {t: (f, n) for t, f, n in zip(found.threshold, found.fmr, found.fnmr, strict=True)}
    for threshold, f, n in zip(thresholds, false, missed, strict=True):
        if threshold in by_threshold:  # newer versions add one above all scores
            assert by_threshold[threshold] == pytest.approx((f, n), abs=1e-12)
    assert set(np.unique(np.r_[genuine, impostor])) <= set(found.threshold)


@pytest.mark.parametrize("points", [2, 3, 50, 200])
def test_det_of_many_scores_is_thinned(points):
    """At most so many points, both ends kept, ordered, each with the exact counts, low FMR shown as well as high."""
    rng = np.random.default_rng(2)
    genuine, impostor = rng.normal(0.6, 0.15, 3000), rng.normal(0.0, 0.15, 50_000)
    found = m.det(m.Scores(genuine, impostor), points)
    assert 2 <= len(found.threshold) <= points
    assert (found.fmr[0], found.fnmr[0], found.fmr[-1], found.fnmr[-1]) == (1, 0, 0, 1)
    assert np.all(np.diff(found.threshold) > 0)
    assert np.all(np.diff(found.fmr) <= 0)
    assert np.all(np.diff(found.fnmr) >= 0)
    np.testing.assert_allclose(found.fmr, [(impostor >= t).mean() for t in found.threshold], atol=1e-15)
    np.testing.assert_allclose(found.fnmr, [(genuine < t).mean() for t in found.threshold], atol=1e-15)
    assert np.all((found.fmr_low <= found.fmr) & (found.fmr <= found.fmr_high))
    assert np.all((found.fnmr_low <= found.fnmr) & (found.fnmr <= found.fnmr_high))
    if points == 200:
        assert len(found.threshold) > 100
        assert np.sum((found.fmr > 0) & (found.fmr < 1e-3)) > 10


def test_curve_is_json():
    """A curve becomes lists; its intervals are Clopper-Pearson's."""
    found = m.det(m.Scores([0.9, 0.1], [0.0, 0.5])).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["fnmr_low"][2], found["fnmr_high"][2]) == pytest.approx(m.clopper_pearson(1, 2), abs=1e-12)


@pytest.mark.parametrize("points", [1, 0, -3])
def test_a_curve_of_less_than_two_points_is_refused(points):
    """One point is no curve."""
    with pytest.raises(ValueError, match="at least two points"):
        m.det(m.Scores([0.5], [0.1]), points)


def test_roc_can_be_thinned():
    """With a number of points the ROC takes those of the DET."""
    rng = np.random.default_rng(3)
    scores = m.Scores(rng.normal(0.5, 0.2, 2000), rng.normal(0, 0.2, 2000))
    false, true, thresholds = m.roc(scores, 60)
    assert len(false) <= 60
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(thresholds) < 0)


def test_d_prime_by_hand():
    """Means 0.7 and 0.2 apart by 0.5, both standard deviations 0.1: five."""
    assert m.d_prime(m.Scores([0.6, 0.7, 0.8], [0.1, 0.2, 0.3])) == pytest.approx(5.0, abs=1e-12)
    assert math.isinf(m.d_prime(m.Scores([0.6, 0.6], [0.1, 0.1])))
    assert math.isnan(m.d_prime(m.Scores([0.6, 0.6], [0.6, 0.6])))
    assert math.isnan(m.d_prime(m.Scores([0.6], [0.1, 0.2])))
