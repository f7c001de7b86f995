"""One look at a frame for two questions: is somebody there, and who is it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate import Frame
    from facegate_edge import Face, LivenessScore, Pipeline, Quality, Template

__all__ = ["Eyes"]


class Eyes:
    """A gate's pipeline that remembers the faces of the frame before it: a frame is searched once. Not thread safe.

    Presence is looked for with the gate's own detector, frame by frame; a trial then decides about the same frame, and
    would search it again.

    Args:
        pipeline: the models; closed with the eyes.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._seen: tuple[Frame, tuple[Face, ...]] | None = None
        self.space = pipeline.space
        self.template_length = pipeline.template_length
        self.has_liveness = pipeline.has_liveness

    def look(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a new frame; remembered until `forget`, or the next frame. Raises EngineError."""
        self.forget()
        faces = self._pipeline.detect(frame)
        self._seen = (frame, faces)
        return faces

    def forget(self) -> None:
        """The frame is over. Cameras use the memory of a frame, and the Frame, again: so this must be said."""
        self._seen = None

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame."""
        seen = self._seen
        return seen[1] if seen is not None and seen[0] is frame else self._pipeline.detect(frame)

    def measure(self, frame: Frame, face: Face) -> Quality:
        """A face's quality."""
        return self._pipeline.measure(frame, face)

    def embed(self, frame: Frame, face: Face) -> Template:
        """A face's template."""
        return self._pipeline.embed(frame, face)

    def liveness(self, frame: Frame, face: Face) -> LivenessScore:
        """Whether a face is live."""
        return self._pipeline.liveness(frame, face)

    def close(self) -> None:
        """Wipe and free the models' memory."""
        self.forget()
        self._pipeline.close()
