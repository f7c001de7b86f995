"""Playing a day on emulated cores and on the build host: what the tests of all of them share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import days
    from machine import Machine, Run

HERE = Path(__file__).parent
TOP = HERE.parents[1]
MEASURED: list[str] = []
SWITCH = "FACEGATE_EMULATION"  # 0: leave these tests out; 1: they must run; nothing: they run where there is a machine


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
        return Played(day, run, *read_day(*out))

    def on_host(self, day: days.Day) -> Played:
        """The same day on the build host."""
        out = [self.folder / f"{day.folder.name}-{day.precision}-host.{kind}" for kind in ("json", "npz")]
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, str(HERE / "end_to_end.py"), *map(str, (*day.files, *out))], check=True
        )
        return Played(day, None, *read_day(*out))


def read_day(result: Path, arrays: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What end_to_end.py wrote."""
    with np.load(arrays) as stored:
        return json.loads(result.read_text()), {name: stored[name] for name in stored.files}
