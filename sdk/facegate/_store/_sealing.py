"""What is kept about a face is sealed with the person's own key, and that key with the device's secret.

AES-256-GCM of pyca/cryptography (`_gcm` says what an old one needs). The device's secret itself encrypts nothing:
HKDF-SHA256 (RFC 5869) makes a key for each use of it. The associated data names the gate, the owner, the row and the
template space, so that a sealed value opens in its own place only.
"""

from __future__ import annotations

import os
from typing import Literal, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facegate._store._gcm import BufferGCM
from facegate._store._tally import Tally, encode
from facegate.errors import SealError, SealKeyError

__all__ = ["Owner", "OwnerKey", "Sealer", "new_owner_key"]

Owner = Literal["person", "list"]
SECRET_LENGTH = 32
_NONCE = 12
_TAG = 16
_KEY = 32
_Aead: type[AESGCM | BufferGCM] = AESGCM if hasattr(AESGCM, "decrypt_into") else BufferGCM  # cryptography 47
_CHECK = b"facegate sealing key 1"


class OwnerKey:
    """The key of one person or list: seals and opens the templates of that owner.

    Args:
        key: 32 bytes; wiped by the caller.
        gate: id of the gate.
        kind: what the owner is.
        owner: row id of the owner.
    """

    __slots__ = ("_aead", "_place")

    def __init__(self, key: bytes | bytearray, gate: str, kind: Owner, owner: int) -> None:
        # A copy that nobody can change: some builds of the library keep what they are given, and would go on with zeros
        # once the caller has wiped it.
        self._aead = _Aead(bytes(key))
        self._place = encode("face", gate, kind, owner)

    def seal(self, data: bytes | bytearray | memoryview, face: int, space: str) -> bytes:
        """Nonce, ciphertext and tag for the row of this face."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, self._place + encode(face, space))

    def unseal(self, sealed: bytes, face: int, space: str) -> bytes:
        """What was sealed for the row of this face. Raises SealError."""
        return _open(self._aead, sealed, self._place + encode(face, space))

    def unseal_into(self, sealed: bytes, face: int, space: str, out: memoryview) -> None:
        """Put what was sealed for the row of this face into memory that the caller wipes. Raises SealError."""
        _open_into(self._aead, sealed, self._place + encode(face, space), out)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")

    def __repr__(self) -> str:
        return "OwnerKey()"


class Sealer:
    """The device's secret at work for one gate.

    Args:
        secret: 32 bytes; wiped by the caller, who needs it no more.
        gate: id of the gate.

    Raises:
        SealKeyError: the secret has another length.
    """

    __slots__ = ("_kek", "_other", "gate", "key_id", "tally")

    def __init__(self, secret: bytes | bytearray, gate: str) -> None:
        if len(secret) != SECRET_LENGTH:
            raise SealKeyError(
                f"a sealing key has {SECRET_LENGTH} bytes, not {len(secret)}", hint="it is damaged: use its backup"
            )
        self.gate = gate
        self.key_id: str = _derived(secret, "key id", "", 8).hex()
        self._kek = _Aead(_derived(secret, "key of keys", gate, 32))
        self._other = _Aead(_derived(secret, "other secrets", gate, 32))
        self.tally: Tally = Tally(_derived(secret, "tally", gate, 32))

    def wrap(self, key: bytes | bytearray, kind: Owner, owner: int) -> bytes:
        """An owner's key, sealed for the owner's row."""
        nonce = os.urandom(_NONCE)
        return nonce + self._kek.encrypt(nonce, key, encode("key", self.gate, kind, owner))

    def unwrap(self, wrapped: bytes, kind: Owner, owner: int) -> bytes:
        """An owner's key. Raises SealError."""
        return _open(self._kek, wrapped, encode("key", self.gate, kind, owner))

    def owner_key(self, wrapped: bytes, kind: Owner, owner: int) -> OwnerKey:
        """An owner's key, ready for use. Raises SealError."""
        key = bytearray(_KEY)
        _open_into(self._kek, wrapped, encode("key", self.gate, kind, owner), memoryview(key))
        made = OwnerKey(key, self.gate, kind, owner)
        key[:] = bytes(_KEY)
        return made

    def seal(self, data: bytes | bytearray, what: str) -> bytes:
        """Seal what belongs to the gate as a whole, e.g. its rotation."""
        nonce = os.urandom(_NONCE)
        return nonce + self._other.encrypt(nonce, data, encode("gate", self.gate, what))

    def unseal(self, sealed: bytes, what: str) -> bytes:
        """What `seal` sealed. Raises SealError."""
        return _open(self._other, sealed, encode("gate", self.gate, what))

    def key_check(self) -> bytes:
        """A sealed constant, by which a wrong key is known."""
        return self.seal(_CHECK, "key check")

    def check(self, sealed: bytes, key_id: str) -> None:
        """Raises SealKeyError if this is not the secret that `key_check` was made with."""
        try:
            right = self.key_id == key_id and self.unseal(sealed, "key check") == _CHECK
        except SealError:
            right = False
        if not right:
            raise SealKeyError(
                f"the sealing key {self.key_id} is not the one of this store, which is {key_id}",
                hint="the key of another gate, or an older one: use the key that the gate was made with or rotated to, "
                "or restore a backup with the recovery key",
            )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")

    def __repr__(self) -> str:
        return f"Sealer({self.key_id})"


def new_owner_key() -> bytes:
    """A random key of 32 bytes for one person or list."""
    return os.urandom(32)


def _derived(secret: bytes | bytearray, use: str, gate: str, length: int) -> bytes:
    info = encode("facegate store 1", use, gate)
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret)


def _open(aead: AESGCM | BufferGCM, sealed: bytes, place: bytes) -> bytes:
    if len(sealed) < _NONCE + _TAG:
        raise _does_not_open()
    try:
        return aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
    except InvalidTag:
        raise _does_not_open() from None


def _open_into(aead: AESGCM | BufferGCM, sealed: bytes, place: bytes, out: memoryview) -> None:
    """Open what was sealed without a copy in memory that nobody can wipe."""
    if len(sealed) != _NONCE + len(out) + _TAG:
        raise _does_not_open()
    try:
        aead.decrypt_into(sealed[:_NONCE], sealed[_NONCE:], place, out)
    except InvalidTag:
        raise _does_not_open() from None


def _does_not_open() -> SealError:
    return SealError(
        "a sealed row does not open",
        hint="it was changed, or stands where it does not belong: restore a backup, and find out who can write to this "
        "device",
    )
