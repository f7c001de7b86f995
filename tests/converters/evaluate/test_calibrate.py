"""`facegate bundle calibrate`: measured operating points go into the bundle, signed, or are refused."""

from __future__ import annotations

import contextlib
import json
import shutil

import click
import pytest

from facegate._reference import KEY
from facegate_convert import _evaluate as room
from facegate_convert.cli._calibrate import bundle_calibrate
from facegate_convert.cli._evaluate import run as evaluate_run
from facegate_convert.cli._results import compare
from facegate_convert.errors import DatasetError, ResultError
from facegate_edge import SigningKey, TrustStore, open_bundle
from facegate_edge.errors import BundleError, BundleReadError, KeyFileError, UntrustedKeyError

BASIS = ("--lawful-basis", "people who do not exist")


@pytest.fixture(scope="module")
def measured(tmp_path_factory, bundle, rendered_people):
    """A result of the reference bundle on six rendered people: 220 impostor comparisons or so."""
    dataset = room.read_dataset(rendered_people)
    manifest = room.make_manifest(dataset, lawful_basis="a test")
    opened = room.open_source(str(bundle), room.Named())
    settings = room.Settings(fmr=(0.05, 0.02, 0.01, 0.001, 1e-5), replicates=50)
    folder = tmp_path_factory.mktemp("result")
    room.save_evaluation(room.evaluate(opened.source, dataset, manifest, name="t", settings=settings), folder)
    return folder


@pytest.fixture
def key(tmp_path):
    """A signing key's file."""
    SigningKey.generate().save(tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def copy(tmp_path, bundle):
    """A copy of the reference bundle."""
    shutil.copy(bundle, tmp_path / "copy.fgb")
    return tmp_path / "copy.fgb"


def test_measured_points_replace_those_of_the_bundle(run, copy, measured, key):
    """Points, intervals and the dataset's fingerprint are the result's; models stay; the new key signs all of it."""
    with open_bundle(copy, development=True) as before:
        models = before.manifest.models
    found = run(bundle_calibrate, copy, measured, "--key", key, "--fmr", 0.05, "--fmr", 0.02, "--version", "2.0.0")
    result = room.load_evaluation(measured)
    known = {point["fmr"]: point for point in result.operating_points}
    store = TrustStore([SigningKey.load(key).verify_key])
    with open_bundle(copy, trust=store) as after:
        assert after.trusted
        assert after.id == found.data["id"]
        assert after.manifest.models == models
        assert after.manifest.version == "2.0.0"
        assert [p.fmr for p in after.manifest.operating_points] == [0.05, 0.02]
        for point in after.manifest.operating_points:
            told = known[point.fmr]
            assert point.threshold == told["threshold"]
            assert point.fmr_upper == told["fmr_measured"]["high"]
            assert (point.fnmr, point.fnmr_low, point.fnmr_high) == tuple(
                told["fnmr"][name] for name in ("value", "low", "high")
            )
            assert point.dataset == result.dataset["fingerprint"]
            assert (point.genuine, point.impostor) == (
                result.comparisons["genuine"],
                result.comparisons["impostor"],
            )
    # Templates depend on the models alone: a result of the bundle before calibration fits the one after it.
    assert room.open_source(str(copy), room.Named()).source.id == result.source["id"]


def test_without_targets_only_carried_points_are_written(run, copy, measured, key):
    """Nobody asked for a target that the data cannot show, so none is claimed."""
    found = run(bundle_calibrate, copy, measured, "--key", key)
    result = room.load_evaluation(measured)
    carried = [p["fmr"] for p in result.operating_points if p["carried"]]
    assert carried
    assert [p["fmr"] for p in found.data["operating_points"]] == carried
    # Six people: where what is known reaches beyond three times the target, that is told.
    wide = [p["fmr"] for p in found.data["operating_points"] if p["fmr_upper"] > 3 * p["fmr"]]
    assert wide
    *notes, signer = found.data["notes"]
    assert [note.split(":")[0] for note in notes] == [f"FMR {fmr:g}" for fmr in wide]
    assert all("only 6 people" in note for note in notes)
    assert "your signature now vouches for it" in signer


def test_a_target_beyond_the_data_is_warned_of_or_refused(run, copy, measured, key):
    """Below the rule of 3 it is written with a warning; where the data says next to nothing it is refused."""
    before = copy.read_bytes()
    found = run(bundle_calibrate, copy, measured, "--key", key, "--fmr", 0.001, "--dry-run")
    assert "WARNING" in found.text
    assert "3,000 impostor comparisons are needed" in found.data["notes"][0]
    with pytest.raises(DatasetError, match="say nothing about an FMR of 1e-05") as caught:
        run(bundle_calibrate, copy, measured, "--key", key, "--fmr", 1e-5)
    assert caught.value.hint
    with pytest.raises(ResultError, match=r"no operating point for FMR 0[.]03") as caught:
        run(bundle_calibrate, copy, measured, "--key", key, "--fmr", 0.03)
    assert "--fmr 0.03" in caught.value.hint
    assert copy.read_bytes() == before


def test_a_result_of_other_models_is_refused(run, copy, measured, key, tmp_path):
    """A threshold belongs to a bundle: one that was measured with anything else is not written into it."""
    document = json.loads((measured / "result.json").read_text())
    document["source"]["id"] = "0" * 64
    (tmp_path / "other").mkdir()
    (tmp_path / "other/result.json").write_text(json.dumps(document))
    before = copy.read_bytes()
    for more in ((), ("--dry-run",)):
        with pytest.raises(ResultError, match="whose models are not those") as caught:
            run(bundle_calibrate, copy, tmp_path / "other", "--key", key, "--fmr", 0.05, *more)
        assert "never to a model" in caught.value.hint
        assert copy.read_bytes() == before


def test_a_dry_run_reads_the_bundle(run, measured, key, tmp_path):
    """Everything but writing: a bundle that is not there, or none, is refused."""
    with pytest.raises(BundleReadError):
        run(bundle_calibrate, tmp_path / "none.fgb", measured, "--key", key, "--dry-run")
    (tmp_path / "no.fgb").write_bytes(b"PK nothing")
    with pytest.raises(BundleError):
        run(bundle_calibrate, tmp_path / "no.fgb", measured, "--key", key, "--dry-run")


def test_who_signed_the_bundle_before_can_be_demanded(run, copy, measured, key, tmp_path):
    """With --trust nobody's signature covers up for another's; the right key passes without a word."""
    before = copy.read_bytes()
    (tmp_path / "other.pub").write_bytes(SigningKey.generate().verify_key.to_pem())
    with pytest.raises(UntrustedKeyError):
        run(bundle_calibrate, copy, measured, "--key", key, "--trust", tmp_path / "other.pub")
    assert copy.read_bytes() == before
    found = run(bundle_calibrate, copy, measured, "--key", key, "--fmr", 0.05, "--trust", KEY)
    assert not any("signed" in note for note in found.data["notes"])
    assert copy.read_bytes() != before


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("operating_points", 0, "fnmr"), "x"),
        (("operating_points", 0, "fmr_measured", "high"), "x"),
        (("operating_points", 0, "carried"), None),
        (("operating_points", 0), 7),
        (("comparisons", "impostor"), []),
        (("dataset", "fingerprint"), None),
        (("dataset",), {}),
    ],
)
def test_a_damaged_result_is_told_as_one(run, copy, measured, key, tmp_path, place, value):
    """What somebody edited is no bug of ours: an error that says what to name, from calibrating and from comparing."""
    document = json.loads((measured / "result.json").read_text())
    section = document
    for step in place[:-1]:
        section = section[step]
    if value is None:
        del section[place[-1]]
    else:
        section[place[-1]] = value
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(ResultError) as caught:
        run(bundle_calibrate, copy, tmp_path, "--key", key, "--dry-run")
    assert caught.value.hint
    with contextlib.suppress(ResultError):  # what it does not read does not trouble it
        run(compare, tmp_path, measured)


def test_two_people_as_alike_as_copies_give_no_threshold(measured, run, copy, key, tmp_path):
    """If no similarity keeps to the target, that is said, and no impossible threshold is written."""
    document = json.loads((measured / "result.json").read_text())
    for point in document["operating_points"]:
        point["threshold"] = 1.0001
    (tmp_path / "other").mkdir()
    (tmp_path / "other/result.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="no threshold keeps"):
        run(bundle_calibrate, copy, tmp_path / "other", "--key", key, "--fmr", 0.05)


def test_a_dataset_is_evaluated_on_the_way_and_nothing_of_it_is_kept(
    run, copy, key, rendered_people, measured, tmp_path, monkeypatch
):
    """A folder of photographs in place of a result gives the same points; no template reaches the disk."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    end = ("--key", key, "--fmr", 0.05, "--dry-run")
    with pytest.raises(click.UsageError, match="--lawful-basis"):
        run(bundle_calibrate, copy, rendered_people, *end)
    found = run(bundle_calibrate, copy, rendered_people, *end, *BASIS)
    known = {point["fmr"]: point for point in room.load_evaluation(measured).operating_points}
    assert found.data["operating_points"][0]["threshold"] == known[0.05]["threshold"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("basis", [("--images", "x"), BASIS])
def test_options_of_a_dataset_do_not_go_with_a_result(run, copy, measured, key, basis):
    """A result has its photographs and its lawful basis already."""
    with pytest.raises(click.UsageError, match="go with a dataset"):
        run(bundle_calibrate, copy, measured, "--key", key, *basis)


def test_a_key_that_cannot_sign_changes_nothing(run, copy, measured, tmp_path):
    """The bundle stays as it was."""
    before = copy.read_bytes()
    with pytest.raises(KeyFileError):
        run(bundle_calibrate, copy, measured, "--key", tmp_path / "absent.pem")
    assert copy.read_bytes() == before


def test_calibrating_follows_an_evaluation(run, copy, rendered_people, key, tmp_path):
    """The two commands one after the other, as the guide shows them."""
    run(evaluate_run, copy, rendered_people, "-o", tmp_path / "r", *BASIS, "--fmr", 0.05, "--replicates", 0)
    found = run(bundle_calibrate, copy, tmp_path / "r", "--key", key, "-o", tmp_path / "new.fgb")
    assert found.data["file"] == str(tmp_path / "new.fgb")
    with open_bundle(tmp_path / "new.fgb", development=True) as bundle:
        assert [p.fmr for p in bundle.manifest.operating_points] == [0.05]
