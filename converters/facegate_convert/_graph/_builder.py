"""What the import rules work on: the graph so far, one ONNX node, and the checks that all of them share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from facegate_convert._graph._values import Node
from facegate_convert.errors import InvalidGraphError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

Shape = tuple[int, ...]

# A tensor larger than this (256 MB) is a mistake or an attack on the build host, and nothing for a device.
MAX_ELEMENTS = 2**26
# Lists of integers say shapes, axes, indices and bounds.
MAX_LISTED = 2**16
# TFLite's kernels know no more than eight dimensions; a reshape in between may have a few more.
MAX_RANK = 12
# Constants that are made may hold so many elements altogether, and this many times what the file holds.
_BUDGET, _BUDGET_FACTOR = 2**26, 8


@dataclass(slots=True)
class OnnxNode:
    """One ONNX node: names of inputs ("" where absent) already resolved through removed nodes."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    opset: int

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value, or the operator's default; invalid if it is of another kind than that."""
        value = self.attributes.get(name, default)
        kinds = (int, float) if isinstance(default, float) else type(default)
        if default is not None and not isinstance(value, kinds):
            self.invalid(f"its attribute {name} is {type(value).__name__}, not {type(default).__name__}")
        return value

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers (or a single one as a list), None if it is not given."""
        if name not in self.attributes:
            return None
        value = self.attributes[name]
        values = (value,) if isinstance(value, int) else value
        if not isinstance(values, tuple) or not all(isinstance(v, int) for v in values):
            self.invalid(f"its attribute {name} is not a list of integers")
        return values

    def input(self, index: int) -> str:
        """The name of an input, "" if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def refuse(self, reason: str, hint: str = "") -> NoReturn:
        """Raise that this form of the operator is not supported."""
        raise UnsupportedOperatorError(self.op, self.name, reason, hint=hint)

    def invalid(self, reason: str) -> NoReturn:
        """Raise that the node contradicts its inputs."""
        raise InvalidGraphError(
            f"node {self.name!r} ({self.op}): {reason}", hint="check the model with onnx.checker and export it again"
        )


class Builder:
    """The canonical graph while it is being built."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self.dtypes: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self._reserved: set[str] = set()
        self._stretched: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._budget = _BUDGET

    def reserve(self, names: Iterable[str]) -> None:
        """Keep invented names apart from the model's own."""
        self._reserved.update(names)

    def allow(self, elements: int) -> None:
        """The file itself holds so many elements: what is made of them may be larger than without them."""
        self._budget += _BUDGET_FACTOR * elements

    def spend(self, node: OnnxNode, elements: int) -> None:
        """Count elements that are made at conversion; a small file cannot ask for more memory than a large one needs.

        Raises:
            InvalidGraphError: if that is more than any model needs.
        """
        self._budget -= elements
        if self._budget < 0:
            node.invalid("the constants that the model computes would fill the memory")

    def affordable(self, elements: int) -> bool:
        """Count elements if they are within what is left; else nothing is counted, and the answer is no."""
        fits = elements <= self._budget
        self._budget -= elements if fits else 0
        return fits

    def declare(self, name: str, shape: Sequence[int], dtype: str) -> None:
        """A value with this shape and dtype exists."""
        self.shapes[name] = tuple(int(d) for d in shape)
        self.dtypes[name] = dtype

    def set_constant(self, name: str, array: Array) -> None:
        """The value of `name` is known."""
        self.constants[name] = array
        self.declare(name, array.shape, "float32" if array.dtype.kind == "f" else array.dtype.name)

    def new_name(self, base: str) -> str:
        """A name that nothing has yet."""
        number, name = self._numbers.get(base, 0), base
        while name in self._reserved or name in self.shapes:
            number += 1
            name = f"{base}_{number}"
        self._numbers[base] = number
        self._reserved.add(name)
        return name

    def new_constant(self, base: str, array: Array) -> str:
        """A new constant with a name like `base`."""
        name = self.new_name(base)
        self.set_constant(name, array)
        return name

    def stretch(self, name: str, source: str) -> None:
        """Value `name` is `source` broadcast to a larger shape."""
        self._stretched[name] = source

    def unstretched(self, node: OnnxNode, count: int) -> list[str]:
        """The inputs of an operator of so many that broadcasts, without stretching that it would do by itself."""
        if len(node.inputs) != count:
            node.invalid(f"it has {len(node.inputs)} inputs, not {count}")
        inputs = list(node.inputs)
        shapes = [self.shape(node, i) for i in range(len(inputs))]
        for place, name in enumerate(inputs):
            source = self._stretched.get(name)
            others = [s for i, s in enumerate(shapes) if i != place]
            if source is not None and _covers(self.shapes[source], others, shapes[place]):
                inputs[place], shapes[place] = source, self.shapes[source]
        return inputs

    def scalar(self, node: OnnxNode, value: float) -> str:
        """A new float32 constant of one element, which broadcasts to anything."""
        return self.new_constant(f"{node.outputs[0]}/constant", np.asarray(value, np.float32))

    def alias(self, name: str, target: str) -> None:
        """`name` is another word for `target`."""
        self.aliases[name] = self.resolve(target)

    def resolve(self, name: str) -> str:
        """The value behind a name."""
        return self.aliases.get(name, name)

    def constant(self, name: str) -> Array | None:
        """The array of a constant, None if the value is computed at run time."""
        return self.constants.get(name)

    def parameter(self, node: OnnxNode, index: int, what: str) -> Array | None:
        """A parameter that is an input: its array, None if absent; refused if it is computed at run time."""
        name = node.input(index)
        if not name:
            return None
        array = self.constants.get(name)
        if array is None:
            node.refuse(f"its {what} is computed at run time", "export the model with this parameter as a constant")
        return array

    def integers(self, node: OnnxNode, index: int, attribute: str) -> tuple[int, ...] | None:
        """A list of integers that is an attribute in older operator sets and an input in newer ones."""
        given = node.integers(attribute)
        if given is not None:
            return given
        array = self.parameter(node, index, attribute)
        if array is None:
            return None
        if array.size > MAX_LISTED or array.dtype.kind not in "iub":
            node.invalid(f"its {attribute} ({array.dtype}, shape {array.shape}) is no list of integers")
        return tuple(int(v) for v in array.reshape(-1).tolist())

    def shape(self, node: OnnxNode, index: int = 0) -> Shape:
        """The shape of an input that must be there."""
        name = node.input(index)
        if name not in self.shapes:
            node.invalid(f"input {index} is missing")
        return self.shapes[name]

    def floating(self, node: OnnxNode, *indices: int) -> None:
        """Refuse anything but floating tensors at the given inputs."""
        for index in indices:
            name = node.input(index)
            if name and self.dtypes.get(name) != "float32":
                node.refuse(f"its input {name!r} is {self.dtypes.get(name)}, not floating", "cast it to float32 first")

    def add(  # noqa: D417 - the rest are as in Node
        self,
        op: str,
        node: OnnxNode,
        inputs: Sequence[str],
        shape: Sequence[int],
        *,
        output: str | None = None,
        dtype: str | None = None,
        **attributes: Any,
    ) -> str:
        """Append a canonical node with one output.

        Args:
            output: name of its output; None invents one (for a node that is a step of another).
        """
        name = output if output is not None else self.new_name(f"{node.outputs[0]}/{op.lower()}")
        if any(d <= 0 for d in shape):
            node.invalid(f"its result would have the shape {tuple(shape)}, which is empty")
        if len(shape) > MAX_RANK:
            node.invalid(f"its result would have {len(shape)} dimensions; {MAX_RANK} are known")
        if math.prod(shape) > MAX_ELEMENTS:
            node.invalid(f"its result would have the shape {tuple(shape)}, which no device can hold")
        # Reading a constant costs as much as making one: a large one, read by each of many nodes, takes hours.
        self.spend(node, sum(self.constants[i].size for i in inputs if i in self.constants))
        self.declare(name, shape, dtype or self.dtypes[inputs[0]])
        self.nodes.append(Node(op, node.name, tuple(inputs), (name,), attributes))
        return name

    def reshape(self, node: OnnxNode, name: str, shape: Sequence[int], output: str | None = None) -> str:
        """Append a Reshape, or nothing if an inner step has the shape already."""
        target = tuple(int(d) for d in shape)
        if self.shapes[name] == target:
            if output is None:
                return name
            self.alias(output, name)
            return self.resolve(output)
        return self.add("Reshape", node, [name], target, output=output)


def _covers(source: Shape, others: Sequence[Shape], wanted: Shape) -> bool:
    """Whether other operands broadcast with `source` to what they broadcast with `wanted` to."""
    try:
        return np.broadcast_shapes(source, *others) == np.broadcast_shapes(wanted, *others)
    except ValueError:
        return False


def normalize_axis(node: OnnxNode, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        node.invalid(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis % rank


def broadcast(node: OnnxNode, first: Shape, second: Shape) -> Shape:
    """The shape that two operands broadcast to."""
    try:
        return tuple(int(d) for d in np.broadcast_shapes(first, second))
    except ValueError:
        node.invalid(f"the shapes {first} and {second} do not fit together")
