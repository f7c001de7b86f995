"""Instructions that not every machine of a target has, found function by function.

A kernel may have a variant for a better processor, in functions whose names say so; a program on a lesser one never
calls them. Everywhere else such an instruction would end the program, so none may be there, whatever a compiler makes
of plain C.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheel_targets import WheelTarget

# What the name of a function has that may use more than the target's least: checked at run time before it is called.
GUARDED = {"EM_ARM": ("neon",), "EM_AARCH64": ("dotprod",)}


def neon_thumb(first: int, second: int) -> bool:
    """Whether a 32-bit Thumb instruction is Advanced SIMD (Arm DDI 0406C, A7 and F)."""
    return (
        first & 0xEF00 == 0xEF00  # data processing: 111U 1111
        or (first & 0xFF10 == 0xF900)  # element load and store: 1111 1001 ...0
        or (first & 0xFF90 == 0xEE80 and second & 0x0F5F == 0x0B10)  # VDUP of a core register
    )


def neon_arm(word: int) -> bool:
    """The same for an instruction of the ARM set."""
    return (
        word & 0xFE000000 == 0xF2000000
        or word & 0xFF100000 == 0xF4000000
        or (word & 0x0F900F5F == 0x0E800B10 and word >> 28 != 0xF)
    )


def dotprod(word: int) -> bool:
    """Whether an A64 instruction is SDOT or UDOT, of vectors or by element (Arm DDI 0487, C4)."""
    return word & 0x9FE0FC00 == 0x0E809400 or word & 0x9FC0F400 == 0x0F80E000


def better(code: bytes, kind: str) -> Iterator[int]:
    """Where in `code` such instructions are; `kind` is a mapping symbol's letter: t (Thumb), a (ARM), x (A64)."""
    at = 0
    while at + (2 if kind == "t" else 4) <= len(code):
        if kind != "t":
            (word,) = struct.unpack_from("<I", code, at)
            if neon_arm(word) if kind == "a" else dotprod(word):
                yield at
            at += 4
            continue
        (first,) = struct.unpack_from("<H", code, at)
        if first >> 11 not in {0b11101, 0b11110, 0b11111}:
            at += 2
            continue
        if at + 4 <= len(code) and neon_thumb(first, struct.unpack_from("<H", code, at + 2)[0]):
            yield at
        at += 4


def unguarded(path: Path, target: WheelTarget) -> list[str]:
    """Functions of the unstripped module that hold such an instruction though their names do not say so."""
    words = GUARDED.get(target.machine)
    if words is None:
        return []
    found = []
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        table = next(
            (part for part in elf.iter_sections() if isinstance(part, SymbolTableSection) and part.name == ".symtab"),
            None,
        )
        if table is None:
            return ["the module to look into has no symbols"]
        for number, section in enumerate(elf.iter_sections()):
            if section["sh_flags"] & 0x4 and section["sh_type"] == "SHT_PROGBITS":
                functions, kinds = _marks(table, number, section["sh_addr"])
                code = section.data()
                kinds = kinds or [(0, "a" if target.machine == "EM_ARM" else "x")]  # the linker's own (.plt)
                ends = [start for start, _ in kinds[1:]] + [len(code)]
                for (start, kind), end in zip(kinds, ends, strict=True):
                    if kind == "d":
                        continue
                    for at in better(code[start:end], kind):
                        name = next((name for begin, name in reversed(functions) if begin <= start + at), "?")
                        if not any(word in name for word in words) and name not in found:
                            found.append(name)
    return found


def _marks(table: SymbolTableSection, number: int, base: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Of a section: where functions begin, and where code and data do (mapping symbols), as offsets."""
    functions, kinds = [], []
    for symbol in table.iter_symbols():
        if symbol["st_shndx"] != number:
            continue
        if symbol.name[:2] in {"$t", "$a", "$x", "$d"}:
            kinds.append((symbol["st_value"] - base, symbol.name[1]))
        elif symbol["st_info"]["type"] == "STT_FUNC":
            functions.append((symbol["st_value"] - base & ~1, symbol.name))
    return sorted(functions), sorted(kinds)
