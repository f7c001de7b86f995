"""What the statistics of an evaluation take: 1e8 comparisons of 5,749 people, and whether the intervals hold.

    python tests/benchmarks/bench_metrics.py [counts] [bootstrap] [groups] [search] [curves] [coverage] [--replicates N]

The people are random directions, with photographs around them: as many people as in Labeled Faces in the Wild, most of
them with one photograph, a few with hundreds. Times are wall-clock, memory is the process's highest. `coverage` draws
whole evaluations from a known population and counts how often the 95 % intervals contain the truth.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from facegate_convert import _metrics as m

PEOPLE = 5749
PHOTOGRAPHS = 14_200  # every two: 1.008e8 comparisons


def people(count=PEOPLE, photographs=PHOTOGRAPHS):
    """Photographs of each person: 7 in 10 people have one, the rest shares what is left in a heavy tail."""
    several = count * 3 // 10
    share = 1 / np.arange(1, several + 1) ** 0.75
    images = np.ones(count, np.int64)
    extra = photographs - count
    images[:several] += np.floor(share / share.sum() * extra).astype(np.int64)
    images[:several][: photographs - int(images.sum())] += 1
    return images


def templates(images, length=128, noise=0.85, seed=7):
    """int8 templates [n, length] and the person of each."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images.size), images)
    centers = rng.normal(size=(images.size, length))
    vectors = centers[owner] + noise * rng.normal(size=(owner.size, length))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.clip(np.rint(vectors * 127 / 0.35), -127, 127).astype(np.int8), owner


def peak():
    """Highest memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Prints what a step took."""

    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start

    def say(self, what):
        print(f"{what:66s} {self.seconds:8.2f} s   {peak():7.0f} MB at most")


def counted():
    """All comparisons, counted with whose they are."""
    images = people()
    features, owner = templates(images)
    print(f"{images.size} people, {owner.size} photographs, at most {images.max()} of one; start: {peak():.0f} MB")
    with Clock() as clock:
        number = sum(block[0].size for block in m.all_pairs(features, owner))
    clock.say(f"all_pairs alone, {number:.4g} comparisons")
    counter = m.SubjectCounter(images.size, images=images)
    with Clock() as clock:
        for block in m.all_pairs(features, owner):
            counter.add(*block)
    clock.say("all_pairs into a SubjectCounter")
    with Clock() as clock:
        data = counter.result()
    clock.say(f"result: {data.scores.genuine.total} genuine, {data.scores.impostor.total} impostor")
    return data, images, features, owner


def bench_counts():
    """A ScoreCounter alone, fed with random scores."""
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 0.1, 1_000_000)
    counter = m.ScoreCounter()
    with Clock() as clock:
        for _ in range(100):
            counter.add(impostor=scores)
    clock.say("ScoreCounter, 1e8 scores")
    small = m.ScoreCounter(decimals=4)
    with Clock() as clock:
        for _ in range(100):
            small.add(impostor=scores)
    clock.say("ScoreCounter(decimals=4), 1e8 scores")


def bench_curves(data):
    """Figures from what was counted."""
    for name, call in (
        ("det with intervals, 200 points", lambda: m.det(data.scores)),
        ("eer", lambda: m.eer(data.scores)),
        ("auc", lambda: m.auc(data.scores)),
        ("fnmr_at_fmr 1e-2 .. 1e-6", lambda: [m.fnmr_at_fmr(data.scores, 10.0**-k) for k in range(2, 7)]),
    ):
        with Clock() as clock:
            found = call()
        clock.say(name)
        if name.startswith(("eer", "auc", "fnmr")):
            print("   ", found)


def bench_bootstrap(data, replicates):
    """Intervals by identity."""
    for targets in ((1e-2, 1e-3, 1e-4), (1e-3,), (1e-4,)):
        with Clock() as clock:
            found = m.bootstrap(data, fmr=targets, replicates=replicates)
        clock.say(f"bootstrap, {replicates} replicates, FMR {targets}")
    for point in found.points:
        print("   ", point)
    print("   ", found.eer)


def bench_groups(data, images, features, owner):
    """By group: from what was counted, and by a second pass."""
    groups = [("red", "green", "blue", "white", None)[i % 5] for i in range(images.size)]
    threshold = m.threshold_at_fmr(data.scores, 1e-3)
    with Clock() as clock:
        found = m.by_group(data, groups, threshold)
    clock.say("by_group, 4 groups")
    counter = m.GroupCounter(groups, threshold)
    with Clock() as clock:
        for block in m.all_pairs(features, owner):
            counter.add(*block)
    clock.say("all_pairs into a GroupCounter")
    assert counter.result().to_dict() == found.to_dict()
    print("   ", found.fmr)


def bench_search(images, features, owner):
    """Open-set search: half of the people are enrolled with their first photograph."""
    first = np.cumsum(images) - images
    enrolled = np.zeros(images.size, bool)
    enrolled[::2] = True
    gallery = first[enrolled]
    probes = np.setdiff1d(np.arange(owner.size), gallery)
    vectors = features.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    counter = m.SearchCounter(owner[gallery])
    with Clock() as clock:
        for start in range(0, probes.size, 256):
            chunk = probes[start : start + 256]
            counter.add(vectors[chunk] @ vectors[gallery].T, owner[chunk])
        found = counter.result()
    clock.say(f"SearchCounter, {found.mated} mated and {found.nonmated} nonmated searches, N = {found.gallery}")
    print("   ", found.fnir_at_fpir(1e-2))


def bench_coverage(trials=300, replicates=200):
    """How often 95 % intervals contain the truth, when evaluations are drawn from a population of known rates."""
    rng = np.random.default_rng(3)
    everybody = np.full(3000, 4)
    features, owner = templates(everybody, length=32, noise=0.8, seed=11)
    whole = m.ScoreCounter()
    for scores, a, b in m.all_pairs(features, owner):
        whole.add(genuine=scores[a == b], impostor=scores[a != b])
    truth = whole.scores()
    fmr = 1e-2
    threshold = m.threshold_at_fmr(truth, fmr)
    false_match, false_non_match = m.fmr_at(truth, threshold).value, m.fnmr_at(truth, threshold).value
    target = false_non_match  # the true FNMR at the true threshold for this FMR
    print(f"population: FMR {false_match:.4g}, FNMR {false_non_match:.4g} at {threshold}, EER {m.eer(truth).value:.4g}")
    equal = m.eer(truth).value
    for size in (50, 200):
        hits = dict.fromkeys(
            (
                "FMR, independent",
                "FMR, dyadic",
                "FNMR, independent",
                "FNMR, clustered",
                "FNMR, bootstrap",
                "FNMR at FMR, bootstrap",
                "threshold, bootstrap",
                "EER, bootstrap",
            ),
            0,
        )
        for number in range(trials):
            drawn = rng.choice(everybody.size, size, replace=False)
            rows = np.flatnonzero(np.isin(owner, drawn))
            subjects = np.searchsorted(np.sort(drawn), owner[rows])
            counter = m.SubjectCounter(size, images=np.full(size, 4))
            for block in m.all_pairs(features[rows], subjects):
                counter.add(*block)
            data = counter.result()
            group = m.by_group(data, ["all"] * size, threshold).groups[0]
            boot = m.bootstrap(data, fmr=(fmr,), thresholds=(threshold,), replicates=replicates, seed=number)
            for name, value, interval in (
                ("FMR, independent", false_match, m.fmr_at(data.scores, threshold)),
                ("FMR, dyadic", false_match, group.fmr),
                ("FNMR, independent", false_non_match, m.fnmr_at(data.scores, threshold)),
                ("FNMR, clustered", false_non_match, group.fnmr),
                ("FNMR, bootstrap", false_non_match, boot.points[1].fnmr),
                ("FNMR at FMR, bootstrap", target, boot.points[0].fnmr),
                ("threshold, bootstrap", threshold, boot.points[0].threshold),
                ("EER, bootstrap", equal, boot.eer),
            ):
                hits[name] += interval.low <= value <= interval.high
        print(f"{trials} evaluations of {size} people, 4 photographs each: the truth lies within the 95 % interval in")
        for name, count in hits.items():
            print(f"    {name:26s} {100 * count / trials:5.1f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["counts", "curves", "bootstrap", "groups", "search"])
    parser.add_argument("--replicates", type=int, default=1000)
    given = parser.parse_args()
    if "counts" in given.parts:
        bench_counts()
    if {"curves", "bootstrap", "groups", "search"} & set(given.parts):
        data, images, features, owner = counted()
        if "curves" in given.parts:
            bench_curves(data)
        if "bootstrap" in given.parts:
            bench_bootstrap(data, given.replicates)
        if "groups" in given.parts:
            bench_groups(data, images, features, owner)
        if "search" in given.parts:
            bench_search(images, features, owner)
    if "coverage" in given.parts:
        bench_coverage()


if __name__ == "__main__":
    main()
