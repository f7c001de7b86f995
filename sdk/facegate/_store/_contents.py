"""People, lists, groups and faces of a store: added, changed and destroyed, on the disk and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate._store._rows import Rows
from facegate._store._sealing import new_owner_key
from facegate.errors import StoreError, TemplateSpaceError
from facegate_edge._values import Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facegate._clock import Clock
    from facegate._store._database import Database, Transaction
    from facegate._store._index import Index
    from facegate._store._sealing import Owner, OwnerKey, Sealer

__all__ = ["Contents"]


class Contents(Rows):
    """What a store holds. What changes it takes an open transaction; the index follows when it has been committed.

    Args:
        db: the database.
        space: id of the rotated template space.
        length: of a template.
        sealer: of the gate's present secret.
        index: of all faces of that space.
        clock: where the time comes from.
    """

    def __init__(self, db: Database, space: str, length: int, sealer: Sealer, index: Index, clock: Clock) -> None:
        super().__init__(db, space)
        self.length = length
        self.sealer = sealer
        self.index = index
        self._clock = clock

    def believe(self, clock: Clock) -> None:
        """Take the time of what is written from here on from a clock that is believed (`_clock_guard`)."""
        self._clock = clock

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

    def lapse_person(self, tx: Transaction, person: int) -> None:
        """Destroy a person's key and faces, and remember only that they were enrolled: the consent has expired."""
        for (row,) in self.db.read("SELECT id FROM face WHERE person = ?", person):
            tx.delete("face", row)
        tx.update("person", person, wrapped_key=b"", lapsed=1)
        tx.after_commit(lambda: self.index.remove_faces(self.index.faces(person)))

    def templates_of(self, person: int) -> Iterator[Template]:
        """A person's templates, rotated, of whatever space: for their export only."""
        key = self._owner_key("person", person)
        for face, space, sealed in self.db.read(
            "SELECT id, space, sealed FROM face WHERE person = ? ORDER BY id", person
        ):
            yield Template(np.frombuffer(key.unseal(sealed, face, space), np.int8).copy(), space)

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
            sealed = key.seal(template.data.data.cast("B"), face, self.space)  # no copy that stays
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

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _no_person() -> StoreError:
    return StoreError("there is no such person", hint="it was erased before")
