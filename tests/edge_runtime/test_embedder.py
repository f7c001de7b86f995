"""Templates: from the recogniser's output, and real models against onnxruntime."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_engine import FakeEngine, detector, recognizer

from facegate_edge._aligner import Aligner
from facegate_edge._detector import Detector
from facegate_edge._embedder import Embedder
from facegate_edge._gallery import compare
from facegate_edge._manifest import Quantization
from facegate_edge._values import Template
from facegate_edge.errors import EngineError, KernelError, ModelError


def embedder(values, quantization=None):
    """An embedder whose model answers `values`."""
    values = np.asarray(values)

    def answer(_inputs, outputs):
        outputs["embedding"][0] = values

    info = recognizer(len(values), quantization=quantization)
    return Embedder(info, FakeEngine(info, answer))


def test_a_template_is_the_direction_with_127_as_its_largest_value():
    """The embedding is scaled so that its largest magnitude is 127; its length does not matter."""
    expected = [0, 64, -127, 32]
    for factor in (1e-6, 1.0, 1e6):
        template = embedder(np.array([0, 0.5, -1, 0.25]) * factor).embed()
        assert template.data.dtype == np.int8
        assert template.data.tolist() == expected
        assert template.space == "space"


def test_a_quantized_output_becomes_the_template_of_its_real_values():
    """int8 outputs count from their zero point."""
    template = embedder(np.array([10, 60, -90, 35], np.int8), Quantization(0.1, 10)).embed()
    assert template.data.tolist() == [0, 64, -127, 32]


def test_the_float_embedding_is_there_for_the_build_host():
    """`embedding()` gives the real values behind the template, as a copy."""
    exact = embedder(np.array([10, 60, -90, 35], np.int8), Quantization(0.1, 10))
    exact.embed()
    values = exact.embedding()
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [0, 5, -10, 2.5], rtol=1e-6)
    values[:] = 0
    assert exact.embedding().any()


def test_a_template_is_a_value_of_its_own():
    """The next face does not change a template."""
    info = recognizer(4)
    engine = FakeEngine(info, lambda _, outputs: outputs["embedding"].__setitem__(slice(None), [[1, 2, 3, 4]]))
    maker = Embedder(info, engine)
    first = maker.embed()
    engine.answer = lambda _, outputs: outputs["embedding"].__setitem__(slice(None), [[4, 3, 2, 1]])
    maker.embed()
    assert first.data.tolist() == [32, 64, 95, 127]


@pytest.mark.parametrize("values", [[0, 0, 0], [1, np.nan, 2], [1, np.inf, 2]])
def test_an_embedding_without_direction_is_refused(values):
    """Zeros, NaN and infinity are a KernelError, never a template."""
    with pytest.raises(KernelError):
        embedder(values).embed()


def changed(**changes):
    """A recogniser's entry with another RecognizerInfo."""
    info = recognizer()
    return dataclasses.replace(info, recognizer=dataclasses.replace(info.recognizer, **changes))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (detector(), "role"),
        (dataclasses.replace(recognizer(), recognizer=None), "template space"),
        (changed(template_length=7), "8 values"),
        (changed(output="nowhere"), "nowhere"),
        (recognizer(9), "shape"),
        (recognizer(quantization=Quantization(0.1, 0)), "dtype"),
    ],
    ids=["role", "no space", "length", "output", "shape", "type"],
)
def test_a_model_that_is_not_what_the_manifest_says_is_refused(info, message):
    """Any difference is a ModelError before the first face."""
    with pytest.raises(ModelError, match=message):
        Embedder(info, FakeEngine(recognizer()))


@pytest.mark.parametrize(
    "data",
    [np.zeros(4, np.int8), np.array([1, -128], np.int8), np.ones((2, 2), np.int8), np.ones(4, np.float32)],
    ids=["zero", "-128", "matrix", "float"],
)
def test_an_array_that_is_no_template_is_refused(data):
    """A template is a non-zero int8 vector with values in -127..127."""
    with pytest.raises(ModelError):
        Template(data, "space")


def test_a_template_s_repr_shows_its_length_only():
    """No value of a template can reach a log."""
    assert repr(Template(np.array([1, 99], np.int8), "space")) == "Template(length=2)"


def test_an_engine_s_failure_comes_through():
    """A model that fails to run is an EngineError."""

    def fail(_inputs, _outputs):
        raise EngineError("running the model failed")

    with pytest.raises(EngineError):
        Embedder(recognizer(), FakeEngine(recognizer(), fail)).embed()


# ONNX files by what they are tried on, and what their conversion must be told.
MODELS = {
    "reference/recognizer.onnx": ("rendered", {}),
    "mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx": ("real", {"preprocess": "imagenet"}),
    "mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx": ("real", {"preprocess": "raw"}),
    "mobileface-becauseofai/mobileface_id_v2.onnx": ("real", {"preprocess": "raw"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_recognizers_give_onnxruntime_s_embedding(material_of, onnx_path, converted, name):
    """Aligned faces give the embedding that onnxruntime gives for the same pixels: cosine >= 0.999.

    The int8 template keeps the similarity of any two faces to 0.005.
    """
    import onnxruntime as ort  # noqa: PLC0415 - only the machines that convert have it

    kind, options = MODELS[name]
    material = material_of(kind)
    finder_name, _ = material.models["detector"]
    finder = Detector(*converted(finder_name))
    info, engine = converted(name, **options)
    aligner, maker = Aligner(info, engine.inputs[info.input.tensor.name]), Embedder(info, engine)
    session = ort.InferenceSession(str(onnx_path(name)), providers=["CPUExecutionProvider"])
    ours, theirs, templates = [], [], []
    for photo in material.photographs:
        for face in finder.detect(photo):
            aligner.align(photo, face)
            templates.append(maker.embed())
            ours.append(maker.embedding())
            blob = np.ascontiguousarray(engine.inputs[info.input.tensor.name].transpose(0, 3, 1, 2))
            theirs.append(session.run(None, {session.get_inputs()[0].name: blob})[0].ravel())
    assert len(ours) >= 8
    a, b = (np.array([v / np.linalg.norm(v) for v in vectors]) for vectors in (ours, theirs))
    assert (a * b).sum(axis=1).min() >= 0.999
    for i, one in enumerate(templates):
        for j, other in enumerate(templates):
            assert compare(one, other) == pytest.approx(float(a[i] @ a[j]), abs=0.005)
