"""What a native module asks of the machine that loads it, and how it is protected there: read off its ELF file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import ARMAttributesSection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wheel_targets import WheelTarget

LIBRARIES = ("libc.so.6", "libm.so.6")
EXPORTED = {"PyInit__native", "_cffi_pypyinit__native"}
DF_BIND_NOW, DF_1_NOW = 0x8, 0x1
HARD_FLOAT = 0x400  # EF_ARM_ABI_FLOAT_HARD
VFP_D16 = {0, 1, 2, 4}  # Tag_FP_arch: none, VFPv1, VFPv2, VFPv3-D16: sixteen registers at most
ARMV7 = 10  # Tag_CPU_arch


def faults(path: Path, target: WheelTarget) -> list[str]:
    """Everything that is wrong with the module for `target`, one sentence each; empty if nothing is."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        if elf["e_machine"] != target.machine or elf["e_type"] != "ET_DYN" or not elf.little_endian:
            return [f"it is {elf['e_machine']} {elf['e_type']}, not a shared object for {target.machine}"]
        dynamic = [section for section in elf.iter_sections() if isinstance(section, DynamicSection)]
        if len(dynamic) != 1:
            return ["it has no dynamic section"]
        return [
            *_needs(elf, dynamic[0], target),
            *_protection(elf, dynamic[0]),
            *_contents(elf),
            *(_arm(elf) if target.machine == "EM_ARM" else ()),
        ]


def _needs(elf: ELFFile, dynamic: DynamicSection, target: WheelTarget) -> Iterator[str]:
    """Libraries, symbol versions and paths."""
    tags = list(dynamic.iter_tags())
    allowed = {*LIBRARIES, target.loader}
    for tag in tags:
        needed = getattr(tag, "needed", None)  # of DT_NEEDED alone
        if needed and needed not in allowed:
            yield f"it needs {needed}; only {', '.join(sorted(allowed))} are everywhere"
        if tag.entry.d_tag in {"DT_RPATH", "DT_RUNPATH"}:
            yield f"it looks for libraries in a folder of its own ({tag.entry.d_tag})"
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for library, versions in section.iter_versions():
                yield from _too_new(str(library.name), (version.name for version in versions), target)


def _too_new(library: str, versions: Iterator[str], target: WheelTarget) -> Iterator[str]:
    for version in versions:
        number = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version)
        if number is None:
            yield f"it needs {version} of {library}, which is no version of glibc"
        elif (int(number[1]), int(number[2])) > target.glibc:
            yield f"it needs {version} of {library}; the floor is {target.glibc[0]}.{target.glibc[1]}"


def _protection(elf: ELFFile, dynamic: DynamicSection) -> Iterator[str]:
    """What an attacker who can write into its memory must not find."""
    segments: dict[str, list[Any]] = {}
    for segment in elf.iter_segments():
        segments.setdefault(segment["p_type"], []).append(segment)
    executable, writable = 0x1, 0x2
    stacks = segments.get("PT_GNU_STACK", [])
    if not stacks or any(stack["p_flags"] & executable for stack in stacks):
        yield "its stack is executable"
    if "PT_GNU_RELRO" not in segments:
        yield "its relocations stay writable (no RELRO)"
    if any(load["p_flags"] & executable and load["p_flags"] & writable for load in segments.get("PT_LOAD", [])):
        yield "it has memory that is both written and executed"
    values = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()}
    now = values.get("DT_FLAGS", 0) & DF_BIND_NOW or values.get("DT_FLAGS_1", 0) & DF_1_NOW or "DT_BIND_NOW" in values
    if not now:
        yield "its symbols are bound late, so RELRO is partial"
    if "DT_TEXTREL" in values:
        yield "its code is relocated (TEXTREL)"


def _contents(elf: ELFFile) -> Iterator[str]:
    """What is in it beyond what is needed."""
    for section in elf.iter_sections():
        if section.name == ".symtab" or section.name.startswith((".debug", ".zdebug")):
            yield f"it is not stripped: it has {section.name}"
    symbols: Any = elf.get_section_by_name(".dynsym")
    exported = {
        symbol.name
        for symbol in (symbols.iter_symbols() if symbols else ())
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
    }
    if exported - EXPORTED:
        yield f"it exports {', '.join(sorted(exported - EXPORTED))}"
    if "PyInit__native" not in exported:
        yield "it has no PyInit__native"


def _arm(elf: ELFFile) -> Iterator[str]:
    """What a 32-bit module says of the processor that it is for."""
    if not elf["e_flags"] & HARD_FLOAT:
        yield "it passes floats in integer registers (soft-float ABI)"
    said: dict[str, Any] = {}
    for section in elf.iter_sections():
        if isinstance(section, ARMAttributesSection):
            for part in section.subsections:
                for subsection in part.subsubsections:
                    said.update({attribute.tag: attribute.value for attribute in subsection.iter_attributes()})
    if said.get("TAG_CPU_ARCH", 0) > ARMV7:
        yield "it says that it is for a processor newer than ARMv7"
    if said.get("TAG_FP_ARCH", 0) not in VFP_D16:
        yield "it says that it needs 32 floating-point registers"
    if said.get("TAG_ADVANCED_SIMD_ARCH", 0):
        yield "it says that it needs NEON"
