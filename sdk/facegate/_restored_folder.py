"""A gate's folder made of a backup's entries: files as they are, rows tallied and locked with a new secret."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from facegate._backup import FILES
from facegate._backup_rows import SEQUENCES, TABLES, parse_row, read_value, rewrap, split_lines
from facegate._files import write_new
from facegate._gate_folder import BUNDLE, DECLARATION, KEY, TRUST
from facegate._store._database import Database
from facegate._store._key_providers import SavableKey, new_secret
from facegate._store._schema import VERSION as SCHEMA
from facegate._store._sealing import Sealer
from facegate._store._store import FILE
from facegate.errors import BackupFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from facegate._backup_stream import BackupReader
    from facegate._store._database import Transaction
    from facegate._store._key_providers import SealKey

__all__ = ["RestoredFolder"]

_MAX_FILE = 64 * 1024
_MAX_BUNDLE = 2 * 1024**3
_COPY = "use another copy of the backup"
_T = TypeVar("_T")


class RestoredFolder:
    """A gate's folder while it is being made of a backup's entries; use it in a `with`.

    Left without `keep`, the sealing secret that was made for it is destroyed: the gate was not wanted, or could not be
    made. The folder is its owner's to remove.

    Args:
        folder: an empty one.
        provider: keeps the sealing secret from now on. A new one is made if it can keep one; else it has one.
        progress: is told now and then how many rows of how many are written.
    """

    def __init__(self, folder: Path, provider: SealKey, progress: Callable[[int, int], object] | None = None) -> None:
        self._folder = folder
        self._provider = provider
        self._progress = progress
        self._db: Database | None = None
        self._secret = bytearray()  # of the backup
        self._fresh = bytearray()  # of the gate that is made
        self._saved = False
        self._old: Sealer | None = None
        self._sealer: Sealer | None = None
        self._rows: Mapping[str, int] = {}
        self._done = 0
        (folder / TRUST).mkdir(mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        for secret in (self._secret, self._fresh):
            secret[:] = bytes(len(secret))
        if self._db is not None:
            self._db.close()
        if self._saved and isinstance(self._provider, SavableKey):
            self._provider.remove()

    def keep(self) -> None:
        """The gate is made: its secret stays."""
        self._saved = False

    def take(self, reader: BackupReader) -> None:
        """Write the entries. They count only when the last one was read, with the signature behind it.

        Raises:
            BackupFormatError, BackupTamperedError: see `BackupReader.entries`; or they make no gate.
            SealKeyMissingError, SealKeyError, StoreExistsError: the provider has no secret, or has one already.
            StoreError, OSError: the folder cannot be written.
        """
        entries = reader.entries()
        seen: list[str] = []
        expected = [f"table/{table}" for table in (*TABLES, SEQUENCES)]
        tables: list[str] = []
        with contextlib.ExitStack() as stack:
            tx: Transaction | None = None
            for name, pieces in entries:
                if name.startswith("table/"):
                    if tx is None:
                        tx = self._begin(stack)
                    tables.append(name)
                    if tables != expected[: len(tables)]:
                        raise BackupFormatError("the backup holds a table that none has", hint=_COPY)
                    self._table(tx, name.partition("/")[2], pieces)
                else:
                    seen.append(name)
                    self._file(name, pieces)
            needed = {*FILES, "seal", "contents.json"}
            if tables != expected or not needed <= set(seen) or not any(n.startswith(f"{TRUST}/") for n in seen):
                raise BackupFormatError("the backup is not whole", hint=_COPY)
        # The transaction is committed by now: the signature was right, or an exception has left it.
        _need(self._db).close()

    def held_key(self, name: str) -> SealKey:
        """The new secret while this is open, under the provider's name: not every provider gives it twice."""
        return _HeldKey(name, self._fresh)

    def _file(self, name: str, pieces: Iterable[bytes]) -> None:
        if name == "seal":
            self._secret += b"".join(_counted(pieces, _MAX_FILE))
        elif name == "contents.json":
            self._contents(b"".join(_counted(pieces, _MAX_FILE)))
        elif name in FILES or name.startswith(f"{TRUST}/"):
            mode = {KEY: 0o600, DECLARATION: 0o444}.get(name, 0o644)
            limit = _MAX_BUNDLE if name == BUNDLE else _MAX_FILE
            write_new(self._folder / name, _counted(pieces, limit), mode)
        else:
            raise BackupFormatError("the backup holds a file that no gate has", hint=_COPY)

    def _contents(self, data: bytes) -> None:
        try:
            contents = json.loads(data)
            schema, rows = contents["schema"], contents["rows"]
            if type(schema) is not int or not all(type(rows[table]) is int for table in TABLES):
                raise TypeError  # noqa: TRY301 - all that can be wrong here has one answer
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BackupFormatError("the backup's contents are not as they are", hint=_COPY) from None
        if schema > SCHEMA:
            raise BackupFormatError("a newer version of facegate made this backup", hint="update facegate")
        self._rows = rows

    def _begin(self, stack: contextlib.ExitStack) -> Transaction:
        self._db = Database.create(self._folder / FILE)
        return stack.enter_context(self._db.transaction())

    def _table(self, tx: Transaction, table: str, pieces: Iterable[bytes]) -> None:
        lines = split_lines(pieces)
        columns: list[str] = parse_row(next(lines, b""))
        if table != SEQUENCES:
            known = {name for (name,) in tx.execute("SELECT name FROM pragma_table_info(?)", table)}
            if not all(isinstance(name, str) and name in known for name in columns):
                raise BackupFormatError("the backup holds a column that no table has", hint=_COPY)
        for number, line in enumerate(lines, 1):
            row: list[Any] = parse_row(line)
            if len(row) != len(columns):
                raise BackupFormatError("the backup holds a row that is not whole", hint=_COPY)
            values = {name: read_value(value) for name, value in zip(columns, row, strict=True)}
            try:
                self._row(tx, table, values)
            except (KeyError, TypeError, OverflowError, UnicodeEncodeError):
                # Who made it knows the recovery key, and made it by hand.
                raise BackupFormatError("the backup holds a row that no table has", hint=_COPY) from None
            if number % 1000 == 0:
                self._tell()
        self._tell()

    def _row(self, tx: Transaction, table: str, values: dict[str, Any]) -> None:
        if table == SEQUENCES:
            tx.execute("DELETE FROM sqlite_sequence WHERE name = ?", values["name"])
            tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", values["name"], values["seq"])
        else:
            tx.insert(table, **self._rewrapped(table, values))
            self._done += 1

    def _rewrapped(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        """Lock with the new secret what the backup's secret locks."""
        if table == "state":
            self._open_seals(values)
            _need(self._db).protect(_need(self._sealer).tally, new=True)
            _need(self._old).check(values["key_check"], values["key_id"])
        return rewrap(table, values, _need(self._old), _need(self._sealer))

    def _open_seals(self, state: Mapping[str, Any]) -> None:
        gate = state["gate"]
        self._old = Sealer(self._secret, gate)
        self._secret[:] = bytes(len(self._secret))
        if isinstance(self._provider, SavableKey):
            self._fresh += new_secret()
            self._provider.save(self._fresh)
            self._saved = True
        else:
            self._fresh += self._provider.load()
        self._sealer = Sealer(self._fresh, gate)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, sum(self._rows.values()))


class _HeldKey:
    """The new secret for as long as the restore takes: not every provider gives it twice."""

    def __init__(self, name: str, secret: bytearray) -> None:
        self.name = name
        self._secret = secret

    def load(self) -> bytearray:
        """A copy of it."""
        return bytearray(self._secret)


def _need(value: _T | None) -> _T:
    """What an earlier entry must have brought."""
    if value is None:
        raise BackupFormatError("the backup's entries are not in their order", hint=_COPY)
    return value


def _counted(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            raise BackupFormatError("the backup holds a file that is far too large", hint=_COPY)
        yield piece
