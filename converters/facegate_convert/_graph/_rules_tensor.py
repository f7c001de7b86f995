"""Import rules: operators that move data about without computing with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph import _shapes
from facegate_convert._graph._builder import MAX_ELEMENTS, broadcast, normalize_axis
from facegate_convert._graph._read import dtype_name
from facegate_convert._graph._resize import COORDINATES, NEAREST, sampling
from facegate_convert._graph._rules_blocks import stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegate_convert._graph._builder import Builder, OnnxNode

# Samples of an axis that are listed one by one; a longer side is a mistake or an attack on the build host's memory.
_MAX_SIDE = 2**16


def alias(b: Builder, n: OnnxNode) -> None:
    """Identity, and Dropout, which does nothing at inference."""
    b.shape(n)
    if len([o for o in n.outputs if o]) > 1:
        n.refuse("its mask output is used")
    training = b.parameter(n, 2, "training_mode") if n.op == "Dropout" else None
    if training is not None and training.any():
        n.refuse("it is in training mode", "export the model in evaluation mode (model.eval())")
    b.alias(n.outputs[0], n.inputs[0])


def shape_of(b: Builder, n: OnnxNode) -> None:
    """Shape: every shape is known, so it is a constant."""
    shape = b.shape(n)
    part = shape[n.attribute("start", 0) : n.attribute("end", len(shape))]
    b.set_constant(n.outputs[0], np.asarray(part, np.int64))


def cast(b: Builder, n: OnnxNode) -> None:
    """Cast: between floating types nothing happens."""
    shape = b.shape(n)
    to = dtype_name(int(n.attribute("to", 1)), f"node {n.name!r}")
    if to == b.dtypes[n.inputs[0]]:
        b.alias(n.outputs[0], n.inputs[0])
    else:
        b.add("Cast", n, n.inputs[:1], shape, output=n.outputs[0], dtype=to, to=to)


def reshape(b: Builder, n: OnnxNode) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze are one operation: the result's shape says everything."""
    shape = b.shape(n)
    if n.op == "Reshape":
        target = b.integers(n, 1, "shape")
        if target is None:
            n.invalid("its shape is missing")
        result = _shapes.reshape_target(n, shape, target)
    elif n.op == "Flatten":
        result = _shapes.flatten_shape(n, shape)
    elif n.op == "Squeeze":
        result = _shapes.squeeze_shape(n, shape, b.integers(n, 1, "axes"))
    else:
        result = _shapes.unsqueeze_shape(n, shape, b.integers(n, 1, "axes") or ())
    b.reshape(n, n.inputs[0], result, n.outputs[0])


def expand(b: Builder, n: OnnxNode) -> None:
    """Expand, which exporters write before the division of torch.nn.functional.normalize: a product with ones."""
    shape = b.shape(n)
    b.floating(n, 0)
    target = b.integers(n, 1, "shape")
    if target is None:
        n.invalid("its shape is missing")
    result = broadcast(n, shape, target)
    if result == shape:
        b.alias(n.outputs[0], n.inputs[0])
        return
    if math.prod(result) > MAX_ELEMENTS:
        n.invalid(f"its result would have the shape {result}")
    stretch(b, n, n.inputs[0], result, n.outputs[0])


def transpose(b: Builder, n: OnnxNode) -> None:
    """Transpose(perm)."""
    shape = b.shape(n)
    perm = n.integers("perm") or tuple(reversed(range(len(shape))))
    if sorted(perm) != list(range(len(shape))):
        n.invalid(f"perm {perm} does not fit an input of rank {len(shape)}")
    b.add("Transpose", n, n.inputs[:1], [shape[p] for p in perm], output=n.outputs[0], perm=perm)


def concat(b: Builder, n: OnnxNode) -> None:
    """Concat(axis)."""
    shapes = [b.shape(n, i) for i in range(len(n.inputs))]
    axis = normalize_axis(n, n.attribute("axis", 1), len(shapes[0]))
    rest = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
    if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
        n.invalid(f"the shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}")
    inputs = [i for i, s in zip(n.inputs, shapes, strict=True) if s[axis]]  # what is empty adds nothing
    if len(inputs) == 1:
        b.alias(n.outputs[0], inputs[0])
        return
    result = list(shapes[0])
    result[axis] = sum(s[axis] for s in shapes)
    b.add("Concat", n, inputs, result, output=n.outputs[0], axis=axis)


def _sliced(b: Builder, n: OnnxNode, name: str, bounds: Sequence[slice], output: str | None = None) -> str:
    """Append a canonical Slice: starts, sizes and steps for every axis."""
    shape = b.shapes[name]
    sizes = [len(range(s.start, s.stop, s.step)) for s in bounds]
    if tuple(sizes) == shape and all(s.step == 1 for s in bounds):
        return b.reshape(n, name, shape, output)
    starts, steps = tuple(s.start for s in bounds), tuple(s.step for s in bounds)
    return b.add("Slice", n, [name], sizes, output=output, starts=starts, steps=steps)


def slice_(b: Builder, n: OnnxNode) -> None:
    """Slice: bounds as attributes before operator set 10, as inputs after."""
    shape = b.shape(n)
    starts, ends, axes, steps = (b.integers(n, i + 1, w) for i, w in enumerate(("starts", "ends", "axes", "steps")))
    if starts is None or ends is None:
        n.invalid("its starts or ends are missing")
    _sliced(b, n, n.inputs[0], _shapes.slice_bounds(n, shape, starts, ends, axes, steps), n.outputs[0])


def split(b: Builder, n: OnnxNode) -> None:
    """Split(axis, sizes)."""
    shape = b.shape(n)
    axis = normalize_axis(n, n.attribute("axis", 0), len(shape))
    sizes = _shapes.split_sizes(n, shape[axis], b.integers(n, 1, "split"))
    if len(sizes) == 1:
        b.alias(n.outputs[0], n.inputs[0])
        return
    start = 0
    for output, size in zip(n.outputs, sizes, strict=True):
        bounds = [slice(start, start + size, 1) if i == axis else slice(0, d, 1) for i, d in enumerate(shape)]
        _sliced(b, n, n.inputs[0], bounds, output or None)
        start += size


def gather(b: Builder, n: OnnxNode) -> None:
    """Gather with constant indices: a Slice where they are one run, otherwise Gather(axis, indices)."""
    shape = b.shape(n)
    indices = b.parameter(n, 1, "indices")
    axis = normalize_axis(n, n.attribute("axis", 0), len(shape))
    if indices is None or (np.abs(indices) > shape[axis]).any() or (indices >= shape[axis]).any():
        n.invalid(f"its indices do not exist on axis {axis} of shape {shape}")
    if not 0 < indices.size <= _MAX_SIDE or indices.dtype.kind not in "iu":
        n.invalid(f"{indices.size} indices of type {indices.dtype} are not what an axis has")
    flat = [int(i) % shape[axis] for i in indices.reshape(-1)]
    result = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    if flat == list(range(flat[0], flat[0] + len(flat))):
        bounds = [slice(flat[0], flat[-1] + 1, 1) if i == axis else slice(0, d, 1) for i, d in enumerate(shape)]
        part = _sliced(b, n, n.inputs[0], bounds)
    else:
        taken = (*shape[:axis], len(flat), *shape[axis + 1 :])
        part = b.add("Gather", n, n.inputs[:1], taken, axis=axis, indices=tuple(flat))
    b.reshape(n, part, result, n.outputs[0])


def pad(b: Builder, n: OnnxNode) -> None:
    """Pad(begin, end, mode, value); what is negative is cropped first."""
    shape = b.shape(n)
    rank = len(shape)
    listed = b.integers(n, 1, "pads")
    value = b.parameter(n, 2, "value")
    axes = b.integers(n, 3, "axes")
    axes = tuple(range(rank)) if axes is None else tuple(normalize_axis(n, a, rank) for a in axes)
    mode = n.attribute("mode", "constant")
    if listed is None or len(listed) != 2 * len(axes):
        n.invalid(f"pads {listed} do not fit an input of rank {rank}")
    if mode not in ("constant", "reflect", "edge"):
        n.refuse(f"mode {mode!r} has no counterpart", "use constant, reflect or edge padding")
    begin, end = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = listed[i], listed[i + len(axes)]
    bounds = [slice(max(0, -s), d - max(0, -e), 1) for d, s, e in zip(shape, begin, end, strict=True)]
    cropped = _sliced(b, n, n.inputs[0], bounds)
    shape = b.shapes[cropped]
    begin, end = [max(0, v) for v in begin], [max(0, v) for v in end]
    result = [s + d + e for d, s, e in zip(shape, begin, end, strict=True)]
    if not any(begin) and not any(end):
        b.reshape(n, cropped, shape, n.outputs[0])
        return
    if mode == "reflect" and any(max(s, e) >= d for d, s, e in zip(shape, begin, end, strict=True)):
        n.invalid(f"pads {listed} reflect more than shape {shape} holds")
    if mode != "constant" and max(r for r, d in zip(result, shape, strict=True) if r != d) > _MAX_SIDE:
        n.invalid(f"its result would have the shape {tuple(result)}")
    constant = float(n.attribute("value", 0.0)) if value is None or not value.size else float(value.reshape(-1)[0])
    if mode == "constant":
        b.floating(n, 0)
    b.add(
        "Pad", n, [cropped], result, output=n.outputs[0], begin=tuple(begin), end=tuple(end), mode=mode, value=constant
    )  # fmt: skip


def _sizes(b: Builder, n: OnnxNode, shape: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """The result's shape and the scale of every axis."""
    rank = len(shape)
    if n.op == "Upsample":
        given = n.attribute("scales", ())
        scales, sizes = given or b.parameter(n, 1, "scales"), None
    else:
        first = 1 if b.opset == 10 else 2  # noqa: PLR2004 - Resize took a region of interest from version 11
        scales, sizes = b.parameter(n, first, "scales"), b.parameter(n, 3, "sizes") if b.opset > 10 else None  # noqa: PLR2004
    axes = tuple(normalize_axis(n, a, rank) for a in n.integers("axes") or range(rank))
    result, factors = list(shape), [1.0] * rank
    if sizes is not None and np.size(sizes):
        wanted = [int(v) for v in np.reshape(sizes, -1)]
        if len(wanted) != len(axes) or min(wanted) < 1:
            n.invalid(f"its sizes {wanted} do not fit an input of shape {shape}")
        ratios = [w / shape[a] for w, a in zip(wanted, axes, strict=True)]
        policy = n.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            wanted = [math.floor(ratio * shape[a] + 0.5) for a in axes]
            ratios = [ratio] * len(axes)
        for a, w, r in zip(axes, wanted, ratios, strict=True):
            result[a], factors[a] = w, r
    elif scales is not None and np.size(scales):
        given = [float(v) for v in np.reshape(np.asarray(scales, np.float32), -1)]
        if len(given) != len(axes) or min(given) <= 0:
            n.invalid(f"its scales {given} do not fit an input of shape {shape}")
        for a, s in zip(axes, given, strict=True):
            result[a], factors[a] = int(np.floor(np.float32(shape[a]) * np.float32(s))), s
    else:
        n.invalid("it has neither scales nor sizes")
    return result, factors


def resize(b: Builder, n: OnnxNode) -> None:
    """Resize and Upsample: the samples that each axis reads are worked out here, whatever the coordinate mode."""
    shape = b.shape(n)
    b.floating(n, 0)
    old = n.op == "Upsample" or b.opset == 10  # noqa: PLR2004 - Resize's first version knew no coordinate modes
    mode = n.attribute("mode", "nearest")
    coordinates = "asymmetric" if old else n.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = "simple" if old else n.attribute("nearest_mode", "round_prefer_floor")
    if mode not in ("nearest", "linear"):
        n.refuse(f"interpolation {mode!r} has no exact counterpart", "use nearest or linear interpolation")
    if coordinates not in COORDINATES or rounding not in NEAREST:
        n.refuse(f"coordinate mode {coordinates!r} has no exact counterpart", f"use one of {', '.join(COORDINATES)}")
    result, factors = _sizes(b, n, shape)
    if n.attribute("antialias", 0) and mode == "linear" and any(f < 1 for f in factors):
        n.refuse("it filters while shrinking (antialias)", "export with antialias=False, or use average pooling")
    samples: dict[int, dict[str, Any]] = {}
    sides = [wanted for size, wanted in zip(shape, result, strict=True) if size != wanted]
    if min(result) < 1 or math.prod(result) > MAX_ELEMENTS or max(sides, default=1) > _MAX_SIDE:
        n.invalid(f"its result would have the shape {tuple(result)}")
    b.spend(n, 16 * sum(sides))
    for axis, (size, wanted, factor) in enumerate(zip(shape, result, factors, strict=True)):
        # A result of the input's own shape is a copy for onnxruntime, whatever the scales say.
        if tuple(result) != shape and (size, factor) != (wanted, 1.0):
            samples[axis] = sampling(mode, coordinates, rounding, size, wanted, factor)
    if not samples:
        b.alias(n.outputs[0], n.inputs[0])
    else:
        b.add("Resize", n, n.inputs[:1], result, output=n.outputs[0], mode=mode, samples=samples)


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "Cast": cast,
    "Concat": concat,
    "Dropout": alias,
    "Expand": expand,
    "Flatten": reshape,
    "Gather": gather,
    "Identity": alias,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "Shape": shape_of,
    "Slice": slice_,
    "Split": split,
    "Squeeze": reshape,
    "Transpose": transpose,
    "Unsqueeze": reshape,
    "Upsample": resize,
}
