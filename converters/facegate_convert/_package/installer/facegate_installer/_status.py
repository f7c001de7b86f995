"""What is installed, and whether it is still as it was installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from facegate_installer._install import damaged_files
from facegate_installer._trust import load_trust

if TYPE_CHECKING:
    from facegate_installer._layout import Layout, Version

__all__ = ["status"]


def status(layout: Layout, *, files: bool) -> tuple[dict[str, Any], str]:
    """What is installed, as data and as text.

    Args:
        layout: where.
        files: hold every file of the version in use against its hash.

    Raises:
        InstallerError: one of its subclasses: others than root could have changed it, or it is damaged.
    """
    layout.check()
    current = layout.current()
    if current is None:
        left = [layout.on_device(path) for path in (layout.etc, layout.state) if path.exists()]
        data = {"installed": False, "problems": [], "left": left}
        return data, "\n".join(["nothing is installed", *(f"  {path} is still there" for path in left)])
    previous = layout.previous(current)
    problems: list[str] = []
    interpreter = layout.root / str(current.record.get("interpreter", "")).lstrip("/")
    if not os.access(interpreter, os.X_OK) and layout.live:
        problems.append(f"{interpreter} is gone: install the package again, with the system's new Python")
    if layout.leftovers():
        problems.append("an installer was cut off: run it again, and it cleans up")
    damaged = damaged_files(current) if files else []
    problems += [f"not as it was installed: {name}" for name in damaged]
    trusted = [key.key_id for key in load_trust(layout.trust)]
    gate = os.path.lexists(layout.gate / "gate.json")
    about = record_of(current)
    data = {
        "installed": True,
        "current": about,
        "previous": record_of(previous) if previous is not None else None,
        "trusted": trusted,
        "gate": layout.on_device(layout.gate) if gate else None,
        "files_checked": files,
        "damaged": damaged,
        "problems": problems,
    }
    signed = f"signed by {about['signed_by']}" if about["signed_by"] else "UNSIGNED"
    lines = [
        f"{about['name']} {about['version']} ({about['id']}), {signed}",
        f"  facegate  {about['facegate']}, Python {about['python']} ({about['interpreter']}) on {about['machine']}",
        f"  installed {about['installed']}, {int(about['size'] or 0) / 1e6:.1f} MB",
        f"  bundle    {about['bundle'].get('name', 'none')} {about['bundle'].get('version', '')}".rstrip(),
        f"  previous  {previous.folder.name if previous is not None else 'none'}",
        f"  trusts    {', '.join(trusted) or 'nobody'}",
        f"  gate      {data['gate'] or 'none yet: facegate-package init --declaration FILE'}",
        *(f"  PROBLEM   {problem}" for problem in problems),
    ]
    if files and not damaged:
        lines.append("  files     each is as it was installed")
    return data, "\n".join(lines)


def record_of(version: Version) -> dict[str, Any]:
    """What `status` tells of a version."""
    record = version.record
    return {
        "id": version.folder.name,
        "name": version.info.name,
        "version": version.info.version,
        "facegate": version.info.facegate,
        "target": version.info.target,
        "machine": version.info.machine,
        "python": record.get("python"),
        "interpreter": record.get("interpreter"),
        "installed": record.get("installed"),
        "signed_by": record.get("signed_by"),
        "unsigned": bool(record.get("unsigned")),
        "package_sha256": record.get("package_sha256"),
        "size": record.get("size"),
        "bundle": {key: version.info.bundle[key] for key in ("id", "name", "version") if key in version.info.bundle},
    }
