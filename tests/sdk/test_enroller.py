"""The enroller's role: who gets into a gate, with which pictures, and how they get out again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import timedelta

import numpy as np
import pytest

from facegate import Policy, errors, load_image
from facegate._certificate import verify_certificate
from facegate._enrollment import MAX_FACES

LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
ALICE, BOB, STRANGER = 1, 2, 3


@pytest.fixture
def roles(enrolled):
    """A gate with alice and bob, two faces each."""
    return enrolled()


def blurred(faces):
    """Changes that make a face too blurred."""
    return {"quality": faces[1]}


def rows(roles) -> dict[str, list[tuple]]:
    """Everything that the store has of people, and its audit log."""
    tables = ("person", "face", "consent", "membership", "people_group", "face_list", "audit")
    return {table: roles.core.store.db.read(f"SELECT * FROM {table}") for table in tables}  # noqa: S608 - constants


def log(roles, action: str) -> list[tuple[str | None, dict]]:
    """The audit entries of an action: whom about, and what is said."""
    found = roles.core.store.db.read("SELECT reference, details FROM audit WHERE action = ? ORDER BY seq", action)
    return [(reference, json.loads(details)) for reference, details in found]


# --- pictures ------------------------------------------------------------------------------------------------------


def test_enrolling_uses_the_good_frames_and_says_why_not_the_others(make_gate, shows, faces, consent):
    """Frames without one usable face of one person are named with their reason; the others become faces."""
    roles = make_gate(Policy(**LIVE))
    result = roles.enroller.enroll(
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
    assert (result.enrolled, result.added, result.faces, roles.people()) == (True, 2, 2, ("alice",))


@pytest.mark.parametrize(
    ("show", "reason"),
    [
        (lambda shows, _: shows(), "no_face"),
        (lambda shows, _: shows(STRANGER, BOB), "several_faces"),
        (lambda shows, faces: shows((STRANGER, blurred(faces))), "low_quality"),
    ],
)
def test_an_unusable_picture_changes_nothing(roles, shows, faces, consent, show, reason):
    """No face, several faces, a poor picture: a reason code each, no person, no face, no record, no audit entry."""
    before = rows(roles)
    result = roles.enroller.enroll("carol", [show(shows, faces)], consent, groups=())
    assert (result.enrolled, result.added, result.faces, result.frames) == (False, 0, 0, (reason,))
    assert rows(roles) == before


def test_a_file_that_is_no_image_never_reaches_the_gate(roles, consent, tmp_path):
    """An unreadable image is an error before anything is enrolled."""
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a photo")
    before = rows(roles)
    with pytest.raises(errors.FrameError):
        roles.enroller.enroll("carol", [load_image(tmp_path / "photo.jpg")], consent)
    assert rows(roles) == before


@pytest.mark.parametrize("frames", [None, 5, "photo.jpg", b"jpeg", ["photo.jpg"], [None], [np.zeros((4, 4, 3))], []])
def test_what_is_no_frame(roles, consent, frames):
    """A path, an array, bytes, nothing in a frame's place are refused with the way to make one."""
    before = rows(roles)
    for call in (
        lambda: roles.enroller.enroll("carol", frames, consent),
        lambda: roles.enroller.add_face("alice", frames),
    ):
        with pytest.raises(errors.EnrollError) as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before


def test_attack_a_strangers_frame_in_an_enrolment(roles, shows, consent):
    """A stranger's frame does not enter a person's faces, neither at first nor later."""
    assert roles.enroller.enroll("carol", [shows(7), shows(8)], consent).frames == (None, "inconsistent")
    assert roles.enroller.enroll("alice", [shows(STRANGER)], consent).frames == ("inconsistent",)
    assert roles.enroller.add_face("alice", [shows(STRANGER)]).frames == ("inconsistent",)
    assert roles.recognizer.identify(shows(STRANGER)).decision.outcome == "no_match"


def test_more_faces_later(roles, shows, consent):
    """Enrolling again adds, up to sixteen faces a person; the seventeenth is refused."""
    assert roles.enroller.enroll("alice", [shows(ALICE)] * 3, consent).faces == 5
    assert roles.enroller.add_face("alice", [shows(ALICE)]).faces == 6
    assert MAX_FACES == 16
    before = rows(roles)
    with pytest.raises(errors.EnrollError, match="11 frames for a person with 6 faces"):
        roles.enroller.enroll("alice", [shows(ALICE)] * 11, consent)
    with pytest.raises(errors.EnrollError, match="0 frames"):
        roles.enroller.add_face("alice", [])
    assert rows(roles) == before


def test_the_best_of_several_faces_counts(make_gate, shows, consent):
    """A person enrolled from different pictures is recognized by the most similar of them."""
    roles = make_gate(Policy(threshold=0.55))
    assert roles.enroller.enroll("alice", [shows((ALICE, {"noise": 0.8})) for _ in range(6)], consent).enrolled
    assert roles.recognizer.verify("alice", shows((ALICE, {"noise": 0.0}))).decision.outcome == "match"


def test_templates_are_wiped_when_they_are_needed_no_more(roles, shows, consent, pipeline, monkeypatch):
    """What a camera's face became is zeros after an enrolment, a refusal or a failure; only the gallery has it."""
    made = []
    embed = pipeline.embed

    def remembered(frame, face):
        made.append(embed(frame, face))
        return made[-1]

    rotated = []
    rotation = type(roles.core.store.rotation)
    apply = rotation.apply
    monkeypatch.setattr(rotation, "apply", lambda *arguments: rotated.append(apply(*arguments)) or rotated[-1])
    pipeline.embed = remembered
    roles.enroller.enroll("carol", [shows(7), shows(8)], consent)  # the second is somebody else
    roles.enroller.enroll("mallory", [shows(ALICE)], consent)  # a duplicate
    with pytest.raises(errors.FrameError):
        roles.core.examiner.one(None)
    assert len(made) == len(rotated) == 3
    assert not any(np.any(template.data) for template in made + rotated)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"


def test_a_model_that_fails_enrolls_nobody(roles, shows, consent, pipeline):
    """A failure in the second picture leaves nothing of the first."""
    embed, left = pipeline.embed, [1]

    def fail(frame, face):
        if not left:
            raise errors.EngineError("the model failed")
        left.pop()
        return embed(frame, face)

    pipeline.embed = fail
    before = rows(roles)
    with pytest.raises(errors.EngineError):
        roles.enroller.enroll("carol", [shows(7), shows(7)], consent)
    assert rows(roles) == before


# --- the same face twice -------------------------------------------------------------------------------------------


def test_the_same_face_under_another_reference(roles, shows, consent):
    """It is told with its reference and changes nothing; the operator may still want it, and the audit log says so."""
    before = rows(roles)
    result = roles.enroller.enroll("mallory", [shows(ALICE)], consent)
    assert (result.enrolled, result.faces, result.duplicate_of, result.frames) == (False, 0, "alice", (None,))
    assert rows(roles) | {"audit": None} == before | {"audit": None}
    result = roles.enroller.enroll("mallory", [shows(ALICE)], consent, allow_duplicate=True)
    assert (result.enrolled, result.duplicate_of) == (True, "alice")
    assert log(roles, "enroll")[-1][1]["duplicate_of"] == "alice"
    assert roles.recognizer.verify("mallory", shows(ALICE)).decision.subject == "mallory"


def test_a_face_that_is_added_may_be_a_duplicate_too(roles, shows, consent):
    """Bob's reference gets no face of somebody who is enrolled as alice."""
    roles.enroller.enroll("alice-2", [shows(ALICE)], consent, allow_duplicate=True)
    before = rows(roles)
    assert roles.enroller.add_face("alice-2", [shows(ALICE)]).duplicate_of == "alice"
    assert rows(roles) | {"audit": None} == before | {"audit": None}
    assert roles.enroller.add_face("alice-2", [shows(ALICE)], allow_duplicate=True).faces == 2


def test_attack_finding_out_at_the_desk_who_somebody_is(roles, shows, consent):
    """Whoever enrolls a picture to be told whose it is leaves an entry about that person, who can ask for it."""
    for allowed in (False, True):
        roles.enroller.enroll("mallory", [shows(ALICE)], consent, allow_duplicate=allowed)
    found = [(who, said["by"], said["allow_duplicate"]) for who, said in log(roles, "duplicate_found")]
    assert found == [("alice", "enroller", False), ("alice", "enroller", True)]
    told = roles.officer.access("alice", checked_by="passport-seen")
    assert [entry["action"] for entry in told["audit"]].count("duplicate_found") == 2
    assert "mallory" not in str(told)


def test_a_face_of_a_list_is_no_duplicate(roles, shows, consent):
    """Lists have no people: only a person's face can be enrolled already."""
    roles.enroller.make_list("visitors")
    roles.enroller.add_to_list("visitors", [shows(7)], consent)
    assert roles.enroller.enroll("carol", [shows(7)], consent).duplicate_of is None


# --- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", ["", "alice smith", "a" * 65, "-alice", "\u00e4lice", "alice\n", None, 7, "a@example.org", "../alice"]
)
def test_references_are_pseudonyms_of_a_fixed_form(roles, shows, consent, reference, pipeline):
    """What is no reference is refused everywhere, before a model runs."""
    pipeline.calls.clear()
    enroller = roles.enroller
    for call in (
        lambda: enroller.enroll(reference, [shows(STRANGER)], consent),
        lambda: enroller.add_face(reference, [shows(STRANGER)]),
        lambda: enroller.faces(reference),
        lambda: enroller.withdraw(reference),
        lambda: enroller.record_consent(reference, consent),
    ):
        with pytest.raises(errors.SubjectError):
            call()
    assert pipeline.calls == []


def test_an_unknown_person_is_an_error_and_changes_nothing(roles, shows, consent):
    """Whatever is to be done with somebody who is not enrolled: an error with advice."""
    enroller = roles.enroller
    enroller.make_group("staff")
    before = rows(roles)
    for call in (
        lambda: enroller.add_face("nobody", [shows(STRANGER)]),
        lambda: enroller.remove_face("nobody", 1),
        lambda: enroller.faces("nobody"),
        lambda: enroller.withdraw("nobody"),
        lambda: enroller.remove("nobody"),
        lambda: enroller.consents("nobody"),
        lambda: enroller.record_consent("nobody", consent),
        lambda: enroller.mark_minor("nobody"),
        lambda: enroller.join("staff", "nobody"),
        lambda: enroller.leave("staff", "nobody"),
    ):
        with pytest.raises(errors.SubjectError, match="no such person") as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before


def test_people_are_listed_as_an_enroller_may_see_them(roles, shows, consent, clock):
    """Reference, number of faces, groups, since when; no template, no score."""
    roles.enroller.make_group("staff")
    roles.enroller.make_group("night")
    roles.enroller.enroll("carol", [shows(7)], consent, groups=["staff", "night"])
    listed = {person.reference: person for person in roles.enroller.people()}
    assert list(listed) == ["alice", "bob", "carol"]
    assert (listed["carol"].faces, listed["carol"].groups) == (1, ("night", "staff"))
    assert (listed["alice"].faces, listed["alice"].groups, listed["alice"].minor) == (2, (), False)
    assert listed["bob"].enrolled_at == clock.now()


# --- faces ---------------------------------------------------------------------------------------------------------


def test_a_face_is_removed_by_its_number(roles, shows, clock):
    """One face goes, the other stays and is recognized; the number is never used again."""
    first, second = roles.enroller.faces("alice")
    assert first.current
    assert second.added_at == clock.now()
    roles.enroller.remove_face("alice", second.id)
    assert roles.enroller.faces("alice") == (first,)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"
    roles.enroller.add_face("alice", [shows(ALICE)])
    assert second.id not in [face.id for face in roles.enroller.faces("alice")]


@pytest.mark.parametrize("face", [0, -1, 999, None, "1", True])
def test_somebody_elses_face_is_not_removed(roles, face):
    """A number that is none of this person's is refused, whoever's it is."""
    before = rows(roles)
    theirs = roles.enroller.faces("bob")[0].id
    for number in (face, theirs):
        with pytest.raises(errors.SubjectError, match="no face of that person"):
            roles.enroller.remove_face("alice", number)
    assert rows(roles) == before


def test_removing_keeps_everybody_elses_faces_theirs(make_gate, shows, consent):
    """In whichever order people are removed, the others are recognized as themselves."""
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        roles = make_gate(Policy(max_trials_per_minute=0, max_attempts=0))
        for identity in range(5):
            frames = [shows(identity + 10) for _ in range(identity % 3 + 1)]
            assert roles.enroller.enroll(f"p{identity}", frames, consent).enrolled
        left = set(range(5))
        for removed in order:
            roles.enroller.remove(f"p{removed}")
            left.discard(removed)
            for identity in range(5):
                found = roles.recognizer.identify(shows(identity + 10)).decision.subject
                assert found == (f"p{identity}" if identity in left else None)


def test_faces_of_another_bundle_are_listed_and_replaced(stored, shows, consent, pipeline):
    """With another template space nobody is compared; enrolling again puts new faces in the place of the old."""
    roles = stored()
    roles.enroller.enroll("alice", [shows(ALICE)] * 3, consent)
    roles.gate.close()
    pipeline.space = "another-space"
    roles = stored()
    assert roles.enroller.outdated() == ("alice",)
    assert [face.current for face in roles.enroller.faces("alice")] == [False] * 3
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    result = roles.enroller.enroll("alice", [shows(ALICE)], consent)
    assert (result.added, result.faces, roles.enroller.outdated()) == (1, 1, ())
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_enrolment_outlives_the_gate(stored, shows, consent):
    """People, groups and consents are there when the gate is opened again."""
    roles = stored()
    roles.enroller.make_group("staff")
    roles.enroller.enroll("alice", [shows(ALICE)], consent, groups=["staff"])
    roles.gate.close()
    roles = stored()
    assert roles.recognizer.identify(shows(ALICE), groups=["staff"]).decision.subject == "alice"
    assert roles.enroller.consents("alice") == (consent,)
    roles.enroller.withdraw("alice")
    roles.gate.close()
    assert stored().people() == ()


# --- consent -------------------------------------------------------------------------------------------------------


def test_consent_precedes_enrolment(make_gate, shows, consent, clock, pipeline):
    """Without a consent that counts nobody is enrolled, nothing is written, and no picture is looked at."""
    roles = make_gate()
    roles.enroller.make_list("visitors")
    before = rows(roles)
    expired = dataclasses.replace(consent, given_at=clock.now() - timedelta(2), expires_at=clock.now())
    future = dataclasses.replace(consent, given_at=clock.now() + timedelta(seconds=1))
    for refused, error in (
        (None, errors.ConsentMissingError),
        ("yes, I agree", errors.ConsentMissingError),
        (expired, errors.ConsentExpiredError),
        (future, errors.ConsentExpiredError),
        (dataclasses.replace(consent, purpose="advertising"), errors.ConsentPurposeError),
        (dataclasses.replace(consent, legal_basis="demonstration"), errors.ConsentPurposeError),
    ):
        for call in (
            lambda: roles.enroller.enroll("alice", [shows(ALICE)], refused),  # noqa: B023 - called right here
            lambda: roles.enroller.add_to_list("visitors", [shows(ALICE)], refused),  # noqa: B023
        ):
            with pytest.raises(errors.ConsentMissingError) as caught:
                call()
            assert type(caught.value) is error
            assert caught.value.hint
    assert pipeline.calls == []
    assert rows(roles) == before


def test_a_demonstration_needs_no_legal_basis(make_gate, shows, consent):
    """A gate that marks its decisions as a demonstration takes the consent of one."""
    roles = make_gate(demonstration=True)
    assert roles.enroller.enroll(
        "alice", [shows(ALICE)], dataclasses.replace(consent, legal_basis="demonstration")
    ).enrolled


def test_a_consent_is_on_record_with_the_person(roles, shows, consent):
    """What was agreed to, who took it: kept with the person, and in the audit log without the person's words."""
    (kept,) = roles.enroller.consents("alice")
    assert kept == consent
    reference, said = log(roles, "enroll")[0]
    assert reference == "alice"
    assert said["text_sha256"] == consent.text_sha256
    assert (said["text_version"], said["taken_by"], said["faces"]) == ("entrance-1", "reception", 2)
    roles.enroller.add_face("alice", [shows(ALICE)])
    assert len(roles.enroller.consents("alice")) == 1


def test_when_consent_expires_nobody_is_compared(make_gate, shows, consent, clock):
    """From its last moment on the person is not recognized and gets no face; a new consent starts afresh."""
    roles = make_gate()
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(seconds=60))
    assert roles.enroller.enroll("alice", [shows(ALICE)], limited).enrolled
    clock.wait(59)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"
    clock.wait(1)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome != "match"
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("consent_missing",)
    with pytest.raises(errors.ConsentExpiredError):
        roles.enroller.add_face("alice", [shows(ALICE)])
    fresh = dataclasses.replace(consent, given_at=clock.now())
    assert roles.enroller.enroll("alice", [shows(ALICE)], fresh).enrolled
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_a_consent_is_renewed_before_it_expires(make_gate, shows, consent, clock):
    """The newer record counts, the older one stays as proof; one that does not count is not recorded."""
    roles = make_gate()
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=1))
    roles.enroller.enroll("alice", [shows(ALICE)], limited)
    renewed = dataclasses.replace(consent, expires_at=clock.now() + timedelta(days=300), text_version="entrance-2")
    roles.enroller.record_consent("alice", renewed)
    with pytest.raises(errors.ConsentPurposeError):
        roles.enroller.record_consent("alice", dataclasses.replace(consent, purpose="marketing"))
    assert roles.enroller.consents("alice") == (limited, renewed)
    clock.wait(2 * 86_400)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"


def test_withdrawal_erases_at_once(roles, shows):
    """Faces, key, consents, memberships and lock-outs are gone; only the audit log knows that there was somebody."""
    roles.enroller.make_group("staff")
    roles.enroller.join("staff", "alice")
    person = roles.core.store.person("alice").id
    for _ in range(5):
        roles.recognizer.verify("alice", shows(BOB))
    roles.enroller.withdraw("alice")
    db = roles.core.store.db
    for table in ("face", "consent", "membership"):
        assert db.read(f"SELECT count(*) FROM {table} WHERE person = ?", person) == [(0,)]  # noqa: S608 - constants
    assert db.read("SELECT count(*) FROM person WHERE id = ?", person) == [(0,)]
    assert db.read("SELECT count(*) FROM lockout WHERE scope = 'alice'") == [(0,)]
    assert roles.people() == ("bob",)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("unknown_subject",)
    assert [reference for reference, _ in log(roles, "withdraw")] == ["alice"]


def test_what_was_over_is_not_brought_back(make_gate, shows, consent, clock):
    """A new consent of somebody whose old one ran out, before any sweep: only the new pictures count."""
    roles = make_gate()
    limited = dataclasses.replace(consent, expires_at=clock.now() + timedelta(seconds=60))
    roles.enroller.enroll("alice", [shows(ALICE)] * 3, limited)
    before = {face.id for face in roles.enroller.faces("alice")}
    key = roles.core.store.db.read("SELECT wrapped_key FROM person")
    clock.wait(60)
    result = roles.enroller.enroll("alice", [shows(ALICE)], dataclasses.replace(consent, given_at=clock.now()))
    assert (result.added, result.faces) == (1, 1)
    assert not before & {face.id for face in roles.enroller.faces("alice")}
    assert roles.core.store.db.read("SELECT wrapped_key FROM person") != key
    assert len(roles.core.store.index) == 1
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_who_was_not_used_for_too_long_is_enrolled_anew(make_gate, shows, consent):
    """After the time of retention nothing of the person is used: not for their own, nor to find duplicates."""
    roles = make_gate()
    roles.administrator.set("people_days", 30)
    roles.enroller.enroll("alice", [shows(ALICE)] * 2, consent)
    with roles.core.operation("gate", "") as work:  # as if the last match had been long ago, and no sweep since
        work.tx.update("person", roles.core.store.person("alice").id, used=work.ms - 31 * 86_400_000)
    with pytest.raises(errors.SubjectError, match="so long"):
        roles.enroller.add_face("alice", [shows(ALICE)])
    assert roles.enroller.enroll("alias", [shows(ALICE)], consent).duplicate_of is None
    roles.enroller.remove("alias")
    result = roles.enroller.enroll("alice", [shows(ALICE)], consent)
    assert (result.added, result.faces) == (1, 1)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_who_may_not_be_used_is_no_duplicate(roles, shows, consent):
    """A restricted person's faces are compared with nobody's, also not for a warning."""
    with roles.core.operation("privacy_officer", "test") as work:
        work.tx.update("person", roles.core.store.person("alice").id, restricted=1)
    assert roles.enroller.enroll("alice-2", [shows(ALICE)], consent).duplicate_of is None
    assert roles.enroller.enroll("alice-3", [shows(ALICE)], consent).duplicate_of == "alice-2"


def test_a_restricted_person_gets_no_face(roles, shows, consent):
    """Who may be stored and not used is not added to either."""
    with roles.core.operation("privacy_officer", "test") as work:
        work.tx.update("person", roles.core.store.person("alice").id, restricted=1)
    before = rows(roles)
    for call in (
        lambda: roles.enroller.enroll("alice", [shows(ALICE)], consent),
        lambda: roles.enroller.add_face("alice", [shows(ALICE)]),
    ):
        with pytest.raises(errors.EnrollError, match="stored and not used"):
            call()
    assert rows(roles) == before


# --- groups --------------------------------------------------------------------------------------------------------


def test_people_join_and_leave_groups_freely(roles, shows):
    """A person is in any number of groups; identification within a group sees its people only."""
    enroller = roles.enroller
    for name in ("staff", "night"):
        enroller.make_group(name)
    enroller.join("staff", "alice")
    enroller.join("staff", "alice")
    enroller.join("night", "alice")
    enroller.join("night", "bob")
    assert [(g.name, g.members) for g in enroller.groups()] == [("night", 2), ("staff", 1)]
    assert enroller.members("night") == ("alice", "bob")
    assert roles.recognizer.identify(shows(BOB), groups=["staff"]).decision.outcome == "no_match"
    assert roles.recognizer.identify(shows(BOB), groups=["staff", "night"]).decision.subject == "bob"
    enroller.leave("night", "bob")
    assert enroller.members("night") == ("alice",)
    enroller.delete_group("night")
    assert [g.name for g in enroller.groups()] == ["staff"]
    assert roles.people() == ("alice", "bob")


def test_who_is_erased_leaves_all_groups(roles):
    """A group's members are people who are enrolled."""
    roles.enroller.make_group("staff")
    roles.enroller.join("staff", "alice")
    roles.enroller.remove("alice")
    assert roles.enroller.members("staff") == ()
    assert roles.enroller.groups()[0].members == 0


def test_enrolling_into_a_group_that_is_not_there_enrolls_nobody(roles, shows, consent, pipeline):
    """A misspelled group is told before a picture is looked at."""
    pipeline.calls.clear()
    before = rows(roles)
    for groups in (["absent"], [""], [None], [7], "staff", None, 5):
        with pytest.raises(errors.GroupError):
            roles.enroller.enroll("carol", [shows(7)], consent, groups=groups)
    assert rows(roles) == before
    assert pipeline.calls == []


@pytest.mark.parametrize("name", ["", "two words", "a" * 65, None, 7, "../x"])
def test_names_of_groups_and_lists_are_references(roles, name):
    """They stand in the audit log: a fixed form, no sentence."""
    before = rows(roles)
    with pytest.raises(errors.GroupError):
        roles.enroller.make_group(name)
    with pytest.raises(errors.ListError):
        roles.enroller.make_list(name)
    assert rows(roles) == before


def test_groups_that_are_there_or_not(roles):
    """Made twice, deleted twice, left without being in it: an error each, and nothing changed."""
    enroller = roles.enroller
    enroller.make_group("staff")
    before = rows(roles)
    for call in (
        lambda: enroller.make_group("staff"),
        lambda: enroller.delete_group("absent"),
        lambda: enroller.members("absent"),
        lambda: enroller.join("absent", "alice"),
        lambda: enroller.leave("absent", "alice"),
        lambda: enroller.leave("staff", "alice"),
    ):
        with pytest.raises(errors.GroupError) as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before


# --- face lists ----------------------------------------------------------------------------------------------------


def test_faces_without_a_person_are_kept_in_lists(roles, shows, consent):
    """Each picture by itself, different people in one list; none of them is ever identified."""
    enroller = roles.enroller
    enroller.make_list("visitors")
    result = enroller.add_to_list("visitors", [shows(7), shows(), shows(8)], consent)
    assert (result.added, result.frames) == (2, (None, "no_face", None))
    assert [(kept.name, kept.faces) for kept in enroller.lists()] == [("visitors", 2)]
    assert roles.recognizer.identify(shows(7)).decision.outcome == "no_match"
    first, second = enroller.list_faces("visitors")
    enroller.remove_from_list("visitors", first.id)
    assert enroller.list_faces("visitors") == (second,)
    enroller.delete_list("visitors")
    assert enroller.lists() == ()
    assert roles.core.store.db.read("SELECT count(*) FROM face WHERE list IS NOT NULL") == [(0,)]


def test_a_list_says_by_whose_consent_in_the_audit_log(roles, shows, consent, clock):
    """A list keeps no record that could run out: one that would is refused, the other is in the log."""
    roles.enroller.make_list("visitors")
    roles.enroller.add_to_list("visitors", [shows(7)], consent)
    assert log(roles, "add_to_list")[0][1]["text_sha256"] == consent.text_sha256
    before = rows(roles)
    with pytest.raises(errors.ConsentMissingError, match="run out"):
        roles.enroller.add_to_list(
            "visitors", [shows(8)], dataclasses.replace(consent, expires_at=clock.now() + timedelta(1))
        )
    assert rows(roles) == before


def test_lists_that_are_there_or_not(roles, shows, consent):
    """Made twice, deleted twice, a face that is not in it: an error each, and nothing changed."""
    enroller = roles.enroller
    enroller.make_list("visitors")
    before = rows(roles)
    alices = enroller.faces("alice")[0].id
    for call in (
        lambda: enroller.make_list("visitors"),
        lambda: enroller.delete_list("absent"),
        lambda: enroller.list_faces("absent"),
        lambda: enroller.list_faces(None),
        lambda: enroller.add_to_list("absent", [shows(7)], consent),
        lambda: enroller.remove_from_list("visitors", alices),
        lambda: enroller.remove_from_list("absent", alices),
    ):
        with pytest.raises(errors.ListError) as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before


# --- the role ------------------------------------------------------------------------------------------------------


def test_an_enroller_needs_the_enrollers_credential(make_gate):
    """A wrong credential opens nothing, and that it was tried is in the audit log."""
    roles = make_gate()
    for role in ("recognizer", "reviewer", "privacy_officer", "administrator"):
        with pytest.raises(errors.RoleError):
            roles.gate.enroller(roles.credentials[role])
    for nothing in (None, "", "fgc_enroller_" + "A" * 43):
        with pytest.raises(errors.RoleError):
            roles.gate.enroller(nothing)
    assert {said["role"] for _, said in log(roles, "credential_refused")} == {"enroller"}


def test_every_change_says_by_whose_credential(roles, shows, consent):
    """The audit log has the label of the credential, not a word of the token."""
    desk = roles.administrator.add_credential("enroller", "desk-2")
    roles.gate.enroller(desk).enroll("carol", [shows(7)], consent)
    assert log(roles, "enroll")[-1][1]["by"] == "desk-2"
    assert log(roles, "enroll")[0][1]["by"] == "enroller"


def test_a_closed_gate_does_nothing(roles, shows, consent):
    """Every call is refused, also of a role that was opened before."""
    enroller = roles.enroller
    roles.gate.close()
    for call in (
        lambda: enroller.enroll("carol", [shows(7)], consent),
        lambda: enroller.withdraw("alice"),
        enroller.people,
        enroller.groups,
        lambda: enroller.make_group("staff"),
    ):
        with pytest.raises(errors.GateClosedError):
            call()


def test_nothing_biometric_is_said(roles, shows, consent, caplog, capfd):
    """No log line, no output, and no number in the results but counts and times."""
    result = roles.enroller.enroll("carol", [shows(7)], consent)
    values = [v for info in (result, *roles.enroller.people()) for v in dataclasses.asdict(info).values()]
    assert not [value for value in values if isinstance(value, float)]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    said = [details for _, details in log(roles, "enroll")]
    assert not [value for details in said for value in details.values() if isinstance(value, float)]


# --- what is over stays over ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("way", ["record_consent", "correct"])
def test_attack_reviving_an_expired_person_with_a_new_consent(make_gate, shows, consent, clock, swept, way):
    """Whether the sweeper came before it or not: the old faces are gone, and only a new enrolment counts."""
    roles = make_gate()
    roles.enroller.enroll("alice", [shows(ALICE)], dataclasses.replace(consent, expires_at=clock.now() + timedelta(1)))
    clock.wait(86_400)
    if swept:
        assert roles.officer.sweep().lapsed == ("alice",)
    else:
        roles.core._sweep_at = float("inf")  # it would come with any call
    fresh = dataclasses.replace(consent, given_at=clock.now(), text_version="entrance-2")
    if way == "correct":
        roles.officer.correct("alice", consent=fresh, checked_by="passport-seen")
    else:
        roles.enroller.record_consent("alice", fresh)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "rejected"
    assert roles.enroller.faces("alice") == ()
    assert len(log(roles, "consent_lapsed")) == 1
    assert roles.enroller.enroll("alice", [shows(ALICE)], fresh).enrolled
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_attack_reviving_somebody_who_is_restricted_meanwhile(roles, shows, consent, clock):
    """A restriction is no way around it: the consent ran out while it lasted."""
    roles.enroller.enroll("carol", [shows(7)], dataclasses.replace(consent, expires_at=clock.now() + timedelta(1)))
    roles.officer.restrict("carol", checked_by="passport-seen")
    clock.wait(86_400)
    roles.core._sweep_at = float("inf")
    before, fresh = rows(roles), dataclasses.replace(consent, given_at=clock.now())
    with pytest.raises(errors.EnrollError, match="restricted") as caught:
        roles.enroller.record_consent("carol", fresh)
    assert caught.value.hint
    with pytest.raises(errors.EnrollError, match="restricted"):
        roles.officer.correct("carol", consent=fresh, checked_by="passport-seen")
    assert rows(roles) == before
    roles.officer.unrestrict("carol", checked_by="passport-seen")
    assert roles.recognizer.identify(shows(7)).decision.outcome == "no_match"
    roles.enroller.record_consent("carol", fresh)
    assert roles.recognizer.identify(shows(7)).decision.outcome == "no_match"


def test_a_consent_in_force_is_renewed_without_losing_a_face(roles, shows, consent, clock):
    """One that comes in time takes the other's place."""
    until = clock.now() + timedelta(days=1)
    roles.enroller.record_consent("alice", dataclasses.replace(consent, expires_at=until))
    clock.wait(86_399)
    roles.enroller.record_consent("alice", dataclasses.replace(consent, given_at=clock.now()))
    clock.wait(3600)
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "alice"
    assert log(roles, "consent_lapsed") == []


@pytest.mark.parametrize("call", ["enroll", "add_face", "add_to_list"])
def test_a_consent_that_runs_out_while_the_models_look(roles, shows, consent, clock, pipeline, call):
    """It counts at the moment of the commit, or nothing is added: not a millisecond longer."""
    ends = dataclasses.replace(consent, expires_at=clock.now() + timedelta(seconds=1))
    roles.enroller.make_list("guests")
    roles.enroller.enroll("carol", [shows(7)], ends)
    before = rows(roles)
    genuine = pipeline.detect

    def slow(frame):
        clock.wait(1)
        return genuine(frame)

    pipeline.detect = slow
    late = {
        "enroll": lambda: roles.enroller.enroll("dave", [shows(8)], ends),
        "add_face": lambda: roles.enroller.add_face("carol", [shows(7)]),
        "add_to_list": lambda: roles.enroller.add_to_list("guests", [shows(9)], ends),
    }
    with pytest.raises(errors.ConsentMissingError):
        late[call]()
    assert rows(roles) == before


@pytest.mark.parametrize("end", ["withdraw", "remove"])
def test_faces_that_were_captured_go_with_the_person(roles, shows, end):
    """One of those that the camera saw in the last minutes may be theirs: none is held any more."""
    (captured,) = roles.recognizer.detect(shows(ALICE))
    getattr(roles.enroller, end)("alice")
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.identify(captured)


def test_a_restricted_persons_data_stays_as_it_is(roles):
    """An enroller removes neither the person nor a face; the person can withdraw all the same."""
    roles.officer.restrict("alice", checked_by="passport-seen")
    before = rows(roles)
    face = roles.enroller.faces("alice")[0].id
    for call in (lambda: roles.enroller.remove("alice"), lambda: roles.enroller.remove_face("alice", face)):
        with pytest.raises(errors.EnrollError, match="restricted") as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before
    roles.enroller.withdraw("alice")
    assert roles.people() == ("bob",)


# --- hostile input -------------------------------------------------------------------------------------------------

NO_NAMES = [
    "",
    " ",
    "../x",
    "a b",
    "\udcff",
    "a\0",
    "x" * 65,
    "é",
    None,
    -1,
    2**70,
    b"staff",
    ["staff"],
    {},
    float("nan"),
]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_attack_names_that_no_database_can_take(roles, shows, consent, name):
    """Groups, lists, people: an error of the gate's own, and nothing has changed."""
    before = rows(roles)
    enroller, frames = roles.enroller, [shows(9)]
    calls = [
        lambda: enroller.make_group(name),
        lambda: enroller.delete_group(name),
        lambda: enroller.join(name, "alice"),
        lambda: enroller.leave(name, "alice"),
        lambda: enroller.members(name),
        lambda: enroller.make_list(name),
        lambda: enroller.delete_list(name),
        lambda: enroller.list_faces(name),
        lambda: enroller.remove_from_list(name, 1),
        lambda: enroller.add_to_list(name, frames, consent),
        lambda: enroller.enroll(name, frames, consent),
        lambda: enroller.enroll("carol", frames, consent, groups=[name]),
        lambda: enroller.add_face(name, frames),
        lambda: enroller.faces(name),
        lambda: enroller.remove_face(name, 1),
        lambda: enroller.remove_face("alice", name),
        lambda: enroller.consents(name),
        lambda: enroller.withdraw(name),
        lambda: enroller.remove(name),
        lambda: enroller.mark_minor(name),
        lambda: enroller.record_consent(name, consent),
    ]
    for call in calls:
        with pytest.raises(errors.FacegateError) as caught:
            call()
        assert caught.value.hint
    assert rows(roles) == before


# --- certificates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "reason"), [("withdraw", "withdrawal"), ("remove", "erasure")])
def test_who_is_erased_at_the_desk_gets_a_certificate(roles, device_key, end, reason):
    """As by the officer, who can make it again: without one a restored backup would bring the person back."""
    roles.enroller.make_group("staff")
    roles.enroller.join("staff", "alice")
    signed = getattr(roles.enroller, end)("alice")
    certificate = verify_certificate(signed.jws, device_key, reference="alice")
    assert (certificate.reason, certificate.faces, certificate.consents, certificate.groups) == (reason, 2, 1, 1)
    again = roles.officer.certify_again("alice").certificate
    assert (again.reason, again.faces, again.time) == (reason, 2, certificate.time)
    with pytest.raises(errors.SubjectError):
        roles.officer.certify_again("bob")


def test_the_audit_log_has_the_whole_record_of_a_consent(roles, shows, consent):
    """Of a face in a list it is the only one: purpose (by its hash), basis, text, when, by whom."""
    roles.enroller.make_list("guests")
    roles.enroller.add_to_list("guests", [shows(9)], consent)
    ((_, said),) = log(roles, "add_to_list")
    assert said["purpose_sha256"] == hashlib.sha256(b"entrance").hexdigest()
    assert said["given"] == "2026-03-01T12:00:00.123Z"
    assert (said["legal_basis"], said["text_version"], said["text_sha256"], said["taken_by"]) == (
        *("explicit_consent", "entrance-1", consent.text_sha256, "reception"),
    )


@pytest.mark.parametrize("end", ["remove_from_list", "delete_list"])
def test_faces_that_were_captured_go_with_a_lists_face(roles, shows, consent, end):
    """Whoever does not want to be in a list any more is not in the gate's memory either."""
    roles.enroller.make_list("guests")
    roles.enroller.add_to_list("guests", [shows(9)], consent)
    (captured,) = roles.recognizer.detect(shows(9))
    face = [roles.enroller.list_faces("guests")[0].id] if end == "remove_from_list" else []
    getattr(roles.enroller, end)("guests", *face)
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.identify(captured)


def test_a_consent_of_today_and_a_clock_that_is_not_believed(roles, shows, consent, clock):
    """The gate's time is another one than the desk's: the error says where to look."""
    clock.moment += timedelta(days=3650)
    today = dataclasses.replace(consent, given_at=clock.now())
    with pytest.raises(errors.ConsentExpiredError) as caught:
        roles.enroller.enroll("carol", [shows(7)], today)
    assert "gate status" in caught.value.hint
