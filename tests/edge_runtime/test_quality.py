"""Quality measures, and the limits that are set on them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fake_engine import ARCFACE, FakeEngine, recognizer

from facegate.simulation import Identity, Light, Look, Person, Scene, Sensor, render
from facegate_edge._aligner import Aligner
from facegate_edge._quality import REASONS, Quality, QualityGate, QualityMeter
from facegate_edge._values import Face

FRONTAL = np.array(ARCFACE, np.float32)
GOOD = {
    "eye_distance": 60.0,
    "box_side": 120.0,
    "sharpness": 500.0,
    "brightness": 120.0,
    "dark": 0.1,
    "bright": 0.05,
    "yaw": 0.0,
    "pitch": 0.0,
    "roll": 0.0,
}


def measure(points=FRONTAL, box=(0, 0, 100, 120), luma=None, *, aligned=True):
    """The quality of a face with those landmarks on that luma."""
    luma = np.full((112, 112), 128, np.uint8) if luma is None else luma
    landmarks = None if points is None else np.ascontiguousarray(points, np.float32)
    return QualityMeter(luma).measure(Face(np.array(box, np.float32), landmarks, 0.9), aligned=aligned)


def test_size_is_the_eyes_distance_and_the_box_s_shorter_side():
    """Both in pixels of the frame."""
    quality = measure()
    assert quality.eye_distance == pytest.approx(math.dist(FRONTAL[0], FRONTAL[1]), rel=1e-6)
    assert quality.box_side == 100
    assert measure(FRONTAL * 3).eye_distance == pytest.approx(3 * quality.eye_distance, rel=1e-6)


def test_a_blurred_face_is_less_sharp():
    """Sharpness falls with every smoothing and is 0 for a flat face."""
    noise = np.random.default_rng(0).integers(0, 256, (112, 112)).astype(np.uint8)
    smooth = np.array(noise)
    smooth[1:-1, 1:-1] = (noise[:-2, 1:-1].astype(int) + noise[2:, 1:-1] + noise[1:-1, :-2] + noise[1:-1, 2:]) // 4
    assert measure(luma=noise).sharpness > 2 * measure(luma=smooth).sharpness > 0
    assert measure().sharpness == 0


def test_brightness_is_the_mean_and_the_shares_at_both_ends():
    """Half black, half white: mean in the middle, half of the pixels at each end."""
    luma = np.zeros((112, 112), np.uint8)
    luma[:56] = 255
    quality = measure(luma=luma)
    assert quality.brightness == pytest.approx(127.5)
    assert (quality.dark, quality.bright) == (0.5, 0.5)


def test_pose_has_the_sign_that_it_says():
    """A nose to the right is a positive yaw, one further up a positive pitch, a clockwise turn a positive roll."""
    assert measure().roll == pytest.approx(0, abs=2)
    right, up = FRONTAL.copy(), FRONTAL.copy()
    right[2, 0] += 8
    up[2, 1] -= 8
    assert measure(right).yaw > measure().yaw + 5
    assert measure(up).pitch > measure().pitch + 5
    turn = np.radians(20)
    turned = FRONTAL @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    assert measure(turned).roll == pytest.approx(20, abs=2)


def test_what_cannot_be_measured_is_nan():
    """Without landmarks, with impossible ones, or without an aligned crop the measures are NaN, not an error."""
    quality = measure(None)
    assert all(map(math.isnan, (quality.eye_distance, quality.yaw, quality.pitch, quality.roll)))
    quality = measure(np.full((5, 2), 3))
    assert math.isnan(quality.yaw)
    quality = measure(aligned=False)
    assert all(map(math.isnan, (quality.sharpness, quality.brightness, quality.dark, quality.bright)))


@pytest.fixture
def photograph():
    """A function: how a rendered head is held and photographed -> the quality of its true face."""
    info = recognizer()
    aligner = Aligner(info, FakeEngine(info).inputs["image"])
    meter = QualityMeter(aligner.luma)

    def take(seed=3_000_000, *, light=None, sensor=None, **held):
        person = Person(Identity.draw(seed), Look(), x=120, y=110, scale=7, **held)
        scene = Scene(240, 240, (person,), 3_000_000, light or Light(), sensor or Sensor.clean(), seed)
        picture = render(scene)
        (truth,) = picture.faces
        face = Face(truth.box, truth.landmarks, 0.9)
        aligner.align(picture.frame, face, luma=True)
        return meter.measure(face, aligned=True)

    return take


@pytest.mark.parametrize("seed", range(3_000_000, 3_000_006))
def test_pose_follows_the_head(photograph, seed):
    """Rendered heads: roll is true to 5 degrees; yaw and pitch rise with the truth, and without a turn yaw is 0.

    How much yaw and pitch rise depends on how far a nose stands out: they are limits, not measurements.
    """
    assert photograph(seed).yaw == pytest.approx(0, abs=3)
    for angle in (-30, -15, 15, 30):
        assert photograph(seed, roll=angle).roll == pytest.approx(angle, abs=5)
    yaws = [photograph(seed, yaw=angle).yaw for angle in (-45, -30, -15, 0, 15, 30, 45)]
    pitches = [photograph(seed, pitch=angle).pitch for angle in (-20, -10, 0, 10, 20)]
    assert np.diff(yaws).min() > 5
    assert np.diff(pitches).min() > 5


def test_a_head_in_profile_is_refused_and_one_that_looks_into_the_camera_is_not(photograph):
    """The default limits let a turn of 15 degrees pass and refuse one of 45."""
    gate = QualityGate()
    for angle in (-15, 0, 15):
        assert gate.reasons(photograph(yaw=angle)) == ()
    for angle in (-45, 45):
        assert gate.reasons(photograph(yaw=angle)) == ("turned",)


def test_a_camera_out_of_focus_is_told(photograph):
    """Sharpness falls with every step out of focus, down to a face that the default limits refuse."""
    clean = Sensor.clean()
    found = [photograph(sensor=dataclasses.replace(clean, blur=sigma)) for sigma in (0, 0.7, 1.4, 2.8, 5.6)]
    assert np.diff([quality.sharpness for quality in found]).max() < 0
    assert [bool(QualityGate().reasons(quality)) for quality in (found[0], found[-1])] == [False, True]
    assert QualityGate().reasons(found[-1]) == ("blurred",)


@pytest.mark.parametrize("monk", range(1, 11))
def test_a_face_of_every_tone_passes_in_good_light(photograph, monk):
    """Nobody's skin is too dark or too bright for the default limits; five stops less light are, for everybody."""
    seed = next(n for n in range(3_000_000, 3_001_000) if Identity.draw(n).monk == monk)
    good = photograph(seed)
    assert not {"too_dark", "too_bright", "blurred"} & set(QualityGate().reasons(good))
    dark, bright = (
        photograph(seed, sensor=dataclasses.replace(Sensor.clean(), exposure=2.0**stops)) for stops in (-5, 4)
    )
    assert "too_dark" in QualityGate().reasons(dark)
    assert bright.brightness > good.brightness > dark.brightness


def test_a_good_face_passes():
    """Nothing to complain about is an empty tuple."""
    assert QualityGate().reasons(Quality(**GOOD)) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"eye_distance": 5.0}, "too_small"),
        ({"box_side": 10.0}, "too_small"),
        ({"eye_distance": math.nan}, "too_small"),
        ({"sharpness": 1.0}, "blurred"),
        ({"sharpness": math.nan}, "blurred"),
        ({"brightness": 5.0}, "too_dark"),
        ({"dark": 0.95}, "too_dark"),
        ({"brightness": 250.0}, "too_bright"),
        ({"bright": 0.9}, "too_bright"),
        ({"yaw": 80.0}, "turned"),
        ({"yaw": -80.0}, "turned"),
        ({"pitch": 70.0}, "turned"),
        ({"pitch": -70.0}, "turned"),
        ({"roll": 100.0}, "turned"),
        ({"roll": math.nan}, "turned"),
    ],
)
def test_each_limit_has_its_reason(changes, reason):
    """One measure beyond its limit, or not measured, is one reason."""
    assert QualityGate().reasons(Quality(**{**GOOD, **changes})) == (reason,)


def test_several_reasons_come_in_a_fixed_order():
    """Everything wrong at once gives every reason, in the order of REASONS."""
    nan = dict.fromkeys(GOOD, math.nan)
    assert QualityGate().reasons(Quality(**nan)) == REASONS


def test_limits_are_inclusive_and_can_be_changed():
    """A measure at its limit passes."""
    gate = QualityGate(min_eye_distance=60, min_box_side=120, min_sharpness=500, max_yaw=0)
    assert gate.reasons(Quality(**GOOD)) == ()
    assert QualityGate(min_eye_distance=60.1).reasons(Quality(**GOOD)) == ("too_small",)


def test_a_quality_s_repr_shows_no_measure():
    """Measures come from landmarks: none reaches a log."""
    assert repr(Quality(**GOOD)) == "Quality()"
