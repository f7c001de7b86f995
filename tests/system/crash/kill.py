"""Kill a gate's process again and again, at any moment, and look each time whether it kept its promises.

python -m crash.kill --bundle FILE --folder DIR --kills N --seed N [--within MILLISECONDS]

Half of the kills come after a random time, half at a random call that changes a file, where the process stops before
the call or, if it is a write, half way through it. Prints a JSON object with the figures; exits with 1 if a promise was
broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from facegate import VerifyKey

from . import load, shim, world
from .promises import BrokenPromiseError, Inspector, read_testimony

__all__ = ["main"]


def child(
    places: load.Places, credentials: dict[str, Any], inspector: Inspector, seed: int, at: tuple[int, bool] | None
) -> None:
    """What runs until it is killed. `at`: the call to be killed at, and whether half way through it."""
    try:
        if at is None:
            load.run(places, credentials, inspector.model, seed=seed)
        else:
            with shim.fault(places.gate.parent, at[0], shim.KILL, half=at[1]):
                load.run(places, credentials, inspector.model, seed=seed, operations=400)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(70)


def one_life(
    places: load.Places, credentials: dict[str, Any], inspector: Inspector, rng: random.Random, within: float
) -> str:
    """Start a process, let it be killed; returns how it ended."""
    places.oracle.unlink(missing_ok=True)
    seed = rng.getrandbits(32)
    at = (int(rng.expovariate(1 / 250)) + 1, rng.random() < 0.5) if rng.random() < 0.5 else None
    pid = os.fork()
    if pid == 0:
        child(places, credentials, inspector, seed, at)
    if at is None:
        patient = rng.random() < 0.85
        while patient and not _has_opened(places) and _runs(pid):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, within))
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "time" if at is None else ("half a write" if at[1] else "call")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return "not killed"
    raise BrokenPromiseError(f"the process ended with status {status}, seed {seed}")


def _has_opened(places: load.Places) -> bool:
    """Whether the child has said so."""
    return places.oracle.exists() and places.oracle.stat().st_size > 0


def _runs(pid: int) -> bool:
    """Whether a child has not ended yet; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main(arguments: list[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=400, help="milliseconds")
    options = parser.parse_args(arguments)
    world.threads_that_fork()
    rng = random.Random(options.seed)
    gate = options.folder / "gate"
    places = load.Places(
        gate, options.folder / "decisions.jsonl", options.folder.with_name(options.folder.name + ".oracle")
    )
    world.make_gate(gate, options.bundle)
    credentials = world.credentials_of(gate)
    inspector = Inspector(places, VerifyKey.load(gate / "device.key.pub"))
    figures: Counter[str] = Counter()
    killed_in: Counter[str] = Counter()
    begun = time.monotonic()
    while figures["kills"] < options.kills:
        try:
            way = one_life(places, credentials, inspector, rng, options.within / 1000)
            told = read_testimony(places.oracle)
            with world.opened(gate, credentials) as desk:
                inspector.look(desk, told)
        except Exception:
            traceback.print_exc()
            print(json.dumps({"broken": True, "kills": figures["kills"], **figures}))
            return 1
        figures["kills"] += way != "not killed"
        figures[f"killed at: {way}"] += 1
        figures["acknowledged"] += len(told.acknowledged)
        for operation, _ in told.acknowledged:
            figures[operation.name] += 1
        doing = told.pending.name if told.pending is not None else "between" if told.opened else "opening"
        killed_in[doing] += 1
    result = {
        **figures,
        "killed in": dict(killed_in),
        "people": len(inspector.model.people),
        "decisions": len(inspector.decisions),
        "erased values looked for": len(inspector.gone),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
