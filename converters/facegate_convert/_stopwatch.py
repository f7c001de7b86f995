"""What a long piece of work is doing, told and timed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate_convert._options import Progress


class Stopwatch:
    """Passes steps on to whoever watches, and notes how long each took.

    Args:
        tell: called with (what is being done, steps done, steps in all); None if nobody watches.
    """

    def __init__(self, tell: Progress | None) -> None:
        self._tell: Progress = tell or (lambda *_: None)
        self._began = self._since = time.perf_counter()
        self._step = ""
        self._seconds: dict[str, float] = {}

    def step(self, what: str) -> None:
        """Begin the next step."""
        self._end()
        self._step = what
        self._tell(what, 0, 0)

    def steps(self, done: int, total: int) -> None:
        """Tell how far the step is."""
        self._tell(self._step, done, total)

    def inner(self, what: str, done: int, total: int) -> None:
        """Tell of a part of the step, which is timed as a whole."""
        self._tell(what, done, total)

    def seconds(self) -> dict[str, float]:
        """How long each step took so far, and all of them, in seconds."""
        self._end()
        everything = {"all": time.perf_counter() - self._began}
        return {name: round(value, 2) for name, value in (self._seconds | everything).items()}

    def _end(self) -> None:
        now = time.perf_counter()
        if self._step:
            self._seconds[self._step] = self._seconds.get(self._step, 0.0) + now - self._since
        self._since = now
