#!/usr/bin/env python3
"""Instructions that one run of a model takes on an emulated target: what the converter's `instructions` gate asks.

    FACEGATE_ARM=arm-work FACEGATE_COUNT_INSTRUCTIONS=tests/benchmarks/count_instructions.py facegate convert ...
    FACEGATE_ARM=arm-work tests/benchmarks/count_instructions.py rpi5 model.tflite

FACEGATE_ARM is a folder with an emulated machine: `qemu/usr/bin/qemu-aarch64` (of Debian's qemu-user with its libraries
beside it), `icount.so` (a plugin that prints "all=N" of the instructions executed), `root-arm64` (an arm64 Debian with
Python 3.11) and `site-arm64` (numpy, cffi, ai-edge-litert of that architecture). Prints {"instructions": N}: a tenth of
what ten more runs take. A count is no time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

CORES = {
    "rpi3": ("cortex-a53", "0xd03", "fp asimd evtstrm crc32 cpuid"),
    "rpi4": ("cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    "rpi5": (
        "cortex-a76",
        "0xd0b",
        "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
    "jetson-nano": ("cortex-a57", "0xd07", "fp asimd evtstrm aes crc32 cpuid"),
    "generic-aarch64": ("cortex-a53", "0xd03", "fp asimd evtstrm crc32 cpuid"),
}
RUNS = 10


def main() -> int:
    """Count; the exit code."""
    target, model = sys.argv[1], Path(sys.argv[2]).resolve()
    machine = Path(os.environ.get("FACEGATE_ARM", "arm-work")).resolve()
    if target not in CORES:
        print(f"no core to emulate for {target}; there are {', '.join(CORES)}", file=sys.stderr)
        return 1
    needed = [machine / part for part in ("qemu/usr/bin/qemu-aarch64", "icount.so", "root-arm64", "site-arm64")]
    if missing := [part.name for part in needed if not part.exists()]:
        print(f"{machine} lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    one, many = (count(machine, CORES[target], model, runs) for runs in (1, 1 + RUNS))
    print(json.dumps({"instructions": (many - one) // RUNS}))
    return 0


def count(machine: Path, core: tuple[str, str, str], model: Path, runs: int) -> int:
    """All instructions of a process that runs the model so often."""
    cpu, part, features = core
    root = machine / "root-arm64"
    # qemu 7.2 shows the host's /proc/cpuinfo, on which the engine's detection of ARM cores stumbles.
    text = (
        "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        "CPU variant\t: 0x0\nCPU part\t: {}\nCPU revision\t: 3\n\n"
    )
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(text.format(features, part))
    spec = find_spec("facegate_edge")
    assert spec is not None
    assert spec.origin is not None
    paths = [machine / "site-arm64", Path(spec.origin).parents[1]]
    done = subprocess.run(  # noqa: S603 - the emulator that the user named
        [
            *(str(machine / "qemu/usr/bin/qemu-aarch64"), "-plugin", str(machine / "icount.so"), "-cpu", cpu),
            *("-E", "LD_LIBRARY_PATH=", "-E", "PYTHONHASHSEED=0", "-L", str(root), str(root / "usr/bin/python3.11")),
            *(str(Path(__file__).with_name("run_model.py")), str(model), "--runs", str(runs)),
        ],
        env={
            "LD_LIBRARY_PATH": str(machine / "qemu/usr/lib/x86_64-linux-gnu"),
            "PYTHONPATH": ":".join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ.get("PATH", ""),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"\ball=(\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"the emulated run failed: {done.stderr.strip()[-300:]}")
    return int(found[-1])


if __name__ == "__main__":
    sys.exit(main())
