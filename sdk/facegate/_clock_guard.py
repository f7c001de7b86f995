"""Which time a gate believes. Retention deletes by it, so a wrong clock must neither delete nor revive anything.

A device's clock can be wrong: no battery (1970 after a start), a battery that ran down, a wrong year typed in, somebody
who wants a consent to be valid again or everybody to be deleted. What does not lie is the kernel's count of seconds
since the machine was started. So the guard keeps, in the store, the latest time that it believed and where it stood in
which boot (the anchor), and compares:

    in the same boot       anchor + seconds since then, at most 5 minutes less, at most 1 hour more
    after a start          the latest time, at most 5 minutes less, at most `max_gap` and the seconds since the start
                           more: how long a device was off cannot be known
    once in each boot      a clock that is behind may be set right by the network after the start, up to the same limit

What does not fit makes the time suspect. The guard then goes on counting seconds from what it believed last: that is
never later than the true time, so whatever has expired by it has expired. It believes the clock again when it fits
again (the network has set it), or when the operator accepts it (`accept`).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Literal, get_args

from facegate._clock import boot_of
from facegate.errors import StoreCorruptError

if TYPE_CHECKING:
    from facegate._clock import Clock
    from facegate._store._database import Database, Transaction

__all__ = ["MAX_GAP_DAYS", "ClockGuard", "Suspicion", "TrustedTime", "initial_clock"]

Suspicion = Literal["", "back", "forward"]

MAX_GAP_DAYS = 45  # how long a device may have been off before somebody must look at its clock
_BACK = 5 * 60_000  # ms
_FORWARD = 60 * 60_000
_GAIN = 2e-4  # how fast a bad quartz runs away from the network's time, and is set right in one step
_WRITE_EVERY = 60_000  # a power failure forgets no more than this
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class TrustedTime:
    """What time it is, as far as the gate knows.

    Attributes:
        time: UTC; never goes back but by `ClockGuard.accept`. While suspect: the latest believed time and the seconds
            that have passed since, which is at most the true time.
        suspect: whether the machine's clock is not believed.
        cause: "back" or "forward" if it is not, else "".
        wall: what the machine's clock says.
        changed: whether the suspicion began, changed or ended since what the store remembers; for the audit log.
    """

    time: datetime
    suspect: bool
    cause: Suspicion
    wall: datetime
    changed: bool = False

    @property
    def ms(self) -> int:
        """`time` in milliseconds since 1970, as the store keeps times."""
        return _to_ms(self.time)


@dataclass(frozen=True, slots=True)
class _State:
    """What the store remembers: state.clock, JSON. Times in ms.

    Attributes:
        latest: the latest time that was believed.
        boot: the boot of the anchor.
        up: the anchor: ms since the start, ...
        anchor: ... and the time then.
        limit: what the clock may be set right to in this boot, counted back to its start; None when it has been.
        cause: see `TrustedTime`.
    """

    latest: int
    boot: str
    up: int
    anchor: int
    limit: int | None
    cause: Suspicion

    def to_bytes(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> _State:
        try:
            state = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError):
            raise _corrupt() from None
        numbers = [state.latest, state.up, state.anchor] + ([] if state.limit is None else [state.limit])
        if any(type(n) is not int for n in numbers) or type(state.boot) is not str:
            raise _corrupt()
        if state.cause not in get_args(Suspicion):
            raise _corrupt()
        return state


def initial_clock(clock: Clock) -> bytes:
    """`state.clock` of a new store: the clock is believed, because there is nothing yet to compare it with."""
    return _first(clock).to_bytes()


class ClockGuard:
    """Tells the time that a gate acts by. Not thread safe: the gate's lock guards it.

    Args:
        db: the store's database; `state.clock` may be empty, or `{}`, in a store that was just made.
        clock: the machine's.
        max_gap_days: how long the device may have been off, in days.

    Raises:
        StoreCorruptError: what the store remembers is not readable.
    """

    def __init__(self, db: Database, clock: Clock, *, max_gap_days: int = MAX_GAP_DAYS) -> None:
        self._clock = clock
        self.max_gap_days = max_gap_days
        data = bytes(db.read("SELECT clock FROM state")[0][0])
        # None: never written, so that the first check writes it.
        self._stored = _State.from_bytes(data) if data not in (b"", b"{}") else None
        self._state = self._stored or _first(clock)

    @property
    def suspect(self) -> bool:
        """Whether the clock was not believed when it was last looked at."""
        return bool(self._state.cause)

    def now(self) -> TrustedTime:
        """The time. Costs two system calls and writes nothing."""
        wall = self._clock.now()
        up = round(self._clock.monotonic() * 1000)
        self._state = self._judge(_to_ms(wall), boot_of(self._clock), up)
        return self._told(wall)

    def check(self, tx: Transaction) -> TrustedTime:
        """The time, and what must be remembered of it written in the transaction: at most once a minute."""
        told = self.now()
        if told.changed or self._worth_writing():
            self._write(tx)
        return told

    def accept(self, tx: Transaction) -> TrustedTime:
        """Believe the machine's clock from now on, whatever it says: the operator has looked at it."""
        told = self.now()
        up = round(self._clock.monotonic() * 1000)
        time = _to_ms(told.wall)
        self._state = _State(time, boot_of(self._clock), up, time, None, "")
        self._write(tx)
        return dataclasses.replace(self._told(told.wall), changed=told.suspect)

    def _told(self, wall: datetime) -> TrustedTime:
        state = self._state
        changed = state.cause != (self._stored.cause if self._stored is not None else "")
        return TrustedTime(_to_time(state.latest), bool(state.cause), state.cause, wall, changed)

    def _judge(self, wall: int, boot: str, up: int) -> _State:
        state = self._state
        if boot != state.boot:
            state = self._started(state, wall, boot, up)
        passed = max(0, up - state.up)
        expected = state.anchor + passed
        slack = round(passed * _GAIN)
        if wall < expected - _BACK - slack:
            return dataclasses.replace(state, latest=max(state.latest, expected), cause="back")
        if wall > expected + _FORWARD + slack:
            if state.limit is None or wall > state.limit + up:
                return dataclasses.replace(state, latest=max(state.latest, expected), cause="forward")
            state = dataclasses.replace(state, up=up, anchor=wall, limit=None)
        return dataclasses.replace(state, latest=max(state.latest, wall), cause="")

    def _started(self, state: _State, wall: int, boot: str, up: int) -> _State:
        """The anchor after a start, or on another machine, which may have been running long before."""
        limit = state.latest + round(self.max_gap_days * 86_400_000)
        anchor = wall if state.latest < wall <= limit + up else state.latest
        return _State(state.latest, boot, up, anchor, limit, state.cause)

    def _worth_writing(self) -> bool:
        old, new = self._stored, self._state
        if old is None or (old.boot, old.up, old.limit) != (new.boot, new.up, new.limit):
            return True
        return new.latest - old.latest >= _WRITE_EVERY

    def _write(self, tx: Transaction) -> None:
        state = self._state
        tx.execute("UPDATE state SET clock = ? WHERE id = 1", state.to_bytes())

        def remember() -> None:
            self._stored = state

        tx.after_commit(remember)


def _first(clock: Clock) -> _State:
    wall, up = _to_ms(clock.now()), round(clock.monotonic() * 1000)
    return _State(wall, boot_of(clock), up, wall, None, "")


def _to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _to_time(ms: int) -> datetime:
    return _EPOCH + ms * _MILLISECOND


def _corrupt() -> StoreCorruptError:
    return StoreCorruptError("what the store remembers of the clock is not readable", hint="restore a backup")
