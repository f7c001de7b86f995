"""Conversion as a whole, on generated models: numerics, quantising, manifest entries, reports, refusals."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegate_convert import _convert, _measure
from facegate_convert._bundles import build, load_models, save
from facegate_convert._convert import Options, convert
from facegate_convert._files import write_file
from facegate_convert._interpreter import make_interpreter
from facegate_convert._quantize import CALIBRATIONS
from facegate_convert.errors import (
    CalibrationError,
    ConvertError,
    MeasureError,
    ModelFileError,
    NotOnnxError,
    OutputFileError,
    ParityError,
)
from facegate_edge import Detector, Pipeline, make_engine, open_bundle
from facegate_edge._manifest import Quantization

from . import tiny_onnx

QUIET = Options(measure_latency=False)


@pytest.fixture
def crops(tmp_path):
    """A folder of 20 smooth images of 112x112: stand-ins for aligned faces."""
    return images(tmp_path / "crops", (112, 112), 20)


def images(folder, size, count):
    """Fill a folder with smooth random images."""
    folder.mkdir()
    random = np.random.default_rng(7)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder


def write(folder, model, name="model.onnx"):
    """Put a model's bytes into a file."""
    path = folder / name
    path.write_bytes(model)
    return path


DETECTORS = {
    "scrfd": lambda: tiny_onnx.detector((1, 4, 10), anchors=2),
    "scrfd maps without sigmoid": lambda: tiny_onnx.detector((1, 4, 10), anchors=2, maps=True, sigmoid=False),
    "scrfd maps": lambda: tiny_onnx.detector((1, 4), anchors=2, maps=True),
    "scrfd 5 strides": lambda: tiny_onnx.detector((1, 4, 10), levels=5, size=(128, 256)),
    "yunet": lambda: tiny_onnx.detector((1, 1, 4, 10), scores=2, batched=True),
    "retinaface": tiny_onnx.retinaface,
    "retinaface without softmax": lambda: tiny_onnx.retinaface(softmax=False),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_equal_their_source_and_load(tmp_path, name):
    """Every form of a detector becomes rows of probabilities, boxes and points that equal onnxruntime's."""
    result = convert(write(tmp_path, DETECTORS[name]()), QUIET)
    assert result.info.role == "detector"
    assert max(p["error_max"] for p in result.report.parity_float.values()) < 5e-5
    assert min(p["cosine_min"] for p in result.report.parity_float.values()) > 0.99999
    save(result, tmp_path / "model.fgb")  # the manifest's own rules check rows, names and shapes
    (loaded,) = load_models(tmp_path / "model.fgb")
    assert loaded.info == result.info
    assert loaded.data == result.model


@pytest.mark.parametrize("normalize", [(), (("Sub", 127.5), ("Mul", 1 / 128))])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_recognizers_equal_their_source(tmp_path, normalize, layout):
    """Recognisers too, whatever their layout and wherever they normalise."""
    source = write(tmp_path, tiny_onnx.vector(64, normalize=normalize, layout=layout))
    result = convert(source, QUIET)
    assert result.report.parity_float["embedding"]["error_max"] < 1e-5
    assert result.info.recognizer.template_length == 64
    assert result.info.input.tensor.shape == (1, 112, 112, 3)


def test_int8_has_int8_ends_and_one_partition(tmp_path, crops):
    """int8: input and output int8, pixels keep their 256 levels, PRELU included in XNNPACK's one partition."""
    source = write(tmp_path, tiny_onnx.vector(128, normalize=(("Sub", 127.5), ("Mul", 1 / 128))))
    result = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=crops))
    tensor = result.info.input.tensor
    assert (tensor.dtype, result.info.outputs[0].dtype) == ("int8", "int8")
    assert tensor.quantization.scale == pytest.approx(1.0, rel=1e-6)
    assert tensor.quantization.zero_point == -128
    assert result.report.partitions == 1
    assert result.report.parity["embedding"]["cosine_p50"] > 0.98
    assert result.report.size < result.report.size_float / 2


def test_dynamic_keeps_float_ends_and_one_partition(tmp_path, crops):
    """dynamic: int8 weights, float input and output, one partition, closer than int8, no calibration needed."""
    source = write(tmp_path, tiny_onnx.vector(128))
    result = convert(source, dataclasses.replace(QUIET, precision="dynamic"))
    static = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=crops))
    assert (result.info.input.tensor.dtype, result.info.outputs[0].dtype) == ("float32", "float32")
    assert result.report.partitions == 1
    assert result.report.size < result.report.size_float / 2
    assert result.report.parity["embedding"]["cosine_p50"] > static.report.parity["embedding"]["cosine_p50"]
    assert result.info.provenance.calibration == ""


def test_heads_keep_their_own_scales(tmp_path):
    """Scores and boxes of a quantised detector are not forced onto one scale."""
    source = write(tmp_path, tiny_onnx.detector((1, 4, 10), anchors=2))
    photographs = images(tmp_path / "photographs", (80, 60), 4)
    # Weights at random find faces at random, which no two precisions agree on.
    options = dataclasses.replace(QUIET, precision="int8", calibration=photographs, allow_drift=True)
    result = convert(source, options)
    scales = {o.name: o.quantization for o in result.info.outputs}
    assert {scales[f"score_{s}"].scale for s in (8, 16, 32)} == {1 / 256}
    assert len({quantization.scale for quantization in scales.values()}) > 4


def test_weights_are_quantised_per_channel(tmp_path, crops):
    """Each output channel of a convolution has a scale of its own."""
    source = write(tmp_path, tiny_onnx.vector(128))
    model = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=crops)).model
    per_channel = [
        len(d["quantization_parameters"]["scales"])
        for d in make_interpreter(model).get_tensor_details()
        if d["dtype"] == np.int8 and len(d["shape"]) == 4 and "w" in d["name"]
    ]
    assert 8 in per_channel


def test_int8_without_photographs_is_refused(tmp_path):
    """Random data is never calibrated on; the error says what to do."""
    source = write(tmp_path, tiny_onnx.vector(128))
    with pytest.raises(CalibrationError) as caught:
        convert(source, dataclasses.replace(QUIET, precision="int8"))
    assert "--calibration" in caught.value.hint


def test_the_same_input_gives_the_same_bytes(tmp_path, crops, monkeypatch):
    """Conversion and the file it writes are reproducible."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    source = write(tmp_path, tiny_onnx.vector(64))
    options = dataclasses.replace(QUIET, precision="int8", calibration=crops)
    for name in ("a.fgb", "b.fgb"):
        save(convert(source, options), tmp_path / name)
    assert (tmp_path / "a.fgb").read_bytes() == (tmp_path / "b.fgb").read_bytes()


def test_provenance_is_complete(tmp_path, crops):
    """Source hash, licence, converter, calibration fingerprint and parity stand in the manifest entry."""
    source = write(tmp_path, tiny_onnx.vector(64))
    options = Options(precision="int8", calibration=crops, licence="MIT", commercial_use=True, measure_latency=False)
    provenance = convert(source, options).info.provenance
    assert len(provenance.source_sha256) == len(provenance.calibration) == 64
    assert (provenance.licence, provenance.commercial_use) == ("MIT", True)
    assert set(provenance.parity["embedding"]) == {"cosine_min", "cosine_p1", "cosine_p50", "error_max", "error_mean"}


def test_calibration_fingerprint_is_of_the_photographs(tmp_path, crops):
    """Renaming photographs changes nothing; another photograph does."""
    source = write(tmp_path, tiny_onnx.vector(64))
    options = dataclasses.replace(QUIET, precision="int8", calibration=crops)
    first = convert(source, options)
    for path in list(crops.iterdir()):
        path.rename(crops / f"x{path.name}")
    assert convert(source, options).info.provenance.calibration == first.info.provenance.calibration
    next(crops.iterdir()).unlink()
    assert convert(source, options).info.provenance.calibration != first.info.provenance.calibration


def test_photographs_that_are_there_twice_count_once(tmp_path, crops):
    """Copies would be calibrated on and held back at once, and the comparison would flatter."""
    source = write(tmp_path, tiny_onnx.vector(64))
    options = dataclasses.replace(QUIET, precision="int8", calibration=crops)
    once = convert(source, options)
    for path in list(crops.iterdir()):
        (crops / f"copy-of-{path.name}").write_bytes(path.read_bytes())
    twice = convert(source, options)
    assert twice.report.calibration_images == once.report.calibration_images
    assert (twice.model, twice.info) == (once.model, once.info)


def test_unreadable_photographs_are_counted_and_named(tmp_path, crops):
    """A broken file is left out with a warning; its name is for the person, not for the report."""
    (crops / "broken.jpg").write_bytes(b"no image")
    result = convert(
        write(tmp_path, tiny_onnx.vector(64)), dataclasses.replace(QUIET, precision="int8", calibration=crops)
    )
    assert (result.report.unreadable, result.unreadable) == (1, ("broken.jpg",))
    assert any("1 files" in warning for warning in result.report.warnings)
    assert "broken" not in result.report.to_json()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no photographs"),
        ({"a.jpg": b"x", "b.png": b""}, "none of the 2 files"),
        (None, "not a folder"),
    ],
)
def test_calibration_folders_that_cannot_be_used(tmp_path, files, message):
    """Empty, absent or entirely unreadable folders are refused."""
    folder = tmp_path / "photographs"
    if files is not None:
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
    source = write(tmp_path, tiny_onnx.vector(64))
    with pytest.raises(ConvertError, match=message):
        convert(source, dataclasses.replace(QUIET, calibration=folder))


def test_photographs_that_are_no_crops_need_a_detector(tmp_path):
    """A recogniser is not calibrated on whole photographs."""
    folder = images(tmp_path / "photographs", (200, 150), 1)
    source = write(tmp_path, tiny_onnx.vector(64))
    with pytest.raises(CalibrationError) as caught:
        convert(source, dataclasses.replace(QUIET, calibration=folder))
    assert "--detector" in caught.value.hint


def test_few_photographs_are_warned_of_and_many_held_back(tmp_path):
    """Below 16 inputs the report warns; from 32 on a quarter is kept for the comparison alone."""
    source = write(tmp_path, tiny_onnx.vector(64))
    few = images(tmp_path / "few", (112, 112), 3)
    many = images(tmp_path / "many", (112, 112), 40)
    warned = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=few)).report
    assert any("3 inputs only" in warning for warning in warned.warnings)
    assert "themselves" in warned.inputs
    report = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=many)).report
    assert report.calibration_inputs == 30
    assert report.inputs == "10 inputs held back from calibration"
    assert not any("only" in warning for warning in report.warnings)


def test_drift_is_refused_unless_accepted(tmp_path, monkeypatch):
    """A float32 model that differs from its source is not written; --allow-drift takes it all the same."""
    source = write(tmp_path, tiny_onnx.vector(64))
    monkeypatch.setattr(_convert, "MAX_DRIFT", 0.0)
    with pytest.raises(ParityError, match="differs from its source") as caught:
        convert(source, QUIET)
    assert "--allow-drift" in caught.value.hint
    assert convert(source, dataclasses.replace(QUIET, allow_drift=True)).model


@pytest.mark.parametrize(
    ("data", "error"), [(b"", NotOnnxError), (b"GIF89a no model", NotOnnxError), (None, ModelFileError)]
)
def test_files_that_are_no_models(tmp_path, data, error):
    """No file, an empty one, another format: errors of their own."""
    path = tmp_path / "model.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(error):
        convert(path, QUIET)
    with pytest.raises(error):
        load_models(path, QUIET)


def test_unknown_precision_is_refused(tmp_path):
    """There is no int4 here."""
    with pytest.raises(ConvertError, match="int4"):
        convert(write(tmp_path, tiny_onnx.vector(64)), Options(precision="int4"))


def test_report_reads_as_text_and_as_json(tmp_path, crops):
    """The text says what was assumed and measured; the JSON holds every field; latency is in the report only."""
    source = write(tmp_path, tiny_onnx.vector(64), "net.onnx")
    result = convert(source, Options(precision="int8", calibration=crops))
    text = result.report.to_text()
    for expected in (
        "net.onnx: recognizer, family arcface, int8",
        "1 partition",
        "assumed: colour order",
        "cosine min",
    ):
        assert expected in text
    document = json.loads(result.report.to_json())
    assert set(document) == {field.name for field in dataclasses.fields(result.report)}
    assert set(document["latency"]) == {"1", "2"}
    assert set(document["latency"]["1"]) == {"float32", "int8"}
    assert "latency" not in repr(result.info)


@pytest.mark.parametrize("name", ["model.fgb", "model.tflite"])
def test_results_that_cannot_be_written_leave_no_half_file(tmp_path, name):
    """No such folder, or a full disk: an error, and nothing left behind."""
    result = convert(write(tmp_path, tiny_onnx.vector(64)), QUIET)
    with pytest.raises(OutputFileError):
        save(result, tmp_path / "absent" / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx"]


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_is_no_file_is_refused_as_such(name):
    """An empty name, this folder and the root: what cannot be written is a matter of the environment, not a bug."""
    with pytest.raises(OutputFileError) as caught:
        write_file(Path(name), [b"x"])
    assert caught.value.exit_code == 5


def test_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    """The space runs out in the middle of a write."""

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputFileError, match="No space"):
        write_file(tmp_path / "model.tflite", [b"x" * 10])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("reference", "candidate", "cosine", "error"),
    [
        ([[1, 0]], [[2, 0]], 1.0, 1.0),
        ([[1, 0]], [[0, 1]], 0.0, 1.0),
        ([[0, 0]], [[0, 0]], 1.0, 0.0),
        ([[0, 0]], [[1, 0]], 0.0, 1.0),
        ([[0, 10]], [[1, 10]], 10 / 101**0.5, 0.1),
    ],
)
def test_agreement_table(reference, candidate, cosine, error):
    """Cosine by input, error relative to the reference's range; zero vectors agree with zero vectors only."""
    found = _measure.agreement(np.float32(reference), np.float32(candidate))
    assert (found.cosine_min, found.error_max) == pytest.approx((cosine, error), abs=1e-7)


@pytest.mark.parametrize("candidate", [[[1.0]], [[np.nan, 0.0]], [[np.inf, 0.0]]])
def test_agreement_refuses_what_cannot_be_compared(candidate):
    """Other shapes and values that are not finite are errors, not figures."""
    with pytest.raises(MeasureError):
        _measure.agreement(np.float32([[1, 0]]), np.float32(candidate))


def test_agreement_refuses_a_reference_that_is_not_finite():
    """A difference to NaN is NaN, which is above no limit: a damaged source must not pass as one without drift."""
    with pytest.raises(MeasureError, match="source"):
        _measure.agreement(np.float32([[np.nan, 0]]), np.float32([[1, 0]]))


def test_quantization_rounds_half_to_even_and_clamps():
    """As the runtime's kernels do."""
    values = np.float32([-1000, 0.5, 1.5, 2.5, 1000])
    assert _measure.quantize(values, Quantization(1.0, 0), "int8").tolist() == [-128, 0, 2, 2, 127]
    assert _measure.dequantize(np.int8([-128, 127]), Quantization(0.5, -128)).tolist() == [0.0, 127.5]


@pytest.mark.parametrize(
    ("kind", "source", "finder"),
    [
        ("rendered", "reference/recognizer.onnx", "reference/detector.onnx"),
        ("real", "mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", "yunet/yunet_n_320_320.onnx"),
    ],
    ids=["rendered", "real"],
)
def test_recognizer_at_every_precision(converted, kind, source, finder):
    """A trained PReLU recogniser: exact in float32, one partition at int8, dynamic closest; sizes a third."""
    found = {p: converted(kind, source, p, finder) for p in ("float32", "int8", "dynamic")}
    reports = {p: c.report for p, c in found.items()}
    assert reports["float32"].parity["embedding"]["error_max"] < 1e-5
    assert all(report.partitions == 1 for report in reports.values())
    assert reports["int8"].parity["embedding"]["cosine_p50"] > 0.95
    assert reports["dynamic"].parity["embedding"]["cosine_p50"] > 0.999
    assert max(reports["int8"].size, reports["dynamic"].size) < reports["float32"].size * 0.36
    assert len({c.info.recognizer.template_space for c in found.values()}) == 3
    assert reports["int8"].calibration_inputs >= 20


def test_detector_at_int8_finds_the_same_faces(material, converted):
    """A trained detector at int8 finds the faces of float32; boxes overlap, even where another map answers."""
    source, _ = material.models["detector"]
    faces = {}
    for precision in ("float32", "int8"):
        result = converted(material.kind, source, precision)
        with make_engine(result.model) as engine:
            detector = Detector(result.info, engine)
            faces[precision] = [detector.detect(frame) for frame in material.portraits]
    for exact, quantised in zip(faces["float32"], faces["int8"], strict=True):
        assert len(exact) == len(quantised) >= 1
        a, b = exact[0].box, quantised[0].box
        corner, other = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        shared_area = float(np.prod(np.maximum(other - corner, 0)))
        union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared_area
        assert shared_area / union > 0.85


def test_converted_models_run_in_the_pipeline(material, onnx_path, tmp_path):
    """Detector and recogniser, converted and bundled, give templates of the manifest's space."""
    wanted = (material.models[role] for role in ("detector", "recognizer"))
    models = [
        model
        for name, options in wanted
        for model in load_models(onnx_path(name), dataclasses.replace(QUIET, **options))
    ]
    build(tmp_path / "b.fgb", models, name="test", version="1.0.0", intended_use="a test")
    with open_bundle(tmp_path / "b.fgb", development=True) as bundle, Pipeline(bundle) as pipeline:
        (face,) = pipeline.detect(material.frame)
        assert pipeline.embed(material.frame, face).space == models[1].info.recognizer.template_space


@pytest.mark.parametrize("prelu", [True, False])
def test_int8_says_how_it_was_made(tmp_path, crops, prelu):
    """The report names the ranges, and what became of PReLU only where there is any."""
    source = write(tmp_path, tiny_onnx.vector(64, prelu=prelu))
    method = convert(source, dataclasses.replace(QUIET, precision="int8", calibration=crops)).report.calibration_method
    assert ("PReLU" in method) == prelu
    assert method.split(",")[0] in [f"{how} ranges" for how in CALIBRATIONS]
