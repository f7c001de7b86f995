"""Conditions of a measurement: read from files of the kernel, whatever stands in them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_edge import _conditions
from facegate_edge._conditions import (
    Conditions,
    Frequency,
    conditions,
    is_emulated,
    is_virtual,
    kernel_release,
    os_release,
)

ZONE, CPU = "sys/class/thermal/thermal_zone", "sys/devices/system/cpu/cpufreq/policy"
COOLING, FIRMWARE = "sys/class/thermal/cooling_device", "sys/devices/platform/soc/soc:firmware/get_throttled"
# As a Raspberry Pi 4 shows itself.
PI4 = {
    "proc/loadavg": "0.08 0.11 0.09 1/214 5120\n",
    "proc/meminfo": "MemTotal:        3884368 kB\nMemFree:         3107664 kB\nMemAvailable:    3456780 kB\n",
    f"{ZONE}0/temp": "48686\n",
    f"{ZONE}1/temp": "51000\n",
    f"{CPU}0/scaling_governor": "ondemand\n",
    f"{CPU}0/scaling_min_freq": "600000\n",
    f"{CPU}0/scaling_max_freq": "1800000\n",
    f"{CPU}0/scaling_cur_freq": "1500000\n",
    f"{COOLING}0/type": "cpufreq-cpu0\n",
    f"{COOLING}0/cur_state": "0\n",
    FIRMWARE: "50000\n",
}
ELF64, ELF32 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0", b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\0"


@pytest.fixture
def root(tmp_path):
    """A function that puts files below a root and gives it."""

    def make(files):
        for name, content in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return make


def test_a_raspberry_pi_4_tells_everything(root):
    """Load, memory, the hottest zone, the frequencies, cooling and the firmware's word."""
    assert conditions(root(PI4)) == Conditions(
        load=0.08,
        memory_available_mb=3375,
        temperature=51.0,
        frequencies=(Frequency("ondemand", 600_000, 1_800_000, 1_500_000),),
        cooling=False,
        firmware=0x50000,
    )


def test_what_cannot_be_read_is_none(tmp_path):
    """In a sandbox without /proc and /sys nothing is known, and nothing raises."""
    assert conditions(tmp_path) == Conditions()
    assert is_emulated(tmp_path) is None
    assert is_virtual(tmp_path) is None
    assert os_release(tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("proc/loadavg", "nan 1 1\n"),
        ("proc/meminfo", "MemAvailable: -5 kB\n"),
        (f"{ZONE}0/temp", "999999999\n"),
        (f"{ZONE}0/temp", "warm\n"),
        (f"{ZONE}0/temp", "-\n"),
        (f"{COOLING}0/cur_state", "1\n"),  # of a device that does not say what it is
        (FIRMWARE, "zz\n"),
        (FIRMWARE, "f" * 40),
    ],
)
def test_what_is_no_figure_is_none(root, name, content):
    """A file with something else in it is as good as none."""
    assert conditions(root({name: content})) == Conditions()


@settings(max_examples=60)
@given(st.sampled_from(sorted(PI4)), st.binary(max_size=200))
def test_nothing_in_a_file_raises(tmp_path_factory, name, content):
    """Whatever stands in any of the files."""
    folder = tmp_path_factory.mktemp("root")
    for path, text in {**PI4, name: content}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if path == name else text.encode())
    found = conditions(folder)
    assert found.load is None or found.load >= 0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, None),
        ({"cooling": False}, {"cooling": False}, False),
        ({"cooling": False}, {"cooling": True}, True),
        ({"firmware": 0}, {"firmware": 0}, False),
        ({"firmware": 0}, {"firmware": 0x4}, True),
        ({"firmware": 0}, {"firmware": 0x40000}, True),
        ({"firmware": 0x50000}, {"firmware": 0x50000}, False),
        ({"firmware": 0x50005}, {"firmware": 0x50000}, True),
        ({"cooling": False, "firmware": 0}, {"cooling": False, "firmware": 0x20000}, True),
    ],
    ids=["nothing known", "cool", "cooled", "well", "now", "in between", "long ago", "at the start", "one of two"],
)
def test_throttling_is_what_happened_between_two_moments(before, after, expected):
    """What the firmware remembers from before the measurement does not count against it."""
    assert Conditions(**after).throttled_since(Conditions(**before)) is expected


@pytest.mark.parametrize(
    ("machine", "header", "expected"),
    [
        ("aarch64", ELF64 + struct.pack("<H", 183), False),
        ("aarch64", ELF64 + struct.pack("<H", 62), True),
        ("armv7l", ELF32 + struct.pack("<H", 40), False),
        ("armv7l", ELF64 + struct.pack("<H", 62), True),
        ("aarch64", ELF32 + struct.pack("<H", 40), False),
        ("x86_64", ELF64 + struct.pack("<H", 62), False),
        ("x86_64", ELF64 + struct.pack("<H", 183), True),
        ("sparc64", ELF64 + struct.pack("<H", 62), None),
        ("aarch64", b"#!/bin/sh", None),
        ("aarch64", ELF64, None),
    ],
)
def test_an_emulator_is_known_by_its_own_program(root, monkeypatch, machine, header, expected):
    """A program of another kind of machine runs this one, unless the kernel is just wider than the program."""
    monkeypatch.setattr(_conditions.platform, "machine", lambda: machine)
    assert is_emulated(root({"proc/thread-self/exe": header})) is expected


def test_this_test_is_not_emulated_where_it_can_be_seen():
    """The real files of a machine are understood: a translated Python would say that it is."""
    assert is_emulated() in (False, True, None)
    assert isinstance(kernel_release(), str)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/cpuinfo": "flags\t\t: fpu hypervisor avx2\n"}, True),
        ({"proc/cpuinfo": "flags\t\t: fpu avx2\n"}, False),
        ({"proc/device-tree/compatible": b"linux,dummy-virt\0"}, True),
        ({"proc/device-tree/compatible": b"raspberrypi,5-model-b\0brcm,bcm2712\0"}, False),
        ({"proc/device-tree/compatible": b"x\0", "proc/device-tree/hypervisor/compatible": b"linux,kvm\0"}, True),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, True),
        ({"sys/class/dmi/id/product_name": "Virtual Machine\n"}, True),
        ({"sys/class/dmi/id/sys_vendor": "LENOVO\n"}, False),
        ({"sys/hypervisor/type": "xen\n"}, True),
    ],
)
def test_a_virtual_machine_is_known_by_what_it_shows(root, files, expected):
    """Its processor, its device tree or its firmware says so."""
    assert is_virtual(root(files)) is expected


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.6.51+rpt-rpi-v8", "6.6.51+rpt-rpi-v8"),
        ("6.12.47+rpt-rpi-2712", "6.12.47+rpt-rpi-2712"),
        ("5.15.148-tegra", "5.15.148-tegra"),
        ("6.1.0-18-amd64", "6.1.0-18-amd64"),
        ("6.8.0-45-generic", "6.8.0-45-generic"),
        ("6.1.0-18-of-anna-meyer", "6.1.0-18"),
        ("6.9.3-annas-laptop+", "6.9.3"),
        ("somebody's kernel", ""),
    ],
)
def test_a_kernels_release_loses_what_its_builder_called_it(monkeypatch, release, expected):
    """Numbers and the words of distributions stay; a name that somebody gave their own kernel does not."""
    monkeypatch.setattr(_conditions.platform, "release", lambda: release)
    assert kernel_release() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', "debian 12"),
        ("ID=arch\n", "arch"),
        ('ID="Anna\'s own"\nVERSION_ID="1"\n', "1"),
    ],
)
def test_the_system_is_its_distributions_id(root, text, expected):
    """Not the name that is for people, which can be anybody's."""
    assert os_release(root({"etc/os-release": text})) == expected
