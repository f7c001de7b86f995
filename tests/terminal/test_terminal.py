"""The loop: which decisions open the door, how often, and what happens when something around it fails."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
from types import SimpleNamespace

import pytest

from facegate import SignedDecision, SigningKey, sign_decision
from facegate.errors import EngineError, GateInUseError, StoreFullError, StoreWriteError
from facegate_terminal._config import DoorConfig, VisitConfig
from facegate_terminal._errors import CameraMissingError, CameraOverError, LineError
from facegate_terminal._judge import Judge

from .conftest import DEVICE, a_decision


def test_a_match_opens_the_door_once_a_visit(stage):
    """Somebody who is known and stays for a minute is let in once."""
    terminal = stage().play(60, 150)
    assert terminal.openings == 1
    assert terminal.wire.values == [False, True, False]


def test_who_leaves_and_comes_again_is_let_in_again(stage):
    """A visit ends when nobody has been there for a while."""
    terminal = stage().play(3, 150).play(3).play(3, 150)
    assert terminal.openings == 2


def test_a_look_aside_ends_no_visit(stage):
    """A face that is missed for a moment is the same visit."""
    terminal = stage().play(3, 150).play(0.9).play(3, 150)
    assert terminal.openings == 1


def test_who_follows_closely_is_asked_about(stage):
    """One visit can let two people in: the second is another one, and is asked about after a while."""
    terminal = stage()
    terminal.answers = [("match", "visitor-1"), ("match", "visitor-2")]
    terminal.play(25, 150)
    assert terminal.openings == 2


def test_who_was_let_in_is_let_in_once_whoever_comes_between(stage):
    """Two who take turns before the camera open the door twice, not for as long as they like."""
    terminal = stage()
    terminal.answers = [("match", f"visitor-{1 + n % 2}") for n in range(12)]
    terminal.play(100, 150)
    assert terminal.asked >= 8
    assert terminal.openings == 2


def test_somebody_in_the_background_makes_no_visit(stage):
    """Who comes back hours later is let in again, though a face at a desk far behind was seen all the time."""
    terminal = stage().play(3, 150).play(30, 40).play(3, 150)
    assert terminal.openings == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_gate_that_takes_its_time_ends_no_visit(stage, fails):
    """A slow disk, a slow board: who stands there meanwhile has not gone away, and is let in, or told of, once."""
    terminal = stage()
    identify = terminal.parts.recognizer.identify

    def slow(frame):
        terminal.clock.seconds += 3
        if fails:
            terminal.asked += 1
            raise StoreWriteError("slow, and then broken")
        return identify(frame)

    terminal.parts.recognizer.identify = slow
    terminal.play(60, 150)
    assert terminal.asked <= 8
    assert terminal.openings == (0 if fails else 1)


@pytest.mark.parametrize(
    "answer",
    [
        ("no_match", "below_threshold"),
        ("review", "liveness_uncertain"),
        ("review", "objection"),
        *(("rejected", why) for why in ("no_face", "several_faces", "low_quality", "liveness_spoof")),
        *(("rejected", why) for why in ("locked_out", "rate_limited", "consent_missing", "restricted", "outdated")),
    ],
)
def test_nothing_but_a_match_opens(stage, answer):
    """A minute of any other decision leaves the line as it was."""
    terminal = stage()
    terminal.answers = [answer]
    terminal.play(60, 150)
    assert terminal.asked >= 4
    assert terminal.openings == 0
    assert terminal.wire.values == [False]


@pytest.mark.parametrize("mark", ["demonstration", "development"])
def test_a_marked_decision_opens_nothing(stage, mark):
    """What is marked as not real is not real, however often it matches."""
    terminal = stage()
    terminal.parts.recognizer.identify = lambda _: a_decision(len(terminal.told) + 1, marks=(mark,))
    terminal.play(20, 150)
    assert terminal.told
    assert terminal.openings == 0


@pytest.mark.parametrize(("strict", "openings"), [(False, 1), (True, 0)])
def test_a_clock_that_is_not_believed(stage, strict, openings):
    """A device that starts in 1970 lets people in, unless it was told not to."""
    terminal = stage(door=DoorConfig(line="file", file="/x", require_believed_clock=strict))
    terminal.parts.recognizer.identify = lambda _: a_decision(len(terminal.told) + 1, marks=("clock",))
    terminal.play(5, 150)
    assert terminal.openings == openings


def signed_by(key, decision):
    """The decision with a signature of that key."""
    return SignedDecision(decision, sign_decision(decision, key))


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (signed_by(SigningKey.from_seed(bytes(32)), a_decision(1).decision), "not_verified"),
        (SignedDecision(a_decision(1).decision, a_decision(1, "no_match").jws), "no_match"),
        (SignedDecision(a_decision(1).decision, a_decision(1).jws[:-4] + "AAAA"), "not_verified"),
        (a_decision(1, device="door-2"), "not_ours"),
        (a_decision(1, kind="verify"), "not_ours"),
        (a_decision(1, kind="review", refers_to="01a1fd4d-ce11-74c7-8895-b4e70eb0a9b1"), "not_ours"),
    ],
    ids=["another key", "another text", "changed", "another device", "a verification", "a verdict"],
)
def test_only_what_this_device_signed_counts(signed, why):
    """The object says match in all of these; the signed text, or who signed it, says otherwise."""
    verdict = Judge(DEVICE.verify_key, "door-1", demonstration=False, believed_clock=False).judge(signed)
    assert (verdict.subject, verdict.why_not) == (None, why)


def test_a_decision_counts_once():
    """The same match, or an older one, opens nothing a second time."""
    judge = Judge(DEVICE.verify_key, "door-1", demonstration=False, believed_clock=False)
    assert judge.judge(a_decision(5)).subject == "visitor-1"
    assert judge.judge(a_decision(5)).why_not == "seen_before"
    assert judge.judge(a_decision(4)).why_not == "seen_before"
    assert judge.judge(a_decision(6)).subject == "visitor-1"


def test_a_decision_of_before_the_start_opens_nothing(stage):
    """A match of this device and this gate, and of yesterday: its number was given before the terminal began."""
    judge = Judge(DEVICE.verify_key, "door-1", demonstration=False, believed_clock=False, last=17)
    terminal = stage(judge=judge)
    terminal.parts.recognizer.identify = lambda _: a_decision(17)
    terminal.play(20, 150)
    assert {verdict.why_not for _, verdict, _ in terminal.told} == {"seen_before"}
    assert terminal.openings == 0
    assert judge.judge(a_decision(18)).subject == "visitor-1"


def test_several_matches_can_be_asked_for(stage):
    """With 2 of 3 a single match opens nothing, and two of one person do."""
    rules = VisitConfig(matches=2, of=3)
    terminal = stage(visit=rules)
    terminal.answers = [
        ("match", "a"),
        ("no_match", "below_threshold"),
        ("match", "b"),
        ("no_match", "below_threshold"),
    ]
    assert terminal.play(30, 150).openings == 0
    terminal = stage(visit=rules)
    terminal.answers = [("match", "a"), ("no_match", "below_threshold"), ("match", "a")]
    assert terminal.play(5, 150).openings == 1


def test_an_empty_room_costs_little_and_asks_nothing(stage):
    """Nobody there: two frames a second are looked at; somebody there: eight."""
    terminal = stage().play(10)
    assert terminal.asked == 0
    assert terminal.looked == pytest.approx(20, abs=2)
    terminal.looked = 0
    assert terminal.play(10, 50).looked == pytest.approx(80, abs=6)


def test_who_is_far_away_is_not_asked_about(stage):
    """A small face wakes the terminal and makes no trial."""
    assert stage().play(20, 60).asked == 0


def test_trials_are_few(stage):
    """A stranger who stays for a minute is no reason to ask sixty times: three tries, then a pause."""
    terminal = stage()
    terminal.answers = ["no_match"]
    assert 12 <= terminal.play(60, 150).asked <= 18


def test_a_gate_that_is_locked_is_left_alone(stage):
    """Each refusal is written down, so it is asked every five seconds and no more."""
    terminal = stage()
    terminal.answers = [("rejected", "locked_out")]
    assert 10 <= terminal.play(60, 150).asked <= 13


def test_pings_follow_frames(stage):
    """The service manager hears of each frame that was looked at, and of nothing else."""
    terminal = stage().play(5, 150)
    assert terminal.watch.alive_calls == terminal.board.alive_calls == terminal.looked
    terminal.camera_silent = True
    before = terminal.watch.alive_calls
    terminal.play(60, 150)
    assert terminal.watch.alive_calls == before


def test_a_board_is_not_reset_for_every_unplugged_camera(stage):
    """Its own watchdog is fed while the loop turns, for ten minutes without a frame; then it may reset what hangs."""
    terminal = stage().play(5, 150)
    terminal.camera_silent = True
    terminal.play(590)
    fed = terminal.board.alive_calls
    terminal.play(60)
    assert fed > terminal.looked + 500
    assert fed <= terminal.board.alive_calls <= fed + 25


def test_an_engine_that_fails_is_no_progress(stage):
    """The frame on which the models fail is not told as progress, and the error ends the program."""
    terminal = stage()
    terminal.answers = [EngineError("it failed")]
    with pytest.raises(EngineError):
        terminal.play(5, 150)
    assert terminal.watch.alive_calls == 0
    assert terminal.wire.values == [False]


def test_a_camera_that_is_unplugged_is_opened_again(stage, caplog):
    """No frame, no ping, one line in the log, growing pauses; and when it is back, everything goes on."""
    terminal = stage().play(2, 150).play(5)
    frames = terminal.looked
    terminal.camera_fails = CameraMissingError("there is no camera /dev/video0, or it was unplugged")
    with caplog.at_level(logging.INFO, "facegate_terminal"):
        terminal.play(100, 150)
        assert terminal.looked == frames
        assert json.loads((terminal.parts.status._path).read_text())["trouble"] == ["CameraMissingError"]
        assert sum("CameraMissingError:" in line for line in caplog.messages) == 1
        assert 6 <= terminal.parts.camera.failures <= 9  # 1, 2, 4, 8, 16, 30, 30, ...
        terminal.camera_fails = None
        terminal.play(40, 150)
    assert "the camera gives frames again" in caplog.messages
    assert terminal.openings == 2
    assert terminal.watch.alive_calls == terminal.looked


def test_a_camera_that_is_at_its_end_ends_the_terminal(stage):
    """A folder of pictures, a scene: the terminal ends, says so, and takes its status away."""
    terminal = stage()
    terminal.camera_fails = CameraOverError("over")
    terminal.terminal.run()
    assert terminal.wire.closed
    assert terminal.watch.is_ready
    assert terminal.watch.is_stopping
    assert not terminal.parts.status._path.exists()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (StoreFullError("no room"), "disk_full"),
        (StoreWriteError("read-only"), "disk_not_writable"),
        (GateInUseError("somebody else writes"), "disk_busy"),
    ],
)
def test_a_disk_that_takes_nothing_opens_nothing(stage, caplog, error, word):
    """What cannot be recorded is not decided. The terminal stays up, says it once, and goes on when there is room."""
    terminal = stage()
    terminal.answers = [error]
    with caplog.at_level(logging.INFO, "facegate_terminal"):
        terminal.play(60, 150)
    assert terminal.openings == 0
    assert 10 <= terminal.asked <= 13
    assert json.loads(terminal.parts.status._path.read_text())["trouble"] == [word]
    assert sum(line.startswith(word) for line in caplog.messages) == 1
    assert terminal.watch.alive_calls == terminal.looked  # a restart makes no room
    terminal.answers = ["match"]
    terminal.play(6, 150)
    assert terminal.openings == 1
    assert json.loads(terminal.parts.status._path.read_text())["trouble"] == []


def test_a_disk_that_fills_up_is_told_in_time(stage, monkeypatch):
    """An outbox that nobody empties grows: the status says so while there is room, and people come in."""
    terminal = stage()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=150_000_000))
    terminal.play(30, 150)
    status = json.loads(terminal.parts.status._path.read_text())
    assert (status["trouble"], status["disk_free_mb"]) == (["disk_nearly_full"], 150)
    assert terminal.openings == 1


@pytest.mark.parametrize("cause", ["back", "forward"])
def test_the_status_says_that_the_clock_is_not_believed(stage, cause):
    """A word in the status and a pattern of the light; no failure."""
    terminal = stage()
    terminal.gate_status = dataclasses.replace(terminal.gate_status, clock=cause)
    terminal.play(30)
    status = json.loads(terminal.parts.status._path.read_text())
    assert status["trouble"] == [f"clock_not_believed_{cause}"]
    assert status["gate"]["clock"] == cause
    assert (status["state"], terminal.parts.light.shown) == ("ready", "clock")
    assert terminal.watch.said == f"ready; trouble: clock_not_believed_{cause}"


def test_the_light_shows_what_happens(stage):
    """Ready, looking, open, refused."""
    terminal = stage()
    shown = [terminal.play(2).parts.light.shown, terminal.play(0.5, 50).parts.light.shown]
    shown.append(terminal.play(0.5, 150).parts.light.shown)
    terminal.play(10)
    terminal.answers = ["no_match"]
    shown.append(terminal.play(0.5, 150).parts.light.shown)
    assert shown == ["ready", "looking", "open", "refused"]


def test_logs_and_status_hold_no_names_and_no_scores(stage, caplog):
    """Whatever happens: no person, no similarity, no picture in the log, the status file or systemd's status."""
    terminal = stage()
    terminal.answers = [("match", "alice-in-accounting"), "no_match", ("match", "bob"), ("rejected", "liveness_spoof")]
    with caplog.at_level(logging.DEBUG):
        terminal.play(60, 150)
    assert "decision 1: opened" in caplog.messages
    assert not [line for line in caplog.messages if re.search(r"\d\.\d", line)]  # no similarity of any kind
    status = terminal.parts.status._path.read_text()
    told = "\n".join([*caplog.messages, status, terminal.watch.said])
    assert not [word for word in ("alice", "bob", "score", "similar", "box", "array") if word in told]
    numbers = {key: value for key, value in json.loads(status).items() if isinstance(value, float)}
    assert numbers.keys() == {"updated", "period"}


def test_a_door_that_cannot_be_released_ends_the_program(stage):
    """The line is given back to the kernel, nothing is pinged any more, and the program ends."""
    terminal = stage()
    terminal.play(1, 150)
    terminal.wire.broken = "off"
    with pytest.raises(LineError, match="could not be released"):
        terminal.play(60, 150)
    assert terminal.wire.closed


def test_a_stop_is_heard(stage):
    """Once it is set nothing is read, asked or opened any more."""
    terminal = stage()
    terminal.stop.set()
    terminal.faces = [150]
    terminal.terminal.run()
    assert (terminal.looked, terminal.openings) == (0, 0)


def test_a_stop_releases_the_door_first(stage):
    """Before systemd is told, which may take a second, and before anything is removed."""
    terminal = stage().play(1, 150)
    assert terminal.wire.get()
    open_then = []
    terminal.watch.stopping = lambda: open_then.append(terminal.wire.get())
    terminal.stop.set()
    terminal.terminal.run()
    assert open_then == [False]


def test_anybody_may_read_the_status(stage, tmp_path):
    """A unit's umask of 0077 keeps the state to itself, and not how the terminal is; nothing else is left beside it."""
    before = os.umask(0o077)
    try:
        stage().play(1)
    finally:
        os.umask(before)
    assert (tmp_path / "terminal.json").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["terminal.json"]


def test_a_status_that_cannot_be_written_stops_nothing(stage, tmp_path, caplog):
    """Its folder is gone: said once, and people come in; when the folder is back, so is the status."""
    terminal = stage()
    terminal.parts.status._path = tmp_path / "gone" / "terminal.json"
    with caplog.at_level(logging.INFO, "facegate_terminal"):
        terminal.play(30, 150)
    assert terminal.openings == 1
    assert sum("the status cannot be written" in line for line in caplog.messages) == 1
    (tmp_path / "gone").mkdir()
    terminal.play(20, 150)
    assert json.loads((tmp_path / "gone" / "terminal.json").read_text())["door"]["openings"] == 1
