"""Build host only: ONNX face models in, TFLite models and bundles out. A device installs none of this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facegate_convert._graph import Graph, Node, Value, load_graph
    from facegate_convert._lower import LoweredModel, lower

__all__ = ["Graph", "LoweredModel", "Node", "Value", "load_graph", "lower"]

# Where each public name lives; nothing is imported before it is used.
_HOMES = {
    "Graph": "facegate_convert._graph",
    "LoweredModel": "facegate_convert._lower",
    "Node": "facegate_convert._graph",
    "Value": "facegate_convert._graph",
    "load_graph": "facegate_convert._graph",
    "lower": "facegate_convert._lower",
}


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
