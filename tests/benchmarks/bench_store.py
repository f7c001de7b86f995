"""What a gate costs as it grows: opening, memory, a decision, an enrollment. One process, one thread.

Run: python tests/benchmarks/bench_store.py [--sizes 1000,10000,100000] [--length 512] [--repeats 500] [--json]

Each person has one face (--faces), a consent and a group; templates are random directions. The gate is a real one (with
store, audit log, outbox) but for its models, which take no time: no inference is in the figures.

open      Store.open and the gate on it, in a fresh process: the best of three. The tally of all rows is counted, all
          faces are unsealed.
memory    resident in that process when it is open, the most that ever was, and what Python and the libraries had before
search    Index.best among everybody, and in one group
identify  Recognizer.identify of a stranger: search, decision, signature, audit entry, durable commit
enroll    Enroller.enroll of one picture: search for a duplicate, sealing, consent, audit entry, durable commit
sync      write and fsync of 4 KB in the same folder: what the disk takes of each of the two
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read when the libraries are loaded

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facegate import Consent, Policy, SigningKey, open_reference_bundle
from facegate._clock import SystemClock
from facegate._core import GateCore
from facegate._declaration import Declaration
from facegate._enroller import Enroller
from facegate._recognizer import Recognizer
from facegate._store._audit import Audit
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import FILE, Store
from facegate_edge._quality import Quality
from facegate_edge._values import Face, Frame, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_edge._bundle import Bundle
    from facegate_edge._liveness import LivenessScore

SPACE = "bench-space"
BLOCK = 5000
DEVICE = SigningKey.from_seed(bytes(range(32)))
FACE = Face(np.array([0, 0, 120, 120], np.float32), None, 0.9)
GOOD = Quality(60.0, 120.0, 500.0, 128.0, 0.1, 0.1, 0.0, 0.0, 0.0)
TIMED = ("search", "search_group", "identify", "enroll", "sync")


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def peak() -> float:
    """The most that was ever resident, MB."""
    # Not getrusage: its figure begins with what the parent had.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def directions(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Random templates, int8 (count, length)."""
    block = rng.standard_normal((count, length), np.float32)
    return np.rint(block * (127 / np.abs(block).max(1, keepdims=True))).astype(np.int8)


def enroll(store: Store, tx, reference: str, rows: np.ndarray, group: int | None) -> None:
    """A person, their faces, their consent and their group. The rows are as good as rotated: they are random."""
    person = store.add_person(tx, reference)
    store.add_faces(tx, person, [Template(row, store.space) for row in rows])
    tx.insert(
        "consent",
        person=person,
        purpose="Access to the building by face recognition",
        legal_basis="explicit_consent",
        text_version="2026-01",
        text_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        given=1_700_000_000_000,
        taken_by="desk-2",
    )
    if group is not None:
        store.join(tx, person, group)


def fill(folder: Path, key: FileKey, people: int, faces: int, length: int) -> float:
    """Make a store of so many people; returns how long it took, seconds."""
    rng = np.random.default_rng(people)
    began = time.perf_counter()
    with Store.create(folder, device="bench", space=SPACE, length=length, key=key) as store:
        with store.db.transaction() as tx:
            Audit(store.db, DEVICE, SystemClock()).begin(tx)
            group = store.add_group(tx, "staff")
        for first in range(0, people, BLOCK):
            count = min(BLOCK, people - first)
            rows = directions(rng, count * faces, length).reshape(count, faces, length)
            with store.db.transaction() as tx:
                for i in range(count):
                    enroll(store, tx, f"person-{first + i:06d}", rows[i], group)
    return time.perf_counter() - began


class Models:
    """Models that take no time and see another random face each time."""

    def __init__(self, length: int) -> None:
        self.space, self.template_length, self.has_liveness = SPACE, length, False
        self._rows = directions(np.random.default_rng(7), 256, length)
        self._next = 0

    def detect(self, frame: Frame) -> tuple[Face, ...]:  # noqa: ARG002
        return (FACE,)

    def measure(self, frame: Frame, face: Face) -> Quality:  # noqa: ARG002
        return GOOD

    def embed(self, frame: Frame, face: Face) -> Template:  # noqa: ARG002
        self._next = (self._next + 1) % len(self._rows)
        return Template(self._rows[self._next].copy(), SPACE)

    def liveness(self, frame: Frame, face: Face) -> LivenessScore:  # noqa: ARG002
        raise AssertionError("nobody asks: has_liveness is False")

    def close(self) -> None:
        pass


def open_gate(folder: Path, bundle: Bundle, length: int) -> GateCore:
    """The store of a folder, and a gate on it."""
    store = Store.open(folder, space=SPACE, length=length, key=FileKey(folder / "seal.key"))
    return GateCore(
        *(bundle, Policy(fmr=1e-3, max_attempts=0, max_trials_per_minute=0), DEVICE, store),
        device_id="bench",
        declaration=Declaration.demonstration(),
        pipeline=Models(length),
        owns_pipeline=False,
        folder=folder,
    )


def open_once(folder: Path, length: int) -> dict[str, float]:
    """Open it, look at the clock and the memory. For a process of its own."""
    with open_reference_bundle() as bundle:
        before = resident()
        began = time.perf_counter()
        core = open_gate(folder, bundle, length)
        seconds = time.perf_counter() - began
        figures = {
            "open_s": seconds,
            "rss_mb": resident(),
            "peak_mb": peak(),
            "libraries_mb": before,
            "locked": float(core.store.index.locked),
        }
        core.close()
    return figures


def percentiles(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": max(times) * 1e3}


def timed(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Percentiles of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return percentiles(times)


def synced(folder: Path, repeats: int) -> dict[str, float]:
    """Percentiles of what every durable commit waits for at least."""
    path = folder / "sync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:

        def write() -> None:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)

        return timed(write, repeats)
    finally:
        os.close(descriptor)
        path.unlink()


def operate(folder: Path, length: int, repeats: int) -> dict[str, dict[str, float]]:
    """Searches alone, decisions, enrollments."""
    frame = Frame(np.zeros((4, 4, 3), np.uint8))
    with open_reference_bundle() as bundle:
        core = open_gate(folder, bundle, length)
        try:
            index, models = core.store.index, Models(length)
            staff = core.store.group("staff")
            assert staff is not None
            probe = core.store.rotation.apply(models.embed(frame, FACE))
            recognizer, enroller = Recognizer(core, "bench"), Enroller(core, "bench")
            consent = Consent.to_text(
                "I agree.",
                purpose=core.declaration.purpose,
                legal_basis="demonstration",
                text_version="1",
                given_at=core.now().time,
                taken_by="bench",
            )
            names = iter(range(10**6))
            return {
                "search": timed(lambda: index.best(probe), repeats),
                "search_group": timed(lambda: index.best(probe, groups=[staff.id]), repeats),
                "identify": timed(lambda: recognizer.identify(frame), repeats),
                "enroll": timed(
                    lambda: enroller.enroll(f"late-{next(names)}", [frame], consent, allow_duplicate=True), repeats
                ),
                "sync": synced(folder, repeats),
            }
        finally:
            core.close()


def measure(people: int, faces: int, length: int, repeats: int, parent: str | None) -> dict[str, object]:
    """All figures of one size."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    key = FileKey(folder / "seal.key")
    key.save(new_secret())
    try:
        filled = fill(folder, key, people, faces, length)
        result: dict[str, object] = {"people": people, "faces": people * faces, "fill_s": filled}
        result["file_mb"] = (folder / FILE).stat().st_size / 1e6
        child = [sys.executable, __file__, "--child", str(folder), "--length", str(length)]
        runs = [json.loads(subprocess.check_output(child)) for _ in range(3)]  # noqa: S603 - ourselves
        result |= min(runs, key=lambda run: run["open_s"])
        result |= operate(folder, length, repeats)
    finally:
        shutil.rmtree(folder)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--folder", help="where the stores are made: a commit is as fast as this disk")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder = Path(arguments.child)
        print(json.dumps(open_once(folder, arguments.length)))
        return
    results = [
        measure(int(size), arguments.faces, arguments.length, arguments.repeats, arguments.folder)
        for size in arguments.sizes.split(",")
    ]
    if arguments.json:
        print(json.dumps({"machine": platform.processor() or platform.machine(), "results": results}, indent=1))
        return
    print(f"{'people':>7} {'faces':>7} {'file':>7} {'open':>6} {'memory (peak, before)':>22}", end="")
    print("".join(f"{name:>16}" for name in TIMED), " p50/p99 ms")
    for r in results:
        memory = f"{r['rss_mb']:.0f} ({r['peak_mb']:.0f}, {r['libraries_mb']:.0f}) MB"
        print(f"{r['people']:>7} {r['faces']:>7} {r['file_mb']:>4.0f} MB {r['open_s']:>4.2f} s {memory:>22}", end="")
        print("".join(f"{r[name]['p50_ms']:>8.2f}/{r[name]['p99_ms']:<7.2f}" for name in TIMED))


if __name__ == "__main__":
    main()
