"""What changes every sealed row at once: a new device key, a new rotation, another bundle's template space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate._store._loading import BLOCK
from facegate._store._rotation import Rotation
from facegate.errors import StoreCorruptError

if TYPE_CHECKING:
    from facegate._store._database import Database, Transaction
    from facegate._store._sealing import Owner, Sealer

__all__ = ["adopt_space", "keep_rotation", "read_rotation", "rewrap", "rotation_place", "turn_faces"]

_KINDS: tuple[tuple[Owner, str, str], ...] = (("person", "person", "person"), ("list", "face_list", "list"))


def read_rotation(db: Database, sealer: Sealer, name: str, length: int) -> Rotation:
    """The rotation for templates of a length. Raises StoreCorruptError, SealError."""
    found = db.read("SELECT sealed FROM rotation WHERE template_length = ? AND id = ?", length, name)
    if not found:
        raise StoreCorruptError("the store's rotation is missing", hint="restore a backup")
    rotation = Rotation.from_bytes(sealer.unseal(found[0][0], rotation_place(name)))
    if (rotation.id, rotation.length) != (name, length):
        raise StoreCorruptError("the store's rotation does not fit its templates", hint="restore a backup")
    return rotation


def keep_rotation(tx: Transaction, sealer: Sealer, rotation: Rotation, *, others: bool = True) -> None:
    """Seal a rotation, which is in use from now on; `others`, for templates of other lengths, are kept or destroyed."""
    tx.execute("DELETE FROM rotation WHERE template_length = ? OR ?", rotation.length, not others)
    sealed = sealer.seal(rotation.to_bytes(), rotation_place(rotation.id))
    tx.insert("rotation", template_length=rotation.length, id=rotation.id, sealed=sealed)
    tx.execute("UPDATE state SET rotation_id = ? WHERE id = 1", rotation.id)


def adopt_space(db: Database, sealer: Sealer, space: str, length: int) -> None:
    """Take note of the bundle's template space. Rotations of other lengths stay: an older bundle may come back."""
    if db.read("SELECT space, template_length FROM state") == [(space, length)]:
        return
    with db.transaction() as tx:
        tx.execute("UPDATE state SET space = ?, template_length = ? WHERE id = 1", space, length)
        found = db.read("SELECT id FROM rotation WHERE template_length = ?", length)
        if found:
            tx.execute("UPDATE state SET rotation_id = ? WHERE id = 1", found[0][0])
        else:
            keep_rotation(tx, sealer, Rotation.new(length))


def rewrap(tx: Transaction, db: Database, old: Sealer, new: Sealer) -> None:
    """Wrap every key of the store with another secret, and count its rows with the tally of that secret."""
    for kind, table, _ in _KINDS:
        # Those of lapsed people are empty.
        for row, wrapped in db.read(f"SELECT id, wrapped_key FROM {table} WHERE wrapped_key <> x''"):  # noqa: S608
            key = bytearray(old.unwrap(wrapped, kind, row))
            tx.rewrite(table, row, wrapped_key=new.wrap(key, kind, row))
            key[:] = bytes(len(key))
    for length, name, sealed in db.read("SELECT template_length, id, sealed FROM rotation"):
        again = new.seal(old.unseal(sealed, rotation_place(name)), rotation_place(name))
        tx.execute("UPDATE rotation SET sealed = ? WHERE template_length = ?", again, length)
    tx.execute("UPDATE state SET key_id = ?, key_check = ? WHERE id = 1", new.key_id, new.key_check())
    db.protect(new.tally, new=True)
    tx.delta = 0  # all rows have been counted
    tx.clean()  # keys that the old secret opens must not stay in the file


def turn_faces(tx: Transaction, db: Database, sealer: Sealer, turn: Rotation, before: str, after: str) -> None:
    """Rotate and seal anew all faces of a template space; those of other spaces are destroyed."""
    tx.clean()  # nothing sealed before may stay in the file
    for (face,) in db.read("SELECT id FROM face WHERE space <> ?", before):
        tx.delete("face", face)
    for kind, table, column in _KINDS:
        sql = (
            f"SELECT f.id, o.id, f.sealed, o.wrapped_key FROM face AS f JOIN {table} AS o ON o.id = f.{column} "  # noqa: S608
            "WHERE f.space = ? ORDER BY f.id LIMIT ?"
        )
        while True:
            faces = db.read(sql, before, BLOCK)
            if not faces:
                break
            keys = [sealer.owner_key(wrapped, kind, owner) for _, owner, _, wrapped in faces]
            rows = np.zeros((len(faces), turn.length), np.int8)
            for row, key, (face, _, sealed, _) in zip(rows, keys, faces, strict=True):
                key.unseal_into(sealed, face, before, row.data.cast("B"))
            turned = turn.rows(rows)
            rows.fill(0)
            for row, key, (face, _, _, _) in zip(turned, keys, faces, strict=True):
                tx.update("face", face, space=after, sealed=key.seal(row.data.cast("B"), face, after))
            turned.fill(0)


def rotation_place(name: str) -> str:
    """What a sealed rotation is bound to."""
    return f"rotation {name}"
