#!/usr/bin/env python3
"""Programs run on emulated ARM cores, on any x86_64 Linux: no root, no container, nothing installed.

    python tests/emulated/machine.py make
    python tests/emulated/machine.py run cortex-a72 -- script.py --its arguments
    python tests/emulated/machine.py run --count cortex-a76 -- -c 'print(1)'

`make` puts the machines into .arm (or where FACEGATE_ARM says): qemu-user, a Debian 12 with Python 3.11 for arm64 and
for armhf, and the packages that facegate needs. `run` runs Python there; the host's files are seen where they are.
docs/emulation.md says what an emulated run proves and what it does not.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
from cores import CORES, make_root
from errors import FetchError, MachineError
from making import make, missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = Path(__file__).resolve().parents[2] / ".arm"
_EMULATORS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
# What a program inside may see of the host's environment.
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "TERM")


@dataclass(frozen=True, slots=True)
class Run:
    """What a program on an emulated core did.

    Attributes:
        returncode: As subprocess gives it: -4 is SIGILL, an instruction that the core does not have.
        stdout: What it printed.
        stderr: Likewise.
        seconds: How long it took: of the emulation, which says nothing about a real core.
        counts: Instructions executed by class (`all`, `simd`, `dotprod`, ...: see icount.c); empty if not counted. Of
            the program itself, or of the last of its children to end if that is later.
        marks: Likewise between the program's calls of syscall(0x5EED, tag): (tag, counts since the one before).
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    marks: Sequence[tuple[int, Mapping[str, int]]] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The emulated machines of one folder.

    Attributes:
        folder: Where they are.
    """

    folder: Path = field(default_factory=lambda: Path(os.environ.get("FACEGATE_ARM") or DEFAULT).resolve())

    def unavailable(self) -> str:
        """Why the machines cannot be used; empty if they can."""
        if not self.folder.is_dir():
            return f"no emulated machine in {self.folder}: make arm"
        reason = self.folder / "unavailable"
        if reason.exists():
            return f"the emulated machine could not be made: {reason.read_text().strip()}"
        if lacking := missing(self.folder):
            return f"the emulated machine in {self.folder} is not up to date ({', '.join(lacking)}): make arm"
        return ""

    def site(self, cpu: str) -> Path:
        """The folder of the packages beside a core's Python."""
        return self.folder / f"site-{CORES[cpu].arch}"

    def python(self, cpu: str) -> Path:
        """A program for the host that is the Python of this core; what it starts as `sys.executable` runs there, too.

        Raises:
            MachineError: There is no such core, or the machine is not there.
        """
        if cpu not in CORES:
            raise MachineError(f"there is no core {cpu!r}", f"there are {', '.join(CORES)}")
        qemu = self.folder / "qemu/usr/bin" / _EMULATORS[CORES[cpu].arch]
        if not qemu.exists() or not (self.folder / f"root-{CORES[cpu].arch}").exists():
            raise MachineError(f"{self.folder} has no emulated machine", "make arm")
        root = make_root(self.folder, CORES[cpu], qemu, self.folder / "qemu/usr/lib/x86_64-linux-gnu")
        return root / "usr/bin/python3.11"

    def command(
        self, cpu: str, arguments: Sequence[str | Path], env: Mapping[str, str] | None = None, *, offline: bool = False
    ) -> tuple[list[str], dict[str, str]]:
        """What to give to subprocess to run Python on a core.

        Args:
            cpu: One of CORES.
            arguments: Of Python: a script and its arguments, or -c ... or -m ...
            env: Added to the environment, which is otherwise nearly empty. PYTHONPATH comes before the packages that
                are there; an empty FACEGATE_SITE leaves these out.
            offline: Whether it must not see a network: in a network namespace of its own.

        Returns:
            The command and its whole environment.

        Raises:
            MachineError: There is no such core or machine; or no namespace can be made.
        """
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        given = dict(env or {})
        sites = [given.pop("PYTHONPATH", ""), given.pop("FACEGATE_SITE", str(self.site(cpu) if cpu in CORES else ""))]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sites))
        command = [str(self.python(cpu)), *map(str, arguments)]
        return [*(offline_command() if offline else ()), *command], environment | given

    def run(
        self,
        cpu: str,
        arguments: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        *,
        plugin: str | None = None,
        offline: bool = False,
        cwd: Path | None = None,
        timeout: float | None = 1800,
        stdin: str | None = None,
    ) -> Run:
        """Run Python on a core to its end.

        Args:
            cpu: One of CORES.
            arguments: Of Python.
            env: As for `command`.
            plugin: "count" to count instructions; or the path of another plugin of qemu with its arguments.
            offline: As for `command`.
            cwd: The working directory.
            timeout: In seconds; subprocess.TimeoutExpired after it.
            stdin: Text for it to read.

        Raises:
            MachineError: There is no such core or machine.
        """
        command, environment = self.command(cpu, arguments, env, offline=offline)
        with tempfile.TemporaryDirectory(prefix="counts-") as folder:
            counts = Path(folder) / "counts"
            if plugin:
                own = f"{self.folder / 'icount.so'},out={counts}"
                environment["EMULATED_PLUGIN"] = own if plugin == "count" else plugin
            started = time.monotonic()
            done = subprocess.run(  # noqa: S603 - what the caller asked for
                command,
                env=environment,
                cwd=cwd,
                timeout=timeout,
                input="" if stdin is None else stdin,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - started
            marks, total = read_counts(counts.read_text() if counts.exists() else "")
        return Run(done.returncode, done.stdout, done.stderr, seconds, total, marks)


def read_counts(text: str) -> tuple[list[tuple[int, dict[str, int]]], dict[str, int]]:
    """What icount.c writes: what was counted before each mark, and in all."""
    marks, total = [], {}
    for tag, rest in re.findall(r"^icount (?:before-mark-(\d+)|TOTAL) (.*)$", text, re.MULTILINE):
        counted = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", rest)}
        if tag:
            marks.append((int(tag), counted))
        else:
            total = counted
    return marks, total


@functools.cache
def offline_command() -> tuple[str, ...]:
    """A command that runs another one in a network namespace without any device."""
    unshare = shutil.which("unshare")
    for flags in ("-n",), ("-r", "-n"):
        if unshare and not subprocess.run([unshare, *flags, "true"], capture_output=True, check=False).returncode:  # noqa: S603
            return (unshare, *flags, "--")
    raise MachineError("no network namespace can be made here", "allow user namespaces, or be root")


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="make the machines, or what is missing of them")
    commands.add_parser("status", help="what is there")
    run = commands.add_parser("run", help="run Python on a core")
    run.add_argument("--count", action="store_true", help="print the instructions executed, by class")
    run.add_argument("--offline", action="store_true", help="without a network")
    run.add_argument("cpu", choices=CORES)
    run.add_argument("arguments", nargs="+", help="of Python, after --")
    options = parser.parse_args()
    try:
        code = _do(Machine(), options)
    except MachineError as error:
        print(f"machine: {error}", file=sys.stderr)
        if error.hint:
            print(f"machine: {error.hint}", file=sys.stderr)
        return 75 if isinstance(error, FetchError) else 5
    except KeyboardInterrupt:
        return 130
    return code if code >= 0 else 128 - code


def _do(machine: Machine, options: argparse.Namespace) -> int:
    if options.command == "make":
        make(machine.folder)
        return 0
    if reason := machine.unavailable():
        raise MachineError(reason)
    if options.command == "status":
        for core in CORES.values():
            print(f"{core.name:11s} {core.arch}  {core.board}")
        return 0
    command, environment = machine.command(
        options.cpu, options.arguments, {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}, offline=options.offline
    )
    if options.count:
        environment["EMULATED_PLUGIN"] = str(machine.folder / "icount.so")
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - what was asked for


if __name__ == "__main__":
    sys.exit(main())
