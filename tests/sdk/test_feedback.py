"""Feedback: a problem report says what is needed to find the cause, and nothing about anybody."""

from __future__ import annotations

import io
import json
import stat
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image

from facegate import errors
from facegate._feedback import CONDITIONS
from facegate._rights._archive import verify_archive

ALICE, STRANGER = 1, 3


@pytest.fixture
def roles(make_gate, shows, consent):
    """A gate with alice."""
    opened = make_gate()
    opened.enroller.enroll("alice", [shows(ALICE)], consent)
    return opened


@pytest.fixture
def wrong(roles, shows):
    """A decision that was wrong."""
    return roles.recognizer.identify(shows(ALICE)).decision


@pytest.mark.parametrize("kind", ["false_match", "false_non_match", "missed_spoof"])
def test_a_report_says_what_was_wrong_and_with_what(roles, wrong, clock, bundle, kind):
    """The decision, the models, the rules, the device and the conditions; and it is kept."""
    report = roles.reviewer.report(kind, [wrong.id], conditions={"light": "backlit"}, note="seen by the guard")
    told = report.to_dict()
    assert (told["kind"], report.time, told["device"]) == (kind, clock.now(), "door-1")
    assert [d["id"] for d in told["decisions"]] == [wrong.id]
    assert told["bundle"]["id"] == bundle.id
    assert {model["role"] for model in told["bundle"]["models"]} == {"detector", "recognizer", "liveness"}
    assert told["policy"]["id"] == roles.core.policy_id
    assert (told["conditions"], told["note"]) == ({"light": "backlit"}, "seen by the guard")
    assert roles.reviewer.reports() == (report,)
    (entry,) = roles.core.audit.entries(action="problem_reported")
    assert (entry.details["report"], entry.reference) == (report.number, None)


def test_a_report_names_nobody(roles, wrong):
    """Not the person of the decision, though the decision does."""
    assert wrong.subject == "alice"
    assert "alice" not in json.dumps(roles.reviewer.report("false_match", [wrong.id]).to_dict())


def test_a_decision_is_reported_once_in_a_report(roles, wrong):
    """Named twice it counts once."""
    assert len(roles.reviewer.report("false_match", [wrong.id, wrong.id]).content["decisions"]) == 1


@pytest.mark.parametrize(
    ("kind", "ids", "more", "error"),
    [
        ("bad", None, {}, errors.ReportError),
        ("false_match", [], {}, errors.ReportError),
        ("false_match", "01a1fd4d-ce11-74c7-8895-b4e70eb0a9b1", {}, errors.ReportError),
        ("false_match", ["x"] * 51, {}, errors.ReportError),
        ("false_match", ["x"], {}, errors.UnknownDecisionError),
        ("false_match", None, {"conditions": {"skin": "dark"}}, errors.ReportError),
        ("false_match", None, {"conditions": {"light": "strange"}}, errors.ReportError),
        ("false_match", None, {"note": "x" * 501}, errors.ReportError),
        ("false_match", None, {"note": "two\nlines"}, errors.ReportError),
    ],
)
def test_what_is_no_report(roles, wrong, kind, ids, more, error):
    """Each is refused, and nothing is kept."""
    with pytest.raises(error):
        roles.reviewer.report(kind, [wrong.id] if ids is None else ids, **more)
    assert roles.reviewer.reports() == ()


def test_conditions_describe_no_person():
    """There is no word for what somebody looks like but for what covers the face."""
    assert CONDITIONS.keys() == {"light", "distance", "movement", "covering", "camera", "attack"}


def test_an_exported_report_is_signed_and_holds_no_picture(roles, wrong, tmp_path, device_key):
    """Mode 0600, the report alone, signed by the device."""
    report = roles.reviewer.report("false_match", [wrong.id])
    path = roles.reviewer.export_report(report.number, tmp_path / "p.zip")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    members = verify_archive(path, device_key)
    assert members.keys() == {"report.json"}
    assert json.loads(members["report.json"]) == report.to_dict()


def test_a_picture_is_in_the_file_only_if_the_operator_attaches_one(roles, wrong, tmp_path, device_key):
    """Its pixels alone go into the file: what its own file says is left out, and the gate keeps nothing of it."""
    exif = Image.Exif()
    exif[0x010F] = "A camera of Alice Smith"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(tmp_path / "shot.png", exif=exif)
    report = roles.reviewer.report("false_match", [wrong.id])
    path = roles.reviewer.export_report(report.number, tmp_path / "p.zip", attachment=tmp_path / "shot.png")
    attached = verify_archive(path, device_key)["attachment.png"]
    picture = Image.open(io.BytesIO(attached))
    assert np.array_equal(np.asarray(picture), np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    assert (dict(picture.getexif()), b"Alice" in attached) == ({}, False)
    (entry,) = roles.core.audit.entries(action="report_exported")
    assert entry.details["attachment"] is True
    kept = roles.core.store.db.read("SELECT content FROM report")[0][0]
    assert "attachment" not in kept


def test_an_attached_picture_is_upright(roles, wrong, tmp_path, device_key):
    """How its file says that it is to be turned is done to the pixels, because that is left out too."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    pixels = np.zeros((4, 8), np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "shot.png", exif=exif)
    report = roles.reviewer.report("missed_spoof", [wrong.id], conditions={"attack": "print"})
    path = roles.reviewer.export_report(report.number, tmp_path / "p.zip", attachment=tmp_path / "shot.png")
    attached = np.asarray(Image.open(io.BytesIO(verify_archive(path, device_key)["attachment.png"])))
    assert attached.shape == (8, 4)
    assert attached[0, 3] == 255


def test_an_attachment_that_is_no_picture(roles, wrong, tmp_path):
    """It is refused, and no file is written."""
    (tmp_path / "note.txt").write_text("a note")
    report = roles.reviewer.report("false_match", [wrong.id])
    for name in ("note.txt", "missing.png"):
        with pytest.raises(errors.FrameError):
            roles.reviewer.export_report(report.number, tmp_path / "p.zip", attachment=tmp_path / name)
    assert not (tmp_path / "p.zip").exists()


@pytest.mark.parametrize("number", ["", "P-20260101-00000000", None])
def test_a_report_that_there_is_not(roles, tmp_path, number):
    """It is an error, and no file is written."""
    with pytest.raises(errors.ReportError):
        roles.reviewer.export_report(number, tmp_path / "p.zip")
    assert not (tmp_path / "p.zip").exists()


def test_reports_are_kept_for_their_time(roles, wrong, clock):
    """After a year the sweeper erases them."""
    roles.reviewer.report("false_match", [wrong.id])
    clock.wait(timedelta(days=364).total_seconds())
    assert roles.officer.sweep().reports == 0
    clock.wait(timedelta(days=1, seconds=1).total_seconds())
    assert roles.officer.sweep(dry_run=True).reports == 1
    assert len(roles.core.store.db.read("SELECT 1 FROM report")) == 1
    assert roles.officer.sweep().reports == 1
    assert roles.core.store.db.read("SELECT 1 FROM report") == []
