"""Reading wheels: what they are, whether they are whole, and their licences."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING

from facegate_convert.errors import WheelError, WheelhouseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

__all__ = ["Wheel", "find_own_wheel", "glibc_of", "normalize", "read_wheel"]

OWN = "facegate"
_MAX_WHEEL = 1 << 28  # bytes; of its contents twice that
_NAME = re.compile(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl")
_LICENCE = re.compile(r"[^/]+\.dist-info/(?:licenses/.+|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)", re.IGNORECASE)
_MAX_LICENCE = 80  # characters of what a wheel says its licence is; beyond, it is the text itself
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was read and is whole.

    Attributes:
        file: its name.
        data: its bytes.
        archive: the same, opened.
        distribution: its name as it writes it.
        version: exact.
        platforms: for which it is, e.g. ("manylinux_2_28_aarch64",) or ("any",).
        license: its licence, as an expression or in its own words; "" if it does not say.
        size: of what it installs, bytes.
    """

    file: str
    data: bytes
    archive: zipfile.ZipFile
    distribution: str
    version: str
    platforms: tuple[str, ...]
    license: str
    size: int

    def licences(self) -> Iterator[zipfile.ZipInfo]:
        """The files that hold its licences."""
        for info in self.archive.infolist():
            if _LICENCE.fullmatch(info.filename) and not info.is_dir():
                yield info

    def member(self, name: str) -> zipfile.ZipInfo:
        """One of its files. Raises WheelError if it has none of that name."""
        try:
            return self.archive.getinfo(name)
        except KeyError:
            raise WheelError(f"{self.file} holds no {name}", hint="its pin is of a wheel of another kind") from None

    def size_without(self, prefixes: tuple[str, ...]) -> int:
        """What it installs without the files whose names begin so, bytes."""
        return sum(i.file_size for i in self.archive.infolist() if not i.filename.startswith(prefixes))


def normalize(name: str) -> str:
    """A distribution's name as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def glibc_of(platforms: tuple[str, ...]) -> tuple[int, int]:
    """The oldest C library that a wheel's platforms promise to run with (PEP 600); (0, 0) where they need none."""
    found = [(int(m[1]), int(m[2])) for p in platforms if (m := re.fullmatch(r"manylinux_(\d+)_(\d+)_\w+", p))]
    return min(found, default=(0, 0))


def read_wheel(file: str, data: bytes, *, pinned: bool = False) -> Wheel:
    """Read a wheel, and check each of its files against its own RECORD.

    Args:
        file: its name.
        data: its bytes.
        pinned: they have a pinned hash, so that what its RECORD says of them proves nothing more.

    Raises:
        WheelError: it is no wheel, is damaged, or was changed after it was built.
    """
    named = _NAME.fullmatch(file)
    if named is None:
        raise WheelError(f"{file} has no wheel's name", hint="name,version,python,abi,platform with dashes, and .whl")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        folder = f"{named[1]}-{named[2]}.dist-info"
        size = _check_files(file, archive)
        if not pinned:
            _check_record(file, archive, folder)
        facts = message_from_bytes(archive.read(f"{folder}/METADATA"))
    except WheelError:
        raise
    except _DAMAGE as error:
        raise WheelError(f"{file} is no wheel, or is damaged", hint="delete it, and get or build it again") from error
    distribution, version = str(facts.get("Name", "")), str(facts.get("Version", ""))
    if normalize(distribution) != normalize(named[1]) or version != named[2]:
        raise WheelError(
            f"{file} holds {distribution} {version}, which is not what its name says", hint="get or build it again"
        )
    return Wheel(file, data, archive, distribution, version, tuple(named[5].split(".")), _license(facts), size)


def find_own_wheel(folder: Path, version: str, machine: str) -> Wheel:
    """Facegate's own wheel for an architecture.

    Args:
        folder: the wheelhouse.
        version: of the facegate that runs: a package is made by the version that is in it.
        machine: the architecture.

    Raises:
        WheelhouseError: there is no such folder, no such wheel in it, or several.
        WheelError: the wheel is damaged.
    """
    build = "run `make wheels` in facegate's source, and name the folder with --wheels or in FACEGATE_WHEELS"
    if not folder.is_dir():
        raise WheelhouseError(f"there is no folder {folder} with facegate's wheels", hint=build)
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.startswith(f"{OWN}-"))
    except OSError as error:
        raise WheelhouseError(f"{folder} cannot be read: {error.strerror}", hint="check its mode") from error
    wheels = {name: m for name in names if (m := _NAME.fullmatch(name))}
    fitting = [name for name, m in wheels.items() if m[5].endswith(f"_{machine}")]
    exact = [name for name in fitting if wheels[name][2] == version]
    if not fitting:
        raise WheelhouseError(f"{folder} holds no facegate wheel for {machine}", hint=build)
    if not exact:
        there = ", ".join(sorted({wheels[name][2] for name in fitting}))
        what = f"{folder} holds facegate {there} for {machine}, and this is facegate {version}"
        raise WheelhouseError(what, hint=build)
    if len(exact) > 1:
        raise WheelhouseError(f"{folder} holds {' and '.join(exact)}", hint="keep the one that is meant")
    path = folder / exact[0]
    try:
        if path.stat().st_size > _MAX_WHEEL:
            raise WheelhouseError(f"{path} is larger than any wheel of facegate", hint=build)
        data = path.read_bytes()
    except OSError as error:
        raise WheelhouseError(f"{path} cannot be read: {error.strerror}", hint="check its mode") from error
    return read_wheel(path.name, data)


def _check_files(file: str, archive: zipfile.ZipFile) -> int:
    """Check names and sizes of a wheel's files; their size in all, bytes."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    size = sum(info.file_size for info in infos)
    if size > 2 * _MAX_WHEEL:
        raise WheelError(f"{file} unpacks to more than any wheel that is needed", hint="its pin is wrong")
    for info in infos:
        name = info.filename
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise WheelError(f"{file} holds a file outside of where it is unpacked", hint="do not use it")
    return size


def _check_record(file: str, archive: zipfile.ZipFile, folder: str) -> None:
    """Check the bytes of all files of a wheel."""
    record = archive.read(f"{folder}/RECORD").decode("utf-8")
    listed = {row[0]: row[1] for row in csv.reader(io.StringIO(record)) if row}
    for info in archive.infolist():
        name = info.filename
        if info.is_dir() or name.startswith(f"{folder}/RECORD"):
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(info)).digest()).rstrip(b"=").decode("ascii")
        if listed.get(name) != f"sha256={digest}":
            raise WheelError(
                f"{file} was changed after it was built: {name} is not what its RECORD says",
                hint="do not use it; delete it, and get or build it again",
            )


def _license(facts: Message) -> str:
    """What a wheel says its licence is: the expression, else its own word, else the classifiers."""
    for field in ("License-Expression", "License"):
        text = " ".join(str(facts.get(field) or "").split())
        if text and text != "UNKNOWN" and len(text) <= _MAX_LICENCE:
            return text
    trove = (
        str(c).rpartition(" :: ")[2] for c in facts.get_all("Classifier") or () if str(c).startswith("License :: ")
    )
    return " AND ".join(text for text in trove if text != "OSI Approved")
