"""The TFLite graph while it is being built, and the one place where data is moved between layouts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from facegate_convert._lower import _layout, _range
from facegate_convert._lower._layout import Atom, Dims, Order, Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_convert._graph import Graph

Shape = tuple[int, ...]
NHWC = (0, 2, 3, 1)
MAX_JOINED = 5  # XNNPACK joins at most so many tensors at once


@dataclass(slots=True)
class Tensor:
    """A tensor of the TFLite graph; `data` is set for constants."""

    name: str
    shape: Shape
    dtype: str
    data: npt.NDArray[Any] | None = None


@dataclass(slots=True)
class Operator:
    """A builtin operator; `options` are the fields of its options table as the schema names them."""

    code: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, Any] = field(default_factory=dict)


class View(NamedTuple):
    """A value of the graph: a tensor and how the value's dimensions lie in its memory."""

    tensor: int
    dims: Dims

    @property
    def shape(self) -> Shape:
        """The value's shape, in ONNX's order."""
        return _layout.shape_of(self.dims)


class Emitter:
    """Builds the TFLite graph. `graph` is the canonical graph, `prelu` as in `lower`."""

    def __init__(self, graph: Graph, prelu: str = "keep") -> None:
        self.graph = graph
        self.prelu = prelu
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.views: dict[str, View] = {}
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._constants: dict[tuple[str, Shape, bytes], int] = {}
        self._made: dict[tuple[object, ...], int] = {}
        self._roots: dict[int, int] = {}

    @cached_property
    def nonnegative(self) -> frozenset[str]:
        """The computed values that are never negative."""
        return _range.nonnegative(self.graph)

    # Tensors

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        """A new tensor whose name starts with `name`."""
        unique, number = name, self._numbers.get(name, 0)
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._numbers[name] = number
        self._names.add(unique)
        self.tensors.append(Tensor(unique, tuple(int(d) for d in shape), dtype))
        return len(self.tensors) - 1

    def constant(self, array: npt.NDArray[Any], name: str = "constant") -> int:
        """A constant tensor; equal ones are stored once."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            index = self.tensor(name, array.shape, array.dtype.name)
            self.tensors[index].data = array
            self._constants[key] = index
        return self._constants[key]

    def integers(self, values: Sequence[int] | Sequence[Sequence[int]], name: str) -> int:
        """A constant int32 tensor: shapes, axes, paddings."""
        return self.constant(np.asarray(values, np.int32), name)

    def scalar(self, value: float, name: str = "constant") -> int:
        """A float32 constant of shape (1,), which broadcasts to anything."""
        return self.constant(np.asarray([value], np.float32), name)

    def shape(self, tensor: int) -> Shape:
        """A tensor's TFLite shape."""
        return self.tensors[tensor].shape

    # Operators

    def emit(
        self,
        code: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        name: str,
        *,
        dtype: str | None = None,
        **options: Any,
    ) -> int:
        """Append an operator with one output of this shape (and the first input's dtype)."""
        output = self.tensor(name, shape, dtype or self.tensors[inputs[0]].dtype)
        self.operators.append(Operator(code, list(inputs), [output], options))
        return output

    def reshape(self, tensor: int, shape: Sequence[int]) -> int:
        """The same memory under another shape: an existing tensor where there is one, else a RESHAPE."""
        target = tuple(int(d) for d in shape)
        root = self._roots.get(tensor, tensor)
        for known in (tensor, root):
            if self.shape(known) == target:
                return known
        data = self.tensors[root].data
        if data is not None:
            return self.constant(data.reshape(target), self.tensors[root].name)
        key = ("reshape", root, target)
        if key not in self._made:
            size = self.integers(target, "shape")
            made = self.emit("RESHAPE", [root, size], target, f"{self.tensors[root].name}/reshape", newShape=target)
            self._roots[made] = root
            self._made[key] = made
        return self._made[key]

    def copy(self, tensor: int, shape: Sequence[int], name: str) -> int:
        """A RESHAPE that is made even if nothing changes: outputs need a tensor of their own."""
        size = self.integers(list(shape), "shape")
        return self.emit("RESHAPE", [tensor, size], shape, name, newShape=tuple(shape))

    def joined(self, tensors: Sequence[int], axis: int, name: str) -> int:
        """Tensors joined along an axis, so many at a time as XNNPACK takes; a single one as it is."""
        parts = list(tensors)
        while len(parts) > 1:
            some = parts[:MAX_JOINED]
            shape = list(self.shape(some[0]))
            shape[axis] = sum(self.shape(t)[axis] for t in some)
            parts = [self.emit("CONCATENATION", some, shape, name, axis=axis), *parts[MAX_JOINED:]]
        return parts[0]

    # Values

    def view(self, name: str) -> View:
        """The view of a value or constant of the graph."""
        if name not in self.views:
            array = self.graph.constants[name]
            self.views[name] = View(self.constant(array, name), _layout.row_major(array.shape))
        return self.views[name]

    def array(self, name: str) -> npt.NDArray[Any] | None:
        """The array of a constant of the graph, None for computed values."""
        return self.graph.constants.get(name)

    def rearranged(self, view: View, wanted: Dims) -> int:
        """A tensor over whose memory `wanted` describes the value: the view's own, or the result of a TRANSPOSE."""
        if _layout.coalesced(view.dims) == _layout.coalesced(wanted):
            return view.tensor
        key = ("rearranged", view.tensor, view.dims, wanted)
        if key not in self._made:
            self._made[key] = self._transpose(view, wanted)
        return self._made[key]

    def _transpose(self, view: View, wanted: Dims) -> int:
        cuts = [_refined(old, new) for old, new in zip(view.dims, wanted, strict=True)]
        if any(c is None for c in cuts):  # in two steps, then: ONNX's own order can be cut in any way
            plain = _layout.row_major(view.shape)
            return self._transpose(View(self.rearranged(view, plain), plain), wanted)
        pairs = [p for cut in cuts for p in cut or ()]
        source = sorted(pairs, key=lambda p: -p[1])
        target = sorted(pairs, key=lambda p: -p[2])
        groups: list[list[tuple[int, int, int]]] = []
        for pair in target:  # join what stays together
            if groups and source.index(groups[-1][-1]) + 1 == source.index(pair):
                groups[-1].append(pair)
            else:
                groups.append([pair])
        extents = [math.prod(p[0] for p in g) for g in groups]
        order = sorted(range(len(groups)), key=lambda g: source.index(groups[g][0]))
        shape = [extents[g] for g in order]
        perm = [order.index(g) for g in range(len(groups))]
        data = self.tensors[view.tensor].data
        if data is not None:
            return self.constant(data.reshape(shape).transpose(perm), self.tensors[view.tensor].name)
        name = f"{self.tensors[view.tensor].name}/transpose"
        axes = self.integers(perm, "perm")
        return self.emit("TRANSPOSE", [self.reshape(view.tensor, shape), axes], extents, name)

    def stored(self, view: View, order: Sequence[int]) -> int:
        """The tensor of a value whose TFLite dimensions are the value's in `order`, e.g. NHWC."""
        shape = view.shape
        tensor = self.rearranged(view, _layout.stored(shape, order))
        return self.reshape(tensor, [shape[d] for d in order])

    def image(self, name: str) -> int:
        """The NHWC tensor of an image (N, C, H, W)."""
        return self.stored(self.view(name), NHWC)

    def define(self, name: str, tensor: int, order: Sequence[int] | None = None) -> None:
        """Value `name` is `tensor`, whose dimensions are the value's in `order` (default: as they are)."""
        shape = self.graph.shapes[name]
        dims = _layout.row_major(shape) if order is None else _layout.stored(shape, order)
        self.views[name] = View(tensor, dims)

    def ordered(self, view: View, order: Order, shape: Sequence[int] | None = None) -> int:
        """The tensor of a value with its pieces in memory in this order, under a TFLite shape if one is given."""
        tensor = self.rearranged(view, _layout.dims_of(order, len(view.dims)))
        return tensor if shape is None else self.reshape(tensor, shape)


def keyed_shape(
    shape: Sequence[int], order: Sequence[Piece], keys: Sequence[object]
) -> tuple[Shape, tuple[object, ...]]:
    """A shape over this memory in which no dimension mixes two keys: `shape` itself if it does, else the shortest."""
    found = _layout.keys_of_shape(shape, order, keys)
    holders = [k for p, k in zip(order, keys, strict=True) if p.extent == 1]
    if found is not None and not holders:
        return tuple(shape), found
    return _layout.runs(order, keys)


def _refined(old: tuple[Atom, ...], new: tuple[Atom, ...]) -> list[tuple[int, int, int]] | None:
    """Two decompositions of a dimension, cut finely enough for both: (extent, old stride, new stride).

    None if there is no such cut (2 x 3 against 3 x 2).
    """
    result = []
    first, second = list(old)[::-1], list(new)[::-1]
    while first:
        a, b = first.pop(), second.pop()
        extent = min(a.extent, b.extent)
        if max(a.extent, b.extent) % extent:
            return None
        # The outer part of an atom strides over what remains of it.
        result.append((extent, a.stride * (a.extent // extent), b.stride * (b.extent // extent)))
        if a.extent > extent:
            first.append(Atom(a.extent // extent, a.stride))
        if b.extent > extent:
            second.append(Atom(b.extent // extent, b.stride))
    return result
