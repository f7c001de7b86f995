"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_RETRY_AFTER", "Backoff"]

MAX_RETRY_AFTER = 3600.0
"""Seconds: no server can silence a device for longer than this by what it asks for."""
_MAX_DOUBLINGS = 60
_RANDOM = random.SystemRandom()


class Backoff:
    """Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Before the n-th retry the wait is uniform in 0..min(cap, base * 2^n): devices that lost their server together do not
    come back together.

    Args:
        base: seconds.
        cap: seconds.
        uniform: draws a number between two others.
    """

    def __init__(
        self,
        base: float = 1.0,
        cap: float = 300.0,
        uniform: Callable[[float, float], float] = _RANDOM.uniform,
    ) -> None:
        self._base = base
        self._cap = cap
        self._uniform = uniform
        self._failures = 0

    def next(self, retry_after: float | None = None) -> float:
        """Seconds to wait after one more failure.

        Args:
            retry_after: what the other side asks for; it is waited at least as long, up to an hour.
        """
        ceiling = min(self._cap, self._base * 2 ** min(self._failures, _MAX_DOUBLINGS))
        self._failures += 1
        wait = self._uniform(0.0, ceiling)
        return wait if retry_after is None else max(wait, min(max(retry_after, 0.0), MAX_RETRY_AFTER))

    def reset(self) -> None:
        """Begin anew: something succeeded."""
        self._failures = 0
