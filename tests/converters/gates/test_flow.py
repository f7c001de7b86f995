"""A conversion that is refused leaves nothing but its report; one that is let pass says so for ever."""

from __future__ import annotations

import dataclasses
import json

import click
import numpy as np
import pytest
from click.testing import CliRunner

from facegate.cli import main
from facegate_convert import _convert, _samples
from facegate_convert._bundles import Model, build, load_models, save
from facegate_convert._convert import Options, convert
from facegate_convert._quantize import Search
from facegate_convert._source import WAYS
from facegate_convert.cli._bundle import bundle_build
from facegate_convert.cli._convert import convert as command
from facegate_convert.errors import (
    ConvertError,
    DatasetError,
    DriftError,
    EvidenceError,
    ParityError,
    SpeedError,
)
from facegate_edge import open_bundle
from facegate_edge._manifest_json import dump_manifest, parse_manifest
from facegate_edge.errors import ManifestError, UnknownTargetError

from . import damage


@pytest.fixture
def options(rendered, finder):
    """Rendered people to compare on; a precision that is made at once."""
    return Options(precision="dynamic", calibration=rendered.calibration, detector=finder, measure_latency=False)


@pytest.fixture
def careless(monkeypatch):
    """A quantizer that gets a scale wrong."""
    search = _convert.search

    def wrong(*arguments, **keywords):
        found = search(*arguments, **keywords)
        if keywords["precision"] != "dynamic":  # the detector that finds the faces is a good one
            return found
        chosen = dataclasses.replace(found.chosen, model=damage.wrong_scale(found.chosen.model, 4.0))
        return Search(chosen, found.tried, found.why)

    monkeypatch.setattr(_convert, "search", wrong)


class Output:
    """What a command says."""

    def __init__(self):
        self.data, self.steps = None, []

    def emit(self, data, text=""):
        """Keep the result."""
        self.data = data
        assert text if isinstance(text, str) else text()

    def progress(self, message):
        """Keep the step."""
        self.steps.append(message)


def run(function, *arguments):
    """Run a command; raises what it raises."""
    output = Output()
    result = CliRunner().invoke(function, [str(a) for a in arguments], obj=output, standalone_mode=False)
    if result.exception is not None:
        result.exception.output = output
        raise result.exception
    return output


@pytest.mark.usefixtures("careless")
def test_a_badly_quantised_model_is_refused_with_its_report(onnx_path, options):
    """The error names the gate, the reason and the option; the report says what was measured and refused."""
    with pytest.raises(DriftError, match="drift-p50") as caught:
        convert(onnx_path("reference/recognizer.onnx"), options)
    report = caught.value.report
    assert "drift-p50" in report.refused
    assert {g["name"]: g["status"] for g in report.gates}["drift-p50"] == "failed"
    assert "FAILED" in report.to_text()
    assert "refused:" in report.to_text()


@pytest.mark.usefixtures("careless")
def test_what_was_allowed_stands_in_the_manifest_and_stays_there(onnx_path, options, tmp_path, capsys):
    """--allow-drift lets it pass; the bundle, and every bundle that takes the model from it, names the gates."""
    source = onnx_path("reference/recognizer.onnx")
    made = convert(source, dataclasses.replace(options, allow_drift=True))
    assert "drift-p50" in made.info.provenance.allowances
    assert made.report.allowances == list(made.info.provenance.allowances)
    assert any("accepted with --allow-drift" in warning for warning in made.report.warnings)
    save(made, tmp_path / "a.fgb")
    (model,) = load_models(tmp_path / "a.fgb")
    build(tmp_path / "b.fgb", [model], name="b", version="1.0.0", intended_use="a test")
    assert main(["bundle", "inspect", str(tmp_path / "b.fgb")]) == 0
    assert "LET PASS: the conversion of the recognizer failed drift-p50" in capsys.readouterr().out
    with open_bundle(tmp_path / "b.fgb", development=True) as bundle:
        assert bundle.manifest.models[0].provenance.allowances == made.info.provenance.allowances


def test_a_model_that_needed_no_allowance_has_none(int8, make_manifest):
    """Options that were given and not needed leave no trace: older runtimes read the manifest."""
    assert int8("recognizer").info.provenance.allowances == ()
    assert b"allowances" not in dump_manifest(make_manifest())


@pytest.mark.parametrize("names", [["Drift"], ["a b"], [""], ["speed", "speed"], [1], "speed", []])
def test_allowances_of_a_manifest_are_checked(make_manifest, names):
    """Names of gates, each once; an empty list is left out."""
    document = json.loads(dump_manifest(make_manifest()))
    document["models"][0]["provenance"]["allowances"] = names
    with pytest.raises(ManifestError, match=r"models\[0\]\.provenance\.allowances"):
        parse_manifest(json.dumps(document).encode())
    document["models"][0]["provenance"]["allowances"] = ["drift-p1", "fnmr@1e-3", "apcer-paper-mask"]
    assert parse_manifest(json.dumps(document).encode()).models[0].provenance.allowances[1] == "fnmr@1e-3"


@pytest.mark.parametrize("name", ["report.json", "report.html"])
@pytest.mark.usefixtures("careless")
def test_a_refused_conversion_writes_its_report_and_nothing_else(onnx_path, rendered, tmp_path, name):
    """Exit code 1; the page shows why; no bundle is there."""
    source, finder = onnx_path("reference/recognizer.onnx"), onnx_path("reference/detector.onnx")
    with pytest.raises(DriftError) as caught:
        run(
            *(command, source, "--precision", "dynamic", "--calibration", rendered.calibration, "--detector", finder),
            *("--no-latency", "-o", tmp_path / "r.fgb", "--report", tmp_path / name),
        )
    assert caught.value.exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert "drift-p50" in (tmp_path / name).read_text()
    assert any(name in step for step in caught.value.output.steps)


@pytest.mark.usefixtures("careless")
def test_a_refused_conversion_without_a_report_tells_of_it(onnx_path, rendered, tmp_path):
    """The hint names --report, and the option that accepts the model."""
    source, finder = onnx_path("reference/recognizer.onnx"), onnx_path("reference/detector.onnx")
    with pytest.raises(DriftError) as caught:
        run(
            *(command, source, "--precision", "dynamic", "--calibration", rendered.calibration, "--detector", finder),
            *("--no-latency", "-o", tmp_path / "r.fgb"),
        )
    assert "--allow-drift accepts it" in caught.value.hint
    assert "--report" in caught.value.hint


def test_strictly_a_gate_that_was_not_run_is_a_refusal(onnx_path, options):
    """Nobody said who is who: --strict refuses, and no option but leaving it away accepts that."""
    with pytest.raises(EvidenceError, match="fnmr@1e-2"):
        convert(onnx_path("reference/recognizer.onnx"), dataclasses.replace(options, strict=True))


def test_a_slow_model_is_refused_and_can_be_allowed(onnx_path, options, monkeypatch):
    """The speed is measured on this machine; the refusal names the option, and the option is recorded."""
    source = onnx_path("reference/recognizer.onnx")
    monkeypatch.setattr(
        _convert._measure, "times", lambda models, **_: {n: [1.0 + 9 * (n == "dynamic")] * 50 for n in models}
    )
    timed = dataclasses.replace(options, measure_latency=True)
    with pytest.raises(SpeedError, match=r"10\.00x"):
        convert(source, timed)
    made = convert(source, dataclasses.replace(timed, allow_slower=True))
    assert made.info.provenance.allowances == ("speed",)
    assert made.report.latency == {n: {"float32": 1000.0, "dynamic": 10000.0} for n in ("1", "2")}
    assert isinstance(made.report.operators, list)


def test_labeled_pairs_give_error_rates(onnx_path, options, rendered):
    """With a folder for each person the report has FNMR at FMR for both, curves, scores and worst samples."""
    report = convert(
        onnx_path("reference/recognizer.onnx"), dataclasses.replace(options, images=rendered.folder)
    ).report
    found = {g["name"]: g for g in report.gates}
    assert found["fnmr@1e-2"]["status"] == "passed"
    assert found["fnmr@1e-2"]["rate"]["trials"] == 60
    assert set(report.curves) == {"source", "model"}
    assert sum(report.scores["source"]["impostor"]) == 720
    assert len(report.pairs) == 780
    assert [p["fmr"] for p in report.operating_points["model"]] == [0.01, 0.001]


def test_another_way_to_float32_is_held_to_the_same(onnx_path, monkeypatch):
    """A way is a function from the source to a model; one that computes something else is refused by parity."""
    source = onnx_path("reference/recognizer.onnx")
    monkeypatch.setitem(WAYS, "noisy", lambda read: damage.noisy(read, 0.001))
    with pytest.raises(ParityError, match="differs from its source"):
        convert(source, Options(via="noisy", measure_latency=False))
    with pytest.raises(ConvertError, match="no way 'magic'"):
        convert(source, Options(via="magic", measure_latency=False))
    report = convert(source, Options(via="noisy", measure_latency=False, allow_drift=True)).report
    assert (report.via, report.allowances) == ("noisy", ["parity"])


def test_a_target_that_does_not_exist_is_refused_before_the_work(tmp_path):
    """The hint lists those that do."""
    with pytest.raises(UnknownTargetError) as caught:
        run(command, tmp_path / "absent.onnx", "--target", "rpi9")
    assert "rpi5" in caught.value.hint


def test_a_model_that_was_converted_for_another_device_is_said(onnx_path, options):
    """The bundle's target is the builder's to say; that a model was judged for another one is a note."""
    made = convert(onnx_path("reference/liveness.onnx"), dataclasses.replace(options, target="rpi5"))
    assert made.report.target == {"name": "rpi5", "title": "Raspberry Pi 5"}
    from facegate_convert._bundles import built_for  # noqa: PLC0415

    model = Model(made.info, made.model, made.report, "rpi5")
    assert built_for([model], "rpi5") == ()
    (note,) = built_for([model], "jetson-orin")
    assert "converted for rpi5" in note


def test_auto_chooses_and_says_why(onnx_path, options):
    """The report has what was asked, what it became, what was tried and the reason."""
    made = convert(onnx_path("reference/recognizer.onnx"), dataclasses.replace(options, precision="auto"))
    report = made.report
    assert report.asked == "auto"
    assert report.precision == made.info.precision != "auto"
    assert report.why
    assert [row["chosen"] for row in report.recipes].count(True) == 1


def test_float16_arithmetic_is_for_float16_models_on_cores_that_have_it(onnx_path):
    """It is asked for, never assumed, and the report says that no gate has seen it."""
    source = onnx_path("reference/liveness.onnx")
    asked = Options(precision="float16", float16_arithmetic=True, measure_latency=False)
    made = convert(source, dataclasses.replace(asked, target="rpi5"))
    assert made.info.arithmetic == "float16"
    assert any("no gate" in warning for warning in made.report.warnings)
    assert convert(source, dataclasses.replace(asked, float16_arithmetic=False)).info.arithmetic == "float32"
    for wrong in (
        dataclasses.replace(asked, target="rpi4"),
        dataclasses.replace(asked, precision="float32", target="rpi5"),
    ):
        with pytest.raises(ConvertError, match="not calculated in float16"):
            convert(source, wrong)


def test_labels_that_cannot_be_used_are_told_before_the_work(onnx_path, options, monkeypatch, tmp_path):
    """A table that is not there is no reason to wait for a search."""
    monkeypatch.setattr(_convert, "search", None)
    with pytest.raises(DatasetError, match="cannot be read"):
        convert(onnx_path("reference/detector.onnx"), dataclasses.replace(options, truth=tmp_path / "absent.csv"))


# Labelled photographs


def table(folder, *rows, header="file,x1,y1,x2,y2"):
    """A table of true faces."""
    path = folder / "truth.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "file,x1,y1,x2,y2", "no rows"),
        (["a.png,1,2,3"], "file,x1,y1,x2", "no column y2"),
        (["a.png,1,2,x,4"], "file,x1,y1,x2,y2", "line 2: no box"),
        (["a.png,,,,", "a.png,5,2,3,4"], "file,x1,y1,x2,y2", "line 3: no box"),
        (["a.png,1,2,nan,4"], "file,x1,y1,x2,y2", "no box"),
        (["a.png,1,2,3,4"], "file,x1,y1,x2,y2", "no photograph"),
    ],
)
def test_a_table_of_true_faces_that_cannot_be_used(court, tmp_path, rows, header, message):
    """Missing columns, no rows, no boxes, no photographs."""
    room = court("detector")
    with pytest.raises(DatasetError, match=message):
        _samples.true_faces(table(tmp_path, *rows, header=header), (room.info, room.model), tell=lambda *_: None)


def test_true_faces_are_in_pixels_of_the_input(court, tmp_path):
    """Boxes are scaled with the photograph; a photograph without a face has one row without a box."""
    from PIL import Image  # noqa: PLC0415

    room = court("detector")
    Image.fromarray(np.full((160, 640, 3), 90, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((320, 320, 3), 90, np.uint8)).save(tmp_path / "b.png")
    found = _samples.true_faces(
        table(tmp_path, "a.png,10,20,110,140", "b.png,,,,"), (room.info, room.model), tell=lambda *_: None
    )
    assert found.boxes[0].tolist() == [[5, 10, 55, 70]]
    assert found.boxes[1].shape == (0, 4)
    assert all("a.png" not in name for name in found.inputs.samples)


@pytest.mark.parametrize("kinds", [(), ("live",), ("print", "screen")])
def test_a_folder_of_attacks_needs_live_faces_and_a_species(court, tmp_path, kinds):
    """Without both there is no error rate."""
    for kind in kinds:
        (tmp_path / kind).mkdir()
    room = court("liveness")
    with pytest.raises(DatasetError) as caught:
        _samples.attacks(tmp_path, (room.info, room.model), None, tell=lambda *_: None)
    assert "live" in caught.value.hint


@pytest.mark.parametrize(
    "arguments", [["--pairs", "p.csv"], ["--infer-pairs"], ["--size-budget", "0"], ["--via", "magic"]]
)
@pytest.mark.parametrize("function", [command, bundle_build])
def test_options_that_make_no_sense(tmp_path, function, arguments):
    """Told before any work."""
    more = ["-o", tmp_path / "b.fgb", "--name", "b", "--version", "1.0.0", "--intended-use", "x"]
    with pytest.raises(click.UsageError):
        run(function, tmp_path / "absent.onnx", *(more if function is bundle_build else ()), *arguments)
