"""A client of the hosted evaluation protocol: a face's crop goes out as PNG, its feature comes back."""

from __future__ import annotations

import json
import math
import random
import secrets
import threading
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from facegate_convert._hosted._address import check_token, client_context, parse_url
from facegate_convert._hosted._png import check_png
from facegate_convert.errors import EndpointError, EndpointRefusedError, EndpointSetupError, FeatureError
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_convert._hosted._http import Answer

__all__ = ["FeatureClient"]

MAX_LENGTH = 16_384
"""Values of a feature: far more than any recogniser gives."""
NORM_TOLERANCE = 1e-3
"""How far from 1 the length of a feature may be: dot products are compared as cosines without normalising again."""
MAX_WAIT = 300.0
"""Seconds: a server that asks for more patience than this is given up."""
_BASE, _CAP = 0.5, 30.0  # seconds of the backoff
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_MAX_NAME = 128
_RANDOM = random.SystemRandom()


class FeatureClient:
    """Asks a hosted endpoint for the features of face crops. Not thread safe: make one a thread.

    What can pass is tried again (no connection, 408, 425, 429, 500, 502, 503, 504), with exponential backoff and full
    jitter, and never earlier than the server asks for in `Retry-After`. The address is held in memory only, and no
    error shows more of it than host and port.

    Args:
        url: https; http for this machine only.
        model_name: which model the endpoint shall use.
        token: sent as `Authorization: Bearer`, if the endpoint wants one.
        ca: PEM file of the authorities that may vouch for the server; those of the system if None.
        timeout: seconds for all of one request.
        connect_timeout: seconds for connecting.
        attempts: how often a crop is sent at most.
        wait: sleeps for so many seconds; by default until `stop` at most.

    Attributes:
        model_name: as given.
        length: D of the features so far, None before the first; all of one client have the same.
        sent: crops for which an answer came.
        retries: requests that had to be repeated.

    Raises:
        EndpointSetupError: one of these cannot be used.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        token: str | None = None,
        ca: Path | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        attempts: int = 6,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        parts = parse_url(url)
        if not 0 < len(model_name) <= _MAX_NAME or not model_name.isprintable():
            raise EndpointSetupError("the model's name cannot be used", hint=f"up to {_MAX_NAME} printable characters")
        if token is not None:
            check_token(token)
        context = client_context(ca) if parts.scheme == "https" else None
        from facegate_convert._hosted._http import Connection  # noqa: PLC0415 - urllib3 is loaded where it is used

        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._connection = Connection(host, port, context, connect_timeout=connect_timeout, timeout=timeout)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._token = token
        self._attempts = max(1, attempts)
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self.model_name = model_name
        self.length: int | None = None
        self.sent = 0
        self.retries = 0

    @property
    def name(self) -> str:
        """Host and port; the rest of the address may hold a secret."""
        return self._connection.name

    def features(self, png: bytes) -> npt.NDArray[np.float32] | None:
        """The feature of one face crop.

        Args:
            png: the crop as the protocol wants it (`crop_face`, `encode_png`).

        Returns:
            float32 (D,), L2-normalised as the endpoint gave it; None if the endpoint found no face.

        Raises:
            CropError: these bytes are no PNG of at most 256 pixels a side. Nothing was sent.
            EndpointError: no answer, however often it was asked; or one of its subclasses:
            EndpointRefusedError: the endpoint will not answer this, and would not if it was sent again.
            EndpointTrustError: it could not be proven that the endpoint is the one that was named.
            FeatureError: the answer is not what the protocol says.
        """
        crop = check_png(png)
        body, boundary = _form(self.model_name, crop.data)
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": f"multipart/form-data; boundary={boundary}",
            "user-agent": f"facegate/{VERSION}",
        }
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        answer = self._ask(body, headers)
        feature = self._parse(answer)
        self.sent += 1
        return feature

    def _ask(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send, and send again while that can help; the answer has status 200."""
        for attempt in range(self._attempts):
            asked: float | None = None
            if self._stopped.is_set():
                raise EndpointError(f"{self.name} is not asked any more", hint="what was done so far is kept")
            try:
                answer = self._connection.post(self._target, body, headers)
            except EndpointError as error:
                if type(error) is not EndpointError or attempt + 1 == self._attempts:
                    raise
            else:
                if answer.status == 200:  # noqa: PLR2004 - OK
                    return answer
                if answer.status not in _AGAIN:
                    self._refused(answer.status)
                asked = _retry_after(answer)
                if attempt + 1 == self._attempts or (asked or 0) > MAX_WAIT:
                    raise EndpointError(
                        f"{self.name} answered with status {answer.status}"
                        + (f", {attempt + 1} times" * (attempt > 0)),
                        hint="it is busy or limits requests: go on later; what was done so far is kept",
                    )
            self.retries += 1
            pause = _RANDOM.uniform(0.0, min(_CAP, _BASE * 2.0**attempt))
            self._wait(max(pause, asked or 0.0))
        raise AssertionError  # the last attempt returns or raises

    def _refused(self, status: int) -> NoReturn:
        hints = {
            400: "it did not understand the request; is it an endpoint of this protocol?",
            401: "it wants a token, or another one (FACEGATE_ENDPOINT_TOKEN, --token-file)",
            403: "this account may not use the model, or the evaluation is over",
            404: "check the address",
            413: "the crop is too large for it",
            415: "it does not take PNG",
        }
        hint = hints.get(status, "check address, token and the model's name")
        if 300 <= status < 400:  # noqa: PLR2004 - elsewhere
            hint = "redirects are never followed: give the final address"
        raise EndpointRefusedError(f"{self.name} answered with status {status}", hint=hint)

    def _parse(self, answer: Answer) -> npt.NDArray[np.float32] | None:
        """The feature in an answer. Raises FeatureError, which shows nothing of it."""
        if not answer.complete or answer.headers.get("content-encoding", "identity").lower() != "identity":
            self._wrong("is too long, or packed although nobody asked for that")
        try:
            data: Any = json.loads(answer.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self._wrong("is no JSON")
        if not isinstance(data, dict) or not isinstance(data.get("feature"), list):
            self._wrong('has no list "feature"')
        if data.get("model_name") != self.model_name:
            self._wrong("is of another model than the one asked for")
        values = data["feature"]
        if not values:
            return None
        if len(values) > MAX_LENGTH or any(type(value) not in (int, float) for value in values):
            self._wrong("has a feature that is no list of numbers")
        try:
            exact = np.array(values, np.float64)
        except OverflowError:  # an integer of hundreds of digits
            self._wrong("has a feature that is no list of numbers")
        norm = float(np.linalg.norm(exact)) if np.abs(exact).max() <= 2 else math.inf  # noqa: PLR2004 - and not NaN
        if not abs(norm - 1) <= NORM_TOLERANCE:
            self._wrong("has a feature that is not L2-normalised")
        if self.length not in (None, exact.size):
            self._wrong("has a feature of another length than those before")
        self.length = exact.size
        return exact.astype(np.float32)

    def _wrong(self, why: str) -> NoReturn:
        raise FeatureError(
            f"the answer of {self.name} {why}",
            hint='it must be {"model_name": NAME, "feature": [L2-normalised numbers]}',
        )

    def stop(self) -> None:
        """End what another thread is asking just now, and ask nothing more."""
        self._stopped.set()
        self._connection.abort()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureClient({self.name})"


def _form(model_name: str, png: bytes) -> tuple[bytes, str]:
    """The request's body and the boundary between its two parts (RFC 7578)."""
    boundary = secrets.token_hex(16)
    line = f"--{boundary}\r\n".encode("ascii")
    name = b'Content-Disposition: form-data; name="model_name"\r\n\r\n' + model_name.encode() + b"\r\n"
    # No name of a file of ours: they are often the names of people.
    head = b'Content-Disposition: form-data; name="image"; filename="crop.png"\r\nContent-Type: image/png\r\n\r\n'
    return line + name + line + head + png + f"\r\n--{boundary}--\r\n".encode("ascii"), boundary


def _no_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are no JSON


def _retry_after(answer: Answer) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3), None if it does not or cannot be understood."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else math.inf  # noqa: PLR2004 - centuries
    try:
        until = _aware(parsedate_to_datetime(text))
    except (TypeError, ValueError, OverflowError):
        return None
    try:
        # By the server's own clock where it tells it: this machine's may be wrong.
        now = _aware(parsedate_to_datetime(answer.headers.get("date", "")))
    except (TypeError, ValueError, OverflowError):
        now = datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
