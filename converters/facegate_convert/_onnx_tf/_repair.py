"""ONNX models as onnx-tf can read them.

onnx-tf makes keyword arguments of Python and variables of TensorFlow out of a model's names, computes shapes while it
converts, and knows operator sets up to 15. Real models have names with dots, open dimensions and newer sets.
"""

from __future__ import annotations

import re
import tempfile
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import ViaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from facegate_convert._source import Source

LAST_OPSET = 15
_IR_VERSION = 8  # the onnx package that onnx-tf needs refuses versions after 9
_MAX_BYTES = 2**31 - 1  # of a protobuf message
_MAX_NAME = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
OWN = "use Facegate's own lowering: leave out --via"


def simplified(source: Source) -> Any:
    """The model of a source as an `onnx.ModelProto`: a size for its image, its constants folded by onnxruntime.

    Shapes that are computed are what onnx-tf stumbles over most. Weights that lie in other files are inside then.

    Raises:
        ViaError: onnxruntime refuses the model, or it is larger than one file can be.
    """
    import onnx  # noqa: PLC0415 - the command line's help must not wait for it

    from facegate_convert import _onnxruntime  # noqa: PLC0415

    onnxruntime = _onnxruntime.load()
    model = _loaded(source)
    sketch = source.match.sketch
    sized(model, (sketch.width, sketch.height), channels_first=sketch.channels_first)
    model = _older(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # A file without a name: whatever ends this process, nothing of the model is left.
    with tempfile.TemporaryFile() as file:
        options.optimized_model_filepath = f"/proc/self/fd/{file.fileno()}"
        try:
            onnxruntime.InferenceSession(serialized(model), options, providers=["CPUExecutionProvider"])
            return _plain_pools(onnx.ModelProto.FromString(file.read()))
        except ViaError:
            raise
        except Exception as error:  # onnxruntime raises a dozen classes of its own
            raise ViaError(f"onnxruntime cannot read the model: {type(error).__name__}", hint=OWN) from error


def _loaded(source: Source) -> Any:
    import onnx  # noqa: PLC0415

    try:
        return onnx.load(str(source.path))
    except Exception as error:  # what lies beside the file may have changed since it was read
        raise ViaError(f"the model cannot be read again: {type(error).__name__}", hint=OWN) from error


def serialized(model: Any) -> bytes:
    """A model's bytes.

    Raises:
        ViaError: they are more than a protobuf message may have.
    """
    too_large = ViaError("models of 2 GB and more cannot be handed to onnx-tf", hint=OWN)
    try:
        # Asked first: making the bytes of what is too large takes its memory once more.
        if model.ByteSize() > _MAX_BYTES:
            raise too_large
        data: bytes = model.SerializeToString()
    except ValueError as error:  # protobuf's own limit
        raise too_large from error
    return data


def sized(model: Any, size: tuple[int, int], *, channels_first: bool) -> None:
    """Give the image of a model its shape, and forget all shapes that were stated for another.

    Args:
        model: it is changed.
        size: (width, height).
        channels_first: (1, 3, H, W) or (1, H, W, 3).

    Raises:
        ViaError: it has no input, or several.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    # Exporters of old list weights among the inputs; onnx-tf would ask for them.
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ViaError(f"onnx-tf is asked for models of one image; this one has {len(inputs)} inputs", hint=OWN)
    del graph.input[:]
    graph.input.extend(inputs)
    shape = (1, 3, size[1], size[0]) if channels_first else (1, size[1], size[0], 3)
    image = graph.input[0].type.tensor_type
    del image.shape.dim[:]
    for value in shape:
        image.shape.dim.add().dim_value = value
    del graph.value_info[:]
    for output in graph.output:
        rank = len(output.type.tensor_type.shape.dim)
        output.type.tensor_type.shape.Clear()
        output.type.tensor_type.shape.SetInParent()  # onnx wants one, and takes one whose dimensions are not known
        for _ in range(rank):
            output.type.tensor_type.shape.dim.add()


def _older(model: Any) -> Any:
    """The model in an operator set that onnx-tf knows, if it can be expressed there; else as it is."""
    from onnx import version_converter  # noqa: PLC0415

    version = next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version <= LAST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, LAST_OPSET)
    except Exception:  # noqa: BLE001 - it raises whatever it likes; onnx-tf then names the operator that it lacks
        return model


def _plain_pools(model: Any) -> Any:
    """The model whose pools say in the plainest way what they do.

    onnx-tf computes a pool with `ceil_mode` in Python, which TFLite cannot, and one with padding that is all zero by a
    detour behind which no shape is known. Where rounding up changes nothing it is left out, no padding is "VALID".
    """
    import onnx  # noqa: PLC0415

    graph = onnx.shape_inference.infer_shapes(model).graph
    known = (*graph.input, *graph.value_info)
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in known}
    for node in _nodes(model.graph):
        given = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type not in ("AveragePool", "MaxPool") or "auto_pad" in given or "dilations" in given:
            continue
        kernel = list(given["kernel_shape"].ints)
        rank = len(kernel)
        strides = list(given["strides"].ints) if "strides" in given else [1] * rank
        pads = list(given["pads"].ints) if "pads" in given else [0] * 2 * rank
        shape = shapes.get(node.input[0], [])[2:]
        if "ceil_mode" in given and given["ceil_mode"].i and len(shape) == rank and 0 not in shape:
            ends = [shape[i] + pads[i] + pads[rank + i] - kernel[i] for i in range(rank)]
            given["ceil_mode"].i = int(any(end % stride for end, stride in zip(ends, strides, strict=True)))
        if not any(pads) and not ("ceil_mode" in given and given["ceil_mode"].i):
            kept = [attribute for name, attribute in given.items() if name not in ("pads", "ceil_mode")]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("auto_pad", "VALID")])
    return model


def repaired(model: Any, size: tuple[int, int], *, channels_first: bool) -> Any:
    """A model that onnx-tf can read: names that Python accepts as arguments, one image of known size.

    A dot or a colon in the input's name is what makes onnx-tf fail with a KeyError. Numbers get a letter before them,
    two names stay two, and every node has a name that no other has.

    Args:
        model: an `onnx.ModelProto`; it is changed, and returned.
        size: (width, height) of the image.
        channels_first: (1, 3, H, W) or (1, H, W, 3).

    Raises:
        ViaError: it has no input, or several.
    """
    sized(model, size, channels_first=channels_first)
    name = _Names()
    for number, node in enumerate(_nodes(model.graph)):
        node.name = f"n{number}"
        node.doc_string = ""
        node.input[:] = map(name, node.input)
        node.output[:] = map(name, node.output)
    for graph in _graphs(model.graph):
        for value in (*graph.initializer, *graph.input, *graph.output):
            value.name = name(value.name)
        del graph.value_info[:]
        del graph.quantization_annotation[:]
    model.graph.name = "graph"
    model.ir_version = min(model.ir_version, _IR_VERSION)
    used = {node.domain for node in _nodes(model.graph)} | {""}
    domains = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    del model.metadata_props[:]
    return model


class _Names:
    """New names by old ones; the empty name, which stands for an input that is not given, stays."""

    def __init__(self) -> None:
        self._new = {"": ""}
        self._used: set[str] = set()

    def __call__(self, old: str) -> str:
        if old not in self._new:
            new = base = f"t_{_UNSAFE.sub('_', old)}"[:_MAX_NAME]
            count = 1
            while new in self._used:
                count += 1
                new = f"{base}_{count}"
            self._used.add(new)
            self._new[old] = new
        return self._new[old]


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those within its nodes: they read the values of the graphs around them."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner: Iterable[Any] = (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ()))
            for branch in inner:
                yield from _graphs(branch)


def _nodes(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.node
