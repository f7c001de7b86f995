"""The audit log of a gate: what was done, by which role, in a chain that the device signs with every transaction."""

from __future__ import annotations

import functools
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from facegate._decision import format_time
from facegate._store._audit_chain import COLUMNS, AuditEntry, Head, first_hash, hash_entry, read_head, sign_head
from facegate._store._audit_details import check_action, check_reference, check_role, encode_details
from facegate._store._audit_verify import verify_audit
from facegate._store._schema import MAX_ROWS
from facegate.errors import AuditEntryError, AuditRetentionError, AuditTamperedError
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facegate._clock import Clock
    from facegate._store._audit_details import Value
    from facegate._store._audit_verify import AuditReport
    from facegate._store._database import Database, Transaction
    from facegate_edge._keys import SigningKey

__all__ = ["MINIMUM_AGE", "Audit"]

MINIMUM_AGE = timedelta(days=184)  # six months, the longest of them
CHECKPOINT_EVERY = 1000
"""Entries between two signed statements within the log: they tell from where on it was rewritten."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_OWN = ("audit_purged", "checkpoint", "gate_made")
_LAST = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"
_HEAD = "SELECT statement FROM audit_head WHERE id = 1"


class Audit:
    """The audit log of an open store. Entries are added, never changed; only `purge` removes, from the old end.

    Args:
        db: the store's database. Whoever guards it guards this.
        key: the device's signing key.
        clock: where the time of entries comes from.
    """

    def __init__(self, db: Database, key: SigningKey, clock: Clock) -> None:
        self._db = db
        self._key = key
        self._keys = TrustStore([key.verify_key])
        self._clock = clock
        self._gate = self._device = ""
        self._transaction: Transaction | None = None  # the one that `_sign` will end
        self._checked = False
        self._purged = (0, "")  # number and hash of the last entry that was purged
        self._purging: tuple[int, str] | None = None  # the same, by this transaction

    def begin(self, tx: Transaction, *, role: str = "administrator", details: Mapping[str, Value] | None = None) -> int:
        """Write the first entry ("gate_made") of a new gate's log.

        `append` does not do this by itself: a log that was deleted must not begin anew without a word.

        Raises:
            AuditTamperedError: there is a log already.
        """
        if tx.execute(_LAST).fetchone() is not None or tx.execute(_HEAD).fetchone() is not None:
            raise AuditTamperedError("this gate has an audit log already", hint="a log begins once, with the gate")
        self._read_gate()
        self._checked, self._purged = True, (0, first_hash(self._gate).hex())
        return self._add(tx, (0, first_hash(self._gate)), role, "gate_made", None, details)

    def append(
        self,
        tx: Transaction,
        *,
        role: str,
        action: str,
        reference: str | None = None,
        details: Mapping[str, Value] | None = None,
    ) -> int:
        """Add an entry; the head is signed once, right before the transaction is committed.

        Args:
            tx: the transaction of what the entry tells about.
            role: whose credential was used, or "gate".
            action: a word, such as "person_enrolled".
            reference: of the person, group or list that it is about.
            details: names of `_audit_details.DETAILS` and values of their kinds.

        Returns:
            The entry's number.

        Raises:
            AuditEntryError: something is not of its kind, or only the log itself writes that.
            AuditTamperedError: the log was changed while the gate was closed; nothing is ever added to such a log,
                because a new head would vouch for it.
        """
        if action in _OWN:
            raise AuditEntryError("action: only the log itself writes this one", hint="use another word")
        return self._append(tx, role, action, reference, details)

    def _append(
        self,
        tx: Transaction,
        role: str,
        action: str,
        reference: str | None,
        details: Mapping[str, Value] | None,
    ) -> int:
        if not self._checked:
            self.check()
        last = tx.execute(_LAST).fetchone()
        if last is None:
            raise _tampered("the audit log is empty")
        number = self._add(tx, last, role, action, reference, details)
        if number % CHECKPOINT_EVERY == 0:
            row = tx.execute(_LAST).fetchone()
            statement = sign_head(self._make_head(tx, row), self._key)
            self._add(tx, row, "gate", "checkpoint", None, {"statement": statement})
        return number

    def check(self) -> None:
        """Compare the log's two ends with the signed head, in constant time; `verify` looks at all of it.

        Raises:
            AuditTamperedError: the log was shortened, continued or rewritten while the gate was closed.
        """
        self._read_gate()
        head = read_head(self.head(), self._keys)
        if head.gate != self._gate:
            raise _tampered("the audit log is another gate's")
        last = self._db.read(_LAST)
        if not last or last[0][0] != head.entries or last[0][1] != bytes.fromhex(head.hash):
            raise _tampered("the audit log does not end where the device signed it")
        first = self._db.read("SELECT min(seq) FROM audit")
        if first[0][0] != head.purged + 1:
            raise _tampered("the audit log does not begin where the device signed it")
        self._checked, self._purged = True, (head.purged, head.purged_hash)

    def head(self) -> str:
        """The signed head, a compact JWS. Kept elsewhere it shows later whether the whole file was put back.

        Raises:
            AuditTamperedError: there is none.
        """
        rows = self._db.read(_HEAD)
        if not rows:
            raise _tampered("the audit log has no signed head")
        statement: str = rows[0][0]
        return statement

    def verify(self, head: str | None = None) -> AuditReport:
        """Check every entry, the chain, the checkpoints and the head, see `verify_audit`.

        Args:
            head: an earlier head that was kept elsewhere.
        """
        return verify_audit(self._db, self._keys, head)

    def entries(
        self,
        *,
        reference: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        after_number: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[AuditEntry]:
        """Entries in their order.

        Args:
            reference: only those about it.
            action: only this action.
            since: only those of this time or later.
            before: only those of an earlier time.
            after_number: only those with a higher number.
            limit: at most so many.
            newest_first: the other way round.

        Raises:
            AuditEntryError: what is asked for is no reference or no action.
            AuditTamperedError: an entry has no form that any has; `verify` finds the others that were changed.
        """
        check_reference(reference)
        if action is not None:
            check_action(action)
        conditions = ["seq > ?"]
        values: list[Any] = [min(after_number, MAX_ROWS)]
        for condition, value in (
            ("reference = ?", reference),
            ("action = ?", action),
            ("time >= ?", None if since is None else milliseconds(since)),
            ("time < ?", None if before is None else milliseconds(before)),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        values.append(-1 if limit is None else min(limit, MAX_ROWS))
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT {COLUMNS} FROM audit WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?"  # noqa: S608 - constants
        for seq, time, role, what, about, details, digest in self._db.iterate(sql, *values):
            try:
                moment = _EPOCH + timedelta(milliseconds=time)
                entry = AuditEntry(seq, moment, role, what, about, json.loads(details), digest.hex())
            except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
                raise _tampered(f"entry {seq} of the audit log is not as it was written") from None
            yield entry

    def purge(self, tx: Transaction, before: datetime, *, role: str = "gate") -> int:
        """Remove the oldest entries, up to the first one that is not older than `before`.

        The head keeps the number and the hash of the last one removed, and an entry tells of the removal: what is left
        is verified as before.

        Returns:
            How many were removed.

        Raises:
            AuditRetentionError: `before` is less than six months ago.
            AuditTamperedError: what would be removed is not as it was written. Removing it would hide that.
        """
        self.check_age(before)
        if not self._checked:
            self.check()
        through = self._last_old(before)
        gone = self._purged[0]
        number, digest = gone, bytes.fromhex(self._purged[1])
        for row in tx.execute(f"SELECT {COLUMNS} FROM audit WHERE seq <= ? ORDER BY seq", through + 1):  # noqa: S608
            if row[0] != number + 1 or hash_entry(digest, row) != row[6]:
                raise _tampered(f"entry {number + 1} of the audit log is not as it was written")
            if row[0] <= through:
                number, digest = row[0], row[6]
        count = number - gone
        if count <= 0:
            return 0
        tx.execute("DELETE FROM audit WHERE seq <= ?", number)
        self._claim(tx)
        purged = self._purging = (number, digest.hex())
        tx.after_commit(lambda: setattr(self, "_purged", purged))
        details: dict[str, Value] = {"entries": count, "through": number, "before": format_time(before)}
        self._append(tx, role, "audit_purged", None, details)
        return count

    def check_age(self, before: datetime) -> None:
        """Raise AuditRetentionError if what is older than `before` is too young to be purged."""
        if before > self._clock.now() - MINIMUM_AGE:
            raise AuditRetentionError(
                "audit entries are kept for six months at least", hint=f"purge what is {MINIMUM_AGE.days} days old"
            )

    def count_old(self, before: datetime) -> int:
        """How many entries `purge` would remove."""
        return max(0, self._last_old(before) - int(self._db.read("SELECT min(seq) FROM audit")[0][0]) + 1)

    def _last_old(self, before: datetime) -> int:
        """Number of the last entry before the first one that is not older than that."""
        kept, last = self._db.read(
            "SELECT (SELECT seq FROM audit WHERE time >= ? ORDER BY seq LIMIT 1), (SELECT max(seq) FROM audit)",
            milliseconds(before),
        )[0]
        if last is None:
            raise _tampered("the audit log is empty")
        # The last entry stays in any case: a chain needs an end.
        return int(last if kept is None else kept) - 1

    def _add(
        self,
        tx: Transaction,
        last: tuple[int, bytes],
        role: str,
        action: str,
        reference: str | None,
        details: Mapping[str, Value] | None,
    ) -> int:
        check_role(role)
        check_action(action)
        check_reference(reference)
        row = (last[0] + 1, milliseconds(self._clock.now()), role, action, reference, encode_details(details))
        tx.execute(
            f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            *row,
            hash_entry(last[1], row),
        )
        self._claim(tx)
        return row[0]

    def _claim(self, tx: Transaction) -> None:
        """Have the head signed when this transaction is about to be committed; once, however many entries it adds."""
        if self._transaction is not tx:
            self._transaction = tx
            tx.before_commit(functools.partial(self._sign, tx))
            tx.at_end(self._release)

    def _release(self) -> None:
        self._transaction = self._purging = None

    def _sign(self, tx: Transaction) -> None:
        statement = sign_head(self._make_head(tx, tx.execute(_LAST).fetchone()), self._key)
        tx.execute(
            "INSERT INTO audit_head (id, statement) VALUES (1, ?)"
            " ON CONFLICT (id) DO UPDATE SET statement = excluded.statement",
            statement,
        )

    def _make_head(self, tx: Transaction, last: tuple[int, bytes]) -> Head:
        purged, purged_hash = self._purging or self._purged
        (decisions,) = tx.execute("SELECT sequence FROM state WHERE id = 1").fetchone()
        return Head(
            gate=self._gate,
            device=self._device,
            entries=last[0],
            hash=last[1].hex(),
            purged=purged,
            purged_hash=purged_hash,
            decisions=decisions,
            time=format_time(self._clock.now()),
        )

    def _read_gate(self) -> None:
        self._gate, self._device = self._db.read("SELECT gate, device FROM state WHERE id = 1")[0]


def milliseconds(moment: datetime) -> int:
    """Unix time in milliseconds of an aware time, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _tampered(message: str) -> AuditTamperedError:
    return AuditTamperedError(
        message,
        hint="`facegate audit verify` shows where; somebody wrote to the store's file: keep a copy, find out who, and "
        "restore a backup",
    )
