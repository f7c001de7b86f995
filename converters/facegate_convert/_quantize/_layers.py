"""Where a quantised model goes astray: the error behind every operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert._quantize._candidate import LayerError
from facegate_convert._quantize._flat import open_model, operations
from facegate_convert._quantize._trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

MAX_INPUTS = 8
_FLOAT32 = 0
_CONVERSIONS = ("DEQUANTIZE", "QUANTIZE")


def measure_layers(base: bytes, model: bytes, inputs: Sequence[npt.NDArray[np.float32]]) -> tuple[LayerError, ...]:
    """The error of each operator's result over the inputs, of which at most MAX_INPUTS are used.

    Args:
        base: the float32 model.
        model: what was made of it, with tensors of the same names.
        inputs: float32 inputs.
    """
    import numpy as np  # noqa: PLC0415

    inputs = inputs[:: max(1, len(inputs) // MAX_INPUTS)][:MAX_INPUTS]
    reference, candidate = Tracer(base), Tracer(model)
    known = {o.name for o in operations(model) if o.code not in _CONVERSIONS}
    found = [o for o in operations(base) if o.name in known and o.name in candidate.names]
    names = [o.name for o in found]
    error, power = np.zeros(len(found)), np.zeros(len(found))
    for value in inputs:
        exact, seen = reference.run(value, names), candidate.run(value, names)
        for place, name in enumerate(names):
            wanted = exact[name].astype(np.float32)
            error[place] += float(((seen[name] - wanted) ** 2).mean(dtype=np.float64))
            power[place] += float((wanted**2).mean(dtype=np.float64))
    graph = open_model(model).Subgraphs(0)
    kinds = {o.name: graph.Tensors(o.outputs[0]).Type() for o in operations(model) if o.code not in _CONVERSIONS}
    return tuple(
        LayerError(o.name, o.code, float(np.sqrt(e / p)) if p else 0.0, float32=kinds[o.name] == _FLOAT32)
        for o, e, p in zip(found, error, power, strict=True)
    )
