"""The catalogue of upstream models: what it says, and what it refuses to say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from facegate_convert._catalogue import catalogue, find, identify
from facegate_convert._families import recognize
from facegate_convert._graph import load_graph
from facegate_convert.errors import CatalogueError, UnknownModelError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "models"
NAMES = list(catalogue())


def entry_of(**changes):
    """A catalogue's JSON with one entry, in which some fields are others."""
    entry = {
        "name": "net-1",
        "title": "A net",
        "role": "detector",
        "family": "yunet",
        "file": "net.onnx",
        "size": 3,
        "sha256": "0" * 64,
        "repository": "somebody/net",
        "pinned": "commit 0",
        "url": "https://example.org/net.onnx",
        "checked": "bytes",
        "licence": "mit",
        "commercial_use": "yes",
        "input": "320x320",
        "preprocessing": {"color": "BGR", "normalization": "pixel"},
        "convert": [],
        "trained_on": "nothing",
        "accuracy": [],
        "notes": "",
    }
    licences = {"mit": {"title": "MIT", "spdx": "MIT", "url": "https://example.org"}}
    return {"format": 1, "licences": licences, "models": [entry | changes]}


def write(folder, data):
    """The JSON as a file."""
    path = folder / "catalogue.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_it_has_what_was_promised():
    """YuNet, SCRFD 500M and 2.5G, a MobileFaceNet, SFace and MiniFASNet are in it."""
    for part in ("yunet", "scrfd-500m", "scrfd-2.5g", "mobilefacenet", "sface", "minifasnet"):
        assert any(part in name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_pinned(name):
    """An entry's address holds the commit that it names, or is a release's file, which only the hash pins."""
    entry = catalogue()[name]
    kind, _, what = entry.pinned.partition(" ")
    assert (kind == "commit" and re.fullmatch("[0-9a-f]{40}", what)) or kind == "release"
    assert f"/{what}/" in entry.url
    assert entry.repository in entry.url
    assert all(figure.source.startswith("https://") for figure in entry.accuracy)


def test_models_for_research_only_say_so():
    """Whatever is under InsightFace's terms allows no commercial use."""
    found = [entry for entry in catalogue().values() if entry.licence.id == "insightface-research"]
    assert found
    assert {entry.commercial_use for entry in found} == {"no"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/models, real models that are not in the project")
def test_real_files_are_what_their_entries_say():
    """Files with a hash of the catalogue have its size, role and family; three or more are at hand."""
    import hashlib  # noqa: PLC0415

    seen = 0
    for path in sorted(SHARED.rglob("*.onnx")):
        data = path.read_bytes()
        entry = identify(catalogue(), hashlib.sha256(data).hexdigest())
        if entry is None:
            continue
        seen += 1
        assert entry.checked == "bytes"
        assert entry.size == len(data)
        match = recognize(load_graph(path, input_size=(320, 320) if entry.input == "open" else None))
        assert (match.role, match.family) == (entry.role, entry.family)
    assert seen >= 3


def test_the_nearest_name_is_suggested():
    """Who mistypes is told what was probably meant."""
    with pytest.raises(UnknownModelError) as caught:
        find(catalogue(), "scrfd-500")
    assert "scrfd-500m" in caught.value.hint
    assert str(caught.value) == "the catalogue has no model 'scrfd-500'"


def test_a_catalogue_of_ones_own(tmp_path):
    """A file of the same form replaces the catalogue."""
    (entry,) = catalogue(write(tmp_path, entry_of())).values()
    assert entry.name == "net-1"
    assert entry.licence.spdx == "MIT"
    assert entry.to_dict()["licence"]["id"] == "mit"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../net"},
        {"name": "-o"},
        {"file": "../../etc/passwd"},
        {"file": ".hidden"},
        {"file": "a/b.onnx"},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"size": 0},
        {"size": True},
        {"size": 1 << 40},
        {"url": "http://example.org/net.onnx"},
        {"url": "file:///etc/passwd"},
        {"url": "https://user:secret@example.org/net.onnx"},
        {"role": "gender"},
        {"commercial_use": "perhaps"},
        {"checked": "no"},
        {"licence": "unknown"},
        {"accuracy": [{"dataset": "LFW", "metric": "accuracy", "value": 99.4, "source": "https://example.org"}]},
        {"accuracy": [{"dataset": "LFW"}]},
        {"surprise": 1},
        {"name": None},
    ],
)
def test_entries_that_make_no_sense_are_refused(tmp_path, changes):
    """A path instead of a name, a hash that is none, an address without TLS: the file is refused, by name of field."""
    with pytest.raises(CatalogueError) as caught:
        catalogue(write(tmp_path, entry_of(**changes)))
    assert caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 2}', "[" * 100_000, "\x00\xff"])
def test_files_that_are_no_catalogue_are_refused(tmp_path, text):
    """Anything else gives the same clear error."""
    with pytest.raises(CatalogueError):
        catalogue(write(tmp_path, text))


def test_a_missing_or_huge_file_is_refused(tmp_path):
    """A file that is not there, or larger than any catalogue."""
    with pytest.raises(CatalogueError):
        catalogue(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CatalogueError):
        catalogue(huge)


def test_a_name_twice_is_refused(tmp_path):
    """Two entries of one name: which is meant?"""
    data = entry_of()
    data["models"] *= 2
    with pytest.raises(CatalogueError):
        catalogue(write(tmp_path, data))
