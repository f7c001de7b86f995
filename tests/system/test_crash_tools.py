"""The tools that power losses are tried with, tried themselves: each finds the fault that it is there to find."""

from __future__ import annotations

import errno
import random
import sqlite3

import pytest

from .crash.disk import MARK, OPEN, RENAME, SYNC, TRUNCATE, WRITE, Disk, Record, read_diary


@pytest.fixture
def database(tmp_path):
    """An empty database with one table, in a folder of its own."""
    path = tmp_path / "gate" / "plain.db"
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (a, b)")
    db.commit()
    db.close()
    return path


def check(path, acknowledged):
    """(whether committed rows are missing, whether the database is broken)."""
    db = sqlite3.connect(path)
    try:
        rows = db.execute("SELECT count(*) FROM t").fetchone()[0]
        whole = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    except sqlite3.DatabaseError:
        return False, True
    finally:
        db.close()
    return rows not in (acknowledged, acknowledged + 1), not whole


@pytest.mark.parametrize(
    ("synchronous", "loses", "breaks"), [("FULL", False, False), ("NORMAL", True, False), ("OFF", True, True)]
)
def test_a_power_loss_takes_what_was_not_synced(crash_script, database, tmp_path, synchronous, loses, breaks):
    """SQLite loses nothing with synchronous=FULL, commits with NORMAL, its whole file with OFF: as its manual says."""
    disk = Disk(database.parent)
    done = crash_script("plain", database, tmp_path / "diary", synchronous)
    assert done.returncode == 0, done.stderr
    records = read_diary(tmp_path / "diary")
    rng = random.Random(4)  # noqa: S311 - chooses cases
    moments = set(rng.sample(range(len(records)), 100))
    acknowledged, found = 0, []
    for i, record in enumerate(records):
        disk.play(record)
        acknowledged = record.at if record.kind == MARK else acknowledged
        if i in moments:
            disk.lose_power(tmp_path / "after", rng)
            found.append(check(tmp_path / "after" / database.name, acknowledged))
    assert acknowledged == 200
    assert len(found) == 100
    assert any(lost for lost, _ in found) == loses
    assert any(broken for _, broken in found) == breaks


@pytest.fixture
def disk(tmp_path):
    """A disk with one stored file, and the folder's path."""
    folder = tmp_path / "gate"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    return Disk(folder), str(folder).encode(), (folder / "old").stat().st_ino


def outcomes(disk, tmp_path):
    """All that a power loss may leave: sets of (name, content)."""
    found = set()
    for seed in range(64):
        disk.lose_power(tmp_path / "after", random.Random(seed))  # noqa: S311 - chooses cases
        found.add(tuple(sorted((p.name, p.read_bytes()) for p in (tmp_path / "after").iterdir())))
    return found


def test_what_was_written_may_be_there_or_not(disk, tmp_path):
    """Until its fsync a write may be lost, and a later one be there; then it stays."""
    disk, folder, inode = disk
    disk.play(Record(WRITE, inode, 0, b"n"))
    disk.play(Record(WRITE, inode, 2, b"w"))
    assert outcomes(disk, tmp_path) == {(("old", c),) for c in (b"old", b"nld", b"olw", b"nlw")}
    disk.play(Record(SYNC, inode, 0, folder + b"/old"))
    disk.play(Record(TRUNCATE, inode, 1, b""))
    assert outcomes(disk, tmp_path) == {(("old", b"nlw"),), (("old", b"n"),)}


def test_a_new_name_needs_its_folder_synced(disk, tmp_path):
    """A file that is synced itself may have no name yet; a rename takes effect or not, and never half."""
    disk, folder, _ = disk
    disk.play(Record(OPEN, 9, 0, folder + b"/new"))
    disk.play(Record(WRITE, 9, 0, b"new"))
    disk.play(Record(SYNC, 9, 0, folder + b"/new"))
    assert outcomes(disk, tmp_path) == {(("old", b"old"),), (("new", b"new"), ("old", b"old"))}
    disk.play(Record(SYNC, 1, 0, folder))
    disk.play(Record(RENAME, 0, 0, folder + b"/new\0" + folder + b"/old"))
    assert outcomes(disk, tmp_path) == {(("old", b"new"),), (("new", b"new"), ("old", b"old"))}
    disk.play(Record(SYNC, 1, 0, folder))
    assert outcomes(disk, tmp_path) == {(("old", b"new"),)}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_calls_fail_from_the_nth_on(crash_script, database, error):
    """SQLite says what the file system said; it writes when nothing was to fail yet."""
    said = crash_script("plain", database, "fail", 1, error).stdout
    assert ("full" in said) == (error == errno.ENOSPC)
    assert "written" not in said
    assert "written" in crash_script("plain", database, "fail", 1000, error).stdout
