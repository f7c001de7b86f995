"""onnxruntime reports to its maker unless it is told not to; the converter tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = (
    "import facegate_convert, pathlib; model = pathlib.Path(facegate_convert.__path__[0], 'reference/liveness.onnx')"
)


@pytest.mark.parametrize(
    "use",
    [
        "from facegate_convert import _onnxruntime as o; o.session(model)",
        (
            "from facegate_convert._measure import run_onnx; import numpy as np; "
            "run_onnx(model, [np.zeros((1, 80, 80, 3), np.float32)], channels_first=True)"
        ),
        "import facegate.cli; assert facegate.cli.main(['convert', str(model), '--dry-run', '--no-latency']) == 0",
    ],
    ids=["a session", "a measurement", "a conversion"],
)
def test_nothing_is_kept_for_the_makers_of_onnxruntime(use: str, tmp_path: Path) -> None:
    """Neither an identifier of the machine nor a queue of events is left in the home or temporary folder."""
    folders = {name: str(tmp_path / name) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    for folder in folders.values():
        Path(folder).mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | folders
    subprocess.run([sys.executable, "-c", f"{REFERENCE}; {use}"], env=environment, check=True, cwd=tmp_path)  # noqa: S603
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
