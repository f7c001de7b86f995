"""The door: driven for so long, then released, whatever the rest of the program does in between."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from facegate_terminal._errors import LineError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate_terminal._clock import Clock
    from facegate_terminal._lines import Line

__all__ = ["Door"]

_log = logging.getLogger("facegate_terminal")
_LOOK_AGAIN = 0.1  # seconds: how often a line that cannot be released is tried again
_GIVE_UP = 10  # times; then the line is given back to the kernel


class Door:
    """A line that is active while somebody may go through. Thread-safe.

    A thread of its own releases it, so that a loop that hangs in a camera, an engine or a disk keeps no door open; the
    loop's `tick` releases it as well. Neither needs the other. A process that hangs as a whole is ended by the
    watchdog, and what then becomes of the line is told in README.md.

    Args:
        line: inactive; the door's to close from here on.
        seconds: how long an opening lasts.
        clock: whose seconds count.

    Attributes:
        openings: how many there were.

    Raises:
        LineError: the line is not inactive, or does not answer.
    """

    def __init__(self, line: Line, seconds: float, clock: Clock) -> None:
        self._line, self._seconds, self._clock = line, seconds, clock
        self._changed = threading.Condition()
        self._until: float | None = None
        self._failures = 0
        self._closed = False
        self.openings = 0
        try:
            _self_test(line)
        except LineError:
            line.close()
            raise
        self._thread = threading.Thread(target=self._watch, name="door", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether somebody may go through."""
        return self._until is not None

    @property
    def failed(self) -> bool:
        """Whether the line could not be released: the program must end, and must not say that it is well."""
        return self._failures >= _GIVE_UP or not self._thread.is_alive()

    def open(self) -> None:
        """Drive the line for `seconds` from now on.

        Raises:
            LineError: it does not answer, or nothing would release it; it is inactive then as far as can be known.
        """
        with self._changed:
            if self._closed or self.failed:
                raise LineError("the door is out of order", hint="restart the terminal")
            # First when it ends, then that it begins: whatever fails in between, it ends.
            self._until = self._clock.monotonic() + self._seconds
            self._changed.notify_all()
            try:
                self._line.set(active=True)
            except LineError:
                self._release()
                raise
            self.openings += 1

    def tick(self) -> None:
        """Release the line if its time is over."""
        with self._changed:
            if self._until is not None and self._clock.monotonic() >= self._until:
                self._release()

    def close(self) -> None:
        """Release the line and give it back; a second call does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._until = None
            self._changed.notify_all()
            self._line.close()
        self._thread.join(timeout=1.0)

    def _release(self) -> None:
        try:
            self._line.set(active=False)
        except LineError:
            self._failures += 1
            if self._failures == _GIVE_UP:
                _log.critical("the door's line cannot be released: it is given back to the kernel")
                self._closed = True
                with contextlib.suppress(LineError):
                    self._line.close()
        else:
            self._failures = 0
            self._until = None

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if self._until is None:
                    self._changed.wait()
                    continue
                left = self._until - self._clock.monotonic()
                if left > 0:
                    self._changed.wait(min(left, 1.0))
                    continue
                self._release()
                if self._failures:
                    self._changed.wait(_LOOK_AGAIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _self_test(line: Line) -> None:
    """Raise LineError unless the line answers and is inactive. It is never driven for a test: that would open."""
    line.set(active=False)
    if line.get():
        raise LineError("the door's line is active although nobody opened it", hint="look at its wiring")
