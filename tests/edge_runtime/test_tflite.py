"""tflite-runtime behind the same protocol, in an environment of its own: it needs numpy 1 and Python 3.9 to 3.11."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from tflite_child import Folder

from facegate_convert._graph import load_graph
from facegate_convert._lower import lower
from facegate_convert._quantize import quantize_dynamic
from facegate_edge._engine import make_engine
from facegate_edge._gallery import compare
from facegate_edge._manifest import Manifest
from facegate_edge._manifest_json import dump_manifest
from facegate_edge._pipeline import Pipeline
from facegate_edge._values import Template

CHILD = Path(__file__).with_name("tflite_child.py")
REQUIREMENTS = ["numpy<2", "tflite-runtime==2.14.0", "cffi"]


@pytest.fixture(scope="session")
def python(tmp_path_factory) -> str:
    """An interpreter with tflite-runtime: the one that FACEGATE_TFLITE_PYTHON names, or one made here."""
    named = os.environ.get("FACEGATE_TFLITE_PYTHON")
    if named:
        if not Path(named).is_file():
            pytest.fail(f"FACEGATE_TFLITE_PYTHON names {named}, which is not there")
        return named
    if not (3, 9) <= sys.version_info[:2] <= (3, 11):
        pytest.skip("tflite-runtime has wheels for Python 3.9 to 3.11; name an interpreter in FACEGATE_TFLITE_PYTHON")
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python cannot make an environment (no ensurepip)")
    folder = tmp_path_factory.mktemp("tflite")
    venv.create(folder, with_pip=True)
    made = str(folder / "bin" / "python")
    pip = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603 - our own pip
    if done.returncode:
        pytest.skip(f"pip could not install tflite-runtime: {done.stderr.strip().splitlines()[-1:]}")
    return made


@pytest.fixture(scope="session")
def child(python):
    """Runs tflite_child.py on a folder; returns what it reports."""

    def run(folder: Path) -> dict:
        # The package under test, wherever this interpreter has it: only its standard-library and numpy parts are used.
        package = importlib.util.find_spec("facegate_edge").submodule_search_locations[0]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        link = folder / "facegate_edge"
        if not link.exists():
            link.symlink_to(package)
        done = subprocess.run(  # noqa: S603 - our own script
            [python, str(CHILD), str(folder)], capture_output=True, text=True, check=False, timeout=120, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def models(tiny):
    """Name to model."""
    rng = np.random.default_rng(3)
    return {
        "conv": tiny.conv_model(rng.standard_normal((5, 3)), rng.standard_normal(5)),
        "sigmoid": tiny.sigmoid_model(),
        "two": tiny.two_outputs_model(),
    }


@pytest.mark.parametrize("name", ["conv", "sigmoid", "two"])
def test_tflite_gives_what_litert_gives(tiny, child, tmp_path, name):
    """The same model on the same input: tensors described equally, outputs equal to 1e-5, or to one int8 step."""
    model = models(tiny)[name]
    (tmp_path / "model.tflite").write_bytes(model)
    rng = np.random.default_rng(4)
    with make_engine(model, engine="litert") as engine:
        for array in engine.inputs.values():
            values = (
                rng.integers(-100, 100, array.shape) if array.dtype == np.int8 else rng.standard_normal(array.shape)
            )
            array[...] = values
        np.savez(tmp_path / "inputs.npz", **engine.inputs)
        engine.run()
        expected = {name: array.copy() for name, array in engine.outputs.items()}
        described = {i.name: repr(i) for i in (*engine.input_infos, *engine.output_infos)}
    report = child(tmp_path)
    assert report["name"] == "tflite"
    assert report["tensors"] == described
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert set(outputs) == set(expected)
        for key, array in expected.items():
            assert outputs[key].dtype == array.dtype
            np.testing.assert_allclose(
                outputs[key].astype(float), array.astype(float), atol=1 if array.dtype == np.int8 else 1e-5
            )


def test_a_model_that_it_would_calculate_wrongly_is_refused(child, tmp_path):
    """Dynamic quantisation of a fully connected layer: its output there is the bias, the same for every face."""
    source = Path(importlib.util.find_spec("facegate_convert").origin).parent / "reference" / "recognizer.onnx"
    (tmp_path / "refused.tflite").write_bytes(quantize_dynamic(lower(load_graph(source)).model))
    report = child(tmp_path)
    assert report["error"] == "EngineError"
    assert "wrongly" in report["message"]
    assert "float16" in report["hint"]


def test_the_pipeline_runs_on_tflite(material, converted, child, tmp_path):
    """Trained models on tflite-runtime find the face that LiteRT finds, and give its template (cosine 0.999)."""
    wanted = (material.models[role] for role in ("detector", "recognizer"))
    found = [converted(name, engine=False, **options) for name, options in wanted]
    manifest = Manifest(
        1,
        "test",
        "1.0.0",
        "2026-01-01T00:00:00Z",
        "0.1.0",
        "any",
        tuple(info for info, _ in found),
        (),
        "tests",
        ("none",),
    )
    (tmp_path / "manifest.json").write_bytes(dump_manifest(manifest))
    for info, data in found:
        (tmp_path / f"{info.role}.tflite").write_bytes(data)
    photo = material.frame
    np.save(tmp_path / "frame.npy", photo.data)
    child(tmp_path)
    with np.load(tmp_path / "result.npz") as theirs, Pipeline(Folder(tmp_path), engine="litert") as pipeline:
        (face,) = pipeline.detect(photo)
        np.testing.assert_allclose(theirs["box"], face.box, atol=0.5)
        other = Template(theirs["template"], pipeline.space)
        assert compare(pipeline.embed(photo, face), other) >= 0.999


def test_tflite_keeps_the_protocol(tiny, child, tmp_path):
    """Arrays stay the same aligned objects, outlive close(), and a closed engine or bad model is an EngineError."""
    (tmp_path / "model.tflite").write_bytes(tiny.two_outputs_model())
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 5), np.float32))
    report = child(tmp_path)
    assert report["same_arrays"]
    assert report["aligned"]
    assert report["readable_after_close"]
    assert report["run_after_close"] == "EngineError"
    assert report["bad_models"] == ["EngineError"] * 4
    assert report["no_threads"] == "EngineError"
    assert report["chosen_without_litert"] == "tflite"
