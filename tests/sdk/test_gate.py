"""The gate itself: roles and their credentials, what is recorded before it is answered, how it ends."""

from __future__ import annotations

import builtins
import json
import logging
import os
import threading
from datetime import timedelta

import numpy as np
import pytest

from facegate import Gate, Policy, TrustStore, errors, verify_decision
from facegate._credentials import ROLES, Credential
from facegate._declaration import Declaration
from facegate_convert._bundle_writer import write_bundle
from facegate_edge._bundle import open_bundle

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
ALICE, BOB, STRANGER = 1, 2, 3


def decisions_of(roles):
    """What waits in a gate's outbox, verified."""
    keys = TrustStore([roles.core.device.verify_key])
    return [verify_decision(jws, keys) for (jws,) in roles.core.store.db.read("SELECT jws FROM decision ORDER BY 1")]


def entries_of(roles, action="decision"):
    """The audit entries of an action."""
    return list(roles.core.audit.entries(action=action))


# --- roles ---------------------------------------------------------------------------------------------------------


def test_a_gate_does_nothing_by_itself(make_gate):
    """What it shows to everybody is how it is and how to end it; the rest is behind roles."""
    names = {name for name in dir(make_gate().gate) if not name.startswith("_")}
    assert names == {"recognizer", "enroller", "reviewer", "privacy_officer", "administrator"} | {
        *("status", "close", "in_memory"),
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_with_its_own_credential_and_no_other(make_gate, role):
    """The other roles' credentials, unknown ones, tokens as text and nothing at all are refused."""
    roles = make_gate()
    opening = getattr(roles.gate, role)
    wrong = [roles.credentials[other] for other in ROLES if other != role]
    for credential in (*wrong, Credential.new(role), roles.credentials[role].token, None):
        with pytest.raises(errors.RoleError) as caught:
            opening(credential)
        assert "fgc_" not in str(caught.value)
    assert opening(roles.credentials[role]) is not None
    assert {entry.details["role"] for entry in entries_of(roles, "credential_refused")} == {role}


def test_attack_trying_credentials_without_end(make_gate, clock):
    """After ten wrong ones in a minute none is looked at, not even the right one; each of the ten is in the log."""
    roles = make_gate()
    for _ in range(10):
        with pytest.raises(errors.RoleError, match="does not open"):
            roles.gate.recognizer(Credential.new("recognizer"))
    for _ in range(3):
        with pytest.raises(errors.RoleError, match="too many"):
            roles.gate.recognizer(roles.credentials["recognizer"])
    assert len(entries_of(roles, "credential_refused")) == 10
    clock.wait(60)
    assert roles.recognizer is not None


def test_what_a_revoked_credential_opened_is_closed(enrolled, shows):
    """From the moment of its revocation nothing is done with it, also by a program that opened the role before."""
    roles = enrolled()
    recognizer, administrator = roles.recognizer, roles.administrator
    assert recognizer.identify(shows(ALICE)).decision.outcome == "match"
    administrator.revoke_credential("recognizer")
    for call in (
        *(recognizer.identify, lambda frame: recognizer.verify("alice", frame), recognizer.candidates),
        *(recognizer.detect, lambda _: recognizer.group([]), recognizer.deliver, recognizer.delivery),
    ):
        with pytest.raises(errors.RoleError, match="revoked"):
            call(shows(ALICE))
    with pytest.raises(errors.RoleError):
        roles.gate.recognizer(roles.credentials["recognizer"])
    fresh = administrator.add_credential("recognizer", "recognizer")
    assert roles.gate.recognizer(fresh).identify(shows(ALICE)).decision.sequence == 2


def test_a_role_says_in_the_log_whose_credential_it_was(make_gate, shows):
    """Each decision is in the audit log with role, label, kind, outcome and reasons, and with nothing of the face."""
    roles = make_gate()
    signed = roles.recognizer.identify(shows())
    (entry,) = entries_of(roles)
    assert (entry.role, entry.reference) == ("recognizer", None)
    assert entry.details == {
        "by": "recognizer",
        "decision": signed.decision.id,
        "kind": "identify",
        "outcome": "rejected",
        "reasons": "no_face",
    }


@pytest.mark.parametrize(
    ("shown", "claimed", "about"),
    [
        (ALICE, None, "alice"),
        (STRANGER, None, None),
        (ALICE, "alice", "alice"),
        (STRANGER, "alice", "alice"),
        ((ALICE, {"live": 0.7}), None, "alice"),
    ],
    ids=["matched", "nobody", "verified", "claimed", "to be reviewed"],
)
def test_the_log_says_whom_a_decision_is_about(enrolled, shows, shown, claimed, about):
    """Whoever was matched, claimed to be, or is to be reviewed as: inside the device this can be looked up."""
    roles = enrolled(**LIVE)
    if claimed is None:
        roles.recognizer.identify(shows(shown))
    else:
        roles.recognizer.verify(claimed, shows(shown))
    assert entries_of(roles)[-1].reference == about


# --- what is answered has been recorded ----------------------------------------------------------------------------


def test_every_decision_waits_in_the_outbox_and_stands_in_the_log(enrolled, shows):
    """What was given to the caller is what was recorded, in its order, those for review marked."""
    roles = enrolled(**LIVE)
    given = [roles.recognizer.identify(shows(who)).decision for who in (ALICE, STRANGER, (BOB, {"live": 0.7}))]
    given.append(roles.recognizer.verify("bob", shows()).decision)
    assert sorted(decisions_of(roles), key=lambda d: d.sequence) == given
    assert [entry.details["decision"] for entry in entries_of(roles)] == [d.id for d in given]
    open_reviews = roles.core.store.db.read("SELECT id FROM decision WHERE review = 'open'")
    assert open_reviews == [(given[2].id,)]
    status = roles.gate.status()
    assert (status.people, status.decisions, status.waiting, status.reviews) == (2, 4, 4, 1)


def fill_disk(roles, full=True):
    """Let the database have no further page, or any number of them."""
    connection = roles.core.store.db._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 2**30
    connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_a_full_disk_gives_an_error_and_never_an_unrecorded_match(request, make_gate, shows, consent, on_disk):
    """When nothing can be written nobody is told anything; with room again the numbers go on without a gap."""
    roles = (request.getfixturevalue("stored") if on_disk else make_gate)(Policy(max_trials_per_minute=0))
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    fill_disk(roles)
    given = []

    def until_full():
        while len(given) < 10_000:
            given.append(roles.recognizer.identify(shows(ALICE)).decision)

    with pytest.raises(errors.StoreFullError) as caught:
        until_full()
    assert caught.value.hint
    for call in (
        lambda: roles.recognizer.identify(shows(ALICE)),
        lambda: roles.recognizer.identify(shows(STRANGER)),
        lambda: roles.recognizer.verify("alice", shows(ALICE)),
    ):
        with pytest.raises(errors.StoreFullError):
            call()
    assert sorted(decisions_of(roles), key=lambda d: d.sequence) == given
    roles.core.audit.verify()
    fill_disk(roles, full=False)
    decision = roles.recognizer.identify(shows(ALICE)).decision
    assert (decision.outcome, decision.sequence) == ("match", len(given) + 1)


@pytest.mark.parametrize("part", ["outbox.put", "audit.append", "lockout.failed"])
def test_if_one_part_fails_nothing_of_a_decision_is_kept(enrolled, shows, monkeypatch, part):
    """Number, outbox, log and lock-out are written together or not at all."""
    roles = enrolled()
    owner, name = part.split(".")

    def fail(*_, **__):
        raise errors.StoreWriteError("no")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(roles.core, owner), name, fail)
        for _ in range(7):
            with pytest.raises(errors.StoreWriteError):
                roles.recognizer.identify(shows(STRANGER))
    assert decisions_of(roles) == []
    assert entries_of(roles) == []
    assert roles.core.store.db.read("SELECT * FROM lockout") == []
    assert roles.recognizer.identify(shows(ALICE)).decision.sequence == 1


def test_numbers_go_on_when_a_gate_is_opened_again(stored, shows, consent):
    """A gate on disk knows its people and its last number after it was closed."""
    roles = stored()
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    first = [roles.recognizer.identify(shows(ALICE)).decision for _ in range(3)]
    roles.gate.close()
    roles = stored()
    decision = roles.recognizer.identify(shows(ALICE)).decision
    assert (decision.subject, decision.sequence) == ("alice", 4)
    assert decision.id > max(d.id for d in first)
    assert len(decisions_of(roles)) == 4
    roles.core.audit.verify()


def test_decisions_are_numbered_dated_and_ordered(enrolled, shows, clock):
    """Sequence numbers have no gap, ids sort in the order of the decisions, the time is the clock's in ms."""
    roles = enrolled()
    decisions = []
    for _ in range(5):
        decisions.append(roles.recognizer.identify(shows(ALICE)).decision)
        clock.wait(0.25)
    assert [d.sequence for d in decisions] == [1, 2, 3, 4, 5]
    assert sorted(d.id for d in decisions) == [d.id for d in decisions]
    assert decisions[0].time == "2026-03-01T12:00:00.123Z"
    assert decisions[1].time == "2026-03-01T12:00:00.373Z"


def test_threads_get_decisions_one_after_the_other(enrolled, shows):
    """Four threads at once: every decision has its own number, none is lost."""
    roles = enrolled(max_trials_per_minute=0)
    recognizer = roles.recognizer
    frames = [shows(ALICE) for _ in range(4)]
    numbers: list[int] = []

    def work(frame):
        numbers.extend(recognizer.identify(frame).decision.sequence for _ in range(25))

    threads = [threading.Thread(target=work, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 101))


# --- marks, declaration, clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("development", "demonstration", "marks"),
    [
        (False, False, ()),
        (True, False, ("development",)),
        (False, True, ("demonstration",)),
        (True, True, ("demonstration", "development")),
    ],
)
def test_marks(make_gate, bundle_path, bundle, shows, development, demonstration, marks):
    """A bundle in development mode, and a demonstration, mark every decision."""
    if development:
        with open_bundle(bundle_path, development=True) as opened:
            roles = make_gate(bundle=opened, demonstration=demonstration)
    else:
        roles = make_gate(bundle=bundle, demonstration=demonstration)
    assert roles.recognizer.identify(shows(ALICE)).decision.marks == marks
    assert roles.recognizer.verify("alice", shows()).decision.marks == marks


def test_every_decision_names_the_declaration(make_gate, shows):
    """The id of what the gate is for stands in each of its decisions; without one it is for a demonstration."""
    roles = make_gate()
    assert roles.recognizer.identify(shows()).decision.declaration == roles.core.declaration.id
    other = make_gate(declaration=None)
    assert other.recognizer.identify(shows()).decision.declaration == Declaration.demonstration().id
    assert roles.core.declaration.id != other.core.declaration.id
    assert other.gate.status().purpose == "demonstration"


@pytest.mark.parametrize("jump", [timedelta(days=-30), timedelta(days=30), timedelta(days=-20_000)])
def test_a_clock_that_jumps_is_marked_and_forgets_nobody(enrolled, shows, clock, jump):
    """The decision has the time that the gate believes, the mark says so, and the log when it began and ended."""
    roles = enrolled()
    believed = clock.now()
    clock.moment += jump
    clock.wait(1)
    decision = roles.recognizer.identify(shows(ALICE)).decision
    assert (decision.outcome, decision.marks) == ("match", ("clock",))
    assert decision.time.startswith(f"{believed + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}")
    assert roles.gate.status().clock == ("back" if jump < timedelta(0) else "forward")
    clock.moment -= jump
    assert roles.recognizer.identify(shows(ALICE)).decision.marks == ()
    assert [len(entries_of(roles, action)) for action in ("clock_suspect", "clock_trusted")] == [1, 1]


def test_an_engines_failure_is_an_error_and_no_decision(enrolled, shows, pipeline):
    """A model that fails decides nothing and uses up no number."""
    roles = enrolled()
    genuine = pipeline.embed

    def fail(*_):
        raise errors.EngineError("the model failed")

    pipeline.embed = fail
    for call in (roles.recognizer.identify, roles.recognizer.detect):
        with pytest.raises(errors.EngineError):
            call(shows(ALICE))
    pipeline.embed = genuine
    assert roles.recognizer.identify(shows(ALICE)).decision.sequence == 1


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_policy_that_the_bundle_cannot_keep_is_refused(make_gate, tmp_path, make_manifest, model_bytes):
    """An FMR that was never measured, or liveness without a model, is refused when the gate is made."""
    with pytest.raises(errors.PolicyError, match="no operating point"):
        make_gate(Policy(fmr=1e-6))
    manifest = make_manifest("detector", "recognizer")
    write_bundle(tmp_path / "b.fgb", manifest, {m.role: model_bytes[m.role] for m in manifest.models}, None)
    with (
        open_bundle(tmp_path / "b.fgb", development=True) as without,
        pytest.raises(errors.PolicyError, match="liveness"),
    ):
        make_gate(Policy(**LIVE), bundle=without)


def test_a_gate_that_could_not_sign_is_refused(make_gate, device_key):
    """A public key, or a path, in the private key's place is told before anybody is enrolled."""
    for key in (device_key, "device.key", None):
        with pytest.raises(errors.KeyTypeError):
            make_gate(device=key)


@pytest.mark.parametrize("name", ["", "the door", "a" * 65, "-door", "tür", None, 7])
def test_a_device_has_a_reference(make_gate, name):
    """What is no reference cannot name a device."""
    with pytest.raises(errors.SubjectError):
        make_gate(device_id=name)


# --- the end -------------------------------------------------------------------------------------------------------


def test_closing_wipes(enrolled, shows, pipeline):
    """A closed gate knows nobody, refuses everything, and leaves a pipeline that it was given open."""
    roles = enrolled()
    rows = roles.core.store.index._gallery._memory.rows
    roles.recognizer.detect(shows(ALICE))
    (probe,) = [probe for probe, _ in roles.core.captured._held.values()]
    assert np.any(rows)
    assert np.any(probe.template.data)
    opened = roles.recognizer, roles.enroller
    roles.gate.close()
    roles.gate.close()
    assert not np.any(rows)
    assert not np.any(probe.template.data)
    assert not pipeline.closed
    recognizer, enroller = opened
    for call in (
        lambda: recognizer.verify("alice", shows(ALICE)),
        lambda: recognizer.identify(shows(ALICE)),
        lambda: recognizer.detect(shows(ALICE)),
        lambda: recognizer.group([]),
        enroller.people,
        roles.gate.status,
        *(lambda role=role: getattr(roles.gate, role)(roles.credentials[role]) for role in ROLES),
    ):
        with pytest.raises(errors.GateClosedError):
            call()


def test_a_pipeline_of_its_own_is_closed_with_the_gate(make_gate, pipeline, monkeypatch, shows):
    """Also when the gate cannot be made for another reason."""
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, **__: pipeline)
    roles = make_gate(pipeline=None)
    roles.recognizer.identify(shows())
    roles.gate.close()
    assert pipeline.closed
    pipeline.closed = False
    monkeypatch.setattr("facegate._gate.GateCore", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_gate(pipeline=None)
    assert pipeline.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_gate_decides_nothing(enrolled, shows):
    """Parent and child would sign different decisions with the same number: the child is refused.

    What it closes is the gate in the child: the parent's templates are not wiped.
    """
    roles = enrolled()
    recognizer = roles.recognizer
    captured = recognizer.detect(shows(ALICE))[0]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            recognizer.identify(shows(ALICE))
            os.write(writing, b"decided")
        except errors.GateClosedError:
            roles.gate.close()
            os.write(writing, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 16) == b"refused"
    os.close(reading)
    os.close(writing)
    assert recognizer.identify(captured).decision.outcome == "match"
    decision = recognizer.identify(shows(ALICE)).decision
    assert (decision.outcome, decision.sequence) == ("match", 2)


def test_nothing_is_written_and_nothing_biometric_is_said(
    make_gate, shows, consent, tmp_path, monkeypatch, caplog, capfd
):
    """In memory: no file, no log line, no output; and no number in any text that a gate's values give."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    opened = []
    genuine = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *a, **k: opened.append(a) or genuine(*a, **k))
    roles = make_gate(Policy(**LIVE))
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    (captured,) = roles.recognizer.detect(shows(ALICE))
    results = [
        roles.recognizer.identify(shows(ALICE)),
        roles.recognizer.verify("bob", shows(ALICE)),
        roles.recognizer.identify(captured),
    ]
    monkeypatch.undo()
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    for signed in results:
        values = json.loads(signed.decision.to_json())
        assert not [v for v in values.values() if isinstance(v, float)]
    assert repr(roles.gate) == "Gate(door-1)"
    assert repr(captured) == f"CapturedFace({captured.id})"


def test_in_memory_gives_a_credential_for_each_role(make_gate):
    """Each opens its role, none is like another, and another gate knows none of them."""
    roles, other = make_gate(), make_gate()
    assert isinstance(roles.gate, Gate)
    assert sorted(roles.credentials) == sorted(ROLES)
    assert len({credential.token for credential in roles.credentials.values()}) == len(ROLES)
    for role in ROLES:
        with pytest.raises(errors.RoleError):
            getattr(other.gate, role)(roles.credentials[role])
