"""Disks that are full, failing or read-only: a clear error, and nothing half done.

`make torture` sets FACEGATE_FAULTS to 1: every call of every operation fails with every error.
"""

from __future__ import annotations

import json
import os

import pytest

SHARE = float(os.environ.get("FACEGATE_FAULTS", "0.03"))
SEED = int(os.environ.get("FACEGATE_SEED", "1"))
# The others are like one of these; `make torture` tries all.
USUAL = ("making", "opening", "enroll", "erase", "identify", "deliver", "rotate_key", "backup")


@pytest.fixture(scope="module")
def told(crash_script, bundle_path, tmp_path_factory):
    """What came of it."""
    done = crash_script(
        *("fail", "--bundle", bundle_path, "--folder", tmp_path_factory.mktemp("faults") / "trials"),
        *("--seed", SEED, "--share", SHARE),
        *(() if SHARE > 0.2 else ("--only", ",".join(USUAL))),
        timeout=3600,
    )
    assert done.stdout, done.stderr[-4000:]
    figures = json.loads(done.stdout)
    print("fail", json.dumps(figures, indent=1))  # noqa: T201 - for `make torture`
    return figures | {"trace": done.stderr[-4000:]}


def test_nothing_is_half_done_when_writes_fail(told):
    """Whichever call fails, an operation has happened as a whole or not at all, and the gate works afterwards."""
    assert told["broken"] == [], told["trace"]
    assert told["trials"] > 30
    assert told["not done"] > 5


def test_errors_say_what_is_wrong_with_the_disk(told):
    """A full disk and one that cannot be written are errors of their own, with advice."""
    said = told["errors"]
    assert said["ENOSPC: StoreFullError"] > 0
    assert said["EIO: StoreWriteError"] > 0
    assert said["EROFS: StoreWriteError"] > 0
    kinds = {error.split(": ")[1] for error in said}
    assert kinds <= {
        *("StoreFullError", "StoreWriteError", "GateWriteError", "KeyWriteError", "SinkSetupError", "BackupWriteError"),
    }
