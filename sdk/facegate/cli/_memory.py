"""Keeps the memory of a command that opens a gate out of core dumps."""

from __future__ import annotations

import contextlib

__all__ = ["refuse_core_dumps"]

_PR_SET_DUMPABLE = 4


def refuse_core_dumps() -> None:
    """From now on this process leaves no core dump, and only root can look into its memory.

    Keys and templates are in there. For a command's own process only: an application that uses the SDK decides for
    itself (docs/store.md says how). Where the system knows no such thing, nothing happens.
    """
    import ctypes  # noqa: PLC0415 - help comes without
    import resource  # noqa: PLC0415

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # The limit alone does not keep a dump from a program that takes dumps through a pipe.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
