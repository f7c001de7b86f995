"""Levels that stay exact, biases that are corrected, and where an activation is clipped."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert._graph import load_graph
from facegate_convert._lower import lower
from facegate_convert._measure import agreement, run_engine
from facegate_convert._quantize import CALIBRATIONS, Recipe, measure_ranges, quantize, quantize_static
from facegate_convert._quantize._center import center_pixels, without_ties
from facegate_convert._quantize._clip import BINS, Histograms, measure_histograms
from facegate_convert._quantize._correct import _together, correct_biases
from facegate_convert._quantize._flat import multiplications
from facegate_convert._quantize._patch import Patch
from facegate_convert._quantize._trace import Tracer
from facegate_convert.errors import MeasureError, QuantizationError

from . import quantize_nets as nets

PIXELS = (0.0, 255.0)


def outputs(model, inputs):
    """The rows of a model's only output."""
    (values,) = run_engine(model, inputs).values()
    return values.reshape(len(inputs), -1)


@pytest.mark.parametrize("center", [127.5, 128.0, 0.0, 103.9])
def test_centering_keeps_what_the_network_computes(center):
    """But for the padding, which stands for a pixel of a whole number, by at most half a level."""
    graph = load_graph(nets.normalizing(center=center))
    centered = center_pixels(graph, PIXELS)
    assert [n.op for n in centered.nodes[:2]] == ["Sub", "Conv"]
    inputs = nets.images(4, low=0, high=255)
    a, b = (run_engine(lower(g).model, inputs)["out"] for g in (graph, centered))
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(a[inside], b[inside], atol=1e-4 * np.ptp(a))
    assert np.abs(a - b).max() < 0.01 * np.ptp(a)


def test_centered_pixels_lose_nothing():
    """At int8 the first convolution sees exactly the pixels; normalised by halves it does not."""
    graph, names, model = nets.loaded(nets.normalizing(), "out")
    inputs = [np.rint(v) for v in nets.images(low=0, high=255)]
    made = quantize(graph, names, model, inputs, Recipe(calibration="extreme"), input_range=PIXELS)
    assert made.layers[0].operator == "SUB"
    assert made.layers[0].error == 0
    ranges = measure_ranges(model, inputs, PIXELS)
    plain = quantize_static(model, ranges, "extreme")
    exact = outputs(model, inputs)
    errors = [agreement(exact, outputs(m, inputs)).error_mean for m in (plain, made.model)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("given", [(-1.0, 1.0), (0.0, 1.0)], ids=["normalised outside", "no pixels as they are"])
def test_other_inputs_are_not_centered(given):
    """Only pixels as they are can be whole numbers."""
    graph = load_graph(nets.normalizing())
    assert center_pixels(graph, given) is graph
    assert center_pixels(load_graph(nets.residual()), PIXELS).nodes == load_graph(nets.residual()).nodes


@pytest.mark.parametrize(("given", "changed"), [((-1.0, 1.0), True), ((0.0, 255.0), False), ((-2.1, 2.6), False)])
def test_ranges_avoid_ties(given, changed):
    """A range whose levels fall between the pixels' own is made a little wider, another stays."""
    found = without_ties(given)
    assert (found != given) == changed
    assert found[0] <= given[0] <= given[1] <= found[1]
    levels = np.linspace(*given, 256) / ((found[1] - found[0]) / 255)
    assert len(np.unique(np.rint(levels))) >= 255


def test_corrected_biases_take_the_mean_error_away():
    """Of the mean error of the embedding over the inputs that were looked at, less than half is left."""
    graph, names, model = nets.loaded(nets.residual(), "embedding")
    inputs = nets.images(12)
    exact = outputs(model, inputs)
    shifts = []
    for corrected in (False, True):
        recipe = Recipe(calibration="extreme", bias_correction=corrected)
        made = quantize(graph, names, model, inputs, recipe, input_range=nets.RANGE)
        shifts.append(np.linalg.norm((outputs(made.model, inputs) - exact).mean(axis=0)))
    assert shifts[1] < shifts[0] / 2


def test_correcting_touches_biases_only():
    """Sizes, operators and weights stay; twice the same call gives the same bytes."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    inputs = nets.images(6)
    plain = quantize_static(model, measure_ranges(model, inputs, nets.RANGE), "extreme")
    corrected = correct_biases(model, plain, inputs)
    assert corrected == correct_biases(model, plain, inputs)
    assert len(corrected) == len(plain)
    before, after = Patch(plain), Patch(corrected)
    assert len(before.layers) == 7
    assert all((a.weight == b.weight).all() for a, b in zip(before.layers, after.layers, strict=True))
    assert any((a.bias != b.bias).any() for a, b in zip(before.layers, after.layers, strict=True))


def test_a_float_model_has_nothing_to_correct():
    """Without integer layers, or without inputs, the model comes back as it is."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    assert correct_biases(model, model, nets.images(2)) == model
    plain = quantize_static(model, measure_ranges(model, nets.images(2), nets.RANGE), "extreme")
    assert correct_biases(model, plain, []) == plain


def test_a_trace_shows_real_values():
    """Inner tensors of an int8 model, dequantised, are near those of the float32 model, under the same names."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    (value,) = nets.images(1)
    plain = quantize_static(model, measure_ranges(model, [value], nets.RANGE), "extreme")
    names = [o.name for o in Patch(plain).operations]
    exact, found = Tracer(model).run(value, names), Tracer(plain).run(value, names)
    for name in names:
        assert np.abs(exact[name] - found[name]).max() < 0.1 * np.abs(exact[name]).max()


@pytest.mark.parametrize("how", ["percentile", "mse", "entropy"])
def test_the_odd_value_is_clipped(how):
    """A hundred thousand values of a normal distribution and one far out: the range leaves that one out."""
    random = np.random.default_rng(1)
    values = np.append(random.normal(0, 1, 200_000), 60.0)
    counts, edges = np.histogram(values, BINS)
    low, high = Histograms(counts[None].astype(float), edges[:1], edges[-1:]).clip(how)
    assert 3 < high[0] < 55
    assert low[0] < -3 * 0.3


def test_evenly_spread_values_are_not_clipped():
    """Where every value is as frequent as another, clipping costs more than it saves."""
    counts = np.ones((1, BINS))
    low, high = Histograms(counts, np.array([-1.0]), np.array([1.0])).clip("mse")
    assert (low[0], high[0]) == (-1.0, 1.0)


@pytest.mark.parametrize("how", ["percentile", "mse", "entropy"])
def test_constant_activations_have_a_range(how):
    """Nothing was counted: the range is what it was."""
    low, high = Histograms(np.zeros((1, BINS)), np.array([0.0]), np.array([0.0])).clip(how)
    assert (low[0], high[0]) == (0.0, 0.0)


def test_histograms_count_what_ranges_span():
    """Every tensor's counts lie within its range, and ranges by histogram are never wider."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    inputs = nets.images(8)
    ranges = measure_ranges(model, inputs, nets.RANGE)
    counted = measure_histograms(model, inputs, ranges)
    assert counted.counts.shape == (len(ranges.names), BINS)
    widest = ranges.combine("extreme")
    for how in CALIBRATIONS:
        combined = ranges.combine(how, counted)
        for name, found in combined.items():
            width = widest[name]["max"].item() - widest[name]["min"].item()
            assert found["max"].item() <= widest[name]["max"].item() + 0.01 * width
            assert found["min"].item() >= widest[name]["min"].item() - 0.01 * width


def test_histograms_are_asked_for():
    """A calibration that needs histograms says so."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    with pytest.raises(QuantizationError):
        measure_ranges(model, nets.images(1), nets.RANGE).combine("mse")


def test_multiplications_are_counted():
    """Of convolutions by kernel, channels and places; of fully connected layers by weights."""
    _, _, model = nets.loaded(nets.residual(), "embedding")
    pixels = 24 * 24
    expected = pixels * (8 * 3 * 9 + 8 * 8 + 8 * 9 + 8 * 8 + 8 * 8) + 8 * pixels + 8 * 16
    assert multiplications(model) == expected


@pytest.mark.parametrize(("layers", "work", "together"), [(7, 1, 1), (50, 1, 4), (50, 10**10, 4), (53, 10**11, 27)])
def test_large_networks_are_corrected_in_fewer_steps(layers, work, together):
    """One layer at a time where there are few, all in a few steps where a step is long."""
    assert _together(layers, work) == together


def test_errors_inside_are_told_as_ours(monkeypatch):
    """Whatever goes wrong in a library while quantising is a QuantizationError; ours go through as they are."""
    graph, names, model = nets.loaded(nets.residual(), "embedding")
    for raised, expected in ((RuntimeError("inside"), QuantizationError), (MeasureError("ours"), MeasureError)):

        def fail(*_, error=raised, **__):
            raise error

        monkeypatch.setattr("facegate_convert._quantize._workshop.correct_biases", fail)
        with pytest.raises(expected):
            quantize(graph, names, model, nets.images(2), Recipe(), input_range=nets.RANGE)
