"""A camera that nobody stands before: it plays a script."""

from __future__ import annotations

import math
import time
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from facegate.errors import FrameError
from facegate.simulation._formats import check_size, to_frame
from facegate.simulation._render import backdrop, render
from facegate.simulation._stage import phase_at, stage
from facegate_edge import PixelFormat

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate.simulation._arrays import Floats
    from facegate.simulation._scene import Picture, Scene, TrueFace
    from facegate.simulation._script import Cue, Script
    from facegate_edge import Frame

__all__ = ["Shot", "SimulatedCamera"]

MAX_SIDE, MIN_SIDE, MAX_FPS = 4096, 32, 240.0


class Shot:
    """One frame of a simulated camera, and the truth about it. It is rendered when it is looked at, once.

    Attributes:
        number: of the frame since the camera was opened, 0, 1, 2, ...; a gap shows frames that were dropped.
        time_s: seconds since then, in the scene's time.
        cue: what the script says.
        cue_number: which of the script's cues it is.
        phase: "empty", "approach", "look" or "leave".
    """

    def __init__(
        self, number: int, time_s: float, cue: Cue, cue_number: int, phase: str, scene: Scene, camera: SimulatedCamera
    ) -> None:
        self.number, self.time_s = number, time_s
        self.cue, self.cue_number, self.phase = cue, cue_number, phase
        self._scene, self._camera = scene, camera

    @cached_property
    def picture(self) -> Picture:
        """What there is to see, in RGB, with its true faces."""
        return render(self._scene, behind=self._camera.room(self._scene))

    @cached_property
    def frame(self) -> Frame:
        """What the camera gives: the picture in the camera's format."""
        return to_frame(self.picture.pixels, self._camera.pixel_format)

    @property
    def faces(self) -> tuple[TrueFace, ...]:
        """The true faces in the frame."""
        return self.picture.faces

    def __repr__(self) -> str:
        return f"Shot({self.number}, {self.time_s:.2f} s, {self.phase})"


class SimulatedCamera:
    """Plays a script as frames: an iterator of `Shot`s, used up after one pass; a context manager.

    The same script, size, rate and seed give the same frames, however many are dropped between them. Frames that are
    not looked at cost nothing, because a shot is rendered on demand.

    Args:
        script: what happens.
        width, height: of the frames, 32 to 4096 pixels; even where the format wants it.
        fps: frames a second of the scene.
        pixel_format: of the frames.
        real_time: give each frame when its time has come, and drop those that a slow consumer is late for, as a camera
            does. Otherwise every frame, as fast as they are asked for.
        seed: of how people move, and of the sensor's noise; 0 or more.

    Attributes:
        pixel_format: of the frames.
        dropped: frames that the consumer was too slow for.

    Raises:
        FrameError: there is no such frame size, rate, format or seed.
    """

    def __init__(
        self,
        script: Script,
        *,
        width: int = 640,
        height: int = 480,
        fps: float = 15.0,
        pixel_format: PixelFormat = PixelFormat.RGB,
        real_time: bool = False,
        seed: int = 0,
    ) -> None:
        if not isinstance(pixel_format, PixelFormat):
            raise FrameError(f"{pixel_format!r} is no PixelFormat", hint="e.g. PixelFormat.NV12")
        if not all(type(side) is int and MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            raise FrameError("no camera has frames of that size", hint=f"sides are {MIN_SIDE} to {MAX_SIDE} pixels")
        if not (isinstance(fps, (int, float)) and 0 < fps <= MAX_FPS):
            raise FrameError("no camera has that rate", hint=f"fps is above 0 and at most {MAX_FPS:g}")
        if type(seed) is not int or seed < 0:
            raise FrameError("a camera's seed is no such number", hint="give a whole number, 0 or more")
        check_size(width, height, pixel_format)
        self._script, self._size, self._fps, self.pixel_format = script, (width, height), float(fps), pixel_format
        self._real_time, self._seed = real_time, seed
        self._ends = list(accumulate(cue.seconds for cue in script.cues))
        self._next = 0
        self._cue = 0
        self._began: float | None = None
        self._closed = False
        self._rooms: dict[float, Floats] = {}
        self.dropped = 0

    @property
    def frames(self) -> int:
        """How many frames the script has at this rate."""
        return max(1, math.ceil(self._script.seconds * self._fps - 1e-9))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Shot:
        if self._closed:
            raise StopIteration
        number = self._due() if self._real_time else self._next
        if number >= self.frames:
            self._next = self.frames  # all of them were given or dropped: asking again drops no more
            raise StopIteration
        self._next = number + 1
        return self._shot(number)

    def _due(self) -> int:
        """The frame that is to be given now: waits for the next one, or drops those whose time has passed."""
        now = _now()
        if self._began is None:
            self._began = now
        late = int((now - self._began) * self._fps)
        if late > self._next:
            self.dropped += max(0, min(late, self.frames) - self._next)
            return late
        wait = self._began + self._next / self._fps - now
        if wait > 0 and self._next < self.frames:
            _sleep(wait)
        return self._next

    def _shot(self, number: int) -> Shot:
        time_s = number / self._fps
        while time_s >= self._ends[self._cue] and self._cue + 1 < len(self._ends):
            self._cue += 1
        cue = self._script.cues[self._cue]
        within = time_s - (self._ends[self._cue] - cue.seconds)
        scene = stage(self._script, self._cue, within, size=self._size, seed=(self._seed, number))
        return Shot(number, time_s, cue, self._cue, phase_at(cue, within)[0], scene, self)

    def room(self, scene: Scene) -> Floats:
        """What is behind the people of a scene: rendered once for each light, because the camera does not move."""
        light = scene.light.background
        if light not in self._rooms:
            self._rooms[light] = backdrop(scene)
        return self._rooms[light]

    def close(self) -> None:
        """End the scene; a second call does nothing. Shots that were given stay good."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self._size
        return f"SimulatedCamera({width}x{height} {self.pixel_format.name}, {self._fps:g} fps)"


_now, _sleep = time.monotonic, time.sleep
