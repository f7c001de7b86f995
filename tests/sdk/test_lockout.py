"""Lock-outs and limits: who fails too often waits, through restarts and whatever the clock says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from facegate import Policy, errors
from facegate._limits import RateLimit
from facegate._lockout import Lockout
from facegate._store._database import Database

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
ALICE, BOB, STRANGER = 1, 2, 3


def reasons(signed):
    """Why a decision is what it is."""
    return signed.decision.reasons


def test_lock_out_after_five_failures_grows(enrolled, shows, clock, pipeline):
    """Five failed trials lock for 30 s, each further one for twice as long; locked trials see no model."""
    recognizer = enrolled().recognizer
    for _ in range(5):
        assert reasons(recognizer.verify("alice", shows(STRANGER))) == ("below_threshold",)
    for seconds in (30, 60, 120):
        pipeline.calls.clear()
        assert reasons(recognizer.verify("alice", shows(ALICE))) == ("locked_out",)
        clock.wait(seconds - 0.5)
        assert reasons(recognizer.verify("alice", shows(ALICE))) == ("locked_out",)
        assert pipeline.calls == []
        clock.wait(0.5)
        assert reasons(recognizer.verify("alice", shows(STRANGER))) == ("below_threshold",)
    clock.wait(240)
    assert recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"
    assert reasons(recognizer.verify("alice", shows(STRANGER))) == ("below_threshold",)
    assert recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_it_grows_no_longer_than_the_policy_says(enrolled, shows, clock):
    """The doubling ends at max_lockout_seconds."""
    recognizer = enrolled(max_attempts=1, lockout_seconds=10, max_lockout_seconds=25).recognizer
    for seconds in (10, 20, 25, 25):
        assert reasons(recognizer.identify(shows(STRANGER))) == ("below_threshold",)
        clock.wait(seconds - 0.1)
        assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)
        clock.wait(0.1)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(4, 0), (5, 30), (6, 60), (7, 120), (10, 960), (12, 3600), (5000, 3600)]
)
def test_lock_outs_double_up_to_a_limit(clock, failures, seconds):
    """Five failures lock for 30 s, each further one for twice as long, never longer than the limit."""
    db = Database.memory()
    lockout = Lockout(db, Policy(), clock)
    with db.transaction() as tx:
        for _ in range(failures):
            lockout.failed(tx, "alice")
    assert lockout.locked("alice") == (seconds > 0)
    assert not lockout.locked("bob")
    clock.wait(max(seconds - 0.25, 0.0))
    assert lockout.locked("alice") == (seconds > 0)
    clock.wait(0.25)
    assert not lockout.locked("alice")
    db.close()


def test_attack_own_match_buys_no_trials_as_somebody_else(enrolled, shows):
    """Bob cannot clear the failures against alice by being recognized as himself."""
    recognizer = enrolled().recognizer
    for _ in range(5):
        recognizer.verify("alice", shows(BOB))
        recognizer.verify("bob", shows(BOB))
    assert reasons(recognizer.verify("alice", shows(BOB))) == ("locked_out",)
    assert recognizer.verify("bob", shows(BOB)).decision.outcome == "match"


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(days=4000)])
def test_attack_setting_the_clock_ends_no_lock_out(enrolled, shows, clock, jump):
    """A lock-out runs by the monotonic clock."""
    recognizer = enrolled().recognizer
    for _ in range(5):
        recognizer.identify(shows(STRANGER))
    clock.moment += jump
    assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)


def test_what_counts_as_a_failed_trial(enrolled, shows, faces):
    """Attacks and false faces count; empty frames, bad pictures and unknown references do not."""
    recognizer = enrolled(**LIVE, max_trials_per_minute=0).recognizer
    for _ in range(6):
        for frame in (shows(), shows(ALICE, BOB), shows((ALICE, {"quality": faces[1]}))):
            recognizer.verify("alice", frame)
        recognizer.verify("nobody", shows(ALICE))
        assert recognizer.verify("alice", shows((ALICE, {"live": 0.7}))).decision.outcome == "review"
    assert recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"
    for _ in range(5):
        recognizer.verify("alice", shows((ALICE, {"live": 0.1})))
    assert reasons(recognizer.verify("alice", shows(ALICE))) == ("locked_out",)


def test_lock_out_can_be_turned_off(enrolled, shows):
    """max_attempts=0 never locks."""
    recognizer = enrolled(max_attempts=0).recognizer
    for _ in range(50):
        recognizer.identify(shows(STRANGER))
    assert recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_attack_asking_for_candidates_instead(enrolled, shows):
    """Candidates are trials: they fail into the lock-out of identification, and are refused by it."""
    roles = enrolled()
    recognizer = roles.recognizer
    for _ in range(5):
        assert recognizer.candidates(shows(STRANGER)) == ()
    with pytest.raises(errors.TrialRefusedError, match="locked out"):
        recognizer.candidates(shows(ALICE))
    (*_, refused) = roles.core.audit.entries(action="candidates")
    assert refused.details["reasons"] == "locked_out"
    assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)
    assert recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


# --- restarts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(stored, shows, consent):
    """A gate on disk with alice, whose identification is locked for 60 s."""

    def make(**policy):
        roles = stored(Policy(**policy))
        roles.enroller.enroll("alice", [shows(ALICE)], consent)
        for _ in range(5):
            roles.recognizer.identify(shows(STRANGER))
        roles.core.clock.wait(30)
        roles.recognizer.identify(shows(STRANGER))
        assert reasons(roles.recognizer.identify(shows(ALICE))) == ("locked_out",)
        return roles

    return make


def test_attack_starting_the_program_again(locked, stored, shows, clock):
    """A lock-out goes on where it was when the gate is opened again."""
    locked().gate.close()
    clock.wait(50)
    recognizer = stored().recognizer
    assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)
    clock.wait(10)
    assert recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_attack_pulling_the_plug(locked, stored, shows, clock):
    """After a start of the device a running lock-out starts again in full; failures before are remembered."""
    roles = locked()
    clock.wait(50)
    roles.gate.close()
    clock.restart()
    recognizer = stored().recognizer
    clock.wait(59)
    assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)
    clock.wait(1)
    assert reasons(recognizer.identify(shows(STRANGER))) == ("below_threshold",)
    clock.wait(119)
    assert reasons(recognizer.identify(shows(ALICE))) == ("locked_out",)


@pytest.mark.parametrize("seen", ["by the next trial", "when the gate was closed", "by nobody"])
def test_a_lock_out_that_was_seen_to_be_over_stays_over(locked, stored, shows, clock, seen):
    """Who starts the device in the morning is not locked out for what happened in the night; the count goes on.

    Only a power cut before anybody looked leaves that open, and then it is locked.
    """
    roles = locked()
    clock.wait(60)
    if seen == "by the next trial":
        roles.recognizer.identify(shows())
    if seen == "by nobody":
        roles.core.lockout.pause = lambda: None
    roles.gate.close()
    clock.restart()
    recognizer = stored().recognizer
    expected = ("locked_out",) if seen == "by nobody" else ("below_threshold",)
    assert reasons(recognizer.identify(shows(STRANGER))) == expected
    clock.wait(119)
    expected = ("below_threshold",) if seen == "by nobody" else ("locked_out",)
    assert reasons(recognizer.identify(shows(STRANGER))) == expected


def test_a_gate_that_cannot_be_written_is_closed_all_the_same(locked, stored, clock, monkeypatch):
    """Noting that a lock-out is over is not worth an error at the end."""
    roles = locked()
    clock.wait(60)

    def fail(*_):
        raise errors.StoreWriteError("no")

    with monkeypatch.context() as patch:
        patch.setattr(roles.core.lockout, "settle", fail)
        roles.gate.close()
    assert stored().gate.status().people == 1


def test_attack_pulling_the_plug_before_the_fifth_failure(stored, shows, consent, clock):
    """Four failures before a start and one after it are five."""
    roles = stored()
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    for _ in range(4):
        roles.recognizer.verify("alice", shows(STRANGER))
    roles.gate.close()
    clock.restart()
    recognizer = stored().recognizer
    assert reasons(recognizer.verify("alice", shows(STRANGER))) == ("below_threshold",)
    assert reasons(recognizer.verify("alice", shows(ALICE))) == ("locked_out",)


def test_milder_rules_count_for_running_lock_outs_too(locked, stored, shows):
    """Whoever edits the policy is obeyed at the next opening: turned off, or shorter."""
    locked().gate.close()
    roles = stored(Policy(lockout_seconds=1, max_lockout_seconds=2))
    roles.core.clock.wait(2)
    assert reasons(roles.recognizer.identify(shows(STRANGER))) == ("below_threshold",)
    roles.gate.close()
    roles = stored(Policy(max_attempts=0))
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_who_is_erased_leaves_no_lock_out_behind(enrolled, shows):
    """A lock-out names its person by the reference: it goes with them."""
    roles = enrolled()
    for _ in range(5):
        roles.recognizer.verify("alice", shows(STRANGER))
    assert roles.core.store.db.read("SELECT scope FROM lockout") == [("alice",)]
    roles.enroller.withdraw("alice")
    assert roles.core.store.db.read("SELECT scope FROM lockout") == []


# --- how often -----------------------------------------------------------------------------------------------------


def test_a_gate_is_asked_so_often_in_a_minute_and_no_more(enrolled, shows, clock, pipeline):
    """Sixty trials of any kind in 60 s; what is more is rejected without a model, and recorded all the same."""
    roles = enrolled()
    recognizer = roles.recognizer
    for number in range(60):
        clock.wait(0.5)
        trial = recognizer.identify if number % 2 else lambda frame: recognizer.verify("alice", frame)
        assert trial(shows(ALICE)).decision.outcome == "match"
    pipeline.calls.clear()
    for call in (recognizer.identify, lambda frame: recognizer.verify("alice", frame)):
        assert reasons(call(shows(ALICE))) == ("rate_limited",)
    assert reasons(recognizer.verify("nobody", shows(ALICE))) == ("rate_limited",)
    for call in (recognizer.candidates, lambda frame: recognizer.find_similar(frame, "lost")):
        roles.enroller.lists() or roles.enroller.make_list("lost")
        with pytest.raises(errors.TrialRefusedError, match="too often"):
            call(shows(ALICE))
    assert pipeline.calls == []
    clock.wait(30.5)
    assert recognizer.identify(shows(ALICE)).decision.outcome == "match"
    assert reasons(recognizer.identify(shows(ALICE))) == ("rate_limited",)
    assert roles.gate.status().decisions == 65


def test_the_limit_can_be_turned_off(enrolled, shows):
    """max_trials_per_minute=0 is no limit."""
    recognizer = enrolled(max_trials_per_minute=0).recognizer
    for _ in range(100):
        assert recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_attack_starting_again_to_ask_more_often(stored, shows, clock):
    """A gate that is opened again still knows how often it was asked in the last minute."""
    roles = stored(Policy(max_trials_per_minute=3))
    roles.enroller.make_list("lost")
    roles.recognizer.identify(shows())
    roles.recognizer.candidates(shows())
    roles.recognizer.find_similar(shows(), "lost")
    for _ in range(5):
        assert reasons(roles.recognizer.identify(shows())) == ("rate_limited",)
    roles.gate.close()
    clock.wait(10)
    recognizer = stored(Policy(max_trials_per_minute=3)).recognizer
    assert reasons(recognizer.identify(shows())) == ("rate_limited",)
    clock.wait(50.1)
    assert reasons(recognizer.identify(shows())) == ("no_face",)


def test_a_rate_is_counted_in_a_sliding_minute():
    """Refused events do not count; those of a minute ago do not count any more; a clock that goes back locks nobody."""
    limit = RateLimit(2)
    assert [limit.allows(t) for t in (0, 30, 30, 59, 60, 61, 89.9, 90, 91)] == [
        *(True, True, False, False, True, False, False, True, False),
    ]
    assert limit.allows(5.0)
    assert all(RateLimit(0).allows(0) for _ in range(1000))
    resumed = RateLimit(2, ages=[70, 59, -5, 1], now=100)
    assert [resumed.allows(t) for t in (100, 100.9, 101.1, 150)] == [False, False, True, False]
