"""The steps of quantising: ranges, equalised channels, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert._graph import load_graph
from facegate_convert._lower import lower
from facegate_convert._measure import agreement, run_engine
from facegate_convert._quantize import RANGES, equalize, measure_ranges, quantize_dynamic, quantize_static
from facegate_convert.errors import CalibrationError, QuantizationError

from . import tiny_onnx


def uneven(channels=8, seed=3):
    """Convolution, PReLU, depthwise convolution, PReLU, convolution: channels a hundred times wider than others."""
    net = tiny_onnx.Net((32, 32), seed=seed)
    widths = 10.0 ** np.linspace(-1, 1, channels)
    first = net.random.normal(0, 0.3, (channels, 3, 3, 3)) * widths[:, None, None, None]
    net.add("Conv", net.last, net.constant(first), net.constant(widths * 0.1), pads=[1] * 4)
    net.add("PRelu", net.last, net.constant(net.random.uniform(0.1, 0.4, (channels, 1, 1))))
    depthwise = (
        net.random.normal(0, 0.3, (channels, 1, 3, 3)) / widths[:, None, None, None] * widths[::-1, None, None, None]
    )
    net.add("Conv", net.last, net.constant(depthwise), net.constant(widths[::-1] * 0.1), pads=[1] * 4, group=channels)
    net.add("PRelu", net.last, net.constant(net.random.uniform(0.1, 0.4, (channels, 1, 1))))
    last = net.random.normal(0, 0.3, (16, channels, 1, 1)) / widths[None, ::-1, None, None]
    net.add("Conv", net.last, net.constant(last), net.constant(np.zeros(16)), output="out")
    net.output("out", (1, 16, 32, 32))
    return net.model()


@pytest.fixture
def inputs():
    """Eight random images in -1..1."""
    random = np.random.default_rng(5)
    return [random.uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32) for _ in range(8)]


def outputs(model, inputs):
    """The rows of a model's only output."""
    (values,) = run_engine(model, inputs).values()
    return values.reshape(len(inputs), -1)


def test_equalised_networks_compute_the_same_and_quantise_better(inputs):
    """Two places are equalised; float32 stays what it was, and int8 errs by less than half of what it did."""
    graph = load_graph(uneven())
    plain = lower(graph).model
    equalised, places = equalize(graph, plain, {"out": "out"}, inputs)
    assert places == 2
    exact = outputs(plain, inputs)
    assert agreement(exact, outputs(lower(equalised).model, inputs)).error_max < 1e-5
    errors = []
    for form in (graph, equalised):
        base = lower(form, prelu="rewrite").model
        int8 = quantize_static(base, measure_ranges(base, inputs, (-1.0, 1.0)), "extreme")
        errors.append(agreement(exact, outputs(int8, inputs)).error_mean)
    assert errors[1] < errors[0] / 2


def test_values_that_others_read_are_left_alone(inputs):
    """What is between may be an output, or be added elsewhere: then its channels keep their size."""
    net = tiny_onnx.Net((32, 32))
    net.conv(3, 4)
    between = net.add("Relu")
    first = net.conv(4, 4)
    net.add("Add", between, first, output="sum")
    net.output("sum", (1, 4, 32, 32))
    graph = load_graph(net.model())
    same, places = equalize(graph, lower(graph).model, {"sum": "sum"}, inputs)
    assert places == 0
    assert all((same.constants[name] == value).all() for name, value in graph.constants.items())


def test_ranges_leave_weights_out_and_know_the_input(inputs):
    """Weights have a scale for each channel, from their values; the input's range is the one that is stated."""
    base = lower(load_graph(uneven()), prelu="rewrite").model
    ranges = measure_ranges(base, inputs, (-2.0, 2.0))
    for how in RANGES:
        combined = ranges.combine(how)
        assert not any("weight" in name or "bias" in name for name in combined)
        assert combined["input"]["min"].item() == -2
        assert combined["input"]["max"].item() == 2
    means, extremes = ranges.combine("mean"), ranges.combine("extreme")
    assert all(extremes[n]["min"] <= means[n]["min"] + 1e-6 for n in means)
    assert any(extremes[n]["max"].item() > means[n]["max"].item() for n in means)


def test_ranges_do_not_depend_on_the_order(inputs):
    """The same photographs in another order give the same model."""
    base = lower(load_graph(uneven()), prelu="rewrite").model
    forward, backward = (measure_ranges(base, order, (-1.0, 1.0)) for order in (inputs, inputs[::-1]))
    assert quantize_static(base, forward, "extreme") == quantize_static(base, backward, "extreme")


def test_progress_is_told(inputs):
    """Each input is one step."""
    steps = []
    base = lower(load_graph(uneven())).model
    measure_ranges(base, inputs, (-1.0, 1.0), progress=lambda *step: steps.append(step))
    assert steps == [(n, 8) for n in range(1, 9)]


def test_no_inputs_no_ranges():
    """There is nothing to calibrate on."""
    with pytest.raises(CalibrationError):
        measure_ranges(lower(load_graph(uneven())).model, [], (-1.0, 1.0))


@pytest.mark.parametrize("model", [b"", b"no model at all", b"\x1c\0\0\0TFL3" + bytes(64)])
def test_bytes_that_are_no_model_are_refused(model, inputs):
    """The quantizer's own exceptions do not get out, nor does it crash."""
    with pytest.raises(QuantizationError):
        measure_ranges(model, inputs, (-1.0, 1.0))
    with pytest.raises(QuantizationError):
        quantize_dynamic(model)


def test_quantizing_is_silent(inputs, capfd):
    """Neither LiteRT nor the quantizer writes on the terminal."""
    base = lower(load_graph(uneven()), prelu="rewrite").model
    quantize_static(base, measure_ranges(base, inputs, (-1.0, 1.0)))
    quantize_dynamic(base)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
