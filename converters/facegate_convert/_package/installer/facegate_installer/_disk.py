"""Writing so that a power loss leaves the old or the new, never half; and the lock that keeps installers apart."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

from facegate_installer._errors import BusyError, DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "check_owner",
    "exchange",
    "free_bytes",
    "locked",
    "make_folder",
    "put_link",
    "remove_tree",
    "sync_folder",
    "sync_tree",
    "told",
    "write_file",
]

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: linux/fcntl.h, linux/fs.h
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def told(error: OSError, what: str) -> DiskError:
    """An OSError as something that a person can act on."""
    path = f" {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return DiskError(f"the disk is full: {what}{path}", hint="make room and try again; what was in use still is")
    if error.errno == errno.EROFS:
        return DiskError(f"the file system is read-only: {what}{path}", hint="mount it read-write, and try again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return DiskError(f"no permission: {what}{path}", hint="run it as root: sudo ...")
    return DiskError(f"{what}: {error.strerror or error}{path}", hint="look at the medium; what was in use still is")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other installers out; the lock goes with the process, however it ends. Raises BusyError, DiskError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise told(error, "the lock cannot be made") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError("another installer is at work", hint="wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)


def check_owner(path: Path, *, links: bool) -> None:
    """Raise DiskError if others than root, or this user, may put something else in a folder's place.

    Args:
        path: a folder, or nothing.
        links: whether it may be a link: not below `--root`, where one could lead out of it.
    """
    try:
        link, found = path.lstat(), path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise DiskError(f"{path} is a link to nothing", hint="remove it") from None
        return
    except OSError as error:
        raise told(error, "a folder cannot be looked at") from None
    if stat.S_ISLNK(link.st_mode) and not links:
        raise DiskError(f"{path} is a link", hint="below --root folders are real ones")
    if not stat.S_ISDIR(found.st_mode):
        raise DiskError(f"{path} is in the way: no folder", hint="move it away")
    owners = {0, os.geteuid()}
    if found.st_uid not in owners or link.st_uid not in owners or found.st_mode & 0o022:
        raise DiskError(
            f"others than root can change {path} (owner {found.st_uid}, mode {found.st_mode & 0o7777:04o})",
            hint=f"look at what is in it; then: chown root {path} && chmod go-w {path}",
        )


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder, and those above it, if they are not there; on the disk when this returns."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode)
        path.chmod(mode)
        sync_folder(path.parent)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a file in its place in one step that reaches the disk."""
    fresh = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def put_link(path: Path, target: str) -> None:
    """Make a link, or turn it elsewhere, in one step that reaches the disk."""
    fresh = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(target)
    fresh.replace(path)
    sync_folder(path.parent)


def exchange(first: Path, second: Path) -> bool:
    """Let two folders exchange their names in one step (renameat2(2)). False: this system cannot, nothing was done."""
    try:
        import ctypes  # noqa: PLC0415 - some small systems have Python without it

        rename: Any = ctypes.CDLL(None).renameat2
    except (ImportError, OSError, AttributeError):
        return False
    return bool(rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make sure that everything in a folder is on the disk.

    One syncfs(2) where there is one: thousands of fsync(2), each of which commits the journal, take a minute on an SD
    card. Where the C library cannot be asked, each file and folder is synced by itself.
    """
    if _sync_file_system(path):
        return
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)  # noqa: PTH118 - os.walk speaks in strings
            if not os.path.islink(file):  # noqa: PTH114
                descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_file_system(path: Path) -> bool:
    """syncfs(2); False if it cannot be called. Raises OSError: what was written did not reach the disk."""
    try:
        import ctypes  # noqa: PLC0415 - some small systems have Python without it

        library: Any = ctypes.CDLL(None, use_errno=True)
        syncfs = library.syncfs
    except (ImportError, OSError, AttributeError):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) == 0:
            return True
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            return False
        raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a folder; it has a name that nobody uses before the first of its files goes."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path)


def free_bytes(path: Path) -> int:
    """How much room there is where a folder is, or will be."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
