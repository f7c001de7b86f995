"""The erasure certificate: what a gate signs about the erasure of a person, for them to keep.

It names nobody. The reference is in it as a salted hash: who has the certificate and knows the reference can show that
they belong together, and certificates of the same person cannot be linked by comparing them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from facegate import _jws
from facegate._decision import is_reference
from facegate.errors import CertificateError, DecisionSignatureError
from facegate_edge._keys import TrustStore, VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegate_edge._keys import SigningKey

__all__ = [
    "CERTIFICATE_TYPE",
    "KEPT",
    "ErasureCertificate",
    "ErasureReason",
    "SignedCertificate",
    "hash_reference",
    "new_salt",
    "sign_certificate",
    "verify_certificate",
]

CERTIFICATE_TYPE = "facegate-erasure+jwt"
SCHEMA_VERSION = 1
ErasureReason = Literal["erasure", "withdrawal", "closing"]
# What a gate still has afterwards, none of it biometric, each until its own time is over (docs/rights.md says why).
KEPT = ("audit", "decisions", "requests")

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_HEX32 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MOST = 10**9


@dataclass(frozen=True, slots=True)
class ErasureCertificate:
    """What was erased, when, and what is kept.

    Attributes:
        id: UUIDv7; the audit log names it.
        gate: the gate's id.
        device: the device's reference.
        time: RFC 3339, UTC, milliseconds.
        clock_suspect: whether the device's clock could not be trusted then, and with it `time`.
        reason: erasure (asked for), withdrawal (of consent), closing (of the account).
        salt: 128 random bits in hex.
        subject: sha256 in hex of the salt's bytes and the reference, see `hash_reference`.
        faces, consents, groups: how many templates, consent records, memberships of groups were erased.
        key_destroyed: whether the key that sealed the templates was erased with them; True.
        kept: what the gate still has that names the reference: `KEPT`.
        schema: version of this form.

    Raises:
        CertificateError: a field is not as above. The message names the field, not the value.
    """

    id: str
    gate: str
    device: str
    time: str
    clock_suspect: bool
    reason: ErasureReason
    salt: str
    subject: str
    faces: int
    consents: int
    groups: int
    key_destroyed: bool = True
    kept: tuple[str, ...] = KEPT
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check every field."""
        patterns = (("id", _ID), ("gate", _HEX32), ("time", _TIME), ("salt", _HEX32), ("subject", _HEX64))
        for name, pattern in patterns:
            value = getattr(self, name)
            _require(type(value) is str and pattern.fullmatch(value) is not None, name)
        _require(is_reference(self.device), "device")
        _require(type(self.clock_suspect) is bool, "clock_suspect")
        _require(self.reason in get_args(ErasureReason), "reason")
        for name in ("faces", "consents", "groups"):
            value = getattr(self, name)
            _require(type(value) is int and 0 <= value <= _MOST, name)
        _require(self.key_destroyed is True, "key_destroyed")
        _require(type(self.kept) is tuple and set(self.kept) <= set(KEPT), "kept")
        _require(type(self.schema) is int and self.schema == SCHEMA_VERSION, "schema")

    def to_dict(self) -> dict[str, Any]:
        """The certificate as JSON values."""
        document = dataclasses.asdict(self)
        document["kept"] = list(self.kept)
        return document

    def to_json(self) -> str:
        """The certificate as JSON: ASCII, sorted, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ErasureCertificate:
        """Read what `to_json` wrote, in exactly that spelling. Raises CertificateError."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or document.keys() != {field.name for field in fields(cls)}:
            raise CertificateError("the certificate has not the fields that one has", hint="see docs/rights.md")
        if type(document["kept"]) is not list or not all(type(name) is str for name in document["kept"]):
            raise _refused("kept")
        certificate = cls(**{**document, "kept": tuple(document["kept"])})
        if certificate.to_json() != (text.decode("ascii", "replace") if isinstance(text, bytes) else text):
            raise CertificateError("the certificate's JSON is not in its one spelling", hint="see docs/rights.md")
        return certificate

    def is_about(self, reference: str) -> bool:
        """Whether this is the certificate of the person who had that reference."""
        return is_reference(reference) and hmac.compare_digest(self.subject, hash_reference(self.salt, reference))


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    """A certificate and its compact JWS, which is what the person gets."""

    certificate: ErasureCertificate
    jws: str


def new_salt() -> str:
    """A salt for `ErasureCertificate.salt`."""
    return secrets.token_hex(16)


def hash_reference(salt: str, reference: str) -> str:
    """sha256 in hex of the salt's 16 bytes and the reference in UTF-8."""
    return hashlib.sha256(bytes.fromhex(salt) + reference.encode()).hexdigest()


def sign_certificate(certificate: ErasureCertificate, key: SigningKey) -> SignedCertificate:
    """Sign a certificate with the device's key."""
    payload = certificate.to_json().encode("ascii")
    return SignedCertificate(certificate, _jws.sign(payload, key, typ=CERTIFICATE_TYPE))


def verify_certificate(
    jws: str, keys: TrustStore | VerifyKey | Iterable[VerifyKey], *, reference: str | None = None
) -> ErasureCertificate:
    """The certificate of a compact JWS, if one of `keys` signed it.

    Args:
        jws: the signed text.
        keys: of the devices that may have made it.
        reference: the person's; the certificate must be about them.

    Raises:
        CertificateError: malformed, not signed by one of the keys, or about somebody else.
    """
    if isinstance(keys, VerifyKey):
        keys = [keys]
    trust = keys if isinstance(keys, TrustStore) else TrustStore(keys)
    try:
        payload = _jws.verify(jws, trust, typ=CERTIFICATE_TYPE)
    except DecisionSignatureError:
        raise CertificateError(
            "this is no erasure certificate that one of the given keys signed",
            hint="give all of the three-part text, and the public key of the device that made it",
        ) from None
    certificate = ErasureCertificate.from_json(payload)
    if reference is not None and not certificate.is_about(reference):
        raise CertificateError("the certificate is about somebody else", hint="it fits another reference than this one")
    return certificate


def _require(condition: bool, field: str) -> None:
    if not condition:
        raise _refused(field)


def _refused(field: str) -> CertificateError:
    return CertificateError(f"{field}: this is not what a certificate may hold", hint="see docs/rights.md")
