"""The manifest of a bundle, as values.

The runtime knows no model by name: what it needs to feed a model and to read
its outputs stands in these values, written once by the converter. Standard
library only, so that `facegate bundle inspect` starts fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FORMAT_VERSION = 1

ROLES = ("detector", "recognizer", "liveness")
FAMILIES = {
    "detector": ("scrfd", "retinaface", "yunet"),
    "recognizer": ("arcface", "facenet"),
    "liveness": ("minifasnet",),
}
PRECISIONS = ("float32", "float16", "int8", "dynamic", "mixed")
ARITHMETICS = ("float32", "float16")
DTYPES = ("float32", "int8", "uint8")
COLORS = ("RGB", "BGR")

# A field with this in its metadata is written only where it differs from its default: it came later than the others,
# and bundles that do not need it keep their bytes.
OMITTED = {"omitted": True}


@dataclass(frozen=True, slots=True)
class Quantization:
    """Per-tensor affine quantisation: real = scale * (q - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a model's signature, shape fixed, NHWC where it is an image."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True)
class InputInfo:
    """The image input of a model, shape (1, H, W, 3).

    The model is fed (pixel - mean) * scale for each channel, pixel in 0..255,
    channels in the order of `color`, then quantised if `tensor.quantization`.
    """

    tensor: TensorInfo
    color: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class DetectorHead:
    """The outputs of one stride, by tensor name. Each is (rows, C) row-major, rows = H/stride * W/stride * anchors.

    `score` (C=1, or C=2 with column 1 = face), `box` (C=4), `landmarks` (C=10: x, y of left eye, right eye, nose, left
    and right mouth corner as seen in the image) or None, `objectness` (C=1, YuNet) or None.
    """

    stride: int
    score: str
    box: str
    landmarks: str | None = None
    objectness: str | None = None


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """How a detector's outputs become boxes.

    - `scrfd`: row = (cell, anchor), centre = cell * stride; box = distances (left, top, right, bottom) in strides;
      landmarks = offsets from the centre in strides; score already a probability.
    - `yunet`: centre = cell * stride; box = (dx, dy, log w, log h) in strides; landmarks in strides;
      score = sqrt(score * objectness).
    - `retinaface`: one head for all strides (its `stride` is 0) over the priors of `strides` x `min_sizes`;
      variances scale box and landmarks; score column 1 of two, softmaxed.

    `score_threshold` and `nms_iou` (0..1) are defaults that a caller may change.
    """

    heads: tuple[DetectorHead, ...]
    strides: tuple[int, ...]
    anchors: int
    min_sizes: tuple[tuple[float, ...], ...]
    variances: tuple[float, float]
    score_threshold: float
    nms_iou: float


@dataclass(frozen=True, slots=True)
class RecognizerInfo:
    """How a recogniser is fed and what its output means.

    `landmarks` are the five reference points (x, y), in pixels of the input, that a face's landmarks are moved onto.
    Templates of two different `template_space` values never compare.
    """

    output: str
    template_length: int
    template_space: str
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LivenessInfo:
    """How a liveness model is fed and read.

    The crop is the face box scaled by `crop_scale` about its centre (a square of the longer side if `square`), shifted
    into the frame (`border` = "shift") or with mirrored pixels outside it ("reflect"). Softmax over `classes` classes
    of `output`; `live_class` is the live one.
    """

    output: str
    classes: int
    live_class: int
    crop_scale: float
    square: bool
    border: str


@dataclass(frozen=True, slots=True)
class ModelProvenance:
    """Where a model comes from and what its conversion cost it.

    Attributes:
        source_sha256: of the ONNX file, hex.
        licence: SPDX expression or the name under which the weights may be used; "unknown" if nobody said.
        commercial_use: True, False, or None if unknown.
        converter: version of facegate that converted it.
        calibration: fingerprint of the calibration set (sha256 hex), "" if none was needed.
        parity: per output, figures against the ONNX model: e.g. {"embedding": {"cosine_min": 0.99, ...}}.
        demonstration: the model says of itself that it is good for demonstrations only: whatever a bundle that holds
            it decides is no decision about a person. Written only where it is true.
        allowances: names of the gates that the conversion failed and whoever converted it accepted, e.g. "drift-p1".
            Written only where there are any.
    """

    source_sha256: str
    licence: str
    commercial_use: bool | None
    converter: str
    calibration: str
    parity: dict[str, dict[str, float]]
    demonstration: bool = field(default=False, metadata=OMITTED)
    allowances: tuple[str, ...] = field(default=(), metadata=OMITTED)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of a bundle. Exactly one of `detector`, `recognizer`, `liveness` is set: the one of its role.

    `arithmetic` is what the floats of the model are calculated in: "float16" only if it was measured so, and then only
    on processors that have it; elsewhere float32 takes its place. Written only where it is not "float32".
    """

    role: str
    family: str
    precision: str
    file: str
    size: int
    sha256: str
    input: InputInfo
    outputs: tuple[TensorInfo, ...]
    provenance: ModelProvenance
    detector: DetectorInfo | None = None
    recognizer: RecognizerInfo | None = None
    liveness: LivenessInfo | None = None
    arithmetic: str = field(default="float32", metadata=OMITTED)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A similarity threshold and what was measured at it (ISO/IEC 19795-1 words).

    Attributes:
        fmr: the false match rate that was asked for, 0..1.
        threshold: accept when similarity (cosine, -1..1) >= threshold.
        fmr_upper: upper end of the 95 % interval of the FMR measured at it.
        fnmr, fnmr_low, fnmr_high: false non-match rate and its 95 % interval.
        genuine, impostor: number of comparisons behind the figures.
        dataset: fingerprint of the dataset (sha256 hex); "" for a threshold that was stated and not measured: then
            there are no comparisons, `fmr_upper` and `fnmr` are 1 and the interval is 0..1.
    """

    fmr: float
    threshold: float
    fmr_upper: float
    fnmr: float
    fnmr_low: float
    fnmr_high: float
    genuine: int
    impostor: int
    dataset: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest.json. `created` is RFC 3339 UTC; versions are semantic versions; `target` a device profile's name."""

    format: int
    name: str
    version: str
    created: str
    minimum_runtime: str
    target: str
    models: tuple[ModelInfo, ...]
    operating_points: tuple[OperatingPoint, ...]
    intended_use: str
    prohibited_uses: tuple[str, ...]

    @property
    def demonstration(self) -> bool:
        """Whether a model is for demonstrations only, and so is every decision that is made with the bundle.

        A fact of the models and no field of its own: whoever puts such a model into another bundle takes it along.
        """
        return any(model.provenance.demonstration for model in self.models)

    def model(self, role: str) -> ModelInfo | None:
        """The model of a role ("detector", "recognizer", "liveness"), or None."""
        return next((m for m in self.models if m.role == role), None)
