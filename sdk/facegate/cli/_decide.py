"""`facegate verify`, `identify`, `candidates`, `cluster`: what a gate says to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate.cli._pictures import load_picture, photographs, pictures_argument
from facegate.cli._session import as_recognizer, gate_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate._decision import SignedDecision
    from facegate._recognizer import Recognizer
    from facegate_edge._output import Output
    from facegate_edge._values import Frame

_GROUPS = click.option("--group", "groups", multiple=True, help="Compare with the people of this group; repeatable.")


@click.command(short_help="Decide whether pictures show a certain person (1:1).")
@gate_option
@click.argument("reference")
@pictures_argument
@click.pass_obj
def verify(output: Output, folder: Path, reference: str, pictures: tuple[Path, ...]) -> None:
    """Decide for each PICTURE whether it shows the person of that REFERENCE. Role: recognizer.

    Every decision counts as any other of the gate: signed, numbered, in the outbox and the audit log. Exits with 0 if
    all are matches, else with 1.
    """
    _decide(output, folder, pictures, lambda recognizer, frame: recognizer.verify(reference, frame))


@click.command(short_help="Decide whom pictures show (1:N).")
@gate_option
@pictures_argument
@_GROUPS
@click.pass_obj
def identify(output: Output, folder: Path, pictures: tuple[Path, ...], groups: tuple[str, ...]) -> None:
    """Decide for each PICTURE whether it shows an enrolled person, and whom. Role: recognizer.

    Every decision counts as any other of the gate: signed, numbered, in the outbox and the audit log. Exits with 0 if
    all are matches, else with 1.
    """
    _decide(output, folder, pictures, lambda recognizer, frame: recognizer.identify(frame, groups=groups or None))


@click.command(short_help="List the people whom a picture could show.")
@gate_option
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("-k", default=5, show_default=True, help="At most so many.")
@_GROUPS
@click.pass_obj
def candidates(output: Output, folder: Path, picture: Path, k: int, groups: tuple[str, ...]) -> None:
    """List the people above the threshold, the most similar first: for use within the device. Role: recognizer.

    Exits with 1 if there is none.
    """
    with as_recognizer(folder) as recognizer:
        people = recognizer.candidates(load_picture(picture), k, groups=groups or None)
    output.emit({"candidates": list(people)}, "\n".join(people) or "nobody")
    if not people:
        click.get_current_context().exit(1)


@click.command(short_help="Sort the faces of pictures by person, knowing nobody.")
@gate_option
@pictures_argument
@click.pass_obj
def cluster(output: Output, folder: Path, pictures: tuple[Path, ...]) -> None:
    """Sort the faces of PICTUREs into those of one person each; nothing is kept. Role: recognizer.

    A face is named by its picture and its number in it.
    """
    files = photographs(pictures)
    with as_recognizer(folder) as recognizer:
        names: dict[str, str] = {}
        for file in files:
            for number, face in enumerate(recognizer.detect(load_picture(file)), 1):
                names[face.id] = f"{file}:{number}"
        people = [[names[face] for face in ids] for ids in recognizer.group(list(names))]
    output.emit({"people": people}, lambda: "\n".join(", ".join(faces) for faces in people) or "there is no face")


def _decide(
    output: Output,
    folder: Path,
    pictures: tuple[Path, ...],
    decide: Callable[[Recognizer, Frame], SignedDecision],
) -> None:
    files = photographs(pictures)
    with as_recognizer(folder) as recognizer:
        # One at a time: a folder may hold more pictures than there is memory. What is decided stays decided.
        decisions = [decide(recognizer, load_picture(file)) for file in files]
    output.emit(
        {
            "decisions": [
                {"file": str(file), "decision": signed.decision.to_dict(), "jws": signed.jws}
                for file, signed in zip(files, decisions, strict=True)
            ]
        },
        lambda: "\n".join(_line(file, signed) for file, signed in zip(files, decisions, strict=True)),
    )
    if any(signed.decision.outcome != "match" for signed in decisions):
        click.get_current_context().exit(1)


def _line(file: Path, signed: SignedDecision) -> str:
    decision = signed.decision
    return f"{file}: {decision.outcome} {decision.subject or ', '.join(decision.reasons)}"
