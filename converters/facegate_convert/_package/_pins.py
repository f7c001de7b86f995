"""The pinned wheels and Debian packages of each architecture: data, `pins.json`, which `pin` writes.

A package is made of these very files: what is downloaded, from wherever, counts only if its sha256 is the pinned one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import PinError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PINS", "DebPin", "EnginePin", "MachinePins", "WheelPin", "load_pins"]

PINS = Path(__file__).with_name("pins.json")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class WheelPin:
    """A wheel.

    Attributes:
        distribution: e.g. "numpy", as the index calls it.
        version: exact.
        file: its name.
        sha256: hex.
        size: bytes.
        pythons: which it is for, e.g. ("3.11",).
    """

    distribution: str
    version: str
    file: str
    sha256: str
    size: int
    pythons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnginePin:
    """What runs models.

    Attributes:
        wheel: that it comes from.
        glibc: the oldest C library that its machine code runs with, which a wheel's tag may understate.
        library: the one file of it that is needed, sha256 hex; "" if the whole wheel is.
    """

    wheel: WheelPin
    glibc: str
    library: str


@dataclass(frozen=True, slots=True)
class DebPin:
    """A Debian package.

    Attributes:
        package: its name.
        version: exact, with the epoch.
        file: its name in the archive.
        sha256: hex.
        size: bytes.
        provides: the Python distribution that it brings, "" if it is a library.
    """

    package: str
    version: str
    file: str
    sha256: str
    size: int
    provides: str


@dataclass(frozen=True, slots=True)
class MachinePins:
    """All pins of an architecture.

    Attributes:
        machine: "x86_64", "aarch64", "armv7l".
        pythons: that it has wheels for.
        platforms: the wheel platforms of its systems, as pip knows them, the newest first.
        engine: what runs models there.
        wheels: the dependencies.
        debs: those that have no wheel there.
    """

    machine: str
    pythons: tuple[str, ...]
    platforms: tuple[str, ...]
    engine: EnginePin
    wheels: tuple[WheelPin, ...]
    debs: tuple[DebPin, ...]

    def wheels_for(self, pythons: tuple[str, ...]) -> tuple[WheelPin, ...]:
        """The dependencies that a package for these Pythons needs."""
        return tuple(wheel for wheel in self.wheels if set(wheel.pythons) & set(pythons))


def load_pins(path: Path | None = None) -> Mapping[str, MachinePins]:
    """The pins by architecture.

    Args:
        path: another file; the project's own if None.

    Raises:
        PinError: there is no such file, or it is none of this form.
    """
    source = PINS if path is None else path
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise PinError(f"{source} is of another format than {FORMAT}", hint="use the file of this version")
        return {name: _machine(name, fields) for name, fields in document["machines"].items()}
    except OSError as error:
        raise PinError(f"{source} cannot be read: {error.strerror}", hint="reinstall facegate") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PinError(f"{source} holds no pins: {type(error).__name__}", hint="reinstall facegate") from error


def _machine(name: str, fields: dict[str, Any]) -> MachinePins:
    engine = fields["engine"]
    return MachinePins(
        machine=name,
        pythons=tuple(fields["pythons"]),
        platforms=tuple(fields["platforms"]),
        engine=EnginePin(_wheel(engine["wheel"]), str(engine["glibc"]), str(engine["library"])),
        wheels=tuple(map(_wheel, fields["wheels"])),
        debs=tuple(
            DebPin(d["package"], d["version"], _name(d["file"]), _sha256(d["sha256"]), int(d["size"]), d["provides"])
            for d in fields["debs"]
        ),
    )


def _wheel(fields: dict[str, Any]) -> WheelPin:
    return WheelPin(
        fields["distribution"],
        fields["version"],
        _name(fields["file"]),
        _sha256(fields["sha256"]),
        int(fields["size"]),
        tuple(fields["pythons"]),
    )


def _name(text: str) -> str:
    """A file's name that is nothing else: it is joined to a folder."""
    if not text or "/" in text or text.startswith("."):
        raise ValueError("no file name")
    return text


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):  # noqa: PLR2004 - hex digits of 256 bits
        raise ValueError("no sha256")
    return text
