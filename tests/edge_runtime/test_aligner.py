"""Alignment: landmarks onto the reference, and how large faces are sampled."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from fake_engine import ARCFACE, FakeEngine, detector, image, recognizer

from facegate_edge._aligner import Aligner, supersampling
from facegate_edge._manifest import Quantization
from facegate_edge._values import Face, Frame, PixelFormat
from facegate_edge.errors import KernelError, ModelError

REFERENCE = np.array(ARCFACE, np.float32)


def face_at(points):
    """A face with landmarks."""
    points = np.asarray(points, np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    return Face(np.concatenate([low, high]).astype(np.float32), points, 0.9)


def make(**options):
    """An aligner and the array that it writes."""
    info = recognizer(**options)
    engine = FakeEngine(info)
    return Aligner(info, engine.inputs["image"]), engine.inputs["image"]


def noise(width, height, seed=0):
    """A random colour frame."""
    return Frame(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_face_on_the_reference_is_copied_unchanged():
    """Landmarks that stand on the reference already move nothing."""
    aligner, array = make()
    frame = noise(112, 112)
    aligner.align(frame, face_at(REFERENCE))
    np.testing.assert_allclose(array[0], frame.data, atol=1)


@pytest.mark.parametrize(
    ("angle", "scale", "shift"), [(0, 1, (0, 0)), (30, 1.3, (40, 60)), (-75, 0.7, (90, 20)), (180, 2.2, (150, 130))]
)
def test_a_turned_scaled_and_moved_face_is_brought_back(angle, scale, shift):
    """A landmark's pixel in the frame is at the reference landmark in the input, whatever similarity lies between."""
    turn = np.radians(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (REFERENCE - 56) @ matrix.T + 56 + shift
    y, x = np.mgrid[0:400, 0:400]
    frame = Frame(np.stack([x // 2, y // 2, np.full_like(x, 77)], axis=2).astype(np.uint8))
    aligner, array = make()
    aligner.align(frame, face_at(points))
    for (rx, ry), (px, py) in zip(np.rint(REFERENCE).astype(int), points, strict=True):
        if 0 <= px < 400 and 0 <= py < 400:
            np.testing.assert_allclose(array[0, ry, rx], (px / 2, py / 2, 77), atol=1.5)


@pytest.mark.parametrize(("fmt", "shape"), [(PixelFormat.GRAY, (90, 80)), (PixelFormat.NV12, (120, 80))])
def test_every_frame_format_is_aligned(fmt, shape):
    """Grey and YUV frames are warped as the kernels' reference warps them."""
    data = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    aligner, array = make()
    points = REFERENCE * 0.6 + 5
    aligner.align(Frame(data, fmt, 90), face_at(points))
    matrix = reference.similarity(points, REFERENCE)
    expected = reference.warp(data, fmt, 90, matrix, 1, "black", 112, 112)
    assert np.abs(array[0] - expected).max() <= 1


def test_outside_of_the_frame_is_black():
    """A face at the frame's edge is filled up with black."""
    aligner, array = make()
    aligner.align(Frame(np.full((112, 112, 3), 200, np.uint8)), face_at(REFERENCE - (60, 0)))
    assert (array[0, 20:90, 5:50] == 0).all()
    assert (array[0, 20:90, 62:110] == 200).all()


def test_a_quantized_input_is_filled_with_its_own_values():
    """An int8 input gets (pixel - mean) * scale, divided by the quantisation's scale, plus the zero point."""
    quantization = Quantization(0.0078125, -1)
    where = image(112, 112, "int8", quantization, mean=(127.5,) * 3, scale=(1 / 127.5,) * 3)
    aligner, array = make(input_info=where)
    frame = noise(112, 112)
    aligner.align(frame, face_at(REFERENCE))
    expected = np.rint((frame.data - 127.5) / 127.5 / 0.0078125) - 1
    assert array.dtype == np.int8
    assert np.abs(array[0] - expected.clip(-128, 127)).max() <= 2


def test_luma_is_filled_on_request_only():
    """The luma that quality is measured on is of the last face that it was asked for."""
    aligner, array = make()
    frame = noise(112, 112)
    aligner.align(frame, face_at(REFERENCE))
    assert not aligner.luma.any()
    aligner.align(frame, face_at(REFERENCE), luma=True)
    expected = array[0] @ (0.299, 0.587, 0.114)
    assert np.abs(aligner.luma - expected).max() <= 2


@pytest.mark.parametrize(
    ("scale", "samples"), [(0.1, 1), (1, 1), (2.9, 1), (3.1, 2), (4, 2), (6, 3), (16, 8), (100, 8)]
)
def test_large_faces_are_sampled_more_than_once(scale, samples):
    """A bilinear sample sees two pixels a side: half as many samples as pixels see them all, at most 8."""
    assert supersampling(scale) == samples


def test_a_large_face_keeps_its_mean():
    """Fine noise of a large face averages out instead of being picked at random."""
    aligner, array = make()
    frame = noise(112 * 8, 112 * 8)
    aligner.align(frame, face_at(REFERENCE * 8))
    inside = array[0, 4:-4, 4:-4]
    assert abs(inside.mean() - frame.data.mean()) < 1
    assert inside.std() < 25  # single samples would keep most of the noise's 74 levels


def test_a_face_without_landmarks_is_refused():
    """A crop of the box would be another input than the threshold was measured on."""
    aligner, _ = make()
    with pytest.raises(ModelError, match="without landmarks") as caught:
        aligner.align(noise(112, 112), Face(np.zeros(4, np.float32), None, 0.9))
    assert "detector" in caught.value.hint


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), 7), np.full((5, 2), np.nan), np.full((5, 2), np.inf), REFERENCE * 1e9],
    ids=["one point", "NaN", "infinite", "far away"],
)
def test_landmarks_that_determine_nothing_are_refused(points):
    """Coinciding, infinite or absurd landmarks are a KernelError, and no garbage in the input."""
    aligner, array = make()
    with pytest.raises(KernelError):
        aligner.align(noise(112, 112), face_at(points))
    assert not array.any()


def test_only_a_recognizer_has_a_reference():
    """A detector's manifest entry cannot align."""
    info = detector()
    with pytest.raises(ModelError, match="recognizer"):
        Aligner(info, FakeEngine(info).inputs["image"])
