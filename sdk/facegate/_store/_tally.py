"""A sum over all protected rows that only the holder of the device's key can make.

MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh, "Incremental Multiset Hash Functions and Their Application
to Memory Integrity Checking", ASIACRYPT 2003: the sum modulo 2^256 of a keyed hash of every row. A row that comes adds
its hash, one that goes takes it away, so a transaction costs only what it changes; the whole is counted again when the
store is opened. The sum itself is never written, only an HMAC over it: an attacker who saw the sums of two versions
would know the hash of what changed between them, and could solve for a set of such rows with the same sum (Wagner's
generalized birthday attack needs about 2^32 steps for 256 bits).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MODULUS", "Tally", "encode", "row_expression"]

MODULUS = 1 << 256


def encode(*values: Any) -> bytes:
    """Values of SQLite as bytes, one spelling each: no two different lists of them have the same.

    Raises:
        TypeError: a value is none of None, int, str, bytes.
    """
    parts = []
    for value in values:
        kind = value.__class__
        if kind is int:
            parts.append(b"i%d;" % value)
        elif kind is str:
            text = value.encode("utf-8", "surrogatepass")
            parts.append(b"t%d:%b" % (len(text), text))
        elif kind is bytes:
            parts.append(b"b%d:%b" % (len(value), value))
        elif value is None:
            parts.append(b"n")
        else:
            raise TypeError(f"no row of a store holds a {kind.__name__}")
    return b"".join(parts)


def row_expression(columns: Iterable[str]) -> str:
    """The SQL expression of a row as one blob: each column's length in bytes and value, or `-` for NULL.

    No two different rows have the same, because the types of the columns are fixed: the tables are STRICT, and the
    integrity check before the tally is counted finds a value of another type in them, too, if somebody edited the file.
    `||` joins bytes, also those after a NUL.
    """
    parts = (f"ifnull(length(CAST({name} AS BLOB)) || ':' || {name}, '-')" for name in columns)
    return f"CAST({' || '.join(parts)} AS BLOB)"


class Tally:
    """The hash of rows, and the mark of a sum of them.

    Args:
        key: 32 bytes that are used for nothing else.
    """

    __slots__ = ("_keys", "_row_key", "_sum_key")

    def __init__(self, key: bytes) -> None:
        # Two keys of one: what marks a sum can never be taken for the hash of a row.
        self._row_key = hmac.digest(key, b"facegate tally row", "sha256")
        self._sum_key = hmac.digest(key, b"facegate tally sum", "sha256")
        self._keys: dict[str, bytes] = {}  # of the tables

    def row(self, table: str, row: bytes) -> int:
        """The keyed hash of one row, as `row_expression` gives it, 0..2^256-1."""
        return self.rows(table, [(row,)])

    def rows(self, table: str, rows: Iterable[tuple[bytes]]) -> int:
        """The sum of the keyed hashes of rows, modulo 2^256."""
        # A key of its own for each table: a row moved to another table is another row.
        key, digest, from_bytes, total = self._table_key(table), hmac.digest, int.from_bytes, 0
        for (row,) in rows:
            total += from_bytes(digest(key, row, "sha256"), "big")
        return total % MODULUS

    def _table_key(self, table: str) -> bytes:
        key = self._keys.get(table)
        if key is None:
            key = self._keys[table] = hmac.digest(self._row_key, table.encode(), "sha256")
        return key

    def mark(self, total: int, state: Iterable[Any]) -> bytes:
        """What the store keeps: HMAC-SHA256 over the sum and the rest of the gate's state, 32 bytes."""
        return hmac.digest(self._sum_key, (total % MODULUS).to_bytes(32, "big") + encode(*state), "sha256")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")

    def __repr__(self) -> str:
        return "Tally()"
