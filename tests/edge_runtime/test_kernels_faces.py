"""Detector outputs into faces, landmarks into matrices and poses: the kernels equal the numpy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_edge import _kernels as kernels
from facegate_edge._manifest import Quantization
from facegate_edge.errors import KernelError

ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float32
)
TYPES = ["float32", "int8", "uint8"]
PROBABILITY = {"int8": Quantization(1 / 256, -128), "uint8": Quantization(1 / 255, 0)}
OFFSET = {"int8": Quantization(0.037, 5), "uint8": Quantization(0.051, 121)}


def _tensor(rng, rows, columns, dtype, kind):
    """A tensor of probabilities or of offsets: the engine's array, its quantisation, its real values."""
    if dtype == "float32":
        array = rng.random((rows, columns), np.float32)
        array = array if kind is PROBABILITY else (array * 8 - 4).astype(np.float32)
        return array, None, array
    info = np.iinfo(dtype)
    array = rng.integers(info.min, info.max + 1, (rows, columns)).astype(dtype)
    return array, kind[dtype], reference.dequantize(array, kind[dtype])


def _prepared(made):
    return kernels.Tensor(made[0], made[1])


def _assert_faces(faces, expected, base=0):
    """The faces, in row order, are those of the reference."""
    boxes, landmarks, scores, rows = expected
    records = np.sort(faces.records, order="position")
    np.testing.assert_array_equal(records["position"], rows + base)
    np.testing.assert_array_equal(records["score"], scores)
    np.testing.assert_allclose(records["box"], boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(records["landmarks"], landmarks, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("points", [True, False])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("anchors", [1, 2])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(32, 24), (33, 25), (1, 1)])
def test_scrfd(size, dtype, anchors, columns, points):
    """SCRFD rows become boxes and landmarks, for each type, one or two score columns, with or without landmarks."""
    rng = np.random.default_rng(1)
    width, height = size
    rows = -(-width // 8) * -(-height // 8) * anchors
    score, box = _tensor(rng, rows, columns, dtype, PROBABILITY), _tensor(rng, rows, 4, dtype, OFFSET)
    marks = _tensor(rng, rows, 10, dtype, OFFSET) if points else None
    faces = kernels.Faces(1000)
    head = kernels.ScrfdHead(
        _prepared(score), _prepared(box), _prepared(marks) if marks else None,
        width=width, height=height, stride=8, anchors=anchors,
    )  # fmt: skip
    for threshold in (0.0, 0.4, 0.9, 1.0):
        faces.clear()
        head.decode(faces, threshold)
        real_marks = marks[2] if marks else None
        expected = reference.decode_scrfd(score[2], box[2], real_marks, width, height, 8, anchors, threshold)
        _assert_faces(faces, expected)


@pytest.mark.parametrize("points", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(32, 24), (33, 25), (320, 320)])
def test_yunet(size, dtype, points):
    """YuNet rows become faces with the root of class times objectness as the score."""
    rng = np.random.default_rng(2)
    width, height = size
    rows = -(-width // 16) * -(-height // 16)
    score, objectness = _tensor(rng, rows, 1, dtype, PROBABILITY), _tensor(rng, rows, 1, dtype, PROBABILITY)
    box = _tensor(rng, rows, 4, dtype, OFFSET)
    marks = _tensor(rng, rows, 10, dtype, OFFSET) if points else None
    faces = kernels.Faces(1000)
    head = kernels.YunetHead(
        _prepared(score), _prepared(objectness), _prepared(box), _prepared(marks) if marks else None,
        width=width, height=height, stride=16,
    )  # fmt: skip
    for threshold in (0.0, 0.3, 0.6, 0.95):
        faces.clear()
        head.decode(faces, threshold)
        real_marks = marks[2] if marks else None
        expected = reference.decode_yunet(
            score[2], objectness[2], box[2], real_marks, width, height, 16, threshold
        )  # fmt: skip
        _assert_faces(faces, expected)


@pytest.mark.parametrize("points", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("min_sizes", [[[16, 32], [64, 128], [256, 512]], [[10], [20, 25.5, 31], [50]]])
def test_retinaface(min_sizes, dtype, points):
    """RetinaFace's rows follow its priors over strides, cells and sizes, also with unequal numbers of sizes."""
    rng = np.random.default_rng(3)
    width, height, strides, variances = 70, 50, [8, 16, 32], (0.1, 0.2)
    rows = sum(-(-width // s) * -(-height // s) * len(m) for s, m in zip(strides, min_sizes, strict=True))
    score, box = _tensor(rng, rows, 2, dtype, PROBABILITY), _tensor(rng, rows, 4, dtype, OFFSET)
    marks = _tensor(rng, rows, 10, dtype, OFFSET) if points else None
    faces = kernels.Faces(1000)
    kernels.RetinafaceHead(
        _prepared(score), _prepared(box), _prepared(marks) if marks else None,
        width=width, height=height, strides=strides, min_sizes=min_sizes, variances=variances,
    ).decode(faces, 0.5)  # fmt: skip
    expected = reference.decode_retinaface(
        score[2], box[2], marks[2] if marks else None, width, height, strides, min_sizes, variances, 0.5
    )
    _assert_faces(faces, expected)


@settings(max_examples=100)
@given(
    zero=st.integers(-128, 127),
    scale=st.floats(2.0**-14, 1, width=32),
    threshold=st.floats(0, 1, width=32),
)
def test_quantized_threshold_decides_as_the_real_one(zero, scale, threshold):
    """Whichever quantisation a score has, its byte passes exactly when its real value does."""
    quantization = Quantization(scale, zero)
    score = np.arange(-128, 128).astype(np.int8).reshape(256, 1)
    box = np.zeros((256, 4), np.float32)
    faces = kernels.Faces(256)
    kernels.ScrfdHead(
        kernels.Tensor(score, quantization), kernels.Tensor(box), None, width=128, height=128, stride=8, anchors=1
    ).decode(faces, threshold)
    real = reference.dequantize(score, quantization)[:, 0]
    np.testing.assert_array_equal(np.sort(faces.records["position"]), np.flatnonzero(real >= np.float32(threshold)))


@settings(max_examples=200)
@given(
    rows=st.integers(1, 131),
    above=st.sets(st.integers(0, 130), max_size=4),
    columns=st.integers(1, 2),
    dtype=st.sampled_from(TYPES),
    family=st.sampled_from(["scrfd", "yunet", "retinaface"]),
)
def test_the_few_that_reach_the_threshold_are_found_wherever_they_are(rows, above, columns, dtype, family):
    """Rows are looked through many at a time: those exactly at the threshold are faces, whatever is around them."""
    nearly = np.nextafter(np.float32(0.5), np.float32(0))
    below, at = {"float32": (nearly, 0.5), "int8": (-6, -5), "uint8": (9, 10)}[dtype]
    if (family, dtype) == ("yunet", "float32"):  # its score is a root
        below, at = 0.2, 0.25
    columns = 1 if family == "yunet" else columns
    quantization = None if dtype == "float32" else Quantization(0.5, {"int8": -6, "uint8": 9}[dtype])
    values = np.full((rows, columns), below, dtype)
    values[:, : columns - 1] = 100  # the background's score, which is none
    expected = sorted(row for row in above if row < rows)
    values[expected, -1] = at
    score = kernels.Tensor(values, quantization)
    box, whole = kernels.Tensor(np.zeros((rows, 4), np.float32)), kernels.Tensor(np.ones((rows, 1), np.float32))
    size: dict[str, Any] = {"width": 8 * rows, "height": 8}
    head: Any
    if family == "scrfd":
        head = kernels.ScrfdHead(score, box, None, **size, stride=8, anchors=1)
    elif family == "yunet":
        head = kernels.YunetHead(score, whole, box, None, **size, stride=8)
    else:
        head = kernels.RetinafaceHead(score, box, None, **size, strides=[8], min_sizes=[[16]], variances=(0.1, 0.2))
    faces = kernels.Faces(rows)
    head.decode(faces, 0.5)
    np.testing.assert_array_equal(np.sort(faces.records["position"]), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["score", "box", "landmarks"])
def test_a_row_that_is_not_finite_is_no_face(where: str, bad: float):
    """NaN and infinity in a score, box or landmark drop the row, and only the row."""
    arrays = {"score": np.full((4, 1), 0.9), "box": np.ones((4, 4)), "landmarks": np.ones((4, 10))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays[where][2, -1] = bad
    faces = kernels.Faces()
    tensors = [kernels.Tensor(arrays[name]) for name in ("score", "box", "landmarks")]
    kernels.ScrfdHead(*tensors, width=16, height=16, stride=8, anchors=1).decode(faces, 0.0)
    np.testing.assert_array_equal(np.sort(faces.records["position"]), [0, 1, 3])


def test_a_box_whose_exponential_overflows_is_no_face():
    """The exponential of a large log-size is infinite, and the row is dropped."""
    score, box = np.full((1, 1), 0.9, np.float32), np.array([[0, 0, 1000, 0]], np.float32)
    faces = kernels.Faces()
    one = kernels.Tensor(score)
    kernels.YunetHead(one, one, kernels.Tensor(box), None, width=8, height=8, stride=8).decode(faces, 0.5)
    assert len(faces) == 0


@settings(max_examples=60)
@given(capacity=st.integers(1, 70), seed=st.integers(0, 1000))
def test_a_full_list_keeps_the_best(capacity: int, seed: int):
    """With more candidates than room, those of the highest scores stay; among equal ones the first."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 10, 64) / 10).astype(np.float32).reshape(64, 1)
    faces = kernels.Faces(capacity)
    box = np.zeros((64, 4), np.float32)
    box[:] = np.arange(64)[:, None]
    head = kernels.ScrfdHead(
        kernels.Tensor(scores), kernels.Tensor(box), None, width=64, height=64, stride=8, anchors=1
    )
    head.decode(faces, 0.0)
    head.decode(faces, 0.0)  # a second head: positions go on
    both = np.concatenate([scores[:, 0]] * 2)
    best = sorted(range(128), key=lambda i: (-both[i], i))[:capacity]
    np.testing.assert_array_equal(np.sort(faces.records["position"]), np.sort(best))
    faces.nms(1.0)
    np.testing.assert_array_equal(faces.records["position"], best)


def _faces_of(boxes, scores):
    """A list holding these faces, by way of SCRFD rows at cell 0."""
    faces = kernels.Faces(max(1, len(scores)))
    faces._records["box"][: len(scores)] = boxes
    faces._records["score"][: len(scores)] = scores
    faces._records["position"][: len(scores)] = np.arange(len(scores))
    faces.struct.count = len(scores)
    return faces


@settings(max_examples=100)
@given(count=st.integers(0, 40), seed=st.integers(0, 10**6), iou=st.floats(0, 1, width=32), limit=st.integers(0, 50))
def test_nms(count: int, seed: int, iou: float, limit: int):
    """What stays, and its order, is what the reference keeps."""
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 30, (count, 2)), rng.integers(-2, 20, (count, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    scores = (rng.integers(1, 8, count) / 8).astype(np.float32)
    faces = _faces_of(boxes, scores)
    assert faces.nms(iou, limit) == len(faces)
    expected = reference.nms(boxes, scores, np.arange(count), iou, limit)
    np.testing.assert_array_equal(faces.records["position"], expected)
    np.testing.assert_array_equal(faces.records["box"], boxes[expected])


@pytest.mark.parametrize(("iou", "kept"), [(0.5, 2), (0.49, 1)])
def test_nms_suppresses_above_the_limit_not_at_it(iou: float, kept: int):
    """Boxes whose overlap is exactly the limit both stay."""
    faces = _faces_of([[0, 0, 30, 10], [10, 0, 40, 10]], [0.9, 0.8])  # 20 / 40
    assert faces.nms(iou) == kept


def test_scale_leads_back_to_the_frame():
    """Boxes and landmarks are multiplied, scores are not."""
    faces = _faces_of([[1, 2, 3, 4]], [0.5])
    faces._records["landmarks"] = 8
    faces.scale(2.5)
    np.testing.assert_array_equal(faces.records["box"][0], [2.5, 5, 7.5, 10])
    assert (faces.records["landmarks"] == 20).all()
    assert faces.records["score"][0] == 0.5


# ---------------------------------------------------------------- similarity


@settings(max_examples=100)
@given(
    angle=st.floats(-3.14, 3.14),
    scale=st.floats(0.05, 20),
    x=st.floats(-2000, 2000),
    y=st.floats(-2000, 2000),
    noise=st.floats(0, 4),
    seed=st.integers(0, 1000),
)
def test_similarity(angle, scale, x, y, noise, seed):
    """The matrix is the inverse of the least-squares similarity that a general solver finds."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    rng = np.random.default_rng(seed)
    src = (ARCFACE @ np.array([[c, s], [-s, c]]) + [x, y] + rng.normal(0, noise * scale, (5, 2))).astype(np.float32)
    matrix = kernels.similarity(src, ARCFACE)
    np.testing.assert_allclose(
        matrix, reference.similarity(src, ARCFACE), rtol=1e-5, atol=1e-5 * max(1, abs(x), abs(y))
    )


def test_similarity_is_umeyamas():
    """For a face the matrix is that of Umeyama's method by singular values, which InsightFace aligns with."""
    src = (ARCFACE * 2.5 + [100, 40] + np.random.default_rng(0).normal(0, 3, (5, 2))).astype(np.float32)
    np.testing.assert_allclose(kernels.similarity(src, ARCFACE), reference.umeyama(src, ARCFACE), atol=1e-5)


CROSS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        (np.full((5, 2), 7.0), ARCFACE),
        (ARCFACE, np.full((5, 2), 7.0)),
        (np.full((5, 2), np.nan), ARCFACE),
        (np.where(ARCFACE > 60, np.inf, ARCFACE), ARCFACE),
        (CROSS, CROSS * [1, -1]),
    ],
    ids=["coincident", "coincident reference", "not a number", "infinite", "a mirror image"],
)
def test_similarity_refuses_points_without_an_answer(src: np.ndarray, dst: np.ndarray):
    """Coincident points, points that are not finite and points that no rotation explains are refused."""
    out = np.full((2, 3), 55.0)
    with pytest.raises(KernelError):
        kernels.similarity(np.ascontiguousarray(src, np.float32), np.ascontiguousarray(dst, np.float32), out)
    assert (out == 55).all()


# ---------------------------------------------------------------- pose

MODEL = np.array([[-17.6, -20.1, 0], [17.6, -20.1, 0], [0, 0, 16], [-14.6, 20.6, 3], [14.6, 20.6, 3]])


def _turned(yaw: float, pitch: float, roll: float, size: float = 1.0, perspective: float = 0.0) -> np.ndarray:
    """Landmarks of the mean face turned by these angles (degrees)."""
    a, b, c = np.radians([yaw, pitch, roll])
    by_yaw = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    by_pitch = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    by_roll = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = MODEL @ (by_yaw @ by_pitch @ by_roll).T * size
    return np.ascontiguousarray(points[:, :2] / (1 - perspective * points[:, 2:]) + [100, 80], np.float32)


@pytest.mark.parametrize("size", [0.3, 1, 8])
@pytest.mark.parametrize("yaw", [-60, -20, 0, 35])
@pytest.mark.parametrize("pitch", [-40, 0, 25])
@pytest.mark.parametrize("roll", [-90, -15, 0, 30, 170])
def test_pose_of_the_turned_mean_face(yaw: float, pitch: float, roll: float, size: float):
    """The mean face turned by known angles gives these angles, whatever its size."""
    np.testing.assert_allclose(kernels.pose(_turned(yaw, pitch, roll, size)), (yaw, pitch, roll), atol=2e-3)


def test_pose_of_the_template_is_frontal():
    """The ArcFace template is a face that looks at the camera: all angles are within 2 degrees of 0."""
    assert np.abs(kernels.pose(ARCFACE)).max() < 2


def test_pose_signs():
    """The nose to the right is yaw > 0, up is pitch > 0; an image turned clockwise is roll > 0."""
    right, up = ARCFACE.copy(), ARCFACE.copy()
    right[2, 0] += 5
    up[2, 1] -= 5
    assert kernels.pose(right)[0] > 5
    assert kernels.pose(up)[1] > 5
    center = ARCFACE.mean(0)
    clockwise = (ARCFACE - center) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) + center
    assert clockwise[1, 1] > clockwise[0, 1]
    assert kernels.pose(np.ascontiguousarray(clockwise, np.float32))[2] > 5


def test_pose_stands_perspective():
    """Seen from 17 times the distance of its eyes, a face is told within 5 degrees."""
    got = kernels.pose(_turned(25, -15, 10, perspective=1 / 600))
    assert np.abs(np.subtract(got, (25, -15, 10))).max() < 5


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.outer(np.arange(5), [1, 1])])
def test_pose_refuses_points_that_are_no_face(landmarks: np.ndarray):
    """Coincident points, points on one line and points that are not finite are refused."""
    with pytest.raises(KernelError):
        kernels.pose(np.ascontiguousarray(landmarks, np.float32))
