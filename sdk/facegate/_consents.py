"""Records of consent in the store: which counts, and whether it counts for this gate."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from facegate._consent import Consent
from facegate._decision import format_time
from facegate.errors import ConsentExpiredError, ConsentMissingError, ConsentPurposeError, EnrollError

if TYPE_CHECKING:
    from facegate._core import Work
    from facegate._declaration import Declaration
    from facegate._store._database import Database, Transaction
    from facegate._store._store import PersonRow, Store

__all__ = [
    "check_consent",
    "consent_details",
    "consents_of",
    "is_guardians",
    "moment",
    "newest_consent",
    "put_consent",
    "renew_consent",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_COLUMNS = "purpose, legal_basis, text_version, text_sha256, given, taken_by, expires, guardian"


def check_consent(consent: object, declaration: Declaration, now: datetime, *, demonstration: bool) -> Consent:
    """Return the consent if it counts at `now` for a gate of that declaration.

    Raises:
        ConsentMissingError: it is no record.
        ConsentExpiredError: it has run out, or is dated after `now`.
        ConsentPurposeError: it was given for something else, or nobody's rights rest on it.
    """
    if not isinstance(consent, Consent):
        raise ConsentMissingError("nobody is enrolled without consent", hint="record it and pass a Consent")
    if consent.purpose != declaration.purpose:
        raise ConsentPurposeError(
            "the consent was given for another purpose than the gate's",
            hint="the purpose is that of the gate's declaration.json, letter by letter; for another one make a gate",
        )
    if consent.legal_basis == "demonstration" and not demonstration:
        raise ConsentPurposeError(
            "a demonstration is no legal basis for enrolling somebody", hint="record the consent of the person"
        )
    # To the millisecond, as the gate's time is: a consent may have been given right now.
    if _milliseconds(consent.given_at) > _milliseconds(now) or consent.expired_at(now):
        raise ConsentExpiredError("the consent has expired or is not given yet", hint="check its dates")
    return consent


def is_guardians(store: Store, reference: str, consent: Consent | None) -> bool:
    """Whether a consent of that person is a guardian's: of somebody else, who is no minor as far as the gate knows."""
    if consent is None or consent.guardian is None or consent.guardian == reference:
        return False
    guardian = store.person(consent.guardian)
    return guardian is None or not guardian.minor


def put_consent(tx: Transaction, person: int, consent: Consent) -> None:
    """Add the record to those of a person, unless it is the newest already. The newest counts; the others are proof."""
    values = _values(consent)
    newest = tx.execute(_select("id DESC LIMIT 1"), person).fetchone()
    if newest is None or tuple(newest) != tuple(values.values()):
        tx.insert("consent", person=person, **values)


def renew_consent(store: Store, work: Work, person: PersonRow, consent: Consent) -> None:
    """Put another record of somebody who is enrolled. What the one before did not cover any more is gone with it.

    Whether the sweeper has come since the earlier one ran out must make no difference: a new consent is for what is
    done from now on, and revives nothing.

    Raises:
        EnrollError: the person is restricted: what is over of theirs is kept as it is until the restriction ends.
    """
    before = newest_consent(store.db, person.id)
    if not person.lapsed and (before is None or before.expired_at(work.now.time)):
        if person.restricted:
            raise EnrollError(
                "the person's data is restricted, and their consent has run out: it stays as it is",
                hint="the privacy officer ends the restriction; then the person is enrolled again",
            )
        faces = len(store.faces(person.id))
        store.lapse_person(work.tx, person.id)
        work.log(
            "consent_lapsed",
            person.reference,
            {"class": "consent", "faces": faces, "before": format_time(work.now.time)},
        )
    put_consent(work.tx, person.id, consent)


def consents_of(db: Database, person: int) -> tuple[Consent, ...]:
    """All records of a person, the oldest first."""
    return tuple(_consent(row) for row in db.read(_select("id"), person))


def newest_consent(db: Database, person: int) -> Consent | None:
    """The record that counts; it may have run out."""
    rows = db.read(_select("id DESC LIMIT 1"), person)
    return _consent(rows[0]) if rows else None


def consent_details(consent: Consent) -> dict[str, str | int | bool | None]:
    """What the audit log says of a record: all of it, the purpose by its hash, because it is free text."""
    return {
        "purpose_sha256": hashlib.sha256(consent.purpose.encode()).hexdigest(),
        "given": format_time(consent.given_at),
        "legal_basis": consent.legal_basis,
        "text_version": consent.text_version,
        "text_sha256": consent.text_sha256,
        "taken_by": consent.taken_by,
        "expires": format_time(consent.expires_at) if consent.expires_at is not None else None,
        "guardian": consent.guardian,
    }


def moment(milliseconds: int) -> datetime:
    """A time of the store's tables."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _select(order: str) -> str:
    return f"SELECT {_COLUMNS} FROM consent WHERE person = ? ORDER BY {order}"  # noqa: S608 - constants


def _values(consent: Consent) -> dict[str, Any]:
    given = _milliseconds(consent.given_at)
    # Never the same millisecond: what is read back must be a record again.
    expires = max(_milliseconds(consent.expires_at), given + 1) if consent.expires_at is not None else None
    return {
        "purpose": consent.purpose,
        "legal_basis": consent.legal_basis,
        "text_version": consent.text_version,
        "text_sha256": consent.text_sha256,
        "given": given,
        "taken_by": consent.taken_by,
        "expires": expires,
        "guardian": consent.guardian,
    }


def _consent(row: tuple[Any, ...]) -> Consent:
    purpose, basis, version, sha256, given, taken_by, expires, guardian = row
    until = moment(expires) if expires is not None else None
    return Consent(purpose, basis, version, sha256, moment(given), taken_by, until, guardian)
