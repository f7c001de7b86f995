"""Making a version's folder of a package: unpacked, checked, compiled, and on the disk before it gets its name."""

from __future__ import annotations

import compileall
import hashlib
import io
import json
import os
import py_compile
import shutil
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from facegate_installer._deb import python_folder, unpack_debs
from facegate_installer._disk import free_bytes, remove_tree, sync_tree, write_file
from facegate_installer._errors import DiskError, PackageError
from facegate_installer._launchers import write_launchers
from facegate_installer._layout import RECORD, SUMS
from facegate_installer._package import LIST, SIGNATURE
from facegate_installer._wheel import unpack_wheel, wheel_size

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_installer._machine import Machine
    from facegate_installer._package import Item, Package

__all__ = ["chosen", "needed_bytes", "unpack"]

_STAGE = ".stage"
_RESERVE = 8 * 1024**2  # beside what the version takes: the gate's store must go on
_COMPILED = 1.3  # bytecode beside its source: 1.1 to 1.2 measured on numpy, Pillow and facegate
_DEB = 6  # what xz gains on libraries, at most
_OWN = ("engine", "bundle", "trust", "unit", "app", "license", "installer")


def chosen(package: Package, machine: Machine) -> list[Item]:
    """The files of the package that this machine's Python takes."""
    return [item for item in package.info.items if item.python in (None, machine.python)]


def check_room(package: Package, machine: Machine, folder: Path) -> int:
    """How many bytes the version takes, at most. Raises DiskError if there is not so much room, with a reserve."""
    needed, free = needed_bytes(package, machine), free_bytes(folder)
    if needed + _RESERVE > free:
        raise DiskError(
            f"not enough room: {(needed + _RESERVE) / 1e6:.0f} MB are needed in {folder}, {free / 1e6:.0f} MB are free",
            hint="make room; nothing was changed",
        )
    return needed


def needed_bytes(package: Package, machine: Machine) -> int:
    """How many bytes the version takes while it is unpacked, at most. Raises PackageError."""
    total = largest = 0.0
    for item in chosen(package, machine):
        if item.role == "wheel":
            size, python = wheel_size(package.seekable(item), item.path)
            total += size + _COMPILED * python
            largest = max(largest, item.size)
        elif item.role == "deb":
            total += (1 + _DEB) * item.size
        else:
            total += item.size * (1 + _COMPILED)
    return int(total + largest)


def unpack(package: Package, folder: Path, final: str, machine: Machine, record: dict[str, Any]) -> None:
    """Unpack into a new folder; everything is on the disk when this returns.

    Every file is hashed as it is copied out of the archive, and used from the copy: a package that is exchanged on its
    stick meanwhile is noticed.

    Args:
        package: verified, and trusted or not: that was decided before.
        folder: which must not exist.
        final: its path on the device, later.
        machine: which Python it is for.
        record: what to note of the installation.

    Raises:
        PackageError, PackageHashError, MachineError: see `Package.copy` and `unpack_wheel`.
        OSError: the disk.
    """
    folder.mkdir(0o755)
    stage, site = folder / _STAGE, folder / "site"
    stage.mkdir(0o700)
    site.mkdir(0o755)
    items = chosen(package, machine)
    for item in items:
        if item.role in _OWN:
            _copy(package, item, folder / _destination(item))
    for item in items:
        if item.role == "wheel":
            wheel = stage / item.path.rpartition("/")[2]
            _copy(package, item, wheel)
            leave_out = package.info.leave_out if item.distribution == "facegate" else ()
            unpack_wheel(wheel, site, machine, leave_out=leave_out)
            wheel.unlink()
    debs = [item for item in items if item.role == "deb"]
    for item in debs:
        _copy(package, item, stage / item.path.rpartition("/")[2])
    if debs:
        unpack_debs([stage / item.path.rpartition("/")[2] for item in debs], folder / "deb")
    remove_tree(stage)
    write_launchers(folder, final, machine)
    if machine.here:
        _compile(folder, final)
    write_file(folder / LIST, package.list)
    if package.signature_text:
        write_file(folder / SIGNATURE, package.signature_text)
    sums, size = _sums(folder)
    write_file(folder / SUMS, sums)
    write_file(folder / RECORD, (json.dumps(record | {"size": size}, indent=1) + "\n").encode())
    _fix_modes(folder)
    sync_tree(folder)


def _destination(item: Item) -> str:
    """Where a file goes in the version's folder."""
    if item.role == "installer":
        return f"installer/{item.path}"
    if item.role == "license" and not item.path.startswith("engine/"):
        return item.path if item.path.startswith("licenses/") else f"licenses/{item.path}"
    return item.path if not item.path.startswith("engine/") else f"site/{item.path.removeprefix('engine/')}"


def _copy(package: Package, item: Item, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        raise PackageError(f"two files of the package go to {path.name}", hint="build the package again") from None
    with os.fdopen(descriptor, "wb") as file:
        package.copy(item, file.write)


def _compile(folder: Path, final: str) -> None:
    """Bytecode beside each module, because the service cannot write any; it is never held against its source.

    Unchecked: what counts is files.sha256, and looking at every source's time costs a start on an SD card.
    """
    modules = python_folder(folder / "deb")
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):  # files that are no Python of this version are no failure
        for part in (folder / "site", folder / "app", folder / "installer", modules):
            if part.is_dir():
                compileall.compile_dir(
                    part,
                    quiet=2,
                    force=True,
                    stripdir=str(folder),
                    prependdir=final,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                    maxlevels=30,
                )


def _sums(folder: Path) -> tuple[bytes, int]:
    """The sha256 of every file, as `sha256sum -c` reads it, and how many bytes they are."""
    lines, total = [], 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                total += len(chunk)
        lines.append(f"{digest.hexdigest()}  {path.relative_to(folder)}\n")
    return "".join(lines).encode(), total


def _fix_modes(folder: Path) -> None:
    """Owned by who installs (root), readable by all, writable by the owner alone, whatever the umask."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = 0o755 if path.is_dir() or (path.parent.name == "bin" and path.parent.parent == folder) else 0o644
        path.chmod(mode & ~0o111 if path.name == "run.py" and path.parent.name == "bin" else mode)


def remove_unfinished(folder: Path) -> None:
    """Remove what is left of an unpacking, as far as that is possible: the next installer tries again."""
    shutil.rmtree(folder, ignore_errors=True)
