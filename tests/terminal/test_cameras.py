"""The other cameras: a Raspberry Pi's through a module of picamera2's interface, a folder of pictures, a scene."""

from __future__ import annotations

import concurrent.futures
import importlib
import logging
import sys
import threading
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from facegate import PixelFormat
from facegate.simulation import Cue, Script, Visitor
from facegate_terminal._camera import ReopenedCamera, open_camera
from facegate_terminal._clock import SceneTime
from facegate_terminal._config import CameraConfig
from facegate_terminal._errors import (
    CameraBusyError,
    CameraError,
    CameraFormatError,
    CameraMissingError,
    CameraOverError,
    CameraTimeoutError,
)
from facegate_terminal._picamera import PiCamera
from facegate_terminal._pictures import PictureCamera
from facegate_terminal._simulated import ScenePlayer

from .conftest import FRAME, HandClock

PI = CameraConfig(source="picamera2", width=64, height=48, fps=10, timeout_seconds=0.5)


class FakeRequest:
    """picamera2's CompletedRequest."""

    def __init__(self, camera, data):
        self.camera, self.data, self.mapped, self.released = camera, data, 0, False

    def release(self):
        """Once, and not while it is mapped."""
        assert not self.released
        assert self.mapped == 0
        self.released = True
        self.camera.out -= 1


class FakeMappedArray:
    """picamera2's MappedArray, without reshaping."""

    def __init__(self, request, stream, reshape=True):
        assert (stream, reshape) == ("main", False)
        self.request = request

    def __enter__(self):
        self.request.mapped += 1
        self.array = self.request.data
        return self

    def __exit__(self, *_):
        self.request.mapped -= 1
        self.array = None


class FakePicamera2:
    """As much of picamera2.Picamera2 as its manual says and is used.

    Class attributes are what a test sets before one is made.
    """

    formats = ("NV12",)
    padding = 0
    fails = None  # an error of the constructor
    made = None

    def __init__(self, number):
        if self.fails:
            raise self.fails
        type(self).made = self
        self.number, self.started, self.closed, self.out = number, False, False, 0
        self.frames, self.jobs = [], 0
        self.breaks = None

    def create_video_configuration(self, main, *, buffer_count, queue, controls):
        """What `configure` takes."""
        assert (buffer_count, queue) == (4, False)
        assert controls == {"FrameDurationLimits": (100_000, 100_000)}
        return {"main": dict(main)}

    def configure(self, config):
        """Given is what can be given, not always what was asked for."""
        main = config["main"]
        if main["format"] not in self.formats:
            main["format"] = "XBGR8888"
        main["stride"] = main["size"][0] + self.padding
        self.main = main

    def camera_configuration(self):
        """What was given."""
        return {"main": self.main}

    def start(self):
        """Runs."""
        self.started = True

    def capture_request(self, *, wait):
        """A job."""
        assert wait is False
        self.jobs += 1
        return object()

    def wait(self, job, timeout):
        """The job's request, or TimeoutError."""
        assert timeout
        if self.breaks:
            raise self.breaks
        if not self.frames:
            raise concurrent.futures.TimeoutError  # as a Future does, which is what picamera2's job asks
        self.out += 1
        assert self.out <= 2, "requests are not given back"
        del job
        return FakeRequest(self, self.frames.pop(0))

    def stop(self):
        """Ends."""
        self.started = False

    def close(self):
        """Given back."""
        assert self.out == 0
        self.closed = True


@pytest.fixture
def picamera2(monkeypatch):
    """The module in the system's place."""
    module = ModuleType("picamera2")
    module.Picamera2 = type("Picamera2", (FakePicamera2,), {})
    module.MappedArray = FakeMappedArray
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return module.Picamera2


def planes(seed):
    """Y, U and V of a picture."""
    rng = np.random.default_rng(seed)
    return [rng.integers(16, 235, size, np.uint8) for size in ((48, 64), (24, 32), (24, 32))]


def as_sent(fmt, padding, y, u, v):
    """The bytes that libcamera's buffer has for them."""

    def padded(rows, pad):
        return np.pad(rows, ((0, 0), (0, pad)), constant_values=0xEE).ravel()

    if fmt == "NV12":
        woven = np.stack([u, v], -1).reshape(24, 64)
        return np.concatenate([padded(y, padding), padded(woven, padding), np.zeros(100, np.uint8)])
    return np.concatenate([padded(y, padding), padded(u, padding // 2), padded(v, padding // 2)])


@pytest.mark.parametrize("padding", [0, 64])
@pytest.mark.parametrize("fmt", ["NV12", "YUV420"])
def test_a_pi_camera_gives_nv12(picamera2, fmt, padding):
    """NV12 as it lies; YUV420 woven; padded rows or not."""
    picamera2.formats, picamera2.padding = (fmt,), padding
    camera = open_camera(PI)
    for seed in range(3):
        y, u, v = planes(seed)
        picamera2.made.frames.append(as_sent(fmt, padding, y, u, v))
        frame = camera.read(0.2)
        assert frame.format is PixelFormat.NV12
        assert np.array_equal(frame.data[:48], y)
        assert np.array_equal(frame.data[48:, 0::2], u)
        assert np.array_equal(frame.data[48:, 1::2], v)
    camera.close()
    camera.close()
    assert (picamera2.made.started, picamera2.made.closed) == (False, True)


def test_a_pi_camera_copies_nothing_that_it_need_not(picamera2):
    """An NV12 frame is libcamera's buffer, which is given back with the next read."""
    camera = PiCamera(PI)
    data = as_sent("NV12", 0, *planes(1))
    picamera2.made.frames = [data, data]
    first = camera.read(0.2)
    assert np.shares_memory(first.data, data)
    assert picamera2.made.out == 1
    camera.read(0.2)
    assert picamera2.made.out == 1


def test_a_pi_camera_that_is_slow(picamera2):
    """A job that is not done is waited for again, not asked for again; too long is an error."""
    camera = PiCamera(PI)
    assert camera.read(0.01) is None
    assert camera.read(0.01) is None
    assert picamera2.made.jobs == 1
    camera._last -= 1
    with pytest.raises(CameraTimeoutError):
        camera.read(0.01)


@pytest.mark.parametrize(
    ("error", "ours"), [(IndexError("list index out of range"), CameraMissingError),
                        (RuntimeError("Camera __init__ sequence did not complete."), CameraBusyError)]
)  # fmt: skip
def test_a_pi_camera_that_cannot_be_had(picamera2, error, ours):
    """No camera, or another program has it."""
    picamera2.fails = error
    with pytest.raises(ours):
        PiCamera(PI)


def test_a_pi_camera_that_breaks(picamera2):
    """An error of libcamera is one of the camera; formats that nobody knows are refused."""
    camera = PiCamera(PI)
    picamera2.made.breaks = RuntimeError("camera frontend has timed out")
    with pytest.raises(CameraError, match="timed out"):
        camera.read(0.1)
    picamera2.formats = ("RGB888",)
    with pytest.raises(CameraFormatError, match="neither NV12 nor YUV420"):
        PiCamera(PI)
    assert picamera2.made.closed


def test_where_there_is_no_picamera2(monkeypatch, tmp_path):
    """It is the system's package: looked for there, after our own, and the hint says which."""
    monkeypatch.setattr("facegate_terminal._picamera._SYSTEM", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(CameraMissingError, match="not installed") as caught:
        PiCamera(PI)
    assert "python3-picamera2" in caught.value.hint
    assert sys.path[-1] == str(tmp_path)
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    importlib.invalidate_caches()
    with pytest.raises(CameraMissingError, match="does not go with this numpy"):
        PiCamera(PI)


# --- pictures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Three pictures, one of them damaged, and something else."""
    for number, level in ((1, 10), (3, 30)):
        Image.new("RGB", (8, 6), (level, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "2-alice.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_pictures_are_shown_in_order(folder, caplog):
    """Each once; what cannot be read is passed over without its name; at the end it is over."""
    config = CameraConfig(source="pictures", folder=str(folder), seconds=0.05, repeat=False, rotation=90)
    camera = open_camera(config)
    camera._config = config
    shown = []
    with pytest.raises(CameraOverError), caplog.at_level(logging.INFO):  # noqa: PT012 - until it is over
        while True:
            camera._until = 0
            shown.append(camera.read(0.1))
    assert [int(frame.data[0, 0, 0]) for frame in shown] == [10, 30]
    assert {frame.rotation for frame in shown} == {90}
    assert "alice" not in caplog.text
    camera.close()


def test_pictures_are_shown_for_a_while_and_again(folder):
    """The same picture until its time is over, and from the beginning after the last."""
    camera = PictureCamera(CameraConfig(source="pictures", folder=str(folder), seconds=3600))
    first = camera.read(0.1)
    assert camera.read(0.1) is first
    seen = [10]
    for _ in range(3):
        camera._until = 0
        seen.append(int(camera.read(0.1).data[0, 0, 0]))
    assert seen == [10, 30, 10, 30]


def test_folders_without_pictures(tmp_path):
    """None there, none in it, none that can be read."""
    for make in (lambda: None, tmp_path.joinpath("in").mkdir, lambda: (tmp_path / "in/a.png").write_bytes(b"no")):
        make()
        with pytest.raises(CameraMissingError):
            PictureCamera(CameraConfig(source="pictures", folder=str(tmp_path / "in"))).read(0.1)


# --- a scene, and cameras that fail ------------------------------------------------------------------------------


def test_a_scene_sets_the_clock():
    """In a scene's own time each frame comes when it is due, and what nobody waits for is not rendered."""
    clock = SceneTime()
    script = Script((Cue((Visitor(3_000_013),), approach=0, look=1.0, leave=0),))
    player = ScenePlayer(script, clock)
    times = []
    with pytest.raises(CameraOverError):  # noqa: PT012 - until it is over
        while True:
            assert player.read(0.1).format is PixelFormat.NV12
            times.append(clock.seconds)
            clock.wait(0.3, threading.Event())
    assert times == [0.0, 0.375, 0.75]
    player.close()


def test_a_camera_is_opened_again_later_and_later():
    """1, 2, 4, 8, 16, 30, 30 seconds; and from one second again once it has given a frame."""
    clock, opened, fails = HandClock(), [], [True]

    class Flaky:
        def read(self, timeout):
            del timeout
            if fails[0]:
                raise CameraMissingError("gone")
            return FRAME

        def close(self):
            pass

    def make():
        opened.append(clock.seconds)
        return Flaky()

    camera = ReopenedCamera(make, clock, threading.Event())
    while clock.seconds < 1095:
        camera.read(0.5)
    assert [round(b - a) for a, b in pairwise(opened)] == [1, 2, 4, 8, 16, 30, 30]
    assert camera.trouble == "CameraMissingError"
    fails[0] = False
    while camera.read(0.5) is None:
        pass
    assert (camera.trouble, camera.frames) == ("", 1)
    fails[0] = True
    before = len(opened)
    camera.read(0.5)
    for _ in range(3):
        camera.read(0.5)
    assert len(opened) == before + 1
