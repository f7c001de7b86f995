"""Fixtures of the evaluation's tests: datasets of files that nobody decodes, with features made up; rendered people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from facegate._reference import BUNDLE
from facegate.simulation import write_photographs
from facegate_convert import _evaluate as room

from .. import recording  # noqa: TID252

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..recording import Recorder  # noqa: TID252

FIRST = 3_300_000  # seeds of rendered people that no other test uses


@pytest.fixture(scope="session")
def run() -> Callable[..., Recorder]:
    """Runs a command; gives its Recorder with the exit code, raises what it raises."""
    return recording.run


class Made(NamedTuple):
    """A dataset and features of its photographs."""

    folder: Path
    features: Path
    vectors: dict[str, np.ndarray]


@pytest.fixture
def made(tmp_path) -> Callable[..., Made]:
    """Makes a folder for each of some people, files of random bytes in them, and unit features in another folder."""

    def make(people: int = 12, each: int = 4, *, noise: float = 0.6, length: int = 16, seed: int = 3) -> Made:
        rng = np.random.default_rng(seed)
        folder, features = tmp_path / "people", tmp_path / "features"
        vectors = {}
        for person in range(people):
            center = rng.normal(size=length)
            center /= np.linalg.norm(center)
            for number in range(each):
                name = f"p{person:02d}/{number}"
                vector = center + noise * rng.normal(size=length) / length**0.5
                vector = (vector / np.linalg.norm(vector)).astype(np.float32)
                for root in (folder, features):
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.png").write_bytes(rng.bytes(40))
                np.save(features / f"{name}.npy", vector)
                vectors[f"{name}.png"] = vector
        return Made(folder, features, vectors)

    return make


@pytest.fixture(scope="session")
def rendered_people(tmp_path_factory) -> Path:
    """A folder for each of six rendered people, four photographs each."""
    folder = tmp_path_factory.mktemp("people")
    write_photographs(folder, range(FIRST, FIRST + 6), each=4)
    return folder


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The reference bundle."""
    return BUNDLE


def evaluated(folder: Path, features: Path, **settings: Any) -> room.Evaluation:
    """An evaluation of stored features, in memory."""
    dataset = room.read_dataset(folder)
    manifest = room.make_manifest(dataset, lawful_basis="a test")
    given = {"replicates": 0, **settings}
    extra = {key: given.pop(key) for key in ("attributes", "presentations") if key in given}
    return room.evaluate(
        room.features_source(features), dataset, manifest, name="test", settings=room.Settings(**given), **extra
    )


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., room.Evaluation]:
    """Evaluates stored features in memory; keywords are `Settings`."""
    return evaluated
