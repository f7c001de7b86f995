"""`convert`: from an ONNX file to a model that the runtime can load, with a report of what that cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from facegate_convert import _families, _measure, _statements
from facegate_convert._calibration import Crops, prepare, synthetic_inputs
from facegate_convert._graph import load_graph
from facegate_convert._heads import finish
from facegate_convert._lower import lower
from facegate_convert._quantize import (
    MIN_CALIBRATION_INPUTS,
    PRECISIONS,
    RANGES,
    equalize,
    measure_ranges,
    quantize_dynamic,
    quantize_static,
)
from facegate_convert._report import Report
from facegate_convert.errors import CalibrationError, ConvertError, ParityError
from facegate_edge._manifest import InputInfo, ModelInfo, ModelProvenance, RecognizerInfo
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._families import Match
    from facegate_convert._graph import Graph
    from facegate_convert._lower import LoweredModel

    Progress = Callable[[str, int, int], None]

MAX_DRIFT = 1e-4
_JUDGED = 32  # inputs that the ways of making ranges are compared on
_HOLDOUT_FROM = 32  # with fewer inputs, holding some back would cost more than it shows

PRESETS: dict[str, tuple[_families.Triple, _families.Triple]] = {
    "arcface": ((127.5,) * 3, (1 / 127.5,) * 3),
    "imagenet": (
        (255 * 0.485, 255 * 0.456, 255 * 0.406),
        (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    ),
    "raw": ((0.0,) * 3, (1.0,) * 3),
    "unit": ((0.0,) * 3, (1 / 255,) * 3),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a conversion is asked for beyond the model itself.

    Attributes:
        precision: "float32", "int8" or "dynamic".
        input_size: (width, height) for models that leave it open.
        color, mean, scale, preprocess: override what the graph shows or the family assumes; `preprocess` names a mean
            and a scale of PRESETS.
        crop_scale: for liveness models, overrides the family's.
        calibration: folder of photographs; int8 needs it, the others are measured on it.
        detector: finds the faces in them (ONNX file, bundle, or entry and bytes); not needed for a detector, or if all
            photographs have the size of the model's input (crops that are aligned already).
        licence: SPDX expression of the weights' licence; "unknown" takes what the file says (`_statements`).
        commercial_use: whether it allows commercial use, None if unknown.
        demonstration: the model is good for demonstrations only, also if its file does not say so.
        allow_drift: do not refuse a float32 model that differs from its source.
        measure_latency: time the model on this machine, for the report.
    """

    precision: str = "float32"
    input_size: tuple[int, int] | None = None
    color: str | None = None
    mean: tuple[float, float, float] | None = None
    scale: tuple[float, float, float] | None = None
    preprocess: str | None = None
    crop_scale: float | None = None
    calibration: Path | None = None
    detector: Path | tuple[ModelInfo, bytes] | None = None
    licence: str = _statements.UNKNOWN
    commercial_use: bool | None = None
    demonstration: bool = False
    allow_drift: bool = False
    measure_latency: bool = True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conversion:
    """A converted model.

    Attributes:
        model: the TFLite flatbuffer.
        info: what the runtime must know about it.
        report: what the conversion did, assumed and cost.
        unreadable: names of files in the calibration folder that are no images; in no report, as they may name people.
    """

    model: bytes
    info: ModelInfo
    report: Report
    unreadable: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Conversion({self.info.role}, {self.info.family}, {self.info.precision}, {len(self.model)} bytes)"


def convert(source: Path, options: Options | None = None, *, progress: Progress | None = None) -> Conversion:
    """Convert an ONNX model.

    Args:
        source: the ONNX file.
        options: see `Options`.
        progress: called with (what is being done, steps done, steps in all); steps in all is 0 if unknown.

    Raises:
        ConvertError: one of its subclasses, by what is wrong: the file, an operator, an unknown or prohibited family,
            photographs, the quantizer, or a result that differs from the source.
    """
    options = options or Options()
    tell = progress or (lambda *_: None)
    if options.precision not in PRECISIONS:
        raise ConvertError(
            f"there is no precision {options.precision!r}", hint=f"choose one of {', '.join(PRECISIONS)}"
        )
    tell("reading the model", 0, 0)
    graph = load_graph(source, input_size=options.input_size)
    options = _with_statements(options, graph)
    match = adjust(_families.recognize(graph), options)
    if options.precision == "int8" and options.calibration is None:
        raise CalibrationError(
            "int8 needs photographs to calibrate the model on",
            hint="give --calibration DIR with some dozens of photographs as the device will see them, or use "
            "--precision dynamic, which needs none",
        )
    tell("lowering", 0, 0)
    graph = finish(graph, match.outputs)
    names = {o.source: o.name for o in match.outputs}
    lowered = lower(graph, output_names=names)
    float_info = _model_info(lowered.model, match, options, lowered.source_sha256, "float32")
    crops = _crops(float_info, lowered.model, options, tell)
    fit, held_out, described = _split(crops, float_info)
    tell("comparing with onnxruntime", 0, 0)
    reference = _reference(source, match, held_out)
    parity_float = _parity(reference, lowered.model, held_out)
    _refuse_drift(parity_float, allow=options.allow_drift)
    model, info, parity, how = lowered.model, float_info, parity_float, ""
    if options.precision != "float32":
        model, how = _quantized(lowered, graph, match, fit, options, tell)
        info = _model_info(model, match, options, lowered.source_sha256, options.precision)
        parity = _parity(reference, model, held_out)
    fingerprint = crops.fingerprint if crops and options.precision == "int8" else ""
    provenance = dataclasses.replace(info.provenance, calibration=fingerprint, parity=parity)
    info = dataclasses.replace(info, provenance=provenance)
    report = Report(
        source=source.name,
        source_sha256=lowered.source_sha256,
        role=match.role,
        family=match.family,
        precision=options.precision,
        input=f"{match.sketch.width}x{match.sketch.height} {match.preprocessing.color}, "
        f"{_families.describe(match.preprocessing)}",
        assumptions=match.assumptions,
        warnings=_warnings(options, crops, len(fit), info),
        inputs=described,
        calibration=info.provenance.calibration,
        calibration_method=how,
        calibration_images=crops.images if crops else 0,
        calibration_inputs=len(fit) if options.precision == "int8" else 0,
        unreadable=crops.unreadable if crops else 0,
        without_face=crops.without_face if crops else 0,
        parity_float=parity_float,
        parity=parity,
        size_source=source.stat().st_size,
        size_float=len(lowered.model),
        size=len(model),
        partitions=_measure.partitions(model),
        latency=_latency(lowered.model, model, options, tell),
    )
    return Conversion(model, info, report, crops.names if crops else ())


def adjust(match: Match, options: Options) -> Match:
    """The match with what the caller knows better than the graph; what is stated is no longer assumed.

    Raises:
        ConvertError: if an option makes no sense for this model.
    """
    stated = match.preprocessing
    if options.preprocess is not None:
        if options.preprocess not in PRESETS:
            raise ConvertError(
                f"there is no preset {options.preprocess!r}", hint=f"the presets are {', '.join(PRESETS)}"
            )
        mean, scale = PRESETS[options.preprocess]
        stated = dataclasses.replace(stated, mean=mean, scale=scale)
    if options.scale is not None and not all(0 < s < 1e4 for s in options.scale):  # noqa: PLR2004
        raise ConvertError("a scale lies above 0", hint="(pixel - mean) * scale is what the model is fed")
    stated = _families.Preprocessing(
        options.color or stated.color, options.mean or stated.mean, options.scale or stated.scale
    )
    liveness = match.liveness
    if options.crop_scale is not None:
        if liveness is None:
            raise ConvertError("--crop-scale is for liveness models", hint=f"this model is a {match.role}")
        liveness = dataclasses.replace(liveness, crop_scale=options.crop_scale)
    given = {
        "colour order": options.color,
        "normalisation": options.preprocess or options.mean or options.scale,
        "crop": options.crop_scale,
    }
    assumptions = tuple(a for a in match.assumptions if not any(a.startswith(w) for w, v in given.items() if v))
    return dataclasses.replace(match, preprocessing=stated, assumptions=assumptions, liveness=liveness)


def _with_statements(options: Options, graph: Graph) -> Options:
    """The options with what the file says about itself: its licence if the caller gave none, and a mark for good."""
    licence = options.licence if options.licence != _statements.UNKNOWN else _statements.licence_of(graph.metadata)
    demonstration = options.demonstration or _statements.is_demonstration(graph.metadata)
    return dataclasses.replace(options, licence=licence, demonstration=demonstration)


def template_space(source_sha256: str, match: Match, precision: str) -> str:
    """The id of the space that a recogniser's templates live in.

    Whatever moves templates is in it: the weights, how pixels become input, where landmarks are put, and the precision.
    The precision, because at int8 the best threshold moves by up to 0.03 (docs/convert.md) and a gallery enrolled at
    one precision would be judged by a threshold of the other. Not the calibration set: it moves templates less than two
    photographs of a person differ, and a recalibrated model must not force everybody to enrol again.
    """
    facts = {
        "source": source_sha256,
        "family": match.family,
        "preprocessing": dataclasses.asdict(match.preprocessing),
        "landmarks": match.landmarks,
        "precision": precision,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{match.family}-{match.embedding_length}-{digest[:32]}"


def _quantized(
    lowered: LoweredModel,
    graph: Graph,
    match: Match,
    inputs: Sequence[npt.NDArray[np.float32]],
    options: Options,
    tell: Progress,
) -> tuple[bytes, str]:
    """(the quantised model, how it was made): of the ways there are, the fewest pieces, then the least error."""
    if options.precision == "dynamic":
        tell("quantising", 0, 0)
        return quantize_dynamic(lowered.model), ""
    names = {o.source: o.name for o in match.outputs}
    tell("equalising", 0, 0)
    graph, _ = equalize(graph, lowered.model, names, inputs[:_JUDGED])
    normal = match.preprocessing
    ends = [(pixel - m) * s for m, s in zip(normal.mean, normal.scale, strict=True) for pixel in (0, 255)]
    # A face is the exception in a frame: a detector's scores are the very extremes that a mean would clip.
    ways = ("extreme",) if match.role == "detector" else RANGES
    judged = inputs[:_JUDGED]
    exact = {n: values.reshape(len(judged), -1) for n, values in _measure.run_engine(lowered.model, judged).items()}
    found = []
    for form, name in _prelu_forms(graph).items():
        base = lower(graph, output_names=names, prelu=form).model
        ranges = measure_ranges(
            base, inputs, (min(ends), max(ends)), progress=lambda done, total: tell("calibrating", done, total)
        )
        for how in ways:
            tell("quantising", 0, 0)
            model = quantize_static(base, ranges, how)
            error = sum(p["error_mean"] for p in _parity(exact, model, judged).values())
            found.append((_measure.partitions(model), error, model, f"{how} ranges{name}"))
    _, _, model, how = min(found, key=lambda f: f[:2])
    return model, how


def _prelu_forms(graph: Graph) -> dict[Literal["keep", "rewrite"], str]:
    """How the slopes of PReLU and LeakyReLU may be written, and what the report calls it.

    The quantizer knows neither. Left float between two conversions they usually are closer and faster; written
    as arithmetic they are int8. Which is better differs by network (docs/adr/0012), so both are tried.
    """
    if not any(node.op in ("PRelu", "LeakyRelu") for node in graph.nodes):
        return {"keep": ""}
    return {"keep": ", PReLU left float", "rewrite": ", PReLU rewritten"}


def _crops(info: ModelInfo, model: bytes, options: Options, tell: Progress) -> Crops | None:
    if options.calibration is None:
        return None
    detector = None
    if options.detector is not None and info.role != "detector":
        detector = options.detector if isinstance(options.detector, tuple) else load_detector(options.detector, tell)
    return prepare(
        options.calibration,
        info,
        model,
        detector,
        progress=lambda done, total: tell("preparing photographs", done, total),
    )


def load_detector(path: Path, tell: Progress) -> tuple[ModelInfo, bytes]:
    """A detector to prepare photographs with, from a bundle or converted from an ONNX file on the way.

    Raises:
        ConvertError: if the file is neither, or holds no detector.
    """
    from facegate_convert._bundles import load_models  # noqa: PLC0415 - the other way round it imports this module

    models = load_models(path, Options(measure_latency=False), progress=tell)
    for model in models:
        if model.info.role == "detector":
            return model.info, model.data
    raise ConvertError(f"{path} holds no detector", hint="name a detector's ONNX file or a bundle that has one")


def _split(
    crops: Crops | None, info: ModelInfo
) -> tuple[Sequence[npt.NDArray[np.float32]], Sequence[npt.NDArray[np.float32]], str]:
    """(what to calibrate on, what to compare on, what the latter is called)."""
    if crops is None:
        return (), synthetic_inputs(info), "8 synthetic images (give --calibration for figures that mean something)"
    if len(crops.inputs) < _HOLDOUT_FROM:
        return crops.inputs, crops.inputs, f"the {len(crops.inputs)} calibration inputs themselves"
    held_out = crops.inputs[::4]
    fit = [value for place, value in enumerate(crops.inputs) if place % 4]
    return fit, held_out, f"{len(held_out)} inputs held back from calibration"


def _reference(
    source: Path, match: Match, inputs: Sequence[npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Onnxruntime's outputs by the runtime's names, brought to the runtime's form, float32 (N, values)."""
    import numpy as np  # noqa: PLC0415

    raw = _measure.run_onnx(source, inputs, channels_first=match.sketch.channels_first)
    found = {}
    for output in match.outputs:
        value: npt.NDArray[Any] = raw[output.source].reshape(len(inputs), *_source_shape(match, output.source))
        if output.rows is not None:
            value = value.transpose(0, 1, 3, 4, 2).reshape(len(inputs), *output.rows)
        if output.activation == "sigmoid":
            value = np.reciprocal(1 + np.exp(-value))
        elif output.activation == "softmax":
            exponents = np.exp(value - value.max(axis=-1, keepdims=True))
            value = exponents / exponents.sum(axis=-1, keepdims=True)
        found[output.name] = value.reshape(len(inputs), -1)
    return found


def _source_shape(match: Match, name: str) -> tuple[int, ...]:
    return next(o.shape for o in match.sketch.outputs if o.name == name)


def _parity(
    reference: dict[str, npt.NDArray[np.float32]], model: bytes, inputs: Sequence[npt.NDArray[np.float32]]
) -> dict[str, dict[str, float]]:
    outputs = _measure.run_engine(model, inputs)
    return {
        name: _measure.agreement(expected, outputs[name].reshape(len(inputs), -1)).as_dict()
        for name, expected in reference.items()
    }


def _refuse_drift(parity: dict[str, dict[str, float]], *, allow: bool) -> None:
    worst = max(parity, key=lambda name: parity[name]["error_max"])
    error = parity[worst]["error_max"]
    if error > MAX_DRIFT and not allow:
        raise ParityError(
            f"the float32 model differs from its source: output {worst} by {error:.2g} of its range, allowed are "
            f"{MAX_DRIFT:g}",
            hint="this is an error in the converter or a model that amplifies rounding; --allow-drift accepts it",
        )


def _model_info(model: bytes, match: Match, options: Options, source_sha256: str, precision: str) -> ModelInfo:
    """The manifest entry of a model, but for what only a comparison can tell."""
    from facegate_edge import make_engine  # noqa: PLC0415 - loads the engine's library

    with make_engine(model) as engine:
        (tensor,) = engine.input_infos
        by_name = {info.name: info for info in engine.output_infos}
    preprocessing = match.preprocessing
    recognizer = None
    if match.role == "recognizer":
        space = template_space(source_sha256, match, precision)
        recognizer = RecognizerInfo("embedding", match.embedding_length, space, match.landmarks)
    return ModelInfo(
        role=match.role,
        family=match.family,
        precision=precision,
        file=f"models/{match.role}.tflite",
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        input=InputInfo(tensor, preprocessing.color, preprocessing.mean, preprocessing.scale),
        outputs=tuple(by_name[output.name] for output in match.outputs),
        provenance=ModelProvenance(
            source_sha256=source_sha256,
            licence=options.licence,
            commercial_use=options.commercial_use,
            converter=VERSION,
            calibration="",
            parity={},
            demonstration=options.demonstration,
        ),
        detector=match.detector,
        recognizer=recognizer,
        liveness=match.liveness,
    )


def _warnings(options: Options, crops: Crops | None, fitted: int, info: ModelInfo) -> tuple[str, ...]:
    found = []
    if options.precision == "int8" and fitted < MIN_CALIBRATION_INPUTS:
        found.append(f"calibrated on {fitted} inputs only; use at least {MIN_CALIBRATION_INPUTS}, better some hundreds")
    if crops and crops.unreadable:
        found.append(f"{crops.unreadable} files of the calibration folder are no images that can be read")
    if crops and crops.without_face:
        found.append(f"no usable face was found in {crops.without_face} photographs of the calibration folder")
    if crops and crops.left_out:
        found.append(f"{crops.left_out} photographs were left out: the others fill the memory that inputs may take")
    if info.provenance.demonstration:
        found.append("for demonstrations only: every decision made with a bundle that holds this model is marked so")
    if info.provenance.licence == _statements.UNKNOWN:
        found.append("the licence of the weights is unknown (--licence, --commercial-use)")
    return tuple(found)


def _latency(float_model: bytes, model: bytes, options: Options, tell: Progress) -> dict[str, dict[str, float]]:
    if not options.measure_latency:
        return {}
    tell("measuring latency", 0, 0)
    models = {"float32": float_model} | ({options.precision: model} if options.precision != "float32" else {})
    return {
        str(threads): {name: round(ms, 3) for name, ms in _measure.latency(models, threads=threads).items()}
        for threads in (1, 2)
    }
