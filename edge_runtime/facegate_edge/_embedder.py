"""The recogniser: what stands in its input becomes a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_edge import _kernels
from facegate_edge._model import check_model, output_tensor
from facegate_edge._values import Template
from facegate_edge.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_edge._engine import Engine
    from facegate_edge._manifest import ModelInfo
    from facegate_edge._timings import Timings


class Embedder:
    """Runs a recogniser on the face that an `Aligner` put into its input.

    Args:
        info: the model as the manifest describes it.
        engine: the same model, compiled. It stays the caller's to close.

    Attributes:
        space: id of the template space.
        length: D, the number of values of a template.

    Raises:
        ModelError: the model is not what `info` says.
    """

    def __init__(self, info: ModelInfo, engine: Engine) -> None:
        check_model(info, engine, "recognizer")
        recognizer = info.recognizer
        if recognizer is None:
            raise ModelError("a recogniser without its template space", hint="build the bundle again")
        tensor = output_tensor(info, engine, recognizer.output)
        if tensor.array.size != recognizer.template_length:
            raise ModelError(
                f"the model gives {tensor.array.size} values, the manifest says {recognizer.template_length}",
                hint="build the bundle again",
            )
        self.space = recognizer.template_space
        self.length = recognizer.template_length
        self._engine = engine
        self._output = tensor.array
        self._quantization = next(t for t in info.outputs if t.name == recognizer.output).quantization
        self._embedding = _kernels.Embedding(tensor)

    def embed(self, timings: Timings | None = None) -> Template:
        """The template of the face in the engine's input.

        Raises:
            EngineError: the model failed to run.
            KernelError: the model gave no direction (all zero, or not finite).
        """
        if timings is not None:
            timings.mark()
        self._engine.run()
        if timings is not None:
            timings.lap("embed")
        template = Template(self._embedding.template(), self.space)
        if timings is not None:
            timings.lap("template")
        return template

    def embedding(self) -> npt.NDArray[np.float32]:
        """The embedding behind the template that was made last: float32 (D,), not normalised, a copy.

        For the build host: parity with the source model and calibration need the values before they become int8. A
        device needs the template only; it stores and compares nothing else.
        """
        values = self._output.reshape(-1).astype(np.float32)
        if self._quantization is not None:
            values = (values - np.float32(self._quantization.zero_point)) * np.float32(self._quantization.scale)
        return values
