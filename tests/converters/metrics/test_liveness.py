"""APCER by species and BPCER."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import det_curve

from facegate_convert import _metrics as m

REAL = [0.9, 0.8, 0.7, 0.6, 0.2]
ATTACKS = {"print": [0.1, 0.2, 0.3, 0.65], "screen": [0.1, 0.1], "mask": [0.5, 0.7, 0.8, 0.9]}


def test_rates_counted_by_hand():
    """At 0.65: one print, no screen, three masks pass; two of five real people do not. The mask is the worst."""
    found = m.liveness_at(REAL, ATTACKS, 0.65)
    assert {s.name: (s.apcer.errors, s.apcer.trials) for s in found.species} == {
        "print": (1, 4),
        "screen": (0, 2),
        "mask": (3, 4),
    }
    assert (found.worst, found.apcer.value) == ("mask", 0.75)
    assert (found.bpcer.errors, found.bpcer.trials) == (2, 5)
    assert (found.apcer.low, found.apcer.high) == m.clopper_pearson(3, 4)
    assert "acer" not in found.to_dict()
    assert json.loads(json.dumps(found.to_dict())) is not None


def test_no_answer_is_neither_right_nor_wrong_and_is_said():
    """Presentations without a score have rates of their own, and do not dilute APCER."""
    found = m.liveness_at(REAL, ATTACKS, 0.65, no_answer=5, attacks_no_answer={"mask": 12, "doll": 3})
    mask = next(s for s in found.species if s.name == "mask")
    doll = next(s for s in found.species if s.name == "doll")
    assert (mask.apcer.value, mask.apnrr.errors, mask.apnrr.trials) == (0.75, 12, 16)
    assert (doll.apcer.trials, doll.apcer.high, doll.apnrr.value) == (0, 1, 1)
    assert (found.bpnrr.errors, found.bpnrr.trials, found.bpcer.trials) == (5, 10, 5)


def test_of_two_equal_species_the_less_certain_is_the_worst():
    """None of two passed, and none of two hundred: the few could be far worse."""
    found = m.liveness_at(REAL, {"many": [0.1] * 200, "few": [0.1] * 2}, 0.5)
    assert found.worst == "few"


@given(
    real=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    attack=st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_curve_of_one_species_is_scikit_learns_det(real, attack):
    """With one species APCER and BPCER are the false positive and false negative rates."""
    found = m.liveness_curve(real, {"only": attack}, points=1000)
    false, missed, thresholds = det_curve(np.r_[np.ones(len(real)), np.zeros(len(attack))], np.r_[real, attack])
    mine = {t: (a, b) for t, a, b in zip(found.threshold, found.apcer, found.bpcer, strict=True)}
    for t, f, n in zip(thresholds, false, missed, strict=True):
        if t in mine:
            assert mine[t] == pytest.approx((f, n), abs=1e-12)
    assert np.all(np.isin(np.unique(np.r_[real, attack]), found.threshold))


def test_curve_shows_the_worst_species_at_each_threshold():
    """The one that counts may be another at another threshold."""
    found = m.liveness_curve([0.9, 0.5], {"a": [0.1, 0.9], "b": [0.4, 0.4]})
    at = dict(zip(found.threshold, found.apcer, strict=True))
    assert (at[0.4], at[0.5]) == (1.0, 0.5)
    assert set(found.to_dict()["species"]) == {"a", "b"}
    rng = np.random.default_rng(1)
    assert len(m.liveness_curve(rng.uniform(size=999), {"a": rng.uniform(size=999)}, 50).threshold) == 50


@pytest.mark.parametrize("apcer", [0.05, 0.25, 0.5])
def test_bpcer_at_apcer_keeps_every_species(apcer):
    """At the threshold no species passes more often than asked, and slightly lower one does."""
    rng = np.random.default_rng(2)
    real, attacks = rng.normal(0.7, 0.1, 500), {"a": rng.normal(0.3, 0.1, 100), "b": rng.normal(0.5, 0.1, 100)}
    found = m.bpcer_at_apcer(real, attacks, apcer)
    assert all(s.apcer.value <= apcer for s in found.species)
    lower = m.liveness_at(real, attacks, found.threshold - 1.001e-4)
    assert lower.apcer.value > apcer or found.threshold - 1.001e-4 <= max(map(max, attacks.values()))
    assert found.bpcer.value == pytest.approx((real < found.threshold).mean())


@pytest.mark.parametrize(("real", "attacks"), [([], ATTACKS), (REAL, {}), (REAL, {"print": []})])
def test_what_cannot_be_measured_is_refused(real, attacks):
    """No bona fide presentations, no attacks, or a species of none."""
    with pytest.raises(ValueError, match=r"both are needed|no presentations"):
        m.liveness_at(real, attacks, 0.5)
