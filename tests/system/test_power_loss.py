"""Power that goes, processes that are killed: what a gate acknowledged stays, and nothing is half done.

`make torture` sets FACEGATE_KILLS and FACEGATE_LOSSES higher and shows the figures.
"""

from __future__ import annotations

import json
import os

import pytest

KILLS = int(os.environ.get("FACEGATE_KILLS", "15"))
LOSSES = int(os.environ.get("FACEGATE_LOSSES", "25"))
SEED = int(os.environ.get("FACEGATE_SEED", "1"))


@pytest.fixture
def tortured(crash_script, bundle_path, tmp_path):
    """A function: module of crash/ and its arguments -> the figures; a broken promise fails the test."""

    def torture(module, *arguments, timeout):
        folder = tmp_path / "torture"
        folder.mkdir()
        done = crash_script(
            *(module, "--bundle", bundle_path, "--folder", folder, "--seed", SEED, *arguments), timeout=timeout
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        print(module, json.dumps(json.loads(done.stdout), indent=1))  # noqa: T201 - for `make torture`
        return json.loads(done.stdout)

    return torture


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tortured):
    """Killed at any moment or call, the gate opens again, holds what it acknowledged, and delivers in order."""
    told = tortured("kill", "--kills", KILLS, timeout=60 + 4 * KILLS)
    assert told["kills"] >= KILLS
    assert told["acknowledged"] > KILLS


def test_nothing_acknowledged_is_lost_when_the_power_goes(tortured):
    """Whatever of the unsynced writes the disk has kept, the gate opens again and holds what it acknowledged."""
    told = tortured("power", "--losses", LOSSES, "--operations", 40 + LOSSES // 4, timeout=60 + 4 * LOSSES)
    assert told["losses"] >= LOSSES
    assert told["losses with something unsynced"] > LOSSES // 4
    assert told["acknowledged operations checked"] > LOSSES
