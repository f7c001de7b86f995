"""What a disk may hold after the power went, from the diary that failing_io.c keeps.

Written is not stored: of what was written to a file since its last fsync, any part may be there or not, in sectors of
512 bytes and in any order; of names that were made, changed or removed in a folder since its last fsync, only the first
few. That is less than every journaling file system promises, and all that POSIX does.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "LINK",
    "MARK",
    "MKDIR",
    "OPEN",
    "REMOVE",
    "RENAME",
    "SYNC",
    "TRUNCATE",
    "WRITE",
    "Disk",
    "Record",
    "read_diary",
]

OPEN, WRITE, SYNC, TRUNCATE, REMOVE, RENAME, MKDIR, MARK, LINK = 1, 2, 4, 8, 16, 32, 64, 128, 256
SECTOR = 512
_HEAD = struct.Struct("=QQqQ")


@dataclass(frozen=True)
class Record:
    """One line of the diary; see `record` in failing_io.c."""

    kind: int
    inode: int
    at: int
    data: bytes


def read_diary(path: Path) -> list[Record]:
    """All records of a diary."""
    raw, at, records = path.read_bytes(), 0, []
    while at < len(raw):
        kind, inode, offset, size = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        records.append(Record(kind, inode, offset, raw[at : at + size]))
        at += size
    return records


@dataclass
class File:
    """A file's content: what is stored for sure, and the writes and truncations since."""

    stored: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is stored."""
        for change in self.pending:
            _apply(self.stored, *change)
        self.pending.clear()

    def after_loss(self, rng: random.Random) -> bytes:
        """What may be found."""
        content = bytearray(self.stored)
        way = rng.choice(("nothing", "everything", "first", "some", "torn"))
        chance = {"nothing": 0.0, "everything": 1.0, "first": 1.0}.get(way, 0.5)
        last = rng.randint(0, len(self.pending)) if way == "first" else len(self.pending)
        for kind, at, data in self.pending[:last]:
            parts = _sectors(at, data) if kind == WRITE and way == "torn" else [(at, data)]
            for part in parts:
                if rng.random() < chance:
                    _apply(content, kind, *part)
        return bytes(content)


def _apply(content: bytearray, kind: int, at: int, data: bytes) -> None:
    if kind == TRUNCATE:
        if at <= len(content):
            del content[at:]
        else:
            content.extend(bytes(at - len(content)))
        return
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    end = at + len(data)
    while at < end:
        following = min(end, (at // SECTOR + 1) * SECTOR)
        yield at, data[len(data) - (end - at) : len(data) - (end - following)]
        at = following


Names = dict[str, "File | None"]  # relative path -> content; None is a folder


class Disk:
    """A folder on a disk whose power may go.

    Args:
        folder: what it holds at the start of the diary, all of it stored.
        ignored: ends of names that are not looked at.
    """

    def __init__(self, folder: Path, ignored: tuple[str, ...] = ("-shm",)) -> None:
        self._root = str(folder.resolve())
        self._ignored = ignored
        self._stored: Names = {}
        self._files: dict[int, File] = {}
        self._changes: list[tuple[set[str], Callable[[Names], None]]] = []
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                self._stored[name] = None
            elif not name.endswith(ignored):
                file = File(bytearray(path.read_bytes()))
                self._stored[name] = self._files[path.stat().st_ino] = file
        self._now: Names = dict(self._stored)

    def _name(self, path: bytes) -> str:
        name = path.decode()
        return name[len(self._root) :].lstrip("/") if name.startswith(self._root) else "/" + name

    def _change(self, folders: set[str], change: Callable[[Names], None]) -> None:
        change(self._now)
        self._changes.append((folders, change))

    def play(self, record: Record) -> None:
        """Go on by one record."""
        kind, data = record.kind, record.data
        if kind in {WRITE, TRUNCATE}:
            file = self._files.get(record.inode)
            if file is not None:
                file.pending.append((kind, record.at, data))
        elif kind == SYNC:
            self._sync(record)
        elif kind in {OPEN, LINK}:
            name = self._name(data)
            if name.endswith(self._ignored):
                self._files.pop(record.inode, None)
                return
            file = File() if kind == OPEN else self._files[record.inode]
            self._files[record.inode] = file
            self._change({_folder(name)}, lambda names: names.__setitem__(name, file))
        elif kind == MKDIR:
            name = self._name(data)
            self._change({_folder(name)}, lambda names: names.__setitem__(name, None))
        elif kind == REMOVE:
            name = self._name(data)
            self._change({_folder(name)}, lambda names: _forget(names, name))
        elif kind == RENAME:
            old, new = (self._name(part) for part in data.split(b"\0"))
            self._change({_folder(old), _folder(new)}, lambda names: _rename(names, old, new))

    def _sync(self, record: Record) -> None:
        name = self._name(record.data)
        if name and self._now.get(name, name) is not None:
            file = self._files.get(record.inode)
            if file is not None:
                file.sync()
            return
        later = []
        for folders, change in self._changes:
            if name in folders:
                change(self._stored)
            else:
                later.append((folders, change))
        self._changes = later

    def unsynced(self) -> int:
        """How many changes are not stored for sure."""
        return len(self._changes) + sum(len(f.pending) for f in set_of(self._now))

    def lose_power(self, folder: Path, rng: random.Random) -> None:
        """Make `folder` hold what may be left.

        Args:
            folder: is replaced.
            rng: chooses one of all that may be left.
        """
        names = dict(self._stored)
        for _, change in self._changes[: rng.randint(0, len(self._changes))]:
            change(names)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for name, file in sorted(names.items()):
            if name.startswith("/"):
                continue
            path = folder / name
            if file is None:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
                path.write_bytes(file.after_loss(rng))


def set_of(names: Names) -> list[File]:
    """Every file once."""
    return list({id(file): file for file in names.values() if file is not None}.values())


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _forget(names: Names, name: str) -> None:
    names.pop(name, None)


def _rename(names: Names, old: str, new: str) -> None:
    if old in names:
        names[new] = names.pop(old)
    for name in [n for n in names if n.startswith(old + "/")]:
        names[new + name[len(old) :]] = names.pop(name)
