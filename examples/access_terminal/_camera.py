"""A camera: the newest frame, whenever it is asked for. What gives one is chosen here, and opened again if it fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from facegate_terminal._errors import CameraError, CameraOverError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from facegate import Frame
    from facegate_terminal._clock import Clock
    from facegate_terminal._config import CameraConfig

__all__ = ["Camera", "ReopenedCamera", "open_camera"]

_log = logging.getLogger("facegate_terminal")
_FIRST, _LONGEST = 1.0, 30.0  # seconds before a camera is opened again


class Camera(Protocol):
    """Where frames come from."""

    def read(self, timeout: float) -> Frame | None:
        """The newest frame; nothing older is kept anywhere.

        Its memory is the camera's: it is good until the next `read` or `close`.

        Args:
            timeout: wait at most so many seconds for one.

        Returns:
            The frame, or None: none came in time.

        Raises:
            CameraError: one of its subclasses. The camera is to be closed then, and opened again.
        """

    def close(self) -> None:
        """Give the camera back; a second call does nothing."""


def open_camera(config: CameraConfig) -> Camera:
    """The camera that is configured. Raises CameraError."""
    if config.source == "picamera2":
        from facegate_terminal._picamera import PiCamera  # noqa: PLC0415 - one of these is needed

        return PiCamera(config)
    if config.source == "pictures":
        from facegate_terminal._pictures import PictureCamera  # noqa: PLC0415

        return PictureCamera(config)
    from facegate_terminal._v4l2 import V4l2Camera  # noqa: PLC0415

    return V4l2Camera(config)


class ReopenedCamera:
    """A camera that may fail: it is closed, and opened again after 1, 2, 4, ... 30 seconds, for as long as it takes.

    Args:
        make: opens it.
        clock: whose seconds count.
        stop: ends a wait.

    Attributes:
        trouble: the name of what is wrong with it, such as "CameraBusyError"; empty if it gives frames.
        frames: how many it gave.
        failures: how often it failed.
    """

    def __init__(self, make: Callable[[], Camera], clock: Clock, stop: threading.Event) -> None:
        self._make, self._clock, self._stop = make, clock, stop
        self._camera: Camera | None = None
        self._next = clock.monotonic()
        self._pause = _FIRST
        self.trouble = ""
        self.frames = self.failures = 0

    def read(self, timeout: float) -> Frame | None:
        """See `Camera.read`; raises CameraOverError only."""
        left = self._next - self._clock.monotonic()
        if left > 0:
            self._clock.wait(min(left, timeout), self._stop)
            return None
        try:
            if self._camera is None:
                self._camera = self._make()
            frame = self._camera.read(timeout)
        except CameraOverError:
            raise
        except CameraError as error:
            self._failed(error)
            return None
        if frame is not None:
            self.frames += 1
            self._pause = _FIRST
            if self.trouble:
                _log.info("the camera gives frames again")
                self.trouble = ""
        return frame

    def _failed(self, error: CameraError) -> None:
        name = type(error).__name__
        if name != self.trouble:  # not again and again, for as long as it is unplugged
            _log.warning("%s: %s%s", name, error, f" ({error.hint})" if error.hint else "")
        self.trouble = name
        self.failures += 1
        self.close()
        self._next = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST)

    def close(self) -> None:
        """Give the camera back."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
