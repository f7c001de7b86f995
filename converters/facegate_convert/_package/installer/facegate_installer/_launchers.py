"""The programs in a version's bin/: small shell scripts that start Python with nothing but the version on its path.

`-I` keeps out PYTHONPATH, PYTHONHOME, the user's site and the current folder; `-S` keeps out the system's
dist-packages and every .pth file; `-B` writes no bytecode. What is imported is the standard library and this version.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from facegate_installer._deb import library_folders, python_folder
from facegate_installer._errors import PackageError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_installer._machine import Machine

__all__ = ["PROGRAMS", "find_app", "write_launchers"]

PROGRAMS = ("facegate", "facegate-terminal", "facegate-sweep", "facegate-package", "facegate-gate")

_RUN = '''\
"""Starts a program of this version; written by the installer."""

import os
import sys

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
program = sys.argv.pop(1)
if sys.path[0] == FOLDER + "/bin":
    sys.path.pop(0)
sys.path += [FOLDER + "/" + part for part in {paths!r}]
sys.dont_write_bytecode = True

if program == "facegate":
    sys.argv[0] = "facegate"
    from facegate.cli import main

    sys.exit(main())
if program == "facegate-terminal":
    import runpy

    sys.argv[0] = "facegate-terminal"
    if {app!r}:
        runpy.run_module({app!r}, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(FOLDER + "/app", run_name="__main__")
    sys.exit(0)
if program == "facegate-sweep":
    # Whoever opens a gate sweeps it. If the terminal has it open, it sweeps by itself, every hour.
    import contextlib
    import io
    import json
    from facegate.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(["gate", "status", "--json"])
    answer = json.loads(said.getvalue() or "{{}}")
    error = answer.get("error", {{}})
    if error.get("type") == "GateInUseError":
        print("the terminal has the gate open, and sweeps it by itself")
        sys.exit(0)
    if error:
        print("error: " + error["message"] + "\\nhint: " + error["hint"], file=sys.stderr)
        sys.exit(code)
    print("swept" + ("; something waits for an operator: facegate gate status" if code else ""))
    sys.exit(0)
if program == "facegate-gate":
    sys.path.append(FOLDER + "/installer")
    from facegate_installer import _in_gate

    sys.exit(_in_gate.main(sys.argv[1:]))
sys.exit(2)
'''


def find_app(folder: Path) -> str | None:
    """The program's module; "" if the folder app/ itself is run, None if there is none. Raises PackageError."""
    app = folder / "app"
    if (app / "__main__.py").is_file():
        return ""
    found = sorted(path.parent.name for path in app.glob("*/__main__.py"))
    if len(found) > 1 or any(not name.isidentifier() for name in found):
        raise PackageError(
            f"the package holds {len(found)} programs: {', '.join(found)}",
            hint="app/ has a __main__.py of its own, or one folder with one",
        )
    return found[0] if found else None


def write_launchers(folder: Path, final: str, machine: Machine) -> None:
    """Write bin/ into a version that is being unpacked.

    Args:
        folder: where it is unpacked.
        final: the folder's path on the device, later.
        machine: which Python starts it.
    """
    app = find_app(folder)
    paths = ["site"]
    if (folder / "app").is_dir():
        paths.append("app")
    environment = ""
    if (folder / "deb").is_dir():
        paths.append(str(python_folder(folder / "deb").relative_to(folder)))
        libraries = ":".join(f"{final}/{path.relative_to(folder)}" for path in library_folders(folder / "deb"))
        environment = f"LD_LIBRARY_PATH={shlex.quote(libraries)}\nexport LD_LIBRARY_PATH\n" if libraries else ""
    (folder / "bin").mkdir()
    _write(folder / "bin/run.py", _RUN.format(paths=paths, app=app or ""), 0o644)
    python = shlex.quote(machine.interpreter)
    for program in PROGRAMS:
        if program == "facegate-terminal" and app is None:
            continue
        start = f"{shlex.quote(final)}/bin/run.py {program}"
        if program == "facegate-package":  # the installer needs no library, and must start when one is broken
            start, before = f"{shlex.quote(final)}/installer", ""
        else:
            before = environment
        text = (
            f"#!/bin/sh\nunset LD_PRELOAD LD_LIBRARY_PATH\n{before}"
            f'[ -x {python} ] || {{ echo "error: this version\'s Python is gone: install it again" >&2; exit 5; }}\n'
            f'exec {python} -I -S -B {start} "$@"\n'
        )
        _write(folder / "bin" / program, text, 0o755)


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
