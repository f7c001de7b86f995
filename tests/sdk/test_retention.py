"""Retention: each class of data has its time; what is over counts no more at once, and is erased by the sweeper."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from facegate import Policy, errors
from facegate._retention import PRESET_DAYS, Retention
from facegate._settings import SETTINGS

ALICE, BOB = 1, 2
DAY = 86_400
CHECKED = {"checked_by": "passport-seen"}
TABLES = ("person", "face", "consent", "membership", "decision", "report", "request", "audit")


@pytest.fixture
def roles(enrolled):
    """A gate with alice and bob, two faces each."""
    return enrolled()


def rows(roles, table):
    """How many rows a table has."""
    return roles.core.store.db.read(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - constants


def entries(roles, action):
    """The audit entries of an action."""
    return list(roles.core.audit.entries(action=action))


def test_the_defaults():
    """Captured faces 5 minutes, people and audit a year: what docs/privacy.md says."""
    assert SETTINGS["captured_seconds"].default == 300
    assert SETTINGS["people_days"].default == 365
    assert SETTINGS["audit_days"].default == 365


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("captured_seconds", 86_401),
        ("captured_seconds", 0),
        ("people_days", 0),
        ("people_preset", "forever"),
        ("audit_days", 183),
        ("request_due_days", 91),
        ("clock_gap_days", 0),
    ],
)
def test_limits_of_the_settings(roles, name, value):
    """Nobody can set more than 24 hours for captured faces, less than 6 months for the audit log, or "forever"."""
    with pytest.raises(errors.SettingError):
        roles.administrator.set(name, value)


@pytest.mark.parametrize(("preset", "days"), [("bipa", 1095), ("cubi", 365), ("custom", 30)])
def test_presets(roles, shows, clock, preset, days):
    """BIPA's three years, CUBI's one, or days of one's own, after the last match."""
    roles.administrator.set("people_days", 30)
    roles.administrator.set("people_preset", preset)
    assert Retention.read(roles.core.store.db).people_days == days == PRESET_DAYS.get(preset, 30)
    clock.wait(days * DAY - 1)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"
    clock.wait(DAY)
    assert roles.people() == ("alice",)  # bob was not used
    clock.wait(days * DAY)
    assert roles.people() == ()


def test_who_was_unused_too_long_is_not_recognized_though_nobody_swept(roles, shows, clock, monkeypatch):
    """Enforced at read: the moment it is over, whether the sweeper came or not."""
    monkeypatch.setattr("facegate._core.sweep", lambda _: None)
    clock.wait(365 * DAY - 1)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"
    clock.wait(1)
    assert roles.recognizer.identify(shows(BOB)).decision.outcome == "no_match"
    assert roles.recognizer.verify("bob", shows(BOB)).decision.reasons == ("unknown_subject",)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"
    assert rows(roles, "person") == 2


def test_sweeping_erases_who_was_unused_too_long(roles, shows, clock):
    """Person, key, faces, consents: nothing stays but the audit log's entry."""
    clock.wait(364 * DAY)
    roles.recognizer.identify(shows(ALICE))
    clock.wait(2 * DAY)
    report = roles.officer.sweep()
    assert (report.people, report.lapsed, report.faces, report.suspect) == (("bob",), (), 2, "")
    assert [rows(roles, table) for table in TABLES[:4]] == [1, 2, 1, 0]
    (entry,) = entries(roles, "retention_erased")
    assert (entry.reference, entry.role, entry.details["faces"]) == ("bob", "gate", 2)


def test_a_dry_run_only_tells(roles, clock):
    """It names who would be erased, and erases nobody."""
    clock.wait(366 * DAY)
    report = roles.officer.sweep(dry_run=True)
    assert (report.people, report.faces, report.dry_run, report.empty) == (("alice", "bob"), 4, True, False)
    assert rows(roles, "person") == 2
    assert roles.officer.sweep().people == ("alice", "bob")
    assert roles.officer.sweep().empty


def test_the_gate_sweeps_by_itself(roles, shows, clock):
    """At most an hour after the time is over, with whatever the gate is asked for next."""
    clock.wait(365 * DAY + 3600)
    roles.recognizer.identify(shows())
    assert (rows(roles, "person"), len(entries(roles, "retention_erased"))) == (0, 2)


def test_an_expired_consent_erases_the_templates(make_gate, shows, consent, clock, monkeypatch):
    """At once at read; the sweeper destroys key and templates, and remembers only that the person was enrolled."""
    roles = make_gate()
    ending = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=10))
    roles.enroller.enroll("alice", [shows(ALICE)], ending)
    clock.wait(10 * DAY - 1)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"
    with monkeypatch.context() as patch:
        patch.setattr("facegate._core.sweep", lambda _: None)
        clock.wait(1)
        assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
        assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
        assert rows(roles, "face") == 1
    report = roles.officer.sweep()
    assert (report.lapsed, report.people, report.faces) == (("alice",), (), 1)
    assert (rows(roles, "person"), rows(roles, "face")) == (1, 0)
    assert roles.core.store.db.read("SELECT wrapped_key FROM person") == [(b"",)]
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    assert entries(roles, "consent_lapsed")[0].reference == "alice"


def test_a_renewed_consent_keeps_the_person(make_gate, shows, consent, clock):
    """The newest record counts: an earlier one that runs out erases nothing."""
    roles = make_gate()
    ending = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=10))
    roles.enroller.enroll("alice", [shows(ALICE)], ending)
    roles.enroller.record_consent("alice", consent)
    clock.wait(20 * DAY)
    assert roles.officer.sweep().empty
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_delivered_decisions_go_and_waiting_ones_stay(make_gate, shows, consent, clock):
    """What was not delivered, and what waits for a person's verdict, is not erased however old it is."""
    roles = make_gate(Policy(require_liveness=True, live_at=0.9, spoof_at=0.5))
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    for live in (0.99, 0.7, 0.99):
        roles.recognizer.identify(shows((ALICE, {"live": live})))
    db = roles.core.store.db
    with db.transaction() as tx:
        tx.execute("UPDATE decision SET delivered = time WHERE sequence < 3")
    clock.wait(31 * DAY)
    assert roles.officer.sweep().decisions == 1
    assert db.read("SELECT sequence FROM decision ORDER BY sequence") == [(2,), (3,)]


def test_closed_requests_go_and_open_ones_stay(roles, clock):
    """Three years after it was answered a request is erased; one that nobody answered is not."""
    roles.administrator.set("people_days", 3650)
    answered = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    roles.officer.open_request("access", "bob", checked_by="passport-seen")
    roles.officer.close_request(answered.number, "done")
    clock.wait(1097 * DAY)
    assert roles.officer.sweep().requests == 1
    assert [r.reference for r in roles.officer.requests()] == ["bob"]


def test_old_audit_entries_are_purged_verifiably(roles, shows, clock):
    """What is a year old goes, the log says so, and what is left verifies."""
    roles.administrator.set("people_days", 3650)
    before = rows(roles, "audit")
    clock.wait(200 * DAY)
    roles.recognizer.identify(shows())
    clock.wait(200 * DAY)
    report = roles.officer.sweep()
    assert report.audit >= before
    assert entries(roles, "enroll") == []
    assert entries(roles, "audit_purged")[0].details["entries"] == report.audit
    roles.core.audit.verify()


@pytest.mark.parametrize(
    "jump",
    [timedelta(days=3650), timedelta(days=366), timedelta(days=-365), timedelta(hours=-1)],
    ids=["ten-years", "a-year-and-a-day", "back-a-year", "back-an-hour"],
)
def test_a_clock_that_jumps_deletes_nothing(roles, shows, clock, jump):
    """The sweeper stands still and says so, the gate says so, decisions are marked; people are recognized as before."""
    clock.moment += jump
    before = [rows(roles, table) for table in TABLES[:4]]
    report = roles.officer.sweep()
    assert report.suspect == ("forward" if jump > timedelta(0) else "back") == roles.gate.status().clock
    assert report.empty
    clock.wait(2 * 3600)
    decision = roles.recognizer.identify(shows(ALICE)).decision
    assert (decision.subject, decision.marks) == ("alice", ("clock",))
    assert [rows(roles, table) for table in TABLES[:4]] == before
    assert len(entries(roles, "clock_suspect")) == 1


def test_attack_setting_the_clock_back_revives_nobody(make_gate, shows, consent, clock):
    """Whose consent had expired by the trusted time stays refused when the clock is set back before it."""
    roles = make_gate()
    ending = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=10))
    roles.enroller.enroll("alice", [shows(ALICE)], ending)
    roles.enroller.enroll("bob", [shows(BOB)], consent)
    clock.wait(10 * DAY)
    clock.moment -= timedelta(days=5)
    decision = roles.recognizer.verify("alice", shows(ALICE)).decision
    assert (decision.reasons, decision.marks) == (("consent_missing",), ("clock",))
    assert roles.recognizer.verify("bob", shows(BOB)).decision.outcome == "match"
    assert rows(roles, "face") == 2


def test_a_consent_still_expires_while_the_clock_is_suspect(make_gate, shows, consent, clock):
    """Seconds are counted on: what runs out meanwhile is refused, and erased when the clock is believed again."""
    roles = make_gate()
    ending = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=10))
    roles.enroller.enroll("alice", [shows(ALICE)], ending)
    clock.moment -= timedelta(days=365)
    clock.wait(10 * DAY)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    assert rows(roles, "face") == 1
    clock.moment += timedelta(days=365)
    assert roles.officer.sweep().lapsed == ("alice",)


def test_the_operator_accepts_the_clock(roles, clock):
    """Accepted, the clock's time counts: what is over by it is erased; the audit log says who accepted it."""
    clock.moment += timedelta(days=366)
    assert roles.officer.sweep().empty
    roles.administrator.accept_clock()
    assert roles.gate.status().clock == ""
    roles.officer.sweep()
    assert roles.people() == ()
    assert entries(roles, "accept_clock")[0].role == "administrator"


def test_a_device_without_a_battery_sweeps_again_when_the_network_has_set_its_clock(stored, shows, consent, clock):
    """Started in 1970 it deletes nothing; set right, it goes on as before, and nobody had to accept anything."""
    opened = stored()
    opened.enroller.enroll("alice", [shows(ALICE)], consent)
    opened.gate.close()
    right = clock.moment + timedelta(days=30)
    clock.restart()
    clock.moment = datetime(1970, 1, 1, tzinfo=timezone.utc)
    opened = stored()
    assert opened.gate.status().clock == "back"
    assert opened.recognizer.identify(shows(ALICE)).decision.marks == ("clock",)
    clock.wait(60)
    clock.moment = right
    assert opened.recognizer.identify(shows(ALICE)).decision.marks == ()
    assert opened.gate.status().clock == ""
    assert opened.people() == ("alice",)
    actions = [entry.action for entry in opened.core.audit.entries()]
    assert actions.index("clock_suspect") < actions.index("clock_trusted")


def test_many_people_are_erased_in_several_transactions(roles, clock, monkeypatch):
    """None is forgotten, however many fit into one."""
    monkeypatch.setattr("facegate._retention._BATCH", 1)
    clock.wait(366 * DAY)
    assert roles.officer.sweep().people == ("alice", "bob")
    assert [rows(roles, table) for table in TABLES[:4]] == [0, 0, 0, 0]


def test_a_sweep_that_fails_says_so(roles, clock, monkeypatch):
    """Nothing is half done: who could not be erased is there, and not recognized."""

    def fail(*_, **__):
        raise errors.StoreFullError("no space")

    clock.wait(366 * DAY)
    with monkeypatch.context() as patch:
        patch.setattr(roles.core.store.db, "_write_mark", fail)
        with pytest.raises(errors.StoreFullError):
            roles.officer.sweep()
    assert rows(roles, "person") == 2
    assert roles.officer.sweep().people == ("alice", "bob")


def test_captured_faces_are_held_for_their_time(roles, shows, clock):
    """Five minutes by default, and no longer: an id that is over means nothing."""
    (face,) = roles.recognizer.detect(shows(ALICE))
    clock.wait(299)
    assert roles.recognizer.identify(face.id).decision.subject == "alice"
    clock.wait(1)
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.identify(face.id)


def test_who_is_enrolled_while_the_clock_is_suspect_is_kept(make_gate, shows, consent, clock):
    """Enrolled in what the device took for 1970, a person was not unused for decades when the clock is right again."""
    roles = make_gate()
    right = clock.moment
    clock.moment = datetime(1970, 1, 1, tzinfo=timezone.utc)
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    clock.wait(60)
    clock.moment = right + timedelta(seconds=60)
    assert roles.officer.sweep().empty
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"
    assert roles.officer.access("alice", **CHECKED)["person"]["enrolled"].startswith("2026-03-01")


def test_faces_of_lists_are_kept_for_their_time(make_gate, shows, consent, clock, monkeypatch):
    """A year after it was added a face of a list is similar to nobody any more, and the sweeper erases it."""
    roles = make_gate()
    roles.enroller.make_list("lost-badges")
    roles.enroller.add_to_list("lost-badges", [shows(ALICE)], consent)
    clock.wait(365 * DAY - 1)
    roles.enroller.add_to_list("lost-badges", [shows(BOB)], consent)
    assert len(roles.recognizer.find_similar(shows(ALICE), "lost-badges")) == 1
    with monkeypatch.context() as patch:
        patch.setattr("facegate._core.sweep", lambda _: None)
        clock.wait(1)
        assert roles.recognizer.find_similar(shows(ALICE), "lost-badges") == ()
        assert rows(roles, "face") == 2
    report = roles.officer.sweep()
    assert (report.list_faces, report.faces, report.empty) == (1, 0, False)
    assert rows(roles, "face") == 1
    assert len(roles.recognizer.find_similar(shows(BOB), "lost-badges")) == 1
    assert entries(roles, "retention_erased")[0].details["faces"] == 1


def test_no_face_of_a_list_outlives_the_record_of_its_consent(make_gate, shows, consent, clock):
    """The record is the entry in the audit log: `list_days` is never more than `audit_days`."""
    roles = make_gate()
    roles.administrator.set("list_days", 3000)
    roles.administrator.set("audit_days", 184)
    roles.enroller.make_list("lost-badges")
    roles.enroller.add_to_list("lost-badges", [shows(ALICE)], consent)
    assert roles.officer.retention().list_days == 184
    clock.wait(184 * DAY - 1)
    assert len(roles.recognizer.find_similar(shows(ALICE), "lost-badges")) == 1
    clock.wait(1)
    assert roles.recognizer.find_similar(shows(ALICE), "lost-badges") == ()
    roles.officer.sweep()
    assert rows(roles, "face") == 0
    assert entries(roles, "add_to_list")  # the entry itself is kept for at least as long


def test_faces_of_lists_go_with_a_log_that_is_purged_by_hand(make_gate, shows, consent, clock):
    """Nobody could show any more that somebody agreed."""
    roles = make_gate()
    roles.enroller.make_list("lost-badges")
    for identity in (ALICE, BOB):
        roles.enroller.add_to_list("lost-badges", [shows(identity)], consent)
        clock.wait(100 * DAY)
    roles.officer.purge_audit(clock.now() - timedelta(days=190))
    report = roles.officer.sweep()
    assert report.list_faces == 1
    assert roles.recognizer.find_similar(shows(ALICE), "lost-badges") == ()
    assert len(roles.recognizer.find_similar(shows(BOB), "lost-badges")) == 1


@pytest.mark.parametrize("over", ["time", "consent"])
def test_who_is_restricted_is_kept_until_the_restriction_ends(make_gate, shows, consent, clock, over):
    """To be stored and not used: nobody is recognized, nothing is erased, and the sweep names them; then they go."""
    roles = make_gate()
    until = clock.now() + timedelta(days=10) if over == "consent" else None
    roles.enroller.enroll("alice", [shows(ALICE)], dataclasses.replace(consent, expires_at=until))
    roles.enroller.enroll("bob", [shows(BOB)], consent)
    roles.officer.restrict("alice", **CHECKED)
    clock.wait((11 if over == "consent" else 366) * DAY)
    for dry_run in (True, False):
        report = roles.officer.sweep(dry_run=dry_run)
        assert report.held == ("alice",)
        assert "alice" not in (*report.people, *report.lapsed)
    assert roles.core.store.db.read("SELECT count(*) FROM face JOIN person ON person.id = person")[0][0] == (
        2 if over == "consent" else 1
    )
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    roles.officer.unrestrict("alice", **CHECKED)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    report = roles.officer.sweep()
    assert (report.held, "alice" in (*report.people, *report.lapsed)) == ((), True)


def test_nobody_is_kept_for_longer_because_a_clock_was_ahead(stored, shows, consent, clock):
    """Who was enrolled by a clock that was wrongly believed counts as used when the right one is accepted."""
    roles = stored()
    right = clock.moment
    clock.moment = right + timedelta(days=3650)
    roles.administrator.accept_clock()
    dated = dataclasses.replace(consent, given_at=right)
    roles.enroller.enroll("alice", [shows(ALICE)], dated)
    roles.enroller.make_list("lost-badges")
    roles.enroller.add_to_list("lost-badges", [shows(BOB)], dated)
    clock.moment = right
    roles.administrator.accept_clock()
    clock.wait(365 * DAY - 60)
    assert roles.people() == ("alice",)
    clock.wait(60)
    report = roles.officer.sweep()
    assert (report.people, report.list_faces) == (("alice",), 1)
    assert roles.people() == ()


def test_attack_a_clock_that_jumps_between_init_and_the_first_start(gate_folder, clock):
    """A gate knows the time from the moment when it is made: ten years ahead at its first opening is noticed."""
    clock.moment += timedelta(days=3650)
    with gate_folder.open() as roles:
        assert roles.gate.status().clock == "forward"


def test_attack_a_clock_that_jumps_over_the_first_restart(gate_folder, clock, shows, consent):
    """Far ahead after a start: nobody is erased, nobody comes back, and the gate says so until somebody has looked."""
    with gate_folder.open() as roles:
        roles.enroller.enroll("alice", [shows(ALICE)], consent)
        until = clock.now() + timedelta(seconds=90)
        roles.enroller.enroll("bob", [shows(BOB)], dataclasses.replace(consent, expires_at=until))
    clock.restart()
    clock.moment += timedelta(days=3650)
    with gate_folder.open() as roles:
        assert roles.gate.status().clock == "forward"
        assert roles.officer.sweep().suspect == "forward"
        assert roles.people() == ("alice", "bob")
        assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"
        clock.wait(120)
        assert roles.recognizer.identify(shows(BOB)).decision.outcome == "no_match"
    clock.restart()
    clock.moment -= timedelta(days=3650 * 2)
    with gate_folder.open() as roles:
        assert roles.gate.status().clock == "back"
        assert roles.recognizer.identify(shows(BOB)).decision.outcome == "no_match"
        assert roles.people() == ("alice", "bob")


def test_a_request_is_due_in_time_though_it_was_dated_by_a_clock_that_was_ahead(roles, clock):
    """When the right clock is accepted the person's month begins then, and not in ten years."""
    right = clock.moment
    clock.moment = right + timedelta(days=3650)
    roles.administrator.accept_clock()
    roles.officer.open_request("access", "alice", **CHECKED)
    clock.moment = right
    roles.administrator.accept_clock()
    (request,) = roles.officer.requests()
    assert (request.received, request.due) == (clock.now(), clock.now() + timedelta(days=30))


def test_a_gate_that_was_made_by_a_clock_that_was_ahead_keeps_its_lists(gate_folder, shows, consent, clock):
    """Its first entry is dated in the future; the record of a later one is there all the same."""
    right = clock.moment
    clock.moment = right + timedelta(days=3650)
    with gate_folder.open() as roles:
        roles.administrator.accept_clock()
        with roles.core.operation("gate", "") as work:  # as if it had been made then: nothing of before is left
            work.tx.execute("UPDATE audit SET time = ?", work.ms)
        roles.enroller.make_list("lost-badges")
        clock.moment = right
        roles.administrator.accept_clock()
        roles.enroller.add_to_list("lost-badges", [shows(ALICE)], consent)
        assert roles.officer.sweep().list_faces == 0
        assert len(roles.recognizer.find_similar(shows(ALICE), "lost-badges")) == 1
