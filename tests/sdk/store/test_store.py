"""The store: people, lists and groups on disk and in memory, sealed, erased, and the same after every restart."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import numpy as np
import pytest

from facegate._store._database import Database
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._key_rotation import KeyRotation
from facegate._store._store import FILE, Store
from facegate.errors import (
    GateInUseError,
    SealError,
    SealKeyError,
    SealKeyMissingError,
    StoreConflictError,
    StoreCorruptError,
    StoreError,
    StoreExistsError,
    StoreMissingError,
    StoreTamperedError,
    TemplateSpaceError,
)
from facegate_edge._values import Template

DAY = 24 * 3600.0


@pytest.fixture
def store(folder):
    """A new store on disk."""
    return folder.create()


# ---------------------------------------------------------------- opening


def test_people_are_there_after_a_restart(folder, store, template, enroll, found):
    """With their faces, groups and lists; the searches find what they found before."""
    anna, ben, stranger, listed = template(), template(), template(), template()
    enroll(store, "anna", anna, template(anna))
    person = enroll(store, "ben", ben)
    with store.db.transaction() as tx:
        group = store.add_group(tx, "staff")
        store.join(tx, person, group)
        names = store.add_list(tx, "banned")
        store.add_list_faces(tx, names, [store.rotation.apply(listed)])
    for opened in folder.twice(store):
        assert [p.reference for p in opened.people()] == ["anna", "ben"]
        assert found(opened, template(anna), k=1) == ["anna"]
        assert found(opened, template(ben), k=1) == ["ben"]
        assert found(opened, template(anna), groups=[group]) == ["ben"]
        assert opened.index.similar(opened.rotation.apply(listed), names)[0].similarity == 1.0
        assert opened.index.best(opened.rotation.apply(listed))[0].similarity < 0.6
        assert opened.index.best(opened.rotation.apply(stranger))[0].similarity < 0.6
        assert len(opened.index) == 4
        opened.db.check()


def test_what_the_files_hold_is_sealed(folder, store, template, enroll):
    """No template, rotated or not, no key of a person and nothing of the rotation stands in any file."""
    templates = [template() for _ in range(20)]
    person = enroll(store, "anna", *templates)
    rotated = [store.rotation.apply(t).data.tobytes() for t in templates]
    wrapped = store.db.read("SELECT wrapped_key FROM person")[0][0]
    secrets = [*(t.data.tobytes() for t in templates), *rotated, store.sealer.unwrap(wrapped, "person", person)]
    secrets += [row.tobytes() for row in np.frombuffer(store.rotation.to_bytes()[24:], ">i4").reshape(64, 64)]
    store.db.checkpoint()
    files = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert len(secrets) == 105
    for secret in secrets:
        assert not any(secret[i : i + 16] in files for i in range(0, len(secret) - 15, 8))


def test_a_store_is_made_once(folder, store, template, enroll):  # noqa: ARG001
    """A second one in the same folder is refused."""
    folder.close()
    with pytest.raises(StoreExistsError):
        folder.create()
    assert folder.open().gate_id == store.gate_id


def test_a_folder_without_a_store_is_told(folder):
    """Its own error."""
    with pytest.raises(StoreMissingError):
        folder.open()


def test_two_processes_cannot_have_it(folder, store):  # noqa: ARG001
    """The second one is told who has it; the first goes on."""
    with pytest.raises(GateInUseError):
        folder.open()


def test_a_missing_key_is_told(folder, store):  # noqa: ARG001
    """And the store is not left locked."""
    folder.close()
    secret = folder.key.load()
    folder.key.remove()
    with pytest.raises(SealKeyMissingError):
        folder.open()
    folder.key.save(secret)
    folder.open()


def test_a_wrong_key_is_told(folder, store, template, enroll):
    """Before anything else is opened; the right one still opens it."""
    enroll(store, "anna", template())
    folder.close()
    other = FileKey(folder.path / "other.key")
    other.save(new_secret())
    with pytest.raises(SealKeyError) as caught:
        folder.open(key=other)
    assert caught.value.hint
    assert len(folder.open().index) == 1


def test_no_key_no_store(folder):
    """Nothing is made if there is nothing to seal with."""
    folder.key.remove()
    with pytest.raises(SealKeyMissingError):
        folder.create()
    assert not (folder.path / FILE).exists()


def test_a_store_that_was_never_finished_is_told(folder, store):  # noqa: ARG001
    """The power went while it was made."""
    folder.close()
    with contextlib.closing(sqlite3.connect(folder.path / FILE)) as outsider:
        outsider.execute("DELETE FROM state")
        outsider.commit()
    with pytest.raises(StoreCorruptError, match="never finished"):
        folder.open()


def test_a_store_in_memory_leaves_nothing(template, enroll, found, clock):
    """For demonstrations: everything works, nothing is written, there is no key to rotate."""
    with Store.memory("door-1", "test-space", 64, clock=clock) as store:
        anna = template()
        enroll(store, "anna", anna)
        assert found(store, anna) == ["anna"]
        with store.db.transaction() as tx:
            store.erase_person(tx, 1)
        assert found(store, anna) == []
        with pytest.raises(StoreError, match="memory"):
            store.rotate_key(FileKey("never-made"))


def test_closing_wipes(store, template, enroll):
    """The gallery and the rotation; closing twice is no error."""
    enroll(store, "anna", template())
    rows, matrix = store.index._gallery._memory.rows, store.rotation._matrix
    assert rows.any()
    assert matrix.any()
    store.close()
    store.close()
    assert not rows.any()
    assert not matrix.any()


# ---------------------------------------------------------------- people


def test_a_person_is_a_reference_and_dates(store, template, enroll, clock):
    """Nothing else is kept in the clear."""
    person = enroll(store, "anna", template(), minor=True)
    now = int(clock.now().timestamp() * 1000)
    row = store.person("anna")
    assert (row.id, row.reference, row.enrolled, row.used) == (person, "anna", now, now)
    assert (row.minor, row.restricted, row.objection, row.lapsed) == (True, False, False, False)
    assert store.person_by_id(person) == row
    assert store.person("ben") is None
    assert store.person_by_id(99) is None
    assert [(face, added) for face, added, _ in store.faces(person)] == [(1, now)]


def test_a_reference_is_of_one_person(store, template, enroll):
    """A second one is a conflict, and nothing of it stays."""
    enroll(store, "anna", template())
    with pytest.raises(StoreConflictError):
        enroll(store, "anna", template())
    assert len(store.index) == 1
    assert len(store.faces(1)) == 1


def test_the_gallery_changes_with_the_commit_only(store, template, found):
    """What was rolled back can never match, and what is not committed not yet."""
    anna = template()
    rotated = store.rotation.apply(anna)
    with pytest.raises(ZeroDivisionError), store.db.transaction() as tx:  # noqa: PT012
        store.add_faces(tx, store.add_person(tx, "anna"), [rotated])
        assert found(store, anna) == []
        _ = 1 / 0
    assert found(store, anna) == []
    with store.db.transaction() as tx:
        store.add_faces(tx, store.add_person(tx, "anna"), [rotated])
        assert found(store, anna) == []
    assert found(store, anna) == ["anna"]
    with pytest.raises(ZeroDivisionError), store.db.transaction() as tx:  # noqa: PT012
        store.erase_person(tx, 1)
        _ = 1 / 0
    assert found(store, anna) == ["anna"]


def test_only_rotated_templates_are_kept(store, template):
    """One as the recognizer made it, or of another gate, is refused before anything is sealed."""
    anna = template()
    elsewhere = Store.memory("door-2", "test-space", 64)
    with store.db.transaction() as tx:
        person = store.add_person(tx, "anna")
        for wrong in (anna, elsewhere.rotation.apply(anna)):
            with pytest.raises(TemplateSpaceError):
                store.add_faces(tx, person, [store.rotation.apply(anna), wrong])
    assert store.faces(person) == []


def test_faces_of_nobody_are_refused(store, template):
    """A person or list that was erased before."""
    with store.db.transaction() as tx:
        for add in (store.add_faces, store.add_list_faces):
            with pytest.raises(StoreError):
                add(tx, 99, [store.rotation.apply(template())])
        assert store.add_faces(tx, store.add_person(tx, "anna"), []) == []


def test_a_face_can_be_removed(folder, store, template, enroll):
    """The others of the person stay."""
    one, other = template(), template()
    person = enroll(store, "anna", one, other)
    with store.db.transaction() as tx:
        store.remove_face(tx, 1)
    for opened in folder.twice(store):
        assert opened.index.faces(person) == (2,)
        assert opened.index.best(opened.rotation.apply(one))[0].similarity < 0.7
        assert opened.index.best(opened.rotation.apply(other))[0].similarity == 1.0


def test_a_person_can_be_erased(folder, store, template, enroll, found):
    """Key, faces, consents, memberships and lock-out; others stay; the reference is free again, the row id is not."""
    anna, ben = template(), template()
    person = enroll(store, "anna", anna, template(anna))
    other = enroll(store, "ben", ben)
    with store.db.transaction() as tx:
        group = store.add_group(tx, "staff")
        for member in (person, other):
            store.join(tx, member, group)
        tx.insert(
            "consent",
            person=person,
            purpose="p",
            legal_basis="l",
            text_version="1",
            text_sha256="0",
            given=1,
            taken_by="x",
        )
        tx.execute("INSERT INTO lockout VALUES ('anna', 3, 'boot', 1.0)")
    with store.db.transaction() as tx:
        store.erase_person(tx, person)
    for opened in folder.twice(store):
        assert opened.person("anna") is None
        assert found(opened, anna) == ["ben"]
        assert [member.reference for member in opened.members(group)] == ["ben"]
        for table in ("face", "membership"):
            assert opened.db.read(f"SELECT DISTINCT person FROM {table}") == [(other,)]  # noqa: S608
        for table in ("consent", "lockout"):
            assert opened.db.read(f"SELECT * FROM {table}") == []  # noqa: S608
        again = opened
    assert enroll(again, "anna", anna) > other
    with pytest.raises(StoreError, match="no such person"), again.db.transaction() as tx:
        again.erase_person(tx, person)


def test_nothing_of_an_erased_person_is_in_any_file(folder, store, template, enroll):
    """Neither the sealed templates nor the wrapped key, not even a part of them."""
    people = [enroll(store, f"p{i}", template(), template()) for i in range(60)]
    gone = people[::3]
    sealed = [row[0] for p in gone for row in store.db.read("SELECT sealed FROM face WHERE person = ?", p)]
    sealed += [store.db.read("SELECT wrapped_key FROM person WHERE id = ?", p)[0][0] for p in gone]
    chunks = [value[i : i + 16] for value in sealed for i in range(0, len(value) - 15, 16)]
    store.db.checkpoint()
    files = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert all(chunk in files for chunk in chunks)
    for person in gone:
        with store.db.transaction() as tx:
            store.erase_person(tx, person)
    files = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert not any(chunk in files for chunk in chunks)


def test_a_lapsed_person_is_remembered_and_nothing_else(folder, store, template, enroll, found):
    """Faces and key are gone; with a new consent the same person has a new key."""
    anna = template()
    person = enroll(store, "anna", anna)
    before = store.db.read("SELECT wrapped_key FROM person")[0][0]
    with store.db.transaction() as tx:
        store.lapse_person(tx, person)
    for opened in folder.twice(store):
        assert opened.person("anna").lapsed
        assert opened.faces(person) == []
        assert found(opened, anna) == []
        again = opened
    with again.db.transaction() as tx:
        again.add_faces(tx, person, [again.rotation.apply(anna)])
    assert not again.person("anna").lapsed
    assert found(folder.reopen(), anna) == ["anna"]
    assert folder.stores[-1].db.read("SELECT wrapped_key FROM person")[0][0] not in (before, b"")


def test_people_can_be_looked_at_while_they_change(store):
    """Everybody once, by reference, page by page."""
    with store.db.transaction() as tx:
        for i in range(2500):
            store.add_person(tx, f"p{i:05d}")
    seen = []
    for person in store.people():
        seen.append(person.reference)
        if person.id % 500 == 0:
            with store.db.transaction() as tx:
                store.erase_person(tx, person.id)
    assert seen == [f"p{i:05d}" for i in range(2500)]


def test_a_persons_templates_can_be_exported(store, template, enroll):
    """As they are kept, rotated: of use in this gate only."""
    templates = [template(), template()]
    person = enroll(store, "anna", *templates)
    exported = list(store.templates_of(person))
    assert [t.space for t in exported] == [store.space] * 2
    assert all((t.data == store.rotation.apply(u).data).all() for t, u in zip(exported, templates, strict=True))
    with pytest.raises(StoreError):
        list(store.templates_of(99))


# ---------------------------------------------------------------- groups and lists


def test_groups_are_free(folder, store, template, enroll, found):
    """A person is in any number of them, joins and leaves as often as wanted."""
    anna = template()
    person = enroll(store, "anna", anna)
    with store.db.transaction() as tx:
        staff, night = store.add_group(tx, "staff"), store.add_group(tx, "night")
        for group in (staff, night, staff):
            store.join(tx, person, group)
    assert [group.name for group in store.groups_of(person)] == ["night", "staff"]
    with store.db.transaction() as tx:
        store.leave(tx, person, staff)
        store.leave(tx, person, staff)
    for opened in folder.twice(store):
        assert [group.name for group in opened.groups_of(person)] == ["night"]
        assert found(opened, anna, groups=[staff]) == []
        assert found(opened, anna, groups=[staff, night]) == ["anna"]
        again = opened
    with again.db.transaction() as tx:
        again.remove_group(tx, night)
    assert again.group("night") is None
    assert [group.name for group in again.groups()] == ["staff"]
    assert again.person("anna") is not None
    assert found(again, anna, groups=[night]) == []
    with pytest.raises(StoreConflictError), again.db.transaction() as tx:
        again.add_group(tx, "staff")


def test_lists_hold_faces_of_nobody(folder, store, template, enroll, found):
    """They are searched apart from people, and go with all their faces."""
    anna, listed = template(), template()
    enroll(store, "anna", anna)
    with store.db.transaction() as tx:
        names = store.add_list(tx, "banned")
        faces = store.add_list_faces(tx, names, [store.rotation.apply(t) for t in (listed, template())])
    for opened in folder.twice(store):
        assert [row.name for row in opened.face_lists()] == ["banned"]
        assert [row[0] for row in opened.list_faces(names)] == faces
        assert opened.index.similar(opened.rotation.apply(listed), names)[0].face == faces[0]
        assert found(opened, listed, k=5) == ["anna"]
        again = opened
    with pytest.raises(StoreConflictError), again.db.transaction() as tx:
        again.add_list(tx, "banned")
    with again.db.transaction() as tx:
        again.remove_face(tx, faces[0])
    assert len(again.index.similar(again.rotation.apply(listed), names, k=5)) == 1
    with again.db.transaction() as tx:
        again.remove_list(tx, names)
    assert again.face_list("banned") is None
    assert again.index.similar(again.rotation.apply(listed), names) == ()
    assert folder.reopen().db.read("SELECT count(*) FROM face") == [(1,)]


# ---------------------------------------------------------------- what somebody else did


def outside(folder, *statements):
    """Somebody who has the file, and SQLite, but no key."""
    folder.close()
    with contextlib.closing(sqlite3.connect(folder.path / FILE)) as outsider:
        for statement in statements:
            outsider.execute(*statement)
        outsider.commit()


def test_every_flipped_byte_of_a_sealed_row_is_noticed(folder, store, template, enroll):
    """Of faces and wrapped keys: the gate does not open with any of them."""
    enroll(store, "anna", template())
    face = store.db.read("SELECT sealed FROM face")[0][0]
    key = store.db.read("SELECT wrapped_key FROM person")[0][0]
    for table, column, value in (("face", "sealed", face), ("person", "wrapped_key", key)):
        for i in range(0, len(value), 7):
            flipped = value[:i] + bytes([value[i] ^ 1]) + value[i + 1 :]
            outside(folder, (f"UPDATE {table} SET {column} = ?", (flipped,)))  # noqa: S608
            with pytest.raises(StoreTamperedError):
                folder.open()
        outside(folder, (f"UPDATE {table} SET {column} = ?", (value,)))  # noqa: S608
    assert len(folder.open().index) == 1


SWAPS = [
    "UPDATE face SET person = 3 - person",
    "UPDATE face SET sealed = (SELECT sealed FROM face AS f WHERE f.id = 3 - face.id)",
    "UPDATE person SET wrapped_key = (SELECT wrapped_key FROM person AS p WHERE p.id = 3 - person.id)",
]


@pytest.mark.parametrize("swap", SWAPS)
def test_rows_exchanged_between_people_are_noticed(folder, store, template, enroll, swap):
    """Faces, their owners or keys: by the tally."""
    enroll(store, "anna", template())
    enroll(store, "ben", template())
    outside(folder, (swap,))
    with pytest.raises(StoreTamperedError):
        folder.open()


@pytest.mark.parametrize("swap", SWAPS)
def test_rows_exchanged_between_people_do_not_open(folder, store, template, enroll, swap):
    """Not even if the tally were right: the seals name the person and the row."""
    enroll(store, "anna", template())
    enroll(store, "ben", template())
    with store.db.transaction() as tx:
        tx._connection.execute(swap)
        store.db.protect(store.sealer.tally, new=True)
        tx.delta = 0
    with pytest.raises(SealError) as caught:
        folder.reopen()
    assert caught.value.hint
    with pytest.raises(SealError):  # and the file is not left locked
        folder.open()


def test_an_old_copy_of_a_persons_rows_is_noticed(folder, store, template, enroll):
    """A person who was erased does not come back by putting their old rows back."""
    enroll(store, "anna", template())
    folder.close()
    with contextlib.closing(sqlite3.connect(folder.path / FILE)) as outsider:
        person = outsider.execute("SELECT * FROM person").fetchall()
        face = outsider.execute("SELECT * FROM face").fetchall()
    opened = folder.open()
    with opened.db.transaction() as tx:
        opened.erase_person(tx, 1)
    outside(
        folder,
        ("INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", person[0]),
        ("INSERT INTO face VALUES (?, ?, ?, ?, ?, ?)", face[0]),
    )
    with pytest.raises(StoreTamperedError):
        folder.open()


# ---------------------------------------------------------------- other template spaces


@pytest.mark.parametrize("number", ["-10", "0", "'x'", "1 << 62", "NULL", "gone"])
def test_row_numbers_that_were_changed_are_noticed(folder, store, template, enroll, number):
    """SQLite keeps the next number in a table of its own, which no tally counts: a negative person would be a list."""
    enroll(store, "alice", template())
    store.close()
    connection = sqlite3.connect(folder.path / FILE)
    if number == "gone":
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'person'")
    else:
        connection.execute(f"UPDATE sqlite_sequence SET seq = {number} WHERE name = 'person'")  # noqa: S608
    connection.commit()
    connection.close()
    opened = folder.open()
    with pytest.raises(StoreTamperedError), opened.db.transaction() as tx:
        opened.add_person(tx, "bob")
    assert [person.reference for person in opened.people()] == ["alice"]


def test_faces_of_an_older_space_are_never_compared_and_are_listed(folder, store, template, enroll, found):
    """After the bundle changed; when the old one comes back, so do they."""
    anna, ben = template(), template(space="newer-space")
    enroll(store, "anna", anna)
    with store.db.transaction() as tx:
        store.add_list_faces(tx, store.add_list(tx, "banned"), [store.rotation.apply(template())])
    before = store.space
    newer = folder.reopen(space="newer-space")
    assert len(newer.index) == 0
    assert [(face.reference, face.face_list, face.space) for face in newer.outdated()] == [
        ("anna", None, before),
        (None, "banned", before),
    ]
    with pytest.raises(TemplateSpaceError):
        newer.index.best(Template(anna.data, before))
    enroll(newer, "ben", ben)
    assert found(newer, ben) == ["ben"]
    older = folder.reopen()
    assert found(older, anna) == ["anna"]
    assert [face.reference for face in older.outdated()] == ["ben"]


def test_templates_of_another_length_have_a_rotation_of_their_own(folder, store, template, enroll, found):
    """Which stays when the bundle changes forth and back."""
    anna, ben = template(), template(length=96, space="wide")
    enroll(store, "anna", anna)
    wide = folder.reopen(space="wide", length=96)
    enroll(wide, "ben", ben)
    assert found(wide, ben) == ["ben"]
    back = folder.reopen()
    assert found(back, anna) == ["anna"]
    assert found(folder.reopen(space="wide", length=96), ben) == ["ben"]


# ---------------------------------------------------------------- another rotation


def test_a_renewed_rotation_finds_whom_the_old_one_found(folder, store, template, enroll):
    """Similarities stay to the rounding; old and new templates of one face are strangers; old probes are refused."""
    anna = template()
    person = enroll(store, "anna", anna, template(anna))
    with store.db.transaction() as tx:
        names = store.add_list(tx, "banned")
        store.add_list_faces(tx, names, [store.rotation.apply(template())])
    old = store.rotation.apply(anna)
    before = store.index.best(old)[0].similarity
    logged = []
    store.renew_rotation(log=lambda tx: logged.append(tx.open))
    assert logged == [True]
    for opened in folder.twice(store):
        new = opened.rotation.apply(anna)
        assert new.space != old.space
        assert opened.index.best(new)[0].similarity == pytest.approx(before, abs=0.02)
        assert opened.index.faces(person) == (1, 2)
        with pytest.raises(TemplateSpaceError):
            opened.index.best(old)
        cosine = new.data @ old.data.astype(float) / (np.linalg.norm(new.data) * np.linalg.norm(old.data.astype(float)))
        assert abs(cosine) < 0.6
        assert opened.outdated() == []


def test_nothing_sealed_before_a_renewal_is_left_in_the_file(folder, store, template, enroll):
    """A copy that was stolen before does not help with what is there after."""
    for i in range(30):
        enroll(store, f"p{i}", template())
    sealed = [row[0] for row in store.db.read("SELECT sealed FROM face")]
    rotation = store.db.read("SELECT sealed FROM rotation")[0][0]
    store.renew_rotation()
    files = b"".join(path.read_bytes() for path in folder.path.iterdir())
    for value in (*sealed, rotation):
        assert not any(value[i : i + 16] in files for i in range(0, min(len(value), 4096) - 15, 16))


def test_a_renewal_that_fails_changes_nothing(folder, store, template, enroll, found):
    """Rows, gallery and rotation stay as they were."""
    anna = template()
    enroll(store, "anna", anna)
    space = store.space

    def fail(tx):  # noqa: ARG001
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.renew_rotation(log=fail)
    for opened in folder.twice(store):
        assert opened.space == space
        assert found(opened, anna) == ["anna"]


def test_a_renewal_destroys_faces_of_older_spaces(folder, store, template, enroll):
    """Their rotation is gone: they could never be compared again."""
    enroll(store, "anna", template())
    newer = folder.reopen(space="newer-space")
    enroll(newer, "ben", template(space="newer-space"))
    newer.renew_rotation()
    assert newer.outdated() == []
    assert newer.db.read("SELECT count(*) FROM face") == [(1,)]
    folder.reopen()


# ---------------------------------------------------------------- another key


def test_a_key_is_rotated_without_touching_templates(folder, store, template, enroll, found):
    """Every wrapped key is another one, every sealed face the same; the old secret opens nothing any more."""
    anna = template()
    enroll(store, "anna", anna)
    with store.db.transaction() as tx:
        store.add_list_faces(tx, store.add_list(tx, "banned"), [store.rotation.apply(template())])
        store.lapse_person(tx, store.add_person(tx, "carl"))
    old = FileKey(folder.path / "kept.key")
    old.save(folder.key.load())
    sql = "SELECT wrapped_key FROM person WHERE wrapped_key <> x'' UNION ALL SELECT wrapped_key FROM face_list"
    faces, keys = store.db.read("SELECT id, sealed FROM face"), store.db.read(sql)
    logged = []
    store.rotate_key(folder.key, log=lambda tx: logged.append(tx.open))
    assert logged == [True]
    assert store.db.read("SELECT id, sealed FROM face") == faces
    assert not set(store.db.read(sql)) & set(keys)
    enroll(store, "ben", template())
    assert found(folder.reopen(), anna, k=1) == ["anna"]
    files = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert not any(key[i : i + 16] in files for (key,) in keys for i in (0, 16, 32))
    folder.close()
    with pytest.raises(SealKeyError):
        folder.open(key=old)


def test_a_key_moves_to_another_provider(folder, store, template, enroll, found):
    """The old one is destroyed when the new name has been noted."""
    anna = template()
    enroll(store, "anna", anna)
    other = FileKey(folder.path / "other.key", name="file:other.key")
    store.rotate_key(other)
    assert store.key_name == "file:other.key"
    assert folder.key.exists()
    store.settle_key()
    assert not folder.key.exists()
    assert found(folder.reopen(key=other), anna) == ["anna"]
    assert sorted(path.name for path in folder.path.iterdir() if "key" in path.name) == ["other.key"]


def test_a_new_key_that_is_the_old_one_is_refused(folder, store, monkeypatch, tmp_path):
    """A rotation that rotates nothing."""
    from facegate._store._key_providers import CredentialKey  # noqa: PLC0415

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "same").write_bytes(bytes(folder.key.load()))
    with pytest.raises(SealKeyError, match="old one"):
        store.rotate_key(CredentialKey("same"))
    assert store.key_name == "file:seal.key"
    folder.reopen()


def test_a_key_is_never_rotated_onto_another_one(folder, store):
    """A file that is there already may be another gate's."""
    other = FileKey(folder.path / "other.key", name="file:other.key")
    other.save(new_secret())
    secret = other.load()
    with pytest.raises(StoreExistsError):
        store.rotate_key(other)
    assert other.load() == secret
    folder.reopen()
    assert other.load() == secret


def test_a_rotation_of_the_key_that_fails_changes_nothing(folder, store, template, enroll, found):
    """And leaves no second secret behind."""
    anna = template()
    enroll(store, "anna", anna)

    def fail(tx):  # noqa: ARG001
        raise RuntimeError

    for provider in (folder.key, FileKey(folder.path / "other.key", name="file:other.key")):
        with pytest.raises(RuntimeError):
            store.rotate_key(provider, log=fail)
        assert sorted(path.name for path in folder.path.iterdir() if "seal" in path.name or "key" in path.name) == [
            "seal.key"
        ]
    assert found(folder.reopen(), anna) == ["anna"]
    folder.stores[-1].rotate_key(folder.key)
    assert found(folder.reopen(), anna) == ["anna"]


class PowerLossError(BaseException):
    """The process ends here: nothing after it runs."""


MOMENTS = ["prepared", "committed", "promoted", "noted"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_rotation_of_the_key_survives_a_power_loss(
    folder, store, template, enroll, found, monkeypatch, moment, elsewhere
):
    """At every moment one secret fits, is found, and the other one is destroyed in the end."""
    from facegate._store import _store as module  # noqa: PLC0415

    def power_loss(*_, **__):
        raise PowerLossError

    anna = template()
    enroll(store, "anna", anna)
    new = FileKey(folder.path / "other.key", name="file:other.key") if elsewhere else folder.key
    name = "file:other.key" if elsewhere else "file:seal.key"
    with monkeypatch.context() as patch:
        patch.setattr(KeyRotation, "abandon", power_loss)  # what a dead process does not do
        if moment == "prepared":
            patch.setattr(module, "rewrap", power_loss)
        elif moment == "committed":
            patch.setattr(KeyRotation, "promote", power_loss)
        with contextlib.suppress(PowerLossError):
            store.rotate_key(new)
    rotated = moment != "prepared"
    known = new if moment == "noted" else folder.key  # what the gate's folder says
    opened = folder.reopen(key=known)
    assert found(opened, anna) == ["anna"]
    assert opened.key_name == (name if rotated else "file:seal.key")
    opened.settle_key()
    left = "other.key" if rotated and elsewhere else "seal.key"
    assert sorted(p.name for p in folder.path.iterdir() if "key" in p.name or "seal" in p.name) == [left]
    last = FileKey(folder.path / left, name=f"file:{left}")
    assert found(folder.reopen(key=last), anna) == ["anna"]


@pytest.mark.parametrize(
    "note", ["pipe", b"", b"file:seal.key\n", b"\xff\xfe", b"file:seal.key\nnothing\n", b"x" * 10**5]
)
def test_a_note_of_a_rotation_that_is_none_is_passed_over(folder, store, template, enroll, found, note):
    """Cut short, made up, or a pipe that nobody writes to: the gate opens with the key that fits."""
    anna = template()
    enroll(store, "anna", anna)
    store.close()
    path = folder.path / "seal.next"
    os.mkfifo(path) if note == "pipe" else path.write_bytes(note)
    assert found(folder.open(), anna) == ["anna"]
    assert not path.exists()


# ---------------------------------------------------------------- what a power loss left behind


@pytest.mark.parametrize("operation", ["rotate_key", "renew_rotation"])
def test_what_changes_every_row_writes_the_file_anew(folder, store, template, enroll, monkeypatch, operation):
    """SQLite leaves copies of rows that it moved; so many are erased here that the file is not searched for them."""
    enroll(store, "anna", template())
    cleaned, clean = [], Database.clean
    monkeypatch.setattr(Database, "clean", lambda db, pieces=None: cleaned.append(pieces) or clean(db, pieces))
    if operation == "rotate_key":
        store.rotate_key(folder.key)
    else:
        store.renew_rotation()
    assert cleaned == [None]
    assert store.db.read("SELECT * FROM setting") == []


def test_an_erasure_is_finished_by_the_next_opening(folder, store, template, enroll, monkeypatch):
    """The power went after the commit, before the file was cleaned: what was erased is in it until then."""
    people = [enroll(store, f"p{i}", template()) for i in range(50)]
    store.db.checkpoint()
    sealed = store.db.read("SELECT sealed FROM face WHERE person = ?", people[20])[0][0]
    with monkeypatch.context() as patch:
        patch.setattr(Database, "clean", lambda *_: False)
        patch.setattr(Database, "close", lambda *_: None)
        with store.db.transaction() as tx:
            store.erase_person(tx, people[20])
        files = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert any(sealed in content for content in files.values())
    folder.close()
    for name, content in files.items():  # as the disk was then
        (folder.path / name).write_bytes(content)
    opened = folder.open()
    assert opened.person("p20") is None
    assert opened.db.read("SELECT * FROM setting") == []  # the note that something was left to do
    content = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert not any(sealed[i : i + 16] in content for i in range(0, len(sealed) - 15, 16))


def test_an_erasure_that_a_reader_held_up_is_finished_when_the_reader_is_gone(folder, store, template, enroll):
    """Another process that reads keeps what was erased in the log: not until the next opening, which may be far."""
    people = [enroll(store, f"p{i}", template()) for i in range(50)]
    store.db.checkpoint()
    sealed = store.db.read("SELECT sealed FROM face WHERE person = ?", people[20])[0][0]
    store.db._connection.execute("PRAGMA busy_timeout=0")

    def left():
        content = b"".join(path.read_bytes() for path in folder.path.iterdir())
        return any(sealed[i : i + 16] in content for i in range(0, len(sealed) - 15, 16))

    with contextlib.closing(Database.open(folder.path / FILE, read_only=True)) as look:
        rows = look.iterate("SELECT * FROM person")
        next(rows)
        with store.db.transaction() as tx:
            store.erase_person(tx, people[20])
        assert left()
        rows.close()
        with store.db.transaction() as tx:
            tx.insert("report", number="1", kind="a", time=1, content="{}")
        assert not left()
    assert store.db.read("SELECT * FROM setting") == []


# ---------------------------------------------------------------- interrupts


class Interrupts:
    """A connection in whose COMMIT somebody presses Ctrl-C: Python raises it as soon as SQLite has returned."""

    def __init__(self, connection, statement="COMMIT") -> None:
        self._connection, self._statement = connection, statement

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *arguments):
        """Run it, and be interrupted, once."""
        result = self._connection.execute(sql, *arguments)
        if sql == self._statement:
            self._statement = None
            raise KeyboardInterrupt
        return result


def test_a_commit_that_was_interrupted_has_been(folder, store, template, enroll, found):
    """What the disk has the memory has as well: what is written after it is not taken for tampering."""
    anna, bert = template(), template()
    enroll(store, "anna", anna)
    store.db._connection = Interrupts(store.db._connection)
    with pytest.raises(KeyboardInterrupt):
        enroll(store, "bert", bert)
    assert found(store, bert, k=1) == ["bert"]
    enroll(store, "carl", template())
    assert [person.reference for person in folder.reopen().people()] == ["anna", "bert", "carl"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_interrupted_commit_of_a_new_key_loses_nobody(folder, store, template, enroll, found, elsewhere):
    """The new secret opens everything from then on, and must not be thrown away as if nothing had happened."""
    anna = template()
    enroll(store, "anna", anna)
    new = FileKey(folder.path / "other.key", name="file:other.key") if elsewhere else folder.key
    store.db._connection = Interrupts(store.db._connection)
    with pytest.raises(KeyboardInterrupt):
        store.rotate_key(new)
    assert store.key_name == new.name
    store.settle_key()
    enroll(store, "bert", template())
    assert found(folder.reopen(key=new), anna, k=1) == ["anna"]


def test_an_interrupt_after_the_commit_of_a_new_key_loses_nobody(folder, store, template, enroll, found, monkeypatch):
    """Before the new secret is in its place: who is enrolled then is enrolled with it, no second one replaces it."""
    anna, bert = template(), template()
    enroll(store, "anna", anna)

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeyRotation, "promote", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.rotate_key(folder.key)
    enroll(store, "bert", bert)
    with pytest.raises(StoreError, match="not settled"):
        store.rotate_key(folder.key)
    opened = folder.reopen()
    assert (found(opened, anna, k=1), found(opened, bert, k=1)) == (["anna"], ["bert"])
    opened.rotate_key(folder.key)


def test_an_interrupted_erasure_is_cleaned_with_the_next(folder, store, template, enroll, monkeypatch):
    """The next one searches for what it erased itself: the earlier must not be forgotten over it."""
    people = [enroll(store, f"p{i}", template()) for i in range(50)]
    store.db.checkpoint()
    sealed = store.db.read("SELECT sealed FROM face WHERE person = ?", people[20])[0][0]
    store.db._connection = Interrupts(store.db._connection)
    with pytest.raises(KeyboardInterrupt), store.db.transaction() as tx:
        store.erase_person(tx, people[20])
    assert store.person("p20") is None
    cleaned, clean = [], Database.clean
    monkeypatch.setattr(Database, "clean", lambda db, pieces=None: cleaned.append(pieces) or clean(db, pieces))
    with store.db.transaction() as tx:
        store.erase_person(tx, people[30])
    assert cleaned == [None]  # what the first had erased is not known any more: the file is written anew
    content = b"".join(path.read_bytes() for path in folder.path.iterdir())
    assert not any(sealed[i : i + 16] in content for i in range(0, len(sealed) - 15, 16))


def test_an_interrupt_before_anything_was_written_leaves_no_open_transaction(folder, store, template, enroll):
    """SQLite has begun, and nobody knows of it: the next transaction does not fail over it."""
    store.db._connection = Interrupts(store.db._connection, "BEGIN IMMEDIATE")
    with pytest.raises(KeyboardInterrupt):
        enroll(store, "anna", template())
    enroll(store, "bert", template())
    assert [person.reference for person in folder.reopen().people()] == ["bert"]
