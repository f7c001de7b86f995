"""The hosted server's sockets: uvicorn, with an end to everything that a client can draw out."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facegate_convert._hosted._address import read_private
from facegate_convert.errors import EndpointSetupError, ServeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

__all__ = ["Server", "bind", "is_local", "server_context"]

MAX_CONNECTIONS = 128
MAX_CONNECTIONS_EACH = 48  # of one address beyond the loopback
MAX_AHEAD = 1 << 16  # bytes that a connection may say, in all its life, before it was answered what it said before
HANDSHAKE_SECONDS = 10.0  # for TLS
HEAD_SECONDS = 10.0  # for a request's line and headers, from their first byte or from the connection
REQUEST_SECONDS = 90.0  # from there to the end of the answer, whoever is slow
IDLE_SECONDS = 30  # between requests
_GRACE_SECONDS = 10


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet.

    Raises:
        ServeError: there is no such address here, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError):
        raise ServeError(f"{host!r} is no address to listen on", hint="use 127.0.0.1, or this machine's") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ServeError(
            f"port {port} of {host} cannot be listened on: {os.strerror(error.errno or 0)}",
            hint="choose another --port, or 0 for any that is free",
        ) from None
    return listener


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach a socket: told by what was bound, not by a name."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def server_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """How the server does TLS: 1.2 or later, with this certificate.

    Raises:
        EndpointSetupError: the files are no certificate and its key, or others may read the key.
    """
    read_private(private_key, 1 << 16)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key, password=_no_passphrase)
    except OSError:  # ssl.SSLError is one
        raise EndpointSetupError(
            f"{certificate} and {private_key} are no certificate and its key, or cannot be read",
            hint="both are PEM files, the key without a passphrase",
        ) from None
    return context


def _no_passphrase() -> str:
    # Without this the library asks at the terminal.
    raise EndpointSetupError("the private key has a passphrase", hint="make one without for this evaluation")


class Server(uvicorn.Server):
    """Serves until it is stopped. Signals end it in order: requests that are there are answered first.

    Args:
        app: what answers.
        listener: made by `bind`; closed at the end.
        context: for TLS.
        grace: seconds that requests have to end when it is stopped.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, context: ssl.SSLContext | None = None, grace: int = _GRACE_SECONDS
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_GuardedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=True,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=grace,
            backlog=MAX_CONNECTIONS,
        )
        config.load()
        config.ssl = context
        super().__init__(config)
        self._listener = listener

    def serve_forever(self) -> None:
        """Answer until `stop` is called or SIGTERM or SIGINT comes."""
        _silence()
        loop = _Loop()
        loop.set_exception_handler(lambda *_: None)  # it would log addresses and objects of connections
        try:
            loop.run_until_complete(self.serve([self._listener]))
        finally:
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(_end_tasks())
            loop.close()
            self._listener.close()

    def stop(self) -> None:
        """End it in order; may be called from another thread."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the order to stop, which uvicorn would raise again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _end_tasks() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _silence() -> None:
    """Keep what clients send out of logs."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio", "PIL"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop in which a TLS handshake has seconds, not a minute."""

    async def create_server(self, *args: Any, **kwargs: Any) -> asyncio.Server:
        if kwargs.get("ssl") is not None:
            kwargs["ssl_handshake_timeout"] = HANDSHAKE_SECONDS
        return await super().create_server(*args, **kwargs)


class _GuardedProtocol(H11Protocol):
    """A connection of which every phase has an end. uvicorn limits only the time between two requests."""

    _timer: asyncio.TimerHandle | None = None
    _phase = ""
    _ahead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        local = not address or ipaddress.ip_address(address.partition("%")[0]).is_loopback
        peers = [getattr(other, "client", None) for other in self.connections]
        each = sum(1 for peer in peers if peer is not None and peer[0] == address)
        if len(self.connections) > MAX_CONNECTIONS or (not local and each > MAX_CONNECTIONS_EACH):
            transport.abort()
            return
        self._guard("head", HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = "over"
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase == "idle":
            self._guard("head", HEAD_SECONDS)
        if self._phase == "request" and not self.cycle.more_body and not self.cycle.response_complete:
            # Requests ahead of answers: uvicorn reads up to 256 kB more of them with each one that it works on.
            self._ahead += len(data)
            if self._ahead > MAX_AHEAD:
                self.transport.abort()
                return
        super().data_received(data)
        self._watch_request()

    def on_response_complete(self) -> None:
        # The last words may still wait in memory for a client that does not read: this, too, has an end.
        self._guard("idle", IDLE_SECONDS + HEAD_SECONDS)
        super().on_response_complete()
        self._watch_request()

    def _watch_request(self) -> None:
        """Begin the time of a request as soon as its head is complete."""
        cycle = self.cycle
        if self._phase in ("head", "idle") and cycle is not None and not cycle.response_complete:
            self._guard("request", REQUEST_SECONDS)

    def _guard(self, phase: str, seconds: float) -> None:
        if self._phase == "over":
            return
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self.transport.abort()
