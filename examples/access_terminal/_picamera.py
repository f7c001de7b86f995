"""Raspberry Pi's own cameras, through picamera2 where the system has it (`apt install python3-picamera2`).

Written against the Picamera2 manual and tested with a module of the same interface: it was not run on a Raspberry Pi.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate import Frame, PixelFormat
from facegate_terminal._errors import (
    CameraBusyError,
    CameraError,
    CameraFormatError,
    CameraMissingError,
    CameraTimeoutError,
)

if TYPE_CHECKING:
    from facegate_terminal._config import CameraConfig

__all__ = ["PiCamera"]

_BUFFERS = 4
_SYSTEM = "/usr/lib/python3/dist-packages"
# The runtime takes NV12 where it lies. YUV420 has its chroma in two planes: they are woven into one NV12 frame that is
# made once.
_FORMATS = ("NV12", "YUV420")


class PiCamera:
    """A camera of libcamera.

    Args:
        config: [camera].

    Raises:
        CameraError: one of its subclasses.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._config = config
        self._camera: Any = None
        self._job: Any = None
        self._request: Any = None
        self._mapped: Any = None
        picamera2 = _picamera2()
        self._map = picamera2.MappedArray
        try:
            self._camera = picamera2.Picamera2(config.number)
            self._configure()
            self._camera.start()
        except CameraError:
            self.close()
            raise
        except IndexError:
            self.close()
            raise CameraMissingError(
                f"there is no camera {config.number}", hint="rpicam-hello --list-cameras"
            ) from None
        except (OSError, RuntimeError) as error:
            self.close()
            raise CameraBusyError(f"the camera cannot be started: {error}", hint="has another program it?") from None
        self._last = time.monotonic()

    def _configure(self) -> None:
        config, camera = self._config, self._camera
        micros = 1_000_000 // config.fps
        for name in _FORMATS:
            camera.configure(
                camera.create_video_configuration(
                    main={"size": (config.width, config.height), "format": name},
                    buffer_count=_BUFFERS,
                    queue=False,  # no frame is kept for later: what is asked for is taken now
                    controls={"FrameDurationLimits": (micros, micros)},
                )
            )
            given = camera.camera_configuration()["main"]
            if given["format"] == name:
                break
        else:
            raise CameraFormatError("the camera gives neither NV12 nor YUV420", hint="try another size")
        self._format = name
        self._width, self._height = given["size"]
        self._stride = given["stride"]
        self._own: Frame | None = None
        if self._width % 2 or self._height % 2:
            raise CameraFormatError("the camera's pictures have an odd size", hint="try another size")
        if name != "NV12" or self._stride != self._width:
            data = np.zeros((self._height * 3 // 2, self._width), np.uint8)
            self._own = Frame(data, PixelFormat.NV12, config.rotation)

    def read(self, timeout: float) -> Frame | None:
        """See `Camera.read`."""
        self._give_back()
        try:
            if self._job is None:
                self._job = self._camera.capture_request(wait=False)
            self._request = self._camera.wait(self._job, timeout=timeout)
            self._job = None
            mapped = self._map(self._request, "main", reshape=False)
            data = mapped.__enter__().array
            self._mapped = mapped
        except (TimeoutError, concurrent.futures.TimeoutError):  # one and the same since Python 3.11
            # The job stays: who asks again gets its frame.
            if time.monotonic() - self._last > self._config.timeout_seconds:
                raise CameraTimeoutError("the camera sends nothing", hint="look at its ribbon cable") from None
            return None
        except (OSError, RuntimeError) as error:
            raise CameraError(f"the camera does not work: {error}") from None
        self._last = time.monotonic()
        return self._frame(data)

    def _frame(self, data: Any) -> Frame:
        height, width, stride = self._height, self._width, self._stride
        needed = height * 3 // 2 * stride
        if data.size < needed:
            raise CameraFormatError("the camera's buffers hold no picture", hint="try another size")
        if self._own is None:
            return Frame(data[:needed].reshape(-1, width), PixelFormat.NV12, self._config.rotation)
        own = self._own.data
        np.copyto(own[:height], data[: height * stride].reshape(height, stride)[:, :width])
        chroma = own[height:]
        if self._format == "NV12":
            np.copyto(chroma, data[height * stride : needed].reshape(height // 2, stride)[:, :width])
        else:
            for plane in range(2):
                begin = height * stride + plane * (height // 2) * (stride // 2)
                part = data[begin : begin + height // 2 * (stride // 2)].reshape(height // 2, stride // 2)
                np.copyto(chroma[:, plane::2], part[:, : width // 2])
        self._give_back()
        return self._own

    def _give_back(self) -> None:
        mapped, self._mapped = self._mapped, None
        request, self._request = self._request, None
        if mapped is not None:
            mapped.__exit__(None, None, None)
        if request is not None:
            request.release()

    def close(self) -> None:
        """See `Camera.close`."""
        camera, self._camera = self._camera, None
        if camera is None:
            return
        try:
            self._give_back()
            camera.stop()
        except (OSError, RuntimeError):
            pass  # it is being given up
        finally:
            camera.close()


def _picamera2() -> Any:
    """The system's module: pip has none that fits its libcamera, and a package's own Python path leaves it out.

    The system's packages come after our own, and only if they are asked for here.
    """
    for path in ("", _SYSTEM):
        if path and path not in sys.path:
            sys.path.append(path)
        try:
            return importlib.import_module("picamera2")
        except ImportError:
            continue
        except ValueError:  # "numpy.dtype size changed": what it imports was compiled for another numpy
            raise CameraMissingError(
                "the system's picamera2 does not go with this numpy",
                hint="Debian 12's wants numpy 1: use Raspberry Pi OS of Debian 13, or an environment with numpy<2",
            ) from None
    raise CameraMissingError("picamera2 is not installed", hint="apt install python3-picamera2") from None
