"""What is changed in a model so that onnx-tf can read it, and that it stays the same model."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from facegate_convert._onnx_tf import _repair
from facegate_convert._onnx_tf._repair import repaired, serialized, simplified, sized
from facegate_convert.errors import ViaError

from .. import tiny_onnx  # noqa: TID252

GOOD = re.compile(r"t_[A-Za-z0-9_]{0,80}")
HOSTILE = (
    "input.1",
    "input_1",
    "input:1",
    "input 1",
    "448",
    "0",
    "self",
    "__class__",
    "def",
    "größe",
    "../../etc/passwd",
    "\x1b[31m\n\0",
    "t_input_1",
    "t_input_1_2",
    "x" * 5000,
    "x" * 5001,
)


def chain(names, *, opset=13, batch=1):
    """A model of one image whose values and weight have these names: Relu, Mul, Relu, Mul, ..."""
    first, weight, *rest = names
    nodes, last = [], first
    for number, name in enumerate(rest):
        if number % 2:
            nodes.append(helper.make_node("Mul", [last, weight], [name]))
        else:
            nodes.append(helper.make_node("Relu", [last], [name]))
        last = name
    graph = helper.make_graph(
        nodes,
        "a graph",
        [helper.make_tensor_value_info(first, TensorProto.FLOAT, [batch, 3, 4, 5])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [batch, 3, 4, 5])],
        [onnx.numpy_helper.from_array(np.float32([[[2]], [[3]], [[4]]]), weight)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def values(model):
    """The names of all values of a model."""
    graph = model.graph
    named = (*graph.input, *graph.output, *graph.initializer)
    return {v.name for v in named} | {n for node in graph.node for n in (*node.input, *node.output)}


def run(model, reference, image):
    """What onnxruntime makes of an image, in the order of the outputs."""
    found = reference(model.SerializeToString(), {model.graph.input[0].name: image})
    return [found[output.name] for output in model.graph.output]


def test_hostile_names_become_arguments_and_stay_apart(reference):
    """Names with dots, colons, controls, of any length or of Python's own become short words, and no two become one."""
    before = chain(HOSTILE)
    image = np.random.default_rng(1).normal(size=(1, 3, 4, 5)).astype(np.float32)
    expected = run(before, reference, image)
    after = repaired(before, (5, 4), channels_first=True)
    assert len(values(after)) == len(HOSTILE)
    assert all(GOOD.fullmatch(name) for name in values(after))
    np.testing.assert_array_equal(run(after, reference, image), expected)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=4, max_size=12, unique=True))
def test_any_names_stay_apart(names):
    """Whatever names a model has, each gets a word of its own, and the model stays a valid one."""
    after = repaired(chain(names), (5, 4), channels_first=True)
    assert len(values(after)) == len(names)
    assert all(GOOD.fullmatch(name) for name in values(after))
    onnx.checker.check_model(after)


def test_nodes_have_names_of_their_own():
    """onnx-tf makes variables of node names and refuses two of one name."""
    model = chain(HOSTILE)
    for node in model.graph.node:
        node.name = "twice"
    after = repaired(model, (5, 4), channels_first=True)
    names = [node.name for node in after.graph.node]
    assert len(set(names)) == len(names) == len(HOSTILE) - 2


def test_inputs_that_are_not_given_stay_absent():
    """An empty name says that an optional input is left out, and is no name to be repaired."""
    model = chain(("in.1", "w", "mid", "out"))
    model.graph.node.insert(0, helper.make_node("Clip", ["in.1", "", "w"], ["mid.2"]))
    after = repaired(model, (5, 4), channels_first=True)
    assert list(after.graph.node[0].input) == ["t_in_1", "", "t_w"]


def test_graphs_within_nodes_are_renamed_with_the_values_that_they_read(reference):
    """The branch of an If reads values of the graph around it: both sides get the same new name."""
    branches = {
        side: helper.make_graph(
            [helper.make_node(op, ["in.1", "w.1"], [f"{side}.out"])],
            side,
            [],
            [helper.make_tensor_value_info(f"{side}.out", TensorProto.FLOAT, [1, 3, 4, 5])],
        )
        for side, op in (("then_branch", "Add"), ("else_branch", "Mul"))
    }
    model = chain(("in.1", "w.1", "mid.1", "out.1"))
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["in.1"], ["max.1"], keepdims=0),
            helper.make_node("Cast", ["max.1"], ["any.1"], to=TensorProto.BOOL),
            helper.make_node("If", ["any.1"], ["out.1"], **branches),
        ]
    )
    image = np.full((1, 3, 4, 5), 0.5, np.float32)
    for given_image in (image, image * 0):
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        expected = run(copy, reference, given_image)
        after = repaired(copy, (5, 4), channels_first=True)
        np.testing.assert_array_equal(run(after, reference, given_image), expected)
    assert b"in.1" not in after.SerializeToString()


@pytest.mark.parametrize("batch", ["N", None, 8, 1])
def test_an_open_or_larger_batch_is_one(batch):
    """onnx-tf cannot leave a dimension open: the image gets the size of the conversion, stated shapes are forgotten."""
    after = repaired(chain(("in", "w", "mid", "out"), batch=batch), (5, 4), channels_first=True)
    shape = [d.dim_value for d in after.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 4, 5]
    assert not any(d.dim_value or d.dim_param for d in after.graph.output[0].type.tensor_type.shape.dim)


def test_weights_among_the_inputs_are_no_inputs():
    """Old exporters list weights among the inputs; only the image is one."""
    model = chain(("in", "w", "mid", "out"))
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 1, 1]))
    assert [v.name for v in repaired(model, (5, 4), channels_first=True).graph.input] == ["t_in"]


@pytest.mark.parametrize("count", [0, 2])
def test_models_of_no_or_two_images_are_refused(count):
    """Which of two inputs the image goes to is not guessed."""
    model = chain(("in", "w", "mid", "out"))
    del model.graph.input[:]
    for number in range(count):
        model.graph.input.append(helper.make_tensor_value_info(f"in{number}", TensorProto.FLOAT, [1, 3, 4, 5]))
    with pytest.raises(ViaError, match=f"{count} inputs") as caught:
        sized(model, (5, 4), channels_first=True)
    assert "--via" in caught.value.hint


def test_foreign_sets_and_what_a_file_says_of_itself_stay_here():
    """Operator sets that no node needs are dropped, and metadata: onnx-tf has no use for either."""
    model = chain(("in", "w", "mid", "out"))
    model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    model.metadata_props.add(key="author", value="somebody")
    model.ir_version = 12
    after = repaired(model, (5, 4), channels_first=True)
    assert [entry.domain for entry in after.opset_import] == [""]
    assert not after.metadata_props
    assert after.ir_version <= 9


@pytest.mark.parametrize("opset", [11, 13, 16, 18, 20])
def test_newer_operator_sets_are_brought_to_one_that_onnx_tf_knows(source_of, reference, opset):
    """A model of a set after 15 becomes the same model in an older one."""
    model = tiny_onnx.detector((1, 4, 10)) if opset == 11 else chain_detector(opset)
    source = source_of(model)
    after = simplified(source)
    image = np.random.default_rng(2).normal(size=(1, 3, 64, 64)).astype(np.float32)
    expected = run(onnx.ModelProto.FromString(model), reference, image)
    for wanted, found in zip(expected, run(after, reference, image), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert next(e.version for e in after.opset_import if not e.domain) <= _repair.LAST_OPSET


def chain_detector(opset):
    """A detector in an operator set."""
    model = onnx.ModelProto.FromString(tiny_onnx.detector((1, 4, 10)))
    return onnx.version_converter.convert_version(model, opset).SerializeToString()


@pytest.mark.parametrize(("size", "pads", "changes"), [(8, 0, False), (7, 0, True), (7, 1, True), (6, 1, False)])
@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_pools_round_up_only_where_that_changes_something(reference, op, size, pads, changes):
    """onnx-tf computes a pool with ceil_mode in Python, which TFLite cannot: it is left where the result needs it."""
    graph = helper.make_graph(
        [helper.make_node(op, ["in"], ["out"], kernel_shape=[2, 2], strides=[2, 2], pads=[pads] * 4, ceil_mode=1)],
        "graph",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 3, size, size])],
        [onnx.ValueInfoProto(name="out")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    image = np.random.default_rng(4).normal(size=(1, 3, size, size)).astype(np.float32)
    expected = run(model, reference, image)
    after = _repair._plain_pools(model)
    left = {a.name: a.s.decode() or a.i for a in after.graph.node[0].attribute}
    assert left.get("ceil_mode", 0) == changes
    assert (left.get("auto_pad") == "VALID") == (not pads and not changes)
    np.testing.assert_array_equal(run(after, reference, image), expected)


def test_what_has_no_older_form_stays_as_it_is():
    """Then onnx-tf names the operator that it lacks, which is the better reason."""
    model = chain(("in", "w", "mid", "out"), opset=18)
    model.graph.node.append(helper.make_node("CenterCropPad", ["out", "w"], ["cropped"]))
    before = model.SerializeToString()
    assert _repair._older(model).SerializeToString() == before


def test_a_model_too_large_for_a_message_is_refused(monkeypatch):
    """2 GB is what a protobuf message can have."""
    monkeypatch.setattr(_repair, "_MAX_BYTES", 100)
    with pytest.raises(ViaError, match="2 GB"):
        serialized(chain(("in", "w", "mid", "out")))


def test_a_model_that_vanished_meanwhile_is_an_error_of_its_own(source_of):
    """The file is read a second time: between the two anything may happen to it."""
    source = source_of(tiny_onnx.detector((1, 4, 10)))
    source.path.unlink()
    with pytest.raises(ViaError, match="cannot be read again"):
        simplified(source)
    source.path.write_bytes(b"\x08\x07garbage")
    with pytest.raises(ViaError, match="cannot be read"):
        simplified(source)
