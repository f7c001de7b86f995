"""JSON Web Signature, compact form, Ed25519 only (RFC 7515, RFC 8037).

There is one algorithm and one spelling of a header here, and a verifier that compares instead of interpreting: the
classic attacks on JWS (the token chooses its algorithm, brings its own key, asks for extensions) have nothing to hold.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from facegate.errors import DecisionSignatureError
from facegate_edge._keys import KEY_ID_LENGTH, b64url_decode, b64url_encode
from facegate_edge.errors import InvalidSignatureError

if TYPE_CHECKING:
    from facegate_edge._keys import SigningKey, TrustStore

__all__ = ["sign", "sign_parts", "verify"]

MAX_LENGTH = 8192  # characters; a decision takes about 700
_KEY_ID = re.compile(rf"[0-9a-f]{{{KEY_ID_LENGTH}}}", re.ASCII)
_FORGED = "do not act on it; it was changed, or not made by the device that it names"


def sign(payload: bytes, key: SigningKey, *, typ: str) -> str:
    """The compact JWS of `payload`, with the key's id in its header."""
    return sign_parts(_header(key.key_id, typ), payload, key)


def sign_parts(header: bytes, payload: bytes, key: SigningKey) -> str:
    """The compact JWS of a header and a payload as they are (RFC 7515, section 5.1)."""
    message = f"{b64url_encode(header)}.{b64url_encode(payload)}"
    return f"{message}.{b64url_encode(key.sign(message.encode('ascii')))}"


def verify(jws: str, keys: TrustStore, *, typ: str) -> bytes:
    """The payload, if one of `keys` signed it.

    Raises:
        DecisionSignatureError: malformed, another algorithm or type, extra header fields, an unknown key, or a
            signature that does not fit.
    """
    parts = jws.split(".", 3) if isinstance(jws, str) and len(jws) <= MAX_LENGTH else []
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        raise DecisionSignatureError("this is no signed decision", hint="it must be the three-part text, and all of it")
    try:
        header, payload, signature = (b64url_decode(part) for part in parts)
    except ValueError:
        raise DecisionSignatureError("the signed decision is not canonical base64url", hint=_FORGED) from None
    key_id = _key_id(header, typ)
    key = keys.get(key_id)
    if key is None:
        raise DecisionSignatureError(
            f"the decision is signed by key {key_id}, which is not among the given ones",
            hint="give the public key of the device that made it",
        )
    try:
        key.verify(signature, f"{parts[0]}.{parts[1]}".encode("ascii"))
    except InvalidSignatureError:
        raise DecisionSignatureError("the decision's signature does not fit", hint=_FORGED) from None
    return payload


def _header(key_id: str, typ: str) -> bytes:
    return json.dumps({"alg": "EdDSA", "kid": key_id, "typ": typ}, separators=(",", ":")).encode("ascii")


def _key_id(header: bytes, typ: str) -> str:
    """The key id of the one header that is accepted. The parsing only serves to say what is wrong with another."""
    try:
        fields = json.loads(header)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise DecisionSignatureError("the decision's header is not a JSON object", hint=_FORGED)
    if fields.get("alg") != "EdDSA":
        raise DecisionSignatureError("the decision's algorithm is not EdDSA", hint=_FORGED)
    if fields.get("typ") != typ:
        raise DecisionSignatureError(f"the signed text is not a {typ}", hint="it was signed for another purpose")
    key_id = fields.get("kid")
    if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        raise DecisionSignatureError("the decision's header names no key", hint=_FORGED)
    if header != _header(key_id, typ):
        raise DecisionSignatureError("the decision's header has fields or a spelling that none has", hint=_FORGED)
    return key_id
