"""Time, as something that a test can hold in its hand."""

from __future__ import annotations

import functools
import secrets
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "SystemClock", "boot_of"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What a gate asks for the time.

    A clock whose `monotonic` starts again with each boot has a method `boot() -> str` as well, the id of the boot that
    it counts in; one that has none counts in this machine's boot (see `boot_of`).
    """

    def now(self) -> datetime:
        """The time of day, with a time zone."""

    def monotonic(self) -> float:
        """Seconds that never go back, whatever happens to the time of day."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since the machine was started; counts through suspension."""
        # CLOCK_BOOTTIME: CLOCK_MONOTONIC stands still while a device sleeps, and a lock-out with it.
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        """The kernel's id of this boot."""
        return _machine_boot()


def boot_of(clock: Clock) -> str:
    """The id of the boot that the clock's seconds count in."""
    boot = getattr(clock, "boot", None)
    return str(boot()) if boot is not None else _machine_boot()


@functools.cache
def _machine_boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        # Not known: each process counts as a boot of its own, which trusts less and never more.
        return secrets.token_hex(16)
