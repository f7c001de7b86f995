"""The pins that the project comes with, and the package that is really made of them."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

from facegate._reference import BUNDLE, KEY
from facegate_convert._package import Package, Settings, _debs, load_pins, packageable, write_package
from facegate_convert._package import _pins as pins_module
from facegate_convert._package._fetch import cached
from facegate_convert._package._systems import system
from facegate_convert._package._wheels import find_own_wheel, normalize
from facegate_convert.errors import PinError, WheelhouseError
from facegate_edge._keys import TrustStore
from facegate_edge._version import VERSION

from .elf import needed

REAL = pins_module.PINS
MACHINES = tuple(load_pins(REAL))
HOME = Path.home()  # before a test says where a user's cache is
MAX_INSTALLED = 60_000_000  # bytes beside numpy and Pillow: what was asked for

# Of packages that Debian 12 gives the priority "required" or "important", and of its Python.
EVERYWHERE = {
    "ld-linux-aarch64.so.1", "ld-linux-armhf.so.3", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0",
    "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "liblzma.so.5", "libzstd.so.1", "libffi.so.8",
    "libbsd.so.0",
}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_every_requirement_is_pinned_within_its_bounds(machine):
    """All that facegate asks for on this architecture, on each Python, in a version that it accepts."""
    requirements = pytest.importorskip("packaging.requirements")
    pins = load_pins(REAL)[machine]
    asked = [requirements.Requirement(text) for text in requires("facegate") or ()]
    for python in pins.pythons:
        environment = {"platform_machine": machine, "python_version": python, "sys_platform": "linux", "extra": ""}
        there = {w.distribution: w.version for w in (*pins.wheels_for((python,)), pins.engine.wheel)}
        there |= {d.provides: re.sub(r"^\d+:|[-+].*$", "", d.version) for d in pins.debs if d.provides}
        for requirement in asked:
            if requirement.marker is None or requirement.marker.evaluate(environment):
                name = normalize(requirement.name)
                assert name in there, f"{name} on Python {python}"
                assert requirement.specifier.contains(there[name]), f"{name} {there[name]}"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_pin_is_what_its_file_says(machine):
    """A wheel's file names its distribution and version, and fits the machine and the Pythons that it is pinned for."""
    pins = load_pins(REAL)[machine]
    for wheel in (*pins.wheels, pins.engine.wheel):
        name, version, _, abi, platforms = wheel.file.removesuffix(".whl").split("-")
        assert (normalize(name), version) == (wheel.distribution, wheel.version)
        assert platforms == "any" or any(p in pins.platforms for p in platforms.split("."))
        assert wheel.pythons
        assert set(wheel.pythons) <= set(pins.pythons)
        if abi not in {"abi3", "none"} and wheel is not pins.engine.wheel:
            assert wheel.pythons == (f"{abi[2]}.{abi[3:]}",)
    for deb in pins.debs:
        assert deb.file.startswith(f"{deb.package}_")
        assert deb.file.endswith(("_armhf.deb", "_all.deb"))


@pytest.mark.parametrize("target", packageable())
def test_every_targets_pythons_are_pinned(target):
    """The default package of each target can be made."""
    chosen = system(target)
    assert set(chosen.pythons) <= set(load_pins(REAL)[chosen.machine].pythons)


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "{}", '{"format": 2, "machines": {}}', '{"format": 1, "machines": {"x": {}}}', '{"format": 1}',
        json.dumps({"format": 1, "machines": {"x": {
            "pythons": [], "platforms": [], "wheels": [], "debs": [],
            "engine": {"glibc": "2.34", "library": "", "wheel": {
                "distribution": "a", "version": "1", "file": "../a.whl", "sha256": "0" * 64, "size": 1, "pythons": [],
            }},
        }}}),
    ],
)  # fmt: skip
def test_what_holds_no_pins(tmp_path, document):
    """No JSON, another form, another format, a name that leads out of the cache."""
    path = tmp_path / "pins.json"
    path.write_text(document)
    with pytest.raises(PinError):
        load_pins(path)
    with pytest.raises(PinError):
        load_pins(tmp_path / "absent.json")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A function: target -> (the package that is really made for it, offline; its file)."""
    made: dict[str, tuple[Package, Path]] = {}
    wheels, cache = Path(__file__).parents[3] / "wheelhouse", HOME / ".cache" / "facegate" / "wheels"

    def make(target: str) -> tuple[Package, Path]:
        if target in made:
            return made[target]
        chosen = system(target)
        pins = load_pins(REAL)[chosen.machine]
        try:
            find_own_wheel(wheels, VERSION, chosen.machine)
        except WheelhouseError as error:
            pytest.skip(f"needs the wheels of `make wheels`: {error}")
        if any(cached(cache, pin) is None for pin in (pins.engine.wheel, *pins.wheels_for(chosen.pythons), *pins.debs)):
            pytest.skip("needs the pinned files in the cache: run `facegate package` once with a network")
        settings = Settings(
            target=target, bundle=BUNDLE, trust=TrustStore.load(KEY), wheels=wheels, cache=cache,
            pins=load_pins(REAL), offline=True,
        )  # fmt: skip
        path = tmp_path_factory.mktemp("real") / "door.pyz"
        package, size, _ = write_package(path, settings, lambda *_: None)
        assert path.stat().st_size == size
        made[target] = package, path
        return made[target]

    return make


@pytest.mark.parametrize("target", ["rpi4", "generic-armv7"])
def test_the_real_package_is_small(real, target):
    """Made of the real wheels, offline: whole, and small enough installed, as this project was asked for."""
    package, path = real(target)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("package.json"))["demonstration"] is True
    for sizes in package.installed().values():
        assert sizes["numpy_and_pillow"] > 0
        assert sizes["all"] - sizes["numpy_and_pillow"] <= MAX_INSTALLED


@pytest.mark.parametrize("target", ["rpi4", "generic-armv7"])
def test_every_library_that_is_needed_is_there(real, target):
    """What a library in the package asks for is in the package, or on every such system."""
    _, path = real(target)
    files = {name: data for name, data in binaries(path) if "_imagingft" not in name}  # draws text, and is not used
    there = {name.rpartition("/")[2] for name in files}
    missing = {
        f"{name.rpartition('/')[2]} needs {library}"
        for name, data in files.items()
        for library in needed(data) - there - EVERYWHERE
    }
    assert len(files) > 20
    assert not missing


def binaries(path):
    """(name, bytes) of every shared library in a package, its wheels and Debian packages; links have no bytes."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".whl"):
                with zipfile.ZipFile(io.BytesIO(archive.read(name))) as wheel:
                    yield from ((inner, wheel.read(inner)) for inner in wheel.namelist() if ".so" in inner)
            elif name.endswith(".deb"):
                with tarfile.open(fileobj=io.BytesIO(_debs._unpacked(archive.read(name)))) as tar:
                    for member in tar.getmembers():
                        if ".so" in member.name and not member.isdir():
                            yield member.name, tar.extractfile(member).read() if member.isfile() else b""
            elif ".so" in name:
                yield name, archive.read(name)
