"""Exact 1:N search against its peers: one process, one thread, the same vectors, repetitions in turn.

Run: python tests/benchmarks/bench_search.py [--count 100000] [--length 512] [--k 5] [--repeats 60] [--json]

The templates are random directions as int8 (largest magnitude 127). Float peers get the same integers, normalized.
Peers that are not installed are named and left out.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"  # read when the libraries are loaded

import argparse
import hashlib
import json
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_edge import _kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = tuple[np.ndarray, np.ndarray]


def gallery(count: int, length: int, seed: int = 1) -> np.ndarray:
    """Random templates, int8 (count, length)."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, length), np.int8)
    for first in range(0, count, 10_000):
        block = rng.standard_normal((min(10_000, count - first), length))
        rows[first : first + len(block)] = np.rint(block * 127 / np.abs(block).max(1, keepdims=True))
    return rows


def normalized(rows: np.ndarray) -> np.ndarray:
    """The same directions, float32 of length 1."""
    real = rows.astype(np.float32)
    real /= np.linalg.norm(real, axis=-1, keepdims=True)
    return real


def contestants(rows: np.ndarray, k: int) -> dict[str, Callable[[np.ndarray], Found]]:
    """A function probe -> (indices, similarities) for each library that is installed; ours on each code path."""
    made: dict[str, Callable[[np.ndarray], Found]] = {}
    norms = kernels.norm(rows, rows.shape[1])
    for path in kernels.available_paths():
        search = kernels.Search(rows, norms, length=rows.shape[1], k=k, path=path)
        made[f"facegate {path}"] = search.run

    real = normalized(rows)

    def matmul(probe: np.ndarray) -> Found:
        similarities = real @ normalized(probe)
        best = np.argpartition(-similarities, k)[:k]
        best = best[np.argsort(-similarities[best])]
        return best, similarities[best]

    made["numpy float32 matmul"] = matmul
    try:
        import faiss  # noqa: PLC0415 - optional
    except ImportError:
        print("faiss is not installed: left out", file=sys.stderr)
    else:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(real)

        def by_faiss(probe: np.ndarray) -> Found:
            similarities, indices = flat.search(normalized(probe)[None], k)
            return indices[0], similarities[0]

        made["faiss IndexFlatIP"] = by_faiss
    try:
        import usearch.index as usearch  # noqa: PLC0415 - optional
    except ImportError:
        print("usearch is not installed: left out", file=sys.stderr)
    else:

        def by_usearch(probe: np.ndarray) -> Found:
            found = usearch.search(rows, probe[None], k, usearch.MetricKind.Cos, exact=True, threads=1)
            return np.ravel(found.keys)[:k], 1 - np.ravel(found.distances)[:k]

        made["usearch exact int8"] = by_usearch
    return made


def digest(found: Found) -> str:
    """A fingerprint of the exact bytes of a result."""
    return hashlib.sha256(found[0].astype("<i8").tobytes() + found[1].astype("<f8").tobytes()).hexdigest()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times, agreement and reproducibility of every contestant."""
    rows = gallery(args.count, args.length)
    rng = np.random.default_rng(2)
    # Probes near a template of the gallery, as those of an enrolled person are.
    chosen = rng.integers(0, args.count, args.repeats)
    noisy = rows[chosen] + rng.normal(0, 20, (args.repeats, args.length))
    probes = np.rint(noisy * 127 / np.abs(noisy).max(1, keepdims=True)).astype(np.int8)

    made = contestants(rows, args.k)
    times: dict[str, list[float]] = {name: [] for name in made}
    ours = [name for name in made if name.startswith("facegate")]
    same_best = dict.fromkeys(made, 0)
    same_bits = True
    for search in made.values():
        search(probes[0])
    for i, probe in enumerate(probes):
        digests = set()
        names = list(made)
        for name in names[i % len(names) :] + names[: i % len(names)]:  # nobody always runs first
            start = time.perf_counter()
            found = made[name](probe)
            times[name].append(time.perf_counter() - start)
            same_best[name] += int(found[0][0] == chosen[i])
            if name in ours:
                digests.add(digest(found))
        same_bits &= len(digests) == 1
    fast = f"facegate {kernels.active_path()}"
    mine = np.array(times[fast])
    rows_out = []
    for name, taken in times.items():
        seconds = np.array(taken)
        rows_out.append(
            {
                "name": name,
                "median_ms": float(np.median(seconds) * 1e3),
                "minimum_ms": float(seconds.min() * 1e3),
                "ratio": float(np.median(mine / seconds)),
                "top1": same_best[name] / len(probes),
            }
        )
    peers = [row for row in rows_out if row["name"] not in ours]
    best = min(peers, key=lambda row: row["median_ms"])
    return {
        "machine": platform.machine(),
        "count": args.count,
        "length": args.length,
        "k": args.k,
        "repeats": args.repeats,
        "results": rows_out,
        "best_peer": best["name"],
        "ratio_to_best_peer": float(np.median(mine) * 1e3 / best["median_ms"]),
        "paths": ours,
        "bit_reproducible": same_bits,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = measure(args)
    if args.json:
        print(json.dumps(report, indent=2))
        return
    lines = [
        f"{args.count} templates of {args.length} int8, top {args.k}, one thread, {args.repeats} probes in turn",
        f"{'':24}{'median ms':>11}{'minimum ms':>12}{'ours / it':>11}{'top-1 right':>13}",
    ]
    lines += [
        f"{r['name']:24}{r['median_ms']:11.2f}{r['minimum_ms']:12.2f}{r['ratio']:11.2f}{r['top1']:13.3f}"
        for r in report["results"]
    ]
    lines += [
        f"ours to the best peer ({report['best_peer']}): {report['ratio_to_best_peer']:.2f}",
        f"the same bits on {', '.join(report['paths'])}: {'yes' if report['bit_reproducible'] else 'NO'}",
    ]
    print("\n".join(lines))
    sys.exit(0 if report["bit_reproducible"] else 1)


if __name__ == "__main__":
    main()
