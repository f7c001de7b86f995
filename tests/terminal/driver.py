"""A driver of a camera that is not there: it answers the system calls as the kernel's documentation of V4L2 says.

It keeps the buffers' books (queued, filled, taken) and refuses what a driver refuses, so that a camera that takes a
buffer twice or forgets to give one back fails the test.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import time
from collections import deque

import numpy as np
import videodev2 as v

FD = 4711


def pix(name):
    """The number of a pixel format."""
    return getattr(v, f"V4L2_PIX_FMT_{name}")


class Driver:
    """In `facegate_terminal._v4l2.Kernel`'s place.

    Args:
        formats: names of what it offers, in its order.
        padding: bytes at the end of each row.
        size: what it gives whatever is asked for; None: what is asked for.

    Attributes:
        fails: an error's number by the name of a call ("open", "S_FMT", "DQBUF", ...).
        filled: numbers of frames that wait to be taken.
    """

    def __init__(self, formats=("YUYV",), *, padding=0, size=None, buffers=4):
        self.formats, self.padding, self.size, self.limit = list(formats), padding, size, buffers
        self.fails, self.events = {}, 0
        self.memory, self.queued, self.done = [], deque(), deque()
        self.held, self.opened, self.streaming, self.requests = set(), 0, False, deque(maxlen=100)
        self.capabilities = v.V4L2_CAP_VIDEO_CAPTURE | v.V4L2_CAP_STREAMING
        self.monotonic, self.broken, self.lost = True, False, 0
        self.asked_rate = None
        self.on_poll = lambda: None

    # --- the system calls --------------------------------------------------------------------------------------------

    def open(self, path):
        """One device."""
        self._fail("open")
        assert path == "/dev/video0"
        self.opened += 1
        return FD

    def close(self, file):
        """Given back, with everything in it."""
        assert file == FD
        self.opened -= 1
        self.queued.clear()
        self.held.clear()

    def mmap(self, file, length, offset):
        """The memory of a buffer."""
        self._fail("mmap")
        assert file == FD
        assert offset % mmap.PAGESIZE == 0
        return memoryview(self.memory[offset // mmap.PAGESIZE])[:length]

    def poll(self, file, seconds):
        """What happened; time passes if nothing did."""
        assert file == FD
        self.on_poll()
        if self.events:
            return self.events
        if not self.done:
            time.sleep(min(seconds, 0.01))
        return select.POLLIN if self.done else 0

    def ioctl(self, file, request, argument):
        """By the kernel's numbers."""
        assert file == FD
        assert self.opened
        for name in ("QUERYCAP", "ENUM_FMT", "S_FMT", "S_PARM", "SUBSCRIBE_EVENT", "REQBUFS", "QUERYBUF", "QBUF",
                     "DQBUF", "STREAMON", "STREAMOFF"):  # fmt: skip
            if request == getattr(v, f"VIDIOC_{name}"):
                self._fail(name)
                self.requests.append(name)
                getattr(self, f"_{name.lower()}")(argument)
                return
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    def _fail(self, name):
        if name in self.fails:
            raise OSError(self.fails[name], os.strerror(self.fails[name]))

    # --- the requests ------------------------------------------------------------------------------------------------

    def _querycap(self, cap):
        cap.capabilities = self.capabilities | v.V4L2_CAP_DEVICE_CAPS
        cap.device_caps = self.capabilities

    def _enum_fmt(self, entry):
        assert entry.type == v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        if entry.index >= len(self.formats):
            raise OSError(errno.EINVAL, "no more")
        entry.pixelformat = pix(self.formats[entry.index])

    def _s_fmt(self, wanted):
        p = wanted.fmt.pix
        if self.size:
            p.width, p.height = self.size
        name = next((n for n in self.formats if pix(n) == p.pixelformat), self.formats[0])
        p.pixelformat = pix(name)
        self.name, self.width, self.height = name, p.width, p.height
        across, down = {"YUYV": (2, 1), "NV12": (1, 1.5), "NV21": (1, 1.5), "GREY": (1, 1)}.get(name, (3, 1))
        self.line, self.rows = int(p.width * across), int(p.height * down)
        p.bytesperline = self.line + self.padding if name != "MJPEG" else 0
        p.sizeimage = (self.line + self.padding) * self.rows

    def _s_parm(self, wanted):
        self.asked_rate = wanted.parm.capture.timeperframe.denominator

    def _subscribe_event(self, wanted):
        assert wanted.type == v.V4L2_EVENT_SOURCE_CHANGE

    def _reqbufs(self, asked):
        assert asked.memory == v.V4L2_MEMORY_MMAP
        asked.count = min(asked.count, self.limit)
        size = -(-(self.line + self.padding) * self.rows // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = [bytearray(size) for _ in range(asked.count)]

    def _querybuf(self, buffer):
        buffer.length = len(self.memory[buffer.index])
        buffer.m.offset = buffer.index * mmap.PAGESIZE

    def _qbuf(self, buffer):
        assert buffer.memory == v.V4L2_MEMORY_MMAP
        assert buffer.index not in self.queued, "a buffer was given back twice"
        assert buffer.index not in [index for index, _ in self.done]
        self.held.discard(buffer.index)
        self.queued.append(buffer.index)

    def _dqbuf(self, buffer):
        if not self.done:
            raise BlockingIOError(errno.EAGAIN, "nothing yet")
        index, (stamp, used) = self.done.popleft()
        self.held.add(index)
        buffer.index, buffer.bytesused = index, used
        buffer.flags = v.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC if self.monotonic else 0
        buffer.flags |= v.V4L2_BUF_FLAG_ERROR if self.broken else 0
        buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = int(stamp), int(stamp % 1 * 1e6)

    def _streamon(self, kind):
        assert kind.value == v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        assert self.queued
        self.streaming = True

    def _streamoff(self, kind):
        assert kind.value == v.V4L2_BUF_TYPE_VIDEO_CAPTURE
        self.streaming = False

    # --- what is before the camera -----------------------------------------------------------------------------------

    def shoot(self, data, *, age=0.0, used=None):
        """The sensor has a picture: into the next free buffer, or lost if there is none."""
        if not self.queued:
            self.lost += 1
            return
        index = self.queued.popleft()
        memory = np.frombuffer(self.memory[index], np.uint8)
        if self.name == "MJPEG":
            memory[: len(data)] = np.frombuffer(data, np.uint8)
            size = len(data)
        else:
            stride = self.line + self.padding
            rows = memory[: stride * self.rows].reshape(self.rows, stride)
            rows[:] = 0xEE  # what padding holds is nobody's business
            rows[:, : self.line] = np.asarray(data, np.uint8).reshape(self.rows, -1)
            size = stride * self.rows
        self.done.append((index, (time.monotonic() - age, size if used is None else used)))
