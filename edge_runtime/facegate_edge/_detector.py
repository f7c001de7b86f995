"""Faces in a frame: letterbox, run, decode, suppress, map back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_edge import _kernels
from facegate_edge._model import check_model, input_target, output_tensor
from facegate_edge._values import Face
from facegate_edge.errors import ModelError

if TYPE_CHECKING:
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import DetectorHead, DetectorInfo, ModelInfo
    from facegate_edge._timings import Timings
    from facegate_edge._values import Frame

    Head = _kernels.ScrfdHead | _kernels.YunetHead | _kernels.RetinafaceHead

CAPACITY = 512


class Detector:
    """Finds the faces of a frame with a model of a detector family (SCRFD, RetinaFace, YuNet).

    Args:
        info: the model as the manifest describes it.
        engine: the same model, compiled. It stays the caller's to close.
        score_threshold: faces of a lower score are dropped, 0..1; the manifest's if None.
        nms_iou: of two faces that overlap more than this (intersection over union, 0..1) the lower-scoring one is
            dropped; the manifest's if None.

    Attributes:
        has_landmarks: whether faces come with landmarks, without which they cannot be aligned.

    Raises:
        ModelError: the model is not what `info` says, or a threshold is not in 0..1.
    """

    def __init__(
        self, info: ModelInfo, engine: Engine, *, score_threshold: float | None = None, nms_iou: float | None = None
    ) -> None:
        check_model(info, engine, "detector")
        detector = info.detector
        if detector is None:
            raise ModelError("a detector without its decoding", hint="build the bundle again")
        self.score_threshold = detector.score_threshold if score_threshold is None else score_threshold
        self.nms_iou = detector.nms_iou if nms_iou is None else nms_iou
        for name, value in (("score threshold", self.score_threshold), ("overlap", self.nms_iou)):
            if not 0 <= value <= 1:
                raise ModelError(f"a {name} of {value}", hint="it is in 0..1")
        self.has_landmarks = all(head.landmarks is not None for head in detector.heads)
        self._engine = engine
        target = input_target(info.input, engine.inputs[info.input.tensor.name])
        self._letterbox = _kernels.Letterbox(target)
        self._heads = tuple(_head(info, detector, head, engine, target) for head in detector.heads)
        self._faces = _kernels.Faces(CAPACITY)

    def preprocess(self, frame: Frame) -> float:
        """Fill the engine's input: the upright frame letterboxed and quantised. Returns the scale frame to input.

        `detect` does this itself; the converter calibrates with it.
        """
        return self._letterbox.run(frame)

    def detect(self, frame: Frame, timings: Timings | None = None) -> tuple[Face, ...]:
        """The faces, highest score first, in pixels of the upright frame.

        Raises:
            KernelError: the frame is larger than 16384 pixels on a side.
            EngineError: the model failed to run.
        """
        if timings is not None:
            timings.mark()
        scale = self._letterbox.run(frame)
        if timings is not None:
            timings.lap("preprocess")
        return self.read(scale, timings)

    def read(self, scale: float = 1.0, timings: Timings | None = None) -> tuple[Face, ...]:
        """The faces of what stands in the engine's input; `detect` without its first step.

        Args:
            scale: from the frame to the input, as `preprocess` returned it; 1 gives pixels of the input.
            timings: records where the time goes.

        Raises:
            EngineError: the model failed to run.
        """
        self._engine.run()
        if timings is not None:
            timings.lap("detect")
        faces = self._faces
        faces.clear()
        for head in self._heads:
            head.decode(faces, self.score_threshold)
        found: tuple[Face, ...] = ()
        if len(faces) and faces.nms(self.nms_iou):
            faces.scale(1 / scale)
            found = self._values()
        if timings is not None:
            timings.lap("decode")
        return found

    def _values(self) -> tuple[Face, ...]:
        """The decoded faces as values of their own: one copy for all, which their arrays look into."""
        records = self._faces.records.copy()
        boxes, points, scores = records["box"], records["landmarks"], records["score"].tolist()
        # Tuples from lists: one from a generator is made too long and cut, and Python keeps up to 2000 of the cut ones.
        if not self.has_landmarks:
            return tuple([Face(boxes[i], None, score) for i, score in enumerate(scores)])
        return tuple([Face(boxes[i], points[i], score) for i, score in enumerate(scores)])


def _head(info: ModelInfo, detector: DetectorInfo, head: DetectorHead, engine: Engine, target: _kernels.Target) -> Head:
    """The decoder of one head."""

    def tensor(name: str) -> _kernels.Tensor:
        return output_tensor(info, engine, name)

    width, height = target.width, target.height
    score, box = tensor(head.score), tensor(head.box)
    landmarks = None if head.landmarks is None else tensor(head.landmarks)
    if info.family == "scrfd":
        return _kernels.ScrfdHead(
            score, box, landmarks, width=width, height=height, stride=head.stride, anchors=detector.anchors
        )
    if info.family == "yunet":
        if head.objectness is None:
            raise ModelError("a YuNet head without objectness", hint="build the bundle again")
        return _kernels.YunetHead(
            score, tensor(head.objectness), box, landmarks, width=width, height=height, stride=head.stride
        )
    if info.family == "retinaface":
        return _kernels.RetinafaceHead(
            score,
            box,
            landmarks,
            width=width,
            height=height,
            strides=detector.strides,
            min_sizes=detector.min_sizes,
            variances=detector.variances,
        )
    raise ModelError(f"this runtime decodes no detector of the family {info.family!r}", hint="upgrade facegate")
