"""The recognizer: every way a frame can end, and what it may do with faces that a camera showed a moment ago."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta

import numpy as np
import pytest

from facegate import Policy, errors, verify_decision
from facegate._complete_linkage import complete_linkage

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
ALICE, BOB, STRANGER = 1, 2, 3


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


@pytest.mark.parametrize("captured", [False, True], ids=["frame", "captured"])
@pytest.mark.parametrize(("people", "policy", "claimed", "outcome", "reasons", "liveness"), TABLE)
def test_every_way_a_frame_can_end(
    enrolled, shows, faces, device_key, bundle, captured, people, policy, claimed, outcome, reasons, liveness
):
    """Each scene ends in its outcome, reasons and liveness, signed by the device, with a subject on a match only.

    A face that was captured first ends as the frame does.
    """
    roles = enrolled(**policy)
    people = [(p[0], p[1](faces)) if isinstance(p, tuple) and callable(p[1]) else p for p in people]
    face = shows(*people)
    if captured:
        found = roles.recognizer.detect(face)
        if not found:
            assert reasons == ["no_face"]
            return
        face = max(found, key=lambda f: f.box[2] - f.box[0]).id
    signed = roles.recognizer.identify(face) if claimed is None else roles.recognizer.verify(claimed, face)
    decision = signed.decision
    assert verify_decision(signed.jws, device_key) == decision
    assert (decision.outcome, list(decision.reasons), decision.liveness) == (outcome, reasons, liveness)
    assert decision.kind == ("identify" if claimed is None else "verify")
    expected = {ALICE: "alice", BOB: "bob"}
    first = people[0][0] if people and isinstance(people[0], tuple) else (people or [None])[0]
    assert decision.subject == (expected[first] if outcome == "match" else None)
    assert (decision.device, decision.bundle, decision.policy) == ("door-1", bundle.id, Policy(**policy).id)


@pytest.mark.parametrize("subject", ["", "alice smith", "a" * 65, "-alice", "älice", "alice\n", None, 7, "../alice"])
def test_references_are_pseudonyms_of_a_fixed_form(make_gate, shows, pipeline, subject):
    """What is no reference is refused before a model runs, and is no decision."""
    roles = make_gate()
    with pytest.raises(errors.SubjectError):
        roles.recognizer.verify(subject, shows(ALICE))
    assert pipeline.calls == []
    assert roles.gate.status().decisions == 0


@pytest.mark.parametrize("frame", [None, "photo.jpg", np.zeros((4, 4, 3), np.uint8), b"jpeg", 7, "A" * 32])
def test_what_is_no_frame(enrolled, frame):
    """A path, an array or bytes in a frame's place are refused with the way to make one; none is a trial."""
    roles = enrolled(max_trials_per_minute=1)
    recognizer = roles.recognizer
    for call in (recognizer.identify, lambda f: recognizer.verify("alice", f), recognizer.candidates):
        with pytest.raises(errors.FrameError) as caught:
            call(frame)
        assert caught.value.hint
    with pytest.raises(errors.FrameError):
        recognizer.detect(frame)
    assert roles.gate.status().decisions == 0
    assert not roles.core.rate.reached(roles.core.clock.monotonic())


def test_the_best_of_several_templates_counts(make_gate, shows, consent):
    """A person enrolled from different pictures is recognized by the most similar of them."""
    roles = make_gate(Policy(threshold=0.55))
    frames = [shows((ALICE, {"noise": 0.8})) for _ in range(6)]
    assert roles.enroller.enroll("alice", frames, consent).enrolled
    assert roles.recognizer.verify("alice", shows((ALICE, {"noise": 0.0}))).decision.outcome == "match"


def test_templates_are_wiped_when_they_are_needed_no_more(enrolled, shows, pipeline, monkeypatch):
    """What a camera's face became is zeros after a trial or a refusal, plain and rotated; the index keeps a copy."""
    roles = enrolled()
    made = []
    embed, apply = pipeline.embed, type(roles.core.store.rotation).apply
    monkeypatch.setattr(pipeline, "embed", lambda *a: made.append(embed(*a)) or made[-1])
    monkeypatch.setattr(
        type(roles.core.store.rotation), "apply", lambda *a: made.append(apply(*a)) or made[-1], raising=True
    )
    roles.recognizer.identify(shows(ALICE))
    roles.recognizer.verify("alice", shows(9))
    roles.recognizer.candidates(shows(BOB))
    assert len(made) == 6
    assert not any(np.any(template.data) for template in made)
    roles.recognizer.detect(shows(ALICE))
    assert [bool(np.any(template.data)) for template in made[6:]] == [False, True]


# --- whose data may be used ----------------------------------------------------------------------------------------


def change(roles, reference, **columns):
    """What a privacy officer's decision writes of a person."""
    with roles.core.operation("privacy_officer", "test") as work:
        work.tx.update("person", roles.core.store.person(reference).id, **columns)


def test_a_restricted_person_is_not_decided_about(enrolled, shows, pipeline):
    """Verification is refused before a model runs, and nobody is identified as them; the others are."""
    roles = enrolled()
    change(roles, "alice", restricted=1)
    pipeline.calls.clear()
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("restricted",)
    assert pipeline.calls == []
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    assert roles.recognizer.candidates(shows(ALICE)) == ()
    assert roles.recognizer.identify(shows(BOB)).decision.subject == "bob"
    change(roles, "alice", restricted=0)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"


def test_who_comes_next_counts_if_the_most_similar_may_not(make_gate, shows, consent):
    """A twin is found although the one who resembles the picture more is restricted."""
    roles = make_gate(Policy(threshold=0.5))
    roles.enroller.enroll("alice", [shows((ALICE, {"noise": 0.0}))], consent)
    roles.enroller.enroll("twin", [shows((ALICE, {"noise": 0.6}))], consent, allow_duplicate=True)
    probe = (ALICE, {"noise": 0.0})
    assert roles.recognizer.identify(shows(probe)).decision.subject == "alice"
    assert roles.recognizer.candidates(shows(probe)) == ("alice", "twin")
    change(roles, "alice", restricted=1)
    assert roles.recognizer.identify(shows(probe)).decision.subject == "twin"
    assert roles.recognizer.candidates(shows(probe), 1) == ("twin",)


def test_who_objects_to_automated_decisions_is_decided_about_by_a_person(enrolled, shows):
    """A match becomes a review, of identification and verification, with all reasons; a miss stays a miss."""
    roles = enrolled(**LIVE)
    change(roles, "alice", objection=1)
    recognizer = roles.recognizer
    for signed in (recognizer.identify(shows(ALICE)), recognizer.verify("alice", shows(ALICE))):
        assert (signed.decision.outcome, signed.decision.reasons) == ("review", ("objection",))
        assert signed.decision.subject is None
    both = recognizer.identify(shows((ALICE, {"live": 0.7}))).decision
    assert (both.outcome, both.reasons) == ("review", ("liveness_uncertain", "objection"))
    assert recognizer.verify("alice", shows(STRANGER)).decision.outcome == "no_match"
    assert recognizer.identify(shows(BOB)).decision.outcome == "match"
    assert roles.gate.status().reviews == 3


def test_who_objects_is_no_candidate_and_no_failure(make_gate, shows, consent):
    """A program must not open a door by asking for candidates instead; others are named, and nobody is locked out."""
    roles = make_gate(Policy(threshold=0.5))
    roles.enroller.enroll("alice", [shows((ALICE, {"noise": 0.0}))], consent)
    roles.enroller.enroll("twin", [shows((ALICE, {"noise": 0.6}))], consent, allow_duplicate=True)
    change(roles, "alice", objection=1)
    probe = (ALICE, {"noise": 0.0})
    assert roles.recognizer.candidates(shows(probe), 1) == ("twin",)
    change(roles, "twin", objection=1)
    for _ in range(6):
        assert roles.recognizer.candidates(shows(probe)) == ()
    assert roles.recognizer.identify(shows(probe)).decision.reasons == ("objection",)


def test_an_expired_consent_ends_recognition_at_its_moment(make_gate, shows, consent, clock):
    """From the last moment on nobody is compared with the person, swept or not; a new consent starts afresh."""
    roles = make_gate()
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(seconds=60))
    assert roles.enroller.enroll("alice", [shows(ALICE)], limited).enrolled
    clock.wait(59)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"
    clock.wait(1)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    clock.wait(3600)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    assert len(roles.core.store.index) == 0
    fresh = dataclasses.replace(consent, given_at=clock.now())
    assert roles.enroller.enroll("alice", [shows(ALICE)], fresh).enrolled
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_nobody_is_recognized_without_a_consent_on_record(enrolled, shows):
    """Whatever became of the record: a person without one is not compared."""
    roles = enrolled()
    person = roles.core.store.person("alice").id
    with roles.core.operation("gate", "") as work:
        for (row,) in work.tx.execute("SELECT id FROM consent WHERE person = ?", person).fetchall():
            work.tx.delete("consent", row)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"


def test_setting_the_clock_back_revives_nobody(make_gate, shows, consent, clock):
    """A consent that had expired stays expired when somebody sets the clock to before."""
    roles = make_gate()
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=1))
    roles.enroller.enroll("alice", [shows(ALICE)], limited)
    clock.wait(86_400)
    clock.moment -= timedelta(days=10)
    decision = roles.recognizer.verify("alice", shows(ALICE)).decision
    assert (decision.reasons, decision.marks) == (("consent_missing",), ("clock",))


def test_faces_of_another_bundle_are_not_compared(stored, shows, consent, pipeline):
    """After a change of models a person must be enrolled again: that is said, and is no failed trial."""
    roles = stored()
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    roles.gate.close()
    pipeline.space = "another-space"
    roles = stored()
    for _ in range(6):
        assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("outdated",)
    assert roles.gate.status().outdated == 1
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_the_last_use_is_noted_once_a_day(enrolled, shows, clock):
    """Retention needs the day of the last match; a diary of passages is not kept in the person's row."""
    roles = enrolled()
    began = roles.core.store.person("alice").used
    for hours, day in ((1, 0), (22, 0), (1, 1), (23, 1), (1, 2)):
        clock.wait(hours * 3600)
        roles.recognizer.identify(shows(ALICE))
        assert (roles.core.store.person("alice").used - began) // 86_400_000 == day
    assert roles.core.store.person("bob").used == began


# --- groups --------------------------------------------------------------------------------------------------------


@pytest.fixture
def grouped(enrolled):
    """Alice is of the staff and of the night shift, bob of the staff."""
    roles = enrolled()
    for group, members in (("staff", ["alice", "bob"]), ("night", ["alice"]), ("empty", [])):
        roles.enroller.make_group(group)
        for member in members:
            roles.enroller.join(group, member)
    return roles


@pytest.mark.parametrize(
    ("groups", "alice", "bob"),
    [
        (None, "alice", "bob"),
        (["staff"], "alice", "bob"),
        (["night"], "alice", None),
        (["empty"], None, None),
        (["empty", "night"], "alice", None),
        (("staff", "night"), "alice", "bob"),
    ],
)
def test_identifying_within_groups(grouped, shows, groups, alice, bob):
    """Only people of the named groups can be found, of any of them."""
    for identity, subject in ((ALICE, alice), (BOB, bob)):
        assert grouped.recognizer.identify(shows(identity), groups=groups).decision.subject == subject
        found = grouped.recognizer.candidates(shows(identity), groups=groups)
        assert found == ((subject,) if subject else ())


@pytest.mark.parametrize("groups", [["nobody"], ["staff", "nobody"], [], "staff", [None], [7], ["a b"], 5])
def test_groups_that_are_none(grouped, shows, groups):
    """An unknown group, none, or a name in place of a list is an error, no decision, no trial."""
    with pytest.raises(errors.GroupError):
        grouped.recognizer.identify(shows(ALICE), groups=groups)
    assert grouped.gate.status().decisions == 0


# --- captured faces ------------------------------------------------------------------------------------------------


def test_detected_faces_are_held_by_random_ids(make_gate, shows, faces):
    """One each, with its place, why it will not be compared, and how long it is held; an empty frame gives none."""
    roles = make_gate(Policy(**LIVE))
    assert roles.recognizer.detect(shows()) == ()
    frame = shows(ALICE, (BOB, blurred(faces)), (STRANGER, {"live": 0.1}))
    found = roles.recognizer.detect(frame)
    assert [face.reason for face in found] == [None, "low_quality", "liveness_spoof"]
    assert [face.liveness for face in found] == ["live", "not_checked", "spoof"]
    assert [face.box[0] for face in found] == [0.0, 1.0, 2.0]
    assert {face.seconds for face in found} == {300.0}
    again = roles.recognizer.detect(frame)
    assert len({face.id for face in (*found, *again)}) == 6


def test_a_captured_face_is_forgotten_when_its_time_is_over(enrolled, shows, clock):
    """Five minutes by default: then its id means nothing, and its template is zeros."""
    roles = enrolled()
    (face,) = roles.recognizer.detect(shows(ALICE))
    ((probe, _),) = roles.core.captured._held.values()
    clock.wait(299)
    assert roles.recognizer.identify(face).decision.subject == "alice"
    clock.wait(1)
    for call in (
        lambda: roles.recognizer.identify(face),
        lambda: roles.recognizer.verify("alice", face.id),
        lambda: roles.recognizer.candidates(face),
        lambda: roles.recognizer.group([face]),
    ):
        with pytest.raises(errors.CapturedFaceError):
            call()
    assert not np.any(probe.template.data)
    assert len(roles.core.captured) == 0


def test_a_captured_face_is_forgotten_also_if_nobody_asks(enrolled, shows, clock, monkeypatch):
    """A timer wipes it: a gate that nobody uses holds no face."""
    roles = enrolled()
    monkeypatch.setattr(roles.core, "setting", {"captured_seconds": 0.05}.__getitem__)
    roles.recognizer.detect(shows(ALICE))
    ((probe, _),) = roles.core.captured._held.values()
    clock.wait(1)
    deadline = time.monotonic() + 30
    while roles.core.captured._held and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not roles.core.captured._held
    assert not np.any(probe.template.data)


def test_the_oldest_goes_when_too_many_are_held(make_gate, shows):
    """A thousand faces at most: a camera before a crowd fills no memory."""
    roles = make_gate()
    first = roles.recognizer.detect(shows(ALICE))[0]
    crowd = shows(*range(10, 110))
    for _ in range(10):
        roles.recognizer.detect(crowd)
    assert len(roles.core.captured) == 1000
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.group([first])


def test_no_face_outlives_the_gates_rotation(enrolled, shows):
    """What was captured in the old template space is compared with nothing in the new one."""
    roles = enrolled()
    (face,) = roles.recognizer.detect(shows(ALICE))
    with roles.core.lock:
        roles.core.store.renew_rotation()
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.identify(face)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"


# --- candidates, lists, clusters -----------------------------------------------------------------------------------


def test_candidates_are_those_who_would_match(make_gate, shows, consent):
    """Most similar first, never more than asked for, nobody below the threshold; the log says whom."""
    roles = make_gate(Policy(threshold=0.5))
    for number, noise in enumerate((0.0, 0.3, 0.6)):
        frames = [shows((ALICE, {"noise": noise}))]
        roles.enroller.enroll(f"p-{number}", frames, consent, allow_duplicate=True)
    roles.enroller.enroll("bob", [shows(BOB)], consent)
    probe = (ALICE, {"noise": 0.0})
    assert roles.recognizer.candidates(shows(probe)) == ("p-0", "p-1", "p-2")
    assert roles.recognizer.candidates(shows(probe), 2) == ("p-0", "p-1")
    assert roles.recognizer.candidates(shows(STRANGER)) == ()
    assert roles.recognizer.candidates(shows()) == ()
    told = [entry.reference for entry in roles.core.audit.entries(action="candidate_named")]
    assert told == ["p-0", "p-1", "p-2", "p-0", "p-1"]
    entries = list(roles.core.audit.entries(action="candidates"))
    assert [entry.details["people"] for entry in entries] == [3, 2, 0, 0]
    assert {entry.reference for entry in entries} == {None}
    assert roles.gate.status().decisions == 0


@pytest.mark.parametrize("k", [0, -1, 101, 2.0, True, None, "5"])
def test_a_number_of_candidates_that_cannot_be_asked_for(make_gate, shows, k):
    """One to a hundred."""
    roles = make_gate()
    with pytest.raises(errors.SearchError):
        roles.recognizer.candidates(shows(ALICE), k)
    with pytest.raises(errors.SearchError):
        roles.recognizer.find_similar(shows(ALICE), "lost", k)


def test_finding_similar_faces_in_a_list(make_gate, shows, consent):
    """A list's faces that are similar, by number, most similar first; people and other lists are not searched."""
    roles = make_gate(Policy(threshold=0.5))
    for name in ("lost", "other"):
        roles.enroller.make_list(name)
    for who in ((ALICE, {"noise": 0.6}), (BOB, {}), (ALICE, {"noise": 0.0})):
        roles.enroller.add_to_list("lost", [shows(who)], consent)
    roles.enroller.add_to_list("other", [shows(ALICE)], consent)
    far, bob, near = sorted(row[0] for row in roles.core.store.list_faces(roles.core.store.face_list("lost").id))
    probe = (ALICE, {"noise": 0.0})
    assert roles.recognizer.find_similar(shows(probe), "lost") == (near, far)
    assert roles.recognizer.find_similar(shows(probe), "lost", 1) == (near,)
    assert roles.recognizer.find_similar(shows(BOB), "lost") == (bob,)
    assert roles.recognizer.find_similar(shows(STRANGER), "lost") == ()
    assert roles.recognizer.find_similar(shows(), "lost") == ()
    assert roles.recognizer.identify(shows(BOB)).decision.outcome == "no_match"
    assert [e.details["faces"] for e in roles.core.audit.entries(action="find_similar")] == [2, 1, 1, 0, 0]
    for name in ("nowhere", "a b", None):
        with pytest.raises(errors.ListError):
            roles.recognizer.find_similar(shows(ALICE), name)


def test_captured_faces_are_sorted_by_person(make_gate, shows, faces):
    """Faces of one person come together, in the order given; what may not be compared stays alone; nothing is kept."""
    roles = make_gate(Policy(one_face_only=True))
    before = roles.gate.status(), len(roles.core.store.index), list(roles.core.audit.entries())
    found = roles.recognizer.detect(shows(BOB, ALICE, BOB, (ALICE, blurred(faces)), ALICE, STRANGER))
    ids = [face.id for face in found]
    groups = roles.recognizer.group([*found, ids[0]])
    assert groups == ((ids[0], ids[2]), (ids[1], ids[4]), (ids[3],), (ids[5],))
    assert roles.recognizer.group([]) == ()
    assert roles.recognizer.group(ids[:1]) == ((ids[0],),)
    assert (roles.gate.status(), len(roles.core.store.index), list(roles.core.audit.entries())) == before
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.group([*ids, "0" * 32])


@pytest.mark.parametrize(
    ("angles", "degrees", "expected"),
    [
        ([], 30, []),
        ([0], 30, [[0]]),
        ([0, 20], 30, [[0, 1]]),
        ([0, 40], 30, [[0], [1]]),
        ([0, 20, 40], 30, [[0, 1], [2]]),  # the one in the middle does not join the ends
        ([0, 20, 30, 50], 25, [[0], [1, 2], [3]]),
        ([0, 100, 5, 105, None, 3], 30, [[0, 2, 5], [1, 3], [4]]),
        ([None, None], 30, [[0], [1]]),
    ],
)
def test_clusters_are_of_faces_that_are_all_similar(angles, degrees, expected):
    """Complete linkage, the most similar first, on directions in a plane."""
    radians = [None if a is None else np.deg2rad(a) for a in angles]
    rows = [None if r is None else np.round(127 * np.array([np.cos(r), np.sin(r)])).astype(np.int8) for r in radians]
    assert complete_linkage(rows, float(np.cos(np.deg2rad(degrees)))) == expected


# --- what leaves ---------------------------------------------------------------------------------------------------


class Receiver:
    """A sink that remembers, and refuses while it is told to."""

    name = "a test"

    def __init__(self) -> None:
        self.taken: list = []
        self.refuses = False

    def deliver(self, decision) -> None:
        """Take one."""
        if self.refuses:
            raise errors.SinkError("not now", retry_after=0.01)
        self.taken.append(decision)


def test_decisions_are_delivered_once_and_in_order(enrolled, shows):
    """What waits goes to the sink, the oldest first; what it does not take waits on."""
    recognizer, receiver = enrolled().recognizer, Receiver()
    given = [recognizer.identify(shows(who)) for who in (ALICE, STRANGER, BOB)]
    assert recognizer.deliver(receiver, limit=2).waiting == 1
    receiver.refuses = True
    report = recognizer.deliver(receiver)
    assert (report.delivered, report.waiting) == (0, 1)
    receiver.refuses = False
    assert recognizer.deliver(receiver).delivered == 1
    assert recognizer.deliver(receiver).delivered == 0
    assert receiver.taken == given


def test_decisions_are_delivered_while_the_gate_decides(enrolled, shows):
    """In the background each decision leaves when it has been made, without waiting for the next look."""
    recognizer, receiver = enrolled().recognizer, Receiver()
    given = []
    with recognizer.delivery(receiver, poll=600):
        for _ in range(5):
            given.append(recognizer.identify(shows(ALICE)))
            deadline = time.monotonic() + 60
            while len(receiver.taken) < len(given) and time.monotonic() < deadline:
                time.sleep(0.005)
            assert receiver.taken == given


def test_a_revoked_role_delivers_nothing_more(enrolled, shows):
    """From the moment of the revocation no decision leaves through it, in the middle of a delivery as little."""
    roles = enrolled()
    recognizer, receiver = roles.recognizer, Receiver()
    for _ in range(3):
        recognizer.identify(shows(ALICE))
    take = receiver.deliver

    def revoke_after_the_first(decision):
        take(decision)
        roles.administrator.revoke_credential("recognizer")

    receiver.deliver = revoke_after_the_first
    with recognizer.delivery(receiver, poll=600) as delivery:
        assert delivery.join(60)
    assert isinstance(delivery.failure, errors.RoleError)
    assert len(receiver.taken) == 1
    assert roles.gate.status().waiting == 2


def test_a_delivery_ends_with_its_gate(enrolled, shows):
    """When the gate is closed what delivers ends and says why; what was not taken stays in the outbox."""
    roles = enrolled()
    recognizer, receiver = roles.recognizer, Receiver()
    with recognizer.delivery(receiver, poll=600) as delivery:
        recognizer.identify(shows(ALICE))
        roles.gate.close()
        assert delivery.join(60)
    assert isinstance(delivery.failure, (errors.GateClosedError, errors.StoreError))
