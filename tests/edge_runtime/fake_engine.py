"""An engine whose answer the test decides, and manifest entries to go with it."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from facegate_edge._manifest import (
    DetectorHead,
    DetectorInfo,
    InputInfo,
    LivenessInfo,
    ModelInfo,
    ModelProvenance,
    RecognizerInfo,
    TensorInfo,
)

PROVENANCE = ModelProvenance("0" * 64, "unknown", None, "0.1.0", "", {})
ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


class FakeEngine:
    """Implements `Engine`: `run()` calls `answer(inputs, outputs)`."""

    name = "fake"

    def __init__(self, info, answer=lambda _inputs, _outputs: None):
        self.input_infos = (info.input.tensor,)
        self.output_infos = info.outputs
        self.inputs = MappingProxyType({t.name: np.zeros(t.shape, t.dtype) for t in self.input_infos})
        self.outputs = MappingProxyType({t.name: np.zeros(t.shape, t.dtype) for t in self.output_infos})
        self.answer = answer
        self.runs = 0
        self.closed = False

    def run(self):
        """Let the test answer."""
        self.runs += 1
        self.answer(self.inputs, self.outputs)

    def close(self):
        """Remember it."""
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def image(width, height, dtype="float32", quantization=None, color="RGB", mean=(0.0,) * 3, scale=(1.0,) * 3):
    """The image input of a model."""
    return InputInfo(TensorInfo("image", (1, height, width, 3), dtype, quantization), color, mean, scale)


def detector(family="scrfd", *, size=64, strides=(8, 16, 32), quantization=None, landmarks=True, anchors=None):
    """A detector of a family with an input of size x size; int8 outputs if a quantisation is given."""
    dtype = "float32" if quantization is None else "int8"
    anchors = anchors or (2 if family == "scrfd" else 1)

    def tensor(name, rows, columns):
        return TensorInfo(name, (1, rows, columns), dtype, quantization)

    heads, outputs = [], []
    min_sizes = ()
    if family == "retinaface":
        anchors, min_sizes = 2, tuple((2.0 * s, 4.0 * s) for s in strides)
        rows = sum((size // s) ** 2 * 2 for s in strides)
        heads.append(DetectorHead(0, "score", "box", "landmarks" if landmarks else None))
        outputs += [tensor("score", rows, 2), tensor("box", rows, 4)]
        outputs += [tensor("landmarks", rows, 10)] if landmarks else []
    else:
        for s in strides:
            rows = (size // s) ** 2 * anchors
            points = f"landmarks_{s}" if landmarks else None
            objectness = f"objectness_{s}" if family == "yunet" else None
            heads.append(DetectorHead(s, f"score_{s}", f"box_{s}", points, objectness))
            outputs += [tensor(f"score_{s}", rows, 1), tensor(f"box_{s}", rows, 4)]
            outputs += [tensor(points, rows, 10)] if points else []
            outputs += [tensor(objectness, rows, 1)] if objectness else []
    info = DetectorInfo(tuple(heads), tuple(strides), anchors, min_sizes, (0.1, 0.2), 0.5, 0.4)
    return ModelInfo(
        "detector",
        family,
        "float32",
        "detector.tflite",
        1,
        "0" * 64,
        image(size, size),
        tuple(outputs),
        PROVENANCE,
        info,
    )


def recognizer(length=8, *, size=112, quantization=None, input_info=None):
    """An ArcFace-like recogniser."""
    dtype = "float32" if quantization is None else "int8"
    output = TensorInfo("embedding", (1, length), dtype, quantization)
    scale = size / 112
    points = tuple((x * scale, y * scale) for x, y in ARCFACE)
    info = RecognizerInfo("embedding", length, "space", points)
    where = input_info or image(size, size)
    return ModelInfo(
        "recognizer", "arcface", "float32", "r.tflite", 1, "0" * 64, where, (output,), PROVENANCE, recognizer=info
    )


def liveness(classes=3, live_class=1, *, border="shift", square=False, crop_scale=2.7, quantization=None):
    """A MiniFASNet-like liveness model with an input of 80x80."""
    dtype = "float32" if quantization is None else "int8"
    output = TensorInfo("logits", (1, classes), dtype, quantization)
    info = LivenessInfo("logits", classes, live_class, crop_scale, square, border)
    where = image(80, 80)
    return ModelInfo(
        "liveness", "minifasnet", "float32", "l.tflite", 1, "0" * 64, where, (output,), PROVENANCE, liveness=info
    )
