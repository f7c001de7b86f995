"""A terminal without hardware, without models and without time."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from facegate import Decision, Frame, GateStatus, SignedDecision, SigningKey, SystemClock, sign_decision
from facegate_edge import Face
from facegate_terminal._camera import ReopenedCamera
from facegate_terminal._config import Config, DoorConfig, StatusConfig, VisitConfig
from facegate_terminal._door import Door
from facegate_terminal._errors import LineError
from facegate_terminal._judge import Judge
from facegate_terminal._light import Light
from facegate_terminal._status import StatusFile
from facegate_terminal._terminal import Parts, Terminal

DEVICE = SigningKey.from_seed(bytes(range(32)))
FRAME = Frame(np.zeros((48, 64, 3), np.uint8))


class HandClock(SystemClock):
    """Seconds that pass when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self):
        """The seconds."""
        return self.seconds

    def wait(self, seconds, stop):
        """Let them pass."""
        if not stop.is_set():
            self.seconds += seconds


class Wire:
    """A line that remembers what it was driven to, and breaks on demand."""

    def __init__(self) -> None:
        self.values = [False]
        self.closed = False
        self.broken = ""  # "on", "off", "both": what cannot be done
        self.stuck = False

    def set(self, *, active):
        """Drive it, if it is whole."""
        if self.broken in (("on" if active else "off"), "both"):
            raise LineError("broken")
        if active is not self.values[-1]:
            self.values.append(active)

    def get(self):
        """What it is driven to."""
        return self.stuck or self.values[-1]

    def close(self):
        """Off, and given back."""
        if not self.closed and self.values[-1]:
            self.values.append(False)
        self.closed = True


def a_decision(number, outcome="match", subject="visitor-1", reasons=(), marks=(), **fields):
    """A decision as the gate signs it."""
    made = Decision(
        id=f"01a1fd4d-ce11-74c7-8895-{number:012x}",
        device="door-1",
        sequence=number,
        time="2026-11-21T08:51:37.105Z",
        kind="identify",
        outcome=outcome,
        subject=subject if outcome == "match" else None,
        reasons=() if outcome == "match" else tuple(reasons) or ("below_threshold",),
        liveness={"liveness_spoof": "spoof", "liveness_uncertain": "uncertain"}.get("".join(reasons), "not_checked"),
        bundle="0" * 64,
        policy="1" * 64,
        declaration="2" * 64,
        marks=tuple(marks),
    )
    made = replace(made, **fields) if fields else made
    return SignedDecision(made, sign_decision(made, DEVICE))


def seen(side):
    """One face of so many pixels."""
    return Face(np.array([0, 0, side, side * 1.2], np.float32), None, 0.9)


@dataclass
class Watch:
    """A service manager and a hardware watchdog that count."""

    alive_calls: int = 0
    said: str = ""
    is_ready: bool = False
    is_stopping: bool = False

    def alive(self):
        """Progress."""
        self.alive_calls += 1

    def status(self, text):
        """A line."""
        self.said = text

    def ready(self):
        """Started."""
        self.is_ready = True

    def stopping(self):
        """Ends."""
        self.is_stopping = True


class Stage:
    """A terminal, and in its hands everything that is around it.

    Attributes:
        faces: what is in the next frames: sides of faces in pixels.
        answers: what the gate answers, one after the other, the last one again and again: an outcome, a
            (outcome, subject or reason) pair, or an error to raise.
    """

    def __init__(self, tmp_path, *, visit=None, door=None, judge=None):
        self.clock, self.wire, self.lamp, self.stop = HandClock(), Wire(), Wire(), threading.Event()
        self.faces, self.answers, self.asked, self.looked = [], ["match"], 0, 0
        self.camera_fails = None
        self.camera_silent = False
        self.gate_status = GateStatus("door-1", False, 3, 0, 0, 0, 0, "", "2" * 64, "door", "generic")
        self.told = []
        self.config = Config(
            visit=visit or VisitConfig(),
            door=door or DoorConfig(line="file", file="/nowhere", open_seconds=4.0),
            status=StatusConfig(file=str(tmp_path / "terminal.json")),
        )
        self.watch, self.board = Watch(), Watch()
        rules = self.config.door
        self.parts = Parts(
            gate=SimpleNamespace(status=lambda: self.gate_status),
            recognizer=SimpleNamespace(identify=self._identify),
            eyes=SimpleNamespace(look=self._look, forget=lambda: None),
            judge=judge
            or Judge(
                DEVICE.verify_key,
                "door-1",
                demonstration=rules.allow_demonstration,
                believed_clock=rules.require_believed_clock,
            ),
            camera=ReopenedCamera(lambda: self, self.clock, self.stop),
            door=Door(self.wire, rules.open_seconds, self.clock),
            light=Light(None),
            service=self.watch,
            board=self.board,
            status=StatusFile(self.config.status.file),
            clock=self.clock,
            on_decision=lambda *args: self.told.append(args),
        )
        self.terminal = Terminal(self.config, self.parts, self.stop)

    def _look(self, frame):
        assert frame is FRAME
        self.looked += 1
        return tuple(seen(side) for side in self.faces)

    def _identify(self, frame):
        assert frame is FRAME
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, str):
            outcome, word = answer
            return a_decision(self.asked, outcome, word, (word,))
        return a_decision(self.asked, answer)

    def read(self, timeout):
        """The camera's."""
        if self.camera_fails is not None:
            raise self.camera_fails
        if self.camera_silent:
            self.clock.seconds += timeout
            return None
        return FRAME

    def close(self):
        """The camera's."""

    def play(self, seconds, *faces):
        """Let so much time pass with these faces before the camera."""
        self.faces = list(faces)
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            self.terminal.step()
        return self

    @property
    def openings(self):
        """How often the door was opened."""
        return self.parts.door.openings


@pytest.fixture
def stage(tmp_path):
    """A function: makes a Stage; keyword arguments are its own."""
    made = []

    def make(**kwargs):
        made.append(Stage(tmp_path, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.parts.door.close()


@pytest.fixture(autouse=True)
def _logs_reach_pytest():
    """The service's own handler stays out of the way."""
    logger = logging.getLogger("facegate_terminal")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.DEBUG)
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])
