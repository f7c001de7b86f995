"""Which channels may be scaled together, and that scaling them changes nothing but how they quantise."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert._graph import load_graph
from facegate_convert._lower import lower
from facegate_convert._measure import agreement, run_engine
from facegate_convert._quantize import Recipe, equalize, quantize
from facegate_convert._quantize._scaling import find_groups

from . import quantize_nets as nets
from . import tiny_onnx


def outputs(model, inputs):
    """The rows of a model's only output."""
    (values,) = run_engine(model, inputs).values()
    return values.reshape(len(inputs), -1)


@pytest.mark.parametrize("activation", ["Relu", "PRelu", "Clip"])
def test_a_residual_trunk_is_one_group(activation):
    """What is added together has one factor a channel: the stem and the block's end write it, three others read it."""
    graph = load_graph(nets.residual(activation=activation))
    groups = find_groups(graph, {"embedding": "embedding"})
    trunk = max(groups, key=lambda g: len(g.values))
    assert len(trunk.producers) == 2
    assert len(trunk.readers) == 2
    assert len(groups) == 5
    assert {g.limit for g in groups} == ({None, 6.0} if activation == "Clip" else {None})


@pytest.mark.parametrize("activation", ["Relu", "PRelu", "Clip"])
def test_float32_stays_the_same(activation):
    """Factors cancel: the equalised float32 model gives the same embeddings, within rounding."""
    graph, names, model = nets.loaded(nets.residual(activation=activation), "embedding")
    inputs = nets.images()
    equalized, places = equalize(graph, model, names, inputs)
    assert places == 5
    found = outputs(lower(equalized, output_names=names).model, inputs)
    assert agreement(outputs(model, inputs), found).error_max < 1e-5


def test_int8_comes_nearer():
    """Uneven channels lose less of their precision once they are equalised."""
    graph, names, model = nets.loaded(nets.residual(activation="PRelu"), "embedding")
    errors = [
        quantize(
            graph,
            names,
            model,
            nets.images(),
            Recipe(calibration="extreme", equalize=equal, bias_correction=False),
            input_range=nets.RANGE,
        ).error
        for equal in (False, True)
    ]
    assert errors[1] < errors[0] / 1.5


def test_outputs_are_left_alone():
    """A value that leaves the graph keeps its size, also where a convolution reads it too."""
    net = tiny_onnx.Net((16, 16))
    net.conv(3, 4)
    net.add("Relu", output="middle")
    net.conv(4, 4, output="out")
    net.output("middle", (1, 4, 16, 16))
    net.output("out", (1, 4, 16, 16))
    assert find_groups(load_graph(net.model()), {"middle": "middle", "out": "out"}) == ()


@pytest.mark.parametrize("op", ["Sigmoid", "Concat", "GlobalAveragePool"])
def test_only_what_keeps_scales_ties_values(op):
    """A sigmoid or a join ends a group; a mean over an image does not."""
    net = tiny_onnx.Net((16, 16))
    net.conv(3, 4)
    if op == "Concat":
        net.add("Concat", net.last, net.last, axis=1)
    else:
        net.add(op)
    net.conv(8 if op == "Concat" else 4, 4, kernel=1, output="out")
    net.output("out", (1, 4, 1, 1) if op == "GlobalAveragePool" else (1, 4, 16, 16))
    groups = find_groups(load_graph(net.model()), {"out": "out"})
    assert len(groups) == (op == "GlobalAveragePool")


def test_channels_that_are_always_zero_do_no_harm():
    """Dead channels have no range to divide by."""
    net = tiny_onnx.Net((16, 16))
    weight = net.random.normal(0, 0.3, (4, 3, 3, 3))
    weight[1:] = 0
    net.add("Conv", net.last, net.constant(weight), net.constant([0.1, -1, -1, 0]), pads=[1] * 4)
    net.add("Relu")
    net.conv(4, 4, output="out")
    net.output("out", (1, 4, 16, 16))
    graph, names, model = nets.loaded(net.model(), "out")
    inputs = [np.zeros((1, 16, 16, 3), np.float32), np.ones((1, 16, 16, 3), np.float32)]
    equalized, _ = equalize(graph, model, names, inputs)
    assert all(np.isfinite(v).all() for v in equalized.constants.values())
    assert agreement(outputs(model, inputs), outputs(lower(equalized).model, inputs)).error_max < 1e-5
