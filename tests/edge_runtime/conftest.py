"""Fixtures of the edge runtime's tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Helpers beside the tests (tiny_model, reference_decode, ...) are imported by name.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny():
    """The module that writes small TFLite models; skips where its schema is not installed."""
    for needed in ("ai_edge_litert", "flatbuffers"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed} to write models: pip install 'facegate[dev]'")
    import tiny_model  # noqa: PLC0415 - needs the packages checked above

    return tiny_model
