"""The terminal without any hardware: rendered people before a simulated camera, and a file for a door."""

from __future__ import annotations

import io
import itertools
import json
import tempfile
import threading
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import facegate
from facegate.simulation import Cue, Script, SimulatedCamera, Visitor
from facegate_terminal._clock import SceneTime, SystemTime
from facegate_terminal._config import Config, DoorConfig, GateConfig, StatusConfig, VisitConfig
from facegate_terminal._errors import CameraOverError, TerminalError
from facegate_terminal._serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from facegate import Frame, SignedDecision
    from facegate.simulation import Shot
    from facegate_terminal._clock import Clock
    from facegate_terminal._judge import Verdict

__all__ = ["PEOPLE", "Day", "ScenePlayer", "demo_script", "simulate"]

# Seeds of people who are nobody, and what the gate calls them.
PEOPLE = {3_000_013: "visitor-1", 3_000_008: "visitor-2", 3_000_026: "visitor-3"}
_STRANGER = 3_000_910
_FPS = 8.0
_VISIT = VisitConfig(fps=4.0, retry_seconds=0.7, tries=2, away_seconds=0.6, again_seconds=10.0)


def demo_script() -> Script:
    """A few minutes of an ordinary day, without the pauses: every way in which a door opens or stays closed."""
    first, second, third = PEOPLE

    def visit(*people: Visitor, note: str) -> Cue:
        return Cue(people, approach=0.6, look=1.6, leave=0.8, note=note)

    cues = (
        Cue(look=1.0, approach=0, leave=0.4, note="nobody"),
        visit(Visitor(first), note="an enrolled person"),
        visit(Visitor(second), note="an enrolled person"),
        visit(Visitor(_STRANGER), note="an unknown person"),
        visit(Visitor(first, "print"), note="a print of an enrolled person"),
        visit(Visitor(third), note="an enrolled person"),
        visit(Visitor(second), Visitor(_STRANGER + 1), note="two people at once"),
        visit(Visitor(third, "replay"), note="a screen with an enrolled person"),
        visit(Visitor(first, wears=("glasses",)), note="an enrolled person, with glasses"),
        Cue(look=3.0, approach=0, leave=0, note="nobody"),
    )
    return Script(cues, 12, "a terminal's day")


class ScenePlayer:
    """A simulated camera as the terminal's: the newest frame of the scene.

    Args:
        script: what happens.
        clock: a `SceneTime` is set to each frame's time; with any other the scene runs in real time.
    """

    def __init__(self, script: Script, clock: Clock) -> None:
        self._scene = clock if isinstance(clock, SceneTime) else None
        self._camera = SimulatedCamera(
            script, fps=_FPS, pixel_format=facegate.PixelFormat.NV12, real_time=self._scene is None, seed=2
        )
        self.shot: Shot | None = None

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - a scene never lets anybody wait
        """See `Camera.read`. Raises CameraOverError at the end of the script."""
        for shot in self._camera:
            if self._scene is None or shot.time_s >= self._scene.seconds - 1e-9:
                if self._scene is not None:
                    self._scene.seconds = max(self._scene.seconds, shot.time_s)
                self.shot = shot
                return shot.frame
        raise CameraOverError("the scene is over")

    def close(self) -> None:
        """See `Camera.close`."""
        self._camera.close()


@dataclass(slots=True)
class Day:
    """What happened, and what should have.

    Attributes:
        script: what was played.
        opened: numbers of the cues in which the door was opened, in order.
        decisions: how many decisions of each outcome.
        size: of them as they are sent, in bytes.
    """

    script: Script
    opened: list[int] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    size: int = 0

    def expected(self) -> list[int]:
        """The cues in which an enrolled person stands there alone, as themselves."""
        alone = [(number, cue.people[0]) for number, cue in enumerate(self.script.cues) if len(cue.people) == 1]
        return [number for number, visitor in alone if visitor.identity in PEOPLE and not visitor.attack]

    def wrong(self) -> list[int]:
        """Cues in which the door was opened although it must not, or twice. None may ever be."""
        right = set(self.expected())
        return sorted({n for n in self.opened if n not in right or self.opened.count(n) > 1})


def simulate(script: Script, *, fast: bool, say: Callable[[str], object], stop: threading.Event | None = None) -> Day:
    """Make a gate in a temporary folder, enroll rendered people, play the script. Nothing is left behind.

    Args:
        script: what happens.
        fast: as fast as it can be rendered, in the scene's own time; else in real time.
        say: is given each line.
        stop: ends it early.

    Raises:
        FacegateError: the gate cannot be made or used here.
    """
    clock: Clock = SceneTime() if fast else SystemTime()
    with tempfile.TemporaryDirectory(prefix="facegate-terminal-") as name:
        room = Path(name)
        folder = _make_gate(room)
        say("== A temporary demonstration gate; three rendered people are enrolled with their consent")
        _enroll(folder, clock, say)
        began, clock_began = clock.now(), clock.monotonic()
        day, player = Day(script), ScenePlayer(script, clock)
        config = Config(
            gate=GateConfig(str(folder), str(room / "gate-credentials" / "recognizer.credential")),
            visit=_VISIT,
            door=DoorConfig(line="file", file=str(room / "door"), open_seconds=1.5, allow_demonstration=True),
            status=StatusConfig(file=str(room / "terminal.json")),
        )

        def decided(signed: SignedDecision, verdict: Verdict, opened: bool) -> None:
            shot, decision = player.shot, signed.decision
            if shot is None:
                return
            day.decisions[decision.outcome] += 1
            day.size += len(signed.jws)
            if opened:
                day.opened.append(shot.cue_number)
            answer = f"{decision.outcome} {verdict.subject or ', '.join(decision.reasons)}"
            door = "the door opens" if opened else "closed"
            say(f"  {decision.sequence:3d}  {shot.time_s:5.1f} s  {shot.cue.note:36}  {answer:28}  {door}")

        say(f"\n  {'#':>3}  {'scene':>7}  {'what comes':36}  {'the decision':28}  the door")
        serve(config, stop or threading.Event(), clock=clock, make_camera=lambda: player, on_decision=decided)
        _sum_up(day, room, clock_began, (clock.now() - began).total_seconds(), say)
    return day


def _make_gate(room: Path) -> Path:
    """What `facegate init` makes, a demonstration."""
    from facegate.cli import main  # noqa: PLC0415 - the command line is needed here only

    said = io.StringIO()
    folder = room / "gate"
    with redirect_stdout(said):
        code = main(["init", str(folder), "--demonstration", "--device-id", "terminal-1", "--json"])
    if code:
        found = json.loads(said.getvalue() or "{}").get("error", {})
        raise TerminalError(found.get("message", "no gate could be made"), hint=found.get("hint", ""))
    return folder


def _enroll(folder: Path, clock: Clock, say: Callable[[str], object]) -> None:
    """Three people stand before the camera one after the other, and agree to be recognized."""
    script = Script(tuple(Cue((Visitor(seed),), approach=0, look=1.5, leave=0) for seed in PEOPLE), background=5)
    credential = facegate.Credential.load(folder.with_name("gate-credentials") / "enroller.credential")
    with (
        facegate.open_gate(folder, clock=clock) as gate,
        SimulatedCamera(script, fps=2, pixel_format=facegate.PixelFormat.NV12, seed=1) as camera,
    ):
        desk = gate.enroller(credential)
        for number, shots in itertools.groupby(camera, key=lambda shot: shot.cue_number):
            name = list(PEOPLE.values())[number]
            result = desk.enroll(name, [shot.frame for shot in shots], _consent(clock.now()))
            say(f"  {name}: {result.faces} templates")
            if not result.enrolled:
                raise TerminalError(f"{name} could not be enrolled")


def _consent(now: datetime) -> facegate.Consent:
    return facegate.Consent.to_text(
        "This terminal recognizes me for the length of the demonstration and forgets me then.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=now,
        taken_by="terminal",
    )


def _sum_up(day: Day, room: Path, began: float, seconds: float, say: Callable[[str], object]) -> None:
    """What was decided, and what the door's file says about the door."""
    say("\n== The door's line, as it was driven (seconds of the scene)")
    history = [line.split() for line in (room / "door.history").read_text("ascii").splitlines()]
    opened = 0.0
    for at, value in history:
        if value == "1":
            opened = float(at)
        elif opened:
            say(f"  {opened - began:5.1f} s: open for {float(at) - opened:.1f} s")
            opened = 0.0
    counts = ", ".join(f"{count} {outcome}" for outcome, count in day.decisions.most_common())
    say(f"\n  {sum(day.decisions.values())} decisions in {seconds:.0f} s of the scene: {counts}")
    line = (room / "door").read_text("ascii").strip()
    say(f"  all that would leave the device: {day.size} bytes of signed decisions; the line is now {line}")
    right = day.expected()
    missed = [number for number in right if number not in day.opened]
    say(f"  the door was opened for {len(right) - len(missed)} of {len(right)} visits of enrolled people")
    say(f"  and {len(day.wrong())} times when it must not be")
