"""From a float32 TFLite model to an int8 or dynamic-range one, by ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import CalibrationError, QuantizationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    Ranges = dict[str, dict[str, npt.NDArray[np.float32]]]

PRECISIONS = ("float32", "int8", "dynamic")
MIN_CALIBRATION_INPUTS = 16


def quantize(
    model: bytes,
    precision: str,
    inputs: Sequence[npt.NDArray[np.float32]] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> bytes:
    """Quantise a float32 model.

    - "int8": weights per channel, activations per tensor, input and outputs int8 with scales of their own.
    - "dynamic": int8 weights, activations quantised while the model runs; input and outputs float32.

    Args:
        model: the float32 flatbuffer with one signature.
        precision: "int8" or "dynamic".
        inputs: for "int8" what the model is calibrated on, float32 of the input's shape, prepared as on the device.
        progress: called with (inputs done, inputs in all) while calibrating.

    Returns:
        The quantised flatbuffer.

    Raises:
        CalibrationError: "int8" without inputs.
        QuantizationError: the quantizer failed.
    """
    from ai_edge_quantizer import quantizer, recipe  # noqa: PLC0415 - half a second, only where it is used

    if precision == "int8" and not inputs:
        raise CalibrationError(
            "int8 needs photographs to calibrate the model on",
            hint="give --calibration DIR with some dozens of faces as the device will see them, or use --precision "
            "dynamic, which needs none",
        )
    with _quiet():
        try:
            if precision == "dynamic":
                return bytes(_run(quantizer.Quantizer(bytearray(model), recipe.dynamic_wi8_afp32()), None))
            ranges = activation_ranges(model, inputs, progress=progress)
            return bytes(_run(quantizer.Quantizer(bytearray(model), recipe.static_wi8_ai8()), ranges))
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
            raise QuantizationError(
                f"the quantizer failed on this model ({type(error).__name__})",
                hint="use --precision float32 or dynamic, and report the model's origin to the project",
            ) from error


def _run(quantizer: Any, ranges: Ranges | None) -> bytes:
    result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def activation_ranges(
    model: bytes,
    inputs: Sequence[npt.NDArray[np.float32]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """The range of each tensor over the inputs: the mean of the smallest and of the largest value of each input.

    Means, not extremes: a single odd photograph would otherwise stretch every scale. The quantizer's own calibration is
    a moving average, which depends on the order of the files.

    Returns:
        {"tensor": {"min": (1, ...), "max": (1, ...)}}, of the tensors' rank, as ai-edge-quantizer takes them.
    """
    import numpy as np  # noqa: PLC0415
    from ai_edge_litert import interpreter as litert  # noqa: PLC0415

    runner = litert.Interpreter(model_content=model, num_threads=2, experimental_preserve_all_tensors=True)
    runner.allocate_tensors()
    input_index = runner.get_input_details()[0]["index"]
    tensors = [d for d in runner.get_tensor_details() if d["dtype"] == np.float32 and d["name"]]
    low = np.zeros(len(tensors))
    high = np.zeros(len(tensors))
    for done, value in enumerate(inputs):
        runner.set_tensor(input_index, value)
        runner.invoke()
        for i, detail in enumerate(tensors):
            try:
                seen = runner.get_tensor(detail["index"])
            except ValueError:  # a tensor that a delegate or a fused operator never materialises
                continue
            low[i] += seen.min(initial=np.inf) if seen.size else 0
            high[i] += seen.max(initial=-np.inf) if seen.size else 0
        if progress:
            progress(done + 1, len(inputs))
    low, high = low / len(inputs), high / len(inputs)
    return {
        detail["name"]: {
            "min": np.full((1,) * len(detail["shape"]), low[i], np.float32),
            "max": np.full((1,) * len(detail["shape"]), high[i], np.float32),
        }
        for i, detail in enumerate(tensors)
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer logs through the root logger and absl; a command's output is its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
