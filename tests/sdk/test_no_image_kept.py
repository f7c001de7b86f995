"""No image is kept: not in the store, not beside it, and there is no place where one would fit."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from facegate import Frame, Policy

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
CHUNK = 16  # bytes of an image that cannot be in a file by chance


@pytest.fixture
def photograph(pipeline, faces):
    """A frame with pixels that are found again wherever they went."""
    person, _, _ = faces

    def take(identity, **changes):
        seed = len(pipeline.keep)
        frame = Frame(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8))
        pipeline.keep.append(frame)
        pipeline.scenes[id(frame)] = (person(identity, **changes),)
        return frame

    return take


def chunks(frames):
    """Pieces of the frames' pixels, from all over them."""
    return [
        frame.data.tobytes()[at : at + CHUNK] for frame in frames for at in range(0, frame.data.nbytes - CHUNK, 512)
    ]


def test_no_pixel_reaches_a_file(stored, photograph, consent, tmp_path, monkeypatch):
    """After enrolling, recognizing, reviewing, reporting and exporting, no file holds a piece of any frame."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    roles = stored(Policy(**LIVE))
    frames = [photograph(1), photograph(1, live=0.7), photograph(2), photograph(1)]
    roles.enroller.enroll("alice", frames[:1], consent)
    waits = roles.recognizer.identify(frames[1]).decision
    roles.recognizer.identify(frames[2])
    roles.recognizer.detect(frames[3])
    roles.reviewer.verdict(waits.id, "match", reviewer="guard-7")
    report = roles.reviewer.report("false_non_match", [waits.id])
    roles.reviewer.export_report(report.number, tmp_path / "report.zip")
    roles.officer.export("alice", tmp_path / "alice.zip", templates=True, checked_by="passport-seen")
    wanted = chunks(frames)

    def found():
        contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert any(b"SQLite format 3" in content for content in contents)
        return [piece for content in contents for piece in wanted if piece in content]

    assert found() == []
    roles.gate.close()
    assert found() == []
    (tmp_path / "leak").write_bytes(b"x" + frames[3].data.tobytes())  # and the search finds what is there
    assert len(found()) >= len(chunks(frames[3:]))


def test_the_store_has_no_place_for_an_image(stored, photograph, consent):
    """Its columns of bytes are keys, hashes, seals of one template; nothing in it is of an image's size."""
    roles = stored(Policy(**LIVE))
    roles.enroller.enroll("alice", [photograph(1)], consent)
    roles.recognizer.identify(photograph(1))
    db = roles.core.store.db
    tables = [name for (name,) in db.read("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = {
        (table, column)
        for table in tables
        for _, column, kind, *_ in db.read(f"PRAGMA table_info({table})")
        if kind == "BLOB"
    }
    allowed = {"wrapped_key", "sealed", "digest", "hash", "key_check", "rotation", "tally", "clock"}
    assert {column for _, column in columns} <= allowed
    (sealed,) = db.read("SELECT sealed FROM face")[0]
    assert len(sealed) <= roles.core.store.length + 64
