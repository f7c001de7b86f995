"""What is erased is gone from the raw files: SQLite's own secure_delete alone leaves copies behind."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facegate._restore import restore_backup
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import FILE, Store
from facegate._store._transaction import CLEANING
from facegate_edge._values import Template

from .crash import load, world

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = 128
CHUNK = 16  # bytes; fewer of a key or a ciphertext are of no use to anybody


class House:
    """A store on disk, and what anybody could have copied out of it while people were in it."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.rng = folder, random.Random(seed)  # noqa: S311
        key = FileKey(folder / "seal.key")
        key.save(new_secret())
        self.store = Store.create(folder, device="door-1", space="test-space", length=LENGTH, key=key)
        self.people: dict[int, list[bytes]] = {}
        self.erased: list[bytes] = []

    def secrets_of(self, person: int) -> list[bytes]:
        """A person's wrapped key, sealed templates, and the templates: as they are kept in memory."""
        read = self.store.db.read
        return [
            *(row[0] for row in read("SELECT wrapped_key FROM person WHERE id = ?", person)),
            *(row[0] for row in read("SELECT sealed FROM face WHERE person = ?", person)),
            *(template.data.tobytes() for template in self.store.templates_of(person)),
        ]

    def enroll(self, faces: int = 3) -> int:
        """A new person; returns the row id."""
        number = len(self.people) + len(self.erased)
        plain = [
            Template(np.frombuffer(self.rng.randbytes(LENGTH), np.int8).clip(-127, 127), "test-space")
            for _ in range(faces)
        ]
        with self.store.db.transaction() as tx:
            person = self.store.add_person(tx, f"person-{number}-{self.rng.getrandbits(64):x}")
            self.store.add_faces(tx, person, [self.store.rotation.apply(t) for t in plain])
        self.people[person] = [*self.secrets_of(person), *(t.data.tobytes() for t in plain)]
        return person

    def erase(self, person: int) -> None:
        """Erase a person."""
        with self.store.db.transaction() as tx:
            self.store.erase_person(tx, person)
        self.erased += self.people.pop(person)

    def live(self, steps: int) -> None:
        """People come and go, and are touched, as in a gate's life."""
        for _ in range(steps):
            chance = self.rng.random()
            if chance < 0.5 or not self.people:
                self.enroll(self.rng.randint(1, 4))
            elif chance < 0.9:
                self.erase(self.rng.choice(list(self.people)))
            else:
                with self.store.db.transaction() as tx:
                    # A number that takes more bytes than before: rows move to other pages.
                    tx.update("person", self.rng.choice(list(self.people)), used=self.rng.choice((0, 1 << 40)))

    def remains(self) -> list[bytes]:
        """What of the erased is found in the folder's files, whole or in a part that would be of use."""
        raw = b"\0".join(path.read_bytes() for path in sorted(self.folder.iterdir()) if path.name != "seal.key")
        chunks = [s[i : i + CHUNK] for s in self.erased for i in range(0, len(s) - CHUNK + 1, CHUNK)]
        return [chunk for chunk in chunks if chunk in raw]


@pytest.fixture
def house(tmp_path):
    """A store on disk."""
    made = House(tmp_path)
    yield made
    made.store.close()


def test_the_scan_would_find_what_is_there(house):
    """Of somebody who is enrolled, the wrapped key and the sealed templates are in the files, the template is not."""
    person = house.enroll(1)
    house.erased = house.people[person]
    wrapped, sealed, rotated, plain = house.erased
    found = b"".join(house.remains())
    assert wrapped[:48] in found
    assert sealed[:CHUNK] in found
    assert rotated[:CHUNK] not in found
    assert plain[:CHUNK] not in found


def test_nobody_who_was_erased_is_found_in_the_raw_files(house):
    """After each erasure no 16 bytes of key or template, plain, rotated or sealed, are in the database or its log."""
    for _ in range(15):
        house.enroll(3)
    while house.people:
        house.erase(house.rng.choice(list(house.people)))
        assert house.remains() == []
    assert {path.name for path in house.folder.iterdir()} >= {FILE, FILE + "-wal", "seal.key"}


@pytest.mark.parametrize("seed", [21, 33])  # with these, secure_delete alone leaves copies
def test_pages_that_were_balanced_keep_no_copies(tmp_path, seed):
    """Rows move between pages as people come and go; the copies that SQLite leaves behind are found and removed."""
    house = House(tmp_path, seed)
    house.store.db._connection.execute(
        "PRAGMA synchronous = OFF"
    )  # for the test's speed; kill and power loss have their own
    house.live(800)
    assert len(house.erased) > 2000
    assert house.remains() == []
    house.store.close()


def test_what_only_the_power_kept_from_being_cleaned_is_cleaned_at_the_next_start(house, monkeypatch):
    """The erasure is committed, and the process ends before the file is searched: opening the store does it."""
    for _ in range(20):
        house.enroll(2)
    monkeypatch.setattr(house.store.db, "clean", lambda *_: False)
    house.erase(7)
    assert house.remains() != []  # the log still has it
    copy = house.folder / "after"
    copy.mkdir()
    for path in [path for path in house.folder.iterdir() if path.is_file()]:
        (copy / path.name).write_bytes(path.read_bytes())
        (copy / path.name).chmod(0o600)
    key = FileKey(copy / "seal.key")
    opened = Store.open(copy, space="test-space", length=LENGTH, key=key)
    house.folder = copy
    assert house.remains() == []
    assert opened.db.read("SELECT 1 FROM setting WHERE name = ?", CLEANING) == []
    opened.close()


@pytest.mark.parametrize("change", ["rotate_key", "renew_rotation"])
def test_new_keys_and_rotations_leave_nothing_of_the_old_ones(house, change):
    """What the old device key opened, and the templates before a renewal, are in no file."""
    house.live(200)
    before = [
        *(row[0] for row in house.store.db.read("SELECT wrapped_key FROM person")),
        *(row[0] for row in house.store.db.read("SELECT sealed FROM rotation")),
        *(row[0] for row in house.store.db.read("SELECT sealed FROM face") if change == "renew_rotation"),
    ]
    if change == "rotate_key":
        house.store.rotate_key(FileKey(house.folder / "seal.key"))
        house.store.settle_key()
    else:
        before = before[len(house.people) :]  # people's keys stay as they are
        house.store.renew_rotation()
    house.erased = before
    assert len(before) > 50
    assert house.remains() == []


def test_a_backup_made_afterwards_holds_nothing_of_the_erased(bundle_path, tmp_path):
    """Neither in its bytes, nor in the gate that is restored from it: no person, no key, no template."""
    gate, backup, restored = tmp_path / "gate", tmp_path / "backup", tmp_path / "restored"
    world.make_gate(gate, bundle_path)
    with world.opened(gate, world.credentials_of(gate)) as desk:
        for number, name in enumerate(("anna", "bert")):
            desk.enroller.enroll(name, [world.frame(number)], load.consent_now(desk))
        read = desk.core.store.db.read
        person = desk.core.store.person("anna").id
        secrets = [
            *(row[0] for row in read("SELECT wrapped_key FROM person WHERE id = ?", person)),
            *(row[0] for row in read("SELECT sealed FROM face WHERE person = ?", person)),
            *(t.data.tobytes() for t in desk.core.store.templates_of(person)),
            world.template(0).data.tobytes(),
        ]
        desk.officer.erase("anna", checked_by="passport-seen")
        desk.administrator.backup(backup, world.RECOVERY.public)
    with backup.open("rb") as stream:
        restore_backup(stream, restored, world.RECOVERY)
    raw = b"".join(path.read_bytes() for path in [backup, *restored.rglob("*")] if path.is_file())
    chunks = [secret[i : i + CHUNK] for secret in secrets for i in range(0, len(secret) - CHUNK + 1, CHUNK)]
    assert len(chunks) > 20
    assert [chunk for chunk in chunks if chunk in raw] == []
    with world.opened(restored, world.credentials_of(gate)) as desk:
        assert [person.reference for person in desk.enroller.people()] == ["bert"]
