"""`lower`: from a canonical graph to a TFLite model."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Literal

from facegate_convert._lower import (
    _activation,
    _elementwise,
    _layout,
    _logic,
    _movement,
    _neural,
    _passes,
    _reduction,
)
from facegate_convert._lower._emitter import NHWC, Emitter, View
from facegate_convert._lower._flatbuffer import serialize
from facegate_convert._lower._model import LoweredModel
from facegate_convert.errors import ConvertError, UnsupportedOperatorError
from facegate_edge import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from facegate_convert._graph import Graph

_RULES = {
    **_activation.RULES,
    **_elementwise.RULES,
    **_logic.RULES,
    **_movement.RULES,
    **_neural.RULES,
    **_reduction.RULES,
}
_MAX_CHANNELS = 4
_SUFFIX = re.compile(r"\W", re.ASCII)


def lower(
    graph: Graph,
    *,
    output_names: Mapping[str, str] | None = None,
    prelu: Literal["keep", "rewrite"] = "keep",
) -> LoweredModel:
    """Lower a canonical graph to a float32 TFLite model in NHWC.

    Args:
        graph: from `load_graph`.
        output_names: signature names of outputs by their ONNX names; those not named keep their ONNX name with every
            character but letters, digits and "_" replaced by "_".
        prelu: "keep" writes PRELU and LEAKY_RELU, fast in float; "rewrite" writes both as multiplications, additions
            and RELU, which the quantizer and XNNPACK take at int8 (PRELU they do not).

    Returns:
        The model. A single input is called "input".

    Raises:
        UnsupportedOperatorError: an operation has no exact form in TFLite.
        ConvertError: an output name is unknown or used twice.
    """
    if prelu not in ("keep", "rewrite"):
        raise ConvertError(f"prelu={prelu!r} is not known", hint='use "keep" or "rewrite"')
    inputs = _names([v.name for v in graph.inputs], {graph.inputs[0].name: "input"} if len(graph.inputs) == 1 else {})
    # One mapping of layouts and of ONNX names serves both, so that no output may be called like an input.
    outputs = _names([v.name for v in graph.outputs], output_names or {}, taken=inputs.values())
    layouts: dict[str, tuple[int, ...]] = {}
    e = Emitter(graph, prelu)
    for value in graph.inputs:
        order = _input_order(value.shape)
        tensor = e.tensor(inputs[value.name], [value.shape[d] for d in order], value.dtype)
        e.define(value.name, tensor, order)
        layouts[inputs[value.name]] = order
    sources = [e.views[v.name].tensor for v in graph.inputs]
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        if rule is None:
            raise UnsupportedOperatorError(node.op, node.name, "it has no lowering")
        rule(e, node)
    results: list[int] = []
    for value in graph.outputs:
        name = outputs[value.name]
        tensor, layouts[name] = _output(e, e.view(value.name), value.shape)
        if tensor in results or tensor in sources or e.tensors[tensor].data is not None:
            tensor = e.copy(tensor, e.shape(tensor), name)
        results.append(tensor)
    operators = _passes.drop_dead(_passes.fuse_activations(_passes.drop_dead(e.operators, results), results), results)
    _name_outputs(e, results, [outputs[v.name] for v in graph.outputs])
    model = serialize(
        e.tensors,
        operators,
        [(inputs[v.name], t) for v, t in zip(graph.inputs, sources, strict=True)],
        [(outputs[v.name], t) for v, t in zip(graph.outputs, results, strict=True)],
    )
    return LoweredModel(
        model=model,
        inputs=tuple(_info(e, inputs[v.name], t) for v, t in zip(graph.inputs, sources, strict=True)),
        outputs=tuple(_info(e, outputs[v.name], t) for v, t in zip(graph.outputs, results, strict=True)),
        operators=dict(sorted(Counter(o.code for o in operators).items())),
        layouts=layouts,
        onnx_names={clean: onnx for onnx, clean in (*inputs.items(), *outputs.items())},
        source_sha256=graph.source_sha256,
    )


def _info(e: Emitter, name: str, tensor: int) -> TensorInfo:
    return TensorInfo(name, e.shape(tensor), e.tensors[tensor].dtype)


def _names(onnx: Sequence[str], chosen: Mapping[str, str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Signature names by ONNX names: the chosen ones, the rest cleaned and kept apart, also from those taken."""
    unknown = sorted(set(chosen) - set(onnx))
    if unknown:
        raise ConvertError(
            f"the model has no output {', '.join(unknown)}", hint=f"its outputs are {', '.join(sorted(onnx))}"
        )
    if len(set(chosen.values())) != len(chosen):
        raise ConvertError("two outputs are given the same name", hint="give every output a name of its own")
    names: dict[str, str] = {}
    taken = {*taken, *chosen.values()}
    for name in onnx:
        clean = chosen.get(name)
        if clean is None:
            base = clean = _SUFFIX.sub("_", name)
            number = 0
            while clean in taken:
                number += 1
                clean = f"{base}_{number}"
        taken.add(clean)
        names[name] = clean
    return names


def _input_order(shape: Sequence[int]) -> tuple[int, ...]:
    """NHWC for images, unless the model's input is that already (few channels at the end, many in ONNX's place)."""
    plain = tuple(range(len(shape)))
    if len(shape) != len(NHWC) or (shape[3] <= _MAX_CHANNELS < shape[1]):
        return plain
    return NHWC


def _output(e: Emitter, view: View, shape: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """The tensor of an output and its order: images stay NHWC if they are so in memory, all else is as in ONNX."""
    order = tuple(range(len(shape)))
    if len(shape) == len(NHWC) and view.dims == _layout.stored(shape, NHWC):
        order = NHWC
    return e.stored(view, order), order


def _name_outputs(e: Emitter, tensors: Sequence[int], names: Sequence[str]) -> None:
    """Output tensors carry their signature's names; whatever else had one of these gives way."""
    for i, other in enumerate(e.tensors):
        if other.name in names and i not in tensors:
            other.name = f"{other.name}/inner"
    for tensor, name in zip(tensors, names, strict=True):
        e.tensors[tensor].name = name
