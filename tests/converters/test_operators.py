"""Every operator, in generated graphs, computes what onnxruntime computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
PER_AXIS = 13  # operator set from which axes are inputs of Squeeze, Unsqueeze, ReduceSum and Split


class Net:
    """A graph under construction: the tensor `x` passes through operators that are drawn one after the other.

    It enters through a random Transpose and leaves through a random Reshape or Transpose, so that an operator meets
    values in every memory layout and is followed by what reads them.
    """

    def __init__(self, draw: Callable[..., Any], shape: Sequence[int], *, low: float = -3, high: float = 3) -> None:
        self.draw = draw
        self.opset = draw(st.integers(9, 21))
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        rank = len(shape)
        self.perm = list(range(rank))
        entry = draw(st.sampled_from(["plain", "transpose", "channels"])) if rank > 1 else "plain"
        if entry == "transpose":
            self.perm = draw(st.permutations(range(rank)))
        self.shape = tuple(shape)
        self.input_shape = tuple(shape[self.perm.index(i)] for i in range(rank))
        self.feed = self.rng.uniform(low, high, self.input_shape).astype(np.float32)
        self.feed[self.feed == 0] = 0.5
        self.name = "x"
        if entry == "transpose":
            self.add("Transpose", perm=list(self.perm))
        elif entry == "channels" and rank == 4:
            # Through the operator that fixes NHWC: a depthwise convolution that copies.
            weight = np.ones((shape[1], 1, 1, 1), np.float32)
            self.add("Conv", self.weight("copy", weight), group=shape[1])

    def weight(self, name: str, array: Any) -> str:
        """A constant."""
        unique = f"{name}{len(self.weights)}"
        self.weights[unique] = np.asarray(array)
        return unique

    def normal(self, name: str, *shape: int) -> str:
        """A constant of random numbers."""
        return self.weight(name, self.rng.normal(size=shape).astype(np.float32))

    def integers(self, values: Sequence[int], name: str = "axes") -> str:
        """A constant of integers."""
        return self.weight(name, np.asarray(values, np.int64))

    def add(self, op: str, *inputs: str, outputs: int = 1, first: bool = True, **attributes: Any) -> Net:
        """Append an operator whose first input is the current tensor."""
        names = [f"t{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        given_inputs = [self.name, *inputs] if first else list(inputs)
        self.nodes.append(helper.make_node(op, given_inputs, names, **attributes))
        self.name = names[0]
        return self

    def axes(self, op: str, values: Sequence[int], since: int = PER_AXIS, **attributes: Any) -> Net:
        """Append an operator whose axes are an attribute before operator set `since` and an input after."""
        if self.opset < since:
            return self.add(op, axes=list(values), **attributes)
        return self.add(op, self.integers(values), **attributes)

    def finish(self, result: Sequence[int]) -> tuple[Net, list[str]]:
        """Leave through a Reshape, a Transpose, or as it is."""
        outputs = [self.name]
        exit_ = self.draw(st.sampled_from(["plain", "reshape", "transpose"]))
        if exit_ == "reshape":
            total = math.prod(result)
            first = self.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
            self.add("Reshape", self.integers([first, -1], "shape"))
        elif exit_ == "transpose" and len(result) > 1:
            self.add("Transpose", perm=self.draw(st.permutations(range(len(result)))))
        return self, [self.name] if self.draw(st.booleans()) else sorted({self.name, *outputs})


def shapes(low: int = 1, high: int = 4, side: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of the given ranks."""
    return st.lists(st.integers(1, side), min_size=low, max_size=high).map(tuple)


@pytest.fixture(scope="session")
def agree(
    check: Callable[..., Any], onnx_model: Callable[..., bytes], reference: Callable[..., Any]
) -> Callable[..., Any]:
    """Finishes a net and compares its lowering with onnxruntime."""

    def agreed(net: Net, result: Sequence[int] | None = None, **options: Any) -> Any:
        outputs = [net.name]
        if result is not None:
            net, outputs = net.finish(result)
        model = onnx_model(net.nodes, {"x": net.input_shape}, outputs, net.weights, opset=net.opset)
        try:
            expected = reference(model, {"x": net.feed})
        except Exception as error:
            # What onnxruntime itself cannot run has no answer to compare with. Hypothesis fails a test of which too
            # much is rejected.
            assume("onnxruntime" not in type(error).__module__)
            raise
        return check(model, {"x": net.feed}, expected, **options)

    return agreed


# Convolutions


@EXAMPLES
@given(data=st.data())
def test_conv_agrees_for_all_groups_strides_pads_and_dilations(data: Any, agree: Callable[..., Any]) -> None:
    """Conv: plain, grouped and depthwise, with any explicit or automatic padding, with and without bias."""
    draw = data.draw
    group = draw(st.sampled_from([1, 1, 2, 3, 4]))
    per_in, per_out = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        per_in = 1
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]))
    strides = draw(st.sampled_from([(1, 1), (2, 2), (2, 2), (1, 2), (3, 2)]))
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    net = Net(draw, (draw(st.integers(1, 2)), group * per_in, height, width))
    weight = net.normal("w", group * per_out, per_in, *kernel)
    extra = [net.normal("b", group * per_out)] if draw(st.booleans()) else []
    attributes: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    eff = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if draw(st.booleans()):
        pads = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
        assume(height + pads[0] + pads[2] >= eff[0])
        assume(width + pads[1] + pads[3] >= eff[1])
        attributes["pads"] = pads
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        assume(attributes["auto_pad"] != "VALID" or (height >= eff[0] and width >= eff[1]))
        # onnxruntime refuses dilation with SAME.
        assume(attributes["auto_pad"] == "VALID" or dilations == (1, 1))
    net.add("Conv", weight, *extra, **attributes)
    if draw(st.booleans()):
        net.add("Relu")
    agree(net)


@EXAMPLES
@given(data=st.data())
def test_conv_over_sequences_agrees(data: Any, agree: Callable[..., Any]) -> None:
    """Conv, pooling and ConvTranspose of rank 3 are images of height 1."""
    draw = data.draw
    channels, length, kernel = draw(st.integers(1, 4)), draw(st.integers(5, 12)), draw(st.integers(1, 4))
    net = Net(draw, (1, channels, length))
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "AveragePool", "MaxPool"]))
    stride, pad = draw(st.integers(1, 2)), draw(st.integers(0, kernel - 1))
    if kind.endswith("Pool"):
        net.add(kind, kernel_shape=[kernel], strides=[stride], pads=[pad, pad])
    else:
        assume(kind == "Conv" or (length - 1) * stride + kernel > 2 * pad)
        shape = (3, channels, kernel) if kind == "Conv" else (channels, 3, kernel)
        net.add(kind, net.normal("w", *shape), strides=[stride], pads=[pad, pad])
    agree(net)


@EXAMPLES
@given(data=st.data())
def test_conv_transpose_agrees_for_all_groups_pads_and_output_paddings(data: Any, agree: Callable[..., Any]) -> None:
    """ConvTranspose: plain, grouped, depthwise, dilated, with padding, output padding and given output shapes."""
    draw = data.draw
    group = draw(st.sampled_from([1, 1, 2, 3]))
    per_in, per_out = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.sampled_from([(1, 1), (2, 2), (2, 2), (3, 2)]))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1)]))
    height, width = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    net = Net(draw, (1, group * per_in, height, width))
    eff = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [(s - 1) * t + k for s, t, k in zip((height, width), strides, eff, strict=True)]
    attributes: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    if draw(st.booleans()):
        pads = [draw(st.integers(0, eff[i % 2] - 1)) for i in range(4)]
        extra = [draw(st.integers(0, max(s - 1, 0))) for s in strides]
        assume(all(full[i] + extra[i] > pads[i] + pads[2 + i] for i in (0, 1)))
        attributes |= {"pads": pads, "output_padding": extra}
    else:
        attributes["output_shape"] = [max(1, full[i] - draw(st.integers(0, eff[i] - 1))) for i in (0, 1)]
        attributes["auto_pad"] = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    bias = [net.normal("b", group * per_out)] if draw(st.booleans()) else []
    net.add("ConvTranspose", net.normal("w", group * per_in, per_out, *kernel), *bias, **attributes)
    if draw(st.booleans()):
        net.add("Relu")
    agree(net)


@EXAMPLES
@given(data=st.data())
def test_batch_normalization_agrees_wherever_it_stands(data: Any, agree: Callable[..., Any]) -> None:
    """BatchNormalization: after and before Conv, ConvTranspose, Gemm and MatMul, alone, and after an activation."""
    draw = data.draw
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "Gemm", "MatMul", "alone", "Relu"]))
    before = draw(st.booleans())
    channels, count = draw(st.integers(1, 4)), 3
    matrix = kind in ("Gemm", "MatMul")
    net = Net(draw, (2, channels) if matrix else (1, channels, 5, 6))

    def normalize(size: int) -> None:
        names = [net.normal(n, size) for n in ("scale", "shift", "mean")]
        variance = net.weight("var", net.rng.uniform(0.5, 2, size).astype(np.float32))
        net.add("BatchNormalization", *names, variance, epsilon=1e-3)

    if before:
        normalize(channels)
    if kind in ("Conv", "ConvTranspose"):
        shape = (count, channels, 3, 3) if kind == "Conv" else (channels, count, 3, 3)
        net.add(kind, net.normal("w", *shape), pads=[1, 1, 1, 1])
    elif kind == "Relu":
        net.add("Relu")
    elif matrix:
        net.add(kind, net.normal("w", channels, count), *([net.normal("b", count)] if kind == "Gemm" else []))
    normalize(channels if kind in ("alone", "Relu") else count)
    agree(net)


@EXAMPLES
@given(data=st.data())
def test_pools_agree_for_all_windows_pads_and_ceil_modes(data: Any, agree: Callable[..., Any]) -> None:
    """AveragePool (padding counted or not) and MaxPool, rounded down or up, of negative and of rectified values."""
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.sampled_from([(1, 1), (2, 2), (2, 2), (2, 1), (3, 3)]))
    height, width = draw(st.integers(4, 11)), draw(st.integers(4, 11))
    net = Net(draw, (1, draw(st.integers(1, 3)), height, width), low=-9, high=-1)
    kind = draw(st.sampled_from(["AveragePool", "MaxPool"]))
    if draw(st.booleans()):
        net.weights["offset"] = np.asarray(5, np.float32)
        net.add("Add", "offset").add("Relu")
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
        if net.opset >= 10:
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        gaps = any(k < s for k, s in zip(kernel, strides, strict=True))  # then SAME means nothing that all agree on
        attributes["auto_pad"] = "VALID" if gaps else draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    if kind == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    agree(net.add(kind, **attributes))


@EXAMPLES
@given(data=st.data())
def test_global_average_pool_agrees(data: Any, agree: Callable[..., Any]) -> None:
    """GlobalAveragePool of any size of image."""
    shape = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)))
    agree(Net(data.draw, shape).add("GlobalAveragePool"), (*shape[:2], 1, 1))


# Matrix products


@EXAMPLES
@given(data=st.data())
def test_gemm_agrees_with_all_its_attributes(data: Any, agree: Callable[..., Any]) -> None:
    """Gemm: transposed operands, factors, every broadcast bias, constant or computed."""
    draw = data.draw
    rows, depth, columns = (draw(st.integers(1, 5)) for _ in range(3))
    turned, weights_turned = draw(st.booleans()), draw(st.booleans())
    net = Net(draw, (depth, rows) if turned else (rows, depth))
    matrix = net.normal("w", *((columns, depth) if weights_turned else (depth, columns)))
    if draw(st.booleans()):  # computed at run time, from the same input
        x = net.name
        net.add("ReduceMean", axes=[0, 1], keepdims=1) if net.opset < 18 else net.add(
            "ReduceMean", net.integers([0, 1])
        )
        net.add("Mul", matrix)
        matrix, net.name = net.name, x
    bias = draw(st.sampled_from([None, (), (1,), (columns,), (1, columns), (rows, 1), (rows, columns)]))
    assume(bias is not None or net.opset >= 11)
    inputs = [matrix] if bias is None else [matrix, net.normal("b", *bias)]
    alpha, beta = draw(st.sampled_from([1.0, 0.5])), draw(st.sampled_from([1.0, 2.0]))
    net.add("Gemm", *inputs, alpha=alpha, beta=beta, transA=int(turned), transB=int(weights_turned))
    agree(net, (rows, columns))


@EXAMPLES
@given(data=st.data())
def test_matmul_agrees_for_vectors_matrices_and_batches(data: Any, agree: Callable[..., Any]) -> None:
    """MatMul: a constant on either side or none, vectors, matrices, batches that broadcast."""
    draw = data.draw
    rows, depth, columns = (draw(st.integers(1, 4)) for _ in range(3))
    batch = draw(st.sampled_from([(), (2,), (2, 3), (1, 3)]))
    left = (depth,) if draw(st.integers(0, 4)) == 0 else (*batch, rows, depth)
    other = draw(st.sampled_from([(depth, columns), (depth,), (*batch, depth, columns)]))
    net = Net(draw, left)
    result = np.matmul(np.zeros(left), np.zeros(other)).shape
    kind = draw(st.sampled_from(["right", "computed", "left"]))
    if kind == "right":
        net.add("MatMul", net.normal("w", *other))
    elif kind == "computed":
        x, matrix = net.name, net.normal("w", *other)
        net.axes("ReduceSum", list(range(len(left))), keepdims=0).add("Mul", matrix)
        matrix, net.name = net.name, x
        net.add("MatMul", matrix)
    else:
        result = np.matmul(np.zeros((2, left[-2] if len(left) > 1 else depth)), np.zeros(left)).shape
        net.add("MatMul", net.normal("w", 2, left[-2] if len(left) > 1 else depth), net.name, first=False)
    agree(net, result or None)


# Elementwise


UNARY = ["Relu", "Sigmoid", "Tanh", "Exp", "HardSwish", "Sqrt", "LeakyRelu", "HardSigmoid", "Identity", "Dropout"]


@pytest.mark.parametrize("op", UNARY)
@settings(EXAMPLES, max_examples=8)
@given(data=st.data())
def test_elementwise_operators_agree(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """Operators with one input, of any rank, with their parameters."""
    draw = data.draw
    shape = draw(shapes())
    net = Net(draw, shape, low=0 if op == "Sqrt" else -4, high=4)
    if op == "HardSwish":
        net.opset = max(net.opset, 14)
    attributes: dict[str, Any] = {}
    if op == "LeakyRelu":
        attributes["alpha"] = draw(st.sampled_from([0.0, 0.01, 0.25, 1.0, 1.5]))
    elif op == "HardSigmoid":
        attributes = {"alpha": draw(st.sampled_from([0.2, 1 / 6, 0.5])), "beta": draw(st.sampled_from([0.5, 0.3]))}
    net.add(op, **attributes)
    # One more operator, so that Identity and Dropout have something to be removed from.
    net.add("Mul", net.weight("two", np.float32(2)))
    agree(net, shape, prelu=draw(st.sampled_from(["keep", "rewrite"])))


@EXAMPLES
@given(data=st.data())
def test_prelu_agrees_kept_and_rewritten(data: Any, agree: Callable[..., Any]) -> None:
    """PRelu: slopes shared, a channel, or an element; below, at and above 1, mixed; both forms."""
    draw = data.draw
    shape = draw(shapes(2, 4))
    net = Net(draw, shape)
    slope_shape = draw(st.sampled_from([(1,), (shape[1], *(1,) * (len(shape) - 2)), shape[1:]]))
    low, high = draw(st.sampled_from([(0, 1), (-0.5, 0.9), (0.5, 1.8), (1.1, 2), (0, 0)]))
    net.add("PRelu", net.weight("slope", net.rng.uniform(low, high, slope_shape).astype(np.float32)))
    agree(net, shape, prelu=draw(st.sampled_from(["keep", "rewrite"])))


@EXAMPLES
@given(data=st.data())
def test_clip_agrees_for_all_ranges(data: Any, agree: Callable[..., Any]) -> None:
    """Clip: bounds as attributes or inputs, open at either end, alone or after a convolution."""
    draw = data.draw
    low = draw(st.sampled_from([None, 0.0, -1.0, 0.5, -2.0]))
    high = draw(st.sampled_from([None, 6.0, 1.0, 0.75, 2.0]))
    shape = (1, 3, 4, 5)
    net = Net(draw, shape)
    if draw(st.booleans()):
        net.add("Conv", net.normal("w", 3, 3, 1, 1))
    if net.opset < 11:
        net.add("Clip", **{k: v for k, v in (("min", low), ("max", high)) if v is not None})
    else:
        bounds = ["" if v is None else net.weight("bound", np.float32(v)) for v in (low, high)]
        net.add("Clip", *bounds)
    net.add("Mul", net.weight("two", np.float32(2)))
    agree(net, shape)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@settings(EXAMPLES, max_examples=16)
@given(data=st.data())
def test_binary_operators_agree_for_all_broadcasts(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """Add, Sub, Mul, Div: constants on either side, computed values of any broadcastable shape and layout."""
    draw = data.draw
    shape = draw(shapes())
    net = Net(draw, shape, low=0.5, high=3)
    if draw(st.booleans()):
        keep = draw(st.integers(0, len(shape)))
        other = tuple(d if draw(st.booleans()) else 1 for d in shape[len(shape) - keep :])
        constant = net.weight("c", net.rng.uniform(0.5, 2, other).astype(np.float32))
        if draw(st.booleans()):
            net.add(op, constant)
        else:
            net.add(op, constant, net.name, first=False)
        agree(net, shape)
        return
    # Against a reduction of itself, and against itself with its equal dimensions exchanged.
    x = net.name
    perm = draw(st.permutations(range(len(shape))))
    if all(shape[p] == d for p, d in zip(perm, shape, strict=True)):
        net.add("Transpose", perm=perm)
    else:
        axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
        net.axes("ReduceSum", sorted(axes), keepdims=1)
    net.add(op, net.name, x, first=False)
    agree(net, shape)


@EXAMPLES
@given(data=st.data())
def test_binary_operators_agree_when_neither_side_covers_the_result(data: Any, agree: Callable[..., Any]) -> None:
    """Two reductions over different axes broadcast against each other."""
    draw = data.draw
    shape = draw(shapes(2, 4, 5))
    net = Net(draw, shape, low=0.5)
    x, axes = net.name, draw(st.permutations(range(len(shape))))
    net.axes("ReduceSum", [axes[0]], keepdims=1)
    first, net.name = net.name, x
    net.axes("ReduceSum", [axes[1]], keepdims=1)
    agree(net.add("Mul", first), shape)


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0, 1.0, -1.0, 1.7, "vector", "computed"])
@settings(EXAMPLES, max_examples=5)
@given(data=st.data())
def test_pow_agrees_for_constant_and_computed_exponents(
    exponent: float | str, data: Any, agree: Callable[..., Any]
) -> None:
    """Pow with the usual exponents, with one for each element, and with a computed one."""
    shape = data.draw(shapes(2, 4))
    net = Net(data.draw, shape, low=0.2, high=2)
    if exponent == "computed":
        net.add("Pow", net.name)
    elif exponent == "vector":
        net.add("Pow", net.weight("e", net.rng.uniform(0, 3, shape[-1:]).astype(np.float32)))
    else:
        net.add("Pow", net.weight("e", np.float32(exponent)))
    agree(net, shape)


# Reductions and normalisations


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceL2"])
@settings(EXAMPLES, max_examples=16)
@given(data=st.data())
def test_reductions_agree_over_all_axes(op: str, data: Any, agree: Callable[..., Any]) -> None:
    """ReduceMean, ReduceSum, ReduceL2: any axes, counted from either end, kept or dropped, or all of them."""
    draw = data.draw
    shape = draw(shapes(1, 4))
    net = Net(draw, shape)
    rank = len(shape)
    axes = sorted(draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True)))
    keep = draw(st.integers(0, 1))
    if draw(st.integers(0, 5)) == 0:
        axes = list(range(rank))
        net.add(op, keepdims=keep)
    else:
        signed = [a - rank if draw(st.booleans()) and net.opset >= 11 else a for a in axes]
        net.axes(op, signed, PER_AXIS if op == "ReduceSum" else 18, keepdims=keep)
    result = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
    agree(net, result or None)


@EXAMPLES
@given(data=st.data())
def test_lp_normalization_agrees_and_keeps_null_vectors(data: Any, agree: Callable[..., Any]) -> None:
    """LpNormalization of order 1 and 2 along any axis; a vector of zeros stays zeros."""
    draw = data.draw
    shape = draw(shapes(1, 4))
    net = Net(draw, shape)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if draw(st.booleans()):
        net.feed[...] = 0
        assume(net.feed.size > 0)
    agree(net.add("LpNormalization", axis=axis, p=draw(st.sampled_from([1, 2]))), shape)


@EXAMPLES
@given(data=st.data())
def test_softmax_agrees_on_every_axis_and_operator_set(data: Any, agree: Callable[..., Any]) -> None:
    """Softmax: one axis since operator set 13, an axis and all after it before."""
    shape = data.draw(shapes(1, 4))
    net = Net(data.draw, shape)
    low = -len(shape) if net.opset >= 11 else 0
    agree(net.add("Softmax", axis=data.draw(st.integers(low, len(shape) - 1))), shape)


# Movement


@EXAMPLES
@given(data=st.data())
def test_reshape_agrees_for_all_factorings(data: Any, agree: Callable[..., Any]) -> None:
    """Reshape into any factoring, with copied and inferred dimensions, there and on."""
    draw = data.draw
    shape = draw(st.sampled_from([(2, 6, 4, 3), (1, 12, 5, 2), (6, 6), (3, 8, 2), (24,), (1, 4, 3, 3)]))
    net = Net(draw, shape)
    for _ in range(draw(st.integers(1, 3))):
        total, target = math.prod(shape), []
        while len(target) < 4 and (total > 1 or not target):
            target.append(draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0])))
            total //= target[-1]
        target.append(total)
        shape = tuple(target)
        if draw(st.booleans()):
            target[draw(st.integers(0, len(target) - 1))] = -1
        net.add("Reshape", net.integers(target, "shape"))
        if draw(st.booleans()):
            perm = draw(st.permutations(range(len(shape))))
            net.add("Transpose", perm=perm)
            shape = tuple(shape[p] for p in perm)
    agree(net.add("Relu"), shape)


@EXAMPLES
@given(data=st.data())
def test_flatten_squeeze_and_unsqueeze_agree(data: Any, agree: Callable[..., Any]) -> None:
    """Flatten at every axis, Squeeze of given or all axes of size 1, Unsqueeze at any place."""
    draw = data.draw
    shape = draw(shapes(2, 4, 3))
    net = Net(draw, shape)
    op = draw(st.sampled_from(["Flatten", "Squeeze", "Unsqueeze"]))
    if op == "Flatten":
        net.add("Flatten", axis=draw(st.integers(0, len(shape))))
    elif op == "Squeeze":
        ones = [i for i, d in enumerate(shape) if d == 1]
        assume(ones)
        if draw(st.booleans()):
            net.axes("Squeeze", ones)
        else:
            net.add("Squeeze")
    else:
        net.axes("Unsqueeze", sorted(draw(st.lists(st.integers(0, len(shape)), min_size=1, max_size=2, unique=True))))
    agree(net.add("Relu"))


@EXAMPLES
@given(data=st.data())
def test_concat_agrees_along_every_axis_and_layout(data: Any, agree: Callable[..., Any]) -> None:
    """Concat of computed values in different layouts, and of constants."""
    draw = data.draw
    shape = draw(shapes(1, 4, 4))
    net = Net(draw, shape)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    x = net.name
    parts = [x]
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["same", "constant", "turned", "joined"]))
        net.name = x
        if kind == "constant":
            other = list(shape)
            other[axis] = draw(st.integers(1, 3))
            parts.append(net.normal("c", *other))
        elif kind == "turned":  # through ONNX's own order
            net.add("Reshape", net.integers([-1], "shape")).add("Reshape", net.integers(shape, "shape"))
            parts.append(net.name)
        elif kind == "joined":
            parts.append(net.add("Concat", x, axis=axis).name)
        else:
            parts.append(net.add("Tanh").name)
    net.add("Concat", *parts, first=False, axis=axis)
    agree(net.add("Relu"))


@EXAMPLES
@given(data=st.data())
def test_slice_agrees_for_all_bounds_and_steps(data: Any, agree: Callable[..., Any]) -> None:
    """Slice: attributes before operator set 10, inputs after; negative bounds and steps, bounds beyond the end."""
    draw = data.draw
    shape = draw(shapes(1, 4))
    net = Net(draw, shape)
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        first = draw(st.integers(0, size - 1))
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2])) if net.opset >= 10 else 1
        last = draw(st.integers(first + 1, size)) if step > 0 else draw(st.integers(-1, first - 1))
        starts.append(first - size if draw(st.booleans()) else first)
        beyond = last == size and draw(st.booleans())
        ends.append(2**31 - 1 if beyond else -(2**31) if last < 0 else last)
        steps.append(step)
    if net.opset < 10:
        net.add("Slice", starts=starts, ends=ends, axes=axes)
    else:
        inputs = [net.integers(v, n) for v, n in ((starts, "starts"), (ends, "ends"), (axes, "axes"))]
        net.add("Slice", *inputs, *([net.integers(steps, "steps")] if any(s != 1 for s in steps) else []))
    agree(net.add("Relu"))


@EXAMPLES
@given(data=st.data())
def test_split_agrees_for_equal_and_unequal_parts(data: Any, agree: Callable[..., Any]) -> None:
    """Split: sizes as attribute, as input, or equal; the parts are used in another order."""
    draw = data.draw
    shape = list(draw(shapes(1, 4)))
    axis = draw(st.integers(0, len(shape) - 1))
    equal = draw(st.booleans())
    count = draw(st.integers(2, 3))
    sizes = [2] * count if equal else [draw(st.integers(1, 3)) for _ in range(count)]
    shape[axis] = sum(sizes)
    net = Net(draw, shape)
    attributes: dict[str, Any] = {"axis": axis}
    if equal and draw(st.booleans()):
        if net.opset >= 18:
            attributes["num_outputs"] = count
        net.add("Split", outputs=count, **attributes)
    elif net.opset < PER_AXIS:
        net.add("Split", outputs=count, split=sizes, **attributes)
    else:
        net.add("Split", net.integers(sizes, "sizes"), outputs=count, **attributes)
    parts = [net.name, *(f"{net.name}_{i}" for i in range(1, count))]
    agree(net.add("Concat", *parts[::-1], first=False, axis=axis).add("Relu"), shape)


@EXAMPLES
@given(data=st.data())
def test_pad_agrees_for_all_modes(data: Any, agree: Callable[..., Any]) -> None:
    """Pad: zeros, other values, reflected, repeated edges, cropping; attributes before operator set 11."""
    draw = data.draw
    shape = draw(shapes(1, 4, 5))
    net = Net(draw, shape)
    mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
    limits = [d - 1 if mode == "reflect" else 3 for d in shape]
    low = 0 if mode != "constant" else -1
    pads = [
        draw(st.integers(low if limits[i % len(shape)] > 1 else 0, limits[i % len(shape)]))
        for i in range(2 * len(shape))
    ]
    assume(all(d + pads[i] + pads[i + len(shape)] > 0 for i, d in enumerate(shape)))
    # onnxruntime crops and pads one axis only if something is left in between.
    assume(all(d + min(pads[i], 0) + min(pads[i + len(shape)], 0) > 0 for i, d in enumerate(shape)))
    value = draw(st.sampled_from([0.0, 0.0, 1.5]))
    if net.opset < 11:
        net.add("Pad", pads=pads, mode=mode, value=value)
    else:
        net.add("Pad", net.integers(pads, "pads"), net.weight("value", np.float32(value)), mode=mode)
    agree(net)


@EXAMPLES
@given(data=st.data())
def test_gather_agrees_for_single_and_many_indices(data: Any, agree: Callable[..., Any]) -> None:
    """Gather with constant indices: one (the axis goes), a run, any, a matrix of them."""
    draw = data.draw
    shape = draw(shapes(1, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    net = Net(draw, shape)
    index = st.integers(-shape[axis] if net.opset >= 11 else 0, shape[axis] - 1)
    indices = draw(st.one_of(index, st.lists(index, min_size=1, max_size=4), st.just([[0, 0], [shape[axis] - 1, 0]])))
    agree(net.add("Gather", net.integers(indices, "indices"), axis=axis).add("Relu"))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@settings(EXAMPLES, max_examples=40)
@given(data=st.data())
def test_resize_agrees_for_all_coordinate_modes(mode: str, data: Any, agree: Callable[..., Any]) -> None:
    """Resize and Upsample: up and down, whole and broken factors, sizes or scales, every mode of both kinds."""
    draw = data.draw
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    net = Net(draw, shape)
    scales = [1.0, 1.0, *(draw(st.sampled_from([1.0, 2.0, 2.0, 3.0, 4.0, 1.5, 0.5, 0.7])) for _ in range(2))]
    result = [math.floor(np.float32(d) * np.float32(s)) for d, s in zip(shape, scales, strict=True)]
    assume(min(result) > 0)
    if net.opset < 11:
        if net.opset == 9 or mode == "linear":
            # onnxruntime's first Resize shrinks linearly by a formula of its own.
            assume(min(scales) >= 1)
        name = "Upsample" if net.opset == 9 else "Resize"
        net.add(name, net.weight("scales", np.asarray(scales, np.float32)), mode=mode)
        agree(net, result)
        return
    coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    if net.opset >= 19:
        coordinates.append("half_pixel_symmetric")
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": draw(st.sampled_from(coordinates))}
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    roi = net.weight("roi", np.zeros(0, np.float32)) if net.opset < 13 else ""
    if draw(st.booleans()):
        net.add("Resize", roi, net.weight("scales", np.asarray(scales, np.float32)), **attributes)
    else:
        empty = net.weight("scales", np.zeros(0, np.float32)) if net.opset < 13 else ""
        net.add("Resize", roi, empty, net.integers(result, "sizes"), **attributes)
    agree(net, result)


def test_cast_agrees_from_integers(check: Callable[..., Any], onnx_model: Callable[..., bytes]) -> None:
    """An image of bytes is cast to float inside the graph."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Tanh", ["f"], ["y"])]
    model = onnx_model(nodes, {"x": (1, 3, 4, 5)}, ["y"], dtypes={"x": TensorProto.UINT8})
    lowered = check(model, {"x": np.random.default_rng(0).integers(0, 4, (1, 3, 4, 5)).astype(np.uint8)})
    assert lowered.inputs[0].dtype == "uint8"


# Chains


STEPS = ["conv", "depthwise", "relu", "bias", "transpose", "reshape", "concat", "slice", "softmax", "mean", "matmul",
         "residual", "pool", "shuffle", "flatten", "resize"]  # fmt: skip


@settings(EXAMPLES, max_examples=120)
@given(data=st.data())
def test_chains_of_operators_agree(data: Any, agree: Callable[..., Any]) -> None:
    """Random chains of operators: layouts survive whatever order they come in."""
    draw = data.draw
    shape: tuple[int, ...] = (1, draw(st.sampled_from([2, 4, 6])), draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    net = Net(draw, shape)
    for _ in range(draw(st.integers(2, 7))):
        shape = _step(draw, net, shape, draw(st.sampled_from(STEPS)))
        assume(math.prod(shape) <= 20000)
    agree(net, shape)


def _step(  # noqa: C901, PLR0911, PLR0912 - one case a line
    draw: Callable[..., Any], net: Net, shape: tuple[int, ...], step: str
) -> tuple[int, ...]:
    """Append one operator (or a few) if it can take the shape; the shape after it."""
    rank, image = len(shape), len(shape) == 4
    axis = draw(st.integers(0, rank - 1))
    if step == "conv" and image:
        net.add("Conv", net.normal("w", 4, shape[1], 3, 3), net.normal("b", 4), pads=[1, 1, 1, 1])
        return (shape[0], 4, *shape[2:])
    if step == "depthwise" and image:
        net.add("Conv", net.normal("w", shape[1], 1, 3, 3), pads=[1, 1, 1, 1], group=shape[1])
    elif step == "relu":
        net.add("Relu")
    elif step == "bias":
        net.add("Add", net.normal("c", *(d if i == axis else 1 for i, d in enumerate(shape))))
    elif step == "transpose":
        perm = draw(st.permutations(range(rank)))
        net.add("Transpose", perm=perm)
        return tuple(shape[p] for p in perm)
    elif step == "reshape":
        total = math.prod(shape)
        first = draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
        target = (first, total // first) if draw(st.booleans()) else (1, first, total // first, 1)
        net.add("Reshape", net.integers(target, "shape"))
        return target
    elif step == "concat":
        x = net.name
        net.add("Tanh").add("Concat", x, axis=axis)
        return tuple(2 * d if i == axis else d for i, d in enumerate(shape))
    elif step == "slice" and net.opset >= 10 and shape[axis] > 2:
        net.add("Slice", net.integers([1]), net.integers([shape[axis] - 1]), net.integers([axis]))
        return tuple(d - 2 if i == axis else d for i, d in enumerate(shape))
    elif step == "softmax":
        net.add("Softmax", axis=axis)
    elif step == "mean" and net.opset < 18:
        net.add("ReduceMean", axes=[axis], keepdims=1)
        return tuple(1 if i == axis else d for i, d in enumerate(shape))
    elif step == "matmul" and rank > 1:
        net.add("MatMul", net.normal("w", shape[-1], 3))
        return (*shape[:-1], 3)
    elif step == "residual":
        x = net.name
        perm = draw(st.permutations(range(rank)))
        if all(shape[p] == d for p, d in zip(perm, shape, strict=True)):
            net.add("Transpose", perm=perm)
        net.add("Sigmoid").add("Add", x)
    elif step == "pool" and image:
        net.add("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    elif step == "shuffle" and image and shape[1] % 2 == 0:
        split = (shape[0], 2, shape[1] // 2, *shape[2:])
        net.add("Reshape", net.integers(split, "shape")).add("Transpose", perm=[0, 2, 1, 3, 4])
        net.add("Reshape", net.integers(shape, "shape"))
    elif step == "flatten" and rank > 1:
        net.add("Flatten", axis=1)
        return (shape[0], math.prod(shape[1:]))
    elif step == "resize" and image and net.opset >= 13:
        net.add("Resize", "", net.weight("scales", np.asarray([1, 1, 2, 2], np.float32)), mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
        return (*shape[:2], 2 * shape[2], 2 * shape[3])
    return shape
