"""The zip archive that a package is: opened strictly, so that every byte of it is either listed or refused.

General readers accept many spellings of an archive, and two of them can see different files in the same bytes. Here
there is one: an optional `#!` line, the members one after the other, the directory, its end, and nothing else. A
member's data, too, are exactly as long as the directory says: `zipfile` stops reading there, and `zipimport`, which is
what runs a package, does not.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

from facegate_installer._errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["MAX_MEMBER", "Archive"]

MAX_MEMBERS = 4000
MAX_MEMBER = 512 * 1024**2
MAX_TOTAL = 1024**3
_MAX_SHEBANG = 128
# What `facegate package` writes: stored or deflated, 1980-01-01, 0644, made by "Unix 2.0", no extra field, no comment.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION, _DATE, _MODE = 20, 0x21, 0o100644 << 16
_CHUNK = 1 << 20
_HINT = "copy it again, and compare its sha256 with what `facegate package` printed"


class Archive:
    """A package's archive, open for reading. What is read is what this descriptor holds, whatever its name becomes.

    Raises:
        PackageError: it cannot be read, is no archive, or not in the one spelling.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}  # where each member's data begin
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise PackageError(f"{path} cannot be read: {error.strerror}", hint="name the package's file") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PackageError(f"{path} is no regular file", hint="name the package's file")
        self._file: IO[bytes] = os.fdopen(descriptor, "rb")
        try:
            self._zip = self._open_zip()
            self.members = self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def sha256(self) -> str:
        """Of the whole file: what the packager printed."""
        import hashlib  # noqa: PLC0415 - not every command needs it

        self._file.seek(0)
        digest = hashlib.sha256()
        while chunk := self._file.read(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def read(self, name: str, limit: int) -> bytes:
        """A small member. Raises PackageError: it is missing, larger than `limit` or damaged."""
        if name not in self.members:
            raise PackageError(f"{self.path} is no device package: it has no {name}", hint=_HINT)
        if self.members[name].file_size > limit:
            raise PackageError(f"{name} is far too large", hint=_HINT)
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member, never more than the directory says. Raises PackageError: damaged."""
        info = self.members[name]
        raw = self._raw(self._places[name], info.compress_size)
        try:
            yield from _as_told(info, raw if info.compress_type == zipfile.ZIP_STORED else _inflated(raw))
        except (zlib.error, EOFError, ValueError, OSError) as error:
            raise PackageError(f"{name} in the package is damaged ({error})", hint=_HINT) from None

    def open(self, name: str) -> IO[bytes]:
        """A member, to be read. Raises PackageError: damaged."""
        try:
            return self._zip.open(self.members[name])
        except (zipfile.BadZipFile, ValueError, OSError, RuntimeError) as error:
            raise PackageError(f"{name} in the package is damaged ({error})", hint=_HINT) from None

    def _raw(self, place: int, left: int) -> Iterator[bytes]:
        """Bytes of the file. Raises EOFError, OSError."""
        while left:
            raw = os.pread(self._file.fileno(), min(left, _CHUNK), place)
            if not raw:
                raise EOFError("it ends too early")
            place, left = place + len(raw), left - len(raw)
            yield raw

    def _open_zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise PackageError(f"{self.path} is no device package, or ends too early ({error})", hint=_HINT) from None

    def _check(self) -> dict[str, zipfile.ZipInfo]:
        """The members by name, after making sure of the layout."""
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_TOTAL:
            raise PackageError("the package claims to hold more than any does", hint=_HINT)
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            mode = info.external_attr >> 16
            strange = (
                info.filename in members
                or info.filename != info.orig_filename  # zipfile cuts a name at a NUL
                or info.is_dir()
                or info.flag_bits
                or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                or (info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size)
                or info.file_size > MAX_MEMBER
                or (stat.S_IFMT(mode) not in (0, stat.S_IFREG))
            )
            if strange:
                raise PackageError(f"the package holds a member that none has: {info.filename!r}", hint=_HINT)
            members[info.filename] = info
        try:
            self._check_layout(infos)
        except (OSError, struct.error, ValueError):
            raise PackageError("the package's archive is damaged", hint=_HINT) from None
        return members

    def _check_layout(self, infos: list[zipfile.ZipInfo]) -> None:
        """Write down what an archive of exactly these members looks like, and compare: every byte but their data."""
        place = min((info.header_offset for info in infos), default=0)
        self._file.seek(0)
        first = self._file.read(place) if place <= _MAX_SHEBANG else b"?"
        good = not first or (first.startswith(b"#!") and first.endswith(b"\n") and first.count(b"\n") == 1)
        directory = b""
        for info in infos:
            name = info.orig_filename.encode("utf-8")
            fields = (info.compress_type, 0, _DATE, info.CRC, info.compress_size, info.file_size, len(name))
            header = _LOCAL.pack(b"PK\3\4", _VERSION, 0, *fields, 0) + name
            self._file.seek(place)
            good = good and self._file.read(len(header)) == header
            about = (3 << 8 | _VERSION, _VERSION, 0, *fields, 0, 0, 0, 0, _MODE, place)
            directory += _CENTRAL.pack(b"PK\1\2", *about) + name
            self._places[info.filename] = place + len(header)
            place += len(header) + info.compress_size
        directory += _END.pack(b"PK\5\6", 0, 0, len(infos), len(infos), len(directory), place, 0)
        self._file.seek(place)
        if not good or self._file.read(len(directory) + 1) != directory:
            raise PackageError("the package's archive holds bytes that belong to no member", hint=_HINT)


def _as_told(info: zipfile.ZipInfo, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A member's bytes, piece by piece. Raises ValueError: they are not those that the directory tells of."""
    size = crc = 0
    for piece in pieces:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if size > info.file_size:
            raise ValueError("longer than it says")
        yield piece
    if size != info.file_size or crc != info.CRC:
        raise ValueError("another length or checksum than it says")


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What a raw deflate stream holds, piece by piece. Raises zlib.error, ValueError: it does not end where they do."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in pieces:
        rest, data = piece, b"?"
        while not stream.eof and (rest or data):
            data = stream.decompress(rest, _CHUNK)
            rest = stream.unconsumed_tail
            if data:
                yield data
        if stream.unused_data or rest:
            raise ValueError("something follows its data")
    if not stream.eof:
        raise EOFError("it ends too early")
