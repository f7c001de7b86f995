"""The gate that is there, seen by a version: whether it could open it, and which bundle is whose.

The installer runs as root, and the gate's folder belongs to the service: whatever is done there is done by a child
process of the service's user, with the version's own code. Never of whoever owns what is found there: a service that
was taken over could put a link to somebody else's folder in its place.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate_installer import _system
from facegate_installer._errors import StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_installer._layout import Layout, Version

__all__ = ["Examined", "can_run", "examine", "run_in"]

_TIMEOUT = 600.0


@dataclass(slots=True)
class Examined:
    """What a version says of the gate.

    Attributes:
        problems: why it cannot open it; empty if it can.
        hint: what to do about the first.
        notes: what the operator should know.
        data: all of it, for `--json`.
    """

    problems: list[str] = field(default_factory=list)
    hint: str = ""
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def can_run(version: Version) -> bool:
    """Whether this process' Python and processor are those that a version is for."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    machine = platform.machine()
    return version.record.get("python") == here and version.record.get("machine") in (machine, _narrow(machine))


def _narrow(machine: str) -> str:
    return "armv7l" if machine in ("armv8l", "aarch64") and sys.maxsize < 2**32 else machine


def examine(layout: Layout, version: Version) -> Examined | None:
    """Ask a version about the gate; None if there is none, or it cannot run here (an image of another machine)."""
    if not os.path.lexists(layout.gate / "gate.json") or not can_run(version) or not _has_facegate(version):
        return None
    arguments = ["check", str(layout.gate)]
    bundle = bundle_of(version)
    if bundle is not None:
        arguments.append(str(bundle))
    code, said, heard = run_in(layout, version, "facegate-gate", arguments)
    try:
        data = json.loads(said)
    except ValueError:
        lines = heard.strip().splitlines()
        return Examined(
            [f"it does not run here ({lines[-1] if lines else f'exit code {code}'})"],
            "the version in use stays; `facegate doctor` of the new one may say more",
        )
    return _understood(data)


def bundle_of(version: Version) -> Path | None:
    """The bundle that a version brings; None if it has none."""
    items = version.info.of("bundle")
    return version.folder / items[0].path if items else None


def run_in(layout: Layout, version: Version, program: str, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a program of a version with its own Python, as the service's user. Returns code, stdout, stderr.

    Raises:
        UsageError: this user may not become the service's.
    """
    interpreter = str(version.record.get("interpreter"))
    command = [interpreter if Path(interpreter).exists() else sys.executable, "-I", "-S", "-B"]
    command += [str(version.folder / "bin/run.py"), program, *arguments]
    identity: dict[str, Any] = {}
    who = _system.account(layout) or _owner(layout)
    if who.uid != os.geteuid():
        if os.geteuid() != 0:
            raise UsageError(f"{layout.on_device(layout.state)} is another user's", hint="run it as root: sudo ...")
        identity = {"user": who.uid, "group": who.gid, "extra_groups": []}
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    libraries = _libraries(version)
    if libraries:
        environment["LD_LIBRARY_PATH"] = libraries
    try:
        done = subprocess.run(  # noqa: S603 - a version that was verified
            command,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # root's terminal is not the service's to type on
            cwd="/",
            umask=0o077,
            **identity,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StateError(f"{program} cannot be run: {error}", hint="look at the version's folder") from None
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def _owner(layout: Layout) -> _system.Account:
    """Whose the state is where nobody is called as the service: an image, or a trial. Its parent is root's."""
    found = layout.state.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{layout.on_device(layout.state)} is no folder", hint="a service's state is a real folder")
    return _system.Account(found.st_uid, found.st_gid)


def _has_facegate(version: Version) -> bool:
    return (version.folder / "site/facegate").is_dir()


def _libraries(version: Version) -> str:
    from facegate_installer._deb import library_folders  # noqa: PLC0415 - 32-bit ARM only

    folder = version.folder / "deb"
    return ":".join(map(str, library_folders(folder))) if folder.is_dir() else ""


def _understood(data: dict[str, Any]) -> Examined:
    found = Examined(data=data)
    for problem in data.get("problems", []):
        found.problems.append(str(problem.get("what")))
        found.hint = found.hint or str(problem.get("hint"))
    if data.get("migrates"):
        found.notes.append(
            "the new version will change the gate's store when it opens it: the version before cannot open it then. "
            "Make a backup first: facegate gate backup"
        )
    bundle = data.get("bundle") or {}
    if bundle.get("same") is False:
        told = f"the gate keeps its own bundle {bundle.get('gate')}; the package brings {bundle.get('package')}"
        if bundle.get("refused"):
            found.notes.append(f"{told}, which this gate cannot take: {bundle['refused']}")
        elif bundle.get("same_space"):
            found.notes.append(f"{told}: `facegate-package use-bundle` puts it in use, and everybody stays enrolled")
        else:
            found.notes.append(
                f"{told}, of another template space: `facegate-package use-bundle --enroll-again` puts it in use, and "
                "then everybody has to be enrolled again"
            )
    return found
