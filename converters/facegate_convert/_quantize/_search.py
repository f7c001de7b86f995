"""Looking for the recipe that keeps decisions, at the size and the speed that are asked for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegate_convert._quantize._candidate import Candidate, LayerError, Score, Search
from facegate_convert._quantize._recipe import CALIBRATIONS, CHOICES, PRECISIONS, Calibration, Precision, Recipe
from facegate_convert._quantize._workshop import MAX_JUDGED, Workshop
from facegate_convert.errors import CalibrationError, QuantizationError, UnrunnableModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph
    from facegate_convert._quantize._workshop import Progress
    from facegate_edge import Target

    Inputs = Sequence[npt.NDArray[np.float32]]
    Judge = Callable[[bytes], Score]

# Without a target, as on a core where int8 buys size and no time.
_ORDER: tuple[Precision, ...] = ("float16", "mixed", "int8", "float32")
_HELD_FROM = 12  # with fewer inputs, holding some back would cost more than it shows
_SECTIONS = 10  # runs of operators that stay float together
_ENOUGH = 0.6  # a mixed model is worth its float parts where this share of the int8 model's error is left
_JUDGED_MIXES = 3
# What a rewritten PReLU executes more than one left float, in a MobileFaceNet: 1.07 times on Cortex-A72, 1.15 on A76
# (docs/precision.md). It has to be nearer by as much.
_REWRITTEN = 1.15


def quantize(
    graph: Graph,
    names: Mapping[str, str],
    lowered: bytes,
    inputs: Inputs,
    recipe: Recipe,
    *,
    input_range: tuple[float, float],
    progress: Progress | None = None,
) -> Candidate:
    """Quantise a model by one recipe.

    Args:
        graph: the canonical graph.
        names: names of the model's outputs by the graph's.
        lowered: the graph lowered to float32 under these names.
        inputs: float32 calibration inputs (1, H, W, 3), prepared as on the device; may be empty for precisions that
            need none.
        recipe: how.
        input_range: smallest and largest value that an input can have.
        progress: called with (what is being done, steps done, steps in all or 0).

    Returns:
        The candidate, with its layers' errors where there are inputs.

    Raises:
        CalibrationError: the recipe needs inputs and there are none.
        QuantizationError: the quantizer failed.
    """
    shop = Workshop(graph, names, lowered, inputs, input_range=input_range, progress=progress)
    return shop.with_layers(shop.make(recipe))


def search(
    graph: Graph,
    names: Mapping[str, str],
    lowered: bytes,
    inputs: Inputs,
    *,
    precision: str,
    input_range: tuple[float, float],
    role: str = "recognizer",
    judge: Judge | None = None,
    profile: Target | None = None,
    size_budget: int | None = None,
    progress: Progress | None = None,
) -> Search:
    """The best candidate of a precision, or with "auto" of the precisions that pay on a target.

    Recipes are compared on a third of the inputs, calibrated on the others; the one that is chosen is made once more
    from all of them.

    Args:
        graph: the canonical graph.
        names: names of the model's outputs by the graph's.
        lowered: the graph lowered to float32 under these names.
        inputs: as for `quantize`.
        precision: one of CHOICES.
        input_range: smallest and largest value that an input can have.
        role: of the model: "detector", "recognizer" or "liveness".
        judge: says of a model how well it decides; asked sparingly, for it may take seconds. Without one, "auto" goes
            by the outputs' drift.
        profile: the target that "auto" chooses for; None is a device of any kind.
        size_budget: bytes that a model may have, for "mixed" and "auto".
        progress: called with (what is being done, steps done, steps in all or 0).

    Raises:
        CalibrationError: the precision needs inputs and there are none.
        QuantizationError: no such precision, or the quantizer failed.
        UnrunnableModelError: LiteRT runs nothing that was made. A recipe whose model it does not run is left out.
    """
    if precision not in CHOICES:
        raise QuantizationError(f"there is no precision {precision!r}", hint=f"choose one of {', '.join(CHOICES)}")
    held = _varied(inputs[1::3] if len(inputs) >= _HELD_FROM else inputs)
    fit = [v for place, v in enumerate(inputs) if place % 3 != 1] if len(inputs) >= _HELD_FROM else inputs
    trial = Workshop(graph, names, lowered, fit, judged=held, input_range=input_range, progress=progress)
    whole = Workshop(graph, names, lowered, inputs, judged=held, input_range=input_range, progress=progress)
    return _Searcher(trial, whole, role, judge, profile, size_budget).run(precision)


class _Searcher:
    def __init__(
        self,
        trial: Workshop,
        whole: Workshop,
        role: str,
        judge: Judge | None,
        profile: Target | None,
        size_budget: int | None,
    ) -> None:
        self._trial, self._whole = trial, whole
        self._role = role
        self._judge = judge
        self._profile = profile
        self._budget = size_budget
        self._choosing = False
        self._tried: list[Candidate] = []
        self._best_int8: Candidate | None = None
        self._unrunnable: list[Recipe] = []

    def run(self, precision: str) -> Search:
        """Search one precision, or the target's."""
        if precision != "auto":
            chosen = self._best(_known(precision))
            return self._found(chosen, self._words(chosen))
        self._choosing = True
        target = self._profile.name if self._profile else "a device of any kind"
        said = [f"for {target}"]
        order = [p for p in self._order() if self._whole.has_inputs or not Recipe(p).calibrated]
        if skipped := [p for p in self._order() if p not in order]:
            said.append(f"{' and '.join(skipped)} not tried: there are no calibration photographs")
        for wanted in order:
            try:
                chosen = self._best(wanted)
            except UnrunnableModelError as error:
                said.append(f"{wanted} cannot be run: {error}")
                continue
            if chosen.accepted:
                said.append(f"{self._gain(wanted)}{self._words(chosen)}")
                return self._found(chosen, "; ".join(said))
            said.append(f"{wanted} refused: {chosen.note}")
        chosen = self._judged(self._whole.make(Recipe("float32")))
        said.append("float32 is left")
        return self._found(chosen, "; ".join(said))

    def _order(self) -> tuple[Precision, ...]:
        wanted = self._profile.precisions.get(self._role, _ORDER) if self._profile else _ORDER
        return tuple(_known(p) for p in wanted if p in PRECISIONS)

    def _gain(self, precision: str) -> str:
        gains = self._profile.gains.get(precision, ()) if self._profile else ()
        return f"{precision} is expected to save {' and '.join(gains)} there; " if gains else ""

    def _words(self, chosen: Candidate) -> str:
        text = f"{chosen.recipe.describe()}, {chosen.size:,} bytes, {chosen.partitions} XNNPACK "
        text += "partition" if chosen.partitions == 1 else "partitions"
        rivals = [c for c in self._tried if c.recipe.precision == chosen.recipe.precision]
        if len(rivals) > 1:
            text += f"; the best of {len(rivals)} {chosen.recipe.precision} recipes (drift {chosen.error:.3g})"
        if self._unrunnable:
            text += f"; {len(self._unrunnable)} recipes gave models that LiteRT does not run"
        return f"{text}; {chosen.note}" if chosen.note else text

    def _found(self, chosen: Candidate, why: str) -> Search:
        final = self._whole.with_layers(chosen)
        tried = tuple(final if c is chosen else c for c in self._tried)
        return Search(final, tried, why)

    def _judged(self, candidate: Candidate) -> Candidate:
        """The candidate with the judge's word, noted among those tried."""
        if self._budget is not None and candidate.size > self._budget and candidate.recipe.precision != "float32":
            candidate = dataclasses.replace(
                candidate, accepted=False, note=f"{candidate.size:,} bytes are more than {self._budget:,}"
            )
        elif self._judge is not None:
            score = self._judge(candidate.model)
            candidate = dataclasses.replace(candidate, loss=score.loss, accepted=score.accepted, note=score.note)
        elif self._choosing and candidate.error > (limit := self._whole.acceptable()):  # not true of NaN: not measured
            candidate = dataclasses.replace(
                candidate, accepted=False, note=f"its outputs drift by {candidate.error:.3g}, more than {limit:g}"
            )
        self._tried.append(candidate)
        return candidate

    def _best(self, precision: Precision) -> Candidate:
        if not self._whole.has_inputs and Recipe(precision).calibrated:
            raise CalibrationError(
                f"{precision} needs photographs to calibrate the model on",
                hint="give --calibration DIR with some dozens of photographs as the device will see them, or use "
                "--precision dynamic or float16, which need none",
            )
        if precision == "mixed":
            return self._mixed()
        if precision != "int8":
            return self._judged(self._whole.make(Recipe(precision)))
        return self._judged(self._finished(self._int8()))

    def _int8(self) -> Candidate:
        """The best int8 recipe on the inputs that are held back: fewest pieces, then the least drift for its price."""
        if self._best_int8 is not None:
            return self._best_int8
        tried: list[Candidate] = []
        failed: list[UnrunnableModelError] = []

        def attempt(recipe: Recipe) -> None:
            if all(c.recipe != recipe for c in tried):
                try:
                    tried.append(self._trial.make(recipe))
                except UnrunnableModelError as error:
                    failed.append(error)
                    self._unrunnable.append(recipe)

        def best() -> Candidate:
            return min(tried, key=_worth)

        for how in self._calibrations():
            attempt(Recipe("int8", calibration=how, bias_correction=False))
        if not tried:
            raise failed[0]
        if self._trial.has_slopes:
            attempt(dataclasses.replace(best().recipe, prelu="rewrite"))
        attempt(dataclasses.replace(best().recipe, equalize=False))
        self._best_int8 = best()
        self._tried += tried
        return self._best_int8

    def _calibrations(self) -> tuple[Calibration, ...]:
        # A face is the exception in a frame: a detector's scores are the very extremes that a mean would clip.
        return ("extreme", "percentile") if self._role == "detector" else CALIBRATIONS

    def _finished(self, candidate: Candidate) -> Candidate:
        """The candidate's recipe on all inputs, with biases corrected if that brings it nearer."""
        plain = self._whole.make(candidate.recipe)
        corrected = self._whole.corrected(plain)
        found = corrected if corrected.error <= plain.error else plain
        return dataclasses.replace(found, layers=candidate.layers)

    def _mixed(self) -> Candidate:
        """Int8 with the sections float that cost most, as few as are enough."""
        start = self._int8()
        base = dataclasses.replace(start.recipe, precision="mixed")
        operations = self._trial.operations(start.recipe)
        length = max(1, -(-len(operations) // _SECTIONS))
        sections = [tuple(operations[at : at + length]) for at in range(0, len(operations), length)]
        gains = [self._gain_of(dataclasses.replace(base, float_layers=section), start.error) for section in sections]
        layers = tuple(
            LayerError(name, "", 0.0, gain) for section, gain in zip(sections, gains, strict=True) for name in section
        )
        order = sorted(range(len(sections)), key=lambda place: (-gains[place], place))
        asked, chosen = 0, None
        for count in range(1, len(order) + 1):
            kept = sorted(order[:count])
            recipe = dataclasses.replace(base, float_layers=tuple(n for place in kept for n in sections[place]))
            try:
                candidate = dataclasses.replace(self._trial.make(recipe), layers=layers)
            except UnrunnableModelError:
                if count < len(order) or chosen is not None:
                    self._unrunnable.append(recipe)
                    continue
                raise
            if candidate.error > _ENOUGH * start.error and count < len(order):
                continue
            asked += 1
            chosen = self._judged(self._finished(candidate))
            if chosen.accepted or asked == _JUDGED_MIXES:
                break
        if chosen is None:  # there was no section to choose
            raise QuantizationError("the model has no operators")
        return chosen

    def _gain_of(self, recipe: Recipe, error: float) -> float:
        """The share of an error that a recipe is without; less than any if LiteRT does not run it."""
        try:
            found = self._trial.make(recipe).error
        except UnrunnableModelError:
            self._unrunnable.append(recipe)
            return -1.0
        return 1 - found / error if error else 0.0


def _varied(inputs: Inputs) -> Inputs:
    """The inputs, and where they are few also mirrored and coarser: a recipe must not fit a handful of photographs."""
    import numpy as np  # noqa: PLC0415

    found = list(inputs)
    for change in (_mirrored, _coarser):
        if len(found) < MAX_JUDGED:
            found += [np.ascontiguousarray(change(value)) for value in inputs]
    return found


def _mirrored(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return value[:, :, ::-1]


def _coarser(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of each two by two pixels in their place; an odd row or column at the end stays."""
    import numpy as np  # noqa: PLC0415

    height, width = (size // 2 * 2 for size in value.shape[1:3])
    found: npt.NDArray[np.float32] = value.copy()
    cells = value[0, :height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
    found[0, :height, :width] = np.repeat(np.repeat(cells, 2, axis=0), 2, axis=1)
    return found


def _worth(candidate: Candidate) -> tuple[int, float]:
    """The lower, the better: pieces, then drift at the price of what is executed for it."""
    return candidate.partitions, candidate.error * (_REWRITTEN if candidate.recipe.prelu == "rewrite" else 1.0)


def _known(precision: str) -> Precision:
    return next(p for p in PRECISIONS if p == precision)
