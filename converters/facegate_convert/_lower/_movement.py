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
_MAX_RUNS = 8  # so many parts are cut out and joined rather than gathered
_MAX_BORDER = 2**16  # elements of a border that is stored


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
    """Slice: SLICE; steps forward by regrouping, short ways back by joining, else STRIDED_SLICE."""
    name, x = node.outputs[0], e.view(node.inputs[0])
    result = e.graph.shapes[name]
    starts, steps = list(node.attributes["starts"]), list(node.attributes["steps"])
    for axis, (start, step) in enumerate(zip(starts, steps, strict=True)):
        if step == 1 or x.shape[axis] == 1:
            continue
        indices = range(start, start + result[axis] * step, step)
        if step > 1:
            x = _every(e, x, axis, indices, f"{name}/every")
        elif len(indices) <= _MAX_RUNS:
            x = _gathered(e, x, axis, indices, f"{name}/back")
        else:
            continue
        starts[axis], steps[axis] = 0, 1
    axes = [i for i, d in enumerate(x.shape) if d > 1 and (result[i] != d or steps[i] != 1)]
    if axes:
        x = _cut(e, x, axes, [starts[a] for a in axes], [result[a] for a in axes], [steps[a] for a in axes], name)
    e.views[name] = x


def _cut(
    e: Emitter,
    x: View,
    axes: Sequence[int],
    starts: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int],
    name: str,
) -> View:
    """A part of a value: SLICE, or STRIDED_SLICE where there are steps."""
    order, shape, places = isolated(e, x, axes)
    tensor = e.ordered(x, order, shape)
    begin, size, stride = [0] * len(shape), list(shape), [1] * len(shape)
    for axis, start, count, step in zip(axes, starts, sizes, steps, strict=True):
        place = places[axis]
        begin[place], size[place], stride[place] = start, count, step
    if all(s == 1 for s in steps):
        inputs = [tensor, e.integers(begin, "begin"), e.integers(size, "size")]
        y = e.emit("SLICE", inputs, size, name)
    else:
        end = [b + n * s for b, n, s in zip(begin, size, stride, strict=True)]
        # An end before the first element cannot be written as a number: the mask says "as far as there is".
        mask = sum(1 << i for i, v in enumerate(end) if v < 0)
        inputs = [tensor, e.integers(begin, "begin"), e.integers(end, "end"), e.integers(stride, "strides")]
        y = e.emit("STRIDED_SLICE", inputs, size, name, endMask=mask)
    return View(y, _layout.dims_of(_resized(order, dict(zip(axes, sizes, strict=True))), len(x.dims)))


def _every(e: Emitter, x: View, axis: int, indices: range, name: str) -> View:
    """Every n-th element of an axis, without STRIDED_SLICE, which XNNPACK does not take with steps.

    The axis is cut to whole groups of n, regrouped into (groups, n), and of each group one is taken.
    """
    count, step = len(indices), indices.step
    order, shape, places = isolated(e, x, [axis])
    place = places[axis]
    tensor = e.ordered(x, order, shape)
    missing = max(count * step - shape[place], 0)
    if missing:
        table = [[0, missing if i == place else 0] for i in range(len(shape))]
        shape[place] += missing
        tensor = e.emit("PAD", [tensor, e.integers(table, "paddings")], shape, f"{name}/pad")
    first = min(indices.start, shape[place] - count * step)
    if shape[place] != count * step:
        begin = [first if i == place else 0 for i in range(len(shape))]
        shape[place] = count * step
        tensor = e.emit("SLICE", [tensor, e.integers(begin, "begin"), e.integers(shape, "size")], shape, f"{name}/cut")
    groups = [*shape[:place], count, step, *shape[place + 1 :]]
    begin = [indices.start - first if i == place + 1 else 0 for i in range(len(groups))]
    size = [1 if i == place + 1 else d for i, d in enumerate(groups)]
    inputs = [e.reshape(tensor, groups), e.integers(begin, "begin"), e.integers(size, "size")]
    y = e.emit("SLICE", inputs, size, name)
    return View(y, _layout.dims_of(_resized(order, {axis: count}), len(x.dims)))


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive indices as (first, count)."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and index == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((index, 1))
            if len(found) > _MAX_RUNS:
                break
    return found


def _gathered(e: Emitter, x: View, axis: int, indices: Sequence[int], name: str) -> View:
    """Some elements of an axis: a few runs are cut out and joined, else GATHER, which XNNPACK does not take."""
    order, shape, places = isolated(e, x, [axis])
    place = places[axis]
    tensor = e.ordered(x, order, shape)
    runs = _runs(indices)
    if len(runs) <= _MAX_RUNS:
        parts = []
        for first, count in runs:
            begin = [first if i == place else 0 for i in range(len(shape))]
            size = [count if i == place else d for i, d in enumerate(shape)]
            whole = size == shape
            inputs = [tensor, e.integers(begin, "begin"), e.integers(size, "size")]
            parts.append(tensor if whole else e.emit("SLICE", inputs, size, f"{name}/run"))
        made = e.joined(parts, place, name)
    else:
        inputs = [tensor, e.integers(list(indices), "indices")]
        result = [*shape[:place], len(indices), *shape[place + 1 :]]
        made = e.emit("GATHER", inputs, result, name, axis=place, batchDims=0)
    return View(made, _layout.dims_of(_resized(order, {axis: len(indices)}), len(x.dims)))


def gather(e: Emitter, node: Node) -> None:
    """Gather with constant indices."""
    x = e.view(node.inputs[0])
    e.views[node.outputs[0]] = _gathered(
        e, x, node.attributes["axis"], node.attributes["indices"], node.outputs[0]
    )  # fmt: skip


def pad(e: Emitter, node: Node) -> None:
    """Pad: PAD; other values, reflections and edges are joined to the value, or PADV2, MIRROR_PAD and GATHER.

    XNNPACK takes PAD and joining, nothing else of these.
    """
    name, x, a = node.outputs[0], e.view(node.inputs[0]), node.attributes
    begin, end, mode = a["begin"], a["end"], a["mode"]
    axes = [i for i in range(len(begin)) if begin[i] or end[i]]
    if mode == "edge" or (mode == "reflect" and all(begin[i] + end[i] < _MAX_RUNS for i in axes)):
        for axis in axes:
            size = x.shape[axis]
            at = np.arange(-begin[axis], size + end[axis])
            at = np.clip(at, 0, size - 1) if mode == "edge" else np.abs((size - 1) - np.abs((size - 1) - at))
            x = _gathered(e, x, axis, at.tolist(), name)
        e.views[name] = x
        return
    if mode == "constant" and a["value"] != 0 and math.prod(e.graph.shapes[name]) - math.prod(x.shape) <= _MAX_BORDER:
        for axis in axes:
            x = _bordered(e, x, axis, begin[axis], end[axis], a["value"], name)
        e.views[name] = x
        return
    order, shape, places = isolated(e, x, axes)
    table = [[0, 0] for _ in shape]
    result = list(shape)
    for axis, place in places.items():
        table[place] = [begin[axis], end[axis]]
        result[place] += begin[axis] + end[axis]
    inputs = [e.ordered(x, order, shape), e.integers(table, "paddings")]
    if mode == "reflect":
        y = e.emit("MIRROR_PAD", inputs, result, name, mode="REFLECT")
    elif a["value"] == 0:
        y = e.emit("PAD", inputs, result, name)
    else:
        y = e.emit("PADV2", [*inputs, e.scalar(a["value"])], result, name)
    sizes = {axis: result[place] for axis, place in places.items()}
    e.views[name] = View(y, _layout.dims_of(_resized(order, sizes), len(x.dims)))


def _bordered(e: Emitter, x: View, axis: int, begin: int, end: int, value: float, name: str) -> View:
    """A value with constants joined before and behind it on one axis."""
    order, shape, places = isolated(e, x, [axis])
    place = places[axis]
    parts = [e.ordered(x, order, shape)]
    for count, front in ((begin, True), (end, False)):
        if count:
            size = [count if i == place else d for i, d in enumerate(shape)]
            border = e.constant(np.full(size, value, np.float32), f"{name}/border")
            parts = [border, *parts] if front else [*parts, border]
    made = e.joined(parts, place, name)
    return View(made, _layout.dims_of(_resized(order, {axis: shape[place] + begin + end}), len(x.dims)))


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
