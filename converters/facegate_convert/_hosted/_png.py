"""What of a PNG file is looked at before anything decodes it (PNG specification, third edition, sections 5 and 11)."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from facegate_convert.errors import CropError

__all__ = ["MAX_BYTES", "MAX_SIDE", "SIGNATURE", "Png", "check_png"]

MAX_SIDE = 256
"""Pixels: the protocol's longest side of a crop."""
MAX_BYTES = 1 << 20
"""Of a crop as PNG. 256 x 256 pixels of four channels and 16 bits are half of it when nothing can be compressed."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_CHUNKS = 4096  # encoders that flush often write IDATs of 256 bytes; nobody writes a million
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_HINT = "send 8-bit RGB as PNG: PIL.Image.save(..., format='PNG') or cv2.imencode('.png', ...)"


class Png(NamedTuple):
    """A PNG file whose structure was checked.

    Attributes:
        width: pixels.
        height: pixels.
        data: the file again with nothing in it but what its pixels need: no text, profile, time, orientation or
            animation, each of which a decoder would unpack.
    """

    width: int
    height: int
    data: bytes


def check_png(data: bytes) -> Png:
    """Check that bytes are one PNG image of a crop, without decoding it.

    Args:
        data: the file's bytes.

    Raises:
        CropError: they are something else, damaged, or larger than the protocol allows.
    """
    if data.startswith(_JPEG):
        raise CropError(
            "the crop is JPEG", hint="JPEG's loss moves features by an amount nobody has measured: send PNG, lossless"
        )
    if not data.startswith(SIGNATURE):
        raise CropError("the crop is no PNG", hint=_HINT)
    if len(data) > MAX_BYTES:
        raise CropError(f"the crop has more than {MAX_BYTES} bytes", hint=_HINT)
    chunks = _chunks(data)
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise CropError(
            f"the crop is not 1 to {MAX_SIDE} pixels on each side",
            hint=f"scale the crop down until its longest side has {MAX_SIDE} pixels, with area filtering",
        )
    if depth not in _DEPTHS.get(color, ()) or compression or filtering or interlace > 1:
        raise CropError("the crop's PNG header says what no PNG has", hint=_HINT)
    _check_pixels(chunks, _raw_size(width, height, depth * _CHANNELS[color], interlace=bool(interlace)))
    kept = b"".join(_chunk(kind, content) for kind, content in chunks if kind in _KEPT)
    return Png(width, height, SIGNATURE + kept)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and content of each chunk, from IHDR to IEND, with the right check sums."""
    found: list[tuple[bytes, bytes]] = []
    place = len(SIGNATURE)
    while len(found) < _MAX_CHUNKS:
        head = data[place : place + 8]
        size = int.from_bytes(head[:4], "big")
        kind, end = head[4:], place + 8 + size
        if len(head) < 8 or end + 4 > len(data):  # noqa: PLR2004 - a length and a type
            raise CropError("the crop's PNG is truncated", hint="send the whole file")
        content = data[place + 8 : end]
        if int.from_bytes(data[end : end + 4], "big") != zlib.crc32(content, zlib.crc32(kind)):
            raise CropError("the crop's PNG is damaged: a check sum is wrong", hint="send the file as it was written")
        if (kind == b"IHDR") != (not found) or (not found and size != 13):  # noqa: PLR2004 - as the specification says
            raise CropError("the crop's PNG has no header, or two", hint=_HINT)
        if kind[0] & 0x20 == 0 and kind not in _KEPT:  # a critical chunk: nobody may skip it
            raise CropError("the crop's PNG holds something that cannot be skipped and is not known", hint=_HINT)
        found.append((kind, content))
        place = end + 4
        if kind == b"IEND":
            if place != len(data):
                raise CropError("something follows the end of the crop's PNG", hint="send one image and nothing else")
            return found
    raise CropError("the crop's PNG is in too many pieces", hint=_HINT)


def _check_pixels(chunks: list[tuple[bytes, bytes]], size: int) -> None:
    """Unpack the pixels, and one byte more than they need: what unpacks to more is not unpacked."""
    decoder = zlib.decompressobj()
    left = size
    try:
        for kind, content in chunks:
            if kind != b"IDAT":
                continue
            more = content
            while more and left >= 0 and not decoder.eof:
                left -= len(decoder.decompress(more, left + 1))
                more = decoder.unconsumed_tail
    except zlib.error:
        raise CropError("the crop's PNG is damaged", hint="send the file as it was written") from None
    if left or not decoder.eof:
        raise CropError("the crop's PNG does not hold as many pixels as it says", hint=_HINT)


def _raw_size(width: int, height: int, bits: int, *, interlace: bool) -> int:
    """Bytes of the unpacked rows, each with its filter's number before it."""
    passes = [(0, 0, 1, 1)]
    if interlace:  # Adam7: first column and row, steps of both
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    total = 0
    for x, y, dx, dy in passes:
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big")
