"""Runs models on an emulated core, one after the other, with a mark before and after some runs of each.

What `count_precisions.py` starts there: `run_models.py RUNS MODEL[:float16] ...`. The counting plugin of
tests/emulated/icount.c notes how many instructions were executed at each mark.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import numpy as np

from facegate_edge.errors import EngineError

MARK = 0x5EED


def engine(path: Path, *, float16: bool):
    """The model compiled: by LiteRT where this architecture has it, else by tflite-runtime."""
    data = path.read_bytes()
    if sys.maxsize > 2**32:
        from facegate_edge._litert import LiteRtEngine  # noqa: PLC0415 - 32-bit ARM has none

        return LiteRtEngine(data, float16=float16)
    from facegate_edge._tflite import TfliteEngine  # noqa: PLC0415 - 64-bit machines need none

    return TfliteEngine(data)


def main() -> None:
    """Run them; tell of each that is done, and of each that the engine refuses."""
    libc = ctypes.CDLL(None)
    runs = int(sys.argv[1])
    for number, named in enumerate(sys.argv[2:]):
        name, _, arithmetic = named.partition(":")
        try:
            made = engine(Path(name), float16=arithmetic == "float16")
        except EngineError as error:  # tflite-runtime refuses what it calculates wrongly
            print(f"{named}: {error}", file=sys.stderr)
            continue
        with made:
            for array in made.inputs.values():
                array[...] = np.random.default_rng(0).standard_normal(array.shape)
            made.run()
            gc.collect()
            gc.disable()
            libc.syscall(MARK, 2 * number)
            for _ in range(runs):
                made.run()
            libc.syscall(MARK, 2 * number + 1)
            gc.enable()
        print(named, flush=True)


if __name__ == "__main__":
    main()
