"""The first gate on a device: `facegate init` of the installed version, run as the service's user."""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

from facegate_installer import _system
from facegate_installer._disk import make_folder, sync_folder, told, write_file
from facegate_installer._errors import InstallerError, StateError, UsageError
from facegate_installer._gate import bundle_of, can_run, run_in

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_installer._layout import Layout, Version

__all__ = ["CREDENTIALS", "make_gate", "use_bundle"]

CREDENTIALS = "credentials"
_MAX_DECLARATION, _MAX_CREDENTIAL = 64 * 1024, 1024
_ROLES = ("administrator", "enroller", "privacy_officer", "recognizer", "reviewer")


class InitError(InstallerError):
    """What `facegate init` said; with its exit code."""

    def __init__(self, message: str, *, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def make_gate(layout: Layout, version: Version, declaration: Path, options: list[str]) -> list[str]:
    """Make /var/lib/facegate/gate, and put the recognizer's credential where the service gets it.

    Args:
        layout: where.
        version: the one in use.
        declaration: what the gate is for, as `facegate init --print-declaration` prints it, filled in.
        options: more for `facegate init`, e.g. `--fmr 0.001 --device-id door-7`.

    Returns:
        What was done, for people.

    Raises:
        InstallerError: one of its subclasses. No gate is made then.
    """
    bundle = bundle_of(version)
    if os.path.lexists(layout.gate / "gate.json"):
        raise UsageError(f"there is a gate {layout.on_device(layout.gate)}", hint="leave out --declaration")
    if bundle is None:
        raise UsageError("the package brings no bundle", hint="make the gate with `facegate init`")
    if not can_run(version):
        raise UsageError("this machine is not the device", hint="make the gate there: facegate-package init")
    try:
        with declaration.open("rb") as file:
            text = file.read(_MAX_DECLARATION)
    except OSError as error:
        raise UsageError(f"{declaration} cannot be read: {error.strerror}", hint="name the filled-in file") from None
    _system.own_state(layout, _system.account(layout))
    # A copy where the service's user can read it, and cannot exchange it: the original may lie in the operator's home.
    copy = layout.etc / ".declaration.json"
    try:
        write_file(copy, text)
        try:
            return _make(layout, version, bundle, copy, options)
        finally:
            copy.unlink()
    except OSError as error:
        raise told(error, "the gate cannot be made") from None


def _make(layout: Layout, version: Version, bundle: Path, declaration: Path, options: list[str]) -> list[str]:
    badges = layout.state / "credentials.new"
    shutil.rmtree(badges, ignore_errors=True)  # of an attempt that was cut off: these open nothing
    arguments = ["init", "--json", str(layout.gate), "--bundle", str(bundle), "--trust", str(version.folder / "trust")]
    arguments += ["--declaration", str(declaration), "--credentials", str(badges), *options]
    code, said, heard = run_in(layout, version, "facegate", arguments)
    try:
        answer = json.loads(said)
    except ValueError:
        raise StateError(f"`facegate init` failed: {heard.strip()[-200:]}", hint="run: facegate doctor") from None
    if code != 0 or "error" in answer:
        error = answer.get("error", {})
        raise InitError(str(error.get("message")), hint=str(error.get("hint", "")), exit_code=code or 5)
    return [
        f"made the gate {layout.on_device(layout.gate)}, device {answer.get('device_id')}",
        *_hand_out(layout, badges),
    ]


def _hand_out(layout: Layout, badges: Path) -> list[str]:
    """The recognizer's credential to /etc/facegate/credentials (root, 0600); the others wait there to be taken away."""
    place = layout.etc / CREDENTIALS
    make_folder(place, 0o700)
    folder = os.open(badges, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for role in _ROLES:  # by name and without links: the folder is the service's, and this runs as root
            name = f"{role}.credential"
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.fstat(folder).st_uid:
                    raise StateError(f"{badges / name} is not what `facegate init` wrote", hint="who changed it?")
                write_file(place / name, os.read(file, _MAX_CREDENTIAL), 0o600)
            finally:
                os.close(file)
    finally:
        os.close(folder)
    shutil.rmtree(badges)
    sync_folder(layout.state)
    where = layout.on_device(place)
    return [
        f"the terminal gets {where}/recognizer.credential from systemd",
        f"TAKE AWAY the other credentials in {where}: hand them out, and leave none on the device",
    ]


def use_bundle(layout: Layout, version: Version, *, again: bool, signer: str) -> tuple[dict[str, object], str]:
    """Put the version's bundle in use in the gate. Returns what was done, as data and as text.

    Args:
        layout: where.
        version: the one in use.
        again: although everybody must be enrolled again then.
        signer: id of a key among the version's that the gate should trust from now on, or "".

    Raises:
        InstallerError: one of its subclasses; the gate is as it was.
    """
    bundle = bundle_of(version)
    if bundle is None or not os.path.lexists(layout.gate / "gate.json"):
        raise UsageError("there is no gate, or the package brings no bundle", hint="facegate-package status")
    running = _system.running_services(layout)
    if running:
        raise StateError(f"{running[0]} has the gate open", hint=f"run: sudo systemctl stop {running[0]}")
    arguments = ["adopt", str(layout.gate), str(bundle), str(version.folder / "trust"), "1" if again else "0", signer]
    _, said, heard = run_in(layout, version, "facegate-gate", arguments)
    try:
        data = json.loads(said)
    except ValueError:
        raise StateError(f"the version does not run: {heard.strip()[-200:]}", hint="run: facegate doctor") from None
    if data.get("problems"):
        raise StateError(str(data["problems"][0]["what"]), hint=str(data["problems"][0]["hint"]))
    if not data["changed"]:
        return data, f"the gate has the bundle {data['bundle']} already: nothing was changed"
    text = f"the gate has the bundle {data['bundle']} now, before {data['before']}"
    if not data["same_space"]:
        text += "\neverybody has to be enrolled again: facegate people list --outdated"
    return data, text
