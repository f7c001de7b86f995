"""How the terminal is, in a file that anybody may read: counts and states, nothing about anybody."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from facegate import SystemClock
from facegate_terminal._errors import StatusError

__all__ = ["StatusFile", "describe", "read_status"]

_log = logging.getLogger("facegate_terminal")
_MAX_FILE = 64 * 1024
_STALE = 3.5  # times its own period


class StatusFile:
    """Replaced as a whole each time, so that a reader never sees half of one.

    Args:
        path: empty: there is none.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._failed = False

    def write(self, status: dict[str, Any]) -> None:
        """Say how it is. A disk that does not take it never matters to the door: said once, tried again."""
        if self._path is None:
            return
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            fresh.write_text(json.dumps(status, indent=1) + "\n", encoding="ascii")
            fresh.chmod(0o644)  # whatever the service's umask: whoever looks after the door is not its user
            fresh.replace(self._path)
        except OSError as error:
            if not self._failed:
                _log.warning("the status cannot be written: %s", error.strerror)
            self._failed = True
        else:
            self._failed = False

    def remove(self) -> None:
        """The terminal has ended."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def read_status(path: str) -> dict[str, Any] | None:
    """What a running terminal says; None: none runs, or what is there is old, or no status of this version.

    Raises:
        StatusError: it may not be read, so nobody knows.
    """
    try:
        with Path(path).open("rb") as file:
            status = json.loads(file.read(_MAX_FILE))
        clock = SystemClock()
        age = clock.monotonic() - float(status["updated"])
        alive = status["boot"] == clock.boot() and -1 <= age <= _STALE * max(1.0, float(status["period"]))
        with contextlib.suppress(PermissionError):  # it runs, and is another user's
            os.kill(int(status["pid"]), 0)
        describe(status)  # has all that it must have
    except PermissionError:
        raise StatusError(f"the status {path} may not be read", hint="look as root, or as the service's user") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return status if alive else None


def describe(status: dict[str, Any]) -> str:
    """The status for people, a few lines."""
    gate, camera, door = status["gate"], status["camera"], status["door"]
    trouble = ", ".join(status["trouble"]) or "none"
    marked = ", a demonstration" if gate["demonstration"] else ""
    return "\n".join(
        (
            f"state    {status['state']}; trouble: {trouble}",
            f"camera   {camera['frames']} frames, {camera['failures']} failures",
            f"gate     {gate['people']} people, {gate['decisions']} decisions{marked}",
            f"waiting  {gate['waiting']} decisions to leave, {gate['reviews']} for a person to look",
            f"clock    {gate['clock'] or 'believed'}",
            f"door     {'open' if door['open'] else 'closed'}, opened {door['openings']} times",
            f"disk     {status['disk_free_mb'] or 'unknown'} MB free",
        )
    )
