"""The machines that wheels are built for, and the error of everything in this folder."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON = "cp310"  # the oldest Python whose stable ABI the wheels keep to
OLDEST_PYTHON = "3.10"


class WheelError(Exception):
    """A wheel cannot be built, or is not what it must be.

    Attributes:
        hint: what to do about it.
        exit_code: 1 a check says no, 2 usage, 5 environment, 70 the compiler or the build backend failed.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class WheelTarget:
    """One machine.

    Attributes:
        name: as `uname -m` says it.
        glibc: the floor: no symbol newer than this is used, and the tag promises it.
        triple: zig's name of machine and ABI; the floor is added.
        cpu: more of the compiler's options: the instructions that every such machine has.
        machine: e_machine of its ELF files, as pyelftools names it.
        loader: its dynamic linker, the one library beside libc and libm that may be needed.
    """

    name: str
    glibc: tuple[int, int]
    triple: str
    cpu: tuple[str, ...]
    machine: str
    loader: str

    @property
    def platform(self) -> str:
        """The platform tag."""
        return f"manylinux_{self.glibc[0]}_{self.glibc[1]}_{self.name}"

    @property
    def tag(self) -> str:
        """The whole tag, as in a wheel's name."""
        return f"{PYTHON}-abi3-{self.platform}"

    @property
    def compiler(self) -> tuple[str, ...]:
        """What `zig cc` needs to build for it."""
        return ("-target", f"{self.triple}.{self.glibc[0]}.{self.glibc[1]}", *self.cpu)


# 2.28 is Debian 10 and RHEL 8: older than any system that LiteRT's own wheels run on. manylinux knows armv7l from 2.31
# on. armv7l is built for the least of these machines, Thumb-2 and sixteen VFP registers: there are ARMv7 processors
# without NEON. LLVM's v7a has NEON unless it is taken away, and with it the upper sixteen registers.
TARGETS = {
    target.name: target
    for target in (
        WheelTarget(
            name="x86_64",
            glibc=(2, 28),
            triple="x86_64-linux-gnu",
            cpu=("-mcpu=x86_64",),
            machine="EM_X86_64",
            loader="ld-linux-x86-64.so.2",
        ),
        WheelTarget(
            name="aarch64",
            glibc=(2, 28),
            triple="aarch64-linux-gnu",
            cpu=("-mcpu=generic",),
            machine="EM_AARCH64",
            loader="ld-linux-aarch64.so.1",
        ),
        WheelTarget(
            name="armv7l",
            glibc=(2, 31),
            triple="arm-linux-gnueabihf",
            cpu=("-mcpu=generic+v7a+vfp3d16+thumb2-neon-d32",),
            machine="EM_ARM",
            loader="ld-linux-armhf.so.3",
        ),
    )
}


def chosen(names: list[str]) -> list[WheelTarget]:
    """The targets of these names in the table's order; all if none is named."""
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        raise WheelError(f"no such target: {', '.join(unknown)}", hint=f"targets are {', '.join(TARGETS)}", exit_code=2)
    return [target for target in TARGETS.values() if not names or target.name in names]
