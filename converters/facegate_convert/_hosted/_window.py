"""When an evaluation ends."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST", "Window", "parse_until"]

LONGEST = timedelta(days=31)
_DURATION = re.compile(r"(\d{1,5})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Window:
    """The time in which a server answers.

    It is over when the wall clock says so, and at the latest when as much time has passed as there was at the start:
    setting the clock back does not prolong it.

    Args:
        until: aware.
        clock: tells the time.
        steady: seconds that never run backwards.
    """

    def __init__(
        self,
        until: datetime,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.until = until
        self._clock = clock
        self._steady = steady
        self._end = steady() + (until - clock()).total_seconds()

    @property
    def is_over(self) -> bool:
        """Whether the evaluation has ended."""
        return self._clock() >= self.until or self._steady() >= self._end


def parse_until(text: str, now: datetime) -> datetime:
    """The end of an evaluation: a duration from now ("8h", "30m", "5d") or a time ("2027-01-31T18:00:00Z").

    Raises:
        ValueError: it is neither, in the past, or more than 31 days away.
    """
    found = _DURATION.fullmatch(text)
    if found:
        until = now + timedelta(**{_UNITS[found[2]]: int(found[1])})
    else:
        until = datetime.fromisoformat(re.sub("Z$", "+00:00", text))
        if until.tzinfo is None:
            raise ValueError("a time needs its zone, e.g. a Z for UTC")
    if not now < until <= now + LONGEST:
        raise ValueError(f"an evaluation ends in the future, and after at most {LONGEST.days} days")
    return until.astimezone(timezone.utc)
