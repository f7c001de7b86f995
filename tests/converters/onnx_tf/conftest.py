"""Fixtures of `--via onnx-tf`: sources, programs that stand in for onnx-tf's Python, and the real one where it is."""

from __future__ import annotations

import os
import sys

import pytest

from facegate_convert._onnx_tf._driver import PYTHON, find_python
from facegate_convert._options import Options
from facegate_convert._source import read_source
from facegate_convert.errors import ViaMissingError

BEGIN = """\
#!{python}
import os, signal, subprocess, sys, time
_, isolated, worker, given, answer = sys.argv
def say(text, code):
    os.write(int(answer), text if isinstance(text, bytes) else text.encode())
    sys.exit(code)
"""


@pytest.fixture
def source_of(tmp_path):
    """A function: an ONNX model's bytes -> the source of a conversion by onnx-tf."""

    def read(model, name="model.onnx", **options):
        path = tmp_path / name
        path.write_bytes(model)
        return read_source(path, Options(via="onnx-tf", **options))

    return read


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function: lines of Python -> the program that FACEGATE_ONNX_TF_PYTHON names from then on.

    It has `given` and `answer`, numbers of open files, `worker`, the file that a real one would run, and `say`.
    """

    def make(lines):
        path = tmp_path / "fake-python"
        path.write_text(BEGIN.format(python=sys.executable) + lines)
        path.chmod(0o700)
        monkeypatch.setenv(PYTHON, str(path))
        return path

    return make


@pytest.fixture(scope="session")
def onnx_tf():
    """The environment of onnx-tf; skips where there is none."""
    if not os.environ.get(PYTHON):
        pytest.skip(f"onnx-tf needs an environment of its own: make onnx-tf, and name its Python in {PYTHON}")
    try:
        return find_python()
    except ViaMissingError as error:  # a name that leads nowhere is no reason to skip
        pytest.fail(str(error))
