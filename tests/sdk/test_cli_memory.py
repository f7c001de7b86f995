"""What is in the memory of a command that opens a gate stays there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from facegate.cli import _gate, _init, _session

# A child, because this cannot be taken back in the process that runs the tests. PR_GET_DUMPABLE is 3.
CHILD = """
import ctypes, resource
from facegate.cli._memory import refuse_core_dumps
refuse_core_dumps()
refuse_core_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


def test_a_crash_leaves_no_keys_in_a_core_dump():
    """The system is told to dump nothing, also if it hands dumps to another program."""
    said = subprocess.check_output([sys.executable, "-c", CHILD], text=True)  # noqa: S603 - ourselves
    assert said.split() == ["0", "0"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (_session, ["people", "list"]),
        (_init, ["init", "other", "--demonstration"]),
        (_gate, ["gate", "restore", "none.backup", "other"]),
    ],
)
def test_commands_that_hold_keys_refuse_core_dumps(gate_commands, monkeypatch, module, arguments):
    """Before a key is read or made."""
    called = []
    monkeypatch.setattr(module, "refuse_core_dumps", lambda: called.append(True))
    gate_commands(*arguments, *(["--gate", gate_commands.folder] if module is _session else []))
    assert called
