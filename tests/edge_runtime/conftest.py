"""Fixtures of the edge runtime's tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def converted(onnx_path):
    """A function: an ONNX file by `onnx_path` -> manifest entry and engine of its float32 conversion, made once."""
    for needed in ("onnx", "ai_edge_quantizer"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed} to convert models: pip install 'facegate[convert]'")
    from facegate_convert._convert import Options, convert  # noqa: PLC0415 - needs the packages checked above
    from facegate_edge import make_engine  # noqa: PLC0415

    made: dict[str, Any] = {}

    def get(name: str, *, engine: bool = True, **options: Any) -> Any:
        if name not in made:
            made[name] = convert(onnx_path(name), Options(measure_latency=False, **options))
        conversion = made[name]
        return (conversion.info, make_engine(conversion.model)) if engine else (conversion.info, conversion.model)

    return get
