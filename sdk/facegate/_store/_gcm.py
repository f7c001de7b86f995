"""AES-256-GCM from buffer to buffer, for a `cryptography` that is too old to do it.

From version 47 on its AESGCM opens into memory that the caller can wipe; the one of Debian 12 (38) does not even seal
from such memory. Copies in immutable `bytes` would stay in the process for an unknown time. On 32-bit ARM there is no
way around an old version: the wheels from 46 on want a newer cffi than can be had there. What is here is the same
algorithm through the older interface of the library, which takes buffers: the same bytes come out.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["BufferGCM"]

_TAG = 16
_SLACK = 15  # the library wants room for one block less a byte more than it writes


class BufferGCM:
    """The methods of AESGCM (cryptography 47) that a store uses.

    Args:
        key: 32 bytes, which nobody changes any more.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = algorithms.AES(key)

    def encrypt(self, nonce: bytes, data: bytes | bytearray | memoryview, associated_data: bytes) -> bytes:
        """Ciphertext and tag; no copy of the data is made."""
        encryptor = Cipher(self._key, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        out = bytearray(len(data) + _SLACK)
        written = encryptor.update_into(data, out)
        return bytes(memoryview(out)[:written]) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """The plaintext. Raises InvalidTag."""
        out = bytearray(len(data) - _TAG)
        self.decrypt_into(nonce, data, associated_data, memoryview(out))
        plain = bytes(out)
        out[:] = bytes(len(out))
        return plain

    def decrypt_into(self, nonce: bytes, data: bytes, associated_data: bytes, out: memoryview) -> int:
        """Put the plaintext into `out`, which has its size and changes only if the tag is right. Raises InvalidTag."""
        decryptor = Cipher(self._key, modes.GCM(nonce)).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        scratch = bytearray(len(out) + _SLACK)
        try:
            written = decryptor.update_into(memoryview(data)[:-_TAG], scratch)
            decryptor.finalize_with_tag(data[-_TAG:])
            out[:] = memoryview(scratch)[:written]
        finally:
            scratch[:] = bytes(len(scratch))
        return written
