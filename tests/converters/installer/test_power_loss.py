"""Whenever an installer is cut off, the old version works, or the new one; and the next installer makes it whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .packages import here

KILLER = Path(__file__).with_name("killer.py")


def killer(*arguments: object) -> list[dict[str, Any]]:
    """The lines that the program prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", str(KILLER), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (["install", "2"], {"1.0.0"}, "2.0.0"),
        (["install", "first"], {None}, "1.0.0"),
        (["install", "third"], {"2.0.0"}, "3.0.0"),
    ],
)
def test_an_installer_that_is_killed_leaves_the_old_or_the_new(
    root: Path, packages: dict[str, Path], tmp_path: Path, command: list[str], before: set[object], after: str
) -> None:
    """Before each rename and link, and in between; a second run finishes the work and leaves nothing over."""
    package, more = packages["2"], []
    if command[1] == "first":
        package, more = packages["1"], ["--trust", str(packages["key"])]
    else:
        here("install", packages["1"], "--root", root, "--trust", packages["key"], check=0)
    if command[1] == "third":  # the first one is removed
        here("install", packages["2"], "--root", root, check=0)
        package = packages["3"]
    lines = killer("kill", package, root, tmp_path / "scratch", 9, "--", command[0], package, *more)
    assert len(lines) > 15
    assert not lines[-1]["killed"]
    seen = set()
    for line in lines:
        assert line["after"]["version"] in {*before, after}, line
        assert not line["after"]["damaged"], line
        assert line["code"] == 0, line
        assert line["again"] == {"version": after, "damaged": [], "left": 0}, line
        seen.add(line["after"]["version"])
    assert seen == {*before, after}


def test_a_rollback_that_is_killed_leaves_the_old_or_the_new(
    installed: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    """One link is swapped: there is nothing in between. Run again it finds either nothing to do, or goes back."""
    here("install", packages["2"], "--root", installed, check=0)
    lines = killer("kill", packages["2"], installed, tmp_path / "scratch", 1, "--", "rollback")
    assert len(lines) > 2
    for line in lines:
        assert line["after"]["version"] in {"1.0.0", "2.0.0"}
        assert not line["after"]["damaged"]
        assert line["again"]["version"] == "1.0.0"


def test_an_uninstaller_that_is_killed_is_run_again(installed: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    """What is in use goes first: a version that is half removed is never one that is in use."""
    lines = killer("kill", packages["1"], installed, tmp_path / "scratch", 9, "--", "uninstall")
    for line in lines:
        assert not line["after"]["damaged"], line
        assert line["again"]["version"] is None, line


def test_everything_is_on_the_disk_before_the_link_is_swapped(installed: Path, packages: dict[str, Path]) -> None:
    """A power loss, not a kill: what was written and not synced would be gone, and must not be in use."""
    (line,) = killer("order", packages["2"], installed, "--", "install", packages["2"])
    assert line["code"] == 0
    assert line["unsynced"] == []
    assert line["dirty"] == []
