"""The rows of a store in a backup: JSON lines out, and in again; what is locked, locked with another secret.

A table is a line with the names of its columns, then a line for each row; bytes are {"b": base64url}.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from facegate._store._renewal import rotation_place
from facegate.errors import BackupFormatError
from facegate_edge._keys import b64url_decode, b64url_encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from facegate._store._sealing import Owner, Sealer
    from facegate._store._store import Store

__all__ = ["OWNERS", "SEQUENCES", "TABLES", "parse_row", "read_value", "rewrap", "split_lines", "table_lines"]

# Every table of the schema, a row's owner before it.
TABLES = (
    *("state", "rotation", "person", "face_list", "face", "consent", "people_group", "membership", "credential"),
    *("setting", "request", "lockout", "audit", "audit_head", "decision", "report"),
)
OWNERS: dict[str, Owner] = {"person": "person", "face_list": "list"}
SEQUENCES = "sqlite_sequence"  # the last id of each table: none is ever used again, also after a restore
_ROWS = 512  # lines that are given at a time
_MAX_LINE = 96 * 1024 * 1024  # the rotation for templates of 4096 values takes 86 MiB of base64


def table_lines(store: Store, table: str, sealer: Sealer, tell: Callable[[int], object]) -> Iterator[bytes]:
    """A table as JSON lines, locked for `sealer`.

    Args:
        store: an opened one.
        table: of `TABLES`, or `SEQUENCES`.
        sealer: of the backup's secret.
        tell: is told of how many more rows were given.
    """
    columns = [name for (name,) in store.db.read("SELECT name FROM pragma_table_info(?)", table)]
    columns = columns or ["name", "seq"]  # SQLite's own table has no such information before its first row
    yield json.dumps(columns).encode("ascii") + b"\n"
    lines: list[str] = []
    for row in store.db.iterate(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608 - the schema's names
        values = rewrap(table, dict(zip(columns, row, strict=True)), store.sealer, sealer)
        lines.append(json.dumps([_spelled(value) for value in values.values()], ensure_ascii=True))
        if len(lines) == _ROWS:
            yield ("\n".join(lines) + "\n").encode("ascii")
            tell(len(lines))
            lines.clear()
    if lines:
        yield ("\n".join(lines) + "\n").encode("ascii")
    tell(len(lines))


def rewrap(table: str, row: dict[str, Any], old: Sealer, new: Sealer) -> dict[str, Any]:
    """A row with what the old secret locks locked with the new one, in the form that its table has.

    Raises:
        SealError: something in it does not open.
    """
    if table in OWNERS and row["wrapped_key"]:  # those of lapsed people are empty
        kind, number = OWNERS[table], row["id"]
        return row | {"wrapped_key": new.wrap(old.unwrap(row["wrapped_key"], kind, number), kind, number)}
    if table == "rotation":
        place = rotation_place(row["id"])
        return row | {"sealed": new.seal(old.unseal(row["sealed"], place), place)}
    if table == "state":
        # The tally is of the old secret; rows are tallied anew with the one that they get.
        return row | {"key_id": new.key_id, "key_check": new.key_check(), "tally": b""}
    return row


def _spelled(value: Any) -> Any:
    return {"b": b64url_encode(value)} if isinstance(value, bytes) else value


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of an entry, whose pieces end anywhere. Raises BackupFormatError for one that is far too long."""
    rest = bytearray()
    for piece in pieces:
        if b"\n" in piece:
            *whole, last = (bytes(rest) + piece).split(b"\n")
            yield from whole
            rest = bytearray(last)
        else:
            rest += piece  # in linear time, however small somebody made the pieces
        if len(rest) > _MAX_LINE:
            raise BackupFormatError(
                "the backup holds a row that is far too large", hint="use another copy of the backup"
            )
    if rest:
        yield bytes(rest)


def parse_row(line: bytes) -> list[Any]:
    """The values of a line, or its columns. Raises BackupFormatError."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, list):
        raise BackupFormatError("the backup holds a row that is none", hint="use another copy of the backup")
    return row


def read_value(value: Any) -> Any:
    """What SQLite gets for a JSON value. Raises BackupFormatError."""
    if isinstance(value, dict):
        try:
            return b64url_decode(value["b"])
        except (KeyError, ValueError, AttributeError, TypeError):
            raise BackupFormatError(
                "the backup holds a value that no row has", hint="use another copy of the backup"
            ) from None
    return value
