"""An evaluation in a review pack: it must be of this bundle, and whatever is wrong with it is refused, not shown."""

from __future__ import annotations

import copy
import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from facegate._pack._evaluation import load_result
from facegate._pack._facts import read_bundle
from facegate._pack._make import pack_bundle
from facegate.errors import PackError
from facegate_convert.cli._evaluate import run as evaluate_run

PEOPLE, PHOTOGRAPHS, LENGTH = 24, 4, 16


class Quiet:
    """An Output that says nothing."""

    json = True

    def emit(self, *_):
        """Say nothing."""

    progress = emit


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The document that `facegate evaluate run` writes, with groups, of features that are made up."""
    folder = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(5)
    rows = [["identity", "tone"]]
    for person in range(PEOPLE):
        center = rng.normal(size=LENGTH)
        rows.append([f"p{person:02}", "dark" if person % 2 else "light"])
        for number in range(PHOTOGRAPHS):
            vector = center + 0.9 * rng.normal(size=LENGTH)
            for root in ("people", "features"):
                (folder / root / f"p{person:02}").mkdir(parents=True, exist_ok=True)
            (folder / "people" / f"p{person:02}" / f"{number}.png").write_bytes(rng.bytes(64))
            np.save(
                folder / "features" / f"p{person:02}" / f"{number}.npy", np.float32(vector / np.linalg.norm(vector))
            )
    with (folder / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    arguments = [folder / "features", folder / "people", "-o", folder / "result", "--attributes", folder / "groups.csv"]
    arguments += ["--lawful-basis", "people who do not exist", "--replicates", 20, "--open-set"]
    done = CliRunner().invoke(evaluate_run, [str(a) for a in arguments], obj=Quiet(), standalone_mode=False)
    assert done.exception is None, done.exception
    return json.loads((folder / "result" / "result.json").read_text())


@pytest.fixture
def result(evaluated, bundle, tmp_path):
    """Writes an evaluation of the bundle, changed by a function."""

    def write(change=None):
        document = copy.deepcopy(evaluated)
        models = [{"role": m.role, "sha256": m.sha256} for m in bundle.manifest.models]
        document["source"] = {"kind": "bundle", "name": "test 1.2.3", "bundle": bundle.id, "models": models}
        if change is not None:
            document = change(document) or document
        path = tmp_path / "result.json"
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture
def read(bundle):
    """Reads a result for the bundle."""
    return lambda path: load_result(path, read_bundle(bundle))


def test_a_result_goes_into_a_pack(result, bundle, tmp_path, evaluated):
    """Figures by group with their intervals, as they were measured: in the document, the page and a table."""
    path = pack_bundle(bundle, tmp_path / "pack", evaluation=result())
    found = json.loads((path / "pack.json").read_text())["evaluation"]
    (section,) = evaluated["groups"]
    assert found["of"] == "this bundle"
    assert [g["name"] for g in found["groups"][0]["groups"]] == ["dark", "light"]
    for mine, theirs in zip(found["groups"][0]["groups"], section["groups"], strict=True):
        assert {k: mine["fnmr"][k] for k in ("value", "low", "high")} == {
            k: theirs["fnmr"][k] for k in ("value", "low", "high")
        }
        assert mine["subjects"] == PEOPLE // 2
    rows = list(csv.DictReader(io.StringIO((path / "groups.csv").read_text())))
    assert [row["group"] for row in rows] == ["dark", "light"]
    assert float(rows[0]["fnmr"]) == section["groups"][0]["fnmr"]["value"]
    page = (path / "index.html").read_text()
    assert section["check"]["verdict"] in page
    assert "people who do not exist" in page


def test_what_names_photographs_is_left_out(result, bundle, tmp_path, evaluated):
    """The pairs that went wrong most, their scores and the curves stay where they are."""
    worst = evaluated["worst"]["genuine"][0]
    path = pack_bundle(bundle, tmp_path / "pack", evaluation=result())
    for file in path.iterdir():
        text = file.read_text()
        assert worst["a"] not in text
        assert f"{worst['score']}" not in text
        assert '"worst_pairs"' not in text
        assert '"curve"' not in text


def test_a_folder_holds_its_result(result, read):
    """As `facegate evaluate run` leaves it."""
    path = result()
    assert read(path.parent) == read(path)


def test_the_same_models_under_another_manifest_are_said_to_be_that(result, read):
    """Thresholds that were written into a bundle after its evaluation change its id, not its models."""

    def older(document):
        document["source"]["bundle"] = "0" * 64

    assert read(result(older)).of == "the models of this bundle"


@pytest.mark.parametrize("what", ["models", "kind", "no models", "hosted"])
def test_attack_the_evaluation_of_something_else(result, read, what):
    """Another bundle's, other models', a hosted model's: refused, however good its figures are."""

    def change(document):
        source = document["source"]
        source["bundle"] = "0" * 64
        if what == "models":
            source["models"][0]["sha256"] = "1" * 64
        elif what == "no models":
            source["models"] = []
        else:
            source["kind"] = "hosted" if what == "hosted" else "onnx"

    with pytest.raises(PackError, match="something else") as refused:
        read(result(change))
    assert "this very bundle" in refused.value.hint


def cut(path):
    """A file that ends too early."""
    path.write_bytes(path.read_bytes()[:500])


def twice(path):
    """A name that stands twice: which one counts?"""
    path.write_text(path.read_text().replace('"checks"', '"warnings": [], "checks"'))


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        twice,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"format": "facegate-evaluation", "version": 2}'),
        lambda path: path.write_text('{"format": "something", "version": 1}'),
        lambda path: path.unlink(),
    ],
)
def test_a_file_that_is_no_result_is_refused(result, read, damage):
    """Cut short, empty, no JSON, another format, a version to come, gone."""
    path = result()
    damage(path)
    with pytest.raises(PackError):
        read(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("groups", 0, "groups", 0, "fnmr", "value"), -0.1),
        (("groups", 0, "groups", 0, "fnmr", "value"), 2),
        (("groups", 0, "groups", 0, "fnmr", "low"), 0.99),
        (("groups", 0, "groups", 0, "fnmr", "errors"), 10**9),
        (("groups", 0, "groups", 0, "fnmr", "trials"), "many"),
        (("groups", 0, "groups", 0, "name"), 7),
        (("groups", 0, "groups", 0, "subjects"), True),
        (("groups", 0, "check"), None),
        (("groups", 0), "a"),
        (("groups",), {}),
        (("groups",), [{}] * 1001),
        (("operating_points", 0, "threshold"), "NaN"),
        (("operating_points", 0, "threshold"), 1e400),
        (("operating_points", 0, "fmr"), None),
        (("dataset", "images"), -1),
        (("dataset", "lawful_basis"), None),
        (("checks",), [{"require": "x", "met": "yes"}]),
        (("warnings",), [{"a": 1}]),
        (("liveness",), []),
        (("source",), "a bundle"),
        (("created",), 5),
    ],
)
def test_attack_figures_that_cannot_be(result, read, place, value):
    """Rates beyond 0 and 1, outside of their own interval, texts for numbers: refused, and it is said what is wrong."""

    def change(document):
        at = document
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = value

    with pytest.raises(PackError) as refused:
        read(result(change))
    assert refused.value.hint


def test_attack_markup_in_a_result(result, bundle, tmp_path):
    """Names of groups, warnings and requirements come from another machine: they are text."""
    hostile = "</td><script>alert(1)</script>"

    def change(document):
        document["groups"][0]["groups"][0]["name"] = hostile
        document["groups"][0]["column"] = hostile
        document["warnings"] = [hostile, "=cmd()"]
        document["dataset"]["name"] = hostile
        document["checks"] = [{"require": hostile, "met": False, "note": hostile}]

    path = pack_bundle(bundle, tmp_path / "pack", evaluation=result(change))
    page = (path / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    found = json.loads((path / "pack.json").read_text())
    (control,) = [c for c in found["controls"] if c["demand"].startswith("the bundle was evaluated")]
    assert control["state"] == "not in force"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [(("met",), "in force"), (("met", "not met"), "not in force"), (("met", "cannot be told"), "not known")],
)
def test_the_group_check_decides(result, bundle, tmp_path, verdicts, expected):
    """What could not be told is not taken for fair."""

    def change(document):
        (section,) = document["groups"]
        document["groups"] = [
            section | {"column": f"c{i}", "check": section["check"] | {"verdict": verdict}}
            for i, verdict in enumerate(verdicts)
        ]

    path = pack_bundle(bundle, tmp_path / "pack", evaluation=result(change))
    found = json.loads((path / "pack.json").read_text())
    (control,) = [c for c in found["controls"] if "25 %" in c["demand"]]
    assert control["state"] == expected


def test_a_group_of_one_person_has_nothing_to_count(result, bundle, tmp_path):
    """No comparison is no rate of 0 %: neither on the page nor in the table."""

    def change(document):
        none = {"errors": 0, "trials": 0, "value": 0.0, "low": 0.0, "high": 1.0, "confidence": 0.95}
        document["groups"][0]["groups"][0] |= {"fmr": none, "fnmr": None}

    path = pack_bundle(bundle, tmp_path / "pack", evaluation=result(change))
    assert (path / "index.html").read_text().count("nothing to count") >= 2
    row = next(csv.DictReader(io.StringIO((path / "groups.csv").read_text())))
    assert (row["fmr"], row["fmr_high"], row["fnmr"]) == ("", "", "")


def test_attack_another_bundles_evaluation_leaves_no_pack(gate_folder, result, tmp_path):
    """Refused before anything is written: no file, no entry in the log."""

    def change(document):
        document["source"] |= {"bundle": "0" * 64, "models": []}

    with gate_folder.open() as roles:
        with pytest.raises(PackError):
            roles.officer.review_pack(tmp_path / "pack.zip", evaluation=result(change))
        assert roles.officer.audit_entries(action="review_pack_written") == ()
    assert not (tmp_path / "pack.zip").exists()


def test_groups_that_were_measured_at_another_threshold_are_said(gate_folder, result, tmp_path):
    """The gate's own threshold counts: figures at another one say something else."""
    with gate_folder.open() as roles:
        path = roles.officer.review_pack(tmp_path / "pack", evaluation=result())
        threshold = roles.core.threshold
    (note,) = json.loads((path / "pack.json").read_text())["evaluation"]["notes"]
    assert f"this gate uses {threshold:.4f}" in note
