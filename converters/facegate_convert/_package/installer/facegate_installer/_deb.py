"""Unpacking Debian packages into a folder of their own, in plain Python: 32-bit ARM has no wheels, Debian has.

Nothing of them is installed into the system: no script of theirs is run, and only their libraries, Python modules and
copyright files are kept.
"""

from __future__ import annotations

import io
import lzma
import os
import posixpath
import re
import tarfile
import zlib
from typing import IO, TYPE_CHECKING

from facegate_installer._errors import PackageError
from facegate_installer._wheel import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["library_folders", "python_folder", "unpack_debs"]

MAX_SIZE = 512 * 1024**2
MAX_FILES = 20_000
_MAGIC, _HEADER = b"!<arch>\n", 60
_CHUNK = 1 << 20
_KEPT = re.compile(r"(?:usr/)?lib/.+|usr/share/doc/[^/]+/copyright")
_LIBRARY = re.compile(r"lib[^/]*\.so(?:\.\d+)*")
_HINT = "build the package again from Debian's own files"


def unpack_debs(paths: Iterable[Path], folder: Path) -> None:
    """Unpack Debian packages, one over the other, into `folder`.

    Links are made last, of those that stay inside and lead to a file: a file written before cannot follow them.

    Raises:
        PackageError: damaged, unsafe, larger than allowed, or compressed otherwise than Debian 12 does.
        OSError: the disk.
    """
    links: dict[str, str] = {}
    room = [MAX_SIZE, MAX_FILES]
    for path in paths:
        with path.open("rb") as file:
            name, data = _data(file, path.name)
            _unpack(name, data, folder, links, room, path.name)
    _make_links(folder, links)


def python_folder(folder: Path) -> Path:
    """Where Debian keeps Python modules."""
    return folder / "usr/lib/python3/dist-packages"


def library_folders(folder: Path) -> list[Path]:
    """The folders with shared libraries that a loader must be told of."""
    modules = python_folder(folder)
    found = set()
    for path in folder.rglob("lib*.so*"):
        if _LIBRARY.fullmatch(path.name) and modules not in path.parents:
            found.add(path.parent)
    return sorted(found)


class _Part(io.RawIOBase):
    """A part of a file, to be read from its beginning to its end."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        return data


def _data(file: IO[bytes], source: str) -> tuple[str, _Part]:
    """The data.tar.* of a Debian package (deb(5): an ar archive). Raises PackageError."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise PackageError(f"{source} is no Debian package", hint=_HINT)
    while header := file.read(_HEADER):
        size = header[48:58].strip()
        if len(header) != _HEADER or header[58:] != b"`\n" or not size.isdigit():
            break
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        if name.startswith("data.tar"):
            return name, _Part(file, int(size))
        file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise PackageError(f"{source} is damaged: it has no data", hint=_HINT)


def _unpack(name: str, data: _Part, folder: Path, links: dict[str, str], room: list[int], source: str) -> None:
    openers = {"data.tar.xz": "r|xz", "data.tar.gz": "r|gz", "data.tar": "r|"}
    if name not in openers:
        raise PackageError(f"{source} is compressed as {name.rpartition('.')[2]}, not as Debian 12 does", hint=_HINT)
    try:
        with tarfile.open(fileobj=data, mode=openers[name]) as tar:  # type: ignore[call-overload]
            for member in tar:
                _take(tar, member, folder, links, room, source)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, UnicodeError):
        raise PackageError(f"{source} is damaged", hint=_HINT) from None


def _take(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    folder: Path,
    links: dict[str, str],
    room: list[int],
    source: str,
) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    room[1] -= 1
    room[0] -= member.size
    if min(room) < 0:
        raise PackageError("the Debian packages hold more than any device needs", hint=_HINT)
    if name in ("", ".") or member.isdir():
        return
    safe_path(name)
    if not _KEPT.fullmatch(name):
        return
    if member.issym():
        links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        return
    if not member.isreg():
        raise PackageError(f"{source} holds neither file nor link: {name!r}", hint=_HINT)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = tar.extractfile(member)
    assert taken is not None  # noqa: S101 - a regular file
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        raise PackageError(f"two Debian packages hold {name!r}", hint=_HINT) from None
    with os.fdopen(descriptor, "wb") as file:
        while chunk := taken.read(_CHUNK):
            file.write(chunk)


def _make_links(folder: Path, links: dict[str, str]) -> None:
    """Make the links that lead, in the end, to a file that was unpacked; pass over all others."""
    for name, first in sorted(links.items()):
        target, steps = first, 0
        while target in links and steps < len(links):
            target, steps = links[target], steps + 1
        path = folder / name
        good = _KEPT.fullmatch(target) and (folder / target).is_file() and not (folder / target).is_symlink()
        if good and not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(posixpath.relpath(target, posixpath.dirname(name)))
