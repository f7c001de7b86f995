"""From a frame to what may be compared: faces, quality, liveness, template; in this order, and no further than needed.

Recognizing and enrolling look at frames through the same eyes, so that nobody is enrolled with a picture that would not
be recognised, and no picture is recognised that would not be enrolled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from facegate.errors import FrameError
from facegate_edge._values import Frame

if TYPE_CHECKING:
    from facegate._decision import Liveness, Reason
    from facegate._policy import Policy
    from facegate._store._store import Store
    from facegate_edge._liveness import LivenessScore
    from facegate_edge._quality import Quality
    from facegate_edge._values import Face, Template

__all__ = ["Examiner", "GatePipeline", "Probe"]


class GatePipeline(Protocol):
    """What a gate asks of a pipeline; `facegate_edge.Pipeline` is one."""

    space: str
    template_length: int
    has_liveness: bool

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame."""

    def measure(self, frame: Frame, face: Face) -> Quality:
        """A face's quality."""

    def embed(self, frame: Frame, face: Face) -> Template:
        """A face's template."""

    def liveness(self, frame: Frame, face: Face) -> LivenessScore:
        """Whether a face is live."""

    def close(self) -> None:
        """Free it."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Probe:
    """A face that may be compared, or the reason why not.

    Attributes:
        reason: why it may not; None if it may.
        liveness: what the check said.
        template: in the gate's own (rotated) space; None if there is a reason. Whoever has it wipes it.
        several: whether the frame shows other faces as well.
    """

    reason: Reason | None
    liveness: Liveness = "not_checked"
    template: Template | None = None
    several: bool = False

    def wipe(self) -> None:
        """Overwrite the template."""
        if self.template is not None:
            self.template.wipe()


class Examiner:
    """Looks at frames by the rules of a policy. Not thread safe: the gate's lock guards it, as it does the pipeline.

    Args:
        pipeline: the models.
        policy: the rules.
        store: whose secret rotation templates go through.
    """

    def __init__(self, pipeline: GatePipeline, policy: Policy, store: Store) -> None:
        self._pipeline = pipeline
        self._policy = policy
        self._store = store

    def one(self, frame: Frame) -> Probe:
        """The one face of a frame that may be compared; what comes first in this module's order is the reason.

        Raises:
            FrameError: it is no Frame.
            EngineError: a model failed to run.
        """
        faces = self._detect(frame)
        if not faces:
            return Probe("no_face")
        if len(faces) > 1 and self._policy.one_face_only:
            return Probe("several_faces", several=True)
        return self._probe(frame, max(faces, key=_area), several=len(faces) > 1)

    def every(self, frame: Frame) -> list[tuple[Face, Probe]]:
        """All faces of a frame, each on its own. Raises as `one` does."""
        faces = self._detect(frame)
        found: list[tuple[Face, Probe]] = []
        try:
            for face in faces:
                found.append((face, self._probe(frame, face, several=len(faces) > 1)))  # noqa: PERF401 - see except
        except BaseException:
            for _, probe in found:
                probe.wipe()
            raise
        return found

    def _detect(self, frame: Frame) -> tuple[Face, ...]:
        if not isinstance(frame, Frame):
            raise FrameError("a gate looks at a Frame", hint="load_image makes one of a file")
        return self._pipeline.detect(frame)

    def _probe(self, frame: Frame, face: Face, *, several: bool) -> Probe:
        if self._policy.quality.reasons(self._pipeline.measure(frame, face)):
            return Probe("low_quality", several=several)
        liveness: Liveness = "not_checked"
        if self._policy.require_liveness:
            liveness = self._judge(self._pipeline.liveness(frame, face).live)
            if liveness == "spoof":
                # Before the comparison: an attack learns nothing about how similar it is.
                return Probe("liveness_spoof", liveness, several=several)
        plain = self._pipeline.embed(frame, face)
        try:
            return Probe(None, liveness, self._store.rotation.apply(plain), several)
        finally:
            plain.wipe()  # outside the pipeline there are rotated templates only

    def _judge(self, live: float) -> Liveness:
        policy = self._policy
        if policy.live_at is not None and live >= policy.live_at:
            return "live"
        # NaN, which no model should give, is neither and ends here as an attack.
        return "uncertain" if policy.spoof_at is not None and live > policy.spoof_at else "spoof"


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box.tolist()
    return float((x2 - x1) * (y2 - y1))
