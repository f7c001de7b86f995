"""How a model is quantised, as a value: what a report names, and what makes the same bytes again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from facegate_convert.errors import QuantizationError

Precision = Literal["float32", "float16", "dynamic", "int8", "mixed"]
Calibration = Literal["mean", "extreme", "percentile", "mse", "entropy"]
Prelu = Literal["keep", "rewrite"]

# What a model can be written in. "mixed" is int8 with parts in float32, chosen by measurement.
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "dynamic", "int8", "mixed")
# What can be asked for: "auto" searches them for the declared target.
CHOICES: tuple[str, ...] = (*PRECISIONS, "auto")
# Precisions whose activations are integers with fixed ranges, which photographs have to show.
CALIBRATED: tuple[Precision, ...] = ("int8", "mixed")

# Ways to make one range of what the inputs gave. None is best for every network: "extreme" clips nothing; "mean"
# (of the inputs' own extremes) ignores the odd photograph; "percentile" clips the outermost values; "mse" and
# "entropy" clip where rounding and clipping together lose least, as squared error or as information.
CALIBRATIONS: tuple[Calibration, ...] = ("mean", "extreme", "percentile", "mse", "entropy")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is quantised.

    Attributes:
        precision: one of PRECISIONS.
        calibration: one of CALIBRATIONS; without effect but for int8 and mixed, like all that follows.
        equalize: bring channels between two convolutions to nearer ranges first.
        bias_correction: take the mean error of each channel, as measured over the inputs, out of its bias.
        prelu: "keep" leaves PReLU float between two conversions, "rewrite" makes integer arithmetic of it.
        float_layers: names of operators (their first output's tensor) that stay float32; "mixed" only.
    """

    precision: Precision = "int8"
    calibration: Calibration = "mean"
    equalize: bool = True
    bias_correction: bool = True
    prelu: Prelu = "keep"
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no recipe.

        Raises:
            QuantizationError: a field has none of its values.
        """
        for field, choices in (
            ("precision", PRECISIONS),
            ("calibration", CALIBRATIONS),
            ("prelu", ("keep", "rewrite")),
        ):
            if getattr(self, field) not in choices:
                raise QuantizationError(
                    f"there is no {field} {getattr(self, field)!r}", hint=f"choose one of {', '.join(choices)}"
                )
        if self.float_layers and self.precision != "mixed":
            raise QuantizationError("layers stay float in precision mixed only", hint='use precision "mixed"')

    @property
    def calibrated(self) -> bool:
        """Whether it needs photographs."""
        return self.precision in CALIBRATED

    def describe(self) -> str:
        """The recipe in one line, e.g. "int8, mse ranges, equalised, biases corrected, PReLU left float"."""
        if not self.calibrated:
            return {
                "float32": "float32",
                "float16": "float16 weights, float32 arithmetic",
                "dynamic": "int8 weights of convolutions, activations quantised while it runs",
            }[self.precision]
        parts = [self.precision, f"{self.calibration} ranges"]
        parts += ["equalised"] * self.equalize + ["biases corrected"] * self.bias_correction
        parts.append("PReLU left float" if self.prelu == "keep" else "PReLU rewritten")
        if self.float_layers:
            parts.append(f"{len(self.float_layers)} operators float32")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON types."""
        return {
            "precision": self.precision,
            "calibration": self.calibration if self.calibrated else "",
            "equalize": self.equalize,
            "bias_correction": self.bias_correction,
            "prelu": self.prelu,
            "float_layers": list(self.float_layers),
        }
