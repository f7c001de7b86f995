"""Small ONNX models of every family, made here: their weights are random, their graphs have the families' shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Collects nodes and weights of one graph with one image input."""

    def __init__(self, size, *, name="input", layout="NCHW", channels=3, seed=1):
        width, height = size
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.outputs = [], [], []
        shape = (1, channels, height, width) if layout == "NCHW" else (1, height, width, channels)
        self.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        self.last = name

    def constant(self, array, dtype=np.float32):
        """Add a weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def add(self, op, *inputs, output=None, **attributes):
        """Add a node; its input is the last result if none is named."""
        target = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs) or [self.last], [target], **attributes))
        self.last = target
        return target

    def conv(self, channels_in, channels_out, *, kernel=3, stride=1, source=None, group=1, output=None):
        """Add a convolution with random weights."""
        weight = self.random.normal(
            0,
            (kernel * kernel * channels_in / group) ** -0.5 * 1.4,
            (channels_out, channels_in // group, kernel, kernel),
        )
        pad = (kernel - 1) // 2
        return self.add(
            "Conv",
            source or self.last,
            self.constant(weight),
            self.constant(self.random.normal(0, 0.05, channels_out)),
            output=output,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=group,
        )

    def output(self, name, shape):
        """Declare an output."""
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self, opset=13):
        """The ONNX model's bytes."""
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(made)
        return made.SerializeToString()


def detector(columns, *, size=(64, 64), anchors=1, levels=3, maps=False, sigmoid=True, scores=1, batched=False):
    """A detector with an output of `columns` for each level: SCRFD (1, 4, 10), YuNet (1, 1, 4, 10), and wrong ones.

    Args:
        columns: values in a row of each output of a level; the first `scores` of them are scores.
        size: (width, height).
        anchors: rows for each cell.
        levels: 3 for the strides 8, 16, 32; 5 up to 128.
        maps: outputs stay feature maps (1, anchors * C, H, W).
        sigmoid: whether scores are probabilities already.
        scores: how many of `columns` are scores.
        batched: rows as (1, rows, C) and not as (rows, C).
    """
    width, height = size
    net = Net(size)
    net.conv(3, 8, kernel=3, stride=4)
    net.add("Relu")
    features = []
    for level in range(levels):
        net.conv(8, 8, stride=2)
        features.append((net.add("Relu"), 8 << level))
    for place, wanted in enumerate(columns):
        for feature, stride in features:
            name = f"out_{place}_{stride}"
            cells_y, cells_x = height // stride, width // stride
            probability = place < scores and sigmoid
            net.conv(8, anchors * wanted, kernel=1, source=feature, output=name if maps and not probability else None)
            if not maps:
                net.add("Transpose", perm=[0, 2, 3, 1])
                rows = [1, -1, wanted] if batched else [-1, wanted]
                net.add("Reshape", net.last, net.constant(rows, np.int64), output=None if probability else name)
            if probability:
                net.add("Sigmoid", output=name)
            shape = (cells_y * cells_x * anchors, wanted)
            net.output(name, (1, anchors * wanted, cells_y, cells_x) if maps else (1, *shape) if batched else shape)
    return net.model()


def retinaface(*, size=(64, 64), softmax=True, columns=(4, 2, 10)):
    """A RetinaFace: three outputs over all priors, 2 for each cell."""
    width, height = size
    net = Net(size)
    net.conv(3, 8, kernel=3, stride=4)
    features = [(net.conv(8, 8, stride=2), 8 << level) for level in range(3)]
    priors = 2 * sum((height // stride) * (width // stride) for _, stride in features)
    for wanted in columns:
        parts = []
        for feature, _ in features:
            net.conv(8, 2 * wanted, kernel=1, source=feature)
            net.add("Transpose", perm=[0, 2, 3, 1])
            parts.append(net.add("Reshape", net.last, net.constant([1, -1, wanted], np.int64)))
        last = wanted == 2 and softmax
        net.add("Concat", *parts, output=None if last else f"out{wanted}", axis=1)
        if last:
            net.add("Softmax", output=f"out{wanted}", axis=2)
        net.output(f"out{wanted}", (1, priors, wanted))
    return net.model()


def vector(
    length,
    *,
    size=(112, 112),
    normalize=(),
    prelu=True,
    depthwise=True,
    activation="",
    name="fc1",
    channels=3,
    layout="NCHW",
    seed=1,
):
    """A net from an image to one vector: recognisers, liveness models and everything that looks like them.

    Args:
        length: of the vector.
        size: (width, height).
        normalize: operations in front, e.g. (("Sub", 127.5), ("Mul", 1 / 128)).
        prelu: PRelu or Relu.
        depthwise: whether there is a depthwise convolution.
        activation: a last operation, e.g. "Softmax".
        name: of the output.
        channels: of the image.
        layout: of the image.
        seed: of the weights.
    """
    width, height = size
    net = Net(size, layout=layout, channels=channels, seed=seed)
    for op, value in normalize:
        net.add(op, net.last, net.constant(value))
    if layout == "NHWC":
        net.add("Transpose", perm=[0, 3, 1, 2])
    net.conv(channels, 8, stride=4)
    if prelu:
        net.add("PRelu", net.last, net.constant(net.random.uniform(0.05, 0.4, (8, 1, 1))))
    else:
        net.add("Relu")
    net.conv(8, 8, stride=4, group=8 if depthwise else 1)
    net.add("Flatten", axis=1)
    cells = math.ceil(height / 16) * math.ceil(width / 16)
    weight = net.random.normal(0, (8 * cells) ** -0.5, (length, 8 * cells))
    bias = net.random.normal(0, 0.1, length)
    net.add("Gemm", net.last, net.constant(weight), net.constant(bias), output=None if activation else name, transB=1)
    if activation:
        net.add(activation, output=name)
    net.output(name, (1, length))
    return net.model()
