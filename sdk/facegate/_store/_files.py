"""Files that are made safely, and the lock that keeps a gate to one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from facegate._store._store_errors import no_store, not_written
from facegate.errors import GateInUseError, StoreExistsError, StoreMissingError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_file", "drop_lock", "make_file", "take_lock"]


def make_file(path: Path) -> None:
    """An empty file, 0600. Raises StoreExistsError, StoreFullError, StoreWriteError."""
    try:
        # SQLite gives the log and the index of the log the mode that the file has.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        raise StoreExistsError(f"there is a store {path} already", hint="choose another folder") from None
    except OSError as error:
        raise not_written(error) from error


def check_file(path: Path) -> None:
    """Raises StoreMissingError, StoreCorruptError or StoreWriteError if this is no file; closes it to other users."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMissingError(f"there is no store {path}", hint="`facegate init` makes a gate with one") from None
    except OSError as error:
        raise not_written(error) from error
    if not stat.S_ISREG(found.st_mode):
        raise no_store(path)
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        with contextlib.suppress(OSError):
            path.chmod(0o600)


def take_lock(path: Path) -> int:
    """The lock that keeps other processes out; the system drops it when this one ends, however it ends.

    Raises:
        GateInUseError: another process has it.
        StoreMissingError: there is no such folder.
        StoreFullError, StoreWriteError: the file cannot be made.
    """
    try:
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMissingError(f"there is no folder {path.parent}", hint="make it first") from None
    except OSError as error:
        raise not_written(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise GateInUseError(
            "another process has the gate open", hint="stop it first; one gate belongs to one process at a time"
        ) from None
    except OSError as error:
        os.close(lock)
        raise not_written(error) from error
    return lock


def drop_lock(lock: int | None) -> None:
    """Let other processes have it, also if a forked child still has its copy of the descriptor."""
    if lock is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        # The file stays: if it were removed, two processes could hold locks on two files of one name.
        os.close(lock)
