"""What a group of gates found: their outcomes, and the sections of the report that show what they saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._gates._gate import Gate
    from facegate_convert._samples import Inputs

_BINS = 50
_MAX_PAIRS = 2000
_WORST = 10


@dataclass(frozen=True, slots=True)
class Findings:
    """Outcomes of gates.

    Attributes:
        gates: in the order in which a reader wants them.
        sections: of the report, by name, as JSON types.
        loss: one figure to rank candidates of a model by, lower is better.
    """

    gates: tuple[Gate, ...]
    sections: dict[str, Any] = field(default_factory=dict)
    loss: float = 0.0


def histogram(
    genuine: npt.NDArray[np.float64], impostor: npt.NDArray[np.float64], low: float, high: float
) -> dict[str, Any]:
    """Counts of two series in equal bins from `low` to `high`; values outside count in the outermost bins."""
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    edges = np.linspace(low, high, _BINS + 1)

    def count(values: npt.NDArray[np.float64]) -> list[int]:
        found: list[int] = np.histogram(np.clip(values, low, high), edges)[0].tolist()
        return found

    return {"edges": [round(float(e), 6) for e in edges], "genuine": count(genuine), "impostor": count(impostor)}


def scatter(
    source: npt.NDArray[np.float64], model: npt.NDArray[np.float64], genuine: npt.NDArray[np.bool_]
) -> list[list[float]]:
    """[source's value, model's value, 1 if genuine] of at most 2000 comparisons, evenly chosen within both kinds."""
    import numpy as np  # noqa: PLC0415

    chosen: list[int] = []
    for kind in (True, False):
        places = np.flatnonzero(genuine == kind)
        step = max(1, -(-len(places) // (_MAX_PAIRS // 2)))
        chosen += places[::step].tolist()
    return [[round(float(source[p]), 5), round(float(model[p]), 5), int(genuine[p])] for p in chosen]


def worst(inputs: Inputs, figures: Sequence[float], what: str, *, lowest: bool = False) -> list[dict[str, Any]]:
    """The samples with the largest (or lowest) figures, by id, the worst first."""
    order = sorted(range(len(figures)), key=lambda place: figures[place], reverse=not lowest)
    return [
        {"id": inputs.samples[place], "what": what, "value": float(f"{figures[place]:.6g}")} for place in order[:_WORST]
    ]
