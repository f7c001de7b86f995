"""`facegate evaluate run`, `compare` and `report` as somebody uses them."""

from __future__ import annotations

import csv
import io
import json
import stat
import sys

import click
import numpy as np
import pytest

from facegate._reference import KEY
from facegate.cli._output import Output
from facegate_convert import _evaluate as room
from facegate_convert.cli._common import progress_bar
from facegate_convert.cli._evaluate import run as evaluate_run
from facegate_convert.cli._results import compare, report
from facegate_convert.errors import (
    DatasetChangedError,
    DatasetError,
    EvaluationError,
    ModelFileError,
    OutputFileError,
    ResultError,
)
from facegate_edge import SigningKey
from facegate_edge.errors import UntrustedKeyError

BASIS = ("--lawful-basis", "people who do not exist")


@pytest.fixture
def result(run, made, tmp_path):
    """A result of features, without a bootstrap."""
    given = made(people=14, each=5, noise=1.3)
    folder = tmp_path / "result"
    run(evaluate_run, given.features, given.folder, "-o", folder, *BASIS, "--replicates", 0)
    return folder


def test_a_result_is_a_folder_that_only_its_owner_reads(run, made, tmp_path):
    """The folder has mode 0700, each file in it 0600; result.json names no file and nobody, manifest.json does."""
    given = made()
    folder = tmp_path / "a/result"
    found = run(evaluate_run, given.features, given.folder, "-o", folder, *BASIS, "--replicates", 20)
    assert found.code == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "result.json"]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in folder.iterdir())
    text = (folder / "result.json").read_text()
    assert "p03" not in text
    assert str(tmp_path) not in text
    assert json.loads(text)["dataset"]["lawful_basis"] == "people who do not exist"
    names = {row[0] for row in json.loads((folder / "manifest.json").read_text())["photographs"]}
    assert names == set(given.vectors)
    # What is printed has no score of two photographs.
    assert not {"worst", "scores", "curve"} & set(found.data["evaluation"])


def test_file_names_are_listed_only_if_asked_for(run, made, tmp_path):
    """--names puts names beside the ids of the worst pairs."""
    given = made()
    run(evaluate_run, given.features, given.folder, "-o", tmp_path / "r", *BASIS, "--replicates", 0, "--names")
    worst = json.loads((tmp_path / "r/result.json").read_text())["worst"]["impostor"][0]
    assert worst["a_name"] in given.vectors


def test_the_same_evaluation_gives_the_same_bytes(run, made, tmp_path, monkeypatch):
    """With SOURCE_DATE_EPOCH a result is reproducible to the byte, the bootstrap included."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    given = made()
    texts = []
    for name in "ab":
        run(evaluate_run, given.features, given.folder, "-o", tmp_path / name, *BASIS, "--replicates", 50, "--open-set")
        texts.append((tmp_path / name / "result.json").read_bytes())
    assert texts[0] == texts[1]


def test_a_result_can_be_read_again(result):
    """from_dict gives back what to_dict gave; a document that lacks a section is refused."""
    evaluation = room.load_evaluation(result)
    assert room.Evaluation.from_dict(evaluation.to_dict()) == evaluation
    assert room.load_evaluation(result / "result.json") == evaluation
    for name in ("folds", "operating_points", "created"):
        document = evaluation.to_dict()
        del document[name]
        with pytest.raises(ResultError, match=f"no {name}"):
            room.Evaluation.from_dict(document)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "facegate-evaluation", "version": 99}', '{"format": "x"}', "[" * 100_000]
)
def test_what_is_no_result_is_refused(run, tmp_path, text):
    """Empty, cut off, of another kind or version, or made to exhaust a parser."""
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ResultError) as caught:
        run(report, tmp_path)
    assert caught.value.hint
    with pytest.raises(ResultError):
        run(report, tmp_path / "absent")


def test_requirements_decide_the_exit_code(run, made, tmp_path):
    """What is required and met: 0; not met, or not to be answered from so little data: 1, with the reason."""
    given = made(people=14, each=5, noise=0.5)
    arguments = (given.features, given.folder, "-o", tmp_path / "r", *BASIS, "--replicates", 0)
    good = run(evaluate_run, *arguments, "--require", "fnmr@1e-2<=0.5", "--require", "eer<=0.5")
    assert (good.code, [c["met"] for c in good.data["evaluation"]["checks"]]) == (0, [True, True])
    bad = run(evaluate_run, *arguments, "--require", "eer<=-1")
    assert bad.code == 1
    assert "NOT MET" in bad.text
    thin = run(evaluate_run, *arguments, "--require", "fnmr@1e-5<=0.9")
    assert thin.code == 1
    assert "are needed to show it" in thin.data["evaluation"]["checks"][0]["note"]
    nothing = run(evaluate_run, *arguments, "--require", "group-ratio<=1.25", "--require", "apcer<=0.1")
    assert [c["measured"] for c in nothing.data["evaluation"]["checks"]] == [None, None]
    assert nothing.code == 1
    strict = run(evaluate_run, *arguments, "--require", "failure-to-enroll<=0.01", "--strict")
    assert strict.code == 1  # none of 70 failed, but up to 5 % might
    assert run(evaluate_run, *arguments, "--require", "failure-to-enroll<=0.01").code == 0


@pytest.mark.parametrize("text", ["", "fnmr<=1", "fnmr@2<=1", "fnmr@1e-3<1", "love>=1", "eer@1e-3<=1", "eer<=x"])
def test_what_is_no_requirement_is_refused_before_anything_is_done(run, made, tmp_path, text):
    """A requirement that nobody could answer is a mistake, not a failure after an hour."""
    given = made(people=3)
    with pytest.raises(EvaluationError) as caught:
        run(evaluate_run, given.features, given.folder, "-o", tmp_path / "r", *BASIS, "--require", text)
    assert "fnmr@1e-3" in caught.value.hint
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("basis", [(), ("--lawful-basis", ""), ("--lawful-basis", "  ")])
def test_a_lawful_basis_must_be_stated(run, made, tmp_path, basis):
    """Without one nothing is read, whatever else is right."""
    given = made(people=3)
    with pytest.raises(click.UsageError, match="lawful"):
        run(evaluate_run, given.features, given.folder, "-o", tmp_path / "r", *basis)


def test_a_manifest_pins_the_photographs(run, made, tmp_path):
    """The same data passes; one byte, one more photograph, one under another name does not, without names told."""
    given = made()
    arguments = (given.features, given.folder, *BASIS, "--replicates", 0)
    run(evaluate_run, *arguments, "-o", tmp_path / "first")
    manifest = tmp_path / "first/manifest.json"
    assert run(evaluate_run, *arguments, "-o", tmp_path / "again", "--manifest", manifest).code == 0
    path = given.folder / "p01/2.png"
    path.write_bytes(b"changed")
    with pytest.raises(DatasetChangedError, match="0 missing, 0 new, 1 changed") as caught:
        run(evaluate_run, *arguments, "-o", tmp_path / "again", "--manifest", manifest)
    assert "p01" not in str(caught.value)
    path.rename(given.folder / "p02/9.png")
    with pytest.raises(DatasetChangedError, match="1 missing, 1 new"):
        run(evaluate_run, *arguments, "-o", tmp_path / "again", "--manifest", manifest)
    for text in ("", "{}", '{"format": "facegate-dataset", "version": 1, "photographs": 3}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ResultError):
            run(evaluate_run, *arguments, "-o", tmp_path / "again", "--manifest", tmp_path / "bad.json")


def test_features_in_one_file(run, made, tmp_path):
    """A matrix with a row for each photograph in the order of names gives what a folder of vectors gives."""
    given = made()
    names = sorted(given.vectors)
    np.save(tmp_path / "all.npy", np.stack([given.vectors[n] for n in names]))
    results = []
    for source, folder in ((given.features, "a"), (tmp_path / "all.npy", "b")):
        run(evaluate_run, source, given.folder, "-o", tmp_path / folder, *BASIS, "--replicates", 0)
        results.append(room.load_evaluation(tmp_path / folder))
    assert results[0].curve == results[1].curve
    assert results[0].source["id"] == results[1].source["id"]
    np.save(given.features / "p01/1.npy", given.vectors["p02/1.png"])
    run(evaluate_run, given.features, given.folder, "-o", tmp_path / "c", *BASIS, "--replicates", 0)
    assert room.load_evaluation(tmp_path / "c").source["id"] != results[0].source["id"]


def test_features_of_photographs_that_differ_in_their_suffix_only(run, made, tmp_path):
    """Of a.png and a.jpg nobody can tell whose feature a.npy is: the whole name is needed."""
    given = made(people=4)
    (given.folder / "p01/1.jpg").write_bytes(b"another photograph")
    end = (given.folder, "-o", tmp_path / "r", *BASIS, "--replicates", 0)
    with pytest.raises(EvaluationError, match="by its whole name"):
        run(evaluate_run, given.features, *end)
    for suffix in ("png", "jpg"):
        np.save(given.features / f"p01/1.{suffix}.npy", given.vectors["p01/1.png"])
    assert run(evaluate_run, given.features, *end).data["evaluation"]["dataset"]["images"] == 17


@pytest.mark.parametrize("damage", ["missing", "pickle", "text", "lengths", "rows", "kind", "size", "nothing"])
def test_features_that_cannot_be_used(run, made, tmp_path, damage):
    """A missing vector, a pickle, other lengths or numbers: refused; nothing but empty ones: nothing to compare."""
    given = made(people=4)
    path = given.features / "p01/1.npy"
    source = given.features
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "text":
        path.write_text("0.1 0.2")
    elif damage == "lengths":
        np.save(path, np.ones(7, np.float32))
    elif damage == "kind":
        np.save(path, np.ones(16, np.int64))
    elif damage == "size":
        header = (
            np.lib.format.magic(1, 0)
            + b"\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }"
        )
        path.write_bytes(header.ljust(127) + b"\n")
    elif damage == "rows":
        source = tmp_path / "few.npy"
        np.save(source, np.ones((3, 16), np.float32))
    else:
        for vector in given.features.rglob("*.npy"):
            np.save(vector, np.zeros(0, np.float32))
    with pytest.raises(EvaluationError) as caught:
        run(evaluate_run, source, given.folder, "-o", tmp_path / "r", *BASIS)
    assert caught.value.hint


def test_features_of_another_length_than_one_are_normalized_and_that_is_said(run, made, tmp_path):
    """A protocol's features have length 1; others are compared as cosines all the same, with a warning."""
    given = made(people=6)
    first = run(evaluate_run, given.features, given.folder, "-o", tmp_path / "a", *BASIS, "--replicates", 0)
    for path in given.features.rglob("*.npy"):
        np.save(path, np.load(path) * np.float32(3))
    second = run(evaluate_run, given.features, given.folder, "-o", tmp_path / "b", *BASIS, "--replicates", 0)
    assert not any("length 1" in w for w in first.data["evaluation"]["warnings"])
    assert any("length 1" in w for w in second.data["evaluation"]["warnings"])
    one, other = (room.load_evaluation(tmp_path / name) for name in "ab")
    assert one.summary["auc"] == pytest.approx(other.summary["auc"], abs=1e-9)


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self):
        """Yes."""
        return True


@pytest.mark.parametrize("step", ["comparing by a[/b]", "comparing by a[red", "comparing by \x1b]0;a\x07"])
def test_a_step_of_any_name_is_shown_by_the_progress_bar(step, monkeypatch):
    """What is markup for the bar, or an escape sequence for the terminal, is neither."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(Output()) as progress:
        progress(step, 1, 2)
    assert "comparing by" in sys.stderr.getvalue()
    assert "\x1b]0" not in sys.stderr.getvalue()


def test_names_of_columns_and_groups_can_be_anything(run, made, tmp_path):
    """An escape sequence in a table of groups does not reach the terminal."""
    given = made()
    table = tmp_path / "groups.csv"
    rows = "".join(f"{path.name},\x1b]0;g{i % 2}\x07\n" for i, path in enumerate(given.folder.iterdir()))
    table.write_text(f"identity,a[/b]\x1b[31m\n{rows}")
    where = ("-o", tmp_path / "r", "--lawful-basis", "a test", "--replicates", 0)
    found = run(evaluate_run, given.features, given.folder, *where, "--attributes", table)
    assert "by a[/b]\N{REPLACEMENT CHARACTER}[31m at threshold" in found.text
    assert "\x1b" not in found.text + "".join(found.steps)
    assert len(room.load_evaluation(tmp_path / "r").groups) == 1


def test_a_pairs_file_gets_folds_and_no_open_set(run, made, tmp_path):
    """What a form of dataset cannot give is said, not left out."""
    given = made(people=8, each=4, noise=1.0)
    path = given.folder / "pairs.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file_x", "file_y", "Decision", "fold"))
        for person in range(8):
            rows.writerow((f"p{person:02d}/0.png", f"p{person:02d}/1.png", "Yes", person % 4))
            rows.writerow((f"p{person:02d}/2.png", f"p{(person + 1) % 8:02d}/3.png", "No", person % 4))
    run(evaluate_run, given.features, path, "-o", tmp_path / "r", *BASIS, "--replicates", 0, "--open-set")
    found = room.load_evaluation(tmp_path / "r")
    assert len(found.folds["folds"]) == 4
    assert "not_run" in found.open_set
    assert found.comparisons["protocol"] == "listed pairs"


def test_sources_and_options_that_do_not_go_together(run, made, tmp_path, bundle, monkeypatch):
    """Each is refused with what to do, before photographs are looked at."""
    given = made(people=3)
    end = (given.folder, "-o", tmp_path / "r", *BASIS)
    monkeypatch.delenv("FACEGATE_ENDPOINT", raising=False)
    (tmp_path / "some.onnx").write_bytes(b"\x08\x08")
    for arguments, error, message in (
        ((tmp_path / "absent.fgb", *end), ModelFileError, "cannot be read"),
        ((tmp_path / "some.onnx", *end), EvaluationError, "--detector|finds the faces"),
        ((bundle, *end, "--detector", tmp_path / "some.onnx"), EvaluationError, "of no use with a bundle"),
        ((given.features, *end, "--preprocess", "arcface"), EvaluationError, "of no use with stored features"),
        ((given.features, *end, "--endpoint", "https://a.example"), EvaluationError, "of no use"),
        (("hosted:m", *end), EvaluationError, "nothing is named that finds them"),
        ((given.features, *end, "--liveness", given.folder), DatasetError, "0 folders of live faces"),
        ((given.features, *end, "--by", "tone"), click.UsageError, "--attributes"),
        ((given.features, *end, "--cache", tmp_path, "--no-cache"), click.UsageError, "exclude"),
        ((given.features, given.folder, "-o", tmp_path / "some.onnx", *BASIS), OutputFileError, "cannot be made"),
    ):
        with pytest.raises(error, match=message):
            run(evaluate_run, *arguments)


def test_the_bundles_own_thresholds_are_measured_too(run, bundle, rendered_people, tmp_path):
    """A bundle states operating points; what they are worth on these photographs stands beside it."""
    found = run(evaluate_run, bundle, rendered_people, "-o", tmp_path / "r", *BASIS, "--replicates", 100)
    evaluation = room.load_evaluation(tmp_path / "r")
    assert [p["fmr"] for p in evaluation.stated_points] == [1e-2, 1e-3, 1e-4][: len(evaluation.stated_points)]
    assert evaluation.stated_points
    for point in evaluation.stated_points:
        assert point["verdict"] in ("met", "not met", "cannot be told")
        for name in ("fmr_measured", "fnmr"):
            assert point[name]["low"] <= point[name]["value"] <= point[name]["high"]
    assert "signature was not checked" in found.text
    assert evaluation.source["demonstration"]
    # The same templates serve again, from the result's own folder, and nobody else can read them.
    templates = list((tmp_path / "r/templates").iterdir())
    assert [stat.S_IMODE(p.stat().st_mode) for p in templates] == [0o600]
    assert stat.S_IMODE((tmp_path / "r/templates").stat().st_mode) == 0o700


def test_onnx_models_are_evaluated_without_a_bundle(run, reference_models, rendered_people, tmp_path):
    """A recogniser and a detector as ONNX files: converted on the way, and told apart from a bundle."""
    source = reference_models / "recognizer.onnx"
    end = (rendered_people, "-o", tmp_path / "r", *BASIS, "--replicates", 0)
    run(evaluate_run, source, *end, "--detector", reference_models / "detector.onnx")
    found = room.load_evaluation(tmp_path / "r")
    assert found.source["kind"] == "onnx"
    assert [(m["role"], m["precision"]) for m in found.source["models"]] == [
        ("detector", "float32"),
        ("recognizer", "float32"),
    ]
    assert any("converted to float32" in warning for warning in found.warnings)
    assert found.comparisons["genuine"] > 20
    with pytest.raises(EvaluationError, match="holds no recognizer, but a detector"):
        run(evaluate_run, reference_models / "detector.onnx", *end, "--detector", reference_models / "detector.onnx")


def test_a_signature_can_be_demanded(run, bundle, rendered_people, tmp_path):
    """--trust opens a bundle of that signer only; then no note says that nobody looked."""
    end = (rendered_people, "-o", tmp_path / "r", *BASIS, "--replicates", 0)
    (tmp_path / "other.pub").write_bytes(SigningKey.generate().verify_key.to_pem())
    (tmp_path / "other.pub").chmod(0o644)
    with pytest.raises(UntrustedKeyError):
        run(evaluate_run, bundle, *end, "--trust", tmp_path / "other.pub")
    assert not (tmp_path / "r").exists()
    found = run(evaluate_run, bundle, *end, "--trust", KEY)
    assert not any("signature" in warning for warning in found.data["evaluation"]["warnings"])
    assert found.data["evaluation"]["source"]["trusted"]


def test_templates_go_where_they_are_told_or_nowhere(run, bundle, rendered_people, tmp_path):
    """--cache names another folder, --no-cache none; both give the same figures."""
    end = (bundle, rendered_people, *BASIS, "--replicates", 0)
    run(evaluate_run, *end, "-o", tmp_path / "a", "--cache", tmp_path / "kept")
    run(evaluate_run, *end, "-o", tmp_path / "b", "--no-cache")
    assert not (tmp_path / "a/templates").exists()
    assert not (tmp_path / "b/templates").exists()
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert room.load_evaluation(tmp_path / "a").curve == room.load_evaluation(tmp_path / "b").curve


def test_worst_pairs_are_shown_only_if_asked_for(run, bundle, rendered_people, tmp_path):
    """--photographs makes a page of its own, with the evaluated bytes and no others; the report shows nobody."""
    run(evaluate_run, bundle, rendered_people, "-o", tmp_path / "r", *BASIS, "--replicates", 0, "--worst", 2)
    assert run(report, tmp_path / "r").data["worst"] is None
    assert not (tmp_path / "r/worst.html").exists()
    found = run(report, tmp_path / "r", "--photographs", rendered_people)
    page = tmp_path / "r/worst.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.read_text().count("data:image/jpeg;base64,") == 8
    assert "data:image" not in (tmp_path / "r/report.html").read_text()
    assert "shows people" in found.text
    with pytest.raises(DatasetChangedError, match="not in"):
        run(report, tmp_path / "r", "--photographs", tmp_path)
    other = tmp_path / "other"
    for path in rendered_people.rglob("*.png"):
        (other / path.relative_to(rendered_people)).parent.mkdir(parents=True, exist_ok=True)
        (other / path.relative_to(rendered_people)).write_bytes(b"somebody else")
    with pytest.raises(DatasetChangedError, match="not the one that was evaluated"):
        run(report, tmp_path / "r", "--photographs", other)


def test_two_results_side_by_side(run, made, tmp_path):
    """Better features have lower error rates; results of other photographs are put side by side with exit code 1."""
    given = made(people=14, each=5, noise=1.4)
    run(evaluate_run, given.features, given.folder, "-o", tmp_path / "a", *BASIS, "--replicates", 0)
    rng = np.random.default_rng(1)
    for name, vector in given.vectors.items():
        worse = vector + rng.normal(size=vector.size).astype(np.float32) / 4
        np.save((given.features / name).with_suffix(".npy"), worse / np.linalg.norm(worse))
    run(evaluate_run, given.features, given.folder, "-o", tmp_path / "b", *BASIS, "--replicates", 0)
    found = run(compare, tmp_path / "a", tmp_path / "b")
    assert found.code == 0
    figures = {row["figure"]: row for row in found.data["figures"]}
    row = figures["equal error rate"]
    assert row["difference"] == pytest.approx(row["second"]["value"] - row["first"]["value"])
    assert row["difference"] > 0
    assert "equal error rate" in found.text
    (given.folder / "p00/0.png").unlink()
    run(evaluate_run, given.features, given.folder, "-o", tmp_path / "c", *BASIS, "--replicates", 0)
    other = run(compare, tmp_path / "a", tmp_path / "c")
    assert (other.code, other.data["same_dataset"]) == (1, False)


def test_a_report_is_a_page_beside_the_result(run, result, tmp_path):
    """One HTML file, which only its owner reads: it shows how scores are distributed."""
    found = run(report, result)
    page = result / "report.html"
    assert found.data["file"] == str(page)
    assert page.read_text().lstrip().lower().startswith("<!doctype html")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    run(report, result / "result.json", "-o", tmp_path / "other.html")
    assert (tmp_path / "other.html").read_bytes() == page.read_bytes()
