"""Under which conditions something is measured here: load, frequency, temperature, throttling, emulation.

As with `_machine`, everything comes from small files of the kernel, read up to a bound and believed in nothing: what
cannot be read is None, and nothing here raises. No file is opened that holds a name, an address or a serial number.
"""

from __future__ import annotations

import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_edge._machine import read_start

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Conditions", "Frequency", "conditions", "is_emulated", "is_virtual", "kernel_release", "os_release"]

_BYTES = 4096
_MAX_ENTRIES = 64  # of a folder in /sys: a server has hundreds of cooling devices
# What /proc says of frequencies and what /sys/class/thermal says of degrees, where it is believable.
_KILOHERTZ = (1_000, 20_000_000)
_MILLIDEGREES = (-40_000, 150_000)

# Bits of the Raspberry Pi firmware's get_throttled: now under-voltage, frequency capped, throttled, soft limit of
# temperature; the same 16 bits higher since the board was started. raspberrypi/documentation, "vcgencmd".
_NOW = 0xF
_SINCE_BOOT = _NOW << 16

# e_machine of an ELF file, by the machine that Python says it runs on: elf.h.
_ELF = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "armv8l": 40, "armv6l": 40, "i686": 3, "riscv64": 243}
# Parts of a kernel's release that say how it was built for everybody; others may be somebody's own name for it.
_FLAVORS = {
    "2712",
    "aarch64",
    "amd64",
    "arm64",
    "armmp",
    "aws",
    "azure",
    "bpo",
    "cloud",
    "deb12",
    "deb13",
    "gcp",
    "generic",
    "lowlatency",
    "lpae",
    "mainline",
    "microsoft",
    "oracle",
    "raspi",
    "rpi",
    "rpt",
    "rt",
    "standard",
    "tegra",
    "v6",
    "v7",
    "v7l",
    "v8",
    "wsl2",
}


@dataclass(frozen=True, slots=True)
class Frequency:
    """How a group of cores is clocked; frequencies in kHz, None where unknown.

    Attributes:
        governor: what chooses the frequency, e.g. "ondemand".
        least, most: what it may choose.
        now: what it has chosen.
    """

    governor: str | None
    least: int | None
    most: int | None
    now: int | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What may make a measurement slower or faster, at one moment; None where it cannot be read.

    Attributes:
        load: mean number of runnable processes in the last minute.
        memory_available_mb: MiB that can be had without swapping.
        temperature: of the hottest zone, degrees Celsius.
        frequencies: one for each group of cores; empty if unknown.
        cooling: whether the kernel holds a processor's frequency down because of heat.
        firmware: a Raspberry Pi's `get_throttled` bits.
    """

    load: float | None = None
    memory_available_mb: int | None = None
    temperature: float | None = None
    frequencies: tuple[Frequency, ...] = ()
    cooling: bool | None = None
    firmware: int | None = None

    def throttled_since(self, before: Conditions) -> bool | None:
        """Whether the processor was slowed down between two moments, None if nothing says so or not."""
        said = [c.cooling for c in (before, self) if c.cooling is not None]
        said += [bool(c.firmware & _NOW) for c in (before, self) if c.firmware is not None]
        if self.firmware is not None and before.firmware is not None:
            said.append(bool(self.firmware & ~before.firmware & _SINCE_BOOT))
        return any(said) if said else None


def conditions(root: Path = Path("/")) -> Conditions:
    """Look at this machine now. Raises nothing.

    Args:
        root: where /proc and /sys are, for tests.
    """
    load = re.match(r"(\d{1,6}\.\d{1,4}) ", _text(root / "proc/loadavg"))
    available = re.search(r"^MemAvailable:\s{1,40}(\d{1,15}) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    degrees = [value / 1000 for path in _entries(root, "sys/class/thermal", "thermal_zone*") if (
        value := _number(path / "temp", _MILLIDEGREES)) is not None]  # fmt: skip
    return Conditions(
        load=float(load[1]) if load else None,
        memory_available_mb=int(available[1]) >> 10 if available else None,
        temperature=max(degrees, default=None),
        frequencies=tuple(_frequency(p) for p in _entries(root, "sys/devices/system/cpu/cpufreq", "policy*")),
        cooling=_cooling(root),
        firmware=_firmware(root),
    )


def is_emulated(root: Path = Path("/")) -> bool | None:
    """Whether another processor's instructions are translated (qemu-user, Rosetta, box64): None if it cannot be seen.

    Such an emulator shows its guest a /proc of the guest's kind. But it does not translate every way to it: the
    program that /proc/thread-self names is the emulator itself, whose ELF header has the real machine's number.
    A whole emulated computer looks like a computer from inside; see `is_virtual`.
    """
    header = read_start(root / "proc/thread-self/exe", 20)
    wanted = {_ELF.get(platform.machine(), 0), _ELF.get(_narrow(platform.machine()), 0)} - {0}
    if len(header) < 20 or header[:4] != b"\x7fELF" or not wanted:  # noqa: PLR2004 - up to and with e_machine
        return None
    order = ">" if header[5] == 2 else "<"  # noqa: PLR2004 - ELFDATA2MSB
    return struct.unpack(f"{order}H", header[18:20])[0] not in wanted


def is_virtual(root: Path = Path("/")) -> bool | None:
    """Whether this is a virtual machine, None if nothing that would say so can be read."""
    cpuinfo = read_start(root / "proc/cpuinfo", 4 * _BYTES)
    compatible = read_start(root / "proc/device-tree/compatible", _BYTES)
    vendor = _text(root / "sys/class/dmi/id/sys_vendor") + _text(root / "sys/class/dmi/id/product_name")
    kind = _text(root / "sys/hypervisor/type")
    if not cpuinfo and not compatible and not vendor and not kind:
        return None
    flags = re.search(rb"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return bool(
        kind
        or (flags and b"hypervisor" in flags[1].split())
        or b"linux,dummy-virt" in compatible
        or (root / "proc/device-tree/hypervisor").exists()
        or re.search(r"QEMU|KVM|VMware|VirtualBox|Xen|Bochs|Virtual Machine|Amazon EC2|Google Compute", vendor)
    )


def kernel_release() -> str:
    """The kernel's version with what is known of how it was built, e.g. "6.6.51+rpt-rpi-2712"; "" if it is none.

    The release of a kernel that somebody built can carry a name of theirs: what is not known is left out.
    """
    release = platform.release()
    match = re.match(r"\d{1,4}(?:\.\d{1,6}){1,3}", release)
    if match is None:
        return ""
    kept = match[0]
    for mark, word in re.findall(r"([-+.~])([A-Za-z0-9]+)", release[match.end() :]):
        if word in _FLAVORS or (word.isdigit() and len(word) < 4 and mark == "-"):  # noqa: PLR2004 - a package's number
            kept += mark + word
    return kept[:64]


def os_release(root: Path = Path("/")) -> str:
    """The distribution and its version, e.g. "debian 12"; "" if it does not say."""
    text = _text(root / "etc/os-release") or _text(root / "usr/lib/os-release")
    found = dict(re.findall(r"^(ID|VERSION_ID)=\"?([a-z0-9._-]{1,24})\"?\s*$", text, re.MULTILINE))
    return " ".join(found[key] for key in ("ID", "VERSION_ID") if key in found)


def _narrow(machine: str) -> str:
    """What a 32-bit program's own machine is on such a kernel."""
    return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)


def _text(path: Path) -> str:
    return read_start(path, _BYTES).decode("utf-8", "replace")


def _entries(root: Path, folder: str, pattern: str) -> Iterator[Path]:
    try:
        yield from sorted((root / folder).glob(pattern))[:_MAX_ENTRIES]
    except OSError:
        return


def _number(path: Path, limits: tuple[int, int]) -> int | None:
    """A whole number on its own, None if it is none, or not within the limits."""
    text = _text(path).strip()
    if not re.fullmatch(r"-?\d{1,9}", text):
        return None
    return value if limits[0] <= (value := int(text)) <= limits[1] else None


def _word(path: Path) -> str | None:
    text = _text(path).strip()
    return text if re.fullmatch(r"[a-z_]{1,32}", text) else None


def _frequency(policy: Path) -> Frequency:
    return Frequency(
        governor=_word(policy / "scaling_governor"),
        least=_number(policy / "scaling_min_freq", _KILOHERTZ),
        most=_number(policy / "scaling_max_freq", _KILOHERTZ),
        now=_number(policy / "scaling_cur_freq", _KILOHERTZ),
    )


def _cooling(root: Path) -> bool | None:
    """Whether one of the kernel's cooling devices that slow a processor down is at work."""
    states = [
        state
        for device in _entries(root, "sys/class/thermal", "cooling_device*")
        if re.match(r"(?:thermal-)?cpu|Processor", _text(device / "type"))
        and (state := _number(device / "cur_state", (0, 10_000))) is not None
    ]
    return any(states) if states else None


def _firmware(root: Path) -> int | None:
    """A Raspberry Pi's throttling bits, as its kernel shows them: hexadecimal, without a prefix."""
    for path in _entries(root, "sys/devices/platform", "soc*/soc*firmware/get_throttled"):
        text = _text(path).strip()
        if re.fullmatch(r"(?:0x)?[0-9a-f]{1,8}", text):
            return int(text, 16)
    return None
