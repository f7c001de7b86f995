"""What is in a package, piece by piece, and `package.json`, which lists it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate_convert._package._debs import deb_facts
from facegate_convert._package._wheels import OWN, normalize
from facegate_convert._package._zip import Member, moved, stored
from facegate_convert.errors import PackageError, WheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from facegate_convert._package._pins import DebPin, EnginePin
    from facegate_convert._package._wheels import Wheel
    from facegate_edge._keys import TrustStore

__all__ = ["APP", "FORMAT", "LEAVE_OUT", "Item", "Part", "describe"]

FORMAT = 1
APP = "facegate_terminal"
# Of facegate's own wheel a device installs neither the converter nor the training; the terminal stands in app/.
LEAVE_OUT = ("facegate_convert/", "facegate_train/", f"{APP}/")
_HERE = Path(__file__).parent
_ENGINE_PACKAGE = "ai_edge_litert"


# Roles whose files are one line for people.
_GROUPS = {
    "app": "terminal",
    "bundle": "bundle",
    "installer": "installer",
    "license": "licences",
    "trust": "trusted keys",
    "unit": "units",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a package.

    Attributes:
        member: its name and bytes.
        role: "wheel", "engine", "bundle", "trust", "unit", "app", "deb", "license", "installer".
        python: the one that it is for, e.g. "3.11"; "" if it is for all.
        distribution: what it belongs to, "" if it is no software.
        version: of that.
        license: of that, as an expression or in its own words.
        installed: bytes that it takes up on a device. Licences: 0, they are in what is installed as well.
    """

    member: Member
    role: str
    python: str = ""
    distribution: str = ""
    version: str = ""
    license: str = ""
    installed: int = 0

    def to_dict(self) -> dict[str, object]:
        """As package.json lists it."""
        return {
            "path": self.member.path,
            "size": self.member.size,
            "sha256": self.member.sha256,
            "role": self.role,
            "python": self.python or None,
            "distribution": self.distribution or None,
            "version": self.version or None,
            "license": self.license or None,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """What a person wants to know of a piece of a package.

    Attributes:
        name: e.g. "numpy".
        version: of it.
        role: as in `Item`.
        python: the one that it is for, "" if for all.
        license: of it.
        packed: bytes in the package.
        installed: bytes on a device; 0 if it was not fetched yet.
        state: "cached", "to fetch", or "" for what is on the build host anyway.
    """

    name: str
    version: str
    role: str
    python: str
    license: str
    packed: int
    installed: int
    state: str = ""


def wheel_items(wheel: Wheel, python: str = "") -> Iterator[Item]:
    """A wheel and its licences."""
    own = normalize(wheel.distribution) == OWN
    installed = wheel.size_without(LEAVE_OUT) if own else wheel.size
    name = normalize(wheel.distribution)
    facts: dict[str, Any] = {"python": python, "distribution": name, "version": wheel.version, "license": wheel.license}
    yield Item(stored(f"wheels/{wheel.file}", wheel.data), "wheel", **facts, installed=installed)
    for item in _licences(wheel):
        yield replace(item, python=python)


def engine_items(wheel: Wheel, pin: EnginePin) -> Iterator[Item]:
    """The one library of LiteRT that runs models, and what says that it is there; none of what its wheel asks for.

    Raises:
        WheelError: the library is not the one that was pinned.
    """
    facts: dict[str, Any] = {
        "distribution": normalize(wheel.distribution),
        "version": wheel.version,
        "license": wheel.license,
    }
    library = f"{_ENGINE_PACKAGE}/libLiteRt.so"
    metadata = f"{_ENGINE_PACKAGE}-{wheel.version}.dist-info/METADATA"
    licences = [info.filename for info in wheel.licences()]
    for name in (library, metadata, *licences):
        member = moved(f"engine/{name}", wheel.archive, wheel.data, wheel.member(name))
        if name == library and member.sha256 != pin.library:
            raise WheelError(f"{wheel.file} holds another {library} than the pinned one", hint="make the pins anew")
        yield Item(member, "engine", **facts, installed=member.size)
    yield Item(stored(f"engine/{_ENGINE_PACKAGE}/__init__.py", b""), "engine", **facts)
    yield from _licences(wheel)


def terminal_items(wheel: Wheel) -> list[Item]:
    """The access terminal, as facegate's own wheel holds it.

    Raises:
        PackageError: it holds none.
    """
    prefix = f"{APP}/"
    found = [
        moved(f"app/{info.filename}", wheel.archive, wheel.data, info)
        for info in wheel.archive.infolist()
        if info.filename.startswith(prefix) and not info.is_dir()
    ]
    if f"app/{prefix}__main__.py" not in {member.path for member in found}:
        raise PackageError(
            f"{wheel.file} holds no terminal program", hint="build the wheels anew, or name your own program with --app"
        )
    return [_own(member, "app", wheel) for member in found]


def app_items(members: Iterable[Member]) -> list[Item]:
    """The maker's own program."""
    return [Item(member, "app", installed=member.size) for member in members]


def installer_items(wheel: Wheel) -> list[Item]:
    """The installer and the units, as they stand in this package."""
    installer = _tree(_HERE / "installer", "", ("__main__.py", "facegate_installer/*.py"))
    units = _tree(_HERE / "units", "units/", ("*.*",))
    return [*(_own(m, "installer", wheel) for m in installer), *(_own(m, "unit", wheel) for m in units)]


def trust_items(trust: TrustStore) -> list[Item]:
    """The public keys that the device is to trust."""
    return [_key(key.key_id, key.to_pem()) for key in trust]


def deb_items(pin: DebPin, data: bytes) -> Iterator[Item]:
    """A Debian package and its licences."""
    size, names, text = deb_facts(pin.file, data)
    facts: dict[str, Any] = {"distribution": pin.package, "version": pin.version, "license": names}
    yield Item(stored(f"debs/{pin.file}", data), "deb", **facts, installed=size)
    if text:
        yield Item(stored(f"licenses/{pin.package}/copyright", text), "license", **facts)


def describe(items: Sequence[Item]) -> list[Part]:
    """The pieces of a package for people: files that belong together are one."""
    merged: dict[tuple[str, ...], Part] = {}
    for item in items:
        own_program = item.role == "app" and not item.distribution
        grouped = item.role in _GROUPS
        name = "program" if own_program else _GROUPS.get(item.role, item.distribution)
        key = (item.role, name, "" if grouped else item.python)
        old = merged.get(key)
        packed, installed = len(item.member.payload), item.installed
        merged[key] = Part(
            name=name,
            version=item.version if item.role == "bundle" or not grouped else "",
            role=item.role,
            python=key[2],
            license=item.license if item.role == "bundle" or not grouped else "",
            packed=packed + (old.packed if old else 0),
            installed=installed + (old.installed if old else 0),
        )
    return list(merged.values())


def dump(document: dict[str, Any]) -> bytes:
    """package.json's bytes; there is one spelling only."""
    return json.dumps(document, indent=1, ensure_ascii=True).encode("ascii") + b"\n"


def _own(member: Member, role: str, wheel: Wheel) -> Item:
    return Item(member, role, distribution=OWN, version=wheel.version, license=wheel.license, installed=member.size)


def _key(key_id: str, pem: bytes) -> Item:
    member = stored(f"trust/{key_id}.pub", pem)
    return Item(member, "trust", installed=member.size)


def _licences(wheel: Wheel) -> Iterator[Item]:
    name = normalize(wheel.distribution)
    for info in wheel.licences():
        inner = info.filename.partition(".dist-info/")[2].removeprefix("licenses/")
        path = f"licenses/{name}-{wheel.version}/{inner.encode('ascii', 'replace').decode('ascii').replace('?', '_')}"
        member = moved(path, wheel.archive, wheel.data, info)
        yield Item(member, "license", distribution=name, version=wheel.version, license=wheel.license)


def _tree(folder: Path, prefix: str, patterns: tuple[str, ...]) -> list[Member]:
    """Files of this package itself; what tools leave beside them (caches) matches no pattern."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return [stored(prefix + path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths]
