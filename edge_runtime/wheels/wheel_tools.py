"""The tools in an environment of their own: .venv-wheels, made when it is missing or was made from other pins."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from wheel_targets import WheelError

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).resolve().with_name("requirements.txt")
ENVIRONMENT = ROOT / ".venv-wheels"
TAIL = 20  # lines of a failed command that are shown


def tail(output: str) -> str:
    """The last lines of what a command printed."""
    return "\n".join([line for line in output.splitlines() if line.strip()][-TAIL:])


def check_host() -> None:
    """Refuse a machine on which this cannot work, before anything is downloaded."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        here = f"{sys.platform} on {os.uname().machine if hasattr(os, 'uname') else 'another machine'}"
        raise WheelError(
            f"wheels are built on Linux on x86_64, and this is {here}",
            hint="any such PC, virtual machine or container with Python 3.10 or newer builds all of them",
            exit_code=5,
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise WheelError(
            "this is a free-threaded Python, which has no stable ABI to build for",
            hint="say which other one: make wheels PYTHON=python3.12",
            exit_code=5,
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise WheelError(
            "the headers of this Python are missing",
            hint="on Debian and Ubuntu: sudo apt install python3-dev",
            exit_code=5,
        )


def zig() -> Path:
    """The compiler of this environment."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise WheelError(
            "ziglang is not installed in this Python",
            hint="make wheels installs it into .venv-wheels; nothing is to be installed by hand",
            exit_code=5,
        )
    return Path(next(iter(spec.submodule_search_locations))) / "zig"


def state() -> str:
    """What an environment is made from: these pins and this Python."""
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()
    return f"{sys.version_info.major}.{sys.version_info.minor} {pins}\n"


def inside() -> bool:
    """Whether this process runs in the environment."""
    return Path(sys.prefix).resolve() == ENVIRONMENT.resolve()


def enter(arguments: list[str]) -> None:
    """Continue in the environment; make it first if it is not there."""
    stamp = ENVIRONMENT / "made"
    python = ENVIRONMENT / "bin" / "python"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == state() and python.exists()):
        make_environment(python)
        stamp.write_text(state(), encoding="utf-8")
    sys.stdout.flush()
    os.execv(python, [str(python), *arguments])  # noqa: S606 - our own interpreter, no shell


def make_environment(python: Path) -> None:
    """Make it from the pins, every file of which is compared with its hash."""
    if sys.prefix != sys.base_prefix and inside():
        raise WheelError(".venv-wheels cannot be made anew by itself", hint="use another Python", exit_code=5)
    if importlib.util.find_spec("ensurepip") is None:
        raise WheelError(
            "this Python cannot make a virtual environment",
            hint="on Debian and Ubuntu: sudo apt install python3-venv",
            exit_code=5,
        )
    print("making .venv-wheels, once: compiler and checkers, 500 MB; with the first wheels some minutes", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [
            *(str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--progress-bar", "off"),
            *("--require-hashes", "--only-binary=:all:", "--requirement", str(PINS)),
        ],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise WheelError(
                f"the tools cannot be installed into .venv-wheels:\n{tail(done.stderr + done.stdout)}",
                hint="they come from PyPI: is there a network, and a package index that pip knows?",
                exit_code=5,
            )
