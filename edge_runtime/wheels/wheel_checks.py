"""Everything that must be true of a wheel before anybody gets it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import wheel_elf
import wheel_instructions
from wheel_repack import FILE, SHARED_OBJECT, record_hash
from wheel_targets import OLDEST_PYTHON, WheelError, WheelTarget
from wheel_tools import tail

MODULE = "facegate_edge/_native.abi3.so"


def check_wheel(wheel: Path, target: WheelTarget) -> None:
    """Check a finished wheel: its archive, its module, auditwheel's and abi3audit's opinion.

    Raises:
        WheelError: with everything that is wrong with it.
    """
    found = archive_faults(wheel, target)
    if not found:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
            module = Path(archive.extract(MODULE, folder))
            found = wheel_elf.faults(module, target)
        found += auditwheel_faults(wheel, target) + abi3audit_faults(wheel)
    if found:
        raise WheelError(f"{wheel.name} is not good:\n" + "\n".join(f"- {fault}" for fault in found))


def check_instructions(module: Path, target: WheelTarget) -> None:
    """Check that no function of the unstripped `module` needs more than every machine of `target` has."""
    found = wheel_instructions.unguarded(module, target)
    if found:
        raise WheelError(
            f"instructions that not every {target.name} machine has are in: {', '.join(found)}",
            hint="its name has to say neon (armv7l) or dotprod (aarch64), and it is called only after a test",
        )


def archive_faults(wheel: Path, target: WheelTarget) -> list[str]:
    """What is wrong with the archive: its name, its tag, its members, its RECORD."""
    found = [] if wheel.name.endswith(f"-{target.tag}.whl") else [f"its name does not say {target.tag}"]
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = archive.infolist()
            members = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return [f"it is no readable ZIP: {error}"]
    metadata = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    modules = sorted(member for member in members if member.endswith(".so") or ".so." in member)
    if modules != [MODULE]:
        found.append(f"its native modules are {modules}, not {MODULE} alone")
    said = members.get(f"{metadata}WHEEL", b"").decode().splitlines()
    lines = ("Root-Is-Purelib: false", f"Tag: {target.tag}")
    found += [f"its WHEEL does not say '{line}'" for line in lines if line not in said]
    return found + member_faults(infos) + record_faults(members, f"{metadata}RECORD")


def member_faults(infos: list[zipfile.ZipInfo]) -> list[str]:
    """What is wrong with names, dates and modes of an archive's members."""
    found = []
    if len({info.filename for info in infos}) != len(infos):
        found.append("it has a file twice")
    if len({info.date_time for info in infos}) != 1:
        found.append("its files are of different dates")
    for info in infos:
        if info.external_attr >> 16 != (SHARED_OBJECT if info.filename.endswith(".so") else FILE):
            found.append(f"{info.filename} has the mode {info.external_attr >> 16:o}")
        if PurePosixPath(info.filename).suffix in {".pyc", ".c", ".h", ".o"} or info.filename.startswith("tests/"):
            found.append(f"{info.filename} does not belong into a wheel")
    return found


def record_faults(members: dict[str, bytes], name: str) -> list[str]:
    """Where RECORD and the files differ."""
    rows = list(csv.reader(io.StringIO(members.get(name, b"").decode())))
    want = [[member, record_hash(content), str(len(content))] for member, content in members.items() if member != name]
    if rows != [*want, [name, "", ""]]:
        return ["its RECORD does not list its files as they are, in their order"]
    return []


def auditwheel_faults(wheel: Path, target: WheelTarget) -> list[str]:
    """Whether auditwheel finds the tag's promise kept."""
    done = _tool("auditwheel", "show", "--json", str(wheel))
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return [f"auditwheel failed: {tail(done.stderr + done.stdout)}"]
    tag = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{target.name}", said["overall_tag"])
    if tag is None or (int(tag[1]), int(tag[2])) > target.glibc or said["unsupported_isa"]:
        return [f"auditwheel takes it for {said['overall_tag']}, which is not {target.platform} or older"]
    return []


def abi3audit_faults(wheel: Path) -> list[str]:
    """Whether the module keeps to the stable ABI of the oldest Python."""
    done = _tool("abi3audit", "--strict", "--assume-minimum-abi3", OLDEST_PYTHON, str(wheel))
    return [f"abi3audit: {tail(done.stderr + done.stdout)}"] if done.returncode else []


def _tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the environment's programs."""
    program = Path(sysconfig.get_path("scripts")) / name
    try:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise WheelError(
            f"{name} is not installed in {sys.prefix}", hint="make wheels installs it into .venv-wheels", exit_code=5
        ) from None
