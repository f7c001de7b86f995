"""Unpacking a wheel: every file held against its RECORD, nothing outside its folder, nothing but plain files."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

from facegate_installer._errors import MachineError, PackageError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_installer._machine import Machine

__all__ = ["safe_path", "unpack_wheel", "wheel_size"]

MAX_FILES = 20_000
MAX_SIZE = 512 * 1024**2
_MAX_RECORD = 8 * 1024**2
_CHUNK = 1 << 20
_DIST_INFO = re.compile(r"([^/]+)\.dist-info/RECORD")
_DATA = re.compile(r"[^/]+\.data/(purelib|platlib)/(.+)")
_OTHER_DATA = re.compile(r"[^/]+\.data/.+")
_SIGNATURES = (".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")
_HINT = "build the package again from wheels of a package index"


def safe_path(name: str) -> str:
    """A member's name, if it stays in its folder. Raises PackageError."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise PackageError(f"an archive in the package holds a path that leads out of it: {name!r}", hint=_HINT)
    return name


def wheel_size(file: IO[bytes], source: str) -> tuple[int, int]:
    """How many bytes a wheel unpacks to, and how many of them are Python sources. Raises PackageError."""
    with file, _open(file, source) as wheel:
        infos = _members(wheel, source)
    return sum(info.file_size for info in infos), sum(i.file_size for i in infos if i.filename.endswith(".py"))


def unpack_wheel(path: Path, site: Path, machine: Machine, *, leave_out: tuple[str, ...] = ()) -> None:
    """Unpack a wheel into `site`; files whose names begin with one of `leave_out` are checked and not written.

    Raises:
        PackageError: damaged, not as its RECORD says, unsafe, or a file of another wheel is in the way.
        MachineError: it is for another Python or processor.
        OSError: the disk.
    """
    with _open(path, path.name) as wheel:
        infos = _members(wheel, path.name)
        names = {info.filename for info in infos}
        records = [name for name in names if _DIST_INFO.fullmatch(name)]
        if len(records) != 1:
            raise PackageError(f"{path.name} is no wheel: it has {len(records)} RECORDs", hint=_HINT)
        folder = records[0].removesuffix("RECORD")
        _check_tags(path.name, _text(wheel, folder + "WHEEL", names), machine)
        record = _record(_text(wheel, records[0], names), path.name)
        ignored = {records[0], *(name for name in names if name.endswith(_SIGNATURES))}
        if set(record) - ignored != names - ignored:
            odd = min((set(record) ^ names) - ignored)
            raise PackageError(f"{path.name} does not hold what its RECORD says: {odd!r}", hint=_HINT)
        for info in infos:
            expected = record.get(info.filename) if info.filename not in ignored else None
            place = None if info.filename.startswith(leave_out) else _place(info.filename, site)
            _write(wheel, info, place, expected, path.name)


def _open(file: Path | IO[bytes], source: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error):
        raise PackageError(f"{source} is no wheel", hint=_HINT) from None


def _members(wheel: zipfile.ZipFile, source: str) -> list[zipfile.ZipInfo]:
    """The files of a wheel, after looking at what their directory claims."""
    infos = [info for info in wheel.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > MAX_SIZE:
        raise PackageError(f"{source} claims to hold more than any wheel does", hint=_HINT)
    seen: set[str] = set()
    for info in infos:
        name = safe_path(info.filename)
        if name in seen or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.flag_bits & 1:
            raise PackageError(f"{source} holds what no wheel does: {name!r}", hint=_HINT)
        seen.add(name)
    return infos


def _text(wheel: zipfile.ZipFile, name: str, names: set[str]) -> str:
    if name not in names or wheel.getinfo(name).file_size > _MAX_RECORD:
        raise PackageError(f"{wheel.filename} is no wheel: it has no {name}", hint=_HINT)
    try:
        return wheel.read(name).decode("utf-8")
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise PackageError(f"{name} is damaged", hint=_HINT) from None


def _record(text: str, source: str) -> dict[str, str]:
    """The sha256 of each file, in base64url; "" for RECORD itself. Raises PackageError."""
    found: dict[str, str] = {}
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        raise PackageError(f"{source} has a damaged RECORD", hint=_HINT) from None
    for row in rows:
        name = row[0]
        algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
        if name in found or (algorithm and algorithm != "sha256"):
            raise PackageError(f"{source} has a RECORD that is not understood: {name!r}", hint=_HINT)
        found[name] = digest
    return found


def _place(name: str, site: Path) -> Path | None:
    """Where a member goes; None for scripts, headers and the like, which a device has no use for."""
    data = _DATA.fullmatch(name)
    if data is None and _OTHER_DATA.fullmatch(name):
        return None
    return site / (data[2] if data else name)


def _write(wheel: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path | None, expected: str | None, source: str) -> None:
    digest = hashlib.sha256()
    descriptor = -1
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with wheel.open(info) as member:
            while chunk := member.read(_CHUNK):
                digest.update(chunk)
                view = memoryview(chunk)
                while path is not None and view:
                    view = view[os.write(descriptor, view) :]
    except (FileExistsError, NotADirectoryError):
        raise PackageError(f"two wheels of the package hold {info.filename!r}", hint=_HINT) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise PackageError(f"{info.filename} in {source} is damaged", hint=_HINT) from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    found = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
    if expected is not None and found != expected.rstrip("="):
        raise PackageError(f"{info.filename} is not the file that {source} records", hint=_HINT)


def _check_tags(source: str, text: str, machine: Machine) -> None:
    """Raise MachineError unless one of a wheel's tags fits (PEP 425)."""
    tags = [line.partition(":")[2].strip() for line in text.splitlines() if line.lower().startswith("tag:")]
    minor = int(machine.python.partition(".")[2])
    for tag in tags:
        pythons, _, rest = tag.partition("-")
        abis, _, platforms = rest.partition("-")
        for python in pythons.split("."):
            exact = python == f"cp3{minor}"
            older = re.fullmatch(r"cp3(\d+)", python)
            stable = older is not None and int(older[1]) <= minor and "abi3" in abis.split(".")
            pure = python == "py3" or (re.fullmatch(r"py3\d+", python) is not None and int(python[3:]) <= minor)
            fits = [each for each in platforms.split(".") if each == "any" or each.endswith(f"_{machine.machine}")]
            if (exact or stable or pure) and any("linux" in each or each == "any" for each in fits):
                return
    raise MachineError(
        f"{source} is for {', '.join(tags) or 'nothing'}, not for Python {machine.python} on {machine.machine}",
        hint="build the package again for this machine",
    )
