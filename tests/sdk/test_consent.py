"""The record of consent, and whether it counts for a gate."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timedelta, timezone

import pytest

from facegate import Consent, Declaration, errors
from facegate._consents import check_consent, consents_of, newest_consent, put_consent
from facegate._store._store import Store

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=timezone.utc)


def record(**changes) -> Consent:
    """A consent for an entrance, valid now, with changes."""
    parts = {
        "purpose": "entrance",
        "legal_basis": "explicit_consent",
        "text_version": "entrance-1",
        "given_at": NOW,
        "taken_by": "reception",
    }
    return Consent.to_text("I agree.", **(parts | changes))


def declared(purpose: str = "entrance") -> Declaration:
    """A declaration of that purpose."""
    return dataclasses.replace(Declaration.demonstration(), purpose=purpose)


def checked(consent: object, now: datetime = NOW, **changes) -> Consent:
    """The consent, if it counts."""
    return check_consent(consent, declared(), now, **({"demonstration": False} | changes))


# --- the record ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("purpose", ""),
        ("purpose", "  "),
        ("purpose", "x" * 201),
        ("purpose", None),
        ("legal_basis", "because"),
        ("legal_basis", None),
        ("legal_basis", []),
        ("text_version", ""),
        ("text_version", "version 1"),
        ("text_version", None),
        ("text_version", 1),
        ("text_sha256", "abc"),
        ("text_sha256", "A" * 64),
        ("text_sha256", None),
        ("given_at", "2026-01-01"),
        ("given_at", None),
        ("given_at", NOW.replace(tzinfo=None)),
        ("taken_by", ""),
        ("taken_by", "Mrs. Smith"),
        ("taken_by", None),
        ("expires_at", NOW),
        ("expires_at", NOW.replace(tzinfo=None)),
        ("expires_at", 5),
        ("guardian", ""),
        ("guardian", "his mother"),
        ("guardian", 7),
    ],
)
def test_a_consent_that_records_nothing_is_refused(part, value):
    """Every part of the record is checked when it is made; the error names the part and not its value."""
    with pytest.raises(errors.ConsentMissingError, match=part) as caught:
        dataclasses.replace(record(), **{part: value})
    assert caught.value.hint


def test_the_hash_of_the_text_is_kept_and_not_the_text():
    """The text that was agreed to is the operator's to keep."""
    consent = record()
    assert consent.text_sha256 == hashlib.sha256(b"I agree.").hexdigest()
    assert "I agree" not in repr(consent)


def test_who_took_it_and_which_text_must_be_said():
    """There is no default for what makes a record a proof."""
    for part in ("purpose", "legal_basis", "text_version", "given_at", "taken_by"):
        parts = dict.fromkeys(("purpose", "legal_basis", "text_version", "given_at", "taken_by"), "x")
        del parts[part]
        with pytest.raises(TypeError, match=part):
            Consent.to_text("I agree.", **parts)


# --- whether it counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "yes", True, {"purpose": "entrance"}])
def test_what_is_no_record_is_no_consent(value):
    """Saying so is no consent."""
    with pytest.raises(errors.ConsentMissingError):
        checked(value)


@pytest.mark.parametrize("purpose", ["entrance of the canteen", "Entrance", "entrance ", "attendance"])
def test_a_consent_counts_for_the_purpose_that_it_names(purpose):
    """Another purpose is another purpose, letter by letter."""
    with pytest.raises(errors.ConsentPurposeError):
        checked(record(purpose=purpose))


def test_a_consent_counts_from_its_beginning_to_its_end():
    """Not before it was given, not from its end on; between, to the millisecond that a gate's time has."""
    consent = record(expires_at=NOW + timedelta(days=1))
    assert checked(consent) is consent
    assert checked(record(given_at=NOW + timedelta(microseconds=900)))
    assert checked(consent, NOW + timedelta(days=1, milliseconds=-1))
    for now in (NOW - timedelta(milliseconds=1), NOW + timedelta(days=1), NOW + timedelta(days=400)):
        with pytest.raises(errors.ConsentExpiredError):
            checked(consent, now)


def test_a_demonstration_is_no_legal_basis():
    """Only a gate that is a demonstration takes it."""
    with pytest.raises(errors.ConsentPurposeError, match="legal basis"):
        checked(record(legal_basis="demonstration"))
    assert checked(record(legal_basis="demonstration"), demonstration=True)


def test_time_zones_are_times():
    """A consent given in another time zone is given at that moment."""
    east = timezone(timedelta(hours=9))
    assert checked(record(given_at=NOW.astimezone(east), expires_at=(NOW + timedelta(hours=1)).astimezone(east)))


# --- in the store --------------------------------------------------------------------------------------------------


@pytest.fixture
def store(clock):
    """A store in memory with one person."""
    with Store.memory("door-1", "space", 128, clock=clock) as made:
        with made.db.transaction() as tx:
            made.add_person(tx, "p-1")
        yield made


def test_records_are_kept_and_the_newest_counts(store):
    """What was recorded is read back, part by part, in order; the same record twice is one."""
    first, second = record(), record(expires_at=NOW + timedelta(days=9), guardian="g-1", text_version="2.0")
    person = store.person("p-1").id
    for consent in (first, first, second):
        with store.db.transaction() as tx:
            put_consent(tx, person, consent)
    assert consents_of(store.db, person) == (first, second)
    assert newest_consent(store.db, person) == second


def test_a_moment_of_validity_survives_the_stores_milliseconds(store):
    """A consent whose end is less than a millisecond after its beginning is read back as a record."""
    with store.db.transaction() as tx:
        put_consent(tx, store.person("p-1").id, record(expires_at=NOW + timedelta(microseconds=1)))
    assert newest_consent(store.db, store.person("p-1").id).expires_at == NOW + timedelta(milliseconds=1)


def test_a_person_without_a_record_has_none(store):
    """Nobody's consent is taken for granted."""
    assert newest_consent(store.db, store.person("p-1").id) is None
    assert consents_of(store.db, 999) == ()
