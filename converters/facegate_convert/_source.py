"""The source of a conversion: the ONNX model as it was read, and as an engine that the runtime's own classes can use.

With `OnnxEngine` the source model runs in the very detector, embedder and liveness judge that a device runs, fed by the
same kernels and read by the same decoders: what differs between the two is the model, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert import _families, _onnxruntime
from facegate_convert._graph import load_graph
from facegate_convert._heads import finish
from facegate_convert._lower import lower
from facegate_convert._options import adjust, check_role, with_statements
from facegate_convert.errors import ConvertError, MeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_convert._families import Match, MatchedOutput
    from facegate_convert._graph import Graph
    from facegate_convert._options import Options
    from facegate_edge._manifest import TensorInfo


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Source:
    """An ONNX model that was read and recognised.

    Attributes:
        path: of the file.
        size: of the file, in bytes.
        sha256: of its bytes, hex.
        raw: the canonical graph of the file.
        graph: the same with the outputs that the runtime reads (`_heads.finish`).
        match: what it was recognised as.
        options: the caller's, with what the file says about itself.
    """

    path: Path
    size: int
    sha256: str
    raw: Graph
    graph: Graph
    match: Match
    options: Options

    @property
    def names(self) -> dict[str, str]:
        """The bundle's names of the outputs by the graph's."""
        return {output.source: output.name for output in self.match.outputs}

    def __repr__(self) -> str:
        return f"Source({self.match.role}, {self.match.family}, {self.size} bytes)"


def read_source(path: Path, options: Options) -> Source:
    """Read an ONNX file and recognise what it is.

    Raises:
        ConvertError: one of its subclasses: the file cannot be read, is no model, or is of no known family.
    """
    raw = load_graph(path, input_size=options.input_size)
    options = with_statements(options, raw)
    match = adjust(_families.recognize(raw), options)
    check_role(options, match.role)
    return Source(path, path.stat().st_size, raw.source_sha256, raw, finish(raw, match.outputs), match, options)


def _own(source: Source) -> bytes:
    return lower(source.graph, output_names=source.names).model


def _onnx_tf(source: Source) -> bytes:
    from facegate_convert._onnx_tf import convert_via_onnx_tf  # noqa: PLC0415 - few ever use it

    return convert_via_onnx_tf(source)


# Ways from a source to a float32 TFLite model with one signature: an image input (1, H, W, 3) of any name, and the
# outputs of `match` under their bundle's names, each in the form that `_heads.finish` gives it. Whatever a way returns
# is held against the source like every other model. Our own lowering is one of them.
WAYS: dict[str, Callable[[Source], bytes]] = {"own": _own, "onnx-tf": _onnx_tf}


def float_model(source: Source) -> bytes:
    """The float32 TFLite model of a source, made in the way that its options name.

    Raises:
        ConvertError: there is no such way, or it failed.
    """
    via = source.options.via
    if via not in WAYS:
        raise ConvertError(f"there is no way {via!r} to convert a model", hint=f"choose one of {', '.join(WAYS)}")
    return WAYS[via](source)


class OnnxEngine:
    """The source model run by onnxruntime, with the tensors that the float32 bundle model has; implements `Engine`.

    Args:
        source: the model.
        inputs, outputs: tensors of its float32 TFLite model.

    Raises:
        MeasureError: onnxruntime refuses the model.
    """

    name = "onnxruntime"

    def __init__(self, source: Source, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]) -> None:
        import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

        try:
            self._session = _onnxruntime.session(source.path)
        except Exception as error:  # onnxruntime raises a dozen classes of its own
            raise _refused(error) from error
        self._feed = self._session.get_inputs()[0].name
        self._match = source.match
        self.input_infos = inputs
        by_name = {info.name: info for info in outputs}
        self.output_infos = tuple(by_name[output.name] for output in source.match.outputs)
        self._inputs = {info.name: np.zeros(info.shape, np.float32) for info in inputs}
        self._outputs = {info.name: np.zeros(info.shape, np.float32) for info in self.output_infos}

    @property
    def inputs(self) -> Mapping[str, npt.NDArray[Any]]:
        """The image, float32 (1, H, W, 3), by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, npt.NDArray[Any]]:
        """The outputs by the bundle's names, float32."""
        return self._outputs

    def run(self) -> None:
        """Run the model on what `inputs` hold. Raises MeasureError."""
        import numpy as np  # noqa: PLC0415

        (image,) = self._inputs.values()
        if self._match.sketch.channels_first:
            image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        outputs = self._match.outputs
        try:
            found = self._session.run([output.source for output in outputs], {self._feed: image})
        except Exception as error:
            raise _refused(error) from error
        for output, value in zip(outputs, found, strict=True):
            shape = next(o.shape for o in self._match.sketch.outputs if o.name == output.source)
            target = self._outputs[output.name]
            target[...] = _as_read(output, np.asarray(value, np.float32).reshape(shape)).reshape(target.shape)

    def close(self) -> None:
        """Let go of the model; a second call does nothing."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _as_read(output: MatchedOutput, value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """An output of the source in the form that the runtime reads: feature maps as rows, scores as probabilities."""
    import numpy as np  # noqa: PLC0415

    if output.rows is not None:
        value = value.transpose(0, 2, 3, 1).reshape(output.rows)
    if output.activation == "sigmoid":
        value = np.reciprocal(1 + np.exp(-value))
    elif output.activation == "softmax":
        exponents = np.exp(value - value.max(axis=-1, keepdims=True))
        value = exponents / exponents.sum(axis=-1, keepdims=True)
    return value


def _refused(error: Exception) -> MeasureError:
    return MeasureError(
        f"onnxruntime cannot run the source model: {type(error).__name__}",
        hint="the comparison needs a model that onnxruntime accepts; export it again with a current exporter",
    )
