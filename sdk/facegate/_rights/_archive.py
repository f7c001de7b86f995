"""A ZIP for somebody outside, 0600: documents, and a statement by which the device signs their hashes.

Written whole or not at all, and never over another file. Equal contents give equal bytes but for the statement's time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import lzma
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate import _jws
from facegate._files import sync_folder, write_new
from facegate.errors import DecisionSignatureError, ExportError
from facegate_edge._keys import TrustStore, VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facegate_edge._keys import SigningKey

__all__ = ["STATEMENT", "STATEMENT_TYPE", "as_json", "build_archive", "verify_archive", "whole_or_not", "write_archive"]

STATEMENT = "statement.jws"
STATEMENT_TYPE = "facegate-archive+jwt"
_DATE = (1980, 1, 1, 0, 0, 0)  # ZIP's first moment: when it was made is in the statement
_MAX_MEMBER = 64 * 1024 * 1024
_MAX_MEMBERS = 16
# What reading somebody's file as a ZIP with a statement in it raises: also for ones that are locked, or packed in a way
# that is not known here (RuntimeError), or cut short within a member (EOFError, zlib.error).
_NO_ARCHIVE = (
    *(OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, OverflowError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, DecisionSignatureError),
)


def as_json(document: Mapping[str, Any]) -> bytes:
    """A document as JSON for people and machines: UTF-8, indented."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def build_archive(members: Mapping[str, bytes], *, key: SigningKey, device: str, kind: str, time: str) -> bytes:
    """The ZIP's bytes.

    Args:
        members: contents by name.
        key: the device's.
        device: its reference.
        kind: "person" or "report".
        time: RFC 3339, UTC.
    """
    statement = {
        "schema": 1,
        "kind": kind,
        "device": device,
        "time": time,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items())},
    }
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode("ascii")
    signed = _jws.sign(payload, key, typ=STATEMENT_TYPE)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*sorted(members.items()), (STATEMENT, signed.encode("ascii") + b"\n")]:
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def write_archive(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a new file of mode 0600.

    Raises:
        ExportError: there is one already, or it cannot be written; nothing is left behind.
    """
    path = Path(path)
    try:
        write_new(path, [data], 0o600)
    except FileExistsError as error:
        raise ExportError(
            f"the file {path} cannot be written: {error.strerror}", hint="it is never written over: choose another name"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: what can be no path
        _discard(path)
        why = error.strerror if isinstance(error, OSError) else "this is no path"
        raise ExportError(
            f"the file {path} cannot be written: {why}", hint="make room or choose another folder"
        ) from None
    try:
        sync_folder(path.parent)  # what follows may be the erasure of the only other copy
    except OSError as error:
        _discard(path)
        raise ExportError(
            f"the file {path} cannot be put on the disk: {error.strerror}", hint="choose another folder"
        ) from None
    return path


@contextlib.contextmanager
def whole_or_not(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Remove the file that was written at `path` if what it belongs to fails; one that was there before stays."""
    existed = path is not None and os.path.lexists(path)
    try:
        yield
    except ExportError:  # it was not written; one that is there is somebody else's, however new
        raise
    except BaseException:
        if path is not None and not existed:
            _discard(Path(path))
        raise


def verify_archive(path: str | os.PathLike[str], keys: TrustStore | VerifyKey) -> dict[str, bytes]:
    """The members of a ZIP that `build_archive` made, if one of `keys` signed them all.

    Raises:
        ExportError: it is none, something in it was changed, added or removed, or another key signed it.
    """
    trust = keys if isinstance(keys, TrustStore) else TrustStore([keys])
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            sizes = [info.file_size for info in archive.infolist()]
            if len(set(names)) != len(names) or len(names) > _MAX_MEMBERS or any(size > _MAX_MEMBER for size in sizes):
                raise _not_as_signed()
            if min((info.header_offset for info in archive.infolist()), default=0) or archive.comment:
                raise _not_as_signed()  # something before or after it that nobody signed
            members = {name: archive.read(name) for name in names}
        statement = json.loads(
            _jws.verify(members.pop(STATEMENT).decode("ascii").strip(), trust, typ=STATEMENT_TYPE),
        )
        signed = statement["sha256"]
    except _NO_ARCHIVE:
        raise _not_as_signed() from None
    if signed != {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}:
        raise _not_as_signed()
    return members


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        path.unlink()


def _not_as_signed() -> ExportError:
    return ExportError(
        "the file is not as the device signed it", hint="give the public key of the device that made it, and all of it"
    )
