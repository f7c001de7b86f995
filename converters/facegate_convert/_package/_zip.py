"""A ZIP file whose bytes depend on its contents alone: no date, no order of a folder, no version of zlib.

The last is why `zipfile` does not write it: what it compresses differs from one zlib to the next. Members are stored,
or they are moved from another ZIP (a wheel) as they are there, compressed or not.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Member", "moved", "stored", "zip_pieces"]

_DATE = 0x21  # 1980-01-01, the first that the format knows
_MODE = 0o100644 << 16
_VERSION = 20
_LIMIT = 0xFFFF  # members, beyond which it would be another format
_MAX_BYTES = 0xFFFFFFFF
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a ZIP.

    Attributes:
        path: its name there, ASCII, with slashes.
        size: of its contents, bytes.
        sha256: of its contents, hex.
        crc: CRC-32 of its contents.
        method: 0 stored, 8 deflated.
        payload: its bytes as they stand in the ZIP.
    """

    path: str
    size: int
    sha256: str
    crc: int
    method: int
    payload: bytes


def stored(path: str, data: bytes) -> Member:
    """A file that is stored as it is."""
    return Member(path, len(data), hashlib.sha256(data).hexdigest(), zlib.crc32(data), zipfile.ZIP_STORED, data)


def moved(path: str, source: zipfile.ZipFile, raw: bytes, info: zipfile.ZipInfo) -> Member:
    """A file of another ZIP, as it is compressed there; stored if its data there are not exactly those that are read.

    Readers differ in what they make of data that go on behind the size that the directory names.

    Args:
        path: its name in the new one.
        source: the other ZIP.
        raw: its bytes.
        info: which of its members.

    Raises:
        zipfile.BadZipFile: it is damaged.
    """
    data = source.read(info)  # its checksum is checked on the way
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return stored(path, data)
    # The local header may have another extra field than the directory; its own lengths count.
    name, extra = struct.unpack_from("<HH", raw, info.header_offset + 26)
    start = info.header_offset + _LOCAL.size + name + extra
    payload = raw[start : start + info.compress_size]
    if info.compress_type == zipfile.ZIP_STORED:
        return stored(path, data)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    if stream.decompress(payload, len(data) + 1) != data or not stream.eof or stream.unused_data:
        return stored(path, data)
    return Member(path, len(data), hashlib.sha256(data).hexdigest(), info.CRC, info.compress_type, payload)


def zip_pieces(prefix: bytes, members: Iterable[Member]) -> Iterator[bytes]:
    """The bytes of a ZIP file, piece by piece.

    Args:
        prefix: what stands before it, e.g. a `#!` line.
        members: in their order.

    Raises:
        ValueError: a name is not ASCII or comes twice, or there is more than the format holds.
    """
    directory, names, offset = [], set(), len(prefix)
    yield prefix
    for member in members:
        name = member.path.encode("ascii")
        if name in names:
            raise ValueError(f"{member.path} comes twice")
        names.add(name)
        fields = (member.method, 0, _DATE, member.crc, len(member.payload), member.size, len(name))
        directory.append(
            _CENTRAL.pack(b"PK\1\2", 3 << 8 | _VERSION, _VERSION, 0, *fields, 0, 0, 0, 0, _MODE, offset) + name
        )
        header = _LOCAL.pack(b"PK\3\4", _VERSION, 0, *fields, 0) + name
        yield header
        yield member.payload
        offset += len(header) + len(member.payload)
        if offset > _MAX_BYTES or len(names) >= _LIMIT:
            raise ValueError("more than a ZIP file holds")
    central = b"".join(directory)
    yield central
    yield _END.pack(b"PK\5\6", 0, 0, len(directory), len(directory), len(central), offset, 0)
