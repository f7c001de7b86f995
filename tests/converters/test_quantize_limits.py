"""What is written as int8 can be run: dead and pruned channels, constant activations, ranges of any size."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert._measure import run_engine
from facegate_convert._quantize import RANGES, Recipe, _quantizer, measure_ranges, quantize, quantize_static
from facegate_convert._quantize._flat import open_model, operations, stored
from facegate_convert._quantize._limits import LARGEST_BIAS, LARGEST_RATIO, fit_biases, too_narrow
from facegate_convert._quantize._quantizer import quantize_dynamic, quantize_float16
from facegate_convert.errors import QuantizationError

from . import tiny_onnx
from .quantize_nets import RANGE, SIZE, images, loaded

PRECISIONS = ("int8", "dynamic", "float16")


def squeeze(*, bias=-30.0, unit=1.0):
    """A squeeze whose ReLU never opens, its expansion with a bias of its own, added to the trunk."""
    net = tiny_onnx.Net(SIZE, seed=2)
    net.conv(3, 8)
    trunk = net.add("Relu")
    net.add("GlobalAveragePool")
    weight = net.random.normal(0, 1, (4, 8, 1, 1)) * unit
    net.add("Conv", net.last, net.constant(weight), net.constant(np.full(4, bias * unit)))
    net.add("Relu")
    weight = net.random.normal(0, 0.1, (8, 4, 1, 1))
    net.add("Conv", net.last, net.constant(weight), net.constant(np.linspace(-1, 1, 8)))
    net.add("Add", trunk, net.last)
    net.conv(8, 4, output="out")
    net.output("out", (1, 4, *SIZE))
    return net.model()


def pruned(*, depthwise):
    """Channels of nothing but zeros with a bias, as a batch normalisation with a gain of 0 leaves them."""
    net = tiny_onnx.Net(SIZE, seed=4)
    net.conv(3, 8)
    weight = net.random.normal(0, 0.3, (8, 1, 3, 3) if depthwise else (8, 8, 3, 3))
    weight[::2] = 0
    weight[2] = 1e-9
    bias = np.linspace(-2, 2, 8)
    net.add(
        "Conv",
        net.last,
        net.constant(weight),
        net.constant(bias),
        pads=[1] * 4,
        group=8 if depthwise else 1,
        output="out",
    )
    net.output("out", (1, 8, *SIZE))
    return net.model(), bias


def cancelling():
    """A sum that is always 0, of what is not."""
    net = tiny_onnx.Net(SIZE, seed=6)
    weight, bias = net.random.normal(0, 0.3, (4, 3, 1, 1)), np.zeros(4)
    one = net.add("Conv", net.last, net.constant(weight), net.constant(bias))
    other = net.add("Conv", "input", net.constant(-weight), net.constant(bias))
    net.add("Add", one, other)
    net.add(
        "Conv", net.last, net.constant(weight[:, :1].repeat(4, 1)), net.constant(np.linspace(-1, 1, 4)), output="out"
    )
    net.output("out", (1, 4, *SIZE))
    return net.model()


def generated(seed):
    """Blocks of convolutions of which weights, biases and whole channels are of any size, or zero."""
    net = tiny_onnx.Net(SIZE, seed=seed)
    random = net.random
    net.conv(3, 6)
    for _ in range(4):
        start = net.last
        group = 6 if random.random() < 0.4 else 1
        size = 10.0 ** random.uniform(-9, 9, (6, 1, 1, 1)) * (random.random((6, 1, 1, 1)) < 0.7)
        weight = random.normal(0, 1, (6, 6 // group, 3, 3)) * size
        bias = random.normal(0, 1, 6) * 10.0 ** random.uniform(-9, 9, 6) * (random.random(6) < 0.7)
        net.add("Conv", net.last, net.constant(weight), net.constant(bias), pads=[1] * 4, group=group)
        if random.random() < 0.6:
            net.add("Relu")
        if random.random() < 0.4:
            net.add(str(random.choice(["Add", "Sub"])), start, net.last)
    net.conv(6, 4, output="out")
    net.output("out", (1, 4, *SIZE))
    return net.model()


def outputs(model, inputs):
    """The values of "out"."""
    return run_engine(model, inputs)["out"]


def static(model, how="extreme"):
    """(float32 model, int8 model) of a network, calibrated on smooth images."""
    _, _, lowered = loaded(model, "out")
    return lowered, quantize_static(lowered, measure_ranges(lowered, images(4), RANGE), how)


def error(lowered, model, inputs):
    """The mean error, in steps of the output's range."""
    exact = outputs(lowered, inputs)
    return float(np.abs(outputs(model, inputs) - exact).mean() / max(exact.max() - exact.min(), 1e-30)) * 255


@pytest.mark.parametrize("how", RANGES)
def test_a_squeeze_that_stays_dead_runs_and_is_right(how):
    """XNNPACK refused its convolution, and LiteRT could end the process over it."""
    lowered, model = static(squeeze(), how)
    assert not too_narrow(model)
    assert error(lowered, model, images(4)) < 6


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_dead_squeeze_of_any_size_runs(unit):
    """The limit is one of ratios: the size of the numbers does not matter."""
    lowered, model = static(squeeze(unit=unit))
    assert not too_narrow(model)
    assert error(lowered, model, images(4)) < 6


def test_the_limit_is_the_engines(monkeypatch):
    """Without the widening, the model is one whose ratio is beyond the limit: the test above has something to find."""
    monkeypatch.setattr(_quantizer, "too_narrow", lambda _: {})
    _, model = static(squeeze())
    assert too_narrow(model)


@pytest.mark.parametrize("depthwise", [False, True])
def test_pruned_channels_keep_their_bias(depthwise):
    """Weights of 0 have the smallest scale there is; a bias in such steps does not fit into 32 bits."""
    source, bias = pruned(depthwise=depthwise)
    lowered, model = static(source)
    assert error(lowered, model, images(4)) < 4
    found = outputs(model, images(4))
    step = (found.max() - found.min()) / 255
    assert np.abs(found.reshape(-1, *SIZE, 8)[:, 2:-2, 2:-2, ::2] - bias[::2]).max() <= step


def test_what_reads_a_constant_zero_keeps_its_bias():
    """An addition whose sum is 0 has no range; the convolution behind it is all bias."""
    lowered, model = static(cancelling())
    assert not too_narrow(model)
    found = outputs(model, images(4))
    assert np.abs(found - np.linspace(-1, 1, 4)).max() < 2 * 2 / 255
    assert error(lowered, model, images(4)) < 2


def test_biases_that_fit_are_left_alone():
    """A network of usual sizes is not touched: the same bytes."""
    net = tiny_onnx.Net(SIZE, seed=8)
    net.conv(3, 8)
    net.add("Relu")
    net.conv(8, 4, output="out")
    net.output("out", (1, 4, *SIZE))
    lowered, model = static(net.model())
    assert fit_biases(lowered, model) is model
    assert not too_narrow(model)


@pytest.mark.parametrize("seed", range(24))
def test_whatever_the_sizes_all_scales_are_within_the_limits_and_the_engine_runs(seed):
    """Channels of 1e-9 to 1e9, zeros, biases to match: looked at first, then run."""
    lowered, model = static(generated(seed))
    root = open_model(model)
    graph = root.Subgraphs(0)
    for operation in operations(model):
        if operation.code not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        scales = [graph.Tensors(i).Quantization().ScaleAsNumpy() for i in (*operation.inputs[:3], operation.outputs[0])]
        ratio = scales[0] * scales[1].astype(np.float64) / scales[3]
        assert ratio.max() <= LARGEST_RATIO * 1.01
        assert np.allclose(scales[2], scales[0] * scales[1], rtol=1e-4)
        assert (
            np.abs(stored(model, root, graph.Tensors(operation.inputs[2])).astype(np.int64)).max() <= LARGEST_BIAS + 128
        )
    assert np.isfinite(outputs(model, images(2))).all()
    assert error(lowered, model, images(4)) < 64


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_takes_them_through_the_whole_way(precision):
    """Equalising, correcting biases and measuring layers included."""
    graph, names, lowered = loaded(squeeze(), "out")
    found = quantize(graph, names, lowered, images(6), Recipe(precision), input_range=RANGE)
    assert np.isfinite(found.error)
    assert found.error < 0.05


def test_weights_beyond_float16_stay_float32():
    """65504 is the most that float16 holds; beyond are infinities."""
    net = tiny_onnx.Net(SIZE, seed=3)
    net.add("Conv", net.last, net.constant(net.random.normal(0, 1e5, (4, 3, 1, 1))), net.constant(np.zeros(4)))
    net.add(
        "Conv",
        net.last,
        net.constant(net.random.normal(0, 1e-5, (4, 4, 1, 1))),
        net.constant(np.zeros(4)),
        output="out",
    )
    net.output("out", (1, 4, *SIZE))
    _, _, lowered = loaded(net.model(), "out")
    assert error(lowered, quantize_float16(lowered), images(2)) < 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, 1e35])
def test_values_that_no_scale_fits_are_refused(value):
    """A damaged weight is told of as such, and reaches no engine as a scale."""
    net = tiny_onnx.Net(SIZE, seed=3)
    weight = net.random.normal(0, 1, (4, 3, 1, 1))
    weight[1, 1] = value
    net.add("Conv", net.last, net.constant(weight), net.constant(np.zeros(4)), output="out")
    net.output("out", (1, 4, *SIZE))
    with pytest.raises(QuantizationError) as caught:
        static(net.model())
    assert caught.value.hint


def test_dynamic_takes_weights_of_zeros():
    """Its scales are measured while it runs; those of weights are not."""
    source, _ = pruned(depthwise=False)
    _, _, lowered = loaded(source, "out")
    assert error(lowered, quantize_dynamic(lowered), images(2)) < 4
