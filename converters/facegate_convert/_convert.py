"""`convert`: from an ONNX file to a model that the runtime can load, with a report of what that cost.

A conversion is done when the model decides as its source decides, at the speed that its target's profile promises; else
it is refused, with the reason.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert import _anatomy, _gates, _measure, _proof, _samples
from facegate_convert._calibration import prepare
from facegate_convert._info import model_info
from facegate_convert._options import PRESETS, Options
from facegate_convert._quantize import CHOICES, Score, search
from facegate_convert._source import OnnxEngine, float_model, read_source
from facegate_convert._stopwatch import Stopwatch
from facegate_convert._summary import CALIBRATED, Found, summarize
from facegate_convert.errors import CalibrationError, ConvertError, MeasureError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._calibration import Crops
    from facegate_convert._gates import Findings, Gate, Judge
    from facegate_convert._options import Progress
    from facegate_convert._quantize import Search
    from facegate_convert._report import Report
    from facegate_convert._source import Source
    from facegate_edge._manifest import ModelInfo
    from facegate_edge._targets import Target

    Parity = dict[str, dict[str, float]]

__all__ = ["MAX_DRIFT", "PRESETS", "Conversion", "Options", "convert", "load_detector"]

MAX_DRIFT = _gates.LIMITS.parity
_SEARCHED = ("mixed", "auto")  # precisions for which the search chooses by decisions, not by drift alone
_TIMED = 0.4  # seconds for each number of threads: hundreds of rounds of the small models, ten of any
_THREADS = (1, 2)  # that models are timed with


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
    """Convert an ONNX model, hold it against its source, and refuse it if it decides otherwise.

    Args:
        source: the ONNX file.
        options: see `Options`.
        progress: called with (what is being done, steps done, steps in all); steps in all is 0 if unknown.

    Raises:
        ConvertError: one of its subclasses, by what is wrong: the file, an operator, an unknown or prohibited family,
            photographs, the quantizer.
        GateError: the model does not pass; the error has the report.
        UnrunnableModelError: LiteRT does not run what was made, or does not survive it.
        UnknownTargetError: there is no such target.
    """
    from facegate_edge._targets import target  # noqa: PLC0415 - reads the profiles

    options = options or Options()
    watch = Stopwatch(progress)
    wanted = target(options.target)
    if options.precision not in CHOICES:
        raise ConvertError(f"there is no precision {options.precision!r}", hint=f"choose one of {', '.join(CHOICES)}")
    _proof.begin()
    watch.step("reading the model")
    read = read_source(source, options)
    _check_photographs(options)
    _check_float16(options, wanted, options.precision)
    watch.step("lowering")
    float32 = _proof.prove(float_model(read))
    made = _Made(read, wanted, watch, float32, model_info(float32, read, "float32"))
    return made.finish()


def _check_photographs(options: Options) -> None:
    if options.precision in CALIBRATED and options.calibration is None:
        raise CalibrationError(
            f"{options.precision} needs photographs to calibrate the model on",
            hint="give --calibration DIR with some dozens of photographs as the device will see them, or use "
            "--precision dynamic or float16, which need none",
        )


def _check_float16(options: Options, wanted: Target, precision: str) -> None:
    """Refuse float16 arithmetic where there can be none: before the work, and for what "auto" chose.

    Raises:
        ConvertError: the model or the target cannot have it.
    """
    if options.float16_arithmetic and (precision not in ("float16", "auto") or not wanted.float16_arithmetic):
        raise ConvertError(
            f"{precision} on {wanted.title} is not calculated in float16",
            hint="--float16-arithmetic needs --precision float16 and a --target whose cores have it, e.g. rpi5",
        )


class _Made:
    """One conversion on its way: what was made so far, and what is left to do.

    Args:
        source: what was read.
        wanted: the target.
        watch: tells of the progress, and how long each step took.
        float32: the float32 model.
        info: its manifest entry.
    """

    def __init__(self, source: Source, wanted: Target, watch: Stopwatch, float32: bytes, info: ModelInfo) -> None:
        self.source, self.wanted, self.watch = source, wanted, watch
        self.options = source.options
        self.float32, self.float_info = float32, info
        self.anatomy = _anatomy.of_model(float32)
        self.crops = self._prepare()
        self.samples = _samples.split(self.crops, info)
        self.labels = self._labels()

    def finish(self) -> Conversion:
        """Quantise, judge, measure, and refuse or give the model."""
        options, watch = self.options, self.watch
        inputs = self.samples.held_out.arrays
        with OnnxEngine(self.source, (self.float_info.input.tensor,), self.float_info.outputs) as engine:
            watch.step("comparing with onnxruntime")
            exact = {n: v.reshape(len(inputs), -1) for n, v in _measure.outputs_of(engine, inputs).items()}
            parity_float = _parity(exact, self.float32, inputs)
            parity_gate = _parity_gate(parity_float, self.samples.described)
            # A float32 model that computes something else is an error to be told of at once, not after a search.
            _gates.refuse(_gates.settle([parity_gate], options.allowed), "float32 model")
            chosen = self._search(engine)
            watch.step("judging decisions")
            precision = chosen.chosen.recipe.precision
            model = chosen.chosen.model
            info = model_info(model, self.source, precision)
            judge = _gates.Judge(engine, self.float_info, self.samples, self.labels)
        findings, info = _judged(judge, model, info)
        anatomy = self.anatomy if precision == "float32" else _anatomy.of_model(model)
        info = self._with_arithmetic(info)
        gates = [parity_gate, *findings.gates]
        speed, latency = self._speed(model, precision)
        if precision != "float32":
            gates += [_gates.partition_gate(self.anatomy, anatomy), *speed]
        if options.size_budget is not None:
            gates.append(_gates.size_gate(len(model), options.size_budget))
        settled = _gates.settle(gates, options.allowed, strict=options.strict)
        parity = parity_float if precision == "float32" else _parity(exact, model, inputs)
        calibrated = self.crops is not None and chosen.chosen.recipe.calibrated
        provenance = dataclasses.replace(
            info.provenance,
            calibration=self.crops.fingerprint if self.crops and calibrated else "",
            parity=parity,
            allowances=_gates.allowances(settled),
        )
        info = dataclasses.replace(info, provenance=provenance)
        operators = self._operators(model)
        found = Found(
            info, chosen, settled, findings, self.anatomy, anatomy, parity_float, latency, operators, self.labels
        )
        report = summarize(self.source, self.wanted, self.samples, self.float32, found, watch.seconds())
        _gates.refuse(settled, f"{precision} model", report)
        return Conversion(model, info, report, self.crops.names if self.crops else ())

    def _with_arithmetic(self, info: ModelInfo) -> ModelInfo:
        """The entry with the arithmetic that was asked for, where model and target can have it.

        Raises:
            ConvertError: they cannot.
        """
        if not self.options.float16_arithmetic:
            return info
        _check_float16(self.options, self.wanted, info.precision)
        return dataclasses.replace(info, arithmetic="float16")

    def _prepare(self) -> Crops | None:
        options = self.options
        if options.calibration is None:
            return None
        self.watch.step("preparing photographs")
        return prepare(options.calibration, self.float_info, self.float32, self._detector(), progress=self.watch.steps)

    def _detector(self) -> tuple[ModelInfo, bytes] | None:
        """The detector that finds faces, read once."""
        detector = self.options.detector
        if detector is None or self.source.match.role == "detector":
            return None
        if not isinstance(detector, tuple):
            detector = load_detector(detector, self.watch.inner)
            self.options = dataclasses.replace(self.options, detector=detector)
        return detector

    def _labels(self) -> _gates.Labels:
        """What is known of other photographs, of those that the model's role has a use for."""
        options, role = self.options, self.source.match.role
        model = (self.float_info, self.float32)
        if role == "recognizer" and options.images is not None:
            self.watch.step("preparing labelled photographs")
            pairs = _samples.labeled_pairs(
                options.pairs, options.images, model, self._detector(), infer=options.infer_pairs, tell=self.watch.steps
            )
            return _gates.Labels(pairs=pairs)
        if role == "detector" and options.truth is not None:
            self.watch.step("preparing labelled photographs")
            return _gates.Labels(truth=_samples.true_faces(options.truth, model, tell=self.watch.steps))
        if role == "liveness" and options.attacks is not None:
            self.watch.step("preparing labelled photographs")
            found = _samples.attacks(options.attacks, model, self._detector(), tell=self.watch.steps)
            return _gates.Labels(attacks=found)
        return _gates.Labels()

    def _search(self, engine: OnnxEngine) -> Search:
        """The model in the precision that was asked for, the best of the recipes for it."""
        options, samples = self.options, self.samples
        normal = self.source.match.preprocessing
        ends = [(pixel - m) * s for m, s in zip(normal.mean, normal.scale, strict=True) for pixel in (0, 255)]
        known: list[Judge] = []

        def judge(model: bytes) -> Score:
            if not known:  # the source is asked when the first candidate is judged: not every search has one
                searched = _gates.while_searching(samples)
                known.append(_gates.Judge(engine, self.float_info, searched, _gates.Labels()))
            # The precision does not matter here but for a detector, whose threshold moves at all but float32.
            findings, _ = _judged(known[0], model, model_info(model, self.source, "int8"))
            failed = _gates.refusal(findings.gates)
            return Score(findings.loss, not failed, failed)

        self.watch.step("quantising")
        return search(
            self.source.graph,
            self.source.names,
            self.float32,
            samples.fit.arrays,
            precision=options.precision,
            input_range=(min(ends), max(ends)),
            role=self.source.match.role,
            judge=judge if len(samples.fit) and options.precision in _SEARCHED else None,
            profile=self.wanted,
            size_budget=options.size_budget,
            progress=self.watch.inner,
        )

    def _speed(self, model: bytes, precision: str) -> tuple[list[Gate], dict[str, dict[str, float]]]:
        """(the gates of speed, medians in milliseconds by threads and model)."""
        from facegate_edge._targets import fits  # noqa: PLC0415

        title = "time of one run against the float32 model, in turns on this machine"
        instructions = _gates.instruction_gate(self.float32, model, precision, self.wanted)
        if not self.options.measure_latency:
            return [
                _gates.not_run("speed", title, "it was asked not to time the model (--no-latency)"),
                instructions,
            ], {}
        self.watch.step("measuring latency")
        models = {"float32": self.float32} | ({precision: model} if precision != "float32" else {})
        found = {threads: _measure.times(models, threads=threads, seconds=_TIMED) for threads in _THREADS}
        latency = {str(threads): _measure.medians(times) for threads, times in found.items()}
        if precision == "float32":
            return [], latency
        threads = min(max(self.wanted.threads, 1), max(_THREADS))
        here = bool(self.wanted.machine) and fits(self.wanted).verdict == "yes"
        gate = _gates.speed_gate(
            self.float32, model, precision, self.wanted, threads=threads, here=here, first=found[threads]
        )
        return [gate, instructions], latency

    def _operators(self, model: bytes) -> Any:
        """Where the time goes; why it is not known otherwise."""
        from facegate_convert import _profile  # noqa: PLC0415 - loads the engine's library

        if not self.options.measure_latency:
            return {"not_run": "it was asked not to time the model (--no-latency)"}
        try:
            return _profile.by_operator(self.float32, model)
        except MeasureError as error:
            return {"not_run": str(error)}


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


def _judged(judge: Judge, model: bytes, info: ModelInfo) -> tuple[Findings, ModelInfo]:
    from facegate_edge import make_engine  # noqa: PLC0415 - loads the engine's library

    with make_engine(model, threads=2) as engine:
        return judge(engine, info)


def _parity(exact: dict[str, Any], model: bytes, inputs: Any) -> Parity:
    outputs = _measure.run_engine(model, inputs)
    return {
        name: _measure.agreement(expected, outputs[name].reshape(len(inputs), -1)).as_dict()
        for name, expected in exact.items()
    }


def _parity_gate(parity: Parity, evidence: str) -> Gate:
    worst = max(parity, key=lambda name: parity[name]["error_max"])
    return _gates.level_gate(
        "parity",
        "largest error of the float32 model, relative to each output's range",
        parity[worst]["error_max"],
        MAX_DRIFT,
        unit="error",
        evidence=f"output {worst}, {evidence}",
        why=f"it differs from its source: output {worst}",
    )
