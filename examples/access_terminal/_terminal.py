"""The loop: a frame, somebody in it, a decision, and perhaps an open door."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate.errors import GateInUseError, StoreError, StoreFullError, StoreWriteError
from facegate_terminal._errors import CameraOverError, LineError
from facegate_terminal._visit import Visit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from facegate import Frame, Gate, GateStatus, Recognizer, SignedDecision
    from facegate_edge import Face
    from facegate_terminal._camera import ReopenedCamera
    from facegate_terminal._clock import Clock
    from facegate_terminal._config import Config
    from facegate_terminal._door import Door
    from facegate_terminal._eyes import Eyes
    from facegate_terminal._judge import Judge, Verdict
    from facegate_terminal._light import Light
    from facegate_terminal._status import StatusFile
    from facegate_terminal._watchdog import HardwareWatchdog, ServiceManager

__all__ = ["Parts", "Terminal"]

_log = logging.getLogger("facegate_terminal")
_READ = 0.5  # seconds that a camera is waited for at once: so often a stop is looked at
_BOARD_PATIENCE = 600.0  # seconds without a frame after which the board is reset, if it has a watchdog
_REFUSED = 1.5  # seconds that the light shows a refusal
# What a restart does not heal: the terminal stays, closed, says what is wrong, and goes on when it is over.
_STORE_TROUBLE: dict[type[StoreError], str] = {
    StoreFullError: "disk_full",
    StoreWriteError: "disk_not_writable",
    GateInUseError: "disk_busy",  # an outbox that is being emptied, a backup, an SD card that takes its time
}


@dataclass(frozen=True, slots=True, repr=False)
class Parts:
    """What a terminal is made of. All of it is the caller's to close; the door is closed at the end of `run` already.

    Attributes:
        on_decision: told of each decision, and whether the door was opened for it. Demonstrations print it; a service
            does not, because a decision names a person.
    """

    gate: Gate
    recognizer: Recognizer
    eyes: Eyes
    judge: Judge
    camera: ReopenedCamera
    door: Door
    light: Light
    service: ServiceManager
    board: HardwareWatchdog
    status: StatusFile
    clock: Clock
    on_decision: Callable[[SignedDecision, Verdict, bool], object] | None = None


class Terminal:
    """Looks, asks, opens. One thread; `stop` ends it within half a second.

    Args:
        config: the rules of [visit] and [status].
        parts: what it is made of.
        stop: to end it.
    """

    def __init__(self, config: Config, parts: Parts, stop: threading.Event) -> None:
        self._config, self._parts, self._stop = config, parts, stop
        self._visit = Visit(config.visit)
        self._due = self._next_status = self._last_frame = parts.clock.monotonic()
        self._refused_until = 0.0
        self._store_trouble = ""
        self._gate_status: GateStatus | None = None
        self._free_mb: int | None = None
        self._said: tuple[str, tuple[str, ...]] = ("", ())
        self._logged: tuple[str, ...] = ()

    def run(self) -> None:
        """Until `stop` is set, or the camera has nothing more to show.

        Raises:
            LineError: the door's line cannot be released. The process has to end: the kernel takes the line back.
            FacegateError: the gate cannot be used any more.
        """
        parts = self._parts
        self._look_at_gate()
        self._tell(parts.clock.monotonic())
        parts.service.ready()
        _log.info("ready")
        try:
            while not self._stop.is_set():
                self.step()
        except CameraOverError:
            _log.info("the camera has nothing more to show")
        finally:
            try:
                parts.door.close()  # before anything that may take its time
            finally:
                parts.service.stopping()
                parts.status.remove()

    def step(self) -> None:
        """One turn: at most one frame, and at most one decision."""
        parts, clock = self._parts, self._parts.clock
        wait = self._due - clock.monotonic()
        if wait > 0:
            clock.wait(wait, self._stop)
        if self._stop.is_set():
            return
        frame = parts.camera.read(_READ)
        parts.door.tick()
        if parts.door.failed:
            raise LineError("the door's line could not be released", hint="look at the relay's wiring")
        now = clock.monotonic()
        if frame is not None:
            try:
                faces = parts.eyes.look(frame)
                if self._visit.saw(now, _nearest(faces)):
                    self._ask(frame)
            finally:
                parts.eyes.forget()
            # Only here: there was a frame, it was looked at, and what had to be decided and opened was. A camera that
            # is stuck, a gate that hangs, a loop that is lost end in no ping, and with that in a restart.
            parts.service.alive()
            self._last_frame = now
        # A board that resets itself every few seconds because its camera is unplugged helps nobody; once in a while it
        # may heal a camera or a bus. A loop that hangs is not forgiven.
        if now - self._last_frame < _BOARD_PATIENCE:
            parts.board.alive()
        self._due = now if frame is None else now + self._visit.interval
        if now >= self._next_status:
            self._look_at_gate()
        self._tell(now)

    def _ask(self, frame: Frame) -> None:
        """One trial. What cannot be recorded is not decided, and opens nothing."""
        parts = self._parts
        try:
            signed = parts.recognizer.identify(frame)
        except tuple(_STORE_TROUBLE) as error:
            self._store_failed(error)
            self._visit.pause(parts.clock.monotonic())
            return
        self._store_trouble = ""
        now = parts.clock.monotonic()
        verdict = parts.judge.judge(signed)
        decision = signed.decision
        opens = self._visit.told(now, verdict.subject, decision.reasons)
        if opens:
            parts.door.open()
        elif verdict.subject is None:
            self._refused_until = now + _REFUSED
        what = "opened" if opens else f"not opened: {verdict.why_not or 'not yet, or once already'}"
        _log.info("decision %d: %s", decision.sequence, what)
        if verdict.why_not == "not_verified":
            _log.critical("a decision was not signed by this device")
        if parts.on_decision is not None:
            parts.on_decision(signed, verdict, opens)

    def _store_failed(self, error: StoreError) -> None:
        trouble = next(word for kind, word in _STORE_TROUBLE.items() if isinstance(error, kind))
        if trouble != self._store_trouble:
            _log.error("%s: %s (%s)", trouble, error, error.hint)
        self._store_trouble = trouble

    # --- what it says --------------------------------------------------------------------------------------------

    def _look_at_gate(self) -> None:
        parts = self._parts
        self._next_status = parts.clock.monotonic() + self._config.status.seconds
        try:
            self._gate_status = parts.gate.status()
        except tuple(_STORE_TROUBLE) as error:
            self._store_failed(error)
        self._free_mb = _free_mb(self._config.gate.folder)
        self._said = ("", ())  # written anew, changed or not: a reader takes an old file for a dead terminal's

    def _trouble(self) -> tuple[str, ...]:
        """Everything that somebody has to look at, as words."""
        found = [self._parts.camera.trouble, self._store_trouble]
        if self._gate_status is not None and self._gate_status.clock:
            found.append(f"clock_not_believed_{self._gate_status.clock}")
        if self._free_mb is not None and self._free_mb < self._config.status.low_disk_mb:
            found.append("disk_nearly_full")
        return tuple(word for word in found if word)

    def _tell(self, now: float) -> None:
        """The light always, the status when something has changed."""
        parts, trouble = self._parts, self._trouble()
        if parts.door.is_open:
            state = "open"
        elif now < self._refused_until:
            state = "refused"
        elif parts.camera.trouble or self._store_trouble:
            state = "trouble"
        else:
            state = "looking" if self._visit.somebody else "ready"
        unbelieved = self._gate_status is not None and self._gate_status.clock
        parts.light.show("clock" if state == "ready" and unbelieved else state)
        if (state, trouble) == self._said:
            return
        if trouble != self._logged:
            _log.info("trouble: %s", ", ".join(trouble) or "none any more")
        self._said, self._logged = (state, trouble), trouble
        parts.service.status(f"{state}; trouble: {', '.join(trouble) or 'none'}")
        parts.status.write(self._status(state, trouble))

    def _status(self, state: str, trouble: tuple[str, ...]) -> dict[str, Any]:
        parts, gate = self._parts, self._gate_status
        return {
            "format": 1,
            "state": state,
            "trouble": list(trouble),
            "camera": {"frames": parts.camera.frames, "failures": parts.camera.failures},
            "gate": {
                name: getattr(gate, name, "" if name == "clock" else 0)
                for name in ("people", "decisions", "waiting", "reviews", "outdated", "clock", "demonstration")
            },
            "door": {"open": parts.door.is_open, "openings": parts.door.openings},
            "disk_free_mb": self._free_mb,
            "pid": os.getpid(),
            "boot": parts.clock.boot(),
            "updated": round(parts.clock.monotonic(), 3),
            "period": self._config.status.seconds,
        }


def _nearest(faces: tuple[Face, ...]) -> float | None:
    """The shorter side of the largest face's box, in pixels; None: there is none."""
    sides = [min(float(f.box[2] - f.box[0]), float(f.box[3] - f.box[1])) for f in faces]
    return max(sides, default=None)


def _free_mb(folder: str) -> int | None:
    """Free megabytes of the disk that the gate is on; None: nobody knows."""
    try:
        return shutil.disk_usage(folder).free // 1_000_000
    except OSError:
        return None
