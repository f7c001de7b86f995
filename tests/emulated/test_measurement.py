"""A measurement that an emulator made is marked as one: nobody can mistake it for a board's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

EDGE = Path(__file__).parents[2] / "edge_runtime"
# Without the package's own __init__, which would load the kernels: only files of the kernel are looked at.
LOOK = """
import sys, types
package = types.ModuleType("facegate_edge")
package.__path__ = [sys.argv[1]]
sys.modules["facegate_edge"] = package
from facegate_edge._conditions import conditions, is_emulated
from facegate_edge._machine import this_machine
conditions()
print(is_emulated(), this_machine().cpu)
"""


@pytest.mark.parametrize(
    ("cpu", "shown"), [("cortex-a72", "Cortex-A72"), ("cortex-a76", "Cortex-A76"), ("cortex-a7", "Cortex-A7")]
)
def test_an_emulated_core_is_told_from_a_real_one(machine, cpu, shown):
    """Its /proc/cpuinfo is the board's, to the letter; the program that runs it is the host's."""
    done = machine.run(cpu, ["-c", LOOK, str(EDGE / "facegate_edge")], timeout=120)
    assert done.stdout.split() == ["True", shown], done.stderr
    assert os.uname().machine == "x86_64"
