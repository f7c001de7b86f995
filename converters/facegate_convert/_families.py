"""Which family a model belongs to, told from its graph alone, and what the runtime must know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._sketch import OutputSketch, Sketch, sketch
from facegate_convert.errors import ProhibitedModelError, UnknownFamilyError
from facegate_edge._manifest import DetectorHead, DetectorInfo, LivenessInfo
from facegate_edge._manifest_rules import prohibited_inference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._graph import Graph

Triple = tuple[float, float, float]

# The reference landmarks of insightface's ArcFace alignment, in pixels of a 112x112 crop.
ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))

_STRIDES = (8, 16, 32, 64, 128)
_EMBEDDING_LENGTHS = range(64, 1025)
_KNOWN = (
    "detectors SCRFD (scores, boxes and perhaps 5 points for each of 3 or 5 strides), RetinaFace "
    "(locations, confidences and 5 points over priors) and YuNet (cls, obj, bbox and kps for each of 3 strides); "
    "recognisers with one embedding of "
    "64..1024 values from 112x112, 112x96 or 160x160; MiniFASNet liveness (3 logits from 80x80 or 2 from 128x128)"
)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What turns pixels into an input: (pixel - mean) * scale for each channel, channels in the order `color`."""

    color: str
    mean: Triple
    scale: Triple


@dataclass(frozen=True, slots=True)
class MatchedOutput:
    """One output of the source under the name that the runtime knows.

    Attributes:
        source: name in the ONNX model.
        name: in the bundle, e.g. "score_8", "landmarks_16", "embedding".
        rows: what the output must be brought to if it is a feature map (1, anchors * C, H, W): (rows, C), else None.
        activation: what must be appended so that the runtime reads probabilities: "sigmoid", "softmax" or "".
    """

    source: str
    name: str
    rows: tuple[int, int] | None = None
    activation: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A recognised model.

    Attributes:
        role, family: as in the manifest.
        outputs: in the order in which the converted model gives them.
        preprocessing: what the graph shows, and the family's convention where it shows nothing.
        assumptions: a sentence for each thing that the graph does not show.
        sketch: the facts that it was recognised by.
        detector: for a detector.
        liveness: for a liveness model.
        embedding_length: for a recogniser, else 0.
        landmarks: for a recogniser, the reference points in pixels of its input.
    """

    role: str
    family: str
    outputs: tuple[MatchedOutput, ...]
    preprocessing: Preprocessing
    assumptions: tuple[str, ...]
    sketch: Sketch
    detector: DetectorInfo | None = None
    liveness: LivenessInfo | None = None
    embedding_length: int = 0
    landmarks: tuple[tuple[float, float], ...] = ()


def recognize(graph: Graph) -> Match:
    """Tell the family of a canonical graph.

    Raises:
        ProhibitedModelError: if it looks like a model that infers gender, age, race or emotion.
        UnknownFamilyError: if it is no known family, or could be several.
    """
    facts = sketch(graph)
    _refuse_attributes(facts)
    matches = [m for m in (_yunet(facts), _scrfd(facts), _retinaface(facts), _recognizer(facts), _liveness(facts)) if m]
    if len(matches) == 1:
        return matches[0]
    seen = ", ".join(
        f"{o.name} {o.shape}{f' after {o.activation}' if o.activation else ''}" for o in facts.outputs[:15]
    )
    could = f"could be {' or '.join(m.family for m in matches)}" if matches else "is no family that Facegate knows"
    raise UnknownFamilyError(
        f"a model with the input {facts.width}x{facts.height} and the outputs {seen} {could}",
        hint=f"known are: {_KNOWN}",
    )


def _refuse_attributes(facts: Sketch) -> None:
    hint = "Facegate decides whether a face belongs to an enrolled person, and nothing else about them"
    if what := prohibited_inference(facts.names):
        raise ProhibitedModelError(f"by the names in its graph, the model infers {what}", hint=hint)
    # insightface's genderage: 2 logits for gender and 1 value for age from a 96x96 crop.
    if (facts.width, facts.height) == (96, 96) and [_values(o) for o in facts.outputs] == [3]:
        raise ProhibitedModelError("3 values from a 96x96 image are what a gender and age model gives", hint=hint)


def _values(output: OutputSketch) -> int:
    """Values of an output that is one vector, else 0."""
    big = [d for d in output.shape if d > 1]
    return big[0] if len(big) == 1 else 0


def _preprocessing(facts: Sketch, default: Preprocessing) -> tuple[Preprocessing, tuple[str, ...]]:
    """The graph's own normalisation where it has one, else the family's convention, and what that assumes."""
    color = f"colour order {default.color} (--color)"
    convention = f"normalisation {describe(default)}, the family's convention (--preprocess, or --mean and --scale)"
    if facts.normalization is None:
        return default, (color, convention)
    factors, offsets = zip(*facts.normalization, strict=True)
    if _normalizes(factors, offsets, 255.0):
        return Preprocessing(default.color, (0.0,) * 3, (1.0,) * 3), (color,)
    if _normalizes(factors, offsets, 1.0):
        return Preprocessing(default.color, (0.0,) * 3, (1 / 255,) * 3), (color,)
    return default, (
        color,
        f"{convention}; the graph's own x * {factors[0]:g} + {offsets[0]:g} fits neither 0..255 nor 0..1",
    )


def _normalizes(factors: Sequence[float], offsets: Sequence[float], top: float) -> bool:
    """Whether x * factor + offset brings 0..top to what networks are trained on: a span of 1..5 about or from zero."""
    return all(
        0.9 <= abs(a) * top <= 5 and abs(b) <= 3 and abs(a * top + b) <= 3  # noqa: PLR2004
        for a, b in zip(factors, offsets, strict=True)
    )


def describe(preprocessing: Preprocessing) -> str:
    """E.g. "(pixel - 127.5) / 128"."""

    def shown(values: Triple) -> str:
        return f"{values[0]:.6g}" if len(set(values)) == 1 else "(" + ", ".join(f"{v:.6g}" for v in values) + ")"

    pixel = "pixel" if not any(preprocessing.mean) else f"(pixel - {shown(preprocessing.mean)})"
    if set(preprocessing.scale) == {1.0}:
        return pixel
    a, b, c = preprocessing.scale
    return f"{pixel} / {shown((1 / a, 1 / b, 1 / c))}"


# Detectors


@dataclass(frozen=True, slots=True)
class _Rows:
    """A detector's outputs by columns and stride."""

    by_columns: dict[int, list[OutputSketch]]
    strides: tuple[int, ...]
    anchors: int


def _cells(facts: Sketch, stride: int) -> int:
    return -(-facts.height // stride) * -(-facts.width // stride)


def _levels(facts: Sketch, columns: Sequence[int]) -> _Rows | None:
    """Sort outputs by what they hold and by stride; None unless they are complete and consistent."""
    maps = {o.is_map for o in facts.outputs}
    if len(maps) != 1:
        return None
    is_map = maps.pop()
    counts = sorted({o.shape[2] * o.shape[3] if is_map else o.rows for o in facts.outputs}, reverse=True)
    if len(counts) not in (3, 5):
        return None
    strides = _STRIDES[: len(counts)]
    anchors = {count / _cells(facts, stride) for count, stride in zip(counts, strides, strict=True)}
    if len(anchors) != 1 or (is_map and anchors != {1.0}):
        return None
    per_cell = anchors.pop()
    if is_map:
        # In a map the anchors are in the channels: the score map, of one channel an anchor, is the narrowest.
        per_cell = min(o.columns for o in facts.outputs)
    if per_cell != int(per_cell) or not 1 <= per_cell <= 4:  # noqa: PLR2004
        return None
    width = int(per_cell) if is_map else 1
    by_columns: dict[int, list[OutputSketch]] = {}
    for output in sorted(facts.outputs, key=lambda o: -(o.shape[2] * o.shape[3] if is_map else o.rows)):
        by_columns.setdefault(output.columns // width if output.columns % width == 0 else -1, []).append(output)
    expected = {c: columns.count(c) * len(strides) for c in columns}
    if {c: len(found) for c, found in by_columns.items()} != expected:
        return None
    return _Rows(by_columns, strides, int(per_cell))


def _head(output: OutputSketch, name: str, stride: int, anchors: int, *, probability: bool) -> MatchedOutput:
    rows = None
    if output.is_map:
        rows = (output.shape[2] * output.shape[3] * anchors, output.columns // anchors)
    missing = "sigmoid" if probability and not output.activation else ""
    return MatchedOutput(output.name, f"{name}_{stride}", rows, missing)


def _scrfd(facts: Sketch) -> Match | None:
    levels, landmarks = _levels(facts, (1, 4, 10)), True
    if levels is None:
        levels, landmarks = _levels(facts, (1, 4)), False
    if levels is None or any(o.activation == "softmax" for o in levels.by_columns[1]):
        return None
    outputs, heads = [], []
    for level, stride in enumerate(levels.strides):
        names = (("score", 1), ("box", 4), *((("landmarks", 10),) if landmarks else ()))
        for name, columns in names:
            output = levels.by_columns[columns][level]
            outputs.append(_head(output, name, stride, levels.anchors, probability=name == "score"))
        heads.append(
            DetectorHead(stride, f"score_{stride}", f"box_{stride}", f"landmarks_{stride}" if landmarks else None)
        )
    half, step = (127.5,) * 3, (1 / 128,) * 3
    preprocessing, assumptions = _preprocessing(facts, Preprocessing("RGB", half, step))
    detector = DetectorInfo(tuple(heads), levels.strides, levels.anchors, (), (0.0, 0.0), 0.5, 0.4)
    return Match("detector", "scrfd", tuple(outputs), preprocessing, assumptions, facts, detector=detector)


def _yunet(facts: Sketch) -> Match | None:
    levels = _levels(facts, (1, 1, 4, 10))
    if levels is None or levels.anchors != 1:
        return None
    outputs, heads = [], []
    for level, stride in enumerate(levels.strides):
        # score = sqrt(cls * obj) is symmetric: which of the two is which does not matter, only that both are there.
        first, second = (o for o in levels.by_columns[1][2 * level : 2 * level + 2])
        parts = (
            ("score", first),
            ("objectness", second),
            ("box", levels.by_columns[4][level]),
            ("landmarks", levels.by_columns[10][level]),
        )
        for name, output in parts:
            outputs.append(_head(output, name, stride, 1, probability=name in ("score", "objectness")))
        heads.append(
            DetectorHead(stride, f"score_{stride}", f"box_{stride}", f"landmarks_{stride}", f"objectness_{stride}")
        )
    preprocessing, assumptions = _preprocessing(facts, Preprocessing("BGR", (0.0,) * 3, (1.0,) * 3))
    detector = DetectorInfo(tuple(heads), levels.strides, 1, (), (0.0, 0.0), 0.7, 0.3)
    return Match("detector", "yunet", tuple(outputs), preprocessing, assumptions, facts, detector=detector)


def _retinaface(facts: Sketch) -> Match | None:
    strides, sizes = (8, 16, 32), ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
    priors = 2 * sum(_cells(facts, stride) for stride in strides)
    by_columns = {o.columns: o for o in facts.outputs if not o.is_map and o.rows == priors}
    if set(by_columns) != {2, 4, 10} or len(facts.outputs) != 3:  # noqa: PLR2004
        return None
    confidences = by_columns[2]
    outputs = (
        MatchedOutput(confidences.name, "score", None, "" if confidences.activation else "softmax"),
        MatchedOutput(by_columns[4].name, "box"),
        MatchedOutput(by_columns[10].name, "landmarks"),
    )
    default = Preprocessing("BGR", (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))
    preprocessing, assumptions = _preprocessing(facts, default)
    detector = DetectorInfo((DetectorHead(0, "score", "box", "landmarks"),), strides, 2, sizes, (0.1, 0.2), 0.6, 0.4)
    assumptions += ("priors of 16, 32 | 64, 128 | 256, 512 pixels and variances 0.1, 0.2, the family's convention",)
    return Match("detector", "retinaface", outputs, preprocessing, assumptions, facts, detector=detector)


# Recognisers and liveness


def _recognizer(facts: Sketch) -> Match | None:
    size = (facts.width, facts.height)
    if len(facts.outputs) != 1 or size not in ((112, 112), (96, 112), (160, 160)):
        return None
    (output,) = facts.outputs
    length = _values(output)
    if length not in _EMBEDDING_LENGTHS or output.activation:
        return None
    if size == (160, 160):
        family, half, step = "facenet", 127.5, 1 / 128
    else:
        family, half, step = "arcface", 127.5, 1 / 127.5
    preprocessing, assumptions = _preprocessing(facts, Preprocessing("RGB", (half,) * 3, (step,) * 3))
    return Match(
        "recognizer",
        family,
        (MatchedOutput(output.name, "embedding"),),
        preprocessing,
        (*assumptions, "faces aligned as for ArcFace's 112x112, moved to the model's input size"),
        facts,
        embedding_length=length,
        landmarks=_landmarks(*size),
    )


def _landmarks(width: int, height: int) -> tuple[tuple[float, float], ...]:
    """ArcFace's reference points for another input: scaled with its height, and centred in its width."""
    factor = height / 112
    shift = (width - 112 * factor) / 2
    return tuple((round(x * factor + shift, 4), round(y * factor, 4)) for x, y in ARCFACE_112)


def _liveness(facts: Sketch) -> Match | None:
    kinds = {((80, 80), 3), ((128, 128), 2)}
    if len(facts.outputs) != 1:
        return None
    (output,) = facts.outputs
    size, classes = (facts.width, facts.height), _values(output)
    # A small classifier could be anything; these nets are depthwise and use PReLU.
    if (size, classes) not in kinds or not {"PRelu", "DepthwiseConv"} <= facts.operations:
        return None
    if classes == 2:  # noqa: PLR2004
        default = Preprocessing("RGB", (0.0,) * 3, (1 / 255,) * 3)
        info = LivenessInfo("logits", 2, 0, 1.5, square=True, border="reflect")
        reasons = ("crop of 1.5 times the face, square, mirrored at the border (--crop-scale)", "class 0 is live")
    else:
        # MiniFASNetV1SE (squeeze and excitation, which ends in a sigmoid) was trained on 4.0x crops, V2 on 2.7x.
        crop = 4.0 if "Sigmoid" in facts.operations else 2.7
        default = Preprocessing("BGR", (0.0,) * 3, (1.0,) * 3)
        info = LivenessInfo("logits", 3, 1, crop, square=False, border="shift")
        reasons = (f"crop of {crop} times the face, moved into the image (--crop-scale)", "class 1 is live")
    preprocessing, assumptions = _preprocessing(facts, default)
    return Match(
        "liveness",
        "minifasnet",
        (MatchedOutput(output.name, "logits"),),
        preprocessing,
        (*assumptions, *reasons),
        facts,
        liveness=info,
    )
