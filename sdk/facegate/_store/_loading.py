"""From sealed rows to the gallery in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from facegate._store._index import Index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate._store._database import Database
    from facegate._store._sealing import Owner, Sealer

__all__ = ["BLOCK", "load_index"]

BLOCK = 4096  # faces at a time: what is unsealed and not yet wiped stays small
# By owner, so that a key is unwrapped once for all faces of a person.
_FACES: dict[Owner, str] = {
    "person": (
        "SELECT f.id, f.person, f.sealed, p.wrapped_key FROM face AS f JOIN person AS p ON p.id = f.person "
        "WHERE f.space = ? ORDER BY f.person, f.id"
    ),
    "list": (
        "SELECT f.id, f.list, f.sealed, l.wrapped_key FROM face AS f JOIN face_list AS l ON l.id = f.list "
        "WHERE f.space = ? ORDER BY f.list, f.id"
    ),
}


def load_index(db: Database, sealer: Sealer, space: str, length: int) -> Index:
    """Unseal all faces of a template space, rotation included, and note who is in which group.

    Raises:
        SealError: a row does not open.
        GalleryError: a row is no template.
    """
    count = db.read("SELECT count(*) FROM face WHERE space = ?", space)[0][0]
    index = Index(length, space, capacity=count + count // 16 + 64)
    try:
        for kind, sql in _FACES.items():
            with contextlib.closing(db.iterate(sql, space)) as rows:
                _load(index, sealer, kind, rows, length)
        for (group,) in db.read("SELECT id FROM people_group"):
            members = db.iterate("SELECT person FROM membership WHERE people_group = ?", group)
            index.set_group(group, (row[0] for row in members))
    except BaseException:
        index.close()
        raise
    return index


def _load(
    index: Index, sealer: Sealer, kind: Owner, rows: Iterator[tuple[int, int, bytes, bytes]], length: int
) -> None:
    block = np.zeros((BLOCK, length), np.int8)
    places = [row.data.cast("B") for row in block]
    sign = 1 if kind == "person" else -1
    space = index.space
    faces: list[int] = []
    owners: list[int] = []
    last, key = 0, None
    try:
        for face, owner, sealed, wrapped in rows:
            if key is None or owner != last:
                key, last = sealer.owner_key(wrapped, kind, owner), owner
            key.unseal_into(sealed, face, space, places[len(faces)])
            faces.append(face)
            owners.append(sign * owner)
            if len(faces) == BLOCK:
                index.add(faces, owners, block)
                faces, owners = [], []
        index.add(faces, owners, block[: len(faces)])
    finally:
        block.fill(0)
