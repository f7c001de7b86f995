"""How often a gate may be asked in a minute: who may try without end finds whoever resembles them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WINDOW", "RateLimit"]

WINDOW = 60.0  # seconds


class RateLimit:
    """At most so many events in any 60 seconds.

    Refused events do not count, so that a rate that is far too high becomes the highest one that is allowed.

    Args:
        most: how many; 0 is no limit.
        ages: how many seconds before `now` the latest events were; a gate that is started again goes on counting.
        now: seconds of a monotonic clock.
    """

    __slots__ = ("_most", "_times")

    def __init__(self, most: int, *, ages: Iterable[float] = (), now: float = 0.0) -> None:
        self._most = most
        times = sorted(now - age for age in ages if 0 <= age < WINDOW)
        self._times: deque[float] = deque(times[-most:] if most else ())  # never longer than `most`

    def reached(self, now: float) -> bool:
        """Whether no more is allowed at `now`."""
        times = self._times
        while times and not now - WINDOW < times[0] <= now:
            times.popleft()
        return 0 < self._most <= len(times)

    def count(self, now: float) -> None:
        """Count one."""
        if self._most and not self.reached(now):
            self._times.append(now)

    def allows(self, now: float) -> bool:
        """Whether one more is allowed at `now`; counts it if it is."""
        if self.reached(now):
            return False
        self.count(now)
        return True
