"""What an enrolment and a withdrawal cost at a gate on disk, models left out: the whole role, as a desk calls it.

    python tests/benchmarks/bench_enroll.py [PEOPLE]

"enroll" is one picture: consent, search for duplicates among everybody, seal, audit entry, durable commit. "withdraw"
is the erasure of one person, down to the raw file. The folder is made in the current one, and removed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facegate import Consent, Credential, Declaration, Frame, Policy, TrustStore, open_gate, open_reference_bundle
from facegate._new_gate import create_gate
from facegate._reference import KEY
from facegate_edge._liveness import LivenessScore
from facegate_edge._quality import Quality
from facegate_edge._values import Face, Template

if TYPE_CHECKING:
    from collections.abc import Callable

TRIALS = 100


class NoModels:
    """One face in every frame, each time somebody else's."""

    has_liveness = False

    def __init__(self, space: str, length: int) -> None:
        self.space, self.template_length = space, length
        self._random = np.random.default_rng(1)

    def detect(self, _: Frame) -> tuple[Face, ...]:
        return (Face(np.array([0, 0, 100, 100], np.float32), None, 0.9),)

    def measure(self, *_: object) -> Quality:
        return Quality(60.0, 120.0, 500.0, 128.0, 0.1, 0.1, 0.0, 0.0, 0.0)

    def liveness(self, *_: object) -> LivenessScore:
        return LivenessScore(0.99)

    def embed(self, *_: object) -> Template:
        return Template(self._random.integers(-127, 128, self.template_length).astype(np.int8), self.space)

    def close(self) -> None:
        """Nothing to free."""


def timed(name: str, call: Callable[[int], object]) -> None:
    """Print the median and the 99th percentile of a call."""
    seconds = []
    for number in range(TRIALS):
        began = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - began)
    median, high = np.percentile(np.array(seconds) * 1e3, [50, 99])
    print(f"{name:9} p50 {median:6.2f} ms   p99 {high:6.2f} ms   max {max(seconds) * 1e3:6.2f} ms")


def main() -> None:
    """Fill a gate and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("people", nargs="?", type=int, default=10_000)
    people = parser.parse_args().people
    with tempfile.TemporaryDirectory(dir=".") as work:
        folder = Path(work) / "gate"
        with open_reference_bundle() as bundle:
            model = bundle.manifest.model("recognizer")
            about = {"device_id": "bench", "declaration": Declaration.demonstration()}
            made = create_gate(folder, bundle, TrustStore.load(KEY), Policy(fmr=1e-3), **about)
        models = NoModels(model.recognizer.template_space, model.recognizer.template_length)
        with open_gate(folder, pipeline=models) as gate:
            store = gate._core.store  # filling through the role would take a commit each
            with store.db.transaction() as tx:
                for number in range(people):
                    person = store.add_person(tx, f"p-{number}")
                    store.add_faces(tx, person, [store.rotation.apply(models.embed())])
            print(f"{people} people on disk")
            desk = gate.enroller(Credential.load(made.credentials / "enroller.credential"))
            agreed = Consent.to_text(
                "A benchmark.",
                purpose="demonstration",
                legal_basis="demonstration",
                text_version="1",
                given_at=datetime.now(timezone.utc),
                taken_by="bench",
            )
            frame = Frame(np.zeros((4, 4, 3), np.uint8))
            timed("enroll", lambda number: desk.enroll(f"n-{number}", [frame], agreed))
            timed("withdraw", lambda number: desk.withdraw(f"n-{number}"))


if __name__ == "__main__":
    main()
