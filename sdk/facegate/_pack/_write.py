"""A pack's files, in a ZIP or in a folder, signed by the device; and reading one back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate import _jws
from facegate._files import sync_folder, write_new
from facegate._pack._document import build_document, table
from facegate._pack._flow import draw
from facegate._pack._page import page
from facegate._pack._sbom import build_sbom
from facegate._rights._archive import STATEMENT, STATEMENT_TYPE, build_archive, verify_archive, write_archive
from facegate.errors import DecisionSignatureError, ExportError, PackSignatureError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from facegate._pack._facts import Facts
    from facegate_edge._keys import SigningKey, TrustStore

__all__ = ["DOCUMENT", "KIND", "SBOM", "build_members", "verify_pack", "whole_or_no_pack", "write_pack"]

KIND = "review-pack"
DOCUMENT, PAGE, SBOM, DRAWING = "pack.json", "index.html", "sbom.cdx.json", "data-flow.svg"
_DATE = (1980, 1, 1, 0, 0, 0)  # as in every archive of a gate: when it was made is in the document
_MAX_FILE = 64 << 20
_FILES = {
    DOCUMENT: "everything on this page, for programs",
    DRAWING: "the data-flow diagram alone",
    SBOM: "software, models, hashes and licences: CycloneDX 1.6",
    "controls.csv": "the table of controls, with the tests that show each",
    "data-classes.csv": "the inventory of data",
    "groups.csv": "error rates by group",
    "licences.csv": "licences of software and models",
}


def build_members(facts: Facts) -> dict[str, bytes]:
    """The pack's files by name, without a statement: equal facts give equal bytes."""
    document = build_document(facts)
    members = {DOCUMENT: _json(document), SBOM: _json(build_sbom(facts.bundle, facts.time, facts.software))}
    members |= _tables(document)
    if facts.gate is not None:
        members[DRAWING] = f'<?xml version="1.0" encoding="UTF-8"?>\n{draw(document)}\n'.encode()
    files = [(name, what) for name, what in _FILES.items() if name in members]
    signed_by = facts.gate.device_key if facts.gate is not None else None
    members[PAGE] = page(document, files, signed_by=signed_by).encode("utf-8", "replace")
    return members


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _tables(document: Mapping[str, Any]) -> dict[str, bytes]:
    columns = ("chapter", "demand", "source", "control", "state", "finding", "tests")
    found = {"controls.csv": table(columns, [[c[name] for name in columns] for c in document["controls"]])}
    if "data_classes" in document:
        rows = [[c[name] for name in _CLASSES] for c in document["data_classes"]]
        found["data-classes.csv"] = table(_CLASSES, rows)
    licences = [(s["name"], s["version"], s["licence"], s["required"]) for s in document["software"]]
    licences += [(f"model:{m['role']}", m["sha256"], m["licence"], True) for m in document["models"]]
    found["licences.csv"] = table(("name", "version", "licence", "required"), licences)
    if document["evaluation"] is not None and document["evaluation"]["groups"]:
        found["groups.csv"] = table(_GROUPS, list(_group_rows(document["evaluation"]["groups"])))
    return found


_CLASSES = (
    "name",
    "what",
    "kind",
    "where",
    "protection",
    "kept",
    "ends",
    "leaves",
    "in_backup",
    "now",
    "tables",
    "files",
)
_GROUPS = (
    *("column", "group", "people", "photographs", "threshold", "fmr", "fmr_low", "fmr_high"),
    *("fnmr", "fnmr_low", "fnmr_high", "note"),
)


def _group_rows(sections: list[dict[str, Any]]) -> list[list[object]]:
    rows = []
    for section in sections:
        for group in section["groups"]:
            row: list[object] = [section["column"], group["name"], group["subjects"], group["images"]]
            row.append(section["threshold"])
            for kind in ("fmr", "fnmr"):
                rate = group[kind] if group[kind] and group[kind]["trials"] else {}
                row += [rate.get(name) for name in ("value", "low", "high")]
            rows.append([*row, group["note"]])
    return rows


def write_pack(
    path: str | os.PathLike[str], members: Mapping[str, bytes], *, key: SigningKey | None, device: str, time: str
) -> Path:
    """Write a new ZIP (`path` ends in .zip) or a new folder; its files have mode 0600, the folder 0700.

    Args:
        path: where to; nothing may be there.
        members: contents by name.
        key: the device's; None: nobody signs.
        device: its reference.
        time: of the pack.

    Raises:
        ExportError: something is there, or it cannot be written; nothing is left behind.
    """
    path = Path(path)
    data = _unsigned(members)
    if key is not None:
        data = build_archive(members, key=key, device=device, kind=KIND, time=time)
    if path.suffix.lower() == ".zip":
        return write_archive(path, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return _write_folder(path, {name: archive.read(name) for name in archive.namelist()})


def _unsigned(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(members.items()):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _write_folder(path: Path, members: Mapping[str, bytes]) -> Path:
    """All files beside the place first, then the folder there in one step."""
    begun: Path | None = None
    try:
        if path.exists() or path.is_symlink():
            raise FileExistsError(17, "File exists")
        begun = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))  # 0700
        for name, data in members.items():
            write_new(begun / name, [data], 0o600)
        sync_folder(begun)
        begun.rename(path)
        sync_folder(path.absolute().parent)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "this is no path"
        raise ExportError(
            f"the folder {path} cannot be written: {why}",
            hint="it is never written over: choose another name"
            if isinstance(error, FileExistsError)
            else "make room or choose another place",
        ) from None
    finally:
        if begun is not None and begun.exists():
            shutil.rmtree(begun, ignore_errors=True)
    return path


@contextlib.contextmanager
def whole_or_no_pack(path: str | os.PathLike[str]) -> Iterator[None]:
    """Remove what was written at `path` if the operation that it belongs to fails in the end."""
    there = Path(path)
    existed = there.exists() or there.is_symlink()
    try:
        yield
    except ExportError:
        raise
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                shutil.rmtree(there) if there.is_dir() else there.unlink()
        raise


def verify_pack(path: str | os.PathLike[str], keys: TrustStore) -> dict[str, bytes]:
    """The files of a pack, ZIP or folder, if one of `keys` signed them all.

    Raises:
        PackSignatureError: it is none, something in it was changed, added or removed, or another key signed it.
    """
    path = Path(path)
    try:
        members = _read_folder(path, keys) if path.is_dir() else verify_archive(path, keys)
    except ExportError:
        members = {}
    if DOCUMENT not in members:
        raise PackSignatureError(
            "this is no review pack, or not as the device signed it",
            hint="give all of it, and the public key of the device that made it",
        )
    return members


def _read_folder(path: Path, keys: TrustStore) -> dict[str, bytes]:
    try:
        entries = list(path.iterdir())
        if any(entry.is_symlink() or not entry.is_file() for entry in entries):
            return {}  # no pack has these, and reading a pipe would wait for ever
        names = sorted(entry.name for entry in entries)
        members = {name: _read(path / name) for name in names}
        statement = json.loads(_jws.verify(members.pop(STATEMENT).decode("ascii").strip(), keys, typ=STATEMENT_TYPE))
        fits = statement["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    except (OSError, ValueError, KeyError, TypeError, DecisionSignatureError):
        return {}
    return members if fits else {}


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ValueError("far too large")
    return data
