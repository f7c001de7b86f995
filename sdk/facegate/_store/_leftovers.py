"""Whether something that was deleted can still be found in a file.

SQLite's `secure_delete` overwrites what is deleted with zeros, but only where it stands. When rows come and go, SQLite
moves others from page to page, and the bytes where they stood stay in the page's unused middle until something happens
to be written there (`rebuildPage` in btree.c; 3.40 to 3.46 at least). Who is erased later is erased in one of two
places. So after the deletion the file is searched for what was deleted, and written anew if it is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["CHUNK", "found_in"]

CHUNK = 16
"""Bytes; fewer of a key leave 2^128 keys to try, and fewer of a ciphertext say nothing."""

_BLOCK = 1 << 22


def found_in(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether a file holds any 16 bytes of a piece that begin at a multiple of 16 of it.

    That finds every 31 bytes of a piece, wherever they are cut. One pass over the file: about 3 ns a byte.

    Args:
        path: of the file; one that is not there holds nothing.
        pieces: of random bytes, such as keys and ciphertexts.

    Raises:
        OSError: the file cannot be read.
    """
    chunks = {piece[i : i + CHUNK] for piece in pieces for i in range(0, len(piece) - CHUNK + 1, CHUNK)}
    if not chunks:
        return False
    # Most places are ruled out by their first two bytes.
    begins = np.zeros(1 << 16, np.bool_)
    begins[[int.from_bytes(chunk[:2], "little") for chunk in chunks]] = True
    try:
        with path.open("rb") as file:
            kept = b""
            while block := file.read(_BLOCK):
                data = kept + block
                values = np.frombuffer(data, np.uint8).astype(np.uint16)
                values[:-1] |= values[1:] << np.uint16(8)
                for at in np.flatnonzero(begins[values]).tolist():
                    if data[at : at + CHUNK] in chunks:
                        return True
                kept = data[1 - CHUNK :]
    except FileNotFoundError:
        pass
    return False
