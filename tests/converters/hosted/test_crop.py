"""The protocol's crop: margin, clamping, area filtering, PNG."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from facegate_convert import crop_face, encode_png
from facegate_convert._hosted._crop import shrink, upright_rgb
from facegate_convert.errors import CropError
from facegate_edge import Frame, PixelFormat


def numbered(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows // 256 + columns // 256)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((100, 50, 200, 150), (40, 160), (90, 210)),  # 10 % of 100 pixels on each side
        ((100, 50, 150, 250), (30, 270), (95, 155)),  # of the width to the sides, of the height up and down
        ((100.2, 50.4, 200.2, 150.4), (40, 161), (90, 211)),  # every pixel that is touched
        ((-50, -50, 50, 50), (0, 60), (0, 60)),  # clamped
        ((250, 250, 400, 400), (235, 300), (235, 300)),
        ((-1000, -1000, 2000, 2000), (0, 300), (0, 300)),
    ],
)
def test_the_box_grows_by_a_tenth_on_each_side_and_is_clamped(box, rows, columns):
    """An expansion factor of 0.2 adds 10 % of the box on each of its sides, as far as the image goes."""
    image = numbered(300, 300)
    found = crop_face(image, box)
    expected = image[slice(*rows), slice(*columns)]
    if max(expected.shape) > 256:
        assert max(found.shape) == 256
    else:
        assert np.array_equal(found, expected)
        found[:] = 0  # a copy
        assert image.any()


@pytest.mark.parametrize(
    "box",
    [(10, 10, 10, 20), (20, 10, 10, 20), (math.nan, 0, 5, 5), (0, 0, math.inf, 5), (400, 0, 500, 50), (0, -90, 9, -50)],
)
def test_a_box_that_holds_nothing_is_refused(box):
    """An empty box, one that is no number, and one beside the image are refused."""
    with pytest.raises(CropError) as caught:
        crop_face(numbered(300, 300), box)
    assert caught.value.hint


@pytest.mark.parametrize("size", [(300, 200), (1000, 777), (257, 256), (512, 300), (3, 900), (2000, 1024), (256, 1)])
def test_large_crops_are_scaled_down_by_area(size):
    """The longest side becomes 256, each pixel the mean of the area below it, as OpenCV's INTER_AREA has it."""
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = shrink(image)
    assert max(found.shape) == 256
    expected = cv2.resize(image, found.shape[1::-1], interpolation=cv2.INTER_AREA).reshape(found.shape)
    assert np.abs(found.astype(int) - expected).max() <= 1  # OpenCV rounds in between


def test_whole_ratios_agree_with_pillow():
    """At half and a quarter of the size, Pillow's BOX filter gives the same pixels up to its rounding."""
    image = np.random.default_rng(3).integers(0, 256, (1024, 512, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((128, 256), Image.Resampling.BOX))
    assert np.abs(shrink(image).astype(int) - expected).max() <= 1


def test_small_crops_are_not_enlarged():
    """A crop below 256 pixels stays as it is."""
    image = numbered(17, 90)
    assert np.array_equal(shrink(image), image)


def test_a_crop_travels_without_loss():
    """What is encoded is decoded to the same pixels."""
    image = np.random.default_rng(4).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(image))) as again:
        assert again.format == "PNG"
        assert np.array_equal(np.asarray(again), image)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_photographs_are_turned_upright_before_they_are_cut(rotation):
    """Pixels come in the coordinates of boxes: turned as the frame says, grey and BGR as RGB."""
    stored = numbered(4, 6)
    upright = np.asarray(Image.fromarray(stored).rotate(-rotation, expand=True))
    assert np.array_equal(upright_rgb(Frame(stored, PixelFormat.RGB, rotation)), upright)
    reversed_ = np.ascontiguousarray(stored[:, :, ::-1])
    assert np.array_equal(upright_rgb(Frame(reversed_, PixelFormat.BGR, rotation)), upright)
    grey = upright_rgb(Frame(np.ascontiguousarray(stored[:, :, 0]), PixelFormat.GRAY, rotation))
    assert np.array_equal(grey, np.repeat(upright[:, :, :1], 3, axis=2))


def test_camera_frames_are_refused():
    """YUV frames have no place in an evaluation of photographs."""
    with pytest.raises(CropError):
        upright_rgb(Frame(np.zeros((6, 4), np.uint8), PixelFormat.NV12))
