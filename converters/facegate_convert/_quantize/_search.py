"""Looking for the recipe that keeps decisions, at the size and the speed that are asked for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facegate_convert._quantize._candidate import Candidate, Score, Search
from facegate_convert._quantize._recipe import CHOICES, Precision, Recipe
from facegate_convert._quantize._workshop import Workshop
from facegate_convert.errors import QuantizationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._graph import Graph
    from facegate_convert._quantize._workshop import Progress

    Inputs = Sequence[npt.NDArray[np.float32]]
    Judge = Callable[[bytes], Score]

_DEFAULT_ORDER: tuple[Precision, ...] = ("int8", "mixed", "dynamic", "float16", "float32")


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

    Raises:
        CalibrationError: the recipe needs inputs and there are none.
        QuantizationError: the quantizer failed.
    """
    return Workshop(graph, names, lowered, inputs, input_range=input_range, progress=progress).make(recipe)


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
    profile: Any = None,  # noqa: ARG001
    size_budget: int | None = None,  # noqa: ARG001
    progress: Progress | None = None,
) -> Search:
    """The best candidate of a precision, or with "auto" of the precisions that pay on a target.

    Args:
        graph: the canonical graph.
        names: names of the model's outputs by the graph's.
        lowered: the graph lowered to float32 under these names.
        inputs: as for `quantize`.
        precision: one of CHOICES.
        input_range: smallest and largest value that an input can have.
        role: of the model: "detector", "recognizer" or "liveness".
        judge: says of a model how well it decides; asked sparingly, for it may take seconds. Without one every
            candidate is accepted.
        profile: the target that "auto" chooses for (`facegate_edge.Target`); None is a device of any kind.
        size_budget: bytes that a mixed model may have; None leaves it to the search.
        progress: called with (what is being done, steps done, steps in all or 0).

    Raises:
        CalibrationError: the precision needs inputs and there are none.
        QuantizationError: no such precision, or the quantizer failed.
    """
    if precision not in CHOICES:
        raise QuantizationError(f"there is no precision {precision!r}", hint=f"choose one of {', '.join(CHOICES)}")
    shop = Workshop(graph, names, lowered, inputs, input_range=input_range, progress=progress)
    tried: list[Candidate] = []

    def judged(candidate: Candidate) -> Candidate:
        if judge is not None:
            score = judge(candidate.model)
            candidate = dataclasses.replace(candidate, loss=score.loss, accepted=score.accepted, note=score.note)
        tried.append(candidate)
        return candidate

    order: tuple[str, ...] = (precision,)
    if precision == "auto":
        order = tuple(p for p in _DEFAULT_ORDER if shop.has_inputs or not Recipe(p).calibrated)
    chosen = None
    for wanted in order:
        made = [shop.make(recipe) for recipe in _recipes(wanted, role, slopes=shop.has_slopes)]
        best = min(made, key=lambda c: (c.partitions, c.error))
        tried += [c for c in made if c is not best]
        chosen = judged(best)
        if chosen.accepted:
            break
    if chosen is None:  # pragma: no cover - there is always one precision
        raise QuantizationError("nothing to choose from")
    return Search(chosen, tuple(tried), f"{chosen.recipe.describe()}: the smallest error of {len(tried)} tried")


def _recipes(precision: str, role: str, *, slopes: bool) -> list[Recipe]:
    if not Recipe(precision).calibrated:  # type: ignore[arg-type]
        return [Recipe(precision)]  # type: ignore[arg-type]
    # A face is the exception in a frame: a detector's scores are the very extremes that a mean would clip.
    ways = ("extreme",) if role == "detector" else ("mean", "extreme")
    forms = ("keep", "rewrite") if slopes else ("keep",)
    return [
        Recipe(precision, calibration=how, bias_correction=False, prelu=form)  # type: ignore[arg-type]
        for form in forms
        for how in ways
    ]
