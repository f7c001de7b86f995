"""Constant expressions, as models compute shapes, grids and masks with, fold to what onnxruntime computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from facegate_convert import errors, load_graph

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = settings(
    phases=[Phase.explicit, Phase.generate],
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SMALL = st.integers(-4, 4)
FAR = st.sampled_from([-(2**63), -(2**31), -9, 9, 2**31 - 1, 2**63 - 1])


class Expression:
    """A constant under construction, and what it is."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw
        self.opset = draw(st.integers(13, 21))
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.name = self.array(draw(st.lists(st.integers(0, 4), max_size=3)))

    def array(self, shape: Any, *, whole: bool | None = None) -> str:
        """A new constant, of integers or of numbers."""
        integers = self.draw(st.booleans()) if whole is None else whole
        values = self.rng.integers(-5, 6, shape) if integers else self.rng.uniform(-4, 4, shape).round(1)
        return self.constant(np.asarray(values, np.int64 if integers else np.float32))

    def constant(self, values: Any) -> str:
        """These values."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values)
        return name

    def integers(self, low: int = 0, high: int = 3) -> str:
        """A list of small integers."""
        return self.constant(np.asarray(self.draw(st.lists(SMALL, min_size=low, max_size=high)), np.int64))

    def add(self, op: str, *inputs: str, **attributes: Any) -> None:
        """One operator more."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        self.name = name


def _slice(e: Expression) -> None:
    draw = e.draw
    axes = draw(st.lists(st.integers(-3, 2), max_size=2, unique=True))
    bounds = [[draw(st.one_of(SMALL, FAR)) for _ in axes] for _ in range(2)]
    steps = [draw(st.sampled_from([-2, -1, 1, 2, 2**62, -(2**62)])) for _ in axes]
    lists = [e.constant(np.asarray(v, np.int64)) for v in (*bounds, axes, steps)]
    e.add("Slice", e.name, *lists)


def _reduce(e: Expression) -> None:
    op = e.draw(st.sampled_from(["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean", "ReduceL2"]))
    keep = e.draw(st.integers(0, 1))
    axes = e.draw(st.lists(st.integers(-3, 2), max_size=2))
    if op == "ReduceSum" or e.opset >= 18:
        extra = {"noop_with_empty_axes": e.draw(st.integers(0, 1))}
        e.add(op, e.name, e.constant(np.asarray(axes, np.int64)), keepdims=keep, **extra)
    else:
        e.add(op, e.name, keepdims=keep, **({"axes": axes} if axes else {}))


def _binary(e: Expression) -> None:
    op = e.draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal", "Less", "GreaterOrEqual"]))
    shape = e.draw(st.lists(st.integers(1, 4), max_size=3))
    pair = [e.name, e.array(shape)]
    e.add(op, *(pair if e.draw(st.booleans()) else pair[::-1]), **({"fmod": 1} if op == "Mod" else {}))
    if op in ("Equal", "Less", "GreaterOrEqual"):
        e.add("Cast", e.name, to=e.draw(st.sampled_from([TensorProto.INT64, TensorProto.FLOAT])))


def _where(e: Expression) -> None:
    condition = e.constant(e.rng.integers(0, 2, e.draw(st.lists(st.integers(1, 4), max_size=2))).astype(bool))
    e.add("Where", condition, e.name, e.array(e.draw(st.lists(st.integers(1, 4), max_size=2))))


def _unary(e: Expression) -> None:
    e.add(
        e.draw(st.sampled_from(["Neg", "Abs", "Sign", "Ceil", "Floor", "Round", "Relu", "Sqrt", "Identity", "Exp"])),
        e.name,
    )


def _move(e: Expression) -> None:
    op = e.draw(
        st.sampled_from(
            ["Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile", "Gather", "Concat"]
        )
    )
    if op == "Transpose":
        e.add(op, e.name)
    elif op == "Flatten":
        e.add(op, e.name, axis=e.draw(st.integers(-2, 2)))
    elif op == "Gather":
        e.add(
            op,
            e.name,
            e.array(e.draw(st.lists(st.integers(0, 3), max_size=2)), whole=True),
            axis=e.draw(st.integers(-2, 2)),
        )
    elif op == "Concat":
        e.add(op, e.name, e.name, axis=e.draw(st.integers(-3, 2)))
    elif op == "Reshape":
        e.add(op, e.name, e.integers(), **({"allowzero": e.draw(st.integers(0, 1))} if e.opset >= 14 else {}))
    else:
        e.add(op, e.name, e.integers())


def _shape(e: Expression) -> None:
    e.add("Shape", e.name, **({"start": e.draw(SMALL), "end": e.draw(SMALL)} if e.opset >= 15 else {}))
    if e.draw(st.booleans()):
        e.add("ConstantOfShape", e.name)


def _sequence(e: Expression) -> None:
    numbers = [e.constant(np.asarray(e.draw(SMALL), np.int64)) for _ in range(3)]
    kind = e.draw(st.sampled_from(["Range", "CumSum", "Trilu", "ArgMax", "Size", "NonZero"]))
    if kind == "Range":
        e.add(kind, *numbers)
    elif kind == "CumSum":
        e.add(kind, e.name, numbers[0], exclusive=e.draw(st.integers(0, 1)), reverse=e.draw(st.integers(0, 1)))
    elif kind == "Trilu":
        if e.opset >= 14:
            e.add(kind, e.name, numbers[0], upper=e.draw(st.integers(0, 1)))
    elif kind == "ArgMax":
        e.add(kind, e.name, axis=e.draw(st.integers(-3, 2)), keepdims=e.draw(st.integers(0, 1)),
              select_last_index=e.draw(st.integers(0, 1)))  # fmt: skip
    else:
        e.add(kind, e.name)


STEPS = [_slice, _reduce, _binary, _where, _unary, _move, _shape, _sequence]


@pytest.mark.parametrize("first", STEPS, ids=lambda f: f.__name__.strip("_"))
@settings(EXAMPLES, max_examples=25)
@given(data=st.data())
def test_constants_fold_to_what_onnxruntime_computes(
    first: Any, data: Any, onnx_model: Callable[..., bytes], reference: Callable[..., Any]
) -> None:
    """Any expression that onnxruntime computes: slices backwards and far outside, axes that are absent, empty or twice.

    What it refuses, we refuse with an error of ours, or compute. Of nothing there is neither a largest value nor a
    mean, and what onnxruntime says of it changes: tensors without elements only may not raise anything else.
    """
    e = Expression(data.draw)
    first(e)
    for _ in range(data.draw(st.integers(0, 2))):
        data.draw(st.sampled_from(STEPS))(e)
    assume(e.nodes)
    nodes = [*e.nodes, helper.make_node("Relu", ["x"], ["y"])]
    results = [n.output[0] for n in e.nodes]
    model = onnx_model(nodes, {"x": (1, 2)}, ["y", *results], e.weights, opset=e.opset)
    wanted = _answer(reference, model)
    try:
        graph = load_graph(model)
    except errors.ConvertError as error:
        assert error.hint  # noqa: PT017 - a refusal is as right as an answer, where there is none
        assert wanted is None or _holds_nothing(wanted, e), str(error)  # noqa: PT017
        return
    for name in () if wanted is None or _holds_nothing(wanted, e) else results:
        source = next((n.inputs[0] for n in graph.nodes if name in n.outputs), name)
        found = graph.constants[source].astype(np.float64)
        assert found.shape == wanted[name].shape
        np.testing.assert_allclose(found, wanted[name].astype(np.float64), rtol=1e-5, atol=1e-5)


def _holds_nothing(wanted: dict[str, np.ndarray], e: Expression) -> bool:
    """Whether a tensor without elements is among what is computed."""
    return any(w.size == 0 for w in (*wanted.values(), *e.weights.values()))


def _answer(reference: Callable[..., Any], model: bytes) -> dict[str, np.ndarray] | None:
    """What onnxruntime computes, None if it refuses."""
    try:
        found: dict[str, np.ndarray] = reference(model, {"x": np.zeros((1, 2), np.float32)})
    except Exception as error:
        if "onnxruntime" not in type(error).__module__:
            raise
        return None
    return found


def test_a_weight_that_is_computed_from_another_folds(
    onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Standardised and differential kernels: a convolution whose weight is reduced, centred and scaled in the graph."""
    nodes = [
        helper.make_node("ReduceMean", ["w"], ["m"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["w", "m"], ["c"]),
        helper.make_node("ReduceL2", ["c"], ["n"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Div", ["c", "n"], ["k"]),
        helper.make_node("Conv", ["x", "k"], ["y"], pads=[1, 1, 1, 1]),
    ]
    x = np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)
    w = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    assert check(onnx_model(nodes, {"x": x.shape}, ["y"], {"w": w}), {"x": x}).operators == {"CONV_2D": 1}


# Known gaps of earlier versions


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("kernel", "stride", "extra"), [(1, 2, 0), (2, 3, 0), (3, 4, 1), (1, 4, 1), (3, 2, 1), (2, 2, 0)]
)
def test_a_transposed_window_smaller_than_its_stride(
    mode: str, kernel: int, stride: int, extra: int, onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """With auto_pad SAME it does not reach the size that SAME says: onnxruntime gives what there is, and so do we."""
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], auto_pad=mode, strides=[stride, 1], output_padding=[extra, 0]
    )
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 2)).astype(np.float32)
    w = np.random.default_rng(1).normal(size=(2, 3, kernel, 1)).astype(np.float32)
    lowered = check(onnx_model([node], {"x": x.shape}, ["y"], {"w": w}), {"x": x})
    assert lowered.outputs[0].shape[1] == min(5 * stride, 4 * stride + kernel + extra)


COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric",
               "tf_half_pixel_for_nn"]  # fmt: skip


@pytest.mark.parametrize("coordinates", COORDINATES)
@settings(EXAMPLES, max_examples=25)
@given(data=st.data())
def test_nearest_resizing_takes_the_sample_that_onnxruntime_takes(
    coordinates: str, data: Any, onnx_model: Callable[..., bytes], reference: Callable[..., Any]
) -> None:
    """Also where a position lies in the middle but for the last bit: 28 samples to 8, 12 to 56."""
    draw = data.draw
    old = coordinates == "tf_half_pixel_for_nn"
    size, rounding = draw(st.integers(1, 60)), draw(
        st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    )  # fmt: skip
    weights: dict[str, np.ndarray] = {"r": np.zeros(0, np.float32)}
    if draw(st.booleans()):
        weights |= {"e": np.zeros(0, np.float32), "z": np.asarray([1, 1, draw(st.integers(1, 90)), 1])}
    else:
        scale = np.float32(draw(st.integers(1, 12)) / draw(st.integers(1, 12)))
        assume(math.floor(np.float32(size) * scale) > 0)
        weights |= {"e": np.float32([1, 1, scale, 1])}
    inputs = ["x", "r" if old else "", "e" if old or "z" not in weights else "", *(["z"] if "z" in weights else [])]
    node = helper.make_node("Resize", inputs, ["y"], coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    model = onnx_model([node], {"x": (1, 1, size, 1)}, ["y"], weights, opset=11 if old else 19)
    x = np.arange(size, dtype=np.float32).reshape(1, 1, size, 1)
    wanted = reference(model, {"x": x})["y"].reshape(-1).astype(int).tolist()
    resize = next((n for n in load_graph(model).nodes if n.op == "Resize"), None)
    found = list(range(size)) if resize is None else list(resize.attributes["samples"][2]["nearest"])
    assert found == wanted


def test_a_sparse_or_foreign_constant_is_refused(onnx_model: Callable[..., bytes]) -> None:
    """Strings, sparse tensors and graphs are no constants."""
    for attributes in ({"value_string": "text"}, {"value_strings": ["a"]}):
        nodes = [helper.make_node("Constant", [], ["c"], **attributes), helper.make_node("Add", ["x", "c"], ["y"])]
        with pytest.raises(errors.ConvertError) as caught:
            load_graph(onnx_model(nodes, {"x": (1, 2)}, ["y"]))
        assert caught.value.hint
    model = onnx.ModelProto.FromString(onnx_model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 2)}, ["y"]))
    model.graph.sparse_initializer.add()
    with pytest.raises(errors.InvalidGraphError, match="sparse"):
        load_graph(model.SerializeToString())
