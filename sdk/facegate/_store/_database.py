"""One SQLite file, one connection, whole transactions; and the tally of the protected rows kept with every change."""

from __future__ import annotations

import contextlib
import ctypes
import hmac
import os
import sqlite3
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate._files import sync_folder
from facegate._store._files import check_file, drop_lock, make_file, take_lock
from facegate._store._leftovers import found_in
from facegate._store._schema import MIGRATIONS, VERSION
from facegate._store._store_errors import corrupt, no_store, not_written, store_errors, translated
from facegate._store._transaction import CLEANING, PROTECTED_ROWS, Transaction
from facegate.errors import StoreError, StoreTamperedError, StoreVersionError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from facegate._store._tally import Tally

__all__ = ["APPLICATION_ID", "Database", "Transaction"]

APPLICATION_ID = 0x46474154  # "FGAT": what `file` and we know the store by
_CACHE_KIB = 8 * 1024
_BUSY_MS = 5000
_ALWAYS = (
    "PRAGMA trusted_schema=OFF",  # what somebody wrote into the schema can do nothing but read and write this file
    "PRAGMA cell_size_check=ON",
    "PRAGMA temp_store=MEMORY",  # no temporary file ever holds a row
    f"PRAGMA cache_size=-{_CACHE_KIB}",
    f"PRAGMA busy_timeout={_BUSY_MS}",
)
_WRITING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit that returned has reached the disk
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # what is deleted is overwritten with zeros
)
# The head of the audit log is: an older log with the head that it had then could be put back otherwise.
_READ_STATE = (
    "SELECT gate, device, space, template_length, key_id, key_check, rotation_id, sequence, clock, "
    "(SELECT statement FROM audit_head WHERE id = 1) FROM state WHERE id = 1"
)
_SUFFIXES = ("", "-wal", "-shm")
_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()


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
        self._unclean = False  # a cleaning is due of which it is not known any more what was erased
        _OPEN.add(self)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Database:
        """Make a store's file, 0600, with empty tables.

        Raises:
            StoreExistsError: there is a file of that name.
            StoreWriteError, StoreFullError: it cannot be written; nothing is left behind.
            GateInUseError: another process makes one.
        """
        path = Path(path)
        lock = take_lock(path)
        connection = None
        try:
            make_file(path)
            try:
                connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
                made = cls(connection, path, lock)
                with store_errors():
                    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                made._prepare(0)
                _sync(path.parent)
            except BaseException:
                _close(connection)
                remove_files(path)
                raise
        except BaseException:
            drop_lock(lock)
            raise
        return made

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False, shared: bool = False) -> Database:
        """Open a store's file, and bring its tables up to date.

        Args:
            path: of the file.
            read_only: look only: nothing is written, and no other process is kept out.
            shared: write to what is not protected, beside the gate's process: no other process is kept out, and the
                tables are not brought up to date.

        Raises:
            StoreMissingError: there is no such file.
            GateInUseError: another process has it open.
            StoreCorruptError: it is no store, or damaged.
            StoreVersionError: it is of a newer version.
            StoreWriteError, StoreFullError: it cannot be read or written.
        """
        path = Path(path)
        check_file(path)
        lock = None if read_only or shared else take_lock(path)
        connection = None
        try:
            connection = _connect(f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}")
            opened = cls(connection, path, lock)
            version = _version(connection, path)
            _check_tables(connection, version)  # before anything is written: a migration would run a trigger
            if not read_only:
                opened._prepare(VERSION if shared else version)
                opened.checkpoint()  # what an erasure before a power loss left in the log goes now
            if lock is not None:
                opened._check_protected()
        except BaseException:
            _close(connection)
            drop_lock(lock)
            raise
        return opened

    @classmethod
    def memory(cls) -> Database:
        """Empty tables in memory only."""
        connection = _connect(":memory:")
        made = cls(connection, None, None)
        made._prepare(0)
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
        with store_errors():
            for table, sql in PROTECTED_ROWS.items():
                total += tally.rows(table, self._open().execute(sql))
            if not new:
                state = self._open().execute(_READ_STATE).fetchone()
                kept = self._open().execute("SELECT CAST(tally AS BLOB) FROM state WHERE id = 1").fetchone()
                if state is None or not hmac.compare_digest(tally.mark(total, state), kept[0]):
                    raise StoreTamperedError(
                        "the store's rows are not those that this gate wrote last",
                        hint="somebody changed the file, or a part of an older copy was put back: restore a backup, "
                        "and find out who can write to this device",
                    )
        self._tally, self._sum = tally, total

    def _check_protected(self) -> None:
        """The tally counts the rows of tables; what finds a row is an index, whose pages nothing else covers.

        This compares every index with its table, and finds values of types that a STRICT table has not.
        """
        for table in (*PROTECTED_ROWS, "state", "rotation"):
            if self.read(f"PRAGMA integrity_check({table})") != [("ok",)]:
                raise corrupt()

    def read(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """All rows that a SELECT gives."""
        with store_errors():
            return self._open().execute(sql, params).fetchall()

    def iterate(self, sql: str, *params: Any) -> Generator[tuple[Any, ...], None, None]:
        """The rows that a SELECT gives, one after the other."""
        with store_errors(), contextlib.closing(self._open().execute(sql, params)) as cursor:
            yield from cursor

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
        with store_errors():
            _roll_back(connection)  # an interrupt may have come right after a BEGIN
            connection.execute("BEGIN IMMEDIATE")
        transaction = self._transaction = Transaction(self, connection)
        before = (self._tally, self._sum)
        changes, total = connection.total_changes, self._sum
        committing = cleaning = known = False
        try:
            try:
                yield transaction
                transaction.prepare()
            except sqlite3.Error as error:  # a cursor's, while it was read
                raise translated(error) from None
            with store_errors():
                cleaning = self._note_cleaning(transaction)
                total = self._sum + transaction.delta
                if self._tally is not None and connection.total_changes != changes:
                    self._write_mark(connection, self._tally, total)
                committing = True
                try:
                    connection.execute("COMMIT")
                except (sqlite3.Error, UnicodeDecodeError):
                    committing = False
                    raise
        finally:
            self._transaction = None
            # Python raises an interrupt (Ctrl-C) that came while the disk was written when the commit has succeeded:
            # not how we got here says what is on the disk, but whether SQLite is still in the transaction.
            committed = committing and not _in_transaction(connection)
            if committed:
                self._sum = total
                known = cleaning and not transaction.cleans and not self._unclean
                self._unclean = self._unclean or cleaning  # until `clean` has succeeded
            else:
                self._tally, self._sum = before
                _roll_back(connection)
            transaction.finish(committed=committed)
        if cleaning:
            self.clean(transaction.destroyed if known else None)
        elif self.checkpoint_due and self.checkpoint(wait=False) and self._unclean:
            self.clean()

    def _note_cleaning(self, transaction: Transaction) -> bool:
        """Whether the files must be cleaned after the commit; a note of it is part of the commit then."""
        cleaning = self.path is not None and (transaction.cleans or bool(transaction.destroyed))
        if cleaning:
            transaction.note_cleaning()
        return cleaning

    @staticmethod
    def _write_mark(connection: sqlite3.Connection, tally: Tally, total: int) -> None:
        state = connection.execute(_READ_STATE).fetchone()
        if state is not None:
            connection.execute("UPDATE state SET tally = ? WHERE id = 1", (tally.mark(total, state),))

    def checkpoint(self, *, wait: bool = True) -> bool:
        """Move everything from the write-ahead log into the file, and empty the log: what was deleted is gone then.

        Args:
            wait: for up to five seconds, for somebody who is reading.

        Returns:
            False if somebody is reading an older state, or the disk refused; it is tried again after every commit.
        """
        connection = self._open()
        try:
            if not wait:
                connection.execute("PRAGMA busy_timeout=0")
            try:
                row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                if not wait:
                    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            self.checkpoint_due = bool(row[0])
        except (sqlite3.Error, UnicodeDecodeError):
            self.checkpoint_due = True
        return not self.checkpoint_due

    def clean(self, pieces: list[bytes] | None = None) -> bool:
        """Leave nothing in the files of what was erased, as far as that was not done yet.

        Args:
            pieces: all that was erased: the file is written anew only if it holds a copy of them (see `_leftovers`).
                None: not known, it is written anew.

        Returns:
            False if the disk refused, or somebody is reading: it is done with the first commit after the reader has
            gone, when something else is erased, or when the store is opened.
        """
        path = self.path
        if path is None or self._transaction is not None:
            return path is None
        try:
            pending = self.read("SELECT id FROM setting WHERE name = ?", CLEANING)
            self._unclean = bool(pending)
            if not pending:
                return True
            # Only what is in the file itself can be searched for.
            if not self.checkpoint():
                return False
            if pieces is None or found_in(path, pieces):
                self._open().execute("VACUUM")
                if not self.checkpoint():
                    return False
            with self.transaction() as tx:
                tx.delete("setting", pending[0][0])
        except (sqlite3.Error, UnicodeDecodeError, OSError, StoreError):
            return False
        self._unclean = False
        return True

    def check(self) -> None:
        """Look at every page and every reference. Raises StoreCorruptError."""
        if [row[0] for row in self.read("PRAGMA integrity_check(1)")] != ["ok"]:
            raise corrupt()
        if self.read("PRAGMA foreign_key_check"):
            raise corrupt()
        _check_tables(self._open(), VERSION)

    def close(self) -> None:
        """Close the file and let other processes have it; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)
            drop_lock(self._lock)
            self._lock = None
            self._tally = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the store is closed", hint="open it again")
        return self._connection

    def _prepare(self, version: int) -> None:
        connection = self._open()
        with store_errors():
            for pragma in _WRITING:
                connection.execute(pragma)
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                # Cut short, it is rolled back when the connection is closed, as every caller then does.
                connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")

    def __repr__(self) -> str:
        return f"Database({'in memory' if self.path is None else str(self.path)!r})"


def _forget_in_child() -> None:
    """In a forked child a connection must neither be used nor closed: it would take the parent's locks and log along.

    See "How To Corrupt An SQLite Database File", section 2.6.
    """
    for database in list(_OPEN):
        connection, database._connection = database._connection, None  # noqa: SLF001 - ours
        if connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # never deallocated, not even when the child ends
        lock, database._lock = database._lock, None  # noqa: SLF001
        if lock is not None:
            os.close(lock)  # the parent keeps it; the child would hold it beyond the parent's end


os.register_at_fork(after_in_child=_forget_in_child)


def remove_files(path: Path) -> None:
    """Remove a store's file and what belongs to it, as far as it is there; the lock's file stays."""
    for suffix in _SUFFIXES:
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink()


def _connect(uri: str) -> sqlite3.Connection:
    with store_errors():
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for pragma in _ALWAYS:
            connection.execute(pragma)
        return connection


def _in_transaction(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.Error:  # it was closed, which rolls back
        return True


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have done it by itself already.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _sync(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        raise not_written(error) from error


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a store's tables. Raises StoreCorruptError, StoreVersionError."""
    with store_errors():
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or version < 1:
        raise no_store(path)
    if version > VERSION:
        raise StoreVersionError(
            f"the store {path} was written by a newer version of Facegate",
            hint="install that version again; a store is never taken back to an older one",
        )
    return version


def _check_tables(connection: sqlite3.Connection, version: int) -> None:
    """Compare the tables with those of a version: a trigger could copy what is about to be erased."""
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name, type"
    fresh = sqlite3.connect(":memory:")
    try:
        for script in MIGRATIONS[:version]:
            fresh.executescript(script)
        right = fresh.execute(sql).fetchall()
    finally:
        fresh.close()
    with store_errors():
        found = connection.execute(sql).fetchall()
    if found != right:
        raise StoreTamperedError(
            "the store's tables are not as Facegate makes them",
            hint="somebody changed the file: restore a backup, and find out who can write to this device",
        )
