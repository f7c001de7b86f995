"""Does XNNPACK take the model in as few pieces as its float32 form?

Each further piece, and each operator outside of them, is a stop in which tensors change hands and a slow kernel runs:
the four to seven times that a badly written int8 model loses (FACTS in docs/gates.md) are lost here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._gates._gate import FAILED, PARTITIONS, PASSED, Gate

if TYPE_CHECKING:
    from facegate_convert._anatomy import Anatomy


def partition_gate(float32: Anatomy, model: Anatomy) -> Gate:
    """Hold the pieces and the operators outside of them against those of the float32 form.

    Args:
        float32: of the float32 model.
        model: of the converted one.
    """
    limit = max(1, float32.partitions)
    outside, allowed = sum(model.outside.values()), sum(float32.outside.values())
    good = 1 <= model.partitions <= limit and outside <= allowed
    left = ", ".join(f"{count} {name}" for name, count in sorted(model.outside.items()))
    why = f"XNNPACK leaves {left} to slow kernels" if left else "XNNPACK takes none of the model"
    return Gate(
        "partitions",
        "pieces that XNNPACK cuts the model into, and operators that it leaves outside",
        PASSED if good else FAILED,
        measured=f"{model.partitions} piece{'s' if model.partitions != 1 else ''}, {outside} operators outside",
        limit=f"at most {limit} and {allowed}, as in float32",
        value=float(model.partitions),
        threshold=float(limit),
        why="" if good else why,
        option=PARTITIONS,
    )
