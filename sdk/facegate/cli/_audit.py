"""`facegate audit`: what was done with a gate, and whether anybody has changed the record of it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate._gate_folder import PUBLIC, STORE
from facegate._store._audit_chain import read_head
from facegate._store._audit_verify import read_statement, verify_audit
from facegate.cli._session import as_officer, confirm, dry_run_option, gate_option, yes_option
from facegate.cli._tables import stamp, table
from facegate.errors import AuditError
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from facegate._store._audit_chain import AuditEntry
    from facegate._store._audit_verify import AuditReport
    from facegate_edge._output import Output

_MAX_HEAD = 16 * 1024
_DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.command(short_help="Show entries of the audit log.")
@gate_option
@click.option("--of", "reference", metavar="REFERENCE", help="Only those about this person, group or list.")
@click.option("--action", help="Only this action, e.g. person_erased.")
@click.option("--since", type=_DAY, help="Only those of this day (UTC) or later.")
@click.option("--before", type=_DAY, help="Only those of an earlier day (UTC).")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@click.pass_obj
def show(
    output: Output,
    folder: Path,
    reference: str | None,
    action: str | None,
    since: datetime | None,
    before: datetime | None,
    limit: int,
) -> None:
    """Show entries of the audit log, the newest last. Role: privacy officer."""
    with as_officer(folder) as officer:
        found = officer.audit_entries(
            reference=reference,
            action=action,
            since=_utc(since),
            before=_utc(before),
            limit=limit,
            newest_first=True,
        )[::-1]
    rows = [(str(e.number), stamp(e.time) or "", e.role, e.action, e.reference or "-", _details(e)) for e in found]
    head = ("entry", "time", "role", "action", "about", "details")
    output.emit({"entries": [_entry(e) for e in found]}, lambda: table(head, rows, "there is no such entry"))


@click.command(short_help="Check that nobody has changed the audit log.")
@click.option(
    "--gate",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FACEGATE_GATE",
    help="The gate's folder. Also from FACEGATE_GATE.",
)
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="A copy of a gate's gate.db instead.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="The device's public key [default: the one in the gate's folder]. Better one that was kept elsewhere.",
)
@click.option(
    "--head", type=click.Path(path_type=Path), help="An earlier head that was kept elsewhere, or - for stdin."
)
@click.pass_obj
def verify(output: Output, folder: Path | None, store: Path | None, key: Path | None, head: Path | None) -> None:
    """Check every entry of the audit log, its chain, its signed statements and its signed head.

    Finds any edit, deletion, insertion, exchange and truncation, and says where. Needs the device's public key only, no
    credential, and no gate that is closed: a copy of its gate.db does as well. That the whole file was put back to an
    older one shows only with --head: what `facegate audit head` gave earlier, kept where this device cannot write.
    Exits with 0 if nothing is wrong, else 1.
    """
    if store is None and folder is None:
        raise click.UsageError("say which log: --gate DIR, or --store FILE with --key KEY.pub")
    if store is not None and key is None:
        raise click.UsageError("a copy of a store needs the device's public key: --key KEY.pub")
    path = store if store is not None else _folder(folder) / STORE
    trust = TrustStore.load(key if key is not None else _folder(folder) / PUBLIC)
    report = verify_audit(path, trust, None if head is None else _read_head(head))
    output.emit(_report(report), lambda: _text(report))
    if not report.ok:
        click.get_current_context().exit(1)


@click.command(short_help="Print the signed head of the audit log.")
@gate_option
@click.pass_obj
def head(output: Output, folder: Path) -> None:
    """Print the head of the audit log as the device signed it. Needs no credential.

    It holds counts and hashes, nothing about anybody.

    Keep it where this device cannot write, e.g. every day: `facegate audit verify --head FILE` then notices if the
    whole gate was put back to an older state.
    """
    statement = read_statement(folder / STORE)
    found = read_head(statement, TrustStore.load(folder / PUBLIC))
    data = {"entries": found.entries, "hash": found.hash, "time": found.time, "head": statement}
    output.emit(data, statement)


@click.command(short_help="Remove old entries of the audit log.")
@gate_option
@click.option("--before", type=_DAY, required=True, help="Remove what is older than this day (UTC).")
@dry_run_option
@yes_option
@click.pass_obj
def purge(output: Output, folder: Path, before: datetime, dry_run: bool, yes: bool) -> None:
    """Remove entries that are older than a day, six months ago or earlier. Role: privacy officer.

    What is left can be verified as before. Retention does this by itself (setting audit_days).
    """
    moment = before.replace(tzinfo=timezone.utc)
    with as_officer(folder) as officer:
        count = officer.purge_audit(moment, dry_run=True)
        if count and not dry_run:
            confirm(output, f"Remove {count} entries that are older than {before:%Y-%m-%d}?", yes=yes)
            count = officer.purge_audit(moment)
    verb = "would be removed" if dry_run else "removed"
    output.emit({"entries": count, "dry_run": dry_run}, f"{count} entries {verb}")


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=timezone.utc)


def _folder(folder: Path | None) -> Path:
    if folder is None:
        raise click.UsageError("say which gate: --gate DIR")
    return folder


def _read_head(path: Path) -> str:
    """An earlier head, as `audit head` printed it, with --json or without."""
    try:
        with click.open_file(str(path), encoding="ascii") as file:
            text = file.read(_MAX_HEAD).strip()
    except (OSError, ValueError):
        raise AuditError(f"{path} holds no head of an audit log", hint="`facegate audit head` prints one") from None
    if text.startswith("{"):
        try:
            text = json.loads(text)["head"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = ""
    return text if isinstance(text, str) else ""


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "entry": entry.number,
        "time": stamp(entry.time),
        "role": entry.role,
        "action": entry.action,
        "reference": entry.reference,
        "details": dict(entry.details),
        "hash": entry.hash,
    }


def _details(entry: AuditEntry) -> str:
    return " ".join(f"{name}={value}" for name, value in entry.details.items() if value is not None)


def _report(report: AuditReport) -> dict[str, Any]:
    head = report.head
    return {
        "ok": report.ok,
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "head": None if head is None else {"entries": head.entries, "hash": head.hash, "time": head.time},
        "purged": None if head is None else head.purged,
        "earlier_head": report.compared,
        "problems": [{"kind": p.kind, "entry": p.entry, "last": p.last, "message": p.message} for p in report.problems],
        "more_problems": report.more,
    }


def _text(report: AuditReport) -> str:
    lines = [f"WRONG: {problem.message}" for problem in report.problems]
    if report.more:
        lines.append(f"and {report.more} more")
    if report.head is not None:
        purged = f", {report.head.purged} before them purged" if report.head.purged else ""
        lines.append(
            f"{report.entries} entries{purged}; head signed {report.head.time} over entry {report.head.entries}"
        )
    said = {
        "same": "the earlier head is the present one",
        "continued": "the log continues the earlier head",
        "purged": "what the earlier head was about has been purged since: it says nothing any more",
        "nothing": "no earlier head was given: an older copy of the whole file would not be noticed",
    }
    if report.compared in said:
        lines.append(said[report.compared])
    lines.append("the audit log is whole" if report.ok else "THE AUDIT LOG WAS CHANGED: keep a copy, find out who")
    return "\n".join(lines)
