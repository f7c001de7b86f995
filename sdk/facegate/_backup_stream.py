r"""A backup's file: a header that anybody may read, and an encrypted, signed payload. Streams in, streams out.

    "facegate-backup 1\n"
    header      u32 length (big endian), JSON: format, id, created, device, device_key, facegate, recipient
    payload     chunks of 64 KiB, each AES-256-GCM with its 16-byte tag; the last is shorter or marked as the last

The payload's key is HKDF-SHA256 of the random file key (see `_recovery`) with the hash of everything before the
payload: a changed header opens nothing. A chunk's nonce is its number (11 bytes) and whether it is the last (1 byte),
which is the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): chunks cannot be dropped, repeated,
exchanged or cut off.

In the payload there are entries, and at the end the maker's signature:

    entry       u16 length of the name, the name (ASCII), pieces: u32 length, bytes; u32 0 ends the entry
    end         u16 0, 64 bytes: Ed25519 by the device over sha256 of everything before, in plain

The signature is what shows who made a backup: with a recovery key's public half anybody can lock one.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import struct
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from facegate._decision import is_reference
from facegate._recovery import FILE_KEY_BYTES
from facegate.errors import BackupFormatError, BackupTamperedError, BackupWriteError
from facegate_edge._json import repeated
from facegate_edge._keys import VerifyKey, b64url_decode, b64url_encode
from facegate_edge.errors import InvalidSignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from facegate._recovery import Opener, Recipient
    from facegate_edge._keys import SigningKey

__all__ = ["FORMAT", "BackupHeader", "BackupReader", "BackupWriter", "read_header"]

FORMAT = 1
MAGIC = b"facegate-backup 1\n"
_ANY_MAGIC = re.compile(rb"facegate-backup [0-9]{1,6}\n")
CHUNK = 64 * 1024
_TAG = 16
_MAX_HEADER = 16 * 1024
_MAX_PIECE = 1024 * 1024
_SIGNATURE = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}(/[a-z0-9][a-z0-9._-]{0,80})?", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_COPY = "use another copy of the backup"


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """What anybody who has a backup's file can read.

    Attributes:
        format: version of the file's layout.
        id: 128 random bits in hex.
        created: when, RFC 3339, UTC.
        device: the device's reference.
        device_key: the public key of the device that signed it, base64url of 32 bytes.
        facegate: the version that made it.
        recipient: for whom it is locked: {"kind": "recovery_key", "key_id": ...} or {"kind": "passphrase", ...}.
    """

    format: int
    id: str
    created: str
    device: str
    device_key: str
    facegate: str
    recipient: Mapping[str, Any]

    @property
    def maker(self) -> VerifyKey:
        """The key that the header names as the maker's. `BackupReader` checks that it signed the payload."""
        return VerifyKey(b64url_decode(self.device_key))

    @property
    def moment(self) -> datetime:
        """`created` as a time."""
        return datetime.strptime(self.created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)

    @property
    def kind(self) -> Literal["recovery_key", "passphrase"]:
        """What opens it."""
        return "passphrase" if self.recipient["kind"] == "passphrase" else "recovery_key"


def read_header(stream: BinaryIO) -> BackupHeader:
    """The header of a backup, which nothing protects before the payload has been opened. Raises BackupFormatError."""
    return _parse_header(_read_head(stream))


class BackupWriter:
    """Writes a backup. Entries one after the other, then `finish`; what was not finished does not open.

    Args:
        stream: where to.
        recipient: for whom.
        signer: the device's key.
        created: when, RFC 3339, UTC.
        device: the device's reference.
        version: of facegate.

    Raises:
        BackupWriteError: the stream cannot be written. This holds for every method.
    """

    def __init__(
        self, stream: BinaryIO, *, recipient: Recipient, signer: SigningKey, created: str, device: str, version: str
    ) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loading it takes tens of ms

        file_key = bytearray(secrets.token_bytes(FILE_KEY_BYTES))
        self.header = BackupHeader(
            FORMAT,
            secrets.token_hex(16),
            created,
            device,
            b64url_encode(signer.verify_key.raw),
            version,
            recipient.wrap(bytes(file_key)),
        )
        document = json.dumps(asdict(self.header), separators=(",", ":"), allow_nan=False).encode("ascii")
        head = MAGIC + struct.pack(">I", len(document)) + document
        self._stream, self._signer = stream, signer
        self._aead: Any = AESGCM(_payload_key(file_key, head))
        file_key[:] = bytes(len(file_key))
        self._hash = hashlib.sha256(head)
        self._buffer = bytearray()
        self._chunks = 0
        self._put(head)

    def entry(self, name: str, pieces: Iterable[bytes | bytearray | memoryview]) -> int:
        """Add an entry; returns its size in bytes."""
        if _NAME.fullmatch(name) is None:
            raise ValueError("no name of an entry")
        encoded = name.encode("ascii")
        self._feed(struct.pack(">H", len(encoded)) + encoded)
        total = 0
        for piece in pieces:
            view = memoryview(piece).cast("B")
            for begin in range(0, len(view), _MAX_PIECE):
                part = view[begin : begin + _MAX_PIECE]
                self._feed(struct.pack(">I", len(part)))
                self._feed(part)
                total += len(part)
        self._feed(struct.pack(">I", 0))
        return total

    def finish(self) -> None:
        """Sign and end it. The stream stays open, and its owner's to flush."""
        self._feed(struct.pack(">H", 0))
        self._feed(self._signer.sign(self._hash.digest()))
        self._seal(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _feed(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._buffer += data
        while len(self._buffer) > CHUNK:  # the last chunk is never empty, so that there is one to mark
            self._seal(bytes(memoryview(self._buffer)[:CHUNK]), last=False)
            del self._buffer[:CHUNK]

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._put(self._aead.encrypt(_nonce(self._chunks, last), chunk, None))
        self._chunks += 1

    def _put(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except OSError as error:
            raise BackupWriteError(
                f"the backup cannot be written: {error.strerror}", hint="make room, or choose another place"
            ) from error


class BackupReader:
    """Opens a backup. Nothing that it gives counts before `entries` has come to its end without an error.

    Args:
        stream: where from.
        opener: the recovery key or the passphrase.
        maker: the key of the device that must have made it; any device's if None: look at `header.maker` then.

    Raises:
        BackupFormatError: this is no backup.
        BackupKeyError: it is locked for somebody else.
        BackupTamperedError: another device made it.
    """

    def __init__(self, stream: BinaryIO, opener: Opener, *, maker: VerifyKey | None = None) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loading it takes tens of ms

        head = _read_head(stream)
        self.header = _parse_header(head)
        self._maker = self.header.maker
        if maker is not None and maker != self._maker:
            raise BackupTamperedError(
                f"the backup was made by device key {self._maker.key_id}, not by {maker.key_id}",
                hint="restore only what your own device made",
            )
        file_key = opener.unwrap(self.header.recipient)
        self._aead: Any = AESGCM(_payload_key(file_key, head))
        file_key[:] = bytes(len(file_key))
        self._hash = hashlib.sha256(head)
        self._stream = stream
        self._plain = self._chunks()
        self._buffer = bytearray()
        self._at = 0

    def entries(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Names and pieces of the entries, in their order; what is left of an entry is skipped with the next step.

        Raises:
            BackupTamperedError: a byte was changed, or the signature does not fit.
            BackupFormatError: it is cut short, or laid out as no backup is.
        """
        seen: set[str] = set()
        while (length := self._number(">H")) != 0:
            name = self._take(length).decode("ascii", "replace")
            if _NAME.fullmatch(name) is None or name in seen:
                raise BackupFormatError("the backup holds an entry that none has", hint=_COPY)
            seen.add(name)
            pieces = self._pieces()
            yield name, pieces
            for _ in pieces:
                pass
        digest = self._hash.digest()
        try:
            self._maker.verify(self._take(_SIGNATURE), digest)
        except InvalidSignatureError:
            raise BackupTamperedError(
                "the backup's signature is not of the device that it names", hint="do not restore it"
            ) from None
        if self._at != len(self._buffer) or next(self._plain, None) is not None:
            raise BackupFormatError("there is something behind the end of the backup", hint=_COPY)

    def _pieces(self) -> Iterator[bytes]:
        while (length := self._number(">I")) != 0:
            if length > _MAX_PIECE:
                raise BackupFormatError("the backup holds a piece that is too large", hint=_COPY)
            yield self._take(length)

    def _number(self, form: str) -> int:
        number: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return number

    def _take(self, length: int) -> bytes:
        while len(self._buffer) - self._at < length:
            chunk = next(self._plain, None)
            if chunk is None:
                raise BackupFormatError("the backup ends too early", hint=_COPY)
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += chunk
        data = bytes(memoryview(self._buffer)[self._at : self._at + length])
        self._at += length
        self._hash.update(data)
        return data

    def _chunks(self) -> Iterator[bytes]:
        """The payload, decrypted. Each chunk is authentic and in its place; whether all came, only the end shows."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        size = CHUNK + _TAG
        number, held = 0, _read(self._stream, size)
        while True:
            ahead = _read(self._stream, size) if len(held) == size else b""
            try:
                chunk: bytes = self._aead.decrypt(_nonce(number, not ahead), held, None)
            except InvalidTag:
                if number == 0 or ahead:
                    raise BackupTamperedError("the backup was changed: a part does not open", hint=_COPY) from None
                # Cut at the end of a chunk or within one: it cannot be told apart from a change there.
                raise BackupTamperedError("the backup was changed, or ends too early", hint=_COPY) from None
            yield chunk
            if not ahead:
                return
            number, held = number + 1, ahead


def _read_head(stream: BinaryIO) -> bytes:
    magic = _read(stream, len(MAGIC))
    if magic != MAGIC:
        if _ANY_MAGIC.match(magic):
            raise BackupFormatError("a newer version of facegate made this backup", hint="update facegate")
        raise BackupFormatError("this is no backup of a gate", hint="`facegate gate backup` makes one")
    prefix = _read(stream, 4)
    length = int.from_bytes(prefix, "big")
    document = _read(stream, length) if len(prefix) == 4 and length <= _MAX_HEADER else b""  # noqa: PLR2004
    if not length or len(document) != length:
        raise BackupFormatError("the backup ends too early, or has no valid header", hint=_COPY)
    return magic + prefix + document


def _parse_header(head: bytes) -> BackupHeader:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if repeated(pairs) is not None:
            raise ValueError
        return dict(pairs)

    try:
        fields = json.loads(head[len(MAGIC) + 4 :].decode("ascii"), object_pairs_hook=unique)
        header = BackupHeader(**fields)
        texts = all(
            isinstance(getattr(header, name), str) for name in ("id", "created", "device", "device_key", "facegate")
        )
        named = isinstance(header.recipient, dict) and header.recipient.get("kind") in ("recovery_key", "passphrase")
        if not texts or not named or header.format != FORMAT:
            raise ValueError  # noqa: TRY301 - all that can be wrong here has one answer
        forms = _ID.fullmatch(header.id) is not None and _TIME.fullmatch(header.created) is not None
        if not forms or not is_reference(header.device):
            raise ValueError  # noqa: TRY301
        _ = header.maker, header.moment
    except (ValueError, TypeError, RecursionError):
        raise BackupFormatError("the backup's header is not as one is", hint=_COPY) from None
    return header


def _payload_key(file_key: bytes | bytearray, head: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    info = b"facegate-backup 1 payload"
    return HKDF(SHA256(), length=32, salt=hashlib.sha256(head).digest(), info=info).derive(bytes(file_key))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _read(stream: BinaryIO, size: int) -> bytes:
    """All of `size` bytes, fewer only at the end."""
    parts = []
    try:
        while size > 0:
            part = stream.read(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
    except OSError as error:
        raise BackupFormatError(f"the backup cannot be read: {error.strerror}", hint="check the medium") from error
    return b"".join(parts)
