"""Does an engine run the model that the manifest describes? Checked once, before the first frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facegate_edge import _kernels
from facegate_edge.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_edge._engine import Engine
    from facegate_edge._manifest import InputInfo, ModelInfo, Quantization, TensorInfo

_HINT = "the manifest does not belong to the model; build the bundle again"
_SCALE_TOLERANCE = 1e-6  # a float32 scale written as decimal digits


def check_model(info: ModelInfo, engine: Engine, role: str) -> None:
    """Compare the role, and every tensor's name, shape, type and quantisation.

    Raises:
        ModelError: something differs; the message names it.
    """
    if info.role != role:
        raise ModelError(f"a model of the role {info.role!r} is used as {role}", hint=_HINT)
    _check_tensors("input", (info.input.tensor,), engine.input_infos)
    _check_tensors("output", info.outputs, engine.output_infos)


def _check_tensors(what: str, stated: tuple[TensorInfo, ...], found: tuple[TensorInfo, ...]) -> None:
    by_name = {t.name: t for t in found}
    if {t.name for t in stated} != set(by_name):
        names = ", ".join(sorted(by_name))
        raise ModelError(
            f"the model's {what}s are {names}, the manifest says {', '.join(sorted(t.name for t in stated))}",
            hint=_HINT,
        )
    for tensor in stated:
        other = by_name[tensor.name]
        for field in ("shape", "dtype"):
            says, has = getattr(tensor, field), getattr(other, field)
            if says != has:
                raise ModelError(
                    f"the {what} {tensor.name!r} has the {field} {has}, the manifest says {says}", hint=_HINT
                )
        if not _same_quantization(tensor.quantization, other.quantization):
            raise ModelError(f"the {what} {tensor.name!r} is quantised otherwise than the manifest says", hint=_HINT)


def _same_quantization(a: Quantization | None, b: Quantization | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.zero_point == b.zero_point and math.isclose(a.scale, b.scale, rel_tol=_SCALE_TOLERANCE)


def input_target(info: InputInfo, array: npt.NDArray[np.generic]) -> _kernels.Target:
    """An engine's input array, prepared for the kernels that write pixels into it."""
    lut = _kernels.make_lut(info.mean, info.scale, info.tensor.dtype, info.tensor.quantization)
    return _kernels.Target(array, lut, info.color)


def output_tensor(info: ModelInfo, engine: Engine, name: str) -> _kernels.Tensor:
    """An engine's output array, prepared for the kernels that read it.

    Raises:
        ModelError: the model has no output of that name.
    """
    tensor = next((t for t in info.outputs if t.name == name), None)
    if tensor is None:
        raise ModelError(f"the manifest decodes an output {name!r} that the model does not have", hint=_HINT)
    return _kernels.Tensor(engine.outputs[name], tensor.quantization)
