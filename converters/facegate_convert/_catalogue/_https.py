"""One GET over HTTPS, through a proxy if there is one: redirects followed to https alone, failures told as ours."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from facegate_convert.errors import PullError, PullRefusedError, PullTrustError
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["answer_to", "failures", "refusal"]

_LATER = (http.client.TOO_MANY_REQUESTS, http.client.REQUESTED_RANGE_NOT_SATISFIABLE)
_REDIRECTS = 5
_CONNECT, _READ = 15.0, 30.0  # seconds: to connect, without a byte


@contextlib.contextmanager
def answer_to(address: str, start: int, ca: Path | None) -> Iterator[tuple[Any, str]]:
    """The answer to a request for the file from byte `start` on, redirects followed; and the host that gives it.

    Raises:
        PullTrustError: the server is not the one that was named, or sends elsewhere over an open line.
        PullRefusedError: it sends on without end, or packs the file.
        PullError: no connection.
    """
    for _ in range(_REDIRECTS + 1):
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme != "https" or not host or "@" in parts.netloc:
            raise PullTrustError(
                "the server sends to an address that is not https",
                hint="only https is followed; fetch the file by other means and use --from FOLDER",
            )
        headers = {"User-Agent": f"facegate/{VERSION}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with failures(host):
            answer = _pool(address, host, ca).request(
                "GET", address, headers=headers, redirect=False, retries=False, preload_content=False
            )
        try:
            location = answer.headers.get("location")
            if answer.status in (301, 302, 303, 307, 308) and location:
                address = urljoin(address, location)
                continue
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise PullRefusedError(f"{host} sends the file packed, unasked", hint="use another mirror")
            yield answer, host
            return
        finally:
            answer.close()  # a connection that was left in the middle is of no use to anybody
    raise PullRefusedError("the server sends from one address to the next without end", hint="use a mirror: --from")


def _pool(address: str, host: str, ca: Path | None) -> Any:
    """Connections to a host, through the proxy that the environment names for it."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # also SSLError: no certificate in it
        raise PullTrustError(f"{ca} holds no certificates that can be read", hint="name a PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    options: dict[str, Any] = {"ssl_context": context, "timeout": urllib3.Timeout(connect=_CONNECT, read=_READ)}
    proxy = urllib.request.getproxies().get(urlsplit(address).scheme)
    if proxy is None or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(**options)
    try:
        user = urlsplit(proxy)
        headers = {}
        if user.username:
            secret = f"{unquote(user.username)}:{unquote(user.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=secret)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise PullError("the proxy of the environment cannot be used", hint="check HTTPS_PROXY") from error


def refusal(status: int, host: str) -> PullError:
    """What a status means that is no part of the file."""
    if status in _LATER or status >= http.client.INTERNAL_SERVER_ERROR:
        return PullError(f"{host} answers with status {status}", hint="try again later")
    return PullRefusedError(
        f"{host} answers with status {status}",
        hint="the file may have moved: use a mirror or a folder with --from",
    )


@contextlib.contextmanager
def failures(host: str) -> Iterator[None]:
    """What goes wrong on the way, as ours."""
    try:
        yield
    except PullError:
        raise
    except urllib3.exceptions.HTTPError as error:
        reason: Any = getattr(error, "reason", error)
        if isinstance(error, urllib3.exceptions.SSLError) or isinstance(
            reason, (ssl.SSLError, urllib3.exceptions.SSLError)
        ):
            raise PullTrustError(
                f"it cannot be proven that {host} is {host}",
                hint="a certificate does not fit: check the clock, name the authority with --ca, or the network",
            ) from error
        raise PullError(
            f"no connection to {host}: {type(error).__name__}", hint="check the network and proxy"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise PullError(f"the connection to {host} broke: {type(error).__name__}", hint="try again") from error
