#!/usr/bin/env python3
"""Instructions that one run of a model takes on an emulated target: what the converter's `instructions` gate asks.

    make arm
    FACEGATE_COUNT_INSTRUCTIONS=tests/benchmarks/count_instructions.py facegate convert ...
    tests/benchmarks/count_instructions.py rpi5 model.tflite

The emulated machine is the one of `make arm`, or that in FACEGATE_ARM. Prints {"instructions": N}: the mean of two
runs after the first. A count is no time. docs/kernels.md has the counts that the project holds itself to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "emulated"))
from counting import count_model
from errors import MachineError
from machine import Machine

CORES = {
    "rpi3": "cortex-a53",
    "rpi4": "cortex-a72",
    "rpi5": "cortex-a76",
    "jetson-nano": "cortex-a57",
    "generic-aarch64": "cortex-a53",
}


def main() -> int:
    """Count; the exit code: 2 usage, 3 the file, 5 no machine, or the model does not run on it."""
    if len(sys.argv) != 3:
        print("usage: count_instructions.py TARGET MODEL.tflite", file=sys.stderr)
        return 2
    target, model = sys.argv[1], Path(sys.argv[2]).resolve()
    if target not in CORES:
        print(f"no core to emulate for {target}; there are {', '.join(CORES)}", file=sys.stderr)
        return 2
    if not model.is_file():
        print(f"there is no file {model}", file=sys.stderr)
        return 3
    machine = Machine()
    if reason := machine.unavailable():
        print(reason, file=sys.stderr)
        return 5
    try:
        print(json.dumps({"instructions": count_model(machine, CORES[target], model)}))
    except MachineError as error:
        print(error, file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
