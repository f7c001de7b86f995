"""Install, upgrade, roll back. The order is what makes a power loss harmless: unpack, sync, rename, swap one link."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from facegate_installer import _gate, _system
from facegate_installer._disk import exchange, locked, put_link, remove_tree, sync_folder, told, write_file
from facegate_installer._errors import (
    DowngradeError,
    NotInstalledError,
    StateError,
    UsageError,
)
from facegate_installer._machine import check_fit, find_machine
from facegate_installer._trust import PublicKey, check_signature, load_trust
from facegate_installer._unpack import check_room, remove_unfinished, unpack
from facegate_installer._versions import order

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_installer._layout import Layout, Version
    from facegate_installer._machine import Machine
    from facegate_installer._package import Info, Package

__all__ = ["Outcome", "Request", "install", "roll_back"]

_CONFIGURATION = ("app/facegate_terminal/terminal.toml", "app/terminal.toml")


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator asked for.

    Attributes:
        trust: the signer's key, for the first package, or for one by another signer; or None.
        unsigned: whether nobody need have signed it.
        downgrade: whether an older one is meant.
        dry_run: say what would be done, do nothing.
    """

    trust: PublicKey | None = None
    unsigned: bool = False
    downgrade: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Outcome:
    """What was done.

    Attributes:
        version: the version in use afterwards.
        before: the one in use before, or None.
        changed: whether anything was.
        done: each step, for people.
        notes: what to know or to do.
        signed_by: the key's id, or None.
        size: bytes that it takes; 0 if not known.
    """

    version: str
    before: str | None
    changed: bool = False
    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signed_by: str | None = None
    size: int = 0


def install(layout: Layout, package: Package, request: Request, say: Callable[[str], None]) -> Outcome:
    """Install a package, or upgrade to it.

    Raises:
        InstallerError: one of its subclasses; what was in use before still is.
    """
    machine = find_machine(layout.root)
    check_fit(package.info, machine)
    layout.check()
    if request.dry_run:
        return _install(layout, package, request, machine, say)
    _check_before(layout, package, request, machine)
    try:
        layout.make()
        with locked(layout.lock):
            return _install(layout, package, request, machine, say)
    except OSError as error:
        raise told(error, "the package cannot be installed") from None


def _check_before(layout: Layout, package: Package, request: Request, machine: Machine) -> None:
    """Raise for what can be refused before the first folder is made: a refused package leaves no trace."""
    current = _readable_current(layout)
    _check_trust(layout, package, request, first=not layout.names())
    _check_successor(current, package.info, request)
    if not layout.versions.exists():
        package.verify()
        check_room(package, machine, layout.versions)


def _install(
    layout: Layout, package: Package, request: Request, machine: Machine, say: Callable[[str], None]
) -> Outcome:
    current = _readable_current(layout)
    signer = _check_trust(layout, package, request, first=not layout.names())
    name = package.info.id
    outcome = Outcome(name, current.folder.name if current else None, signed_by=signer)
    _check_successor(current, package.info, request)
    say("reading every file of the package")
    package.verify()
    again = current is not None and current.folder.name == name
    same = current is not None and again and _is_for(current, machine) and not damaged_files(current)
    if request.dry_run:
        outcome.changed = not same
        outcome.size = 0 if same else check_room(package, machine, layout.versions)
        outcome.done = [] if same else [f"would install {name} in {layout.on_device(layout.versions / name)}"]
        return outcome
    sweep(layout)
    if not same:
        check_room(package, machine, layout.versions)
    _system_before(layout, outcome)
    if not same:
        if again:
            say("the same package, for another Python than before, or damaged since: unpacked anew")
        _bring(layout, package, machine, current, outcome, request, say)
        _put_in_use(layout, name, current, outcome)
        outcome.done.insert(0, f"installed {name}")
    _finish(layout, layout.version(name), request, signer, outcome)
    outcome.changed = bool(outcome.done)
    return outcome


def roll_back(layout: Layout, *, dry_run: bool, force: bool) -> Outcome:
    """Put the version in use that the present one replaced.

    Args:
        layout: where.
        dry_run: only say so.
        force: although that version cannot open the gate.

    Raises:
        NotInstalledError: nothing is installed, or nothing to go back to.
        InstallerError: another of its subclasses; what was in use still is.
    """
    layout.check()
    current = layout.current()
    if current is None:
        raise NotInstalledError("nothing is installed", hint="sudo python3 -I PACKAGE.pyz install")
    try:
        with contextlib.nullcontext() if dry_run else locked(layout.lock):
            current = layout.current() or current
            previous = layout.previous(current)
            if previous is None:
                raise NotInstalledError(
                    f"there is no version before {current.folder.name}",
                    hint="install an older package with --downgrade",
                )
            outcome = Outcome(previous.folder.name, current.folder.name, changed=True)
            outcome.signed_by = previous.record.get("signed_by")
            _check_gate(layout, previous, outcome, force=force)
            if dry_run:
                outcome.done = [f"would put {previous.folder.name} in use again"]
                return outcome
            _put_in_use(layout, previous.folder.name, current, outcome)
            outcome.done.insert(0, f"{previous.folder.name} is in use again")
            outcome.done += _system.link_system(layout, previous)
            return outcome
    except OSError as error:
        raise told(error, "the version cannot be exchanged") from None


def sweep(layout: Layout) -> None:
    """Clean up after an installer that was cut off. A version that it had moved out of the way comes back."""
    for path in layout.leftovers():
        kept = path.name.removeprefix(".old-")
        if kept != path.name and not (layout.versions / kept).exists():
            path.rename(layout.versions / kept)
        else:
            remove_tree(path)
    sync_folder(layout.versions)


def _readable_current(layout: Layout) -> Version | None:
    """The version in use; None also if it is damaged: another package mends that."""
    try:
        return layout.current()
    except StateError:
        return None


def _is_for(version: Version, machine: Machine) -> bool:
    return (version.record.get("python"), version.record.get("interpreter")) == (machine.python, machine.interpreter)


def _check_trust(layout: Layout, package: Package, request: Request, *, first: bool) -> str | None:
    """Who signed, as far as it is to be believed; None for an unsigned package that was asked for. Raises."""
    trusted = load_trust(layout.trust)
    given = [] if request.trust is None else [request.trust]
    if request.unsigned:
        if trusted:
            raise UsageError(
                "this device trusts a signer: --unsigned would undo that",
                hint=f"remove the keys in {layout.on_device(layout.trust)} first, if that is really meant",
            )
        if package.signature is not None:
            raise UsageError("the package is signed", hint="give its signer's key with --trust KEY.pub")
        return None
    if given and trusted and given[0] not in trusted and not first:
        # The operator, as root, vouches for another signer: that is how a signer is exchanged.
        return check_signature(package.signature, package.list, [*trusted, *given])
    if not trusted and not given and package.signature is not None:
        raise UsageError(
            f"say whom to trust: the package names the signer {package.signature.key_id}",
            hint="give that signer's public key, which you have from the packager and not from this stick: "
            "--trust KEY.pub",
        )
    return check_signature(package.signature, package.list, [*trusted, *given])


def _check_successor(current: Version | None, info: Info, request: Request) -> None:
    """Raise if a package may not follow the version in use."""
    if current is None:
        return
    if current.info.name != info.name:
        raise UsageError(
            f"{current.info.name} is installed, and this package is {info.name}",
            hint="uninstall first: configuration and state stay",
        )
    key = [(order(each.version), order(each.facegate)) for each in (current.info, info)]
    if key[1] < key[0] and not request.downgrade:
        raise DowngradeError(
            f"the package is older ({info.version}) than what is installed ({current.info.version})",
            hint="`rollback` puts the version before in use again; --downgrade installs this one all the same",
        )


def _system_before(layout: Layout, outcome: Outcome) -> None:
    done, notes = _system.ensure_user(layout)
    outcome.done += done
    outcome.notes += notes


def _bring(
    layout: Layout,
    package: Package,
    machine: Machine,
    current: Version | None,
    outcome: Outcome,
    request: Request,
    say: Callable[[str], None],
) -> None:
    """Unpack the package under its final name; nothing is in use of it yet."""
    name = package.info.id
    fresh, final = layout.new_folder(name), layout.versions / name
    record = {
        "id": name,
        "installed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": machine.python,
        "interpreter": machine.interpreter,
        "machine": machine.machine,
        "signed_by": outcome.signed_by,
        "unsigned": request.unsigned,
        "package_sha256": package.archive.sha256(),
    }
    say(f"unpacking {name}")
    try:
        unpack(package, fresh, layout.on_device(final), machine, record)
        before = current.folder.name if current is not None and current.folder.name != name else None
        if current is not None and before is None and (old := layout.previous(current)) is not None:
            before = old.folder.name
        if before is not None:
            put_link(fresh / "previous", f"../{before}")
        if final.exists() and exchange(fresh, final):  # it may be in use: at no time is it not there
            fresh.rename(layout.old_folder(name))
        else:
            if final.exists():
                final.rename(layout.old_folder(name))
            fresh.rename(final)
        sync_folder(layout.versions)
        version = layout.version(name)
        outcome.size = int(version.record.get("size", 0))
        _check_gate(layout, version, outcome, force=False)
    except BaseException:
        remove_unfinished(fresh)
        if current is None or current.folder.name != name:
            remove_unfinished(final)
        if not final.exists() and layout.old_folder(name).exists():
            layout.old_folder(name).rename(final)
        raise


def _check_gate(layout: Layout, version: Version, outcome: Outcome, *, force: bool) -> None:
    """Ask a version whether it can open the gate that is there. Raises StateError if not, with advice."""
    found = _gate.examine(layout, version)
    if found is None:
        return
    outcome.notes += found.notes
    if found.problems and not force:
        raise StateError(
            f"{version.folder.name} cannot open the gate {layout.on_device(layout.gate)}: {found.problems[0]}",
            hint=found.hint or "the version in use stays; restore a backup made with that version, or stay",
        )
    outcome.notes += found.problems


def _put_in_use(layout: Layout, name: str, before: Version | None, outcome: Outcome) -> None:
    """Swap the link, start anew what ran. If it does not start, swap back. Raises StateError, OSError."""
    running = _system.running_services(layout)
    layout.switch(name)
    sync_folder(layout.opt)
    if not layout.live or _system.restart(running):
        outcome.done += [f"restarted {unit}" for unit in running]
        return
    if before is not None and before.folder.exists() and before.folder.name != name:
        layout.switch(before.folder.name)
        back = "the version before is in use again" + (
            "" if _system.restart(running) else ", and does not start either"
        )
    else:
        back = "there is no version before"
    raise StateError(
        f"{name} did not start: {back}", hint=f"journalctl --boot --unit {running[0]} says why; then try again"
    )


def _finish(layout: Layout, version: Version, request: Request, signer: str | None, outcome: Outcome) -> None:
    """What comes after the swap; an installer that was cut off before is run again and does it then."""
    if request.trust is not None and signer == request.trust.key_id:
        path = layout.trust / f"{signer}.pub"
        if not path.exists():
            write_file(path, request.trust.to_pem())
            outcome.done.append(f"trusts {signer} from now on: {layout.on_device(path)}")
    outcome.done += _system.link_system(layout, version)
    _system.own_state(layout, _system.account(layout))
    for name in _CONFIGURATION:
        source, target = version.folder / name, layout.etc / "terminal.toml"
        if source.is_file() and not os.path.lexists(target):
            write_file(target, source.read_bytes())
            outcome.done.append(f"wrote {layout.on_device(target)}: look at it")
    if signer is None:
        outcome.notes.append("UNSIGNED: nothing says who made this package, and upgrades prove nothing either")
    _prune(layout, version, outcome)


def _prune(layout: Layout, current: Version, outcome: Outcome) -> None:
    """Remove all versions but the present one and the one before."""
    previous = layout.previous(current)
    kept = {current.folder.name, *([previous.folder.name] if previous is not None else [])}
    for name in layout.names():
        if name not in kept:
            aside = layout.old_folder(name)
            (layout.versions / name).rename(aside)
            remove_tree(aside)
            outcome.done.append(f"removed {name}")
    sweep(layout)


def damaged_files(version: Version) -> list[str]:
    """The files of a version that are not as they were installed: changed, missing, or come since."""
    from facegate_installer._layout import RECORD, SUMS  # noqa: PLC0415

    try:
        lines = (version.folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return [SUMS]
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    bad = []
    for path in sorted(version.folder.rglob("*")):
        name = str(path.relative_to(version.folder))
        if path.is_symlink() or path.is_dir() or name in (SUMS, RECORD):
            continue
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if expected.pop(name, None) != digest.hexdigest():
            bad.append(name)
    return sorted({*bad, *expected})
