"""Fixtures of the emulated tests: the machine, the wheel that is on it, and runs that are shared."""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import os
import py_compile
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # machine, days, ... are imported by name

import days  # noqa: E402
from cores import TESTED  # noqa: E402
from counting import find_wheel  # noqa: E402
from errors import MachineError  # noqa: E402
from machine import Machine  # noqa: E402
from playing import MEASURED, SWITCH, TOP, Emulation, Played, check_switch, leave_out  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


def pytest_terminal_summary(terminalreporter) -> None:
    """What was measured, where everybody sees it."""
    if MEASURED:
        terminalreporter.section("emulated devices")
        for text in MEASURED:
            terminalreporter.line(text)


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
