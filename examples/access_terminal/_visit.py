"""A visit: somebody near, until nobody is. It says when to ask the gate, and when to open."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_terminal._config import VisitConfig

__all__ = ["Visit"]

_WAIT = {"locked_out", "rate_limited"}


class Visit:
    """The rules of [visit]. Time is given, never asked for; of a visit it is kept who was let in, and nothing longer.

    Only who is near enough to be asked about makes one: a desk in the background must not make a visit of a whole day.

    Args:
        rules: of the configuration.

    Attributes:
        somebody: whether anybody is in sight, near or not.
    """

    def __init__(self, rules: VisitConfig) -> None:
        self._rules = rules
        self.somebody = False
        self._last_seen = self._last_near = -math.inf
        self._next_trial = 0.0
        self._tried = 0
        self._recent: deque[str | None] = deque(maxlen=rules.of)
        self._let_in: set[str] = set()

    @property
    def interval(self) -> float:
        """Seconds between two frames that are looked at."""
        return 1 / (self._rules.fps if self.somebody else self._rules.idle_fps)

    def saw(self, now: float, side: float | None) -> bool:
        """A frame was looked at.

        Args:
            now: seconds.
            side: shorter side of the largest face's box, in pixels of the frame; None: there is no face.

        Returns:
            Whether the gate is to be asked about this frame.
        """
        rules = self._rules
        if now - self._last_near >= rules.away_seconds:  # also if nobody looked: a camera was away, a machine slept
            self._tried, self._next_trial = 0, now
            self._recent.clear()
            self._let_in.clear()
        if side is not None:
            self._last_seen = now
        self.somebody = now - self._last_seen < rules.away_seconds
        if side is None or side < rules.face_pixels:
            return False
        self._last_near = now
        return now >= self._next_trial

    def told(self, now: float, subject: str | None, reasons: Sequence[str]) -> bool:
        """The gate has decided.

        Args:
            now: seconds, after it has: while it thinks, or its disk does, nobody has gone away.
            subject: of a match that may open the door; None for everything else.
            reasons: of the decision.

        Returns:
            Whether the door is to be opened.
        """
        rules = self._rules
        self._last_near = now
        if _WAIT.intersection(reasons):
            self._next_trial = now + rules.pause_seconds  # it would be refused, and each refusal is written down
            return False
        self._tried += 1
        self._recent.append(subject)
        self._next_trial = now + rules.retry_seconds
        let_in = subject is not None and self._recent.count(subject) >= rules.matches
        if let_in or self._tried >= rules.tries:
            self._next_trial = now + rules.again_seconds
            self._tried = 0
            self._recent.clear()
        if subject is None or not let_in or subject in self._let_in:
            return False
        self._let_in.add(subject)
        return True

    def pause(self, now: float) -> None:
        """The gate could not decide: ask again later. `now` as for `told`."""
        self._last_near = now
        self._next_trial = now + self._rules.pause_seconds
