"""An audit log to try things on: a real store's database, a device's key, a clock that a test moves."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from facegate import SigningKey
from facegate._store._audit import Audit
from facegate._store._database import Database

DEVICE = SigningKey.from_seed(bytes(range(64, 96)))
STRANGER = SigningKey.from_seed(bytes(range(96, 128)))
GATE = "0123456789abcdef" * 2
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """The time of day."""
        return self.moment

    def monotonic(self) -> float:
        """Seconds."""
        return (self.moment - START).total_seconds()

    def wait(self, **span: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**span)


def make_database(path=None) -> Database:
    """The tables of a gate with nobody in it, in memory or in a file."""
    db = Database.memory() if path is None else Database.create(path)
    empty = {"INTEGER": 0, "TEXT": "", "BLOB": b""}
    columns = {row[1]: empty[row[2]] for row in db.read("PRAGMA table_info(state)")}
    with db.transaction() as tx:
        tx.insert("state", **columns | {"id": 1, "gate": GATE, "device": "door-1"})
    return db


class Undone(Exception):  # noqa: N818 - no error
    """Rolls a transaction back."""


class Log:
    """An audit log with its database.

    Args:
        path: of the file; in memory if None.
        entries: how many to write; the first is "gate_made".
    """

    def __init__(self, path=None, entries: int = 1) -> None:
        self.clock = Clock()
        self.db = make_database(path)
        self.audit = Audit(self.db, DEVICE, self.clock)
        with self.db.transaction() as tx:
            self.audit.begin(tx)
        for number in range(2, entries + 1):
            self.add(reference=f"p-{number}", details={"sequence": number})

    def add(self, action="person_enrolled", role="enroller", **fields) -> int:
        """One entry in a transaction of its own, a second after the last."""
        self.clock.wait(seconds=1)
        with self.db.transaction() as tx:
            return self.audit.append(tx, role=role, action=action, **fields)

    def fail(self, work) -> None:
        """A transaction that does something and is rolled back."""
        try:
            with self.db.transaction() as tx:
                work(tx)
                raise Undone  # noqa: TRY301
        except Undone:
            pass

    def raw(self, sql: str, *values) -> None:
        """What an attacker does who can write to the file and has no key."""
        self.db._connection.execute(sql, values)

    def kinds(self, head: str | None = None) -> list[str]:
        """What `verify` finds wrong."""
        return [problem.kind for problem in self.audit.verify(head).problems]
