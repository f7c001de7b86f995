"""What quantising gives: a model, what it costs, and why it was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facegate_convert._quantize._recipe import Recipe


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far one operator's result is from float32.

    Attributes:
        name: of the tensor that the operator writes, the same in every precision.
        operator: e.g. "CONV_2D".
        error: root of mean squared error over root of mean square, 0 is exact; of everything up to here.
        sensitivity: how much of the candidate's error goes away when this operator alone stays float32 (0..1, below 0
            if it gets worse); None if that was not measured.
        float32: whether it stayed float32.
    """

    name: str
    operator: str
    error: float
    sensitivity: float | None = None
    float32: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "name": self.name,
            "operator": self.operator,
            "error": float(f"{self.error:.6g}"),
            "sensitivity": None if self.sensitivity is None else float(f"{self.sensitivity:.6g}"),
            "float32": self.float32,
        }


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidate:
    """A quantised model.

    Attributes:
        recipe: how it was made.
        model: the TFLite flatbuffer.
        partitions: pieces into which XNNPACK cuts it; 1 is best.
        size: bytes.
        error: how far its outputs are from float32 over the inputs that it is judged on; what it means depends on the
            model's outputs (`_drift.drift`), so only candidates of one model compare.
        layers: in execution order; empty if they were not looked at.
        loss: what the judge said, None if it was not asked.
        accepted: whether the judge accepted it.
        note: the judge's words.
    """

    recipe: Recipe
    model: bytes
    partitions: int
    size: int
    error: float
    layers: tuple[LayerError, ...] = ()
    loss: float | None = None
    accepted: bool = True
    note: str = ""

    def __repr__(self) -> str:
        return f"Candidate({self.recipe.describe()}, {self.size} bytes, error {self.error:.3g})"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, as JSON types."""
        return {
            "recipe": self.recipe.to_dict(),
            "description": self.recipe.describe(),
            "partitions": self.partitions,
            "size": self.size,
            "error": float(f"{self.error:.6g}"),
            "layers": [layer.to_dict() for layer in self.layers],
            "loss": self.loss,
            "accepted": self.accepted,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Score:
    """A judge's word on a model.

    Attributes:
        loss: what its decisions cost against the source's, lower is better, e.g. the rise of the FNMR.
        accepted: whether that is little enough.
        note: one sentence for the report.
    """

    loss: float
    accepted: bool
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Search:
    """What a search found.

    Attributes:
        chosen: the best candidate; not accepted if none was.
        tried: every candidate, in the order in which they were made, the chosen one among them.
        why: the choice in words, a sentence or a few.
    """

    chosen: Candidate
    tried: tuple[Candidate, ...]
    why: str

    def __repr__(self) -> str:
        return f"Search({len(self.tried)} tried, {self.chosen!r})"

    def to_dict(self) -> dict[str, Any]:
        """The search as JSON types; the models left out."""
        return {
            "chosen": self.chosen.to_dict(),
            "tried": [{k: v for k, v in c.to_dict().items() if k != "layers"} for c in self.tried],
            "why": self.why,
        }
