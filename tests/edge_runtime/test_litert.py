"""LiteRT's C API: finding it, refusing what does not fit, and giving back all memory."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import numpy as np
import pytest

from facegate_edge import _litert_library as _litert
from facegate_edge import make_engine, this_machine
from facegate_edge.errors import EngineUnavailableError


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("", ()), ("2.3.0", (2, 3, 0)), ("2.1.6", (2, 1, 6)), ("2.4.0rc1", (2, 4, 0)), ("2.4rc1", (2, 4)), ("dev", ())],
)
def test_versions_compare_by_their_numbers(version, numbers):
    """A version's leading numbers are what counts."""
    assert _litert._version_tuple(version) == numbers


@pytest.mark.parametrize("version", ["1.4.0", "2.1.5", "2.4.0", "2.4.0rc1", "3.0.0", "unknown"])
def test_a_version_with_another_interface_is_refused(monkeypatch, version):
    """The C interface changed at 2.1.6 and may change at 2.4: other versions are refused unloaded."""
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with pytest.raises(EngineUnavailableError, match="LiteRT") as caught:
        _litert.find_library()
    assert ">=2.1.6,<2.4" in caught.value.hint


@pytest.mark.parametrize("version", ["2.1.6", "2.2.0", "2.3.0", "2.3.9"])
def test_a_supported_version_is_taken(monkeypatch, version):
    """Every version from 2.1.6 to before 2.4 is taken."""
    monkeypatch.setattr(metadata, "version", lambda _: version)
    path, found = _litert.find_library()
    assert path.name == "libLiteRt.so"
    assert found == version


def test_a_missing_package_says_what_to_install(monkeypatch):
    """Without ai-edge-litert the error says what to install."""
    monkeypatch.setattr(util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailableError, match="not installed") as caught:
        _litert.find_library()
    assert "ai-edge-litert" in caught.value.hint


def test_a_package_without_its_library_is_refused(monkeypatch, tmp_path):
    """A package folder that lacks libLiteRt.so is told from a missing package."""

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(util, "find_spec", lambda _: Spec)
    monkeypatch.setattr(metadata, "version", lambda _: "2.3.0")
    with pytest.raises(EngineUnavailableError, match=r"no libLiteRt\.so"):
        _litert.find_library()


@pytest.mark.parametrize(
    ("loader_says", "message", "advice"),
    [
        ("/lib/libc.so.6: version `GLIBC_2.34' not found (required by libLiteRt.so)", "too old", "Debian 12"),
        ("libstdc++.so.6: version `GLIBCXX_3.4.30' not found", "too old", "JetPack 6"),
        ("libLiteRt.so: wrong ELF class: ELFCLASS64", "another processor", "reinstall"),
        ("libfoo.so.1: cannot open shared object file", "cannot be loaded", "libfoo.so.1"),
    ],
)
def test_a_loader_failure_becomes_advice(loader_says, message, advice):
    """What the dynamic loader says is turned into something that a person can act on."""
    error = _litert._explain_load_failure(loader_says)
    assert message in str(error)
    assert advice in error.hint


def test_a_library_that_is_none_is_refused(monkeypatch, tmp_path):
    """A file that is no shared library gives the same error type, not an OSError."""
    fake = tmp_path / "libLiteRt.so"
    fake.write_bytes(b"\x7fELF garbage")
    monkeypatch.setattr(_litert, "find_library", lambda: (fake, "2.3.0"))
    with pytest.raises(EngineUnavailableError):
        _litert.load.__wrapped__()


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter; return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_itself_is_never_imported(tiny, tmp_path):
    """Only the shared library is used: running a model imports neither ai_edge_litert nor what it drags in."""
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny.two_outputs_model())
    code = """
import sys
from pathlib import Path
from facegate_edge._litert import LiteRtEngine
with LiteRtEngine(Path(sys.argv[1]).read_bytes()) as engine:
    engine.run()
print(sorted({"ai_edge_litert", "google.protobuf", "ml_dtypes", "flatbuffers"} & set(sys.modules)))
"""
    assert run_python(code, str(model)).strip() == "[]"


def test_memory_is_flat_over_many_engines(tiny, tmp_path):
    """60 more engines made, run and closed leave the resident memory where it was (1 MB of slack)."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny.big_conv_model(32, 128))
    code = """
import sys
from pathlib import Path
from facegate_edge._litert import LiteRtEngine
model = Path(sys.argv[1]).read_bytes()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
def cycle(n):
    for _ in range(n):
        with LiteRtEngine(model, threads=2) as engine:
            engine.run()
    for _ in range(n):
        try:
            LiteRtEngine(model[: len(model) // 2])
        except Exception:
            pass
cycle(10)
rounds = []
for _ in range(8):
    cycle(15)
    rounds.append(resident())
# The least of each half: what the allocator keeps for a while comes and goes, a leak only comes.
print(min(rounds[4:]) - min(rounds[:4]))
"""
    assert int(run_python(code, str(model))) < 1024


def test_an_engine_that_nobody_closes_is_freed(tiny, tmp_path):
    """Engines that are only dropped give their memory back when they are collected, and at exit without a crash."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny.big_conv_model(32, 128))
    code = """
import sys
from pathlib import Path
from facegate_edge._litert import LiteRtEngine
model = Path(sys.argv[1]).read_bytes()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
rounds = []
for _ in range(8):
    for _ in range(15):
        engine = LiteRtEngine(model)
    rounds.append(resident())
# The least of each half, as above: a leak of one weight tensor an engine would show as 8 MB between them.
print(min(rounds[4:]) - min(rounds[:4]))
"""
    assert int(run_python(code, str(model))) < 1024


GREETING = """
import ctypes, sys, threading
from pathlib import Path
from facegate_edge._litert import LiteRtEngine, _quiet
from facegate_edge._litert_library import load
model = Path(sys.argv[1]).read_bytes()
libc = ctypes.CDLL(None)
def say(text):
    libc.fputs(text, ctypes.c_void_p.in_dll(libc, "stderr"))
"""


def run_stderr(code: str, *arguments: str) -> bytes:
    """Run code after GREETING in a fresh interpreter; return what came to its stderr."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", GREETING + code, *arguments], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def conv(tiny, tmp_path):
    """A float model that XNNPACK takes, as a file."""
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny.big_conv_model(16, 16))
    return str(path)


def test_an_engine_says_nothing_on_stderr(conv):
    """The greeting of TensorFlow Lite's first delegate is kept back, for every number of engines."""
    assert run_stderr("for _ in range(3): LiteRtEngine(model).run()", conv) == b""


def test_the_greeting_would_be_there(conv):
    """Without that it is printed: the test above sees something."""
    code = """
from contextlib import nullcontext
from facegate_edge import _litert
_litert._quiet = lambda _: nullcontext()
LiteRtEngine(model)
"""
    assert run_stderr(code, conv) == b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


def test_whatever_else_is_said_while_a_model_is_compiled_is_passed_on(conv):
    """Other lines reach stderr, once the model is compiled, and after it nothing is held back any more."""
    code = """
with _quiet(load()):
    say(b"WARNING: before\\n")
    LiteRtEngine(model)  # not the first any more
    say(b"ERROR: after\\n")
    print("Python's own", file=sys.stderr, flush=True)
say(b"later\\n")
"""
    said = run_stderr(code, conv)
    assert said == b"Python's own\nWARNING: before\nERROR: after\nlater\n"


def test_stderr_is_given_back_when_compiling_fails(conv):
    """A refused first model leaves C's stderr as it was."""
    code = """
try:
    with _quiet(load()):
        raise KeyError
except KeyError:
    say(b"here\\n")
"""
    assert run_stderr(code, conv) == b"here\n"


def test_a_closed_stderr_stops_nothing(conv):
    """A service whose stderr is closed makes engines as others do, also when there is something to say."""
    code = "import os; os.close(2)\nwith _quiet(load()): say(b'lost')\nLiteRtEngine(model).run()"
    assert run_stderr(code, conv) == b""


def test_float16_arithmetic_does_something(tiny):
    """Asked for, XNNPACK calculates otherwise: near float32 to a few thousandths, and not the same."""
    if not {"f16c", "fp16"} & set(this_machine().features):
        pytest.skip("needs a processor that XNNPACK has float16 kernels for")
    model = tiny.big_conv_model(16, 32)
    outputs = []
    for float16 in (False, True):
        with make_engine(model, engine="litert", float16=float16) as engine:
            (array,) = engine.inputs.values()
            array[...] = np.random.default_rng(0).uniform(-1, 1, array.shape)
            engine.run()
            (found,) = engine.outputs.values()
            outputs.append(found.astype(np.float64))
    exact, half = outputs
    error = np.abs(half - exact).max() / np.abs(exact).max()
    assert 0 < error < 0.02
