"""Presentation attack detection on single frames, by models of the MiniFASNet family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_edge import _kernels
from facegate_edge._model import check_model, input_target, output_tensor
from facegate_edge.errors import KernelError, ModelError

if TYPE_CHECKING:
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import LivenessInfo, ModelInfo
    from facegate_edge._timings import Timings
    from facegate_edge._values import Face, Frame

_BORDERS = {"shift": "nearest", "reflect": "mirror"}


@dataclass(frozen=True, slots=True, repr=False)
class LivenessScore:
    """What a liveness model says of one face.

    Attributes:
        live: probability that it is a live person and no print, screen or mask, 0..1. It stays on the device: who can
            read it can improve an attack step by step.
    """

    live: float

    def __repr__(self) -> str:
        return "LivenessScore()"


class Liveness:
    """Judges a face and its surroundings in one frame.

    Args:
        info: the model as the manifest describes it.
        engine: the same model, compiled. It stays the caller's to close.

    Raises:
        ModelError: the model is not what `info` says.
    """

    def __init__(self, info: ModelInfo, engine: Engine) -> None:
        check_model(info, engine, "liveness")
        liveness = info.liveness
        if liveness is None:
            raise ModelError("a liveness model without its decoding", hint="build the bundle again")
        if liveness.border not in _BORDERS:
            raise ModelError(f"a border {liveness.border!r}", hint=f"one of {', '.join(_BORDERS)}")
        tensor = output_tensor(info, engine, liveness.output)
        if tensor.array.size != liveness.classes or not 0 <= liveness.live_class < liveness.classes:
            raise ModelError(
                f"the model gives {tensor.array.size} classes, the manifest says {liveness.classes} of which "
                f"{liveness.live_class} is live",
                hint="build the bundle again",
            )
        self._info = liveness
        self._engine = engine
        self._output = tensor.array.reshape(-1)
        quantization = next(t for t in info.outputs if t.name == liveness.output).quantization
        # The softmax is the same for all zero points: only differences count.
        self._scale = 1.0 if quantization is None else quantization.scale
        self._target = input_target(info.input, engine.inputs[info.input.tensor.name])
        self._warp = _kernels.Warp(self._target, border=_BORDERS[liveness.border])
        self._matrix = np.zeros((2, 3), np.float64)

    def check(self, frame: Frame, face: Face, timings: Timings | None = None) -> LivenessScore:
        """Judge a face of a frame.

        Raises:
            KernelError: the face's box is empty or not finite.
            EngineError: the model failed to run.
        """
        if timings is not None:
            timings.mark()
        x, y, width, height = crop(face.box.tolist(), frame.size, self._info)
        if not (width > 0 and height > 0):
            raise KernelError("the face's box is empty or no number", hint="drop the face")
        # Pixel centres on both sides, as image libraries resize.
        across, down = width / self._target.width, height / self._target.height
        matrix = self._matrix
        matrix[0, 0], matrix[0, 2] = across, x + 0.5 * across - 0.5
        matrix[1, 1], matrix[1, 2] = down, y + 0.5 * down - 0.5
        self._warp.run(frame, matrix)
        if timings is not None:
            timings.lap("liveness-input")
        self._engine.run()
        logits = self._output.tolist()
        top = max(logits)
        weights = [math.exp((logit - top) * self._scale) for logit in logits]
        live = weights[self._info.live_class] / sum(weights)
        if timings is not None:
            timings.lap("liveness")
        return LivenessScore(live)


def crop(box: list[float], size: tuple[int, int], info: LivenessInfo) -> tuple[float, float, float, float]:
    """The part of a frame that the model sees: x, y, width, height in pixels.

    The box (a square of its longer side if `info.square`) scaled about its centre. With the border "shift" it is no
    larger than the frame and moved into it, as Silent-Face-Anti-Spoofing does; with "reflect" it may reach outside.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    if info.square:
        width = height = max(width, height)
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    scale = info.crop_scale
    if info.border == "shift" and width > 0 and height > 0:
        scale = min(scale, size[0] / width, size[1] / height)
    width, height = width * scale, height * scale
    x, y = center_x - width / 2, center_y - height / 2
    if info.border == "shift":
        x = min(max(x, 0.0), size[0] - width)
        y = min(max(y, 0.0), size[1] - height)
    return x, y, width, height
