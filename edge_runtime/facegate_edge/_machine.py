"""What this machine is: processor, features, board, memory, C library.

Everything comes from a few small files that the kernel keeps in memory, read up to a bound and believed in nothing: a
container, an emulator or an odd kernel can put anything there, and then a fact is missing, never an exception raised.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MachineFacts", "glibc_version", "glibcxx_version", "read_start", "this_machine"]

# The first processor's paragraph is enough; all of it is 200 KB on a large server, and slow to make for the kernel.
_CPUINFO_BYTES = 16 << 10
_SMALL_BYTES = 4096
_MAX_NAME = 80

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7l", "armv8b": "armv7l"}
_WORD = struct.calcsize("P")  # of this process: a 32-bit Python on a 64-bit kernel is a 32-bit machine
_NARROW = {"x86_64": "i686", "aarch64": "armv7l"}

_AT_HWCAP, _AT_HWCAP2 = 16, 26
# arch/arm64/include/uapi/asm/hwcap.h and arch/arm/include/uapi/asm/hwcap.h of Linux: (word, bit).
_HWCAPS = {
    "aarch64": {
        "neon": (_AT_HWCAP, 1),
        "fp16": (_AT_HWCAP, 10),  # ASIMDHP: float16 arithmetic on vectors
        "dotprod": (_AT_HWCAP, 20),
        "sve": (_AT_HWCAP, 22),
        "i8mm": (_AT_HWCAP2, 13),
        "bf16": (_AT_HWCAP2, 14),
    },
    "armv7l": {
        "neon": (_AT_HWCAP, 12),
        "vfpv3": (_AT_HWCAP, 13),
        "vfpv4": (_AT_HWCAP, 16),
        "fp16": (_AT_HWCAP, 23),  # ASIMDHP
        "dotprod": (_AT_HWCAP, 24),
        "i8mm": (_AT_HWCAP, 27),
    },
}
# The same, as /proc/cpuinfo spells them.
_SPELLINGS = {
    "aarch64": {"neon": "asimd", "fp16": "asimdhp", "dotprod": "asimddp"},
    "armv7l": {"fp16": "asimdhp", "dotprod": "asimddp"},
    "x86_64": {"vnni": "avx512_vnni", "avx512": "avx512f", "avx512fp16": "avx512_fp16", "sse4": "sse4_2"},
}
# arch/arm64/include/asm/cputype.h of Linux, and the 32-bit cores of arch/arm/include/asm/cputype.h; implementer Arm.
_ARM = "0x41"
_PARTS = {
    "0xc07": "Cortex-A7",
    "0xc08": "Cortex-A8",
    "0xc09": "Cortex-A9",
    "0xc0f": "Cortex-A15",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
}
_X86 = ("sse4", "avx", "avx2", "fma", "f16c", "avx512", "vnni", "avx_vnni", "avx512fp16")


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is known of a machine; what is not known is empty or 0.

    Attributes:
        machine: architecture of this process: "x86_64", "aarch64", "armv7l", ...
        kernel_machine: architecture of the kernel, which may be wider.
        cpu: the processor's name.
        features: neon, fp16 (arithmetic), dotprod, i8mm, sve, ... or avx2, fma, vnni, avx512fp16, ...; empty also where
            they cannot be seen.
        board: the device tree's model, e.g. "Raspberry Pi 4 Model B Rev 1.4".
        compatible: the device tree's `compatible`: who the board is, then what is on it.
        target: the name of the profile of this board, "" if it is none of them.
        cores: that this process may use.
        memory_mb: that Linux sees and this process may use, in MiB.
        glibc: version of the C library.
        glibcxx: N of the newest GLIBCXX_3.4.N.
    """

    machine: str
    kernel_machine: str = ""
    cpu: str = ""
    features: tuple[str, ...] = ()
    board: str = ""
    compatible: tuple[str, ...] = ()
    target: str = ""
    cores: int = 0
    memory_mb: int = 0
    glibc: tuple[int, ...] | None = None
    glibcxx: int | None = None


def this_machine(root: Path = Path("/")) -> MachineFacts:
    """Look at this machine. Raises nothing, and takes a millisecond.

    Args:
        root: where /proc and /sys are, for tests.
    """
    kernel = _architecture(platform.machine())
    machine = _NARROW.get(kernel, kernel) if _WORD == 4 else kernel  # noqa: PLR2004 - bytes of a 32-bit pointer
    cpuinfo = _fields(read_start(root / "proc/cpuinfo", _CPUINFO_BYTES))
    compatible = _strings(read_start(root / "proc/device-tree/compatible", _SMALL_BYTES))
    return MachineFacts(
        machine=machine,
        kernel_machine=kernel,
        cpu=_cpu_name(cpuinfo),
        features=_features(machine, cpuinfo, read_start(root / "proc/self/auxv", _SMALL_BYTES)),
        board=_clean(read_start(root / "proc/device-tree/model", _SMALL_BYTES)),
        compatible=compatible,
        target=_board_target(machine, compatible),
        cores=_cores(),
        memory_mb=_memory(root),
        glibc=glibc_version(),
        glibcxx=glibcxx_version(machine),
    )


def read_start(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a file, b"" if it cannot be read, or not at once."""
    try:
        # O_NONBLOCK: whatever stands there is never waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        data = b""
        while len(data) < limit and (chunk := os.read(descriptor, limit - len(data))):
            data += chunk
    except OSError:
        return b""
    else:
        return data
    finally:
        os.close(descriptor)


def _clean(data: bytes) -> str:
    """A name from a file: printable, on one line, not long."""
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_NAME]


def _strings(data: bytes) -> tuple[str, ...]:
    """A device tree's list of strings."""
    return tuple(name for part in data.split(b"\0") if (name := _clean(part)))


def _fields(cpuinfo: bytes) -> dict[str, str]:
    """The first value of each field of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in cpuinfo.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _architecture(name: str) -> str:
    return _ARCHITECTURES.get(name.lower(), name.lower())


def _cpu_name(fields: dict[str, str]) -> str:
    """The core's name; an ARM kernel gives its number, and as the model's name something like "ARMv8 Processor"."""
    if fields.get("CPU implementer", "").lower() == _ARM and (part := fields.get("CPU part", "").lower()) in _PARTS:
        return _PARTS[part]
    names = (fields.get(key, "") for key in ("model name", "Hardware", "CPU part"))
    return _clean(next((name for name in names if name), "").encode("utf-8", "replace"))


def _features(machine: str, cpuinfo: dict[str, str], auxv: bytes) -> tuple[str, ...]:
    """From the auxiliary vector where the machine has one that says it, else from /proc/cpuinfo.

    The vector is what the C library dispatches by, and it is right under emulation, where cpuinfo can be the host's.
    """
    bits = _HWCAPS.get(machine)
    words = _auxiliary(auxv) if bits else {}
    if bits and words.get(_AT_HWCAP):
        return tuple(name for name, (word, bit) in bits.items() if words.get(word, 0) >> bit & 1)
    has = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    spelling = _SPELLINGS.get(machine, {})
    names = bits or (_X86 if machine == "x86_64" else ())
    return tuple(name for name in names if spelling.get(name, name) in has)


def _auxiliary(data: bytes) -> dict[int, int]:
    """The pairs of an ELF auxiliary vector of this process's word size."""
    pair = struct.Struct("=QQ" if _WORD == 8 else "=II")  # noqa: PLR2004 - bytes of a pointer
    return dict(pair.iter_unpack(data[: len(data) - len(data) % pair.size]))


def _board_target(machine: str, compatible: tuple[str, ...]) -> str:
    from facegate_edge._targets import targets  # noqa: PLC0415 - the two modules know each other

    found = (t for t in targets().values() if t.machine == machine and not set(t.boards).isdisjoint(compatible))
    return next((t.name for t in found), "")


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 0


def _memory(root: Path) -> int:
    """MiB that Linux sees, or the least of the limits of this process's control groups."""
    match = re.search(
        rb"^MemTotal:\s{1,40}(\d{1,15}) kB", read_start(root / "proc/meminfo", _SMALL_BYTES), re.MULTILINE
    )
    total = int(match[1]) >> 10 if match else 0
    group = re.search(rb"^0::(/[^\n\0]*)$", read_start(root / "proc/self/cgroup", _SMALL_BYTES), re.MULTILINE)
    if group is None:
        return total
    folder = root / "sys/fs/cgroup"
    limits = [total] if total else []
    for part in ("", *[p for p in os.fsdecode(group[1]).split("/") if p not in ("", ".", "..")][:_MAX_DEPTH]):
        folder = folder / part
        text = read_start(folder / "memory.max", _SMALL_BYTES).strip()
        if text.isdigit() and len(text) < 20:  # noqa: PLR2004 - as many digits as 2^64 has
            limits.append(int(text) >> 20)
    return min(limits, default=0)


_MAX_DEPTH = 16


def glibc_version() -> tuple[int, ...] | None:
    """The C library's version, None if it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError, AttributeError):
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return (int(match[1]), int(match[2])) if match else None


def glibcxx_version(machine: str | None = None) -> int | None:
    """The N of the newest GLIBCXX_3.4.N that the system's libstdc++ has, None if there is no libstdc++."""
    folders = [
        f"/usr/lib/{machine or platform.machine()}-linux-gnu",
        "/usr/lib/arm-linux-gnueabihf",
        "/usr/lib64",
        "/usr/lib",
        "/lib",
    ]
    for folder in folders:
        try:
            library = os.path.realpath(os.path.join(folder, "libstdc++.so.6"))  # noqa: PTH118 - no loop raises here
        except OSError:  # an emulator's links need not make sense
            continue
        # The file's name carries the version: libstdc++.so.6.0.30 has GLIBCXX_3.4.30.
        match = re.fullmatch(r"libstdc\+\+\.so\.6\.0\.(\d+)", os.path.basename(library))  # noqa: PTH119
        if match:
            return int(match[1])
    return None
