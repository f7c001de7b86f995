"""The manifest entry of a converted model, and the id of the space that its templates live in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from facegate_edge._manifest import InputInfo, ModelInfo, ModelProvenance, RecognizerInfo
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from facegate_convert._families import Match
    from facegate_convert._source import Source


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


def model_info(model: bytes, source: Source, precision: str) -> ModelInfo:
    """The manifest entry of a model, but for what only a comparison can tell."""
    from facegate_edge import make_engine  # noqa: PLC0415 - loads the engine's library

    with make_engine(model) as engine:
        (tensor,) = engine.input_infos
        by_name = {info.name: info for info in engine.output_infos}
    match, options = source.match, source.options
    preprocessing = match.preprocessing
    recognizer = None
    if match.role == "recognizer":
        space = template_space(source.sha256, match, precision)
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
            source_sha256=source.sha256,
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
