"""What SQLite and the file system refuse, as our errors: neither their messages nor any SQL or value get into them."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING

from facegate.errors import (
    GateInUseError,
    StoreConflictError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreWriteError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["corrupt", "no_row", "no_store", "not_written", "store_errors", "translated"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Turn what SQLite raises into our errors; neither its messages nor any SQL or value get into them."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error) from None
    except UnicodeDecodeError:  # a message of SQLite's with bytes of a damaged schema in it
        raise corrupt() from None


def translated(error: sqlite3.Error) -> StoreError:
    """What SQLite raised, as our error."""
    if isinstance(error, sqlite3.IntegrityError):
        return StoreConflictError(
            "what was to be written contradicts what is there",
            hint="a name is taken already, or something still refers to what was to be removed",
        )
    text = str(error)
    for marks, made in _BY_TEXT:
        if any(mark in text for mark in marks):
            return made()
    if type(error) is sqlite3.DatabaseError:  # what is damaged is of no narrower type, and may have no readable text
        return corrupt()
    return StoreError("the store refused an operation", hint="`facegate gate check` looks for damage")


def corrupt() -> StoreCorruptError:
    return StoreCorruptError(
        "the store's file is damaged, or somebody changed it",
        hint="restore a backup; look whether the medium is failing, or who can write to this device",
    )


def _full() -> StoreFullError:
    return StoreFullError("the disk is full; nothing was written", hint="make room and try again")


def _read_only() -> StoreWriteError:
    return StoreWriteError(
        "the store is read-only; nothing was written",
        hint="look at the permissions of the gate's folder, whether the file system is mounted read-only, and whether "
        "there is room on it",
    )


def _io() -> StoreWriteError:
    return StoreWriteError(
        "the store cannot be read or written (I/O error); nothing was written",
        hint="see whether there is room on the disk, and look at the system's log: the medium may be failing",
    )


def _busy() -> GateInUseError:
    return GateInUseError("another process keeps the store busy", hint="close what else has the file open")


# By the text: the codes are there from Python 3.11 on only, and the texts have been the same for many years.
_BY_TEXT: tuple[tuple[tuple[str, ...], Callable[[], StoreError]], ...] = (
    (("disk is full",), _full),
    (("readonly", "read-only"), _read_only),
    (("malformed", "not a database", "corrupt", "decode to UTF-8"), corrupt),
    (("locked", "busy"), _busy),
    (("I/O", "unable to open"), _io),
)


def no_store(path: Path) -> StoreCorruptError:
    return StoreCorruptError(f"{path} is no store of a gate", hint="restore a backup, or make a new gate")


def no_row(table: str) -> StoreError:
    return StoreError(f"there is no such row of {table}", hint="it was removed before")


def not_written(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return _full()
    return StoreWriteError(
        f"the store cannot be read or written: {error.strerror}",
        hint="look at the permissions of the gate's folder, and whether the file system is mounted read-only",
    )
