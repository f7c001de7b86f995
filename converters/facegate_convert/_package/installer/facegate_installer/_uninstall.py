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
            hint=f"destroy it first: sudo facegate wipe {layout.on_device(gates[0])} - or uninstall without --purge",
        )
    doomed = [path for path in (layout.opt,) if path.exists()]
    if purge:
        doomed += [path for path in (layout.etc, layout.state) if path.exists()]
    links = _system.unlink_system(layout, dry_run=True)
    if not doomed and not links:
        raise NotInstalledError("nothing is installed", hint="sudo python3 PACKAGE.pyz install")
    removed = [*links, *(layout.on_device(path) for path in doomed)]
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
                remove_tree(path)
                sync_folder(path.parent)
            rules = layout.root / "etc/sysusers.d/facegate.conf"
            if purge and rules.exists():
                rules.unlink()
    except OSError as error:
        raise told(error, "not everything could be removed") from None
    return removed, kept


def _gates(layout: Layout) -> list[Path]:
    """Folders in the state that are gates."""
    try:
        found = [layout.state, *layout.state.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise told(error, "the state cannot be looked at") from None
    return [path for path in found if os.path.lexists(path / "gate.json")]
