"""Checks an audit log with the device's public key alone, also on a copy of the store's file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facegate._store._audit_chain import COLUMNS, HASH_LENGTH, Head, first_hash, hash_entry, read_head
from facegate._store._database import Database
from facegate._store._schema import MIGRATIONS, VERSION
from facegate.errors import (
    AuditTamperedError,
    StoreCorruptError,
    StoreError,
    StoreMissingError,
    StoreVersionError,
)
from facegate_edge._keys import TrustStore, VerifyKey

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["AuditProblem", "AuditReport", "read_statement", "verify_audit"]

# A copy comes from anywhere: a table may be a virtual one, compute what it holds, or have an index that says otherwise.
_TABLES = (
    "SELECT type, name, tbl_name, sql FROM sqlite_schema"
    " WHERE tbl_name IN ('audit', 'audit_head', 'state') OR name IN ('audit', 'audit_head', 'state') ORDER BY name"
)
_STATEMENTS = "SELECT statement FROM audit_head NOT INDEXED LIMIT 2"
# Python decodes SQLite's messages, which can name what stands in a damaged schema.
_DAMAGED = (sqlite3.Error, UnicodeDecodeError)
_MAX_VALUE = 1 << 20  # bytes; the longest that a gate writes has 3 KB
MAX_PROBLEMS = 100  # told one by one; what goes beyond is counted

Problem = Literal[
    "added", "changed", "checkpoint", "decisions", "diverged", "gate", "head", "missing", "rewritten", "rolled_back",
    "truncated", "unreadable",
]  # fmt: skip
Compared = Literal["nothing", "same", "continued", "purged", "contradicted"]


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """One thing that is wrong with a log.

    Attributes:
        kind: "changed": an entry is not as it was written; "missing": entries were taken out; "added": there are
            entries that were never signed; "truncated": the end is gone; "rewritten": entries were replaced, and all
            hashes after them; "checkpoint": a signed statement within the log does not fit it; "head": there is no
            valid signed head; "gate": the log is another gate's; "decisions": log and store are not of one time;
            "rolled_back": an earlier head saw more than there is now; "diverged": it saw something else;
            "unreadable": the file is damaged.
        entry: number of the entry, or of the first one; None if it is about none.
        last: number of the last entry that it is about.
        message: a sentence.
    """

    kind: Problem
    entry: int | None
    last: int | None
    message: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What came of checking an audit log.

    Attributes:
        head: what the device signed last; None if that is missing or forged.
        entries: how many entries were read.
        checkpoints: how many signed statements within the log fitted.
        problems: what is wrong; empty for a log that is whole. At most 100.
        more: how many problems there are beyond these.
        compared: what came of an earlier head: "nothing" was given, it is the "same", the log "continued" it, what it
            was about is "purged", or the log "contradicted" it.
    """

    head: Head | None
    entries: int
    checkpoints: int
    problems: tuple[AuditProblem, ...]
    more: int
    compared: Compared

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_audit(
    source: str | os.PathLike[str] | Database,
    keys: TrustStore | VerifyKey | Iterable[VerifyKey],
    head: str | None = None,
) -> AuditReport:
    """Check every entry of an audit log, its chain, its checkpoints and its signed head.

    What this cannot see is that the whole file was put back to an older one, signed as that was: `head` shows it.

    Args:
        source: the store's file or a copy of it, or an open database.
        keys: the device's public key.
        head: an earlier head of this log that was kept elsewhere.

    Raises:
        StoreMissingError, StoreCorruptError: there is no store, or its tables are not as a gate makes them.
        StoreVersionError: a newer version wrote it.
        AuditTamperedError: `head` is not signed by one of `keys`.
    """
    if isinstance(keys, VerifyKey):
        keys = [keys]
    trust = keys if isinstance(keys, TrustStore) else TrustStore(keys)
    earlier = None if head is None else read_head(head, trust, what="the earlier head")
    if isinstance(source, Database):
        return _Check(source.iterate, trust, earlier).run()
    with _open_copy(Path(source)) as connection:
        return _Check(connection.execute, trust, earlier).run()


def read_statement(path: str | os.PathLike[str]) -> str:
    """The signed head of a store's file or of a copy of it, not verified.

    Raises:
        StoreMissingError, StoreCorruptError, StoreVersionError: see `verify_audit`.
        AuditTamperedError: it has no head.
    """
    with _open_copy(Path(path)) as connection:
        rows = connection.execute(_STATEMENTS).fetchall()
    if len(rows) != 1:
        raise AuditTamperedError("the audit log has no signed head", hint="`facegate audit verify` shows what is wrong")
    statement: str = rows[0][0]
    return statement


class _Check:
    """One check of one log."""

    def __init__(
        self, read: Callable[[str], Iterable[tuple[Any, ...]]], trust: TrustStore, earlier: Head | None
    ) -> None:
        self._read = read
        self._trust = trust
        self._earlier = earlier
        self._problems: list[AuditProblem] = []
        self._more = 0
        self._count = self._checkpoints = 0
        self._vouched = 0  # the last entry that a checkpoint vouches for
        self._last = 0
        self._hashes: tuple[bytes, ...] = ()  # what the next entry may continue; several after one that was changed
        self._at: dict[int, bytes] = {}  # the hashes of the entries that heads are about

    def run(self) -> AuditReport:
        """Look at everything. What cannot be read is a problem, not an exception."""
        head: Head | None = None
        try:
            head = self._head()
            self._walk(head)
            if head is not None:
                self._end(head)
        except (*_DAMAGED, StoreError):
            self._tell("unreadable", self._last + 1, None, f"the file is damaged after entry {self._last}")
        compared: Compared = "nothing" if self._earlier is None else self._compare(self._earlier, head)
        return AuditReport(head, self._count, self._checkpoints, tuple(self._problems), self._more, compared)

    def _tell(self, kind: Problem, entry: int | None, last: int | None, message: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(AuditProblem(kind, entry, last, message))
        else:
            self._more += 1

    def _head(self) -> Head | None:
        rows = list(self._read(_STATEMENTS))
        state = list(self._read("SELECT gate, sequence FROM state NOT INDEXED LIMIT 2"))
        gate, sequence = state[0] if len(state) == 1 else (None, None)
        try:
            head = read_head(rows[0][0] if len(rows) == 1 else None, self._trust)
        except AuditTamperedError as error:
            self._tell("head", None, None, f"{error}: nothing says where the log ends")
            # The entries are looked at all the same, from the first one that is there.
            (first,) = next(iter(self._read("SELECT min(seq) FROM audit NOT INDEXED")))
            self._last = first - 1 if type(first) is int else 0
            self._hashes = (first_hash(gate),) if self._last == 0 and type(gate) is str else ()
            return None
        if gate != head.gate:
            self._tell("gate", None, None, "the head is that of another gate")
        if sequence != head.decisions:
            text = f"the head was signed at decision {head.decisions}, and the store is at decision {sequence}"
            self._tell("decisions", None, None, f"{text}: one of them was put back to an older state")
        self._last, self._hashes = head.purged, (bytes.fromhex(head.purged_hash),)
        self._at[head.purged] = self._hashes[0]
        return head

    def _walk(self, head: Head | None) -> None:
        """Check the entries one after the other."""
        wanted = {known.entries for known in (head, self._earlier) if known is not None}
        before = self._hashes[0] if self._hashes else b""
        for row in self._read(f"SELECT {COLUMNS} FROM audit NOT INDEXED ORDER BY seq"):  # noqa: S608 - a constant
            self._count += 1
            number = row[0]
            if type(number) is not int or number <= self._last:
                self._tell("added", None, None, f"an entry is numbered as none can be after entry {self._last}")
                continue
            if number > self._last + 1:
                self._tell("missing", self._last + 1, number - 1, f"{_name(self._last + 1, number - 1)} missing")
                self._hashes = ()  # nothing says what this entry must continue
            stored = row[6] if type(row[6]) is bytes else b""
            self._hashes = self._continue(number, stored, row)
            if row[3] == "checkpoint":
                self._check_checkpoint(row, before, head)
            self._last, before = number, stored
            if number in wanted:
                self._at[number] = stored

    def _continue(self, number: int, stored: bytes, row: tuple[Any, ...]) -> tuple[bytes, ...]:
        """Check one entry against what it must continue; returns what the next one may continue."""
        well_formed = len(stored) == HASH_LENGTH and hash_entry(bytes(HASH_LENGTH), row) != b""
        expected = [hash_entry(before, row) for before in self._hashes] if well_formed else []
        if well_formed and (not self._hashes or stored in expected):
            return (stored,)
        also = f" (or entry {number - 1} was replaced, and its hash with it)" if number - 1 > 0 and well_formed else ""
        self._tell("changed", number, number, f"entry {number} is not as it was written{also}")
        # Perhaps its content was changed, perhaps its hash: the next entry continues the one or the other.
        return (stored, *expected[-3:])

    def _check_checkpoint(self, row: tuple[Any, ...], before: bytes, head: Head | None) -> None:
        number = row[0]
        try:
            statement = read_head(json.loads(row[5])["statement"], self._trust)
            fits = (statement.entries, statement.hash) == (number - 1, before.hex())
            fits = fits and (head is None or statement.gate == head.gate)
        except (AuditTamperedError, ValueError, TypeError, KeyError, RecursionError):
            fits = False
        if fits:
            self._checkpoints += 1
            self._vouched = number - 1
        else:
            text = f"the signed statement in entry {number} does not fit: {_name(self._vouched + 1, number)} rewritten"
            self._tell("checkpoint", self._vouched + 1, number, text)

    def _end(self, head: Head) -> None:
        """Compare the end of the log with the signed head."""
        if self._last < head.entries:
            text = f"{_name(self._last + 1, head.entries)} missing at the end"
            self._tell("truncated", self._last + 1, head.entries, text)
            return
        if self._last > head.entries:
            text = f"{_name(head.entries + 1, self._last)} not signed: added after the device closed the log"
            self._tell("added", head.entries + 1, self._last, text)
        known = {self._at.get(head.entries, b"")}
        if self._last == head.entries:
            known |= set(self._hashes)  # the last entry's own hash may be all that was changed, and is told already
        if bytes.fromhex(head.hash) not in known:
            first = max(self._vouched, head.purged) + 1
            text = (
                f"one or more of {_name(first, head.entries)} rewritten, with all hashes: the signed head does not fit"
            )
            self._tell("rewritten", first, head.entries, text)

    def _compare(self, earlier: Head, head: Head | None) -> Compared:
        """What became of the log since an earlier head was signed."""
        if head is not None and earlier.gate != head.gate:
            self._tell("gate", None, None, "the earlier head is that of another gate")
        elif earlier.entries > self._last or (head is not None and earlier.decisions > head.decisions):
            text = f"the log had {earlier.entries} entries when the earlier head was signed, and has {self._last} now"
            self._tell("rolled_back", self._last + 1, earlier.entries, f"{text}: an older state was put back")
        elif head is not None and earlier.entries < head.purged:
            return "purged"
        elif self._at.get(earlier.entries, b"").hex() != earlier.hash:
            text = f"entry {earlier.entries} is not the one that the earlier head was signed over"
            self._tell("diverged", earlier.entries, None, text)
        else:
            return "same" if earlier.entries == self._last else "continued"
        return "contradicted"


def _name(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


@contextlib.contextmanager
def _open_copy(path: Path) -> Iterator[sqlite3.Connection]:
    """The file of a store for reading, as it is at one moment, whoever has it open."""
    if not path.is_file():
        raise StoreMissingError(f"there is no store {path}", hint="name the store's file, or a copy of it")
    connection = _connect(path)
    with contextlib.closing(connection):
        try:
            _check_tables(connection, path)
            yield connection
        except _DAMAGED as error:
            raise StoreCorruptError(f"{path} cannot be read as a store", hint="restore a backup") from error


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Read from such tables only as a gate makes. Raises StoreCorruptError, StoreVersionError."""
    found = connection.execute(_TABLES).fetchall()
    if {name for kind, name, _, _ in found if kind == "table"} != {"audit", "audit_head", "state"}:
        raise StoreCorruptError(f"{path} is no store of a gate", hint="name the store's file, or a copy of it")
    if connection.execute("PRAGMA user_version").fetchone()[0] > VERSION:
        raise StoreVersionError(f"{path} was written by a newer version of Facegate", hint="update facegate")
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        for script in MIGRATIONS:
            fresh.executescript(script)
        right = fresh.execute(_TABLES).fetchall()
    if found != right:
        raise StoreCorruptError(
            f"the tables of {path} are not as Facegate makes them",
            hint="somebody changed the file: trust nothing in it",
        )


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(path.name + "-wal")
    # On a read-only medium SQLite cannot make the index of the write-ahead log. Without a log none is needed.
    modes = ["mode=ro"] if log.exists() and log.stat().st_size else ["mode=ro", "mode=ro&immutable=1"]
    for mode in modes:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            connection.text_factory = _decode
            if sys.version_info >= (3, 11):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
            for pragma in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "busy_timeout=5000"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            connection.execute(_TABLES)
        except _DAMAGED:
            connection.close()
        else:
            return connection
    raise StoreCorruptError(f"{path} cannot be read as a store", hint="restore a backup")


def _decode(text: bytes) -> str:
    # What is no UTF-8 was not written by a gate, and is found by its hash.
    return text.decode("utf-8", "surrogateescape")
