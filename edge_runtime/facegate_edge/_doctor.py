"""Can this machine run a gate? What is there, what is missing, what to do about it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import resource
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from facegate_edge._machine import glibc_version, glibcxx_version, this_machine
from facegate_edge._targets import check_fit, fits, targets
from facegate_edge._version import VERSION
from facegate_edge.errors import FacegateError

if TYPE_CHECKING:
    from facegate_edge._machine import MachineFacts

Status = Literal["ok", "warning", "problem"]

# The oldest versions, as in setup.cfg. On 32-bit ARM they are those of Debian 12: PyPI has no wheels of most for it.
_PACKAGES = {"numpy": "1.26", "pillow": "10", "cffi": "1.16", "cryptography": "42", "click": "8.1"}
_ARMV7L_PACKAGES = {"numpy": "1.24", "pillow": "9.4", "cffi": "1.15", "cryptography": "38.0.4", "click": "8.1"}
_ENGINES = ("ai-edge-litert", "tflite-runtime")
_LITERT_GLIBC = (2, 34)
_LITERT_GLIBCXX = 30
_GALLERY_BYTES = 100_000 * 512
_LITTLE_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, e.g. "engine".
        status: "ok"; "warning", the gate runs but less well; "problem", the gate cannot run.
        value: what was found.
        advice: what to do, "" if there is nothing to do.
    """

    name: str
    status: Status
    value: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was looked at. `ready` says whether a gate could run on this machine."""

    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def ready(self) -> bool:
        """No check found a problem."""
        return all(check.status != "problem" for check in self.checks)


def doctor(engine: str | None = None) -> Diagnosis:
    """Look at this machine: system, libraries, engine, kernels, processor, memory. Raises nothing.

    Args:
        engine: "litert" or "tflite" to ask for that one, as a pipeline would; None chooses.
    """
    facts = this_machine()
    return Diagnosis(
        (
            Check("facegate", "ok", VERSION),
            _python(),
            _system(),
            _packages(facts.machine),
            _libraries(),
            _engine(engine, facts.machine),
            *_engine_packages(),
            _kernels(),
            _processor(facts),
            _board(facts),
            _threads(),
            _memory(),
            _locking(),
        )
    )


def _python() -> Check:
    bits = sys.maxsize.bit_length() + 1
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()}, {bits} bit")


def _system() -> Check:
    value = f"{platform.system()} {platform.release()} on {platform.machine()}"
    if platform.system() != "Linux":
        return Check("system", "warning", value, "facegate is made and tested for Linux")
    return Check("system", "ok", value)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages(machine: str) -> Check:
    wanted = _ARMV7L_PACKAGES if machine == "armv7l" else _PACKAGES
    found = {package: _version(package) for package in wanted}
    if found["cffi"] is None and machine == "armv7l":
        found["cffi"] = _cffi_backend()
    value = ", ".join(f"{package} {version or 'missing'}" for package, version in found.items())
    missing = [package for package, version in found.items() if version is None]
    if missing:
        # A distribution's package may carry no metadata: what counts is whether it can be imported, which the engine
        # and the kernels show.
        return Check("packages", "warning", value, f"pip install {' '.join(missing)}")
    old = [f"{p}>={wanted[p]}" for p, v in found.items() if v is not None and _numbers(v) < _numbers(wanted[p])]
    if old:
        return Check("packages", "warning", value, f"older than what facegate is tested with: {' '.join(old)}")
    return Check("packages", "ok", value)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.1.dev3+local" is (10, 1)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _cffi_backend() -> str | None:
    """The version of cffi's compiled half, all that the kernels need: Debian packages it alone, without metadata."""
    try:
        return str(importlib.import_module("_cffi_backend").__version__)
    except (ImportError, AttributeError):
        return None


def _libraries() -> Check:
    glibc, glibcxx = glibc_version(), glibcxx_version()
    shown_glibc = "glibc " + ".".join(map(str, glibc)) if glibc else "no glibc"
    shown_glibcxx = f"libstdc++ with GLIBCXX_3.4.{glibcxx}" if glibcxx is not None else "no libstdc++ found"
    value = f"{shown_glibc}, {shown_glibcxx}"
    if glibc is None:
        return Check("libraries", "warning", value, "the engines' wheels are made for glibc; use a Debian-like system")
    if glibc < _LITERT_GLIBC or (glibcxx is not None and glibcxx < _LITERT_GLIBCXX):
        return Check(
            "libraries",
            "warning",
            value,
            "LiteRT's ARM wheels need GLIBC_2.34 and GLIBCXX_3.4.30: Raspberry Pi OS 12, Debian 12, Ubuntu 22.04, "
            "JetPack 6 or newer",
        )
    return Check("libraries", "ok", value)


def _engine(forced: str | None, machine: str) -> Check:
    from facegate_edge._engine import choose_engine  # noqa: PLC0415 - may fail, and that is what is asked

    try:
        choice = choose_engine(forced)
    except FacegateError as e:
        return Check("engine", "problem", str(e), e.hint)
    except Exception as e:  # noqa: BLE001 - a broken numpy, a loader's crash: the answer is the same
        return Check("engine", "problem", f"cannot be loaded ({type(e).__name__})", "reinstall facegate and numpy")
    value = f"{choice.name}, {choice.why}"
    if choice.name == "tflite" and machine != "armv7l":  # which has no other
        return Check("engine", "warning", value, "LiteRT is 2 to 7 times faster, where it has a wheel")
    return Check("engine", "ok", value)


def _engine_packages() -> tuple[Check, ...]:
    from facegate_edge import _litert  # noqa: PLC0415

    checks = []
    for package in _ENGINES:
        version = _version(package)
        if version is None:
            continue
        value = version
        if package == _litert.DISTRIBUTION:
            try:
                value = f"{version}, {_litert.find_library()[0]}"
            except FacegateError as e:
                value = f"{version}: {e}"
        checks.append(Check(package, "ok", value))
    return tuple(checks)


def _kernels() -> Check:
    try:
        from facegate_edge import _kernels as kernels  # noqa: PLC0415 - may fail, and that is what is asked

        available = ", ".join(kernels.available_paths())
        return Check("kernels", "ok", f"{kernels.active_path()} (this machine can run {available})")
    except Exception as e:  # noqa: BLE001 - whatever is wrong with it, the answer is the same
        return Check(
            "kernels",
            "problem",
            f"the native kernels cannot be loaded ({type(e).__name__})",
            "install facegate's wheel for this machine; from a checkout: python setup.py build_ext --inplace",
        )


def _processor(facts: MachineFacts) -> Check:
    return Check("processor", "ok", f"{facts.cpu or 'unknown'}: {' '.join(facts.features) or 'no known features'}")


def _board(facts: MachineFacts) -> Check:
    """Which device profile this machine is of."""
    known = [name for name, profile in targets().items() if profile.machine == facts.machine and not profile.boards]
    name = facts.target or next(iter(known), "generic")
    profile = targets()[name]
    value = f"{name} ({facts.board})" if facts.board else name
    if facts.machine == "armv7l" and facts.kernel_machine == "aarch64":
        return Check(
            "target", "warning", value, "this is a 32-bit Python: a 64-bit system can run LiteRT, faster models"
        )
    fit = fits(profile, facts)
    if fit.verdict == "refuse":
        return Check("target", "problem", f"{value}: {fit}", "this processor cannot run the engine")
    return Check("target", "ok", value) if fit.verdict == "yes" else Check("target", "warning", f"{value}: {fit}")


def bundle_check(name: str, facts: MachineFacts | None = None) -> Check:
    """Whether a bundle that was built for the target of this name can be used on this machine. Raises nothing."""
    fit = check_fit(name, facts, any_machine=True)
    if fit.verdict == "yes":
        return Check("bundle", "ok", f"built for {name}, which fits this machine")
    status: Status = "problem" if fit.verdict == "refuse" else "warning"
    return Check("bundle", status, f"built for {name}: {fit}", fit.hint)


def _threads() -> Check:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return Check("threads", "ok", f"{usable} of {total} cores usable; a pipeline takes 1 unless told otherwise")


def _memory() -> Check:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, available = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        return Check("memory", "warning", "unknown", "check that 256 MB are free")
    value = f"{total >> 20} MB, {available >> 20} MB of them free"
    if total < _LITTLE_MEMORY:
        return Check("memory", "warning", value, "a gate takes about 150 MB; close what else runs")
    return Check("memory", "ok", value)


def _locking() -> Check:
    """Whether a gallery can be kept out of swap."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= _GALLERY_BYTES or os.geteuid() == 0:
        return Check("memory locking", "ok", "allowed for 100,000 templates")
    return Check(
        "memory locking",
        "warning",
        f"{soft >> 10} KB",
        "larger galleries may be swapped to disk: raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity)",
    )
