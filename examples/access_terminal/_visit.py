"""A visit: from the first sight of somebody until nobody is there. It says when to ask the gate, and when to open."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_terminal._config import VisitConfig

__all__ = ["Visit"]

_WAIT = {"locked_out", "rate_limited"}


class Visit:
    """The rules of [visit]. Time is given, never asked for; no frame and no face is kept, only who was let in.

    Args:
        rules: of the configuration.

    Attributes:
        somebody: whether a visit is under way.
    """

    def __init__(self, rules: VisitConfig) -> None:
        self._rules = rules
        self.somebody = False
        self._last_seen = self._next_trial = 0.0
        self._tried = 0
        self._recent: deque[str | None] = deque(maxlen=rules.of)
        self._let_in: str | None = None

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
        if side is None:
            if self.somebody and now - self._last_seen >= self._rules.away_seconds:
                self._end()
            return False
        if self.somebody and now - self._last_seen >= self._rules.away_seconds:
            self._end()  # nobody looked meanwhile: a camera that was away, a machine that slept
        if not self.somebody:
            self.somebody, self._next_trial = True, now
        self._last_seen = now
        return side >= self._rules.face_pixels and now >= self._next_trial

    def told(self, now: float, subject: str | None, reasons: Sequence[str]) -> bool:
        """The gate has decided.

        Args:
            now: seconds.
            subject: of a match that may open the door; None for everything else.
            reasons: of the decision.

        Returns:
            Whether the door is to be opened.
        """
        rules = self._rules
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
        if not let_in or subject == self._let_in:
            return False
        self._let_in = subject
        return True

    def pause(self, now: float) -> None:
        """The gate could not decide: ask again later."""
        self._next_trial = now + self._rules.pause_seconds

    def _end(self) -> None:
        self.somebody = False
        self._tried = 0
        self._recent.clear()
        self._let_in = None
