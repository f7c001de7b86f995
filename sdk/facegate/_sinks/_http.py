"""One HTTPS POST at a time, with a limit on how long all of it may take. Needs urllib3 (docs/adr/0018-*.md)."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from facegate.errors import SinkError, SinkRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Endpoint"]

MAX_ANSWER = 64 * 1024  # bytes of an answer that are read so that the connection can be used again


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: of HTTP.
        retry_after: the header of that name as it came, or None.
        date: likewise.
    """

    status: int
    retry_after: str | None
    date: str | None


class ElsewhereError(OSError):
    """Plain HTTP was about to leave this machine."""


class _Watch:
    """Ends a connection when the time for all of a request is over.

    A timeout of a socket begins anew with every byte: a server that sends one now and then would hold a device for as
    long as it likes. The watch keeps a second descriptor of the connection, and shuts the connection down through it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._expired = False
        self.connections = 0  # so far

    @property
    def expired(self) -> bool:
        """Whether the time was over before the request was done."""
        return self._expired

    def attach(self, connection: socket.socket) -> None:
        """Watch this connection instead of the one before."""
        with self._lock:
            self._drop()
            self.connections += 1
            self._socket = connection.dup()
            if self._expired:
                self._shut_down()

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Any:
        """Give what is done within the block so many seconds."""
        self._expired = False
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Give up the second descriptor."""
        with self._lock:
            self._drop()

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Endpoint:
    """One server, over one connection that is kept open from request to request. Not thread safe.

    Args:
        host: name or address.
        port: number.
        context: how TLS is done; None for plain HTTP, which goes to this machine only.
        connect_timeout: seconds for each address of the host.
        timeout: seconds for all of a request, from connecting to the end of the answer. Only the name's look-up is
            not part of it: that has the system's own limit.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, *, connect_timeout: float, timeout: float
    ) -> None:
        self.name = f"{host}:{port}"
        self._timeout = timeout
        watch = self._watch = _Watch()

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                made = super()._new_conn()
                # By what was connected, not by the name: `localhost` can be resolved to anybody's address.
                if not ipaddress.ip_address(made.getpeername()[0]).is_loopback:
                    made.close()
                    raise ElsewhereError
                watch.attach(made)
                return made

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                made = super()._new_conn()
                watch.attach(made)
                return made

        limits = urllib3.Timeout(connect=connect_timeout, read=timeout)
        self._pool: urllib3.HTTPConnectionPool
        if context is None:
            self._pool = urllib3.HTTPConnectionPool(host, port, timeout=limits, maxsize=1, retries=False)
            self._pool.ConnectionCls = Plain
        else:
            self._pool = urllib3.HTTPSConnectionPool(
                host, port, timeout=limits, maxsize=1, retries=False, ssl_context=context
            )
            self._pool.ConnectionCls = Secure

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request, and read what the server says of it; a redirect is an answer like another.

        Raises:
            SinkRefusedError: no TLS connection that can be trusted.
            SinkError: no answer: not reachable, reset, too slow, or no HTTP.
        """
        with self._watch.limit(self._timeout):
            try:
                response = self._request(target, body, headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._failed(error) from None
            if self._watch.expired:  # the library takes the end of a connection for the end of the headers
                response.close()
                response.release_conn()
                raise self._failed(TimeoutError())
            answer = Answer(response.status, response.headers.get("Retry-After"), response.headers.get("Date"))
            # The server has answered: whatever becomes of the rest of its words changes nothing.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                if len(response.read(MAX_ANSWER + 1, decode_content=False)) > MAX_ANSWER:
                    response.close()
            if self._watch.expired:
                response.close()
            response.release_conn()
        return answer

    def _request(self, target: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a request; once more if the server closed the kept connection just then, as it may at any moment.

        That is no failure of the server's (RFC 9112, section 9.3.1), and a request that came twice has the same id.
        """
        send = functools.partial(
            self._pool.urlopen,
            "POST",
            target,
            body=body,
            headers=dict(headers),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        connections = self._watch.connections
        try:
            return send()
        except (urllib3.exceptions.ProtocolError, OSError):
            if self._watch.expired or not connections or self._watch.connections != connections:
                raise
        return send()

    def close(self) -> None:
        """End the connection."""
        self._pool.close()
        self._watch.close()

    def _failed(self, error: Exception) -> SinkError:
        """What to say of a failure. The library's own words hold the whole address, which can hold a secret."""
        if self._watch.expired or isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return SinkError(f"{self.name} did not answer within {self._timeout:g} s")
        reason = _reason(error)
        if isinstance(reason, ElsewhereError):
            return SinkRefusedError(
                f"{self.name} is not on this machine", hint="plain http is for this machine only: use https"
            )
        if isinstance(reason, ssl.SSLCertVerificationError):
            return SinkRefusedError(
                f"{self.name} is not trusted: {reason.verify_message or 'its certificate does not fit'}",
                hint="name the authority that signed the server's certificate (--ca); check the device's clock",
            )
        if isinstance(reason, ssl.SSLError):
            return SinkRefusedError(
                f"no TLS connection with {self.name} ({reason.reason or 'it failed'})",
                hint="the server must speak TLS 1.2 or later, and may ask for a client certificate",
            )
        if isinstance(error, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)):
            return SinkError(f"{self.name} cannot be reached", hint="check the network and the address")
        return SinkError(f"the connection with {self.name} broke off")


def _reason(error: BaseException | None) -> BaseException | None:
    """The error of ours or of ssl behind what the library raised, if there is one."""
    for _ in range(8):
        if error is None or isinstance(error, (ssl.SSLError, ElsewhereError)):
            return error
        inner = [part for part in (getattr(error, "reason", None), *error.args) if isinstance(part, BaseException)]
        error = inner[0] if inner else error.__cause__ or error.__context__
    return None
