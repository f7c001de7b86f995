"""`facegate lists`: faces without people, to find similar ones among."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate.cli._consent_options import ConsentOptions, consent_options
from facegate.cli._enrolled import report
from facegate.cli._pictures import load, load_picture, photographs, pictures_argument
from facegate.cli._session import as_enroller, as_recognizer, confirm, dry_run_option, gate_option, yes_option
from facegate.cli._tables import count, day, stamp, table

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command("list", short_help="List the face lists.")
@gate_option
@click.pass_obj
def list_(output: Output, folder: Path) -> None:
    """List the face lists, with how many faces are in each. Role: enroller."""
    with as_enroller(folder) as enroller:
        lists = enroller.lists()
    output.emit(
        {"lists": [{"name": each.name, "faces": each.faces} for each in lists]},
        lambda: table(("list", "faces"), [(e.name, str(e.faces)) for e in lists], "there are no lists"),
    )


@click.command(short_help="List the faces of a list.")
@gate_option
@click.argument("name")
@click.pass_obj
def show(output: Output, folder: Path, name: str) -> None:
    """List the faces of a list by their numbers. There is no picture of any. Role: enroller."""
    with as_enroller(folder) as enroller:
        faces = enroller.list_faces(name)
    output.emit(
        {"name": name, "faces": [{"face": f.id, "added": stamp(f.added_at), "current": f.current} for f in faces]},
        lambda: table(
            ("face", "added", "remarks"),
            [(str(f.id), day(f.added_at), "" if f.current else "of another bundle: add again") for f in faces],
            f"the list {name} is empty",
        ),
    )


@click.command(short_help="Make a list.")
@gate_option
@click.argument("name")
@click.pass_obj
def make(output: Output, folder: Path, name: str) -> None:
    """Make an empty list. Role: enroller."""
    with as_enroller(folder) as enroller:
        enroller.make_list(name)
    output.emit({"name": name}, f"made the list {name}")


@click.command(short_help="Delete a list and its faces.")
@gate_option
@click.argument("name")
@yes_option
@dry_run_option
@click.pass_obj
def delete(output: Output, folder: Path, name: str, yes: bool, dry_run: bool) -> None:
    """Delete a list and its faces. Role: enroller."""
    with as_enroller(folder) as enroller:
        faces = len(enroller.list_faces(name))
        what = count(faces, "face")
        data = {"name": name, "faces": faces, "dry_run": dry_run}
        if dry_run:
            output.emit(data, f"would delete the list {name} and its {what}")
            return
        confirm(output, f"Delete the list {name} and its {what}? This cannot be undone.", yes=yes)
        enroller.delete_list(name)
    output.emit(data, f"deleted the list {name} and its {what}")


@click.command(short_help="Add the faces of pictures to a list, with consent.")
@gate_option
@click.argument("name")
@pictures_argument
@consent_options
@click.option("--minor/--adult", default=None, help="Whether a minor is in the pictures [default: not asked].")
@click.pass_obj
def add(
    output: Output,
    folder: Path,
    name: str,
    pictures: tuple[Path, ...],
    consent: ConsentOptions,
    minor: bool | None,
) -> None:
    """Add the faces of PICTUREs to a list. Role: enroller.

    The consent is checked, and what was agreed to is in the audit log: a list has no people to keep a record of.
    """
    record, files = consent.record(folder), photographs(pictures)
    with as_enroller(folder, models=True) as enroller:
        result = enroller.add_to_list(name, load(files), record, minor=minor)
    report(output, result, files)


@click.command(short_help="Remove one face of a list.")
@gate_option
@click.argument("name")
@click.argument("face", type=int)
@yes_option
@click.pass_obj
def remove(output: Output, folder: Path, name: str, face: int, yes: bool) -> None:
    """Remove the FACE of that number, see `facegate lists show`. Role: enroller."""
    confirm(output, f"Remove face {face} of the list {name}? This cannot be undone.", yes=yes)
    with as_enroller(folder) as enroller:
        enroller.remove_from_list(name, face)
    output.emit({"name": name, "face": face}, f"removed face {face} of the list {name}")


@click.command(short_help="Find the faces of a list that are similar to a picture's.")
@gate_option
@click.argument("name")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("-k", default=5, show_default=True, help="At most so many.")
@click.pass_obj
def similar(output: Output, folder: Path, name: str, picture: Path, k: int) -> None:
    """Find the faces of a list that are similar to the PICTURE's, the most similar first. Role: recognizer.

    Exits with 1 if there is none.
    """
    with as_recognizer(folder) as recognizer:
        found = recognizer.find_similar(load_picture(picture), name, k)
    output.emit({"name": name, "faces": list(found)}, "\n".join(map(str, found)) or "no face is similar")
    if not found:
        click.get_current_context().exit(1)
