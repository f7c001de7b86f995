"""Frames into model inputs: fg_letterbox and fg_warp equal the numpy reference to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_edge import _kernels as kernels
from facegate_edge._manifest import Quantization
from facegate_edge._values import Frame, PixelFormat

FORMATS = list(PixelFormat)
ROTATIONS = [0, 90, 180, 270]
DTYPES = ["float32", "int8", "uint8"]
PATHS = [path for path in kernels.available_paths() if path in ("scalar", kernels.active_path())]
GUARD = 0xA5


def _shape_of(fmt: PixelFormat, width: int, height: int) -> tuple[int, ...]:
    """The array shape of a frame, its sides made even where the format asks for it."""
    if fmt in (PixelFormat.NV12, PixelFormat.NV21):
        width, height = width + width % 2, height + height % 2
        return height * 3 // 2, width
    if fmt is PixelFormat.YUYV:
        return height, width + width % 2, 2
    return (height, width) if fmt is PixelFormat.GRAY else (height, width, 3)


def _make_frame(fmt: PixelFormat, width: int, height: int, rotation: int = 0, seed: int = 0) -> Frame:
    """A frame of noise with black and white stretches, where rounding and clamping differ."""
    rng = np.random.default_rng([seed, int(fmt), width, height, rotation])
    data = rng.integers(-80, 336, _shape_of(fmt, width, height)).clip(0, 255).astype(np.uint8)
    return Frame(data, fmt, rotation)


def _guarded(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """An array and the memory around it, which must stay as it is."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(size + 256, GUARD, np.uint8)
    return memory[128 : 128 + size].view(dtype).reshape(shape), memory


def _assert_guards(memory: np.ndarray) -> None:
    assert (memory[:128] == GUARD).all()
    assert (memory[-128:] == GUARD).all()


def _random_lut(dtype: str, seed: int = 0) -> np.ndarray:
    """A table in which every entry is different for each channel."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.permutation(768).reshape(3, 256).astype(np.float32) / np.float32(7)
    return np.stack([rng.permutation(256) for _ in range(3)]).astype(np.uint8).view(dtype)


STRAIGHT = {
    "float32": kernels.make_lut((127.5, 0, 104), (1 / 128, 1, 1), "float32"),
    "int8": np.tile(np.arange(-128, 128, dtype=np.int8), (3, 1)),
    "uint8": np.tile(np.arange(256, dtype=np.uint8), (3, 1)),
}


def _letterboxed(frame: Frame, width: int, height: int, dtype: str, color: str, path: str) -> tuple[np.ndarray, float]:
    out, memory = _guarded((height, width, 3), dtype)
    scale = kernels.Letterbox(kernels.Target(out, _random_lut(dtype), color), path).run(frame)
    _assert_guards(memory)
    return out, scale


def _assert_letterbox(frame: Frame, width: int, height: int, dtype: str, color: str) -> None:
    rgb, scale = reference.letterbox(frame.data, frame.format, frame.rotation, width, height)
    expected = reference.through_table(rgb, _random_lut(dtype), color)
    for path in PATHS:
        got, got_scale = _letterboxed(frame, width, height, dtype, color, path)
        assert got_scale == float(scale)
        np.testing.assert_array_equal(got, expected, err_msg=path)


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_letterbox_of_each_format_rotation_type_and_order(fmt: PixelFormat, rotation: int, dtype: str, color: str):
    """Every combination of frame and input equals the reference, bit for bit."""
    _assert_letterbox(_make_frame(fmt, 53, 38, rotation), 37, 24, dtype, color)


@pytest.mark.parametrize("bent", ["", "by one", "by the last bit"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_straight_tables_give_what_looking_up_gives(dtype: str, path: str, bent: str):
    """A table that is a straight line, which is computed, and one that is so but for one entry, which is not."""
    lut = STRAIGHT[dtype].copy()
    if bent:
        last_bit = bent == "by the last bit" and dtype == "float32"
        lut[1, 77] = np.nextafter(lut[1, 77], np.float32(99)) if last_bit else lut[1, 77] + 1
    frame = _make_frame(PixelFormat.RGB, 90, 70)
    rgb, _ = reference.letterbox(frame.data, frame.format, 0, 77, 75)
    out = np.empty((75, 77, 3), dtype)
    kernels.Letterbox(kernels.Target(out, lut, "RGB"), path).run(frame)
    np.testing.assert_array_equal(out, reference.through_table(rgb, lut, "RGB"))
    kernels.Warp(kernels.Target(out, lut, "BGR"), path=path).run(frame, np.eye(2, 3))
    rgb = reference.warp(frame.data, frame.format, 0, np.eye(2, 3), 1, 0, 77, 75)
    np.testing.assert_array_equal(out, reference.through_table(rgb, lut, "BGR"))


def test_a_mean_of_36_samples_that_is_exactly_a_half_is_rounded_up():
    """The sum of samples is divided exactly: of 30,000 values some lie at a half, then at the half of a level."""
    frame = _make_frame(PixelFormat.RGB, 120, 120)
    matrix = np.array([[0.8, 0.2, 3.1], [-0.2, 0.8, 25.7]])
    expected = reference.warp(frame.data, frame.format, 0, matrix, 6, 0, 100, 100)
    out = np.empty((100, 100, 3), np.uint8)
    kernels.Warp(kernels.Target(out, STRAIGHT["uint8"], "RGB")).run(frame, matrix, 6)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("step", "rise", "second"),
    [(128, -1, None), (1, -1, None), (255, 1, None), (77, 5, None), (0, 3, None), (77, 5, 90), (100, -1, 255)],
)
def test_byte_tables_with_a_step_give_what_looking_up_gives(dtype, path, step, rise, second):
    """What (pixel - 127.5) is rounded to: a line with a step at a pixel value, and computed; with two it is not."""
    line = np.arange(256) - (128 if dtype == "int8" else 0)
    line = line + rise * (np.arange(256) >= step)
    if second is not None:
        line = line + (np.arange(256) >= second)
    lut = np.stack([line, np.arange(256), line]).astype(np.uint8).view(dtype)
    frame = _make_frame(PixelFormat.RGB, 90, 70)
    rgb, _ = reference.letterbox(frame.data, frame.format, 0, 77, 75)
    out = np.empty((75, 77, 3), dtype)
    kernels.Letterbox(kernels.Target(out, lut, "RGB"), path).run(frame)
    np.testing.assert_array_equal(out, reference.through_table(rgb, lut, "RGB"))


@pytest.mark.parametrize(
    ("width", "height", "to_width", "to_height"),
    [
        (1, 1, 1, 1),
        (1, 1, 33, 17),
        (2, 2, 64, 64),
        (1, 50, 16, 16),
        (50, 1, 16, 16),
        (3, 500, 32, 32),
        (40, 30, 40, 30),
        (80, 60, 40, 40),
        (33, 31, 320, 320),
        (640, 480, 1, 1),
        (101, 67, 64, 65),
        (640, 360, 320, 320),
    ],
)
@pytest.mark.parametrize("fmt", FORMATS)
def test_letterbox_of_edge_sizes(fmt: PixelFormat, width: int, height: int, to_width: int, to_height: int):
    """One-pixel frames, lines, enlarging, the same size and strong reduction equal the reference."""
    for rotation in (0, 90):
        _assert_letterbox(_make_frame(fmt, width, height, rotation), to_width, to_height, "uint8", "RGB")


sizes = st.integers(1, 70)


@settings(max_examples=150)
@given(
    fmt=st.sampled_from(FORMATS),
    rotation=st.sampled_from(ROTATIONS),
    width=sizes,
    height=sizes,
    to_width=sizes,
    to_height=sizes,
    dtype=st.sampled_from(DTYPES),
    color=st.sampled_from(["RGB", "BGR"]),
)
def test_letterbox_of_any_size(fmt, rotation, width, height, to_width, to_height, dtype, color):
    """Whatever the sizes, the letterbox equals the reference."""
    _assert_letterbox(_make_frame(fmt, width, height, rotation), to_width, to_height, dtype, color)


def test_letterbox_keeps_one_object_for_frames_of_different_sizes():
    """A frame of another size, format or rotation after the first gives what a new object gives."""
    out, _ = _guarded((48, 64, 3), "uint8")
    letterbox = kernels.Letterbox(kernels.Target(out, _random_lut("uint8"), "RGB"))
    for fmt, width, height, rotation in [(0, 20, 10, 0), (3, 200, 100, 90), (5, 8, 300, 180), (2, 5, 5, 0)]:
        frame = _make_frame(PixelFormat(fmt), width, height, rotation)
        letterbox.run(frame)
        rgb, _ = reference.letterbox(frame.data, frame.format, frame.rotation, 64, 48)
        np.testing.assert_array_equal(out, reference.through_table(rgb, _random_lut("uint8"), "RGB"))


def test_letterbox_fills_the_rest_with_pixel_zero():
    """Right of and below the content stands the table's entry for pixel 0."""
    lut = _random_lut("float32")
    out = np.empty((32, 32, 3), np.float32)
    kernels.Letterbox(kernels.Target(out, lut, "RGB")).run(_make_frame(PixelFormat.RGB, 64, 32))
    np.testing.assert_array_equal(out[16:], np.broadcast_to(lut[:, 0], (16, 32, 3)))


def _smooth_image(width: int, height: int) -> np.ndarray:
    """Waves of a few periods in each channel: nothing that two chroma filters would see differently."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [np.sin(9 * x + 3 * y), np.cos(5 * x - 7 * y), np.sin(4 * x * y + 2)]
    return np.rint(128 + 70 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (960, 720), (320, 240), (240, 180)])
@pytest.mark.parametrize("noise", [False, True])
def test_letterbox_agrees_with_opencv(width: int, height: int, noise: bool):
    """At most one level from cv2.resize, INTER_LINEAR."""
    cv2 = pytest.importorskip("cv2")
    image = _make_frame(PixelFormat.RGB, width, height).data if noise else _smooth_image(width, height)
    out = np.empty((320, 320, 3), np.uint8)
    kernels.Letterbox(kernels.Target(out, _identity_lut(), "RGB")).run(Frame(image))
    expected = cv2.resize(image, (320, 240), interpolation=cv2.INTER_LINEAR)
    assert np.abs(out[:240].astype(int) - expected).max() <= 1


def _identity_lut() -> np.ndarray:
    return np.tile(np.arange(256, dtype=np.uint8), (3, 1))


@pytest.mark.parametrize("fmt", [PixelFormat.NV12, PixelFormat.NV21, PixelFormat.YUYV])
def test_yuv_agrees_with_opencv(fmt: PixelFormat):
    """Colors of a smooth YUV frame are within 2 levels of cv2.cvtColor followed by cv2.resize, away from the edge."""
    cv2 = pytest.importorskip("cv2")
    y, u, v = (c.astype(np.uint8) for c in np.moveaxis(_smooth_image(640, 480) * 0.6 + 40, 2, 0))
    if fmt is PixelFormat.YUYV:
        data = np.stack([y, np.empty_like(y)], -1)
        data[:, 0::2, 1], data[:, 1::2, 1] = u[:, ::2], v[:, ::2]
        code = cv2.COLOR_YUV2RGB_YUYV
    else:
        first, second = (u, v) if fmt is PixelFormat.NV12 else (v, u)
        chroma = np.stack([first[::2, ::2], second[::2, ::2]], -1).reshape(240, 640)
        data = np.concatenate([y, chroma])
        code = cv2.COLOR_YUV2RGB_NV12 if fmt is PixelFormat.NV12 else cv2.COLOR_YUV2RGB_NV21
    data = np.ascontiguousarray(data)
    out = np.empty((240, 320, 3), np.uint8)
    kernels.Letterbox(kernels.Target(out, _identity_lut(), "RGB")).run(Frame(data, fmt))
    expected = cv2.resize(cv2.cvtColor(data, code), (320, 240), interpolation=cv2.INTER_LINEAR)
    assert np.abs(out.astype(int) - expected)[1:-1, 1:-1].max() <= 2


# ---------------------------------------------------------------- warp

MATRICES = {
    "identity": [1, 0, 0, 0, 1, 0],
    "half a pixel": [1, 0, 0.5, 0, 1, 0.5],
    "rotated": [0.8, -0.6, 12.25, 0.6, 0.8, -3.5],
    "reduced": [3.7, 0.2, -5, -0.1, 4.1, 2],
    "enlarged": [0.11, 0.02, 9.3, -0.03, 0.12, 8.7],
    "mirrored": [-1, 0, 30, 0, 1, 0],
    "one point": [0, 0, 4.5, 0, 0, 3.25],
    "far outside": [1, 0, 1e6, 0, 1, -1e6],
    "largest": [1024, -1024, 2.0**24, -1024, 1024, -(2.0**24)],
}


def _assert_warp(frame, matrix, samples, border, width, height, dtype="uint8", color="RGB"):
    matrix = np.array(matrix, np.float64).reshape(2, 3)
    number = kernels.BORDERS[border]
    rgb = reference.warp(frame.data, frame.format, frame.rotation, matrix, samples, number, width, height)
    expected = reference.through_table(rgb, _random_lut(dtype), color)
    for path in PATHS:
        out, memory = _guarded((height, width, 3), dtype)
        luma, luma_memory = _guarded((height, width), "uint8")
        target = kernels.Target(out, _random_lut(dtype), color)
        kernels.Warp(target, border=border, luma=luma, path=path).run(frame, matrix, samples)
        np.testing.assert_array_equal(out, expected, err_msg=path)
        np.testing.assert_array_equal(luma, reference.luma(rgb), err_msg=path)
        _assert_guards(memory)
        _assert_guards(luma_memory)
        out[:] = 0
        kernels.Warp(target, border=border, path=path).run(frame, matrix, samples)
        np.testing.assert_array_equal(out, expected, err_msg=f"{path}, no luma")


@pytest.mark.parametrize("border", list(kernels.BORDERS))
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_warp_of_each_format_rotation_and_border(fmt: PixelFormat, rotation: int, border: str):
    """Every format, turned every way, with every border equals the reference, bit for bit."""
    _assert_warp(_make_frame(fmt, 40, 31, rotation), MATRICES["rotated"], 1, border, 33, 29)


@pytest.mark.parametrize("samples", [1, 2, 3, 8])
@pytest.mark.parametrize("name", list(MATRICES))
@pytest.mark.parametrize("fmt", [PixelFormat.RGB, PixelFormat.GRAY, PixelFormat.NV12])
def test_warp_by_each_kind_of_matrix(fmt: PixelFormat, name: str, samples: int):
    """Reduction, enlargement, mirroring and places far outside equal the reference, with and without supersampling."""
    for border in kernels.BORDERS:
        _assert_warp(_make_frame(fmt, 40, 30), MATRICES[name], samples, border, 24, 20)


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fmt", FORMATS)
def test_warp_into_each_type_and_order(fmt: PixelFormat, dtype: str, color: str):
    """The table and the channel order apply as in the letterbox."""
    _assert_warp(_make_frame(fmt, 90, 80), MATRICES["rotated"], 1, "nearest", 67, 20, dtype, color)


coefficient = st.floats(-3, 3)
offset = st.floats(-60, 60)


@settings(max_examples=150)
@given(
    fmt=st.sampled_from(FORMATS),
    rotation=st.sampled_from(ROTATIONS),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    matrix=st.tuples(coefficient, coefficient, offset, coefficient, coefficient, offset),
    samples=st.integers(1, 3),
    border=st.sampled_from(list(kernels.BORDERS)),
    to_width=st.integers(1, 70),
    to_height=st.integers(1, 12),
)
def test_warp_by_any_matrix(fmt, rotation, width, height, matrix, samples, border, to_width, to_height):
    """Whatever the matrix and the sizes, the warp equals the reference."""
    _assert_warp(_make_frame(fmt, width, height, rotation), matrix, samples, border, to_width, to_height)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_warp_and_letterbox_show_the_same_upright_image(rotation: int):
    """A frame that is turned on its side is the frame that numpy turns."""
    frame = _make_frame(PixelFormat.RGB, 30, 20, rotation)
    upright = np.rot90(frame.data, -rotation // 90)
    height, width = upright.shape[:2]
    boxed, warped = np.empty((height, width, 3), np.uint8), np.empty((height, width, 3), np.uint8)
    kernels.Letterbox(kernels.Target(boxed, _identity_lut(), "RGB")).run(frame)
    kernels.Warp(kernels.Target(warped, _identity_lut(), "RGB")).run(frame, np.eye(2, 3))
    np.testing.assert_array_equal(boxed, upright)
    np.testing.assert_array_equal(warped, upright)


@pytest.mark.parametrize(
    "border", [("black", "BORDER_CONSTANT"), ("mirror", "BORDER_REFLECT_101"), ("nearest", "BORDER_REPLICATE")]
)
def test_warp_agrees_with_opencv(border: tuple[str, str]):
    """Within 2 levels of cv2.warpAffine on a smooth image (OpenCV rounds coordinates to 1/32 pixel)."""
    cv2 = pytest.importorskip("cv2")
    image = _smooth_image(200, 160)
    matrix = np.array([[1.1, -0.4, 30.2], [0.4, 1.1, -10.7]])
    out = np.empty((112, 112, 3), np.uint8)
    kernels.Warp(kernels.Target(out, _identity_lut(), "RGB"), border=border[0]).run(Frame(image), matrix)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(image, matrix, (112, 112), flags=flags, borderMode=getattr(cv2, border[1]))
    # At the black border the image is as steep as can be, and 1/64 pixel is 4 levels.
    assert np.abs(out.astype(int) - expected).max() <= (5 if border[0] == "black" else 2)


def test_supersampling_removes_what_a_single_sample_aliases():
    """A fine checkerboard reduced eightfold becomes grey with 8 samples a side, as its mean is."""
    board = np.indices((256, 256)).sum(0) % 2 * 255
    frame = Frame(board.astype(np.uint8), PixelFormat.GRAY)
    out = np.empty((32, 32, 3), np.uint8)
    kernels.Warp(kernels.Target(out, _identity_lut(), "RGB")).run(frame, np.array([[8, 0, 3.5], [0, 8, 3.5]]), 8)
    assert np.abs(out.astype(int) - 128).max() <= 1


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_table_quantizes_as_the_engine_does(dtype: str):
    """A quantised entry is rounded half to even after scaling, shifted by the zero point and saturated."""
    zero = -128 if dtype == "int8" else 0
    lut = kernels.make_lut((0, 0, 0), (1, 0.5, 2), dtype, Quantization(1.0, zero))
    np.testing.assert_array_equal(lut[0].astype(int), np.arange(256) + zero)
    np.testing.assert_array_equal(lut[1][:6].astype(int) - zero, [0, 0, 1, 2, 2, 2])
    assert lut[2].max() == np.iinfo(dtype).max


def test_table_of_floats_is_pixel_minus_mean_times_scale():
    """A float entry is (pixel - mean) * scale."""
    lut = kernels.make_lut((127.5, 0, 100), (1 / 128, 1, 0.5), "float32")
    assert lut.dtype == np.float32
    np.testing.assert_allclose(lut[:, 200], [(200 - 127.5) / 128, 200, 50], rtol=1e-6)
