"""The manifest of an evaluation: which photographs, of whom, by what right; a run can be repeated from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import DatasetChangedError, ResultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from facegate_convert._evaluate._dataset import Dataset

FORMAT = "facegate-dataset"
VERSION = 1
_HINT = "name a manifest.json that `facegate evaluate run` wrote"
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """What a dataset was when it was evaluated. It names files and people: it stays with the evaluator.

    Attributes:
        kind, fingerprint: as the dataset's.
        lawful_basis: by what right the photographs are processed, in the evaluator's words.
        photographs: (name, sha256, identity) of each, by name.
        pairs_sha256, attributes_sha256: of those files' bytes, "" without one.
        presentations: (name, sha256, species) of each photograph for liveness.
    """

    kind: str
    fingerprint: str
    lawful_basis: str
    photographs: tuple[tuple[str, str, str], ...]
    pairs_sha256: str = ""
    attributes_sha256: str = ""
    presentations: tuple[tuple[str, str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """The manifest's file: JSON, the same bytes for the same dataset."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "lawful_basis": self.lawful_basis,
            "pairs_sha256": self.pairs_sha256,
            "attributes_sha256": self.attributes_sha256,
            "photographs": [list(row) for row in self.photographs],
            "presentations": [list(row) for row in self.presentations],
        }
        return json.dumps(document, ensure_ascii=True, indent=0).encode() + b"\n"

    @property
    def sha256(self) -> str:
        """Of the manifest's file, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def make_manifest(
    dataset: Dataset,
    *,
    lawful_basis: str,
    pairs: Path | None = None,
    attributes: Path | None = None,
    presentations: Dataset | None = None,
) -> DatasetManifest:
    """The manifest of what is evaluated now."""
    return DatasetManifest(
        dataset.kind,
        dataset.fingerprint,
        lawful_basis,
        _rows(dataset),
        _sha256(pairs),
        _sha256(attributes),
        _rows(presentations) if presentations is not None else (),
    )


def load_manifest(path: Path) -> DatasetManifest:
    """Read a manifest.

    Raises:
        ResultError: it cannot be read, or is none.
    """
    document = load_document(path, FORMAT, VERSION, _HINT)
    try:
        texts = [document[k] for k in ("kind", "fingerprint", "lawful_basis", "pairs_sha256", "attributes_sha256")]
        lists = [tuple(tuple(row) for row in document[name]) for name in ("photographs", "presentations")]
        fits = all(isinstance(t, str) for t in texts) and all(
            len(row) == 3 and all(isinstance(cell, str) for cell in row)  # noqa: PLR2004 - name, sha256, whose
            for rows in lists
            for row in rows
        )
    except (KeyError, TypeError) as error:
        raise ResultError(f"{path} lacks what a manifest holds", hint=_HINT) from error
    if not fits:
        raise ResultError(f"{path} holds what a manifest does not", hint=_HINT)
    return DatasetManifest(texts[0], texts[1], texts[2], lists[0], texts[3], texts[4], lists[1])


def load_document(path: Path, name: str, version: int, hint: str) -> Mapping[str, Any]:
    """A JSON document of one of our formats. Raises ResultError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ResultError(f"{path} is too large", hint=hint)
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{path} cannot be read: {type(error).__name__}", hint=hint) from error
    if not isinstance(document, dict) or document.get("format") != name:
        raise ResultError(f"{path} is no {name} document", hint=hint)
    if document.get("version") != version:
        raise ResultError(
            f"{path} has version {document.get('version')!r}, this facegate reads {version}", hint="update facegate"
        )
    return document


def check_manifest(manifest: DatasetManifest, now: DatasetManifest) -> None:
    """Refuse a dataset that is not the manifest's.

    Raises:
        DatasetChangedError: saying what differs, by number; names of people's files are not told.
    """
    for what, before, after in (
        ("photographs", manifest.photographs, now.photographs),
        ("photographs for liveness", manifest.presentations, now.presentations),
    ):
        old, new = ({row[0]: row[1:] for row in rows} for rows in (before, after))
        missing, more = len(old.keys() - new.keys()), len(new.keys() - old.keys())
        changed = sum(old[name] != new[name] for name in old.keys() & new.keys())
        if missing or more or changed:
            raise DatasetChangedError(
                f"the {what} are not those of the manifest: {missing} missing, {more} new, {changed} changed or filed "
                "under somebody else",
                hint="bring the dataset back to what it was, or leave --manifest out and evaluate it anew",
            )
    for what, first, second in (
        ("pairs file", manifest.pairs_sha256, now.pairs_sha256),
        ("attributes", manifest.attributes_sha256, now.attributes_sha256),
        ("comparisons", manifest.fingerprint, now.fingerprint),
    ):
        if first != second:
            raise DatasetChangedError(
                f"the {what} are not those of the manifest",
                hint="give the same files and options, or leave --manifest out",
            )


def _rows(dataset: Dataset) -> tuple[tuple[str, str, str], ...]:
    people = (dataset.identities[i] for i in dataset.identity.tolist())
    return tuple(sorted(zip(dataset.names, dataset.sha256, people, strict=True)))


def _sha256(path: Path | None) -> str:
    from facegate_convert._images import file_sha256  # noqa: PLC0415 - where it is used

    return "" if path is None else file_sha256(path)
