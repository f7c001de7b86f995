"""What a gate's secret rotation does to similarities and decisions, and what it hides: the figures of ADR 16.

Run: python tests/benchmarks/bench_rotation.py [--pairs 40000] [--people 300]

random    pairs of random directions, of every similarity, one kept and one a probe: mean and largest change of the
          cosine. `int8`: by rounding to int8; `rotation`: by the rotation then; `renewed`: after so many renewals.
rendered  all pairs of templates that the reference bundle makes of rendered people, two pictures each
linked    how many of a gate's people are found again in a shuffled set of templates of the same people, by nothing but
          how similar they are to each other: the same templates renewed; other pictures in another gate
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facegate import open_reference_bundle
from facegate._store._rotation import Rotation
from facegate_edge._pipeline import Pipeline

if TYPE_CHECKING:
    import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.material import FIRST, terminal

SEED = 20261121
THRESHOLD = 0.6


def rounded(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """Directions as templates keep them."""
    return np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)


def cosines(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray[np.float64]:
    """Of rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def moved(after: npt.NDArray, before: npt.NDArray) -> str:
    """Mean and largest change."""
    change = np.abs(after - before)
    return f"{change.mean():.5f} / {change.max():.4f}"


def show_random(rng: np.random.Generator, length: int, count: int) -> None:
    """One row of ADR 16's table, and the decisions."""
    first = rng.standard_normal((count, length))
    second = first + rng.uniform(0.05, 5, (count, 1)) * rng.standard_normal((count, length))
    exact, a, b = cosines(first, second), rounded(first), rounded(second)
    plain = cosines(a, b)
    line, decisions = [f"int8 {moved(plain, exact)}"], []
    product = turn = Rotation.new(length)
    for renewals in range(11):
        if renewals:
            turn = Rotation.new(length)
            product = product.then(turn)
        a = turn.rows(a)  # what is kept is turned with each renewal, a probe once by all of them
        if renewals in (0, 5, 10):
            now = cosines(a, product.rows(b))
            name = f"renewed {renewals} times" if renewals else "rotation"
            line.append(f"{name} {moved(now, plain)}")
            decisions.append(int(((now >= THRESHOLD) != (plain >= THRESHOLD)).sum()))
    int8 = int(((plain >= THRESHOLD) != (exact >= THRESHOLD)).sum())
    print(f"random   D = {length}: {', '.join(line)}")
    print(f"         decided otherwise at {THRESHOLD}, of {count}: int8 {int8}, rotation, 5, 10 renewals", *decisions)


def show_rendered(people: int) -> None:
    """Templates of pictures, at the bundle's own thresholds."""
    templates, whose = [], []
    with open_reference_bundle() as bundle:
        points = bundle.manifest.operating_points
        pipeline = Pipeline(bundle)
        for person in range(FIRST, FIRST + people):
            for number in range(2):
                frame = terminal(person, number=number, room=FIRST + number).frame
                if faces := pipeline.detect(frame):
                    templates.append(pipeline.embed(frame, max(faces, key=lambda face: face.score)).data)
                    whose.append(person)
        pipeline.close()
    rows = np.stack(templates)
    one, other = np.array(list(combinations(range(len(rows)), 2))).T
    same = np.array(whose)[one] == np.array(whose)[other]
    turned = Rotation.new(rows.shape[1]).rows(rows)
    before, after = cosines(rows[one], rows[other]), cosines(turned[one], turned[other])
    pairs = f"{same.sum()} pairs of one person, {(~same).sum()} of two"
    print(f"rendered {len(rows)} templates, D = {rows.shape[1]}, {pairs}:")
    print(f"         rotation {moved(after, before)}")
    for point in points:
        changed = (before >= point.threshold) != (after >= point.threshold)
        print(f"         at FMR {point.fmr:g} ({point.threshold:.3f}) decided otherwise: ", end="")
        print(f"{(changed & same).sum()} of one person, {(changed & ~same).sum()} of two")


def likeness(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """How similar each is to the others, sorted (N, N)."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.sort(unit @ unit.T, axis=1)


def show_linked(rng: np.random.Generator, length: int, people: int) -> None:
    """Nearest in sorted likeness."""
    faces = rng.standard_normal((people, length)) / np.sqrt(length)
    pictures = [rounded(faces + 0.8 * rng.standard_normal(faces.shape) / np.sqrt(length)) for _ in range(2)]
    order, here = rng.permutation(people), Rotation.new(length).rows(pictures[0])
    mine = likeness(here)
    found = []
    for there in (Rotation.new(length).rows(here), Rotation.new(length).rows(pictures[1])):
        theirs = likeness(there[order])
        guess = [int(((theirs - row) ** 2).sum(axis=1).argmin()) for row in mine]
        found.append(int((order[guess] == np.arange(people)).sum()))
    alike = cosines(*pictures).mean()
    print(f"linked   of {people}: renewed {found[0]}, other pictures (mean cosine {alike:.2f}) {found[1]}, by chance 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--people", type=int, default=300)
    arguments = parser.parse_args()
    rng = np.random.default_rng(SEED)
    for length in (128, 256, 512):
        show_random(rng, length, arguments.pairs)
    show_rendered(arguments.people)
    for people in (5, 20, 100, 1000):
        show_linked(rng, 512, people)


if __name__ == "__main__":
    main()
