"""Making a package: check everything, fetch what is missing, and write one file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facegate_convert._files import write_file
from facegate_convert._package._app import read_app
from facegate_convert._package._contents import (
    APP,
    FORMAT,
    LEAVE_OUT,
    Item,
    Part,
    app_items,
    deb_items,
    describe,
    dump,
    engine_items,
    installer_items,
    terminal_items,
    trust_items,
    wheel_items,
)
from facegate_convert._package._debs import SUITE, fetch_debs
from facegate_convert._package._fetch import cached, fetch_wheel
from facegate_convert._package._pins import DebPin, MachinePins, WheelPin, load_pins
from facegate_convert._package._systems import check_bundle_target, choose_pythons, system
from facegate_convert._package._wheels import Wheel, find_own_wheel, glibc_of, read_wheel
from facegate_convert._package._zip import stored, zip_pieces
from facegate_convert.errors import PackageBundleError, PackageError, PackageTargetError
from facegate_edge._bundle import open_bundle, signature_document
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from facegate_convert._package._systems import System
    from facegate_edge._bundle import Bundle
    from facegate_edge._keys import SigningKey, TrustStore

    Progress = Callable[[str, int, int], None]

__all__ = ["Package", "Settings", "plan", "write_package"]

PREFIX = b"#!/usr/bin/env python3\n"
_DEBIAN_GLIBC = {"bookworm": (2, 36)}  # what packages of that release may need
_LITERT = "ai-edge-litert"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a package is made of.

    Attributes:
        target: name of the device's profile.
        bundle: the `.fgb` file.
        trust: whose signature of the bundle counts, here and on the device.
        wheels: folder with facegate's own wheels.
        cache: folder where fetched files are kept.
        key: who signs the package; None leaves it unsigned.
        pythons: those of the device's systems; the target's own if empty.
        app: the maker's program; None takes the terminal.
        name: of the package; the bundle's if "".
        version: of the package; the bundle's if "".
        offline: fetch nothing.
        pins: other pins than the project's own.
    """

    target: str
    bundle: Path
    trust: TrustStore
    wheels: Path
    cache: Path
    key: SigningKey | None = None
    pythons: tuple[str, ...] = ()
    app: Path | None = None
    name: str = ""
    version: str = ""
    offline: bool = False
    pins: Mapping[str, MachinePins] | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """A package before it is written.

    Attributes:
        document: package.json, without `files` as long as something is still to be fetched.
        items: its files so far, in their order.
        pending: pinned files that it gets beside them.
        parts: what is in it, for people.
        notes: what a maker ought to know.
    """

    document: dict[str, object]
    items: tuple[Item, ...]
    pending: tuple[WheelPin | DebPin, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    def installed(self) -> dict[str, dict[str, int]]:
        """Bytes on a device by Python: all, and those of numpy and Pillow, which every such program has."""
        pythons: list[str] = self.document["pythons"]  # type: ignore[assignment] # made below
        found = {}
        for python in pythons:
            parts = [part for part in self.parts if part.python in ("", python)]
            shared = ("numpy", "pillow", "python3-numpy", "python3-pil")
            found[python] = {
                "all": sum(part.installed for part in parts),
                "numpy_and_pillow": sum(part.installed for part in parts if part.name in shared),
            }
        return found


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a package is made of, after it was looked at."""

    chosen: System
    pins: MachinePins
    pythons: tuple[str, ...]
    own: Wheel
    items: tuple[Item, ...]
    document: dict[str, object]
    notes: tuple[str, ...]


def plan(settings: Settings) -> Package:
    """What a package would be; nothing is fetched or written.

    Raises:
        UnknownTargetError, PackageTargetError: of the target, its Pythons, or the bundle's.
        BundleError: the bundle's file or its signature.
        PackageBundleError: a device cannot decide with it.
        WheelhouseError, WheelError: facegate's own wheel.
        AppError, SecretFileError: the maker's program.
        PinError, PinHashError: the pins, or what the cache holds.
    """
    checked = _check(settings)
    pending = _pinned(checked)
    parts = describe(checked.items)
    for pin in pending:
        python = "" if isinstance(pin, DebPin) else _python(pin, checked.pythons)
        name = pin.package if isinstance(pin, DebPin) else pin.distribution
        role = "deb" if isinstance(pin, DebPin) else "engine" if name == _LITERT else "wheel"
        state = "cached" if cached(settings.cache, pin) is not None else "to fetch"
        parts.append(Part(name, pin.version, role, python, "", pin.size, 0, state))
    return Package(checked.document, checked.items, pending, tuple(parts), checked.notes)


def write_package(path: Path, settings: Settings, progress: Progress) -> tuple[Package, int, str]:
    """Make a package, all of it or nothing. The same arguments give the same bytes.

    Args:
        path: the file; one that exists is replaced in one step, mode 0644.
        settings: what it is made of.
        progress: called with what is done, how much of it, and of how much.

    Returns:
        The package, its size in bytes and its sha256.

    Raises:
        PackageError, FacegateError: as `plan`.
        FetchError: a pinned file is not to be had just now.
        OutputFileError: the package or the cache cannot be written.
    """
    checked = _check(settings)
    items = [*checked.items, *_fetch(checked, settings, progress)]
    first = [item for item in items if item.member.path == "__main__.py"]
    rest = sorted((item for item in items if item.member.path != "__main__.py"), key=lambda item: item.member.path)
    document = {**checked.document, "files": [item.to_dict() for item in (*first, *rest)]}
    listing = dump(document)
    head = [stored("package.json", listing)]
    if settings.key is not None:
        head.append(stored("package.sig", signature_document(settings.key.key_id, settings.key.sign(listing))))
    members = [*(item.member for item in first), *head, *(item.member for item in rest)]
    progress("writing", 0, 0)
    try:
        pieces = list(zip_pieces(PREFIX, members))
    except ValueError as error:
        raise PackageError(
            f"the package cannot be written: {error}", hint="are there two files of one name?"
        ) from error
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    write_file(path, pieces)
    package = Package(document, tuple(first + rest), (), tuple(describe([*first, *rest])), checked.notes)
    return package, sum(map(len, pieces)), digest.hexdigest()


def _check(settings: Settings) -> _Checked:
    """Everything that can be known before anything is fetched."""
    chosen = system(settings.target)
    pins = (settings.pins or load_pins()).get(chosen.machine)
    if pins is None:
        raise PackageTargetError(f"nothing is pinned for {chosen.machine}", hint="use another target")
    pythons = choose_pythons(chosen, settings.pythons, pins.pythons)
    with open_bundle(settings.bundle, trust=settings.trust) as bundle:
        notes = list(_check_bundle(bundle, chosen))
        manifest = bundle.manifest
        file = stored(f"bundle/{manifest.name}.fgb", bytes(bundle.file_bytes()))
        licences = " AND ".join(sorted({model.provenance.licence for model in manifest.models}))
        bundle_item = Item(file, "bundle", version=manifest.version, license=licences, installed=file.size)
        facts: dict[str, object] = {
            "path": file.path,
            "name": manifest.name,
            "version": manifest.version,
            "id": bundle.id,
            "sha256": file.sha256,
            "target": manifest.target,
        }
        demonstration = manifest.demonstration
    own = find_own_wheel(settings.wheels, VERSION, chosen.machine)
    app = terminal_items(own) if settings.app is None else app_items(read_app(settings.app))
    items = [*installer_items(own), *wheel_items(own), bundle_item, *trust_items(settings.trust), *app]
    if settings.key is None:
        notes.append("the package is not signed: a device cannot tell who made it; --key signs it")
    needs = _glibc(pins, pythons, own)
    document: dict[str, object] = {
        "format": FORMAT,
        "name": settings.name or manifest.name,
        "version": settings.version or manifest.version,
        "target": chosen.target.name,
        "machine": chosen.machine,
        "facegate": own.version,
        "pythons": list(pythons),
        "engine": {
            "name": pins.engine.wheel.distribution,
            "version": pins.engine.wheel.version,
            "glibc": pins.engine.glibc,
        },
        "bundle": facts,
        "demonstration": demonstration,
        "app": APP if settings.app is None else "own",
        "needs": {"machine": chosen.machine, "glibc": f"{needs[0]}.{needs[1]}"},
        "signed_by": settings.key.key_id if settings.key is not None else None,
        "leave_out": list(LEAVE_OUT),
    }
    return _Checked(chosen, pins, pythons, own, tuple(items), document, tuple(notes))


def _check_bundle(bundle: Bundle, chosen: System) -> Sequence[str]:
    """What to say of a bundle. Raises PackageBundleError, PackageTargetError."""
    manifest = bundle.manifest
    missing = [role for role in ("detector", "recognizer") if manifest.model(role) is None]
    if missing:
        raise PackageBundleError(
            f"the bundle {manifest.name} has no {' and no '.join(missing)}: a device cannot recognise anybody with it",
            hint="`facegate bundle build` puts several models into one bundle",
        )
    if not manifest.operating_points:
        raise PackageBundleError(
            f"the bundle {manifest.name} has no operating point: a device has no threshold to decide by",
            hint="build it with --pairs, --images or --operating-point",
        )
    notes = []
    fit = check_bundle_target(manifest.target, chosen)
    if fit.verdict != "yes":
        notes.append(f"built for {manifest.target}, the bundle runs on a {chosen.target.title} with a warning: {fit}")
    if manifest.demonstration:
        notes.append("the bundle's models are for demonstrations only: no decision of such a device is about a person")
    return notes


def _pinned(checked: _Checked) -> tuple[WheelPin | DebPin, ...]:
    pins = checked.pins
    return (pins.engine.wheel, *pins.wheels_for(checked.pythons), *pins.debs)


def _fetch(checked: _Checked, settings: Settings, progress: Progress) -> list[Item]:
    """The items of everything that is pinned; fetched where the cache has it not."""
    pins = checked.pins
    items: list[Item] = []
    total = sum(pin.size for pin in _pinned(checked))
    done = 0

    def wheel_of(pin: WheelPin) -> Wheel:
        nonlocal done
        progress(f"getting {pin.distribution} {pin.version}", done, total)
        data = fetch_wheel(pin, settings.cache, platforms=pins.platforms, offline=settings.offline)
        done += pin.size
        return read_wheel(pin.file, data, pinned=True)

    engine = wheel_of(pins.engine.wheel)
    items += engine_items(engine, pins.engine) if pins.engine.library else wheel_items(engine)
    for pin in pins.wheels_for(checked.pythons):
        items += wheel_items(wheel_of(pin), _python(pin, checked.pythons))
    if pins.debs:
        progress(f"getting {len(pins.debs)} packages of Debian {SUITE}", done, total)
        for deb, data in zip(pins.debs, fetch_debs(pins.debs, settings.cache, offline=settings.offline), strict=True):
            items += deb_items(deb, data)
    return _once(items)


def _once(items: list[Item]) -> list[Item]:
    """Licences of one version of a distribution once, though it has a wheel for each Python."""
    found: dict[str, Item] = {}
    for item in items:
        known = found.get(item.member.path)
        if known is None:
            found[item.member.path] = item
        elif item.role == "license" and known.member.sha256 == item.member.sha256:
            found[item.member.path] = replace(known, python="")
        elif item.role == "license":  # one that differs from Python to Python keeps all its texts
            path = item.member.path.replace("licenses/", f"licenses/{item.python}/", 1)
            found[path] = replace(item, member=replace(item.member, path=path))
        else:
            raise PackageError(f"two files of the package are called {item.member.path}", hint="the pins are wrong")
    return list(found.values())


def _python(pin: WheelPin, pythons: tuple[str, ...]) -> str:
    """The one Python of the package that a wheel is for, "" if it is for several."""
    served = [python for python in pythons if python in pin.pythons]
    return served[0] if len(served) == 1 and len(pythons) > 1 else ""


def _glibc(pins: MachinePins, pythons: tuple[str, ...], own: Wheel) -> tuple[int, int]:
    """The oldest C library that all of a package's machine code runs with."""
    major, minor = pins.engine.glibc.split(".")
    needs = [(int(major), int(minor)), glibc_of(own.platforms)]
    files = (pin.file.removesuffix(".whl") for pin in pins.wheels_for(pythons))
    needs += [glibc_of(tuple(file.split("-")[-1].split("."))) for file in files]
    return max([*needs, _DEBIAN_GLIBC[SUITE]] if pins.debs else needs)
