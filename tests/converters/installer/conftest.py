"""A root to install into, and packages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .packages import Recipe, here, public

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty system, whose service user is there already."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    # The service is who runs the tests: another user could not look into a test's folder.
    user = f"facegate:x:{os.getuid()}:{os.getgid()}::/var/lib/facegate:/bin/false\n"
    (folder / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n" + user)
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three versions of one package, signed, and the signer's key."""
    folder = tmp_path_factory.mktemp("packages")
    found = {version: Recipe(version=f"{version}.0.0").write(folder / f"door-{version}.pyz") for version in "123"}
    return found | {"key": public(folder)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process do not wait for the disk, which is everybody's; test_power_loss.py looks at syncing."""
    here("show", "none")
    monkeypatch.setattr("facegate_installer._disk._sync_file_system", lambda _: True)


@pytest.fixture
def installed(root: Path, packages: dict[str, Path]) -> Path:
    """The root with version 1 installed."""
    here("install", packages["1"], "--root", root, "--trust", packages["key"], check=0)
    return root
