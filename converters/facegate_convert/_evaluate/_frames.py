"""How a run and the processes that make its templates speak to each other.

A frame is a length (4 bytes, little endian) and so many bytes; on the way back a letter in front says what they are.
"""

from __future__ import annotations

import struct
from typing import IO

LENGTH = struct.Struct("<I")
READY, RESULT, ERROR = b"D", b"R", b"E"


def read_frame(stream: IO[bytes]) -> bytes | None:
    """One frame, None at the end of the stream (also in the middle of a frame: whoever wrote it is gone)."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size = LENGTH.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None
