"""Canonical graphs as TFLite models."""

from facegate_convert._lower._lower import lower
from facegate_convert._lower._model import LoweredModel

__all__ = ["LoweredModel", "lower"]
