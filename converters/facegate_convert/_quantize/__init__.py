"""Quantising: from a float32 model to one of less precision that decides the same."""

from facegate_convert._quantize._candidate import Candidate, LayerError, Score, Search
from facegate_convert._quantize._equalize import equalize
from facegate_convert._quantize._quantizer import (
    MIN_CALIBRATION_INPUTS,
    RANGES,
    Ranges,
    measure_ranges,
    quantize_dynamic,
    quantize_float16,
    quantize_static,
)
from facegate_convert._quantize._recipe import CALIBRATIONS, CHOICES, PRECISIONS, Recipe
from facegate_convert._quantize._search import quantize, search

__all__ = [
    "CALIBRATIONS",
    "CHOICES",
    "MIN_CALIBRATION_INPUTS",
    "PRECISIONS",
    "RANGES",
    "Candidate",
    "LayerError",
    "Ranges",
    "Recipe",
    "Score",
    "Search",
    "equalize",
    "measure_ranges",
    "quantize",
    "quantize_dynamic",
    "quantize_float16",
    "quantize_static",
    "search",
]
