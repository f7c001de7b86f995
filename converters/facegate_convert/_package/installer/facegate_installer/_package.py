"""A device package: its list of files, its signature, and the check that it holds exactly these files."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from facegate_installer._archive import MAX_MEMBER, Archive
from facegate_installer._errors import PackageError, PackageHashError
from facegate_installer._trust import Signature, parse_signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["LIST", "SIGNATURE", "Info", "Item", "Package", "parse_info"]

LIST, SIGNATURE = "package.json", "package.sig"
FORMAT = 1
_MAX_LIST, _MAX_SIGNATURE = 4 * 1024**2, 1024
_MAX_PATH = 240
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~%@=-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+~%@=-]*)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(
    r"\d{1,9}(?:\.\d{1,9}){0,5}(?:[-._]?[A-Za-z0-9][A-Za-z0-9.-]{0,31})?(?:\+[A-Za-z0-9.]{1,32})?", re.ASCII
)
_PYTHON = re.compile(r"3\.\d{1,2}", re.ASCII)
_GLIBC = re.compile(r"\d{1,2}\.\d{1,3}", re.ASCII)
_FOLDER = re.compile(r"[A-Za-z0-9_]+/")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Where files of a role may be, so that none can be mistaken for one of another role.
_PLACES = {
    "installer": re.compile(r"__main__\.py|facegate_installer/[a-z0-9_]+\.py"),
    "wheel": re.compile(r"wheels/[^/]+\.whl"),
    "engine": re.compile(r"engine/.+"),
    "bundle": re.compile(r"bundle/[^/]+\.fgb"),
    "trust": re.compile(r"trust/[^/]+\.pub"),
    "unit": re.compile(r"units/[a-z0-9][a-z0-9@_-]*\.(?:service|timer|path|socket|target)"),
    "app": re.compile(r"app/.+"),
    "deb": re.compile(r"debs/[^/]+\.deb"),
    "license": re.compile(r"(?!facegate_installer/|app/|units/|trust/|bundle/)[^/]+/.+"),
}
_HINT = "the package is damaged, or was made by something else than `facegate package`"


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the package.

    Attributes:
        path: its name in the archive.
        size: in bytes, uncompressed.
        sha256: 64 hex digits.
        role: what it is for; a key of `_PLACES`.
        python: "3.11": only for that one; None: for all.
        distribution: what it belongs to, or "".
        version: of that, or "".
    """

    path: str
    size: int
    sha256: str
    role: str
    python: str | None
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Info:
    """package.json.

    Attributes:
        name: of the package; the same from one version to the next.
        version: what upgrades are compared by.
        target: the profile it was made for, e.g. "rpi4".
        machine: as `uname -m` says it.
        facegate: the version of facegate in it.
        pythons: "3.11", ...: those that it has wheels for.
        glibc: the oldest C library that it runs with, e.g. "2.34"; "" if it says nothing.
        bundle: name, version, id, path, sha256 of the bundle; empty if there is none.
        leave_out: beginnings of names in facegate's own wheel that a device does not get, e.g. "facegate_convert/".
        items: its files.
        sha256: of package.json itself: the identity of the whole content.
    """

    name: str
    version: str
    target: str
    machine: str
    facegate: str
    pythons: tuple[str, ...]
    glibc: str
    bundle: dict[str, str]
    leave_out: tuple[str, ...]
    items: tuple[Item, ...]
    sha256: str

    @property
    def id(self) -> str:
        """The name of its folder among the installed versions."""
        return f"{self.version}-{self.sha256[:12]}"

    def of(self, role: str) -> list[Item]:
        """The files of a role."""
        return [item for item in self.items if item.role == role]


class Package:
    """A package's file: opened, its list read; `verify` reads everything else.

    Raises:
        PackageError: no package, damaged, or it holds other files than its list.
        PackageSignatureError: package.sig is malformed. Whom it is by nobody has asked yet.
    """

    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)
        try:
            self.list = self.archive.read(LIST, _MAX_LIST)
            self.info = parse_info(self.list)
            self.signature: Signature | None = None
            self.signature_text = b""
            if SIGNATURE in self.archive.members:
                self.signature_text = self.archive.read(SIGNATURE, _MAX_SIGNATURE)
                self.signature = parse_signature(self.signature_text)
            self._check_members()
        except BaseException:
            self.archive.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def verify(self) -> None:
        """Read every file and compare its sha256. Raises PackageHashError, PackageError."""
        for item in self.info.items:
            self.copy(item, lambda _: None)

    def read(self, item: Item) -> bytes:
        """The bytes of a small file, checked. Raises PackageHashError, PackageError."""
        parts: list[bytes] = []
        self.copy(item, parts.append)
        return b"".join(parts)

    def seekable(self, item: Item) -> IO[bytes]:
        """A file of the package as one that can be sought in; its hash is not checked."""
        return self.archive.open(item.path)

    def copy(self, item: Item, write: Callable[[bytes], object]) -> None:
        """Give a file's bytes to `write`, piece by piece; what was given counts only if this returns.

        Raises:
            PackageHashError: it is another file than the list names.
            PackageError: the archive is damaged.
        """
        digest = hashlib.sha256()
        for chunk in self.archive.chunks(item.path):
            digest.update(chunk)
            write(chunk)
        if digest.hexdigest() != item.sha256:
            raise PackageHashError(
                f"{item.path} is not the file that package.json lists",
                hint="the package was damaged or tampered with: copy it again, compare its sha256 with its packager's",
            )

    def _check_members(self) -> None:
        listed = {LIST, SIGNATURE} | {item.path for item in self.info.items}
        extra = sorted(set(self.archive.members) - listed)
        missing = sorted(listed - {SIGNATURE} - set(self.archive.members))
        if extra:
            raise PackageError(f"the package holds a file that it does not list: {extra[0]!r}", hint=_HINT)
        if missing:
            raise PackageError(f"the package lacks {missing[0]!r}, which it lists", hint=_HINT)
        for item in self.info.items:
            if self.archive.members[item.path].file_size != item.size:
                raise PackageHashError(f"{item.path} has not the size that package.json lists", hint=_HINT)


def parse_info(data: bytes) -> Info:
    """Read package.json strictly; fields that are not known here are passed over. Raises PackageError."""
    try:
        document: Any = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise PackageError("package.json is not JSON", hint=_HINT) from None
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise _wrong("format")
    if document["format"] != FORMAT:
        raise PackageError(
            f"the package has format {document['format']}, this installer reads {FORMAT}",
            hint="nothing was checked of it yet: compare its sha256 with its packager's, and only then run its own "
            "installer: sudo python3 -I PACKAGE.pyz install --trust KEY.pub",
        )
    needs = document.get("needs") or {}
    bundle = document.get("bundle") or {}
    if not isinstance(needs, dict) or not isinstance(bundle, dict):
        raise _wrong("needs" if isinstance(bundle, dict) else "bundle")
    pythons = document.get("pythons")
    if not isinstance(pythons, list) or not pythons:
        raise _wrong("pythons")
    leave_out = document.get("leave_out", [])
    if not isinstance(leave_out, list):
        raise _wrong("leave_out")
    return Info(
        leave_out=tuple(_text({"leave_out": each}, "leave_out", _FOLDER) for each in leave_out),
        name=_text(document, "name", _NAME),
        version=_text(document, "version", _VERSION),
        target=_text(document, "target", _NAME),
        machine=_text(document, "machine", _NAME),
        facegate=_text(document, "facegate", _VERSION),
        pythons=tuple(_text({"pythons": python}, "pythons", _PYTHON) for python in pythons),
        glibc=_text(needs, "glibc", _GLIBC) if needs.get("glibc") else "",
        bundle={name: value for name, value in bundle.items() if type(value) is str},
        items=_items(document.get("files")),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _items(files: Any) -> tuple[Item, ...]:
    if not isinstance(files, list) or not files:
        raise _wrong("files")
    items = [_item(number, file) for number, file in enumerate(files)]
    folded = {item.path.lower() for item in items}
    if len(folded) != len(items):
        raise _wrong("files: one is there twice")
    if not any(item.path == "facegate_installer/_cli.py" for item in items):
        raise _wrong("files: the installer is missing")
    return tuple(items)


def _item(number: int, file: Any) -> Item:
    where = f"files[{number}]"
    if not isinstance(file, dict):
        raise _wrong(where)
    path, size, python = _text(file, "path", _PATH), file.get("size"), file.get("python")
    role = _text(file, "role", _NAME)
    place = _PLACES.get(role)
    if len(path) > _MAX_PATH or place is None or not place.fullmatch(path):
        raise _wrong(f"{where}: {path!r} as {role!r}")
    if type(size) is not int or not 0 <= size <= MAX_MEMBER:
        raise _wrong(f"{where}.size")
    if python is not None:
        python = _text(file, "python", _PYTHON)
    said = [file.get(name) for name in ("distribution", "version")]
    told = [text if type(text) is str and text.isprintable() else "" for text in said]
    return Item(path, size, _text(file, "sha256", _DIGEST), role, python, *told)


def _text(document: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = document.get(name)
    if type(value) is not str or not form.fullmatch(value):
        raise _wrong(name)
    return value


def _wrong(what: str) -> PackageError:
    return PackageError(f"package.json holds what it cannot: {what}", hint=_HINT)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _refuse(text: str) -> None:
    raise ValueError(text)
