"""failing_io.c, called from the process that it is loaded into (LD_PRELOAD)."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .disk import LINK, MKDIR, OPEN, REMOVE, RENAME, SYNC, TRUNCATE, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ALL", "CHANGES", "KILL", "SYNC", "Fault", "fault", "mark", "record"]

CHANGES = WRITE | SYNC | TRUNCATE  # of what files contain
ALL = CHANGES | OPEN | REMOVE | RENAME | MKDIR | LINK
KILL = 0  # instead of an errno: the process is killed at that call
_NEVER = 1 << 40

_library = ctypes.CDLL(None)


@dataclass
class Fault:
    """What came of it; filled when it is over.

    Attributes:
        calls: how many calls there were that could have failed.
        failed: how many did.
    """

    calls: int = 0
    failed: int = 0


@contextmanager
def fault(
    folder: Path, nth: int | None, error: int, *, kinds: int = ALL, only_once: bool = False, half: bool = False
) -> Iterator[Fault]:
    """From the nth call on that changes something below `folder`, all fail with `error`; None only counts them.

    Args:
        folder: which files.
        nth: 1, 2, ...
        error: an errno, or KILL.
        kinds: which calls count.
        only_once: only the nth fails.
        half: the nth write, if it is one, writes half first.
    """
    told = Fault()
    at = ctypes.c_long(_NEVER if nth is None else nth)
    _library.failing_io_arm(os.fsencode(folder), kinds, at, error, int(only_once), int(half))
    try:
        yield told
    finally:
        failed = ctypes.c_long()
        _library.failing_io_disarm.restype = ctypes.c_long
        told.calls = _library.failing_io_disarm(ctypes.byref(failed))
        told.failed = failed.value


def record(folder: Path, diary: Path) -> None:
    """Keep a diary of all that changes below `folder`."""
    if _library.failing_io_record(os.fsencode(folder), os.fsencode(diary)):
        raise OSError(f"cannot keep a diary in {diary}")


def mark(number: int) -> None:
    """Note that this point has come."""
    _library.failing_io_mark(ctypes.c_int64(number))
