"""Verifying Ed25519 signatures with Python's integers: a bare device has no cryptography to do it with.

Verification handles no secret, so nothing here needs constant time. One signature takes about 10 ms on a PC.
RFC 8032, section 5.1.7, without the cofactor as OpenSSL does it; its points as in section 5.1.4.
"""

from __future__ import annotations

import hashlib

__all__ = ["verify"]

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
_LENGTH, _SIGNATURE = 32, 64

_Point = tuple[int, int, int, int]  # extended coordinates: X, Y, Z, T with x = X/Z, y = Y/Z, x*y = T/Z


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature was made with the private half of a key over a message.

    Args:
        key: the public key's 32 bytes.
        signature: 64 bytes.
        message: what was signed.
    """
    if len(key) != _LENGTH or len(signature) != _SIGNATURE:
        return False
    point = _decode(key)
    s = int.from_bytes(signature[_LENGTH:], "little")
    if point is None or s >= _L or _small(point):  # s beyond the order would be a second spelling (RFC 8032, 8.4)
        return False
    digest = hashlib.sha512(signature[:_LENGTH] + key + message).digest()
    h = int.from_bytes(digest, "little") % _L
    x, y, z, t = point
    # R = s*B - h*A; comparing bytes refuses spellings of R that are not the one that encoding gives.
    found = _add(_multiply(s, _BASE), _multiply(h, (_P - x, y, z, _P - t)))
    return _encode(found) == signature[:_LENGTH]


def _add(a: _Point, b: _Point) -> _Point:
    """The sum; the formula is complete, so that it doubles as well (RFC 8032, 5.1.4)."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f = (a[1] + a[0]) * (b[1] + b[0]) % _P
    c = 2 * a[3] * b[3] * _D % _P
    d = 2 * a[2] * b[2] % _P
    g, h, i, j = f - e, d - c, d + c, f + e
    return g * h % _P, i * j % _P, h * i % _P, g * j % _P


def _multiply(factor: int, point: _Point) -> _Point:
    result: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point = _add(point, point)
        factor >>= 1
    return result


def _small(point: _Point) -> bool:
    """Whether 8 times the point is nothing: a key of small order verifies what nobody signed."""
    x, y, z, _ = _multiply(8, point)
    return x % _P == 0 and (y - z) % _P == 0


def _decode(data: bytes) -> _Point | None:
    """A point of its 32 bytes, or None (RFC 8032, 5.1.3)."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_M1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(_LENGTH, "little")


def _base() -> _Point:
    found = _decode((4 * pow(5, _P - 2, _P) % _P).to_bytes(_LENGTH, "little"))
    assert found is not None  # noqa: S101 - a constant of the curve
    return found


_BASE = _base()
