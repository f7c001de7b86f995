"""Makes the kernels believe that the core has dot products, as a wrong detection would, and searches a gallery.

The detection asks getauxval(AT_HWCAP); its entry in the library's table of foreign functions is replaced by one that
says yes. What follows is the library's own code.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path

import numpy as np

from facegate_edge import _native

AT_HWCAP, ASIMDDP = 16, 1 << 20
GETAUXVAL = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong)


def main() -> None:
    """Force, then search."""
    library = Path(_native.__file__)
    real = GETAUXVAL(("getauxval", ctypes.CDLL(None)))
    forced = GETAUXVAL(lambda kind: real(kind) | (ASIMDDP if kind == AT_HWCAP else 0))
    slot = base_of(library) + slot_of(library.read_bytes(), b"getauxval")
    page = slot & ~0xFFF
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(0x1000), 3):
        sys.exit("the table cannot be made writable")
    ctypes.c_void_p.from_address(slot).value = ctypes.cast(forced, ctypes.c_void_p).value
    from facegate_edge import _kernels as kernels  # noqa: PLC0415 - after the change: what is found is remembered

    assert "dotprod" in kernels.available_paths()
    print("forced", flush=True)
    rows = np.ones((64, 128), np.int8)
    search = kernels.Search(rows, kernels.norm(rows, 128), length=128, k=1, path="dotprod")
    print(search.run(rows[0]))


def base_of(library: Path) -> int:
    """Where a library begins in memory."""
    with Path("/proc/self/maps").open() as maps:
        return min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(library.name))


def slot_of(elf: bytes, name: bytes) -> int:
    """The offset of a foreign function's address in a 64-bit ELF library, from its relocations of type JUMP_SLOT."""
    at, size, count = struct.unpack_from("<Q", elf, 40)[0], *struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, at + i * size) for i in range(count)]
    for section in sections:
        if section[1] != 4:  # SHT_RELA
            continue
        symbols = sections[section[6]]
        strings = sections[symbols[6]]
        for entry in range(section[4], section[4] + section[5], 24):
            offset, info, _ = struct.unpack_from("<QQq", elf, entry)
            if info & 0xFFFFFFFF not in (1025, 1026):  # R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT
                continue
            text = strings[4] + struct.unpack_from("<I", elf, symbols[4] + 24 * (info >> 32))[0]
            if elf[text : elf.index(b"\0", text)] == name:
                return offset
    sys.exit(f"{name.decode()} is not in the table")


if __name__ == "__main__":
    main()
