"""The decision: the only thing that leaves a device.

It has no place for a score, an image, a box, a landmark or a template, and nothing can be added to it: the class is
final, its fields are checked by exact type and pattern when it is made and again when it is written, and the JSON is
written from a fixed list of fields. `decision.schema.json` says the same for everybody else. docs/decision.md has the
reasons.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, final, get_args

from facegate import _jws
from facegate.errors import DecisionSchemaError
from facegate_edge._keys import TrustStore, VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegate_edge._keys import SigningKey

__all__ = [
    "DECISION_TYPE",
    "SCHEMA_VERSION",
    "Decision",
    "Kind",
    "Liveness",
    "Mark",
    "Outcome",
    "Reason",
    "SignedDecision",
    "format_time",
    "is_reference",
    "sign_decision",
    "verify_decision",
]

SCHEMA_VERSION = 1
# A decision is a JWT by form (a JWS whose payload is a JSON object); a type of its own keeps it from being taken for
# any other token that the same key might sign (RFC 8725, section 3.11).
DECISION_TYPE = "facegate-decision+jwt"

Kind = Literal["verify", "identify", "review"]
Outcome = Literal["match", "no_match", "review", "rejected"]
Liveness = Literal["live", "spoof", "uncertain", "not_checked"]
Mark = Literal["clock", "demonstration", "development"]
Reason = Literal[
    "below_threshold",
    "consent_missing",
    "liveness_spoof",
    "liveness_uncertain",
    "locked_out",
    "low_quality",
    "no_face",
    "objection",
    "outdated",
    "rate_limited",
    "restricted",
    "reviewer",
    "several_faces",
    "unknown_subject",
]

# Which reasons go with which outcome; the schema says the same.
_REASONS: dict[str, tuple[str, ...]] = {
    "match": (),
    "no_match": ("below_threshold", "liveness_uncertain", "reviewer"),
    "review": ("liveness_uncertain", "objection"),
}
_REASONS["rejected"] = tuple(sorted(set(get_args(Reason)) - {reason for some in _REASONS.values() for reason in some}))
_OPTIONAL = {"subject", "refers_to"}
_MAX_SEQUENCE = (1 << 53) - 1  # what every JSON reader keeps exactly
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_PATTERNS = (("id", _ID), ("bundle", _SHA256), ("policy", _SHA256), ("declaration", _SHA256), ("time", _TIME))


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """What a gate decided. Final: a subclass could carry more out than the schema allows.

    Attributes:
        id: UUIDv7, for deduplication by the receiver.
        device: the device's reference.
        sequence: 1, 2, 3, ... for each device: a gap shows that something was withheld.
        time: RFC 3339, UTC, milliseconds.
        kind: verify (is it this person?), identify (who of the enrolled is it?), or review (what a person says who
            looked at an earlier decision: match or no_match).
        outcome: match; no_match (a usable face, and not similar enough); review (a person should look); rejected (no
            comparison counts).
        subject: the operator's pseudonym of the person; on a match only, None otherwise.
        reasons: why it is no match, sorted, none on a match.
        liveness: what the liveness check said.
        bundle: id of the bundle (sha256 of its manifest).
        policy: id of the policy (sha256 of its canonical JSON).
        declaration: id of the gate's declaration of intended use (sha256 of its canonical JSON).
        marks: "clock": the device's clock cannot be trusted, and with it `time`; "demonstration": not a real gate;
            "development": the bundle was opened in development mode. Sorted.
        refers_to: id of the decision that was looked at; with kind review only, None otherwise.
        schema: version of the schema.

    Raises:
        DecisionSchemaError: a field is not as the schema says. The message names the field, not the value.
    """

    id: str
    device: str
    sequence: int
    time: str
    kind: Kind
    outcome: Outcome
    subject: str | None
    reasons: tuple[Reason, ...]
    liveness: Liveness
    bundle: str
    policy: str
    declaration: str
    marks: tuple[Mark, ...] = ()
    refers_to: str | None = None
    schema: int = SCHEMA_VERSION

    def __init_subclass__(cls) -> None:
        raise TypeError("Decision is final: a subclass could carry more out than the schema allows")

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON values: the schema's fields and nothing else."""
        _check(self)  # again: `object.__setattr__` reaches into frozen objects
        document: dict[str, Any] = {
            "schema": self.schema,
            "id": self.id,
            "device": self.device,
            "sequence": self.sequence,
            "time": self.time,
            "kind": self.kind,
            "refers_to": self.refers_to,
            "outcome": self.outcome,
            "subject": self.subject,
            "reasons": list(self.reasons),
            "liveness": self.liveness,
            "bundle": self.bundle,
            "policy": self.policy,
            "declaration": self.declaration,
            "marks": list(self.marks),
        }
        for name in _OPTIONAL:
            if document[name] is None:
                del document[name]
        return document

    def to_json(self) -> str:
        """The decision as JSON: ASCII, no spaces, fields in the schema's order. Equal decisions give equal text."""
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Decision:
        """Read what `to_json` wrote, in exactly that spelling. Raises DecisionSchemaError."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise DecisionSchemaError("the decision is not JSON") from None
        if not isinstance(document, dict):
            raise DecisionSchemaError("the decision is not a JSON object")
        names = {field.name for field in fields(cls)}
        if not names - _OPTIONAL <= document.keys() <= names:
            raise DecisionSchemaError("the decision lacks a field, or has one that the schema does not know")
        for name in ("reasons", "marks"):
            if type(document[name]) is not list:
                raise DecisionSchemaError(f"{name}: this must be a list")
            document[name] = tuple(document[name])
        decision = cls(**{"subject": None, **document})
        if decision.to_json() != (text.decode("ascii", "replace") if isinstance(text, bytes) else text):
            # Duplicate fields, null for a missing subject, escapes, spaces: room for what nobody reads.
            raise DecisionSchemaError("the decision's JSON is not in its one spelling")
        return decision


@dataclass(frozen=True, slots=True)
class SignedDecision:
    """A decision and its compact JWS, which is what is sent."""

    decision: Decision
    jws: str


def sign_decision(decision: Decision, key: SigningKey) -> str:
    """The decision as a compact JWS, signed by the device.

    Raises:
        DecisionSchemaError: it is not a valid `Decision`, or was tampered with after it was made.
    """
    if type(decision) is not Decision:
        raise DecisionSchemaError("only a Decision is signed and sent")
    return _jws.sign(decision.to_json().encode("ascii"), key, typ=DECISION_TYPE)


def verify_decision(jws: str, keys: TrustStore | VerifyKey | Iterable[VerifyKey]) -> Decision:
    """The decision of a compact JWS, if one of `keys` signed it.

    Raises:
        DecisionSignatureError: malformed, or not signed by one of the keys.
        DecisionSchemaError: signed, and not a valid decision.
    """
    if isinstance(keys, VerifyKey):
        keys = [keys]
    trust = keys if isinstance(keys, TrustStore) else TrustStore(keys)
    return Decision.from_json(_jws.verify(jws, trust, typ=DECISION_TYPE))


def format_time(moment: datetime) -> str:
    """An aware time as a decision writes it. Raises DecisionSchemaError for a naive one."""
    if moment.tzinfo is None:
        raise DecisionSchemaError("time: a time zone is needed")
    utc = moment.astimezone(timezone.utc)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def is_reference(text: object) -> bool:
    """Whether `text` can name a subject or a device: 1 to 64 letters, digits, dots, dashes, underscores."""
    return type(text) is str and _REFERENCE.fullmatch(text) is not None


def _check(decision: Decision) -> None:
    _require(type(decision.schema) is int and decision.schema == SCHEMA_VERSION, "schema")
    for name, pattern in _PATTERNS:
        value = getattr(decision, name)
        _require(type(value) is str and pattern.fullmatch(value) is not None, name)
    _require(_is_time(decision.time), "time")
    _require(is_reference(decision.device), "device")
    _require(type(decision.sequence) is int and 1 <= decision.sequence <= _MAX_SEQUENCE, "sequence")
    for name, allowed in (("kind", Kind), ("outcome", Outcome), ("liveness", Liveness)):
        value = getattr(decision, name)
        _require(type(value) is str and value in get_args(allowed), name)
    _check_list(decision.marks, get_args(Mark), "marks")
    _check_list(decision.reasons, _REASONS[decision.outcome], "reasons")
    matched = decision.outcome == "match"
    _require(bool(decision.reasons) != matched, "reasons")
    verdict = decision.kind == "review"
    why = "reviewer" if verdict else "below_threshold"
    _require((decision.outcome == "no_match") == (why in decision.reasons), "reasons")
    _require(("reviewer" in decision.reasons) <= verdict, "reasons")
    _require(is_reference(decision.subject) if matched else decision.subject is None, "subject")
    _require(not verdict or decision.outcome in ("match", "no_match"), "outcome")
    _require(not verdict or decision.liveness == "not_checked", "liveness")
    _require(not verdict or decision.reasons in ((), ("reviewer",)), "reasons")
    _require(_is_id(decision.refers_to) if verdict else decision.refers_to is None, "refers_to")
    for value, reason in (("spoof", "liveness_spoof"), ("uncertain", "liveness_uncertain")):
        _require((decision.liveness == value) == (reason in decision.reasons), "liveness")


def _is_id(value: object) -> bool:
    return type(value) is str and _ID.fullmatch(value) is not None


def _check_list(values: object, allowed: tuple[str, ...], name: str) -> None:
    _require(type(values) is tuple, name)
    _require(all(type(v) is str and v in allowed for v in values), name)  # type: ignore[attr-defined]
    _require(list(values) == sorted(set(values)), name)  # type: ignore[call-overload]


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return True


def _require(condition: bool, field: str) -> None:
    if not condition:
        raise DecisionSchemaError(
            f"{field}: this is not what a decision may hold", hint="see docs/decision.md and decision.schema.json"
        )
