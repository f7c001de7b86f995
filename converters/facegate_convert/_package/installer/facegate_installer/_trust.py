"""Who signs packages, and whom this device believes.

Keys and signatures are spelled as those of bundles: a PEM "PUBLIC KEY", and one line of JSON with the algorithm, the
key's id and the signature. A key's id is the first 16 hex digits of the sha256 over its 32 bytes: it says which key to
try, and proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_installer import _ed25519
from facegate_installer._errors import (
    PackageSignatureError,
    PackageUnsignedError,
    PackageUntrustedError,
    StateError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["PublicKey", "Signature", "check_signature", "load_key", "load_trust", "parse_signature"]

_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: SubjectPublicKeyInfo of Ed25519, before the key's bytes
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_MAX_KEY = 64 * 1024
_KEY_ID, _RAW, _SIGNED = 16, 32, 64


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key.

    Attributes:
        raw: its 32 bytes.
    """

    raw: bytes

    @property
    def key_id(self) -> str:
        """The first 16 hex digits of the sha256 over the key."""
        return hashlib.sha256(self.raw).hexdigest()[:_KEY_ID]

    def to_pem(self) -> bytes:
        """The key as PEM "PUBLIC KEY"."""
        body = base64.b64encode(_SPKI + self.raw).decode("ascii")
        return f"{_BEGIN}\n{body}\n{_END}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Signature:
    """What package.sig says.

    Attributes:
        key_id: of the key that signed.
        signature: 64 bytes.
    """

    key_id: str
    signature: bytes


def parse_key(data: bytes, source: str) -> PublicKey:
    """The key of a PEM file. Raises UsageError."""
    text = data.decode("ascii", "replace")
    if "PRIVATE KEY-----" in text:
        raise UsageError(
            f"{source} holds a private key where a public one belongs",
            hint="keep private keys off devices; `facegate keys show KEY` prints the public key",
        )
    start, end = text.find(_BEGIN), text.find(_END)
    try:
        der = base64.b64decode("".join(text[start + len(_BEGIN) : end].split()), validate=True)
    except (binascii.Error, ValueError):
        der = b""
    if start < 0 or end < start or not der.startswith(_SPKI) or len(der) != len(_SPKI) + _RAW:
        raise UsageError(
            f"{source} is no Ed25519 public key (PEM), or is damaged", hint="`facegate keys show KEY` writes one"
        )
    return PublicKey(der[len(_SPKI) :])


def load_key(path: Path) -> PublicKey:
    """Read a public key's file. Raises UsageError if it is none, or everybody may replace it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_KEY)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="name the signer's KEY.pub") from None
    if mode & stat.S_IWOTH and stat.S_ISREG(mode):
        raise UsageError(f"{path} can be changed by every user of this machine", hint=f"run: chmod o-w {path}")
    return parse_key(data, str(path))


def load_trust(folder: Path) -> list[PublicKey]:
    """The keys that this device trusts: every `*.pub` of a folder; none if there is no folder.

    Raises:
        StateError: a file there is damaged, or others than root may change it.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".pub")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"{folder} cannot be read: {error.strerror}", hint="run it as root") from None
    for path in (folder, *(folder / name for name in names)):
        found = path.lstat()
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()) or stat.S_ISLNK(found.st_mode):
            raise StateError(
                f"others than root can change {path}",
                hint=f"look at who wrote it; then: chown root {path} && chmod go-w {path}",
            )
    try:
        return [load_key(folder / name) for name in names]
    except UsageError as error:
        raise StateError(str(error), hint="restore it, or remove it and trust the key again") from None


def parse_signature(data: bytes) -> Signature:
    """What package.sig says. Raises PackageSignatureError."""
    hint = "the package is damaged or was tampered with: get it again"
    try:
        document = json.loads(data.decode("ascii"))
        text = document["signature"]
        signature = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        key_id = document["key_id"]
        good = (
            set(document) == {"algorithm", "key_id", "signature"}
            and document["algorithm"] == "Ed25519"
            and len(signature) == _SIGNED
            and type(key_id) is str
            and len(key_id) == _KEY_ID
            and set(key_id) <= set("0123456789abcdef")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PackageSignatureError("package.sig is malformed", hint=hint) from None
    if not good:
        raise PackageSignatureError("package.sig is malformed", hint=hint)
    return Signature(key_id, signature)


def check_signature(signature: Signature | None, signed: bytes, trusted: Iterable[PublicKey]) -> str:
    """Return the id of the trusted key that signed.

    Raises:
        PackageUnsignedError: nobody signed.
        PackageUntrustedError: the key that is named is not among them.
        PackageSignatureError: it is, and did not make this signature.
    """
    if signature is None:
        raise PackageUnsignedError(
            "the package is not signed",
            hint="build it with --key; or, for trying, install it with --unsigned: then nothing says who made it",
        )
    keys = {key.key_id: key for key in trusted}
    key = keys.get(signature.key_id)
    if key is None:
        told = ", ".join(sorted(keys)) or "none"
        raise PackageUntrustedError(
            f"the package is signed by {signature.key_id}, which this device does not trust (trusted: {told})",
            hint="if that is your packager's new key, give it with --trust KEY.pub; compare its id first",
        )
    if not _ed25519.verify(key.raw, signature.signature, signed):
        raise PackageSignatureError(
            f"the signature was not made by {signature.key_id} over this package",
            hint="it was tampered with or is damaged: do not install it, and ask where it comes from",
        )
    return key.key_id
