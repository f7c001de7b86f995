"""The models run as a device runs them, over cached pictures."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._figures import Found, Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from facegate_edge._manifest import ModelInfo
    from facegate_train._cache import Cache

    Progress = Callable[[str, int, int], None]

LOWEST_SCORE = 0.05
_SMALLEST_CROP = 80


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Converted:
    """A model as it goes to a device."""

    info: ModelInfo
    data: bytes


def convert(path: Path, precision: str, calibration: Path | None) -> tuple[Converted, dict[str, Any]]:
    """Convert an ONNX file with no flags but the precision; with the report's figures that a card shows.

    Raises:
        ConvertError: it cannot be converted, or the result differs from the source.
    """
    from facegate_convert._convert import Options  # noqa: PLC0415 - loads onnx
    from facegate_convert._convert import convert as run  # noqa: PLC0415

    options = Options(
        precision=precision,
        calibration=calibration,
        licence="Apache-2.0",
        commercial_use=True,
        measure_latency=False,
    )
    result = run(path, options)
    facts = {"bytes": len(result.model), "partitions": result.report.partitions, "parity": result.report.parity}
    return Converted(result.info, result.model), facts


@contextlib.contextmanager
def _engine(model: Converted, threads: int) -> Iterator[Any]:
    from facegate_edge import make_engine  # noqa: PLC0415 - loads the engine's library

    with make_engine(model.data, threads=threads) as engine:
        yield engine


def detections(
    model: Converted, cache: Cache, *, threads: int = 2, limit: int | None = None, progress: Progress | None = None
) -> list[Found]:
    """What the detector finds in each frame, down to `LOWEST_SCORE`, beside the truth."""
    from facegate_edge import Detector, Frame  # noqa: PLC0415

    boxes, landmarks, facts = (cache.all(field) for field in ("boxes", "landmarks", "facts"))
    found = []
    count = min(limit or len(cache), len(cache))
    with _engine(model, threads) as engine:
        detector = Detector(model.info, engine, score_threshold=LOWEST_SCORE)
        for number in range(count):
            faces = detector.detect(Frame(np.ascontiguousarray(cache.get("pixels", number))))
            real = np.isfinite(boxes[number][:, 0])
            found.append(
                Found(
                    np.array([f.score for f in faces], np.float32),
                    np.array([f.box for f in faces], np.float32).reshape(-1, 4),
                    np.array([f.landmarks for f in faces], np.float32).reshape(-1, 5, 2),
                    boxes[number][real],
                    landmarks[number][real],
                    facts[number][real, 0],
                    facts[number][real, 1],
                )
            )
            if progress and number % 50 == 0:
                progress("detecting", number, count)
    return found


def found_landmarks(model: Converted, cache: Cache, threshold: float, *, threads: int = 2) -> npt.NDArray[np.float32]:
    """The landmarks (N, 5, 2) of the largest face that the detector finds in each portrait, NaN where it finds none."""
    from facegate_edge import Detector, Frame  # noqa: PLC0415

    points = np.full((len(cache), 5, 2), np.nan, np.float32)
    with _engine(model, threads) as engine:
        detector = Detector(model.info, engine, score_threshold=threshold)
        for number in range(len(cache)):
            faces = detector.detect(Frame(np.ascontiguousarray(cache.get("pixels", number))))
            if faces:
                largest = max(faces, key=lambda f: float((f.box[2] - f.box[0]) * (f.box[3] - f.box[1])))
                points[number] = largest.landmarks
    return points


def templates(
    model: Converted,
    cache: Cache,
    landmarks: npt.NDArray[np.float32],
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> Templates:
    """The template of each portrait, aligned by the given landmarks (N, 5, 2)."""
    from facegate_edge import Aligner, Embedder, Face, Frame  # noqa: PLC0415

    vectors = []
    box = np.zeros(4, np.float32)
    with _engine(model, threads) as engine:
        aligner = Aligner(model.info, engine.inputs[model.info.input.tensor.name])
        embedder = Embedder(model.info, engine)
        for number in range(len(cache)):
            if not np.isfinite(landmarks[number]).all():
                vectors.append(np.zeros(embedder.length, np.float32))
                continue
            face = Face(box, np.ascontiguousarray(landmarks[number]), 1.0)
            aligner.align(Frame(np.ascontiguousarray(cache.get("pixels", number))), face)
            vector = embedder.embed().data.astype(np.float32)
            vectors.append(vector / np.linalg.norm(vector))
            if progress and number % 200 == 0:
                progress("embedding", number, len(cache))
    return Templates(np.stack(vectors), cache.all("identity"), cache.all("monk"))


def live_scores(model: Converted, cache: Cache, *, threads: int = 2) -> npt.NDArray[np.float32]:
    """The probability of being live of each sample's second crop: that around a box with a detector's error."""
    from facegate_edge import Face, Frame, Liveness  # noqa: PLC0415

    # A box as large as the frame: the crop is the frame, and the runtime's own class does the rest.
    face = Face(np.array([0, 0, _SMALLEST_CROP, _SMALLEST_CROP], np.float32), None, 1.0)
    scores = np.zeros(len(cache), np.float32)
    with _engine(model, threads) as engine:
        liveness = Liveness(model.info, engine)
        for number in range(len(cache)):
            frame = Frame(np.ascontiguousarray(cache.get("pixels", number)[1]))
            scores[number] = liveness.check(frame, face).live
    return scores
