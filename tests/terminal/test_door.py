"""The door's line: what drives it, what releases it, and what it is after something broke."""

from __future__ import annotations

import sys
import threading
import time
from enum import Enum
from types import ModuleType, SimpleNamespace

import pytest

from facegate_terminal._clock import SystemTime
from facegate_terminal._config import DoorConfig
from facegate_terminal._door import Door
from facegate_terminal._errors import LineError
from facegate_terminal._light import PATTERNS, Light
from facegate_terminal._lines import FileLine, GpioLine, open_line

from .conftest import HandClock, Wire


def wait_until(condition, seconds=10.0):
    """Whether it becomes true."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


def test_it_is_driven_for_its_time_and_released():
    """Open at once, open a moment before the end, closed at the end."""
    wire, clock = Wire(), HandClock()
    with Door(wire, 4.0, clock) as door:
        door.open()
        clock.seconds += 3.99
        door.tick()
        assert (door.is_open, wire.get()) == (True, True)
        clock.seconds += 0.02
        door.tick()
        assert (door.is_open, wire.get()) == (False, False)
    assert wire.values == [False, True, False]


def test_nobody_has_to_look_for_it_to_be_released():
    """A loop that hangs keeps no door open: the line is released without it."""
    wire = Wire()
    with Door(wire, 0.2, SystemTime()) as door:
        door.open()
        assert wait_until(lambda: wire.values == [False, True, False])
        assert wait_until(lambda: not door.is_open)


def test_a_second_opening_counts_from_its_own_beginning():
    """Somebody else is let in while the door is open: it stays open for their time, without a gap."""
    wire, clock = Wire(), HandClock()
    with Door(wire, 4.0, clock) as door:
        door.open()
        clock.seconds += 3
        door.open()
        clock.seconds += 3
        door.tick()
        assert wire.get()
        clock.seconds += 1.1
        door.tick()
        assert wire.values == [False, True, False]


def test_closing_releases_it():
    """A program that ends while the door is open leaves it closed."""
    wire = Wire()
    door = Door(wire, 60, HandClock())
    door.open()
    door.close()
    door.close()
    assert (wire.values, wire.closed) == ([False, True, False], True)
    with pytest.raises(LineError, match="out of order"):
        door.open()


def test_a_line_that_is_active_at_the_start_is_refused():
    """The self-test: a line that reads as active although it was driven to inactive is not believed."""
    wire = Wire()
    wire.stuck = True
    with pytest.raises(LineError, match="although nobody opened it"):
        Door(wire, 4.0, HandClock())
    assert wire.closed
    assert wire.values == [False]  # never driven for a test


def test_a_line_that_cannot_be_driven_is_released():
    """Whether it was driven by half is not known, so it is released, and the caller is told."""
    wire, clock = Wire(), HandClock()
    with Door(wire, 4.0, clock) as door:
        wire.broken = "on"
        with pytest.raises(LineError):
            door.open()
        assert (door.is_open, door.openings, wire.get()) == (False, 0, False)


def test_a_line_that_cannot_be_released_is_tried_again_and_given_up(monkeypatch):
    """After ten failures the line is given back to the kernel; the door is out of order from then on."""
    monkeypatch.setattr("facegate_terminal._door._LOOK_AGAIN", 0.01)
    wire = Wire()
    with Door(wire, 0.05, SystemTime()) as door:
        door.open()
        wire.broken = "off"
        assert wait_until(lambda: door.failed)
        assert wire.closed
        with pytest.raises(LineError, match="out of order"):
            door.open()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_door_whose_thread_died_is_out_of_order():
    """Nobody would release it in time: it is never opened again, the loop is told, and closing still releases it."""
    wire, clock = Wire(), SystemTime()
    door = Door(wire, 0.05, clock)
    whole = wire.set

    def breaks(*, active):
        if not active:
            raise RuntimeError("a bug of the binding")
        whole(active=True)

    wire.set = breaks
    door.open()
    assert wait_until(lambda: door.failed)
    with pytest.raises(LineError, match="out of order"):
        door.open()
    wire.set = whole
    door.tick()
    assert not wire.get()
    door.close()
    assert wire.closed


def test_a_line_that_recovers_is_released():
    """A fault that passes is no end: the line is released as soon as it answers."""
    wire, clock = Wire(), HandClock()
    with Door(wire, 4.0, clock) as door:
        door.open()
        wire.broken = "off"
        clock.seconds += 5
        door.tick()
        assert wire.get()
        wire.broken = ""
        door.tick()
        assert not wire.get()
        assert not door.failed


# --- lines -------------------------------------------------------------------------------------------------------


def test_a_file_stands_in_for_a_line(tmp_path):
    """It holds the value, beside it every change with its second; others cannot read it."""
    clock = HandClock()
    line = open_line(DoorConfig(line="file", file=str(tmp_path / "door")), "door", clock.monotonic)
    for active in (True, True, False):
        line.set(active=active)
        clock.seconds += 1.5
    assert (tmp_path / "door").read_text() == "0\n"
    assert (tmp_path / "door.history").read_text() == "1000.000 0\n1000.000 1\n1003.000 0\n"
    assert (tmp_path / "door").stat().st_mode & 0o777 == 0o600
    line.set(active=True)
    line.close()
    line.close()
    assert (tmp_path / "door").read_text() == "0\n"
    for use in (line.get, lambda: line.set(active=True)):
        with pytest.raises(LineError, match="closed"):
            use()


def test_a_file_belongs_to_one_program_at_a_time(tmp_path):
    """As a real line does: a second terminal does not even set it to inactive."""
    first = FileLine(str(tmp_path / "door"), time.monotonic)
    first.set(active=True)
    with pytest.raises(LineError, match="cannot stand in"):
        FileLine(str(tmp_path / "door"), time.monotonic)
    assert first.get()
    first.close()
    FileLine(str(tmp_path / "door"), time.monotonic).close()


@pytest.mark.parametrize("place", ["no/such/folder", ".", "link"])
def test_a_file_that_cannot_stand_in(tmp_path, place):
    """A folder that is not there, a folder, and a link to somewhere else are refused."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LineError, match="cannot stand in"):
        FileLine(str(tmp_path / place), time.monotonic)
    assert not (tmp_path / "elsewhere").exists()


class FakeGpiod(ModuleType):
    """libgpiod's binding as its version 2 is used here."""

    def __init__(self, error=None):
        super().__init__("gpiod")
        self.requests, self.error = [], error
        self.line = ModuleType("gpiod.line")
        self.line.Direction = Enum("Direction", "AS_IS INPUT OUTPUT")
        self.line.Value = Enum("Value", "INACTIVE ACTIVE")
        self.LineSettings = SimpleNamespace

    def request_lines(self, path, *, consumer, config):
        """One request, with the settings of its one line."""
        if self.error:
            raise self.error
        ((offset, settings),) = config.items()
        self.requests.append(FakeRequest(path, consumer, offset, settings))
        return self.requests[-1]


class FakeRequest:
    """What was done with a line."""

    def __init__(self, path, consumer, offset, settings):
        self.path, self.consumer, self.offset, self.settings = path, consumer, offset, settings
        self.value, self.log, self.error = settings.output_value, [], None

    def set_value(self, offset, value):
        """Drive it."""
        if self.error:
            raise self.error
        assert offset == self.offset
        self.value = value
        self.log.append(value.name)

    def get_value(self, offset):
        """Read it."""
        assert offset == self.offset
        return self.value

    def release(self):
        """Give it back."""
        self.log.append("released")


@pytest.fixture
def gpiod(monkeypatch):
    """The fake in the place of the binding."""
    fake = FakeGpiod()
    monkeypatch.setitem(sys.modules, "gpiod", fake)
    monkeypatch.setitem(sys.modules, "gpiod.line", fake.line)
    return fake


@pytest.mark.parametrize("active_low", [False, True])
def test_a_gpio_line_is_an_inactive_output_from_the_first_moment(gpiod, active_low):
    """Requested as an output that is inactive, driven and read by its logical value, inactive before it is released."""
    config = DoorConfig(offset=17, active_low=active_low)
    line = open_line(config, "facegate door", time.monotonic)
    (request,) = gpiod.requests
    assert (request.path, request.consumer, request.offset) == ("/dev/gpiochip0", "facegate door", 17)
    settings = request.settings
    assert settings.direction.name == "OUTPUT"
    assert settings.output_value.name == "INACTIVE"
    assert settings.active_low is active_low
    assert not line.get()
    line.set(active=True)
    assert line.get()
    line.close()
    line.close()
    assert request.log == ["ACTIVE", "INACTIVE", "released"]
    with pytest.raises(LineError, match="closed"):
        line.set(active=True)


def test_a_gpio_line_that_breaks(gpiod):
    """An error of the kernel is told as one of the line, and the line is released all the same."""
    line = GpioLine("/dev/gpiochip0", 4)
    gpiod.requests[0].error = OSError(5, "Input/output error")
    with pytest.raises(LineError, match="does not answer: Input/output error"):
        line.set(active=True)
    with pytest.raises(LineError, match="cannot be released"):
        line.close()
    assert gpiod.requests[0].log == ["released"]


@pytest.mark.parametrize("error", [OSError(16, "Device or resource busy"), ValueError("line offset of out range")])
def test_a_gpio_line_that_cannot_be_had(gpiod, error):
    """In use, no such chip, no such line: told with what to look at."""
    gpiod.error = error
    with pytest.raises(LineError, match="line 4 of /dev/gpiochip0 cannot be used") as caught:
        GpioLine("/dev/gpiochip0", 4)
    assert "gpioinfo" in caught.value.hint


def test_without_the_binding_or_with_the_old_one(monkeypatch):
    """Not installed, or version 1, which has another interface: the hint says what to install."""
    for module in (None, ModuleType("gpiod")):
        monkeypatch.setitem(sys.modules, "gpiod", module)
        with pytest.raises(LineError, match="version 2") as caught:
            GpioLine("/dev/gpiochip0", 4)
        assert "facegate[terminal]" in caught.value.hint


def test_the_real_binding_refuses_a_chip_that_is_not_there():
    """The names that are used exist in the binding; without a chip it says so."""
    pytest.importorskip("gpiod", reason="needs libgpiod's binding: pip install 'facegate[terminal]'")
    with pytest.raises(LineError, match="No such file"):
        GpioLine("/dev/no-such-gpiochip", 4)


# --- the light ---------------------------------------------------------------------------------------------------


def test_the_light_blinks_and_goes_out():
    """It follows its pattern by itself, and is off at the end."""
    wire = Wire()
    light = Light(wire)
    light.show("starting")
    assert wait_until(lambda: len(wire.values) >= 5)
    light.show("open")
    assert wait_until(wire.get)
    light.close()
    light.close()
    assert not wire.values[-1]
    assert wire.closed


def test_a_light_that_breaks_stops_nothing():
    """Its thread gives up, and showing something else is no error."""
    wire = Wire()
    wire.broken = "both"
    light = Light(wire)
    assert wait_until(lambda: not light._thread.is_alive())
    light.show("ready")
    light.close()


def test_patterns_are_told_apart():
    """No two states look alike, and every pattern takes its time."""
    assert len(set(PATTERNS.values())) == len(PATTERNS)
    assert all(sum(pattern) >= 0.2 and len(pattern) % 2 == 0 for pattern in PATTERNS.values())


def test_no_thread_is_left_behind():
    """A door and a light that are closed have no threads any more."""
    before = threading.active_count()
    door, light = Door(Wire(), 1.0, SystemTime()), Light(Wire())
    door.close()
    light.close()
    assert wait_until(lambda: threading.active_count() <= before)
