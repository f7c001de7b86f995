"""The models behind a hosted server: a face's crop in, a feature out, through the pipeline that a device would run."""

from __future__ import annotations

import io
import queue
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facegate_convert._bundles import check_pipeline, draft
from facegate_edge.errors import FrameError, KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_convert._bundles import Model
    from facegate_edge import Frame, Pipeline
    from facegate_edge._manifest import Manifest

__all__ = ["Embedder", "Models", "with_margin"]

MARGIN = 0.25
"""Of a crop's longer side. The protocol's crop leaves a face 10 % of air; detectors were trained on faces with more
around them. Measured in docs/adr/0024-hosted-protocol.md."""


class Embedder(Protocol):
    """What a server needs of models."""

    def embed(self, name: str, png: bytes) -> npt.NDArray[np.float32] | None:
        """The feature of the largest face on a crop: float32 (D,), L2-normalised; None if there is none.

        Called from several threads at a time.
        """


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Source:
    """Models as a pipeline takes them."""

    manifest: Manifest
    models: dict[str, bytes]

    @classmethod
    def of(cls, models: Sequence[Model]) -> _Source:
        return cls(draft(models), {model.info.role: model.data for model in models})

    def model_bytes(self, role: str) -> bytes:
        return self.models[role]


class Models:
    """Models by the names under which they are served. Thread safe; a context manager.

    The feature is the template that a device would store and compare: int8 values, normalised. The cosine of two
    features is the similarity by which the device decides.

    Args:
        models: a detector and a recogniser for each name.
        workers: how many crops of one model are worked on at a time.

    Raises:
        BuildError, ModelError: models that do not fit together.
    """

    def __init__(self, models: Mapping[str, Sequence[Model]], *, workers: int = 1) -> None:
        from facegate_edge import Pipeline  # noqa: PLC0415 - the engine is loaded where it is used

        self.lengths: dict[str, int] = {}
        self._idle: dict[str, queue.SimpleQueue[Pipeline]] = {}
        with ExitStack() as stack:
            for name, parts in models.items():
                check_pipeline(parts)
                self._idle[name] = queue.SimpleQueue()
                source = _Source.of([part for part in parts if part.info.role != "liveness"])
                for _ in range(workers):
                    pipeline = stack.enter_context(Pipeline(source, threads=1, any_machine=True))
                    self._idle[name].put(pipeline)
                    self.lengths[name] = pipeline.template_length
            self._pipelines = stack.pop_all()

    def embed(self, name: str, png: bytes) -> npt.NDArray[np.float32] | None:
        """See `Embedder`.

        Raises:
            FrameError: the PNG cannot be decoded.
        """
        from facegate_edge import Frame, load_image  # noqa: PLC0415

        frame = load_image(io.BytesIO(png))
        frame = Frame(with_margin(frame.data), frame.format)
        pipeline = self._idle[name].get()
        try:
            return _feature(pipeline, frame)
        finally:
            self._idle[name].put(pipeline)

    def close(self) -> None:
        """Wipe and free the models' memory. Nothing may be embedding then."""
        self._pipelines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def with_margin(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A crop with its outermost pixels repeated all around, by a quarter of its longer side."""
    margin = round(max(pixels.shape[:2]) * MARGIN)
    sides = [(margin, margin), (margin, margin)] + [(0, 0)] * (pixels.ndim - 2)
    return np.ascontiguousarray(np.pad(pixels, sides, mode="edge"))


def _feature(pipeline: Pipeline, frame: Frame) -> npt.NDArray[np.float32] | None:
    faces = pipeline.detect(frame)
    if not faces:
        return None
    largest = max(faces, key=lambda f: float((f.box[2] - f.box[0]) * (f.box[3] - f.box[1])))
    try:
        template = pipeline.embed(frame, largest)
    except (FrameError, KernelError):  # a face that cannot be aligned
        return None
    values = template.data.astype(np.float64)
    template.wipe()
    feature: npt.NDArray[np.float32] = (values / np.linalg.norm(values)).astype(np.float32)
    return feature
