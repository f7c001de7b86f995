"""What a gate keeps: people, lists and groups, their faces sealed on disk and ready for comparison in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facegate._clock import SystemClock
from facegate._store._database import Database
from facegate._store._index import Index
from facegate._store._key_providers import new_secret
from facegate._store._key_rotation import KeyRotation
from facegate._store._rotation import Rotation
from facegate._store._sealing import Sealer, new_owner_key
from facegate.errors import SealError, StoreCorruptError, StoreError, TemplateSpaceError
from facegate_edge._values import Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from facegate._clock import Clock
    from facegate._store._database import Transaction
    from facegate._store._key_providers import SealKey
    from facegate._store._sealing import Owner, OwnerKey

__all__ = ["FILE", "GroupRow", "ListRow", "PersonRow", "Store"]

FILE = "gate.db"
_BLOCK = 4096  # faces at a time: what is unsealed and not yet wiped stays small
_PERSON = "id, reference, enrolled, used, minor, restricted, objection, lapsed"


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person. Times are milliseconds since 1970 in UTC.

    Attributes:
        id: row id, never used again.
        reference: the operator's pseudonym.
        enrolled: since when.
        used: the last match, at most a day late.
        minor: enrolled with a guardian's consent.
        restricted: not to be decided about.
        objection: matches are for a person to review.
        lapsed: the consent has expired: no face is kept, only that the person was enrolled.
    """

    id: int
    reference: str
    enrolled: int
    used: int
    minor: bool
    restricted: bool
    objection: bool
    lapsed: bool


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of people; `made` in milliseconds since 1970 in UTC."""

    id: int
    name: str
    made: int


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list of faces without people; `made` in milliseconds since 1970 in UTC."""

    id: int
    name: str
    made: int


@dataclass(frozen=True, slots=True)
class OutdatedFace:
    """A face of another template space: it is never compared, the person must be enrolled again.

    Attributes:
        face: row id.
        reference: of the person, or None.
        face_list: name of the list, or None.
        space: of the template.
    """

    face: int
    reference: str | None
    face_list: str | None
    space: str


class Store:
    """A gate's store, opened. Use `create`, `open` or `memory`. Not thread safe: the gate's lock guards it.

    What changes the store takes an open transaction of `db`; the index in memory follows when it has been committed.
    """

    def __init__(self, db: Database, sealer: Sealer, clock: Clock) -> None:
        state = db.read("SELECT gate, device, space, template_length, rotation FROM state")[0]
        self.db = db
        self.sealer = sealer
        self.gate_id: str = state[0]
        self.device: str = state[1]
        self.base_space: str = state[2]
        self.length: int = state[3]
        self._clock = clock
        self.rotation = Rotation.from_bytes(sealer.unseal(state[4], "rotation"))
        if self.rotation.length != self.length:
            raise StoreCorruptError(
                "the store's rotation has another length than its templates", hint="restore a backup"
            )
        self.space = self.rotation.space(self.base_space)
        self.index = self._load(self.rotation)
        self.key_name = ""
        self._keys: KeyRotation | None = None

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str,
        space: str,
        length: int,
        key: SealKey,
        clock: Clock | None = None,
    ) -> Store:
        """Make a store in a folder.

        Args:
            folder: the gate's; it exists.
            device: the device's reference.
            space: id of the bundle's template space.
            length: of a template.
            key: the provider; it must have a secret already.
            clock: where the time comes from.

        Raises:
            SealKeyMissingError, SealKeyError: the provider has no secret.
            StoreExistsError, StoreWriteError, StoreFullError, GateInUseError: see `Database.create`.
        """
        secret = key.load()
        try:
            db = Database.create(Path(folder) / FILE)
            try:
                made = cls._fill(db, secret, device, space, length, clock or SystemClock())
            except BaseException:
                db.close()
                for suffix in ("", "-wal", "-shm"):
                    (Path(folder) / (FILE + suffix)).unlink(missing_ok=True)
                raise
        finally:
            secret[:] = bytes(len(secret))
        made.key_name = key.name
        made._keys = KeyRotation(Path(folder), key)
        return made

    @classmethod
    def memory(cls, device: str, space: str, length: int, *, clock: Clock | None = None) -> Store:
        """A store that is gone when it is closed, with a secret of its own."""
        return cls._fill(Database.memory(), new_secret(), device, space, length, clock or SystemClock())

    @classmethod
    def _fill(cls, db: Database, secret: bytearray, device: str, space: str, length: int, clock: Clock) -> Store:
        gate = os.urandom(16).hex()
        sealer = Sealer(secret, gate)
        rotation = Rotation.new(length)
        with db.transaction() as tx:
            tx.insert(
                "state",
                id=1,
                gate=gate,
                device=device,
                space=space,
                template_length=length,
                key_id=sealer.key_id,
                key_check=sealer.key_check(),
                rotation_id=rotation.id,
                rotation=sealer.seal(rotation.to_bytes(), "rotation"),
                tally=b"",
                sequence=0,
                clock=b"{}",
            )
            db.protect(sealer.tally, new=True)
        rotation.wipe()
        return cls(db, sealer, clock)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        space: str,
        length: int,
        key: SealKey,
        clock: Clock | None = None,
    ) -> Store:
        """Open a folder's store; finish or discard a rotation of the key that was interrupted.

        Args:
            folder: the gate's.
            space: id of the bundle's template space. If it is another than before, faces of the old one stay and are
                `outdated`.
            length: of a template.
            key: the provider. `key_name` says afterwards which one fits: after an interrupted rotation to another
                provider it is that one.
            clock: where the time comes from.

        Raises:
            StoreMissingError, StoreCorruptError, StoreVersionError, GateInUseError: see `Database.open`.
            SealKeyMissingError, SealKeyError: the secret is missing, or not this store's.
            StoreTamperedError: the rows are not those that the gate wrote last.
            SealError: a sealed row does not open.
        """
        folder = Path(folder)
        db = Database.open(folder / FILE)
        try:
            state = db.read("SELECT gate, key_id, key_check FROM state")
            if len(state) != 1:
                raise StoreCorruptError("the store was never finished", hint="make a new gate")
            gate, key_id, key_check = state[0]
            keys = KeyRotation(folder, key)
            sealer, name = keys.find(gate, key_id, key_check)
            db.protect(sealer.tally)
            _adopt(db, sealer, space, length)
            opened = cls(db, sealer, clock or SystemClock())
        except BaseException:
            db.close()
            raise
        opened.key_name = name
        opened._keys = keys
        return opened

    # ---------------------------------------------------------------- people

    def add_person(self, tx: Transaction, reference: str, *, minor: bool = False) -> int:
        """Add a person without faces; returns the row id. Raises StoreConflictError if the reference is taken."""
        person = tx.next_id("person")
        now = self._now()
        return tx.insert(
            "person",
            id=person,
            reference=reference,
            wrapped_key=self.sealer.wrap(new_owner_key(), "person", person),
            enrolled=now,
            used=now,
            minor=int(minor),
        )

    def add_faces(self, tx: Transaction, person: int, templates: Sequence[Template]) -> list[int]:
        """Seal rotated templates for a person; returns their row ids. One who had lapsed is a person again.

        Raises:
            StoreError: there is no such person.
            TemplateSpaceError: a template is of another space: not rotated, or made with another bundle.
        """
        found = self.db.read("SELECT wrapped_key, lapsed FROM person WHERE id = ?", person)
        if not found:
            raise _no_person()
        wrapped, lapsed = found[0]
        if lapsed:
            wrapped = self.sealer.wrap(new_owner_key(), "person", person)
            tx.update("person", person, wrapped_key=wrapped, lapsed=0)
        return self._add_faces(tx, "person", person, wrapped, templates)

    def remove_face(self, tx: Transaction, face: int) -> None:
        """Destroy a face of a person or list. Raises StoreError if there is none."""
        tx.delete("face", face)
        tx.after_commit(lambda: self.index.remove_faces([face]))
        tx.after_commit(self.db.checkpoint)

    def erase_person(self, tx: Transaction, person: int) -> None:
        """Destroy a person's key, faces, consents and memberships; after the commit, what the log holds of them.

        Raises:
            StoreError: there is no such person.
        """
        reference = self.db.read("SELECT reference FROM person WHERE id = ?", person)
        if not reference:
            raise _no_person()
        for table in ("face", "consent", "membership"):
            for (row,) in self.db.read(f"SELECT id FROM {table} WHERE person = ?", person):  # noqa: S608 - constants
                tx.delete(table, row)
        tx.delete("person", person)
        tx.execute("DELETE FROM lockout WHERE scope = ?", reference[0][0])
        tx.after_commit(lambda: self.index.remove_person(person))
        tx.after_commit(self.db.checkpoint)

    def lapse_person(self, tx: Transaction, person: int) -> None:
        """Destroy a person's key and faces, and remember only that they were enrolled: the consent has expired."""
        for (row,) in self.db.read("SELECT id FROM face WHERE person = ?", person):
            tx.delete("face", row)
        tx.update("person", person, wrapped_key=b"", lapsed=1)
        tx.after_commit(lambda: self.index.remove_faces(self.index.faces(person)))
        tx.after_commit(self.db.checkpoint)

    def person(self, reference: str) -> PersonRow | None:
        """The person of a reference."""
        found = self.db.read(f"SELECT {_PERSON} FROM person WHERE reference = ?", reference)  # noqa: S608 - a constant
        return _person(found[0]) if found else None

    def person_by_id(self, person: int) -> PersonRow | None:
        """The person of a row id."""
        found = self.db.read(f"SELECT {_PERSON} FROM person WHERE id = ?", person)  # noqa: S608 - a constant
        return _person(found[0]) if found else None

    def people(self) -> Iterator[PersonRow]:
        """Everybody, by reference."""
        for row in self.db.iterate(f"SELECT {_PERSON} FROM person ORDER BY reference"):  # noqa: S608 - a constant
            yield _person(row)

    def faces(self, person: int) -> list[tuple[int, int, str]]:
        """Row id, time and template space of each of a person's faces."""
        return self.db.read("SELECT id, added, space FROM face WHERE person = ? ORDER BY id", person)

    def templates_of(self, person: int) -> Iterator[Template]:
        """A person's templates, rotated, of whatever space: for their export only."""
        key = self._owner_key("person", person)
        for face, space, sealed in self.db.read(
            "SELECT id, space, sealed FROM face WHERE person = ? ORDER BY id", person
        ):
            yield Template(np.frombuffer(key.unseal(sealed, face, space), np.int8).copy(), space)

    def outdated(self) -> list[OutdatedFace]:
        """Faces of another template space."""
        return [
            OutdatedFace(*row)
            for row in self.db.read(
                "SELECT face.id, person.reference, face_list.name, face.space FROM face "
                "LEFT JOIN person ON person.id = face.person LEFT JOIN face_list ON face_list.id = face.list "
                "WHERE face.space <> ? ORDER BY face.id",
                self.space,
            )
        ]

    # ---------------------------------------------------------------- lists

    def add_list(self, tx: Transaction, name: str) -> int:
        """Add an empty list; returns the row id. Raises StoreConflictError if the name is taken."""
        row = tx.next_id("face_list")
        wrapped = self.sealer.wrap(new_owner_key(), "list", row)
        return tx.insert("face_list", id=row, name=name, wrapped_key=wrapped, made=self._now())

    def add_list_faces(self, tx: Transaction, face_list: int, templates: Sequence[Template]) -> list[int]:
        """Seal rotated templates for a list; see `add_faces`."""
        found = self.db.read("SELECT wrapped_key FROM face_list WHERE id = ?", face_list)
        if not found:
            raise StoreError("there is no such list", hint="it was removed before")
        return self._add_faces(tx, "list", face_list, found[0][0], templates)

    def remove_list(self, tx: Transaction, face_list: int) -> None:
        """Destroy a list, its key and its faces."""
        for (row,) in self.db.read("SELECT id FROM face WHERE list = ?", face_list):
            tx.delete("face", row)
        tx.delete("face_list", face_list)
        tx.after_commit(lambda: self.index.remove_list(face_list))
        tx.after_commit(self.db.checkpoint)

    def face_list(self, name: str) -> ListRow | None:
        """The list of a name."""
        found = self.db.read("SELECT id, name, made FROM face_list WHERE name = ?", name)
        return ListRow(*found[0]) if found else None

    def face_lists(self) -> list[ListRow]:
        """All lists, by name."""
        return [ListRow(*row) for row in self.db.read("SELECT id, name, made FROM face_list ORDER BY name")]

    def list_faces(self, face_list: int) -> list[tuple[int, int, str]]:
        """Row id, time and template space of each of a list's faces."""
        return self.db.read("SELECT id, added, space FROM face WHERE list = ? ORDER BY id", face_list)

    # ---------------------------------------------------------------- groups

    def add_group(self, tx: Transaction, name: str) -> int:
        """Add an empty group; returns the row id. Raises StoreConflictError if the name is taken."""
        return tx.insert("people_group", name=name, made=self._now())

    def remove_group(self, tx: Transaction, group: int) -> None:
        """Remove a group; its people stay."""
        for (row,) in self.db.read("SELECT id FROM membership WHERE people_group = ?", group):
            tx.delete("membership", row)
        tx.delete("people_group", group)
        tx.after_commit(lambda: self.index.remove_group(group))

    def join(self, tx: Transaction, person: int, group: int) -> None:
        """A person joins a group; one who is in it stays."""
        if not self.db.read("SELECT 1 FROM membership WHERE people_group = ? AND person = ?", group, person):
            tx.insert("membership", person=person, people_group=group)
            tx.after_commit(lambda: self.index.join(person, group))

    def leave(self, tx: Transaction, person: int, group: int) -> None:
        """A person leaves a group; one who is not in it is not missed."""
        for (row,) in self.db.read("SELECT id FROM membership WHERE people_group = ? AND person = ?", group, person):
            tx.delete("membership", row)
            tx.after_commit(lambda: self.index.leave(person, group))

    def group(self, name: str) -> GroupRow | None:
        """The group of a name."""
        found = self.db.read("SELECT id, name, made FROM people_group WHERE name = ?", name)
        return GroupRow(*found[0]) if found else None

    def groups(self) -> list[GroupRow]:
        """All groups, by name."""
        return [GroupRow(*row) for row in self.db.read("SELECT id, name, made FROM people_group ORDER BY name")]

    def groups_of(self, person: int) -> list[GroupRow]:
        """The groups that a person is in, by name."""
        return [
            GroupRow(*row)
            for row in self.db.read(
                "SELECT g.id, g.name, g.made FROM people_group AS g JOIN membership AS m ON m.people_group = g.id "
                "WHERE m.person = ? ORDER BY g.name",
                person,
            )
        ]

    def members(self, group: int) -> list[PersonRow]:
        """The people of a group, by reference."""
        columns = ", ".join(f"p.{name}" for name in _PERSON.split(", "))
        sql = f"SELECT {columns} FROM person AS p JOIN membership AS m ON m.person = p.id"  # noqa: S608 - constants
        return [_person(row) for row in self.db.read(f"{sql} WHERE m.people_group = ? ORDER BY p.reference", group)]

    # ---------------------------------------------------------------- keys and rotation

    def rotate_key(self, new: SealKey) -> None:
        """Wrap every key anew, with the secret of a provider; templates and their seals stay as they are.

        Args:
            new: the provider. One that can keep a secret (a file, a TPM) gets a new one, also if it is the present
                provider; another must have a new one already.

        `key_name` says afterwards where the secret is; whoever keeps the provider's name outside notes the new one and
        then calls `settle_key`, which destroys what is left of the old secret.

        Raises:
            SealKeyError: the new secret is the old one.
        """
        keys = self._rotations()
        secret = keys.prepare(new, self.sealer.key_id, self.gate_id)
        try:
            sealer = Sealer(secret, self.gate_id)
        finally:
            secret[:] = bytes(len(secret))
        try:
            with self.db.transaction() as tx:
                self._rewrap(tx, sealer)
                tx.after_commit(lambda: setattr(self, "sealer", sealer))
        except BaseException:
            keys.abandon()
            raise
        self.key_name = keys.promote()
        self.db.checkpoint()  # the old wrapped keys must not stay in the log

    def settle_key(self) -> None:
        """The provider's name has been noted: the old secret is destroyed, if it was in another provider."""
        self._rotations().settle()

    def _rotations(self) -> KeyRotation:
        if self._keys is None:
            raise StoreError("a store in memory has no key to rotate", hint="its secret is gone when it is closed")
        return self._keys

    def _rewrap(self, tx: Transaction, sealer: Sealer) -> None:
        kinds: tuple[tuple[Owner, str], ...] = (("person", "person"), ("list", "face_list"))
        for kind, table in kinds:
            for row, wrapped in self.db.read(f"SELECT id, wrapped_key FROM {table} WHERE wrapped_key <> x''"):  # noqa: S608
                tx.rewrite(table, row, wrapped_key=sealer.wrap(self.sealer.unwrap(wrapped, kind, row), kind, row))
        tx.execute(
            "UPDATE state SET key_id = ?, key_check = ?, rotation = ? WHERE id = 1",
            sealer.key_id,
            sealer.key_check(),
            sealer.seal(self.rotation.to_bytes(), "rotation"),
        )
        self.db.protect(sealer.tally, new=True)
        tx.delta = 0

    def renew_rotation(self) -> None:
        """Rotate all templates once more, with a new secret: a copy that was stolen before does not link any more.

        Faces of other template spaces are destroyed: they could not be compared any more, even if their bundle came
        back.
        """
        turn = Rotation.new(self.length)
        rotation = self.rotation.then(turn)
        space = rotation.space(self.base_space)
        with self.db.transaction() as tx:
            for (face,) in self.db.read("SELECT id FROM face WHERE space <> ?", self.space):
                tx.delete("face", face)
            kinds: tuple[tuple[Owner, str], ...] = (("person", "person"), ("list", "face_list"))
            for kind, table in kinds:
                column = "person" if kind == "person" else "list"
                owners = self.db.read(f"SELECT DISTINCT {column} FROM face WHERE {column} IS NOT NULL")  # noqa: S608
                for (owner,) in owners:
                    key = self._owner_key(kind, owner)
                    for face, sealed in self.db.read(
                        f"SELECT id, sealed FROM face WHERE {column} = ?",  # noqa: S608 - a constant
                        owner,
                    ):
                        row = np.frombuffer(key.unseal(sealed, face, self.space), np.int8).reshape(1, -1)
                        data = turn.rows(row).tobytes()
                        tx.update("face", face, space=space, sealed=key.seal(data, face, space))
            sealed_rotation = self.sealer.seal(rotation.to_bytes(), "rotation")
            tx.execute("UPDATE state SET rotation_id = ?, rotation = ? WHERE id = 1", rotation.id, sealed_rotation)
            old, turned = self.rotation, self._load(rotation)
            tx.after_commit(lambda: self._turned(rotation, turned))
        old.wipe()
        turn.wipe()
        self.db.checkpoint()

    def _turned(self, rotation: Rotation, index: Index) -> None:
        self.index.close()
        self.rotation, self.space, self.index = rotation, rotation.space(self.base_space), index

    def close(self) -> None:
        """Wipe everything in memory and close the file; a second call does nothing."""
        self.index.close()
        self.rotation.wipe()
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.device})"

    # ---------------------------------------------------------------- faces

    def _add_faces(
        self, tx: Transaction, kind: Owner, owner: int, wrapped: bytes, templates: Sequence[Template]
    ) -> list[int]:
        for template in templates:
            if template.space != self.space or template.data.size != self.length:
                raise TemplateSpaceError(
                    "a template of another space cannot be kept here", hint="rotate it first: store.rotation.apply"
                )
        if not templates:
            return []
        key = self.sealer.owner_key(wrapped, kind, owner)
        column = {"person": owner} if kind == "person" else {"list": owner}
        first, now = tx.next_id("face"), self._now()
        faces = list(range(first, first + len(templates)))
        for face, template in zip(faces, templates, strict=True):
            sealed = key.seal(template.data.tobytes(), face, self.space)
            tx.insert("face", id=face, space=self.space, sealed=sealed, added=now, **column)
        rows = np.stack([template.data for template in templates])
        owners = [owner if kind == "person" else -owner] * len(faces)
        tx.after_commit(lambda: self.index.add(faces, owners, rows))
        tx.at_end(lambda: rows.fill(0))  # the index has a copy of its own, in memory that is locked
        return faces

    def _owner_key(self, kind: Owner, owner: int) -> OwnerKey:
        table = "person" if kind == "person" else "face_list"
        found = self.db.read(f"SELECT wrapped_key FROM {table} WHERE id = ?", owner)  # noqa: S608 - constants
        if not found:
            raise _no_person()
        return self.sealer.owner_key(found[0][0], kind, owner)

    def _load(self, rotation: Rotation) -> Index:
        """Unseal all faces of a rotation's space into an index."""
        space = rotation.space(self.base_space)
        count = self.db.read("SELECT count(*) FROM face WHERE space = ?", space)[0][0]
        index = Index(self.length, space, capacity=max(64, count + count // 8))
        try:
            for kind, sql in (
                (
                    "person",
                    "SELECT f.id, f.person, f.sealed, p.wrapped_key FROM face AS f JOIN person AS p ON p.id = f.person "
                    "WHERE f.space = ? ORDER BY f.person, f.id",
                ),
                (
                    "list",
                    "SELECT f.id, f.list, f.sealed, l.wrapped_key FROM face AS f JOIN face_list AS l ON l.id = f.list "
                    "WHERE f.space = ? ORDER BY f.list, f.id",
                ),
            ):
                self._load_kind(index, kind, self.db.iterate(sql, space))  # type: ignore[arg-type]
            for (group,) in self.db.read("SELECT id FROM people_group"):
                members = self.db.read("SELECT person FROM membership WHERE people_group = ?", group)
                index.set_group(group, (row[0] for row in members))
        except BaseException:
            index.close()
            raise
        return index

    def _load_kind(self, index: Index, kind: Owner, rows: Iterator[tuple[int, int, bytes, bytes]]) -> None:
        block = np.zeros((_BLOCK, self.length), np.int8)
        faces, owners = np.zeros(_BLOCK, np.int64), np.zeros(_BLOCK, np.int64)
        sign = 1 if kind == "person" else -1
        space, length, used = index.space, self.length, 0
        last, key = 0, None
        for face, owner, sealed, wrapped in rows:
            if key is None or owner != last:
                key, last = self.sealer.owner_key(wrapped, kind, owner), owner
            data = key.unseal(sealed, face, space)
            if len(data) != length:
                raise SealError("a sealed template has another length than the store's", hint="restore a backup")
            block[used] = np.frombuffer(data, np.int8)
            faces[used], owners[used] = face, sign * owner
            used += 1
            if used == _BLOCK:
                index.add(faces, owners, block)
                used = 0
        index.add(faces[:used], owners[:used], block[:used])
        block.fill(0)

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _adopt(db: Database, sealer: Sealer, space: str, length: int) -> None:
    """Take note of the bundle's template space; another length needs another rotation."""
    kept_space, kept_length = db.read("SELECT space, template_length FROM state")[0]
    if (kept_space, kept_length) == (space, length):
        return
    with db.transaction() as tx:
        tx.execute("UPDATE state SET space = ?, template_length = ? WHERE id = 1", space, length)
        if kept_length != length:
            rotation = Rotation.new(length)
            sealed = sealer.seal(rotation.to_bytes(), "rotation")
            tx.execute("UPDATE state SET rotation_id = ?, rotation = ? WHERE id = 1", rotation.id, sealed)


def _person(row: tuple[int, str, int, int, int, int, int, int]) -> PersonRow:
    return PersonRow(*row[:4], bool(row[4]), bool(row[5]), bool(row[6]), bool(row[7]))


def _no_person() -> StoreError:
    return StoreError("there is no such person", hint="it was erased before")
