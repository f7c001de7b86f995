"""What of a PNG is refused before anything decodes it."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facegate_convert._hosted._png import MAX_BYTES, check_png
from facegate_convert.errors import CropError

from .hosting import SIGNATURE, chunk, header, png

END = chunk(b"IEND", b"")


def pixels(count: int) -> bytes:
    """The chunk IDAT of so many zero bytes."""
    return chunk(b"IDAT", zlib.compress(bytes(count)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_every_kind_of_png_passes_with_the_same_pixels(mode):
    """A PNG that Pillow wrote is let through, and what is handed on has the pixels of the original."""
    levels = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    image = Image.fromarray(levels[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(levels)
    image = image if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    found = check_png(buffer.getvalue())
    assert (found.width, found.height) == (53, 37)
    with Image.open(io.BytesIO(found.data)) as again:
        assert np.array_equal(np.asarray(again), np.asarray(image))


def test_opencv_writes_what_passes():
    """A PNG of OpenCV passes too."""
    cv2 = pytest.importorskip("cv2")
    assert check_png(cv2.imencode(".png", np.zeros((200, 256, 3), np.uint8))[1].tobytes())[:2] == (256, 200)


def test_an_interlaced_png_passes():
    """Adam7 is a PNG like others: its rows are counted pass by pass."""
    rows = sum(
        -(-(5 - y) // dy) * (1 + 3 * -(-(3 - x) // dx))
        for x, y, dx, dy in [(0, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    )
    data = SIGNATURE + header(3, 5, interlace=1) + pixels(rows) + END
    assert check_png(data)[:2] == (3, 5)
    with Image.open(io.BytesIO(data)) as image:
        image.load()


def test_nothing_but_pixels_is_handed_on():
    """Text, profiles, orientation and unknown chunks are dropped, so that no decoder unpacks them."""
    whole = png()
    place = len(SIGNATURE) + 25
    more = chunk(b"tEXt", b"Comment\0Jane Doe") + chunk(b"eXIf", b"MM\0*") + chunk(b"iCCP", b"x\0\0bomb")
    found = check_png(whole[:place] + more + whole[place:])
    assert found.data == whole


REFUSED = {
    "empty": (b"", "no PNG"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG"),
    "GIF": (b"GIF89a" + bytes(100), "no PNG"),
    "signature alone": (SIGNATURE, "truncated"),
    "truncated": (png()[:-6], "truncated"),
    "length beyond the end": (SIGNATURE + b"\xff\xff\xff\xffIHDR", "truncated"),
    "something behind": (png() + b"GIF89a", "follows"),
    "wrong check sum": (png()[:30] + b"\0" + png()[31:], "check sum"),
    "no header": (SIGNATURE + pixels(4) + END, "header"),
    "two headers": (SIGNATURE + header(1, 1) * 2 + pixels(4) + END, "header"),
    "short header": (SIGNATURE + chunk(b"IHDR", b"\0\0\0\1") + pixels(4) + END, "header"),
    "too wide": (SIGNATURE + header(257, 1) + pixels(772) + END, "256 pixels"),
    "too high": (SIGNATURE + header(1, 257) + pixels(1028) + END, "256 pixels"),
    "huge": (SIGNATURE + header(2**31 - 1, 2**31 - 1) + pixels(4) + END, "256 pixels"),
    "no pixels": (SIGNATURE + header(0, 1) + pixels(0) + END, "256 pixels"),
    "unknown color": (SIGNATURE + header(1, 1, color=5) + pixels(4) + END, "no PNG has"),
    "unknown depth": (SIGNATURE + header(1, 1, depth=32) + pixels(4) + END, "no PNG has"),
    "unknown interlace": (SIGNATURE + header(1, 1, interlace=2) + pixels(4) + END, "no PNG has"),
    "too few pixels": (SIGNATURE + header(9, 9) + pixels(9 * 28 - 1) + END, "as many pixels"),
    "too many pixels": (SIGNATURE + header(9, 9) + pixels(9 * 28 + 1) + END, "as many pixels"),
    "none": (SIGNATURE + header(9, 9) + END, "as many pixels"),
    "no zlib": (SIGNATURE + header(9, 9) + chunk(b"IDAT", b"\0" * 50) + END, "damaged"),
    "critical and unknown": (SIGNATURE + header(1, 1) + chunk(b"EVIL", b"") + pixels(4) + END, "not known"),
    "many chunks": (SIGNATURE + header(1, 1) + chunk(b"tEXt", b"") * 5000 + pixels(4) + END, "pieces"),
    "many bytes": (SIGNATURE + header(1, 1) + chunk(b"tEXt", bytes(MAX_BYTES)) + pixels(4) + END, "bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_crop_is_refused(name):
    """A file that is no PNG, is damaged, too large, or says one thing and holds another, is refused with the reason."""
    data, why = REFUSED[name]
    with pytest.raises(CropError, match=why) as caught:
        check_png(data)
    assert caught.value.hint


def test_a_decompression_bomb_is_not_unpacked():
    """A megabyte that unpacks to 200 times as much costs no more memory than the pixels that were announced."""
    import tracemalloc  # noqa: PLC0415 - here only

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    assert len(packed) < MAX_BYTES
    data = SIGNATURE + header(256, 256) + chunk(b"IDAT", packed) + END
    tracemalloc.start()
    with pytest.raises(CropError, match="as many pixels"):
        check_png(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_BYTES


@given(st.data())
def test_a_changed_file_is_refused_or_harmless(data):
    """A PNG with some bytes exchanged raises nothing but CropError, and what passes can be decoded."""
    whole = bytearray(png(9, 8))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = check_png(bytes(whole))
    except CropError:
        return
    with Image.open(io.BytesIO(found.data)) as image:
        image.load()
