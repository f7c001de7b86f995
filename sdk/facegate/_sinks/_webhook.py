"""Decisions to an HTTPS server, signed as the Standard Webhooks specification says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import ssl
import stat
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

from facegate._clock import SystemClock
from facegate._files import strangers_rights
from facegate._sinks._sink import encode
from facegate.errors import CommandUnavailableError, SinkError, SinkRefusedError, SinkSetupError
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from facegate._clock import Clock
    from facegate._decision import SignedDecision
    from facegate._sinks._http import Answer

__all__ = ["ClientCertificate", "WebhookSink", "load_webhook_secrets", "parse_webhook_secrets", "sign_request"]

_PREFIX = "whsec_"
_SECRET_SIZE = range(24, 65)  # bytes, as the specification says
_MAX_SECRETS = 4
_MAX_FILE = 4096
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_TARGET = re.compile(r"[\x21-\x7e]{1,2048}", re.ASCII)
_HOW_TO_MAKE = 'make one: printf "whsec_%s\\n" "$(openssl rand -base64 32)"'


class ClientCertificate(NamedTuple):
    """What the device shows a server of itself (mutual TLS): PEM files.

    Attributes:
        certificate: with the chain up to the authority.
        private_key: of mode 0600, without a passphrase, because nobody is at hand when a device starts.
    """

    certificate: Path
    private_key: Path


class WebhookSink:
    """POSTs every decision to a server, and takes a status of 2xx as its receipt.

    The body is `{"decision": {...}, "jws": "..."}`. Headers, see docs/outbox.md: `webhook-id` (the decision's id, the
    same when it is sent again), `webhook-timestamp` (seconds since 1970) and, with a secret, `webhook-signature`.

    No redirect is followed, no proxy used, no cookie kept; TLS 1.2 or later, certificate and name are verified.

    Args:
        url: https; http only with `allow_loopback_http`, and only to this machine.
        secrets: HMAC keys, 24 to 64 bytes; several while one is being replaced: the request is signed with each.
        client: a certificate for mutual TLS. One of both is needed: a server must be able to tell who sends.
        ca: PEM file of the authorities that may vouch for the server; those of the system if None.
        allow_loopback_http: for a receiver on this machine, or a proxy of its own.
        connect_timeout: seconds.
        timeout: seconds for all of a request.
        clock: where the time comes from.

    Raises:
        SinkSetupError: one of these cannot be used.
        CommandUnavailableError: urllib3 is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        secrets: Sequence[bytes] = (),
        client: ClientCertificate | None = None,
        ca: str | os.PathLike[str] | None = None,
        allow_loopback_http: bool = False,
        connect_timeout: float = 5.0,
        timeout: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        parts = _parse(url, allow_loopback_http=allow_loopback_http)
        if not secrets and client is None:
            raise SinkSetupError(
                "a webhook needs a secret or a client certificate",
                hint="a receiver must know who sends; " + _HOW_TO_MAKE,
            )
        for secret in secrets:
            _check_secret(secret)
        if client is not None and parts.scheme != "https":
            raise SinkSetupError("a client certificate needs https", hint="use an https address")
        context = _context(ca, client) if parts.scheme == "https" else None
        try:
            from facegate._sinks._http import Endpoint  # noqa: PLC0415 - urllib3 is an extra
        except ModuleNotFoundError as error:
            raise CommandUnavailableError(
                "a webhook needs urllib3, which is not installed", hint="run: pip install 'facegate[webhook]'"
            ) from error
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._endpoint = Endpoint(host, port, context, connect_timeout=connect_timeout, timeout=timeout)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secrets = tuple(secrets)
        self._clock: Clock = clock if clock is not None else SystemClock()

    @property
    def name(self) -> str:
        """Host and port; the rest of the address may hold a secret."""
        return self._endpoint.name

    def deliver(self, decision: SignedDecision) -> None:
        """POST a decision.

        Raises:
            TypeError, DecisionSchemaError: what is given is no `SignedDecision`.
            SinkError: no answer, or one that asks to come again (408, 425, 429, 5xx).
            SinkRefusedError: any other answer than 2xx, or a server that cannot be trusted.
        """
        body = encode(decision)
        identifier = decision.decision.id
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": f"facegate/{VERSION}",
            "webhook-id": identifier,
            "webhook-timestamp": str(timestamp),
        }
        if self._secrets:
            headers["webhook-signature"] = sign_request(self._secrets, identifier, timestamp, body)
        self._judge(self._endpoint.post(self._target, body, headers))

    def close(self) -> None:
        """End the connection."""
        self._endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WebhookSink({self.name})"

    def _judge(self, answer: Answer) -> None:
        status = answer.status
        if 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls successful
            return
        text = f"{self.name} answered with status {status}"
        wait = _retry_after(answer, self._clock)
        if status in (408, 425, 429) or status >= 500:  # noqa: PLR2004 - come again later
            raise SinkError(text, hint="it is sent again", retry_after=wait)
        if 300 <= status < 400:  # noqa: PLR2004 - look elsewhere
            raise SinkRefusedError(f"{text}: a redirect, which is never followed", hint="give the final address")
        raise SinkRefusedError(
            text, hint="the receiver does not accept it: check address, secret and certificate there", retry_after=wait
        )


def sign_request(secrets: Sequence[bytes], identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature` (Standard Webhooks): "v1," and base64 of an HMAC-SHA256, for each secret."""
    content = f"{identifier}.{timestamp}.".encode("ascii") + body
    macs = (hmac.digest(secret, content, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode('ascii')}" for mac in macs)


def parse_webhook_secrets(text: str, *, source: str = "the secret") -> tuple[bytes, ...]:
    """Webhook secrets: each `whsec_` and base64 of 24 to 64 bytes, apart by white space.

    Raises:
        SinkSetupError: there is none, too many, or one is not of that form. The message does not show it.
    """
    words = text.split()
    if not 0 < len(words) <= _MAX_SECRETS:
        raise SinkSetupError(f"{source} holds no webhook secret, or more than {_MAX_SECRETS}", hint=_HOW_TO_MAKE)
    found = []
    for word in words:
        try:
            secret = base64.b64decode(word.removeprefix(_PREFIX).encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            secret = b""
        if not word.startswith(_PREFIX) or not secret:
            raise SinkSetupError(f"{source} is no webhook secret", hint=_HOW_TO_MAKE)
        _check_secret(secret)
        found.append(secret)
    return tuple(found)


def load_webhook_secrets(path: str | os.PathLike[str]) -> tuple[bytes, ...]:
    """Read a file of webhook secrets.

    Raises:
        SinkSetupError: it cannot be read, others may read or change it, or it holds no secret.
    """
    data = _read_private(Path(path))
    return parse_webhook_secrets(data.decode("ascii", "replace"), source=f"what {path} holds")


def _check_secret(secret: bytes) -> None:
    if type(secret) is not bytes or len(secret) not in _SECRET_SIZE:
        raise SinkSetupError("a webhook secret has 24 to 64 bytes", hint=_HOW_TO_MAKE)


def _read_private(path: Path) -> bytes:
    """A small file that nobody but its owner may read. Raises SinkSetupError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SinkSetupError(f"{path} is no regular file", hint="name the secret's file")
            if mode & strangers_rights(path):
                raise SinkSetupError(
                    f"{path} can be read or changed by other users (mode {mode & 0o777:04o})",
                    hint=f"run: chmod 600 {path} - and replace what it holds if somebody may have copied it",
                )
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise SinkSetupError(f"{path} cannot be read: {error.strerror}", hint="check path and permissions") from None
    if len(data) > _MAX_FILE:
        raise SinkSetupError(f"{path} is too large to be a secret", hint="name the secret's file")
    return data


def _parse(url: str, *, allow_loopback_http: bool) -> SplitResult:
    """The address in its parts. Errors do not show it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        _refuse("it cannot be read")
    if parts.scheme not in ("https", "http") or not host:
        _refuse("it is not of the form https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        _refuse("it holds a user or a password")
    if parts.fragment or port == 0 or not _HOST.fullmatch(host):
        _refuse("it holds what no address of a webhook has")
    if not _TARGET.fullmatch((parts.path or "/") + parts.query):
        _refuse("it holds characters that must be percent-encoded")
    if parts.scheme == "http" and not (allow_loopback_http and _is_loopback(host)):
        _refuse("http is for receivers on this machine only, and only when asked for")
    return parts


def _refuse(why: str) -> NoReturn:
    raise SinkSetupError(f"the webhook's address cannot be used: {why}", hint="use https://HOST/PATH")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(ca: str | os.PathLike[str] | None, client: ClientCertificate | None) -> ssl.SSLContext:
    # Made by hand: `ssl.create_default_context` would write session keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=os.fspath(ca))
    except OSError:  # ssl.SSLError is one
        raise SinkSetupError(f"{ca} holds no certificates, or cannot be read", hint="name a PEM file") from None
    if client is not None:
        _read_private(client.private_key)
        try:
            context.load_cert_chain(client.certificate, client.private_key, password=_no_passphrase)
        except OSError:
            raise SinkSetupError(
                f"{client.certificate} and {client.private_key} are no certificate and its key, or cannot be read",
                hint="both are PEM files, the key without a passphrase",
            ) from None
    return context


def _no_passphrase() -> str:
    # Without this the library asks at the terminal.
    raise SinkSetupError("the client's private key has a passphrase", hint="a device starts with nobody at hand")


def _retry_after(answer: Answer, clock: Clock) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3), None if it does not or cannot be understood."""
    text = (answer.retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else float("inf")  # noqa: PLR2004 - centuries
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    try:
        # By the server's own clock where it tells it: the device's may be wrong.
        now = parsedate_to_datetime(answer.date or "")
    except (TypeError, ValueError, OverflowError):
        now = clock.now()
    return max(0.0, (_aware(until) - _aware(now)).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
