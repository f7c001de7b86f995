"""What a review pack costs, by the number of entries in the audit log, all of which are checked for it.

    python tests/benchmarks/bench_pack.py --entries 100,100000

Makes a demonstration gate in a temporary folder, fills its log, and makes a pack. Wall-clock seconds: for how long the
gate is locked, and the whole; then processor seconds and the peak of the process's memory in MB.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from facegate import Credential, open_gate, open_reference_bundle, reference_policy
from facegate._declaration import Declaration
from facegate._new_gate import create_gate
from facegate._pack._facts import read_gate
from facegate._reference import KEY
from facegate_edge._keys import TrustStore

BATCH = 5000


class NoModels:
    """In the place of a pipeline: no picture is looked at."""

    space, template_length, has_liveness = "", 0, True

    def close(self):
        """There is nothing to free."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", default="100,100000")
    wanted = [int(text) for text in parser.parse_args().entries.split(",")]
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "gate"
        with open_reference_bundle() as bundle:
            made = create_gate(
                *(folder, bundle, TrustStore.load(KEY), reference_policy()),
                device_id="bench",
                declaration=Declaration.demonstration(),
            )
        officer = Credential.load(made.credentials / "privacy_officer.credential")
        print("entries    locked  whole  processor  MB  file KB")
        with open_gate(folder, pipeline=NoModels()) as gate:
            for number in wanted:
                measure(gate, officer, number, Path(room) / f"{number}.zip")


def measure(gate, officer, wanted, path):
    core = gate._core
    while (found := core.store.db.read("SELECT count(*) FROM audit")[0][0]) < wanted:
        with core.operation("gate", "") as work:
            for _ in range(min(BATCH, wanted - found)):
                work.log("opened")
    begun = time.perf_counter()
    read_gate(core, core.now())
    locked = time.perf_counter() - begun
    begun, processor = time.perf_counter(), time.process_time()
    gate.privacy_officer(officer).review_pack(path)
    whole, processor = time.perf_counter() - begun, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{found:7d}  {locked:8.2f} {whole:6.2f} {processor:10.2f} {memory:3d} {path.stat().st_size / 1000:8.0f}")


if __name__ == "__main__":
    main()
