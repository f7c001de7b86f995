"""Keeps delivering: what comes into the outbox goes to the sink, for as long as it takes."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

from facegate._sinks._backoff import Backoff
from facegate._store._outbox import DeliveryReport
from facegate.errors import (
    FacegateError,
    GateInUseError,
    OutboxError,
    OutboxTamperedError,
    SinkClosedError,
    SinkError,
    StoreFullError,
    StoreWriteError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from facegate._sinks._sink import Sink
    from facegate._store._outbox import Stop

__all__ = ["Delivery", "Source"]


class Source(Protocol):
    """What is emptied: an outbox, or one that a role opens."""

    def deliver(self, sink: Sink, *, limit: int | None = None, stop: Stop | None = None) -> DeliveryReport:
        """Give what waits to the sink, see `Outbox.deliver`."""

    def waiting(self) -> int:
        """How many decisions no sink has taken yet."""


class Delivery:
    """Delivers in the background, or in the foreground until it is told to stop.

    Args:
        outbox: what to empty.
        sink: where to.
        poll: seconds between two looks into an empty outbox, unless `wake` says that there is something.
        backoff: how long to wait after a failure.
        on_report: told after every attempt that delivered something or failed; called in the thread that delivers.
    """

    def __init__(
        self,
        outbox: Source,
        sink: Sink,
        *,
        poll: float = 1.0,
        backoff: Backoff | None = None,
        on_report: Callable[[DeliveryReport], object] | None = None,
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._poll = poll
        self._backoff = backoff if backoff is not None else Backoff()
        self._on_report = on_report
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        """Deliver until `stop` is called.

        Raises:
            OutboxTamperedError, StoreError: the outbox itself cannot be used. A sink's failures are waited out, and so
                is a full disk, somebody else who delivers, or another process that keeps the file busy.
            SinkClosedError: the stream's reader has gone, and will not come back.
        """
        while not self._stop.is_set():
            self._wake.clear()
            report = self._attempt()
            if self._on_report is not None and (report.delivered or report.error is not None):
                self._on_report(report)
            if report.delivered:
                self._backoff.reset()
            if isinstance(report.error, SinkClosedError):
                raise report.error
            if report.error is not None:
                # New decisions do not make a server well: only the end is allowed to cut this short.
                self._stop.wait(self._backoff.next(report.error.retry_after))
            elif not report.waiting:
                self._wake.wait(self._poll)

    def start(self) -> None:
        """Deliver in a thread of its own. What `run` would raise is in `failure` then."""
        self._thread = threading.Thread(target=self._guarded, name="facegate-delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._wake.set()

    def stop(self) -> None:
        """Let what is being sent be sent, and then end."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the thread; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.join()

    def _attempt(self) -> DeliveryReport:
        try:
            return self._outbox.deliver(self._sink, stop=self._stop)
        except OutboxTamperedError:
            raise
        except (GateInUseError, OutboxError, StoreFullError, StoreWriteError) as error:
            # What could not be marked will be sent again. Somebody who delivers by hand will come to an end.
            waiting = 1
            with contextlib.suppress(FacegateError):
                waiting = self._outbox.waiting()
            return DeliveryReport(0, waiting, SinkError(str(error), hint=error.hint))

    def _guarded(self) -> None:
        try:
            self.run()
        except Exception as error:  # noqa: BLE001 - whoever started the thread looks at it
            self.failure = error
