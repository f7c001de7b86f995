"""From a float32 TFLite model to an int8 or dynamic-range one, by ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._interpreter import make_interpreter, quiet
from facegate_convert.errors import CalibrationError, QuantizationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

MIN_CALIBRATION_INPUTS = 16
_FLOAT_CASTING = "float_casting"  # the quantizer's name for weights of fewer bits that stay floating point

# Ways to make one range of the ranges that the inputs gave. Neither is better for every network: the mean ignores the
# odd photograph, which the heavy tails of PReLU nets need; the extremes clip nothing, which others need.
RANGES = ("mean", "extreme")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ranges:
    """What a float32 model's activations did over the calibration inputs.

    Attributes:
        names: tensors, without constants: weights are quantised per channel, from their own values.
        ranks: of each.
        low, high: float32 (inputs, tensors), the smallest and the largest value of each tensor for each input.
        input: place of the model's input among the tensors.
        input_range: smallest and largest value that the input can have.
    """

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    input: int
    input_range: tuple[float, float]

    def combine(self, how: str) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
        """One range a tensor, "mean" or "extreme" over the inputs, as ai-edge-quantizer takes them.

        The input's is known exactly and not measured: pixels then keep all their 256 levels.
        """
        import numpy as np  # noqa: PLC0415

        low = self.low.mean(axis=0) if how == "mean" else self.low.min(axis=0)
        high = self.high.mean(axis=0) if how == "mean" else self.high.max(axis=0)
        low[self.input], high[self.input] = self.input_range
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
    with _translated():
        runner = make_interpreter(model, inner_tensors=True)
        constants = _constants(model)
        index = runner.get_input_details()[0]["index"]
        tensors = [
            d
            for d in runner.get_tensor_details()
            if d["dtype"] == np.float32 and d["name"] and d["index"] not in constants
        ]
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
        input=[d["index"] for d in tensors].index(index),
        input_range=input_range,
    )


def quantize_static(model: bytes, ranges: Ranges, how: str = "mean", *, float_layers: Sequence[str] = ()) -> bytes:
    """An int8 model: weights per channel, activations per tensor, input and outputs int8 with scales of their own.

    Args:
        model: the float32 flatbuffer, without PRELU, which the quantizer would leave float.
        ranges: of its activations, by `measure_ranges`.
        how: one of RANGES.
        float_layers: names of operators (their first output's tensor) that stay float32.

    Raises:
        QuantizationError: the quantizer failed.
    """
    from ai_edge_quantizer import qtyping, recipe_manager  # noqa: PLC0415 - half a second, only where it is used

    every = qtyping.TFLOperationName.ALL_SUPPORTED
    recipes = recipe_manager.RecipeManager()
    recipes.add_static_config(regex=".*", operation_name=every, activation_num_bits=8, weight_num_bits=8)
    for name in float_layers:
        recipes.add_quantization_config(f"^{re.escape(name)};", every, algorithm_key="no_quantize")
    return _run(model, recipes.get_quantization_recipe(), ranges.combine(how))


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

    Raises:
        QuantizationError: the quantizer failed.
    """
    from ai_edge_quantizer import qtyping, recipe_manager  # noqa: PLC0415

    recipes = recipe_manager.RecipeManager()
    names = qtyping.TFLOperationName
    for kind in (names.CONV_2D, names.DEPTHWISE_CONV_2D, names.FULLY_CONNECTED, names.CONV_2D_TRANSPOSE):
        recipes.add_weight_only_config(regex=".*", operation_name=kind, num_bits=16, algorithm_key=_FLOAT_CASTING)
    return _run(model, recipes.get_quantization_recipe(), None)


def _run(model: bytes, recipe: Any, ranges: dict[str, Any] | None) -> bytes:
    from ai_edge_quantizer import quantizer  # noqa: PLC0415

    with _translated(), quiet():
        made = quantizer.Quantizer(bytearray(model), recipe)
        result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(result.quantized_model)


def _constants(model: bytes) -> set[int]:
    """The indices of tensors that are weights: those with bytes of their own."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    root = schema.Model.GetRootAs(model)
    graph = root.Subgraphs(0)
    return {i for i in range(graph.TensorsLength()) if root.Buffers(graph.Tensors(i).Buffer()).DataLength()}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The quantizer's errors as ours, and nothing in the log: a command's output is its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except Exception as error:  # the quantizer lets whatever goes wrong inside it out
        raise QuantizationError(
            f"the quantizer failed on this model ({type(error).__name__})",
            hint="use --precision float32, and report the model's origin to the project",
        ) from error
    finally:
        logging.disable(before)
