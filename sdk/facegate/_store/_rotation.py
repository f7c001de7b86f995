"""A secret rotation of the template space: templates of two gates, or of one gate before and after, do not link.

Cancelable biometrics by random projection in its lossless form, an orthogonal matrix: Goh and Ngo, "Computation of
Cryptographic Keys from Face Biometrics", CMS 2003 (BioHashing, without its thresholding, which would lose accuracy);
the properties asked for are those of ISO/IEC 24745: unlinkable, renewable, revocable. The matrix is Haar-random (QR of
a Gaussian matrix with the signs of R's diagonal, Mezzadri, "How to Generate Random Matrices from the Classical Compact
Groups", 2007) and dense on purpose: a signed permutation would keep every similarity exactly, but the sorted
magnitudes of a template would stay and link it.

What links in spite of it is the whole of a gate's templates, by the similarities among them, which must stay.

Cosines are kept up to rounding, because the result is int8 again (docs/store.md has figures). The matrix is kept as
integers and applied in integers, so every machine makes the same bytes.
"""

from __future__ import annotations

import os
import struct
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from facegate.errors import SealError, StoreError, TemplateSpaceError
from facegate_edge._values import Template

__all__ = ["MAX_LENGTH", "Rotation"]

_SCALE = 1 << 30  # entries are at most 1: they fit into int32
_MAGNITUDE = 127
_MARK = "#"
_HEADER = struct.Struct(">4s16sI")
_MAGIC = b"FGR1"
_ID_BYTES = 8
MAX_LENGTH = 4096
_BLOCK = 4096  # rows at a time: what is unsealed and not yet wiped stays small


class Rotation:
    """A secret orthogonal matrix.

    Args:
        id: 16 hex digits.
        matrix: int32 (D, D), the matrix times 2^30.
    """

    __slots__ = ("_matrix", "id", "length")

    def __init__(self, id: str, matrix: npt.NDArray[np.int32]) -> None:  # noqa: A002 - what it is
        self.id = id
        self.length = len(matrix)
        # The products are below 2^37 and sums of 4096 of them below 2^49: float64 holds them exactly, in any order.
        self._matrix = matrix.astype(np.float64)

    @classmethod
    def new(cls, length: int) -> Rotation:
        """A random rotation for templates of `length` values."""
        if not 1 <= length <= MAX_LENGTH:
            raise StoreError(f"a rotation of {length} dimensions", hint=f"1 to {MAX_LENGTH}")
        q, r = np.linalg.qr(_gaussian(length))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)
        matrix = np.rint(q * _SCALE).astype(np.int32)
        q.fill(0)
        return cls(os.urandom(_ID_BYTES).hex(), matrix)

    def space(self, space: str) -> str:
        """The id of a template space after this rotation."""
        return f"{space}{_MARK}{self.id}"

    def apply(self, template: Template) -> Template:
        """A template, rotated; it is of another space then.

        Raises:
            TemplateSpaceError: it has been rotated before, or has another length.
        """
        if _MARK in template.space or template.data.size != self.length:
            raise TemplateSpaceError(
                "only a template as the recognizer made it can be rotated",
                hint="it was rotated before, or was made with another bundle",
            )
        return Template(self.rows(template.data.reshape(1, -1))[0], self.space(template.space))

    def rows(self, rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Rotate templates, int8 (N, D): each rounded again, its largest magnitude 127."""
        out = np.empty(rows.shape, np.int8)
        for first in range(0, len(rows), _BLOCK):
            block = rows[first : first + _BLOCK].astype(np.float64)
            turned = block @ self._matrix
            whole = turned.astype(np.int64)
            block.fill(0)
            turned.fill(0)
            sign = np.sign(whole)
            np.abs(whole, out=whole)
            peak = whole.max(axis=1, keepdims=True)
            # Rounds half away from zero, in integers.
            whole *= 2 * _MAGNITUDE
            whole += peak
            whole //= 2 * peak
            whole *= sign
            out[first : first + _BLOCK] = whole
            whole.fill(0)
        return out

    def then(self, other: Rotation) -> Rotation:
        """This rotation followed by another: what probes need after templates were rotated again."""
        product = np.rint(self._matrix @ other._matrix / _SCALE)
        return Rotation(other.id, np.clip(product, -_SCALE, _SCALE).astype(np.int32))

    def to_bytes(self) -> bytes:
        """The rotation as bytes, to be sealed."""
        head = _HEADER.pack(_MAGIC, self.id.encode("ascii"), self.length)
        return head + self._matrix.astype(">i4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Rotation:
        """What `to_bytes` wrote. Raises SealError."""
        try:
            magic, name, length = _HEADER.unpack_from(data)
            matrix = np.frombuffer(data, ">i4", offset=_HEADER.size).reshape(length, length)
        except (struct.error, ValueError):
            magic = b""
        if magic != _MAGIC:
            raise SealError("the store's rotation cannot be read", hint="restore a backup") from None
        return cls(name.decode("ascii"), matrix.astype(np.int32))

    def wipe(self) -> None:
        """Overwrite the matrix."""
        self._matrix.fill(0)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret rotation is not pickled")

    def __repr__(self) -> str:
        return f"Rotation({self.id})"


def _gaussian(length: int) -> npt.NDArray[np.float64]:
    """Normal deviates (length, length) of the system's own random source, by Box and Muller's transform."""
    count = length * length
    half = (count + 1) // 2
    # 53 bits each; 1 - u is never 0.
    words = np.frombuffer(os.urandom(16 * half), np.uint64) >> np.uint64(11)
    uniform = words.astype(np.float64) / (1 << 53)
    radius = np.sqrt(-2 * np.log(1 - uniform[:half]))
    angle = 2 * np.pi * uniform[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].reshape(length, length)
