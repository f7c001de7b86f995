"""What a gate's store costs as it grows: opening, memory, a decision, an enrollment. One process, one thread.

Run: python tests/benchmarks/bench_store.py [--sizes 1000,10000,100000] [--length 512] [--repeats 500] [--json]

Each person has one face (--faces), a consent and a group. The templates are random directions. "open" and "memory" are
those of a fresh process that does nothing but open the store: memory is the resident set, its peak while opening, and
what of it the interpreter and its libraries take before. "decide" is the search of all people and the durable commit of
the decision, its audit entry and its sequence number, without inference; "enroll" is the durable commit of a person
with one face and their consent.
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

import numpy as np

from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import FILE, Store
from facegate_edge._keys import SigningKey
from facegate_edge._values import Template

SPACE = "bench-space"
BLOCK = 5000


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
            group = store.add_group(tx, "staff")
        for first in range(0, people, BLOCK):
            count = min(BLOCK, people - first)
            rows = directions(rng, count * faces, length).reshape(count, faces, length)
            with store.db.transaction() as tx:
                for i in range(count):
                    enroll(store, tx, f"person-{first + i:06d}", rows[i], group)
    return time.perf_counter() - began


def open_once(folder: Path, key: FileKey, length: int) -> dict[str, float]:
    """Open it, look at the clock and the memory. For a process of its own."""
    before = resident()
    began = time.perf_counter()
    with Store.open(folder, space=SPACE, length=length, key=key) as store:
        return {
            "open_s": time.perf_counter() - began,
            "rss_mb": resident(),
            "peak_mb": peak(),
            "libraries_mb": before,
            "locked": float(store.index.locked),
        }


def percentiles(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": max(times) * 1e3}


def decide(store: Store, repeats: int, length: int) -> dict[str, dict[str, float]]:
    """Searches alone, and with the commit of the decision that they come to."""
    from facegate._clock import SystemClock  # noqa: PLC0415
    from facegate._store._audit import Audit  # noqa: PLC0415

    device = SigningKey.generate()
    audit = Audit(store.db, device, SystemClock())
    with store.db.transaction() as tx:
        audit.begin(tx)
    rng = np.random.default_rng(7)
    probes = [store.rotation.apply(Template(row, SPACE)) for row in directions(rng, repeats, length)]
    searches, groups, decisions, enrollments = [], [], [], []
    staff = store.group("staff")
    assert staff is not None
    for probe in probes:
        began = time.perf_counter()
        store.index.best(probe)
        searches.append(time.perf_counter() - began)
        began = time.perf_counter()
        store.index.best(probe, groups=[staff.id])
        groups.append(time.perf_counter() - began)
    statement = "x" * 900
    for number, probe in enumerate(probes, 1):
        began = time.perf_counter()
        store.index.best(probe)
        jws = f"{statement}.{device.sign(statement.encode()).hex()}"
        with store.db.transaction() as tx:
            tx.execute("UPDATE state SET sequence = sequence + 1 WHERE id = 1")
            tx.execute(
                "INSERT INTO decision (sequence, id, time, jws) VALUES (?, ?, ?, ?)", number, f"id-{number}", 1, jws
            )
            audit.append(tx, role="recognizer", action="decide", details={"outcome": "no_match"})
        decisions.append(time.perf_counter() - began)
    for number, row in enumerate(directions(rng, repeats, length)):
        began = time.perf_counter()
        with store.db.transaction() as tx:
            enroll(store, tx, f"late-{number}", row[None], staff.id)
        enrollments.append(time.perf_counter() - began)
    return {
        "search": percentiles(searches),
        "search_group": percentiles(groups),
        "decide": percentiles(decisions),
        "enroll": percentiles(enrollments),
    }


def measure(people: int, faces: int, length: int, repeats: int, parent: str | None) -> dict[str, object]:
    """All figures of one size."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    key = FileKey(folder / "seal.key")
    key.save(new_secret())
    try:
        result: dict[str, object] = {"people": people, "faces": people * faces, "fill_s": fill(folder, key, people, faces, length)}
        result["file_mb"] = (folder / FILE).stat().st_size / 1e6
        child = [sys.executable, __file__, "--child", str(folder), "--length", str(length)]
        runs = [json.loads(subprocess.check_output(child)) for _ in range(3)]  # noqa: S603 - ourselves
        result |= min(runs, key=lambda run: run["open_s"])
        with Store.open(folder, space=SPACE, length=length, key=key) as store:
            result |= decide(store, repeats, length)
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
        print(json.dumps(open_once(folder, FileKey(folder / "seal.key"), arguments.length)))
        return
    results = [
        measure(int(size), arguments.faces, arguments.length, arguments.repeats, arguments.folder)
        for size in arguments.sizes.split(",")
    ]
    if arguments.json:
        print(json.dumps({"machine": platform.processor() or platform.machine(), "results": results}, indent=1))
        return
    print("people   faces    file MB  open s   RSS MB (peak, libraries)  search p50/p99 ms  decide p50/p99 ms  enroll p50/p99 ms")
    for r in results:
        print(
            f"{r['people']:>7}  {r['faces']:>7}  {r['file_mb']:>7.1f}  {r['open_s']:>6.2f}   "
            f"{r['rss_mb']:>5.0f} ({r['peak_mb']:.0f}, {r['libraries_mb']:.0f})"
            + "".join(f"   {r[n]['p50_ms']:.2f}/{r[n]['p99_ms']:.2f}" for n in ("search", "search_group", "decide", "enroll"))
        )


if __name__ == "__main__":
    main()
