"""Scales within what the engine takes.

Scales follow from what photographs showed and from weights, and some of these show next to nothing: a ReLU that stays
dead, a channel pruned to zeros. What is written for them must still run. XNNPACK refuses a convolution one step of
whose accumulator is 256 steps of its result or more, and LiteRT, clearing up behind a refusal, may end the process.
LiteRT's own addition ends it where one step of an addend is 2^19 steps of the sum. A bias of more than 32 bits is
clipped without a word. Every other operator took every ratio of scales from 2^-40 to 2^40.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facegate_convert._quantize._flat import WEIGHTED, open_model, operations, stored
from facegate_convert._quantize._patch import Patch
from facegate_convert.errors import QuantizationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

# Steps of a result that one step of what it is made of may be. XNNPACK's limit is 256; it calculates in float32.
LARGEST_RATIO = 250.0
LARGEST_BIAS = 2**30  # half of what 32 bits hold: products are added to it
_ADDITIONS = ("ADD", "SUB")
_TRANSPOSED = "TRANSPOSE_CONV"  # reads (shape, weights, input)
# What has a scale of its own for its result, even where it happens to be that of an input.
_CALCULATING = (*WEIGHTED, _TRANSPOSED, *_ADDITIONS, "MUL", "DIV", "MEAN", "SUM")
_INT8 = 9
_LEVELS = 255
# LiteRT's addition takes 2^20 times a scale in float32, and ends the process where that is infinite.
_LARGEST_SCALE = 1e31


def too_narrow(model: bytes) -> dict[str, float]:
    """The tensors of a quantised model whose ranges are too narrow for the engine, and how wide they must be.

    A range is widened until its step is 1/250 of the step of the accumulator in the coarsest channel, or of an addend.
    What was rounded to that accumulator's input is uncertain by dozens of its steps, so next to nothing is lost.

    Args:
        model: the flatbuffer.

    Returns:
        Width in real units by the tensor's name; tensors that share a scale are all named. Empty if all is well.

    Raises:
        QuantizationError: a scale is 0, not finite, or larger than LiteRT can calculate with.
    """
    steps = _Steps(model)
    found: dict[str, float] = {}
    for index, step in steps.too_fine():
        for name in steps.sharing(index):
            found[name] = max(found.get(name, 0.0), step * _LEVELS)
    return found


class _Steps:
    """The int8 tensors of a model: the step of each, and which share one."""

    def __init__(self, model: bytes) -> None:
        self._graph = open_model(model).Subgraphs(0)
        self._operations = operations(model)
        # By tensor: (largest scale, zero point).
        self._steps: dict[int, tuple[float, int]] = {}
        for index in {i for o in self._operations for i in (*o.inputs, *o.outputs) if i >= 0}:
            self._read(index)

    def _read(self, index: int) -> None:
        tensor = self._graph.Tensors(index)
        quantization = tensor.Quantization()
        if tensor.Type() != _INT8 or quantization is None or not quantization.ScaleLength():
            return
        scales = quantization.ScaleAsNumpy().tolist()
        if not all(0 < scale < _LARGEST_SCALE for scale in scales):
            raise _no_scale(tensor.Name().decode())
        self._steps[index] = max(scales), int(quantization.ZeroPoint(0))

    def too_fine(self) -> Iterator[tuple[int, float]]:
        """(tensor, the step that it must have at least) where it has less."""
        for operation in self._operations:
            if operation.code in WEIGHTED:
                made_of = [operation.inputs[:2]]
            elif operation.code == _TRANSPOSED:
                made_of = [operation.inputs[1:3]]
            elif operation.code in _ADDITIONS:
                made_of = [(i,) for i in operation.inputs]
            else:
                continue
            result = operation.outputs[0]
            if not all(i in self._steps for part in made_of for i in part) or result not in self._steps:
                continue  # float32, or quantised while it runs
            unit = max(math.prod(self._steps[i][0] for i in part) for part in made_of)
            if not math.isfinite(unit):
                raise _no_scale(operation.name)
            if unit > self._steps[result][0] * LARGEST_RATIO * 1.001:  # float32 rounds what was widened already
                yield result, unit / LARGEST_RATIO

    def sharing(self, index: int) -> set[str]:
        """The names of the tensors that share a tensor's scale, its own among them.

        What only moves values has one scale for all that it reads and writes; from which of their ranges that came,
        the quantizer knows.
        """
        names: set[str] = set()
        left, seen = [index], {index}
        while left:
            index = left.pop()
            names.add(self._graph.Tensors(index).Name().decode())
            for operation in self._operations:
                around = {*operation.inputs, *operation.outputs}
                if index not in around or operation.code in _CALCULATING:
                    continue
                near = {i for i in around - seen if self._steps.get(i) == self._steps[index]}
                seen |= near
                left += near
        return names


def fit_biases(base: bytes, model: bytes) -> bytes:
    """Coarser weights where a bias does not fit into its bits: in channels that are pruned, or read what is dead.

    Where the bias is 2^30 steps of the accumulator or more, all that one weight can add is 2^-15 of the bias. Made
    coarser until the bias is 2^30 steps, a weight errs by 2^-22 of the bias at most.

    Args:
        base: the float32 model that was quantised.
        model: what it became, with tensors of the same names.

    Returns:
        The model, with other weights, biases and scales in such channels; as it was if there are none.
    """
    import numpy as np  # noqa: PLC0415

    patch = Patch(model)
    exact = _weights(base)
    layers = [layer for layer in patch.layers if layer.bias is not None and layer.operation.name in exact]
    # By tensor, as heads of a detector may share their weights: the steps that they must have.
    wanted: dict[int, Vector] = {}
    for layer in layers:
        _, bias = exact[layer.operation.name]
        least = np.abs(bias) / (layer.input_scale * LARGEST_BIAS)
        tensor = layer.operation.inputs[1]
        wanted[tensor] = np.maximum(wanted.get(tensor, layer.scales.astype(np.float64)), least)
    changed = False
    for layer in layers:
        steps = wanted[layer.operation.inputs[1]].astype(np.float32)
        moved = steps > layer.scales
        if layer.bias is None or not moved.any():
            continue
        changed = True
        weight, bias = exact[layer.operation.name]
        axis = -1 if layer.operation.code == "DEPTHWISE_CONV_2D" else 0
        stored_weight, real = np.moveaxis(layer.weight, axis, 0), np.moveaxis(weight, axis, 0)
        ranks = (-1,) + (1,) * (real.ndim - 1)
        stored_weight[moved] = np.rint(real[moved] / steps[moved].astype(np.float64).reshape(ranks)).astype(np.int8)
        layer.bias[moved] = np.rint(bias[moved] / (steps[moved].astype(np.float64) * layer.input_scale))
        layer.bias_scales[moved] = steps[moved] * np.float32(layer.input_scale)
    for layer in layers if changed else ():
        layer.scales[...] = wanted[layer.operation.inputs[1]]
    return patch.bytes() if changed else model


def _weights(base: bytes) -> dict[str, tuple[Vector, Vector]]:
    """(weights, bias) of a float32 model's layers by the operator's name, float64, for those that have both."""
    import numpy as np  # noqa: PLC0415

    root = open_model(base)
    tensors = root.Subgraphs(0).Tensors
    found = {}
    for operation in operations(base):
        if operation.code not in WEIGHTED or len(operation.inputs) < 3 or operation.inputs[2] < 0:  # noqa: PLR2004
            continue
        weight, bias = (stored(base, root, tensors(i)) for i in operation.inputs[1:3])
        if weight is not None and bias is not None:
            found[operation.name] = weight.astype(np.float64), bias.astype(np.float64)
    return found


def _no_scale(name: str) -> QuantizationError:
    return QuantizationError(
        f"no scale fits the values of {name!r}",
        hint="they are not finite, or larger than float32 can hold: the weights are damaged, or --mean, --scale or "
        "--preprocess are not the model's",
    )


def check_finite(name: str, low: float, high: float) -> None:
    """Refuse a range that no scale fits.

    Raises:
        QuantizationError: an end is not finite, or far from everything that means something.
    """
    width = max(high, 0.0) - min(low, 0.0)
    if not width < _LARGEST_SCALE * _LEVELS:  # nor is NaN
        raise _no_scale(name)
