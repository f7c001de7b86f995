"""Take the power of a gate's disk at any moment, and look each time whether what was acknowledged is there.

python -m crash.power --bundle FILE --folder DIR --operations N --losses N --seed N

One process does N operations while all that it writes and syncs is noted; then, for many moments of it, the folder is
made as a disk could hold it if the power had gone at that moment (see `disk`), and the gate in it is opened. The same
while a gate is made: it is there as a whole, or not at all. Prints a JSON object with the figures; exits with 1 if a
promise was broken.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from facegate import VerifyKey

from . import load, shim, world
from .disk import MARK, Disk, read_diary
from .promises import BrokenPromiseError, Inspector, read_testimony

__all__ = ["main"]


def recorded(
    places: load.Places, diary: Path, seed: int, operations: int, credentials: dict[str, world.Credential]
) -> None:
    """One process that does its operations, noted in a diary; the gate is empty before."""
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            raise BrokenPromiseError("the load ended with an error")
        return
    try:
        shim.record(places.gate.parent, diary)
        load.run(
            *(places, credentials, load.Model()), seed=seed, operations=operations, marked=shim.mark, courier=False
        )
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(70)


def making(folder: Path, bundle: Path, losses: int, rng: random.Random, figures: Counter[str]) -> None:
    """Take the power while a gate is made. Raises BrokenPromiseError."""
    before, after, diary = (folder / name for name in ("making", "made", "making.diary"))
    before.mkdir()
    disk = Disk(before)
    pid = os.fork()
    if pid == 0:
        shim.record(before, diary)
        world.make_gate(before / "gate", bundle)
        shim.mark(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise BrokenPromiseError("no gate was made")
    records = read_diary(diary)
    # The last moments are those when everything gets its name.
    moments = {*range(len(records) - 12, len(records)), *rng.sample(range(len(records)), losses)}
    for i, record in enumerate(records):
        disk.play(record)
        if i not in moments:
            continue
        disk.lose_power(after, rng)
        gate = after / "gate"
        where = f"at record {i} of {len(records)} of making a gate"
        if gate.exists():
            try:
                with world.opened(gate, world.credentials_of(gate)) as desk:
                    desk.core.store.db.check()
            except Exception as error:
                raise BrokenPromiseError(f"{where}: {error!r}") from error
            figures["made as a whole"] += 1
        elif record.kind == MARK:
            raise BrokenPromiseError(f"{where}: it is lost")
        else:
            figures["not made"] += 1


def main(arguments: list[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--operations", type=int, default=60)
    parser.add_argument("--losses", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    world.threads_that_fork()
    rng = random.Random(options.seed)
    before, after, beside = (options.folder / name for name in ("before", "after", "beside"))
    for folder in (before, beside):
        folder.mkdir(parents=True)
    places = load.Places(before / "gate", before / "decisions.jsonl", beside / "oracle")
    world.make_gate(places.gate, options.bundle)
    credentials = world.credentials_of(places.gate)
    key = VerifyKey.load(places.gate / "device.key.pub")
    disk = Disk(before)
    begun = time.monotonic()
    recorded(places, beside / "diary", options.seed, options.operations, credentials)
    records = read_diary(beside / "diary")
    moments = set(rng.sample(range(len(records)), min(options.losses, len(records))))
    figures: Counter[str] = Counter()
    there = load.Places(after / "gate", after / "decisions.jsonl", places.oracle)
    lines = 0
    for i, record in enumerate(records):
        disk.play(record)
        lines = record.at if record.kind == MARK else lines
        if i not in moments:
            continue
        figures["losses"] += 1
        figures["losses with something unsynced"] += disk.unsynced() > 0
        disk.lose_power(after, rng)
        told = read_testimony(places.oracle, lines)
        inspector = Inspector(there, key, rng=random.Random(i))
        try:
            with world.opened(there.gate, credentials) as desk:
                inspector.look(desk, copy.deepcopy(told))
        except Exception:
            traceback.print_exc()
            doing = f"at record {i} of {len(records)}, {len(told.acknowledged)} acknowledged, during {told.pending}"
            print(json.dumps({"broken": doing, **figures}))
            return 1
        figures["acknowledged operations checked"] += len(told.acknowledged)
    making(options.folder, options.bundle, options.losses // 5, rng, figures)
    result = {**figures, "calls noted": len(records), "seconds": round(time.monotonic() - begun, 1)}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
