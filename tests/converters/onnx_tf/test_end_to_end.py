"""onnx-tf itself, in its own environment: what it makes decides as the source does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from facegate_convert import _measure
from facegate_convert._bundles import load_models, save
from facegate_convert._convert import Options, convert
from facegate_convert._onnx_tf._driver import ask
from facegate_convert.errors import ViaError

from .. import tiny_onnx  # noqa: TID252

MODELS = {
    "rendered recognizer": ("reference/recognizer.onnx", "recognizer"),
    "rendered detector": ("reference/detector.onnx", "detector"),
    # Its input is "input.1" and its outputs are numbers: alone, onnx-tf ends with a KeyError.
    "real detector": ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", "detector"),
}


@pytest.mark.usefixtures("onnx_tf")
@pytest.mark.parametrize("name", MODELS)
def test_models_equal_their_source(onnx_path, tmp_path, name):
    """A model converted by onnx-tf passes the gate that our own lowering passes, and its bundle loads."""
    file, role = MODELS[name]
    result = convert(onnx_path(file), Options(via="onnx-tf", measure_latency=False))
    assert result.info.role == role
    assert result.report.via == "onnx-tf"
    assert max(p["error_max"] for p in result.report.parity_float.values()) < 1e-4
    save(result, tmp_path / "model.fgb")
    (loaded,) = load_models(tmp_path / "model.fgb")
    own = convert(onnx_path(file), Options(measure_latency=False))
    assert [o.name for o in loaded.info.outputs] == [o.name for o in own.info.outputs]
    shape = loaded.info.input.tensor.shape
    image = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    theirs, ours = (_measure.run_engine(data, [image]) for data in (loaded.data, own.model))
    for output, expected in ours.items():
        np.testing.assert_allclose(theirs[output], expected, atol=2e-4 * max(float(np.ptp(expected)), 1e-3))


@pytest.mark.usefixtures("onnx_tf")
def test_feature_maps_of_a_newer_operator_set_and_hostile_names(tmp_path):
    """Outputs as the runtime reads them: rows of probabilities, whatever the names and the operator set were."""
    model = onnx.ModelProto.FromString(tiny_onnx.detector((1, 4, 10), anchors=2, maps=True, sigmoid=False))
    model = onnx.version_converter.convert_version(model, 18)
    made = [name for node in model.graph.node for name in node.output]
    new = {name: f"{number}:{name}. /é" for number, name in enumerate(made)}
    for number, node in enumerate(model.graph.node):
        node.name = f"{number}.node"
        node.input[:] = [new.get(n, n) for n in node.input]
        node.output[:] = [new.get(n, n) for n in node.output]
    for value in model.graph.output:
        value.name = new[value.name]
    del model.graph.value_info[:]
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model.SerializeToString())
    result = convert(path, Options(via="onnx-tf", measure_latency=False))
    assert max(p["error_max"] for p in result.report.parity_float.values()) < 1e-4


def test_what_it_does_not_know_is_a_refusal_with_its_reason(onnx_tf):
    """An operator that onnx-tf lacks is named, and the hint says what can be done."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("NoSuchOperator", ["t_in"], ["t_out"])],
        "graph",
        [onnx.helper.make_tensor_value_info("t_in", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("t_out", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    output = {"source": "t_out", "name": "score_8", "shape": [1, 3, 8, 8], "rows": None, "activation": ""}
    plan = {"input": "t_in", "shape": [1, 8, 8, 3], "channels_first": True, "outputs": [output]}
    with pytest.raises(ViaError, match="NoSuchOperator") as caught:
        ask(onnx_tf, plan, model.SerializeToString())
    assert str(caught.value).isprintable()
    assert "/" not in str(caught.value)
