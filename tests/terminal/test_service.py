"""The service as a device runs it: a process, a gate on the disk, models that recognize rendered people."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image

from facegate import Decision, Frame, open_gate
from facegate.cli import main as facegate_command
from facegate.simulation import Cue, Script, SimulatedCamera, Visitor
from facegate_terminal._cli import main
from facegate_terminal._clock import SystemTime
from facegate_terminal._config import Config, DoorConfig, GateConfig, StatusConfig, VisitConfig
from facegate_terminal._errors import CameraOverError
from facegate_terminal._serve import serve
from facegate_terminal._simulated import PEOPLE, _enroll, _make_gate, simulate

VISITOR = next(iter(PEOPLE))


def wait_until(condition, seconds=60.0):
    """Whether it becomes true."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A gate that knows three people who do not exist, and pictures of one of them."""
    room = tmp_path_factory.mktemp("terminal")
    gate = _make_gate(room)
    _enroll(gate, SystemTime(), lambda _: None)
    (room / "pictures").mkdir()
    script = Script((Cue((Visitor(VISITOR),), approach=0, look=0.7, leave=0),), background=12)
    for shot in SimulatedCamera(script, fps=5, seed=2):
        Image.fromarray(shot.picture.pixels).save(room / "pictures" / f"{shot.number}.png", compress_level=1)
    return room


@pytest.fixture
def room(made, tmp_path):
    """A copy of it, for one test."""
    shutil.copytree(made, tmp_path / "room")
    return tmp_path / "room"


@pytest.fixture
def frames(room):
    """The pictures as frames."""
    return [Frame(np.asarray(Image.open(path))) for path in sorted((room / "pictures").iterdir())]


def decision_of(jws):
    """What a receiver reads, who has looked at the signature already."""
    return Decision.from_json(base64.urlsafe_b64decode(jws.split(".")[1] + "=="))


def configure(room, **tables):
    """Write a terminal.toml; values of tables replace the usual ones."""
    usual = {
        "gate": {"folder": "gate", "credential": "gate-credentials/recognizer.credential"},
        "camera": {"source": "pictures", "folder": "pictures", "seconds": 0.3},
        "visit": {"idle_fps": 5, "retry_seconds": 0.5},
        "door": {"line": "file", "file": "door", "open_seconds": 60, "allow_demonstration": True},
        "light": {"line": "file", "file": "light"},
        "status": {"file": "status.json", "seconds": 0.5},
    }
    lines = []
    for name, table in usual.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in (table | tables.get(name, {})).items()]
    (room / "terminal.toml").write_text("\n".join(lines) + "\n")
    return room / "terminal.toml"


def command(config, *arguments):
    """The service's command line."""
    return [sys.executable, "-m", "facegate_terminal", "--config", str(config), *arguments]


def run(config, *arguments):
    """Run a command to its end."""
    return subprocess.run(  # noqa: S603 - our own command
        command(config, *arguments), capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )


def deliver(room):
    """What the service of its own does beside the terminal, once. Returns what the receiver has by now."""
    assert facegate_command(["outbox", "deliver", "--gate", str(room / "gate"), "--to", str(room / "decisions")]) == 0
    return [json.loads(line)["jws"] for line in (room / "decisions").read_text().splitlines()]


@pytest.fixture
def here(monkeypatch):
    """A function: the command line in this process, which keeps its signals and its memory as they are."""
    monkeypatch.setattr("facegate_terminal._cli._stop_on_signals", threading.Event)
    monkeypatch.setattr("facegate_terminal._cli._refuse_core_dumps", lambda: None)
    monkeypatch.setattr("os.isatty", lambda _: False)
    return lambda *arguments: main(arguments)


class Service:
    """A running terminal, and systemd's end of its socket."""

    def __init__(self, config):
        self.room = config.parent
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.room / "notify"))
        self.socket.setblocking(False)
        self.said = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FACEGATE_")}
        environment |= {"NOTIFY_SOCKET": str(self.room / "notify"), "WATCHDOG_USEC": "300000"}
        self.errors = (self.room / "stderr").open("w+")
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command(config), env=environment, stderr=self.errors, stdin=subprocess.DEVNULL
        )

    def heard(self):
        """What systemd has been told so far."""
        try:
            while True:
                self.said.append(self.socket.recv(1024).decode())
        except BlockingIOError:
            return self.said

    def door(self):
        """The line's value."""
        path = self.room / "door"
        return path.read_text().strip() if path.exists() else ""

    def log(self):
        """What it wrote to the journal."""
        self.errors.seek(0)
        return self.errors.read()

    def end(self, number=signal.SIGTERM):
        """Send a signal, wait. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def start():
    """A function: a configuration's path -> a running Service; ended at the end."""
    started = []

    def begin(config):
        started.append(Service(config))
        return started[-1]

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        service.socket.close()
        service.errors.close()


def test_the_service_opens_the_door_and_a_stop_releases_it(room, start):
    """Ready, a match, an open door, pings; --status beside it; SIGTERM in the middle of the opening closes it."""
    config = configure(room)
    service = start(config)
    assert wait_until(lambda: service.door() == "1"), service.log()
    assert wait_until(lambda: service.heard().count("WATCHDOG=1") >= 3)
    assert "READY=1" in service.said[:2]
    asked = run(config, "--status", "--json")
    assert asked.returncode == 0, asked.stdout
    status = json.loads(asked.stdout)
    assert (status["state"], status["trouble"], status["door"]["openings"]) == ("open", [], 1)
    assert (status["gate"]["people"], status["gate"]["demonstration"]) == (3, True)
    assert "open, opened 1 times" in run(config, "--status").stdout
    again = run(config)  # a second one: the line belongs to the first, and stays as it is
    assert again.returncode == 5
    assert "cannot stand in for a line" in again.stderr
    assert (service.door(), service.heard()[-1]) == ("1", "WATCHDOG=1")
    matches = [d for d in map(decision_of, deliver(room)) if d.outcome == "match"]  # beside it, as on a device
    assert service.end() == 0
    assert service.door() == "0"
    assert "STOPPING=1" in service.heard()
    assert not (room / "status.json").exists()
    assert {decision.subject for decision in matches} == {"visitor-1"}
    assert "visitor" not in service.log() + asked.stdout


def test_what_a_kill_leaves_open_is_released(room, start):
    """Nothing can be done on SIGKILL: the unit's ExecStopPost releases the line."""
    config = configure(room)
    service = start(config)
    assert wait_until(lambda: service.door() == "1"), service.log()
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    assert service.door() == "1"
    assert run(config, "--release").returncode == 0
    assert service.door() == "0"


def test_a_terminal_without_a_camera_waits_for_one(room, start):
    """It is up, says what is wrong, and pings nobody: a watchdog restarts it if that goes on."""
    config = configure(room, camera={"folder": "later"})
    service = start(config)
    assert wait_until(lambda: any("CameraMissingError" in line for line in service.heard())), service.log()
    assert "WATCHDOG=1" not in service.said
    assert run(config, "--status").returncode == 1
    (room / "pictures").rename(room / "later")
    assert wait_until(lambda: service.door() == "1"), service.log()
    assert wait_until(lambda: "WATCHDOG=1" in service.heard())
    assert service.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("tables", "code", "words"),
    [
        ({"gate": {"folder": "no-gate"}}, 3, ("there is no", "no-gate")),
        ({"gate": {"credential": "gate-credentials/enroller.credential"}}, 4, ("credential",)),
        ({"gate": {"credential": "none"}}, 4, ("none",)),
        ({"gate": {"credential": ""}}, 4, ("the terminal has no credential", "LoadCredential")),
        ({"door": {"file": "no/folder/door"}}, 5, ("cannot stand in for a line",)),
        ({"light": {"line": "gpio", "offset": 4, "chip": "/dev/no-chip"}}, 5, ("gpio",)),
        ({"status": {"file": "/"}}, 3, ("[status] file", "a path")),
    ],
)
def test_what_cannot_work_is_told_at_the_start(room, here, capsys, tables, code, words):
    """One error with its hint, the exit code of its kind, no traceback, and a door that stays closed."""
    assert here("--config", str(configure(room, **tables))) == code
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (room / "door").exists() or (room / "door").read_text() == "0\n"


def test_a_door_that_was_left_open_is_closed_first(room, here):
    """The line is driven to inactive before a lamp, a gate or a camera can fail."""
    (room / "door").write_text("1\n")
    config = configure(room, light={"line": "gpio", "offset": 4, "chip": "/dev/no-chip"}, gate={"folder": "none"})
    assert here("--config", str(config)) == 5
    assert (room / "door").read_text() == "0\n"


def test_a_crash_leaves_no_keys_in_a_core_dump(tmp_path):
    """Before the gate is opened the kernel is told to dump nothing, also if it hands dumps to another program."""
    (tmp_path / "terminal.toml").write_text('[gate]\nfolder = "none"\n[door]\nline = "file"\nfile = "door"\n')
    child = (
        "import ctypes, resource, sys\nfrom facegate_terminal._cli import main\n"
        f"assert main(['--config', {str(tmp_path / 'terminal.toml')!r}]) == 3\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    said = subprocess.check_output([sys.executable, "-c", child], text=True, stderr=subprocess.DEVNULL)  # noqa: S603
    assert said.split() == ["0", "0"]  # PR_GET_DUMPABLE is 3


class QuickTime(SystemTime):
    """The machine's clocks, and waiting takes no time."""

    def __init__(self):
        self.skipped = 0.0

    def monotonic(self):
        """Seconds since this boot, with those that were waited for."""
        return super().monotonic() + self.skipped

    def wait(self, seconds, stop):
        """Skip them."""
        if not stop.is_set():
            self.skipped += seconds


class Clock1970(QuickTime):
    """A Raspberry Pi without a battery: a new boot, in 1970, until the network has set it."""

    def __init__(self):
        super().__init__()
        self.began = super().monotonic()

    def monotonic(self):
        """Seconds since this boot."""
        return 5 + super().monotonic() - self.began

    def boot(self):
        """Another one than the one in which the gate was made."""
        return "second boot"

    def now(self):
        """1970."""
        return datetime.fromtimestamp(self.monotonic(), timezone.utc)


class Shown:
    """A camera that shows frames, and is over after so many."""

    def __init__(self, frames, count):
        self.frames, self.left = frames, count

    def read(self, timeout):
        """The next one."""
        del timeout
        if not self.left:
            raise CameraOverError("over")
        self.left -= 1
        return self.frames[self.left % len(self.frames)]

    def close(self):
        """Nothing is open."""


@pytest.mark.parametrize("strict", [False, True])
def test_a_device_that_starts_in_1970(room, frames, strict):
    """Its gate goes on by the time that has certainly passed and marks its decisions; the terminal lives with it."""
    told, statuses = [], []
    config = Config(
        gate=GateConfig(str(room / "gate"), str(room / "gate-credentials/recognizer.credential")),
        visit=VisitConfig(idle_fps=8, retry_seconds=0.2),
        door=DoorConfig(line="file", file=str(room / "door"), allow_demonstration=True, require_believed_clock=strict),
        status=StatusConfig(file=str(room / "status.json"), seconds=0.5),
    )

    def decided(signed, verdict, opened):
        told.append((signed.decision, verdict.why_not, opened))
        statuses.append(json.loads((room / "status.json").read_text()))

    shown = Shown(frames, 12)
    serve(config, threading.Event(), clock=Clock1970(), make_camera=lambda: shown, on_decision=decided)
    matches = [row for row in told if row[0].outcome == "match"]
    assert matches
    assert all("clock" in row[0].marks and not row[0].time.startswith("1970") for row in told)
    assert [row[2] for row in matches].count(True) == (0 if strict else 1)
    assert {row[1] for row in matches} == ({"clock"} if strict else {""})
    assert statuses[-1]["trouble"] == ["clock_not_believed_back"]
    with open_gate(room / "gate") as gate:  # the network has set the clock
        assert gate.status().clock == ""


def test_a_real_gate_that_nobody_marked_is_believed(room, frames):
    """Without the configuration's leave a demonstration's matches open nothing."""
    told = []
    config = Config(
        gate=GateConfig(str(room / "gate"), str(room / "gate-credentials/recognizer.credential")),
        visit=VisitConfig(idle_fps=8, retry_seconds=0.2),
        door=DoorConfig(line="file", file=str(room / "door")),
        status=StatusConfig(file=""),
    )
    shown = Shown(frames, 8)
    decided = {"on_decision": lambda *row: told.append(row)}
    serve(config, threading.Event(), clock=QuickTime(), make_camera=lambda: shown, **decided)
    assert "demonstration" in {verdict.why_not for _, verdict, _ in told}
    assert not any(opened for *_, opened in told)
    assert (room / "door.history").read_text().split()[1::2] == ["0"]


def test_weeks_without_a_network(room, frames):
    """What was decided while nobody took it waits, through restarts, and is delivered in order when somebody does."""
    config = Config(
        gate=GateConfig(str(room / "gate"), str(room / "gate-credentials/recognizer.credential")),
        visit=VisitConfig(idle_fps=8, retry_seconds=0.1, tries=100, again_seconds=1, away_seconds=0.2),
        door=DoorConfig(line="file", file=str(room / "door"), open_seconds=0.2, allow_demonstration=True),
        status=StatusConfig(file=""),
    )
    told, clock = [], QuickTime()
    decided = {"on_decision": lambda *row: told.append(row[0])}
    for _ in range(2):
        shown = Shown(frames, 6)
        serve(config, threading.Event(), clock=clock, make_camera=lambda shown=shown: shown, **decided)
    with open_gate(room / "gate") as gate:
        assert gate.status().waiting == gate.status().decisions == len(told) >= 2
    delivered = deliver(room)
    assert delivered == [signed.jws for signed in told]
    with open_gate(room / "gate") as gate:
        assert gate.status().waiting == 0


def test_a_simulated_day(tmp_path):
    """The demonstration: who is enrolled comes in once, a print of them does not, and nothing is left behind."""
    people = Visitor(VISITOR), Visitor(VISITOR, "print")
    cues = [Cue((who,), approach=0.3, look=1.0, leave=0.9, note="somebody") for who in people]
    said = []
    day = simulate(Script(tuple(cues), 12), fast=True, say=said.append)
    assert (day.opened, day.expected(), day.wrong()) == ([0], [0], [])
    assert any("match visitor-1" in line and "the door opens" in line for line in said)
    assert any("open for 1.5 s" in line for line in said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_script_that_cannot_be_played(tmp_path, here, content):
    """Missing, or no script: exit code 3, and where it is wrong."""
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)
    assert here("--simulated", "--fast", "--script", str(path)) == 3


def test_a_bug_tells_no_names(tmp_path, monkeypatch, capsys):
    """What nobody expected ends the program with 70, the place in the code, and nothing that an error may hold."""
    monkeypatch.setattr("facegate_terminal._cli.load_config", lambda _: {}["visitor-1"])
    assert main(["--config", str(tmp_path / "x")]) == 70
    said = capsys.readouterr().err
    assert "this is a bug: KeyError at test_service.py:" in said
    assert "visitor" not in said
