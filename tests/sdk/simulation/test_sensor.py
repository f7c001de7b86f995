"""The sensor: gains, blur, noise, tone curve and JPEG do what a camera's do, each by itself."""

import math
from dataclasses import replace

import numpy as np
import pytest

from facegate.errors import FrameError
from facegate.simulation._sensor import Sensor, expose, linear_to_srgb, srgb_to_linear

CLEAN = Sensor.clean()


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(7)


def flat(value, height=64, width=48):
    """Light of one gray all over."""
    return np.full((height, width, 3), value, np.float32)


def point(height=33, width=33):
    """One bright point in the dark."""
    light = flat(0, height, width)
    light[height // 2, width // 2] = 0.7
    return light


def test_srgb_there_and_back_is_exact():
    """Each of the 256 levels survives the way to linear light and back."""
    levels = np.arange(256, dtype=np.uint8)
    linear = srgb_to_linear(levels)
    assert linear.dtype == np.float32
    assert np.array_equal(linear_to_srgb(linear), levels)
    assert (linear[0], linear[255]) == (0, 1)
    assert linear[188] == pytest.approx(0.5, abs=0.01)  # a middle of linear light is a light gray


def test_linear_light_is_clipped_not_wrapped():
    """Light below black is black, above white is white, and infinitely bright light as well."""
    assert linear_to_srgb(np.array([-1, 0, 1, 7, np.inf], np.float32)).tolist() == [0, 0, 255, 255, 255]


def test_srgb_levels_are_bytes():
    """Floats are no levels."""
    with pytest.raises(FrameError) as caught:
        srgb_to_linear(np.zeros(3, np.float32))
    assert caught.value.hint


def test_a_clean_sensor_shows_what_is_there(rng):
    """Below the highlights' shoulder a clean sensor is the sRGB curve; the light itself is left alone."""
    light = rng.uniform(0, 0.75, (40, 30, 3)).astype(np.float32)
    before = light.copy()
    frame = expose(light, CLEAN, rng)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert np.array_equal(frame, linear_to_srgb(light))
    assert np.array_equal(light, before)


def test_highlights_roll_off(rng):
    """Light above the shoulder still grows, ever less, and ends at white."""
    levels = [int(expose(flat(value), CLEAN, rng)[0, 0, 0]) for value in (0.8, 0.9, 1.0, 1.2, 1.5, 3.0, 100.0)]
    assert levels == sorted(levels)
    assert levels[2] < 255
    assert levels[-1] == 255
    steps = np.diff(levels[:3])
    assert steps[0] > steps[1] > 0


def test_exposure_and_white_balance_are_gains(rng):
    """One stop halves the light; white balance has one gain for each color."""
    sensor = replace(CLEAN, exposure=0.5, white_balance=(1.2, 1.0, 0.8))
    frame = expose(flat(0.5), sensor, rng)
    expected = linear_to_srgb(np.array([0.3, 0.25, 0.2], np.float32))
    assert np.abs(frame[5, 5].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.5])
def test_blur_spreads_a_point_as_a_gaussian(rng, sigma):
    """A point becomes a spot of the standard deviation asked for, in both directions, and keeps its light and place."""
    spot = srgb_to_linear(expose(point(), replace(CLEAN, blur=sigma, exposure=1.3), rng))[..., 1]
    spot = np.where(spot > 1e-3, spot, 0).astype(np.float64)
    assert spot.sum() == pytest.approx(0.91, rel=0.05)
    for axis in (0, 1):
        share = spot.sum(axis) / spot.sum()
        place = np.arange(33)
        assert (share * place).sum() == pytest.approx(16, abs=0.02)
        assert math.sqrt((share * (place - 16) ** 2).sum()) == pytest.approx(sigma, rel=0.12)


def test_blur_keeps_an_even_picture_even_to_its_edges(rng):
    """Nothing darkens toward the edges."""
    sensor = replace(CLEAN, blur=1.4, motion=(3.0, -2.0))
    frame = expose(flat(0.4), sensor, rng)
    assert np.abs(frame.astype(int) - int(linear_to_srgb(np.float32([0.4]))[0])).max() <= 1


@pytest.mark.parametrize("motion", [(6.0, 0.0), (0.0, 4.0), (3.0, 3.0), (1.5, -2.5)])
def test_motion_smears_along_its_way_only(rng, motion):
    """A moved point is as long as the motion, thin across it, and its middle stays."""
    smear = srgb_to_linear(expose(point(41, 41), replace(CLEAN, motion=motion, exposure=1.4), rng))[..., 1]
    rows, columns = np.nonzero(smear > 0.004)
    weights = smear[rows, columns]
    weights = weights / weights.sum()
    dx, dy = columns - 20, rows - 20
    assert abs((weights * dx).sum()) < 0.25
    assert abs((weights * dy).sum()) < 0.25
    length = math.hypot(*motion)
    along = (dx * motion[0] + dy * motion[1]) / length
    across = (dx * motion[1] - dy * motion[0]) / length
    assert math.sqrt((weights * along**2).sum()) == pytest.approx(length / math.sqrt(12), rel=0.25, abs=0.35)
    assert math.sqrt((weights * across**2).sum()) < 0.75


def test_shot_noise_grows_with_light_and_read_noise_does_not(rng):
    """In linear light shot noise is the root of the signal, read noise the same everywhere."""

    def deviation(value, **noise):
        frame = expose(flat(value, 200, 200), replace(CLEAN, **noise), rng)
        return float(srgb_to_linear(frame).std())

    assert deviation(0.6, shot_noise=0.05) == pytest.approx(0.05 * math.sqrt(0.6), rel=0.08)
    assert deviation(0.15, shot_noise=0.05) == pytest.approx(0.05 * math.sqrt(0.15), rel=0.08)
    assert deviation(0.6, read_noise=0.03) == pytest.approx(0.03, rel=0.08)
    assert deviation(0.3, read_noise=0.03) == pytest.approx(0.03, rel=0.08)
    assert deviation(0.3) < 1e-6


def test_jpeg_loses_more_at_low_quality(rng):
    """The frame keeps its size; what is lost grows as the quality falls."""
    light = rng.uniform(0, 0.6, (61, 47, 3)).astype(np.float32)
    clean = expose(light, CLEAN, rng).astype(int)
    losses = []
    for quality in (95, 70, 40):
        frame = expose(light, replace(CLEAN, jpeg=quality), rng)
        assert frame.shape == (61, 47, 3)
        assert frame.flags.c_contiguous
        losses.append(np.abs(frame - clean).mean())
    assert 0 < losses[0] < losses[1] < losses[2]


def test_the_same_seed_takes_the_same_picture():
    """Noise comes from the generator alone."""
    sensor = replace(CLEAN, shot_noise=0.05, read_noise=0.01, jpeg=80, blur=0.7, motion=(2.0, 1.0))
    first, again, other = (expose(flat(0.3), sensor, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sensors_range_from_good_to_poor():
    """Two thousand sensors cover good and poor light, sharp and blurred pictures, within their stated bounds."""
    rng = np.random.default_rng(3)
    sensors = [Sensor.draw(rng) for _ in range(2000)]
    stops = np.log2([sensor.exposure for sensor in sensors])
    assert -1.5 <= stops.min() < -1.3
    assert 0.7 < stops.max() <= 1
    blurs = np.array([sensor.blur for sensor in sensors])
    assert np.mean(blurs == 0) > 0.2
    assert 1.4 < blurs.max() <= 1.6
    lengths = np.array([math.hypot(*sensor.motion) for sensor in sensors])
    assert 0.1 < np.mean(lengths > 0) < 0.25
    assert 5 < lengths.max() <= 6
    qualities = [sensor.jpeg for sensor in sensors if sensor.jpeg is not None]
    assert 0.6 < len(qualities) / 2000 < 0.73
    assert (min(qualities), max(qualities)) == (40, 95)
    dark = np.array([sensor.shot_noise for sensor in sensors])
    assert dark.min() < 0.006
    assert 0.07 < dark.max() <= 0.09
    assert Sensor.draw(np.random.default_rng(1)) == Sensor.draw(np.random.default_rng(1))


@pytest.mark.parametrize(
    "change",
    [
        {"exposure": 0.0},
        {"exposure": math.nan},
        {"white_balance": (1.0, -1.0, 1.0)},
        {"blur": -0.1},
        {"blur": math.inf},
        {"motion": (math.nan, 0.0)},
        {"shot_noise": -0.01},
        {"read_noise": -0.01},
        {"jpeg": 0},
        {"jpeg": 96},
    ],
)
def test_no_sensor_is_like_that(change):
    """Gains at or below zero, negative or endless blur and noise, and unknown JPEG qualities are refused."""
    with pytest.raises(FrameError) as caught:
        replace(CLEAN, **change)
    assert caught.value.hint


@pytest.mark.parametrize(
    "light",
    [
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.float32),
        np.zeros((0, 4, 3), np.float32),
    ],
)
def test_light_is_float32_in_three_colors(rng, light):
    """Anything but float32 (height, width, 3) with at least one pixel is refused."""
    with pytest.raises(FrameError, match="float32") as caught:
        expose(light, CLEAN, rng)
    assert caught.value.hint
