"""A camera of Video4Linux: memory-mapped buffers that the runtime's kernels read where the driver has put them.

The structures and numbers come from `videodev2`, Raspberry Pi's binding of the kernel's header. What they are sent
through is `Kernel`, so that a test can be the driver.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import io
import logging
import mmap
import os
import select
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

__all__ = ["Kernel", "V4l2Camera"]

_log = logging.getLogger("facegate_terminal")
_BUFFERS = 4
_BAD_IN_A_ROW = 30
_MJPEG = "MJPEG"
# What the runtime takes as it is, the best first; then what has to be decoded, then what has no colors to tell an
# attack by. Columns: what V4L2 calls it, the runtime's format, bytes in a row of pixels and rows in a picture.
_FORMATS: tuple[tuple[str, PixelFormat | None, float, float], ...] = (
    ("NV12", PixelFormat.NV12, 1, 1.5),
    ("YUYV", PixelFormat.YUYV, 2, 1),
    ("NV21", PixelFormat.NV21, 1, 1.5),
    ("RGB24", PixelFormat.RGB, 3, 1),
    ("BGR24", PixelFormat.BGR, 3, 1),
    (_MJPEG, None, 0, 0),
    ("GREY", PixelFormat.GRAY, 1, 1),
)
_GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO, errno.EPROTO, errno.ESHUTDOWN}
_BUSY = {errno.EBUSY, errno.ENOSPC}
_WRONG = {errno.EINVAL, errno.ENOTTY, errno.EPIPE}


class Kernel:
    """The system calls that a camera is made of."""

    def open(self, path: str) -> int:
        """Open a device, without blocking."""
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def ioctl(self, file: int, request: int, argument: Any) -> None:
        """Give the driver a structure, which it changes."""
        fcntl.ioctl(file, request & 0xFFFFFFFF, argument)

    def mmap(self, file: int, length: int, offset: int) -> Any:
        """Map a buffer of the driver's, to read."""
        return mmap.mmap(file, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)

    def poll(self, file: int, seconds: float) -> int:
        """Wait until something happens. Returns its events, 0 for nothing."""
        waiting = select.poll()
        waiting.register(file, select.POLLIN | select.POLLPRI)
        return next((events for _, events in waiting.poll(seconds * 1000)), 0)

    def close(self, file: int) -> None:
        """Close the device."""
        os.close(file)


class V4l2Camera:
    """A camera with memory-mapped streaming, such as every USB one.

    Frames are views of the driver's buffers: made once, copied never, unless rows are padded (copied into one buffer
    that is made once) or the camera can send JPEG only (decoded by Pillow). Of the frames that wait the newest is
    given, and one that is too old is not: a terminal that looks twice a second sees what is, not what was.

    Args:
        config: [camera].
        kernel: the system calls.

    Raises:
        CameraError: one of its subclasses.
    """

    def __init__(self, config: CameraConfig, kernel: Kernel | None = None) -> None:
        self._config = config
        self._kernel = kernel if kernel is not None else Kernel()
        self._v = _binding()
        self._file = -1
        self._streams = False
        self._held = -1  # index of the buffer whose memory the last frame is
        self._frames: list[Frame | None] = []
        self._memory: list[Any] = []
        self._bad = 0
        try:
            self._file = self._kernel.open(config.device)
            self._check_capabilities()
            self._choose_format()
            self._map_buffers()
            self._do(self._v.VIDIOC_STREAMON, _int(self._v.V4L2_BUF_TYPE_VIDEO_CAPTURE))
            self._streams = True
        except CameraError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise _told(error, config.device) from None
        self._last = time.monotonic()

    def read(self, timeout: float) -> Frame | None:
        """See `Camera.read`."""
        try:
            return self._read(timeout)
        except CameraError:
            raise
        except OSError as error:
            raise _told(error, self._config.device) from None

    def _read(self, timeout: float) -> Frame | None:
        until = time.monotonic() + timeout
        self._give_back(self._held)
        self._held = newest = -1
        waited = False
        while True:
            index = self._take()
            if index >= 0:
                self._give_back(newest)
                newest = index
                continue
            if newest >= 0 and (waited or self._is_fresh()):
                frame = self._frame(newest)
                if frame is not None:
                    self._last, self._bad = time.monotonic(), 0
                    return frame
                self._count_bad()
            else:
                self._give_back(newest)
            newest = -1
            left = until - time.monotonic()
            if left <= 0:
                self._check_silence()
                return None
            self._wait(left)
            waited = True

    def _check_silence(self) -> None:
        if time.monotonic() - self._last > self._config.timeout_seconds:
            raise CameraTimeoutError(
                f"{self._config.device} has sent nothing for {self._config.timeout_seconds:g} seconds",
                hint="if it goes on like this, look at its cable and its power",
            )

    def _wait(self, seconds: float) -> None:
        events = self._kernel.poll(self._file, seconds)
        if events & select.POLLPRI:
            raise CameraFormatError(f"{self._config.device} has changed its picture", hint="it is opened again")
        if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) and not events & select.POLLIN:
            raise CameraMissingError(f"{self._config.device} is gone", hint="plug it in again")

    def _take(self) -> int:
        """A buffer that is filled; -1: none is. What cannot be used is given back at once."""
        buffer = self._buffer
        while True:
            self._prepare(0)
            try:
                self._do(self._v.VIDIOC_DQBUF, buffer)
            except BlockingIOError:
                return -1
            if not buffer.flags & self._v.V4L2_BUF_FLAG_ERROR and buffer.bytesused >= self._needed:
                self._stamp = buffer.timestamp.tv_sec + buffer.timestamp.tv_usec / 1e6
                self._stamped = bool(buffer.flags & self._v.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC)
                self._used[buffer.index] = buffer.bytesused
                return int(buffer.index)
            self._give_back(buffer.index)
            self._count_bad()

    def _count_bad(self) -> None:
        """One broken picture is passed over, as webcams begin with one; many in a row are told."""
        self._bad += 1
        if self._bad >= _BAD_IN_A_ROW:
            raise CameraFormatError(
                f"{self._config.device} sends broken pictures",
                hint="often the cable, or too many devices on one USB hub",
            )

    def _is_fresh(self) -> bool:
        """Whether the buffer taken last was filled just now, of those that waited already."""
        return self._stamped and time.monotonic() - self._stamp < max(2 / self._config.fps, 0.1)

    def _frame(self, index: int) -> Frame | None:
        """What a buffer holds; None: it is broken, and given back."""
        frame = self._frames[index]
        if frame is not None:
            self._held = index
            return frame
        rows = self._memory[index]
        try:
            if self._padded is None:
                return self._decode(rows, self._used[index])
            np.copyto(self._padded.data.reshape(rows.shape), rows)
            return self._padded
        finally:
            self._give_back(index)

    def _decode(self, data: Any, used: int) -> Frame | None:
        from PIL import Image  # noqa: PLC0415 - only cameras that can do nothing but JPEG need it

        try:
            with Image.open(io.BytesIO(data[:used].tobytes()), formats=("JPEG",)) as picture:
                if picture.size != (self._width, self._height):  # before memory is taken for it
                    return None
                pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None
        return Frame(pixels, PixelFormat.RGB, self._config.rotation)

    # --- opening -------------------------------------------------------------------------------------------------

    def _check_capabilities(self) -> None:
        v, found = self._v, self._v.v4l2_capability()
        self._do(v.VIDIOC_QUERYCAP, found)
        has = found.device_caps if found.capabilities & v.V4L2_CAP_DEVICE_CAPS else found.capabilities
        if not (has & v.V4L2_CAP_VIDEO_CAPTURE and has & v.V4L2_CAP_STREAMING):
            raise CameraFormatError(
                f"{self._config.device} is no camera that streams into memory",
                hint="a camera has several device files: try another; a Raspberry Pi's own is source picamera2",
            )

    def _choose_format(self) -> None:
        v, config = self._v, self._config
        offered = self._offered()
        chosen = next((row for row in _FORMATS if getattr(v, f"V4L2_PIX_FMT_{row[0]}") in offered), None)
        if chosen is None:
            names = ", ".join(row[0] for row in _FORMATS)
            raise CameraFormatError(f"{config.device} offers no format that is known", hint=f"known are {names}")
        name, self._pixels, across, down = chosen
        wanted = v.v4l2_format()
        wanted.type = v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        pix = wanted.fmt.pix
        pix.width, pix.height, pix.field = config.width, config.height, v.V4L2_FIELD_ANY
        pix.pixelformat = getattr(v, f"V4L2_PIX_FMT_{name}")
        self._do(v.VIDIOC_S_FMT, wanted)
        if pix.pixelformat != getattr(v, f"V4L2_PIX_FMT_{name}") or pix.width % 2 or pix.height % 2:
            raise CameraFormatError(f"{config.device} offers {name} and does not give it", hint="try another size")
        self._width, self._height = int(pix.width), int(pix.height)
        self._line = int(self._width * across)
        self._stride = max(int(pix.bytesperline), self._line)
        self._rows = int(self._height * down)
        self._needed = max(1, self._stride * (self._rows - 1) + self._line) if self._rows else 1
        _log.info("the camera sends %s, %dx%d", name, self._width, self._height)
        self._ask_rate()
        self._watch_changes()

    def _offered(self) -> set[int]:
        v, offered = self._v, set()
        for number in range(64):
            entry = v.v4l2_fmtdesc()
            entry.index, entry.type = number, v.V4L2_BUF_TYPE_VIDEO_CAPTURE
            try:
                self._do(v.VIDIOC_ENUM_FMT, entry)
            except OSError as error:
                if error.errno == errno.EINVAL:  # the end of the list
                    break
                raise
            offered.add(int(entry.pixelformat))
        return offered

    def _ask_rate(self) -> None:
        v = self._v
        wanted = v.v4l2_streamparm()
        wanted.type = v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        wanted.parm.capture.timeperframe.numerator = 1
        wanted.parm.capture.timeperframe.denominator = self._config.fps
        self._try(v.VIDIOC_S_PARM, wanted)

    def _watch_changes(self) -> None:
        wanted = self._v.v4l2_event_subscription()
        wanted.type = self._v.V4L2_EVENT_SOURCE_CHANGE
        self._try(self._v.VIDIOC_SUBSCRIBE_EVENT, wanted)

    def _map_buffers(self) -> None:
        v = self._v
        asked = v.v4l2_requestbuffers()
        asked.count, asked.type, asked.memory = _BUFFERS, v.V4L2_BUF_TYPE_VIDEO_CAPTURE, v.V4L2_MEMORY_MMAP
        self._do(v.VIDIOC_REQBUFS, asked)
        if asked.count < 2:  # noqa: PLR2004 - one to look at, one to fill
            raise CameraBusyError(f"{self._config.device} has no memory for two pictures")
        self._buffer = v.v4l2_buffer()
        self._used = [0] * asked.count
        self._padded: Frame | None = None
        for index in range(asked.count):
            self._prepare(index)
            self._do(v.VIDIOC_QUERYBUF, self._buffer)
            if self._buffer.length < self._needed:
                raise CameraFormatError(f"{self._config.device} has buffers that hold no picture")
            mapped = self._kernel.mmap(self._file, int(self._buffer.length), int(self._buffer.m.offset))
            self._add(np.frombuffer(mapped, np.uint8))
        for index in range(asked.count):
            self._give_back(index)

    def _add(self, data: Any) -> None:
        """A buffer's memory, as a frame if it can be one."""
        pixels = self._pixels
        if pixels is None:
            self._frames.append(None)
            self._memory.append(data)
            return
        last = () if pixels in (PixelFormat.NV12, PixelFormat.NV21, PixelFormat.GRAY) else (self._line // self._width,)
        shape = (self._rows, self._width, *last)
        if self._stride == self._line:
            picture = data[: self._rows * self._line].reshape(shape)
            self._frames.append(Frame(picture, pixels, self._config.rotation))
            self._memory.append(None)
            return
        # A frame has no padding: its rows are copied into one that is made once.
        strides = (self._stride, 1)
        rows = np.lib.stride_tricks.as_strided(data, (self._rows, self._line), strides, writeable=False)
        self._frames.append(None)
        self._memory.append(rows)
        if self._padded is None:
            self._padded = Frame(np.zeros(shape, np.uint8), pixels, self._config.rotation)

    # --- what they share -----------------------------------------------------------------------------------------

    def _prepare(self, index: int) -> None:
        self._buffer.index, self._buffer.type = index, self._v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        self._buffer.memory = self._v.V4L2_MEMORY_MMAP

    def _give_back(self, index: int) -> None:
        if index >= 0:
            self._prepare(index)
            self._do(self._v.VIDIOC_QBUF, self._buffer)

    def _do(self, request: int, argument: Any) -> None:
        self._kernel.ioctl(self._file, request, argument)

    def _try(self, request: int, argument: Any) -> None:
        """What a driver may not know. A camera that is gone is told all the same."""
        try:
            self._do(request, argument)
        except OSError as error:
            if error.errno not in _WRONG:
                raise

    def close(self) -> None:
        """See `Camera.close`. A frame that somebody still holds keeps its memory, and nothing new comes into it."""
        file, self._file = self._file, -1
        if file < 0:
            return
        try:
            if self._streams:
                self._kernel.ioctl(file, self._v.VIDIOC_STREAMOFF, _int(self._v.V4L2_BUF_TYPE_VIDEO_CAPTURE))
        except OSError:
            pass  # it is gone
        finally:
            self._frames.clear()
            self._memory.clear()
            self._kernel.close(file)


def _int(value: int) -> Any:
    return ctypes.c_int(value)


def _binding() -> Any:
    try:
        return importlib.import_module("videodev2")  # only this camera needs it
    except ImportError:
        raise CameraMissingError(
            "the binding of Video4Linux (videodev2) is not installed", hint="pip install 'facegate[terminal]'"
        ) from None


def _told(error: OSError, device: str) -> CameraError:
    """An error of the kernel, as ours."""
    if error.errno in _GONE:
        return CameraMissingError(f"there is no camera {device}, or it was unplugged", hint="v4l2-ctl --list-devices")
    if error.errno in _BUSY:
        return CameraBusyError(
            f"{device} is in use, or its USB bus has no room for it", hint="fuser -v names who has it; use another port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return CameraError(f"{device} may not be opened", hint="the user needs the group video")
    if error.errno in _WRONG:
        return CameraFormatError(f"{device} refuses what it was asked for: {error.strerror}", hint="try another size")
    return CameraError(f"{device} does not work: {error.strerror}")
