"""The system around the versions: the service's user, systemd's units, the commands in /usr/local/bin.

Units are links into the version in use, so that the swap of one link changes them with everything else.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_installer._disk import check_owner, make_folder, put_link, sync_folder, write_file
from facegate_installer._errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facegate_installer._layout import Layout, Version

__all__ = ["USER", "Account", "account", "ensure_user", "link_system", "restart", "running_services", "unlink_system"]

USER = "facegate"
# video: cameras, gpio: doors. Groups that a system does not have are made; they hold nothing then.
_SYSUSERS = f"""\
u {USER} - "Facegate terminal" /var/lib/facegate /usr/sbin/nologin
m {USER} video
m {USER} gpio
"""
_UNITS = "/opt/facegate/current/units/"
_COMMANDS = ("facegate", "facegate-package", "facegate-terminal")
_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Account:
    """The service's user.

    Attributes:
        uid: its number.
        gid: its group's.
    """

    uid: int
    gid: int


def account(layout: Layout) -> Account | None:
    """The service's user as /etc/passwd below the root says it; None if there is none."""
    try:
        lines = (layout.root / "etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(":")
        if fields[0] == USER and len(fields) > 3 and fields[2].isdigit() and fields[3].isdigit():  # noqa: PLR2004
            return Account(int(fields[2]), int(fields[3]))
    return None


def ensure_user(layout: Layout) -> tuple[list[str], list[str]]:
    """Make the service's user. Returns what was done, and what is left to do. Raises DiskError: it cannot be made."""
    if account(layout) is not None:
        return [], []
    if os.geteuid() != 0:
        return [], [f"the user {USER} is missing: run the installer as root, or make it with useradd --system"]
    rules = layout.sysusers / "facegate.conf"
    make_folder(rules.parent)
    write_file(rules, _SYSUSERS.encode())
    tried = [["systemd-sysusers", f"--root={layout.root}", str(rules)]]
    if layout.live:
        home = ["--home-dir", "/var/lib/facegate", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        groups = [each for each in ("video", "gpio") if _has_group(layout, each)]
        tried = [
            ["systemd-sysusers", str(rules)],
            ["useradd", "--system", "--user-group", *home, *(["--groups", ",".join(groups)] if groups else []), USER],
        ]
    for command in tried:
        if shutil.which(command[0]) and _run(command).returncode == 0 and account(layout) is not None:
            return [f"made the user {USER}"], []
    if layout.live:
        raise DiskError(f"the user {USER} cannot be made", hint=f"make it: useradd --system --user-group {USER}")
    return [], [f"systemd makes the user {USER} at the image's first start, from etc/sysusers.d/facegate.conf"]


def link_system(layout: Layout, version: Version) -> list[str]:
    """Link units and commands to the version in use; new units are enabled. What is there already stays.

    A unit that the operator disabled stays disabled: only one that comes anew is enabled.
    """
    done: list[str] = []
    timers: list[str] = []
    units = {item.path.rpartition("/")[2] for item in version.info.of("unit")}
    for name in _linked(layout) - units:
        _remove_unit(layout, name)
        done.append(f"removed {name}")
    for name in sorted(units - _linked(layout)):
        path = layout.units / name
        if os.path.lexists(path):
            raise DiskError(f"{path} is in the way: it is not the installer's", hint="move it away, and install again")
        make_folder(path.parent)
        for wants in _wanted_by(version.folder / "units" / name):
            make_folder(layout.systemd / wants)
            put_link(layout.systemd / wants / name, f"/usr/local/lib/systemd/system/{name}")
        put_link(path, _UNITS + name)
        done.append(f"linked {name}")
        timers += [name] if name.endswith(".timer") else []
    for name in _COMMANDS:
        path, target = layout.bin / name, f"/opt/facegate/current/bin/{name}"
        if not os.path.lexists(path):
            make_folder(path.parent)
            put_link(path, target)
            done.append(f"linked {layout.on_device(path)}")
    if done and layout.live:
        _systemctl("daemon-reload")
        for name in timers:  # else they begin at the next start of the machine
            _systemctl("start", name)
    return done


def unlink_system(layout: Layout, *, dry_run: bool = False) -> list[str]:
    """Stop what runs, remove the links. Returns what went, or would."""
    names = sorted(_linked(layout))
    commands = [layout.bin / name for name in _COMMANDS]
    links = [each for each in commands if each.is_symlink() and str(each.readlink()).startswith("/opt/facegate/")]
    told = [*names, *(layout.on_device(link) for link in links)]
    if dry_run:
        return told
    if layout.live and names:
        _systemctl("stop", *names)
    for name in names:
        _remove_unit(layout, name)
    for link in links:
        link.unlink()
        sync_folder(link.parent)
    if layout.live:
        _systemctl("daemon-reload")
    return told


def running_services(layout: Layout) -> list[str]:
    """The linked units that run now; none in an image, or without systemd."""
    if not layout.live:
        return []
    names = [name for name in sorted(_linked(layout)) if name.endswith(".service")]
    return [name for name in names if _systemctl("is-active", "--quiet", name)]


def restart(names: Sequence[str]) -> bool:
    """Start units anew; a unit of Type=notify counts as started when it says so. Returns whether all did."""
    _systemctl("daemon-reload")  # also if none runs: the units are those of another version now
    if not names:
        return True
    _systemctl("reset-failed", *names)
    return _systemctl("restart", *names)


def own_state(layout: Layout, who: Account | None) -> None:
    """Make /var/lib/facegate the service's own, 0700. Raises DiskError, OSError."""
    check_owner(layout.state.parent, links=layout.live)
    if not layout.state.exists():
        make_folder(layout.state, 0o700)
    if layout.state.is_symlink():
        raise DiskError(f"{layout.state} is a link", hint="a service's state is a real folder")
    if who is not None and who.uid and os.geteuid() == 0 and layout.state.stat().st_uid == 0:
        os.chown(layout.state, who.uid, who.gid, follow_symlinks=False)
        layout.state.chmod(0o700)
        sync_folder(layout.state)


def _linked(layout: Layout) -> set[str]:
    """The units that are links of ours."""
    entries = [entry for entry in _entries(layout.units) if entry.is_symlink()]
    return {entry.name for entry in entries if str(entry.readlink()) == _UNITS + entry.name}


def _remove_unit(layout: Layout, name: str) -> None:
    # By listing: glob passes over links that lead nowhere, as all do in an image.
    wants = [folder / name for folder in _entries(layout.systemd) if folder.name.endswith(".wants")]
    for link in (*wants, layout.systemd / name, layout.units / name):
        if link.is_symlink():
            link.unlink()
            sync_folder(link.parent)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _wanted_by(unit: Path) -> list[str]:
    """The folders that a unit's [Install] wants a link in."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes="#;")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names are written as they are
    try:
        parser.read_string(unit.read_text(encoding="utf-8"))
        wanted = parser.get("Install", "WantedBy", fallback="")
    except (configparser.Error, UnicodeError, OSError):
        return []
    return [f"{name}.wants" for name in wanted.split() if "/" not in name]


def _has_group(layout: Layout, name: str) -> bool:
    try:
        text = (layout.root / "etc/group").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith(f"{name}:") for line in text.splitlines())


def _systemctl(*arguments: str) -> bool:
    """Ask the running systemd; False if it says no, or there is none."""
    if not os.path.isdir("/run/systemd/system"):  # noqa: PTH112 - sd_booted(3)
        return False
    return _run(["systemctl", *arguments]).returncode == 0


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - names of ours
            command,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return subprocess.CompletedProcess(command, 1, b"", b"")
