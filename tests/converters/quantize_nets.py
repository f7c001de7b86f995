"""Small networks with what quantising stumbles over: uneven channels, residual sums, normalisation inside the graph."""

from __future__ import annotations

import numpy as np

from facegate_convert._graph import load_graph
from facegate_convert._lower import lower

from . import tiny_onnx

RANGE = (-1.0, 1.0)
SIZE = (24, 24)


def residual(*, activation="Relu", channels=8, seed=3):
    """Convolution, then a residual block with a depthwise convolution, then an embedding: a small recogniser."""
    net = tiny_onnx.Net(SIZE, seed=seed)
    widths = 10.0 ** np.linspace(-0.7, 0.7, channels)

    def act():
        if activation == "PRelu":
            return net.add("PRelu", net.last, net.constant(net.random.uniform(0.1, 0.4, (channels, 1, 1))))
        if activation == "Clip":
            return net.add("Clip", net.last, net.constant(0.0), net.constant(6.0))
        return net.add("Relu")

    stem = net.random.normal(0, 0.3, (channels, 3, 3, 3)) * widths[:, None, None, None]
    net.add("Conv", net.last, net.constant(stem), net.constant(widths * 0.1), pads=[1] * 4)
    trunk = act()
    net.conv(channels, channels, kernel=1)
    act()
    net.conv(channels, channels, group=channels)
    act()
    net.conv(channels, channels, kernel=1)
    net.add("Add", trunk, net.last)
    net.conv(channels, channels, kernel=1)
    act()
    net.add("Conv", net.last, net.constant(net.random.normal(0, 0.1, (channels, 1, *SIZE))), group=channels)
    net.add("Reshape", net.last, net.constant([1, channels], np.int64))
    net.add("Gemm", net.last, net.constant(net.random.normal(0, 1, (16, channels))), output="embedding", transB=1)
    net.output("embedding", (1, 16))
    return net.model()


def normalizing(*, center=127.5, seed=5):
    """(pixel - center) * 1/128 inside the graph, before two convolutions."""
    net = tiny_onnx.Net(SIZE, seed=seed)
    net.add("Sub", net.last, net.constant([center]))
    net.add("Mul", net.last, net.constant([1 / 128]))
    net.conv(3, 8)
    net.add("Relu")
    net.conv(8, 4, output="out")
    net.output("out", (1, 4, *SIZE))
    return net.model()


def images(count=24, *, low=-1.0, high=1.0, seed=7):
    """Smooth random images, as photographs are, float32 (1, 24, 24, 3)."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = random.uniform(low, high, (6, 6, 3)).repeat(4, axis=0).repeat(4, axis=1)
        fine = random.normal(0, (high - low) / 20, coarse.shape)
        found.append(np.clip(coarse + fine, low, high).astype(np.float32)[None])
    return found


def loaded(model, name):
    """(graph, names, float32 model) of a network with one output."""
    graph = load_graph(model)
    return graph, {name: name}, lower(graph, output_names={name: name}).model
