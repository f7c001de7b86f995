"""What is found out about a machine: from its files, whatever stands in them."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_edge import _machine
from facegate_edge._machine import MachineFacts, this_machine


def cpuinfo(features, part, *, name=""):
    """/proc/cpuinfo of an ARM kernel: the parts that are looked at."""
    model = f"model name\t: {name}\n" if name else ""
    return f"processor\t: 0\n{model}Features\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"


# As the kernels of these boards show themselves.
PI3 = cpuinfo("fp asimd evtstrm crc32 cpuid", "0xd03")
PI4 = cpuinfo("fp asimd evtstrm crc32 cpuid", "0xd08")
NEW = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PI5 = cpuinfo(NEW, "0xd0b") + "\nRevision\t: c04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
NANO = cpuinfo("fp asimd evtstrm aes pmull sha1 sha2 crc32", "0xd07", name="ARMv8 Processor rev 1 (v8l)")
ORIN = cpuinfo(NEW, "0xd42", name="ARMv8 Processor rev 1 (v8l)")
PI2 = cpuinfo("half thumb fastmult vfp edsp neon vfpv3 tls vfpv4", "0xc07", name="ARMv7 Processor rev 5 (v7l)")
FLAGS = "fpu sse4_2 avx avx2 fma f16c avx512f avx512_vnni avx512_fp16"
PC = f"processor\t: 0\nmodel name\t: Some CPU @ 3.00GHz\nflags\t\t: {FLAGS}\n"

HWCAP, HWCAP2 = 16, 26


def auxv(*pairs, word="Q"):
    """An auxiliary vector, ended as the kernel ends it."""
    return b"".join(struct.pack(f"={word}{word}", *pair) for pair in (*pairs, (0, 0)))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that makes a machine of files and looks at it."""

    def look(name, files=None, *, bits=64):
        monkeypatch.setattr(_machine.platform, "machine", lambda: name)
        monkeypatch.setattr(_machine, "_WORD", bits // 8)
        for path, content in (files or {}).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return this_machine(tmp_path)

    return look


def board(model, *compatible):
    """A device tree's two files."""
    return {
        "proc/device-tree/model": model.encode() + b"\0",
        "proc/device-tree/compatible": b"".join(name.encode() + b"\0" for name in compatible),
    }


@pytest.mark.parametrize(
    ("text", "tree", "target", "cpu", "features"),
    [
        (PI3, board("Raspberry Pi 3 Model B Rev 1.2", "raspberrypi,3-model-b", "brcm,bcm2837"), "rpi3", "A53", "neon"),
        (PI3, board("Raspberry Pi Zero 2 W", "raspberrypi,model-zero-2-w", "brcm,bcm2837"), "rpi3", "A53", "neon"),
        (PI4, board("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711"), "rpi4", "A72", "neon"),
        (PI4, board("Raspberry Pi 400", "raspberrypi,400", "brcm,bcm2711"), "rpi4", "A72", "neon"),
        (PI5, board("Raspberry Pi 5", "raspberrypi,5-model-b", "brcm,bcm2712"), "rpi5", "A76", "neon fp16 dotprod"),
        (NANO, board("Jetson Nano", "nvidia,p3450-0000", "nvidia,tegra210"), "jetson-nano", "A57", "neon"),
        (
            ORIN,
            board("Orin", "nvidia,p3737-0000+p3701-0000", "nvidia,tegra234"),
            "jetson-orin",
            "A78AE",
            "neon fp16 dotprod",
        ),
        (PI5, board("Some board", "rockchip,rk3588"), "", "A76", "neon fp16 dotprod"),
        (PI5, {}, "", "A76", "neon fp16 dotprod"),
    ],
)
def test_boards_are_known_by_their_device_tree(machine, text, tree, target, cpu, features):
    """The chip that a board is compatible with names its profile; cores and features come from the kernel."""
    facts = machine("aarch64", {"proc/cpuinfo": text, **tree})
    assert (facts.machine, facts.target, facts.cpu) == ("aarch64", target, f"Cortex-{cpu}")
    assert facts.features == tuple(features.split())


def test_a_pc_has_no_device_tree(machine):
    """On x86 the features are the flags of /proc/cpuinfo, under names of our own where the kernel's are odd."""
    facts = machine("x86_64", {"proc/cpuinfo": PC})
    assert facts.cpu == "Some CPU @ 3.00GHz"
    assert facts.features == ("sse4", "avx", "avx2", "fma", "f16c", "avx512", "vnni", "avx512fp16")
    assert (facts.board, facts.compatible, facts.target) == ("", (), "")


@pytest.mark.parametrize(
    ("name", "bits", "machine_name", "kernel"),
    [
        ("aarch64", 64, "aarch64", "aarch64"),
        ("arm64", 64, "aarch64", "aarch64"),
        ("AMD64", 64, "x86_64", "x86_64"),
        ("armv7l", 32, "armv7l", "armv7l"),
        ("armv8l", 32, "armv7l", "armv7l"),
        ("aarch64", 32, "armv7l", "aarch64"),
        ("x86_64", 32, "i686", "x86_64"),
        ("armv6l", 32, "armv6l", "armv6l"),
        ("riscv64", 64, "riscv64", "riscv64"),
        ("", 64, "", ""),
    ],
)
def test_a_machine_is_what_its_processes_are(machine, name, bits, machine_name, kernel):
    """A 32-bit Python on a 64-bit kernel is a 32-bit machine; one architecture has one name."""
    facts = machine(name, bits=bits)
    assert (facts.machine, facts.kernel_machine) == (machine_name, kernel)


def test_a_32_bit_system_on_a_raspberry_pi_4_is_not_the_profile(machine):
    """The profile of the board is for its 64-bit system."""
    tree = board("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711")
    facts = machine("aarch64", {"proc/cpuinfo": PI2, **tree}, bits=32)
    assert (facts.machine, facts.target) == ("armv7l", "")
    assert facts.features == ("neon", "vfpv3", "vfpv4")


@pytest.mark.parametrize(
    ("name", "bits", "word", "vector", "features"),
    [
        ("aarch64", 64, "Q", [(HWCAP, 1 << 1)], ("neon",)),
        ("aarch64", 64, "Q", [(HWCAP, 1 << 1 | 1 << 10 | 1 << 20)], ("neon", "fp16", "dotprod")),
        ("aarch64", 64, "Q", [(HWCAP, 1 << 1 | 1 << 22), (HWCAP2, 1 << 13 | 1 << 14)], ("neon", "sve", "i8mm", "bf16")),
        ("armv7l", 32, "I", [(HWCAP, 1 << 12 | 1 << 16)], ("neon", "vfpv4")),
        ("armv7l", 32, "I", [(HWCAP, 1 << 16)], ("vfpv4",)),
        ("armv7l", 32, "I", [(HWCAP, 1 << 12 | 1 << 23 | 1 << 24)], ("neon", "fp16", "dotprod")),
    ],
)
def test_the_auxiliary_vector_goes_before_cpuinfo(machine, name, bits, word, vector, features):
    """What the C library dispatches by is believed: under emulation /proc/cpuinfo can be that of the host."""
    facts = machine(name, {"proc/cpuinfo": PC, "proc/self/auxv": auxv((3, 64), *vector, word=word)}, bits=bits)
    assert facts.features == features


@pytest.mark.parametrize("vector", [b"", b"\0" * 16, b"\1\2\3", auxv((HWCAP, 0)), auxv((HWCAP, 2**64 - 1))[:9]])
def test_an_auxiliary_vector_that_says_nothing_leaves_it_to_cpuinfo(machine, vector):
    """Empty, ended at once, cut off, or without features: then /proc/cpuinfo is asked."""
    assert machine("aarch64", {"proc/cpuinfo": PI5, "proc/self/auxv": vector}).features == ("neon", "fp16", "dotprod")


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, 0),
        ({"proc/meminfo": "MemTotal:         945364 kB\nMemFree: 1 kB\n"}, 923),
        ({"proc/meminfo": "MemTotal: many kB\n"}, 0),
        ({"proc/meminfo": "MemTotal: 99999999999999999999 kB\n"}, 0),
        ({"proc/meminfo": b"\xff\xfe\0"}, 0),
        (
            {
                "proc/meminfo": "MemTotal: 1048576 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "209715200\n",
            },
            200,
        ),
        (
            {
                "proc/meminfo": "MemTotal: 1048576 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
            },
            1024,
        ),
        (
            {
                "proc/meminfo": "MemTotal: 1048576 kB\n",
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "9" * 400,
            },
            1024,
        ),
        ({"proc/meminfo": "MemTotal: 1048576 kB\n", "proc/self/cgroup": b"0::/\xff/../../../etc\n"}, 1024),
        ({"proc/meminfo": "MemTotal: 1048576 kB\n", "proc/self/cgroup": "4:memory:/a\n"}, 1024),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "104857600\n"}, 100),
    ],
)
def test_memory_is_what_this_process_may_use(machine, files, memory):
    """What Linux sees, or the least limit of the control groups; nonsense is no limit, a path leads nowhere else."""
    assert machine("aarch64", files).memory_mb == memory


def test_nothing_is_known_where_nothing_can_be_read(machine):
    """Without /proc there are no facts but those of the interpreter, and no error."""
    facts = machine("aarch64")
    assert (facts.features, facts.board, facts.target, facts.memory_mb, facts.cpu) == ((), "", "", 0, "")


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (b"Raspberry Pi 4\0Model B\0", "Raspberry Pi 4"),
        (b"\x1b[2Jevil\r\nboard\0", "[2Jevil board"),
        ("\u202eboard\ud7ff\0".encode(), "board"),
        (b"\xff\xfe\xfd\0", "\ufffd\ufffd\ufffd"),
        (b"x" * 4000, "x" * 80),
        (b"no end", "no end"),
        (b"\0", ""),
        (b"", ""),
    ],
)
def test_a_board_cannot_steer_a_terminal(machine, model, shown):
    """A device tree's text is shown on one line, without control characters, and short."""
    assert machine("aarch64", {"proc/device-tree/model": model}).board == shown


@settings(max_examples=60, deadline=None)
@given(
    text=st.binary(max_size=300),
    vector=st.binary(max_size=100),
    tree=st.binary(max_size=100),
    mem=st.binary(max_size=60),
)
@pytest.mark.parametrize(("name", "bits"), [("aarch64", 64), ("armv7l", 32), ("x86_64", 64)])
def test_any_bytes_give_facts(tmp_path_factory, text, vector, tree, mem, name, bits):
    """Whatever the files hold, there are facts of the right types and no exception."""
    root = tmp_path_factory.mktemp("machine")
    for path, content in (
        ("proc/cpuinfo", text),
        ("proc/self/auxv", vector),
        ("proc/device-tree/compatible", tree),
        ("proc/device-tree/model", tree),
        ("proc/meminfo", b"MemTotal: " + mem),
        ("proc/self/cgroup", b"0::/" + mem),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_machine.platform, "machine", lambda: name)
        patch.setattr(_machine, "_WORD", bits // 8)
        facts = this_machine(root)
    assert isinstance(facts, MachineFacts)
    assert facts.memory_mb >= 0
    assert facts.board.isprintable()
    assert facts.cpu.isprintable()
    assert all(name.isprintable() for name in facts.compatible)


def test_things_that_are_no_files_are_passed_over(machine, tmp_path):
    """A folder, a pipe that nobody writes to, an endless device and a loop of links: read in no time, or not at all."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/device-tree").mkdir()
    (tmp_path / "proc/cpuinfo").mkdir()
    os.mkfifo(tmp_path / "proc/meminfo")
    (tmp_path / "proc/device-tree/model").symlink_to("/dev/zero")
    (tmp_path / "proc/device-tree/compatible").symlink_to(tmp_path / "proc/device-tree/compatible")
    (tmp_path / "proc/self/auxv").symlink_to("/dev/zero")
    writer = os.open(tmp_path / "proc/meminfo", os.O_RDWR)  # a writer that says nothing: reading would wait for it
    try:
        facts = machine("aarch64")
    finally:
        os.close(writer)
    assert (facts.features, facts.board, facts.compatible, facts.memory_mb) == ((), "", (), 0)


def test_no_more_of_a_file_is_read_than_a_bound(machine, tmp_path, monkeypatch):
    """Of a /proc/cpuinfo of a hundred megabytes only the first pages are read."""
    (tmp_path / "proc").mkdir()
    with (tmp_path / "proc/cpuinfo").open("wb") as file:
        file.write(PC.encode())
        file.truncate(100 << 20)
    asked = []
    read = os.read
    monkeypatch.setattr(_machine.os, "read", lambda fd, n: asked.append(n) or read(fd, n))
    assert machine("x86_64").cpu == "Some CPU @ 3.00GHz"
    assert sum(asked) < 1 << 20


def test_this_very_machine_is_known():
    """The real files: an architecture, cores and memory are known where the tests run."""
    facts = this_machine()
    assert facts.machine
    assert facts.cores > 0
    assert facts.memory_mb > 64
