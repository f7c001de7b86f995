"""A folder of pictures in a camera's place: to try a gate out where there is no camera."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from facegate import Frame, load_image
from facegate.errors import FrameError
from facegate_terminal._errors import CameraMissingError, CameraOverError

if TYPE_CHECKING:
    from facegate_terminal._config import CameraConfig

__all__ = ["PictureCamera"]

_log = logging.getLogger("facegate_terminal")
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class PictureCamera:
    """Shows the pictures of a folder in the order of their names, each for so long.

    Args:
        config: [camera].

    Raises:
        CameraMissingError: there is no such folder, or no picture in it.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._config = config
        try:
            self._paths = sorted(path for path in Path(config.folder).iterdir() if path.suffix.lower() in _SUFFIXES)
        except OSError as error:
            raise CameraMissingError(f"the folder of pictures cannot be read: {error.strerror}") from None
        if not self._paths:
            raise CameraMissingError("there is no picture in the folder", hint=f"known are {', '.join(_SUFFIXES)}")
        self._next = 0
        self._frame: Frame | None = None
        self._until = 0.0

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - a picture is always there
        """See `Camera.read`. Raises CameraOverError after the last one, unless they are repeated."""
        if self._frame is not None and time.monotonic() < self._until:
            return self._frame
        for _ in self._paths:
            if self._next >= len(self._paths):
                if not self._config.repeat:
                    raise CameraOverError("all pictures were shown")
                self._next = 0
            path = self._paths[self._next]
            self._next += 1
            try:
                loaded = load_image(path)
            except FrameError:
                # Not which: a picture's name can be a person's.
                _log.warning("a picture of the folder cannot be read and is passed over")
                continue
            turned = (loaded.rotation + self._config.rotation) % 360
            self._frame = Frame(loaded.data, loaded.format, turned)
            self._until = time.monotonic() + self._config.seconds
            return self._frame
        raise CameraMissingError("none of the pictures can be read")

    def close(self) -> None:
        """See `Camera.close`."""
        self._frame = None
