"""The rights of people: each one call, on a request whose sender was checked, recorded with what came of it."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import zipfile
from datetime import timedelta
from typing import get_args

import pytest

from facegate import errors
from facegate._certificate import verify_certificate
from facegate._decision import Outcome, Reason
from facegate._rights._archive import verify_archive
from facegate._rights._explanation import MEANINGS, OUTCOMES
from facegate._rights._requests import RIGHTS

ALICE, BOB, STRANGER = 1, 2, 3
CHECKED = {"checked_by": "passport-seen"}


@pytest.fixture
def roles(make_gate, shows, consent):
    """A gate with alice, in the group staff, and bob."""
    opened = make_gate()
    opened.enroller.make_group("staff")
    opened.enroller.enroll("alice", [shows(ALICE), shows(ALICE)], consent, groups=["staff"])
    opened.enroller.enroll("bob", [shows(BOB)], consent)
    return opened


def entries(roles, action):
    """The audit entries of an action."""
    return list(roles.core.audit.entries(action=action))


def rows(roles, table):
    """How many rows a table has."""
    return roles.core.store.db.read(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - constants


# --- requests ------------------------------------------------------------------------------------------------------


def test_a_request_is_recorded_with_when_it_is_due_and_how_the_person_was_checked(roles, clock):
    """Due after 30 days; open until it is closed, and the audit log says both."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen", note="by letter")
    assert (request.received, request.due) == (clock.now(), clock.now() + timedelta(days=30))
    assert roles.officer.requests() == (request,) == roles.officer.requests("alice", open_only=True)
    assert roles.officer.request(request.number) == request
    closed = roles.officer.close_request(request.number, "refused", note="not the person")
    assert (closed.outcome, closed.note, closed.closed) == ("refused", "not the person", clock.now())
    assert roles.officer.requests(open_only=True) == ()
    opened, ended = entries(roles, "request_opened")[0], entries(roles, "request_closed")[0]
    assert opened.details["checked_by"] == "passport-seen"
    assert (ended.reference, ended.details["outcome"]) == ("alice", "refused")


def test_the_time_to_answer_is_a_setting(roles, clock):
    """An operator who promises a week is reminded after a week."""
    roles.administrator.set("request_due_days", 7)
    request = roles.officer.open_request("erasure", "alice", checked_by="passport-seen")
    assert request.due == clock.now() + timedelta(days=7)


def test_overdue_requests_are_named(roles, clock):
    """A request that nobody answered is overdue once its time is over."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    clock.wait(30 * 86_400)
    assert roles.officer.overdue() == ()
    clock.wait(1)
    assert [r.number for r in roles.officer.overdue()] == [request.number]


def test_a_request_gets_more_time_once_and_with_a_reason(roles, clock):
    """Two months at most, on record; a second time, without a reason, or once it is closed it does not."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    for days, note in ((61, "many"), (0, "many"), (True, "many"), (30, ""), (30, None)):
        with pytest.raises(errors.RequestError):
            roles.officer.extend_request(request.number, days, note=note)
    extended = roles.officer.extend_request(request.number, 60, note="many requests")
    assert (extended.due, extended.note) == (clock.now() + timedelta(days=90), "many requests")
    with pytest.raises(errors.RequestError):
        roles.officer.extend_request(request.number, 1, note="still many")
    roles.officer.close_request(request.number, "done")
    with pytest.raises(errors.RequestError):
        roles.officer.extend_request(request.number, 1, note="still many")
    assert entries(roles, "request_extended")[0].reference == "alice"


@pytest.mark.parametrize("right", RIGHTS)
def test_every_right_can_be_asked_for(roles, right):
    """Also by somebody who is not enrolled: then the answer is that nothing is held."""
    assert roles.officer.open_request(right, "nobody", checked_by="in-person").right == right


@pytest.mark.parametrize(
    ("right", "reference", "checked_by", "note", "error"),
    [
        ("everything", "alice", "passport-seen", None, errors.RequestError),
        ("access", "alice", "", None, errors.RequestError),
        ("access", "alice", None, None, errors.RequestError),
        ("access", "alice", "by Mr. Smith", None, errors.RequestError),
        ("access", "Alice Smith", "passport-seen", None, errors.SubjectError),
        ("access", "alice", "passport-seen", "x" * 501, errors.RequestError),
        ("access", "alice", "passport-seen", "two\nlines", errors.RequestError),
        ("access", "alice", "passport-seen", 5, errors.RequestError),
    ],
)
def test_what_is_no_request(roles, right, reference, checked_by, note, error):
    """Each is refused, and nothing is recorded."""
    before = rows(roles, "audit")
    with pytest.raises(error):
        roles.officer.open_request(right, reference, checked_by=checked_by, note=note)
    assert (roles.officer.requests(), rows(roles, "audit")) == ((), before)


@pytest.mark.parametrize("outcome", ["refused", "maybe", ""])
def test_a_request_is_not_refused_without_a_reason(roles, outcome):
    """Nor closed with an outcome that there is not."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    with pytest.raises(errors.RequestError):
        roles.officer.close_request(request.number, outcome)
    assert roles.officer.request(request.number).closed is None


def test_a_request_is_closed_once(roles):
    """Closing it again, or one that is not known, is an error."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    roles.officer.close_request(request.number, "canceled")
    for number in (request.number, "R-20260101-00000000", "", None):
        with pytest.raises(errors.RequestError):
            roles.officer.close_request(number, "done")
    with pytest.raises(errors.RequestError):
        roles.officer.access("alice", request=request.number)


CALLS = {
    "access": lambda officer, _, **basis: officer.access("alice", **basis),
    "export": lambda officer, tmp, **basis: officer.export("alice", tmp / "a.zip", **basis),
    "correction": lambda officer, _, **basis: officer.correct("alice", new_reference="p-1", **basis),
    "erasure": lambda officer, _, **basis: officer.erase("alice", **basis),
    "withdrawal": lambda officer, _, **basis: officer.withdraw("alice", **basis),
    "closing": lambda officer, _, **basis: officer.close_account("alice", **basis),
    "restriction": lambda officer, _, **basis: officer.restrict("alice", **basis),
    "objection": lambda officer, _, **basis: officer.object_automated("alice", **basis),
}


@pytest.mark.parametrize("right", CALLS)
def test_a_right_is_one_call_that_records_its_request(roles, tmp_path, clock, right):
    """Said how the person was checked, the request is recorded and closed with what was done."""
    CALLS[right](roles.officer, tmp_path, **CHECKED)
    (request,) = roles.officer.requests("alice")
    assert (request.right, request.outcome, request.checked_by) == (right, "done", "passport-seen")
    assert (request.received, request.closed) == (clock.now(), clock.now())


@pytest.mark.parametrize("right", CALLS)
def test_a_right_answers_an_open_request(roles, tmp_path, right):
    """Given its number, the request is closed; no other one is recorded."""
    request = roles.officer.open_request(right, "alice", checked_by="passport-seen")
    CALLS[right](roles.officer, tmp_path, request=request.number)
    assert [r.outcome for r in roles.officer.requests()] == ["done"]


@pytest.mark.parametrize("right", CALLS)
def test_attack_a_right_without_a_request(roles, tmp_path, right):
    """Without either, with both, with somebody else's or another right's request nothing happens."""
    others = roles.officer.open_request(right, "bob", checked_by="passport-seen").number
    another = next(r for r in RIGHTS if r != right)
    wrong = roles.officer.open_request(another, "alice", checked_by="passport-seen").number
    tables = ("person", "face", "consent", "membership", "audit", "request", "decision")
    before = [rows(roles, table) for table in tables]
    for basis in ({}, {"request": others}, {"request": wrong}, {"request": wrong, **CHECKED}, {"request": "R-1"}):
        with pytest.raises(errors.RequestError):
            CALLS[right](roles.officer, tmp_path, **basis)
    with pytest.raises(errors.RequestError):
        CALLS[right](roles.officer, tmp_path, checked_by="well known to me")
    assert [rows(roles, table) for table in tables] == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("right", [right for right in CALLS if right != "access"])
def test_unknown_people(roles, tmp_path, right):
    """For who is not enrolled nothing is done, and nothing recorded."""
    roles.officer.erase("alice", **CHECKED)
    before = rows(roles, "audit")
    with pytest.raises(errors.SubjectError):
        CALLS[right](roles.officer, tmp_path, **CHECKED)
    assert rows(roles, "audit") == before


# --- access and export ---------------------------------------------------------------------------------------------


def test_access_tells_all_that_is_held(roles, shows, consent):
    """The person, faces, consents, groups, decisions, requests, audit entries, and what for and how long."""
    signed = roles.recognizer.identify(shows(ALICE))
    told = roles.officer.access("alice", **CHECKED)
    assert told["person"]["minor"] is False
    assert told["person"]["erased_if_unused"] == "2027-03-01T12:00:00.123Z"
    assert [face["template_length"] for face in told["faces"]] == [128, 128]
    assert [c["text_sha256"] for c in told["consents"]] == [consent.text_sha256]
    assert told["groups"] == ["staff"]
    assert [d["id"] for d in told["decisions"]] == [signed.decision.id]
    assert [r["right"] for r in told["requests"]] == ["access"]
    assert {"enroll", "decision", "access_given"} <= {entry["action"] for entry in told["audit"]}
    assert told["processing"]["purpose"] == roles.core.declaration.purpose
    assert told["processing"]["kept"]["people_days"] == 365


def test_access_tells_of_nobody_else(roles, shows, consent):
    """Nobody's answer names another person, not even one whose face is the same."""
    roles.recognizer.identify(shows(BOB))
    roles.recognizer.verify("alice", shows(ALICE))
    roles.enroller.add_face("alice", [shows(ALICE)])
    roles.enroller.enroll("alices-twin", [shows(ALICE)], consent, allow_duplicate=True)
    for reference in ("alice", "alices-twin"):
        told = json.dumps(roles.officer.access(reference, **CHECKED))
        assert [other for other in ("alice", "alices-twin", "bob") if f'"{other}"' in told] == [reference]


def test_access_of_somebody_who_is_not_held(roles):
    """They are told so, and their request is all that there is."""
    told = roles.officer.access("nobody", **CHECKED)
    assert (told["person"], told["faces"], told["consents"], told["decisions"]) == (None, [], [], [])
    assert [r["reference"] for r in told["requests"]] == ["nobody"]


def test_access_does_not_tell_of_an_earlier_holder_of_the_reference(roles, shows, consent, clock):
    """A reference that was another person's before gives its new holder nothing of theirs."""
    roles.recognizer.identify(shows(ALICE))
    roles.officer.erase("alice", **CHECKED)
    clock.wait(60)
    roles.enroller.enroll("alice", [shows(STRANGER)], consent)
    told = roles.officer.access("alice", **CHECKED)
    assert told["decisions"] == []
    assert [r["right"] for r in told["requests"]] == ["access"]
    assert "person_erased" not in {entry["action"] for entry in told["audit"]}


def test_access_tells_what_was_written_under_an_earlier_reference(roles, shows, clock):
    """Who got another reference does not lose their history with it."""
    signed = roles.recognizer.identify(shows(ALICE))
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    clock.wait(1)
    roles.officer.correct("p-1", new_reference="p-2", **CHECKED)
    told = roles.officer.access("p-2", **CHECKED)
    assert [d["id"] for d in told["decisions"]] == [signed.decision.id]
    assert "enroll" in {entry["action"] for entry in told["audit"]}
    assert {r["reference"] for r in told["requests"]} == {"alice", "p-1", "p-2"}


def test_an_export_is_a_signed_zip_for_the_person_alone(roles, tmp_path, device_key):
    """Mode 0600, JSON by its schema, and the device's signature over every member."""
    path = roles.officer.export("alice", tmp_path / "alice.zip", **CHECKED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    members = verify_archive(path, device_key)
    assert sorted(members) == ["README.txt", "export.json", "export.schema.json"]
    told = json.loads(members["export.json"])
    assert (told["reference"], told["groups"], "templates" in told) == ("alice", ["staff"], False)
    assert roles.core.declaration.contact in members["README.txt"].decode()
    assert entries(roles, "export_written")[0].details["templates"] == 0


def test_an_export_follows_its_schema(roles, shows, tmp_path):
    """What is written is what the schema says, field by field, with and without templates."""
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked where jsonschema is installed")
    roles.recognizer.identify(shows(ALICE))
    for name, templates in (("a.zip", False), ("b.zip", True)):
        path = roles.officer.export("alice", tmp_path / name, templates=templates, **CHECKED)
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("export.schema.json"))
            document = json.loads(archive.read("export.json"))
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema)


def test_the_exports_fields_are_those_of_its_schema(roles, tmp_path):
    """Without jsonschema too: the documented fields are exactly those that are written."""
    path = roles.officer.export("alice", tmp_path / "a.zip", templates=True, **CHECKED)
    with zipfile.ZipFile(path) as archive:
        schema = json.loads(archive.read("export.schema.json"))
        document = json.loads(archive.read("export.json"))
    assert document.keys() == schema["properties"].keys()
    assert set(schema["required"]) == document.keys() - {"templates"}
    for name in ("faces", "consents", "requests", "audit"):
        assert document[name][0].keys() == schema["properties"][name]["items"]["properties"].keys()
    assert document["person"].keys() == schema["properties"]["person"]["anyOf"][1]["properties"].keys()
    assert schema["properties"]["requests"]["items"]["properties"]["right"]["enum"] == list(RIGHTS)


def test_templates_are_exported_only_when_asked_for(roles, tmp_path):
    """Then they are the gate's rotated ones: those of another space, which no other gate has."""
    path = roles.officer.export("alice", tmp_path / "a.zip", templates=True, **CHECKED)
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("export.json"))
    assert [t["space"] for t in told["templates"]] == [roles.core.store.space] * 2 != ["test-space"] * 2
    assert entries(roles, "export_written")[0].details["templates"] == 1


@pytest.mark.parametrize("name", ["taken.zip", "missing/alice.zip", "."])
def test_an_export_that_cannot_be_written(roles, tmp_path, name):
    """A file that is there is not written over; nothing is recorded as given, and no file is left."""
    (tmp_path / "taken.zip").write_text("mine")
    with pytest.raises(errors.ExportError):
        roles.officer.export("alice", tmp_path / name, **CHECKED)
    assert (tmp_path / "taken.zip").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["taken.zip"]
    assert (roles.officer.requests(), entries(roles, "export_written")) == ((), [])


def test_an_export_that_cannot_be_recorded_is_not_left(roles, tmp_path, monkeypatch):
    """A file that the audit log does not know of goes again."""

    def fail(*_, **__):
        raise errors.StoreFullError("no space")

    monkeypatch.setattr(roles.core.store.db, "_write_mark", fail)
    with pytest.raises(errors.StoreFullError):
        roles.officer.export("alice", tmp_path / "a.zip", **CHECKED)
    assert list(tmp_path.iterdir()) == []


def test_attack_an_export_that_was_changed(roles, tmp_path, device_key):
    """A member that was changed, added or removed, and another device's file, are seen."""
    path = roles.officer.export("alice", tmp_path / "a.zip", **CHECKED)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    changes = [
        {**members, "export.json": members["export.json"].replace(b"alice", b"carol")},
        {**members, "more.txt": b""},
        {name: data for name, data in members.items() if name != "README.txt"},
        {name: data for name, data in members.items() if name != "statement.jws"},
    ]
    for index, changed in enumerate(changes):
        other = tmp_path / f"{index}.zip"
        with zipfile.ZipFile(other, "w") as archive:
            for name, data in changed.items():
                archive.writestr(name, data)
        with pytest.raises(errors.ExportError):
            verify_archive(other, device_key)
    with pytest.raises(errors.ExportError):
        verify_archive(tmp_path / "none.zip", device_key)
    assert verify_archive(path, device_key).keys() == members.keys() - {"statement.jws"}


# --- correction, restriction, objection ----------------------------------------------------------------------------


def test_correcting_a_reference(roles, shows):
    """The person is recognized under the new one; the old one is nobody's."""
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    assert roles.people() == ("bob", "p-1")
    assert roles.recognizer.identify(shows(ALICE)).decision.subject == "p-1"
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("unknown_subject",)


def test_correcting_groups_and_consent(roles, consent):
    """A record that was wrong is followed by the right one, which counts; the wrong one stays as proof."""
    roles.enroller.make_group("visitors")
    right = dataclasses.replace(consent, text_version="entrance-2")
    roles.officer.correct("alice", join=["visitors"], leave=["staff"], consent=right, **CHECKED)
    told = roles.officer.access("alice", **CHECKED)
    assert told["groups"] == ["visitors"]
    assert [c["text_version"] for c in told["consents"]] == ["entrance-1", "entrance-2"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"new_reference": "bob"}, errors.SubjectError),
        ({"new_reference": "Alice Smith"}, errors.SubjectError),
        ({"join": ["nobody"]}, errors.GroupError),
        ({"consent": "yes"}, errors.ConsentMissingError),
    ],
)
def test_a_correction_that_cannot_be(roles, changes, error):
    """All of it or nothing: what came before the fault has not happened either."""
    before = rows(roles, "audit")
    with pytest.raises(error):
        roles.officer.correct("alice", leave=["staff"], **changes, **CHECKED)
    assert roles.enroller.members("staff") == ("alice",)
    assert (roles.people(), rows(roles, "audit")) == (("alice", "bob"), before)


def test_a_restricted_person_is_not_decided_about(roles, shows):
    """Their data stays, and trials are rejected for that reason, until the restriction ends."""
    roles.officer.restrict("alice", **CHECKED)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("restricted",)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome != "match"
    assert roles.recognizer.identify(shows(BOB)).decision.subject == "bob"
    roles.officer.unrestrict("alice", **CHECKED)
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.outcome == "match"


def test_an_objection_makes_matches_a_persons_to_decide(roles, shows):
    """The match of somebody who objects is no match yet, and names nobody; others are decided about as before."""
    roles.officer.object_automated("alice", **CHECKED)
    for signed in (roles.recognizer.identify(shows(ALICE)), roles.recognizer.verify("alice", shows(ALICE))):
        assert (signed.decision.outcome, signed.decision.reasons) == ("review", ("objection",))
        assert signed.decision.subject is None
    assert roles.recognizer.identify(shows(BOB)).decision.outcome == "match"
    roles.officer.object_automated("alice", False, **CHECKED)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"


# --- erasure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", ["erasure", "withdrawal", "closing"])
def test_erasing_leaves_nothing_biometric_and_gives_a_certificate(roles, shows, tmp_path, device_key, right):
    """Person, key, faces, consents, memberships are gone; the certificate says what, when and why, and fits."""
    signed = CALLS[right](roles.officer, tmp_path, **CHECKED)
    assert [rows(roles, table) for table in ("person", "face", "consent", "membership")] == [1, 1, 1, 0]
    assert roles.recognizer.verify("alice", shows(ALICE)).decision.reasons == ("unknown_subject",)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    certificate = verify_certificate(signed.jws, device_key, reference="alice")
    assert (certificate.reason, certificate.faces, certificate.consents, certificate.groups) == (right, 2, 1, 1)
    assert (certificate.device, certificate.time) == ("door-1", "2026-03-01T12:00:00.123Z")
    assert entries(roles, "person_erased")[0].reference == "alice"


def test_a_certificate_that_was_lost_is_made_again(roles, clock, device_key):
    """It says the same of the erasure, under another id and salt; without an erasure there is none."""
    first = roles.officer.erase("alice", **CHECKED).certificate
    clock.wait(3600)
    again = verify_certificate(roles.officer.certify_again("alice").jws, device_key, reference="alice")
    assert {first.id, first.salt}.isdisjoint({again.id, again.salt})
    assert (again.time, again.faces, again.consents, again.groups, again.reason) == (
        *(first.time, first.faces, first.consents, first.groups, first.reason),
    )
    for reference in ("bob", "nobody", "Alice Smith"):
        with pytest.raises(errors.SubjectError):
            roles.officer.certify_again(reference)


def test_an_erasure_while_the_clock_is_suspect_is_certified_as_that(roles, clock, device_key):
    """The certificate's time is what the gate believed, and it says that the clock was not."""
    clock.moment -= timedelta(days=365)
    signed = roles.officer.erase("alice", **CHECKED)
    assert (signed.certificate.clock_suspect, signed.certificate.time) == (True, "2026-03-01T12:00:00.123Z")
    clock.moment += timedelta(days=365)
    again = verify_certificate(roles.officer.certify_again("alice").jws, device_key)
    assert again.clock_suspect is True


def test_erasing_forgets_captured_faces(roles, shows):
    """A face that was captured a moment ago may be theirs: it is gone too."""
    (face,) = roles.recognizer.detect(shows(ALICE))
    roles.officer.erase("alice", **CHECKED)
    with pytest.raises(errors.CapturedFaceError):
        roles.recognizer.identify(face.id)


def test_withdrawing_ends_recognition_at_once(roles, shows):
    """The next frame after the withdrawal is not recognized any more."""
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "match"
    roles.officer.withdraw("alice", **CHECKED)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"


def test_closing_an_account_gives_the_data_first(roles, tmp_path, device_key):
    """The export is whole, what else was asked for is canceled, and the person is gone."""
    other = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    roles.officer.close_account("alice", export_to=tmp_path / "a.zip", **CHECKED)
    told = json.loads(verify_archive(tmp_path / "a.zip", device_key)["export.json"])
    assert len(told["faces"]) == 2
    assert roles.officer.request(other.number).outcome == "canceled"
    assert roles.people() == ("bob",)


def test_an_account_is_not_closed_without_the_data_that_was_asked_for(roles, tmp_path):
    """If the file cannot be written, nothing is erased."""
    with pytest.raises(errors.ExportError):
        roles.officer.close_account("alice", export_to=tmp_path / "missing" / "a.zip", **CHECKED)
    assert roles.people() == ("alice", "bob")


def test_an_erasure_that_fails_has_not_happened(roles, monkeypatch):
    """No certificate, no entry, and the person is recognized as before."""

    def fail(*_, **__):
        raise errors.StoreFullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(roles.core.store.db, "_write_mark", fail)
        with pytest.raises(errors.StoreFullError):
            roles.officer.erase("alice", **CHECKED)
    assert (roles.people(), entries(roles, "person_erased")) == (("alice", "bob"), [])


# --- explanation ---------------------------------------------------------------------------------------------------


def test_explaining_a_decision(roles, shows, bundle):
    """Reasons in words, the threshold with what was measured, the models' cards, the rules; and no similarity."""
    matched = roles.recognizer.identify(shows(ALICE)).decision
    told = roles.officer.explain(matched.id)
    assert (told["about"], told["automated"], told["reviewed"]) == ("alice", True, [])
    assert told["threshold"]["measured"]["fmr"] == roles.core.policy.operating_point(bundle.manifest).fmr
    assert {card["role"] for card in told["models"]} == {"detector", "recognizer", "liveness"}
    assert told["policy"]["max_attempts"] == 5
    refused = roles.recognizer.verify("alice", shows(STRANGER)).decision
    assert roles.officer.explain(refused.id)["reasons"] == {"below_threshold": MEANINGS["below_threshold"]}


def test_explaining_a_decision_to_the_person(roles, shows):
    """On their request, which must be theirs; nobody's decision is nobody's to ask about."""
    mine = roles.recognizer.identify(shows(ALICE)).decision.id
    nobodys = roles.recognizer.identify(shows(STRANGER)).decision.id
    request = roles.officer.open_request("explanation", "alice", checked_by="passport-seen")
    bobs = roles.officer.open_request("explanation", "bob", checked_by="passport-seen")
    with pytest.raises(errors.RequestError):
        roles.officer.explain(mine, request=bobs.number)
    with pytest.raises(errors.RequestError):
        roles.officer.explain(nobodys, request=request.number)
    assert roles.officer.explain(mine, request=request.number)["about"] == "alice"
    assert roles.officer.request(request.number).outcome == "done"


@pytest.mark.parametrize("decision_id", ["", "alice", "01a1fd4d-ce11-74c7-8895-b4e70eb0a9b1", None])
def test_explaining_a_decision_that_there_is_not(roles, decision_id):
    """One that the gate never made, or has no more, is an error of its own."""
    with pytest.raises(errors.UnknownDecisionError):
        roles.officer.explain(decision_id)


def test_every_reason_and_outcome_has_words():
    """A decision that nobody can explain does not exist."""
    assert MEANINGS.keys() == set(get_args(Reason))
    assert OUTCOMES.keys() == set(get_args(Outcome))


def test_nothing_that_is_told_holds_a_template_or_a_similarity(roles, shows):
    """Answers, audit entries and explanations have no field for either."""
    signed = roles.recognizer.identify(shows(ALICE))
    told = [roles.officer.access("alice", **CHECKED), roles.officer.explain(signed.decision.id)]
    told[1]["threshold"].pop("similarity")  # the bundle's, of nobody

    def names(value):
        if isinstance(value, dict):
            return set(value) | {n for v in value.values() for n in names(v)}
        return {n for v in value for n in names(v)} if isinstance(value, list) else set()

    forbidden = {"similarity", "score", "template", "templates", "embedding", "landmarks", "box", "image", "data"}
    assert not forbidden & {n for t in told for n in names(t)}


def test_explaining_a_decision_to_somebody_whose_reference_was_corrected(roles, shows, clock):
    """It is still theirs to ask about, under the reference that they have today."""
    mine = roles.recognizer.identify(shows(ALICE)).decision.id
    clock.wait(60)
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    request = roles.officer.open_request("explanation", "p-1", checked_by="passport-seen")
    assert roles.officer.explain(mine, request=request.number)["about"] == "alice"


def test_an_officer_whose_credential_was_revoked_reads_nothing_either(roles):
    """Requests, retention and everything that writes: the role that was opened is of no use any more."""
    officer = roles.officer
    roles.administrator.revoke_credential("privacy_officer")
    for call in (
        officer.requests,
        officer.overdue,
        officer.retention,
        lambda: officer.open_request("access", "alice", checked_by="passport-seen"),
        lambda: officer.access("alice", **CHECKED),
    ):
        with pytest.raises(errors.RoleError):
            call()


def test_what_a_person_has_asked_for_goes_on_under_a_corrected_reference(roles):
    """An open request is about them still; it is not answered with the nothing that is left under the old name."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    with pytest.raises(errors.RequestError):
        roles.officer.access("alice", request=request.number)
    told = roles.officer.access("p-1", request=request.number)
    assert told["person"] is not None
    assert [r["number"] for r in told["requests"] if r["right"] == "access"] == [request.number]


def test_attack_a_corrected_reference_forgets_failed_trials(roles, shows):
    """Who is locked out as somebody stays so, whatever that person is called by now."""
    for _ in range(5):
        roles.recognizer.verify("alice", shows(STRANGER))
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    assert roles.recognizer.verify("p-1", shows(ALICE)).decision.reasons == ("locked_out",)


def test_an_export_is_on_the_disk_before_anything_is_erased(roles, tmp_path, monkeypatch):
    """The file's folder is flushed as well: a power cut after the erasure must not take the only copy."""
    flushed = []
    monkeypatch.setattr(
        "facegate._rights._archive.sync_folder", lambda folder: flushed.append((folder, roles.people()))
    )
    roles.officer.close_account("alice", export_to=tmp_path / "alice.zip", **CHECKED)
    assert flushed == [(tmp_path, ("alice", "bob"))]


def test_attack_a_file_that_appears_meanwhile_is_not_removed(roles, tmp_path, monkeypatch):
    """Somebody else's file is neither written over nor thrown away when the export finds it in its way."""
    path = tmp_path / "alice.zip"
    genuine = roles.core.operation

    def slow(*args):
        path.write_text("another's")
        return genuine(*args)

    monkeypatch.setattr(roles.core, "operation", slow)
    with pytest.raises(errors.ExportError, match="exists"):
        roles.officer.export("alice", path, **CHECKED)
    assert path.read_text() == "another's"


@pytest.mark.parametrize("kind", ["symlink", "folder", "dangling", "pipe"])
def test_attack_an_export_goes_where_something_is(roles, tmp_path, kind):
    """Whatever is there, a link's target or a reader at a pipe gets nothing, and nothing is recorded."""
    path, target = tmp_path / "alice.zip", tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "symlink":
            target.write_text("precious")
        path.symlink_to(target)
    with pytest.raises(errors.ExportError):
        roles.officer.export("alice", path, **CHECKED)
    assert os.path.lexists(path)
    assert target.exists() is (kind == "symlink")
    assert kind != "symlink" or target.read_text() == "precious"
    assert roles.officer.requests() == ()


def _locked(data):
    """The same ZIP, its members said to be encrypted."""
    return data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")


def _packed(method):
    """A change of how the members are said to be packed."""
    return lambda data: data.replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00" + bytes([method, 0]))


@pytest.mark.parametrize(
    "change",
    [
        _locked,
        *(_packed(method) for method in (1, 9, 12, 14, 93, 99)),
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes(200) + data[400:],
        lambda data: bytes(4) + data,
        lambda data: data[:-2] + b"\x04\x00read",
        lambda _: b"",
        lambda _: b"PK\x05\x06" + b"\xff" * 18,
        lambda _: b"PK\x05\x06" + bytes(18),
    ],
)
def test_attack_a_file_that_no_library_can_read(roles, tmp_path, device_key, change):
    """Locked, packed in another way, cut, overwritten: not as the device signed it, and nothing else is said."""
    path = roles.officer.export("alice", tmp_path / "alice.zip", **CHECKED)
    changed = tmp_path / "changed.zip"
    changed.write_bytes(change(path.read_bytes()))
    assert changed.read_bytes() != path.read_bytes()
    with pytest.raises(errors.ExportError, match="not as the device signed it"):
        verify_archive(changed, device_key)


NO_TEXT = ["", "\udcff", "a\0", "' OR 1=1 --", "x" * 100_000, None, 1, 2**70, b"R-1", ["R-1"], {}, float("nan")]


@pytest.mark.parametrize("value", NO_TEXT, ids=lambda v: ascii(v)[:12])
def test_attack_values_that_no_database_can_take(roles, tmp_path, value):
    """Every argument of every right: an error of the gate's own, and nothing has changed."""
    officer, reviewer, path = roles.officer, roles.reviewer, tmp_path / "never.zip"
    before = {table: rows(roles, table) for table in ("person", "face", "request", "audit", "report", "decision")}
    calls = [
        lambda: officer.request(value),
        lambda: officer.close_request(value, "done"),
        lambda: officer.extend_request(value, 3, note="x"),
        lambda: officer.open_request(value, "alice", checked_by="passport-seen"),
        lambda: officer.open_request("access", value, checked_by="passport-seen"),
        lambda: officer.open_request("access", "alice", checked_by=value),
        lambda: officer.held(value),
        lambda: officer.access(value, **CHECKED),
        lambda: officer.export(value, path, **CHECKED),
        lambda: officer.explain(value),
        lambda: officer.correct(value, new_reference="x", **CHECKED),
        lambda: officer.correct("alice", join=[value], **CHECKED),
        lambda: officer.correct("alice", leave=[value], **CHECKED),
        lambda: officer.restrict(value, **CHECKED),
        lambda: officer.object_automated(value, **CHECKED),
        lambda: officer.object_automated("alice", value, **CHECKED),
        lambda: officer.erase(value, **CHECKED),
        lambda: officer.withdraw(value, **CHECKED),
        lambda: officer.close_account(value, **CHECKED),
        lambda: officer.certify_again(value),
        lambda: reviewer.explain(value),
        lambda: reviewer.verdict(value, "match", reviewer="guard-7"),
        lambda: reviewer.report(value, ["x"]),
        lambda: reviewer.report("false_match", value),
        lambda: reviewer.report("false_match", [value]),
        lambda: reviewer.export_report(value, path),
    ]
    if value is not None:  # which is what is not given
        calls += [
            lambda: officer.requests(value),
            lambda: officer.erase("alice", request=value),
            lambda: officer.correct("alice", new_reference=value, **CHECKED),
            lambda: officer.correct("alice", consent=value, **CHECKED),
        ]
    for number, call in enumerate(calls):
        with pytest.raises(errors.FacegateError) as caught:
            call()
        assert caught.value.hint, number
    assert {table: rows(roles, table) for table in before} == before
    assert not path.exists()


@pytest.mark.parametrize(("right", "method"), [("erasure", "erase"), ("withdrawal", "withdraw")])
def test_an_erasure_is_not_said_to_be_done_of_who_is_still_enrolled(roles, right, method):
    """Neither by mistake nor to please: it is done, refused with a reason, or canceled."""
    request = roles.officer.open_request(right, "alice", checked_by="passport-seen")
    with pytest.raises(errors.RequestError, match="still enrolled") as caught:
        roles.officer.close_request(request.number, "done")
    assert request.number in caught.value.hint
    other = roles.officer.open_request(right, "alice", checked_by="passport-seen")
    getattr(roles.officer, method)("alice", request=request.number)
    assert roles.officer.close_request(other.number, "done").outcome == "done"


def test_attack_a_request_of_somebody_who_had_the_reference_before(roles, shows, consent, clock):
    """An open request of a person who was erased is not answered with the data of who got their reference."""
    request = roles.officer.open_request("access", "alice", checked_by="passport-seen")
    clock.wait(60)
    roles.enroller.withdraw("alice")
    roles.enroller.enroll("alice", [shows(STRANGER)], consent)
    with pytest.raises(errors.RequestError, match="somebody else"):
        roles.officer.access("alice", request=request.number)
    assert roles.officer.request(request.number).closed is None
    roles.enroller.withdraw("alice")
    assert roles.officer.access("alice", request=request.number)["person"] is None


def test_attack_asking_about_a_decision_of_who_had_the_reference_before(roles, shows, consent, clock):
    """Who gets a reference is not told what was decided about the one who had it."""
    before = roles.recognizer.identify(shows(ALICE)).decision
    clock.wait(60)
    roles.officer.erase("alice", **CHECKED)
    assert roles.officer.explain(before.id, **CHECKED)["about"] == "alice"  # the person themselves, afterwards
    roles.enroller.enroll("alice", [shows(STRANGER)], consent)
    with pytest.raises(errors.RequestError, match="had the reference before"):
        roles.officer.explain(before.id, **CHECKED)
    own = roles.recognizer.identify(shows(STRANGER)).decision
    assert roles.officer.explain(own.id, **CHECKED)["about"] == "alice"
