"""Faces that a camera showed a moment ago: a random id each, in memory only, and not for long."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate.errors import CapturedFaceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate._decision import Liveness, Reason
    from facegate._examiner import Probe
    from facegate_edge._values import Face

__all__ = ["MAX_SECONDS", "Captured", "CapturedFace"]

MAX_SECONDS = 24 * 3600
_MOST = 1000  # held at once; the oldest goes when another comes


@dataclass(frozen=True, slots=True, repr=False)
class CapturedFace:
    """A detected face, as a reference to what the gate holds of it: a template, never a picture.

    Attributes:
        id: 128 random bits in hex. It means nothing once the face is forgotten.
        box: x1, y1, x2, y2 in pixels of the upright frame, for the device's own screen.
        reason: why it will not be compared ("low_quality", "liveness_spoof"), None if it can be.
        liveness: what the liveness check said.
        seconds: how long it is held.
    """

    id: str
    box: tuple[float, float, float, float]
    reason: Reason | None
    liveness: Liveness
    seconds: float

    def __repr__(self) -> str:
        return f"CapturedFace({self.id})"


class Captured:
    """What a gate holds of captured faces; wiped when their time is over, also if nobody asks for them again.

    Args:
        lock: the gate's; every method is called with it held.
        monotonic: the gate's clock, seconds.
    """

    def __init__(self, lock: threading.RLock, monotonic: Callable[[], float]) -> None:
        self._lock = lock
        self._monotonic = monotonic
        self._held: OrderedDict[str, tuple[Probe, float]] = OrderedDict()
        self._timer: threading.Timer | None = None
        self._due = 0.0  # when the timer rings

    def __len__(self) -> int:
        return len(self._held)

    def add(self, face: Face, probe: Probe, seconds: float) -> CapturedFace:
        """Hold a face for so many seconds."""
        self.sweep()
        while len(self._held) >= _MOST:
            self._held.popitem(last=False)[1][0].wipe()
        face_id = secrets.token_hex(16)
        self._held[face_id] = (probe, self._monotonic() + seconds)
        self._arm(seconds)
        x1, y1, x2, y2 = face.box.tolist()
        return CapturedFace(face_id, (x1, y1, x2, y2), probe.reason, probe.liveness, seconds)

    def get(self, face_id: str) -> Probe:
        """What is held of a face; it is not the caller's to wipe.

        Raises:
            CapturedFaceError: there is none of that id, or not any more.
        """
        self.sweep()
        held = self._held.get(face_id) if type(face_id) is str else None
        if held is None:
            raise CapturedFaceError("no such face is held (any more)", hint="detect it again, and use it sooner")
        return held[0]

    def sweep(self) -> None:
        """Wipe what has been held long enough."""
        now = self._monotonic()
        for face_id in [i for i, (_, until) in self._held.items() if now >= until]:
            self._held.pop(face_id)[0].wipe()

    def clear(self) -> None:
        """Wipe everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._held:
            self._held.popitem()[1][0].wipe()

    def _arm(self, seconds: float) -> None:
        due = self._monotonic() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():  # canceled while it waited for the lock
                return
            self._timer = None
            self.sweep()
            if self._held:
                until = min(until for _, until in self._held.values())
                self._arm(max(until - self._monotonic(), 1.0))
