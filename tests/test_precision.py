"""The page on precisions: its tables are what was counted and published, and the profiles follow from them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from facegate_edge import target, targets

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "tests" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import draw_precisions as page  # noqa: E402 - a benchmark beside its data, no package

COUNTED, PUBLISHED = page.load()
# Whose counts stand for a core that is not emulated.
STANDS_FOR = {"cortex-a78ae": "cortex-a76", "cortex-a57": "cortex-a72"}
OURS = {name for name in COUNTED["models"] if not name.startswith("mobilenet-")}


def core_of(profile):
    """The emulated core of a profile, "" if it is of no particular one."""
    core = profile.core.lower()
    return STANDS_FOR.get(core, core)


def test_the_tables_are_those_of_the_files():
    """docs/precision.md is what draw_precisions.py makes of the committed counts, to the letter."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text


def test_the_figure_shows_every_model():
    """Drawn from the same files."""
    shown = page.FIGURE.read_text(encoding="utf-8")
    for name in COUNTED["models"]:
        assert page.TITLES[name] in shown


def test_accuracy_is_taken_from_the_page_that_measured_it():
    """Every recogniser of the table is found in docs/quantizing.md, in every precision that it has there."""
    known = page.accuracy()
    for title in page.QUANTIZING.values():
        assert {"float32", "int8", "mixed", "dynamic"} <= set(known[title])
        assert known[title]["float32"].endswith(" %")


def test_every_published_time_has_its_source():
    """Nothing is shown that nobody can look up."""
    used = {row["source"] for row in PUBLISHED["rows"]}
    assert used == set(PUBLISHED["sources"])
    for text in PUBLISHED["sources"].values():
        assert re.match(r"https://\S+", text)
    for row in PUBLISHED["rows"]:
        assert 0 < row["int8_ms"] < 1000
        assert 0 < row["float32_ms"] < 1000


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_model_was_counted_on_both_kinds_of_core(name):
    """Float32, dynamic and int8, with and without dot products, all in one piece but what the table says."""
    forms = COUNTED["models"][name]
    for form in ("float32", "dynamic", "int8"):
        assert forms[form]["size"] > 0
        for core in ("cortex-a72", "cortex-a76"):
            assert forms[form]["instructions"][core] > 1_000_000


@pytest.mark.parametrize("name", sorted(targets()))
def test_a_profile_promises_time_only_where_it_was_shown(name):
    """By counts on a core with dot products, or by a board that somebody measured with XNNPACK; not by a guess."""
    profile = target(name)
    core = core_of(profile)
    boards = [
        row["int8_ms"] / row["float32_ms"]
        for row in PUBLISHED["rows"]
        if row["core"] == profile.core.lower() and row["engine"] == "XNNPACK"
    ]
    counts = [page.ratio(COUNTED["models"][model], "int8", core) for model in OURS] if core == "cortex-a76" else []
    shown = bool(counts and max(counts) < 0.8) or bool(boards and max(boards) < 0.8)
    assert ("time" in profile.gains["int8"]) == shown
    assert (profile.precisions["recognizer"][0] == "int8") == shown
    if "time" in profile.gains["dynamic"]:
        assert max(page.ratio(COUNTED["models"][model], "dynamic", core) for model in OURS) < 1
    assert "docs/precision.md" in profile.sources["precisions"] or not core


def test_no_profile_asks_for_what_its_engine_calculates_wrongly():
    """tflite-runtime 2.14 is wrong about fully connected layers of `dynamic` and `mixed`, and refuses them."""
    alone = [
        profile for profile in map(target, targets()) if [name for name, _ in profile.engines] == ["tflite-runtime"]
    ]
    assert [profile.name for profile in alone] == ["generic-armv7"]
    for profile in alone:
        for precisions in dict(profile.precisions).values():
            assert not {"dynamic", "mixed"} & set(precisions)


def test_the_search_knows_what_a_rewritten_prelu_costs():
    """The price in the converter's search is the largest that was counted, rounded up."""
    from facegate_convert._quantize._search import _REWRITTEN  # noqa: PLC0415 - for this test only

    forms = COUNTED["models"]["mobilefacenet-zqcnn"]
    prices = [
        forms["int8rewrite"]["instructions"][core] / forms["int8keep"]["instructions"][core]
        for core in ("cortex-a72", "cortex-a76")
    ]
    assert max(prices) <= _REWRITTEN + 0.005
    assert max(prices) > _REWRITTEN - 0.05
    assert min(prices) > 1


def test_float16_weights_are_unpacked_once():
    """With tflite-runtime on 32-bit ARM a run executes what float32 executes: the profile may take them for nothing."""
    counted = [forms for forms in COUNTED["models"].values() if "weights" in forms.get("float16", {})]
    assert len(counted) >= 3
    for forms in counted:
        assert forms["float16"]["weights"]["cortex-a7"] == pytest.approx(
            forms["float32"]["instructions"]["cortex-a7"], rel=0.01
        )


def test_the_files_are_as_they_were_written():
    """precisions.json is laid out as count_precisions.py writes it."""
    text = (BENCHMARKS / "precisions.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1) + "\n"


def test_counting_some_models_keeps_the_others(tmp_path, monkeypatch):
    """A folder with one model of twelve, or none: its figures come into the file, and no other leaves it."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "emulated"))
    count = pytest.importorskip("count_precisions", reason="needs the converter's extra")
    assert count.collected(tmp_path, COUNTED["models"])["models"] == COUNTED["models"]
    monkeypatch.setattr(count, "partitions", lambda _: 1)
    (tmp_path / "reference-liveness-float32.tflite").write_bytes(b"12345678")
    (tmp_path / "counts.json").write_text('{"reference-liveness-float32.tflite@cortex-a72": {"all": 9}}')
    found = count.collected(tmp_path, COUNTED["models"])["models"]
    made = {"float32": {"size": 8, "partitions": 1, "instructions": {"cortex-a72": 9}}}
    assert found == COUNTED["models"] | {"reference-liveness": made}
    assert list(found) == list(COUNTED["models"])
    assert count.collected(tmp_path)["models"] == {"reference-liveness": made}
