"""Watchdogs: systemd's socket is a real one here, the hardware's device is not."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack

import pytest

from facegate_terminal._errors import LineError, WatchdogError
from facegate_terminal._watchdog import HardwareWatchdog, ServiceManager


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self):
        """Every datagram since."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(1024).decode())
            except BlockingIOError:  # noqa: PERF203 - that is how it ends
                return found


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    """A socket, and the environment that names it."""
    name = str(tmp_path / "notify") if request.param == "file" else f"\0facegate-{tmp_path}"
    made = Manager(name)
    made.environment = {"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "30000000"}
    yield made
    made.socket.close()


def test_systemd_hears_everything(manager):
    """Ready, status when it changes, stopping."""
    service = ServiceManager(manager.environment)
    service.ready()
    for text in ("ready", "ready", "looking"):
        service.status(text)
    service.stopping()
    service.close()
    assert manager.heard() == ["READY=1", "STATUS=ready", "STATUS=looking", "STOPPING=1"]


def test_pings_come_three_times_as_often_as_they_must(manager):
    """Eight frames a second for a minute are six pings, one each ten seconds."""
    now = [0.0]
    service = ServiceManager(manager.environment, now=lambda: now[0])
    assert service.interval == pytest.approx(10)
    for _ in range(480):
        service.alive()
        now[0] += 1 / 8
    assert manager.heard() == ["WATCHDOG=1"] * 6


@pytest.mark.parametrize("variable", [{"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_PID": "1"}])
def test_no_pings_that_nobody_waits_for(manager, variable):
    """No watchdog in the unit, nonsense, or the watchdog of another process."""
    service = ServiceManager(manager.environment | variable)
    service.alive()
    service.ready()
    assert manager.heard() == ["READY=1"]


def test_our_own_pid_counts(manager):
    """The process that is to ping is named by systemd."""
    service = ServiceManager(manager.environment | {"WATCHDOG_PID": str(os.getpid())})
    service.alive()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", [None, "", "relative", "/no/such/socket"])
def test_without_systemd_nothing_happens(address):
    """No variable, or one that leads nowhere."""
    service = ServiceManager({} if address is None else {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    service.ready()
    service.alive()
    service.close()
    assert service.interval is None


def test_a_socket_that_is_full_or_gone_blocks_nothing(manager):
    """A manager that reads nothing does not stop the loop."""
    service = ServiceManager(manager.environment)
    for number in range(5000):
        service.status(str(number))
    manager.heard()
    manager.socket.close()
    service.stopping()


def granted(seconds):
    """An ioctl that grants so many seconds, and remembers what it was asked."""

    def ioctl(file, request, argument):
        ioctl.asked = (file, request, struct.unpack("i", argument)[0])
        return struct.pack("i", seconds)

    return ioctl


def test_the_hardware_watchdog_is_fed_and_told_goodbye(tmp_path):
    """The timeout is asked for by the kernel's number, a byte for each ping, V at the end: a stop resets no board."""
    device, now, ioctl = tmp_path / "watchdog", [0.0], granted(15)
    device.touch()
    with HardwareWatchdog(str(device), 20, ioctl=ioctl, now=lambda: now[0]) as board:
        assert ioctl.asked[1:] == (0xC0045706, 20)
        for _ in range(80):
            board.alive()
            now[0] += 0.25
    board.close(goodbye=True)
    assert device.read_bytes() == b"\0\0\0\0V"  # 20 seconds, every 5


def test_a_terminal_that_ends_with_an_error_lets_the_board_be_reset(tmp_path):
    """A door that could not be released is the worst of them: after a reset its pin is an input."""
    device = tmp_path / "watchdog"
    device.touch()
    stack = ExitStack()
    stack.enter_context(HardwareWatchdog(str(device), 20, ioctl=granted(20))).alive()
    with pytest.raises(LineError), stack:
        raise LineError("it cannot be released")
    assert device.read_bytes() == b"\0"


def test_without_a_hardware_watchdog_nothing_happens():
    """The default."""
    with HardwareWatchdog("", 15) as board:
        board.alive()


def test_a_hardware_watchdog_that_cannot_be_used(tmp_path):
    """None there, or a file that is none: refused, and told goodbye if it was opened."""
    with pytest.raises(WatchdogError, match="No such file"):
        HardwareWatchdog(str(tmp_path / "none"), 15)
    (tmp_path / "file").touch()
    with pytest.raises(WatchdogError, match="cannot be used") as caught:
        HardwareWatchdog(str(tmp_path / "file"), 15)
    assert "systemd" in caught.value.hint
    assert (tmp_path / "file").read_bytes() == b"V"
