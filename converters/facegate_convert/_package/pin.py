"""A maintainer's command that chooses the pins anew.

`python -m facegate_convert._package.pin` takes the newest releases that facegate's own requirements allow, for each
architecture and Python, and for 32-bit ARM what Debian 12 has, and writes pins.json. What it chose is read in the
change of that file, then tried: `make wheels`, a package for each target, the emulated machines.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import zipfile
from email import message_from_bytes
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate_convert._files import write_file
from facegate_convert._package._debs import Apt
from facegate_convert._package._fetch import default_cache, run, said
from facegate_convert._package._pins import FORMAT, PINS
from facegate_convert._package._wheels import normalize
from facegate_convert.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Every system of docs/targets.md that has an engine has glibc 2.34 at least; armv7l's is Debian 12.
_MACHINES = {
    "x86_64": (("3.10", "3.11", "3.12", "3.13"), (34, 28, 27, 24, 17, 12, 5)),
    "aarch64": (("3.10", "3.11", "3.12", "3.13"), (34, 31, 28, 27, 24, 17)),
    "armv7l": (("3.11",), (34, 31, 28, 17)),
}
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# The engine, and the oldest C library that its machine code runs with (readelf -V), which its wheel's tag understates.
_LITERT = ("ai-edge-litert==2.3.0", "2.34")
_TFLITE = ("tflite-runtime==2.14.0", "2.34")  # its code needs 2.27, its tag says 2.34
_EXTRAS = ("terminal", "webhook")  # of facegate: what a device may need beside the runtime
_LIBRARY = "ai_edge_litert/libLiteRt.so"
# Debian 12's cffi is 1.15: cryptography 46 asks for 2, and pycparser 3 came after it.
_BOUNDS = {"armv7l": {"cryptography": "<46", "pycparser": "<3"}}
_FROM_DEBIAN = {
    "numpy": ("python3-numpy",),
    "cffi": ("python3-cffi", "python3-cffi-backend"),
    "pillow": ("python3-pil",),
}
# Pulled in by packages for what is not used here: numpy's f2py, Pillow's file types of the desktop, and drawing text
# (PIL._imagingft, which alone needs these libraries and does not load without them); Python parts that are wheels.
_LEFT_OUT = {
    "mailcap", "mime-support", "python3-pkg-resources", "python3-ply", "python3-pycparser",
    "libraqm0", "libharfbuzz0b", "libgraphite2-3", "libglib2.0-0", "libfribidi0", "libfreetype6", "libpng16-16",
    "libbrotli1",
}  # fmt: skip
_OF_DEBIAN_CFFI = "pycparser"  # what Debian's cffi needs, as a wheel
_NO_WHEEL = {
    "armv7l": {"gpiod"}
}  # optional there: the terminal's door line by GPIO needs it, a file-backed one does not


def main() -> int:
    """Write the pins."""
    machines = {name: _machine(name) for name in _MACHINES}
    document = {"format": FORMAT, "machines": machines}
    write_file(PINS, [json.dumps(document, indent=1).encode("ascii") + b"\n"])
    for name, fields in machines.items():
        sys.stdout.write(f"{name}: {len(fields['wheels'])} wheels, {len(fields['debs'])} Debian packages\n")
    return 0


def _machine(machine: str) -> dict[str, Any]:
    pythons, minors = _MACHINES[machine]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in minors]
    platforms += [f"{_OLD_NAMES[minor]}_{machine}" for minor in minors if minor in _OLD_NAMES]
    requirement, glibc = _TFLITE if machine == "armv7l" else _LITERT
    skipped = {"ai-edge-litert", "tflite-runtime", *_NO_WHEEL.get(machine, ())}
    debian = _FROM_DEBIAN if machine == "armv7l" else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = _download(folder, requirement, pythons[0], platforms)
        library = ""
        if machine != "armv7l":
            with zipfile.ZipFile(engine) as archive:
                library = hashlib.sha256(archive.read(_LIBRARY)).hexdigest()
        chosen: dict[str, dict[str, Any]] = {}
        for python in pythons:
            _resolve(chosen, folder, machine, python, platforms, skipped | set(debian))
        wheels = sorted(chosen.values(), key=lambda w: (w["distribution"], w["file"]))
        wheels = [{name: value for name, value in wheel.items() if name != "broad"} for wheel in wheels]
        return {
            "pythons": list(pythons),
            "platforms": platforms,
            "engine": {"wheel": _pin(engine, list(pythons)), "glibc": glibc, "library": library},
            "wheels": wheels,
            "debs": _debs(debian) if debian else [],
        }


def _resolve(
    chosen: dict[str, dict[str, Any]], folder: Path, machine: str, python: str, platforms: list[str], skipped: set[str]
) -> None:
    """Choose a wheel for each distribution that facegate needs on a Python, and for what those need."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - matplotlib's; nothing but this command needs it

    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_version": f"{python}.0",
        "platform_machine": machine, "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "platform_release": "",
        "platform_version": "",
    }  # fmt: skip
    bounds = _BOUNDS.get(machine, {})
    queue = [Requirement(text) for text in requires("facegate") or ()]
    queue += [Requirement(_OF_DEBIAN_CFFI)] if "cffi" in skipped else []
    seen: set[str] = set()
    top = True
    while queue:
        following: list[Requirement] = []
        for requirement in queue:
            name = normalize(requirement.name)
            extras = ("", *_EXTRAS) if top else ("",)
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({**environment, "extra": extra}) for extra in extras):
                continue
            if name in skipped or name in seen:
                continue
            seen.add(name)
            wheel = next((w for w in chosen.values() if w["distribution"] == name and w["broad"]), None)
            if wheel is None:
                wanted = f"{requirement.name}{requirement.specifier}" + (bounds.get(name, "") and f",{bounds[name]}")
                path = _download(folder, wanted.replace(f"{requirement.name},", requirement.name), python, platforms)
                abi = path.name.split("-")[-2]
                wheel = {**_pin(path, []), "broad": abi in {"abi3", "none"}}
                chosen[path.name] = wheel
            wheel["pythons"].append(python)
            with zipfile.ZipFile(folder / wheel["file"]) as archive:
                facts = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                needs = message_from_bytes(archive.read(facts)).get_all("Requires-Dist") or ()
            following += [Requirement(str(text)) for text in needs]
        queue, top = following, False


def _download(folder: Path, requirement: str, python: str, platforms: Iterable[str]) -> Path:
    """Fetch the newest wheel that a requirement allows."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, "--implementation=cp", "--dest", name]
        answer = run([*command, *(f"--platform={platform}" for platform in platforms), requirement])
        files = list(Path(name).iterdir())
        if answer.returncode or len(files) != 1:
            raise FetchError(f"no wheel of {requirement} for Python {python}", hint=f"pip says: {said(answer.stderr)}")
        return files[0].replace(folder / files[0].name)


def _pin(path: Path, pythons: list[str]) -> dict[str, Any]:
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        facts = message_from_bytes(archive.read(name))
    return {
        "distribution": normalize(str(facts["Name"])),
        "version": str(facts["Version"]),
        "file": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "pythons": pythons,
    }


def _debs(wanted: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """The packages that bring these distributions, and of all that they need what not every Debian 12 has."""
    provides = {package: name for name, packages in wanted.items() for package in packages}
    cache = default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        apt = Apt(Path(name))
        apt.update()
        base, package = set(), ""
        for line in apt("apt-cache", "dumpavail").splitlines():
            if line.startswith("Package: "):
                package = line[9:]
            elif line in {"Priority: required", "Priority: important"}:
                base.add(package)
        there = _closure(apt, [*sorted(base), "python3"])
        needed = [p for p in _closure(apt, list(provides)) if p not in there and p not in _LEFT_OUT]
        return [_deb(apt, package, provides.get(package, "")) for package in sorted(needed)]


def _closure(apt: Apt, packages: list[str]) -> list[str]:
    """All that would be installed on an empty system with these packages."""
    lines = apt("apt-get", "install", "--simulate", "--yes", *packages).splitlines()
    return [line.split()[1] for line in lines if line.startswith("Inst ")]


def _deb(apt: Apt, package: str, distribution: str) -> dict[str, Any]:
    shown = apt("apt-cache", "show", "--no-all-versions", package)
    fields = dict(line.split(": ", 1) for line in shown.splitlines() if ": " in line and line[0] != " ")
    return {
        "package": package,
        "version": fields["Version"],
        "file": fields["Filename"].rpartition("/")[2],
        "sha256": fields["SHA256"],
        "size": int(fields["Size"]),
        "provides": distribution,
    }


if __name__ == "__main__":
    sys.exit(main())
