"""For whom a backup is locked: whoever holds the recovery key, or knows the passphrase. Nobody else can open it.

A backup has a random file key; what is here wraps it.

- **Recovery key**: X25519 (RFC 7748) with a fresh key for each backup, HKDF-SHA256 over both public keys, AES-256-GCM:
  the construction of RFC 9180's base mode, spelled with what `cryptography` 42 has. The device holds the public half
  only: a stolen device opens none of its backups.
- **Passphrase**: scrypt (RFC 7914), N = 2^16, r = 8, p = 2 (64 MiB; of OWASP's equal choices the one that fits a small
  device), then AES-256-GCM.

The wrapping key is used once, so its nonce may be constant. What is around the wrapped key, the backup's header, is
bound by the payload's key (see `_backup_stream`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from facegate.errors import BackupFormatError, BackupKeyError, KeyPassphraseError, KeyTypeError
from facegate_edge._keys import KEY_ID_LENGTH, b64url_decode, b64url_encode, read_key_file, write_key_file
from facegate_edge.errors import KeyFileError, KeyPermissionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

__all__ = ["FILE_KEY_BYTES", "Opener", "Passphrase", "Recipient", "RecoveryKey", "RecoveryPublicKey"]

FILE_KEY_BYTES = 32
_RAW = 32
_WRAPPED = FILE_KEY_BYTES + 16  # GCM's tag
_NONCE = bytes(12)
_INFO = b"facegate-backup 1 recovery-key"
_SALT_BYTES = 16
_MIN_PASSPHRASE = 12  # characters; a backup can be attacked offline for as long as it exists
_N, _R, _P = 2**16, 8, 2
_MAX_N, _MAX_R, _MAX_P = 2**20, 32, 8  # of a header that a stranger may have written
_MAX_MEMORY = 256 * 1024 * 1024  # of scrypt, 128 * n * r bytes: what a small device has


class Recipient(Protocol):
    """For whom a backup is made."""

    def wrap(self, file_key: bytes) -> dict[str, Any]:
        """The header's `recipient`."""


class Opener(Protocol):
    """What opens a backup."""

    def unwrap(self, recipient: Mapping[str, Any]) -> bytearray:
        """The file key. Raises BackupKeyError if this is not for it."""


class RecoveryPublicKey:
    """The public half of a recovery key: makes backups, opens none."""

    __slots__ = ("_raw", "key_id")

    def __init__(self, raw: bytes) -> None:
        """Make a key of its 32 bytes (RFC 7748, section 6.1). Raises KeyTypeError."""
        if len(raw) != _RAW:
            raise KeyTypeError(f"an X25519 public key has {_RAW} bytes, not {len(raw)}")
        self._raw = bytes(raw)
        self.key_id: str = hashlib.sha256(self._raw).hexdigest()[:KEY_ID_LENGTH]

    @property
    def raw(self) -> bytes:
        """The key's 32 bytes."""
        return self._raw

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RecoveryPublicKey:
        """Read a PEM "PUBLIC KEY". Raises KeyFileError, KeyTypeError, KeyPermissionError if anybody may replace it."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - loading it takes tens of ms
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            Encoding,
            PublicFormat,
            load_pem_public_key,
        )

        data, mode = read_key_file(Path(path))
        if mode & 0o002:
            raise KeyPermissionError(
                f"{path} can be changed by every user of this machine", hint=f"run: chmod o-w {path}"
            )
        if b"PRIVATE KEY-----" in data:
            raise KeyTypeError(
                f"{path} holds a private key where the recovery key's public half belongs",
                hint="keep the private half off the device, and give the file that ends in .pub",
            )
        try:
            key = load_pem_public_key(data)
        except (UnsupportedAlgorithm, ValueError):
            raise KeyFileError(f"{path} is not a PEM public key, or is damaged", hint=_MAKE) from None
        if not isinstance(key, X25519PublicKey):
            _refuse_type(path)
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def to_pem(self) -> bytes:
        """The key as PEM "PUBLIC KEY"."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        return X25519PublicKey.from_public_bytes(self._raw).public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM, mode 0644. Raises KeyExistsError, KeyWriteError."""
        write_key_file(Path(path), self.to_pem(), 0o644)

    def wrap(self, file_key: bytes) -> dict[str, Any]:
        """Wrap the file key for whoever holds the private half."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        ephemeral = X25519PrivateKey.generate()
        public = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        try:
            shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self._raw))
        except ValueError:  # a point of low order: everybody would know the secret
            raise KeyTypeError("the recovery key is no usable X25519 key", hint=_MAKE) from None
        wrapped = _aead(_agree(shared, public, self._raw)).encrypt(_NONCE, file_key, None)
        return {
            "kind": "recovery_key",
            "key_id": self.key_id,
            "ephemeral": b64url_encode(public),
            "wrapped": b64url_encode(wrapped),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecoveryPublicKey) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"RecoveryPublicKey({self.key_id})"


class RecoveryKey:
    """The private half: opens backups. It belongs into a safe, not onto a device. It cannot be pickled."""

    __slots__ = ("_key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        """Wrap a key of pyca/cryptography's; `generate` and `load` are the usual ways."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        self._key = key
        self.public: RecoveryPublicKey = RecoveryPublicKey(
            key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    @property
    def key_id(self) -> str:
        """The id of the public half: the first 16 hex digits of the sha256 over its 32 bytes."""
        return self.public.key_id

    @classmethod
    def generate(cls) -> RecoveryKey:
        """A new random key."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | bytes | None = None) -> RecoveryKey:
        """Read a private key's file (PEM PKCS#8).

        Raises:
            KeyPermissionError: anybody but the owner may read or write it.
            KeyPassphraseError: it has a passphrase, and none or another was given.
            KeyFileError, KeyTypeError: it is no X25519 key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        data, mode = read_key_file(Path(path))
        if b"-----BEGIN PUBLIC KEY-----" in data:
            raise KeyTypeError(f"{path} holds a public key where the private half is needed", hint="it is in your safe")
        if mode & 0o077:
            raise KeyPermissionError(
                f"the private key {path} can be read or changed by other users (mode {mode & 0o777:04o})",
                hint=f"run: chmod 600 {path} - and replace the key if somebody may have copied it",
            )
        encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data
        if encrypted and not passphrase:
            raise KeyPassphraseError(
                f"{path} is protected by a passphrase and none was given",
                hint="enter it at the prompt, or name a file that holds it in FACEGATE_PASSPHRASE_FILE",
            )
        try:
            key = load_pem_private_key(data, _to_bytes(passphrase) if encrypted and passphrase else None)
        except (UnsupportedAlgorithm, ValueError, TypeError):
            if encrypted:
                raise KeyPassphraseError(
                    f"{path} cannot be opened: the passphrase is wrong, or the file is damaged",
                    hint="try the passphrase again",
                ) from None
            raise KeyFileError(f"{path} is not a PEM private key, or is damaged", hint=_MAKE) from None
        if not isinstance(key, X25519PrivateKey):
            _refuse_type(path)
        return cls(key)

    def save(self, path: str | os.PathLike[str], passphrase: str | bytes | None = None) -> None:
        """Write the key as PEM PKCS#8, mode 0600 from its first byte. Raises KeyExistsError, KeyWriteError."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            BestAvailableEncryption,
            Encoding,
            KeySerializationEncryption,
            NoEncryption,
            PrivateFormat,
        )

        protection: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            protection = BestAvailableEncryption(_to_bytes(passphrase))
        write_key_file(Path(path), self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), 0o600)

    def unwrap(self, recipient: Mapping[str, Any]) -> bytearray:
        """The file key of a backup that was made for this key. Raises BackupKeyError, BackupFormatError."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415

        if recipient.get("kind") == "passphrase":
            raise BackupKeyError(
                "this backup is locked with a passphrase, not for a recovery key", hint="leave the key away"
            )
        if recipient.get("key_id") != self.key_id:
            raise BackupKeyError(
                f"this backup is for another recovery key than {self.key_id}",
                hint="`facegate gate backup-info` says for which",
            )
        ephemeral, wrapped = _bytes(recipient, "ephemeral", _RAW), _bytes(recipient, "wrapped", _WRAPPED)
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            return bytearray(_aead(_agree(shared, ephemeral, self.public.raw)).decrypt(_NONCE, wrapped, None))
        except (InvalidTag, ValueError):
            raise BackupFormatError(
                "the backup's header was changed: its file key does not open", hint="use another copy of it"
            ) from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")

    def __repr__(self) -> str:
        return f"RecoveryKey({self.key_id})"


class Passphrase:
    """A passphrase, which locks a backup and opens it again.

    Raises:
        KeyPassphraseError: it is no UTF-8.
    """

    __slots__ = ("_secret",)

    def __init__(self, passphrase: str) -> None:
        self._secret = _to_bytes(passphrase)

    def wrap(self, file_key: bytes) -> dict[str, Any]:
        """Wrap the file key. Raises KeyPassphraseError if the passphrase is too short to lock anything."""
        if len(self._secret.decode()) < _MIN_PASSPHRASE:
            raise KeyPassphraseError(
                f"a backup's passphrase has at least {_MIN_PASSPHRASE} characters",
                hint="a backup can be attacked for as long as it exists: take several random words",
            )
        salt = secrets.token_bytes(_SALT_BYTES)
        wrapped = _aead(self._stretch(salt, _N, _R, _P)).encrypt(_NONCE, file_key, None)
        return {
            "kind": "passphrase",
            "scrypt": {"n": _N, "r": _R, "p": _P, "salt": b64url_encode(salt)},
            "wrapped": b64url_encode(wrapped),
        }

    def unwrap(self, recipient: Mapping[str, Any]) -> bytearray:
        """The file key of a backup that was locked with this passphrase. Raises BackupKeyError, BackupFormatError."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        if recipient.get("kind") != "passphrase":
            raise BackupKeyError(
                "this backup is locked for a recovery key, not with a passphrase", hint="give the key with --recovery"
            )
        cost = recipient.get("scrypt")
        if not isinstance(cost, dict):
            raise _malformed("scrypt")
        limits = {"n": _MAX_N, "r": _MAX_R, "p": _MAX_P}
        if any(type(cost.get(name)) is not int or not 1 <= cost[name] <= most for name, most in limits.items()):
            raise _malformed("scrypt")
        if cost["n"] & (cost["n"] - 1) or cost["n"] == 1 or 128 * cost["n"] * cost["r"] > _MAX_MEMORY:
            raise _malformed("scrypt")
        salt, wrapped = _bytes(cost, "salt", _SALT_BYTES), _bytes(recipient, "wrapped", _WRAPPED)
        try:
            return bytearray(_aead(self._stretch(salt, cost["n"], cost["r"], cost["p"])).decrypt(_NONCE, wrapped, None))
        except MemoryError:
            raise BackupKeyError(
                "there is not enough memory to open the backup with its passphrase",
                hint=f"it needs {128 * cost['n'] * cost['r'] // 2**20} MiB",
            ) from None
        except InvalidTag:
            raise BackupKeyError(
                "the passphrase is wrong, or the backup's header was changed", hint="try the passphrase again"
            ) from None

    def _stretch(self, salt: bytes, n: int, r: int, p: int) -> bytes:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

        return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(self._secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a passphrase is not pickled")

    def __repr__(self) -> str:
        return "Passphrase()"


_MAKE = "`facegate keys new --recovery` makes one"


def _agree(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(SHA256(), length=32, salt=ephemeral + public, info=_INFO).derive(shared)


def _aead(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


def _bytes(fields: Mapping[str, Any], name: str, length: int) -> bytes:
    try:
        data = b64url_decode(fields[name])
    except (KeyError, ValueError, AttributeError):
        raise _malformed(name) from None
    if len(data) != length:
        raise _malformed(name)
    return data


def _malformed(name: str) -> BackupFormatError:
    return BackupFormatError(f"the backup's header has no valid {name}", hint="use another copy of the backup")


def _to_bytes(passphrase: str | bytes) -> bytes:
    try:
        return passphrase.encode() if isinstance(passphrase, str) else passphrase
    except UnicodeEncodeError:  # what the environment held was no UTF-8
        raise KeyPassphraseError("the passphrase is not UTF-8", hint="use a UTF-8 locale, or plain letters") from None


def _refuse_type(path: str | os.PathLike[str]) -> NoReturn:
    raise KeyTypeError(f"{os.fspath(path)} is not an X25519 recovery key", hint=_MAKE)
