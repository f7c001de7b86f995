"""`facegate faces`: the faces of an enrolled person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facegate.cli._enrolled import report, with_duplicate_asked
from facegate.cli._pictures import photographs, pictures_argument
from facegate.cli._session import as_enroller, confirm, gate_option, yes_option
from facegate.cli._tables import day, stamp, table

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_edge._output import Output


@click.command("list", short_help="List a person's faces.")
@gate_option
@click.argument("reference")
@click.pass_obj
def list_(output: Output, folder: Path, reference: str) -> None:
    """List a person's faces by their numbers. There is no picture of any. Role: enroller."""
    with as_enroller(folder) as enroller:
        faces = enroller.faces(reference)
    output.emit(
        {
            "reference": reference,
            "faces": [{"face": f.id, "added": stamp(f.added_at), "current": f.current} for f in faces],
        },
        lambda: table(
            ("face", "added", "remarks"),
            [(str(f.id), day(f.added_at), "" if f.current else "of another bundle: enroll again") for f in faces],
            f"{reference} has no faces",
        ),
    )


@click.command(short_help="Add faces to an enrolled person.")
@gate_option
@click.argument("reference")
@pictures_argument
@click.option("--allow-duplicate", is_flag=True, help="Add them even if the same face is enrolled as somebody else.")
@click.pass_obj
def add(output: Output, folder: Path, reference: str, pictures: tuple[Path, ...], allow_duplicate: bool) -> None:
    """Add faces to an enrolled person, on the consent that is on record. Role: enroller."""
    files = photographs(pictures)
    with as_enroller(folder, models=True) as enroller:
        result = with_duplicate_asked(
            output,
            files,
            allow_duplicate,
            lambda frames, allow: enroller.add_face(reference, frames, allow_duplicate=allow),
        )
    report(output, result, files)


@click.command(short_help="Remove one face of a person.")
@gate_option
@click.argument("reference")
@click.argument("face", type=int)
@yes_option
@click.pass_obj
def remove(output: Output, folder: Path, reference: str, face: int, yes: bool) -> None:
    """Remove the FACE of that number, see `facegate faces list`. Role: enroller."""
    confirm(output, f"Remove face {face} of {reference}? This cannot be undone.", yes=yes)
    with as_enroller(folder) as enroller:
        enroller.remove_face(reference, face)
    output.emit({"reference": reference, "face": face}, f"removed face {face} of {reference}")
