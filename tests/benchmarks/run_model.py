"""Runs a model a number of times and does nothing else: for counting instructions under an emulator.

    python tests/benchmarks/run_model.py model.tflite --runs 11 [--float16] [--save outputs.npy] [--inputs inputs.npy]
    python tests/emulated/machine.py run --count cortex-a76 -- tests/benchmarks/run_model.py model.tflite --marks

With --marks there is one run before, and marks (system call 0x5EED, see tests/emulated/icount.c) around the others:
what is counted before mark 1 is what they take. docs/targets.md and docs/kernels.md have what it gave.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
from pathlib import Path

import numpy as np

from facegate_edge import this_machine
from facegate_edge._litert import LiteRtEngine

MARK = 0x5EED


def marked(engine: LiteRtEngine, runs: int) -> None:
    mark = ctypes.CDLL(None).syscall
    gc.disable()
    engine.run()
    mark(MARK, 0)
    for _ in range(runs):
        engine.run()
    mark(MARK, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--float16", action="store_true", help="ask XNNPACK for float16 arithmetic")
    parser.add_argument("--inputs", type=Path, help="array (N, H, W, 3) to run on; noise if not given")
    parser.add_argument("--marks", action="store_true", help="warm up, mark, run, mark; nothing is saved")
    parser.add_argument("--save", type=Path, help="save the first output of each run")
    arguments = parser.parse_args()
    facts = this_machine()
    print(facts.machine, facts.cpu, *facts.features)
    with LiteRtEngine(arguments.model.read_bytes(), float16=arguments.float16) as engine:
        (array,), output = engine.inputs.values(), next(iter(engine.outputs.values()))
        frames = (
            np.load(arguments.inputs) if arguments.inputs else np.random.default_rng(0).standard_normal(array.shape)
        )
        if arguments.marks:
            array[...] = frames[0]
            marked(engine, arguments.runs)
            return
        saved = []
        for run in range(arguments.runs):
            array[...] = frames[run % len(frames)]
            engine.run()
            saved.append(output.ravel().copy())
    if arguments.save:
        np.save(arguments.save, np.array(saved))


if __name__ == "__main__":
    main()
