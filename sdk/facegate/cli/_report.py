"""`facegate report`: that the gate was wrong, told to whoever makes the models; without a picture of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate.cli._session import as_reviewer, gate_option
from facegate.cli._tables import count, day, table

if TYPE_CHECKING:
    from facegate._feedback import ReportKind
    from facegate_edge._output import Output

# As `facegate._feedback` has them; imported from there they would bring the whole gate with them, for help.
KINDS = ("false_match", "false_non_match", "missed_spoof")
CONDITIONS = ("light", "distance", "movement", "covering", "camera", "attack")


@click.command(short_help="Report a false match, a false non-match or a missed spoof.")
@gate_option
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("decisions", nargs=-1, required=True, metavar="DECISION-ID...")
@click.option("--condition", "conditions", multiple=True, metavar="NAME=VALUE", help="What was the case; repeatable.")
@click.option("--note", help="One line; nobody's name.")
@click.pass_obj
def make(
    output: Output,
    folder: Path,
    kind: ReportKind,
    decisions: tuple[str, ...],
    conditions: tuple[str, ...],
    note: str | None,
) -> None:
    """Report decisions that were wrong. What is kept names no person and holds no picture. Role: reviewer.

    Conditions are light, distance, movement, covering, camera, attack; a wrong value says which there are.
    """
    named = dict(_pair(condition) for condition in conditions)
    with as_reviewer(folder) as reviewer:
        made = reviewer.report(kind, decisions, conditions=named, note=note)
    output.emit(made.to_dict(), f"{made.number}: {kind}, {count(len(decisions), 'decision')}")


@click.command("list", short_help="List the problem reports.")
@gate_option
@click.pass_obj
def list_(output: Output, folder: Path) -> None:
    """List the problem reports, the oldest first. Role: reviewer."""
    with as_reviewer(folder) as reviewer:
        reports = reviewer.reports()
    output.emit(
        {"reports": [report.to_dict() for report in reports]},
        lambda: table(
            ("number", "kind", "day", "decisions"),
            [(r.number, r.kind, day(r.time), str(len(r.content["decisions"]))) for r in reports],
            "there are no reports",
        ),
    )


@click.command(short_help="Write a report into a signed ZIP.")
@gate_option
@click.argument("number")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--attachment",
    type=click.Path(path_type=Path),
    help="A picture that shows what was wrong, only with the consent of whoever is in it; the gate keeps no copy.",
)
@click.pass_obj
def export(output: Output, folder: Path, number: str, target: Path, attachment: Path | None) -> None:
    """Write the report of that NUMBER into FILE, mode 0600. Role: reviewer."""
    with as_reviewer(folder) as reviewer:
        path = reviewer.export_report(number, target, attachment=attachment)
    output.emit({"number": number, "file": str(path), "attachment": attachment is not None}, f"wrote {path}")


def _pair(condition: str) -> tuple[str, str]:
    name, separator, value = condition.partition("=")
    if not separator or name not in CONDITIONS:
        raise click.UsageError(f"--condition {condition!r} is not NAME=VALUE with one of {', '.join(CONDITIONS)}")
    return name, value
