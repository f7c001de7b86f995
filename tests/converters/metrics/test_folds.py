"""Ten-fold accuracy as Labeled Faces in the Wild defines it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from facegate_convert import _metrics as m

lists = st.lists(st.sampled_from([k / 10 for k in range(-5, 10)]), min_size=1, max_size=25)


@given(genuine=lists, impostor=lists)
def test_best_threshold_is_best(genuine, impostor):
    """No threshold answers more pairs rightly, and the stated accuracy is what it has."""
    threshold, accuracy = m.best_threshold(genuine, impostor)

    def right(t):
        return (sum(g >= t for g in genuine) + sum(i < t for i in impostor)) / (len(genuine) + len(impostor))

    assert accuracy == right(threshold)
    assert accuracy >= max(right(t) for t in [-2, *genuine, *impostor, 2])


def test_folds_against_a_plain_loop_over_scikit_learns_folds():
    """The same accuracies as the usual code: for each fold all thresholds are tried on the others."""
    rng = np.random.default_rng(6)
    genuine, impostor = rng.normal(0.5, 0.2, 300), rng.normal(0.1, 0.2, 300)
    folds = [test for _, test in KFold(10).split(genuine)]
    found = m.ten_fold([genuine[f] for f in folds], [impostor[f] for f in folds])
    for fold, (train, test) in zip(found.folds, KFold(10).split(genuine), strict=True):
        middles = np.sort(np.r_[genuine[train], impostor[train]])
        middles = (middles[1:] + middles[:-1]) / 2
        best = max((genuine[train] >= t).mean() + (impostor[train] < t).mean() for t in middles)
        mine = (genuine[train] >= fold.threshold).mean() + (impostor[train] < fold.threshold).mean()
        assert mine == pytest.approx(best, abs=1e-12)
        expected = ((genuine[test] >= fold.threshold).mean() + (impostor[test] < fold.threshold).mean()) / 2
        assert fold.accuracy == pytest.approx(expected, abs=1e-12)
    accuracies = [f.accuracy for f in found.folds]
    assert found.mean == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found.std == pytest.approx(np.std(accuracies, ddof=1), abs=1e-12)
    assert found.standard_error == pytest.approx(found.std / np.sqrt(10), abs=1e-12)


def test_threshold_comes_from_the_other_folds():
    """A fold that is shifted is judged at a threshold that never saw it."""
    genuine = [[0.8, 0.9], [0.8, 0.9], [0.3, 0.35]]
    impostor = [[0.1, 0.2], [0.1, 0.2], [0.0, 0.05]]
    found = m.ten_fold(genuine, impostor)
    assert found.folds[2].threshold == pytest.approx(0.5)
    assert [f.accuracy for f in found.folds] == [1.0, 1.0, 0.5]
    assert found.mean == pytest.approx(5 / 6)


def test_pairs_that_could_not_be_compared_are_wrong_answers():
    """A failure lowers the accuracy of its fold; leaving it out would raise it."""
    found = m.ten_fold([[0.9], [0.9]], [[0.1], [0.1]], failed=[2, 0])
    assert [f.accuracy for f in found.folds] == [0.5, 1.0]
    assert (found.folds[0].pairs, found.folds[0].failed) == (4, 2)
    assert json.loads(json.dumps(found.to_dict()))["folds"][0]["failed"] == 2


@pytest.mark.parametrize(
    ("genuine", "impostor", "failed"),
    [
        ([[0.1]], [[0.1]], None),
        ([], [], None),
        ([[0.1], [0.2]], [[0.1]], None),
        ([[0.1], [0.2]], [[0.1], [0]], [1]),
        ([[], [0.1]], [[], [0.2]], None),
    ],
)
def test_folds_that_do_not_fit_are_refused(genuine, impostor, failed):
    """One fold, none, lists of different lengths, an empty fold."""
    with pytest.raises(ValueError, match="fold"):
        m.ten_fold(genuine, impostor, failed=failed)


def test_nothing_has_no_best_threshold():
    """Without scores there is nothing to choose."""
    with pytest.raises(ValueError, match="no scores"):
        m.best_threshold([], [])
