"""The demo, as `make demo` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples/kiosk/demo.py"


def run_demo(cwd, **variables):
    """Run the demo in a folder of its own."""
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(DEMO)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_labelled_decision_is_right_and_nothing_biometric_is_written(shared, tmp_path):
    """Real models and photographs: all labelled decisions are right; bundles, a key and decisions reach the disk."""
    done = run_demo(tmp_path, MODELS=str(shared / "models"), FACES=str(shared / "faces"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "labelled decisions are right" in done.stdout
    assert '"outcome": "match"' in done.stdout
    for word in ("score", "similarity", "embedding"):
        assert word not in done.stdout.split("all that is in it:")[1]
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    names = ("decisions.jws", "detector.fgb", "door.fgb", "maker.key", "maker.key.pub", "recognizer.fgb")
    assert written == [f"demo-out/{name}" for name in names]
    assert (tmp_path / "demo-out/maker.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", ["MODELS", "FACES"])
def test_without_models_or_photographs_it_says_what_to_do(tmp_path, missing):
    """A missing folder is named, with what belongs into it and how to say where it is."""
    there = tmp_path / "there"
    there.mkdir()
    folders = {"MODELS": str(there), "FACES": str(there), missing: str(tmp_path / "absent")}
    done = run_demo(tmp_path, **folders)
    assert done.returncode != 0
    assert str(tmp_path / "absent") in done.stderr
    assert "make demo MODELS=" in done.stderr
    assert "Traceback" not in done.stderr
