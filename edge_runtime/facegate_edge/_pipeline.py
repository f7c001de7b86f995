"""The way of a frame through the models of one bundle."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from facegate_edge._aligner import Aligner
from facegate_edge._detector import Detector
from facegate_edge._embedder import Embedder
from facegate_edge._engine import choose_engine
from facegate_edge._liveness import Liveness
from facegate_edge._machine import this_machine
from facegate_edge._quality import QualityMeter
from facegate_edge._targets import check_fit
from facegate_edge._values import Face, Frame
from facegate_edge.errors import EngineError, KernelError, ModelError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate_edge._engine import Engine
    from facegate_edge._liveness import LivenessScore
    from facegate_edge._manifest import Manifest, ModelInfo
    from facegate_edge._quality import Quality
    from facegate_edge._timings import Timings
    from facegate_edge._values import Template


class ModelSource(Protocol):
    """What a pipeline needs of a bundle: an opened `Bundle`, or the converter's models before they are bundled."""

    @property
    def manifest(self) -> Manifest:
        """What the models are."""

    def model_bytes(self, role: str) -> Any:
        """The verified bytes of a model; they stay where they are until the pipeline is closed."""


class Pipeline:
    """Detects, measures, embeds and judges the faces of frames. Not thread safe: make one a thread.

    Args:
        bundle: an opened bundle; it stays the caller's to close, after the pipeline.
        threads: CPU threads for each model.
        engine: "litert" or "tflite" to force one; None chooses (see `choose_engine`).
        score_threshold: the detector's, 0..1; the manifest's if None.
        timings: records where the time goes; None records nothing.
        any_machine: also run a bundle that was built for another kind of machine: for who builds and measures it.

    Attributes:
        manifest: of the bundle.
        fit: how this machine fits what the bundle was built for; if "warn", it runs, but not as it was measured.
        engine: the engine that was chosen, "litert" or "tflite".
        space: id of the template space.
        template_length: D.
        has_liveness: whether the bundle has a liveness model.

    Raises:
        TargetError: the bundle was built for another kind of machine.
        ModelError: a model is missing, is not what the manifest says, or the models do not fit together.
        EngineUnavailableError: no engine can be used here.
        EngineError: the engine refuses a model.
    """

    def __init__(
        self,
        bundle: ModelSource,
        *,
        threads: int = 1,
        engine: str | None = None,
        score_threshold: float | None = None,
        timings: Timings | None = None,
        any_machine: bool = False,
    ) -> None:
        self.manifest = bundle.manifest
        self.fit = check_fit(self.manifest.target, any_machine=any_machine)
        self.timings = timings
        choice = choose_engine(engine)
        self.engine = choice.name
        infos = {role: self._info(role) for role in ("detector", "recognizer")}
        liveness = self.manifest.model("liveness")
        self.has_liveness = liveness is not None
        with ExitStack() as stack:

            def compiled(role: str) -> Engine:
                # Only asked for if it is wanted: not every maker of engines knows of it.
                half = {"float16": True} if self._float16(role) else {}
                made = choice.factory(bundle.model_bytes(role), threads=threads, **half)
                stack.callback(made.close)
                stack.callback(_wipe, made)
                return made

            self._detector_engine = compiled("detector")
            self._detector = Detector(infos["detector"], self._detector_engine, score_threshold=score_threshold)
            if not self._detector.has_landmarks:
                raise ModelError(
                    "the bundle's detector gives no landmarks, so its recogniser cannot be fed",
                    hint="bundle a detector that gives five landmarks",
                )
            self._recognizer_engine = compiled("recognizer")
            info = infos["recognizer"]
            self._embedder = Embedder(info, self._recognizer_engine)
            self._aligner = Aligner(info, self._recognizer_engine.inputs[info.input.tensor.name])
            self._meter = QualityMeter(self._aligner.luma)
            self._liveness = Liveness(liveness, compiled("liveness")) if liveness is not None else None
            self._engines = stack.pop_all()
        self.space = self._embedder.space
        self.template_length = self._embedder.length
        # The face whose pixels stand in the recogniser's input: measuring and then embedding it warps once.
        self._aligned: tuple[Frame, Face] | None = None
        self._closed = False

    def _float16(self, role: str) -> bool:
        """Whether a model is calculated in float16: it was measured so, and this machine can."""
        info = self.manifest.model(role)
        return info is not None and info.arithmetic == "float16" and "fp16" in this_machine().features

    def _info(self, role: str) -> ModelInfo:
        info = self.manifest.model(role)
        if info is None:
            raise ModelError(f"the bundle has no {role}", hint="a pipeline needs a detector and a recognizer")
        return info

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame, highest score first, in pixels of the upright frame.

        Raises:
            KernelError: the frame is larger than 16384 pixels on a side.
            EngineError: the model failed to run, or the pipeline is closed.
        """
        self._check_open()
        self._aligned = None
        return self._detector.detect(frame, self.timings)

    def measure(self, frame: Frame, face: Face) -> Quality:
        """The quality of a face of the frame; a face that cannot be aligned has NaN where its pixels are measured.

        Raises:
            EngineError: the pipeline is closed.
        """
        timings = self.timings
        try:
            self._align(frame, face, luma=True)
            aligned = True
        except (KernelError, ModelError):
            aligned = False
        if timings is not None:
            timings.mark()
        quality = self._meter.measure(face, aligned=aligned)
        if timings is not None:
            timings.lap("measure")
        return quality

    def embed(self, frame: Frame, face: Face) -> Template:
        """The template of a face of the frame. A face that was just measured is not warped again.

        Raises:
            ModelError: the face has no landmarks.
            KernelError: the landmarks determine no alignment, or the model gave no direction.
            EngineError: the model failed to run, or the pipeline is closed.
        """
        aligned = self._aligned
        if aligned is None or aligned[0] is not frame or aligned[1] is not face:
            self._align(frame, face, luma=False)
        self._aligned = None
        return self._embedder.embed(self.timings)

    def _align(self, frame: Frame, face: Face, *, luma: bool) -> None:
        self._check_open()
        timings = self.timings
        self._aligned = None
        if timings is not None:
            timings.mark()
        self._aligner.align(frame, face, luma=luma)
        if timings is not None:
            timings.lap("align")
        self._aligned = (frame, face)

    def liveness(self, frame: Frame, face: Face) -> LivenessScore:
        """Whether the face is a live one.

        Raises:
            ModelError: the bundle has no liveness model.
            KernelError: the face's box is empty.
            EngineError: the model failed to run, or the pipeline is closed.
        """
        if self._liveness is None:
            raise ModelError("the bundle has no liveness model", hint="ask `has_liveness` first, or bundle one")
        self._check_open()
        return self._liveness.check(frame, face, self.timings)

    def warm_up(self, width: int = 640, height: int = 480) -> None:
        """Run everything once on a black frame, so that the first real frame takes no longer than the next."""
        frame = Frame(np.zeros((height, width, 3), np.uint8))
        side = min(width, height) / 2
        x, y = (width - side) / 2, (height - side) / 2
        # A frontal face in the middle: eyes, nose and mouth where they are in most boxes.
        points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + (x, y)
        face = Face(np.array([x, y, x + side, y + side], np.float32), points.astype(np.float32), 1.0)
        timings, self.timings = self.timings, None
        try:
            self.detect(frame)
            self.measure(frame, face)
            self._recognizer_engine.run()
            if self._liveness is not None:
                self.liveness(frame, face)
        finally:
            self._aligned = None
            self.timings = timings

    def _check_open(self) -> None:
        if self._closed:  # and its memory wiped: no face must come into it again
            raise EngineError("the pipeline is closed", hint="make a new one")

    def close(self) -> None:
        """Wipe and free the engines' memory; a second call does nothing. Faces, templates and measures stay good."""
        self._closed = True
        self._aligned = None
        self._aligner.luma.fill(0)
        self._engines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Pipeline({self.manifest.name} {self.manifest.version}, {self.engine})"


def _wipe(engine: Engine) -> None:
    """Leave no face and no embedding in an engine's tensors."""
    for array in (*engine.inputs.values(), *engine.outputs.values()):
        array.fill(0)
