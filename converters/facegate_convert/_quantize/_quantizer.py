"""From a float32 TFLite model to an int8 or dynamic-range one, by ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._interpreter import make_interpreter, quiet
from facegate_convert._quantize._flat import constants, open_model, operations, stored
from facegate_convert._quantize._limits import check_finite, fit_biases, too_narrow
from facegate_convert.errors import CalibrationError, ConvertError, QuantizationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._quantize._clip import Histograms

MIN_CALIBRATION_INPUTS = 16
_NORMALIZING = ("ADD", "DIV", "MUL", "PAD", "RESHAPE", "SUB")
# The quantizer's names for weights of fewer bits that stay floating point, and for nothing at all.
_FLOAT_CASTING, _NO_QUANTIZE = "float_casting", "no_quantize"

_FLOAT16_MAX = 65504.0
_ROUNDS = 12  # of widening ranges; two were enough for every network that was tried

# The calibrations that need no more of the inputs than their ranges.
RANGES = ("mean", "extreme")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ranges:
    """What a float32 model's activations did over the calibration inputs.

    Attributes:
        names: tensors, without constants: weights are quantised per channel, from their own values.
        ranks: of each.
        low, high: float32 (inputs, tensors), the smallest and the largest value of each tensor for each input.
        known: places of the tensors whose range is known exactly: the input and what only shifts, scales or pads it.
        known_low, known_high: float32, their ranges.
    """

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    known: tuple[int, ...]
    known_low: npt.NDArray[np.float32]
    known_high: npt.NDArray[np.float32]

    def combine(self, how: str, histograms: Histograms | None = None) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
        """One range a tensor, by one of CALIBRATIONS, as ai-edge-quantizer takes them.

        The input's is known exactly and not measured: pixels then keep all their 256 levels. So is that of what only
        normalises it; measured there, black and white were clipped, and the first convolutions amplified that.

        Args:
            how: one of CALIBRATIONS.
            histograms: for "percentile", "mse" and "entropy".

        Raises:
            QuantizationError: histograms are needed and not given, or a tensor's values are not finite.
        """
        import numpy as np  # noqa: PLC0415

        if how in RANGES:
            low = self.low.mean(axis=0) if how == "mean" else self.low.min(axis=0)
            high = self.high.mean(axis=0) if how == "mean" else self.high.max(axis=0)
        elif histograms is None:
            raise QuantizationError(f"{how} ranges need histograms", hint="measure_histograms makes them")
        else:
            low, high = (ends.astype(np.float32) for ends in histograms.clip(how))
        places = list(self.known)
        low[places], high[places] = self.known_low, self.known_high
        for name, least, most in zip(self.names, low.tolist(), high.tolist(), strict=True):
            check_finite(name, least, most)
        return {
            name: {
                "min": np.full((1,) * rank, low[place], np.float32),
                "max": np.full((1,) * rank, high[place], np.float32),
            }
            for place, (name, rank) in enumerate(zip(self.names, self.ranks, strict=True))
        }


def measure_ranges(
    model: bytes,
    inputs: Sequence[npt.NDArray[np.float32]],
    input_range: tuple[float, float],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Run a float32 model and note the range of each activation.

    Args:
        model: the flatbuffer with one input.
        inputs: float32 of the input's shape, prepared as on the device.
        input_range: smallest and largest value that an input can have.
        progress: called with (inputs done, inputs in all).

    Raises:
        CalibrationError: there are no inputs.
        QuantizationError: the model does not run.
    """
    import numpy as np  # noqa: PLC0415

    if not inputs:
        raise CalibrationError(
            "int8 needs photographs to calibrate the model on",
            hint="give --calibration DIR with some dozens of faces as the device will see them, or use --precision "
            "dynamic, which needs none",
        )
    with translated():
        runner = make_interpreter(model, inner_tensors=True)
        weights = constants(model)
        index = runner.get_input_details()[0]["index"]
        tensors = [
            d
            for d in runner.get_tensor_details()
            if d["dtype"] == np.float32 and d["name"] and d["index"] not in weights
        ]
        known = _known(model, index)
        places = [place for place, d in enumerate(tensors) if d["index"] in known]
        ends = []
        for end in input_range:
            runner.set_tensor(index, np.full_like(inputs[0], end))
            runner.invoke()
            ends.append([runner.get_tensor(tensors[place]["index"]) for place in places])
        # What is pointwise and monotonous has its extremes where the input has them.
        known_low, known_high = (
            np.array([pick([float(pick(a)), float(pick(b))]) for a, b in zip(*ends, strict=True)], np.float32)
            for pick in (np.min, np.max)
        )
        low = np.empty((len(inputs), len(tensors)), np.float32)
        high = np.empty_like(low)
        for row, value in enumerate(inputs):
            runner.set_tensor(index, value)
            runner.invoke()
            for column, detail in enumerate(tensors):
                seen = runner.get_tensor(detail["index"])
                low[row, column], high[row, column] = seen.min(), seen.max()
            if progress:
                progress(row + 1, len(inputs))
    return Ranges(
        tuple(d["name"] for d in tensors),
        tuple(len(d["shape"]) for d in tensors),
        low,
        high,
        known=tuple(places),
        known_low=known_low,
        known_high=known_high,
    )


def _known(model: bytes, source: int) -> set[int]:
    """The tensors that are nothing but the input, shifted, scaled or padded by constants."""
    weights = constants(model)
    found = {source}
    for operation in operations(model):
        computed = [i for i in operation.inputs if i >= 0 and i not in weights]
        if operation.code in _NORMALIZING and len(computed) == 1 and computed[0] in found:
            found.update(operation.outputs)
    return found


def quantize_static(
    model: bytes,
    ranges: Ranges,
    how: str = "mean",
    *,
    histograms: Histograms | None = None,
    float_layers: Sequence[str] = (),
) -> bytes:
    """An int8 model: weights per channel, activations per tensor, input and outputs int8 with scales of their own.

    Args:
        model: the float32 flatbuffer, without PRELU, which the quantizer would leave float.
        ranges: of its activations, by `measure_ranges`.
        how: one of CALIBRATIONS.
        histograms: of its activations, where that needs them.
        float_layers: names of operators (their first output's tensor) whose results stay float32. Convolutions and
            fully connected layers among them keep int8 weights, and quantise what they read while they run.

    Returns:
        A model whose scales are within what the engine takes (`_limits`).

    Raises:
        QuantizationError: the quantizer failed, or values are not finite.
    """
    from ai_edge_quantizer import qtyping, recipe_manager  # noqa: PLC0415 - half a second, only where it is used

    every = qtyping.TFLOperationName.ALL_SUPPORTED
    recipes = recipe_manager.RecipeManager()
    recipes.add_static_config(regex=".*", operation_name=every, activation_num_bits=8, weight_num_bits=8)
    for name in float_layers:
        scope = f"^{re.escape(name)};"
        recipes.add_quantization_config(scope, every, algorithm_key=_NO_QUANTIZE)
        for kind in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.FULLY_CONNECTED):
            recipes.add_dynamic_config(regex=scope, operation_name=kind, num_bits=8)
    chosen = ranges.combine(how, histograms)
    for _ in range(_ROUNDS):
        made = fit_biases(model, _run(model, recipes.get_quantization_recipe(), chosen))
        narrow = too_narrow(made)
        if not narrow:
            return made
        # A wider range makes what reads it coarser, which may ask for another.
        chosen = {name: _widened(ends, narrow.get(name, 0.0)) for name, ends in chosen.items()}
    raise QuantizationError(
        "no scales that the engine takes were found",
        hint="use --precision dynamic or float16, and report the model's origin to the project",
    )


def _widened(ends: dict[str, npt.NDArray[np.float32]], width: float) -> dict[str, npt.NDArray[np.float32]]:
    """A tensor's range, at least so wide; its zero stays where it was."""
    low, high = min(float(ends["min"].min()), 0.0), max(float(ends["max"].max()), 0.0)
    if high - low >= width:
        return ends
    factor = width / (high - low) if high > low else 0.0
    low, high = (low * factor, high * factor) if factor else (0.0, width)
    return {"min": ends["min"] * 0 + low, "max": ends["max"] * 0 + high}


def quantize_dynamic(model: bytes) -> bytes:
    """A model with int8 weights whose activations are quantised while it runs; input and outputs stay float32.

    Raises:
        QuantizationError: the quantizer failed.
    """
    from ai_edge_quantizer import qtyping, recipe_manager  # noqa: PLC0415

    # Only where XNNPACK has a kernel for it: a depthwise convolution would run on a slow one, and cut the network in
    # pieces, to save a few percent of the weights.
    recipes = recipe_manager.RecipeManager()
    for kind in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.FULLY_CONNECTED):
        recipes.add_dynamic_config(regex=".*", operation_name=kind, num_bits=8)
    return _run(model, recipes.get_quantization_recipe(), None)


def quantize_float16(model: bytes) -> bytes:
    """A model with float16 weights; XNNPACK unpacks them when it loads the model, and computes in float32.

    Layers with weights beyond 65504, which float16 does not hold, keep float32.

    Raises:
        QuantizationError: the quantizer failed.
    """
    from ai_edge_quantizer import qtyping, recipe_manager  # noqa: PLC0415

    recipes = recipe_manager.RecipeManager()
    names = qtyping.TFLOperationName
    for kind in (names.CONV_2D, names.DEPTHWISE_CONV_2D, names.FULLY_CONNECTED, names.CONV_2D_TRANSPOSE):
        recipes.add_weight_only_config(regex=".*", operation_name=kind, num_bits=16, algorithm_key=_FLOAT_CASTING)
    for name in _beyond_float16(model):
        recipes.add_quantization_config(f"^{re.escape(name)};", names.ALL_SUPPORTED, algorithm_key=_NO_QUANTIZE)
    return _run(model, recipes.get_quantization_recipe(), None)


def _beyond_float16(model: bytes) -> list[str]:
    """The operators with weights that are infinite in float16."""
    import numpy as np  # noqa: PLC0415

    root = open_model(model)
    tensors = root.Subgraphs(0).Tensors
    found = []
    for operation in operations(model):
        weights = [stored(model, root, tensors(i)) for i in operation.inputs if i >= 0]
        if any(w is not None and w.dtype == np.float32 and np.abs(w).max() > _FLOAT16_MAX for w in weights):
            found.append(operation.name)
    return found


def _run(model: bytes, recipe: Any, ranges: dict[str, Any] | None) -> bytes:
    from ai_edge_quantizer import quantizer  # noqa: PLC0415

    with translated(), quiet():
        made = quantizer.Quantizer(bytearray(model), recipe)
        result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(result.quantized_model)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """The quantizer's errors as ours, and nothing in the log: a command's output is its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except ConvertError:
        raise
    except Exception as error:  # the quantizer lets whatever goes wrong inside it out
        raise QuantizationError(
            f"the quantizer failed on this model ({type(error).__name__})",
            hint="use --precision float32, and report the model's origin to the project",
        ) from error
    finally:
        logging.disable(before)
