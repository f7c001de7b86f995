"""Where a hosted endpoint is, and how it is spoken to: its address, its token, its certificate."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import stat
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, urlsplit

from facegate_convert.errors import EndpointSetupError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ENDPOINT_VARIABLE",
    "TOKEN_VARIABLE",
    "check_token",
    "client_context",
    "endpoint_url",
    "is_loopback",
    "parse_url",
    "read_private",
    "read_token",
]

ENDPOINT_VARIABLE = "FACEGATE_ENDPOINT"
TOKEN_VARIABLE = "FACEGATE_ENDPOINT_TOKEN"  # noqa: S105 - its name
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_TARGET = re.compile(r"[\x21-\x7e]{1,2048}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}", re.ASCII)


def endpoint_url(option: str | None) -> str:
    """The endpoint's address: what the command line says, else the environment. It is never read from a file.

    Raises:
        EndpointSetupError: neither says one.
    """
    url = option or os.environ.get(ENDPOINT_VARIABLE, "")
    if not url:
        raise EndpointSetupError(
            "there is no endpoint", hint=f"set {ENDPOINT_VARIABLE}, or give --endpoint (which other users can see)"
        )
    return url


def read_token(path: Path | None) -> str | None:
    """The account's token: from a file, else from the environment, else None. Never from the command line.

    Raises:
        EndpointSetupError: the file cannot be read, others may read it, or it holds no token.
    """
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE)
        return check_token(token, TOKEN_VARIABLE) if token is not None else None
    return check_token(read_private(path).decode("ascii", "replace").strip(), str(path))


def check_token(token: str, source: str = "the token") -> str:
    """A token that can stand in a header. Raises EndpointSetupError, which does not show it."""
    if not _TOKEN.fullmatch(token):
        raise EndpointSetupError(f"{source} holds no token", hint="a token is one word of printable ASCII")
    return token


def parse_url(url: str) -> SplitResult:
    """An endpoint's address in its parts. Errors do not show it: it may hold a secret.

    Raises:
        EndpointSetupError: it is no https address, or http and not this machine's.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        _refuse("it cannot be read")
    if parts.scheme not in ("https", "http") or not host:
        _refuse("it is not of the form https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        _refuse("it holds a user or a password; a token has a variable of its own")
    if parts.fragment or port == 0 or not _HOST.fullmatch(host):
        _refuse("it holds what no address of an endpoint has")
    if not _TARGET.fullmatch((parts.path or "/") + parts.query):
        _refuse("it holds characters that must be percent-encoded")
    if parts.scheme == "http" and not is_loopback(host):
        _refuse("faces leave this machine by https only")
    return parts


def _refuse(why: str) -> NoReturn:
    raise EndpointSetupError(f"the endpoint's address cannot be used: {why}", hint="use https://HOST/PATH")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def client_context(ca: Path | None) -> ssl.SSLContext:
    """How a client does TLS: 1.2 or later, certificate and name verified. Raises EndpointSetupError."""
    # Made by hand: `ssl.create_default_context` would write session keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=os.fspath(ca))
    except OSError:  # ssl.SSLError is one
        raise EndpointSetupError(f"{ca} holds no certificates, or cannot be read", hint="name a PEM file") from None
    return context


def read_private(path: Path, limit: int = 4096) -> bytes:
    """A small file that nobody but its owner may read.

    Raises:
        EndpointSetupError: it cannot be read, is too large, or others may read or change it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise EndpointSetupError(f"{path} is no regular file", hint="name the secret's file")
            if mode & 0o077:
                raise EndpointSetupError(
                    f"{path} can be read or changed by other users (mode {mode & 0o777:04o})",
                    hint=f"run: chmod 600 {path} - and replace what it holds if somebody may have copied it",
                )
            data = file.read(limit + 1)
    except OSError as error:
        raise EndpointSetupError(
            f"{path} cannot be read: {error.strerror}", hint="check path and permissions"
        ) from None
    if len(data) > limit:
        raise EndpointSetupError(f"{path} is too large", hint="name the right file")
    return data
