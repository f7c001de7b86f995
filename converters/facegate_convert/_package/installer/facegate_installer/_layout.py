"""Where everything is, below a root, and which version is in use.

/opt/facegate/versions/ID/    a version: site/, app/, bundle/, trust/, units/, bin/, installer/, package.json, ...
/opt/facegate/current         a link to the version in use
/opt/facegate/versions/ID/previous   a link to the version that it replaced: one link's swap changes both
/etc/facegate/                configuration and trusted keys: the operator's, never overwritten
/var/lib/facegate/            state: the gate; the service's
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facegate_installer._disk import check_owner, make_folder, put_link
from facegate_installer._errors import DiskError, PackageError, StateError
from facegate_installer._package import LIST, Info, parse_info

__all__ = ["RECORD", "SUMS", "Layout", "Version"]

RECORD, SUMS = "installed.json", "files.sha256"
_NEW, _OLD = ".new-", ".old-"


@dataclass(frozen=True, slots=True)
class Version:
    """An installed version.

    Attributes:
        folder: where it is.
        info: its package's list.
        record: what the installer noted: who signed it, for which Python it is.
    """

    folder: Path
    info: Info
    record: dict[str, Any]


class Layout:
    """The places below a root.

    Args:
        root: "/" on a device; another folder for images and tests.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opt = root / "opt/facegate"
        self.versions = self.opt / "versions"
        self.current_link = self.opt / "current"
        self.lock = self.opt / ".lock"
        self.etc = root / "etc/facegate"
        self.trust = self.etc / "trust"
        self.state = root / "var/lib/facegate"
        self.gate = self.state / "gate"
        self.units = root / "usr/local/lib/systemd/system"
        self.systemd = root / "etc/systemd/system"
        self.bin = root / "usr/local/bin"
        self.sysusers = root / "etc/sysusers.d"

    @property
    def live(self) -> bool:
        """Whether this is the running system, not an image of one."""
        return self.root == Path("/")

    def on_device(self, path: Path) -> str:
        """A path as the device will see it."""
        return "/" + str(path.relative_to(self.root))

    def check(self) -> None:
        """Raise DiskError if others than root may change what is installed, or a link leads out of an image."""
        if not self.live:
            for path in (self.versions, self.trust, self.state, self.units, self.systemd, self.bin, self.sysusers):
                self._check_inside(path)
        for path in (self.root, self.opt.parent, self.opt, self.versions, self.etc.parent, self.etc, self.trust):
            check_owner(path, links=self.live)

    def make(self) -> None:
        """Make the folders that an installation needs. Raises OSError."""
        for path in (self.versions, self.etc, self.trust):
            make_folder(path)

    def current(self) -> Version | None:
        """The version in use, or None. Raises StateError: it is damaged."""
        target = self._target(self.current_link)
        return None if target is None else self.version(target)

    def previous(self, version: Version) -> Version | None:
        """The version that another one replaced, if it is still there."""
        target = self._target(version.folder / "previous")
        if target is None or target == version.folder.name or not (self.versions / target).is_dir():
            return None
        return self.version(target)

    def version(self, name: str) -> Version:
        """An installed version. Raises StateError: it is damaged."""
        folder = self.versions / name
        try:
            info = parse_info((folder / LIST).read_bytes())
            record = json.loads((folder / RECORD).read_bytes())
        except (OSError, ValueError, PackageError):
            raise StateError(
                f"the installed version {folder} is damaged", hint="install its package again, or another one"
            ) from None
        if not isinstance(record, dict):
            raise StateError(f"the installed version {folder} is damaged", hint="install its package again")
        return Version(folder, info, record)

    def names(self) -> list[str]:
        """The names of all installed versions."""
        try:
            return sorted(entry.name for entry in self.versions.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return []

    def leftovers(self) -> list[Path]:
        """Folders that an interrupted installer left."""
        try:
            return sorted(entry for entry in self.versions.iterdir() if entry.name.startswith((_NEW, _OLD)))
        except FileNotFoundError:
            return []

    def new_folder(self, name: str) -> Path:
        """Where a version is unpacked."""
        return self.versions / f"{_NEW}{name}"

    def old_folder(self, name: str) -> Path:
        """Where a version waits for its removal."""
        return self.versions / f"{_OLD}{name}"

    def switch(self, name: str) -> None:
        """Put a version in use: the one step that counts. Raises OSError."""
        put_link(self.current_link, f"versions/{name}")

    def _check_inside(self, path: Path) -> None:
        """Raise DiskError if a folder or one above it is a link: it would lead to the builder's own system."""
        while path != self.root:
            if path.is_symlink():
                raise DiskError(f"{path} is a link", hint="below --root folders are real ones")
            path = path.parent

    def _target(self, link: Path) -> str | None:
        try:
            target = link.readlink()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            raise StateError(f"{link} is no link", hint="move it away, and install again") from None
        return target.name
