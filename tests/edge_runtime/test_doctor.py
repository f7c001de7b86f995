"""doctor: what it looks at, and what it says where something is wrong."""

from __future__ import annotations

import builtins
import json
import re
from importlib import metadata

import pytest

from facegate_edge import _doctor, _engine, _litert, _tflite
from facegate_edge._doctor import Check, Diagnosis, doctor
from facegate_edge._machine import MachineFacts
from facegate_edge.errors import EngineUnavailableError


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch):
    monkeypatch.delenv("FACEGATE_ENGINE", raising=False)
    _engine._choose.cache_clear()
    yield
    _engine._choose.cache_clear()


def checks(diagnosis):
    """By name."""
    return {check.name: check for check in diagnosis.checks}


def test_this_machine_is_ready():
    """Where the tests run a gate can run, and every check has a value."""
    diagnosis = doctor()
    assert diagnosis.ready
    assert all(check.value for check in diagnosis.checks)
    found = checks(diagnosis)
    assert found["engine"].value.startswith("litert")
    assert found["ai-edge-litert"].value.endswith("libLiteRt.so")
    assert {"facegate", "python", "libraries", "kernels", "processor", "threads", "memory"} <= set(found)


@pytest.mark.parametrize(("statuses", "ready"), [((), True), (("ok", "warning"), True), (("ok", "problem"), False)])
def test_only_a_problem_makes_a_machine_unfit(statuses, ready):
    """Warnings do not keep a gate from running."""
    assert Diagnosis(tuple(Check(str(i), s, "x") for i, s in enumerate(statuses))).ready is ready


def refuse(message):
    """A `load` that refuses."""

    def load():
        raise EngineUnavailableError(message, hint="do this")

    return load


def test_no_engine_is_a_problem_with_advice(monkeypatch):
    """Without any engine the machine is unfit, and the engine's check says why and what to do."""
    monkeypatch.setattr(_litert, "load", refuse("this system's C or C++ library is too old for LiteRT"))
    monkeypatch.setattr(_tflite, "load", refuse("tflite-runtime is not installed"))
    diagnosis = doctor()
    assert not diagnosis.ready
    check = checks(diagnosis)["engine"]
    assert check.status == "problem"
    assert "too old" in check.value
    assert "do this" in check.advice


def test_the_slower_engine_is_a_warning(monkeypatch):
    """tflite-runtime runs a gate, only slower; the check says why it was taken."""
    monkeypatch.setattr(_litert, "load", refuse("LiteRT is not installed"))
    monkeypatch.setattr(_tflite, "load", lambda: None)
    diagnosis = doctor()
    assert diagnosis.ready
    check = checks(diagnosis)["engine"]
    assert check.status == "warning"
    assert "LiteRT is not installed" in check.value


def test_the_only_engine_of_32_bit_arm_is_no_warning(monkeypatch):
    """There is nothing to do about it on that machine."""
    monkeypatch.setattr(_litert, "load", refuse("LiteRT is not installed"))
    monkeypatch.setattr(_tflite, "load", lambda: None)
    assert _doctor._engine(None, "armv7l").status == "ok"
    assert _doctor._engine(None, "aarch64").status == "warning"


def test_an_engine_that_breaks_unexpectedly_is_a_problem_not_a_crash(monkeypatch):
    """Whatever an import raises, doctor answers."""

    def load():
        raise RuntimeError("a compiled module is broken")

    monkeypatch.setattr(_litert, "load", load)
    assert checks(doctor())["engine"].status == "problem"


def test_missing_kernels_are_a_problem(monkeypatch):
    """Without the native extension a gate cannot run."""
    real = builtins.__import__

    def forbid(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002 - the signature of __import__
        if "_kernels" in (fromlist or ()):
            raise ImportError("no native extension")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", forbid)
    check = checks(Diagnosis((_doctor._kernels(),)))["kernels"]
    assert check.status == "problem"
    assert "build_ext" in check.advice


@pytest.mark.parametrize(
    ("glibc", "glibcxx", "status"),
    [
        ((2, 36), 30, "ok"),
        ((2, 34), 30, "ok"),
        ((2, 31), 28, "warning"),
        ((2, 36), 28, "warning"),
        (None, 30, "warning"),
    ],
)
def test_old_libraries_are_named(monkeypatch, glibc, glibcxx, status):
    """A C or C++ library that LiteRT's wheels do not run on is a warning that names systems that are new enough."""
    monkeypatch.setattr(_doctor, "glibc_version", lambda: glibc)
    monkeypatch.setattr(_doctor, "glibcxx_version", lambda: glibcxx)
    check = _doctor._libraries()
    assert check.status == status
    assert bool(check.advice) == (status != "ok")


def test_a_missing_package_is_a_warning(monkeypatch):
    """A package without metadata is named with how to install it."""
    monkeypatch.setattr(_doctor, "_version", lambda package: None if package == "pillow" else "1.0")
    check = _doctor._packages("x86_64")
    assert check.status == "warning"
    assert check.advice == "pip install pillow"


@pytest.mark.parametrize(
    ("machine", "versions", "status", "advice"),
    [
        ("x86_64", {"cryptography": "42.0.0"}, "ok", ""),
        ("x86_64", {"cryptography": "38.0.4"}, "warning", "cryptography>=42"),
        ("aarch64", {"numpy": "1.24.2", "pillow": "9.4.0"}, "warning", "numpy>=1.26 pillow>=10"),
        ("armv7l", {"numpy": "1.24.2", "pillow": "9.4.0", "cffi": "1.15.1", "cryptography": "38.0.4"}, "ok", ""),
        ("armv7l", {"cryptography": "38.0.3"}, "warning", "cryptography>=38.0.4"),
        ("armv7l", {"click": "8.1.3.dev1+debian"}, "ok", ""),
    ],
)
def test_a_package_that_is_too_old_is_a_warning(monkeypatch, machine, versions, status, advice):
    """32-bit ARM has what Debian 12 has; elsewhere newer ones can be had, and are asked for."""
    monkeypatch.setattr(_doctor, "_version", lambda package: versions.get(package, "99.1"))
    check = _doctor._packages(machine)
    assert check.status == status
    assert check.advice.endswith(advice)


def test_cffi_s_compiled_half_is_enough_on_32_bit_arm(monkeypatch):
    """Debian packages it alone; the Python half, which LiteRT needs, is asked for elsewhere."""
    monkeypatch.setattr(_doctor, "_version", lambda package: None if package == "cffi" else "99")
    assert _doctor._packages("armv7l").status == "ok"
    assert "cffi missing" in _doctor._packages("aarch64").value


def test_the_oldest_versions_are_those_of_the_metadata():
    """What doctor asks for is what the package asks for, on every machine."""
    for machine, packages in (("armv7l", _doctor._ARMV7L_PACKAGES), ("x86_64", _doctor._PACKAGES)):
        floors = {}
        for line in metadata.requires("facegate"):
            requirement, _, marker = line.partition(";")
            name = re.match(r"[\w-]+", requirement)[0]
            applies = not marker or ("!=" in marker) != (machine in marker)
            if name in packages and applies and "extra" not in marker:
                floors[name] = re.search(r">=([\d.]+)", requirement)[1]
        assert floors == packages, machine


def test_a_board_is_named_with_the_target_to_build_for():
    """The device tree's name is shown with the profile that fits it."""
    pi = MachineFacts("aarch64", "aarch64", "Cortex-A72", ("neon",), "Raspberry Pi 4 Model B Rev 1.4", (), "rpi4")
    assert _doctor._board(pi) == Check("target", "ok", "rpi4 (Raspberry Pi 4 Model B Rev 1.4)")
    assert _doctor._processor(pi) == Check("processor", "ok", "Cortex-A72: neon")


@pytest.mark.parametrize(
    ("facts", "status", "value"),
    [
        (MachineFacts("riscv64", "riscv64"), "ok", "generic"),
        (MachineFacts("aarch64", "aarch64", features=("neon",), board="Rock 5B"), "ok", "generic-aarch64 (Rock 5B)"),
        (MachineFacts("armv7l", "armv7l", features=("neon", "vfpv4")), "ok", "generic-armv7"),
        (MachineFacts("armv7l", "armv7l", features=("vfpv4",)), "problem", "lacks neon"),
        (MachineFacts("armv7l", "aarch64", features=("neon", "vfpv4")), "warning", "generic-armv7"),
        (MachineFacts("aarch64", "aarch64", features=("neon",), target="rpi4", memory_mb=400), "warning", "400"),
    ],
)
def test_machines_that_are_no_known_board(facts, status, value):
    """Other machines get the generic target of their architecture; what is short of it is said."""
    check = _doctor._board(facts)
    assert check.status == status
    assert value in check.value
    assert bool(check.advice) == (status == "problem" or facts.kernel_machine != facts.machine)


@pytest.mark.parametrize(
    ("name", "status"),
    [("generic", "ok"), ("rpi4", "ok"), ("rpi5", "warning"), ("x86_64", "problem"), ("new", "warning")],
)
def test_a_bundle_is_compared_with_this_machine(name, status):
    """A bundle for another architecture is a problem, one for another board a warning, each with what to do."""
    pi = MachineFacts("aarch64", "aarch64", features=("neon",), board="Raspberry Pi 4", target="rpi4", memory_mb=3800)
    check = _doctor.bundle_check(name, pi)
    assert check.status == status
    assert bool(check.advice) == (status != "ok")


def test_a_low_lock_limit_is_a_warning(monkeypatch):
    """If a gallery can be swapped out, the check says how to change that."""
    monkeypatch.setattr(_doctor.resource, "getrlimit", lambda _: (64 << 10, 64 << 10))
    monkeypatch.setattr(_doctor.os, "geteuid", lambda: 1000)
    check = _doctor._locking()
    assert check.status == "warning"
    assert "LimitMEMLOCK" in check.advice


def test_the_command_prints_and_exits_with_5_if_unfit(monkeypatch, capsys):
    """`facegate doctor` exits 0 on a fit machine, 5 on an unfit one; with --json it prints one object."""
    from facegate.cli import main  # noqa: PLC0415 - the command line is another room

    assert main(["doctor"]) == 0
    assert "a gate can run here" in capsys.readouterr().out
    monkeypatch.setattr(_litert, "load", refuse("LiteRT is not installed"))
    monkeypatch.setattr(_tflite, "load", refuse("tflite-runtime is not installed"))
    _engine._choose.cache_clear()
    assert main(["doctor"]) == 5
    shown = capsys.readouterr().out
    assert "PROBLEM" in shown
    assert "a gate cannot run here" in shown
    assert main(["doctor", "--json"]) == 5
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False
    assert {"name", "status", "value", "advice"} == set(report["checks"][0])
