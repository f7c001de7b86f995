"""Frames: what a camera or an image file becomes, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from facegate_edge import _image
from facegate_edge._image import load_image
from facegate_edge._values import Frame, PixelFormat
from facegate_edge.errors import FrameError

COLOR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def upright(frame):
    """The frame's pixels, turned upright by numpy."""
    return np.rot90(frame.data, -frame.rotation // 90)


@pytest.mark.parametrize(
    ("shape", "fmt", "size"),
    [
        ((6, 9, 3), PixelFormat.RGB, (9, 6)),
        ((6, 9, 3), PixelFormat.BGR, (9, 6)),
        ((6, 9), PixelFormat.GRAY, (9, 6)),
        ((9, 8), PixelFormat.NV12, (8, 6)),
        ((9, 8), PixelFormat.NV21, (8, 6)),
        ((5, 8, 2), PixelFormat.YUYV, (8, 5)),
    ],
)
def test_a_frame_knows_its_size(shape, fmt, size):
    """Width and height are those of the image, not of the array, and swap with a quarter turn."""
    data = np.zeros(shape, np.uint8)
    assert Frame(data, fmt).size == size
    assert Frame(data, fmt, 180).size == size
    assert Frame(data, fmt, 90).size == size[::-1]
    assert Frame(data, fmt, 270).stored_size == size


@pytest.mark.parametrize(
    ("data", "fmt", "rotation"),
    [
        (np.zeros((0, 9, 3), np.uint8), PixelFormat.RGB, 0),
        (np.zeros((6, 9, 4), np.uint8), PixelFormat.RGB, 0),
        (np.zeros((6, 9), np.uint8), PixelFormat.RGB, 0),
        (np.zeros((6, 9, 3), np.float32), PixelFormat.RGB, 0),
        (np.zeros((6, 18, 3), np.uint8)[:, ::2], PixelFormat.RGB, 0),
        (np.zeros((6, 9, 3), np.uint8), PixelFormat.GRAY, 0),
        (np.zeros((8, 8), np.uint8), PixelFormat.NV12, 0),
        (np.zeros((9, 7), np.uint8), PixelFormat.NV21, 0),
        (np.zeros((5, 7, 2), np.uint8), PixelFormat.YUYV, 0),
        (np.zeros((6, 9, 3), np.uint8), PixelFormat.RGB, 45),
        (np.zeros((6, 9, 3), np.uint8), PixelFormat.RGB, 90.0),
        (np.zeros((6, 9, 3), np.uint8), PixelFormat.RGB, "90"),
        (np.zeros((6, 9, 3), np.uint8), 0, 0),
        (np.zeros((6, 9, 3), np.uint8), "RGB", 0),
        (np.zeros((6, 9), np.uint8), 7, 0),
        ([[0, 0]], PixelFormat.GRAY, 0),
    ],
)
def test_an_array_that_is_no_frame_is_refused(data, fmt, rotation):
    """Wrong shape, type, layout or rotation is a FrameError when the frame is made."""
    with pytest.raises(FrameError):
        Frame(data, fmt, rotation)


def test_a_frame_s_repr_shows_no_pixel():
    """A frame in a log shows its size and format only."""
    assert repr(Frame(COLOR, rotation=90)) == "Frame(6x9 RGB, rotation=90)"


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_a_lossless_file_gives_its_pixels(tmp_path, suffix):
    """The pixels of an RGB file come unchanged, by path and by stream."""
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLOR).save(path, **({"lossless": True} if suffix == "webp" else {}))
    for frame in (Frame.open(path), Frame.open(str(path)), load_image(io.BytesIO(path.read_bytes()))):
        assert (frame.format, frame.rotation) == (PixelFormat.RGB, 0)
        np.testing.assert_array_equal(frame.data, COLOR)


def saved(tmp_path, image, name="image.png", **options):
    """The path of a saved image."""
    path = tmp_path / name
    image.save(path, **options)
    return path


GREY = COLOR[:, :, 0]


@pytest.mark.parametrize(
    ("image", "fmt", "expected"),
    [
        (Image.fromarray(GREY), PixelFormat.GRAY, GREY),
        (Image.fromarray(GREY > 127), PixelFormat.GRAY, (GREY > 127) * np.uint8(255)),
        (Image.fromarray(GREY.astype(np.uint16) * 256 + 7), PixelFormat.GRAY, GREY),
        (Image.fromarray(COLOR).quantize(256), PixelFormat.RGB, COLOR),
        (Image.fromarray(np.dstack([COLOR, np.full((6, 9), 255, np.uint8)])), PixelFormat.RGB, COLOR),
        (Image.fromarray(np.dstack([COLOR, np.zeros((6, 9), np.uint8)])), PixelFormat.RGB, COLOR * 0),
        (Image.merge("LA", [Image.fromarray(GREY)] * 2), PixelFormat.RGB, None),
    ],
    ids=["grey", "one bit", "16 bit", "palette", "opaque", "transparent over black", "grey with alpha"],
)
def test_every_mode_becomes_rgb_or_grey(tmp_path, image, fmt, expected):
    """Grey stays grey, 16 bits keep the high byte, palettes and alpha become RGB over black."""
    frame = Frame.open(saved(tmp_path, image))
    assert frame.format == fmt
    assert frame.size == (9, 6)
    if expected is not None:
        np.testing.assert_array_equal(frame.data, expected)


def test_half_transparent_pixels_are_mixed_with_black(tmp_path):
    """Alpha 128 leaves about half of the colour."""
    rgba = np.dstack([COLOR, np.full((6, 9), 128, np.uint8)])
    frame = Frame.open(saved(tmp_path, Image.fromarray(rgba)))
    np.testing.assert_allclose(frame.data, COLOR * (128 / 255), atol=1)


def test_a_palette_with_a_transparent_color_is_laid_over_black(tmp_path):
    """A GIF-like transparent palette entry becomes black, not the colour that happens to stand there."""
    image = Image.new("P", (4, 3), 1)
    image.putpalette([10, 20, 30, 200, 210, 220])
    image.putpixel((0, 0), 0)
    frame = Frame.open(saved(tmp_path, image, transparency=1))
    assert frame.data[0, 0].tolist() == [10, 20, 30]
    assert frame.data[1, 1].tolist() == [0, 0, 0]


def test_cmyk_becomes_rgb(tmp_path):
    """A CMYK JPEG, as print houses give them, is read as RGB."""
    frame = Frame.open(saved(tmp_path, Image.new("CMYK", (9, 6), (0, 255, 255, 0)), "image.jpg", quality=95))
    assert frame.format == PixelFormat.RGB
    assert (abs(frame.data.astype(int) - (255, 0, 0)) < 12).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image", [COLOR, GREY], ids=["color", "grey"])
def test_exif_orientation_is_obeyed(tmp_path, orientation, image):
    """Every EXIF orientation gives what Pillow's own transposition gives; pure turns copy no pixel."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(image), exif=exif)
    frame = Frame.open(path)
    from PIL import ImageOps  # noqa: PLC0415

    np.testing.assert_array_equal(upright(frame), np.asarray(ImageOps.exif_transpose(Image.open(path))))
    assert frame.size == ((6, 9) if orientation >= 5 else (9, 6))
    assert frame.rotation == {3: 180, 6: 90, 8: 270}.get(orientation, 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_is_none(tmp_path, orientation):
    """An orientation that EXIF does not have is as good as none."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert Frame.open(saved(tmp_path, Image.fromarray(COLOR), exif=exif)).rotation == 0


def test_broken_exif_does_not_lose_the_image(tmp_path):
    """An EXIF block of garbage states no orientation; the pixels are still good."""
    path = saved(tmp_path, Image.fromarray(COLOR), "image.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\xff", quality=95)
    assert Frame.open(path).size == (9, 6)


def test_an_animation_gives_its_first_picture(tmp_path):
    """Of several pictures in a file the first one is taken."""
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    path = saved(tmp_path, first, "image.gif", save_all=True, append_images=[second])
    assert Frame.open(path).data[0, 0].tolist() == [255, 0, 0]


def png_of_size(width, height):
    """The header of a PNG that promises that many pixels, and next to no data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def image_bytes(suffix, **options):
    """A noisy 64x64 image in a format."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no image"),
        (b"this is a text file", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image"),
        (image_bytes("jpeg")[:100], "no image|cannot be read|damaged or truncated"),
        (image_bytes("jpeg")[:-2000], "damaged or truncated"),
        (image_bytes("png")[:-4000], "damaged or truncated"),
        (image_bytes("webp")[:-500], "no image|cannot be read|damaged or truncated"),
        (image_bytes("bmp")[:-500], "damaged or truncated"),
        (image_bytes("tiff")[:-500], "no image|damaged or truncated"),
        (png_of_size(10, 10), "damaged or truncated"),
        (png_of_size(16385, 1), "larger than"),
        (png_of_size(9000, 9000), "larger than"),
        (png_of_size(60000, 60000), "larger than"),
        (png_of_size(0, 10), "no image|cannot be read|damaged"),
    ],
    ids=[
        "empty",
        "text",
        "PostScript",
        "JPEG header",
        "JPEG truncated",
        "PNG truncated",
        "WebP truncated",
        "BMP truncated",
        "TIFF truncated",
        "PNG too short",
        "too long a side",
        "81 megapixels",
        "bomb",
        "no width",
    ],
)
def test_a_file_that_is_no_good_image_is_refused(tmp_path, content, message):
    """No image, a damaged or an enormous one is a FrameError with advice, raised before memory is spent on it."""
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=message) as caught:
        Frame.open(path)
    assert caught.value.hint


def test_a_float_image_is_refused(tmp_path):
    """Pixels without a stated range cannot be used."""
    path = saved(tmp_path, Image.fromarray(np.zeros((4, 4), np.float32)), "image.tiff")
    with pytest.raises(FrameError, match="floating-point"):
        Frame.open(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    """Missing, folder: each says which it is and names the path."""
    with pytest.raises(FrameError, match=r"no file .*nothing"):
        Frame.open(tmp_path / "nothing.jpg")
    with pytest.raises(FrameError, match="is a folder"):
        Frame.open(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    """A file that may not be read says so."""
    from PIL import Image as image_module  # noqa: N813, PLC0415

    def forbid(*_args, **_options):
        raise PermissionError

    monkeypatch.setattr(image_module, "open", forbid)
    with pytest.raises(FrameError, match="may not be read"):
        Frame.open(tmp_path / "secret.png")


def test_an_image_at_the_limit_is_taken(tmp_path, monkeypatch):
    """The limit counts pixels inclusively."""
    path = saved(tmp_path, Image.fromarray(COLOR))
    monkeypatch.setattr(_image, "MAX_PIXELS", 54)
    assert Frame.open(path).size == (9, 6)
    monkeypatch.setattr(_image, "MAX_PIXELS", 53)
    with pytest.raises(FrameError, match="larger than"):
        Frame.open(path)
