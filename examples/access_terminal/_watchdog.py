"""Watchdogs: somebody else ends this program, or resets the board, when it makes no progress any more."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from facegate_terminal._errors import WatchdogError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["HardwareWatchdog", "ServiceManager"]

_PATIENCE = 1.0  # seconds that systemd has for what is said once
_log = logging.getLogger("facegate_terminal")
_SET_TIMEOUT = 0xC0045706  # WDIOC_SETTIMEOUT of linux/watchdog.h, _IOWR('W', 6, int): so on x86 and ARM


class ServiceManager:
    """Tells systemd how the service is (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET names.

    Without the variable, or with one that leads nowhere, nothing happens: a terminal runs without systemd as well.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID stand.
        now: seconds; a pause between two pings is measured with it.

    Attributes:
        interval: seconds between two pings, a third of what systemd waits for; None: it waits for none.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._socket: socket.socket | None = None
        self._last = -float("inf")
        self._status = ""
        self.interval: float | None = None
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            made.close()
            _log.warning("systemd's socket does not answer: %s", error.strerror)
            return
        self._socket = made
        ours = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        microseconds = environment.get("WATCHDOG_USEC", "")
        if ours and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0:
            self.interval = int(microseconds) / 3e6

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1", wait=_PATIENCE)

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it changes."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """There was progress. Call it after every frame: a datagram is sent as often as systemd needs one."""
        if self.interval is not None and self._now() - self._last >= self.interval:
            self._last = self._now()
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1", wait=_PATIENCE)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str, wait: float = 0.0) -> None:
        """The loop is never held up: what the socket does not take at once is not said."""
        if self._socket is not None:
            self._socket.settimeout(wait)
            with contextlib.suppress(OSError):
                self._socket.send(text.encode())


class HardwareWatchdog:
    """A device of the kernel's watchdog interface: without a ping in time the board is reset.

    At the end of a block without an error it says goodbye ("magic close"), so that a terminal that is stopped resets
    nothing. One that dies does, and one that ends with an error: its door may be open. (A driver with `nowayout` takes
    no goodbye.)

    Args:
        path: e.g. /dev/watchdog; empty: there is none.
        seconds: how long it waits for a ping.
        ioctl: `fcntl.ioctl`.
        now: seconds.

    Raises:
        WatchdogError: it cannot be opened, or cannot wait for so long.
    """

    def __init__(
        self,
        path: str,
        seconds: int,
        *,
        ioctl: Callable[[int, int, bytes], bytes] = fcntl.ioctl,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = -1
        self._now, self._interval, self._last = now, seconds / 3, -float("inf")
        if not path:
            return
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            (granted,) = struct.unpack("i", ioctl(self._file, _SET_TIMEOUT, struct.pack("i", seconds)))
        except OSError as error:
            self.close(goodbye=True)
            raise WatchdogError(
                f"the watchdog {path} cannot be used: {error.strerror}",
                hint="is it systemd's (RuntimeWatchdogSec)? Then leave [watchdog] device empty",
            ) from None
        self._interval = max(0.1, granted / 3)

    def alive(self) -> None:
        """There was progress. Raises WatchdogError: it does not take it."""
        if self._file >= 0 and self._now() - self._last >= self._interval:
            self._last = self._now()
            try:
                os.write(self._file, b"\0")
            except OSError as error:
                raise WatchdogError(f"the watchdog takes no ping: {error.strerror}") from None

    def close(self, *, goodbye: bool) -> None:
        """Let go of it; a second call does nothing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if goodbye:
                    os.write(self._file, b"V")
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close(goodbye=t is None)
