"""Locking out whoever fails too often (Android CDD 7.3.10 asks for 30 s after five false trials)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate._policy import Policy

__all__ = ["Lockout"]

_MAX_DOUBLINGS = 60  # far beyond any duration; keeps the power of two a sane float


@dataclass(slots=True)
class _State:
    failures: int = 0
    until: float = float("-inf")


class Lockout:
    """Counts failed trials of each scope. A scope is a subject for verification, None for identification.

    The first `max_attempts` failures in a row lock a scope for `lockout_seconds`; each further failure locks it again,
    for twice as long as before, up to `max_lockout_seconds`. A match forgets all of it, for its own scope only: being
    recognised oneself does not buy further trials as somebody else.

    Times are seconds of a monotonic clock: setting the device's clock neither ends nor lengthens a lock-out.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._states: dict[str | None, _State] = {}

    def locked(self, scope: str | None, now: float) -> bool:
        """Whether trials of the scope are refused at `now`."""
        state = self._states.get(scope)
        return state is not None and now < state.until

    def failed(self, scope: str | None, now: float) -> None:
        """Count a failed trial."""
        policy = self._policy
        if policy.max_attempts == 0:
            return
        state = self._states.setdefault(scope, _State())
        state.failures += 1
        beyond = state.failures - policy.max_attempts
        if beyond >= 0:
            duration = policy.lockout_seconds * 2.0 ** min(beyond, _MAX_DOUBLINGS)
            state.until = now + min(duration, policy.max_lockout_seconds)

    def succeeded(self, scope: str | None) -> None:
        """Forget a scope's failures."""
        self._states.pop(scope, None)
