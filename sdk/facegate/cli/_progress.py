"""A bar on stderr for what takes long; for people at a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from facegate.cli._session import is_scripted

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate_edge._output import Output

__all__ = ["Bar"]

_WIDTH = 30
_EVERY = 0.1  # seconds


class Bar:
    """Call it with (done, total). It draws at most ten times a second, and takes itself away at the end.

    Args:
        output: the command's; with JSON nothing is drawn.
        what: is being done.
    """

    def __init__(self, output: Output, what: str) -> None:
        self._what = what
        self._drawn = 0.0
        self._shown = not is_scripted(output) and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Draw how far it is."""
        now = time.monotonic()
        if not self._shown or total <= 0 or (now - self._drawn < _EVERY and done < total):
            return
        self._drawn = now
        full = _WIDTH * done // total
        self._draw(f"\r{self._what} [{'#' * full}{'.' * (_WIDTH - full)}] {100 * done // total:3d} %")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        if self._drawn:
            self._draw("\r" + " " * (len(self._what) + _WIDTH + 9) + "\r")

    @staticmethod
    def _draw(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
