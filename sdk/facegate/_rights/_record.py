"""All that a gate holds of a person, and what GDPR Art. 15(1) asks to be told with it, as JSON values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facegate._consents import consents_of, moment
from facegate._decision import format_time, verify_decision
from facegate._rights._requests import RIGHTS, requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate._clock_guard import TrustedTime
    from facegate._consent import Consent
    from facegate._core import GateCore
    from facegate._decision import Decision
    from facegate._store._audit_chain import AuditEntry
    from facegate._store._store import PersonRow

__all__ = ["SCHEMA_VERSION", "audit_entries_about", "describe_processing", "person_record"]

SCHEMA_VERSION = 1
_OF_OTHERS = ("duplicate_of",)  # references of other people: GDPR Art. 15(4)


def person_record(gate: GateCore, reference: str, now: TrustedTime) -> dict[str, Any]:
    """What the gate holds of a person. No template, no key: docs/rights.md lists every field.

    Args:
        gate: whose.
        reference: the person's; also of one who is not enrolled (any more), of whom only records are left.
        now: the time that counts.
    """
    person = gate.store.person(reference)
    entries = audit_entries_about(gate, reference)
    requests = requests_of(gate.store.db)
    names = {reference, *(entry.reference for entry in entries)}
    since = None if person is None else moment(person.enrolled)
    return {
        "schema": SCHEMA_VERSION,
        "made": format_time(now.time),
        "clock_suspect": now.suspect,
        "gate": gate.store.gate_id,
        "device": gate.device_id,
        "reference": reference,
        "person": None if person is None else _person(gate, person),
        "faces": [] if person is None else _faces(gate, person),
        "consents": [] if person is None else [_consent(c) for c in consents_of(gate.store.db, person.id)],
        "groups": [] if person is None else [group.name for group in gate.store.groups_of(person.id)],
        "decisions": [decision.to_dict() for decision in _decisions(gate, entries)],
        "requests": [r.to_dict() for r in requests if r.reference in names and (since is None or r.received >= since)],
        "audit": [
            {
                "number": entry.number,
                "time": format_time(entry.time),
                "role": entry.role,
                "action": entry.action,
                "details": {name: value for name, value in entry.details.items() if name not in _OF_OTHERS},
            }
            for entry in entries
        ],
        "processing": describe_processing(gate),
    }


def audit_entries_about(gate: GateCore, reference: str) -> list[AuditEntry]:
    """What the audit log says of a person, also under references that they had before.

    Of somebody who is enrolled only what was written since: the reference may have been another person's before.
    """
    person = gate.store.person(reference)
    since = None if person is None else moment(person.enrolled)
    found = list(gate.audit.entries(reference=reference, since=since))
    named, before = reference, None
    while True:
        renamed = [
            entry
            for entry in found
            if entry.action == "reference_corrected"
            and entry.reference == named
            and "old_reference" in entry.details
            and (before is None or entry.number < before)
        ]
        if not renamed:
            return sorted(found, key=lambda entry: entry.number)
        before, named = renamed[-1].number, str(renamed[-1].details["old_reference"])
        found += [e for e in gate.audit.entries(reference=named, since=since) if e.number < before]


def _decisions(gate: GateCore, entries: list[AuditEntry]) -> Iterator[Decision]:
    """Those that are still in the store: the person's matches and reviews, and trials in their name."""
    for entry in entries:
        if entry.action == "decision":
            for (jws,) in gate.store.db.read("SELECT jws FROM decision WHERE id = ?", entry.details.get("decision")):
                yield verify_decision(jws, gate.device.verify_key)


def describe_processing(gate: GateCore) -> dict[str, Any]:
    """What GDPR Art. 13 and 15 ask to be told: purpose, categories, recipients, periods, rights, the logic involved."""
    declaration = gate.declaration
    rules = gate.retention_rules()
    point = gate.policy.operating_point(gate.manifest)
    return {
        "purpose": declaration.purpose,
        "operator": declaration.operator,
        "contact": declaration.contact,
        "legal_basis": declaration.legal_basis,
        "declaration": declaration.id,
        "source": "the person's face before this device's camera, and what was recorded when they were enrolled",
        "categories": {
            "biometric": "templates: numbers made of pictures of the face, sealed with a key of the person's own; "
            "they do not leave the device but in the person's own export. No picture is kept.",
            "consent": "the records of consent",
            "decisions": "when the person was recognized, with the reference; no picture, no template, no similarity",
            "audit": "what was done about the person, by which role; no biometric data",
        },
        "recipients": "the operator's system receives signed decisions; nothing else leaves the device",
        "kept": dataclasses.asdict(rules),
        "rights": list(RIGHTS),
        "complaint": "with the supervisory authority",
        "automated_decision": {
            "logic": "the face is found, its quality and liveness are checked as the policy says, and its template is "
            "compared with those of enrolled people; from a fixed similarity on it is a match",
            "significance": "the operator's system acts on a match, such as by opening a door",
            "objection": "whose objection is recorded is decided about by a person",
            "false_match_rate": None if point is None else point.fmr,
            "policy": gate.policy_id,
            "bundle": gate.bundle_id,
        },
    }


def _person(gate: GateCore, person: PersonRow) -> dict[str, Any]:
    until = gate.retention_rules().person_until(person.used)
    return {
        "enrolled": format_time(moment(person.enrolled)),
        "last_used": format_time(moment(person.used)),
        "erased_if_unused": format_time(moment(until)),
        "minor": person.minor,
        "restricted": person.restricted,
        "objection": person.objection,
        "consent_expired": person.lapsed,
    }


def _faces(gate: GateCore, person: PersonRow) -> list[dict[str, Any]]:
    return [
        {"added": format_time(moment(added)), "template_space": space, "template_length": gate.store.length}
        for _, added, space in gate.store.faces(person.id)
    ]


def _consent(consent: Consent) -> dict[str, Any]:
    document = dataclasses.asdict(consent)
    for name in ("given_at", "expires_at"):
        document[name] = None if document[name] is None else format_time(document[name])
    return document
