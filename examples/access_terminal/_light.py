"""A lamp whose blinking says how the terminal is. What goes wrong with it never matters to the door."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from facegate_terminal._errors import LineError

if TYPE_CHECKING:
    from facegate_terminal._lines import Line

__all__ = ["PATTERNS", "Light"]

_log = logging.getLogger("facegate_terminal")
# Seconds on, off, on, off, ...; then from the beginning.
PATTERNS: dict[str, tuple[float, ...]] = {
    "starting": (0.1, 0.1),
    "ready": (0.05, 1.95),
    "looking": (0.25, 0.25),
    "open": (3600.0, 0.0),
    "refused": (0.1, 0.1, 0.1, 0.1, 0.1, 0.5),
    "clock": (0.05, 0.25, 0.05, 1.65),
    "trouble": (0.5, 0.5),
}


class Light:
    """Blinks in a thread of its own.

    Args:
        line: the lamp's, and the light's to close; None: there is no lamp.
    """

    def __init__(self, line: Line | None) -> None:
        self._line = line
        self._changed = threading.Condition()
        self._shown = "starting"
        self._closed = False
        self._thread = threading.Thread(target=self._blink, name="light", daemon=True)
        if line is not None:
            self._thread.start()

    @property
    def shown(self) -> str:
        """The name of what it shows."""
        return self._shown

    def show(self, name: str) -> None:
        """Show one of `PATTERNS` from now on."""
        if name == self._shown:
            return
        with self._changed:
            self._shown = name
            self._changed.notify_all()

    def close(self) -> None:
        """Turn it off and give its line back."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._line is not None:
            self._thread.join(timeout=1.0)
            try:
                self._line.close()
            except LineError as error:
                _log.warning("the light: %s", error)

    def _blink(self) -> None:
        line = self._line
        with self._changed:
            while line is not None and not self._closed:
                name = self._shown
                try:
                    for number, seconds in enumerate(PATTERNS[name]):
                        if seconds and name == self._shown and not self._closed:
                            line.set(active=number % 2 == 0)
                            self._changed.wait(seconds)
                except LineError as error:
                    _log.warning("the light is given up: %s", error)
                    return
