"""Opening a bundle: nothing of it is used before all of it was checked.

The file is read once into memory that cannot change any more (a sealed memfd), checked there, and run from there. What
was checked is therefore what runs, whatever happens to the file in the meantime; docs/bundle.md gives the guarantee
and its limits, docs/adr the reason for not mapping the file itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import mmap
import os
import re
import stat
from typing import TYPE_CHECKING, final

from facegate_edge import _archive
from facegate_edge._keys import KEY_ID_LENGTH, TrustStore, b64url_decode, b64url_encode
from facegate_edge._manifest_json import parse_manifest
from facegate_edge.errors import (
    BundleClosedError,
    BundleHashError,
    BundleMemberError,
    BundleReadError,
    BundleSignatureError,
    BundleTooLargeError,
    BundleTruncatedError,
    BundleUnsignedError,
    InvalidSignatureError,
    KeyTypeError,
    MissingModelError,
    UntrustedKeyError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from facegate_edge._manifest import Manifest

__all__ = ["Bundle", "open_bundle"]

_CHUNK = 1 << 20
_MFD_NOEXEC_SEAL = 0x8  # Linux 6.3; not in the os module of Python 3.10-3.13
_SIGNATURE_LENGTH = 64


@final
class Bundle:
    """An opened bundle: a checked manifest and the models' bytes. Made by `open_bundle`; a context manager.

    Attributes:
        manifest: the parsed manifest.
        id: sha256 of manifest.json, 64 hex digits. It names the models too, because the manifest holds their hashes.
        key_id: id of the key that the bundle says it is signed by, None if it is unsigned. Only if `trusted` was
            the signature checked.
        trusted: whether the signature is one of a trusted key.
        development: opened in development mode. Every decision made with the bundle says so.
    """

    __slots__ = ("_map", "_members", "development", "id", "key_id", "manifest", "trusted")

    def __init__(
        self,
        mapping: mmap.mmap,
        manifest: Manifest,
        *,
        manifest_sha256: str,
        key_id: str | None,
        trusted: bool,
        development: bool,
        members: tuple[_archive.Member, ...],
    ) -> None:
        self._map: mmap.mmap | None = mapping
        self._members = {member.name: member for member in members}
        self.manifest = manifest
        self.id = manifest_sha256
        self.key_id = key_id
        self.trusted = trusted
        self.development = development

    @property
    def short_id(self) -> str:
        """The first 12 hex digits of `id`, for people."""
        return self.id[:12]

    def manifest_bytes(self) -> bytes:
        """manifest.json as it stands in the bundle: what the signature covers. Raises BundleClosedError."""
        return bytes(self._member(_archive.MANIFEST))

    def file_bytes(self) -> memoryview:
        """The whole file as it was checked, read-only: what a copy is made of. Raises BundleClosedError."""
        if self._map is None:
            raise _closed()
        return memoryview(self._map).toreadonly()

    def model_bytes(self, role: str) -> memoryview:
        """The verified bytes of the model of a role, read-only, 64-byte aligned, not copied.

        The memory lives as long as the bundle is open or a view is held. Raises MissingModelError, BundleClosedError.
        """
        model = self.manifest.model(role)
        if model is None:
            raise MissingModelError(
                f"the bundle {self.manifest.name} has no {role}", hint="`facegate bundle inspect` lists its models"
            )
        return self._member(model.file)

    def _member(self, name: str) -> memoryview:
        if self._map is None:
            raise _closed()
        return _slice(memoryview(self._map).toreadonly(), self._members[name])

    def close(self) -> None:
        """Let go of the memory; a second call does nothing. Views that are still held stay valid and keep it."""
        self._map = None

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name} {self.manifest.version}, {self.short_id})"


def open_bundle(path: str | os.PathLike[str], *, trust: TrustStore | None = None, development: bool = False) -> Bundle:
    """Open a bundle and check all of it: layout, signature, manifest, then each model's size and sha256.

    Args:
        path: the `.fgb` file.
        trust: the keys whose signature counts. None trusts nobody, which only development mode allows.
        development: also open a bundle that is unsigned or signed by an unknown key. A signature of a trusted key must
            be right even so, and hashes are always checked. Every decision made with the bundle is marked.

    Returns:
        The bundle, independent of the file: replacing or deleting it does no harm.

    Raises:
        BundleReadError, BundleTooLargeError, BundleTruncatedError, BundleFormatError, BundleMemberError: the file.
        BundleUnsignedError, UntrustedKeyError, BundleSignatureError: the signature.
        BundleVersionError, ManifestError, ProhibitedModelError: the manifest.
        BundleHashError: a model.
        KeyTypeError: `trust` is no TrustStore.
    """
    if trust is not None and not isinstance(trust, TrustStore):
        raise KeyTypeError("trust is a TrustStore", hint="TrustStore.load reads a file or a folder of public keys")
    mapping = _seal(path)
    view = memoryview(mapping)
    members = _archive.read_members(view)
    manifest_bytes = _data(view, members[0])
    _archive.check_crc(view, members[0])
    signature = members[1] if len(members) > 1 and members[1].name == _archive.SIGNATURE else None
    key_id, trusted = _check_signature(manifest_bytes, view, signature, trust or TrustStore(), development=development)
    manifest = parse_manifest(manifest_bytes)
    _check_models(view, manifest, members[2 if signature else 1 :])
    return Bundle(
        mapping,
        manifest,
        manifest_sha256=hashlib.sha256(manifest_bytes).hexdigest(),
        key_id=key_id,
        trusted=trusted,
        development=development,
        members=members,
    )


def signature_document(key_id: str, signature: bytes) -> bytes:
    """The bytes of manifest.sig; there is one spelling only."""
    document = {"algorithm": "Ed25519", "key_id": key_id, "signature": b64url_encode(signature)}
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


_SIGNATURE_DOCUMENT = re.compile(
    rb'\{"algorithm":"Ed25519","key_id":"([0-9a-f]{%d})","signature":"([A-Za-z0-9_-]{86})"\}\n' % KEY_ID_LENGTH
)


def _check_signature(
    manifest: bytes, view: memoryview, member: _archive.Member | None, trust: TrustStore, *, development: bool
) -> tuple[str | None, bool]:
    """The key id, and whether a trusted key signed."""
    if member is None:
        if development:
            return None, False
        raise BundleUnsignedError(
            "the bundle is not signed",
            hint="sign it with `facegate bundle sign`; development mode opens it and marks every decision",
        )
    _archive.check_crc(view, member)
    match = _SIGNATURE_DOCUMENT.fullmatch(_data(view, member))
    if match is None:
        raise BundleSignatureError(f"{_archive.SIGNATURE} is malformed", hint="sign the bundle again")
    key_id = match[1].decode("ascii")
    try:
        signature = b64url_decode(match[2].decode("ascii"))
    except ValueError:
        raise BundleSignatureError(f"{_archive.SIGNATURE} is malformed", hint="sign the bundle again") from None
    key = trust.get(key_id)
    if key is None:
        if development:
            return key_id, False
        raise UntrustedKeyError(
            f"the bundle is signed by key {key_id}, which is not trusted here",
            hint="if it is the right signer, trust its public key; ask them for the key id through another channel",
        )
    try:
        key.verify(signature, manifest)
    except InvalidSignatureError:
        raise BundleSignatureError(
            f"the signature of key {key_id} does not fit the manifest: it was changed after signing",
            hint="do not use the file; get the bundle again from its signer",
        ) from None
    return key_id, True


def _check_models(view: memoryview, manifest: Manifest, members: tuple[_archive.Member, ...]) -> None:
    """The models are exactly those of the manifest, in its order, by name, size, checksum and sha256."""
    named, present = [m.file for m in manifest.models], [m.name for m in members]
    if named != present:
        raise BundleMemberError(
            f"the manifest names the models {', '.join(named)}, the archive holds {', '.join(present) or 'none'}",
            hint="get the bundle again from its signer",
        )
    for model, member in zip(manifest.models, members, strict=True):
        if model.size != member.size:
            raise BundleHashError(
                f"{model.file} has {member.size} bytes, the manifest says {model.size}",
                hint="get the bundle again from its signer",
            )
        _archive.check_crc(view, member)
        # Neither hash is a secret, but a comparison that needs no thought is the better habit.
        if not hmac.compare_digest(hashlib.sha256(_slice(view, member)).hexdigest(), model.sha256):
            raise BundleHashError(
                f"{model.file} is not the model that was signed: its sha256 differs",
                hint="do not use the file; get the bundle again from its signer",
            )


def _closed() -> BundleClosedError:
    return BundleClosedError("the bundle is closed", hint="keep it open as long as its models are used")


def _slice(view: memoryview, member: _archive.Member) -> memoryview:
    return view[member.offset : member.offset + member.size]


def _data(view: memoryview, member: _archive.Member) -> bytes:
    return bytes(_slice(view, member))


def _seal(path: str | os.PathLike[str]) -> mmap.mmap:
    """Copy the file into memory that nobody can write to any more, and map that read-only."""
    name = os.fspath(path)
    try:
        # O_NONBLOCK: a named pipe in place of a bundle must be refused, not waited for.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise BundleReadError(f"there is no bundle {name}", hint="check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BundleReadError(f"the bundle {name!r} cannot be opened: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BundleReadError(f"{name} is not a regular file", hint="name the .fgb file itself")
        if status.st_size > _archive.MAX_BUNDLE:
            raise BundleTooLargeError(f"{name} is larger than the {_archive.MAX_BUNDLE} bytes that a device accepts")
        if status.st_size == 0:
            raise BundleTruncatedError(f"{name} is empty", hint="copy the bundle again")
        return _copy(descriptor, status.st_size, name)
    except OSError as error:
        raise BundleReadError(f"the bundle {name} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _copy(source: int, size: int, name: str) -> mmap.mmap:
    try:
        target = _memory_file()
    except OSError:
        # A kernel or sandbox without memfd: anonymous memory is as far out of the file's reach, only not sealed
        # against a stray write of this process.
        mapping = mmap.mmap(-1, size)
        with memoryview(mapping) as view:
            for position, chunk in _chunks(source, size, name):
                view[position : position + len(chunk)] = chunk
        return mapping
    try:
        for _, chunk in _chunks(source, size, name):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(target, rest) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(target, fcntl.F_ADD_SEALS, seals)
        # MAP_PRIVATE: before Linux 6.7 a write-sealed file cannot be mapped shared, not even for reading.
        return mmap.mmap(target, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    finally:
        os.close(target)


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("facegate-bundle", flags | _MFD_NOEXEC_SEAL)
    except OSError:  # a kernel before 6.3 does not know the flag
        return os.memfd_create("facegate-bundle", flags)


def _chunks(descriptor: int, size: int, name: str) -> Iterator[tuple[int, bytes]]:
    """The file's bytes with their positions; exactly `size` of them, or BundleTruncatedError."""
    position = 0
    while chunk := os.read(descriptor, min(_CHUNK, size + 1 - position)):
        if position + len(chunk) > size:
            break
        yield position, chunk
        position += len(chunk)
    if chunk or position != size:
        raise BundleTruncatedError(f"{name} changed while it was being read", hint="wait until the copy is complete")
