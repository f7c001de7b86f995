"""What is known about upstream models: data, no code for any of them.

The project carries no weights of others. It carries what somebody needs to fetch them and to know what they got: where
they are, their hash, their licence, what they are fed, and what their publishers say of them.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from facegate_convert.errors import CatalogueError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
MAX_SIZE = 1 << 30  # no face model of an edge device comes near
_MAX_FILE = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ROLES = ("detector", "recognizer", "liveness")
_COMMERCIAL = ("yes", "no", "unclear")
_CHECKED = ("bytes", "pointer", "published")


@dataclass(frozen=True, slots=True)
class Licence:
    """Under which terms weights may be used.

    Attributes:
        id: what is accepted by name, e.g. "apache-2.0".
        title: for people.
        spdx: SPDX expression, for manifests.
        url: of its text.
    """

    id: str
    title: str
    spdx: str
    url: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A figure that somebody published: not measured by this project.

    Attributes:
        dataset, metric: what was measured.
        value: 0..1.
        source: where it is published.
    """

    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One upstream model.

    Attributes:
        name: in the catalogue.
        title: for people.
        role, family: what it does, and how it is read (docs/convert.md).
        file: name that the file is stored under.
        size: bytes.
        sha256: of the bytes, hex.
        repository: owner/name.
        pinned: the commit or release that `url` names.
        url: https.
        checked: how the hash is known: "bytes" (the file was at hand), "pointer" (the repository's own Git LFS
            pointer at that commit), "published" (by others).
        licence: of the weights.
        commercial_use: "yes", "no" or "unclear", a reading of the licence and no legal advice.
        input: size of the image that it is fed, "open" if the file leaves it open.
        preprocessing: color order and normalization, in words.
        convert: options that `facegate convert` needs for it.
        trained_on: data, as far as published.
        accuracy: published figures.
        notes: what else one should know.
    """

    name: str
    title: str
    role: str
    family: str
    file: str
    size: int
    sha256: str
    repository: str
    pinned: str
    url: str
    checked: str
    licence: Licence
    commercial_use: str
    input: str
    preprocessing: Mapping[str, str]
    convert: tuple[str, ...]
    trained_on: str
    accuracy: tuple[Accuracy, ...]
    notes: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        data = {name: getattr(self, name) for name in self.__slots__}
        data["licence"] = {name: getattr(self.licence, name) for name in Licence.__slots__}
        data["accuracy"] = [{name: getattr(a, name) for name in Accuracy.__slots__} for a in self.accuracy]
        return data | {"preprocessing": dict(self.preprocessing), "convert": list(self.convert)}

    def command(self, path: Path | str) -> list[str]:
        """The command that converts the file at `path`, with its licence stated."""
        commercial = {"unclear": "unknown"}.get(self.commercial_use, self.commercial_use)
        stated = ["--licence", self.licence.spdx, "--commercial-use", commercial]
        return ["facegate", "convert", str(path), *self.convert, *stated]


def catalogue(path: Path | None = None) -> dict[str, Entry]:
    """The entries by name: the project's, or those of a file of the same form.

    Raises:
        CatalogueError: the file cannot be read, or says something that makes no sense.
    """
    if path is None:
        text = resources.files("facegate_convert._catalogue").joinpath("catalogue.json").read_bytes()
        return _parse(text, "the catalogue")
    try:
        if path.stat().st_size > _MAX_FILE:
            raise CatalogueError(f"{path} is too large for a catalogue", hint="name a catalogue's JSON file")
        return _parse(path.read_bytes(), str(path))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}", hint="check the name and its mode") from error


def find(entries: Mapping[str, Entry], name: str) -> Entry:
    """The entry of that name.

    Raises:
        UnknownModelError: there is none.
    """
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, 1)
    raise UnknownModelError(
        f"the catalogue has no model {name!r}",
        hint=f"did you mean {near[0]}?" if near else "`facegate models list` shows what it has",
    )


def identify(entries: Mapping[str, Entry], sha256: str) -> Entry | None:
    """The entry whose bytes have this hash (hex)."""
    return next((entry for entry in entries.values() if entry.sha256 == sha256), None)


def _parse(text: bytes, where: str) -> dict[str, Entry]:
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise CatalogueError(
                f"{where} has format {data['format']!r}, this version reads {FORMAT}", hint="update facegate"
            )
        licences = {
            key: Licence(key, **{k: str(v) for k, v in value.items()}) for key, value in data["licences"].items()
        }
        entries = [_entry(item, licences) for item in data["models"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(
            f"{where} is no catalogue: {type(error).__name__}", hint="docs/models.md says what an entry must have"
        ) from error
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise CatalogueError(f"{where} names a model twice", hint="give every entry a name of its own")
    return {entry.name: entry for entry in entries}


def _entry(item: dict[str, Any], licences: Mapping[str, Licence]) -> Entry:
    fields = dict(item)
    fields["licence"] = licences[fields["licence"]]
    fields["accuracy"] = tuple(Accuracy(**figure) for figure in fields["accuracy"])
    fields["convert"] = tuple(map(str, fields["convert"]))
    entry = Entry(**fields)
    address = urlsplit(entry.url)
    problems = {
        "name": not _NAME.fullmatch(entry.name),
        # A file's name becomes a path: no folder, no dot at its start.
        "file": not _FILE.fullmatch(entry.file),
        "sha256": not _HASH.fullmatch(entry.sha256),
        "size": type(entry.size) is not int or not 0 < entry.size <= MAX_SIZE,
        "url": address.scheme != "https" or not address.hostname or "@" in address.netloc,
        "role": entry.role not in _ROLES,
        "commercial_use": entry.commercial_use not in _COMMERCIAL,
        "checked": entry.checked not in _CHECKED,
        "accuracy": any(not 0 <= figure.value <= 1 for figure in entry.accuracy),
    }
    for field, wrong in problems.items():
        if wrong:
            raise CatalogueError(
                f"the catalogue's entry {str(item.get('name'))[:64]!r} has a {field} that makes no sense",
                hint="docs/models.md says what an entry must have",
            )
    return entry
