"""The ZIP layout of a bundle: one and only one byte sequence for given members.

A general ZIP reader accepts many spellings of one archive, and two readers may see different files in the same bytes.
Here the names, sizes and checksums of the members determine every other byte: fixed time, no compression, no comment,
members one after the other, each one's data on a 64-byte boundary through the alignment extra field (0xD935) that
Android's zipalign uses. So reading is: find the names, sizes and checksums, write down what an archive of exactly these
members looks like, and refuse the file unless it is that, byte for byte. Any unzip still opens it.

Format: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (end record).
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_edge.errors import (
    BundleFormatError,
    BundleHashError,
    BundleMemberError,
    BundleTooLargeError,
    BundleTruncatedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
ALIGNMENT = 64
MEMBER_NAME = re.compile(r"manifest\.json|manifest\.sig|models/[a-z0-9][a-z0-9._-]{0,63}\.tflite", re.ASCII)

# Upper bounds, checked before anything of that size is read or allocated.
MAX_MANIFEST = 1 << 20
MAX_SIGNATURE = 1 << 10
MAX_MODEL = 256 << 20
MAX_BUNDLE = 512 << 20
MAX_MEMBERS = 10

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20  # 2.0: what a stored member in a folder needs
_MADE_BY = 3 << 8 | _VERSION  # Unix
_STORED = 0
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00, the earliest that a ZIP can say
_MODE = 0o100644 << 16
_ALIGN_ID = 0xD935
_ALIGN_FIXED = 6  # bytes of the extra field before its padding
_MAX_COMMENT = 22 + 0xFFFF  # how far from the end a ZIP with a comment may have its end record
_COPY = "copy or build the bundle again; do not edit it with a ZIP tool"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive; `offset` is where its data starts, a multiple of 64."""

    name: str
    size: int
    crc: int
    offset: int = 0


def layout(members: Sequence[Member]) -> tuple[list[tuple[Member, bytes]], bytes]:
    """Every byte of the archive that is not a member's data.

    Args:
        members: names, sizes and CRC-32s in order; offsets are not read.

    Returns:
        For each member, itself with its offset, and the bytes that stand before its data; and the bytes after the last.
    """
    position = 0
    placed: list[tuple[Member, bytes]] = []
    directory = bytearray()
    for member in members:
        name = member.name.encode("ascii")
        fixed = position + _LOCAL.size + len(name) + _ALIGN_FIXED
        padding = -fixed % ALIGNMENT
        extra = struct.pack("<3H", _ALIGN_ID, 2 + padding, ALIGNMENT) + bytes(padding)
        common = (_VERSION, 0, _STORED, _TIME, _DATE, member.crc, member.size, member.size, len(name))
        header = _LOCAL.pack(_LOCAL_MAGIC, *common, len(extra)) + name + extra
        directory += _CENTRAL.pack(_CENTRAL_MAGIC, _MADE_BY, *common, 0, 0, 0, 0, _MODE, position) + name
        placed.append((Member(member.name, member.size, member.crc, fixed + padding), header))
        position = fixed + padding + member.size
    end = _END.pack(_END_MAGIC, 0, 0, len(members), len(members), len(directory), position, 0)
    return placed, bytes(directory) + end


def read_members(view: memoryview) -> tuple[Member, ...]:
    """The members of a bundle's bytes, in order, after everything but the members' data was checked.

    Raises:
        BundleTruncatedError, BundleMemberError, BundleTooLargeError: what is wrong, where it can be said.
        BundleFormatError: any other difference from the one layout.
    """
    members = _directory(view)
    _check_names(members)
    placed, tail = layout(members)
    last = placed[-1][0]
    if len(view) != last.offset + last.size + len(tail):
        raise BundleFormatError(
            "the archive holds bytes that belong to no member",
            hint=_COPY,
        )
    for member, header in placed:
        if view[member.offset - len(header) : member.offset] != header:
            raise BundleFormatError(
                f"the header before {member.name} is not the one that its directory entry demands",
                hint=_COPY,
            )
    if view[last.offset + last.size :] != tail:
        raise BundleFormatError(
            "the archive's directory is not written the way a bundle's must be",
            hint=_COPY,
        )
    return tuple(member for member, _ in placed)


def check_crc(view: memoryview, member: Member) -> None:
    """Refuse a member whose checksum is wrong: damage, told apart from forgery. Raises BundleHashError."""
    if zlib.crc32(view[member.offset : member.offset + member.size]) != member.crc:
        raise BundleHashError(f"{member.name} is damaged: its checksum does not fit", hint=_COPY)


def size_limit(name: str) -> int:
    """The largest size, in bytes, of the member of that name."""
    return {MANIFEST: MAX_MANIFEST, SIGNATURE: MAX_SIGNATURE}.get(name, MAX_MODEL)


def _directory(view: memoryview) -> list[Member]:
    """What the central directory says: names, sizes, checksums. Nothing of it is believed yet."""
    count, start, length = _end_record(view)
    if not 0 < count <= MAX_MEMBERS:
        raise BundleMemberError(f"a bundle has 1 to {MAX_MEMBERS} members, this archive {count}")
    if start + length + _END.size != len(view):
        raise BundleFormatError("the archive's directory is not where its end record says", hint=_COPY)
    directory = view[start : start + length]
    members: list[Member] = []
    position = 0
    for _ in range(count):
        if len(directory) - position < _CENTRAL.size or directory[position : position + 4] != _CENTRAL_MAGIC:
            raise BundleFormatError("the archive's directory is damaged", hint=_COPY)
        fields = _CENTRAL.unpack(directory[position : position + _CENTRAL.size])
        flags, method, crc, packed, size, name_length, extra, comment = (fields[i] for i in (3, 4, 7, 8, 9, 10, 11, 12))
        position += _CENTRAL.size
        name = bytes(directory[position : position + name_length]).decode("ascii", "backslashreplace")
        position += name_length + extra + comment
        _check_entry(name, flags, method, packed, size)
        members.append(Member(name, size, crc))
    return members


def _end_record(view: memoryview) -> tuple[int, int, int]:
    """Number of members, and where the directory starts and how long it is, as the last 22 bytes say."""
    if len(view) < _END.size:
        raise BundleTruncatedError("the file is too short to be a bundle", hint=_COPY)
    if view[:4] != _LOCAL_MAGIC:
        raise BundleFormatError("the file is no bundle", hint="name a file that `facegate bundle build` wrote")
    if view[-_END.size : -_END.size + 4] != _END_MAGIC:
        if _END_MAGIC in bytes(view[-_MAX_COMMENT:]):
            raise BundleFormatError("data follows the end of the archive", hint=_COPY)
        raise BundleTruncatedError("the bundle ends too early", hint="copy it again: the transfer was cut short")
    _, _, _, _, count, length, start, _ = _END.unpack(view[-_END.size :])
    return count, start, length


def _check_entry(name: str, flags: int, method: int, packed: int, size: int) -> None:
    if MEMBER_NAME.fullmatch(name) is None:
        raise BundleMemberError(
            f"the archive has a member {name[:80]!r}, which no bundle has",
            hint="a bundle holds manifest.json, manifest.sig and models/NAME.tflite only",
        )
    if flags & 1:
        raise BundleMemberError(f"{name} is encrypted", hint="a bundle's members are stored as they are")
    if method != _STORED or packed != size:
        raise BundleMemberError(f"{name} is compressed", hint="a bundle's members are stored, not compressed")
    if size > size_limit(name):
        raise BundleTooLargeError(f"{name} has {size} bytes, more than the {size_limit(name)} that a device accepts")


def _check_names(members: Sequence[Member]) -> None:
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise BundleMemberError(f"{name} is in the archive twice", hint=_COPY)
    if names[0] != MANIFEST:
        raise BundleMemberError(f"the first member of a bundle is {MANIFEST}, not {names[0]}", hint=_COPY)
    if SIGNATURE in names[2:]:
        raise BundleMemberError(f"{SIGNATURE} does not follow {MANIFEST}", hint=_COPY)
