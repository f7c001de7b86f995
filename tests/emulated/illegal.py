"""Runs each instruction of words.json in a child of its own and prints, as JSON, the signal that ended it (0: none).

Only instructions of extensions are run. Those that work on memory work on the child's stack, so what the child dies of
later may be another signal: only whether it was SIGILL tells whether the core has the instruction.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
from pathlib import Path

RETURN = 0xD65F03C0
EXTENSIONS = ("dotprod", "fp16", "rdm", "lse", "rcpc", "fhm", "i8mm", "bf16", "sve")


def main() -> None:
    """Run them."""
    words = json.loads(Path(__file__).with_name("words.json").read_text())
    ends = {}
    for name, word in words.items():
        if not name.startswith(EXTENSIONS):
            continue
        child = os.fork()
        if child == 0:
            page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page[:8] = int(word, 16).to_bytes(4, "little") + RETURN.to_bytes(4, "little")
            ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
            os._exit(0)
        ends[name] = os.WTERMSIG(status) if os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) else 0
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
