"""Import rules: convolutions, pooling, matrix products and batch normalisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._graph._builder import broadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from facegate_convert._graph._builder import Builder, OnnxNode

_IMAGE_RANK = 4
_SEQUENCE_RANK = 3
# Windows, strides and pads of no image: a mistake, or an attack on the build host's memory.
_MAX_WINDOW = 4096
_MAX_TAPS = 2**26
_MAX_PARTS = 1024


def _spatial(n: OnnxNode, name: str, rank: int, default: int) -> tuple[int, ...]:
    """An attribute with one number for each spatial axis, as two numbers (a sequence is an image of height 1)."""
    values = n.integers(name)
    values = (default,) * (rank - 2) if values is None else values
    if len(values) != rank - 2 or min(values) < min(default, 1):
        n.invalid(f"{name} {values} does not fit an input of rank {rank}")
    if max(values) > _MAX_WINDOW:
        n.invalid(f"{name} {values} is beyond any image ({_MAX_WINDOW})")
    return values if rank == _IMAGE_RANK else (default, *values)


def _pads(n: OnnxNode, rank: int) -> tuple[int, ...]:
    """Explicit padding: top, left, bottom, right."""
    count = rank - 2
    values = n.integers("pads") or (0,) * (2 * count)
    if len(values) != 2 * count:
        n.invalid(f"pads {values} does not fit an input of rank {rank}")
    if any(v < 0 for v in values):
        n.refuse(f"its pads {values} are negative", "crop with Slice before it")
    if max(values, default=0) > _MAX_WINDOW:
        n.invalid(f"its pads {values} are beyond any image ({_MAX_WINDOW})")
    top, left = (0, *values[:count])[-2:]
    bottom, right = (0, *values[count:])[-2:]
    return top, left, bottom, right


def _auto_pads(mode: str, sizes: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Padding of auto_pad SAME_UPPER and SAME_LOWER: the odd pixel at the end or at the start."""
    before, after = [], []
    for size, kernel, stride in zip(sizes, kernels, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return (*before, *after)


def _image(b: Builder, n: OnnxNode) -> tuple[str, tuple[int, ...], int]:
    """The input as an image (N, C, H, W): its name, that shape, and its rank in the model."""
    shape = b.shape(n)
    b.floating(n, 0)
    if len(shape) == _SEQUENCE_RANK:
        image = (*shape[:2], 1, shape[2])
        return b.reshape(n, n.inputs[0], image), image, _SEQUENCE_RANK
    if len(shape) != _IMAGE_RANK:
        n.refuse(f"its input has rank {len(shape)}; 1-D and 2-D forms are known")
    return n.inputs[0], shape, _IMAGE_RANK


def _finish(  # noqa: D417 - the rest are as in Builder.add
    b: Builder, n: OnnxNode, op: str, inputs: Sequence[str], shape: Sequence[int], rank: int, **attributes: Any
) -> None:
    """Append the node and give its result the rank that the model expects.

    Args:
        rank: of the input in the model.
    """
    if rank == _IMAGE_RANK:
        b.add(op, n, inputs, shape, output=n.outputs[0], **attributes)
    else:
        image = b.add(op, n, inputs, shape, **attributes)
        b.reshape(n, image, (*shape[:2], shape[3]), n.outputs[0])


def _weights(b: Builder, n: OnnxNode, rank: int) -> npt.NDArray[Any]:
    weight = b.parameter(n, 1, "weight")
    if weight is None or weight.ndim != rank:
        n.invalid("its weight is missing or has another rank than its input")
    return weight.astype(np.float32).reshape(*weight.shape[:2], *((1,) * (_IMAGE_RANK - rank)), *weight.shape[2:])


def _bias(b: Builder, n: OnnxNode, channels: int) -> list[str]:
    bias = b.parameter(n, 2, "bias")
    if bias is None:
        return []
    if bias.shape != (channels,):
        n.invalid(f"its bias has shape {bias.shape} where ({channels},) is needed")
    return [n.inputs[2]]


def conv(b: Builder, n: OnnxNode) -> None:
    """Conv: weight (M, C / group, kH, kW), padding explicit."""
    x, shape, rank = _image(b, n)
    weight = _weights(b, n, rank)
    strides, dilations = _spatial(n, "strides", rank, 1), _spatial(n, "dilations", rank, 1)
    group = int(n.attribute("group", 1))
    if group < 1 or weight.shape[1] * group != shape[1] or weight.shape[0] % group:
        n.invalid(f"weight {weight.shape} in {group} groups does not fit an input of shape {shape}")
    kernels = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    mode = n.attribute("auto_pad", "NOTSET")
    pads: tuple[int, ...] = (0,) * 4 if mode == "VALID" else _pads(n, rank)
    if mode.startswith("SAME"):
        pads = _auto_pads(mode, shape[2:], kernels, strides)
    size = [(shape[2 + i] + pads[i] + pads[2 + i] - kernels[i]) // strides[i] + 1 for i in (0, 1)]
    inputs = [x, b.new_constant(n.inputs[1], weight), *_bias(b, n, weight.shape[0])]
    result = (shape[0], weight.shape[0], *size)
    _finish(b, n, "Conv", inputs, result, rank, strides=strides, pads=tuple(pads), dilations=dilations, group=group)


def conv_transpose(b: Builder, n: OnnxNode) -> None:
    """ConvTranspose: weight (C, M / group, kH, kW). What the result's shape adds to the formula is output padding."""
    x, shape, rank = _image(b, n)
    weight = _weights(b, n, rank)
    strides, dilations = _spatial(n, "strides", rank, 1), _spatial(n, "dilations", rank, 1)
    extra = _spatial(n, "output_padding", rank, 0)
    group = int(n.attribute("group", 1))
    if group < 1 or weight.shape[0] != shape[1] or shape[1] % group:
        n.invalid(f"weight {weight.shape} in {group} groups does not fit an input of shape {shape}")
    kernels = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    # Windows are written out with zeros for dilation and for strides beyond them, and a group each.
    taps = math.prod(weight.shape[:2]) * math.prod(max(k, s) for k, s in zip(kernels, strides, strict=True))
    if taps > _MAX_TAPS or (_MAX_PARTS < group < shape[1]):
        n.invalid(f"weight {weight.shape}, strides {strides}, dilations {dilations}, {group} groups: too large")
    full = [(shape[2 + i] - 1) * strides[i] + kernels[i] for i in (0, 1)]
    mode = n.attribute("auto_pad", "NOTSET")
    wanted = n.integers("output_shape")
    if wanted is not None and (len(wanted) != rank - 2 or min(wanted) < 1):
        n.invalid(f"output_shape {wanted} does not fit an input of rank {rank}")
    pads: tuple[int, ...]
    if wanted is not None or mode.startswith("SAME"):
        # A window smaller than its stride does not reach the size that SAME says; onnxruntime then gives what there is.
        size = [min(shape[2 + i] * strides[i], full[i] + extra[i]) for i in (0, 1)]
        if wanted is not None:
            size = [1, *wanted][-2:]
            if any(s >= f + t for s, f, t in zip(size, full, strides, strict=True)):
                n.invalid(f"output_shape {wanted} reaches beyond what its windows cover")
        total = [max(full[i] + extra[i] - size[i], 0) for i in (0, 1)]
        # The specification: only SAME_UPPER puts the odd pixel at the end.
        begin = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]
        pads = (*begin, *(t - s for t, s in zip(total, begin, strict=True)))
    else:
        pads = (0,) * 4 if mode == "VALID" else _pads(n, rank)
        size = [full[i] + extra[i] - pads[i] - pads[2 + i] for i in (0, 1)]
    channels = weight.shape[1] * group
    inputs = [x, b.new_constant(n.inputs[1], weight), *_bias(b, n, channels)]
    result = (shape[0], channels, *size)
    _finish(
        b, n, "ConvTranspose", inputs, result, rank, strides=strides, pads=pads, dilations=dilations, group=group
    )  # fmt: skip


def pool(b: Builder, n: OnnxNode) -> None:
    """AveragePool and MaxPool: padding explicit; a ceil_mode that adds a window shows in the result's shape only."""
    if len([o for o in n.outputs if o]) > 1:
        n.refuse("its second output (indices) is used")
    x, shape, rank = _image(b, n)
    if "kernel_shape" not in n.attributes:
        n.invalid("kernel_shape is missing")
    kernel = _spatial(n, "kernel_shape", rank, 1)
    strides, dilations = _spatial(n, "strides", rank, 1), _spatial(n, "dilations", rank, 1)
    if dilations != (1, 1):
        n.refuse(f"its window is dilated {dilations}", "replace it with a window without dilation")
    mode = n.attribute("auto_pad", "NOTSET")
    pads: tuple[int, ...] = (0,) * 4 if mode == "VALID" else _pads(n, rank)
    if mode.startswith("SAME"):
        if any(k < t and d > 1 for k, t, d in zip(kernel, strides, shape[2:], strict=True)):
            # The specification's padding is negative here; onnxruntime crops averages and fails on maxima.
            n.refuse(f"auto_pad {mode} with strides {strides} beyond its window {kernel}", "export explicit pads")
        pads = _auto_pads(mode, shape[2:], kernel, strides)
    if any(p >= k for p, k in zip(pads, (*kernel, *kernel), strict=True)):
        n.invalid(f"pads {pads} are not smaller than its window {kernel}: some windows would hold nothing")
    ceil = bool(n.attribute("ceil_mode", 0)) and mode == "NOTSET"
    size = []
    for i in (0, 1):
        room = shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]
        count = (-(-room // strides[i]) if ceil else room // strides[i]) + 1
        # A window that would start behind the input and its leading padding does not exist.
        if ceil and (count - 1) * strides[i] >= shape[2 + i] + pads[i]:
            count -= 1
        size.append(count)
    attributes: dict[str, Any] = {"kernel": kernel, "strides": strides, "pads": tuple(pads)}
    if n.op == "AveragePool":
        attributes["count_include_pad"] = bool(n.attribute("count_include_pad", 0))
    _finish(b, n, n.op, [x], (*shape[:2], *size), rank, **attributes)


def batch_normalization(b: Builder, n: OnnxNode) -> None:
    """BatchNormalization as x * scale + shift; `_affine` folds it into its neighbours."""
    shape = b.shape(n)
    b.floating(n, 0)
    if n.attribute("training_mode", 0) or len([o for o in n.outputs if o]) > 1:
        n.refuse("it is in training mode", "export the model in evaluation mode (model.eval())")
    names = ("scale", "bias", "mean", "variance")
    arrays = [b.parameter(n, i + 1, name) for i, name in enumerate(names)]
    channels = shape[1] if len(shape) > 1 else 1
    if any(a is None or a.shape != (channels,) for a in arrays):
        n.invalid(f"its parameters do not fit {channels} channels")
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    scale = gamma / np.sqrt(variance + float(n.attribute("epsilon", 1e-5)))
    layout = (channels, *(1,) * (len(shape) - 2))
    inputs = [
        n.inputs[0],
        b.new_constant(f"{n.outputs[0]}/scale", scale.reshape(layout)),
        b.new_constant(f"{n.outputs[0]}/shift", (beta - mean * scale).reshape(layout)),
    ]
    b.add("Affine", n, inputs, shape, output=n.outputs[0])


def gemm(b: Builder, n: OnnxNode) -> None:  # noqa: C901, PLR0912 - one operator, six optional parts
    """Gemm: with constant weights one canonical Gemm, weight (N, K) and bias (N,); otherwise MatMul, Mul and Add."""
    first, second = b.shape(n, 0), b.shape(n, 1)
    b.floating(n, 0, 1, 2)
    if len(first) != 2 or len(second) != 2:  # noqa: PLR2004 - matrices
        n.invalid(f"shapes {first} and {second} are not matrices")
    x, alpha, beta = n.inputs[0], float(n.attribute("alpha", 1.0)), float(n.attribute("beta", 1.0))
    if n.attribute("transA", 0):
        first = first[::-1]
        x = b.add("Transpose", n, [x], first, perm=(1, 0))
    rows = second if n.attribute("transB", 0) else second[::-1]
    if rows[1] != first[1]:
        n.invalid(f"shapes {first} and {second} do not fit together")
    shape = (first[0], rows[0])
    weight = b.constant(n.inputs[1])
    bias = b.constant(n.input(2))
    has_bias = bool(n.input(2))
    if has_bias and broadcast(n, shape, b.shape(n, 2)) != shape:
        n.invalid(f"its bias of shape {b.shape(n, 2)} does not fit its result of shape {shape}")
    small = bias is not None and (bias.ndim == 0 or bias.shape[-1] == bias.size)
    if weight is not None:
        matrix = weight.astype(np.float32) * np.float32(alpha)
        inputs = [
            x,
            b.new_constant(n.inputs[1], matrix if n.attribute("transB", 0) else np.ascontiguousarray(matrix.T)),
        ]
        if small and bias is not None:
            vector = np.broadcast_to(bias.reshape(-1).astype(np.float32) * np.float32(beta), (shape[1],))
            inputs.append(b.new_constant(n.inputs[2], np.ascontiguousarray(vector)))
        done = small or not has_bias
        product = b.add("Gemm", n, inputs, shape, output=n.outputs[0] if done else None)
        if done:
            return
    else:
        y = n.inputs[1]
        if n.attribute("transB", 0):
            y = b.add("Transpose", n, [y], second[::-1], perm=(1, 0))
        done = not has_bias and alpha == 1
        product = b.add("MatMul", n, [x, y], shape, output=n.outputs[0] if done else None)
        if done:
            return
        if alpha != 1:
            factor = b.new_constant(f"{n.outputs[0]}/alpha", np.float32(alpha).reshape(()))
            product = b.add("Mul", n, [product, factor], shape, output=None if has_bias else n.outputs[0])
    if has_bias:
        addend = n.inputs[2]
        if beta != 1:
            factor = b.new_constant(f"{n.outputs[0]}/beta", np.float32(beta).reshape(()))
            addend = b.add("Mul", n, [addend, factor], b.shapes[addend])
        b.add("Add", n, [product, addend], shape, output=n.outputs[0])


def matmul(b: Builder, n: OnnxNode) -> None:
    """MatMul: with a constant matrix on the right a canonical Gemm, otherwise a product of rank >= 2 on both sides."""
    first, second = b.shape(n, 0), b.shape(n, 1)
    b.floating(n, 0, 1)
    if not first or not second:
        n.invalid("a scalar cannot be multiplied")
    left = first if len(first) > 1 else (1, *first)
    right = second if len(second) > 1 else (*second, 1)
    if left[-1] != right[-2]:
        n.invalid(f"the shapes {first} and {second} do not fit together")
    batch = broadcast(n, left[:-2], right[:-2])
    shape = (*batch, left[-2], right[-1])
    result = [*batch, *([left[-2]] if len(first) > 1 else []), *([right[-1]] if len(second) > 1 else [])]
    x = b.reshape(n, n.inputs[0], left)
    weight = b.constant(n.inputs[1])
    output = n.outputs[0] if tuple(result) == shape else None
    if weight is not None and math.prod(right[:-2]) == 1 and len(batch) == len(left) - 2:
        matrix = np.ascontiguousarray(weight.astype(np.float32).reshape(right[-2:]).T)
        product = b.add("Gemm", n, [x, b.new_constant(n.inputs[1], matrix)], shape, output=output)
    else:
        product = b.add("MatMul", n, [x, b.reshape(n, n.inputs[1], right)], shape, output=output)
    if output is None:
        b.reshape(n, product, result, n.outputs[0])


RULES: dict[str, Callable[[Builder, OnnxNode], None]] = {
    "AveragePool": pool,
    "BatchNormalization": batch_normalization,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": pool,
}
