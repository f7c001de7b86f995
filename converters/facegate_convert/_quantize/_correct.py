"""Bias correction: what quantising adds to a channel on average is taken off its bias.

Rounded weights and clipped activations shift the mean of every channel (Nagel et al. 2019, arXiv:1906.04721, section
4.2, here with measured means). The shift is common to all photographs, so it moves every embedding the same way and
brings strangers nearer to each other. Layers are corrected in execution order, each on what the layers before it give
once they are corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._quantize._flat import WEIGHTED, multiplications, open_model, operations, stored
from facegate_convert._quantize._patch import Layer, Patch
from facegate_convert._quantize._trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    Inputs = Sequence[npt.NDArray[np.float32]]
    Vector = npt.NDArray[np.float64]

MAX_INPUTS = 12  # means settle quickly
_WAVES = 16  # one layer at a time instead of three cost three times as much and gained nothing that could be measured
# Multiplications that correcting may cost: some seconds. Beyond it layers are corrected several at a time.
_BUDGET = 250_000_000_000
_LARGEST = 2**31 - 1


def correct_biases(
    base: bytes, model: bytes, inputs: Inputs, *, progress: Callable[[int, int], None] | None = None
) -> bytes:
    """Take the mean error of each channel out of the biases of a quantised model.

    Args:
        base: the float32 model that was quantised.
        model: what it became, with tensors of the same names.
        inputs: float32 inputs, prepared as on the device; at most MAX_INPUTS of them are used.
        progress: called with (layers done, layers in all).

    Returns:
        The model with other biases; everything else stays as it is.
    """
    import numpy as np  # noqa: PLC0415

    inputs = inputs[:: max(1, len(inputs) // MAX_INPUTS)][:MAX_INPUTS]
    patch = Patch(model)
    exact = {o.name: o for o in operations(base) if o.code in WEIGHTED}
    layers = [layer for layer in patch.layers if layer.bias is not None and layer.operation.name in exact]
    if not layers or not inputs:
        return model
    root = open_model(base)
    tensors = root.Subgraphs(0).Tensors
    sources = {layer.operation.name: tensors(exact[layer.operation.name].inputs[0]).Name().decode() for layer in layers}
    wanted = _means(Tracer(base), inputs, [(layer, sources[layer.operation.name]) for layer in layers])
    together = _together(len(layers), multiplications(base) * len(inputs))
    for start in range(0, len(layers), together):
        wave = layers[start : start + together]
        found = _means(Tracer(patch.bytes()), inputs, [(layer, layer.source) for layer in wave])
        for place, layer in enumerate(wave):
            operation = exact[layer.operation.name]
            weight, bias = (stored(base, root, tensors(i)) for i in operation.inputs[1:3])
            if weight is None or bias is None or layer.bias is None:
                continue
            mean = found[layer.operation.name]
            # Behind a layer that is corrected at the same time, only what this layer's own weights add is known.
            before = mean if place else wanted[layer.operation.name]
            shift = _apply(layer, _real(layer), mean) - _apply(layer, weight.astype(np.float64), before)
            steps = layer.input_scale * layer.scales.astype(np.float64)
            layer.bias[...] = np.clip(np.rint((bias - shift) / steps), -_LARGEST, _LARGEST).astype(np.int32)
            if progress:
                progress(start + place + 1, len(layers))
    return patch.bytes()


def _real(layer: Layer) -> Vector:
    """The weights of a layer as real numbers."""
    depthwise = layer.operation.code == "DEPTHWISE_CONV_2D"
    shape = (1, 1, 1, -1) if depthwise else (-1,) + (1,) * (layer.weight.ndim - 1)
    real: Vector = layer.weight.astype("float64") * layer.scales.reshape(shape)
    return real


def _apply(layer: Layer, weight: Vector, mean: Vector) -> Vector:
    """The mean of each output channel, but for the bias: (O,), of the mean input at each of the kernel's places."""
    if layer.operation.code == "DEPTHWISE_CONV_2D":
        outputs = weight.shape[-1]
        spread = mean.repeat(outputs // mean.shape[-1], axis=-1)
        found: Vector = (weight.reshape(-1, outputs) * spread.reshape(-1, outputs)).sum(axis=0)
        return found
    return weight.reshape(len(weight), -1) @ mean.reshape(-1)


def _means(tracer: Tracer, inputs: Inputs, wanted: Sequence[tuple[Layer, str]]) -> dict[str, Vector]:
    """The mean input of each layer at each place of its kernel, float64 (kh * kw, C), by the layer's name."""
    sums: dict[str, Vector] = {}
    names = {source for _, source in wanted}
    for value in inputs:
        seen = tracer.run(value, names)
        for layer, source in wanted:
            name = layer.operation.name
            sums[name] = sums.get(name, 0.0) + _taps(layer, seen[source])
    return {name: total / len(inputs) for name, total in sums.items()}


def _taps(layer: Layer, value: npt.NDArray[np.float32]) -> Vector:
    """The mean of what each place of a kernel sees, zeros of the padding included."""
    import numpy as np  # noqa: PLC0415

    weight = layer.weight
    if weight.ndim != 4 or value.ndim != 4:  # noqa: PLR2004 - fully connected
        flat: Vector = value.reshape(-1, weight.shape[-1]).mean(axis=0, dtype=np.float64)[None]
        return flat
    height, width = weight.shape[1:3]
    stride_h, stride_w, dilation_h, dilation_w, same = layer.options
    rows = _window(value.shape[1], height, stride_h, dilation_h, same=same)
    columns = _window(value.shape[2], width, stride_w, dilation_w, same=same)
    count = rows[0] * columns[0]
    found = []
    for i in range(height):
        for j in range(width):
            seen = value[
                0,
                _seen(value.shape[1], i * dilation_h - rows[1], stride_h, rows[0]),
                _seen(value.shape[2], j * dilation_w - columns[1], stride_w, columns[0]),
            ]
            found.append(seen.sum(axis=(0, 1), dtype=np.float64) / count)
    return np.array(found)


def _window(size: int, kernel: int, stride: int, dilation: int, *, same: bool) -> tuple[int, int]:
    """(outputs along an axis, padding before it), as TFLite has them."""
    reach = (kernel - 1) * dilation + 1
    if not same:
        return (size - reach) // stride + 1, 0
    outputs = -(-size // stride)
    return outputs, max((outputs - 1) * stride + reach - size, 0) // 2


def _seen(size: int, first: int, stride: int, count: int) -> slice:
    """The places of an axis that one place of the kernel sees: those that are not in the padding."""
    skipped = max(0, -(first // stride)) if first < 0 else 0
    start = first + skipped * stride
    stop = min(first + (count - 1) * stride, size - 1) + 1
    return slice(start, max(start, stop), stride)


def _together(layers: int, work: int) -> int:
    """How many layers are corrected at a time, of how many, where a step costs so many multiplications."""
    waves = min(_WAVES, max(1, _BUDGET // max(work, 1)))
    return -(-layers // waves)
