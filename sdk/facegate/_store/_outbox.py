"""The outbox: decisions wait here, in the store, until a sink has taken them; in order, at least once."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from facegate._decision import Decision, SignedDecision, verify_decision
from facegate._sinks._sink import require_signed
from facegate._store._files import drop_lock, take_lock
from facegate._store._schema import MAX_ROWS
from facegate.errors import DecisionError, GateInUseError, OutboxError, OutboxTamperedError, SinkError
from facegate_edge._keys import TrustStore, VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate._clock import Clock
    from facegate._sinks._sink import Sink
    from facegate._store._database import Database, Transaction

__all__ = ["PURGEABLE", "DeliveryReport", "Outbox", "OutboxStatus", "QueuedDecision"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_COLUMNS = "sequence, jws, delivered, review"
_NEXT = "SELECT sequence, id, jws FROM decision WHERE delivered IS NULL ORDER BY sequence LIMIT 1"
PURGEABLE = (
    "decision WHERE sequence <"
    " ifnull((SELECT sequence FROM decision WHERE time >= ? ORDER BY sequence LIMIT 1), 9223372036854775807)"
    " AND delivered IS NOT NULL AND review IS NOT 'open'"
)
"""What `purge` removes; its parameter is a time in ms."""


class Stop(Protocol):
    """Something that says when to stop; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to stop."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What came of one attempt to empty the outbox.

    Attributes:
        delivered: how many decisions the sink took.
        waiting: how many are left.
        error: why the sink did not take the next one; None if it took all that it was to take.
    """

    delivered: int
    waiting: int
    error: SinkError | None


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """How the outbox stands.

    Attributes:
        waiting: how many decisions no sink has taken yet.
        delivered: how many are kept although a sink has taken them.
        oldest: time of the oldest one that waits.
        next_sequence: its number.
        last_delivered: when a sink took one the last time.
        last_sequence: the highest number that a sink has taken.
        reviews: how many decisions a person must look at.
    """

    waiting: int
    delivered: int
    oldest: datetime | None
    next_sequence: int | None
    last_delivered: datetime | None
    last_sequence: int | None
    reviews: int


@dataclass(frozen=True, slots=True)
class QueuedDecision:
    """A decision in the outbox.

    Attributes:
        signed: the decision and its JWS.
        delivered: when a sink took it; None while it waits.
        review: "open" while a person must look at it, "closed" when one has, None if nobody must.
    """

    signed: SignedDecision
    delivered: datetime | None
    review: str | None


class Outbox:
    """The decisions of a gate, in the store's own transactions.

    Args:
        db: the store's database.
        clock: where the time of delivery comes from.
        keys: the device's public key: what was changed in the file is not delivered.
        lock: guards the database. It is held to read and to mark, never while something is sent.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        keys: TrustStore | VerifyKey,
        lock: contextlib.AbstractContextManager[Any] | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._keys = TrustStore([keys]) if isinstance(keys, VerifyKey) else keys
        self._lock = lock if lock is not None else contextlib.nullcontext()
        # Two deliveries at a time would overtake each other.
        self._delivering = threading.Lock()

    def put(self, tx: Transaction, signed: SignedDecision, *, review: bool = False) -> None:
        """Let a decision wait for delivery, from the moment on that the transaction is committed.

        Args:
            tx: the transaction of everything else that belongs to the decision.
            signed: the decision.
            review: a person must look at it.

        Raises:
            TypeError, DecisionSchemaError: it is no `SignedDecision`, or its two halves differ.
            StoreConflictError: there is one of that number or id already.
        """
        decision = require_signed(signed)
        tx.insert(
            "decision",
            sequence=decision.sequence,
            id=decision.id,
            time=_parse_time(decision.time),
            jws=signed.jws,
            review="open" if review else None,
        )

    def waiting(self) -> int:
        """How many decisions no sink has taken yet."""
        with self._lock:
            count: int = self._db.read("SELECT count(*) FROM decision WHERE delivered IS NULL")[0][0]
        return count

    def status(self) -> OutboxStatus:
        """How the outbox stands; counts and times only."""
        with self._lock:
            waiting, oldest, following = self._db.read(
                "SELECT count(*), min(time), min(sequence) FROM decision WHERE delivered IS NULL"
            )[0]
            delivered, last, sequence = self._db.read(
                "SELECT count(*), max(delivered), max(sequence) FROM decision WHERE delivered IS NOT NULL"
            )[0]
            reviews = self._db.read("SELECT count(*) FROM decision WHERE review = 'open'")[0][0]
        return OutboxStatus(waiting, delivered, _moment(oldest), following, _moment(last), sequence, reviews)

    def deliver(self, sink: Sink, *, limit: int | None = None, stop: Stop | None = None) -> DeliveryReport:
        """Give waiting decisions to a sink, the oldest first, until it has them all or does not take one.

        A decision is marked after the sink has taken it, and the mark is on the disk before the next one is sent.
        Whoever is killed in between delivers that one again, with the same id.

        Args:
            sink: where to.
            limit: at most so many.
            stop: asked before each one.

        Raises:
            OutboxTamperedError: the next decision is not as the device signed it. It is not delivered, nor is one after
                it: a receiver could not tell a skipped one from a withheld one.
            OutboxError: another thread or process delivers.
        """
        count = 0
        error: SinkError | None = None
        with self._alone():
            while (limit is None or count < limit) and not (stop is not None and stop.is_set()):
                with self._lock:
                    row = self._db.read(_NEXT)
                if not row:
                    break
                sequence, identifier, jws = row[0]
                signed = self._signed(sequence, jws)
                if signed.decision.id != identifier:
                    raise _tampered(sequence)
                try:
                    sink.deliver(signed)
                except SinkError as failure:
                    error = failure
                    break
                self._mark(sequence)
                count += 1
        return DeliveryReport(count, self.waiting(), error)

    def get(self, decision_id: str) -> QueuedDecision | None:
        """The decision of an id, delivered or not; None if there is none, or none any more."""
        if not decision_id.isascii():  # SQLite would not even take what a terminal makes of foreign bytes
            return None
        with self._lock:
            rows = self._db.read(f"SELECT {_COLUMNS} FROM decision WHERE id = ?", decision_id)  # noqa: S608
        return self._queued(rows[0]) if rows else None

    def decisions(
        self,
        *,
        waiting: bool | None = None,
        after_sequence: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[QueuedDecision]:
        """Decisions in their order.

        Args:
            waiting: only those that wait (True) or that a sink has taken (False).
            after_sequence: only those with a higher number.
            limit: at most so many.
            newest_first: the other way round.
        """
        condition = {None: "", True: " AND delivered IS NULL", False: " AND delivered IS NOT NULL"}[waiting]
        order = "DESC" if newest_first else "ASC"
        with self._lock:
            rows = self._db.read(
                f"SELECT {_COLUMNS} FROM decision WHERE sequence > ?{condition} ORDER BY sequence {order} LIMIT ?",  # noqa: S608
                min(after_sequence, MAX_ROWS),
                -1 if limit is None else min(limit, MAX_ROWS),
            )
        for row in rows:
            yield self._queued(row)

    def reviews(self) -> Iterator[QueuedDecision]:
        """The decisions that a person must look at, the oldest first."""
        with self._lock:
            rows = self._db.read(f"SELECT {_COLUMNS} FROM decision WHERE review = 'open' ORDER BY sequence")  # noqa: S608
        for row in rows:
            yield self._queued(row)

    def close_review(self, tx: Transaction, decision_id: str) -> bool:
        """Note that a person has looked at a decision; whether one was to."""
        sql = "UPDATE decision SET review = 'closed' WHERE id = ? AND review = 'open'"
        return tx.execute(sql, decision_id).rowcount == 1

    def purge(self, tx: Transaction, before: datetime) -> int:
        """Remove decisions that a sink has taken, that are older than `before`, and that nobody must look at any more.

        It goes from the oldest one up to the first that is not older, and looks at no other.

        Returns:
            How many.
        """
        return tx.execute(f"DELETE FROM {PURGEABLE}", _milliseconds(before)).rowcount  # noqa: S608 - a constant

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other deliveries out, of this process and of others: they would overtake each other."""
        busy = OutboxError("the outbox is being delivered already", hint="one delivery at a time keeps the order")
        if not self._delivering.acquire(blocking=False):
            raise busy
        lock = None
        try:
            if self._db.path is not None:
                try:
                    lock = take_lock(self._db.path.with_name(self._db.path.name + "-delivery"))
                except GateInUseError:
                    raise busy from None
            yield
        finally:
            drop_lock(lock)
            self._delivering.release()

    def _mark(self, sequence: int) -> None:
        now = _milliseconds(self._clock.now())
        with self._lock, self._db.transaction() as tx:
            tx.execute("UPDATE decision SET delivered = ? WHERE sequence = ?", now, sequence)

    def _queued(self, row: tuple[Any, ...]) -> QueuedDecision:
        sequence, jws, delivered, review = row
        return QueuedDecision(self._signed(sequence, jws), _moment(delivered), review)

    def _signed(self, sequence: int, jws: str) -> SignedDecision:
        try:
            decision: Decision = verify_decision(jws, self._keys)
        except DecisionError:
            raise _tampered(sequence) from None
        if decision.sequence != sequence:
            raise _tampered(sequence)
        return SignedDecision(decision, jws)


def _parse_time(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return _milliseconds(moment)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def _tampered(sequence: int) -> OutboxTamperedError:
    return OutboxTamperedError(
        f"decision {sequence} in the outbox is not as this device signed it",
        hint="somebody wrote to the store's file: keep a copy of it, find out who, and restore a backup",
    )
