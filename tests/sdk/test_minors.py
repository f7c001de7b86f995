"""Minors: a guardian agrees, on a gate that was declared to be for them, or nothing of them is kept."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from facegate import Declaration, errors
from facegate._certificate import verify_certificate

ALICE, BOB = 1, 2


def rows(roles) -> dict[str, list[tuple]]:
    """Everything that the store has of people, and its audit log."""
    tables = ("person", "face", "consent", "membership", "people_group", "face_list", "audit")
    return {table: roles.core.store.db.read(f"SELECT * FROM {table}") for table in tables}  # noqa: S608 - constants


def log(roles, action: str) -> list[tuple[str | None, dict]]:
    """The audit entries of an action: whom about, and what is said."""
    found = roles.core.store.db.read("SELECT reference, details FROM audit WHERE action = ? ORDER BY seq", action)
    return [(reference, json.loads(details)) for reference, details in found]


DECLARED = dataclasses.replace(
    Declaration.demonstration(), purpose="entrance", legal_basis="explicit_consent", place="a test's own gate"
)


@pytest.fixture
def roles(make_gate, shows, consent):
    """A gate that was declared to be for minors too, with alice and bob; it need not be said who is one."""
    opened = make_gate(declaration=dataclasses.replace(DECLARED, minors=True))
    opened.administrator.set("ask_age", value=False)
    for name, identity in (("alice", ALICE), ("bob", BOB)):
        assert opened.enroller.enroll(name, [shows(identity), shows(identity)], consent).enrolled
    return opened


@pytest.fixture
def guardians(consent):
    """A guardian's consent."""
    return dataclasses.replace(consent, guardian="guardian-7")


def test_a_minor_is_enrolled_with_a_guardians_consent(roles, shows, guardians):
    """That they are a minor is kept, and who agreed; no age, no birthday."""
    assert roles.enroller.enroll("carol", [shows(7)], guardians, minor=True).enrolled
    (person,) = [p for p in roles.enroller.people() if p.reference == "carol"]
    assert person.minor
    assert roles.enroller.consents("carol")[0].guardian == "guardian-7"
    reference, said = log(roles, "enroll")[-1]
    assert (reference, said["minor"], said["guardian"]) == ("carol", True, "guardian-7")


def test_a_minor_without_a_guardians_consent_is_not_enrolled(roles, shows, consent, clock, pipeline):
    """No consent, one's own, one's own as guardian, an expired or a foreign one, a minor's: refused, and audited."""
    fresh = dataclasses.replace(consent, guardian="guardian-7")
    roles.enroller.enroll("young", [shows(8)], fresh, minor=True)
    pipeline.calls.clear()
    refused = [
        None,
        consent,
        dataclasses.replace(consent, guardian="carol"),
        dataclasses.replace(consent, guardian="young"),
        dataclasses.replace(fresh, given_at=clock.now() - timedelta(2), expires_at=clock.now() - timedelta(1)),
        dataclasses.replace(fresh, purpose="something else"),
    ]
    for record in refused:
        with pytest.raises(errors.GuardianConsentError) as caught:
            roles.enroller.enroll("carol", [shows(7)], record, minor=True)
        assert caught.value.hint
    assert pipeline.calls == []
    assert roles.people() == ("alice", "bob", "young")
    entries = log(roles, "minor_refused")
    assert len(entries) == len(refused)
    assert all(reference == "carol" and said["removed"] == 0 for reference, said in entries)


def test_whoever_turns_out_to_be_a_minor_is_erased_at_once(roles, shows, consent):
    """An enrolled person, found to be a minor at the next enrolment, is gone with all faces when the error comes."""
    with pytest.raises(errors.GuardianConsentError, match="erased"):
        roles.enroller.enroll("alice", [shows(ALICE)], consent, minor=True)
    assert roles.people() == ("bob",)
    assert roles.recognizer.identify(shows(ALICE)).decision.outcome == "no_match"
    ((reference, said),) = log(roles, "minor_refused")
    assert (reference, said["minor"], said["removed"]) == ("alice", True, 1)


def test_an_enrolled_person_is_marked_as_a_minor(roles, guardians):
    """With a guardian's consent they stay, without it they are erased at once."""
    roles.enroller.mark_minor("alice", guardians)
    assert {p.reference: p.minor for p in roles.enroller.people()} == {"alice": True, "bob": False}
    assert roles.enroller.consents("alice")[-1] == guardians
    roles.enroller.mark_minor("alice")  # a guardian's consent is on record
    with pytest.raises(errors.GuardianConsentError, match="erased"):
        roles.enroller.mark_minor("bob")
    assert roles.people() == ("alice",)


def test_a_minors_consent_is_renewed_by_a_guardian_only(roles, shows, consent, guardians):
    """Once a guardian has agreed, a record without one is refused, and nothing is erased for it."""
    roles.enroller.enroll("carol", [shows(7)], guardians, minor=True)
    before = rows(roles)
    for call in (
        lambda: roles.enroller.record_consent("carol", consent),
        lambda: roles.enroller.enroll("carol", [shows(7)], consent, minor=True),
        lambda: roles.enroller.enroll("carol", [shows(7)], consent),  # known to be a minor
        lambda: roles.enroller.mark_minor("carol", consent),
    ):
        with pytest.raises(errors.GuardianConsentError, match="nothing was changed"):
            call()
    assert rows(roles) == before


def test_who_grew_up_is_enrolled_with_their_own_consent(roles, shows, consent, guardians):
    """Saying that they are no minor any more ends it."""
    roles.enroller.enroll("carol", [shows(7)], guardians, minor=True)
    assert roles.enroller.enroll("carol", [shows(7)], consent, minor=False).enrolled
    assert {p.reference: p.minor for p in roles.enroller.people()}["carol"] is False


def test_a_gate_may_ask_for_the_age_each_time(roles, shows, consent):
    """With the setting on, enrolling without an answer is refused, and the limit is told."""
    roles.administrator.set("ask_age", value=True)
    roles.administrator.set("age_limit", 16)
    before = rows(roles)
    with pytest.raises(errors.EnrollError, match="minor") as caught:
        roles.enroller.enroll("carol", [shows(7)], consent)
    assert "16 years" in caught.value.hint
    assert rows(roles) == before
    assert roles.enroller.enroll("carol", [shows(7)], consent, minor=False).enrolled


@pytest.mark.parametrize("minor", [1, 0, "yes", 13])
def test_whether_somebody_is_a_minor_is_yes_or_no(roles, shows, consent, minor):
    """An age is no answer: it would be kept somewhere."""
    with pytest.raises(errors.EnrollError, match="minor is True, False or None"):
        roles.enroller.enroll("carol", [shows(7)], consent, minor=minor)


def test_no_age_has_a_place_in_the_store(roles):
    """Neither a birthday nor an age is among the columns."""
    db = roles.core.store.db
    columns = {name for (table,) in db.read("SELECT name FROM sqlite_master WHERE type = 'table'")
               for (_, name, *_) in db.read(f"PRAGMA table_info({table})")}  # fmt: skip
    assert "minor" in columns
    assert not [name for name in columns if "age" in name.split("_") or "birth" in name]


def test_a_gate_that_was_declared_for_no_minors_has_none(make_gate, shows, consent, guardians):
    """No guardian's consent counts there: who turns out to be one is erased, and the attempt is in the log."""
    roles = make_gate()  # its declaration says so
    roles.enroller.enroll("alice", [shows(ALICE)], consent)
    for call in (
        lambda: roles.enroller.enroll("carol", [shows(7)], guardians, minor=True),
        lambda: roles.enroller.mark_minor("alice", guardians),
    ):
        with pytest.raises(errors.GuardianConsentError, match="declared to be for no minors") as caught:
            call()
        assert caught.value.hint
    assert roles.people() == ()
    assert [(who, said["removed"]) for who, said in log(roles, "minor_refused")] == [("carol", 0), ("alice", 1)]
    assert "guardian-7" not in str(rows(roles))


def test_a_gate_in_memory_asks_for_the_age_as_one_on_disk_does(make_gate, shows, consent):
    """If its declaration says that there may be minors, it must be said each time."""
    roles = make_gate(declaration=dataclasses.replace(DECLARED, minors=True))
    with pytest.raises(errors.EnrollError, match="minor"):
        roles.enroller.enroll("carol", [shows(7)], consent)
    assert roles.enroller.enroll("carol", [shows(7)], consent, minor=False).enrolled


def test_a_demonstration_may_show_how_minors_are_enrolled(make_gate, shows, guardians):
    """It recognizes nobody, so its declaration's answer binds nobody."""
    demonstration = Declaration.demonstration()
    roles = make_gate(declaration=demonstration, demonstration=True)
    record = dataclasses.replace(guardians, purpose=demonstration.purpose)
    assert roles.enroller.enroll("carol", [shows(7)], record, minor=True).enrolled


def test_a_minors_face_in_a_list_needs_a_guardian_too(roles, shows, consent, guardians, pipeline):
    """Nothing is looked at without a guardian's consent, and the attempt is in the log; asked for as with people."""
    roles.enroller.make_list("guests")
    pipeline.calls.clear()
    for record in (None, consent, dataclasses.replace(guardians, purpose="something else")):
        with pytest.raises(errors.ConsentMissingError):
            roles.enroller.add_to_list("guests", [shows(7)], record, minor=True)
    assert pipeline.calls == []
    assert [who for who, _ in log(roles, "minor_refused")] == ["guests"] * 3
    assert roles.enroller.add_to_list("guests", [shows(7)], guardians, minor=True).added == 1
    ((_, said),) = log(roles, "add_to_list")
    assert (said["minor"], said["guardian"]) == (True, "guardian-7")
    roles.administrator.set("ask_age", value=True)
    with pytest.raises(errors.EnrollError, match="minor"):
        roles.enroller.add_to_list("guests", [shows(8)], consent)
    assert roles.enroller.add_to_list("guests", [shows(8)], consent, minor=False).added == 1


def test_a_minors_consent_is_corrected_with_a_guardians_only(roles, shows, consent):
    """A correction does not take the guardian out of a minor's record."""
    guarded = dataclasses.replace(consent, guardian="mother-1")
    roles.enroller.enroll("minor-1", [shows(7)], guarded, minor=True)
    for wrong in (consent, dataclasses.replace(consent, guardian="minor-1")):
        with pytest.raises(errors.GuardianConsentError):
            roles.officer.correct("minor-1", consent=wrong, checked_by="passport-seen")
    roles.officer.correct(
        "minor-1", consent=dataclasses.replace(guarded, text_version="entrance-2"), checked_by="passport-seen"
    )
    assert [c.text_version for c in roles.enroller.consents("minor-1")] == ["entrance-1", "entrance-2"]


def test_the_erasure_of_a_minor_can_be_certified(roles, shows, device_key):
    """The officer makes the certificate for whoever asks; of somebody who was never enrolled there is none."""
    for call in (
        lambda: roles.enroller.mark_minor("alice"),
        lambda: roles.enroller.enroll("carol", [shows(7)], None, minor=True),
    ):
        with pytest.raises(errors.GuardianConsentError):
            call()
    certificate = verify_certificate(roles.officer.certify_again("alice").jws, device_key, reference="alice")
    assert (certificate.reason, certificate.faces) == ("erasure", 2)
    with pytest.raises(errors.SubjectError):
        roles.officer.certify_again("carol")
