"""Backgrounds: cluttered, varied, without end, and the same for the same seed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from facegate.errors import FrameError
from facegate.simulation._backdrop import BACKDROPS
from facegate.simulation._background import draw_background
from facegate.simulation._noise import Dice, normal, smooth
from facegate.simulation._things import THINGS


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 300), (80, 80), (320, 240), (640, 360)])
def test_a_background_is_linear_light_of_the_size_asked_for(width, height):
    """Every size from one pixel on gives float32 light, finite, not negative, not far above white."""
    light = draw_background(np.random.default_rng(5), width, height)
    assert light.shape == (height, width, 3)
    assert light.dtype == np.float32
    assert np.isfinite(light).all()
    assert light.min() >= 0
    assert light.max() < 3


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-1, 10)])
def test_no_background_without_pixels(width, height):
    """A size without pixels is refused, with advice."""
    with pytest.raises(FrameError, match="pixels") as caught:
        draw_background(np.random.default_rng(5), width, height)
    assert caught.value.hint


def test_a_background_depends_on_the_generator_alone():
    """The same seed gives the same scene, another seed another."""
    first, again, other = (draw_background(np.random.default_rng(seed), 96, 96) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_backgrounds_vary():
    """Brightness, contrast, color and sharpness all range widely over a few dozen scenes."""
    scenes = [draw_background(np.random.default_rng([9, seed]), 120, 120) for seed in range(60)]
    means = [scene.mean() for scene in scenes]
    contrasts = [scene.std() for scene in scenes]
    colors = [np.ptp(scene.mean((0, 1))) for scene in scenes]
    details = [np.abs(np.diff(scene, axis=1)).mean() for scene in scenes]
    for values in (means, contrasts, colors, details):
        low, high = np.quantile(values, [0.1, 0.9])
        assert high > 2.5 * low


@pytest.mark.parametrize("kind", range(len(BACKDROPS)), ids=[kind.__name__ for _, kind in BACKDROPS])
@pytest.mark.parametrize("size", [(16, 16), (200, 120), (120, 200)])
def test_every_backdrop_covers_the_picture(kind, size):
    """A backdrop leaves nothing of what was there before."""
    for seed in range(8):
        image = Image.new("RGB", size, (255, 0, 254))
        rng = np.random.default_rng(seed)
        BACKDROPS[kind][1](image, ImageDraw.Draw(image), Dice(rng), rng)
        assert np.mean((np.asarray(image) == (255, 0, 254)).all(2)) < 0.01


@pytest.mark.parametrize("kind", range(len(THINGS)), ids=[kind.__name__ for _, kind in THINGS])
def test_every_thing_is_drawn(kind):
    """A thing changes a part of the picture, and not all of it on the average."""
    shares = []
    for seed in range(30):
        image = Image.new("RGB", (160, 160), (1, 2, 3))
        THINGS[kind][1](image, ImageDraw.Draw(image), Dice(np.random.default_rng(seed)))
        shares.append(np.mean((np.asarray(image) != (1, 2, 3)).any(2)))
    assert 0.001 < np.mean(shares) < 0.6


def test_dice_keep_to_their_ranges():
    """Numbers lie inside the range asked for and use all of it; weights are kept."""
    dice = Dice(np.random.default_rng(0))
    whole = [dice.whole(2, 4) for _ in range(600)]
    assert set(whole) == {2, 3, 4}
    logs = [dice.log(0.1, 10) for _ in range(600)]
    assert 0.1 <= min(logs) < 0.2
    assert 5 < max(logs) < 10
    assert 0.35 < np.mean([value < 1 for value in logs]) < 0.65
    picks = [dice.weighted(((1.0, "a"), (3.0, "b"))) for _ in range(1000)]
    assert 0.2 < picks.count("a") / 1000 < 0.3


def test_normal_noise_is_normal():
    """The table's noise has the mean, the deviation and the tails of a normal distribution."""
    noise = normal(np.random.default_rng(0), (1000, 500))
    assert noise.dtype == np.float32
    assert noise.shape == (1000, 500)
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise**4).mean() == pytest.approx(3, abs=0.1)
    assert np.mean(np.abs(noise) > 1.96) == pytest.approx(0.05, abs=0.002)


def test_smooth_noise_is_smooth():
    """Few cells give small steps between neighbors, many cells large ones; the mean is near zero."""
    coarse = smooth(np.random.default_rng(0), 200, 100, 4)
    fine = smooth(np.random.default_rng(0), 200, 100, 80)
    assert coarse.shape == fine.shape == (100, 200)
    assert 4 * np.abs(np.diff(coarse)).mean() < np.abs(np.diff(fine)).mean()
    assert abs(fine.mean()) < 0.1
