"""Removing what was installed. Configuration and the gate stay, unless the operator says otherwise."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from facegate_installer import _system
from facegate_installer._disk import locked, remove_tree, sync_folder, told
from facegate_installer._errors import NotInstalledError, StateError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_installer._layout import Layout

__all__ = ["uninstall"]

# Any of these is somebody's: without the others it may still be brought back from a backup.
_GATE = {"gate.json", "gate.db", "seal.key", "device.key"}


def uninstall(layout: Layout, *, purge: bool, dry_run: bool) -> tuple[list[str], list[str]]:
    """Remove versions, units and commands; with `purge` also /etc/facegate and what is left of the state.

    A gate is not destroyed here: overwriting keys in the right order is what `facegate wipe` does.

    Returns:
        What was removed, or would be; and what stays.

    Raises:
        NotInstalledError: there is nothing.
        StateError: `purge`, and a gate is still there.
        DiskError: no permission, or the like.
    """
    layout.check()
    gates = _gates(layout)
    if purge and gates:
        raise StateError(
            f"there is a gate in {layout.on_device(gates[0])}: with its people, keys and log",
            hint=f"destroy it first: sudo facegate wipe {layout.on_device(gates[0])} - or move away what is left, "
            "or uninstall without --purge",
        )
    aside = layout.opt.with_name(".facegate.removed")  # a new installer may begin while the old files are going
    doomed = [path for path in (layout.opt, aside) if path.exists()]
    mine = [path for path in (layout.etc, layout.state) if path.exists()] if purge else []
    doomed += mine
    links = _system.unlink_system(layout, dry_run=True)
    if not doomed and not links:
        raise NotInstalledError("nothing is installed", hint="sudo python3 -I PACKAGE.pyz install")
    removed = [*links, *(layout.on_device(path) for path in (*doomed, *_files(mine)))]
    kept = [layout.on_device(path) for path in (layout.etc, layout.state) if path.exists() and path not in doomed]
    if dry_run:
        return removed, kept
    try:
        with locked(layout.lock) if layout.opt.exists() else contextlib.nullcontext():
            _system.unlink_system(layout)
            with contextlib.suppress(FileNotFoundError):
                layout.current_link.unlink()  # from here on nothing is in use
                sync_folder(layout.opt)
            for path in doomed:
                if path == layout.opt:
                    remove_tree(aside)
                    path.rename(aside)
                    path = aside  # noqa: PLW2901 - its name from here on
                remove_tree(path)
                sync_folder(path.parent)
            rules = layout.sysusers / "facegate.conf"
            if purge and rules.exists():
                rules.unlink()
    except OSError as error:
        raise told(error, "not everything could be removed") from None
    return removed, kept


def _gates(layout: Layout) -> list[Path]:
    """Folders in the state, however deep, that are gates or what is left of one; and links to gates elsewhere."""
    found: list[Path] = []
    try:
        for folder, folders, names in os.walk(layout.state, onerror=_stop):
            found += [layout.root / folder] if _GATE.intersection(names) else []
            links = [layout.root / folder / name for name in folders]
            found += [link for link in links if link.is_symlink() and os.path.lexists(link / "gate.json")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise told(error, "the state cannot be looked at") from None
    return found


def _files(folders: list[Path]) -> list[Path]:
    """What a purge destroys, by name: nobody knows of a backup from its folder's name."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _stop(error: OSError) -> None:
    raise error
