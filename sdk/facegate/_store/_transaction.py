"""What one transaction does, and what that does to the tally."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from facegate._store._schema import PROTECTED
from facegate._store._store_errors import no_row, store_errors
from facegate._store._tally import row_expression
from facegate.errors import StoreError, StoreTamperedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from facegate._store._database import Database

__all__ = ["CLEANING", "PROTECTED_ROWS", "Transaction"]

CLEANING = "cleaning"
"""The row among the settings that is there from an erasure's commit until nothing of the erased is in the files."""

_MAX_ID = 1 << 62
_SECRETS = {"person": "wrapped_key", "face_list": "wrapped_key", "face": "sealed"}

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_WRITES = re.compile(r"\s*(?:INSERT|REPLACE|UPDATE|DELETE)\b[^(]*?\b(" + "|".join(PROTECTED) + r")\b", re.IGNORECASE)

# The protected rows of each table, as the tally hashes them.
PROTECTED_ROWS = {
    table: f"SELECT {row_expression(columns)} FROM {table}"  # noqa: S608 - constants
    for table, columns in PROTECTED.items()
}


class Transaction:
    """What one transaction does. Made by `Database.transaction`; of no use after it."""

    __slots__ = ("_after", "_before", "_connection", "_database", "_end", "cleans", "delta", "destroyed", "open")

    def __init__(self, database: Database, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection
        self._before: list[Callable[[], object]] = []
        self._after: list[Callable[[], object]] = []
        self._end: list[Callable[[], object]] = []
        self.delta = 0  # of the tally's sum
        self.destroyed: list[bytes] = []  # keys and sealed templates, of which no copy may be left in the files
        self.cleans = False  # see `clean`
        self.open = True

    def execute(self, sql: str, *params: Any) -> sqlite3.Cursor:
        """Run one statement: a read, or a change of a table that is not protected."""
        named = _WRITES.match(sql)
        if named is not None:
            raise TypeError(f"rows of {named[1]} are protected: use insert, update, delete")
        return self._run(sql, params)

    def insert(self, table: str, **values: Any) -> int:
        """Add a row; returns its id (its rowid where the table has no id)."""
        _check_names(table, *values)
        marks = ", ".join("?" * len(values))
        cursor = self._run(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - names were checked
            tuple(values.values()),
        )
        row = cursor.lastrowid or 0
        if table in PROTECTED:
            self.delta += self._hash(table, row)
        return row

    def update(self, table: str, row: int, /, **changes: Any) -> None:
        """Change columns of the row with this id. Raises StoreError if there is none."""
        if _SECRETS.get(table) in changes:
            self._destroy(table, row)
        before = self._hash(table, row) if table in PROTECTED else 0
        self.rewrite(table, row, **changes)
        if table in PROTECTED:
            self.delta += self._hash(table, changes.get("id", row)) - before

    def rewrite(self, table: str, row: int, /, **changes: Any) -> None:
        """`update` without counting: only where `Database.protect` counts all rows anew in the same transaction."""
        _check_names(table, *changes)
        columns = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE {table} SET {columns} WHERE id = ?"  # noqa: S608 - names were checked
        if self._run(sql, (*changes.values(), row)).rowcount != 1:
            raise no_row(table)

    def delete(self, table: str, row: int, /) -> None:
        """Remove the row with this id. Raises StoreError if there is none."""
        _check_names(table)
        self._destroy(table, row)
        before = self._hash(table, row) if table in PROTECTED else 0
        if self._run(f"DELETE FROM {table} WHERE id = ?", (row,)).rowcount != 1:  # noqa: S608 - a checked name
            raise no_row(table)
        self.delta -= before

    def clean(self) -> None:
        """Most of what is sealed changes: write the whole file anew after the commit, instead of searching it."""
        self.cleans = True
        self.destroyed.clear()

    def note_cleaning(self) -> None:
        """Remember, with this commit, that the file must be cleaned: the power may go before it is."""
        if not self._run("SELECT 1 FROM setting WHERE name = ?", (CLEANING,)).fetchone():
            self.insert("setting", name=CLEANING, value="true")

    def next_id(self, table: str) -> int:
        """The id that the next row of an AUTOINCREMENT table gets, for those who must know it before they write it.

        Raises:
            StoreTamperedError: it is not behind those that are there.
        """
        sql = f"SELECT (SELECT seq FROM sqlite_sequence WHERE name = ?), (SELECT max(id) FROM {table})"  # noqa: S608
        _check_names(table)
        last, highest = self._run(sql, (table,)).fetchone()
        if last is None and highest is None:
            return 1
        # The tally does not count this table of SQLite's: a negative person would be a list to the index.
        if type(last) is not int or not max(0, highest or 0) <= last < _MAX_ID:
            raise StoreTamperedError(
                "the store's row numbers were changed",
                hint="restore a backup, and find out who can write to this device",
            )
        return last + 1

    def before_commit(self, call: Callable[[], object]) -> None:
        """Call this, in order, right before the commit; what it writes is part of the transaction."""
        self._before.append(call)

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this, in order, once the commit has succeeded: what is in memory changes only then."""
        self._after.append(call)

    def at_end(self, call: Callable[[], object]) -> None:
        """Call this when the transaction is over, however it ended; after what `after_commit` was given."""
        self._end.append(call)

    def _destroy(self, table: str, row: int) -> None:
        column = _SECRETS.get(table)
        if column is not None and not self.cleans:
            found = self._run(f"SELECT {column} FROM {table} WHERE id = ?", (row,)).fetchone()  # noqa: S608 - constants
            if found is not None and found[0]:
                self.destroyed.append(found[0])

    def _hash(self, table: str, row: int) -> int:
        found = self._run(f"{PROTECTED_ROWS[table]} WHERE id = ?", (row,)).fetchone()
        if found is None:
            raise no_row(table)
        return self._database.tally.row(table, found[0])

    def _run(self, sql: str, params: tuple[Any, ...]) -> sqlite3.Cursor:
        # A full disk makes SQLite roll back by itself: what came after would be outside any transaction.
        if not self.open or not self._connection.in_transaction:
            raise StoreError("the transaction is over", hint="begin a new one")
        with store_errors():
            return self._connection.execute(sql, params)

    def prepare(self) -> None:
        """Run what was left for the moment before the commit."""
        while self._before:
            self._before.pop(0)()

    def finish(self, *, committed: bool) -> None:
        """Run what was left for the end; the first exception is raised when all have run."""
        self.open = False
        calls = [*(self._after if committed else ()), *self._end]
        failure: BaseException | None = None
        for call in calls:
            try:
                call()
            except BaseException as error:  # noqa: BLE001, PERF203 - raised below
                failure = failure or error
        if failure is not None:
            raise failure


def _check_names(*names: str) -> None:
    """Names become part of a statement: they are never anybody's input, and this makes sure of it."""
    if not all(_IDENTIFIER.fullmatch(name) for name in names):
        raise TypeError("not the name of a table or column")
