"""Ed25519 keys: who signs a bundle or a decision, and whom a device believes.

The cryptography is pyca/cryptography's; this module adds files that are created safely, key ids and errors of our own.
It is imported where a key is used, not before, because loading the library takes tens of milliseconds.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facegate_edge.errors import (
    InvalidSignatureError,
    KeyExistsError,
    KeyFileError,
    KeyPassphraseError,
    KeyPermissionError,
    KeyTypeError,
    KeyWriteError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "KEY_ID_LENGTH",
    "SigningKey",
    "TrustStore",
    "VerifyKey",
    "b64url_decode",
    "b64url_encode",
    "read_key_file",
    "write_key_file",
]

KEY_ID_LENGTH = 16  # hex digits: 64 bits name a key; they do not authenticate it, the signature does
_MAX_KEY_FILE = 64 * 1024
_MAX_PASSPHRASE = 1023  # what the library accepts
_RAW_LENGTH = 32
_PUBLIC_KEY = b"-----BEGIN PUBLIC KEY-----"
_KEY_ID_LINE = re.compile(rb"Key-Id: ([0-9a-f]{16})\n")


def b64url_encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """The bytes of unpadded base64url; the one spelling of each byte string and no other.

    Raises:
        ValueError: padding, foreign characters or non-zero spare bits.
    """
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("not base64url") from error
    if b64url_encode(data) != text:
        raise ValueError("not canonical base64url")
    return data


class VerifyKey:
    """A public Ed25519 key."""

    __slots__ = ("_key", "_raw", "key_id")

    def __init__(self, raw: bytes) -> None:
        """Make a key of its 32 bytes (RFC 8032, section 5.1.5). Raises KeyTypeError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see the module

        if len(raw) != _RAW_LENGTH:
            raise KeyTypeError(f"an Ed25519 public key has {_RAW_LENGTH} bytes, not {len(raw)}")
        self._raw = bytes(raw)
        self._key: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(self._raw)
        self.key_id: str = hashlib.sha256(self._raw).hexdigest()[:KEY_ID_LENGTH]

    @property
    def raw(self) -> bytes:
        """The key's 32 bytes."""
        return self._raw

    @classmethod
    def from_pem(cls, data: bytes, *, source: str = "the key") -> VerifyKey:
        """Read a PEM "PUBLIC KEY" (SubjectPublicKeyInfo). Raises KeyFileError, KeyTypeError."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            Encoding,
            PublicFormat,
            load_pem_public_key,
        )

        if b"PRIVATE KEY-----" in data:
            raise KeyTypeError(
                f"{source} holds a private key where a public one belongs",
                hint="keep private keys off devices; `facegate keys show KEY` prints the public key",
            )
        try:
            key = load_pem_public_key(data)
        except UnsupportedAlgorithm:
            _refuse_type(source)
        except ValueError:
            raise KeyFileError(
                f"{source} is not a PEM public key, or is damaged", hint="`facegate keys show KEY` writes one"
            ) from None
        if not isinstance(key, Ed25519PublicKey):
            _refuse_type(source)
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VerifyKey:
        """Read a public key's file. Raises KeyFileError, KeyTypeError, KeyPermissionError if anybody may replace it."""
        data, mode = read_key_file(Path(path))
        if mode & stat.S_IWOTH:
            raise KeyPermissionError(
                f"{path} can be changed by every user of this machine", hint=f"run: chmod o-w {path}"
            )
        return cls.from_pem(data, source=str(path))

    def to_pem(self) -> bytes:
        """The key as PEM "PUBLIC KEY"."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM, mode 0644. Raises KeyExistsError, KeyWriteError."""
        write_key_file(Path(path), self.to_pem(), 0o644)

    def verify(self, signature: bytes, data: bytes | memoryview) -> None:
        """Return if `signature` is this key's over `data`. Raises InvalidSignatureError."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        try:
            self._key.verify(signature, bytes(data))
        except InvalidSignature:
            raise InvalidSignatureError(f"the signature was not made by key {self.key_id} over these bytes") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"VerifyKey({self.key_id})"


class SigningKey:
    """A private Ed25519 key. Neither its repr nor any error shows more than the key id; it cannot be pickled."""

    __slots__ = ("_key", "verify_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Wrap a key of pyca/cryptography's; `generate` and `load` are the usual ways."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        self._key = key
        self.verify_key: VerifyKey = VerifyKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def key_id(self) -> str:
        """The id of the public half: the first 16 hex digits of the sha256 over its 32 bytes."""
        return self.verify_key.key_id

    @classmethod
    def generate(cls) -> SigningKey:
        """A new random key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte secret seed (RFC 8032, section 5.1.5). Raises KeyTypeError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        if len(seed) != _RAW_LENGTH:
            raise KeyTypeError(f"an Ed25519 seed has {_RAW_LENGTH} bytes, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, data: bytes, passphrase: str | bytes | None = None, *, source: str = "the key") -> SigningKey:
        """Read a PEM PKCS#8 private key. Raises KeyFileError, KeyTypeError, KeyPassphraseError."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        if _PUBLIC_KEY in data:
            raise KeyTypeError(
                f"{source} holds a public key where a private one is needed",
                hint="`facegate keys new` wrote two files: the private key's name is without .pub",
            )
        encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data
        if encrypted and not passphrase:
            raise KeyPassphraseError(
                f"{source} is protected by a passphrase and none was given",
                hint="on the command line enter it at the prompt or name a file that holds it in "
                "FACEGATE_PASSPHRASE_FILE; in Python pass it to load()",
            )
        try:
            # A passphrase given for a key that has none is the caller's convenience (one prompt for all), not an error.
            key = load_pem_private_key(data, _passphrase_bytes(passphrase) if encrypted else None)
        except UnsupportedAlgorithm:
            _refuse_type(source)
        except (ValueError, TypeError):
            if encrypted:
                # The library cannot tell a wrong passphrase from a damaged file: authenticated only by the padding.
                raise KeyPassphraseError(
                    f"{source} cannot be opened: the passphrase is wrong, or the file is damaged",
                    hint="try the passphrase again; if it is certain, restore the key from its backup",
                ) from None
            raise KeyFileError(
                f"{source} is not a PEM private key, or is damaged", hint="`facegate keys new` writes one"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            _refuse_type(source)
        found = cls(key)
        named = _KEY_ID_LINE.match(data)
        if named is not None and named[1].decode("ascii") != found.key_id:
            raise KeyFileError(f"{source} is damaged: it does not hold the key that it names", hint="use its backup")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | bytes | None = None) -> SigningKey:
        """Read a private key's file.

        Raises:
            KeyPermissionError: anybody but the owner may read or write it.
            KeyFileError, KeyTypeError, KeyPassphraseError: see `from_pem`.
        """
        data, mode = read_key_file(Path(path))
        # A public key's file may be read by everybody: it is refused for what it is.
        if mode & 0o077 and (_PUBLIC_KEY not in data or b"PRIVATE KEY-----" in data):
            raise KeyPermissionError(
                f"the private key {path} can be read or changed by other users (mode {mode & 0o777:04o})",
                hint=f"run: chmod 600 {path} - and replace the key if somebody may have copied it",
            )
        return cls.from_pem(data, passphrase, source=str(path))

    def to_pem(self, passphrase: str | bytes | None = None) -> bytes:
        """The key as PEM PKCS#8, encrypted if a passphrase is given, after a line with the key's id.

        The encryption (PBES2, AES-256-CBC) authenticates nothing: a flipped bit of the file can decrypt to another key
        that is as good as any. The line, which PEM readers skip, lets `from_pem` notice.
        """
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            BestAvailableEncryption,
            Encoding,
            KeySerializationEncryption,
            NoEncryption,
            PrivateFormat,
        )

        protection: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            protection = BestAvailableEncryption(_passphrase_bytes(passphrase))
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        return f"Key-Id: {self.key_id}\n".encode("ascii") + pem

    def save(self, path: str | os.PathLike[str], passphrase: str | bytes | None = None) -> None:
        """Write the key as PEM PKCS#8, mode 0600 from its first byte. Raises KeyExistsError, KeyWriteError."""
        write_key_file(Path(path), self.to_pem(passphrase), 0o600)

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `data`."""
        return self._key.sign(data)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


class TrustStore:
    """The public keys whose signatures a device believes."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[VerifyKey] = ()) -> None:
        """Trust `keys`. Raises KeyFileError if two different keys have one id, KeyTypeError if one is no VerifyKey."""
        self._keys: dict[str, VerifyKey] = {}
        for key in keys:
            if not isinstance(key, VerifyKey):
                raise KeyTypeError("what is to be trusted is no VerifyKey", hint="TrustStore.load reads files of keys")
            if self._keys.setdefault(key.key_id, key) != key:
                raise KeyFileError(f"two different keys have the id {key.key_id}", hint="remove one of them")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrustStore:
        """Trust a public key's file, or every `*.pub` file of a directory.

        Raises:
            KeyFileError: the directory holds none (trusting nobody by accident is a mistake worth telling), or a file
                is not a key.
            KeyPermissionError: the directory or a file can be changed by every user of the machine.
        """
        path = Path(path)
        if not path.is_dir():
            return cls([VerifyKey.load(path)])
        try:
            if path.stat().st_mode & stat.S_IWOTH:
                raise KeyPermissionError(
                    f"every user of this machine can add keys to {path}", hint=f"run: chmod o-w {path}"
                )
            files = sorted(file for file in path.iterdir() if file.suffix == ".pub")
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
        if not files:
            raise KeyFileError(
                f"{path} holds no trusted key (*.pub)", hint="copy the signer's public key there, e.g. signer.pub"
            )
        return cls(VerifyKey.load(file) for file in files)

    def get(self, key_id: str) -> VerifyKey | None:
        """The trusted key of an id, or None."""
        return self._keys.get(key_id)

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def __iter__(self) -> Iterator[VerifyKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"TrustStore({', '.join(self._keys)})"


def _passphrase_bytes(passphrase: str | bytes | None) -> bytes:
    try:
        data = passphrase.encode() if isinstance(passphrase, str) else passphrase
    except UnicodeEncodeError:  # what the environment held was no UTF-8
        raise KeyPassphraseError("the passphrase is not UTF-8", hint="use a UTF-8 locale, or plain letters") from None
    if not data:
        raise KeyPassphraseError("an empty passphrase protects nothing", hint="give none at all, or a real one")
    if len(data) > _MAX_PASSPHRASE:
        raise KeyPassphraseError(f"a passphrase has at most {_MAX_PASSPHRASE} bytes", hint="choose a shorter one")
    return data


def _refuse_type(source: str) -> NoReturn:
    raise KeyTypeError(f"{source} is not an Ed25519 key", hint="`facegate keys new` makes one")


def read_key_file(path: Path) -> tuple[bytes, int]:
    """A small regular file's bytes and mode, both of one open descriptor."""
    try:
        # O_NONBLOCK: a named pipe in place of a key must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFileError(f"there is no key {path}", hint="`facegate keys new` makes one") from None
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyFileError(f"the key {path} is not a regular file")
        data = os.read(descriptor, _MAX_KEY_FILE + 1)
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > _MAX_KEY_FILE:
        raise KeyFileError(f"{path} is too large to be a key")
    return data, mode


def write_key_file(path: Path, data: bytes, mode: int) -> None:
    """Create a file with its final mode, or leave nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise KeyExistsError(
            f"{path} exists already", hint="choose another name: a key file is never overwritten"
        ) from None
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(descriptor, mode)  # the umask may have taken bits away from a public key
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> KeyWriteError:
    return KeyWriteError(
        f"the key {path} cannot be written: {error.strerror}", hint="make room or choose another folder"
    )
