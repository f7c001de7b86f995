"""Time, as something that a test can hold in its hand."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What a gate asks for the time."""

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
        """Seconds since some moment; counts through suspension."""
        # CLOCK_BOOTTIME: CLOCK_MONOTONIC stands still while a device sleeps, and a lock-out with it.
        return time.clock_gettime(time.CLOCK_BOOTTIME)
