"""The rooms: who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOMS = {
    "facegate": {"facegate", "facegate_edge"},
    "facegate_edge": {"facegate_edge"},
    "facegate_convert": {"facegate_convert", "facegate_edge"},
    # The access terminal of the examples, which device packages install.
    "facegate_terminal": {"facegate_terminal", "facegate", "facegate_edge"},
    # Of the SDK only the renderer: see below.
    "facegate_train": {"facegate_train", "facegate_convert", "facegate", "facegate_edge"},
}
TRAINING = {"facegate_train"}
# The edge runtime knows no person, no database, no network.
FORBIDDEN_ON_THE_EDGE = {
    "aiohttp", "asyncio", "dbm", "ftplib", "http", "httpx", "paho", "requests", "shelve", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "urllib", "urllib3", "websockets", "xmlrpc",
}  # fmt: skip
# A device installs no converter, and no converter's tools.
FORBIDDEN_ON_A_DEVICE = {
    "ai_edge_quantizer", "flatbuffers", "jinja2", "matplotlib", "onnx", "onnxruntime", "rich", "starlette",
    "tensorflow", "torch", "uvicorn",
}  # fmt: skip
# What is loaded only where it is used: it costs more than everything else together.
HEAVY = {
    "PIL", "ai_edge_litert", "ai_edge_quantizer", "cffi", "cryptography", "flatbuffers", "jinja2", "matplotlib",
    "numpy", "onnx", "onnxruntime", "rich", "starlette", "tflite_runtime", "torch", "urllib3", "uvicorn",
}  # fmt: skip


def package(name: str) -> Path:
    """Where a package is installed."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def modules(room: str) -> list[Path]:
    """All source files of a room."""
    found = sorted(package(room).rglob("*.py"))
    assert found
    return found


def imported(path: Path, room: str) -> set[str]:
    """Every module that a file imports anywhere in it, also for type checking, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: {room} imports by full names"
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            names |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return names


def tops(names: set[str]) -> set[str]:
    """The top-level packages of module names."""
    return {name.partition(".")[0] for name in names}


CASES = [(room, path) for room in ROOMS for path in modules(room)]
IDS = [f"{room}/{path.relative_to(package(room))}" for room, path in CASES]


@pytest.mark.parametrize(("room", "path"), CASES, ids=IDS)
def test_imports_run_one_way(room, path):
    """The outer rooms, facegate and facegate_convert, import facegate_edge, never each other; training, all three."""
    assert tops(imported(path, room)) & set(ROOMS) <= ROOMS[room]


@pytest.mark.parametrize(("room", "path"), CASES, ids=IDS)
def test_a_device_needs_no_tools_of_the_build_host(room, path):
    """What runs on a device imports nothing of the converter's tools; the edge neither database nor network."""
    if room not in {"facegate_convert", *TRAINING}:
        assert not tops(imported(path, room)) & FORBIDDEN_ON_A_DEVICE
    if room == "facegate_edge":
        assert not tops(imported(path, room)) & FORBIDDEN_ON_THE_EDGE


@pytest.mark.parametrize(("room", "path"), CASES, ids=IDS)
def test_only_training_needs_torch_and_nobody_needs_training(room, path):
    """Models travel as files: nothing that converts or runs them imports the trainer or its tools."""
    if room not in TRAINING:
        assert not tops(imported(path, room)) & {"torch", *TRAINING}
    else:
        sdk = {name for name in imported(path, room) if name.partition(".")[0] == "facegate"}
        assert all(name.startswith("facegate.simulation") for name in sdk)


@pytest.mark.parametrize(("room", "path"), CASES, ids=IDS)
def test_nothing_of_the_sdk_needs_the_renderer(room, path):
    """Rendered people are for tests, demonstrations and training: a gate does not know that they exist."""
    if room == "facegate" and path.parent.name != "simulation":
        assert not any(name.startswith("facegate.simulation") for name in imported(path, room))


def test_lazy_names_lead_somewhere():
    """Every public name of the lazily importing packages exists, is listed, and is not loaded from the other rooms."""
    for room in ("facegate", "facegate_edge"):
        module = importlib.import_module(room)
        assert module.__all__
        for name in module.__all__:
            assert getattr(module, name) is not None
        assert set(module.__all__) <= set(dir(module))
        with pytest.raises(AttributeError):
            _ = module.no_such_name


def loaded(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after running the code."""
    report = "import sys; print('\\n'.join(sorted({n.partition('.')[0] for n in sys.modules})), file=sys.stderr)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


COMMAND = "import sys; from facegate.cli import main; assert main({!r}) == 0"


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import facegate", HEAVY | {"click", "json", "facegate_convert"}),
        ("import facegate_edge", HEAVY | {"click", "json"}),
        ("import facegate.errors", HEAVY | {"click"}),
        ("import facegate.cli", HEAVY | {"facegate_convert"}),
        (COMMAND.format(["--help"]), HEAVY | {"facegate_convert"}),
        (COMMAND.format(["--version"]), HEAVY | {"facegate_convert"}),
        (COMMAND.format(["bundle", "--help"]), HEAVY | {"facegate_convert"}),
        (COMMAND.format(["keys", "--help"]), HEAVY | {"facegate_convert"}),
        (COMMAND.format(["completion", "fish"]), HEAVY | {"facegate_convert"}),
        ("import facegate_train.cli", HEAVY | {"facegate", "facegate_convert"}),
        ("import facegate_terminal._cli", HEAVY | {"click", "facegate_convert", "gpiod", "picamera2", "videodev2"}),
        ("import facegate_terminal._terminal", HEAVY | {"click"}),
        ("import facegate._reference", HEAVY | {"click"}),
        ("from facegate import Decision, verify_decision", HEAVY | {"click"}),
        ("from facegate import open_bundle, TrustStore", HEAVY | {"click"}),
    ],
)
def test_an_import_loads_no_more_than_it_needs(code, without):
    """Importing the packages, and asking the command line for help, loads neither numpy nor any other heavy package."""
    assert not loaded(code) & without


def test_the_check_of_loaded_packages_can_fail():
    """The test above sees a heavy package when there is one."""
    assert "numpy" in loaded("from facegate import Frame; Frame")
