"""Measuring a converted model: how close to its source, how fast, in how many pieces.

The candidate always runs on the device's own engine, never on a desktop substitute.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert import _onnxruntime
from facegate_convert._interpreter import make_interpreter
from facegate_convert.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from facegate_edge._engine import Engine
    from facegate_edge._manifest import Quantization

    Arrays = dict[str, npt.NDArray[np.float32]]


_MAX_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How close an output is to a reference over a set of inputs.

    Attributes:
        cosine_min, cosine_p1, cosine_p50: smallest, 1st percentile and median over the inputs of the cosine between the
            two outputs as vectors, -1..1.
        error_max, error_mean: largest and mean absolute difference, divided by the range (largest minus smallest value)
            of the reference over all inputs.
    """

    cosine_min: float
    cosine_p1: float
    cosine_p50: float
    error_max: float
    error_mean: float

    def as_dict(self) -> dict[str, float]:
        """The figures by name, rounded to 8 digits: more are noise, and change between machines."""
        return {name: float(f"{getattr(self, name):.8g}") for name in self.__slots__}


def agreement(reference: npt.NDArray[np.float32], candidate: npt.NDArray[np.float32]) -> Agreement:
    """Compare two sets of outputs, float32 (N, values), row by row.

    Raises:
        MeasureError: if the shapes differ or either holds a value that is not finite.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    if reference.shape != candidate.shape or not reference.size:
        raise MeasureError(f"outputs of shapes {reference.shape} and {candidate.shape} cannot be compared")
    if not np.isfinite(reference).all():
        raise MeasureError(
            "the source model gives values that are not finite",
            hint="its weights are damaged, or its input is wrong: check --mean, --scale and --preprocess",
        )
    if not np.isfinite(candidate).all():
        raise MeasureError(
            "the converted model gives values that are not finite",
            hint="check --mean, --scale and --preprocess; this is an error in Facegate if they are right",
        )
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dots = (a * b).sum(axis=1)
    # An output that is zero on both sides agrees; on one side only, it does not.
    cosines = np.where(norms > 0, dots / np.where(norms > 0, norms, 1), np.where((a == b).all(axis=1), 1.0, 0.0))
    difference = np.abs(a - b)
    span = float(a.max() - a.min()) or 1.0
    return Agreement(
        cosine_min=float(cosines.min()),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_p50=float(np.percentile(cosines, 50)),
        error_max=float(difference.max()) / span,
        error_mean=float(difference.mean()) / span,
    )


def run_onnx(source: Path | bytes, inputs: Sequence[npt.NDArray[np.float32]], *, channels_first: bool) -> Arrays:
    """The outputs of an ONNX model by name, each float32 (N, values), for inputs of shape (1, H, W, 3).

    Raises:
        MeasureError: if onnxruntime refuses the model or fails to run it.
    """
    import numpy as np  # noqa: PLC0415

    try:
        session = _onnxruntime.session(source)
        name = session.get_inputs()[0].name
        outputs = [output.name for output in session.get_outputs()]
        rows: dict[str, list[npt.NDArray[np.float32]]] = {output: [] for output in outputs}
        for value in inputs:
            fed = np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if channels_first else value
            for output, result in zip(outputs, session.run(outputs, {name: fed}), strict=True):
                rows[output].append(np.asarray(result, np.float32))
    except Exception as error:  # onnxruntime raises a dozen classes of its own
        raise MeasureError(
            f"onnxruntime cannot run the source model: {type(error).__name__}",
            hint="the comparison needs a model that onnxruntime accepts; export it again with a current exporter",
        ) from error
    return {output: np.stack(values) for output, values in rows.items()}


def run_engine(model: bytes, inputs: Sequence[npt.NDArray[np.float32]]) -> Arrays:
    """The outputs of a TFLite model by name, dequantised to float32 (N, *shape), on the device's engine.

    Args:
        model: the flatbuffer.
        inputs: float32 (1, H, W, 3), quantised here if the model's input is.

    Raises:
        facegate_edge.errors.EngineError: if the engine refuses the model.
    """
    from facegate_edge import make_engine  # noqa: PLC0415

    with make_engine(model, threads=1) as engine:
        return outputs_of(engine, inputs)


def outputs_of(engine: Engine, inputs: Sequence[npt.NDArray[np.float32]]) -> Arrays:
    """The outputs of an engine by name, dequantised to float32 (N, *shape), for inputs (1, H, W, 3) in float32.

    Raises:
        facegate_edge.errors.EngineError, MeasureError: the model failed to run.
    """
    import numpy as np  # noqa: PLC0415

    rows: dict[str, list[npt.NDArray[np.float32]]] = {output.name: [] for output in engine.output_infos}
    for value in inputs:
        feed(engine, value)
        engine.run()
        for output in engine.output_infos:
            rows[output.name].append(dequantize(engine.outputs[output.name], output.quantization))
    return {name: np.stack(values) for name, values in rows.items()}


def feed(engine: Engine, value: npt.NDArray[np.float32]) -> None:
    """Put an input (1, H, W, 3), float32, into an engine, quantised if its input is."""
    (info,) = engine.input_infos
    engine.inputs[info.name][...] = quantize(value, info.quantization, info.dtype)


def quantize(value: npt.NDArray[np.float32], quantization: Quantization | None, dtype: str) -> npt.NDArray[np.generic]:
    """Real values to a tensor's own: round to nearest, even on ties, and clamp."""
    import numpy as np  # noqa: PLC0415

    if quantization is None:
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = np.rint(value / np.float32(quantization.scale)) + quantization.zero_point
    stored: npt.NDArray[np.generic] = np.clip(scaled, limits.min, limits.max).astype(dtype)
    return stored


def dequantize(value: npt.NDArray[Any], quantization: Quantization | None) -> npt.NDArray[np.float32]:
    """A tensor's own values to real ones; always a copy."""
    import numpy as np  # noqa: PLC0415

    if quantization is None:
        return value.astype(np.float32)
    real: npt.NDArray[np.float32] = (value.astype(np.float32) - quantization.zero_point) * np.float32(
        quantization.scale
    )
    return real


def latency(models: Mapping[str, bytes], *, threads: int, seconds: float = 1.5) -> dict[str, float]:
    """The median time of one run of each model, in milliseconds, measured in turns so that all meet the same noise.

    Args:
        models: flatbuffers by name.
        threads: threads for each engine.
        seconds: how long to measure in all; at least 10 rounds are run.
    """
    return medians(times(models, threads=threads, seconds=seconds))


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each model's times, in milliseconds, rounded to a microsecond."""
    import statistics  # noqa: PLC0415

    return {name: round(statistics.median(values) * 1000, 3) for name, values in found.items()}


def times(models: Mapping[str, bytes], *, threads: int, seconds: float = 1.5) -> dict[str, list[float]]:
    """The time of each run of each model, in seconds, round by round: see `latency`."""
    import contextlib  # noqa: PLC0415

    from facegate_edge import make_engine  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        engines = {name: stack.enter_context(make_engine(m, threads=threads)) for name, m in models.items()}
        for engine in engines.values():
            engine.run()
            engine.run()
        found: dict[str, list[float]] = {name: [] for name in engines}
        end = time.perf_counter() + seconds
        rounds = 0
        while rounds < 10 or (time.perf_counter() < end and rounds < _MAX_ROUNDS):  # noqa: PLR2004
            for name, engine in engines.items():
                start = time.perf_counter()
                engine.run()
                found[name].append(time.perf_counter() - start)
            rounds += 1
    return found


def partitions(model: bytes) -> int:
    """Into how many pieces XNNPACK cuts the model: 1 is best, 0 means that XNNPACK takes none of it.

    Raises:
        MeasureError: if the interpreter refuses the model.
    """
    try:
        # There is no public way to see the delegate's nodes.
        details = make_interpreter(model)._get_ops_details()  # noqa: SLF001
    except (RuntimeError, ValueError) as error:
        raise MeasureError("the LiteRT interpreter refuses the converted model") from error
    return sum(op["op_name"] == "DELEGATE" for op in details)
