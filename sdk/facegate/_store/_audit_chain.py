r"""The form of the audit log: an entry, the hash that chains it to the one before, and the head that the device signs.

    hash(0) = SHA-256("facegate-audit-1\n" + gate)
    hash(n) = SHA-256("facegate-audit-entry-1\n" + JSON([hash(n-1), n, time, role, action, reference, details]))

JSON as Python's `json.dumps` writes it with separators "," and ":" and ASCII only; the hash in hex, the details as the
text that is kept. The head is a compact JWS (docs/audit.md) over the number of entries and the last one's hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from facegate import _jws
from facegate._decision import is_reference
from facegate.errors import AuditTamperedError, DecisionSignatureError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from facegate._store._audit_details import Value
    from facegate_edge._keys import SigningKey, TrustStore

__all__ = [
    "COLUMNS",
    "HASH_LENGTH",
    "HEAD_TYPE",
    "AuditEntry",
    "Head",
    "first_hash",
    "hash_entry",
    "read_head",
    "sign_head",
]

HEAD_TYPE = "facegate-audit-head+jwt"
HEAD_SCHEMA = 1
COLUMNS = "seq, time, role, action, reference, details, hash"
HASH_LENGTH = 32  # bytes
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_GATE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log. It holds no biometric data and no secret, see `_audit_details`.

    Attributes:
        number: 1, 2, 3, ... without a gap.
        time: when, by the gate's clock.
        role: who: the role that was used, or "gate" for what it does by itself.
        action: what was done, or tried.
        reference: of the person, group or list that it is about, or None.
        details: names and values, see `_audit_details.DETAILS`.
        hash: chains it to the entry before; 64 hex digits.
    """

    number: int
    time: datetime
    role: str
    action: str
    reference: str | None
    details: Mapping[str, Value]
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """What the device signs after every change of the log.

    Attributes:
        gate: id of the gate, 32 hex digits.
        device: the device's reference.
        entries: number of the last entry.
        hash: of the last entry, 64 hex digits.
        purged: number of the last entry that was removed when its time was over, 0 if none was.
        purged_hash: hash of that entry, which the first one that is left continues; that of entry 0 if none was.
        decisions: the gate's decisions so far.
        time: when it was signed: RFC 3339, UTC, milliseconds.
        schema: version of this statement.
    """

    gate: str
    device: str
    entries: int
    hash: str
    purged: int
    purged_hash: str
    decisions: int
    time: str
    schema: int = HEAD_SCHEMA


def first_hash(gate: str) -> bytes:
    """The hash that entry 1 continues, 32 bytes: another one for each gate, so that no log passes for another's."""
    return hashlib.sha256(f"facegate-audit-1\n{gate}".encode("utf-8", "surrogateescape")).digest()


def hash_entry(before: bytes, row: tuple[Any, ...]) -> bytes:
    """The hash of an entry, 32 bytes.

    Args:
        before: the hash of the entry before, 32 bytes.
        row: seq, time, role, action, reference, details; more is left out.

    Returns:
        The hash; b"" if the row holds a value of a type that no entry has.
    """
    seq, time, role, action, reference, details = row[:6]
    if not (
        type(seq) is int
        and type(time) is int
        and (reference is None or type(reference) is str)
        and all(type(text) is str for text in (role, action, details))
    ):
        return b""
    text = _encode([before.hex(), seq, time, role, action, reference, details])
    return hashlib.sha256(b"facegate-audit-entry-1\n" + text.encode("ascii")).digest()


def sign_head(head: Head, key: SigningKey) -> str:
    """The head as a compact JWS of type `HEAD_TYPE`."""
    return _jws.sign(_encode(asdict(head)).encode("ascii"), key, typ=HEAD_TYPE)


def read_head(statement: object, keys: TrustStore, *, what: str = "the audit log's head") -> Head:
    """The head that a statement holds, if one of `keys` signed it.

    Raises:
        AuditTamperedError: malformed, of another type, or not signed by one of the keys.
    """
    hint = "the device's public key is needed, and the statement as the device signed it"
    if type(statement) is not str:
        raise AuditTamperedError(f"{what} is missing or no text", hint=hint)
    try:
        payload = _jws.verify(statement.strip(), keys, typ=HEAD_TYPE)
    except DecisionSignatureError:  # its words are about decisions
        raise AuditTamperedError(f"{what} was not signed by this device's key", hint=hint) from None
    head = _parse(payload)
    if head is None or _encode(asdict(head)).encode("ascii") != payload:
        raise AuditTamperedError(f"{what} is signed, and not in the form that this version knows", hint=hint)
    return head


def _parse(payload: bytes) -> Head | None:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.keys() != {field.name for field in fields(Head)}:
        return None
    head = Head(**document)
    texts = ((head.gate, _GATE), (head.hash, _HEX), (head.purged_hash, _HEX), (head.time, _TIME))
    numbers = (head.entries, head.purged, head.decisions)
    valid = (
        type(head.schema) is int
        and head.schema == HEAD_SCHEMA
        and all(type(text) is str and pattern.fullmatch(text) for text, pattern in texts)
        and is_reference(head.device)
        and all(type(number) is int and number >= 0 for number in numbers)
        and head.purged < head.entries
    )
    return head if valid else None
