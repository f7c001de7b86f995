"""Policies: rules as values, refused if they cannot be meant, named by what they say."""

from __future__ import annotations

import dataclasses

import pytest

from facegate import Policy, QualityGate
from facegate.errors import PolicyError
from facegate_edge._manifest import OperatingPoint


@pytest.mark.parametrize(
    ("fmr", "threshold", "expected"),
    [
        (1e-3, None, 0.5),
        (1e-4, None, 0.6),
        (5e-4, None, 0.6),
        (0.1, None, 0.5),
        (1e-4, 0.42, 0.42),
        (1e-9, -1.0, -1.0),
    ],
)
def test_the_threshold_is_the_loosest_that_keeps_the_rate(make_manifest, fmr, threshold, expected):
    """Of the bundle's operating points (1e-3: 0.5, 1e-4: 0.6) the loosest that keeps the FMR; or the policy's own."""
    assert Policy(fmr=fmr, threshold=threshold).threshold_for(make_manifest()) == expected


def test_measured_thresholds_come_before_stated_ones(make_manifest):
    """A threshold that somebody only stated is used if none that was measured keeps the rate."""
    measured, strict = make_manifest().operating_points
    stated = OperatingPoint(5e-4, 0.1, 1.0, 1.0, 0.0, 1.0, 0, 0, "")
    manifest = make_manifest(operating_points=(measured, stated, strict))
    assert Policy(fmr=6e-4).threshold_for(manifest) == strict.threshold
    assert Policy(fmr=6e-4).threshold_for(make_manifest(operating_points=(measured, stated))) == 0.1


def test_a_rate_that_was_not_measured_is_refused(make_manifest):
    """The advice names the rates that were measured, or says that none was."""
    with pytest.raises(PolicyError) as caught:
        Policy(fmr=1e-5).threshold_for(make_manifest())
    assert "0.0001, 0.001" in caught.value.hint
    with pytest.raises(PolicyError) as caught:
        Policy().threshold_for(make_manifest(operating_points=()))
    assert "never evaluated" in caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"fmr": 0},
        {"fmr": 1},
        {"fmr": -1e-4},
        {"fmr": float("nan")},
        {"fmr": "1e-4"},
        {"fmr": None},
        {"fmr": True},
        {"threshold": "high"},
        {"quality": None},
        {"one_face_only": "yes"},
        {"require_liveness": 1},
        {"lockout_seconds": None},
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"max_attempts": -1},
        {"max_attempts": 2.5},
        {"max_trials_per_minute": -1},
        {"max_trials_per_minute": 60.0},
        {"max_trials_per_minute": True},
        {"max_trials_per_minute": 10_001},
        {"lockout_seconds": 0},
        {"lockout_seconds": float("inf")},
        {"lockout_seconds": 100, "max_lockout_seconds": 50},
        {"max_lockout_seconds": float("nan")},
        {"require_liveness": True},
        {"live_at": 0.9},
        {"require_liveness": True, "live_at": 0.5, "spoof_at": 0.5},
        {"require_liveness": True, "live_at": 1.5, "spoof_at": 0.5},
        {"quality": QualityGate(min_sharpness=float("nan"))},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(changes):
    """A value out of range is refused when the policy is made."""
    with pytest.raises(PolicyError):
        Policy(**changes)


def test_equal_rules_have_equal_ids():
    """The id is a function of the rules: each rule changes it."""
    assert Policy().id == Policy(quality=QualityGate()).id
    assert Policy().id == Policy(lockout_seconds=30, quality=QualityGate(min_box_side=40)).id
    changes = [
        {"fmr": 1e-3},
        {"threshold": 0.5},
        {"quality": QualityGate(min_sharpness=31.0)},
        {"one_face_only": False},
        {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.1},
        {"max_attempts": 4},
        {"lockout_seconds": 31.0},
        {"max_lockout_seconds": 60.0},
        {"max_trials_per_minute": 0},
    ]
    ids = {Policy(**c).id for c in changes} | {Policy().id}
    assert len(ids) == len(changes) + 1
    assert {name for c in changes for name in c} == {f.name for f in dataclasses.fields(Policy)}


def test_policies_are_frozen():
    """Rules do not change under a gate's hands."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().fmr = 0.5
