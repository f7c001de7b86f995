"""Families are told from graphs: shapes, activations and normalisation, never names of files."""

from __future__ import annotations

import pytest

from facegate_convert._families import ARCFACE_112, describe, recognize
from facegate_convert._graph import load_graph
from facegate_convert._info import template_space
from facegate_convert._options import PRESETS, Options, adjust
from facegate_convert.errors import ConvertError, ProhibitedModelError, UnknownFamilyError
from facegate_edge.errors import FacegateError
from facegate_edge.errors import ProhibitedModelError as EdgeProhibitedModelError

from . import tiny_onnx

ARCFACE = (("Sub", 127.5), ("Mul", 1 / 128))


def match_of(model):
    """Recognise the bytes of a model."""
    return recognize(load_graph(model))


@pytest.mark.parametrize(
    ("columns", "options", "family", "strides", "anchors"),
    [
        ((1, 4, 10), {"anchors": 2}, "scrfd", (8, 16, 32), 2),
        ((1, 4), {"anchors": 2}, "scrfd", (8, 16, 32), 2),
        ((1, 4, 10), {}, "scrfd", (8, 16, 32), 1),
        ((1, 4, 10), {"anchors": 2, "batched": True}, "scrfd", (8, 16, 32), 2),
        ((1, 4, 10), {"anchors": 2, "maps": True}, "scrfd", (8, 16, 32), 2),
        ((1, 4, 10), {"anchors": 2, "maps": True, "sigmoid": False}, "scrfd", (8, 16, 32), 2),
        ((1, 4, 10), {"levels": 5, "size": (256, 128)}, "scrfd", (8, 16, 32, 64, 128), 1),
        ((10, 4, 1), {"anchors": 2, "sigmoid": False}, "scrfd", (8, 16, 32), 2),
        ((1, 1, 4, 10), {"scores": 2, "batched": True}, "yunet", (8, 16, 32), 1),
        ((1, 1, 4, 10), {"scores": 2, "size": (96, 64)}, "yunet", (8, 16, 32), 1),
    ],
)
def test_detectors(columns, options, family, strides, anchors):
    """SCRFD and YuNet in all their forms, whatever the order and the form of the outputs."""
    match = match_of(tiny_onnx.detector(columns, **options))
    info = match.detector
    assert (match.role, match.family, info.strides, info.anchors) == ("detector", family, strides, anchors)
    assert [head.stride for head in info.heads] == list(strides)
    named = {output.name for output in match.outputs}
    for head in info.heads:
        expected = {head.score, head.box, head.landmarks, head.objectness} - {None}
        assert expected <= named
        assert (head.landmarks is None) == (10 not in columns)
        assert (head.objectness is None) == (family == "scrfd")
    assert len(named) == len(match.outputs) == len(columns) * len(strides)


def test_scores_that_are_no_probabilities_get_an_activation():
    """A detector that was cut before its sigmoid gets it back, on the scores alone."""
    match = match_of(tiny_onnx.detector((1, 4, 10), anchors=2, sigmoid=False))
    assert {o.name: o.activation for o in match.outputs if o.activation} == {
        "score_8": "sigmoid",
        "score_16": "sigmoid",
        "score_32": "sigmoid",
    }


@pytest.mark.parametrize("softmax", [True, False])
def test_retinaface(softmax):
    """Locations, confidences and landmarks over 2 priors a cell; a missing softmax is appended."""
    match = match_of(tiny_onnx.retinaface(softmax=softmax))
    assert match.family == "retinaface"
    assert [o.name for o in match.outputs] == ["score", "box", "landmarks"]
    assert [o.source for o in match.outputs] == ["out2", "out4", "out10"]
    assert match.outputs[0].activation == ("" if softmax else "softmax")
    assert match.detector.min_sizes == ((16, 32), (64, 128), (256, 512))


@pytest.mark.parametrize(
    ("size", "length", "family", "first"),
    [
        ((112, 112), 512, "arcface", (38.2946, 51.6963)),
        ((112, 112), 64, "arcface", (38.2946, 51.6963)),
        ((96, 112), 512, "arcface", (30.2946, 51.6963)),
        ((160, 160), 128, "facenet", (54.7066, 73.8519)),
    ],
)
def test_recognizers(size, length, family, first):
    """One embedding from 112x112, 112x96 (width 96) or 160x160; the reference points follow the input's size."""
    match = match_of(tiny_onnx.vector(length, size=size))
    assert (match.role, match.family, match.embedding_length) == ("recognizer", family, length)
    assert match.landmarks[0] == pytest.approx(first, abs=1e-3)
    assert [o.name for o in match.outputs] == ["embedding"]


def test_recognizer_of_112_uses_the_published_points():
    """ArcFace's own reference points, unchanged."""
    assert match_of(tiny_onnx.vector(128)).landmarks == ARCFACE_112


def test_image_last_models_are_recognized():
    """(1, H, W, 3) is as good as (1, 3, H, W)."""
    match = match_of(tiny_onnx.vector(128, layout="NHWC", size=(160, 160)))
    assert (match.family, match.sketch.channels_first, match.sketch.width) == ("facenet", False, 160)


@pytest.mark.parametrize(("size", "classes", "live", "square"), [((80, 80), 3, 1, False), ((128, 128), 2, 0, True)])
def test_liveness(size, classes, live, square):
    """3 logits from 80x80 or 2 from 128x128, of a depthwise PReLU net."""
    match = match_of(tiny_onnx.vector(classes, size=size))
    assert (match.role, match.family) == ("liveness", "minifasnet")
    assert (match.liveness.classes, match.liveness.live_class, match.liveness.square) == (classes, live, square)
    assert any("class" in text for text in match.assumptions)


@pytest.mark.parametrize(
    ("normalize", "described"),
    [
        ((), "(pixel - 127.5) / 127.5"),
        (ARCFACE, "pixel"),
        ((("Mul", 1 / 127.5), ("Add", -1.0)), "pixel"),
        ((("Div", 255.0),), "pixel"),
        ((("Sub", [[[123.675]], [[116.28]], [[103.53]]]), ("Div", [[[58.4]], [[57.1]], [[57.4]]])), "pixel"),
        ((("Sub", 0.5), ("Div", 0.5)), "pixel / 255"),
        ((("Mul", 1e-6),), "(pixel - 127.5) / 127.5"),
    ],
)
def test_normalization_in_the_graph_is_seen(normalize, described):
    """What the graph does to pixels decides between raw pixels, 0..1 and the family's convention."""
    match = match_of(tiny_onnx.vector(128, normalize=normalize))
    assert describe(match.preprocessing) == described
    assumed = [text for text in match.assumptions if text.startswith("normalisation")]
    assert bool(assumed) == (described == "(pixel - 127.5) / 127.5")


def test_every_assumption_names_the_option_that_changes_it():
    """What the graph does not show is said, with the way to say otherwise."""
    assumptions = match_of(tiny_onnx.vector(128)).assumptions
    assert any("--color" in text for text in assumptions)
    assert any("--preprocess" in text for text in assumptions)


@pytest.mark.parametrize(
    ("options", "described", "color", "gone"),
    [
        (
            Options(preprocess="imagenet"),
            "(pixel - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)",
            "RGB",
            "norm",
        ),
        (Options(preprocess="unit", color="BGR"), "pixel / 255", "BGR", "colour"),
        (Options(mean=(1.0, 2.0, 3.0)), "(pixel - (1, 2, 3)) / 127.5", "RGB", "norm"),
        (Options(scale=(1.0,) * 3), "(pixel - 127.5)", "RGB", "norm"),
        (Options(preprocess="raw", mean=(5.0,) * 3), "(pixel - 5)", "RGB", "norm"),
    ],
)
def test_the_caller_knows_better(options, described, color, gone):
    """Options override what was assumed, and what is stated is no longer called an assumption."""
    match = adjust(match_of(tiny_onnx.vector(128)), options)
    assert (describe(match.preprocessing), match.preprocessing.color) == (described, color)
    assert not any(text.startswith(gone) for text in match.assumptions)


@pytest.mark.parametrize(
    "options", [Options(preprocess="none"), Options(crop_scale=2.0), Options(scale=(0.0, 1.0, 1.0))]
)
def test_options_that_make_no_sense_are_refused(options):
    """An unknown preset, a crop for a recogniser, a scale of zero."""
    with pytest.raises(ConvertError) as caught:
        adjust(match_of(tiny_onnx.vector(128)), options)
    assert caught.value.hint


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: tiny_onnx.vector(1000, activation="Softmax"), id="classifier of 1000"),
        pytest.param(lambda: tiny_onnx.vector(128, activation="Sigmoid"), id="sigmoid embedding"),
        pytest.param(lambda: tiny_onnx.vector(32), id="embedding too short"),
        pytest.param(lambda: tiny_onnx.vector(2048), id="embedding too long"),
        pytest.param(lambda: tiny_onnx.vector(128, size=(224, 224)), id="unknown size"),
        pytest.param(lambda: tiny_onnx.vector(3, size=(80, 80), prelu=False), id="classifier without PReLU"),
        pytest.param(lambda: tiny_onnx.vector(2, size=(128, 128), depthwise=False), id="classifier, not depthwise"),
        pytest.param(lambda: tiny_onnx.vector(2, size=(80, 80)), id="2 classes from 80x80"),
        pytest.param(lambda: tiny_onnx.vector(128, channels=1), id="grey"),
        pytest.param(lambda: tiny_onnx.detector((1, 4, 10, 2)), id="one output too many"),
        pytest.param(lambda: tiny_onnx.detector((4, 10), scores=0), id="no scores"),
        pytest.param(lambda: tiny_onnx.detector((1, 4, 10), levels=2), id="two strides"),
        pytest.param(lambda: tiny_onnx.detector((2, 4, 10), anchors=2, maps=True), id="two scores an anchor"),
        pytest.param(lambda: tiny_onnx.retinaface(columns=(4, 2)), id="SSD without landmarks"),
    ],
)
def test_unknown_models_are_refused_with_what_was_seen(model):
    """What is no known family is refused; the error says what was seen and what is known."""
    with pytest.raises(UnknownFamilyError, match=r"\d") as caught:
        match_of(model())
    assert "SCRFD" in caught.value.hint or "image" in caught.value.hint


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: tiny_onnx.vector(3, size=(96, 96)), id="genderage by its shape"),
        pytest.param(lambda: tiny_onnx.vector(2, size=(128, 128), name="gender"), id="gender"),
        pytest.param(lambda: tiny_onnx.vector(128, name="age_logits"), id="age as an embedding"),
        pytest.param(lambda: tiny_onnx.vector(8, size=(64, 64), name="Emotion"), id="emotion"),
        pytest.param(lambda: tiny_onnx.vector(7, size=(224, 224), name="raceOutput"), id="race"),
    ],
)
def test_models_that_infer_personal_attributes_are_prohibited(model):
    """Gender, age, race and emotion are refused for what they are, and nothing allows them."""
    with pytest.raises(ProhibitedModelError) as caught:
        match_of(model())
    assert isinstance(caught.value, FacegateError)
    assert isinstance(caught.value, EdgeProhibitedModelError)


@pytest.mark.parametrize("name", ["image_features", "average_pool", "page", "trace", "unisex1"])
def test_words_that_only_contain_prohibited_ones_are_fine(name):
    """`image` is not `age`."""
    assert match_of(tiny_onnx.vector(128, name=name)).role == "recognizer"


def test_template_space_follows_what_moves_templates():
    """Weights, pixels, landmarks and precision make a space; nothing else does."""
    match = match_of(tiny_onnx.vector(128))
    space = template_space("a" * 64, match, "int8")
    assert template_space("a" * 64, match, "int8") == space
    others = {
        template_space("b" * 64, match, "int8"),
        template_space("a" * 64, match, "float32"),
        template_space("a" * 64, adjust(match, Options(color="BGR")), "int8"),
        template_space("a" * 64, adjust(match, Options(preprocess="raw")), "int8"),
        template_space("a" * 64, match_of(tiny_onnx.vector(128, size=(96, 112))), "int8"),
    }
    assert space not in others
    assert len(others) == 5


def test_presets_are_what_they_are_called():
    """ArcFace brings 0..255 to -1..1, ImageNet to zero mean and unit deviation, unit to 0..1."""
    for name, low, high in (("arcface", -1, 1), ("unit", 0, 1), ("raw", 0, 255), ("imagenet", -2.1179, 2.2489)):
        mean, scale = PRESETS[name]
        assert ((0 - mean[0]) * scale[0], (255 - mean[0]) * scale[0]) == pytest.approx((low, high), abs=1e-4)


TRAINED = {
    "reference/detector.onnx": ("yunet", "BGR", "pixel"),
    "reference/recognizer.onnx": ("arcface", "RGB", "(pixel - 127.5) / 127.5"),
    "reference/liveness.onnx": ("minifasnet", "BGR", "pixel"),
    "yunet/yunet_n_320_320.onnx": ("yunet", "BGR", "pixel"),
    "yunet/yunet_n_640_640.onnx": ("yunet", "BGR", "pixel"),
    "yunet/yunet_n_dynamic.onnx": ("yunet", "BGR", "pixel"),
    "yunet/yunet_s_320_320.onnx": ("yunet", "BGR", "pixel"),
    "scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx": ("scrfd", "RGB", "(pixel - 127.5) / 128"),
    "scrfd-500m/det_500m.onnx": ("scrfd", "RGB", "(pixel - 127.5) / 128"),
    "scrfd-2.5g/scrfd_2.5g_bnkps_shape320x320.onnx": ("scrfd", "RGB", "(pixel - 127.5) / 128"),
    "scrfd-2.5g/scrfd_2.5g_kps.onnx": ("scrfd", "RGB", "(pixel - 127.5) / 128"),
    "retinaface-mnet025/retinaface_mnet025_320.onnx": ("retinaface", "BGR", "(pixel - (104, 117, 123))"),
    "mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx": ("arcface", "RGB", "(pixel - 127.5) / 127.5"),
    "mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx": ("arcface", "RGB", "pixel"),
    "mobileface-becauseofai/mobileface_id_v2.onnx": ("arcface", "RGB", "pixel"),
    "minifasnet/2.7_80x80_MiniFASNetV2.onnx": ("minifasnet", "BGR", "pixel"),
    "minifasnet/4_0_0_80x80_MiniFASNetV1SE.onnx": ("minifasnet", "BGR", "pixel"),
    "antispoof-minifasv2se-128/best_model_98.20.onnx": ("minifasnet", "RGB", "pixel / 255"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models(onnx_path, name):
    """Every trained model is recognised, with the preprocessing that its authors state (but for the assumed ones)."""
    size = (320, 320) if "dynamic" in name or "det_500m" in name else None
    match = recognize(load_graph(onnx_path(name), input_size=size))
    family, color, described = TRAINED[name]
    assert (match.family, match.preprocessing.color, describe(match.preprocessing)) == (family, color, described)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("reference/liveness.onnx", 2.7),
        ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", 2.7),
        ("minifasnet/4_0_0_80x80_MiniFASNetV1SE.onnx", 4.0),
    ],
)
def test_crop_of_liveness_models_follows_their_blocks(onnx_path, name, scale):
    """MiniFASNetV1SE has squeeze-and-excitation blocks and was trained on 4.0x crops; V2 and the reference on 2.7x."""
    assert recognize(load_graph(onnx_path(name))).liveness.crop_scale == scale
