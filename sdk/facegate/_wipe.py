"""Decommissioning a gate: its keys are destroyed first, then what they opened, then the rest of its folder.

Overwriting does not reach what flash keeps elsewhere (wear leveling, journals, snapshots, backups). Destroying the
keys does: without the sealing key nobody's templates can be opened, wherever copies of them are (cryptographic erase,
NIST SP 800-88 Rev. 1, section 2.5). So the order matters, and a wipe that was cut off is simply run again: gate.json,
by which the folder is known as a gate, goes last.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facegate._files import sync_folder
from facegate._gate_folder import BUNDLE, DECLARATION, GATE, KEY, POLICY, PUBLIC, SEAL, STORE, TRUST, read_info
from facegate._store._files import drop_lock, take_lock
from facegate._store._key_providers import FileKey, SavableKey, parse_provider
from facegate.errors import SealKeyError, StoreError, WipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegate._store._key_providers import SealKey

__all__ = ["WipePlan", "plan_wipe", "wipe_gate"]

_BLOCK = 1024 * 1024
_MADE = {GATE, f".{GATE}.new", POLICY, DECLARATION, BUNDLE, KEY, PUBLIC, STORE, SEAL, "seal.next"}


@dataclass(frozen=True, slots=True)
class WipePlan:
    """What a wipe destroys.

    Attributes:
        folder: the gate's.
        device_id: the device's reference.
        key: the provider of the sealing key, e.g. "file:seal.key".
        key_destroyed: whether the wipe can destroy that key: in a file or a TPM yes; what the environment or systemd
            brings, their owner must destroy.
        files: what is in the folder, in the order in which it goes.
        size: of all of it, in bytes.
        foreign: those of the files that no gate makes: an export, a backup, somebody's own. They go as well.
    """

    folder: Path
    device_id: str
    key: str
    key_destroyed: bool
    files: tuple[Path, ...]
    size: int
    foreign: tuple[Path, ...]


def plan_wipe(folder: str | os.PathLike[str]) -> WipePlan:
    """Look at what there is, and touch nothing.

    Raises:
        GateFolderError: there is no gate.
        WipeError: the folder is a link, or the current folder, or cannot be read.
    """
    folder = Path(folder)
    info = read_info(folder)
    if folder.is_symlink():
        raise WipeError(f"{folder} is a link to a gate", hint="name the gate's folder itself")
    if folder.samefile(Path.cwd()):
        raise WipeError(f"{folder} is the current folder", hint="go to the folder above it and name it from there")
    try:
        provider = _provider(info.key, folder)
        files = sorted(_walk(folder), key=lambda path: _rank(path, folder, provider))
        size = sum(path.lstat().st_size for path in files)
    except OSError as error:
        raise WipeError(f"{folder} cannot be read: {error.strerror}", hint="use an account that may") from error
    destroyed = isinstance(provider, SavableKey)
    foreign = tuple(path for path in files if not _is_ours(path, folder, provider))
    return WipePlan(folder, info.device_id, info.key, destroyed, tuple(files), size, foreign)


def wipe_gate(plan: WipePlan, progress: Callable[[int, int], object] | None = None) -> None:
    """Destroy what `plan_wipe` found, and what has come since.

    Args:
        plan: of the gate.
        progress: is told how many files of how many are gone.

    Raises:
        GateInUseError: a process has the gate open. Nothing was destroyed.
        WipeError: something could not be destroyed; everything else was. Running it again tries again.
    """
    folder, left = plan.folder, _Left()
    with _locked(folder):
        provider = _provider(plan.key, folder)
        if isinstance(provider, SavableKey):
            left.attempt(provider.remove, plan.key)
            left.attempt(provider.discard, plan.key)
        try:
            files = sorted(_walk(folder), key=lambda path: _rank(path, folder, provider))
        except OSError as error:
            raise WipeError(f"{folder} cannot be read: {error.strerror}", hint="use an account that may") from error
        for number, path in enumerate(files, 1):
            if path != folder / GATE or not left.names:  # it says where the key is, while there is one
                left.attempt(partial(_destroy, path), str(path))
            if progress is not None:
                progress(number, len(files))
        if not left.names:
            left.attempt(partial(_remove_folders, folder), str(folder))
    if left.names:
        raise WipeError(
            f"not everything could be destroyed, left is: {', '.join(dict.fromkeys(left.names))}",
            hint="mend the permissions and run it again, or destroy the medium",
        )


class _Left:
    """What could not be destroyed. One failure keeps nothing else from going."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def attempt(self, destroy: Callable[[], object], name: str) -> None:
        try:
            destroy()
        except (OSError, StoreError):
            self.names.append(name)


def _provider(name: str, folder: Path) -> SealKey | None:
    """The sealing key's provider; None if gate.json names none that this version knows."""
    try:
        return parse_provider(name, folder=folder)
    except SealKeyError:
        return None


def _walk(folder: Path) -> Iterator[Path]:
    """Everything in the folder but the folders in it; links are not followed."""

    def refuse(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=refuse):
        for name in files:
            yield Path(where, name)
        for name in folders:
            if (link := Path(where, name)).is_symlink():
                yield link


def _rank(path: Path, folder: Path, provider: SealKey | None) -> tuple[int, str]:
    """Keys, then the store, then the rest; gate.json last."""
    name = str(path.relative_to(folder))
    sealing = provider.path.name if isinstance(provider, FileKey) and provider.path.parent == folder else "seal."
    if name.startswith(sealing):
        return 0, name
    if name == KEY:
        return 1, name
    if name.startswith(STORE) and not name.endswith(".lock"):
        return 2, name
    return (4 if name == GATE else 3), name


def _is_ours(path: Path, folder: Path, provider: SealKey | None) -> bool:
    """Whether a gate makes such a file, by its name."""
    if isinstance(provider, FileKey) and path in (provider.path, provider.path.with_name(provider.path.name + ".next")):
        return True
    name = path.relative_to(folder)
    if len(name.parts) > 1:
        return name.parent == Path(TRUST) and name.suffix == ".pub"
    return path.name in _MADE or path.name.startswith((f"{STORE}-", f"{STORE}."))


def _destroy(path: Path) -> None:
    """Overwrite a file with zeros, on the disk, and remove it; a link is only removed."""
    found = path.lstat()
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        with contextlib.suppress(PermissionError):
            path.chmod(0o600)  # the declaration is read-only
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            zeros = bytes(min(_BLOCK, max(found.st_size, 1)))
            for begin in range(0, found.st_size, _BLOCK):
                os.pwrite(descriptor, zeros[: found.st_size - begin], begin)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)


def _remove_folders(folder: Path) -> None:
    for where, _, _ in os.walk(folder, topdown=False):
        Path(where).rmdir()
    sync_folder(folder.absolute().parent)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep gates, and those who deliver for them, out while the folder goes. Raises GateInUseError."""
    with contextlib.ExitStack() as stack:
        for name in (STORE, f"{STORE}-delivery"):
            stack.callback(drop_lock, take_lock(folder / name))
        yield
