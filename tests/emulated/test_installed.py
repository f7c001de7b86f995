"""A device package on an emulated board: it is installed there without a network, and what it installed decides.

Sizes are those of the files; memory is measured on the build host with the same package for x86_64, as an emulated
process is the emulator's and larger. Both are printed at the end of the test run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cores import TESTED
from installing import Installed, install, make_package

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = {"cortex-a72": "rpi4", "cortex-a76": "rpi5"}
MAX_BESIDE, MAX_RSS = 60_000_000, 120_000_000  # bytes: what the project promises for a package and a process
on_each_core = pytest.mark.parametrize("cpu", TESTED)


@pytest.fixture(scope="session")
def package_of(emulation, tmp_path_factory):
    """A function: target -> a signed package for it, and its key."""
    made: dict[str, tuple[Path, Path]] = {}

    def make(target: str) -> tuple[Path, Path]:
        if target not in made:
            made[target] = make_package(target, tmp_path_factory.mktemp(target), emulation)
        return made[target]

    return make


@pytest.fixture(scope="session")
def installed(emulation, package_of, tmp_path_factory):
    """A function: core -> the package of its board, installed by the emulated Python into a root of its own."""
    packages = {cpu: package_of(TARGETS[cpu]) for cpu in TESTED}
    roots = {cpu: tmp_path_factory.mktemp(f"root-{TARGETS[cpu]}") for cpu in TESTED}
    runs = {
        cpu: emulation.start(("install", cpu), lambda cpu=cpu: install(emulation, cpu, *packages[cpu], roots[cpu]))
        for cpu in TESTED
    }
    return lambda cpu: runs[cpu].result()


@pytest.fixture(scope="session")
def lived(emulation, installed, played):
    """A function: core -> the rendered day, played with what was installed there, and the one of the build host."""
    host = played(TESTED[0], "rendered", "int8")[1]

    def live(cpu: str):
        there = installed(cpu)
        return emulation.start(("lived", cpu), lambda: emulation.play(cpu, "installed", host.day, there.start)).result()

    def get(cpu: str):
        return live(cpu), host

    return get


@on_each_core
def test_it_installs_there_without_a_network(installed, cpu):
    """The emulated board's own Python runs the package, with no network device but its own loop."""
    there = installed(cpu)
    assert there.answer["changed"] is True
    assert (there.folder / "bin/facegate").exists()
    assert (there.folder / "site/facegate_edge/_native.abi3.so").exists()
    if not there.offline:
        pytest.skip("installed, but no network namespace can be made here to show that it needs no network")


@on_each_core
def test_what_is_installed_decides_as_the_build_host(lived, emulation, cpu):
    """From nothing but the installed files: the same decisions, and the same templates to the bit."""
    device, host = lived(cpu)
    decided = [[made.get("decision", made) for made in day.result["decisions"]] for day in (device, host)]
    assert decided[0] == decided[1]
    assert device.result["seen"] == host.result["seen"]
    assert "/opt/facegate/versions/" in device.result["facegate"]
    there, here = (day.result["peak_kib"] * 1024 / 1e6 for day in (device, host))
    emulation.tell(f"memory of the whole day on {cpu}: {there:.0f} MB with the emulator ({here:.0f} MB on x86_64)")


def test_what_is_installed_executes_nothing_that_a_raspberry_pi_4_lacks(lived):
    """The wheels of numpy, Pillow and cryptography choose by the core as well: no dot product, no half precision."""
    counts = lived("cortex-a72")[0].run.counts
    lacking = ("dotprod", "fp16", "rdm", "lse", "rcpc", "fhm", "i8mm", "bf16", "sve")
    assert {name: counts[name] for name in lacking} == dict.fromkeys(lacking, 0)


@on_each_core
def test_it_is_small(installed, emulation, cpu):
    """At most 60 MB beside numpy and Pillow."""
    there = installed(cpu)
    whole, beside = there.sizes()
    emulation.tell(
        f"package for {TARGETS[cpu]}: {there.package.stat().st_size / 1e6:.1f} MB, installed {whole / 1e6:.1f} MB, "
        f"{beside / 1e6:.1f} MB of it beside numpy and Pillow"
    )
    assert beside <= MAX_BESIDE


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the package that is measured is for Python 3.11")
def test_it_takes_little_memory(package_of, site_of, played, emulation, tmp_path):
    """At most 120 MB while it recognizes: on the build host, from the package for x86_64."""
    site_of("x86_64")  # the wheel must be of the sources under test
    package, key = package_of("x86_64")
    command = [sys.executable, str(package), "install", "--root", str(tmp_path), "--trust", str(key), "--json"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own package
    there = Installed((tmp_path / "opt/facegate/current").resolve(), {}, package, offline=False)
    day = played(TESTED[0], "rendered", "int8")[1].day
    command = [sys.executable, *there.start("recognize.py", *day.files)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    assert measured["enrolled"] == 2
    assert measured["matches"] >= 5
    peak = measured["peak_kib"] * 1024
    emulation.tell(f"memory of a process that recognizes, at most: {peak / 1e6:.0f} MB (x86_64, not emulated)")
    assert peak <= MAX_RSS
