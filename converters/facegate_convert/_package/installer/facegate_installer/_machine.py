"""What the device is: processor, Python, C library. Of this process, or of the image below `--root`."""

from __future__ import annotations

import os
import platform
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_installer._errors import MachineError

if TYPE_CHECKING:
    from facegate_installer._package import Info

__all__ = ["Machine", "check_fit", "find_machine"]

_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 40: "armv7l"}  # e_machine, System V ABI
_ELF = struct.Struct("<4s14xH")
_PYTHON = re.compile(r"python3\.(\d{1,2})")
_LIBC = re.compile(rb"GNU C Library [^\n]{0,80} version (\d+\.\d+)")
_MAX_LIBC = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Machine:
    """What a version is installed for.

    Attributes:
        machine: as `uname -m` says it.
        python: "3.11".
        glibc: "2.36"; "" if there is another C library.
        interpreter: the path on the device.
        here: whether this process runs the same Python, so that its bytecode can be made.
    """

    machine: str
    python: str
    glibc: str
    interpreter: str
    here: bool


def find_machine(root: Path) -> Machine:
    """The device's facts: of the image below `root` if there is a Python in it, else of this process."""
    image = _image(root) if root != Path("/") else None
    return image if image is not None else _this()


def check_fit(info: Info, machine: Machine) -> None:
    """Raise MachineError, with advice, if a package cannot run on a machine."""
    if info.machine != machine.machine:
        hint = "build one with `facegate package --target ...` for this machine"
        if info.machine == "aarch64" and machine.machine in ("armv7l", "armv8l"):
            hint = "this system is a 32-bit one: install a 64-bit system, or build the package for armv7l"
        raise MachineError(
            f"the package {info.name} is for {info.machine} ({info.target}), this is {machine.machine}", hint=hint
        )
    if machine.python not in info.pythons:
        others = ", ".join(info.pythons)
        found = [f"python{each}" for each in info.pythons if Path(f"/usr/bin/python{each}").exists()]
        hint = f"run it with {found[0]}" if found else "build the package for this Python: `facegate package --python`"
        raise MachineError(f"the package is for Python {others}, this is Python {machine.python}", hint=hint)
    if info.glibc and not machine.glibc:
        raise MachineError(
            "the package needs the GNU C library, and this system has another one (musl?)",
            hint="use Raspberry Pi OS, Debian, Ubuntu or JetPack",
        )
    if info.glibc and _numbers(machine.glibc) < _numbers(info.glibc):
        raise MachineError(
            f"the package needs glibc {info.glibc}, this system has {machine.glibc}",
            hint="Raspberry Pi OS 12, Debian 12, Ubuntu 22.04 and JetPack 6 are new enough; update the system",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _this() -> Machine:
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    name, _, version = _libc().partition(" ")
    machine = platform.machine()
    if machine == "aarch64" and sys.maxsize < 2**32:
        machine = "armv7l"  # a 32-bit system on a 64-bit kernel
    if machine == "armv8l":
        machine = "armv7l"  # what 32-bit processes see of a 64-bit kernel
    system = Path(f"/usr/bin/python{python}")
    interpreter = str(system) if system.exists() else os.path.realpath(sys.executable)
    return Machine(machine, python, version if name == "glibc" else "", interpreter, here=True)


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def _image(root: Path) -> Machine | None:
    """The facts of an image: its python3, that file's processor, its libc.so.6's version."""
    python = root / "usr/bin/python3"
    try:
        target = str(python.readlink()) if python.is_symlink() else "python3"
        found = _PYTHON.search(target)
        if found is None:
            return None
        with (root / "usr/bin" / Path(target).name).open("rb") as file:
            magic, code = _ELF.unpack(file.read(_ELF.size))
    except (OSError, struct.error):
        return None
    machine = _ELF_MACHINES.get(code, "")
    if magic != b"\x7fELF" or not machine:
        return None
    version = found[0].removeprefix("python")
    here = version == f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Machine(machine, version, _image_glibc(root), f"/usr/bin/{Path(target).name}", here=here)


def _image_glibc(root: Path) -> str:
    for pattern in ("lib/*/libc.so.6", "usr/lib/*/libc.so.6", "lib64/libc.so.6", "usr/lib64/libc.so.6"):
        for path in sorted(root.glob(pattern)):
            try:
                with path.open("rb") as file:
                    found = _LIBC.search(file.read(_MAX_LIBC))
            except OSError:
                continue
            if found:
                return found[1].decode("ascii")
    return ""
