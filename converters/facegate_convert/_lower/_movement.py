"""Lowering rules: operators that move data about. Reshape and Transpose move none: they change the view."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._lower import _layout
from facegate_convert._lower._elementwise import combine
from facegate_convert._lower._emitter import MAX_JOINED, NHWC, Emitter, View, keyed_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from facegate_convert._graph import Node
    from facegate_convert._lower._layout import Order

_REST = -1  # the key of everything that is not one of the axes asked for
_IMAGE_AXES = (2, 3)


def isolated(e: Emitter, view: View, axes: Sequence[int]) -> tuple[Order, list[int], dict[int, int]]:
    """A memory order in which each axis is one piece, a TFLite shape over it, and the place of each axis in it."""
    rank = len(view.dims)
    order = _layout.sequence_of(view.dims)
    for axis in axes:
        order = _layout.with_axis(order, axis, rank)
    keys = [p.dim if p.dim in axes else _REST for p in order]
    tensor = e.rearranged(view, _layout.dims_of(order, rank))
    shape, found = keyed_shape(e.shape(tensor), order, keys)
    if any(found.count(a) != 1 for a in axes):
        shape, found = _layout.runs(order, keys)
    return order, list(shape), {a: found.index(a) for a in axes}


def _resized(order: Order, sizes: Mapping[int, int]) -> Order:
    """The order with some axes (one piece each) of another size."""
    return tuple(p._replace(extent=sizes.get(p.dim, p.extent)) for p in order)


def reshape(e: Emitter, node: Node) -> None:
    """Reshape: regroup the atoms; where that is not possible, from ONNX's own order."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    shape = e.graph.shapes[name]
    dims = _layout.reshaped(x.dims, shape)
    if dims is None:
        x = View(e.rearranged(x, _layout.row_major(x.shape)), _layout.row_major(x.shape))
        dims = _layout.row_major(shape)
    e.views[name] = View(x.tensor, dims)


def transpose(e: Emitter, node: Node) -> None:
    """Transpose: exchange the dimensions of the view."""
    x = e.view(node.inputs[0])
    e.views[node.outputs[0]] = View(x.tensor, _layout.transposed(x.dims, node.attributes["perm"]))


def concat(e: Emitter, node: Node) -> None:
    """Concat, in the memory order of its largest input."""
    name, axis = node.outputs[0], node.attributes["axis"]
    views = [e.view(i) for i in node.inputs]
    # The order is taken from a computed value, and from one that shows where the axis lies if there is one.
    lead = max(
        range(len(views)),
        key=lambda i: (node.inputs[i] not in e.graph.constants, bool(views[i].dims[axis]), math.prod(views[i].shape)),
    )
    order, shape, places = isolated(e, views[lead], [axis])
    place = places[axis]
    tensors = []
    for view in views:
        own = [*shape[:place], view.shape[axis], *shape[place + 1 :]]
        tensors.append(e.ordered(view, _resized(order, {axis: view.shape[axis]}), own))
    total = e.graph.shapes[name][axis]
    tensor = e.joined(tensors, place, name)
    e.views[name] = View(tensor, _layout.dims_of(_resized(order, {axis: total}), len(views[0].dims)))


def slice_(e: Emitter, node: Node) -> None:
    """Slice: SLICE, or STRIDED_SLICE where there are steps."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    result = e.graph.shapes[name]
    starts, steps = node.attributes["starts"], node.attributes["steps"]
    axes = [i for i, d in enumerate(x.shape) if d > 1 and (result[i] != d or steps[i] != 1)]
    order, shape, places = isolated(e, x, axes)
    tensor = e.ordered(x, order, shape)
    begin, size = [0] * len(shape), list(shape)
    for axis, place in places.items():
        begin[place], size[place] = starts[axis], result[axis]
    if all(steps[a] == 1 for a in axes):
        inputs = [tensor, e.integers(begin, "begin"), e.integers(size, "size")]
        y = e.emit("SLICE", inputs, size, name)
    else:
        stride = [1] * len(shape)
        for axis, place in places.items():
            stride[place] = steps[axis]
        end = [b + n * s for b, n, s in zip(begin, size, stride, strict=True)]
        # An end before the first element cannot be written as a number: the mask says "as far as there is".
        mask = sum(1 << i for i, v in enumerate(end) if v < 0)
        inputs = [tensor, e.integers(begin, "begin"), e.integers(end, "end"), e.integers(stride, "strides")]
        y = e.emit("STRIDED_SLICE", inputs, size, name, endMask=mask)
    e.views[name] = View(y, _layout.dims_of(_resized(order, {a: result[a] for a in axes}), len(x.dims)))


def _gathered(e: Emitter, x: View, axis: int, indices: Sequence[int], name: str) -> View:
    order, shape, places = isolated(e, x, [axis])
    place = places[axis]
    inputs = [e.ordered(x, order, shape), e.integers(list(indices), "indices")]
    result = [*shape[:place], len(indices), *shape[place + 1 :]]
    tensor = e.emit("GATHER", inputs, result, name, axis=place, batchDims=0)
    return View(tensor, _layout.dims_of(_resized(order, {axis: len(indices)}), len(x.dims)))


def gather(e: Emitter, node: Node) -> None:
    """Gather with constant indices."""
    x = e.view(node.inputs[0])
    e.views[node.outputs[0]] = _gathered(
        e, x, node.attributes["axis"], node.attributes["indices"], node.outputs[0]
    )  # fmt: skip


def pad(e: Emitter, node: Node) -> None:
    """Pad: PAD, PADV2 (other values), MIRROR_PAD (reflect); edges are repeated by GATHER."""
    name, x, a = node.outputs[0], e.view(node.inputs[0]), node.attributes
    begin, end = a["begin"], a["end"]
    axes = [i for i in range(len(begin)) if begin[i] or end[i]]
    if a["mode"] == "edge":
        for axis in axes:
            size = x.shape[axis]
            x = _gathered(
                e, x, axis, np.clip(np.arange(-begin[axis], size + end[axis]), 0, size - 1).tolist(), name
            )  # fmt: skip
        e.views[name] = x
        return
    order, shape, places = isolated(e, x, axes)
    table = [[0, 0] for _ in shape]
    result = list(shape)
    for axis, place in places.items():
        table[place] = [begin[axis], end[axis]]
        result[place] += begin[axis] + end[axis]
    inputs = [e.ordered(x, order, shape), e.integers(table, "paddings")]
    if a["mode"] == "reflect":
        y = e.emit("MIRROR_PAD", inputs, result, name, mode="REFLECT")
    elif a["value"] == 0:
        y = e.emit("PAD", inputs, result, name)
    else:
        y = e.emit("PADV2", [*inputs, e.scalar(a["value"])], result, name)
    sizes = {axis: result[place] for axis, place in places.items()}
    e.views[name] = View(y, _layout.dims_of(_resized(order, sizes), len(x.dims)))


def _tflite_positions(size: int, result: int, *, align: bool, half: bool) -> npt.NDArray[Any]:
    """Where TFLite's resize operators read an axis (kernels/internal/reference/resize_utils)."""
    x: npt.NDArray[Any] = np.arange(result, dtype=np.float32)
    aligned = align and result > 1
    factor = np.float32((size - 1) / (result - 1) if aligned else size / result)
    return np.asarray((x + np.float32(0.5 if half and not aligned else 0)) * factor)


def _tflite_nearest(size: int, result: int, *, align: bool, half: bool) -> tuple[int, ...]:
    at = _tflite_positions(size, result, align=align, half=half)
    index = np.floor(at + np.float32(0.5)) if align else np.floor(at)
    return tuple(np.clip(index, 0, size - 1).astype(int).tolist())


def _tflite_bilinear(size: int, result: int, *, align: bool, half: bool) -> npt.NDArray[Any]:
    at = _tflite_positions(size, result, align=align, half=half) - np.float32(0.5 if half else 0)
    return np.asarray(np.clip(at.astype(np.float64), 0, size - 1))


def _same_sampling(sample: Mapping[str, Any] | None, size: int, result: int, *, align: bool, half: bool) -> bool:
    """Whether TFLite's operator, in this mode, samples an axis exactly as the model asks."""
    if sample is None:
        return True
    if "nearest" in sample:
        return tuple(sample["nearest"]) == _tflite_nearest(size, result, align=align, half=half)
    low, high, weight = (np.asarray(sample[k]) for k in ("low", "high", "weight"))
    # Between two neighbours the position says which samples are mixed, and how: (low, 1) and (low + 1, 0) are the same.
    wanted = low + np.where(high == low, 0.0, weight)
    return bool(np.allclose(wanted, _tflite_bilinear(size, result, align=align, half=half), rtol=0, atol=2e-6))


def _repeats(sample: Mapping[str, Any] | None, size: int) -> int:
    """How often each element of an axis is repeated, if that is all that a nearest sampling does; else 0."""
    if sample is None:
        return 1
    factor, rest = divmod(len(sample["nearest"]), size)
    return factor if not rest and list(sample["nearest"]) == [i // factor for i in range(factor * size)] else 0


def _repeated(e: Emitter, x: int, rows: int, columns: int, name: str) -> int:
    """An NHWC tensor with rows and columns repeated, by joining it with itself.

    A pixel's channels twice in a row are two pixels, and so are rows. XNNPACK has no nearest-neighbour resize: it would
    cut the graph in two. Joining stays inside, and is faster than the operator.
    """
    n, height, width, channels = e.shape(x)
    if columns > 1:
        shape = (n, height, width, columns * channels)
        x = e.emit("CONCATENATION", [x] * columns, shape, f"{name}/columns", axis=3)
    if rows > 1:
        x = e.reshape(x, (n, height, 1, width * columns * channels))
        shape = (n, height, rows, width * columns * channels)
        x = e.emit("CONCATENATION", [x] * rows, shape, f"{name}/rows", axis=2)
    return e.reshape(x, (n, height * rows, width * columns, channels))


def resize(e: Emitter, node: Node) -> None:
    """Resize: TFLite's operator in the mode that samples just so; where none does, by GATHER axis by axis."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    samples, mode = node.attributes["samples"], node.attributes["mode"]
    shape = e.graph.shapes[name]
    if mode == "nearest" and len(shape) == len(NHWC) and set(samples) <= set(_IMAGE_AXES):
        factors = [_repeats(samples.get(i), x.shape[i]) for i in _IMAGE_AXES]
        if all(1 <= f <= MAX_JOINED for f in factors):
            e.define(name, _repeated(e, e.stored(x, NHWC), factors[0], factors[1], name), NHWC)
            return
    if len(shape) == len(NHWC) and set(samples) <= set(_IMAGE_AXES):
        for align, half in ((False, False), (False, True), (True, False)):
            if all(_same_sampling(samples.get(i), x.shape[i], shape[i], align=align, half=half) for i in _IMAGE_AXES):
                code = "RESIZE_NEAREST_NEIGHBOR" if mode == "nearest" else "RESIZE_BILINEAR"
                result = [shape[d] for d in NHWC]
                inputs = [e.stored(x, NHWC), e.integers(shape[2:], "size")]
                tensor = e.emit(code, inputs, result, name, alignCorners=align, halfPixelCenters=half)
                e.define(name, tensor, NHWC)
                return
    for axis, sample in samples.items():
        if "nearest" in sample:
            x = _gathered(e, x, axis, sample["nearest"], f"{name}/nearest")
        else:
            low = _gathered(e, x, axis, sample["low"], f"{name}/low")
            high = _gathered(e, x, axis, sample["high"], f"{name}/high")
            weight = np.asarray(sample["weight"], np.float32).reshape(
                [-1 if d == axis else 1 for d in range(len(shape))]
            )
            x = combine(
                e,
                "ADD",
                combine(e, "MUL", low, 1 - weight, f"{name}/low_part"),
                combine(e, "MUL", high, weight, f"{name}/high_part"),
                f"{name}/sum",
            )
    e.views[name] = x


def identity(e: Emitter, node: Node) -> None:
    """Identity: what is left of it gives an output a name of its own; `lower` makes the copy."""
    e.views[node.outputs[0]] = e.view(node.inputs[0])


RULES: dict[str, Callable[[Emitter, Node], None]] = {
    "Concat": concat,
    "Gather": gather,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slice_,
    "Transpose": transpose,
}
