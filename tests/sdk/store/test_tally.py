"""The sum over protected rows: what is in it, whatever the order, and nothing else."""

from __future__ import annotations

import copy
import itertools
import pickle
import sqlite3

import pytest

from facegate._store._schema import PROTECTED
from facegate._store._tally import MODULUS, Tally, encode, row_expression

KEY = bytes(range(32))


def spelled(*values) -> bytes:
    """A row as SQLite spells it."""
    names = [f"c{i}" for i in range(len(values))]
    columns = ", ".join(f"? AS {name}" for name in names)
    db = sqlite3.connect(":memory:")
    try:
        return db.execute(f"SELECT {row_expression(names)} FROM (SELECT {columns})", values).fetchone()[0]  # noqa: S608
    finally:
        db.close()


def test_the_order_of_rows_does_not_matter_and_their_number_does():
    """A multiset: the sum is the same in any order, and another if a row is missing, doubled or changed."""
    tally, rows = Tally(KEY), [(b"a",), (b"b",), (b"c",)]
    total = tally.rows("person", rows)
    assert {tally.rows("person", order) for order in itertools.permutations(rows)} == {total}
    for other in (rows[:2], [*rows, rows[0]], [(b"a",), (b"b",), (b"d",)], [(b"ab",), (b"",), (b"c",)]):
        assert tally.rows("person", other) != total


def test_a_row_that_goes_is_taken_away():
    """The hash of one row is what it adds."""
    tally = Tally(KEY)
    assert (tally.rows("face", [(b"a",), (b"b",)]) - tally.row("face", b"b")) % MODULUS == tally.row("face", b"a")


def test_a_row_of_another_table_or_another_key_is_another_row():
    """Tables and keys do not mix."""
    hashes = {Tally(key).row(table, b"row") for key in (KEY, bytes(32)) for table in ("person", "face")}
    assert len(hashes) == 4


def test_the_mark_covers_the_sum_and_the_state():
    """Neither the sum nor anything of the state can change without another mark; the mark tells nothing of the sum."""
    tally = Tally(KEY)
    marks = {tally.mark(total, state) for total in (0, 1) for state in (("a", 1), ("a", 2), ("a1", None))}
    assert len(marks) == 6
    assert tally.mark(MODULUS + 1, ("a", 1)) == tally.mark(1, ("a", 1))
    assert all(len(mark) == 32 for mark in marks)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        ((None,), ("-",)),
        ((None, "x"), ("x", None)),
        (("a\0b",), ("a",)),
        ((b"\xff\x00\xfe",), (b"\xff\x00\xfd",)),
        (("1:a",), ("a",)),
        ((12, 3), (1, 23)),
        (("é",), ("e",)),
        (("",), (None,)),
    ],
)
def test_two_different_rows_are_never_spelled_alike(one, other):
    """Lengths in bytes stand before the values, NULL is spelled as no value is, and nothing ends at a NUL."""
    assert spelled(*one) != spelled(*other)
    assert encode(*one) != encode(*other)


def test_bytes_are_spelled_as_they_are():
    """SQLite joins texts and bytes without a look at what is in them."""
    assert spelled(b"\x00\xff:", "a\0ü", None, 17) == b"3:\x00\xff:4:a\x00\xc3\xbc-2:17"


def test_what_no_row_holds_is_refused():
    """A value that SQLite would turn into another is an error of ours, not a hash."""
    with pytest.raises(TypeError):
        encode(1.5)


def test_every_column_of_a_protected_table_is_protected(database):
    """No column was forgotten: an unprotected one could be changed unseen."""
    for table, columns in PROTECTED.items():
        assert [row[1] for row in database.read(f"PRAGMA table_info({table})")] == list(columns)


def test_a_tally_shows_no_key():
    """Its repr is a name, and it cannot be pickled or copied."""
    assert repr(Tally(KEY)) == "Tally()"
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(Tally(KEY))
