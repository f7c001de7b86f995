"""Kept templates: what a killed run, a full disk and a bad disk leave behind, and who may read them."""

from __future__ import annotations

import errno
import os
import stat

import numpy as np
import pytest

from facegate_convert._evaluate import _cache
from facegate_convert._evaluate._cache import Cache, record_type
from facegate_convert.errors import CacheError

KEY = bytes(range(32))
LENGTH = 8


def head(number, status=0):
    """A record's head and its photograph's sha256."""
    row = np.zeros((), record_type(0, "i1"))
    digest = bytes([number]) * 32
    row["sha256"] = np.frombuffer(digest, np.uint8)
    row["status"] = status
    return row.tobytes(), digest.hex()


def values(number):
    """A template's bytes."""
    return bytes(range(number, number + LENGTH))


@pytest.fixture
def path(tmp_path):
    """A file that holds the templates of the photographs 1, 2 and 3."""
    found = tmp_path / "cache" / "t.fgt"
    with Cache(found, key=KEY, length=LENGTH) as cache:
        for number in (1, 2, 3):
            cache.append(head(number)[0], values(number))
    return found


def known(path, key=KEY, length=LENGTH):
    """Which of the photographs 1..4 a cache knows, and its notes."""
    with Cache(path, key=key, length=length) as cache:
        found = cache.find([head(number)[1] for number in (1, 2, 3, 4)])
        for number in np.flatnonzero(found.present) + 1:
            assert found.rows["values"][number - 1].tobytes() in (values(number), bytes(LENGTH))
        return found.present.tolist(), cache.notes


def test_templates_are_found_again(path):
    """What was appended is there when the file is opened again, bit for bit; a photograph that is not, is not."""
    assert known(path) == ([True, True, True, False], [])


def test_only_their_owner_can_read_templates(path):
    """The file has mode 0600 and its folder 0700, whatever the umask; a file that was too open is closed."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    known(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 17, 60])
def test_a_record_that_was_cut_off_is_made_again(path, cut):
    """A run that is killed in the middle of a write loses that one record and no other."""
    os.truncate(path, path.stat().st_size - cut)
    assert known(path) == ([True, True, False, False], [])
    with Cache(path, key=KEY, length=LENGTH) as cache:
        cache.append(head(3)[0], values(3))
    assert known(path) == ([True, True, True, False], [])


def test_a_damaged_record_is_made_again(path):
    """One wrong bit anywhere in a record: it is not believed, the others are, and the reader is told."""
    whole = path.read_bytes()
    for place in (len(whole) - 1, len(whole) - 20, len(whole) - 100):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        present, notes = known(path)
        assert present == [True, True, False, False]
        assert "1 kept template(s) were damaged" in notes[0]


@pytest.mark.parametrize("damage", ["header", "key", "length", "garbage", "empty"])
def test_a_file_of_something_else_is_made_anew(path, damage):
    """Templates of other models, or of another length, are never taken for these."""
    data = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"x" + data[1:])
    elif damage == "garbage":
        path.write_bytes(b"garbage")
    elif damage == "empty":
        path.write_bytes(b"")
    present, notes = known(path, bytes(32) if damage == "key" else KEY, LENGTH + 1 if damage == "length" else LENGTH)
    assert present == [False] * 4
    assert bool(notes) == (damage != "empty")


def test_two_runs_do_not_write_one_file(path):
    """While one run makes templates, another with the same folder is refused, not let in between."""
    with Cache(path, key=KEY, length=LENGTH), pytest.raises(CacheError, match="another run") as caught:
        Cache(path, key=KEY, length=LENGTH)
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path):
    """Somebody who can write to the folder cannot make a run overwrite another file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "t.fgt").symlink_to(victim)
    with pytest.raises(CacheError):
        Cache(tmp_path / "t.fgt", key=KEY, length=LENGTH)
    assert victim.read_text() == "precious"


def test_a_full_disk_is_told_and_leaves_whole_records(path, monkeypatch):
    """Without room the run ends with a hint; what was kept before is whole, and half a record is not there."""
    write = os.write

    def full(descriptor, data):
        if len(data) > 10:
            return write(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    size = path.stat().st_size
    with Cache(path, key=KEY, length=LENGTH) as cache:
        calls = iter([10, 0])
        monkeypatch.setattr(_cache.os, "write", lambda d, b: write(d, bytes(b)[:10]) if next(calls) else full(d, b""))
        with pytest.raises(CacheError, match="No space left") as caught:
            cache.append(head(4)[0], values(4))
        monkeypatch.undo()
    assert "--cache" in caught.value.hint
    assert path.stat().st_size == size
    assert known(path) == ([True, True, True, False], [])


def test_nothing_is_written_without_a_file(tmp_path, monkeypatch):
    """--no-cache keeps templates in memory alone."""
    monkeypatch.chdir(tmp_path)
    with Cache(None, key=KEY, length=LENGTH) as cache:
        cache.append(head(1)[0], values(1))
        assert cache.find([head(1)[1]]).present.tolist() == [True]
    assert list(tmp_path.iterdir()) == []


def test_failures_are_kept_and_crashes_are_not(tmp_path):
    """A photograph without a face need not be looked at again; one that a process died of is tried again."""
    path = tmp_path / "t.fgt"
    with Cache(path, key=KEY, length=LENGTH) as cache:
        cache.append(head(1, status=2)[0], b"")
        cache.append(head(2, status=5)[0], b"", keep=False)
        assert cache.find([head(1)[1], head(2)[1]]).rows["status"].tolist() == [2, 5]
    assert known(path)[0] == [True, False, False, False]


def test_a_length_that_only_the_first_template_tells(tmp_path):
    """Of a hosted model nobody knows the length before: failures wait for it, and the file remembers it."""
    path = tmp_path / "t.fgt"
    with Cache(path, key=KEY, length=None, kind="f4") as cache:
        cache.append(head(1, status=2)[0], b"")
        assert cache.length is None
        cache.append(head(2)[0], np.arange(3, dtype="<f4").tobytes())
        assert cache.length == 3
        with pytest.raises(CacheError, match="4 values came after templates of 3"):
            cache.append(head(3)[0], np.arange(4, dtype="<f4").tobytes())
    with Cache(path, key=KEY, length=None, kind="f4") as cache:
        assert cache.length == 3
        found = cache.find([head(1)[1], head(2)[1]])
        assert found.present.all()
        assert found.rows["values"][1].tolist() == [0, 1, 2]
