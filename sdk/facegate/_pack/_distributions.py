"""The software of this installation: the closure of what facegate needs, as its own metadata says.

Nothing is imported and nothing is asked of a registry: what is told is what is on this disk.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from facegate._pack._markers import applies, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENGINE", "EXTRAS", "NAME", "Distribution", "Library", "find_distributions", "normalize"]

NAME = "facegate"
ENGINE = "ai-edge-litert"
EXTRAS = ("terminal", "tpm", "webhook")
"""Extras of facegate for devices; what they bring is named where it is installed."""

# The library that runs the models, in the distribution of each engine.
_ENGINES = {ENGINE: re.compile(r"libLiteRt\.so"), "tflite-runtime": re.compile(r"_pywrap_.*\.so")}
_MAX_LICENCE = 80
_SHARED = re.compile(r"\.so(\.[0-9.]+)?")
_WORDS = {
    "apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "mit license": "MIT", "mit": "MIT", "mozilla public license 2.0 (mpl 2.0)":
    "MPL-2.0", "python software foundation license": "PSF-2.0", "isc license (iscl)": "ISC",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library that a distribution carries."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that is installed.

    Attributes:
        name: normalized.
        version: as it says.
        licence: as it says: an SPDX expression, a name, or "unknown".
        required: whether facegate does not run without it; else an extra of facegate wants it.
        needs: names of the others of the closure that it asks for.
        missing: names that it asks for here, and that are not installed.
        libraries: the shared libraries that facegate runs models with, or that come from a third project.
    """

    name: str
    version: str
    licence: str
    required: bool
    needs: tuple[str, ...]
    missing: tuple[str, ...]
    libraries: tuple[Library, ...]


def normalize(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_distributions() -> tuple[Distribution, ...]:
    """Facegate and all that it needs here, facegate first, the others by name. Empty if it is not installed."""
    required = _closure({NAME: frozenset()})
    if NAME not in required:
        return ()
    every = _closure({NAME: frozenset(EXTRAS)})
    made = [_describe(name, extras, required=name in required, among=every) for name, extras in every.items()]
    return tuple(sorted(made, key=lambda found: (found.name != NAME, found.name)))


def _find(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _closure(wanted: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """All that is installed of what these need, and with which extras."""
    found: dict[str, frozenset[str]] = {}
    while wanted:
        name, extras = wanted.popitem()
        distribution = _find(name)
        if distribution is None or (name in found and found[name] >= extras):
            continue
        found[name] = found.get(name, frozenset()) | extras
        for needed, more in _requirements(distribution, found[name]):
            wanted[needed] = wanted.get(needed, frozenset()) | more
    return found


def _requirements(distribution: metadata.Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in distribution.requires or ():
        try:
            name, more, marker = parse_requirement(text)
        except ValueError:
            continue
        if any(applies(marker, extra) for extra in ("", *sorted(extras))):
            yield normalize(name), frozenset(more)


def _describe(name: str, extras: frozenset[str], *, required: bool, among: dict[str, frozenset[str]]) -> Distribution:
    distribution = _find(name)
    assert distribution is not None  # noqa: S101 - the closure has found it
    asked = {needed for needed, _ in _requirements(distribution, extras)}
    always = {needed for needed, _ in _requirements(distribution, frozenset())}
    return Distribution(
        name=name,
        version=distribution.version or "unknown",
        licence=_licence(distribution),
        required=required,
        needs=tuple(sorted(asked & among.keys())),
        missing=tuple(sorted(always - among.keys())),
        libraries=tuple(sorted(_libraries(name, distribution), key=lambda library: library.name)),
    )


def _licence(distribution: metadata.Distribution) -> str:
    """What the metadata says of the licence, the most exact statement first; nothing is guessed."""
    said = distribution.metadata
    expression = _field(said, "License-Expression")
    if expression:
        return expression[:_MAX_LICENCE]
    short = _field(said, "License")
    if short and "\n" not in short and len(short) <= _MAX_LICENCE and short.upper() != "UNKNOWN":
        return _WORDS.get(short.lower(), short)
    kinds = [text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or () if text.startswith("License ::")]
    return "; ".join(_WORDS.get(kind.lower(), kind) for kind in kinds) or "unknown"


def _field(said: metadata.PackageMetadata, name: str) -> str:
    return str(said[name]).strip() if name in said else ""


def _libraries(name: str, distribution: metadata.Distribution) -> Iterator[Library]:
    """The engine's library, facegate's kernels, and libraries of third projects that a wheel brings in NAME.libs."""
    if name == NAME:
        import facegate_edge  # noqa: PLC0415 - an editable installation does not list its files

        yield from _read(Path(str(facegate_edge.__file__)).parent.glob("_native*.so"))
        return
    files = distribution.files or ()
    third = [f for f in files if len(f.parts) > 1 and f.parts[0].endswith(".libs") and _SHARED.search(f.name)]
    if name in _ENGINES:
        third += [f for f in files if _ENGINES[name].fullmatch(f.name)]
    yield from _read(Path(str(distribution.locate_file(file))) for file in third)


def _read(paths: Iterator[Path]) -> Iterator[Library]:
    for path in paths:
        try:
            with path.open("rb") as file:
                digest, size = hashlib.sha256(), 0
                while piece := file.read(1 << 20):
                    digest.update(piece)
                    size += len(piece)
        except OSError:
            continue
        yield Library(path.name, size, digest.hexdigest())
