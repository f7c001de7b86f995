"""One SQLite file, one connection, whole transactions; and the tally of the protected rows kept with every change."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hmac
import os
import re
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate._store._schema import MIGRATIONS, PROTECTED, VERSION
from facegate.errors import (
    GateInUseError,
    StoreConflictError,
    StoreCorruptError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreMissingError,
    StoreTamperedError,
    StoreVersionError,
    StoreWriteError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegate._store._tally import Tally

__all__ = ["Database", "Transaction"]

APPLICATION_ID = 0x46474154  # "FGAT": what `file` and we know the store by
_CACHE_KIB = 8 * 1024
_BUSY_MS = 5000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_WRITES = re.compile(r"\s*(?:INSERT|REPLACE|UPDATE|DELETE)\b[^(]*?\b(" + "|".join(PROTECTED) + r")\b", re.IGNORECASE)
_PRAGMAS = (
    "PRAGMA synchronous=FULL",  # a commit that returned has reached the disk
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # what is deleted is overwritten with zeros
    "PRAGMA temp_store=MEMORY",  # no temporary file ever holds a row
    "PRAGMA cell_size_check=ON",
    "PRAGMA trusted_schema=OFF",
    f"PRAGMA cache_size=-{_CACHE_KIB}",
    f"PRAGMA busy_timeout={_BUSY_MS}",
)
# What the tally's mark covers beside the rows. `tally` itself is of course not among it.
STATE = (
    *("gate", "device", "space", "template_length", "key_id", "key_check", "rotation_id", "rotation", "sequence"),
    "clock",
)
_READ_STATE = f"SELECT {', '.join(STATE)} FROM state WHERE id = 1"  # noqa: S608 - constants


class Transaction:
    """What one transaction does. Made by `Database.transaction`; of no use after it."""

    __slots__ = ("_after", "_connection", "_database", "_end", "delta", "open", "wrote")

    def __init__(self, database: Database, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection
        self._after: list[Callable[[], object]] = []
        self._end: list[Callable[[], object]] = []
        self.delta = 0  # of the tally's sum
        self.wrote = False
        self.open = True

    def execute(self, sql: str, *params: Any) -> sqlite3.Cursor:
        """Run one statement: a read, or a change of a table that is not protected."""
        named = _WRITES.match(sql)
        if named is not None:
            raise TypeError(f"rows of {named[1]} are protected: use insert, update, delete")
        self._check_open()
        self.wrote = True
        return self._connection.execute(sql, params)

    def insert(self, table: str, **values: Any) -> int:
        """Add a row; returns its id (its rowid where the table has no id)."""
        self._check_open()
        self.wrote = True
        _check_names(table, *values)
        marks = ", ".join("?" * len(values))
        cursor = self._connection.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - names were checked
            tuple(values.values()),
        )
        row = cursor.lastrowid or 0
        if table in PROTECTED:
            self.delta += self._hash(table, row)
        return row

    def update(self, table: str, row: int, /, **changes: Any) -> None:
        """Change columns of the row with this id. Raises StoreError if there is none."""
        self._check_open()
        self.wrote = True
        _check_names(table, *changes)
        before = self._hash(table, row) if table in PROTECTED else 0
        columns = ", ".join(f"{name} = ?" for name in changes)
        cursor = self._connection.execute(
            f"UPDATE {table} SET {columns} WHERE id = ?",  # noqa: S608 - names were checked
            (*changes.values(), row),
        )
        if cursor.rowcount != 1:
            raise _no_row(table)
        if table in PROTECTED:
            self.delta += self._hash(table, changes.get("id", row)) - before

    def rewrite(self, table: str, row: int, /, **changes: Any) -> None:
        """`update` without counting: only where `Database.protect` counts all rows anew in the same transaction."""
        self._check_open()
        self.wrote = True
        _check_names(table, *changes)
        columns = ", ".join(f"{name} = ?" for name in changes)
        self._connection.execute(f"UPDATE {table} SET {columns} WHERE id = ?", (*changes.values(), row))  # noqa: S608

    def delete(self, table: str, row: int, /) -> None:
        """Remove the row with this id. Raises StoreError if there is none."""
        self._check_open()
        self.wrote = True
        _check_names(table)
        before = self._hash(table, row) if table in PROTECTED else 0
        cursor = self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))  # noqa: S608 - a checked name
        if cursor.rowcount != 1:
            raise _no_row(table)
        self.delta -= before

    def next_id(self, table: str) -> int:
        """The id that the next row of an AUTOINCREMENT table gets, for those who must know it before they write it."""
        self._check_open()
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return int(found[0]) + 1 if found else 1

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this, in order, once the commit has succeeded: what is in memory changes only then."""
        self._after.append(call)

    def at_end(self, call: Callable[[], object]) -> None:
        """Call this when the transaction is over, however it ended; after what `after_commit` was given."""
        self._end.append(call)

    def _hash(self, table: str, row: int) -> int:
        tally = self._database.tally
        columns = ", ".join(PROTECTED[table])
        found = self._connection.execute(f"SELECT {columns} FROM {table} WHERE id = ?", (row,)).fetchone()  # noqa: S608
        if found is None:
            raise _no_row(table)
        return tally.row(table, found)

    def _check_open(self) -> None:
        if not self.open:
            raise StoreError("the transaction is over", hint="begin a new one")

    def finish(self, *, committed: bool) -> None:
        """Run what was left for the end; the first exception is raised when all have run."""
        self.open = False
        calls = [*(self._after if committed else ()), *self._end]
        failure: BaseException | None = None
        for call in calls:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = failure or error
        if failure is not None:
            raise failure


class Database:
    """A gate's SQLite file. Not thread safe: the gate's lock guards it.

    Use `create`, `open` or `memory`. Protected rows can be written once `protect` has been told the tally's key.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None, lock: int | None) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._tally: Tally | None = None
        self._sum = 0
        self._transaction: Transaction | None = None
        self.path = path
        self.checkpoint_due = False  # a checkpoint was asked for and could not be done yet

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Database:
        """Make a store's file, 0600, with empty tables.

        Raises:
            StoreExistsError: there is a file of that name.
            StoreWriteError, StoreFullError: it cannot be written; nothing is left behind.
            GateInUseError: another process makes one.
        """
        path = Path(path)
        lock = _take_lock(path)
        try:
            _make_file(path)
            try:
                connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
                made = cls(connection, path, lock)
                try:
                    with _errors():
                        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                        _prepare(connection)
                    made._migrate(0)
                    _sync_folder(path.parent)
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    raise
            except BaseException:
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(OSError):
                        path.with_name(path.name + suffix).unlink()
                raise
        except BaseException:
            _drop_lock(lock)
            raise
        return made

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Database:
        """Open a store's file, and bring its tables up to date.

        Args:
            path: of the file.
            read_only: look only: nothing is written, and no other process is kept out.

        Raises:
            StoreMissingError: there is no such file.
            GateInUseError: another process has it open.
            StoreCorruptError: it is no store, or damaged.
            StoreVersionError: it is of a newer version.
            StoreWriteError, StoreFullError: it cannot be read or written.
        """
        path = Path(path)
        _check_file(path)
        lock = None if read_only else _take_lock(path)
        connection = None
        try:
            connection = _connect(f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}")
            opened = cls(connection, path, lock)
            with _errors():
                if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                    raise _no_store(path)
                version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise StoreVersionError(
                    f"the store {path} was written by a newer version of Facegate",
                    hint="install that version again; a store is never taken back to an older one",
                )
            if version < 1:
                raise _no_store(path)
            if not read_only:
                with _errors():
                    _prepare(connection)
                opened._migrate(version)
                opened.checkpoint()
        except BaseException:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            _drop_lock(lock)
            raise
        return opened

    @classmethod
    def memory(cls) -> Database:
        """Empty tables in memory only."""
        connection = _connect(":memory:")
        made = cls(connection, None, None)
        with _errors():
            _prepare(connection)
        made._migrate(0)
        return made

    @property
    def tally(self) -> Tally:
        """What hashes protected rows. Raises StoreError before `protect`."""
        if self._tally is None:
            raise StoreError("protected rows cannot be written without the tally's key", hint="open the whole store")
        return self._tally

    def protect(self, tally: Tally, *, new: bool = False) -> None:
        """Count the protected rows and compare with what the gate wrote last; from then on keep count.

        Args:
            tally: with the key of this store.
            new: the present rows are right by definition (a new store, or a new key within a transaction).

        Raises:
            StoreTamperedError: the rows or the state are not what the gate wrote last.
        """
        total = 0
        with _errors():
            for table, columns in PROTECTED.items():
                sql = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - constants
                total += tally.rows(table, self._open().execute(sql))
            if not new:
                state = self._open().execute(_READ_STATE).fetchone()
                kept = self._open().execute("SELECT tally FROM state WHERE id = 1").fetchone()
                if state is None or not hmac.compare_digest(tally.mark(total, state), kept[0]):
                    raise StoreTamperedError(
                        "the store's rows are not those that this gate wrote last",
                        hint="somebody changed the file, or a part of an older copy was put back: restore a backup, "
                        "and find out who can write to this device",
                    )
        self._tally, self._sum = tally, total

    def read(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """All rows that a SELECT gives."""
        with _errors():
            return self._open().execute(sql, params).fetchall()

    def iterate(self, sql: str, *params: Any) -> Iterator[tuple[Any, ...]]:
        """The rows that a SELECT gives, one after the other."""
        with _errors():
            yield from self._open().execute(sql, params)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything in the block, or nothing: BEGIN IMMEDIATE, COMMIT; any exception rolls back.

        Raises:
            StoreError: a transaction is open already, or the store is closed.
            StoreFullError, StoreWriteError, StoreCorruptError, StoreConflictError: nothing was written.
        """
        connection = self._open()
        if self._transaction is not None:
            raise StoreError("a transaction is open already", hint="pass the open one on")
        with _errors():
            connection.execute("BEGIN IMMEDIATE")
        transaction = self._transaction = Transaction(self, connection)
        before = (self._tally, self._sum)
        committed = False
        try:
            with _errors():
                yield transaction
                total = self._sum + transaction.delta
                if self._tally is not None and transaction.wrote:
                    self._write_mark(connection, self._tally, total)
                connection.execute("COMMIT")
            committed = True
            self._sum = total
        finally:
            self._transaction = None
            if not committed:
                self._tally, self._sum = before
                # SQLite may have rolled back by itself already.
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            transaction.finish(committed=committed)
        if self.checkpoint_due:
            self.checkpoint()

    @staticmethod
    def _write_mark(connection: sqlite3.Connection, tally: Tally, total: int) -> None:
        state = connection.execute(_READ_STATE).fetchone()
        if state is not None:
            connection.execute("UPDATE state SET tally = ? WHERE id = 1", (tally.mark(total, state),))

    def checkpoint(self) -> bool:
        """Move everything from the write-ahead log into the file, and empty the log: what was deleted is gone then.

        Returns:
            False if somebody is reading an older state, or the disk refused; it is tried again after every commit.
        """
        try:
            row = self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.checkpoint_due = bool(row[0])
        except sqlite3.Error:
            self.checkpoint_due = True
        return not self.checkpoint_due

    def check(self) -> None:
        """Look at every page and every reference. Raises StoreCorruptError."""
        if [row[0] for row in self.read("PRAGMA integrity_check(1)")] != ["ok"]:
            raise _corrupt()
        if self.read("PRAGMA foreign_key_check"):
            raise _corrupt()

    def close(self) -> None:
        """Close the file and let other processes have it; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            _drop_lock(self._lock)
            self._lock = None
            self._tally = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the store is closed", hint="open it again")
        return self._connection

    def _migrate(self, version: int) -> None:
        connection = self._open()
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            with _errors():
                try:
                    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
                except sqlite3.Error:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise

    def __repr__(self) -> str:
        return f"Database({'in memory' if self.path is None else str(self.path)!r})"


def _connect(uri: str) -> sqlite3.Connection:
    with _errors():
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _check_names(*names: str) -> None:
    if not all(_IDENTIFIER.fullmatch(name) for name in names):
        raise TypeError("not the name of a table or column")


def _make_file(path: Path) -> None:
    try:
        # SQLite gives the log and the index of the log the mode that the file has.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        raise StoreExistsError(f"there is a store {path} already", hint="choose another folder") from None
    except OSError as error:
        raise _not_written(error) from error


def _check_file(path: Path) -> None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMissingError(f"there is no store {path}", hint="`facegate init` makes a gate with one") from None
    except OSError as error:
        raise _not_written(error) from error
    if not stat.S_ISREG(found.st_mode):
        raise _no_store(path)
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        with contextlib.suppress(OSError):
            path.chmod(0o600)


def _take_lock(path: Path) -> int:
    """The lock that keeps other processes out; the system drops it when this one ends, however it ends."""
    try:
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMissingError(f"there is no folder {path.parent}", hint="make it first") from None
    except OSError as error:
        raise _not_written(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise GateInUseError(
            "another process has the gate open", hint="stop it first; one gate belongs to one process at a time"
        ) from None
    except OSError as error:
        os.close(lock)
        raise _not_written(error) from error
    return lock


def _drop_lock(lock: int | None) -> None:
    if lock is not None:
        # The file stays: if it were removed, two processes could hold locks on two files of one name.
        os.close(lock)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn what SQLite raises into our errors; neither its messages nor any SQL or value get into them."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error) from None


def _translated(error: sqlite3.Error) -> StoreError:
    text = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return StoreConflictError(
            "what was to be written contradicts what is there",
            hint="a name is taken already, or something still refers to what was to be removed",
        )
    if "disk is full" in text:
        return StoreFullError("the disk is full; nothing was written", hint="make room and try again")
    if "readonly" in text or "read-only" in text:
        return StoreWriteError(
            "the store is read-only; nothing was written",
            hint="look at the permissions of the gate's folder, and whether the file system is mounted read-only",
        )
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return _corrupt()
    if "locked" in text or "busy" in text:
        return GateInUseError("another process keeps the store busy", hint="close what else has the file open")
    if "I/O" in text or "unable to open" in text:
        return StoreWriteError(
            "the store cannot be read or written (I/O error); nothing was written",
            hint="look at the system's log: the medium may be failing",
        )
    return StoreError("the store refused an operation", hint="`facegate gate check` looks for damage")


def _corrupt() -> StoreCorruptError:
    return StoreCorruptError("the store's file is damaged", hint="restore a backup")


def _no_store(path: Path) -> StoreCorruptError:
    return StoreCorruptError(f"{path} is no store of a gate", hint="restore a backup, or make a new gate")


def _no_row(table: str) -> StoreError:
    return StoreError(f"there is no such row of {table}", hint="it was removed before")


def _not_written(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFullError("the disk is full; nothing was written", hint="make room and try again")
    return StoreWriteError(
        f"the store cannot be read or written: {error.strerror}",
        hint="look at the permissions of the gate's folder, and whether the file system is mounted read-only",
    )
