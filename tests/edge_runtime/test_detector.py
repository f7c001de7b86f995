"""Detecting faces: the three families, what is refused, and real models against onnxruntime."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_engine import FakeEngine, detector, image
from reference_detectors import Reference, overlap

from facegate_edge._detector import Detector
from facegate_edge._manifest import Quantization, TensorInfo
from facegate_edge._values import Frame
from facegate_edge.errors import EngineError, ModelError

FAMILIES = ("scrfd", "yunet", "retinaface")
BOX = np.array([10, 12, 34, 42])
POINTS = np.array([[16, 20], [28, 20], [22, 28], [17, 35], [27, 35]])


def encode(family, box=BOX, points=POINTS, score=0.9, row=0, stride=8):
    """An answer of an engine: one face in a row of the head of `stride`, everything else far below the threshold."""

    def answer(_inputs, outputs):
        for array in outputs.values():
            array[...] = 0
        if family == "retinaface":
            cell = np.array([4.0, 4.0])  # the first prior: centre of the first cell of stride 8, 16 pixels
            outputs["score"][0, row] = (1 - score, score)
            center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            outputs["box"][0, row] = [*((center - cell) / (0.1 * 16)), *(np.log(size / 16) / 0.2)]
            if "landmarks" in outputs:
                outputs["landmarks"][0, row] = ((points - cell) / (0.1 * 16)).ravel()
            return
        outputs[f"score_{stride}"][0, row] = score
        if family == "yunet":
            outputs[f"objectness_{stride}"][0, row] = score
            center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            outputs[f"box_{stride}"][0, row] = [*(center / stride), *np.log(size / stride)]
        else:
            outputs[f"box_{stride}"][0, row] = [*(-box[:2] / stride), *(box[2:] / stride)]
        if f"landmarks_{stride}" in outputs:
            outputs[f"landmarks_{stride}"][0, row] = (points / stride).ravel()

    return answer


def frame(width=64, height=64, rotation=0):
    """A black frame."""
    return Frame(np.zeros((height, width, 3), np.uint8), rotation=rotation)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_face_is_an_empty_tuple(family):
    """Outputs of which nothing is above the threshold give no face."""
    info = detector(family)
    assert Detector(info, FakeEngine(info)).detect(frame()) == ()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("size", "rotation", "factor"),
    [((64, 64), 0, 1), ((128, 128), 0, 2), ((128, 96), 0, 2), ((32, 16), 0, 0.5), ((96, 128), 90, 2)],
)
def test_faces_are_in_pixels_of_the_upright_frame(family, size, rotation, factor):
    """Whatever the frame's size and rotation, boxes and landmarks come back in its upright pixels."""
    info = detector(family)
    (face,) = Detector(info, FakeEngine(info, encode(family))).detect(frame(*size, rotation))
    np.testing.assert_allclose(face.box, BOX * factor, atol=1e-3)
    np.testing.assert_allclose(face.landmarks, POINTS * factor, atol=1e-3)
    assert face.score == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_detector_without_landmarks_gives_faces_without_them(family):
    """Faces of a detector without landmarks say so."""
    info = detector(family, landmarks=False)
    found = Detector(info, FakeEngine(info, encode(family)))
    assert not found.has_landmarks
    (face,) = found.detect(frame())
    assert face.landmarks is None


@pytest.mark.parametrize("family", ["scrfd", "yunet"])
def test_quantized_outputs_are_read_with_their_scale(family):
    """int8 outputs give the face that float outputs give, to within the quantisation's step."""
    q = Quantization(0.05, -20)
    info = detector(family, quantization=q)

    def answer(inputs, outputs):
        real = {name: np.zeros(array.shape) for name, array in outputs.items()}
        encode(family)(inputs, real)
        for name, array in outputs.items():
            array[...] = np.clip(np.rint(real[name] / q.scale) + q.zero_point, -128, 127)

    (face,) = Detector(info, FakeEngine(info, answer)).detect(frame())
    np.testing.assert_allclose(face.box, BOX, atol=1.5)
    np.testing.assert_allclose(face.landmarks, POINTS, atol=0.3)


def test_faces_come_sorted_and_overlapping_ones_are_dropped():
    """The highest score comes first; of faces that overlap too much only the highest-scoring one comes."""
    info = detector()
    other = BOX + 20

    def answer(inputs, outputs):
        encode("scrfd", score=0.6)(inputs, outputs)
        for row, box, score in ((1, BOX + 1, 0.8), (2, other - (8, 0, 8, 0), 0.7)):
            x = 8 * (row // 2)  # two anchors a cell
            outputs["score_8"][0, row] = score
            outputs["box_8"][0, row] = np.array([x - box[0], -box[1], box[2] - x, box[3]]) / 8

    found = Detector(info, FakeEngine(info, answer)).detect(frame())
    assert [round(f.score, 3) for f in found] == [0.8, 0.7]
    all_of_them = Detector(info, FakeEngine(info, answer), nms_iou=1.0).detect(frame())
    assert [round(f.score, 3) for f in all_of_them] == [0.8, 0.7, 0.6]
    best = Detector(info, FakeEngine(info, answer), score_threshold=0.75).detect(frame())
    assert [round(f.score, 3) for f in best] == [0.8]


def test_a_face_keeps_its_values_when_the_next_frame_comes():
    """A Face is a value: later frames do not change it."""
    info = detector()
    engine = FakeEngine(info, encode("scrfd"))
    finder = Detector(info, engine)
    (first,) = finder.detect(frame())
    engine.answer = encode("scrfd", box=BOX + 10, points=POINTS + 10)
    (second,) = finder.detect(frame())
    np.testing.assert_allclose(first.box, BOX, atol=1e-3)
    np.testing.assert_allclose(second.box, BOX + 10, atol=1e-3)


def test_a_face_s_repr_shows_nothing_of_it():
    """No coordinate and no score can reach a log through a Face."""
    info = detector()
    (face,) = Detector(info, FakeEngine(info, encode("scrfd"))).detect(frame())
    assert repr(face) == "Face(landmarks=yes)"


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_the_input_is_filled_as_the_manifest_says(color):
    """Channel order, mean and scale of the manifest decide what the model is fed."""
    info = dataclasses.replace(detector(), input=image(64, 64, color=color, mean=(10, 20, 30), scale=(0.5, 2, 1)))
    engine = FakeEngine(info)
    pixel = (100, 150, 200)
    finder = Detector(info, engine)
    assert finder.preprocess(Frame(np.full((64, 64, 3), pixel, np.uint8))) == 1.0
    ordered = np.array(pixel if color == "RGB" else pixel[::-1])
    np.testing.assert_allclose(engine.inputs["image"][0, 30, 30], (ordered - (10, 20, 30)) * (0.5, 2, 1))


def replaced(**changes):
    """A detector whose manifest entry differs from the engine's model."""
    return dataclasses.replace(detector(), **changes)


def output(info, index, **changes):
    """The outputs with one of them changed."""
    tensors = list(info.outputs)
    tensors[index] = dataclasses.replace(tensors[index], **changes)
    return tuple(tensors)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (replaced(role="recognizer"), "role"),
        (replaced(family="blazeface"), "blazeface"),
        (replaced(detector=None), "without its decoding"),
        (replaced(input=image(32, 64)), "shape"),
        (replaced(input=image(64, 64, "int8", Quantization(1.0, 0))), "dtype"),
        (replaced(outputs=detector().outputs[1:]), "outputs are"),
        (replaced(outputs=(*detector().outputs, TensorInfo("more", (1,), "float32"))), "outputs are"),
        (replaced(outputs=output(detector(), 0, shape=(1, 5, 1))), "shape"),
        (replaced(outputs=output(detector(), 0, quantization=Quantization(0.1, 0))), "quantised otherwise"),
        (
            replaced(
                detector=dataclasses.replace(
                    detector().detector,
                    heads=(dataclasses.replace(detector().detector.heads[0], score="nowhere"),),
                )
            ),
            "nowhere",
        ),
    ],
    ids=["role", "family", "decoding", "input", "type", "missing", "more", "shape", "quantization", "head"],
)
def test_a_model_that_is_not_what_the_manifest_says_is_refused(info, message):
    """Any difference between the manifest and the engine's tensors is a ModelError before the first frame."""
    with pytest.raises(ModelError, match=message) as caught:
        Detector(info, FakeEngine(detector()))
    assert caught.value.hint


def test_a_yunet_head_needs_objectness():
    """A YuNet head without objectness cannot be decoded."""
    info = detector("yunet")
    heads = tuple(dataclasses.replace(h, objectness=None) for h in info.detector.heads)
    info = dataclasses.replace(info, detector=dataclasses.replace(info.detector, heads=heads))
    with pytest.raises(ModelError, match="objectness"):
        Detector(info, FakeEngine(info))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", ["score_threshold", "nms_iou"])
def test_a_threshold_outside_of_0_to_1_is_refused(name, value):
    """Thresholds are probabilities and overlaps."""
    with pytest.raises(ModelError):
        Detector(detector(), FakeEngine(detector()), **{name: value})


def test_an_engine_s_failure_comes_through():
    """A model that fails to run is an EngineError."""

    def fail(_inputs, _outputs):
        raise EngineError("running the model failed")

    with pytest.raises(EngineError):
        Detector(detector(), FakeEngine(detector(), fail)).detect(frame())


# ONNX files by what they are tried on, and their family.
MODELS = {
    "reference/detector.onnx": ("rendered", "yunet"),
    "scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx": ("real", "scrfd"),
    "yunet/yunet_n_320_320.onnx": ("real", "yunet"),
    "retinaface-mnet025/retinaface_mnet025_320.onnx": ("real", "retinaface"),
}


@pytest.fixture(scope="module", params=MODELS)
def trained(request, material_of, onnx_path, converted):
    """A converted detector, the reference that runs the same ONNX file, and what both are tried on."""
    kind, family = MODELS[request.param]
    material = material_of(kind)
    info, engine = converted(request.param)
    return Detector(info, engine), Reference(onnx_path(request.param), family), material


def test_detectors_find_what_onnxruntime_finds(trained):
    """On photographs every clear face of one is a face of the other: IoU > 0.98, landmarks within 1 pixel.

    A face whose score is within 0.05 of the threshold may be missing from either. Landmarks are compared in pixels of
    the detector's input: a photograph may be ten times as large.
    """
    finder, reference, material = trained
    compared = 0
    for photo in material.photographs:
        found = finder.detect(photo)
        scores, boxes, points = reference.detect(photo.data, finder.score_threshold, finder.nms_iou)
        assert abs(len(found) - len(scores)) <= sum(abs(s - finder.score_threshold) < 0.05 for s in scores) + sum(
            abs(f.score - finder.score_threshold) < 0.05 for f in found
        )
        scale = reference.size / max(photo.size)
        for face in found:
            if face.score < finder.score_threshold + 0.05:
                continue
            overlaps = overlap(face.box, boxes)
            best = int(np.argmax(overlaps))
            assert overlaps[best] > 0.98
            assert np.abs(face.landmarks - points[best]).max() * scale < 1
            assert face.score == pytest.approx(scores[best], abs=0.02)
            compared += 1
    assert compared >= 20


def test_one_person_has_one_face(trained):
    """The picture of one person shows exactly one face, upright and by every rotation."""
    finder, _, material = trained
    photo = material.frame
    (face,) = finder.detect(photo)
    for rotation in (90, 180, 270):
        turned = Frame(np.ascontiguousarray(np.rot90(photo.data, rotation // 90)), photo.format, rotation)
        (same,) = finder.detect(turned)
        np.testing.assert_allclose(same.box, face.box, atol=1)


def test_pictures_without_people_have_no_face(trained):
    """Rooms and backs of heads, coffee cups and cats give no face at the manifest's threshold."""
    finder, _, material = trained
    assert len(material.empty) >= 10
    assert [name for name, photo in material.empty.items() if finder.detect(photo)] == []


def test_the_reference_detector_finds_true_faces(rendered, converted):
    """Of the faces that show for the most part and whose eyes are 20 pixels apart, nearly all are found.

    A face is found if the boxes overlap by half. Its landmarks are off by less than an eighth of the eyes' distance
    on average. Nothing else is found in any frame: neither a second box nor a face in clutter.
    """
    finder = Detector(*converted("reference/detector.onnx"))
    faces, errors, wrong = 0, [], 0
    for scene in rendered.scenes:
        answers = list(finder.detect(scene.frame))
        for truth in scene.faces:
            overlaps = overlap(truth.box, np.array([a.box for a in answers]).reshape(-1, 4))
            match = answers.pop(int(np.argmax(overlaps))) if overlaps.size and overlaps.max() > 0.5 else None
            if truth.visible < 0.5 or truth.iod < 20:
                continue
            faces += 1
            if match is not None:
                errors.append(np.linalg.norm(match.landmarks - truth.landmarks, axis=1).mean() / truth.iod)
        wrong += len(answers)
    assert faces >= 20
    assert len(errors) >= 0.96 * faces
    assert np.mean(errors) < 0.12
    assert wrong == 0
