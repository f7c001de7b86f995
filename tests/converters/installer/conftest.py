"""A root to install into, and packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .packages import Recipe, public, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty system, whose service user is there already."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nfacegate:x:990:990::/var/lib/facegate:/bin/false\n")
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three versions of one package, signed, and the signer's key."""
    folder = tmp_path_factory.mktemp("packages")
    found = {version: Recipe(version=f"{version}.0.0").write(folder / f"door-{version}.pyz") for version in "123"}
    return found | {"key": public(folder)}


@pytest.fixture
def installed(root: Path, packages: dict[str, Path]) -> Path:
    """The root with version 1 installed."""
    run(packages["1"], "install", "--root", root, "--trust", packages["key"], check=0)
    return root
