"""A hosted server from its options to its end."""

from __future__ import annotations

import contextlib
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._hosted._accounts import read_accounts
from facegate_convert._hosted._models import Models
from facegate_convert._hosted._server import Server, bind, is_local, server_context
from facegate_convert._hosted._service import LOCAL, Service
from facegate_convert._hosted._window import Window
from facegate_convert.errors import EndpointSetupError, ServeError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from facegate_convert._bundles import Model

__all__ = ["Plan", "Running", "start"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to serve.

    Attributes:
        host: name or address to listen on.
        port: 0 for any that is free.
        path: of the endpoint.
        until: end of the evaluation, aware.
        accounts: file of accounts; None for none.
        certificate: for TLS; None for plain HTTP.
        private_key: of the certificate.
        per_minute: requests, if there are no accounts.
        workers: crops worked on at a time.
    """

    host: str
    port: int
    path: str
    until: datetime
    accounts: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    per_minute: int = 6000
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens.

    Attributes:
        url: of the endpoint.
        models: names, with the length of their features.
        accounts: names; "local" alone if anybody on this machine may ask.
        until: end of the evaluation.
        counts: what was answered so far.
        server: the server.
    """

    url: str
    models: Mapping[str, int]
    accounts: tuple[str, ...]
    until: datetime
    counts: Counter[str]
    server: Server

    def serve_forever(self) -> None:
        """Answer until SIGTERM, SIGINT or `server.stop()`."""
        self.server.serve_forever()

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "url": self.url,
            "models": dict(self.models),
            "accounts": list(self.accounts),
            "until": self.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def describe(self) -> str:
        """For people."""
        return "\n".join(
            [
                f"serving {', '.join(self.models)} at {self.url} until {self.until:%Y-%m-%d %H:%M} UTC; Ctrl-C ends it",
                "it returns embeddings: for an evaluation on this machine, never on a device",
                f"accounts: {', '.join(self.accounts)}"
                if self.accounts != (LOCAL,)
                else "no accounts: every program and user of this machine may ask",
            ]
        )

    def ended(self) -> str:
        """What was answered."""
        told = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items(), reverse=True))
        return f"ended; answers: {told or 'none'}"


@contextlib.contextmanager
def start(plan: Plan, load: Callable[[], Mapping[str, Sequence[Model]]]) -> Iterator[Running]:
    """Listen and load the models; at the end of the block both are gone.

    Args:
        plan: how to serve.
        load: the models by name. It is called after everything was checked that takes no time.

    Raises:
        ServeError: the address cannot be listened on, or is beyond this machine without TLS and accounts.
        EndpointSetupError: accounts, certificate or key cannot be used.
        BuildError, ModelError: the models do not fit together.
    """
    context = (
        server_context(plan.certificate, plan.private_key)
        if plan.certificate is not None and plan.private_key is not None
        else None
    )
    accounts = read_accounts(plan.accounts) if plan.accounts is not None else None
    if accounts is not None and not accounts:
        raise EndpointSetupError(f"{plan.accounts} holds no account", hint="make one: `facegate evaluate account`")
    with contextlib.ExitStack() as stack:
        listener = bind(plan.host, plan.port)
        stack.callback(listener.close)
        if not is_local(listener) and (context is None or accounts is None):
            raise ServeError(
                f"{plan.host} can be reached by others: that needs TLS and accounts",
                hint="give --certificate, --private-key and --accounts, or stay on 127.0.0.1",
            )
        try:
            listener.listen()
        except OSError as error:
            raise ServeError(f"port {plan.port} of {plan.host} is taken", hint="choose another --port") from error
        loaded = load()
        if plan.accounts is not None:
            accounts = read_accounts(plan.accounts, loaded)
        # A crash must leave nothing of a face on the disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        models = stack.enter_context(Models(loaded, workers=plan.workers))
        executor = stack.enter_context(ThreadPoolExecutor(plan.workers, thread_name_prefix="embed"))
        service = Service(
            models,
            tuple(loaded),
            Window(plan.until),
            executor,
            accounts=accounts,
            per_minute=plan.per_minute,
        )
        server = Server(service.app(plan.path), listener, context)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        yield Running(
            f"http{'s' if context else ''}://{shown}:{port}{plan.path}",
            dict(models.lengths),
            (LOCAL,) if accounts is None else tuple(account.name for account in accounts),
            plan.until,
            service.counts,
            server,
        )
