"""Which shared libraries a shared library asks for, as the loader reads it."""

from __future__ import annotations

import struct

_DYNAMIC, _NEEDED = 6, 1  # ELF: section type SHT_DYNAMIC, tag DT_NEEDED


def needed(data: bytes) -> set[str]:
    """The names that an ELF file of a little-endian machine needs (DT_NEEDED); none if it is no ELF file."""
    if data[:4] != b"\x7fELF":
        return set()
    wide = data[4] == 2
    offset, size, number = struct.unpack_from("<Q10xHH" if wide else "<I10xHH", data, 40 if wide else 32)
    sections = [
        struct.unpack_from("<II16xQQII" if wide else "<II8xIIII", data, offset + i * size)[1:] for i in range(number)
    ]  # fields: type, offset, size, link, info
    found = set()
    for kind, start, length, link, _ in sections:
        if kind != _DYNAMIC:
            continue
        names = sections[link][1]
        for tag, value in struct.iter_unpack("<qQ" if wide else "<iI", data[start : start + length]):
            if tag == _NEEDED:
                end = data.index(b"\0", names + value)
                found.add(data[names + value : end].decode("ascii"))
    return found
