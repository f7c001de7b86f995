"""What an audit entry may say: a closed list of names, and for each the kind of its values.

None of the kinds can hold a score, a template, a landmark, an image or a key: numbers are counts, texts are short and
of a fixed form. A name that is not here is refused, so nothing new gets into the log without being put here first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, get_args

from facegate._credentials import Role
from facegate._decision import is_reference
from facegate.errors import AuditEntryError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DETAILS", "ROLES", "Value", "check_action", "check_reference", "check_role", "encode_details"]

Value = str | int | bool | None

ROLES: tuple[str, ...] = (*get_args(Role), "gate")
"""Who did it; "gate" is what a gate does by itself: retention, the clock, lock-outs."""

_MAX_NUMBER = (1 << 53) - 1  # what every JSON reader keeps exactly
_KINDS: dict[str, re.Pattern[str]] = {
    "word": re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII),
    "words": re.compile(r"[a-z][a-z0-9_]{0,47}(,[a-z][a-z0-9_]{0,47}){0,15}", re.ASCII),
    "reference": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}", re.ASCII),
    "digest": re.compile(r"[0-9a-f]{64}", re.ASCII),  # SHA-256 of something public: a text, a manifest, a policy
    "id": re.compile(r"[0-9a-f]{8,32}", re.ASCII),  # of a key, a rotation, a gate
    "decision": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII),
    # Made by the audit log itself, of what stands in it.
    "statement": re.compile(r"[A-Za-z0-9_-]{1,200}\.[A-Za-z0-9_-]{1,2000}\.[A-Za-z0-9_-]{86}", re.ASCII),
}
# A credential's token has the form of a reference, and so has a secret of a webhook: neither may get in by mistake.
_SECRET = re.compile(r"fgc_|whsec_", re.ASCII | re.IGNORECASE)
_ACTION = _KINDS["word"]

# name -> kind. "number": 0..2^53-1, "flag": True or False, "setting": a number, a flag or a word; else one of _KINDS.
# Every value may be None as well.
DETAILS: dict[str, str] = {
    # decisions
    "decision": "decision",
    "sequence": "number",
    "kind": "word",
    "outcome": "word",
    "reasons": "words",
    "liveness": "word",
    "marks": "words",
    "refers_to": "decision",
    "verdict": "word",
    "reviewer": "reference",
    "locked_seconds": "number",
    "failures": "number",
    # people, groups, lists
    "added": "number",
    "removed": "number",
    "faces": "number",
    "frames": "number",
    "templates": "number",
    "people": "number",
    "members": "number",
    "group": "reference",
    "groups": "number",
    "list": "reference",
    "lists": "number",
    "new_reference": "reference",
    "old_reference": "reference",
    "duplicate": "flag",
    "duplicate_of": "reference",
    "allow_duplicate": "flag",
    "minor": "flag",
    "guardian": "reference",
    "reason": "word",
    # consent and the declaration
    "consents": "number",
    "legal_basis": "word",
    "text_version": "reference",
    "text_sha256": "digest",
    "taken_by": "reference",
    "purpose_sha256": "digest",
    "given": "time",
    "expires": "time",
    "declaration": "digest",
    # roles and settings
    "by": "reference",  # label of the credential that it was done with
    "credential": "reference",
    "role": "word",
    "setting": "word",
    "old": "setting",
    "new": "setting",
    # rights
    "request": "reference",
    "right": "word",
    "due": "time",
    "checked_by": "reference",
    "certificate": "digest",
    "pseudonym": "digest",
    "restricted": "flag",
    "objection": "flag",
    "report": "reference",
    "attachment": "flag",
    # retention and the clock
    "class": "word",
    "preset": "word",
    "dry_run": "flag",
    "captured": "number",
    "sessions": "number",
    "decisions": "number",
    "requests": "number",
    "reports": "number",
    "entries": "number",
    "before": "time",
    "through": "number",
    "cause": "word",
    "trusted_time": "time",
    "wall_time": "time",
    # the gate, its keys, backups
    "gate": "id",
    "device": "reference",
    "facegate": "version",
    "format": "number",
    "bundle": "digest",
    "policy": "digest",
    "key": "id",
    "new_key": "id",
    "provider": "word",
    "rotation": "id",
    "recovery_key": "id",
    "backup": "id",
    "size": "number",
    "made": "time",
    "statement": "statement",
    "pack": "digest",  # of a review pack's document
}


def check_role(role: object) -> None:
    """Return if `role` is one of ROLES. Raises AuditEntryError."""
    _require(type(role) is str and role in ROLES, "role")


def check_action(action: object) -> None:
    """Return if `action` is a word. Raises AuditEntryError."""
    _require(type(action) is str and _ACTION.fullmatch(action) is not None, "action")


def check_reference(reference: object) -> None:
    """Return if `reference` is None or a reference, and no credential. Raises AuditEntryError."""
    _require(reference is None or (is_reference(reference) and not _SECRET.search(str(reference))), "reference")


def encode_details(details: Mapping[str, Value] | None) -> str:
    """The details as they are kept: JSON, ASCII, sorted, no spaces.

    Raises:
        AuditEntryError: a name is not in DETAILS, or a value is not of its kind. The message has the name alone.
    """
    if not details:
        return "{}"
    for name, value in details.items():
        kind = DETAILS.get(name) if type(name) is str else None
        if kind is None:
            raise AuditEntryError(
                "the audit log has no detail of that name", hint="the names are in facegate/_store/_audit_details.py"
            )
        _require(value is None or _is(kind, value), name)
    return json.dumps(details, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _is(kind: str, value: object) -> bool:
    # By exact type: a numpy number or a subclass of str can be anything.
    if kind == "flag":
        return type(value) is bool
    if kind == "number":
        return type(value) is int and 0 <= value <= _MAX_NUMBER
    if kind == "setting":
        return _is("flag", value) or _is("number", value) or _is("word", value)
    if type(value) is not str or _KINDS[kind].fullmatch(value) is None:
        return False
    return kind == "statement" or _SECRET.search(value) is None


def _require(condition: bool, field: str) -> None:
    if not condition:
        raise AuditEntryError(
            f"{field}: this is not what an audit entry may hold",
            hint="its kind is in facegate/_store/_audit_details.py",
        )
