"""What a backup costs as a gate grows: time, size, memory; and restoring and wiping it.

Run: python tests/benchmarks/bench_backup.py [--sizes 1000,10000] [--faces 1] [--json]

A gate of the reference bundle on disk, each person with random templates, a consent and a group. Each step runs in a
process of its own; memory is the most that was ever resident in it, beside that of one which only opened the gate.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read when the libraries are loaded

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from facegate import Consent, TrustStore, open_gate, open_reference_bundle, reference_policy
from facegate._consents import put_consent
from facegate._credentials import Credential
from facegate._declaration import Declaration
from facegate._new_gate import create_gate
from facegate._recovery import RecoveryKey, RecoveryPublicKey
from facegate._reference import KEY
from facegate._restore import restore_backup
from facegate._wipe import plan_wipe, wipe_gate
from facegate_edge._values import Template

BLOCK = 2000


class Idle:
    """No models: nobody looks at a picture here."""

    has_liveness = False
    close = lambda _: None  # noqa: E731


def fill(folder: Path, people: int, faces: int) -> None:
    """Make the gate, its people and the recovery key."""
    with open_reference_bundle() as bundle:
        create_gate(
            *(folder / "gate", bundle, TrustStore.load(KEY), reference_policy()),
            device_id="bench",
            declaration=Declaration.demonstration(),
        )
    key = RecoveryKey.generate()
    key.save(folder / "recovery.key")
    key.public.save(folder / "recovery.pub")
    consent = Consent.to_text(
        *("I agree.",),
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=datetime.now(timezone.utc),
        taken_by="bench",
    )
    rng = np.random.default_rng(0)
    with open_gate(folder / "gate", pipeline=Idle()) as gate:
        store = gate._core.store
        with store.db.transaction() as tx:
            group = store.add_group(tx, "all")
        for first in range(0, people, BLOCK):
            with store.db.transaction() as tx:
                for number in range(first, min(first + BLOCK, people)):
                    person = store.add_person(tx, f"p{number}")
                    rows = rng.integers(-127, 128, (faces, store.length), np.int8)
                    store.add_faces(tx, person, [Template(row, store.space) for row in rows])
                    put_consent(tx, person, consent)
                    store.join(tx, person, group)


def step(folder: Path, name: str) -> dict[str, float]:
    """One step, measured."""
    gate = folder / "gate"
    begin = time.perf_counter()
    if name == "open":
        with open_gate(gate, pipeline=Idle()):
            taken = time.perf_counter() - begin
    elif name == "backup":
        with open_gate(gate, pipeline=Idle()) as opened:
            token = Credential.load(folder / "gate-credentials" / "administrator.credential")
            administrator = opened.administrator(token)
            begin = time.perf_counter()
            administrator.backup(folder / "b.backup", RecoveryPublicKey.load(folder / "recovery.pub"))
            taken = time.perf_counter() - begin
    elif name == "restore":
        with (folder / "b.backup").open("rb") as stream:
            restore_backup(stream, folder / "again", RecoveryKey.load(folder / "recovery.key"))
        taken = time.perf_counter() - begin
    else:
        wipe_gate(plan_wipe(folder / "again"))
        taken = time.perf_counter() - begin
    return {"seconds": taken, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000")
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(step(args.folder, args.step)))
        return
    results = []
    for people in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder, people, args.faces)
            result: dict[str, object] = {"people": people, "faces": people * args.faces}
            for each in ("open", "backup", "restore", "wipe"):
                done = subprocess.run(  # noqa: S603 - this script
                    [sys.executable, __file__, "--step", each, "--folder", str(folder)],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                result[each] = json.loads(done.stdout)
            result["size"] = (folder / "b.backup").stat().st_size / 1e6
            result["store"] = (folder / "gate" / "gate.db").stat().st_size / 1e6
            results.append(result)
            if not args.json:
                shown = "  ".join(
                    f"{each} {result[each]['seconds']:.2f} s, {result[each]['memory']:.0f} MB"  # type: ignore[index]
                    for each in ("open", "backup", "restore", "wipe")
                )
                print(f"{people} people: {shown}  file {result['size']:.1f} MB of a store of {result['store']:.1f} MB")
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
