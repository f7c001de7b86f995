"""Lowering rules: convolutions, pooling and matrix products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._lower import _layout
from facegate_convert._lower._elementwise import combine
from facegate_convert._lower._emitter import NHWC, Emitter, View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from facegate_convert._graph import Node

_MATRIX = 2
_MAX_MAP = 2**16  # places of a map whose factors are stored one by one


def padding(
    e: Emitter,
    x: int,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    name: str,
    *,
    edges: bool = False,
) -> tuple[int, str]:
    """Bring ONNX's explicit padding to TFLite: nothing, SAME where it pads exactly so, else a PAD before VALID.

    Args:
        e: the graph being built.
        x: the NHWC tensor to pad.
        size: rows and columns of the result.
        kernel: rows and columns of the (dilated) window.
        strides: of the window, down and across.
        pads: top, left, bottom, right as in ONNX.
        name: of the operator's result, from which new tensors take theirs.
        edges: pad with the edge's own values instead of zeros.

    Returns:
        The tensor to read, and "SAME" or "VALID".
    """
    n, *spatial, channels = e.shape(x)
    begin = list(pads[:2])
    # What the last window needs; ONNX's end padding may be more than that, or may leave pixels unused.
    end = [(size[i] - 1) * strides[i] + kernel[i] - spatial[i] - begin[i] for i in (0, 1)]
    if not any(begin) and all(v <= 0 for v in end):
        return x, "VALID"
    total = [max((-(-spatial[i] // strides[i]) - 1) * strides[i] + kernel[i] - spatial[i], 0) for i in (0, 1)]
    same = all(
        -(-spatial[i] // strides[i]) == size[i] and begin[i] == total[i] // 2 and end[i] <= total[i] - total[i] // 2
        for i in (0, 1)
    )
    if same:
        return x, "SAME"
    end = [max(v, 0) for v in end]
    if edges:
        for axis in (0, 1):
            x = _edges_repeated(e, x, axis + 1, begin[axis], end[axis], name)
        return x, "VALID"
    table = [[0, 0], [begin[0], end[0]], [begin[1], end[1]], [0, 0]]
    shape = (n, *(spatial[i] + begin[i] + end[i] for i in (0, 1)), channels)
    return e.emit("PAD", [x, e.integers(table, "paddings")], shape, f"{name}/pad"), "VALID"


def _edges_repeated(e: Emitter, x: int, axis: int, begin: int, end: int, name: str) -> int:
    """An NHWC tensor with its first and last slice along an axis repeated."""
    shape = list(e.shape(x))
    size = [*shape[:axis], 1, *shape[axis + 1 :]]
    parts = [x]
    for count, place in ((begin, 0), (end, shape[axis] - 1)):
        if not count:
            continue
        first = [place if i == axis else 0 for i in range(len(shape))]
        inputs = [x, e.integers(first, "begin"), e.integers(size, "size")]
        edge = e.emit("SLICE", inputs, size, f"{name}/edge")
        parts = parts + [edge] * count if place else [edge] * count + parts
    return e.joined(parts, axis, f"{name}/edges")


def _bias(e: Emitter, node: Node, channels: int) -> npt.NDArray[Any]:
    has = len(node.inputs) > 2  # noqa: PLR2004
    return e.graph.constants[node.inputs[2]] if has else np.zeros(channels, np.float32)


def conv(e: Emitter, node: Node) -> None:
    """Conv: CONV_2D (OHWI), which also takes groups, or DEPTHWISE_CONV_2D (1HWO) if every channel is a group."""
    name, a = node.outputs[0], node.attributes
    weight = np.asarray(e.graph.constants[node.inputs[1]])
    count, _, rows, columns = weight.shape
    batch, _, *size = e.graph.shapes[name]
    channels = e.graph.shapes[node.inputs[0]][1]
    kernel = [(k - 1) * d + 1 for k, d in zip((rows, columns), a["dilations"], strict=True)]
    x, mode = padding(e, e.image(node.inputs[0]), size, kernel, a["strides"], a["pads"], name)
    options: dict[str, Any] = {
        "padding": mode,
        "strideH": a["strides"][0],
        "strideW": a["strides"][1],
        "dilationHFactor": a["dilations"][0],
        "dilationWFactor": a["dilations"][1],
    }
    depthwise = a["group"] == channels and (channels > 1 or count == 1)
    bias = e.constant(_bias(e, node, count), f"{name}/bias")
    if depthwise:
        filters = e.constant(weight.transpose(1, 2, 3, 0), f"{name}/weight")
        code = "DEPTHWISE_CONV_2D"
        options["depthMultiplier"] = count // channels
    else:
        filters = e.constant(weight.transpose(0, 2, 3, 1), f"{name}/weight")
        code = "CONV_2D"
    e.define(name, e.emit(code, [x, filters, bias], (batch, *size, count), name, **options), NHWC)


def conv_transpose(e: Emitter, node: Node) -> None:
    """ConvTranspose: TRANSPOSE_CONV, cut to size; depthwise ones as a convolution over spread pixels."""
    name, a = node.outputs[0], node.attributes
    weight = _dilated(np.asarray(e.graph.constants[node.inputs[1]]), a["dilations"])
    channels, per_group = weight.shape[:2]
    batch, count, *size = e.graph.shapes[name]
    group, strides, pads = a["group"], a["strides"], a["pads"]
    x = e.image(node.inputs[0])
    bias = _bias(e, node, count)
    if group == channels and channels > 1:
        y = _spread_depthwise(e, node, x, weight, bias)
    else:
        parts = []
        for g in range(group):
            share = channels // group
            part = _columns(e, x, g * share, share, f"{name}/part") if group > 1 else x
            filters = weight[g * share : (g + 1) * share].transpose(1, 2, 3, 0)  # (M / group, kH, kW, C / group)
            own = bias[g * per_group : (g + 1) * per_group]
            parts.append(_transpose_conv(e, part, filters, own, strides, pads, (batch, *size, per_group), name))
        y = e.joined(parts, 3, name)
    e.define(name, y, NHWC)


def _dilated(weight: npt.NDArray[Any], dilations: Sequence[int]) -> npt.NDArray[Any]:
    """The weight with zeros between its taps: TRANSPOSE_CONV knows no dilation."""
    if tuple(dilations) == (1, 1):
        return weight
    rows, columns = ((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))
    spread = np.zeros((*weight.shape[:2], rows, columns), weight.dtype)
    spread[:, :, :: dilations[0], :: dilations[1]] = weight
    return spread


def _columns(e: Emitter, x: int, first: int, count: int, name: str) -> int:
    """Some channels of an NHWC tensor."""
    shape = (*e.shape(x)[:3], count)
    inputs = [x, e.integers([0, 0, 0, first], "begin"), e.integers(shape, "size")]
    return e.emit("SLICE", inputs, shape, name)


def _transpose_conv(
    e: Emitter,
    x: int,
    filters: npt.NDArray[Any],
    bias: npt.NDArray[Any],
    strides: Sequence[int],
    pads: Sequence[int],
    shape: Sequence[int],
    name: str,
) -> int:
    """TRANSPOSE_CONV with ONNX's padding: as SAME where that cuts exactly so, else in full, then cut."""
    n, *spatial, channels = e.shape(x)
    kernel, size = filters.shape[1:3], shape[1:3]
    # A stride beyond the kernel leaves pixels that only the bias reaches; zero taps make the kernel reach them.
    short = [max(s - k, 0) for s, k in zip(strides, kernel, strict=True)]
    if any(short):
        filters = np.pad(filters, [(0, 0), (0, short[0]), (0, short[1]), (0, 0)])
        kernel = filters.shape[1:3]
    # So does output padding: the result may reach beyond the full one, which then needs another row of zeros.
    full = [(spatial[i] - 1) * strides[i] + kernel[i] for i in (0, 1)]
    more = [max(0, -(-(pads[i] + size[i] - full[i]) // strides[i])) for i in (0, 1)]
    if any(more):
        table = [[0, 0], [0, more[0]], [0, more[1]], [0, 0]]
        grown = (n, spatial[0] + more[0], spatial[1] + more[1], channels)
        x = e.emit("PAD", [x, e.integers(table, "paddings")], grown, f"{name}/pad")
        spatial = list(grown[1:3])
        full = [(spatial[i] - 1) * strides[i] + kernel[i] for i in (0, 1)]
    cut = [full[i] - size[i] for i in (0, 1)]
    same = all(
        size[i] == spatial[i] * strides[i] and kernel[i] >= strides[i] and pads[i] == cut[i] // 2 for i in (0, 1)
    )
    options: dict[str, Any] = {"strideH": strides[0], "strideW": strides[1], "padding": "SAME" if same else "VALID"}
    result = tuple(shape) if same else (n, *full, shape[3])
    inputs = [e.integers(result, "output_shape"), e.constant(filters, f"{name}/weight"), x]
    inputs.append(e.constant(bias, f"{name}/bias"))
    y = e.emit("TRANSPOSE_CONV", inputs, result, name, dtype="float32", **options)
    if tuple(shape) == result:
        return y
    begin = e.integers([0, pads[0], pads[1], 0], "begin")
    return e.emit("SLICE", [y, begin, e.integers(list(shape), "size")], shape, f"{name}/cut")


def _spread_depthwise(e: Emitter, node: Node, x: int, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> int:
    """A transposed convolution of every channel for itself: pixels spread by the stride, then a depthwise convolution.

    The kernel is turned by 180 degrees: that is what "transposed" means.
    """
    name, a = node.outputs[0], node.attributes
    channels, multiplier, *kernel = weight.shape
    batch, count, *size = e.graph.shapes[name]
    strides, pads = a["strides"], a["pads"]
    n, rows, columns, _ = e.shape(x)
    if strides[1] > 1:
        x = _spread(e, e.reshape(x, (n * rows, columns, 1, channels)), strides[1], f"{name}/columns")
    if strides[0] > 1:
        x = _spread(e, e.reshape(x, (n, rows, 1, columns * strides[1] * channels)), strides[0], f"{name}/rows")
    x = e.reshape(x, (n, rows * strides[0], columns * strides[1], channels))
    # Spreading left stride - 1 zeros after the last pixel, which the transposed convolution does not have.
    begin = [kernel[i] - 1 - pads[i] for i in (0, 1)]
    end = [size[i] + kernel[i] - 1 - begin[i] - e.shape(x)[1 + i] for i in (0, 1)]
    x = _cropped(e, x, begin, end, f"{name}/crop")
    begin, end = [max(v, 0) for v in begin], [max(v, 0) for v in end]
    y, mode = padding(e, x, size, kernel, (1, 1), (*begin, *end), name)
    filters = weight[:, :, ::-1, ::-1].reshape(1, count, *kernel).transpose(0, 2, 3, 1)
    inputs = [y, e.constant(filters, f"{name}/weight"), e.constant(bias, f"{name}/bias")]
    options: dict[str, Any] = {"padding": mode, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    shape = (batch, *size, count)
    return e.emit("DEPTHWISE_CONV_2D", inputs, shape, name, depthMultiplier=multiplier, **options)


def _spread(e: Emitter, x: int, stride: int, name: str) -> int:
    """Zeros behind every element of the dimension before the last but one, which has size 1."""
    shape = e.shape(x)
    table = [[0, 0], [0, 0], [0, stride - 1], [0, 0]]
    return e.emit("PAD", [x, e.integers(table, "paddings")], (*shape[:2], stride, shape[3]), name)


def _cropped(e: Emitter, x: int, begin: Sequence[int], end: Sequence[int], name: str) -> int:
    """Rows and columns cut where `begin` or `end` is negative."""
    n, *spatial, channels = e.shape(x)
    first = [max(-v, 0) for v in begin]
    size = [spatial[i] - first[i] - max(-end[i], 0) for i in (0, 1)]
    if size == spatial:
        return x
    shape = (n, *size, channels)
    return e.emit("SLICE", [x, e.integers([0, *first, 0], "begin"), e.integers(shape, "size")], shape, name)


def max_pool(e: Emitter, node: Node) -> None:
    """MaxPool: padding is minus infinity, which is 0 where nothing is negative.

    Where something is, the edge is repeated instead: a window that reaches into the padding holds the edge itself, so
    its maximum stays the same. XNNPACK and the quantizer take neither PADV2 nor infinities.
    """
    name, a = node.outputs[0], node.attributes
    batch, channels, *size = e.graph.shapes[name]
    edges = node.inputs[0] not in e.nonnegative
    x, mode = padding(e, e.image(node.inputs[0]), size, a["kernel"], a["strides"], a["pads"], name, edges=edges)
    e.define(name, _pool(e, "MAX_POOL_2D", x, mode, a, (batch, *size, channels), name), NHWC)


def average_pool(e: Emitter, node: Node) -> None:
    """AveragePool: over padding where it counts; where not, what the zeros took is multiplied back."""
    name, a = node.outputs[0], node.attributes
    batch, channels, *size = e.graph.shapes[name]
    source = e.image(node.inputs[0])
    spatial = e.shape(source)[1:3]
    counted = a["count_include_pad"]
    kernel, strides, pads = a["kernel"], a["strides"], a["pads"]
    counts = [
        _window_counts(spatial[i], size[i], kernel[i], strides[i], pads[i], pads[2 + i], counted=counted)
        for i in (0, 1)
    ]
    corrections = [kernel[i] / counts[i] for i in (0, 1)]
    x, mode = padding(e, source, size, kernel, strides, pads, name)
    if mode == "SAME":  # TFLite does not count padding: exact if ONNX does not, and where there is none
        inside = [_window_counts(spatial[i], size[i], kernel[i], strides[i], pads[i], 0, counted=False) for i in (0, 1)]
        corrections = [inside[i] / counts[i] for i in (0, 1)]
    pooled = _pool(e, "AVERAGE_POOL_2D", x, mode, a, (batch, *size, channels), name)
    e.define(name, pooled, NHWC)
    # The factors of a place are those of its row and of its column. One product with the map of both is faster, but on
    # a large map it is a large constant.
    shapes = [(1, 1, size[0], 1), (1, 1, 1, size[1])]
    parts = [c.astype(np.float32).reshape(s) for c, s in zip(corrections, shapes, strict=True)]
    if math.prod(size) <= _MAX_MAP:
        parts = [parts[0] * parts[1]]
    for factors in parts:
        if (factors != 1).any():
            e.views[name] = combine(e, "MUL", e.views[name], factors, f"{name}/counted")


def _window_counts(
    size: int, result: int, kernel: int, stride: int, begin: int, end: int, *, counted: bool
) -> npt.NDArray[np.float64]:
    """How many samples of one axis each window averages over."""
    start = np.arange(result) * stride - begin
    first, last = (-begin, size + end) if counted else (0, size)
    return (np.minimum(start + kernel, last) - np.maximum(start, first)).astype(np.float64)


def _pool(e: Emitter, code: str, x: int, mode: str, a: Any, shape: Sequence[int], name: str) -> int:
    kernel, strides = a["kernel"], a["strides"]
    return e.emit(
        code,
        [x],
        shape,
        name,
        padding=mode,
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
    )


def gemm(e: Emitter, node: Node) -> None:
    """Gemm: the order in which the input lies in memory goes into the weight, so that a flattened image stays NHWC."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    weight = np.asarray(e.graph.constants[node.inputs[1]])
    last = len(x.dims) - 1
    order = _layout.sequence_of(x.dims)
    outer, inner = [p for p in order if p.dim != last], [p for p in order if p.dim == last]
    tensor = e.ordered(x, (*outer, *inner))
    columns = [_layout.Piece(0, weight.shape[0]), *(_layout.Piece(1, p.extent, p.part) for p in inner)]
    filters = _layout.arranged(weight, columns).reshape(weight.shape)
    depth, rows = weight.shape[1], math.prod(p.extent for p in outer)
    shape = e.shape(tensor)
    if len(shape) < _MATRIX or shape[-1] != depth:
        shape = (rows, depth)
    result = (*shape[:-1], weight.shape[0])
    inputs = [e.reshape(tensor, shape), e.constant(filters, f"{name}/weight")]
    inputs.append(e.constant(_bias(e, node, weight.shape[0]), f"{name}/bias"))
    keep = len(shape) > _MATRIX
    y = e.emit("FULLY_CONNECTED", inputs, result, name, keepNumDims=keep)
    dims = _layout.dims_of([*outer, _layout.Piece(last, weight.shape[0])], len(x.dims))
    e.views[name] = View(y, dims)


def matmul(e: Emitter, node: Node) -> None:
    """MatMul of two computed matrices: BATCH_MATMUL, with the transposed form where memory has that."""
    name = node.outputs[0]
    rank = max(len(e.graph.shapes[i]) for i in node.inputs)
    tensors, swapped = [], []
    for value in node.inputs:
        view = e.view(value)
        own = len(view.dims)
        order = list(range(own))
        flipped = [*order[:-2], own - 1, own - 2]
        shape = view.shape
        if _layout.stored(shape, flipped) == view.dims and _layout.row_major(shape) != view.dims:
            order = flipped
        swapped.append(order == flipped)
        tensor = e.stored(view, order)
        tensors.append(e.reshape(tensor, (1,) * (rank - own) + e.shape(tensor)))
    shape = e.graph.shapes[name]
    e.define(name, e.emit("BATCH_MATMUL", tensors, shape, name, adjX=swapped[0], adjY=swapped[1]))


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": max_pool,
}
