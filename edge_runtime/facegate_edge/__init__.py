"""The edge runtime of Facegate: a verified bundle and a frame in, faces, templates and similarities out.

    from facegate_edge import Frame, Pipeline, open_bundle

    with open_bundle("terminal.fgb", trust=trust) as bundle, Pipeline(bundle) as pipeline:
        frame = Frame.open("photo.jpg")
        for face in pipeline.detect(frame):
            template = pipeline.embed(frame, face)

It knows no person, no database and no network. Names are loaded when they are first used: importing this package loads
neither numpy nor an engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from facegate_edge import _version, errors
from facegate_edge.errors import *  # noqa: F403 - its __all__ is part of ours

if TYPE_CHECKING:
    from facegate_edge._aligner import Aligner
    from facegate_edge._bundle import Bundle, open_bundle
    from facegate_edge._detector import Detector
    from facegate_edge._doctor import Check, Diagnosis, doctor
    from facegate_edge._embedder import Embedder
    from facegate_edge._engine import Engine, EngineChoice, EngineFactory, choose_engine, make_engine
    from facegate_edge._gallery import Candidate, Gallery, compare
    from facegate_edge._image import load_image
    from facegate_edge._keys import SigningKey, TrustStore, VerifyKey
    from facegate_edge._liveness import Liveness, LivenessScore
    from facegate_edge._machine import MachineFacts, this_machine
    from facegate_edge._manifest import (
        DetectorHead,
        DetectorInfo,
        InputInfo,
        LivenessInfo,
        Manifest,
        ModelInfo,
        ModelProvenance,
        OperatingPoint,
        Quantization,
        RecognizerInfo,
        TensorInfo,
    )
    from facegate_edge._pipeline import Pipeline
    from facegate_edge._quality import Quality, QualityGate
    from facegate_edge._targets import Fit, Target, fits, target, targets
    from facegate_edge._timings import Timings
    from facegate_edge._values import Face, Frame, PixelFormat, Template

_MODULES = {
    "_aligner": ("Aligner",),
    "_bundle": ("Bundle", "open_bundle"),
    "_detector": ("Detector",),
    "_doctor": ("Check", "Diagnosis", "doctor"),
    "_embedder": ("Embedder",),
    "_engine": ("Engine", "EngineChoice", "EngineFactory", "choose_engine", "make_engine"),
    "_gallery": ("Candidate", "Gallery", "compare"),
    "_image": ("load_image",),
    "_keys": ("SigningKey", "TrustStore", "VerifyKey"),
    "_liveness": ("Liveness", "LivenessScore"),
    "_machine": ("MachineFacts", "this_machine"),
    "_manifest": (
        "DetectorHead",
        "DetectorInfo",
        "InputInfo",
        "LivenessInfo",
        "Manifest",
        "ModelInfo",
        "ModelProvenance",
        "OperatingPoint",
        "Quantization",
        "RecognizerInfo",
        "TensorInfo",
    ),
    "_pipeline": ("Pipeline",),
    "_quality": ("Quality", "QualityGate"),
    "_targets": ("Fit", "Target", "fits", "target", "targets"),
    "_timings": ("Timings",),
    "_values": ("Face", "Frame", "PixelFormat", "Template"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__version__ = _version.VERSION

__all__ = [
    "Aligner",
    "Bundle",
    "Candidate",
    "Check",
    "Detector",
    "DetectorHead",
    "DetectorInfo",
    "Diagnosis",
    "Embedder",
    "Engine",
    "EngineChoice",
    "EngineFactory",
    "Face",
    "Fit",
    "Frame",
    "Gallery",
    "InputInfo",
    "Liveness",
    "LivenessInfo",
    "LivenessScore",
    "MachineFacts",
    "Manifest",
    "ModelInfo",
    "ModelProvenance",
    "OperatingPoint",
    "Pipeline",
    "PixelFormat",
    "Quality",
    "QualityGate",
    "Quantization",
    "RecognizerInfo",
    "SigningKey",
    "Target",
    "Template",
    "TensorInfo",
    "Timings",
    "TrustStore",
    "VerifyKey",
    "__version__",
    "choose_engine",
    "compare",
    "doctor",
    "fits",
    "load_image",
    "make_engine",
    "open_bundle",
    "target",
    "targets",
    "this_machine",
]
__all__ += errors.__all__


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
