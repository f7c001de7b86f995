"""Build host only: ONNX face models in, TFLite models and bundles out. A device installs none of this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facegate_convert._bundle_writer import sign_bundle, write_bundle
    from facegate_convert._bundles import Model, build, load_models, save
    from facegate_convert._comparisons import Comparisons, read_identities, read_pairs
    from facegate_convert._convert import Conversion, Options, convert
    from facegate_convert._evaluate import Dataset, Evaluation, load_evaluation, read_dataset
    from facegate_convert._families import Match, recognize
    from facegate_convert._graph import Graph, Node, Value, load_graph
    from facegate_convert._hosted._client import FeatureClient
    from facegate_convert._hosted._crop import crop_face, encode_png
    from facegate_convert._lower import LoweredModel, lower
    from facegate_convert._operating_point import Similarities, compare, operating_points
    from facegate_convert._pipeline import embedder
    from facegate_convert._report import Report

__all__ = [
    "Comparisons",
    "Conversion",
    "Dataset",
    "Evaluation",
    "FeatureClient",
    "Graph",
    "LoweredModel",
    "Match",
    "Model",
    "Node",
    "Options",
    "Report",
    "Similarities",
    "Value",
    "build",
    "compare",
    "convert",
    "crop_face",
    "embedder",
    "encode_png",
    "load_evaluation",
    "load_graph",
    "load_models",
    "lower",
    "operating_points",
    "read_dataset",
    "read_identities",
    "read_pairs",
    "recognize",
    "save",
    "sign_bundle",
    "write_bundle",
]

# Where each public name lives; nothing is imported before it is used.
_MODULES = {
    "_bundle_writer": ("sign_bundle", "write_bundle"),
    "_bundles": ("Model", "build", "load_models", "save"),
    "_comparisons": ("Comparisons", "read_identities", "read_pairs"),
    "_convert": ("Conversion", "Options", "convert"),
    "_evaluate": ("Dataset", "Evaluation", "load_evaluation", "read_dataset"),
    "_families": ("Match", "recognize"),
    "_graph": ("Graph", "Node", "Value", "load_graph"),
    "_hosted._client": ("FeatureClient",),
    "_hosted._crop": ("crop_face", "encode_png"),
    "_lower": ("LoweredModel", "lower"),
    "_operating_point": ("Similarities", "compare", "operating_points"),
    "_pipeline": ("embedder",),
    "_report": ("Report",),
}
_HOMES = {name: f"facegate_convert.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is used

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
