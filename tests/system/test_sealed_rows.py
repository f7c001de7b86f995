"""Somebody writes to the store's file: every byte of a sealed row, every exchange of rows, every old row is noticed."""

# ruff: noqa: S608 - the statements are our own

from __future__ import annotations

import random
import shutil
import sqlite3

import numpy as np
import pytest

from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import FILE, Store
from facegate.errors import SealError, SealKeyError, StoreCorruptError, StoreTamperedError
from facegate_edge._values import Template

LENGTH = 128
SPACE = "test-space"
NOTICED = (SealError, StoreTamperedError, SealKeyError, StoreCorruptError)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of a store with three people, a list and a group, closed."""
    folder = tmp_path_factory.mktemp("store")
    key = FileKey(folder / "seal.key")
    key.save(new_secret())
    rng = np.random.default_rng(1)
    made = Store.create(folder, device="door-1", space=SPACE, length=LENGTH, key=key)
    with made as store, store.db.transaction() as tx:
        group = store.add_group(tx, "staff")
        store.add_group(tx, "vault")
        for name in ("anna", "bert", "carla"):
            person = store.add_person(tx, name)
            store.add_faces(tx, person, [rotated(store, rng), rotated(store, rng)])
            store.join(tx, person, group)
        store.add_list_faces(tx, store.add_list(tx, "guests"), [rotated(store, rng)])
    return folder


def rotated(store, rng):
    """A random template of the store's own space."""
    return store.rotation.apply(Template(rng.integers(-127, 128, LENGTH).astype(np.int8), SPACE))


def reopen(folder):
    """Open the store of a folder, as a gate does."""
    return Store.open(folder, space=SPACE, length=LENGTH, key=FileKey(folder / "seal.key"))


@pytest.fixture
def store(original, tmp_path):
    """A function: SQL statements -> their effect on a copy of the store's file, done without Facegate; its folder."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)

    def write(*statements):
        db = sqlite3.connect(folder / FILE, isolation_level=None)
        db.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            sql, *values = (statement,) if isinstance(statement, str) else statement
            db.execute(sql, values)
        db.close()
        return folder

    return write


def read(folder, sql):
    """What a SELECT gives, without Facegate."""
    db = sqlite3.connect(folder / FILE)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def sealed_bytes(column, table, row, count):
    """Places in a sealed value: the first, the last and some in between, and which bit is flipped."""
    rng = random.Random(f"{table}{row}")  # noqa: S311 - chooses cases
    places = [0, 11, 12, -17, -16, -1, *(rng.randrange(1 << 16) for _ in range(count))]
    return [(column, table, row, place, 1 << rng.randrange(8)) for place in places]


def test_a_store_that_nobody_touched_opens(store):
    """The other tests' copies differ from this one only by what they did to it."""
    with reopen(store()) as opened:
        assert [person.reference for person in opened.people()] == ["anna", "bert", "carla"]


@pytest.mark.parametrize(
    ("column", "table", "row", "place", "bit"),
    [
        *sealed_bytes("sealed", "face", 1, 10),
        *sealed_bytes("sealed", "face", 7, 4),
        *sealed_bytes("wrapped_key", "person", 2, 10),
        *sealed_bytes("wrapped_key", "face_list", 1, 4),
        *sealed_bytes("key_check", "state", 1, 4),
        *sealed_bytes("tally", "state", 1, 4),
    ],
)
def test_a_flipped_bit_of_a_sealed_value_is_noticed(store, column, table, row, place, bit):
    """Whatever byte of a template, of a key or of the marks is changed, the store does not open."""
    folder = store()
    (value,) = read(folder, f"SELECT {column} FROM {table} WHERE id = {row}")[0]
    changed = bytearray(value)
    changed[place % len(value) if place >= 0 else place] ^= bit
    store((f"UPDATE {table} SET {column} = ? WHERE id = ?", bytes(changed), row))
    with pytest.raises(NOTICED):
        reopen(folder)


@pytest.mark.parametrize("place", [0, 11, 12, 40, 4096, 30_000, -17, -1])
def test_a_flipped_bit_of_the_secret_rotation_is_noticed(store, place):
    """The rotation is sealed as everything else."""
    folder = store()
    (value,) = read(folder, "SELECT sealed FROM rotation")[0]
    changed = bytearray(value)
    changed[place] ^= 4
    store(("UPDATE rotation SET sealed = ?", bytes(changed)))
    with pytest.raises(NOTICED):
        reopen(folder)


EXCHANGES = {
    "faces of two people": [
        "UPDATE face SET person = 99 WHERE person = 1",
        "UPDATE face SET person = 1 WHERE person = 2",
        "UPDATE face SET person = 2 WHERE person = 99",
    ],
    "sealed templates of two people": [
        "UPDATE face SET sealed = (SELECT f.sealed FROM face AS f WHERE f.id = 4 - face.id) WHERE id IN (1, 3)"
    ],
    "sealed templates of one person": [
        "UPDATE face SET sealed = (SELECT f.sealed FROM face AS f WHERE f.id = 3 - face.id) WHERE id IN (1, 2)"
    ],
    "keys of two people": [
        "UPDATE person SET wrapped_key = (SELECT p.wrapped_key FROM person p WHERE p.id = 3 - person.id) WHERE id < 3"
    ],
    "keys and faces of two people": [
        "UPDATE person SET wrapped_key = (SELECT p.wrapped_key FROM person p WHERE p.id = 3 - person.id) WHERE id < 3",
        "UPDATE face SET person = 3 - person WHERE person IN (1, 2)",
    ],
    "references of two people": [
        "UPDATE person SET reference = 'x' WHERE id = 1",
        "UPDATE person SET reference = 'anna' WHERE id = 2",
        "UPDATE person SET reference = 'bert' WHERE id = 1",
    ],
    "rows of two people": [
        "UPDATE person SET id = 99 WHERE id = 1",
        "UPDATE person SET id = 1 WHERE id = 2",
        "UPDATE person SET id = 2 WHERE id = 99",
    ],
    "a person's face and a list's": [
        "UPDATE face SET person = NULL, list = 1 WHERE id = 1",
        "UPDATE face SET person = 1, list = NULL WHERE id = 7",
    ],
    "a face, given to somebody else": ["UPDATE face SET person = 2 WHERE id = 1"],
    "a face, removed": ["DELETE FROM face WHERE id = 1"],
    "a person, removed": ["DELETE FROM membership WHERE person = 1", "DELETE FROM face WHERE person = 1",
                          "DELETE FROM person WHERE id = 1"],
    "a face, copied": [
        "INSERT INTO face (person, space, sealed, added) SELECT person, space, sealed, added FROM face WHERE id = 1"
    ],
    "a person, let into a group": ["INSERT INTO membership (person, people_group) VALUES (1, 2)"],
    "a person, moved to another group": ["UPDATE membership SET people_group = 2 WHERE person = 1"],
    "a restriction, lifted": ["UPDATE person SET restricted = 1 WHERE id = 1"],
    "the time of the last use": ["UPDATE person SET used = used + 1 WHERE id = 1"],
    "another template space": ["UPDATE face SET space = 'other' WHERE id = 1"],
    "the number of decisions": ["UPDATE state SET sequence = sequence + 1"],
    "the clock": ["UPDATE state SET clock = x'7b7d20'"],
    "another gate": ["UPDATE state SET gate = '00112233445566778899aabbccddeeff'"],
    "a credential, planted": [
        "INSERT INTO credential (role, label, digest, made) VALUES ('administrator', 'me', x'00', 0)"
    ],
    "a setting, planted": ["INSERT INTO setting (name, value) VALUES ('people_days', '36500')"],
}  # fmt: skip


@pytest.mark.parametrize("statements", EXCHANGES.values(), ids=EXCHANGES.keys())
def test_rows_that_were_exchanged_are_noticed(store, statements):
    """Rows given to somebody else, exchanged, removed, copied, changed or planted: the store does not open."""
    with pytest.raises(NOTICED):
        reopen(store(*statements))


def rows_of(folder, person):
    """Everything that a store has of a person, for putting it back later."""
    return {
        table: read(folder, f"SELECT * FROM {table} WHERE {'id' if table == 'person' else 'person'} = {person}")
        for table in ("person", "face", "membership")
    }


def put_back(rows):
    """Statements that put rows back."""
    return [
        (f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
        for table, found in rows.items()
        for row in found
    ]


def test_old_rows_of_an_erased_person_are_noticed(store):
    """Rows that were copied before an erasure and put back afterwards do not bring the person back."""
    folder = store()
    rows = rows_of(folder, 1)
    with reopen(folder) as opened, opened.db.transaction() as tx:
        opened.erase_person(tx, 1)
    with reopen(folder) as opened:
        assert opened.person("anna") is None
    store(*put_back(rows))
    with pytest.raises(NOTICED):
        reopen(folder)


def test_old_rows_of_a_changed_person_are_noticed(store):
    """A restriction is not lifted by putting the row back that was there before."""
    folder = store()
    rows = rows_of(folder, 1)
    with reopen(folder) as opened, opened.db.transaction() as tx:
        opened.db.read("SELECT 1")
        tx.update("person", 1, restricted=1)
    store(*put_back({"person": rows["person"]}))
    with pytest.raises(NOTICED):
        reopen(folder)


def test_old_rows_with_the_old_mark_are_noticed(store):
    """Putting back the mark as well does not help: it is that of all rows, and others have changed since."""
    folder = store()
    rows, mark = rows_of(folder, 1), read(folder, "SELECT tally FROM state")[0][0]
    with reopen(folder) as opened:
        with opened.db.transaction() as tx:
            opened.erase_person(tx, 1)
        with opened.db.transaction() as tx:
            opened.add_person(tx, "doris")
    store(*put_back(rows), ("UPDATE state SET tally = ?", mark))
    with pytest.raises(NOTICED):
        reopen(folder)


def test_an_old_row_is_noticed_after_a_new_key(store):
    """A key that was wrapped with the old secret does not open with the new one."""
    folder = store()
    rows = rows_of(folder, 1)
    with reopen(folder) as opened:
        opened.rotate_key(FileKey(folder / "seal.key"))
        opened.settle_key()
    store(*put_back({"person": rows["person"]}))
    with pytest.raises(NOTICED):
        reopen(folder)


def test_rows_of_another_gate_are_noticed(store, tmp_path):
    """With the same secret: a row that was sealed for one gate opens in no other."""
    folder = store()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "seal.key", other / "seal.key")
    rng = np.random.default_rng(2)
    key = FileKey(other / "seal.key")
    with (
        Store.create(other, device="door-1", space=SPACE, length=LENGTH, key=key) as made,
        made.db.transaction() as tx,
    ):
        made.add_faces(tx, made.add_person(tx, "anna"), [rotated(made, rng)])
    stranger = read(other, "SELECT wrapped_key FROM person")[0][0]
    store(("UPDATE person SET wrapped_key = ? WHERE id = 1", stranger))
    with pytest.raises(NOTICED):
        reopen(folder)
    (row,) = read(other, "SELECT * FROM state")
    store("DELETE FROM state", (f"INSERT INTO state VALUES ({', '.join('?' * len(row))})", *row))
    with pytest.raises(NOTICED):
        reopen(folder)


def test_a_row_that_changes_while_the_gate_is_open_is_noticed_when_it_is_used(store):
    """A template that is exchanged under an open store does not open any more; nothing wrong is given out."""
    folder = store()
    with reopen(folder) as opened:
        store("UPDATE face SET sealed = (SELECT f.sealed FROM face AS f WHERE f.id = 3) WHERE id = 1")
        with pytest.raises(SealError):
            list(opened.templates_of(1))
