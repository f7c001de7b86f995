"""`facegate bench`: the figures it gives, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from facegate.cli import main
from facegate.cli._bench import percentile, summarize
from facegate_edge._manifest import Manifest
from facegate_edge._timings import STAGES, Timings


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7], 50, 7), ([7], 95, 7), ([3, 1, 2], 50, 2), ([4, 3, 2, 1], 50, 2), (list(range(1, 101)), 95, 95)],
)
def test_percentiles_are_nearest_ranks(values, percent, expected):
    """The smallest value that so many percent of all values do not exceed."""
    assert percentile(values, percent) == expected


def test_shares_are_of_all_time():
    """Inference and everything else make up the whole; a stage that never ran is left out."""
    timings = Timings()
    timings.totals = [2_000_000, 4_000_000]
    timings.stages = {stage: [0, 0] for stage in STAGES}
    timings.stages["preprocess"] = [100_000, 300_000]
    timings.stages["detect"] = [1_000_000, 2_000_000]
    timings.stages["embed"] = [500_000, 1_000_000]
    report = summarize(timings)
    assert set(report["stages"]) == {"preprocess", "detect", "embed"}
    assert report["stages"]["detect"] == {"p50_ms": 1.0, "p95_ms": 2.0, "share": 0.5}
    assert report["inference"]["share"] == pytest.approx(0.75)
    assert report["not_inference"] == {"p50_ms": 0.5, "p95_ms": 1.0, "share": 0.25}
    assert report["total"]["share"] == 1


@pytest.fixture(scope="module")
def bundle(material, converted, tmp_path_factory):
    """An unsigned bundle of trained models."""
    from facegate_convert._bundle_writer import write_bundle  # noqa: PLC0415 - only where models can be converted

    wanted = (material.models[role] for role in ("detector", "recognizer"))
    found = [converted(name, engine=False, **options) for name, options in wanted]
    infos = tuple(info for info, _ in found)
    manifest = Manifest(1, "test", "1.0.0", "2026-01-01T00:00:00Z", "0.1.0", "any", infos, (), "tests", ("none",))
    path = tmp_path_factory.mktemp("bench") / "test.fgb"
    write_bundle(path, manifest, {info.role: data for info, data in found}, None)
    return path


def test_the_command_measures_amade_up_frame(bundle, capsys):
    """Without a photograph one face is assumed, and every stage has its figures."""
    assert main(["bench", str(bundle), "--development", "--frames", "3", "--threads", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["threads"], report["faces"], report["synthetic"]) == (3, 2, 1, True)
    assert set(report["stages"]) == {"preprocess", "detect", "decode", "align", "measure", "embed", "template"}
    assert report["inference"]["share"] + report["not_inference"]["share"] == pytest.approx(1)
    assert 0 < report["total"]["p50_ms"] <= report["total"]["p95_ms"]


def test_the_command_measures_a_photograph(material, bundle, tmp_path, capsys):
    """With a photograph its own faces are embedded; people get a table."""
    photo = tmp_path / "photo.png"
    Image.fromarray(material.frame.data).save(photo)
    width, height = material.frame.size
    assert main(["bench", str(bundle), "--development", "--frames", "2", "--image", str(photo)]) == 0
    shown = capsys.readouterr().out
    assert f"2 frames of {width}x{height}, faces in each: 1" in shown
    assert "not inference" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--frames", "2"], 2),
        (["--frames", "2", "--trust", "none.pub"], 3),
        (["--development", "--image", "nowhere.jpg"], 3),
        (["--development", "--frames", "0"], 2),
        (["--development", "--engine", "onnx"], 2),
    ],
    ids=["whom to trust", "no key", "no image", "no frames", "no such engine"],
)
def test_the_command_refuses_what_it_cannot_measure(bundle, arguments, code, capsys):
    """Trust, image and options are checked with the exit codes that the help lists."""
    assert main(["bench", str(bundle), *arguments]) == code
    assert capsys.readouterr().err


def test_trust_comes_from_the_environment_too(bundle, tmp_path, monkeypatch):
    """FACEGATE_TRUST is the default of --trust here as elsewhere: it trusts, and nobody signed."""
    from facegate import SigningKey  # noqa: PLC0415 - for this test only

    SigningKey.generate().verify_key.save(tmp_path / "signer.pub")
    monkeypatch.setenv("FACEGATE_TRUST", str(tmp_path / "signer.pub"))
    assert main(["bench", str(bundle), "--frames", "2"]) == 4


def test_a_missing_bundle_is_an_error_of_its_own(tmp_path, capsys):
    """A path without a bundle exits with 3."""
    assert main(["bench", str(tmp_path / "none.fgb"), "--development"]) == 3
    assert "none.fgb" in capsys.readouterr().err


def test_themade_up_frame_is_always_the_same():
    """Figures of two runs are of the same pixels."""
    from facegate.cli._bench import made_up_frame  # noqa: PLC0415 - for this test only

    first, second = made_up_frame(), made_up_frame()
    assert first.size == (640, 480)
    np.testing.assert_array_equal(first.data, second.data)
