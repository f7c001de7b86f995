"""What can be wrong with a terminal, besides its gate. No message holds a name, a score or a picture."""

from __future__ import annotations

from facegate.errors import FacegateError

__all__ = [
    "CameraBusyError",
    "CameraError",
    "CameraFormatError",
    "CameraMissingError",
    "CameraOverError",
    "CameraTimeoutError",
    "ConfigError",
    "LineError",
    "StatusError",
    "TerminalError",
    "WatchdogError",
]


class TerminalError(FacegateError):
    """Base of the terminal's own errors."""

    exit_code = 5


class ConfigError(TerminalError, ValueError):
    """The configuration cannot be meant. The message names the file, the table and the key."""

    exit_code = 3


class CameraError(TerminalError, OSError):
    """The camera gives no frames. It is closed and opened again, later and later."""


class CameraMissingError(CameraError):
    """There is no such camera, it was unplugged, or the package for it is not installed."""


class CameraBusyError(CameraError):
    """Another program has the camera, or the bus has no room for its stream."""


class CameraTimeoutError(CameraError):
    """The camera is there and sends nothing."""


class CameraFormatError(CameraError):
    """The camera offers no format that the runtime takes, or sends something else than it said."""


class CameraOverError(CameraError):
    """A camera that plays something is at its end: there is nothing to open again."""


class LineError(TerminalError, OSError):
    """A line to a relay or a lamp cannot be used."""


class StatusError(TerminalError, OSError):
    """How the terminal is cannot be read."""


class WatchdogError(TerminalError, OSError):
    """The hardware watchdog cannot be used."""
