"""`facegate review`: what the gate leaves to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from facegate.cli._session import as_reviewer, gate_option
from facegate.cli._tables import table

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from facegate_edge._output import Output


@click.command(short_help="List the decisions that wait for a person.")
@gate_option
@click.pass_obj
def queue(output: Output, folder: Path) -> None:
    """List the decisions that wait for a verdict, the oldest first. Role: reviewer."""
    with as_reviewer(folder) as reviewer:
        waiting = reviewer.queue()
    output.emit(
        {
            "queue": [
                {"decision": q.decision.to_dict(), "about": q.about, "waiting_seconds": int(q.waiting.total_seconds())}
                for q in waiting
            ]
        },
        lambda: table(
            ("decision", "time", "about", "reasons", "waiting"),
            [
                (q.decision.id, q.decision.time, q.about or "-", ", ".join(q.decision.reasons), _long(q.waiting))
                for q in waiting
            ],
            "nothing waits for a verdict",
        ),
    )


@click.command(short_help="Give the verdict on a decision.")
@gate_option
@click.argument("decision", metavar="DECISION-ID")
@click.argument("outcome", type=click.Choice(["match", "no_match"]))
@click.option("--reviewer", "label", required=True, help="Who gives it, a reference; it stays in the audit log.")
@click.option("--subject", metavar="REFERENCE", help="Who it is [default: whom the gate would have named].")
@click.pass_obj
def verdict(
    output: Output,
    folder: Path,
    decision: str,
    outcome: Literal["match", "no_match"],
    label: str,
    subject: str | None,
) -> None:
    """Give the verdict: a new signed decision, which refers to the first and goes its way. Role: reviewer."""
    with as_reviewer(folder) as reviewer:
        signed = reviewer.verdict(decision, outcome, reviewer=label, subject=subject)
    made = signed.decision
    output.emit(
        {"decision": made.to_dict(), "jws": signed.jws},
        f"{made.id}: {made.outcome} {made.subject or ''}".rstrip() + f", refers to {decision}",
    )


def _long(waiting: timedelta) -> str:
    minutes = int(waiting.total_seconds()) // 60
    return f"{minutes // 1440} d" if minutes >= 1440 else f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004
