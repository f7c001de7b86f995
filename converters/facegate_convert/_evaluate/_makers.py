"""What becomes of a photograph's face: a template of the bundle's own pipeline, or a hosted model's feature."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._cache import QUALITY
from facegate_edge import Pipeline
from facegate_edge._detector import Detector
from facegate_edge._engine import make_engine
from facegate_edge._manifest_json import parse_manifest

if TYPE_CHECKING:
    from facegate_edge._manifest import Manifest
    from facegate_edge._values import Face, Frame

NOTHING = (math.nan,) * len(QUALITY)

Made = tuple[str, bytes, tuple[float, ...], float]
"""(status, template bytes, measures as `QUALITY`, live 0..1)"""


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Models as a pipeline takes them: a manifest, and bytes that the parent process has verified."""

    manifest: Manifest
    models: dict[str, bytes]

    def model_bytes(self, role: str) -> bytes:
        """The bytes of a role's model."""
        return self.models[role]


class FilesMaker:
    """Looks at no face: it is enough that a photograph can be opened."""

    policy = ""


class LocalMaker:
    """Runs the pipeline that a device runs.

    Args:
        config: `manifest` (JSON), `faces` (the policy), `want` ("template" or "liveness"), `engine`.
        models: by role.
    """

    def __init__(self, config: dict[str, Any], models: dict[str, bytes]) -> None:
        self.policy = config["faces"]
        self._live = config["want"] == "liveness"
        source = Models(parse_manifest(config["manifest"].encode()), models)
        # An evaluation says how well models tell people apart, which they do alike on every machine.
        self._pipeline = Pipeline(source, threads=1, engine=config["engine"], any_machine=True)

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame."""
        return self._pipeline.detect(frame)

    def look_at(self, frame: Frame, face: Face) -> Made:
        """Measure a face, and embed it or judge whether it is live."""
        if self._live:
            return "ok", b"", NOTHING, self._pipeline.liveness(frame, face).live
        measured = self._pipeline.measure(frame, face)
        quality = tuple(float(getattr(measured, name)) for name in QUALITY)
        return "ok", self._pipeline.embed(frame, face).data.tobytes(), quality, math.nan


class HostedMaker:
    """Finds the face here, and asks a hosted model for its feature.

    Args:
        config: `manifest` (JSON, of a detector at least), `faces`, `url`, `model_name`, `token`.
        models: the detector.
    """

    def __init__(self, config: dict[str, Any], models: dict[str, bytes]) -> None:
        from facegate_convert._hosted._client import FeatureClient  # noqa: PLC0415 - only for hosted models

        self.policy = config["faces"]
        info = parse_manifest(config["manifest"].encode()).model("detector")
        assert info is not None  # noqa: S101 - the parent process has looked
        self._stack = contextlib.ExitStack()
        engine = self._stack.enter_context(contextlib.closing(make_engine(models["detector"], threads=1)))
        self._detector = Detector(info, engine)
        self._client = FeatureClient(config["url"], config["model_name"], token=config["token"])

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame."""
        return self._detector.detect(frame)

    def look_at(self, frame: Frame, face: Face) -> Made:
        """Crop a face as the protocol says, and ask for its feature."""
        import numpy as np  # noqa: PLC0415 - loaded by then

        from facegate_convert._hosted._crop import crop_face, encode_png, upright_rgb  # noqa: PLC0415

        feature = self._client.features(encode_png(crop_face(upright_rgb(frame), face.box)))
        if feature is None:
            return "no_feature", b"", NOTHING, math.nan
        return "ok", np.ascontiguousarray(feature, "<f4").tobytes(), NOTHING, math.nan


def choose(faces: tuple[Face, ...], frame: Frame, policy: str) -> Face | None:
    """The face that a photograph is of: the largest, the most central, or none if there are several ("refuse")."""
    if not faces or (policy == "refuse" and len(faces) > 1):
        return None
    if policy == "central":
        width, height = frame.size

        def away(face: Face) -> float:
            x1, y1, x2, y2 = face.box.tolist()
            return float(((x1 + x2 - width) / width) ** 2 + ((y1 + y2 - height) / height) ** 2)

        return min(faces, key=away)
    return max(faces, key=lambda f: float((f.box[2] - f.box[0]) * (f.box[3] - f.box[1])))
