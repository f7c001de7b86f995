"""Video4Linux: against a driver in memory, which is as strict as the kernel's, and against the kernel's own header."""

from __future__ import annotations

import ctypes
import errno
import io
import select
import shutil
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from facegate import PixelFormat
from facegate.simulation import SimulatedCamera
from facegate.simulation._formats import to_frame
from facegate_terminal._config import CameraConfig
from facegate_terminal._errors import (
    CameraBusyError,
    CameraError,
    CameraFormatError,
    CameraMissingError,
    CameraTimeoutError,
)

v = pytest.importorskip("videodev2", reason="needs the binding of V4L2: pip install 'facegate[terminal]'")

from facegate_terminal import _v4l2  # noqa: E402 - after the check that it can be tried
from facegate_terminal._v4l2 import V4l2Camera  # noqa: E402

from .driver import Driver  # noqa: E402

# One frame a second: what a busy machine makes wait for a second is not old yet.
SMALL = CameraConfig(width=64, height=48, fps=1, timeout_seconds=0.5)
NATIVE = {"NV12": PixelFormat.NV12, "YUYV": PixelFormat.YUYV, "NV21": PixelFormat.NV21, "RGB24": PixelFormat.RGB,
          "BGR24": PixelFormat.BGR, "GREY": PixelFormat.GRAY}  # fmt: skip


def picture(level=0, name="YUYV", width=64, height=48):
    """A picture with a gradient, in the format of that name."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 3 % 256, y * 4 % 256, np.full_like(x, level)], -1).astype(np.uint8)
    return to_frame(rgb, NATIVE[name]).data


@pytest.mark.parametrize("padding", [0, 64])
@pytest.mark.parametrize("name", NATIVE)
def test_every_format_that_the_runtime_takes_arrives_as_it_was_sent(name, padding):
    """Byte for byte, padded rows or not."""
    driver = Driver([name], padding=padding)
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(picture(7, name))
    frame = camera.read(1.0)
    assert frame.format is NATIVE[name]
    assert np.array_equal(frame.data, picture(7, name))
    camera.close()
    assert (driver.opened, driver.streaming) == (0, False)


def test_the_best_format_is_chosen():
    """What needs no decoding comes before JPEG, JPEG before grey; what is not known is passed over."""
    for offered, chosen in (
        (["MJPEG", "YUYV"], "YUYV"),
        (["MJPEG", "YUYV", "NV12"], "NV12"),
        (["GREY", "MJPEG"], "MJPEG"),
        (["H264", "GREY"], "GREY"),
    ):
        driver = Driver(offered)
        V4l2Camera(SMALL, driver).close()
        assert driver.name == chosen
        assert driver.asked_rate == 1


@pytest.mark.parametrize("tables", [True, False])
def test_jpeg_is_decoded(tables):
    """Of a camera that can do nothing else; also the abbreviated kind without Huffman tables that webcams send."""
    y, x = np.mgrid[:48, :64]
    rgb = np.stack([x * 3, y * 4, x + y], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=95)
    data = stream.getvalue() if tables else without_huffman_tables(stream.getvalue())
    driver = Driver(["MJPEG"])
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(data)
    frame = camera.read(1.0)
    assert frame.format is PixelFormat.RGB
    assert np.abs(frame.data.astype(int) - rgb).mean() < 6
    assert not driver.held  # decoded: the buffer is the driver's again


def jpeg(width, height, said=None):
    """A grey JPEG; `said`: the size that its header names instead."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (99, 99, 99)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    if said:
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", said[1], said[0])
    return bytes(data)


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xd8 no picture", jpeg(64, 48)[:300], jpeg(32, 48), jpeg(64, 48, (65_000, 65_000))],
    ids=["no picture", "cut off", "another size", "a size that fills the memory"],
)
def test_a_broken_jpeg_is_passed_over(broken):
    """As webcams send one first: the next picture is given, and only many in a row are an error."""
    driver = Driver(["MJPEG"])
    camera = V4l2Camera(SMALL, driver)
    waiting = [broken, broken, jpeg(64, 48)]
    driver.on_poll = lambda: driver.shoot(waiting.pop(0))
    assert camera.read(1.0).data.shape == (48, 64, 3)
    assert not driver.held
    driver.on_poll = lambda: driver.shoot(broken)
    with pytest.raises(CameraFormatError, match="broken pictures"):
        camera.read(5.0)
    assert not driver.held


def without_huffman_tables(data):
    """A JPEG without its DHT segments."""
    place, kept = 2, data[:2]
    while data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big") + 2
        kept += b"" if data[place + 1] == 0xC4 else data[place : place + length]
        place += length
    return kept + data[place:]


def test_the_newest_frame_is_given_and_the_others_go_back():
    """Four frames wait: the last one is read, three buffers are the driver's again."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    for level in range(4):
        driver.shoot(picture(level * 40))
    assert np.array_equal(camera.read(1.0).data, picture(120))
    assert (len(driver.queued), len(driver.held)) == (3, 1)


def test_an_old_frame_is_not_given():
    """Who looks twice a second finds what the driver kept from before, and waits for a new one."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    for level in range(4):
        driver.shoot(picture(level), age=5.0)
    driver.shoot(picture(99))
    assert driver.lost == 1  # no buffer was free: this is what drivers do
    driver.on_poll = lambda: driver.shoot(picture(200))
    assert np.array_equal(camera.read(1.0).data, picture(200))


def test_a_frame_without_a_clock_is_not_believed_to_be_new():
    """A driver that stamps with another clock: what waited may be old, what comes while we wait is new."""
    driver = Driver()
    driver.monotonic = False
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(picture(1))
    driver.on_poll = lambda: driver.shoot(picture(2))
    assert np.array_equal(camera.read(1.0).data, picture(2))


def test_a_thousand_frames_allocate_nothing():
    """The frame is a view of the driver's buffer, and the same object each time: no copy, no memory."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    frames, shot = set(), picture(2)
    tracemalloc.start()
    for _ in range(1000):  # the interpreter's own free lists fill up: Python 3.10 has larger ones
        driver.shoot(shot)
        frames.add(id(camera.read(1.0)))
    assert len(frames) <= 4
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        driver.shoot(shot)
        frame = camera.read(1.0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert np.shares_memory(frame.data, np.frombuffer(driver.memory[next(iter(driver.held))], np.uint8))
    assert grown < frame.data.nbytes  # not one picture in a thousand


def test_frames_that_arrived_broken_are_passed_over():
    """Half a picture, or one that the driver marks: dropped and its buffer given back, until there are too many."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(picture(1), used=100)
    driver.shoot(picture(2))
    assert np.array_equal(camera.read(1.0).data, picture(2))
    driver.broken = True
    driver.on_poll = lambda: driver.shoot(picture(3))
    with pytest.raises(CameraFormatError, match="broken pictures"):
        camera.read(5.0)


def test_nothing_comes():
    """None after the timeout; an error when it has been silent for too long."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    assert camera.read(0.05) is None
    with pytest.raises(CameraTimeoutError, match=r"nothing for 0\.5 seconds"):
        assert [camera.read(0.05) for _ in range(100)]


@pytest.mark.parametrize(
    ("events", "error"), [(select.POLLERR, CameraMissingError), (select.POLLHUP, CameraMissingError),
                          (select.POLLPRI, CameraFormatError)]
)  # fmt: skip
def test_a_camera_that_goes_while_it_is_watched(events, error):
    """Unplugged, or its picture changes: told while waiting."""
    driver = Driver()
    camera = V4l2Camera(SMALL, driver)
    driver.events = events
    with pytest.raises(error):
        camera.read(1.0)
    camera.close()
    camera.close()
    assert driver.opened == 0


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("open", errno.ENOENT, CameraMissingError),
        ("open", errno.EBUSY, CameraBusyError),
        ("open", errno.EACCES, CameraError),
        ("QUERYCAP", errno.ENOTTY, CameraFormatError),
        ("S_FMT", errno.EBUSY, CameraBusyError),
        ("S_FMT", errno.EINVAL, CameraFormatError),
        ("REQBUFS", errno.ENOMEM, CameraError),
        ("mmap", errno.ENODEV, CameraMissingError),
        ("STREAMON", errno.ENOSPC, CameraBusyError),
        ("DQBUF", errno.ENODEV, CameraMissingError),
        ("DQBUF", errno.EIO, CameraMissingError),
        ("QBUF", errno.ENODEV, CameraMissingError),
    ],
)
def test_errors_of_the_kernel_are_told_as_ours(call, number, error):
    """Missing, busy, no bandwidth, no permission: an error of its own, with a hint; nothing stays open."""
    driver = Driver()
    if call in ("DQBUF", "QBUF"):
        camera = V4l2Camera(SMALL, driver)
        driver.shoot(picture())
        camera.read(1.0)
    driver.fails = {call: number}
    with pytest.raises(error) as caught:
        V4l2Camera(SMALL, driver) if call not in ("DQBUF", "QBUF") else camera.read(1.0)
    assert "/dev/video0" in str(caught.value)
    driver.fails = {"STREAMOFF": errno.ENODEV}
    if call in ("DQBUF", "QBUF"):
        camera.close()
    assert driver.opened == 0


def test_requests_that_a_driver_may_not_know():
    """A rate that cannot be set and events that there are none of are no reason to fail."""
    driver = Driver()
    driver.fails = {"S_PARM": errno.ENOTTY, "SUBSCRIBE_EVENT": errno.EINVAL}
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(picture(5))
    assert camera.read(1.0) is not None


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (Driver(["H264"]), "no format that is known"),
        (Driver([]), "no format that is known"),
        (Driver(buffers=1), "no memory for two pictures"),
        (Driver(size=(63, 47)), "does not give it"),
    ],
)
def test_cameras_that_cannot_be_used(driver, message):
    """Each is refused with what is missing, and closed."""
    with pytest.raises(CameraError, match=message):
        V4l2Camera(SMALL, driver)
    assert driver.opened == 0


def test_a_device_that_is_no_camera():
    """Cameras have several device files, and some give metadata only."""
    driver = Driver()
    driver.capabilities = v.V4L2_CAP_STREAMING
    with pytest.raises(CameraFormatError, match="no camera that streams"):
        V4l2Camera(SMALL, driver)


def test_another_size_than_asked_for_is_taken():
    """Drivers give the nearest size that they have."""
    driver = Driver(size=(160, 120))
    camera = V4l2Camera(SMALL, driver)
    driver.shoot(picture(3, width=160, height=120))
    assert camera.read(1.0).size == (160, 120)


def test_without_the_binding(monkeypatch):
    """The hint says what to install."""
    monkeypatch.setitem(sys.modules, "videodev2", None)
    with pytest.raises(CameraMissingError, match="not installed") as caught:
        V4l2Camera(SMALL, Driver())
    assert "facegate[terminal]" in caught.value.hint


def test_the_real_kernel_has_no_such_camera(tmp_path):
    """Through the real system calls: a path that is not there, and a file that is no camera."""
    (tmp_path / "file").touch()
    for path, error in ((tmp_path / "none", CameraMissingError), (tmp_path / "file", CameraFormatError)):
        with pytest.raises(error):
            V4l2Camera(CameraConfig(device=str(path)))


def test_a_rendered_scene_comes_through(tmp_path):
    """What the simulated camera sees, sent as a webcam sends it, is bit for bit what the gate would get."""
    from facegate_terminal._simulated import demo_script  # noqa: PLC0415, RUF100

    del tmp_path
    shots = SimulatedCamera(demo_script(), width=160, height=120, fps=1, pixel_format=PixelFormat.YUYV)
    driver = Driver(padding=32)
    camera = V4l2Camera(CameraConfig(width=160, height=120, fps=1), driver)
    for shot, _ in zip(shots, range(3), strict=False):
        driver.shoot(shot.frame.data)
        assert np.array_equal(camera.read(1.0).data, shot.frame.data)


HEADER = """
#include <stddef.h>
#include <stdio.h>
#include <linux/videodev2.h>
int main(void) {
%s
  return 0;
}
"""


def test_the_binding_is_the_kernels_header(tmp_path):
    """Sizes, places of fields and request numbers that are used are those of linux/videodev2.h on this machine."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    structs = {
        "v4l2_buffer": ("index", "bytesused", "flags", "timestamp", "memory", "m", "length"),
        "v4l2_capability": ("capabilities", "device_caps"),
        "v4l2_event_subscription": ("type",),
        "v4l2_fmtdesc": ("index", "type", "pixelformat"),
        "v4l2_format": ("type", "fmt"),
        "v4l2_pix_format": ("width", "height", "pixelformat", "field", "bytesperline"),
        "v4l2_requestbuffers": ("count", "type", "memory"),
        "v4l2_streamparm": ("type", "parm"),
    }
    requests = ("QUERYCAP", "ENUM_FMT", "S_FMT", "S_PARM", "SUBSCRIBE_EVENT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF",
                "STREAMON", "STREAMOFF")  # fmt: skip
    numbers = [f"VIDIOC_{name}" for name in requests] + [f"V4L2_PIX_FMT_{row[0]}" for row in _v4l2._FORMATS]
    lines, expected = [], []
    for name, parts in structs.items():
        kind = getattr(v, name)
        lines.append(f'  printf("%zu\\n", sizeof(struct {name}));')
        expected.append(ctypes.sizeof(kind))
        lines += [f'  printf("%zu\\n", offsetof(struct {name}, {part}));' for part in parts]
        expected += [getattr(kind, part).offset for part in parts]
    lines += [f'  printf("%u\\n", (unsigned){name});' for name in numbers]
    expected += [getattr(v, name) & 0xFFFFFFFF for name in numbers]
    source = tmp_path / "header.c"
    source.write_text(HEADER % "\n".join(lines))
    made = subprocess.run(  # noqa: S603 - the system's compiler
        [compiler, str(source), "-o", str(tmp_path / "header")], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the kernel's headers (linux-libc-dev)")
    told = subprocess.run([str(tmp_path / "header")], capture_output=True, text=True, check=True)  # noqa: S603
    assert [int(line) for line in told.stdout.split()] == expected
