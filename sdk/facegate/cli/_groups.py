"""`facegate groups`: groups of people, to identify within."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facegate.cli._session import as_enroller, confirm, dry_run_option, gate_option, yes_option
from facegate.cli._tables import count, table

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_edge._output import Output


@click.command("list", short_help="List the groups.")
@gate_option
@click.pass_obj
def list_(output: Output, folder: Path) -> None:
    """List the groups, with how many people are in each. Role: enroller."""
    with as_enroller(folder) as enroller:
        groups = enroller.groups()
    output.emit(
        {"groups": [{"name": group.name, "members": group.members} for group in groups]},
        lambda: table(("group", "people"), [(g.name, str(g.members)) for g in groups], "there are no groups"),
    )


@click.command(short_help="Make a group.")
@gate_option
@click.argument("name")
@click.pass_obj
def make(output: Output, folder: Path, name: str) -> None:
    """Make an empty group. Role: enroller."""
    with as_enroller(folder) as enroller:
        enroller.make_group(name)
    output.emit({"name": name}, f"made the group {name}")


@click.command(short_help="Delete a group; its people stay enrolled.")
@gate_option
@click.argument("name")
@yes_option
@dry_run_option
@click.pass_obj
def delete(output: Output, folder: Path, name: str, yes: bool, dry_run: bool) -> None:
    """Delete a group; its people stay enrolled. Role: enroller."""
    with as_enroller(folder) as enroller:
        members = len(enroller.members(name))
        who = count(members, "person", "people")
        data = {"name": name, "members": members, "dry_run": dry_run}
        if dry_run:
            output.emit(data, f"would delete the group {name} of {who}, who stay enrolled")
            return
        confirm(output, f"Delete the group {name} of {who}, who stay enrolled?", yes=yes)
        enroller.delete_group(name)
    output.emit(data, f"deleted the group {name}")


@click.command(short_help="List the people of a group.")
@gate_option
@click.argument("name")
@click.pass_obj
def members(output: Output, folder: Path, name: str) -> None:
    """List the people of a group, by reference. Role: enroller."""
    with as_enroller(folder) as enroller:
        people = enroller.members(name)
    output.emit({"name": name, "members": list(people)}, "\n".join(people) or f"nobody is in the group {name}")


@click.command(short_help="People join a group.")
@gate_option
@click.argument("name")
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@click.pass_obj
def join(output: Output, folder: Path, name: str, references: tuple[str, ...]) -> None:
    """The people of the REFERENCEs join the group. Role: enroller."""
    with as_enroller(folder) as enroller:
        for reference in references:
            enroller.join(name, reference)
    output.emit({"name": name, "joined": list(references)}, f"in the group {name}: {', '.join(references)}")


@click.command(short_help="People leave a group.")
@gate_option
@click.argument("name")
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@click.pass_obj
def leave(output: Output, folder: Path, name: str, references: tuple[str, ...]) -> None:
    """The people of the REFERENCEs leave the group. Role: enroller."""
    with as_enroller(folder) as enroller:
        for reference in references:
            enroller.leave(name, reference)
    output.emit({"name": name, "left": list(references)}, f"not in the group {name}: {', '.join(references)}")
