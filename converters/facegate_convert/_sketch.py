"""What a graph shows of itself: the facts that model families are told apart by.

Shapes, the operations next to inputs and outputs, and the kinds of operation in between. A file's name is not a fact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert.errors import UnknownFamilyError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph, Node

_IMAGE_RANK = 4
_LAYOUT = ("Cast", "Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_ACTIVATIONS = {"Sigmoid": "sigmoid", "HardSigmoid": "sigmoid", "Softmax": "softmax"}


@dataclass(frozen=True, slots=True)
class OutputSketch:
    """One output of a graph.

    Attributes:
        name: in the ONNX model.
        shape: in ONNX's dimension order.
        activation: "sigmoid", "softmax" or "" for the last operation that changes values.
    """

    name: str
    shape: tuple[int, ...]
    activation: str

    @property
    def is_map(self) -> bool:
        """Whether it is a feature map (1, C, H, W), not rows of values."""
        return len(self.shape) == _IMAGE_RANK and (self.shape[2] > 1 or self.shape[3] > 1)

    @property
    def rows(self) -> int:
        """Rows of an output (rows, C) or (1, rows, C)."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """Values in a row; for a map, its channels."""
        return self.shape[1] if self.is_map else self.shape[-1]


@dataclass(frozen=True, slots=True)
class Sketch:
    """The facts of a graph.

    Attributes:
        input: name of the image input.
        width, height: of the image, in pixels.
        channels_first: (1, 3, H, W) or (1, H, W, 3).
        normalization: (factor, offset) for each channel if the graph itself begins with factor * x + offset, else None.
        outputs: in the model's order.
        operations: kinds of operation in the graph; "DepthwiseConv" is added for grouped convolutions of one channel.
        names: the names that its authors gave to inputs, outputs and nodes.
    """

    input: str
    width: int
    height: int
    channels_first: bool
    normalization: tuple[tuple[float, float], ...] | None
    outputs: tuple[OutputSketch, ...]
    operations: frozenset[str]
    names: tuple[str, ...]


def sketch(graph: Graph) -> Sketch:
    """Collect the facts of a canonical graph.

    Raises:
        UnknownFamilyError: if its input is not one colour image.
    """
    shapes = ", ".join(f"{v.name} {v.shape}" for v in graph.inputs)
    shape = graph.inputs[0].shape if len(graph.inputs) == 1 else ()
    channels_first = len(shape) == _IMAGE_RANK and shape[1] == 3  # noqa: PLR2004
    if len(shape) != _IMAGE_RANK or shape[0] != 1 or 3 not in (shape[1], shape[3]):  # noqa: PLR2004
        raise UnknownFamilyError(
            f"a face model has one input, a colour image of 3 channels; this one has {shapes}",
            hint="export the model with one image input; grey-scale models are not supported",
        )
    depthwise = any(n.op == "Conv" and _is_depthwise(graph, n) for n in graph.nodes)
    return Sketch(
        input=graph.inputs[0].name,
        width=shape[3] if channels_first else shape[2],
        height=shape[2] if channels_first else shape[1],
        channels_first=channels_first,
        normalization=_normalization(graph, channel_axis=1 if channels_first else 3),
        outputs=tuple(OutputSketch(v.name, v.shape, _activation(graph, v.name)) for v in graph.outputs),
        operations=frozenset(n.op for n in graph.nodes) | ({"DepthwiseConv"} if depthwise else frozenset()),
        names=(
            *(v.name for v in graph.inputs),
            *(v.name for v in graph.outputs),
            *(n.name for n in graph.nodes),
        ),
    )


def _is_depthwise(graph: Graph, node: Node) -> bool:
    groups = int(node.attributes.get("group", 1))
    return groups > 1 and graph.shapes[node.inputs[1]][1] == 1


def _activation(graph: Graph, name: str) -> str:
    """The activation before an output, looking through changes of layout (all parts of a Concat must agree)."""
    node = graph.producer(name)
    if node is None:
        return ""
    if node.op in _ACTIVATIONS:
        return _ACTIVATIONS[node.op]
    if node.op not in _LAYOUT:
        return ""
    found = {_activation(graph, source) for source in node.inputs if source not in graph.constants}
    return found.pop() if len(found) == 1 else ""


def _normalization(graph: Graph, *, channel_axis: int) -> tuple[tuple[float, float], ...] | None:
    """The composed factor * x + offset of each channel, of the nodes between the input and the first other one."""
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    factor, offset = np.ones(3), np.zeros(3)
    name, found = graph.inputs[0].name, False
    while True:
        consumers = graph.consumers(name)
        if len(consumers) != 1:
            break
        (node,) = consumers
        if node.op in ("Cast", "Identity"):
            name = node.outputs[0]
            continue
        step = _affine(graph, node, name, channel_axis)
        if step is None:
            break
        factor, offset = step[0] * factor, step[0] * offset + step[1]
        name, found = node.outputs[0], True
    if not found:
        return None
    return tuple((float(a), float(b)) for a, b in zip(factor, offset, strict=True))


def _affine(
    graph: Graph, node: Node, name: str, channel_axis: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """(factor, offset) of one node per channel, or None if it is no such thing."""
    import numpy as np  # noqa: PLC0415

    constants = [graph.constants[i] for i in node.inputs if i in graph.constants]
    if node.op == "BatchNormalization" and len(constants) == 4:  # noqa: PLR2004
        gamma, beta, mean, variance = (np.asarray(c, np.float64) for c in constants)
        factor = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        return factor, beta - mean * factor
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(constants) != 1:
        return None
    value = _per_channel(constants[0], channel_axis)
    if value is None or (node.inputs[0] != name and node.op in ("Sub", "Div")):
        return None
    one, zero = np.ones(3), np.zeros(3)
    return {"Add": (one, value), "Sub": (one, -value), "Mul": (value, zero), "Div": (1 / value, zero)}[node.op]


def _per_channel(constant: npt.NDArray[np.generic], channel_axis: int) -> npt.NDArray[np.float64] | None:
    import numpy as np  # noqa: PLC0415

    values = np.asarray(constant, np.float64)
    if values.size == 1:
        return np.full(3, values.item())
    padded = (1,) * (_IMAGE_RANK - values.ndim) + values.shape
    return values.reshape(3) if values.size == 3 and padded[channel_axis] == 3 else None  # noqa: PLR2004
