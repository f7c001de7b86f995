"""Rendered photographs as files, for calibrating models and measuring operating points."""

from __future__ import annotations

import pytest

from facegate.errors import FrameError
from facegate.simulation import write_photographs
from facegate_convert import read_identities
from facegate_edge import load_image


def test_the_folder_is_one_that_the_converter_reads(tmp_path):
    """One subfolder for each person, readable images of the size, every pair of them a comparison."""
    assert write_photographs(tmp_path, range(3_000_200, 3_000_203), each=2, size=64) == 6
    comparisons = read_identities(tmp_path)
    assert (len(comparisons.images), len(comparisons.genuine), len(comparisons.impostor)) == (6, 3, 12)
    assert {load_image(path).size for path in comparisons.images} == {(64, 64)}


def test_the_same_seed_is_the_same_files(tmp_path):
    """Photographs are repeatable, each of its own pose, light and look, and another seed takes others."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_photographs(tmp_path / name, [3_000_200], each=2, size=48, seed=seed)
    files = {name: [p.read_bytes() for p in sorted((tmp_path / name).rglob("*.png"))] for name in "abc"}
    assert files["a"] == files["b"]
    assert len({*files["a"], *files["c"]}) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"each": 0},
        {"each": 1001},
        {"each": 1.5},
        {"size": 31},
        {"size": 5000},
        {"size": 64.0},
        {"attack": "bribe"},
        {"seed": -1},
        {"identities": [1, -1]},
        {"identities": ["1"]},
    ],
)
def test_impossible_photographs_are_refused(tmp_path, options):
    """Nothing is written then, not even for the people before the one that is none."""
    with pytest.raises(FrameError) as caught:
        write_photographs(tmp_path / "x", **({"identities": [1], "each": 1, "size": 32} | options))
    assert caught.value.hint
    assert not (tmp_path / "x").exists()
