"""Why a gate decided as it did: reasons in words, rules, models, and who looked at it since."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate._decision import is_reference, verify_decision
from facegate.errors import RequestError, UnknownDecisionError

if TYPE_CHECKING:
    from facegate._core import GateCore
    from facegate._decision import Decision
    from facegate._store._store import PersonRow
    from facegate_edge._manifest import ModelInfo

__all__ = ["MEANINGS", "OUTCOMES", "About", "about", "explain_decision", "find_decision", "person_today", "who_may_ask"]

OUTCOMES = {
    "match": "the face is similar enough to that of the enrolled person",
    "no_match": "the face is not similar enough to any that it was compared with",
    "review": "a person was to look at it before anything was decided",
    "rejected": "nothing was compared, or no comparison counted",
}
MEANINGS = {
    "below_threshold": "no comparison reached the similarity that the policy asks for",
    "consent_missing": "the person's consent is missing or has expired",
    "liveness_spoof": "what was shown was taken for a picture, a screen or a mask and not for a live face",
    "liveness_uncertain": "it is not certain that the face was a live one",
    "locked_out": "there were too many failed trials before; trials were refused for a while",
    "low_quality": "the picture was too dark, too bright, too blurred, too small, or the face was turned away",
    "no_face": "no face was found in the picture",
    "objection": "the person objected to automated decisions, so a person decides",
    "outdated": "the person's templates were made with other models and must be made anew",
    "rate_limited": "the gate was asked more often than its policy allows",
    "restricted": "the person asked that nothing be decided about them for the time being",
    "reviewer": "a person looked at it and says that it is not the person",
    "several_faces": "there was more than one face in the picture",
    "unknown_subject": "nobody is enrolled under that reference",
}


def find_decision(gate: GateCore, decision_id: str) -> tuple[Decision, str | None]:
    """A decision that the store still has, its signature checked, and its state of review ("open", "closed", None).

    Raises:
        UnknownDecisionError: there is none of that id (any more).
        DecisionSignatureError: it is not as the device signed it.
    """
    known = decision_id if is_reference(decision_id) else ""  # an id has the form of one, and nothing is named ""
    rows = gate.store.db.read("SELECT jws, review FROM decision WHERE id = ?", known)
    if not rows:
        raise UnknownDecisionError(
            "the gate has no decision of that id (any more)",
            hint="decisions are kept for `delivered_days` after their delivery",
        )
    return verify_decision(rows[0][0], gate.device.verify_key), rows[0][1]


@dataclass(frozen=True, slots=True)
class About:
    """Whom a decision is about.

    Attributes:
        reference: theirs when it was made; the audit log knows it where the decision names nobody.
        person: who that is today, under whatever reference; None if they were erased since. The same reference may be
            somebody else's by now.
    """

    reference: str
    person: PersonRow | None


def about(gate: GateCore, decision: Decision) -> About | None:
    """Whom a decision is about, or None if nobody."""
    # The log is not indexed by decision; this is asked for one at a time, by people.
    rows = gate.store.db.read(
        "SELECT seq, time, reference FROM audit WHERE action = 'decision' AND reference IS NOT NULL"
        " AND json_extract(details, '$.decision') = ?",
        decision.id,
    )
    if not rows:
        return None
    seq, time, first = rows[0]
    return About(first, person_today(gate, first, seq, time))


def person_today(gate: GateCore, reference: str, seq: int, time: int) -> PersonRow | None:
    """Who had that reference at that entry of the log, if they are enrolled still."""
    while True:
        renamed = gate.store.db.read(
            "SELECT seq, json_extract(details, '$.new_reference') AS new FROM audit"
            " WHERE reference = ? AND seq > ? AND action = 'reference_corrected' AND new IS NOT NULL"
            " ORDER BY seq LIMIT 1",
            reference,
            seq,
        )
        if not renamed:
            break
        seq, reference = renamed[0]
    person = gate.store.person(reference)
    # Who was enrolled later has only got the reference of somebody who was erased.
    return person if person is not None and person.enrolled <= time else None


def who_may_ask(gate: GateCore, decision_id: str) -> str:
    """The reference, as it is today, of the person whose decision it is.

    Raises:
        RequestError: it is nobody's, or that of somebody whose reference another person has by now.
        UnknownDecisionError, DecisionSignatureError: see `find_decision`.
    """
    whom = about(gate, find_decision(gate, decision_id)[0])
    if whom is None:
        raise RequestError(
            "nobody was recognized in this decision, so it is nobody's to ask about",
            hint="explain it without a request",
        )
    if whom.person is None and gate.store.person(whom.reference) is not None:
        raise RequestError(
            "this decision is about somebody who had the reference before",
            hint="who has it now is told of their own decisions only",
        )
    return whom.reference if whom.person is None else whom.person.reference


def explain_decision(gate: GateCore, decision_id: str) -> dict[str, Any]:
    """All that can be said about a decision, as JSON values; no similarity, which is never kept.

    Raises:
        UnknownDecisionError, DecisionSignatureError: see `find_decision`.
    """
    decision, review = find_decision(gate, decision_id)
    whom = about(gate, decision)
    same_bundle, same_policy = decision.bundle == gate.bundle_id, decision.policy == gate.policy_id
    point = gate.policy.operating_point(gate.manifest)
    threshold: dict[str, Any] | None = None
    if same_bundle and same_policy:
        threshold = {"similarity": gate.threshold, "measured": None if point is None else dataclasses.asdict(point)}
    return {
        "schema": 1,
        "decision": decision.to_dict(),
        "about": None if whom is None else whom.reference,
        "outcome": OUTCOMES[decision.outcome],
        "reasons": {reason: MEANINGS[reason] for reason in decision.reasons},
        "automated": decision.kind != "review",
        "threshold": threshold,
        "models": [_card(model) for model in gate.manifest.models] if same_bundle else None,
        "bundle": _bundle(gate) if same_bundle else None,
        "policy": dataclasses.asdict(gate.policy) if same_policy else None,
        "declaration": dataclasses.asdict(gate.declaration) if decision.declaration == gate.declaration.id else None,
        "note": None
        if same_bundle and same_policy
        else "the models or the rules are others since: what is null here was as the ids in the decision say",
        "review": review,
        "reviewed": _verdicts(gate, decision),
    }


def _verdicts(gate: GateCore, decision: Decision) -> list[dict[str, Any]]:
    """Who looked at it, when, and what they said."""
    rows = gate.store.db.read(
        "SELECT json_extract(details, '$.decision'), json_extract(details, '$.reviewer') FROM audit"
        " WHERE action = 'verdict' AND json_extract(details, '$.refers_to') = ? ORDER BY seq",
        decision.id,
    )
    found = []
    for verdict_id, reviewer in rows:
        kept = gate.store.db.read("SELECT jws FROM decision WHERE id = ?", verdict_id)
        verdict = verify_decision(kept[0][0], gate.device.verify_key) if kept else None
        found.append(
            {
                "decision": verdict_id,
                "reviewer": reviewer,
                "time": None if verdict is None else verdict.time,
                "outcome": None if verdict is None else verdict.outcome,
            }
        )
    return found


def _bundle(gate: GateCore) -> dict[str, Any]:
    manifest = gate.manifest
    return {
        "id": gate.bundle_id,
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "intended_use": manifest.intended_use,
        "prohibited_uses": list(manifest.prohibited_uses),
    }


def _card(model: ModelInfo) -> dict[str, Any]:
    """What the manifest says of a model, without how to run it."""
    return {
        "role": model.role,
        "family": model.family,
        "precision": model.precision,
        "sha256": model.sha256,
        "provenance": dataclasses.asdict(model.provenance),
    }
