"""What is inside a model while it runs: any of its tensors, as real values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_convert._interpreter import make_interpreter

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    import numpy.typing as npt


class Tracer:
    """Runs a model of any precision with one input, and keeps its inner tensors.

    It runs on LiteRT's own kernels, not on XNNPACK's, which keep nothing; at int8 they round as these do.
    """

    def __init__(self, model: bytes) -> None:
        self._runner = make_interpreter(model, inner_tensors=True)
        (self._input,) = self._runner.get_input_details()
        # Where names meet (a tensor and its quantised self), the first is the operator's own.
        self._details: dict[str, Any] = {}
        for detail in self._runner.get_tensor_details():
            self._details.setdefault(detail["name"], detail)

    @property
    def names(self) -> Collection[str]:
        """The names of its tensors."""
        return self._details.keys()

    def run(self, value: npt.NDArray[np.float32], names: Collection[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Run it on one input, float32 of the input's shape: the named tensors, dequantised to float32, each a copy."""
        import numpy as np  # noqa: PLC0415

        given: npt.NDArray[Any] = value
        if self._input["dtype"] == np.int8:
            scale, zero = self._input["quantization"]
            given = np.clip(np.rint(value / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        self._runner.set_tensor(self._input["index"], given)
        self._runner.invoke()
        found = {}
        for name in names:
            detail = self._details[name]
            tensor = self._runner.get_tensor(detail["index"])
            if tensor.dtype == np.int8:
                scale, zero = detail["quantization"]
                tensor = (tensor.astype(np.float32) - np.float32(zero)) * np.float32(scale)
            found[name] = tensor
        return found
