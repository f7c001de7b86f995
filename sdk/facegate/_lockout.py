"""Locking out whoever fails too often (Android CDD 7.3.10 asks for 30 s after five false trials)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from facegate._clock import boot_of
from facegate.errors import StoreError

if TYPE_CHECKING:
    from facegate._clock import Clock
    from facegate._policy import Policy
    from facegate._store._database import Database, Transaction

__all__ = ["EVERYBODY", "Lockout"]

EVERYBODY = ""  # the scope of identification
_OVER = -1.0  # in the place of a time: before every other
_MAX_DOUBLINGS = 60  # far beyond any duration; keeps the power of two a sane float


class Lockout:
    """Counts failed trials of each scope: a person's reference for verification, `EVERYBODY` for identification.

    The first `max_attempts` failures in a row lock a scope for `lockout_seconds`; each further failure locks it again,
    for twice as long as before, up to `max_lockout_seconds`. A match forgets all of it, for its own scope only: being
    recognised oneself does not buy further trials as somebody else.

    The counts are in the store and written with the decision that they belong to, so pulling the plug buys no trials.
    Times are seconds of a monotonic clock: setting the device's clock neither ends nor lengthens a lock-out. That clock
    starts again when the device does, and nobody knows how long that took: a lock-out that may have been running starts
    again in full. It was not if it was seen to be over (`settle`) before.

    Args:
        db: the gate's database.
        policy: the rules.
        clock: the machine's.
    """

    def __init__(self, db: Database, policy: Policy, clock: Clock) -> None:
        self._db = db
        self._policy = policy
        self._clock = clock

    def resume(self, tx: Transaction) -> None:
        """Start the lock-outs of an earlier boot again, and end those that only stricter rules imposed."""
        boot, now = boot_of(self._clock), self._clock.monotonic()
        # Under the rules of today: whoever turned them off, or made them milder, meant it.
        running = "SELECT scope, failures, boot, until FROM lockout WHERE until <> ?"
        for scope, failures, known, until in tx.execute(running, _OVER).fetchall():
            longest = now + self._duration(failures)
            left = longest if known != boot else min(until, longest)
            tx.execute("UPDATE lockout SET boot = ?, until = ? WHERE scope = ?", boot, left, scope)

    def locked(self, scope: str) -> bool:
        """Whether trials of the scope are refused now."""
        rows = self._db.read("SELECT until FROM lockout WHERE scope = ?", scope)
        return bool(rows) and self._clock.monotonic() < rows[0][0]

    def settle(self, tx: Transaction) -> None:
        """Note which lock-outs are over: nothing that happens to the device starts them again. The counts stay."""
        tx.execute(
            "UPDATE lockout SET until = ? WHERE until <= ? AND until <> ? AND boot = ?",
            *(_OVER, self._clock.monotonic(), _OVER, boot_of(self._clock)),
        )

    def pause(self) -> None:
        """`settle`, in a transaction of its own, before the gate is closed; if it can be written."""
        ended = "SELECT 1 FROM lockout WHERE until <= ? AND until <> ? AND boot = ? LIMIT 1"
        with contextlib.suppress(StoreError):
            if self._db.read(ended, self._clock.monotonic(), _OVER, boot_of(self._clock)):
                with self._db.transaction() as tx:
                    self.settle(tx)

    def failed(self, tx: Transaction, scope: str) -> None:
        """Count a failed trial."""
        if self._policy.max_attempts == 0:
            return
        row = tx.execute("SELECT failures FROM lockout WHERE scope = ?", scope).fetchone()
        failures = 1 + (row[0] if row is not None else 0)
        duration = self._duration(failures)
        until = self._clock.monotonic() + duration if duration else _OVER
        tx.execute(
            "INSERT OR REPLACE INTO lockout (scope, failures, boot, until) VALUES (?, ?, ?, ?)",
            *(scope, failures, boot_of(self._clock), until),
        )

    def forget(self, tx: Transaction, scope: str) -> None:
        """Forget a scope's failures: it succeeded, or the person is gone."""
        tx.execute("DELETE FROM lockout WHERE scope = ?", scope)

    def _duration(self, failures: int) -> float:
        """For how many seconds that many failures lock out; 0 if they do not."""
        policy = self._policy
        beyond = failures - policy.max_attempts
        if policy.max_attempts == 0 or beyond < 0:
            return 0.0
        return min(policy.lockout_seconds * 2.0 ** min(beyond, _MAX_DOUBLINGS), policy.max_lockout_seconds)
