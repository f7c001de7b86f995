"""One model's intermediate results, shared by all candidates that are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert import _measure
from facegate_convert._lower import lower
from facegate_convert._quantize import _quantizer
from facegate_convert._quantize._candidate import Candidate
from facegate_convert._quantize._drift import drift
from facegate_convert._quantize._equalize import equalize
from facegate_convert.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph
    from facegate_convert._quantize._quantizer import Ranges
    from facegate_convert._quantize._recipe import Prelu, Recipe

    Inputs = Sequence[npt.NDArray[np.float32]]
    Progress = Callable[[str, int, int], None]

MAX_JUDGED = 32  # inputs that candidates are compared on


class Workshop:
    """Makes candidates of one model.

    Args:
        graph: the canonical graph.
        names: names of the model's outputs by the graph's.
        lowered: the graph lowered to float32.
        inputs: float32 inputs, prepared as on the device: calibration inputs; may be empty for precisions that need
            none, whose error is then not measured.
        input_range: smallest and largest value that an input can have.
        progress: called with (what is being done, steps done, steps in all or 0).
    """

    def __init__(
        self,
        graph: Graph,
        names: Mapping[str, str],
        lowered: bytes,
        inputs: Inputs,
        *,
        input_range: tuple[float, float],
        progress: Progress | None = None,
    ) -> None:
        self._graph = graph
        self._names = names
        self._input_range = input_range
        self._tell: Progress = progress or (lambda *_: None)
        self._inputs = inputs
        self._judged = inputs[:: max(1, len(inputs) // MAX_JUDGED)][:MAX_JUDGED]
        self._exact: dict[str, npt.NDArray[np.float32]] | None = None
        self._equalized: Graph | None = None
        self._bases: dict[tuple[bool, Prelu], bytes] = {(False, "keep"): lowered}
        self._ranges: dict[tuple[bool, Prelu], Ranges] = {}
        self.lowered = lowered
        self.has_slopes = any(node.op in ("PRelu", "LeakyRelu") for node in graph.nodes)

    @property
    def has_inputs(self) -> bool:
        """Whether there is anything to calibrate on."""
        return len(self._inputs) > 0

    def make(self, recipe: Recipe) -> Candidate:
        """Quantise by a recipe.

        Raises:
            CalibrationError: it needs inputs and there are none.
            QuantizationError: the quantizer failed.
        """
        if recipe.calibrated and not self.has_inputs:
            raise CalibrationError(
                f"{recipe.precision} needs photographs to calibrate the model on",
                hint="give --calibration DIR with some dozens of photographs as the device will see them, or use "
                "--precision dynamic or float16, which need none",
            )
        if recipe.precision == "float32":
            model = self.lowered
        elif recipe.precision == "float16":
            self._tell("quantising", 0, 0)
            model = _quantizer.quantize_float16(self.lowered)
        elif recipe.precision == "dynamic":
            self._tell("quantising", 0, 0)
            model = _quantizer.quantize_dynamic(self.lowered)
        else:
            base, ranges = self.base(recipe), self.ranges(recipe)
            self._tell("quantising", 0, 0)
            model = _quantizer.quantize_static(base, ranges, recipe.calibration, float_layers=recipe.float_layers)
        return Candidate(recipe, model, _measure.partitions(model), len(model), self.error(model))

    def error(self, model: bytes) -> float:
        """The drift of a model's outputs from float32 over the judged inputs; NaN if there are none."""
        if not self._judged:
            return float("nan")
        if self._exact is None:
            self._exact = _measure.run_engine(self.lowered, self._judged)
        return drift(self._exact, _measure.run_engine(model, self._judged))

    def base(self, recipe: Recipe) -> bytes:
        """The float32 model that a recipe quantises."""
        form: Prelu = recipe.prelu if self.has_slopes else "keep"
        key = (recipe.equalize, form)
        if key not in self._bases:
            graph = self._graph
            if recipe.equalize:
                if self._equalized is None:
                    self._tell("equalising", 0, 0)
                    self._equalized, _ = equalize(graph, self.lowered, self._names, self._judged)
                graph = self._equalized
            self._bases[key] = lower(graph, output_names=self._names, prelu=form).model
        return self._bases[key]

    def ranges(self, recipe: Recipe) -> Ranges:
        """The ranges of its activations."""
        key = (recipe.equalize, recipe.prelu if self.has_slopes else "keep")
        if key not in self._ranges:
            self._ranges[key] = _quantizer.measure_ranges(
                self.base(recipe),
                self._inputs,
                self._input_range,
                progress=lambda done, total: self._tell("calibrating", done, total),
            )
        return self._ranges[key]
