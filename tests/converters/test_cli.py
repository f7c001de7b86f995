"""The converter's commands, as the `facegate` command line calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import numpy as np
import pytest
from PIL import Image

from facegate.cli import main
from facegate_convert.cli._bundle import bundle_build, bundle_sign
from facegate_convert.cli._convert import convert
from facegate_convert.errors import (
    BuildError,
    CalibrationError,
    ConvertError,
    DatasetError,
    ModelFileError,
    OutputFileError,
    UnknownFamilyError,
)
from facegate_edge import SigningKey, TrustStore, open_bundle
from facegate_edge.errors import FacegateError, KeyFileError, UntrustedKeyError

from . import tiny_onnx
from .recording import run


@pytest.fixture
def models(tmp_path):
    """Detector and recogniser as ONNX files."""
    (tmp_path / "detector.onnx").write_bytes(tiny_onnx.detector((1, 4, 10), anchors=2))
    (tmp_path / "recognizer.onnx").write_bytes(tiny_onnx.vector(64))
    return tmp_path


@pytest.fixture
def key(tmp_path):
    """A signing key's file."""
    made = SigningKey.generate()
    made.save(tmp_path / "key.pem")
    return tmp_path / "key.pem"


BUILD = ("--name", "door", "--version", "1.0.0", "--intended-use", "a test", "--no-latency")


def test_convert_writes_a_bundle_of_one_model_and_a_report(models, monkeypatch):
    """Without options: float32, named after the source, in the current folder, with a report if asked."""
    monkeypatch.chdir(models)
    output = run(convert, "recognizer.onnx", "--report", "report.json", "--no-latency")
    assert output.data["file"] == "recognizer-float32.fgb"
    assert output.data["report"] == json.loads((models / "report.json").read_text())
    assert "assumed" in output.text
    with open_bundle(models / "recognizer-float32.fgb", development=True) as bundle:
        assert [m.role for m in bundle.manifest.models] == ["recognizer"]


def test_convert_writes_plain_tflite(models):
    """A name that ends in .tflite gives the flatbuffer alone, for other tools."""
    run(convert, models / "recognizer.onnx", "-o", models / "r.tflite", "--no-latency")
    assert (models / "r.tflite").read_bytes()[4:8] == b"TFL3"


def test_dry_runs_write_nothing(models):
    """--dry-run does all the work and leaves no file."""
    before = sorted(models.iterdir())
    output = run(
        convert,
        models / "recognizer.onnx",
        "-o",
        models / "r.fgb",
        "--report",
        models / "r.json",
        "--dry-run",
        "--no-latency",
    )
    assert output.data["file"] is None
    assert output.data["report"]["family"] == "arcface"
    output = run(
        bundle_build,
        models / "detector.onnx",
        models / "recognizer.onnx",
        "-o",
        models / "b.fgb",
        *BUILD,
        "--dry-run",
    )
    assert (output.data["file"], output.data["id"]) == (None, None)
    assert sorted(models.iterdir()) == before


def test_convert_options_reach_the_manifest(models):
    """Colour, normalisation, licence: what is stated is written down."""
    run(
        convert,
        models / "recognizer.onnx",
        "-o",
        models / "r.fgb",
        "--color",
        "BGR",
        "--mean",
        "1,2,3",
        "--scale",
        "0.5",
        "--licence",
        "MIT",
        "--commercial-use",
        "yes",
        "--no-latency",
    )
    with open_bundle(models / "r.fgb", development=True) as bundle:
        info = bundle.manifest.models[0]
    assert (info.input.color, info.input.mean, info.input.scale) == ("BGR", (1, 2, 3), (0.5, 0.5, 0.5))
    assert (info.provenance.licence, info.provenance.commercial_use) == ("MIT", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--input-size", "320"],
        ["--input-size", "axb"],
        ["--mean", "1,2"],
        ["--mean", "nan"],
        ["--scale", "x"],
        ["--precision", "int4"],
        ["--crop-scale", "0"],
        ["--preprocess", "magic"],
        ["--size-budget", "1000"],
        ["--precision", "dynamic", "--size-budget", "1000"],
    ],
)
def test_convert_arguments_that_are_wrong(models, arguments):
    """Malformed values are mistakes on the command line, told before any work."""
    with pytest.raises(click.UsageError):
        run(convert, models / "recognizer.onnx", *arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--precision", "int8"], CalibrationError),
        (["--calibration", "absent"], DatasetError),
        (["--crop-scale", "2"], FacegateError),
        (["--truth", "absent.csv"], ConvertError),
        (["--attacks", "absent"], ConvertError),
        (["--float16-arithmetic"], ConvertError),
        (["--precision", "auto", "--target", "rpi4", "--float16-arithmetic"], ConvertError),
        (["-o", "absent/r.fgb"], OutputFileError),
        (["--report", "absent/r.html"], OutputFileError),
    ],
)
def test_convert_fails_with_errors_of_its_own(models, arguments, error):
    """What the model or the photographs do not allow is an error with advice."""
    with pytest.raises(error) as caught:
        run(convert, models / "recognizer.onnx", *arguments)
    assert caught.value.hint


def test_one_command_from_onnx_to_a_signed_bundle(models, key):
    """Two ONNX files, a key, a stated threshold: a signed bundle that a device with the key opens."""
    target = models / "door.fgb"
    output = run(
        bundle_build,
        models / "recognizer.onnx",
        models / "detector.onnx",
        "-o",
        target,
        *BUILD,
        "--key",
        key,
        "--operating-point",
        "0.001=0.42",
    )
    signing = SigningKey.load(key)
    assert output.data["signed_by"] == signing.key_id
    with open_bundle(target, trust=TrustStore([signing.verify_key])) as bundle:
        assert bundle.id == output.data["id"]
        assert [m.role for m in bundle.manifest.models] == ["detector", "recognizer"]
        (point,) = bundle.manifest.operating_points
        assert (point.fmr, point.threshold, point.impostor, point.fmr_upper) == (0.001, 0.42, 0, 1.0)
    assert "not measured" in output.text
    assert any("stated" in step for step in output.steps)


def test_bundles_are_built_of_converted_models(models):
    """What `convert` wrote goes in as it is."""
    for name in ("detector", "recognizer"):
        run(convert, models / f"{name}.onnx", "-o", models / f"{name}.fgb", "--no-latency")
    output = run(bundle_build, models / "detector.fgb", models / "recognizer.fgb", "-o", models / "door.fgb", *BUILD)
    assert output.data["signed_by"] is None
    assert "not signed" in output.text
    assert any("no operating point" in note for note in output.data["notes"])


def test_sign_replaces_or_copies(models, key):
    """`bundle sign` signs in place, or into another file and leaves the first alone."""
    target, copy = models / "door.fgb", models / "signed.fgb"
    run(bundle_build, models / "detector.onnx", models / "recognizer.onnx", "-o", target, *BUILD)
    trust = TrustStore([SigningKey.load(key).verify_key])
    unsigned = target.read_bytes()
    first = run(bundle_sign, target, "--key", key, "-o", copy)
    assert target.read_bytes() == unsigned
    second = run(bundle_sign, target, "--key", key)
    assert first.data["id"] == second.data["id"]
    for path in (target, copy):
        with open_bundle(path, trust=trust) as bundle:
            assert bundle.trusted
    with pytest.raises(UntrustedKeyError):
        open_bundle(target, trust=TrustStore())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version", "1.0"],
        ["--name", "My Door"],
        ["--operating-point", "0.42"],
        ["--operating-point", "2=0.42"],
        ["--operating-point", "0.001=1.5"],
        ["--pairs", "p.csv"],
        ["--fmr", "0.01"],
        ["--fmr", "2", "--images", "."],
        ["--infer-pairs"],
        ["--images", ".", "--operating-point", "0.001=0.42"],
    ],
)
def test_build_arguments_that_are_wrong(models, arguments):
    """Malformed and contradictory options are told before a model is touched."""
    with pytest.raises(click.UsageError):
        run(bundle_build, models / "absent.onnx", "-o", models / "door.fgb", *BUILD, *arguments)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["detector"], BuildError, "no recognizer"),
        (["recognizer"], BuildError, "no detector"),
        (["detector", "detector", "recognizer"], BuildError, "two models are a detector"),
        (["boxes", "recognizer"], BuildError, "no landmarks"),
        (["other", "recognizer"], UnknownFamilyError, "224x224"),
        (["absent"], ModelFileError, "cannot be read"),
    ],
)
def test_models_that_make_no_bundle(models, names, error, message):
    """A role too few or too many, no landmarks, an unknown model, no file."""
    (models / "boxes.onnx").write_bytes(tiny_onnx.detector((1, 4), anchors=2))
    (models / "other.onnx").write_bytes(tiny_onnx.vector(10, size=(224, 224)))
    with pytest.raises(error, match=message) as caught:
        run(bundle_build, *(models / f"{n}.onnx" for n in names), "-o", models / "door.fgb", *BUILD)
    assert caught.value.hint
    assert not (models / "door.fgb").exists()


def test_a_wrong_key_is_told_before_the_work(models, key):
    """The key is read first."""
    key.write_text("no key")
    with pytest.raises(KeyFileError):
        run(bundle_build, models / "absent.onnx", "-o", models / "door.fgb", *BUILD, "--key", key)


def test_source_date_epoch_must_be_a_number(models, monkeypatch):
    """A malformed SOURCE_DATE_EPOCH is refused, not ignored."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH"):
        run(convert, models / "recognizer.onnx", "-o", models / "r.fgb", "--no-latency")


def test_unreadable_photographs_are_named_to_the_person(models):
    """The file is named on the way, and counted in the result."""
    folder = models / "photographs"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"x")
    Image.fromarray(np.full((112, 112, 3), 90, np.uint8)).save(folder / "fine.png")
    output = run(convert, models / "recognizer.onnx", "--calibration", folder, "--dry-run", "--no-latency")
    assert any("broken.png" in step for step in output.steps)
    assert output.data["report"]["unreadable"] == 1


def test_photographs_without_faces_give_no_operating_point(models):
    """If nobody can be compared, the bundle is not built."""
    for person in ("a", "b"):
        folder = models / "people" / person
        folder.mkdir(parents=True)
        (folder / "broken.png").write_bytes(person.encode())
    with pytest.raises(DatasetError, match="2 show no usable face"):
        run(
            bundle_build,
            models / "detector.onnx",
            models / "recognizer.onnx",
            "-o",
            models / "door.fgb",
            *BUILD,
            "--images",
            models / "people",
        )
    assert not (models / "door.fgb").exists()


def test_help_loads_nothing_heavy():
    """The commands and their help come without numpy, onnx or the quantizer."""
    code = (
        "import sys\nfrom facegate_convert.cli import _bundle, _convert\n"
        "from click.testing import CliRunner\n"
        "for command in (_convert.convert, _bundle.bundle_build, _bundle.bundle_sign):\n"
        "    assert CliRunner().invoke(command, ['--help']).exit_code == 0\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'ai_edge_quantizer', 'ai_edge_litert', 'rich', 'cryptography'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert done.stdout.strip() == "[]"


def test_measured_operating_points_on_rendered_photographs(rendered, onnx_path, tmp_path, key):
    """The reference models on every pair of 40 photographs from a terminal, from ONNX to a signed bundle.

    720 comparisons of two people carry FMR 1e-2 and not 1e-3; at either threshold everybody is known again.
    """
    target = tmp_path / "door.fgb"
    output = run(
        bundle_build,
        *(onnx_path(rendered.models[role][0]) for role in ("detector", "recognizer", "liveness")),
        "--precision",
        "int8",
        "--calibration",
        rendered.calibration,
        "-o",
        target,
        *BUILD,
        "--key",
        key,
        "--pairs",
        rendered.pairs,
        "--images",
        rendered.folder,
        "--fmr",
        "0.01",
        "--fmr",
        "0.001",
    )
    with open_bundle(target, trust=TrustStore([SigningKey.load(key).verify_key])) as bundle:
        manifest = bundle.manifest
    points = manifest.operating_points
    assert [p.fmr for p in points] == [0.01, 0.001]
    assert {(p.genuine, p.impostor) for p in points} == {(60, 720)}
    assert [p.fnmr for p in points] == [0, 0]
    assert 0.1 < points[0].threshold < points[1].threshold < 0.75
    (note,) = output.data["notes"]  # of the FMR that is not carried
    assert "0.001" in note
    assert output.data["without_face"] == 0
    assert manifest.demonstration
    assert all(model.provenance.licence == "Apache-2.0" for model in manifest.models)


def test_measured_operating_points_on_real_photographs(shared, tmp_path, key):
    """YuNet and a recogniser on the 300 real pairs: a threshold for FMR 1e-2 that no genuine pair falls below."""
    target = tmp_path / "door.fgb"
    models = shared / "models"
    output = run(
        bundle_build,
        models / "yunet/yunet_n_320_320.onnx",
        models / "mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx",
        "--precision",
        "dynamic",
        "-o",
        target,
        *BUILD,
        "--key",
        key,
        "--pairs",
        shared / "faces/deepface/master.csv",
        "--images",
        shared / "faces/deepface",
        "--fmr",
        "0.01",
        "--fmr",
        "0.001",
    )
    with open_bundle(target, trust=TrustStore([SigningKey.load(key).verify_key])) as bundle:
        points = bundle.manifest.operating_points
    assert [p.fmr for p in points] == [0.01, 0.001]
    assert {(p.genuine, p.impostor) for p in points} == {(38, 262)}
    assert all(p.fnmr == 0 and 0.05 < p.fnmr_high < 0.1 for p in points)
    assert 0.2 < points[0].threshold < points[1].threshold < 0.5
    assert len(output.data["notes"]) == 2  # 262 comparisons carry neither 1e-2 nor 1e-3
    assert output.data["without_face"] == 0


@pytest.mark.parametrize(
    ("kind", "sources"),
    [
        ("rendered", ("reference/detector.onnx", "reference/recognizer.onnx")),
        ("real", ("yunet/yunet_n_320_320.onnx", "mobileface-becauseofai/mobileface_id_v2.onnx")),
    ],
    ids=["rendered", "real"],
)
def test_targets_that_nobody_named_are_left_out_if_not_carried(material_of, onnx_path, tmp_path, kind, sources):
    """Without --fmr the bundle holds only what the photographs can carry, and the rest is said."""
    folder = material_of(kind).few
    output = run(bundle_build, *map(onnx_path, sources), "-o", tmp_path / "door.fgb", *BUILD, "--images", folder)
    assert output.data["operating_points"] == []
    assert output.data["photographs"] == 9
    (note,) = output.data["notes"]
    assert "FMR 0.01, 0.001, 0.0001: left out; --fmr asks" in note


def test_a_truncated_model_is_told_as_what_it_is(models, capsys):
    """Its error is an EOFError as well, which click takes for the end of the input at a prompt."""
    whole = (models / "recognizer.onnx").read_bytes()
    (models / "recognizer.onnx").write_bytes(whole[: len(whole) // 2])
    code = main(["convert", str(models / "recognizer.onnx"), "--json"])
    assert (code, json.loads(capsys.readouterr().out)["error"]["type"]) == (3, "TruncatedModelError")


@pytest.mark.parametrize(
    "names",
    [
        {"-o": "recognizer.onnx"},
        {"-o": "other.fgb", "--report": "recognizer.onnx"},
        {"-o": "other.fgb", "--report": "other.fgb"},
        {"-o": "detector.onnx", "--detector": "detector.onnx"},
        {"-o": "sub/../recognizer.onnx"},
    ],
    ids=["the model", "by the report", "each other", "the detector", "by another name"],
)
def test_outputs_overwrite_neither_inputs_nor_each_other(models, names):
    """A name given twice by mistake costs nobody their model."""
    (models / "sub").mkdir()
    before = {path: path.read_bytes() for path in models.iterdir() if path.is_file()}
    options = [part for option, name in names.items() for part in (option, models / name)]
    with pytest.raises(click.UsageError):
        run(convert, models / "recognizer.onnx", *options, "--no-latency")
    assert {path: path.read_bytes() for path in models.iterdir() if path.is_file()} == before


def test_build_overwrites_no_model_but_the_bundle_that_it_replaces(models):
    """A bundle may be built anew of itself and another model, in place; an ONNX file is never the place."""
    build = ("--name", "door", "--version", "1.0.0", "--intended-use", "tests", "--no-latency")
    names = (models / "detector.onnx", models / "recognizer.onnx")
    with pytest.raises(click.UsageError):
        run(bundle_build, *names, "-o", models / "detector.onnx", *build)
    run(bundle_build, *names, "-o", models / "door.fgb", *build)
    output = run(bundle_build, models / "door.fgb", "-o", models / "door.fgb", *build)
    assert output.data["file"] == str(models / "door.fgb")


def test_options_that_change_nothing_are_told(models):
    """Whoever asks for a precision or gates of models that are not converted now is told so."""
    build = ("--name", "door", "--version", "1.0.0", "--intended-use", "tests", "--no-latency")
    run(bundle_build, models / "detector.onnx", models / "recognizer.onnx", "-o", models / "door.fgb", *build)
    asked = ("--precision", "float16", "--strict", "--attacks", models / "absent", "--truth", models / "absent.csv")
    output = run(bundle_build, models / "door.fgb", "-o", models / "other.fgb", *build, *asked)
    said = "; ".join(output.data["notes"])
    assert all(name in said for name in ("--precision", "--strict", "--attacks", "--truth"))


def test_a_normalization_against_the_graphs_own_is_told(models):
    """A model that normalises its input itself, and is fed normalised pixels, passes every gate and knows nobody."""
    own = models / "own.onnx"
    own.write_bytes(tiny_onnx.vector(64, normalize=(("Sub", 127.5), ("Mul", 1 / 128))))

    def told(source, *options):
        report = run(convert, source, "--dry-run", "--no-latency", *options).data["report"]
        return [a for a in report["assumptions"] if "against the graph" in a]

    assert len(told(own, "--preprocess", "arcface")) == 1
    assert told(own) == told(own, "--preprocess", "raw") == []
    assert told(models / "recognizer.onnx", "--preprocess", "unit") == []


def test_a_pipe_is_no_model(models):
    """A name that nobody ever writes to does not keep a build waiting."""
    os.mkfifo(models / "pipe.onnx")
    with pytest.raises(ModelFileError):
        run(convert, models / "recognizer.onnx", "--detector", models / "pipe.onnx", "--calibration", models)
    build = ("--name", "door", "--version", "1.0.0", "--intended-use", "tests", "-o", models / "door.fgb")
    with pytest.raises(ModelFileError):
        run(bundle_build, models / "detector.onnx", models / "pipe.onnx", *build)
