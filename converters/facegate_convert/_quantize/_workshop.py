"""One model's intermediate results, shared by all candidates that are made of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegate_convert import _measure
from facegate_convert._anatomy import of_model
from facegate_convert._lower import lower
from facegate_convert._proof import prove
from facegate_convert._quantize import _quantizer
from facegate_convert._quantize._candidate import Candidate
from facegate_convert._quantize._center import center_pixels, without_ties
from facegate_convert._quantize._clip import measure_histograms
from facegate_convert._quantize._correct import correct_biases
from facegate_convert._quantize._drift import acceptable, drift
from facegate_convert._quantize._equalize import equalize
from facegate_convert._quantize._flat import WEIGHTED, multiplications, operations
from facegate_convert._quantize._layers import measure_layers
from facegate_convert.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph
    from facegate_convert._quantize._candidate import LayerError
    from facegate_convert._quantize._clip import Histograms
    from facegate_convert._quantize._quantizer import Ranges
    from facegate_convert._quantize._recipe import Prelu, Recipe

    Inputs = Sequence[npt.NDArray[np.float32]]
    Progress = Callable[[str, int, int], None]
    Form = tuple[bool, Prelu]

MAX_JUDGED = 32  # inputs that candidates are compared on
MAX_EQUALIZED = 48
# Multiplications that a pass over the calibration inputs may cost: a MobileFaceNet sees 200, a ResNet-50 the fewest.
_BUDGET = 60_000_000_000
MIN_CALIBRATED = 24
MAX_CALIBRATED = 200  # inputs that ranges are measured on; more changed nothing but the time it takes


class Workshop:
    """Makes candidates of one model.

    Args:
        graph: the canonical graph.
        names: names of the model's outputs by the graph's.
        lowered: the graph lowered to float32.
        inputs: float32 inputs, prepared as on the device: calibration inputs; may be empty for precisions that need
            none, whose error is then not measured.
        judged: float32 inputs that errors are measured on; None takes the calibration inputs.
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
        judged: Inputs | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._graph = center_pixels(graph, input_range)
        self._names = names
        self._input_range = without_ties(input_range)
        self._tell: Progress = progress or (lambda *_: None)
        affordable = _BUDGET // max(multiplications(lowered), 1)
        self._inputs = _evenly(inputs, min(MAX_CALIBRATED, max(MIN_CALIBRATED, affordable)))
        self._judged = _evenly(inputs if judged is None else judged, MAX_JUDGED)
        self._exact: dict[str, npt.NDArray[np.float32]] | None = None
        self._graphs: dict[bool, Graph] = {False: self._graph}
        self._bases: dict[Form, bytes] = {}
        self._ranges: dict[Form, Ranges] = {}
        self._histograms: dict[Form, Histograms] = {}
        self._left: dict[Form, tuple[str, ...]] = {}  # operators that stay float for want of an int8 kernel
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
            UnrunnableModelError: LiteRT does not run what came out.
        """
        if recipe.calibrated and not self.has_inputs:
            raise CalibrationError(
                f"{recipe.precision} needs photographs to calibrate the model on",
                hint="give --calibration DIR with some dozens of photographs as the device will see them, or use "
                "--precision dynamic or float16, which need none",
            )
        if not recipe.calibrated:
            self._tell("quantising", 0, 0)
        if recipe.precision == "float32":
            model = self.lowered
        elif recipe.precision == "float16":
            model = prove(_quantizer.quantize_float16(self.lowered))
        elif recipe.precision == "dynamic":
            model = prove(_quantizer.quantize_dynamic(self.lowered))
        else:
            with _quantizer.translated():
                model = self._static(recipe)
        return Candidate(recipe, model, _measure.partitions(model), len(model), self.error(model))

    def _static(self, recipe: Recipe) -> bytes:
        form = self._form(recipe)
        base, ranges = self.base(form), self.ranges(form)
        counted = None if recipe.calibration in _quantizer.RANGES else self._histogram(form)
        self._tell("quantising", 0, 0)

        def quantized() -> bytes:
            left = self._left.get(form, ())
            # It may be made only to be looked at: an int8 division fails on a 0, and may stay float.
            return prove(
                _quantizer.quantize_static(
                    base, ranges, recipe.calibration, histograms=counted, float_layers=(*recipe.float_layers, *left)
                ),
                run=False,
            )

        model = quantized()
        if form not in self._left:
            # What XNNPACK has no int8 kernel for cuts the network in pieces; left float it often takes it.
            outside = of_model(model).outside.keys() - set(WEIGHTED)
            self._left[form] = tuple(o.name for o in operations(base) if o.code in outside)
            again = quantized() if self._left[form] else model
            if _measure.partitions(again) < _measure.partitions(model):
                model = again
            else:
                self._left[form] = ()
        prove(model)
        return self._corrected(base, model) if recipe.bias_correction else model

    def corrected(self, candidate: Candidate) -> Candidate:
        """The candidate with its biases corrected."""
        recipe = dataclasses.replace(candidate.recipe, bias_correction=True)
        with _quantizer.translated():
            model = self._corrected(self.base(self._form(recipe)), candidate.model)
        return dataclasses.replace(candidate, recipe=recipe, model=model, size=len(model), error=self.error(model))

    def _corrected(self, base: bytes, model: bytes) -> bytes:
        return correct_biases(
            base, model, self._inputs, progress=lambda done, total: self._tell("correcting biases", done, total)
        )

    def error(self, model: bytes) -> float:
        """The drift of a model's outputs from float32 over the judged inputs; NaN if there are none."""
        if not self._judged:
            return float("nan")
        return drift(self._outputs(), _measure.run_engine(model, self._judged))

    def acceptable(self) -> float:
        """The drift that decisions hardly feel; infinite if there is nothing to measure it on."""
        return acceptable(self._outputs()) if self._judged else float("inf")

    def operations(self, recipe: Recipe) -> tuple[str, ...]:
        """The names of the operators that a recipe quantises, in execution order."""
        return tuple(o.name for o in operations(self.base(self._form(recipe))))

    def _outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        if self._exact is None:
            self._exact = _measure.run_engine(self.lowered, self._judged)
        return self._exact

    def layers(self, candidate: Candidate) -> tuple[LayerError, ...]:
        """How far each operator's result is from float32, in execution order; empty without inputs to look at."""
        if not self._inputs or candidate.recipe.precision in ("float32", "float16"):
            return ()
        base = self.base(self._form(candidate.recipe)) if candidate.recipe.calibrated else self.lowered
        return measure_layers(base, candidate.model, self._judged)

    def _form(self, recipe: Recipe) -> Form:
        return recipe.equalize, (recipe.prelu if self.has_slopes else "keep")

    def base(self, form: Form) -> bytes:
        """The float32 model that is quantised: (whether its channels are equalised, how PReLU is written)."""
        if form not in self._bases:
            equalized, prelu = form
            if equalized not in self._graphs:
                self._tell("equalising", 0, 0)
                plain = self.base((False, "keep"))
                self._graphs[equalized] = equalize(
                    self._graph, plain, self._names, _evenly(self._inputs, MAX_EQUALIZED)
                )[0]
            self._bases[form] = prove(lower(self._graphs[equalized], output_names=self._names, prelu=prelu).model)
        return self._bases[form]

    def ranges(self, form: Form) -> Ranges:
        """The ranges of its activations."""
        if form not in self._ranges:
            self._ranges[form] = _quantizer.measure_ranges(
                self.base(form),
                self._inputs,
                self._input_range,
                progress=lambda done, total: self._tell("calibrating", done, total),
            )
        return self._ranges[form]

    def _histogram(self, form: Form) -> Histograms:
        if form not in self._histograms:
            self._histograms[form] = measure_histograms(
                self.base(form),
                self._inputs,
                self.ranges(form),
                progress=lambda done, total: self._tell("counting values", done, total),
            )
        return self._histograms[form]

    def with_layers(self, candidate: Candidate) -> Candidate:
        """The candidate with its layers' errors; sensitivities that it has are kept."""
        known = {layer.name: layer.sensitivity for layer in candidate.layers}
        measured = self.layers(candidate)
        return dataclasses.replace(
            candidate, layers=tuple(dataclasses.replace(m, sensitivity=known.get(m.name)) for m in measured)
        )


def _evenly(inputs: Inputs, most: int) -> Inputs:
    """At most so many of the inputs, evenly spread over them."""
    count = len(inputs)
    if count <= most:
        return inputs
    return [inputs[place * count // most] for place in range(most)]
