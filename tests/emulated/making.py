"""Makes the emulated machines: the emulator, two roots, the wheels beside them, the plugin that counts.

Each part is keyed by what it is made of (names, pins, this code's version): a part that is there with its key is left
alone, any other is made anew beside the old one and put in its place at once. So a second run takes seconds, a run that
was stopped goes on, and a cached folder is as good as a fresh one.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import debian
from errors import FetchError, MachineError

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
FORMAT = "1"  # to be raised when the same pins give something else
ROOM = 1_500_000_000  # bytes needed on the disk while everything is made
QEMU = ("qemu-user",)
PYTHON = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
ROOTS = {
    "arm64": PYTHON,
    "armhf": (
        *PYTHON,
        *("python3-numpy", "python3-cffi", "python3-cffi-backend", "python3-pil", "python3-cryptography"),
        *("python3-click", "libatomic1"),
    ),
}
TRIPLES = {"arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}
_GLIBCS = (36, 35, 34, 31, 28, 27, 24, 17)  # Debian 12 has 2.36: these manylinux tags are installable on it
PLATFORMS = {
    "arm64": (*(f"manylinux_2_{glibc}_aarch64" for glibc in _GLIBCS), "manylinux2014_aarch64"),
    "armhf": (*(f"manylinux_2_{glibc}_armv7l" for glibc in _GLIBCS), "manylinux2014_armv7l"),
}
LITERT_PARTS = re.compile(r"ai_edge_litert/libLiteRt\.so|ai_edge_litert-[^/]*\.dist-info/.*")


def make(machine: Path) -> None:
    """Make what is not there yet.

    Args:
        machine: The folder, which is made as well.

    Raises:
        FetchError: Packages cannot be fetched; the reason is also left in the file `unavailable`.
        MachineError: All else.
    """
    started = time.monotonic()
    unavailable = machine / "unavailable"
    for reason in (unavailable, machine / "packages-unavailable"):
        reason.unlink(missing_ok=True)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MachineError(
            f"the emulated machines are made on x86_64 Linux, not on {platform.machine()} {platform.system()}",
            "on an ARM machine run the tests themselves: make test",
        )
    machine.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - started:6.1f} s] {text}\n")  # in one piece: several parts tell
        sys.stdout.flush()

    try:
        _make_all(machine, say)
    except FetchError as error:
        unavailable.write_text(" ".join(str(error).splitlines()[:2]) + "\n")
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise MachineError("the disk is full", "make room, or name another folder in FACEGATE_ARM") from error
        raise
    size = sum(f.stat().st_size for f in machine.rglob("*") if f.is_file() and not f.is_symlink())
    say(f"the emulated machines are in {machine} ({size / 1e6:.0f} MB)")


def parts(machine: Path) -> dict[str, tuple[str, Callable[[Path, Callable[[str], None]], list[str]]]]:
    """Everything that is made: name -> (key of what it is made of, function that fills a folder)."""
    made: dict[str, tuple[str, Callable[[Path, Callable[[str], None]], list[str]]]] = {
        "qemu": (_key(*QEMU), lambda new, say: _qemu(new, machine, say))
    }
    for arch, packages in ROOTS.items():
        made[f"root-{arch}"] = (
            _key(*packages, "links inside"),
            lambda new, say, arch=arch: _root(arch, new, machine, say),
        )
        pins = HERE / f"site-{arch}.txt"
        made[f"site-{arch}"] = (
            _key(pins.read_text(), *PLATFORMS[arch], LITERT_PARTS.pattern),
            lambda new, say, arch=arch, pins=pins: _site(arch, pins, new, machine, say),
        )
    source = HERE / "icount.c"
    made["icount.so"] = (_key(source.read_text()), lambda new, _say: _plugin(source, new))
    return made


def missing(machine: Path) -> list[str]:
    """The parts that are not there, or are made of something else than now."""
    return [name for name, (key, _) in parts(machine).items() if _made(machine, name) != key]


def _key(*of: str) -> str:
    return hashlib.sha256("\0".join((FORMAT, debian.RELEASE, *of)).encode()).hexdigest()


def _made(machine: Path, name: str) -> str:
    """The key of a part that is there; empty if it is not."""
    record = machine / f"{name}.made"
    return record.read_text().split("\n", 1)[0] if record.exists() and (machine / name).exists() else ""


def _make_all(machine: Path, say: Callable[[str], None]) -> None:
    todo = missing(machine)
    if not todo:
        say("every part is there")
        return
    free = shutil.disk_usage(machine).free
    if free < ROOM:
        raise MachineError(
            f"{machine} has {free / 1e6:.0f} MB left, {ROOM / 1e6:.0f} MB are needed",
            "make room, or name another folder in FACEGATE_ARM",
        )
    say(f"making {', '.join(todo)}")
    with ThreadPoolExecutor(len(todo)) as pool:
        work = [pool.submit(_make_part, machine, name, say) for name in todo]
        for one in as_completed(work):
            one.result()
    shutil.rmtree(machine / "apt", ignore_errors=True)
    shutil.rmtree(machine / "wheels", ignore_errors=True)


def _make_part(machine: Path, name: str, say: Callable[[str], None]) -> None:
    key, fill = parts(machine)[name]
    new, old = machine / f".new-{name}", machine / f".old-{name}"
    for leftover in (new, old):
        _remove(leftover)
    (machine / f"{name}.made").unlink(missing_ok=True)
    contents = fill(new, lambda text: say(f"{name}: {text}"))
    if (machine / name).exists():
        (machine / name).rename(old)
    new.rename(machine / name)
    _remove(old)
    record = machine / f".{name}.made"
    record.write_text("\n".join((key, *contents, "")))
    record.rename(machine / f"{name}.made")
    say(f"{name}: made")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _qemu(new: Path, machine: Path, say: Callable[[str], None]) -> list[str]:
    new.mkdir()
    contents = debian.unpack(QEMU, "amd64", new, machine / "apt/qemu", say)
    libraries = new / "usr/lib/x86_64-linux-gnu"
    for library in (new / "lib/x86_64-linux-gnu").glob("*"):  # one folder is enough for everybody's LD_LIBRARY_PATH
        if not (libraries / library.name).exists():
            library.rename(libraries / library.name)
    for architecture in ("aarch64", "arm"):
        emulator = new / f"usr/bin/qemu-{architecture}"
        done = subprocess.run(  # noqa: S603 - what was just unpacked
            [str(emulator), "--version"],
            env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MachineError(f"{emulator.name} does not start here:\n{done.stderr}", "Debian 12 or newer is needed")
    for program in (new / "usr/bin").iterdir():  # forty other architectures
        if program.name not in ("qemu-aarch64", "qemu-arm"):
            program.unlink()
    shutil.rmtree(new / "usr/share", ignore_errors=True)
    return contents


def _root(arch: str, new: Path, machine: Path, say: Callable[[str], None]) -> list[str]:
    new.mkdir()
    contents = debian.unpack(ROOTS[arch], arch, new, machine / f"apt/root-{arch}", say)
    libraries = new / "usr/lib" / TRIPLES[arch]
    for name in ("blas", "lapack"):  # a link that a package's own script would have made
        if (libraries / name / f"lib{name}.so.3").exists():
            (libraries / f"lib{name}.so.3").symlink_to(f"{name}/lib{name}.so.3")
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(new / folder, ignore_errors=True)
    keep_links_inside(new)
    _compile(new / "usr/lib/python3.11", say)
    if (new / "usr/lib/python3").exists():
        _compile(new / "usr/lib/python3", say)
    return contents


def keep_links_inside(root: Path) -> None:
    """Make absolute links relative, which the host's kernel would follow into the host; remove those to nothing."""
    for link in [path for path in root.rglob("*") if path.is_symlink() and path.readlink().is_absolute()]:
        target = root / link.readlink().relative_to("/")
        link.unlink()
        if target.exists():
            link.symlink_to(os.path.relpath(target, link.parent))


def _site(arch: str, pins: Path, new: Path, machine: Path, say: Callable[[str], None]) -> list[str]:
    if importlib.util.find_spec("pip") is None:
        raise MachineError("this Python has no pip", "run make arm, or use the Python of .venv")
    wheels = machine / "wheels" / arch
    wheels.mkdir(parents=True, exist_ok=True)
    say("downloading the wheels")
    platforms = [argument for one in PLATFORMS[arch] for argument in ("--platform", one)]
    try:
        debian.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", *platforms),
                *("--abi", "cp311", "--abi", "abi3", "--abi", "none", "--progress-bar", "off"),
                *("--require-hashes", "--dest", str(wheels), "--requirement", str(pins)),
            ],
            fetches=True,
        )
    except MachineError as error:
        if "DO NOT MATCH THE HASHES" in str(error):
            raise MachineError(
                f"a wheel is not the one that {pins.name} names:\n{error}",
                "do not use it; if a package's maker has replaced it, look at why before changing the pin",
            ) from error
        if not isinstance(error, FetchError) and "No matching distribution" in str(error):
            raise FetchError(f"pip finds no wheel that {pins.name} names:\n{error}", error.hint) from error
        raise
    wanted = dict(re.findall(r"^([\w-]+)==(\S+)", pins.read_text(), re.MULTILINE))
    files = []
    for name, version in wanted.items():
        (file,) = wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        files.append(file)
    say(f"unpacking {len(files)} wheels")
    new.mkdir()
    for file in files:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if file.name.startswith("ai_edge_litert-"):  # its Python modules are 90 MB of other packages away
                names = [name for name in names if LITERT_PARTS.fullmatch(name)]
                (new / "ai_edge_litert").mkdir()
                (new / "ai_edge_litert/__init__.py").touch()
            archive.extractall(new, names)
    _compile(new, say)
    return [file.name for file in files]


def _compile(folder: Path, say: Callable[[str], None]) -> None:
    """Byte code, which an emulated Python would take long to make; it is the same on every architecture."""
    if sys.implementation.cache_tag != "cpython-311":
        say("no byte code: another Python than 3.11 makes this, so emulated runs start some seconds later")
        return
    # Unchecked: a cached folder may come back with other times.
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    # Python's own test data has files that are wrong on purpose, so its exit code says nothing.
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603


def _plugin(source: Path, new: Path) -> list[str]:
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise MachineError(f"{compiler} is missing", "install a C compiler: apt install gcc libc6-dev")
    debian.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", str(new), str(source)])
    return []
