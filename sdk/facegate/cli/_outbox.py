"""`facegate outbox`: decisions that wait for delivery, and delivering them, also as a service."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate._gate_folder import PUBLIC, STORE
from facegate.cli._session import as_officer, gate_option
from facegate.cli._tables import stamp, table
from facegate.errors import SinkClosedError, SinkSetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate._sinks._json_lines import JsonLinesSink
    from facegate._sinks._webhook import WebhookSink
    from facegate._store._outbox import DeliveryReport, Outbox
    from facegate_edge._output import Output

SECRET_VARIABLE = "FACEGATE_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
SECRET_FILE_VARIABLE = "FACEGATE_WEBHOOK_SECRET_FILE"  # noqa: S105
_STOP = (signal.SIGTERM, signal.SIGINT)


@click.command(short_help="Tell how many decisions wait, and since when.")
@gate_option
@click.pass_obj
def status(output: Output, folder: Path) -> None:
    """Tell how many decisions wait for delivery, and since when. Counts and times only: it needs no credential."""
    with _open(folder, read_only=True) as outbox:
        found = outbox.status()
    data = {
        "waiting": found.waiting,
        "oldest": stamp(found.oldest),
        "next_sequence": found.next_sequence,
        "delivered": found.delivered,
        "last_delivered": stamp(found.last_delivered),
        "last_sequence": found.last_sequence,
        "reviews": found.reviews,
    }
    lines = [f"waiting    {found.waiting}" + (f", the oldest from {stamp(found.oldest)}" if found.waiting else "")]
    lines.append(f"delivered  {found.delivered} are kept" + _last(found.last_delivered))
    lines.append(f"reviews    {found.reviews} wait for a person")
    output.emit(data, "\n".join(lines))


@click.command("list", short_help="List the decisions that are kept.")
@gate_option
@click.option("--waiting/--delivered", default=None, help="Only those that wait, or that a sink has taken.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@click.pass_obj
def list_(output: Output, folder: Path, waiting: bool | None, limit: int) -> None:
    """List the decisions that are kept, the newest last. Role: privacy officer."""
    with as_officer(folder) as officer:
        found = officer.decisions(waiting=waiting, limit=limit, newest_first=True)[::-1]
    rows = []
    for queued in found:
        decision = queued.signed.decision
        what = decision.subject or ",".join(decision.reasons)
        sent = "waits" if queued.delivered is None else f"delivered {stamp(queued.delivered)}"
        rows.append((str(decision.sequence), decision.time, decision.kind, decision.outcome, what, sent, decision.id))
    head = ("number", "time", "kind", "outcome", "subject or reasons", "delivery", "id")
    data = [
        {
            "decision": queued.signed.decision.to_dict(),
            "jws": queued.signed.jws,
            "delivered": stamp(queued.delivered),
            "review": queued.review,
        }
        for queued in found
    ]
    output.emit({"decisions": data}, lambda: table(head, rows, "there is no such decision"))


@click.command(short_help="Deliver the decisions that wait.")
@gate_option
@click.option("--to", "target", required=True, metavar="URL|FILE|-", help="A webhook, a file of JSON lines, or stdout.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--follow", is_flag=True, help="Go on until SIGTERM or SIGINT: for a service.")
@click.option(
    "--poll", type=click.FloatRange(0.01, 3600), default=1.0, show_default=True, help="Seconds; with --follow."
)
@click.option("--attempts", type=click.IntRange(1, 100), default=3, show_default=True, help="Without --follow.")
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds a request.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    envvar=SECRET_FILE_VARIABLE,
    help=f"File (0600) of the webhook's secret. Also from {SECRET_FILE_VARIABLE}; the secret from {SECRET_VARIABLE}.",
)
@click.option("--client-certificate", type=click.Path(path_type=Path), help="PEM: this device's, for mutual TLS.")
@click.option("--client-key", type=click.Path(path_type=Path), help="PEM: its private key, 0600.")
@click.option(
    "--ca", type=click.Path(path_type=Path), help="PEM: who may vouch for the server [default: the system's]."
)
@click.option("--allow-loopback-http", is_flag=True, help="Allow http to this machine.")
@click.pass_obj
def deliver(
    output: Output,
    /,
    folder: Path,
    target: str,
    limit: int | None,
    follow: bool,
    poll: float,
    attempts: int,
    **webhook: Any,
) -> None:
    """Deliver the decisions that wait, the oldest first, each at least once; the receiver tells doubles by their id.

    Works beside a process that has the gate open, and needs neither credential nor sealing key: what is delivered is
    signed already. What the receiver does not take stays and is sent again, later and later.
    """
    if follow and limit is not None:
        raise click.UsageError("--follow has no end: it goes with no --limit")
    if target == "-" and getattr(output, "json", False):
        raise click.UsageError("--json and --to - would both write to the standard output")
    with _make_sink(target, webhook) as sink, _open(folder) as outbox:
        if follow:
            _follow(output, outbox, sink, poll)
            return
        report, delivered = _deliver(outbox, sink, limit, attempts)
    if report.error is not None:
        output.progress(f"{delivered} delivered, {report.waiting} wait")
        raise report.error
    text = "" if target == "-" else f"{delivered} delivered to {sink.name}, {report.waiting} wait"
    output.emit({"delivered": delivered, "waiting": report.waiting, "sink": sink.name}, text)


def _deliver(
    outbox: Outbox, sink: JsonLinesSink | WebhookSink, limit: int | None, attempts: int
) -> tuple[DeliveryReport, int]:
    """Deliver once, and again after a while if the sink fails; the last report, and how many were taken in all."""
    from facegate._sinks._backoff import Backoff  # noqa: PLC0415 - help must not wait

    backoff, delivered, failures = Backoff(), 0, 0
    while True:
        report = outbox.deliver(sink, limit=None if limit is None else limit - delivered)
        delivered += report.delivered
        failures = failures + 1 if not report.delivered else 1
        if report.error is None or isinstance(report.error, SinkClosedError) or failures >= attempts:
            return report, delivered
        time.sleep(backoff.next(report.error.retry_after))


def _follow(output: Output, outbox: Outbox, sink: JsonLinesSink | WebhookSink, poll: float) -> None:
    """Deliver in a thread until a signal comes. What is being sent then is sent to its end."""
    from facegate._delivery import Delivery  # noqa: PLC0415

    total = 0

    def tell(report: DeliveryReport) -> None:
        nonlocal total
        total += report.delivered
        if report.error is not None:
            output.progress(f"{report.error}; {report.waiting} wait")

    # Signals are waited for, not handled: a handler could come in the middle of a lock that it needs itself.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        with Delivery(outbox, sink, poll=poll, on_report=tell) as delivery:
            output.progress(f"delivering to {sink.name}")
            while signal.sigtimedwait(_STOP, 0.2) is None and not delivery.join(0):
                pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if delivery.failure is not None:
        raise delivery.failure
    if sink.name != "stream":
        output.emit({"delivered": total, "waiting": outbox.waiting(), "sink": sink.name}, f"{total} delivered")


def _make_sink(target: str, options: dict[str, Any]) -> JsonLinesSink | WebhookSink:
    if "://" not in target:
        from facegate._sinks._json_lines import JsonLinesSink  # noqa: PLC0415

        given = [name for name in ("client_certificate", "client_key", "ca", "allow_loopback_http") if options[name]]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} is for a webhook: --to https://...")
        if target == "-" and sys.stdout is None:
            raise SinkClosedError("there is no standard output")
        return JsonLinesSink(sys.stdout if target == "-" else target)
    from facegate._sinks._webhook import ClientCertificate, WebhookSink, load_webhook_secrets, parse_webhook_secrets  # noqa: PLC0415

    certificate, key = options["client_certificate"], options["client_key"]
    if (certificate is None) != (key is None):
        raise click.UsageError("--client-certificate and --client-key belong together")
    secrets: tuple[bytes, ...] = ()
    if options["secret_file"] is not None:
        secrets = load_webhook_secrets(options["secret_file"])
    elif os.environ.get(SECRET_VARIABLE):
        # Taken out: what this process starts shall not have it.
        secrets = parse_webhook_secrets(os.environ.pop(SECRET_VARIABLE), source=f"what {SECRET_VARIABLE} holds")
    try:
        return WebhookSink(
            target,
            secrets=secrets,
            client=None if certificate is None else ClientCertificate(certificate, key),
            ca=options["ca"],
            allow_loopback_http=options["allow_loopback_http"],
            timeout=options["timeout"],
        )
    except SinkSetupError as error:
        if not secrets and certificate is None:
            error.hint += f"; then name its file in --secret-file or {SECRET_FILE_VARIABLE}"
        raise


@contextlib.contextmanager
def _open(folder: Path, *, read_only: bool = False) -> Iterator[Outbox]:
    """The outbox alone: without models, the sealing key or the gate's lock."""
    from facegate._clock import SystemClock  # noqa: PLC0415
    from facegate._store._database import Database  # noqa: PLC0415
    from facegate._store._outbox import Outbox  # noqa: PLC0415
    from facegate_edge._keys import VerifyKey  # noqa: PLC0415

    key = VerifyKey.load(folder / PUBLIC)
    db = Database.open(folder / STORE, read_only=read_only, shared=not read_only)
    try:
        yield Outbox(db, SystemClock(), keys=key)
    finally:
        db.close()


def _last(moment: datetime | None) -> str:
    if moment is None:
        return ""
    ago = datetime.now(timezone.utc) - moment
    return f", the last {ago - timedelta(microseconds=ago.microseconds)} ago" if ago > timedelta(0) else ""
