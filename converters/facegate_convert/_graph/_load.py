"""`load_graph`: from ONNX bytes to a canonical graph."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph import (
    _affine,
    _nested,
    _patterns,
    _rules_activation,
    _rules_blocks,
    _rules_logic,
    _rules_math,
    _rules_neural,
    _rules_norm,
    _rules_tensor,
)
from facegate_convert._graph._builder import MAX_ELEMENTS, MAX_RANK, Builder, OnnxNode
from facegate_convert._graph._fold import FOLDED, fold
from facegate_convert._graph._hints import HINTS
from facegate_convert._graph._read import attributes_of, dtype_name, opset_of, read_model, to_array
from facegate_convert._graph._values import Graph, Node, Value
from facegate_convert.errors import (
    DynamicShapeError,
    InputSizeError,
    InvalidGraphError,
    UnsupportedOperatorError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import onnx

    from facegate_convert._graph._builder import Array

_RULES = {
    **_rules_activation.RULES,
    **_rules_blocks.RULES,
    **_rules_logic.RULES,
    **_rules_math.RULES,
    **_rules_neural.RULES,
    **_rules_norm.RULES,
    **_rules_tensor.RULES,
}
_IMAGE_RANK = 4
_MAX_CHANNELS = 4
_OPTIONAL_OUTPUTS = ("BatchNormalization", "Dropout", "LayerNormalization", "MaxPool")
_MAX_VALUES = 256  # inputs or outputs
_MAX_DEPTH = 16  # of branches within branches


def load_graph(source: Path | bytes, *, input_size: tuple[int, int] | None = None) -> Graph:
    """Read an ONNX model and bring it to canonical form.

    Static shapes (a dynamic batch becomes 1), constants folded, shape computations resolved, BatchNormalization folded
    into the convolution or Gemm before it where that is exact, Identity, Dropout and dead nodes removed.

    Args:
        source: path of an ONNX file, or its bytes (then weights may not be stored in other files).
        input_size: (width, height) in pixels for models whose image input leaves them open. A model of fixed size
            accepts only its own.

    Returns:
        The canonical graph.

    Raises:
        ConvertError: one of its subclasses in `facegate_convert.errors`, by what is wrong.
    """
    model, digest, directory = read_model(source)
    graph = _nested.without_functions(model).graph
    if max(len(graph.input), len(graph.output)) > _MAX_VALUES + len(graph.initializer):
        raise InvalidGraphError(
            f"the model has {len(graph.input)} inputs and {len(graph.output)} outputs",
            hint=f"export it with those that are needed, at most {_MAX_VALUES}",
        )
    nodes = _nested.live_nodes(graph)
    b = Builder(opset_of(model))
    b.reserve(_nested.names_of(nodes))
    if graph.sparse_initializer:
        raise InvalidGraphError("the model has sparse weights", hint="export it with dense weights")
    for tensor in graph.initializer:
        b.set_constant(tensor.name, to_array(tensor, directory))
        b.allow(b.constants[tensor.name].size)
    inputs, sized = _inputs(graph, b, input_size)
    names = [o.name for o in graph.output]
    read = {*names, *_nested.read_by(nodes)}
    try:
        for number, proto in enumerate(nodes):
            _import_node(b, proto, number, directory, read)
        _check_outputs(b, names)
    except InvalidGraphError as error:
        if not sized or input_size is None:
            raise
        raise InputSizeError(
            f"the model does not fit an input of {input_size[0]}x{input_size[1]}: {error}",
            hint="detectors usually need a width and a height that are multiples of 32",
        ) from None
    _finish(b, names, {v.name for v in inputs})
    return Graph(
        inputs=tuple(inputs),
        outputs=tuple(Value(n, b.shapes[n], b.dtypes[n]) for n in names),
        nodes=tuple(b.nodes),
        constants={k: _single(v) for k, v in b.constants.items()},
        shapes=dict(b.shapes),
        dtypes=dict(b.dtypes),
        source_sha256=digest,
        opset=b.opset,
        metadata=_metadata(model.metadata_props),
    )


def _metadata(entries: Sequence[Any]) -> dict[str, str]:
    """What a file says about itself. Of a key of ours that stands twice, the later entry would hide the first."""
    ours = [entry.key for entry in entries if entry.key.startswith("facegate.")]
    if len(set(ours)) != len(ours):
        raise InvalidGraphError("the model's metadata has a key twice", hint="write each key of metadata_props once")
    return {entry.key: entry.value for entry in entries}


def _single(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _inputs(graph: onnx.GraphProto, b: Builder, size: tuple[int, int] | None) -> tuple[list[Value], bool]:
    """The model's inputs with every dimension known, and whether `size` was what filled one."""
    if size is not None and min(size) < 1:
        raise InputSizeError(f"an input of {size[0]}x{size[1]} has no pixels", hint="give width and height in pixels")
    values, ranks, sized = [], set(), False
    for info in graph.input:
        if info.name in b.constants:
            continue
        tensor = info.type.tensor_type
        if not tensor.HasField("shape"):
            raise DynamicShapeError(
                f"input {info.name!r} has no shape", hint="export the model with a shape for each input"
            )
        dims = [int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
        shape = [1, *dims[1:]] if dims and dims[0] is None else list(dims)
        if len(dims) == _IMAGE_RANK:
            sized = _fill_size(info.name, shape, size) or sized
        known = [d for d in shape if d is not None]
        if len(known) != len(shape):
            raise DynamicShapeError(
                f"input {info.name!r} has open dimensions {[d or '?' for d in shape]} that are neither batch, height "
                "nor width",
                hint="export the model with these dimensions fixed",
            )
        if math.prod(known) > MAX_ELEMENTS or min(known, default=1) < 1 or len(known) > MAX_RANK:
            raise InvalidGraphError(
                f"input {info.name!r} has the shape {tuple(known)}, which no device can hold",
                hint="export the model with the size of its images",
            )
        values.append(Value(info.name, tuple(known), dtype_name(tensor.elem_type, f"input {info.name!r}")))
        b.declare(info.name, known, values[-1].dtype)
        ranks.add(len(known))
    if not values:
        raise InvalidGraphError("the model has no inputs", hint="export it again; everything in it is constant")
    if size is not None and _IMAGE_RANK not in ranks:
        raise InputSizeError("the model has no image input whose size could be set", hint="leave the input size out")
    return values, sized


def _fill_size(name: str, shape: list[int | None], size: tuple[int, int] | None) -> bool:
    """Fill height and width of an image input in place where they are open; whether any was."""
    first = 1 if _channels_last(shape) else 2
    height, width = shape[first : first + 2]
    if size is None:
        if height is None or width is None:
            raise DynamicShapeError(
                f"input {name!r} leaves height and width open",
                hint="name them with input_size=(width, height), on the command line --input-size WIDTHxHEIGHT",
            )
        return False
    if width not in (None, size[0]) or height not in (None, size[1]):
        raise InputSizeError(
            f"input {name!r} is fixed at {width or '?'}x{height or '?'}, not {size[0]}x{size[1]}",
            hint="leave the input size out, or export the model with open height and width",
        )
    shape[first : first + 2] = size[1], size[0]
    return height is None or width is None


def _channels_last(dims: list[int | None]) -> bool:
    """Whether an input of rank 4 is already (N, H, W, C): few channels at the end, not in ONNX's usual place."""
    second, last = dims[1], dims[3]
    return last is not None and last <= _MAX_CHANNELS and (second is None or second > _MAX_CHANNELS)


def _import_node(
    b: Builder, proto: onnx.NodeProto, number: int, directory: Path | None, read: set[str], depth: int = 0
) -> None:
    """Bring one ONNX node into the canonical graph: folded, or by its operator's rule."""
    name = proto.name or next((o for o in proto.output if o), f"node {number}")
    outputs = list(proto.output)
    if proto.op_type in _OPTIONAL_OUTPUTS:  # exporters write masks and indices that nothing reads
        outputs[1:] = [o if o in read else "" for o in outputs[1:]]
    while outputs and not outputs[-1]:
        outputs.pop()
    inputs = [b.resolve(i) for i in proto.input]
    node = OnnxNode(proto.op_type, name, inputs, outputs, attributes_of(proto, directory), b.opset)
    _check_node(b, node, proto.domain)
    arrays = [b.constant(i) if i else None for i in node.inputs]
    if node.op == "If":
        _import_branch(b, proto, node, arrays, directory, read, depth)
        return
    if all(a is not None or not i for a, i in zip(arrays, node.inputs, strict=True)):
        results = fold(node, arrays)
        if results is not None:
            for value, array in zip(outputs, results, strict=False):
                if node.op == "Constant":  # some exporters write weights so: the file holds them
                    b.allow(array.size)
                if value:
                    b.spend(node, array.size)
                    b.set_constant(value, array)
            return
    _apply_rule(b, node)


def _apply_rule(b: Builder, node: OnnxNode) -> None:
    """What an operator's rule makes of it."""
    if not node.outputs or not (node.outputs[0] or node.op == "Split"):
        node.invalid("its first output has no name")
    rule = _RULES.get(node.op)
    if rule is None:
        node.refuse(
            "the converter does not know it" + (" outside shape computations" if node.op in FOLDED else ""),
            HINTS.get(node.op)
            or f"replace it before export by operators the converter knows: {', '.join(sorted(_RULES))}",
        )
    if not node.input(0):
        node.invalid("its first input is missing")
    rule(b, node)


def _import_branch(
    b: Builder,
    proto: onnx.NodeProto,
    node: OnnxNode,
    condition: Sequence[Array | None],
    directory: Path | None,
    read: set[str],
    depth: int,
) -> None:
    """An If whose condition is a constant: the nodes of the branch that is taken, in its place."""
    if not condition or condition[0] is None or condition[0].size != 1:
        node.refuse("its condition is computed at run time", HINTS["If"])
    if depth > _MAX_DEPTH:
        node.refuse(f"it is nested more than {_MAX_DEPTH} deep", HINTS["If"])
    graph = _nested.branch(proto, condition[0])
    for tensor in graph.initializer:
        if tensor.name in b.shapes:
            node.invalid(f"its constant {tensor.name!r} exists outside of it")
        b.set_constant(tensor.name, to_array(tensor, directory))
        b.allow(b.constants[tensor.name].size)
    for number, inner in enumerate(_nested.live_nodes(graph)):
        _import_node(b, inner, number, directory, read, depth + 1)
    results = [b.resolve(o.name) for o in graph.output]
    if len(results) < len(node.outputs) or any(r not in b.shapes for r in results):
        node.invalid("its branch does not compute its outputs")
    for output, result in zip(node.outputs, results, strict=False):
        if output:
            b.alias(output, result)


def _check_node(b: Builder, node: OnnxNode, domain: str) -> None:
    """A standard operator whose inputs exist and whose outputs do not yet."""
    if domain not in ("", "ai.onnx"):
        raise UnsupportedOperatorError(
            f"{domain}::{node.op}",
            node.name,
            "it belongs to no standard operator set",
            hint="export the model without runtime-specific optimisation or custom operators",
        )
    for value in node.inputs:
        if value and value not in b.shapes:
            node.invalid(f"its input {value!r} is computed nowhere before it")
    for value in node.outputs:
        if value in b.shapes or value in b.aliases:
            node.invalid(f"its output {value!r} is computed twice")


def _check_outputs(b: Builder, names: Iterable[str]) -> None:
    for name in names:
        if b.resolve(name) not in b.shapes:
            raise InvalidGraphError(
                f"the output {name!r} is computed nowhere", hint="check the model with onnx.checker and export it again"
            )


def _finish(b: Builder, outputs: list[str], inputs: set[str]) -> None:
    """Fold what can be folded, name the outputs as the model does, drop what is dead."""
    computed = [b.resolve(o) for o in outputs]
    _patterns.fuse_activations(b)
    _patterns.invert_roots(b)
    _patterns.merge_padding(b)
    _patterns.merge_channels(b)
    _affine.drop_neutral(b)
    computed = [b.resolve(o) for o in computed]
    _affine.fold_affine(b, computed)
    _affine.drop_dead(b, computed)
    names: dict[str, str] = {}
    copies = []
    for output, value in zip(outputs, computed, strict=True):
        if output == value:
            continue
        if value in inputs or value in b.constants or value in names or value in outputs:
            copies.append((value, output))
        else:
            names[value] = output
    b.nodes = [
        replace(n, inputs=tuple(names.get(i, i) for i in n.inputs), outputs=tuple(names.get(o, o) for o in n.outputs))
        for n in b.nodes
    ]
    for value, output in names.items():
        b.declare(output, b.shapes[value], b.dtypes[value])
    for value, output in copies:
        b.declare(output, b.shapes[value], b.dtypes[value])
        b.nodes.append(Node("Identity", output, (names.get(value, value),), (output,), {}))
    used = {i for n in b.nodes for i in (*n.inputs, *n.outputs)} | inputs | set(outputs)
    b.shapes = {k: v for k, v in b.shapes.items() if k in used}
    b.dtypes = {k: v for k, v in b.dtypes.items() if k in used}
