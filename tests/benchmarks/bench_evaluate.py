"""How long an evaluation takes, and how much memory: all pairs of many templates, and photographs a second.

    python tests/benchmarks/bench_evaluate.py pairs 13000        # templates, made up; 512 values, 2.3 a person
    python tests/benchmarks/bench_evaluate.py photographs 400    # rendered portraits, reference bundle, all cores

`pairs` counts all comparisons, draws people anew a thousand times and compares by a group of four; `photographs` sets
the templates of `facegate evaluate`, the start of its processes included, beside a bare pipeline in as many processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy as np

from facegate._reference import BUNDLE, KEY
from facegate.simulation import write_photographs
from facegate_convert import _evaluate as room
from facegate_convert import _metrics as metrics
from facegate_convert._evaluate._attributes import Attribute
from facegate_convert._evaluate._cache import Records, record_type
from facegate_convert._evaluate._count import count, count_groups
from facegate_convert._evaluate._dataset import Dataset
from facegate_convert._evaluate._similarity import Templates
from facegate_convert._evaluate._sources import get_records
from facegate_edge import Pipeline, TrustStore, load_image, open_bundle


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most so far"


def made_up(number: int, length: int, people: int) -> tuple[Dataset, Records]:
    """Templates around a direction for each person, some photographs worse than others."""
    rng = np.random.default_rng(1)
    identity = np.sort(rng.integers(0, people, number)).astype(np.int32)
    centers = rng.normal(size=(people, length))
    noise = rng.uniform(0.6, 1.4, (number, 1)) * rng.normal(size=(number, length))
    vectors = centers[identity] + noise
    rows = np.zeros(number, record_type(length, "i1"))
    rows["values"] = np.rint(vectors / np.abs(vectors).max(axis=1, keepdims=True) * 127)
    names = tuple(f"{i}.png" for i in range(number))
    hashes = tuple(f"{i:064x}" for i in range(number))
    identities = tuple(map(str, range(people)))
    dataset = Dataset("identities", Path(), names, hashes, identities, identity, None, None, None, "0" * 64)
    return dataset, Records(rows, np.ones(number, np.bool_))


def pairs(number: int, length: int) -> None:
    dataset, records = made_up(number, length, max(2, round(number / 2.3)))
    print(
        f"{number} templates of {length} values, {len(dataset.identities)} people: {sum(dataset.counts):,} comparisons"
    )
    print(f"  before: {peak()}")
    start = clock()
    templates = Templates(dataset, records)
    counted = count(dataset, templates)
    print(f"  counted {since(start)}; {peak()}")
    start = clock()
    found = metrics.bootstrap(counted.subjects, fmr=room.FMR_TARGETS)
    print(f"  people drawn anew {found.replicates} times {since(start)}; {peak()}")
    group = Attribute("group", ("a", "b", "c", "d"), (dataset.identity % 4).astype(np.int32))
    start = clock()
    count_groups(dataset, templates, (group,), metrics.threshold_at_fmr(counted.subjects.scores, 1e-3))
    print(f"  by group {since(start)}; {peak()}")


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> str:
    wall, processor = (now - then for now, then in zip(clock(), start, strict=True))
    return f"in {wall:.1f} s, {processor:.1f} s of processor time"


def bare(paths: list[Path]) -> tuple[float, float]:
    """When it began and ended, the process's start not counted."""
    with open_bundle(BUNDLE, trust=TrustStore.load(KEY)) as bundle, Pipeline(bundle) as pipeline:
        pipeline.warm_up()
        start = time.time()
        for path in paths:
            frame = load_image(path)
            faces = pipeline.detect(frame)
            if faces:
                pipeline.measure(frame, faces[0])
                pipeline.embed(frame, faces[0])
        return start, time.time()


def children() -> float:
    """Processor time of the processes that have ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spent(before: float) -> str:
    return f"{children() - before:.1f} s of processor time, starts included"


def photographs(number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="facegate-bench-") as made:
        folder = Path(made) / "people"
        write_photographs(folder, range(3_200_000, 3_200_000 + number // 8), each=8)
        files = sorted(folder.rglob("*.png"))
        cores = len(os.sched_getaffinity(0))
        dataset = room.read_dataset(folder)
        source = room.open_source(str(BUNDLE), room.Named()).source
        for attempt in range(3):
            cpu = children()
            with multiprocessing.get_context("spawn").Pool(cores) as pool:
                times = pool.map(bare, [files[i::cores] for i in range(cores)], chunksize=1)
            took = max(end for _, end in times) - min(start for start, _ in times)
            print(f"  bare pipeline, {cores} processes: {len(files) / took:.0f} photographs a second, {spent(cpu)}")
            start, cpu = time.perf_counter(), children()
            get_records(source, dataset, faces="largest", folder=Path(made) / f"cache-{attempt}")
            took = time.perf_counter() - start
            print(f"  facegate evaluate, {cores} processes: {len(files) / took:.0f} photographs a second, {spent(cpu)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("pairs", "photographs"))
    parser.add_argument("number", type=int)
    parser.add_argument("--length", type=int, default=512)
    given = parser.parse_args()
    if given.what == "pairs":
        pairs(given.number, given.length)
    else:
        photographs(given.number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
