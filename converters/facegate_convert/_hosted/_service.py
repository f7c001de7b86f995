"""What the hosted server answers: every rule of the protocol, in the order in which a request meets them.

Nothing here writes: no log, no file. A request's image lives in this process's memory until its answer was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from facegate_convert._hosted._accounts import Account, Accounts, Failures
from facegate_convert._hosted._address import is_loopback
from facegate_convert._hosted._form import FormError, boundary_of, parse_form
from facegate_convert._hosted._png import MAX_BYTES, SIGNATURE, check_png
from facegate_convert.errors import CropError
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from concurrent.futures import Executor

    from starlette.requests import Request

    from facegate_convert._hosted._models import Embedder
    from facegate_convert._hosted._window import Window

__all__ = ["LOCAL", "MAX_BODY", "Limits", "Service"]

MAX_BODY = MAX_BYTES + (1 << 16)
"""Bytes of a request's body: the largest crop, and room for the form around it."""
LOCAL = "local"
"""Name of the account of everybody on this machine, when the server has no accounts."""
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
# What browsers and proxies add: without accounts, neither may bring the requests of others here.
_FOREIGN = ("origin", "sec-fetch-site", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Limits(NamedTuple):
    """What one account can make the server do at a time.

    Attributes:
        at_once: requests of one account whose bodies are in memory.
        turn: seconds that a request waits for its turn before it is told to come again.
        body: seconds for a body to arrive.
        drain: seconds for the body of a request that was refused before it was read.
    """

    at_once: int = 8
    turn: float = 20.0
    body: float = 20.0
    drain: float = 3.0


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """An answer other than a feature.

    Attributes:
        status: of HTTP.
        text: for whoever wrote the client; holds nothing that came with the request.
        headers: besides the usual ones.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}


class Service:
    """The protocol over models.

    Args:
        embedder: of the models.
        models: the names that are served.
        window: after it everything is refused.
        executor: runs the models.
        accounts: who may ask; None for whoever can reach the server, which must be on the loopback then.
        per_minute: requests of all together, if there are no accounts.
        limits: of each account.
        clock: seconds that never run backwards, for rates.

    Attributes:
        counts: how often what was answered, by status; 200 is counted as "feature" or "no face".
    """

    def __init__(
        self,
        embedder: Embedder,
        models: Collection[str],
        window: Window,
        executor: Executor,
        *,
        accounts: Sequence[Account] | None = None,
        per_minute: int = 6000,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._window = window
        self._executor = executor
        self._limits = limits or Limits()
        self._local = Account(LOCAL, b"", frozenset(models), per_minute) if accounts is None else None
        self._accounts = Accounts([self._local] if self._local is not None else accounts or (), clock=clock)
        self._failures = Failures(clock=clock)
        self._turns: dict[str, asyncio.Semaphore] = {}
        self.counts: Counter[str] = Counter()

    def app(self, path: str) -> Starlette:
        """The ASGI application: POST on this path, or on this path with the token as one more part of it."""
        routes = [Route(path, self._respond, methods=["POST"])]
        if self._local is None:
            routes.append(Route(f"{path.rstrip('/')}/{{token}}", self._respond, methods=["POST"]))
        app = Starlette(routes=routes, exception_handlers={HTTPException: self._no_route})
        app.router.redirect_slashes = False
        return app

    async def _respond(self, request: Request) -> Response:
        try:
            account = self._admit(request)
        except Refusal as refusal:
            return await self._refuse(request, refusal)
        try:
            async with self._turn(account):
                name, feature = await self._feature(request, account)
        except Refusal as refusal:
            return await self._refuse(request, refusal)
        except ClientDisconnect:
            return self._say(400, "the request was not complete")
        except Exception:  # noqa: BLE001 - a bug: said and counted; a traceback would be written somewhere
            return self._say(500, "the server failed; its operator sees that in its counts")
        self.counts["feature" if feature else "no face"] += 1
        return JSONResponse({"model_name": name, "feature": feature}, headers=_HEADERS)

    def _admit(self, request: Request) -> Account:
        """All that can be told before a byte of the body was read. Raises Refusal."""
        if self._window.is_over:
            raise Refusal(403, "the evaluation is over")
        account = self._local if self._local is not None else self._authenticate(request)
        if account is self._local:
            self._check_local(request)
        wait = self._accounts.take(account)
        if wait:
            raise Refusal(429, "too many requests of this account", {"retry-after": str(wait)})
        length = request.headers.getlist("content-length")
        if length and "transfer-encoding" in request.headers:  # RFC 9112, section 6.1: one end of the body, not two
            raise Refusal(400, "a request has a length or is chunked, not both", {"connection": "close"})
        if length and (len(length[0]) > 9 or int(length[0]) > MAX_BODY):  # noqa: PLR2004 - h11 lets digits pass only
            raise Refusal(413, f"a request has at most {MAX_BODY} bytes")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "bodies are not unpacked; send the form as it is")
        return account

    @staticmethod
    def _check_local(request: Request) -> None:
        """Refuse what a browser or a proxy brings: only programs of this machine may ask without a token."""
        host = request.headers.get("host", "")
        name = host[: host.find("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name.lower()) or any(header in request.headers for header in _FOREIGN):
            raise Refusal(421, "without accounts this server answers programs of its own machine only")

    def _authenticate(self, request: Request) -> Account:
        address = request.client.host if request.client else ""
        wait = self._failures.wait(address)
        if wait:
            raise Refusal(429, "too many wrong tokens from this address", {"retry-after": str(wait)})
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if given else ("bearer", "", request.path_params.get("token", ""))
        account = self._accounts.find(token.strip()) if len(given) <= 1 and scheme.lower() == "bearer" else None
        if account is None:
            if token:
                self._failures.add(address)
            raise Refusal(401, "this needs a token: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})
        return account

    @contextlib.asynccontextmanager
    async def _turn(self, account: Account) -> AsyncIterator[None]:
        """Wait until not too many other requests of the account are in memory. Raises Refusal."""
        turns = self._turns.setdefault(account.name, asyncio.Semaphore(self._limits.at_once))
        try:
            await asyncio.wait_for(turns.acquire(), self._limits.turn)
        except asyncio.TimeoutError:
            raise Refusal(503, "too many requests of this account at a time", {"retry-after": "5"}) from None
        try:
            yield
        finally:
            turns.release()

    async def _feature(self, request: Request, account: Account) -> tuple[str, list[float]]:
        """The model's name and the feature of a request's crop. Raises Refusal."""
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            if boundary is None or len(request.headers.getlist("content-type")) > 1:
                raise Refusal(415, "send multipart/form-data with the fields image and model_name")
            fields = parse_form(await self._body(request), boundary)
        except FormError as error:
            raise Refusal(400, str(error)) from None
        if "image" not in fields or "model_name" not in fields:
            raise Refusal(400, "the form needs the fields image and model_name")
        name = fields["model_name"].decode("utf-8", "replace")
        if name not in account.models:  # never a path, never looked up anywhere else
            raise Refusal(403, "model_name is none of the models that this account may use")
        is_png = fields["image"].startswith(SIGNATURE)
        try:
            crop = check_png(fields.pop("image"))
        except CropError as error:
            raise Refusal(422 if is_png else 415, f"{error}: {error.hint}") from None
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._executor, self._embedder.embed, name, crop.data)
        except FrameError:
            raise Refusal(422, "the crop cannot be decoded") from None
        if self._window.is_over:
            raise Refusal(403, "the evaluation is over")
        # Nine significant digits are a float32, exactly.
        return name, [] if found is None else [float(f"{value:.9g}") for value in found.tolist()]

    async def _body(self, request: Request) -> bytes:
        """All of a body that is neither too long nor too slow. Raises Refusal."""
        pieces: list[bytes] = []

        async def read() -> None:
            size = 0
            async for piece in request.stream():
                size += len(piece)
                if size > MAX_BODY:
                    pieces.clear()
                    raise Refusal(413, f"a request has at most {MAX_BODY} bytes")
                pieces.append(piece)

        try:
            await asyncio.wait_for(read(), self._limits.body)
        except asyncio.TimeoutError:
            request.state.over = True
            raise Refusal(408, "the request took too long to arrive", {"connection": "close"}) from None
        request.state.over = True
        return b"".join(pieces)

    async def _refuse(self, request: Request, refusal: Refusal) -> Response:
        """Answer a refusal, after the client has said what it wanted to say: before that, many do not listen.

        Of a body that is still on its way, as much is read as a body may have, and nothing kept. A client that waits to
        be told to go on (`Expect`) is not told.
        """
        headers = dict(refusal.headers)
        # All of it was read, or the client had its time, or nobody knows what it is.
        over = getattr(request.state, "over", False) or "connection" in headers
        if not over and ("expect" in request.headers or not await self._drained(request)):
            headers["connection"] = "close"
        return self._say(refusal.status, refusal.text, headers)

    async def _drained(self, request: Request) -> bool:
        async def drain() -> bool:
            size = 0
            while size <= MAX_BODY:
                message = await request.receive()
                if message["type"] != "http.request":
                    return False
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
            return False

        try:
            return await asyncio.wait_for(drain(), self._limits.drain)
        except asyncio.TimeoutError:
            return False

    def _say(self, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
        self.counts[str(status)] += 1
        return JSONResponse({"error": text}, status, _HEADERS | (headers or {}))

    async def _no_route(self, request: Request, error: Exception) -> Response:
        """No such path, or not POST."""
        status = getattr(error, "status_code", 404)
        text = "POST multipart/form-data to the address that you were given"
        return await self._refuse(request, Refusal(status, text, {"allow": "POST"} if status == 405 else {}))  # noqa: PLR2004
