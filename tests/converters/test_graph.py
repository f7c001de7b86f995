"""Canonical graphs: what loading resolves, folds and removes, and what it refuses, by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facegate_convert import errors, load_graph, lower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, inputs, outputs, name=f"{op.lower()}_{outputs[0]}", **attributes)


def _array(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def _ops(graph: Any) -> list[str]:
    return [n.op for n in graph.nodes]


# What is resolved


def test_a_dynamic_batch_is_one_and_shape_chains_become_constants(onnx_model: Callable[..., bytes]) -> None:
    """Shape, Gather, Unsqueeze, Concat and Reshape around a dynamic batch leave one Reshape."""
    nodes = [
        _node("Shape", ["x"], ["shape"]),
        _node("Gather", ["shape", "zero"], ["batch"], axis=0),
        _node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        _node("Concat", ["batch1", "rest"], ["target"], axis=0),
        _node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"zero": np.asarray(0), "axes": np.asarray([0]), "rest": np.asarray([-1])}
    graph = load_graph(onnx_model(nodes, {"x": ["batch", 2, 3, 4]}, ["y"], weights))
    assert _ops(graph) == ["Reshape"]
    assert graph.inputs[0].shape == (1, 2, 3, 4)
    assert graph.outputs[0].shape == (1, 24)
    assert graph.constants == {}


def test_computed_resize_sizes_become_constants(onnx_model: Callable[..., bytes]) -> None:
    """An upsampling factor computed with Cast, Div, Floor and Slice is resolved."""
    nodes = [
        _node("Shape", ["x"], ["shape"]),
        _node("Slice", ["shape", "two", "four"], ["size"]),
        _node("Cast", ["size"], ["float"], to=TensorProto.FLOAT),
        _node("Mul", ["float", "factor"], ["doubled"]),
        _node("Floor", ["doubled"], ["floored"]),
        _node("Cast", ["floored"], ["wanted"], to=TensorProto.INT64),
        _node("Slice", ["shape", "none", "two"], ["front"]),
        _node("Concat", ["front", "wanted"], ["sizes"], axis=0),
        _node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric"),
    ]
    weights = {"none": np.asarray([0]), "two": np.asarray([2]), "four": np.asarray([4]), "factor": np.float32([2, 2])}
    graph = load_graph(onnx_model(nodes, {"x": (1, 3, 4, 5)}, ["y"], weights))
    assert _ops(graph) == ["Resize"]
    assert graph.outputs[0].shape == (1, 3, 8, 10)


def test_normalisations_fold_and_dead_and_empty_nodes_go(onnx_model: Callable[..., bytes]) -> None:
    """BatchNormalization, factors and terms after Conv fold; Identity, Dropout, neutral and dead nodes are removed."""
    nodes = [
        _node("Identity", ["x"], ["i"]),
        _node("Conv", ["i", "w"], ["c"]),
        _node("BatchNormalization", ["c", "s", "s", "m", "s"], ["b"]),
        _node("Dropout", ["b"], ["d"]),
        _node("Mul", ["d", "two"], ["t"]),
        _node("Add", ["t", "bias"], ["a"]),
        _node("Mul", ["a", "one"], ["o"]),
        _node("Relu", ["o"], ["y"]),
        _node("NonExistent", ["x"], ["dead"]),
    ]
    weights = {"w": _array(4, 3, 3, 3), "s": np.ones(4, np.float32), "m": _array(4), "bias": _array(4, 1, 1)}
    weights |= {"two": np.float32(2), "one": np.float32(1)}
    graph = load_graph(onnx_model(nodes, {"x": (1, 3, 8, 8)}, ["y"], weights))
    assert _ops(graph) == ["Conv", "Relu"]
    assert len(graph.constants) == 2


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([("Relu", ["c"], ["r"]), ("Add", ["c", "b"], ["a"]), ("Add", ["a", "r"], ["y"])], ["y"]),
        ([("Add", ["c", "b"], ["y"])], ["y", "c"]),
        ([("Add", ["c", "row"], ["y"])], ["y"]),
    ],
    ids=["read twice", "an output", "along a row"],
)
def test_nothing_folds_that_would_change_another_value(
    nodes: list[Any], outputs: list[str], check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """A convolution whose plain result is needed elsewhere keeps it; a term along a row is no bias."""
    weights = {"w": _array(4, 3, 1, 1), "b": _array(4, 1, 1), "row": _array(1, 8)}
    graph = [_node("Conv", ["x", "w"], ["c"]), *(_node(*n) for n in nodes)]
    model = onnx_model(graph, {"x": (1, 3, 8, 8)}, outputs, weights)
    assert _ops(load_graph(model)).count("Add") == sum(n[0] == "Add" for n in nodes)
    check(model, {"x": _array(1, 3, 8, 8)})


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_weights_of_every_floating_type_become_float32(kind: int) -> None:
    """Half, bfloat16 and double weights are computed in float32."""
    values = np.asarray([0.5, -1.25, 3.0])
    weight = helper.make_tensor("w", kind, [3], values)
    nodes = [_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), _node("Mul", ["x", "f"], ["y"])]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [weight],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])
    graph = load_graph(model.SerializeToString())
    (constant,) = graph.constants.values()
    assert constant.dtype == np.float32
    assert constant.tolist() == values.tolist()


@pytest.mark.parametrize("opset", range(9, 22))
def test_every_operator_set_from_9_to_21_is_read(opset: int, onnx_model: Callable[..., bytes]) -> None:
    """The operator set's version is no obstacle by itself."""
    assert load_graph(onnx_model([_node("Relu", ["x"], ["y"])], {"x": (1, 2)}, ["y"], opset=opset)).opset == opset


def test_external_data_is_read_from_beside_the_model(tmp_path: Path, onnx_model: Callable[..., bytes]) -> None:
    """Weights in another file are found by the model's path."""
    weight = _array(64, 64)
    model = onnx.ModelProto.FromString(
        onnx_model([_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 64)}, ["y"], {"w": weight})
    )
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    graph = load_graph(tmp_path / "m.onnx")
    (constant,) = graph.constants.values()
    assert np.array_equal(constant, weight.T)


_FIVE = np.asarray([1, 2, 3, 4, 5], np.float32)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        pytest.param("ReduceSum", ["c"], {"noop_with_empty_axes": 1}, 13, id="no-axes-that-reduce-nothing"),
        pytest.param("ReduceMax", ["c", "none"], {}, 18, id="an-empty-list-of-axes-is-all"),
        pytest.param("ReduceMin", ["c", "none"], {"noop_with_empty_axes": 1}, 18, id="an-empty-list-that-is-none"),
        pytest.param("Slice", ["c", "before", "end", "zero", "back"], {}, 13, id="backwards-from-before-the-start"),
    ],
)
def test_constants_fold_to_what_onnxruntime_computes(
    op: str,
    inputs: list[str],
    attributes: dict[str, Any],
    opset: int,
    onnx_model: Callable[..., bytes],
    check: Callable[..., Any],
) -> None:
    """Axes that are left out or empty, and a slice that starts outside, mean in a constant what ONNX says."""
    nodes = [_node(op, inputs, ["k"], **attributes), _node("Add", ["x", "k"], ["y"])]
    lists = {"none": [], "before": [-100], "end": [-200], "zero": [0], "back": [-1]}
    weights = {"c": _FIVE, **{name: np.asarray(v, np.int64) for name, v in lists.items()}}
    check(onnx_model(nodes, {"x": [1, 5]}, ["y"], weights, opset=opset), {"x": _array(1, 5)})


def test_a_slice_that_starts_before_the_first_element_and_goes_back_holds_that_one(
    onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """With a negative step ONNX moves such a start to the first element; Python would return nothing."""
    weights = {"s": np.asarray([-100]), "e": np.asarray([-200]), "a": np.asarray([1]), "t": np.asarray([-1])}
    model = onnx_model([_node("Slice", ["x", "s", "e", "a", "t"], ["y"])], {"x": [1, 5]}, ["y"], weights)
    assert check(model, {"x": _FIVE[np.newaxis]}).outputs[0].shape == (1, 1)


def test_what_is_empty_adds_nothing_to_a_concat(onnx_model: Callable[..., bytes], check: Callable[..., Any]) -> None:
    """A constant without elements among the inputs of Concat is passed over."""
    model = onnx_model([_node("Concat", ["x", "c"], ["y"], axis=1)], {"x": [1, 5]}, ["y"], {"c": _array(1, 0)})
    check(model, {"x": _FIVE[np.newaxis]})


@pytest.mark.parametrize(("op", "attributes"), [("Dropout", {}), ("MaxPool", {"kernel_shape": [2, 2]})])
def test_a_second_output_that_nothing_reads_is_no_obstacle(
    op: str, attributes: dict[str, Any], onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Exporters write the mask of a Dropout and the indices of a MaxPool whether they are used or not."""
    model = onnx_model([_node(op, ["x"], ["y", "unused"], **attributes)], {"x": [1, 2, 4, 4]}, ["y"])
    check(model, {"x": _array(1, 2, 4, 4)})


def test_the_normalisation_of_an_embedding_as_pytorch_exports_it_is_lowered(
    onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """torch.nn.functional.normalize: ReduceL2, Clip, and an Expand to the embedding's own shape before Div."""
    nodes = [
        _node("ReduceL2", ["x"], ["norm"], axes=[1], keepdims=1),
        _node("Clip", ["norm", "epsilon"], ["clipped"]),
        _node("Shape", ["x"], ["shape"]),
        _node("Expand", ["clipped", "shape"], ["expanded"]),
        _node("Div", ["x", "expanded"], ["y"]),
    ]
    model = onnx_model(nodes, {"x": ["batch", 16]}, ["y"], {"epsilon": np.asarray(1e-12, np.float32)})
    check(model, {"x": _array(1, 16)})


@pytest.mark.parametrize(
    ("shape", "target"), [((1, 3), (4, 3)), ((3,), (2, 1, 1)), ((1, 4, 1, 1), (1, 4, 5, 6)), ((2, 3), (1, 1))]
)
def test_expand_repeats_as_onnx_broadcasts(
    shape: tuple[int, ...], target: tuple[int, ...], onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Both shapes stretch: the target may be smaller than the input, or of lower rank."""
    model = onnx_model([_node("Expand", ["x", "s"], ["y"])], {"x": shape}, ["y"], {"s": np.asarray(target)})
    check(model, {"x": _array(*shape)})


@pytest.mark.parametrize("target", [(2, 4), (1, 2**40), (3, -1)])
def test_an_expand_that_cannot_be_is_refused(target: tuple[int, ...], onnx_model: Callable[..., bytes]) -> None:
    """Shapes that do not fit, and those that no machine can hold."""
    model = onnx_model([_node("Expand", ["x", "s"], ["y"])], {"x": (3, 1, 3)}, ["y"], {"s": np.asarray(target)})
    with pytest.raises(errors.InvalidGraphError):
        load_graph(model)


@pytest.mark.parametrize("mode", ["nearest", "linear", "edge"])
def test_a_side_that_no_image_has_is_refused_before_it_fills_the_memory(
    mode: str, onnx_model: Callable[..., bytes]
) -> None:
    """A hundred bytes of ONNX may ask for a million samples of an axis."""
    if mode == "edge":
        node, sizes = _node("Pad", ["x", "sizes"], ["y"], mode=mode), [0, 0, 0, 0, 0, 0, 0, 2**20]
    else:
        node, sizes = _node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode), [1, 1, 1, 2**20]
    model = onnx_model([node], {"x": [1, 1, 1, 4]}, ["y"], {"sizes": np.asarray(sizes)})
    with pytest.raises(errors.InvalidGraphError, match="shape"):
        load_graph(model)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_resize_to_its_own_shape_is_a_copy(
    mode: str, onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Scales so near to 1 that the shape stays are a copy in onnxruntime, though its formulas would sample anew."""
    scales = {"scales": np.asarray([1, 1, 1.05, 1.05], np.float32)}
    node = _node("Resize", ["x", "", "scales"], ["y"], mode=mode, nearest_mode="floor")
    check(onnx_model([node], {"x": [1, 2, 9, 7]}, ["y"], scales), {"x": _array(1, 2, 9, 7)})


# Sizes


def test_an_open_size_is_filled_by_input_size(onnx_model: Callable[..., bytes]) -> None:
    """input_size is (width, height)."""
    model = onnx_model([_node("Relu", ["x"], ["y"])], {"x": ["n", 3, "h", "w"]}, ["y"])
    assert load_graph(model, input_size=(640, 480)).inputs[0].shape == (1, 3, 480, 640)


@pytest.mark.parametrize(
    ("shape", "size", "error"),
    [
        ((1, 3, "h", "w"), None, errors.DynamicShapeError),
        ((1, "c", 8, 8), None, errors.DynamicShapeError),
        ((1, "c", "h", "w"), (8, 8), errors.DynamicShapeError),
        ((1, 3, 8, 8), (16, 16), errors.InputSizeError),
        ((1, 3, 8, "w"), (16, 16), errors.InputSizeError),
        ((1, 3, "h", "w"), (0, 8), errors.InputSizeError),
        ((1, 12), (8, 8), errors.InputSizeError),
    ],
)
def test_sizes_that_are_missing_or_do_not_fit_are_refused(
    shape: tuple[Any, ...], size: tuple[int, int] | None, error: type[Exception], onnx_model: Callable[..., bytes]
) -> None:
    """Each has its error, with what to do about it."""
    with pytest.raises(error) as caught:
        load_graph(onnx_model([_node("Relu", ["x"], ["y"])], {"x": shape}, ["y"]), input_size=size)
    assert caught.value.hint


def test_the_missing_size_is_named_as_the_option_that_gives_it(onnx_model: Callable[..., bytes]) -> None:
    """The advice names input_size and the command line's option."""
    with pytest.raises(errors.DynamicShapeError) as caught:
        load_graph(onnx_model([_node("Relu", ["x"], ["y"])], {"x": (1, 3, "h", "w")}, ["y"]))
    assert "input_size" in caught.value.hint
    assert "--input-size" in caught.value.hint


def test_a_size_that_a_pyramid_cannot_take_is_an_input_size_error(onnx_model: Callable[..., bytes]) -> None:
    """What is halved and doubled again has another size than before if that was odd: the size is said to be wrong."""
    nodes = [
        _node("MaxPool", ["x"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        _node("Resize", ["half", "", "scales"], ["again"], mode="nearest"),
        _node("Add", ["x", "again"], ["y"]),
    ]
    model = onnx_model(nodes, {"x": [1, 3, "h", "w"]}, ["y"], {"scales": np.asarray([1, 1, 2, 2], np.float32)})
    assert load_graph(model, input_size=(32, 64)).outputs[0].shape == (1, 3, 64, 32)
    with pytest.raises(errors.InputSizeError, match="33x64") as caught:
        load_graph(model, input_size=(33, 64))
    assert "32" in caught.value.hint


def test_a_size_that_a_real_detector_cannot_take_is_an_input_size_error(shared: Path) -> None:
    """YuNet at a size that is no multiple of 32 does not fit together: said as such, not as a graph's fault."""
    with pytest.raises(errors.InputSizeError, match="330x320") as caught:
        load_graph(shared / "models/yunet/yunet_n_dynamic.onnx", input_size=(330, 320))
    assert "32" in caught.value.hint


# Bad files


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    """No traceback of the operating system."""
    for path in (tmp_path, tmp_path / "absent.onnx"):
        with pytest.raises(errors.ModelFileError) as caught:
            load_graph(path)
        assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a zip archive",
        b"\x89PNG\r\n\x1a\n",
        b"hello world, this is text\n" * 9,
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x20\x00\x00\x00TFL3",
    ],
)
def test_what_is_not_onnx_is_refused_as_such(data: bytes) -> None:
    """Empty files, archives, images, text, zeros, other models."""
    with pytest.raises(errors.NotOnnxError) as caught:
        load_graph(data)
    assert caught.value.hint


def test_a_model_cut_anywhere_is_refused_with_an_error_of_ours(onnx_model: Callable[..., bytes]) -> None:
    """Every prefix of a model is truncated or, cut before anything shows that it is ONNX, not ONNX."""
    model = onnx_model([_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 8)}, ["y"], {"w": _array(8, 8)})
    seen = set()
    for end in range(len(model)):
        with pytest.raises((errors.TruncatedModelError, errors.NotOnnxError)) as caught:
            load_graph(model[:end])
        seen.add(type(caught.value))
    assert errors.TruncatedModelError in seen


@pytest.mark.parametrize("name", ["reference/detector.onnx", "yunet/yunet_n_320_320.onnx"])
def test_a_trained_model_cut_in_half_is_truncated(name: str, onnx_path: Callable[[str], Path]) -> None:
    """A download that broke off is told apart from a file that never was ONNX."""
    data = onnx_path(name).read_bytes()
    with pytest.raises(errors.TruncatedModelError):
        load_graph(data[: len(data) // 2])


def test_a_model_with_flipped_bits_raises_nothing_but_our_errors(onnx_model: Callable[..., bytes]) -> None:
    """Damage anywhere either goes unnoticed (a weight) or is one of our errors."""
    nodes = [_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), _node("Relu", ["c"], ["y"])]
    model = onnx_model(nodes, {"x": (1, 2, 4, 4)}, ["y"], {"w": _array(2, 2, 3, 3)})
    refused = 0
    for place in range(len(model)):
        for bit in (0, 3, 7):
            damaged = bytearray(model)
            damaged[place] ^= 1 << bit
            try:
                lower(load_graph(bytes(damaged)))
            except errors.ConvertError as error:
                assert error.hint  # noqa: PT017 - not raised is allowed, too
                refused += 1
    assert refused > len(model)


@pytest.mark.parametrize("version", [6, 8, 22, 99])
def test_operator_sets_outside_9_to_21_are_refused(version: int, onnx_model: Callable[..., bytes]) -> None:
    """The error names the range."""
    with pytest.raises(errors.UnsupportedOpsetError, match="9 to 21"):
        load_graph(onnx_model([_node("Relu", ["x"], ["y"])], {"x": (1, 2)}, ["y"], opset=version))


@pytest.mark.parametrize(
    ("location", "content"),
    [("absent.bin", None), ("w.bin", b"\0" * 7), ("../w.bin", b"\0" * 400), ("/etc/hostname", None), ("", None)],
)
def test_external_data_that_is_absent_short_or_elsewhere_is_refused(
    location: str, content: bytes | None, tmp_path: Path, onnx_model: Callable[..., bytes]
) -> None:
    """A model can neither lack its data nor read files outside its own folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    if content is not None:
        (folder / location).write_bytes(content)
    model = onnx.ModelProto.FromString(
        onnx_model([_node("Mul", ["x", "w"], ["y"])], {"x": (1, 100)}, ["y"], {"w": _array(100)})
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(errors.ExternalDataError) as caught:
        load_graph(folder / "m.onnx")
    assert caught.value.hint
    with pytest.raises(errors.ExternalDataError, match="bytes"):
        load_graph(model.SerializeToString())


# What cannot be lowered


REFUSED = {
    "unknown operator": (_node("Det", ["x"], ["y"]), {}, "does not know"),
    "own domain": (helper.make_node("FusedConv", ["x"], ["y"], name="n", domain="com.microsoft"), {}, "standard"),
    "computed weight": (_node("Conv", ["x", "x"], ["y"]), {}, "computed at run time"),
    "cubic": (_node("Resize", ["x", "", "s"], ["y"], mode="cubic"), {"s": np.float32([1, 1, 2, 2])}, "cubic"),
    "crop and resize": (
        _node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="tf_crop_and_resize"),
        {"s": np.float32([1, 1, 2, 2])},
        "tf_crop_and_resize",
    ),
    "dilated pool": (_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2]), {}, "dilated"),
    "SAME with gaps": (
        _node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], strides=[3, 3], auto_pad="SAME_UPPER"),
        {},
        "auto_pad",
    ),
    "indices of a pool": (_node("MaxPool", ["x"], ["y", "z"], kernel_shape=[2, 2]), {}, "indices"),
    "wrapped padding": (_node("Pad", ["x", "p"], ["y"], mode="wrap"), {"p": np.asarray([0, 0, 1, 1] * 2)}, "wrap"),
    "absolute value as a norm": (_node("ReduceL2", ["x"], ["y"], noop_with_empty_axes=1), {}, "reduces nothing"),
    "norm of order 3": (_node("LpNormalization", ["x"], ["y"], p=3), {}, "order 3"),
    "computed slope": (_node("PRelu", ["x", "x"], ["y"]), {}, "computed at run time"),
    "computed shape": (_node("Reshape", ["x", "x"], ["y"]), {}, "computed at run time"),
    "training": (
        _node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y", "a", "b"], training_mode=1),
        {"w": np.ones(4, np.float32)},
        "training",
    ),
}


@pytest.mark.parametrize(("node", "weights", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_exact_lowering_is_refused_by_name(
    node: Any, weights: dict[str, np.ndarray], reason: str, onnx_model: Callable[..., bytes]
) -> None:
    """The error names the operator, the node, the reason and what can be done."""
    with pytest.raises(errors.UnsupportedOperatorError, match=reason) as caught:
        load_graph(onnx_model([node], {"x": (1, 4, 6, 6)}, list(node.output), weights, opset=19))
    error = caught.value
    assert node.op_type in error.operator
    assert error.node == node.name
    assert error.operator in str(error)
    assert repr(error.node) in str(error)
    assert error.hint


INVALID = {
    "shapes that do not broadcast": ([_node("Add", ["x", "w"], ["y"])], {"w": _array(5)}),
    "channels that do not fit": ([_node("Conv", ["x", "w"], ["y"])], {"w": _array(4, 5, 3, 3)}),
    "a window larger than its input": ([_node("Conv", ["x", "w"], ["y"])], {"w": _array(4, 4, 9, 9)}),
    "a value from nowhere": ([_node("Relu", ["nowhere"], ["y"])], {}),
    "nodes in the wrong order": ([_node("Relu", ["z"], ["y"]), _node("Tanh", ["x"], ["z"])], {}),
    "a value computed twice": ([_node("Relu", ["x"], ["y"]), _node("Tanh", ["x"], ["y"])], {}),
    "an output from nowhere": ([_node("Relu", ["x"], ["z"])], {}),
    "a reshape that loses elements": ([_node("Reshape", ["x", "s"], ["y"])], {"s": np.asarray([7])}),
    "an axis that does not exist": ([_node("Softmax", ["x"], ["y"], axis=7)], {}),
    "a permutation that is none": ([_node("Transpose", ["x"], ["y"], perm=[0, 0, 1, 2])], {}),
    "an index that does not exist": ([_node("Gather", ["x", "i"], ["y"])], {"i": np.asarray([9])}),
    "a constant too large to be meant": (
        [_node("ConstantOfShape", ["s"], ["c"]), _node("Add", ["x", "c"], ["y"])],
        {"s": np.asarray([100_000, 100_000])},
    ),
    "padding as large as the window": (
        [_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[2, 0, 0, 0])],
        {},
    ),
    "an attribute of another kind": ([_node("Softmax", ["x"], ["y"], axis="one")], {}),
    "a list of another kind": ([_node("Transpose", ["x"], ["y"], perm=["a", "b", "c", "d"])], {}),
    "no stride at all": ([_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 1])], {}),
    "a result no device can hold": ([_node("Resize", ["x", "", "s"], ["y"])], {"s": np.float32([1, 1, 1e5, 1e5])}),
    "padding no device can hold": ([_node("Pad", ["x", "p"], ["y"])], {"p": np.asarray([0, 0, 0, 0, 0, 0, 2**40, 0])}),
    "a matrix that does not fit": ([_node("MatMul", ["x", "w"], ["y"])], {"w": _array(5, 3)}),
    "a concat that does not fit": ([_node("Concat", ["x", "w"], ["y"], axis=0)], {"w": _array(1, 4, 6, 7)}),
    "a split that does not add up": ([_node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": np.asarray([1, 2])}),
}


@pytest.mark.parametrize(("nodes", "weights"), INVALID.values(), ids=INVALID.keys())
def test_a_graph_that_contradicts_itself_is_refused(
    nodes: list[Any], weights: dict[str, np.ndarray], onnx_model: Callable[..., bytes]
) -> None:
    """An error of ours with advice, never numpy's or protobuf's."""
    with pytest.raises(errors.InvalidGraphError) as caught:
        load_graph(onnx_model(nodes, {"x": (1, 4, 6, 6)}, ["y"], weights))
    assert caught.value.hint


@pytest.mark.parametrize("count", [3, 5])
def test_weights_whose_bytes_do_not_fit_their_shape_are_refused(count: int, onnx_model: Callable[..., bytes]) -> None:
    """Too few or too many bytes for the shape."""
    model = onnx.ModelProto.FromString(
        onnx_model([_node("Mul", ["x", "w"], ["y"])], {"x": (1, 4)}, ["y"], {"w": _array(4)})
    )
    model.graph.initializer[0].raw_data = b"\0" * (4 * count)
    with pytest.raises(errors.InvalidGraphError, match="bytes"):
        load_graph(model.SerializeToString())


def test_element_types_that_have_no_meaning_here_are_refused() -> None:
    """Strings and complex numbers."""
    nodes = [_node("Identity", ["x"], ["y"])]
    info = [helper.make_tensor_value_info(n, TensorProto.STRING, [1]) for n in ("x", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    with pytest.raises(errors.InvalidGraphError, match="element type"):
        load_graph(model.SerializeToString())


def test_every_error_carries_advice_and_is_caught_as_a_convert_error() -> None:
    """One base for all, each of a fitting builtin kind too."""
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.ConvertError)
        assert name == "ConvertError" or any(b.__module__ == "builtins" for b in kind.__mro__[1:-3])


def test_constants_are_shared_not_copied_between_equal_weights(onnx_model: Callable[..., bytes]) -> None:
    """Equal weights are stored once in the model."""
    weight = _array(16, 16)
    nodes = [_node("MatMul", ["x", "a"], ["h"]), _node("MatMul", ["h", "b"], ["y"])]
    made = lower(load_graph(onnx_model(nodes, {"x": (1, 16)}, ["y"], {"a": weight, "b": weight})))
    assert len(made.model) < 2 * math.prod(weight.shape) * 4
