"""Operators that exporters write for what torch has and ONNX had not: each computes what onnxruntime computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import helper

from facegate_convert import errors, load_graph, lower

from .. import test_operators as common  # noqa: TID252

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = common.EXAMPLES
agree = common.agree  # the fixture that finishes a net and compares it

# Operator -> the first operator set that has it, and the attributes that it may be given.
UNARY: dict[str, tuple[int, dict[str, Any]]] = {
    "Abs": (9, {}),
    "Ceil": (9, {}),
    "Celu": (12, {"alpha": st.sampled_from([0.5, 1.0, 2.0])}),
    "Cos": (9, {}),
    "Elu": (9, {"alpha": st.sampled_from([0.5, 1.0, 2.0])}),
    "Erf": (9, {}),
    "Floor": (9, {}),
    "Gelu": (20, {"approximate": st.sampled_from(["none", "tanh"])}),
    "LogSoftmax": (9, {"axis": st.integers(-1, 1)}),
    "Mish": (18, {}),
    "Neg": (9, {}),
    "Reciprocal": (9, {}),
    "Round": (11, {}),
    "Selu": (9, {"alpha": st.sampled_from([1.6, 0.5]), "gamma": st.sampled_from([1.05, 2.0])}),
    "Sign": (9, {}),
    "Sin": (9, {}),
    "Softplus": (9, {}),
    "Softsign": (9, {}),
    "ThresholdedRelu": (10, {"alpha": st.sampled_from([0.5, 1.0])}),
}


@pytest.mark.parametrize("op", UNARY)
@common.settings(EXAMPLES, max_examples=6)
@given(data=st.data())
def test_functions_of_one_number_agree(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """In every layout, also far from 0, where exponentials overflow."""
    first, attributes = UNARY[op]
    wide = data.draw(st.booleans()) and op not in ("Reciprocal", "Sin", "Cos")
    net = common.Net(data.draw, data.draw(common.shapes(2, 4)), low=-60 if wide else -3, high=60 if wide else 3)
    net.opset = max(net.opset, first)
    if op in ("Ceil", "Floor", "Round"):
        net.feed = np.round(net.feed, 1)
    net.add(op, **{k: data.draw(v) for k, v in attributes.items()})
    agree(net, net.shape)


@EXAMPLES
@given(data=st.data())
def test_logarithms_agree_where_they_exist(data: Any, agree: Callable[..., Any]) -> None:
    """Log of what is positive."""
    net = common.Net(data.draw, data.draw(common.shapes(2, 4)), low=0.01, high=9)
    agree(net.add("Log"), net.shape)


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
@common.settings(EXAMPLES, max_examples=6)
@given(data=st.data())
def test_operators_of_any_number_of_operands_agree(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """One to four operands, computed and constant, that broadcast."""
    draw = data.draw
    net = common.Net(draw, draw(common.shapes(1, 4)))
    others = []
    for _ in range(draw(st.integers(0, 3))):
        shape = [d if draw(st.booleans()) else 1 for d in net.shape]
        others.append(net.name if draw(st.booleans()) else net.normal("c", *shape))
    net.add("Tanh").add(op, *others)
    agree(net, net.shape)


REDUCTIONS = ["ReduceL1", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"]


@pytest.mark.parametrize("op", [*REDUCTIONS, "ArgMax", "ArgMin"])
@common.settings(EXAMPLES, max_examples=6)
@given(data=st.data())
def test_reductions_agree_over_all_axes(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """Any axes, kept or not, of values in any layout."""
    draw = data.draw
    net = common.Net(draw, draw(common.shapes(2, 4)), low=0.1, high=3)
    rank = len(net.shape)
    keep = draw(st.integers(0, 1))
    if op.startswith("Arg"):
        axes = [draw(st.integers(-rank, rank - 1))]
        net.add(op, axis=axes[0], keepdims=keep)
    else:
        axes = sorted(draw(st.sets(st.integers(0, rank - 1), min_size=1)))
        net.axes(op, axes, since=18, keepdims=keep)
    axes = [a % rank for a in axes]
    result = [1 if i in axes else d for i, d in enumerate(net.shape) if keep or i not in axes]
    if op.startswith("Arg"):
        agree(net)
    else:
        agree(net, result or None)


@pytest.mark.parametrize("op", ["LayerNormalization", "InstanceNormalization", "GroupNormalization"])
@common.settings(EXAMPLES, max_examples=10)
@given(data=st.data())
def test_normalisations_agree(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """Over any axes and groups, of images and sequences, with and without a bias."""
    draw = data.draw
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 2)), groups * each, *(draw(st.integers(2, 5)) for _ in range(draw(st.integers(1, 2)))))
    net = common.Net(draw, shape)
    if op == "LayerNormalization":
        net.opset = max(net.opset, 17)
        axis = draw(st.integers(1, len(shape) - 1))
        assume(math.prod(shape[axis:]) > 1)
        extra = [net.normal("b", *shape[axis:])] if draw(st.booleans()) else []
        net.add(op, net.normal("s", *shape[axis:]), *extra, axis=axis - draw(st.sampled_from([0, len(shape)])))
    elif op == "InstanceNormalization":
        net.add(op, net.normal("s", shape[1]), net.normal("b", shape[1]), epsilon=1e-3)
    else:
        net.opset = draw(st.sampled_from([18, 21]))
        count = shape[1] if net.opset == 21 else groups
        net.add(op, net.normal("s", count), net.normal("b", count), num_groups=groups)
    agree(net, shape)


@EXAMPLES
@given(data=st.data())
def test_blocks_of_pixels_and_channels_agree(data: Any, agree: Callable[..., Any]) -> None:
    """DepthToSpace in both modes, SpaceToDepth, one after the other or alone."""
    draw = data.draw
    size = draw(st.integers(1, 3))
    net = common.Net(draw, (1, size**2 * draw(st.integers(1, 3)), size * draw(st.integers(1, 3)), size * 2))
    net.opset = max(net.opset, 11)
    n, c, h, w = net.shape
    if draw(st.booleans()):
        net.add("DepthToSpace", blocksize=size, mode=draw(st.sampled_from(["DCR", "CRD"])))
        shape = (n, c // size**2, h * size, w * size)
    else:
        net.add("SpaceToDepth", blocksize=size)
        shape = (n, c * size**2, h // size, w // size)
    agree(net, shape)


@EXAMPLES
@given(data=st.data())
def test_tile_and_expand_agree(data: Any, agree: Callable[..., Any]) -> None:
    """Axes of size 1 stretched, others repeated; what is stretched meets operators that would stretch it themselves."""
    draw = data.draw
    net = common.Net(draw, draw(common.shapes(1, 4, 3)))
    shape = net.shape
    if draw(st.booleans()):
        repeats = [draw(st.integers(1, 3)) for _ in shape]
        net.add("Tile", net.integers(repeats, "repeats"))
        shape = tuple(d * r for d, r in zip(shape, repeats, strict=True))
    else:
        target = [d if d > 1 else draw(st.integers(1, 4)) for d in shape]
        net.add("Expand", net.integers(target, "shape"))
        shape = tuple(target)
        net.add(draw(st.sampled_from(["Mul", "Sub"])), net.normal("c", *shape))
    agree(net, shape)


@EXAMPLES
@given(data=st.data())
def test_a_part_of_a_tensor_is_replaced(data: Any, agree: Callable[..., Any]) -> None:
    """ScatterND as exporters write `x[..., 1:3] = y`, over any block of any tensor."""
    draw = data.draw
    net = common.Net(draw, draw(common.shapes(2, 4, 4)))
    net.opset = max(net.opset, 11)
    depth = draw(st.integers(1, len(net.shape)))
    starts = [draw(st.integers(0, d - 1)) for d in net.shape[:depth]]
    stops = [draw(st.integers(s + 1, d)) for s, d in zip(starts, net.shape, strict=False)]
    ranges = [np.arange(a, b) for a, b in zip(starts, stops, strict=True)]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), -1)
    updates = net.normal("u", *indices.shape[:-1], *net.shape[depth:])
    net.add("Tanh").add("ScatterND", net.integers(indices, "indices"), updates)
    agree(net, net.shape)


def test_what_is_no_block_is_not_replaced(onnx_model: Callable[..., bytes]) -> None:
    """Every second place, or the same one twice, has no counterpart: said by name."""
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="scattered")
    for places in ([[0], [2]], [[1], [1]], [[1], [0]]):
        weights = {"i": np.asarray(places), "u": np.zeros((2, 3), np.float32)}
        with pytest.raises(errors.UnsupportedOperatorError, match="not one block") as caught:
            load_graph(onnx_model([node], {"x": (4, 3)}, ["y"], weights))
        assert "cat" in caught.value.hint


COMPARISONS = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]


@EXAMPLES
@given(data=st.data())
def test_choices_agree(data: Any, agree: Callable[..., Any]) -> None:
    """Comparisons, And, Or, Not, and Where by a computed or a constant condition, broadcast."""
    draw = data.draw
    net = common.Net(draw, draw(common.shapes(2, 4)))
    net.opset = max(net.opset, 12)
    net.feed = np.round(net.feed, 1)
    value = net.add("Tanh").name
    other = net.weight("c", np.float32(draw(st.sampled_from([0.0, 0.5]))))
    if draw(st.booleans()):
        net.name = value
        net.add(draw(st.sampled_from(COMPARISONS)), other)
        if draw(st.booleans()):
            net.add("Not")
        if draw(st.booleans()):
            first = net.name
            net.name = value
            net.add("Less", net.normal("d", *net.shape))
            net.add(draw(st.sampled_from(["And", "Or"])), first)
        condition = net.name
    else:
        mask = [d if draw(st.booleans()) else 1 for d in net.shape]
        condition = net.weight("m", net.rng.integers(0, 2, mask).astype(bool))
    chosen = [value, draw(st.sampled_from([value, other, net.normal("e", *net.shape)]))]
    net.nodes.append(helper.make_node("Where", [condition, *draw(st.permutations(chosen))], ["chosen"]))
    net.name = "chosen"
    agree(net, net.shape)


EQUATIONS = [
    "abcd->abdc",
    "abcd->ad",
    "bhqd,bhkd->bhqk",
    "bhqk,bhkd->bqhd",
    "nchw,oc->nohw",
    "ab,bc->ac",
    "ab,ab->a",
    "ab,cd->acbd",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_agrees(equation: str, onnx_model: Callable[..., bytes], check: Callable[..., Any]) -> None:
    """Transposes, sums, products of matrices by batch, and outer products."""
    rng = np.random.default_rng(1)
    sizes = dict(zip(sorted(set(equation) - set(",->")), (2, 3, 4, 5, 6, 7), strict=False))
    terms = equation.split("->", maxsplit=1)[0].split(",")
    feeds = {f"x{i}": rng.normal(size=[sizes[k] for k in t]).astype(np.float32) for i, t in enumerate(terms)}
    node = helper.make_node("Einsum", list(feeds), ["y"], equation=equation)
    check(onnx_model([node], {k: v.shape for k, v in feeds.items()}, ["y"]), feeds)


def test_einsum_of_three_operands_is_refused(onnx_model: Callable[..., bytes]) -> None:
    """Its name, and what to write instead."""
    node = helper.make_node("Einsum", ["x", "x", "x"], ["y"], equation="ab,ab,ab->ab")
    with pytest.raises(errors.UnsupportedOperatorError, match="not a product of two") as caught:
        load_graph(onnx_model([node], {"x": (2, 3)}, ["y"]))
    assert "matmul" in caught.value.hint


# What XNNPACK does not take is written as what it takes


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (helper.make_node("Clip", ["x"], ["y"], min=0.0, max=1.0), {}),
        (helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"]), {"s": [1], "e": [99], "a": [2], "t": [2]}),
        (
            helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"]),
            {"s": [0, 3], "e": [9, 9], "a": [2, 3], "t": [4, 3]},
        ),
        (helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"]), {"s": [-1], "e": [-99], "a": [1], "t": [-1]}),
        (helper.make_node("Gather", ["x", "i"], ["y"], axis=1), {"i": [2, 1, 0]}),
        (helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 0, 0, 2, 2], mode="reflect"), {}),
        (helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 0, 0, 2, 2], mode="edge"), {}),
        (helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 0, 0, 1, 2, 0], value=-3.0), {}),
    ],
    ids=[
        "clip",
        "every second",
        "some of both",
        "channels back",
        "channels exchanged",
        "mirror",
        "edge",
        "other value",
    ],
)
def test_no_form_of_an_operator_cuts_the_graph(
    node: Any, weights: dict[str, list[int]], onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Steps, short ways back, reflections, edges and borders are slices, pads and joins: one partition."""
    from facegate_convert._measure import partitions  # noqa: PLC0415

    nodes = [helper.make_node("Conv", ["v", "w"], ["x"]), node, helper.make_node("Sigmoid", ["y"], ["z"])]
    arrays = {"w": np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)}
    arrays |= {k: np.asarray(v, np.int64) for k, v in weights.items()}
    model = onnx_model(nodes, {"v": (1, 3, 9, 10)}, ["z"], arrays, opset=10)
    feeds = {"v": np.random.default_rng(1).normal(size=(1, 3, 9, 10)).astype(np.float32)}
    lowered = check(model, feeds)
    assert partitions(lowered.model) == 1
    assert "TRANSPOSE" not in lowered.operators


# Activations written in parts


def _gelu(nodes: Callable[..., str], x: str, form: int) -> str:
    if form == 0:  # torch: x / sqrt(2), erf, + 1, * x, * 0.5
        inner = nodes("Add", nodes("Erf", nodes("Div", x, math.sqrt(2))), 1.0)
        return nodes("Mul", nodes("Mul", x, inner), 0.5)
    if form == 1:  # tf2onnx: 0.5 * (1 + erf(x * 0.7071)) * x
        inner = nodes("Mul", nodes("Add", 1.0, nodes("Erf", nodes("Mul", x, math.sqrt(0.5)))), 0.5)
        return nodes("Mul", inner, x)
    cube = nodes("Mul", nodes("Pow", x, 3.0), 0.044715)  # the tanh form
    inner = nodes("Tanh", nodes("Mul", nodes("Add", x, cube), math.sqrt(2 / math.pi)))
    return nodes("Mul", nodes("Mul", x, 0.5), nodes("Add", inner, 1.0))


def _hard_swish(nodes: Callable[..., str], x: str, form: int) -> str:
    if form == 0:
        return nodes("Div", nodes("Mul", x, nodes("Clip", nodes("Add", x, 3.0), min=0.0, max=6.0)), 6.0)
    if form == 1:
        return nodes("Mul", x, nodes("Div", nodes("Clip", nodes("Add", x, 3.0), min=0.0, max=6.0), 6.0))
    return nodes("Mul", x, nodes("HardSigmoid", x, alpha=1 / 6, beta=0.5))


class _Nodes:
    """Appends elementwise nodes; numbers become constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}

    def __call__(self, op: str, *inputs: str | float, **attributes: float) -> str:
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"c{len(self.weights)}"
                self.weights[name] = np.float32(value)
                value = name  # noqa: PLW2901
            names.append(value)
        self.nodes.append(helper.make_node(op, names, [f"n{len(self.nodes)}"], **attributes))
        return f"n{len(self.nodes) - 1}"


@pytest.mark.parametrize("form", [0, 1, 2])
@pytest.mark.parametrize(("write", "op"), [(_gelu, "GELU"), (_hard_swish, "HARD_SWISH")])
def test_an_activation_written_in_parts_is_one_operator(
    write: Any, op: str, form: int, onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Whatever its form: it is found by what it computes. Read by something else too, its parts stay."""
    nodes = _Nodes()
    result = write(nodes, "x", form)
    x = np.random.default_rng(0).uniform(-6, 6, (1, 3, 8, 8)).astype(np.float32)
    lowered = check(onnx_model(nodes.nodes, {"x": x.shape}, [result], nodes.weights, opset=10), {"x": x})
    assert lowered.operators == {op: 1}
    both = onnx_model(nodes.nodes, {"x": x.shape}, [result, "n1"], nodes.weights, opset=10)
    if result != "n1":
        assert check(both, {"x": x}).operators[op] == 1


@pytest.mark.parametrize(("factor", "term"), [(0.5, 1.1), (0.4, 1.0)])
def test_what_is_nearly_an_activation_is_none(
    factor: float, term: float, onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Another constant is another function."""
    nodes = _Nodes()
    inner = nodes("Add", nodes("Erf", nodes("Div", "x", math.sqrt(2))), term)
    result = nodes("Mul", nodes("Mul", "x", inner), factor)
    x = np.random.default_rng(0).uniform(-4, 4, (1, 3, 4, 4)).astype(np.float32)
    lowered = check(onnx_model(nodes.nodes, {"x": x.shape}, [result], nodes.weights), {"x": x})
    assert "GELU" not in lowered.operators


def test_a_mean_and_deviation_written_in_parts_divide_little(
    onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """LayerNormalization before operator set 17: the many values are multiplied, not divided."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2]),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Pow", ["d", "two"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["v"], axes=[2]),
        helper.make_node("Sqrt", ["v"], ["r"]),
        helper.make_node("Div", ["d", "r"], ["y"]),
    ]
    x = np.random.default_rng(0).normal(size=(1, 5, 8)).astype(np.float32)
    lowered = check(onnx_model(nodes, {"x": x.shape}, ["y"], {"two": np.float32(2)}), {"x": x})
    assert lowered.operators["RSQRT"] == 1
    assert "DIV" not in lowered.operators
    assert (
        lower(load_graph(onnx_model(nodes, {"x": x.shape}, ["y", "r"], {"two": np.float32(2)}))).operators["SQRT"] == 1
    )


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (helper.make_node("Gather", ["x", "i"], ["t"], axis=1), {"i": np.asarray([2, 0, 1])}),
        (
            helper.make_node("Slice", ["x", "s", "e", "a", "q"], ["t"]),
            {"s": np.asarray([-1]), "e": np.asarray([-9]), "a": np.asarray([1]), "q": np.asarray([-1])},
        ),
        (helper.make_node("Pad", ["x"], ["t"], pads=[0, 0, 1, 0, 0, 0, 2, 1]), {}),
    ],
    ids=["exchanged", "turned round", "padded"],
)
def test_what_a_convolution_can_do_by_itself_is_left_to_it(
    node: Any, weights: dict[str, np.ndarray], onnx_model: Callable[..., bytes], check: Callable[..., Any]
) -> None:
    """Colours turned round go into its weight, zeros around the image into its padding; read by others, both stay."""
    rng = np.random.default_rng(0)
    conv = helper.make_node("Conv", ["t", "w"], ["y"], pads=[0, 1, 0, 0], strides=[2, 2])
    arrays = {"w": rng.normal(size=(5, 3, 3, 3)).astype(np.float32)} | weights
    feeds = {"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)}
    lowered = check(onnx_model([node, conv], {"x": (1, 3, 8, 8)}, ["y"], arrays, opset=10), feeds)
    assert set(lowered.operators) <= {"CONV_2D", "PAD"}
    check(onnx_model([node, conv], {"x": (1, 3, 8, 8)}, ["y", "t"], arrays, opset=10), feeds)


def test_a_bound_has_the_rank_of_what_it_bounds(onnx_model: Callable[..., bytes], check: Callable[..., Any]) -> None:
    """Clip with bounds of its own, and a normalised embedding: the quantizer refuses other constants."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - heavy

    x = np.random.default_rng(0).uniform(-2, 2, (1, 3, 4, 5)).astype(np.float32)
    node = helper.make_node("Clip", ["x"], ["y"], min=-0.3, max=0.4)
    lowered = check(onnx_model([node], {"x": x.shape}, ["y"], opset=10), {"x": x})
    assert lowered.operators == {"MAXIMUM": 1, "MINIMUM": 1}
    details = Interpreter(model_content=lowered.model).get_tensor_details()
    assert {len(d["shape"]) for d in details if d["name"].endswith("constant")} == {4}
