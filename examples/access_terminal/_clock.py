"""Time for a loop that waits: the machine's, or a scene's that runs as fast as it is computed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from facegate import SystemClock

if TYPE_CHECKING:
    import threading

__all__ = ["Clock", "SceneTime", "SystemTime"]


class Clock(Protocol):
    """A gate's clock that can wait."""

    def now(self) -> datetime:
        """The time of day, with a time zone."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def boot(self) -> str:
        """What the seconds are counted from."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Let so many seconds pass, or fewer if `stop` is set."""


class SystemTime(SystemClock):
    """The machine's clocks."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Let so many seconds pass, or fewer if `stop` is set."""
        stop.wait(seconds)


class SceneTime:
    """A scene's time: waiting takes none. Lock-outs, pauses and the door follow what is played, not how fast."""

    def __init__(self) -> None:
        self._began = datetime.now(timezone.utc)
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time of day in the scene."""
        return self._began + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the scene began."""
        return self.seconds

    def boot(self) -> str:
        """What the seconds are counted from: the scene's beginning, not this machine's."""
        return "scene"

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Turn the clock on."""
        if not stop.is_set():
            self.seconds += max(0.0, seconds)
