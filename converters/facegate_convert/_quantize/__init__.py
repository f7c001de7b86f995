"""Quantising: from a float32 model to one of less precision that decides the same."""

from facegate_convert._quantize._equalize import equalize
from facegate_convert._quantize._quantizer import (
    MIN_CALIBRATION_INPUTS,
    PRECISIONS,
    RANGES,
    Ranges,
    measure_ranges,
    quantize_dynamic,
    quantize_static,
)

__all__ = [
    "MIN_CALIBRATION_INPUTS",
    "PRECISIONS",
    "RANGES",
    "Ranges",
    "equalize",
    "measure_ranges",
    "quantize_dynamic",
    "quantize_static",
]
