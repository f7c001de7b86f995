"""What the tests of whole gates share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facegate import SigningKey
from facegate_convert._bundle_writer import write_bundle

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def failing_io(tmp_path_factory) -> Path:
    """failing_io.c as a library for LD_PRELOAD; skips where it cannot be made."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler (and Linux) to make the library that lets files fail")
    library = tmp_path_factory.mktemp("failing_io") / "failing_io.so"
    flags = ["-std=c11", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(  # noqa: S603 - our own source
        [compiler, *flags, str(HERE / "failing_io.c"), "-o", str(library), "-ldl", "-pthread"], check=True
    )
    return library


@pytest.fixture(scope="session")
def crash_script(failing_io):
    """A function: module of crash/, arguments -> the finished process, with files that can fail."""

    def run(module: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-m", f"crash.{module}", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "LD_PRELOAD": str(failing_io), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory, make_manifest, model_bytes) -> Path:
    """A signed bundle; nobody runs its models."""
    path = tmp_path_factory.mktemp("bundle") / "all.fgb"
    write_bundle(path, make_manifest(*model_bytes), model_bytes, SigningKey.from_seed(bytes(range(32))))
    return path
