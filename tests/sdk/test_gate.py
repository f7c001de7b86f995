"""The gate: every way a frame can end, as a decision."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
import logging
import os
import threading
from datetime import timedelta

import numpy as np
import pytest

from facegate import Gate, Policy, errors, verify_decision
from facegate_convert._bundle_writer import write_bundle
from facegate_edge._bundle import open_bundle

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
ALICE, BOB, STRANGER = 1, 2, 3


@pytest.fixture
def shows(pipeline, faces):
    """Makes frames of people, each an identity or (identity, changes)."""
    person, _, _ = faces

    def show(*people):
        return pipeline.show(*(person(p) if isinstance(p, int) else person(p[0], **p[1]) for p in people))

    return show


@pytest.fixture
def enrolled(make_gate, shows, consent):
    """Makes a gate with alice and bob."""

    def make(**policy) -> Gate:
        gate = make_gate(Policy(**policy))
        for name, identity in (("alice", ALICE), ("bob", BOB)):
            assert gate.enroll(name, [shows(identity), shows(identity)], consent).enrolled
        return gate

    return make


def blurred(faces):
    """Changes that make a face too blurred."""
    return {"quality": faces[1]}


TABLE = [
    # people in the frame, policy, verify whom, outcome, reasons, liveness
    ([], {}, None, "rejected", ["no_face"], "not_checked"),
    ([], {}, "alice", "rejected", ["no_face"], "not_checked"),
    ([ALICE], {}, None, "match", [], "not_checked"),
    ([ALICE], {}, "alice", "match", [], "not_checked"),
    ([BOB], {}, None, "match", [], "not_checked"),
    ([BOB], {}, "alice", "no_match", ["below_threshold"], "not_checked"),
    ([STRANGER], {}, None, "no_match", ["below_threshold"], "not_checked"),
    ([STRANGER], {}, "alice", "no_match", ["below_threshold"], "not_checked"),
    ([(ALICE, {"noise": 2.0})], {}, "alice", "no_match", ["below_threshold"], "not_checked"),
    ([(ALICE, {"noise": 0.9})], {}, "alice", "match", [], "not_checked"),
    ([(ALICE, {"noise": 0.9})], {"threshold": 0.99}, "alice", "no_match", ["below_threshold"], "not_checked"),
    ([ALICE, STRANGER], {}, None, "rejected", ["several_faces"], "not_checked"),
    ([ALICE, STRANGER], {"one_face_only": False}, None, "match", [], "not_checked"),
    (
        [ALICE, (STRANGER, {"size": 200.0})],
        {"one_face_only": False},
        None,
        "no_match",
        ["below_threshold"],
        "not_checked",
    ),
    ([(ALICE, blurred)], {}, None, "rejected", ["low_quality"], "not_checked"),
    ([(ALICE, lambda faces: {"quality": faces[2]})], {}, None, "rejected", ["low_quality"], "not_checked"),
    ([ALICE], {}, "nobody", "rejected", ["unknown_subject"], "not_checked"),
    ([ALICE], LIVE, None, "match", [], "live"),
    ([(ALICE, {"live": 0.9})], LIVE, None, "match", [], "live"),
    ([(ALICE, {"live": 0.7})], LIVE, None, "review", ["liveness_uncertain"], "uncertain"),
    ([(ALICE, {"live": 0.7})], LIVE, "bob", "no_match", ["below_threshold", "liveness_uncertain"], "uncertain"),
    ([(ALICE, {"live": 0.5})], LIVE, None, "rejected", ["liveness_spoof"], "spoof"),
    ([(ALICE, {"live": float("nan")})], LIVE, None, "rejected", ["liveness_spoof"], "spoof"),
    ([(STRANGER, {"live": 0.1})], LIVE, None, "rejected", ["liveness_spoof"], "spoof"),
    ([(ALICE, {"live": 0.1})], {}, None, "match", [], "not_checked"),
    ([(ALICE, blurred)], LIVE, None, "rejected", ["low_quality"], "not_checked"),
]


@pytest.mark.parametrize(("people", "policy", "claimed", "outcome", "reasons", "liveness"), TABLE)
def test_every_way_a_frame_can_end(
    enrolled, shows, faces, device_key, bundle, people, policy, claimed, outcome, reasons, liveness
):
    """Each scene ends in its outcome, reasons and liveness, signed by the device, with a subject on a match only."""
    gate = enrolled(**policy)
    people = [(p[0], p[1](faces)) if isinstance(p, tuple) and callable(p[1]) else p for p in people]
    frame = shows(*people)
    signed = gate.identify(frame) if claimed is None else gate.verify(claimed, frame)
    decision = signed.decision
    assert verify_decision(signed.jws, device_key) == decision
    assert (decision.outcome, list(decision.reasons), decision.liveness) == (outcome, reasons, liveness)
    assert decision.kind == ("identify" if claimed is None else "verify")
    expected = {ALICE: "alice", BOB: "bob"}
    first = people[0][0] if people and isinstance(people[0], tuple) else (people or [None])[0]
    assert decision.subject == (expected[first] if outcome == "match" else None)
    assert (decision.device, decision.bundle, decision.policy) == ("door-1", bundle.id, Policy(**policy).id)


def test_decisions_are_numbered_dated_and_ordered(enrolled, shows, clock):
    """Sequence numbers have no gap, ids sort in the order of the decisions, the time is the clock's in ms."""
    gate = enrolled()
    decisions = []
    for _ in range(5):
        decisions.append(gate.identify(shows(ALICE)).decision)
        clock.wait(0.25)
    assert [d.sequence for d in decisions] == [1, 2, 3, 4, 5]
    assert sorted(d.id for d in decisions) == [d.id for d in decisions]
    assert decisions[0].time == "2026-03-01T12:00:00.123Z"
    assert decisions[1].time == "2026-03-01T12:00:00.373Z"


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
            gate = make_gate(bundle=opened, demonstration=demonstration)
    else:
        gate = make_gate(bundle=bundle, demonstration=demonstration)
    assert gate.identify(shows(ALICE)).decision.marks == marks
    assert gate.verify("alice", shows()).decision.marks == marks


# --- lock-out ------------------------------------------------------------------------------------------------------


def test_lock_out_after_five_failures_grows(enrolled, shows, clock, pipeline):
    """Five failed trials lock for 30 s, each further one for twice as long; locked trials see no model."""
    gate = enrolled()
    for _ in range(5):
        assert gate.verify("alice", shows(STRANGER)).decision.reasons == ("below_threshold",)
    for seconds in (30, 60, 120):
        pipeline.calls.clear()
        assert gate.verify("alice", shows(ALICE)).decision.reasons == ("locked_out",)
        clock.wait(seconds - 0.5)
        assert gate.verify("alice", shows(ALICE)).decision.reasons == ("locked_out",)
        assert pipeline.calls == []
        clock.wait(0.5)
        assert gate.verify("alice", shows(STRANGER)).decision.reasons == ("below_threshold",)
    clock.wait(240)
    assert gate.verify("alice", shows(ALICE)).decision.outcome == "match"
    assert gate.verify("alice", shows(STRANGER)).decision.reasons == ("below_threshold",)
    assert gate.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_attack_own_match_buys_no_trials_as_somebody_else(enrolled, shows):
    """Bob cannot clear the failures against alice by being recognised as himself."""
    gate = enrolled()
    for _ in range(5):
        gate.verify("alice", shows(BOB))
        gate.verify("bob", shows(BOB))
    assert gate.verify("alice", shows(BOB)).decision.reasons == ("locked_out",)
    assert gate.verify("bob", shows(BOB)).decision.outcome == "match"


def test_attack_setting_the_clock_ends_no_lock_out(enrolled, shows, clock):
    """A lock-out runs by the monotonic clock."""
    gate = enrolled()
    for _ in range(5):
        gate.identify(shows(STRANGER))
    clock.moment += timedelta(days=1)
    assert gate.identify(shows(ALICE)).decision.reasons == ("locked_out",)


def test_what_counts_as_a_failed_trial(enrolled, shows, faces):
    """Attacks and false faces count; empty frames, bad pictures and unknown references do not."""
    gate = enrolled(**LIVE)
    for _ in range(6):
        for frame in (shows(), shows(ALICE, BOB), shows((ALICE, blurred(faces)))):
            gate.verify("alice", frame)
        gate.verify("nobody", shows(ALICE))
        assert gate.verify("alice", shows((ALICE, {"live": 0.7}))).decision.outcome == "review"
    assert gate.verify("alice", shows(ALICE)).decision.outcome == "match"
    for _ in range(5):
        gate.verify("alice", shows((ALICE, {"live": 0.1})))
    assert gate.verify("alice", shows(ALICE)).decision.reasons == ("locked_out",)


def test_lock_out_can_be_turned_off(enrolled, shows):
    """max_attempts=0 never locks."""
    gate = enrolled(max_attempts=0)
    for _ in range(50):
        gate.identify(shows(STRANGER))
    assert gate.identify(shows(ALICE)).decision.outcome == "match"


# --- enrolment -----------------------------------------------------------------------------------------------------


def test_enrolling_uses_the_good_frames_and_says_why_not_the_others(make_gate, shows, faces, consent):
    """Frames without one usable face of one person are named with their reason; the others become templates."""
    gate = make_gate(Policy(**LIVE))
    result = gate.enroll(
        "alice",
        [
            shows(ALICE),
            shows(),
            shows(ALICE, BOB),
            shows((ALICE, blurred(faces))),
            shows((ALICE, {"live": 0.1})),
            shows((ALICE, {"live": 0.7})),
            shows(STRANGER),
            shows(ALICE),
        ],
        consent,
    )
    assert result.frames == (
        None,
        "no_face",
        "several_faces",
        "low_quality",
        "liveness_spoof",
        "liveness_uncertain",
        "inconsistent",
        None,
    )
    assert (result.enrolled, result.added, result.templates, gate.subjects()) == (True, 2, 2, ("alice",))


def test_attack_a_strangers_frame_in_an_enrolment(enrolled, shows, consent):
    """A stranger's frame does not enter a person's templates, neither at first nor later."""
    gate = enrolled()
    assert gate.enroll("alice", [shows(STRANGER)], consent).frames == ("inconsistent",)
    assert gate.identify(shows(STRANGER)).decision.outcome == "no_match"


def test_nobody_is_enrolled_without_a_usable_frame(make_gate, shows, consent):
    """No usable frame, no enrolment."""
    gate = make_gate()
    result = gate.enroll("alice", [shows(), shows(ALICE, BOB)], consent)
    assert (result.enrolled, result.templates, gate.subjects()) == (False, 0, ())


def test_the_same_face_under_another_reference(enrolled, shows, consent):
    """A face that is enrolled already is told with its reference, and enrolled again only if that is wanted."""
    gate = enrolled()
    result = gate.enroll("mallory", [shows(ALICE)], consent)
    assert (result.enrolled, result.duplicate_of) == (False, "alice")
    assert gate.subjects() == ("alice", "bob")
    result = gate.enroll("mallory", [shows(ALICE)], consent, allow_duplicate=True)
    assert (result.enrolled, result.duplicate_of) == (True, "alice")
    assert gate.verify("mallory", shows(ALICE)).decision.subject == "mallory"


def test_more_templates_later(enrolled, shows, consent):
    """Enrolling again adds, up to sixteen templates a person."""
    gate = enrolled()
    assert gate.enroll("alice", [shows(ALICE)] * 3, consent).templates == 5
    with pytest.raises(errors.EnrollError, match="12 frames"):
        gate.enroll("alice", [shows(ALICE)] * 12, consent)
    with pytest.raises(errors.EnrollError, match="0 frames"):
        gate.enroll("alice", [], consent)


def test_the_best_of_several_templates_counts(make_gate, shows, consent):
    """A person enrolled from different pictures is recognised by the most similar of them."""
    gate = make_gate(Policy(threshold=0.55))
    assert gate.enroll("alice", [shows((ALICE, {"noise": 0.8})) for _ in range(6)], consent).enrolled
    assert gate.verify("alice", shows((ALICE, {"noise": 0.0}))).decision.outcome == "match"


@pytest.mark.parametrize(
    "subject", ["", "alice smith", "a" * 65, "-alice", "älice", "alice\n", None, 7, "alice@example.org", "../alice"]
)
def test_references_are_pseudonyms_of_a_fixed_form(make_gate, shows, consent, subject):
    """What is no reference is refused everywhere, before a model runs."""
    gate = make_gate()
    with pytest.raises(errors.SubjectError):
        gate.enroll(subject, [shows(ALICE)], consent)
    with pytest.raises(errors.SubjectError):
        gate.verify(subject, shows(ALICE))
    with pytest.raises(errors.SubjectError):
        make_gate(device_id=subject)


def test_removed_people_are_not_recognised(enrolled, shows):
    """Whoever is removed is unknown, and the others stay who they are."""
    gate = enrolled()
    gate.remove("alice")
    assert gate.subjects() == ("bob",)
    assert gate.identify(shows(ALICE)).decision.outcome == "no_match"
    assert gate.verify("alice", shows(ALICE)).decision.reasons == ("unknown_subject",)
    assert gate.verify("bob", shows(BOB)).decision.outcome == "match"
    with pytest.raises(errors.SubjectError):
        gate.remove("alice")


def test_removing_keeps_everybody_elses_templates_theirs(make_gate, shows, consent):
    """In whichever order people are removed, the others are recognised as themselves."""
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        gate = make_gate()
        for identity in range(5):
            frames = [shows(identity + 10) for _ in range(identity % 3 + 1)]
            assert gate.enroll(f"p{identity}", frames, consent).enrolled
        left = set(range(5))
        for removed in order:
            gate.remove(f"p{removed}")
            left.discard(removed)
            for identity in range(5):
                found = gate.identify(shows(identity + 10)).decision.subject
                assert found == (f"p{identity}" if identity in left else None)


# --- consent -------------------------------------------------------------------------------------------------------


def test_consent_precedes_enrolment(make_gate, shows, consent, clock, pipeline):
    """Without a valid consent nobody is enrolled, and no picture is looked at."""
    gate = make_gate()
    expired = dataclasses.replace(consent, given_at=clock.now() - timedelta(2), expires_at=clock.now())
    future = dataclasses.replace(consent, given_at=clock.now() + timedelta(seconds=1))
    demonstration = dataclasses.replace(consent, legal_basis="demonstration")
    for missing in (None, expired, future, demonstration):
        with pytest.raises(errors.ConsentMissingError):
            gate.enroll("alice", [shows(ALICE)], missing)
    assert pipeline.calls == []
    assert gate.subjects() == ()


def test_a_demonstration_needs_no_legal_basis(make_gate, shows, consent):
    """A gate that marks its decisions as a demonstration takes the consent of one."""
    gate = make_gate(demonstration=True)
    assert gate.enroll("alice", [shows(ALICE)], dataclasses.replace(consent, legal_basis="demonstration")).enrolled


def test_when_consent_expires_the_person_is_forgotten(enrolled, shows, consent, clock):
    """From its last moment on nobody is compared with the person; a new consent starts afresh."""
    gate = enrolled()
    gate.remove("alice")
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(seconds=60))
    assert gate.enroll("alice", [shows(ALICE)], limited).enrolled
    clock.wait(59)
    assert gate.identify(shows(ALICE)).decision.subject == "alice"
    clock.wait(1)
    assert gate.identify(shows(ALICE)).decision.outcome == "no_match"
    assert gate.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    assert gate.subjects() == ("bob",)
    fresh = dataclasses.replace(consent, given_at=clock.now())
    result = gate.enroll("alice", [shows(ALICE)], fresh)
    assert (result.enrolled, result.templates) == (True, 1)
    assert gate.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_a_clock_without_battery_forgets_nobody(enrolled, shows, clock):
    """A device that starts in 1970 still knows its people: only an end of consent ends it."""
    gate = enrolled()
    clock.moment = clock.moment.replace(year=1970)
    assert gate.identify(shows(ALICE)).decision.outcome == "match"


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": ""},
        {"purpose": "  "},
        {"purpose": "x" * 201},
        {"purpose": None},
        {"legal_basis": "because"},
        {"legal_basis": None},
        {"text_sha256": "abc"},
        {"text_sha256": None},
        {"given_at": "2026-01-01"},
        {"given_at": None},
        {"given_at": "naive"},
        {"expires_at": "before"},
    ],
)
def test_a_consent_that_records_nothing_is_refused(consent, changes):
    """Every part of the record is checked when it is made."""
    if changes.get("given_at") == "naive":
        changes = {"given_at": consent.given_at.replace(tzinfo=None)}
    if changes.get("expires_at") == "before":
        changes = {"expires_at": consent.given_at}
    with pytest.raises(errors.ConsentMissingError):
        dataclasses.replace(consent, **changes)


def test_consent_keeps_the_hash_of_its_text_only(consent):
    """The text that was agreed to is the operator's to keep."""
    assert consent.text_sha256 == hashlib.sha256(b"I agree.").hexdigest()
    assert "I agree" not in repr(consent)


# --- the gate itself -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("frame", [None, "photo.jpg", np.zeros((4, 4, 3), np.uint8), b"jpeg"])
def test_what_is_no_frame(enrolled, consent, frame):
    """A path, an array or bytes in a frame's place are refused with the way to make one."""
    gate = enrolled()
    for call in (lambda: gate.identify(frame), lambda: gate.verify("alice", frame)):
        with pytest.raises(errors.FrameError):
            call()
    for frames in ([frame], frame):
        with pytest.raises(errors.EnrollError):
            gate.enroll("alice", frames if frames is not None else [None], consent)
    for frames in (None, 5, iter([])):
        with pytest.raises(errors.EnrollError):
            gate.enroll("alice", frames, consent)
    with pytest.raises(errors.ConsentMissingError):
        gate.enroll("alice", [], "yes, I agree")


def test_a_gate_that_could_not_sign_is_refused(bundle, pipeline, device_key):
    """A public key, or a path, in the private key's place is told before anybody is enrolled."""
    for key in (device_key, "device.key", None):
        with pytest.raises(errors.KeyTypeError):
            Gate(bundle, Policy(), key, device_id="door-1", pipeline=pipeline)


def test_closing_wipes(enrolled, shows, consent, pipeline):
    """A closed gate knows nobody, refuses everything, and leaves a pipeline that it was given open."""
    gate = enrolled()
    rows = gate._people._gallery._memory.rows
    assert np.any(rows)
    gate.close()
    gate.close()
    assert not np.any(rows)
    assert not pipeline.closed
    for call in (
        lambda: gate.enroll("alice", [shows(ALICE)], consent),
        lambda: gate.verify("alice", shows(ALICE)),
        lambda: gate.identify(shows(ALICE)),
        lambda: gate.remove("alice"),
        gate.subjects,
    ):
        with pytest.raises(errors.GateClosedError):
            call()


def test_templates_are_wiped_when_they_are_needed_no_more(enrolled, shows, consent, pipeline):
    """What a camera's face became is zeros after enrolment, a trial or a refusal; only the gallery keeps a copy."""
    made = []
    embed = pipeline.embed

    def remembered(frame, face):
        made.append(embed(frame, face))
        return made[-1]

    pipeline.embed = remembered
    gate = enrolled()
    gate.enroll("carol", [shows(7), shows(8)], consent)  # the second is somebody else
    gate.identify(shows(ALICE))
    gate.verify("alice", shows(9))
    assert len(made) >= 4
    assert not any(np.any(template.data) for template in made)
    assert gate.identify(shows(ALICE)).decision.outcome == "match"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_gate_decides_nothing(enrolled, shows):
    """Parent and child would sign different decisions with the same number: the child is refused."""
    gate = enrolled()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            gate.identify(shows(ALICE))
            os.write(writing, b"decided")
        except errors.GateClosedError:
            os.write(writing, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 16) == b"refused"
    os.close(reading)
    os.close(writing)
    assert gate.identify(shows(ALICE)).decision.sequence == 1


def test_threads_get_decisions_one_after_the_other(enrolled, shows):
    """Four threads at once: every decision has its own number, none is lost."""
    gate = enrolled()
    frames = [shows(ALICE) for _ in range(4)]
    numbers: list[int] = []

    def work(frame):
        numbers.extend(gate.identify(frame).decision.sequence for _ in range(25))

    threads = [threading.Thread(target=work, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 101))


def test_an_engines_failure_is_an_error_and_no_decision(enrolled, shows, pipeline):
    """A model that fails decides nothing and uses up no number."""
    gate = enrolled()
    genuine = pipeline.embed

    def fail(*_):
        raise errors.EngineError("the model failed")

    pipeline.embed = fail
    with pytest.raises(errors.EngineError):
        gate.identify(shows(ALICE))
    pipeline.embed = genuine
    assert gate.identify(shows(ALICE)).decision.sequence == 1


def test_nothing_is_written_and_nothing_biometric_is_said(enrolled, shows, tmp_path, monkeypatch, caplog, capfd, faces):
    """No file, no log line, no output; and no number in any text that a gate's values give."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    opened = []
    genuine = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *a, **k: opened.append(a) or genuine(*a, **k))
    gate = enrolled(**LIVE)
    results = [
        gate.identify(shows(ALICE)),
        gate.verify("bob", shows(ALICE)),
        gate.identify(shows((BOB, blurred(faces)))),
    ]
    monkeypatch.undo()
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    for signed in results:
        values = json.loads(signed.decision.to_json())
        assert not [v for v in values.values() if isinstance(v, float)]
    assert repr(gate) == "Gate(door-1)"
