"""Fixtures of the emulated tests: the machine, the wheel that is on it, and runs that are shared."""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # machine, days, ... are imported by name

import days  # noqa: E402
from cores import TESTED  # noqa: E402
from counting import find_wheel  # noqa: E402
from errors import MachineError  # noqa: E402
from machine import Machine, Run  # noqa: E402
from measured import MEASURED  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

TOP = HERE.parents[1]
SWITCH = "FACEGATE_EMULATION"  # 0: leave these tests out; 1: they must run; nothing: they run where there is a machine


def pytest_terminal_summary(terminalreporter) -> None:
    """What was measured, where everybody sees it."""
    if MEASURED:
        terminalreporter.section("emulated devices")
        for text in MEASURED:
            terminalreporter.line(text)


def leave_out(reason: str) -> None:
    """Skip, and say why; where the tests must run, fail instead."""
    if os.environ.get(SWITCH) == "1":
        pytest.fail(f"{SWITCH}=1, but {reason}")
    pytest.skip(reason)


def check_switch(value: str) -> None:
    """Refuse what is neither on nor off: "false" would be taken for "where there is a machine"."""
    if value not in ("", "0", "1"):
        pytest.fail(
            f"{SWITCH}={value} means nothing: 0 leaves emulated devices out, 1 makes them needed", pytrace=False
        )


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The emulated machines; skips where there are none."""
    check_switch(os.environ.get(SWITCH, ""))
    if os.environ.get(SWITCH) == "0":
        pytest.skip(f"{SWITCH}=0: emulated devices are left out")
    made = Machine()
    if reason := made.unavailable():
        leave_out(reason)
    return made


def _sources(names: list[str], read: Callable[[str], bytes]) -> dict[str, str]:
    wanted = [n for n in names if n.startswith(("facegate/", "facegate_edge/")) and n.endswith((".py", ".json"))]
    return {name: hashlib.sha256(read(name)).hexdigest() for name in wanted}


@pytest.fixture(scope="session")
def site_of(tmp_path_factory) -> Callable[[str], Path]:
    """A function: a wheel's architecture -> facegate of that wheel, unpacked; it must have the sources under test."""
    made: dict[str, Path] = {}

    def unpack(architecture: str) -> Path:
        if architecture in made:
            return made[architecture]
        try:
            wheel = find_wheel(architecture, TOP / "wheelhouse")
        except MachineError as error:
            leave_out(f"{error}: {error.hint}")
        with zipfile.ZipFile(wheel) as archive:
            packed = _sources(archive.namelist(), archive.read)
            roots = {p: Path(importlib.util.find_spec(p).origin).parents[1] for p in ("facegate", "facegate_edge")}
            here = {name: root / name for name, root in ((n, roots[n.split("/")[0]]) for n in packed)}
            other = [
                n for n, p in here.items() if not p.exists() or hashlib.sha256(p.read_bytes()).hexdigest() != packed[n]
            ]
            if other:
                leave_out(f"{wheel.name} is of other sources ({len(other)} files, e.g. {other[0]}): make wheels")
            site = tmp_path_factory.mktemp(f"site-{architecture}")
            archive.extractall(site)
        if sys.version_info[:2] == (3, 11):  # the emulated Python's version
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            compileall.compile_dir(site, quiet=2, invalidation_mode=mode)
        made[architecture] = site
        return site

    return unpack


@dataclass(frozen=True)
class Played:
    """A day that was played on a machine.

    Attributes:
        day: which.
        run: how; None on the build host.
        result: what end_to_end.py wrote.
        arrays: likewise: the models' inputs and outputs.
    """

    day: days.Day
    run: Run | None
    result: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Emulation:
    """Everything that is run on emulated cores: each run once, as many at a time as there are processors."""

    def __init__(self, machine: Machine, site: Path, folder: Path) -> None:
        self.machine, self.site, self.folder = machine, site, folder
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._runs: dict[Any, Future] = {}

    leave_out = staticmethod(leave_out)

    def tell(self, text: str) -> None:
        """Something that was measured, for the end of the test run."""
        if text not in MEASURED:
            MEASURED.append(text)

    def start(self, key: tuple[str, ...], work: Callable[[], Any]) -> Future:
        """Start a run, unless it was started before."""
        if key not in self._runs:
            self._runs[key] = self.pool.submit(work)
        return self._runs[key]

    def python(self, cpu: str, arguments: list[Any], **options: Any) -> Run:
        """Run Python with facegate on a core, in an empty folder of its own, counting instructions."""
        folder = Path(tempfile.mkdtemp(prefix=f"cwd-{cpu}-", dir=self.folder))  # several threads ask at once
        environment = {"PYTHONPATH": str(self.site)} | options.pop("env", {})
        return self.machine.run(cpu, arguments, environment, cwd=folder, **({"plugin": "count"} | options))

    def kernels(self, cpu: str) -> Future:
        """The kernels' own tests."""
        tests = sorted((TOP / "tests/edge_runtime").glob("test_kernels_*.py"))
        options = ["-q", "-rs", "-p", "no:cacheprovider", "-c", TOP / "pyproject.toml", "--rootdir", TOP]
        return self.start(("kernels", cpu), lambda: self.python(cpu, ["-m", "pytest", *options, *tests]))

    def day(self, cpu: str, name: str, day: days.Day) -> Future:
        """A day on a core, with the wheel; it must have been played on the host before."""
        return self.start(("day", name, day.precision, cpu), lambda: self.play(cpu, name, day))

    def play(
        self, cpu: str, name: str, day: days.Day, start: Callable[..., list[str]] | None = None, *, libraries: str = ""
    ) -> Played:
        """Play a day on a core to its end.

        Args:
            cpu: which.
            name: of the files that are written.
            day: which.
            start: gives Python's arguments for a script and its own, if facegate is not that of the wheel.
            libraries: folders where the loader looks first.
        """
        out = [self.folder / f"{name}-{day.precision}-{cpu}.{kind}" for kind in ("json", "npz")]
        given = (*day.files, *out, self.folder / f"{day.folder.name}-{day.precision}-host.npz")
        if start is None:
            run = self.python(cpu, [HERE / "end_to_end.py", *given])
        else:
            environment = {"PYTHONPATH": "", "FACEGATE_SITE": "", "EMULATED_LIBRARIES": libraries}
            run = self.python(cpu, start("end_to_end.py", *given), env=environment)
        assert run.returncode == 0, run.stderr
        return Played(day, run, *_read(*out))

    def on_host(self, day: days.Day) -> Played:
        """The same day on the build host."""
        out = [self.folder / f"{day.folder.name}-{day.precision}-host.{kind}" for kind in ("json", "npz")]
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, str(HERE / "end_to_end.py"), *map(str, (*day.files, *out))], check=True
        )
        return Played(day, None, *_read(*out))


def _read(result: Path, arrays: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(arrays) as stored:
        return json.loads(result.read_text()), {name: stored[name] for name in stored.files}


@pytest.fixture(scope="session")
def emulation(machine, site_of, tmp_path_factory) -> Emulation:
    """The emulated cores with the wheel for aarch64."""
    made = Emulation(machine, site_of("aarch64"), tmp_path_factory.mktemp("emulation"))
    yield made
    made.pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def played(emulation, request, tmp_path_factory) -> Callable[[str, str, str], tuple[Played, Played]]:
    """A function: core, "rendered" or "real", precision -> the day on that core, and the same on the build host.

    All days of the kind are started when the first is asked for.
    """
    hosts: dict[tuple[str, str], Played] = {}
    made: dict[str, dict[str, days.Day]] = {}

    def get(cpu: str, kind: str, precision: str) -> tuple[Played, Played]:
        if kind not in made:
            material = request.getfixturevalue("material_of")(kind)
            make = days.rendered_day if kind == "rendered" else days.real_day
            made[kind] = make(tmp_path_factory.mktemp(kind), material, request.getfixturevalue("onnx_path"))
            for day in made[kind].values():
                hosts[kind, day.precision] = emulation.on_host(day)
                for core in TESTED:
                    emulation.day(core, kind, day)
        host = hosts[kind, precision]
        return emulation.day(cpu, kind, made[kind][precision]).result(), host

    return get
