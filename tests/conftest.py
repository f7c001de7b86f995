"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time: a red run can be repeated, and a green one is not luck.
settings.register_profile("facegate", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("facegate")


def _shared() -> Path | None:
    """The folder with real models and photographs, which is not part of the project."""
    named = os.environ.get("FACEGATE_SHARED")
    candidates = [Path(named)] if named else [parent / "shared" for parent in Path(__file__).resolve().parents[1:3]]
    return next((c for c in candidates if (c / "models").is_dir() and (c / "faces").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real ONNX models (models/) and photographs (faces/); skips where they are absent."""
    found = _shared()
    if found is None:
        pytest.skip("needs real models and photographs: put them in ../shared or name the folder in FACEGATE_SHARED")
    return found
