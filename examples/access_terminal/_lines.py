"""A line that is on or off: of a GPIO chip through libgpiod, or a file that stands in for one."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from facegate_terminal._errors import LineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_terminal._config import DoorConfig, LightConfig

__all__ = ["FileLine", "GpioLine", "Line", "open_line"]


class Line(Protocol):
    """An output. Every operation raises LineError if it cannot be done."""

    def set(self, *, active: bool) -> None:
        """Drive it."""

    def get(self) -> bool:
        """What it is driven to, as the hardware says."""

    def close(self) -> None:
        """Make it inactive and give it back; a second call does nothing."""


def open_line(config: DoorConfig | LightConfig, consumer: str, now: Callable[[], float]) -> Line:
    """The line that is configured, inactive.

    Args:
        config: which.
        consumer: what it is for, as `gpioinfo` shows it.
        now: seconds, for the history of a file.

    Raises:
        LineError: it cannot be had.
    """
    if config.line == "file":
        return FileLine(config.file, now)
    return GpioLine(config.chip, config.offset, active_low=config.active_low, consumer=consumer)


class GpioLine:
    """A line of a GPIO chip. The kernel gives it to one program at a time.

    Args:
        chip: e.g. /dev/gpiochip0.
        offset: of the line.
        active_low: active is low.
        consumer: what it is for.

    Raises:
        LineError: libgpiod's Python binding is missing or old, or the line cannot be had.
    """

    def __init__(self, chip: str, offset: int, *, active_low: bool = False, consumer: str = "facegate") -> None:
        gpiod = _gpiod()
        self._offset, self._values = offset, gpiod.line.Value
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT, output_value=self._values.INACTIVE, active_low=active_low
        )
        try:
            # From the first moment on it is an output that is inactive.
            self._request = gpiod.request_lines(chip, consumer=consumer, config={offset: settings})
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise LineError(
                f"line {offset} of {chip} cannot be used: {why}",
                hint="`gpioinfo` shows the lines and who has them; the user needs the group gpio",
            ) from None

    def set(self, *, active: bool) -> None:
        """Drive it."""
        self._do(lambda r: r.set_value(self._offset, self._values.ACTIVE if active else self._values.INACTIVE))

    def get(self) -> bool:
        """What it is driven to."""
        return bool(self._do(lambda r: r.get_value(self._offset)) == self._values.ACTIVE)

    def close(self) -> None:
        """Make it inactive and give it back."""
        request, self._request = self._request, None
        if request is None:
            return
        try:
            request.set_value(self._offset, self._values.INACTIVE)
        except OSError as error:
            raise LineError(f"line {self._offset} cannot be released: {error.strerror}") from None
        finally:
            request.release()

    def _do(self, what: Callable[[Any], Any]) -> Any:
        if self._request is None:
            raise LineError("the line is closed")
        try:
            return what(self._request)
        except OSError as error:
            raise LineError(f"line {self._offset} does not answer: {error.strerror}") from None


def _gpiod() -> Any:
    """The binding of libgpiod, version 2."""
    try:
        gpiod: Any = importlib.import_module("gpiod")  # only terminals with real lines need it
        importlib.import_module("gpiod.line")
    except ImportError:
        gpiod = None
    if not hasattr(gpiod, "request_lines"):
        raise LineError(
            "libgpiod's Python binding (gpiod, version 2) is not installed",
            hint="pip install 'facegate[terminal]'; on 32-bit ARM from piwheels or Debian 13 (python3-libgpiod)",
        )
    return gpiod


class FileLine:
    """A file that stands in for a line: it holds 0 or 1, and PATH.history every change with its second.

    As with a real line, one program has it at a time.

    Args:
        path: made or overwritten; mode 0600.
        now: seconds.

    Raises:
        LineError: it cannot be written.
    """

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        self._path, self._now = path, now
        self._active: bool | None = None
        self._file = self._history = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(path, flags, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one program at a time, as the kernel has it
            self._history = os.open(f"{path}.history", flags | os.O_APPEND, 0o600)
        except OSError as error:
            self._shut()
            raise LineError(f"{path} cannot stand in for a line: {error.strerror}") from None
        self.set(active=False)

    def set(self, *, active: bool) -> None:
        """Write it down."""
        if self._file < 0:
            raise LineError("the line is closed")
        try:
            os.pwrite(self._file, b"1\n" if active else b"0\n", 0)
            if active is not self._active:
                os.write(self._history, f"{self._now():.3f} {int(active)}\n".encode("ascii"))
        except OSError as error:
            raise LineError(f"{self._path} cannot be written: {error.strerror}") from None
        self._active = active

    def get(self) -> bool:
        """What the file says."""
        if self._file < 0:
            raise LineError("the line is closed")
        try:
            return os.pread(self._file, 1, 0) == b"1"
        except OSError as error:
            raise LineError(f"{self._path} cannot be read: {error.strerror}") from None

    def close(self) -> None:
        """Make it inactive and let go of the file."""
        if self._file >= 0:
            try:
                self.set(active=False)
            finally:
                self._shut()

    def _shut(self) -> None:
        for file in (self._file, self._history):
            with contextlib.suppress(OSError):
                os.close(file)
        self._file = self._history = -1
