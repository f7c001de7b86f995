"""UUID version 7 (RFC 9562, section 5.7): ids that sort by time, in the order in which one process made them."""

from __future__ import annotations

import secrets
import threading
import uuid

__all__ = ["Uuid7Source", "build_uuid7"]

_COUNTER_BITS = 42  # rand_a and the upper 30 bits of rand_b, as in Python 3.14's uuid.uuid7
_TAIL_BITS = 32


def build_uuid7(milliseconds: int, rand_a: int, rand_b: int) -> uuid.UUID:
    """Put a UUIDv7 together from Unix time in ms (48 bits), rand_a (12 bits) and rand_b (62 bits)."""
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


class Uuid7Source:
    """Makes strictly increasing ids, also within a millisecond and when the clock steps back. Thread-safe.

    The counter method of RFC 9562, section 6.2 (method 1): 42 bits that start at random in each millisecond, their top
    bit clear, and count up; then 32 random bits.

    Args:
        last: the id that an earlier source made last: all ids of this one come after it.
    """

    def __init__(self, last: uuid.UUID | None = None) -> None:
        self._lock = threading.Lock()
        self._milliseconds = 0  # a clock before 1970 counts as 1970
        self._counter = secrets.randbits(_COUNTER_BITS - 1)
        if last is not None:
            self._milliseconds = last.int >> 80
            self._counter = (last.int >> 64 & 0xFFF) << 30 | last.int >> 32 & ((1 << 30) - 1)

    def new(self, milliseconds: int) -> uuid.UUID:
        """The next id.

        Args:
            milliseconds: Unix time in ms. An earlier one than before is taken as the latest so far.
        """
        with self._lock:
            if milliseconds > self._milliseconds:
                self._milliseconds = milliseconds
                self._counter = secrets.randbits(_COUNTER_BITS - 1)
            else:
                self._counter += 1
                if self._counter >> _COUNTER_BITS:
                    self._milliseconds += 1
                    self._counter = secrets.randbits(_COUNTER_BITS - 1)
            rand_a, upper = self._counter >> 30, self._counter & ((1 << 30) - 1)
            return build_uuid7(self._milliseconds, rand_a, upper << _TAIL_BITS | secrets.randbits(_TAIL_BITS))
