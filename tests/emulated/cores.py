"""The cores that are emulated, and the machines that a program finds itself on: the one place that says so.

qemu-user 7.2 shows a guest the /proc/cpuinfo of the host, on which the engine's own detection of ARM cores crashes. So
each core has a root of its own, of links into the common one, with the files that a kernel would show on that core.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

_ARMV8 = "fp asimd evtstrm crc32 cpuid"
_CRYPTO = "aes pmull sha1 sha2"
COUNT = 4  # cores a machine has
TESTED = ("cortex-a72", "cortex-a76")  # on which everything is tested


@dataclass(frozen=True, slots=True)
class Core:
    """A core and the machine it stands for.

    Attributes:
        name: What qemu calls it (`-cpu`).
        board: A board that has it.
        arch: Debian's name of the architecture: arm64 or armhf.
        part: The part number that /proc/cpuinfo shows.
        revision: Likewise.
        features: Likewise: what the board's kernel shows, which may be less than qemu emulates (a Raspberry Pi 4 has
            no AES).
        khz: Highest clock frequency in kHz.
    """

    name: str
    board: str
    arch: str
    part: int
    revision: int
    features: str
    khz: int


CORES = {
    core.name: core
    for core in (
        Core("cortex-a53", "Raspberry Pi 3", "arm64", 0xD03, 4, _ARMV8, 1_400_000),
        Core("cortex-a57", "Jetson Nano", "arm64", 0xD07, 1, f"fp asimd evtstrm {_CRYPTO} crc32 cpuid", 1_479_000),
        Core("cortex-a72", "Raspberry Pi 4", "arm64", 0xD08, 3, _ARMV8, 1_800_000),
        Core(
            "cortex-a76",
            "Raspberry Pi 5",
            "arm64",
            0xD0B,
            1,
            f"fp asimd evtstrm {_CRYPTO} crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
            2_400_000,
        ),
        Core(
            "cortex-a7",
            "Raspberry Pi 2",
            "armhf",
            0xC07,
            5,
            "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
            900_000,
        ),
    )
}


def files(core: Core) -> dict[str, str]:
    """What the kernel of a board with this core shows: path below the root -> content."""
    architecture = 8 if core.arch == "arm64" else 7
    shown = {
        "proc/cpuinfo": "".join(
            f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {core.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: {architecture}\nCPU variant\t: 0x0\nCPU part\t: {core.part:#05x}\n"
            f"CPU revision\t: {core.revision}\n\n"
            for number in range(COUNT)
        )
    }
    system = "sys/devices/system/cpu"
    everybody = f"0-{COUNT - 1}\n"
    shown |= {f"{system}/{name}": everybody for name in ("possible", "present", "online")}
    shown[f"{system}/kernel_max"] = f"{COUNT - 1}\n"
    for number in range(COUNT):
        one = f"{system}/cpu{number}"
        shown |= {
            f"{one}/topology/physical_package_id": "0\n",
            f"{one}/topology/core_id": f"{number}\n",
            f"{one}/topology/core_siblings_list": everybody,
            f"{one}/topology/package_cpus_list": everybody,
            f"{one}/topology/thread_siblings_list": f"{number}\n",
            f"{one}/cpufreq/cpuinfo_max_freq": f"{core.khz}\n",
            f"{one}/cpufreq/cpuinfo_min_freq": "600000\n",
        }
    return shown


def make_root(machine: Path, core: Core, qemu: Path, libraries: Path) -> Path:
    """The root of a core: made once, then found; several processes may ask at the same time.

    Its usr/bin/python3.11 is a script that starts the emulator, so that a program which starts `sys.executable` stays
    on the machine without the kernel's help (binfmt).

    Args:
        machine: The folder with the roots, which gets a folder `cores`.
        core: Which core.
        qemu: The emulator of its architecture.
        libraries: The emulator's own shared libraries.

    Returns:
        The folder to give to qemu's -L.
    """
    common = machine / f"root-{core.arch}"
    start = _START.format(libraries=libraries, qemu=qemu, cpu=core.name, python=common / "usr/bin/python3.11")
    shown = files(core)
    record = common.with_name(f"{common.name}.made")
    made_of = (_LINKS, sorted(shown.items()), start, record.read_text() if record.exists() else "")
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    root = machine / "cores" / f"{core.name}-{key}"
    if root.exists():
        return root
    root.parent.mkdir(exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    new.chmod(0o755)
    _link_all(common, new)
    for name, text in shown.items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("python3", "python3.11"):
        script = new / "usr/bin" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(start)
        script.chmod(0o755)
    try:
        new.rename(root)
    except OSError:
        if not root.exists():
            raise
        shutil.rmtree(new)  # somebody else was faster
    return root


# $0 is this script's absolute path, which becomes sys.executable. The guest must not see the emulator's library path,
# but a child of it that is a script again must find the plugin.
_START = """#!/bin/sh
root=${{0%/usr/bin/*}}
ulimit -c 0
exec env LD_LIBRARY_PATH={libraries} {qemu} ${{EMULATED_PLUGIN:+-plugin "$EMULATED_PLUGIN"}} -cpu {cpu} -L "$root" \\
  -E LD_LIBRARY_PATH="${{EMULATED_LIBRARIES:-}}" -0 "$0" {python} "$@"
"""


_LINKS = ("bin", "etc", "lib", "sbin")


def _link_all(common: Path, new: Path) -> None:
    """All of the common root but its Python programs, and what is the host's: /tmp, /var."""
    for name in _LINKS:
        _link(common / name, new / name)
    for part in sorted((common / "usr").iterdir()):
        if part.name != "bin":
            _link(part, new / "usr" / part.name)
    for program in sorted((common / "usr/bin").iterdir()):
        if not program.name.startswith("python3"):
            _link(program, new / "usr/bin" / program.name)


def _link(target: Path, link: Path) -> None:
    if target.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)  # absolute: a guest sees it below another path
