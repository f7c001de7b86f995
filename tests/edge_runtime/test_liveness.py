"""Liveness: what the model is shown, and how its answer is read."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fake_engine import FakeEngine, detector, liveness

from facegate_edge._detector import Detector
from facegate_edge._liveness import Liveness, LivenessScore, crop
from facegate_edge._manifest import Quantization
from facegate_edge._values import Face, Frame
from facegate_edge.errors import EngineError, KernelError, ModelError


def face(*box):
    """A face with that box."""
    return Face(np.array(box, np.float32), None, 0.9)


def judge(logits, info=None, box=(100, 100, 200, 200), frame=None):
    """The score of a model that answers `logits`, and its engine."""
    info = info or liveness(len(logits))
    engine = FakeEngine(info, lambda _, outputs: outputs["logits"].__setitem__(0, logits))
    frame = frame or Frame(np.zeros((480, 640, 3), np.uint8))
    return Liveness(info, engine).check(frame, face(*box)), engine


@pytest.mark.parametrize(
    ("logits", "live"),
    [
        ([0, 0, 0], 1 / 3),
        ([0, 50, 0], 1.0),
        ([50, 0, 0], 0.0),
        ([1, 2, 3], math.exp(2) / sum(map(math.exp, (1, 2, 3)))),
        ([1e4, 1e4, -1e4], 0.5),
    ],
)
def test_live_is_the_softmax_of_the_live_class(logits, live):
    """The probability of the live class among all classes, without overflow."""
    score, _ = judge(logits)
    assert score.live == pytest.approx(live, abs=1e-9)


def test_quantized_logits_are_scaled():
    """int8 logits stand for scale * (q - zero point); the zero point makes no difference to a softmax."""
    score, _ = judge(np.array([10, 30, 20], np.int8), liveness(quantization=Quantization(0.1, 17)))
    assert score.live == pytest.approx(math.exp(3) / sum(map(math.exp, (1, 3, 2))))


@pytest.mark.parametrize(
    ("box", "options", "expected"),
    [
        ((270, 190, 370, 290), {}, (185, 105, 270, 270)),
        ((270, 190, 370, 310), {"crop_scale": 2}, (220, 130, 200, 240)),
        ((270, 190, 370, 310), {"crop_scale": 2, "square": True}, (200, 130, 240, 240)),
        ((0, 0, 100, 100), {}, (0, 0, 270, 270)),
        ((600, 400, 700, 500), {}, (370, 210, 270, 270)),
        ((100, 40, 500, 440), {}, (60, 0, 480, 480)),
        ((0, 0, 100, 100), {"border": "reflect", "crop_scale": 1.5}, (-25, -25, 150, 150)),
    ],
    ids=["inside", "taller than wide", "square", "shifted right", "shifted left", "as large as fits", "outside"],
)
def test_the_crop_is_the_scaled_box(box, options, expected):
    """About the box's centre: moved into the frame and no larger than it, or reaching outside if mirrored."""
    info = liveness(**options).liveness
    assert crop(list(map(float, box)), (640, 480), info) == pytest.approx(expected)


def test_the_model_sees_the_crop():
    """The input shows the crop's pixels, resized with pixel centres on both sides."""
    y, x = np.mgrid[0:480, 0:640]
    frame = Frame(np.stack([x // 4, y // 4, np.full_like(x, 9)], axis=2).astype(np.uint8))
    _, engine = judge([0, 0, 0], liveness(crop_scale=2), (280, 200, 360, 280), frame)
    seen = engine.inputs["image"][0]
    at = (np.arange(80) + 0.5) * 2 - 0.5
    np.testing.assert_allclose(seen[40, :, 0], (240 + at) / 4, atol=1)
    np.testing.assert_allclose(seen[:, 40, 1], (160 + at) / 4, atol=1)
    assert (seen[:, :, 2] == 9).all()


def test_a_mirrored_border_shows_no_black():
    """With the border "reflect" the frame continues as its mirror image."""
    frame = Frame(np.full((100, 100, 3), 200, np.uint8))
    _, engine = judge([0, 0], liveness(2, 0, border="reflect"), (0, 0, 60, 60), frame)
    assert (engine.inputs["image"] == 200).all()


@pytest.mark.parametrize("box", [(5, 5, 5, 5), (math.nan, 0, 9, 9), (0, 0, math.inf, 9)])
def test_an_impossible_box_is_refused(box):
    """An empty or infinite box is a KernelError."""
    with pytest.raises(KernelError):
        judge([0, 0, 0], box=box)


def changed(**changes):
    """A liveness model's entry with another LivenessInfo."""
    info = liveness()
    return dataclasses.replace(info, liveness=dataclasses.replace(info.liveness, **changes))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (detector(), "role"),
        (dataclasses.replace(liveness(), liveness=None), "without its decoding"),
        (changed(classes=2), "3 classes"),
        (changed(live_class=3), "3 is live"),
        (changed(border="wrap"), "wrap"),
        (changed(output="nowhere"), "nowhere"),
    ],
    ids=["role", "decoding", "classes", "class", "border", "output"],
)
def test_a_model_that_is_not_what_the_manifest_says_is_refused(info, message):
    """Any difference is a ModelError before the first face."""
    with pytest.raises(ModelError, match=message):
        Liveness(info, FakeEngine(liveness()))


def test_an_engine_s_failure_comes_through():
    """A model that fails to run is an EngineError."""

    def fail(_inputs, _outputs):
        raise EngineError("running the model failed")

    with pytest.raises(EngineError):
        Liveness(liveness(), FakeEngine(liveness(), fail)).check(Frame(np.zeros((9, 9, 3), np.uint8)), face(1, 1, 5, 5))


def test_a_score_s_repr_does_not_show_it():
    """The probability stays out of logs."""
    assert repr(LivenessScore(0.123)) == "LivenessScore()"


# ONNX files by what they are tried on.
MODELS = {
    "reference/liveness.onnx": "rendered",
    "minifasnet/2.7_80x80_MiniFASNetV2.onnx": "real",
    "antispoof-minifasv2se-128/best_model_98.20.onnx": "real",
}


@pytest.mark.parametrize("name", MODELS)
def test_models_tell_people_from_attacks(material_of, converted, name):
    """Live faces score higher on average than attacks of each kind, and by far (a few samples: no rate is claimed)."""
    material = material_of(MODELS[name])
    finder_name, _ = material.models["detector"]
    finder, judged = Detector(*converted(finder_name)), Liveness(*converted(name))
    scores = {}
    for kind, photos in material.shown.items():
        scores[kind] = [judged.check(photo, face).live for photo in photos for face in finder.detect(photo)[:1]]
        assert len(scores[kind]) >= 3
    means = {kind: sum(values) / len(values) for kind, values in scores.items()}
    live = means.pop("live")
    assert max(means.values()) < live - {"rendered": 0.6, "real": 0.3}[material.kind]
