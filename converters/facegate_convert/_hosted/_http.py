"""One HTTP POST at a time, with a limit on how long all of it may take and on what is read. Needs urllib3.

The same manner as the SDK's webhook (docs/adr/0018-webhook-client.md), for answers that are read.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from facegate_convert.errors import EndpointError, EndpointTrustError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_ANSWER", "Answer", "Connection"]

MAX_ANSWER = 1 << 20
"""Bytes of an answer: a feature of 16,384 values with 17 digits each is a third of it."""
_CHUNK = 1 << 16


class Answer(NamedTuple):
    """What a server said.

    Attributes:
        status: of HTTP.
        headers: those of `_KEPT_HEADERS` that came, names in lower case.
        body: at most `MAX_ANSWER` bytes, as they came.
        complete: whether that was all.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool


_KEPT_HEADERS = ("content-encoding", "date", "retry-after")


class ElsewhereError(OSError):
    """Plain HTTP was about to leave this machine."""


class _Watch:
    """Ends a connection when the time for all of a request is over, through a second descriptor of it.

    A timeout of a socket begins anew with every byte that comes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.expired = False

    def attach(self, connection: socket.socket) -> None:
        with self._lock:
            self._drop()
            self._socket = connection.dup()
            if self.expired:
                self._shut_down()

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Any:
        self.expired = False
        timer = threading.Timer(seconds, self.expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Connection:
    """One server, over one connection that is kept open from request to request. Not thread safe.

    No redirect is followed, no proxy used, no cookie kept, nothing unpacked.

    Args:
        host: name or address.
        port: number.
        context: how TLS is done; None for plain HTTP, which goes to this machine only.
        connect_timeout: seconds for each address of the host.
        timeout: seconds for all of a request, from connecting to the end of the answer.
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
        """Send a request and read the answer; a redirect is an answer like another.

        Raises:
            EndpointTrustError: no TLS connection that can be trusted.
            EndpointError: no answer: not reachable, reset, too slow, or no HTTP.
        """
        with self._watch.limit(self._timeout):
            try:
                response = self._pool.urlopen(
                    "POST",
                    target,
                    body=body,
                    headers=dict(headers),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
                try:
                    answer = self._read(response)
                finally:
                    response.release_conn()
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._failed(error) from None
            if self._watch.expired:  # the library takes the end of a connection for the end of headers or body
                raise self._failed(TimeoutError())
        return answer

    def _read(self, response: urllib3.BaseHTTPResponse) -> Answer:
        pieces, size = [], 0
        while size <= MAX_ANSWER:
            piece = response.read(min(_CHUNK, MAX_ANSWER + 1 - size), decode_content=False)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        complete = size <= MAX_ANSWER
        if not complete:
            response.close()
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        return Answer(response.status, kept, b"".join(pieces), complete)

    def abort(self) -> None:
        """End a request that another thread is waiting for."""
        self._watch.expire()

    def close(self) -> None:
        """End the connection."""
        self._pool.close()
        self._watch.close()

    def _failed(self, error: Exception) -> EndpointError:
        """What to say of a failure. The library's own words hold the whole address, which can hold a secret."""
        if self._watch.expired or isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return EndpointError(f"{self.name} did not answer within {self._timeout:g} s", hint="try again later")
        reason = _reason(error)
        if isinstance(reason, ElsewhereError):
            return EndpointTrustError(
                f"{self.name} is not on this machine", hint="plain http is for this machine only: use https"
            )
        if isinstance(reason, ssl.SSLCertVerificationError):
            return EndpointTrustError(
                f"{self.name} is not trusted: {reason.verify_message or 'its certificate does not fit'}",
                hint="name the authority that signed the server's certificate (--ca); check this machine's clock",
            )
        if isinstance(reason, ssl.SSLError):
            return EndpointTrustError(
                f"no TLS connection with {self.name} ({reason.reason or 'it failed'})",
                hint="the server must speak TLS 1.2 or later",
            )
        if isinstance(error, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)):
            return EndpointError(f"{self.name} cannot be reached", hint="check the network and the address")
        return EndpointError(f"the connection with {self.name} broke off", hint="try again later")


def _reason(error: BaseException | None) -> BaseException | None:
    """The error of ours or of ssl behind what the library raised, if there is one."""
    for _ in range(8):
        if error is None or isinstance(error, (ssl.SSLError, ElsewhereError)):
            return error
        inner = [part for part in (getattr(error, "reason", None), *error.args) if isinstance(part, BaseException)]
        error = inner[0] if inner else error.__cause__ or error.__context__
    return None
