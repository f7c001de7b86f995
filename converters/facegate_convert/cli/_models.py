"""`facegate models list|show|pull|verify`: upstream models, and how to get them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._catalogue import Entry
    from facegate_edge._output import Output

__all__ = ["list_", "pull", "show", "verify"]

ACCEPTED = "FACEGATE_ACCEPT_LICENCES"
_CHECKED = {
    "bytes": "the file was at hand when the entry was written",
    "pointer": "the repository's own Git LFS pointer at that commit states it",
    "published": "others publish it; the file was not at hand when the entry was written",
}


def _catalogue(function: Any) -> Any:
    return click.option("--catalogue", type=FILE, help="Another catalogue (JSON), e.g. of your own mirror.")(function)


def _name(ctx: click.Context, _param: click.Parameter, value: str) -> str:
    return value if ctx.resilient_parsing else value.lower()


def _complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from facegate_convert._catalogue import catalogue  # noqa: PLC0415 - see the package

    return [name for name in catalogue(ctx.params.get("catalogue")) if name.startswith(incomplete)]


@click.command(short_help="List the upstream models that the catalogue knows.")
@click.option("--role", type=click.Choice(("detector", "recognizer", "liveness")), help="Only these.")
@click.option("--commercial", is_flag=True, help="Only those whose licence allows commercial use.")
@_catalogue
@click.pass_obj
def list_(output: Output, role: str | None, commercial: bool, catalogue: Path | None) -> None:
    """List the upstream models that the catalogue knows. None of them is part of Facegate."""
    from facegate_convert._catalogue import catalogue as load  # noqa: PLC0415 - see the package

    entries = [
        entry
        for entry in load(catalogue).values()
        if (role is None or entry.role == role) and (not commercial or entry.commercial_use == "yes")
    ]
    output.emit({"models": [entry.to_dict() for entry in entries]}, lambda: _table(entries))


@click.command(short_help="Show what is known about an upstream model.")
@click.argument("name", callback=_name, shell_complete=_complete)
@_catalogue
@click.pass_obj
def show(output: Output, name: str, catalogue: Path | None) -> None:
    """Show what is known about the upstream model NAME: where it is, its licence, what its publishers say of it."""
    from facegate_convert._catalogue import catalogue as load  # noqa: PLC0415 - see the package
    from facegate_convert._catalogue import find  # noqa: PLC0415

    entry = find(load(catalogue), name)
    output.emit(entry.to_dict() | {"command": entry.command(entry.file)}, lambda: _describe(entry))


@click.command(short_help="Fetch upstream models, and check that they are what they should be.")
@click.argument("names", nargs=-1, required=True, callback=lambda c, p, v: tuple(_name(c, p, n) for n in v),
                shell_complete=_complete)  # fmt: skip
@click.option(
    "-o", "--output", "folder", type=FILE, default=Path("models"), show_default=True, help="Folder to put it."
)
@click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="ID",
    help=f"A licence that you have read and accept (repeatable). [env var: {ACCEPTED}, with commas between]",
)
@click.option("--from", "source", help="A folder that holds the files, or the https address of a mirror.")
@click.option("--ca", type=FILE, help="PEM file of the authorities that may vouch for the server.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch nothing.")
@_catalogue
@click.pass_obj
def pull(output: Output, /, **given: Any) -> None:
    """Fetch the upstream models NAMES into a folder. A transfer that broke off is taken up where it ended.

    What comes must have the catalogue's size and sha256, from wherever it comes. A proxy is taken from the environment
    (HTTPS_PROXY, NO_PROXY).
    """
    from facegate_convert._catalogue import catalogue as load  # noqa: PLC0415 - see the package
    from facegate_convert._catalogue import find  # noqa: PLC0415
    from facegate_convert._catalogue import pull as fetch  # noqa: PLC0415

    entries = load(given["catalogue"])
    wanted = [find(entries, name) for name in dict.fromkeys(given["names"])]
    accepted = {*given["accepted"], *filter(None, os.environ.get(ACCEPTED, "").split(","))}
    accepted = {name.strip().lower() for name in accepted}
    folder: Path = given["folder"]
    if given["dry_run"]:
        lines = [
            f"would fetch {e.name}, {e.size:,} bytes, {e.licence.title}"
            + ("" if e.licence.id in accepted else f" (not accepted: --accept-licence {e.licence.id})")
            for e in wanted
        ]
        data = [{"name": e.name, "size": e.size, "accepted": e.licence.id in accepted} for e in wanted]
        output.emit({"models": data}, "\n".join(lines))
        return
    lines, data = [], []
    with progress_bar(output) as progress:
        for entry in wanted:

            def tell(done: int, total: int, name: str = entry.name) -> None:
                progress(f"fetching {name}", done, total)

            got = fetch(entry, folder, accepted=accepted, source=given["source"], ca=given["ca"], progress=tell)
            command = entry.command(got.path)
            data.append({"name": entry.name, "file": str(got.path), "fetched": got.fetched, "command": command})
            was = "was there already" if not got.fetched else f"{got.fetched:,} bytes"
            lines += [f"{got.path}: {entry.name}, {was}, sha256 as it should be", f"  next: {shlex.join(command)}"]
    output.emit({"models": data}, "\n".join(lines))


@click.command(short_help="Say which upstream model a file is, by its hash.")
@click.argument("files", type=FILE, nargs=-1, required=True)
@_catalogue
@click.pass_obj
def verify(output: Output, files: tuple[Path, ...], catalogue: Path | None) -> None:
    """Say which upstream model each of FILES is, by its hash. Exit code 1 if one is none that the catalogue knows."""
    from facegate_convert._catalogue import catalogue as load  # noqa: PLC0415 - see the package
    from facegate_convert._catalogue import identify  # noqa: PLC0415
    from facegate_convert._catalogue._pull import sha256_of  # noqa: PLC0415
    from facegate_convert.errors import ModelFileError  # noqa: PLC0415

    entries = load(catalogue)
    data, lines = [], []
    for path in files:
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror}", hint="check the name") from error
        entry = identify(entries, digest)
        data.append({"file": str(path), "sha256": digest, "name": entry.name if entry else None})
        lines.append(f"{path}: {entry.name} ({entry.title})" if entry else f"{path}: no model of the catalogue")
    output.emit({"files": data}, "\n".join(lines))
    if not all(item["name"] for item in data):
        click.get_current_context().exit(1)


def _table(entries: Sequence[Entry]) -> str:
    head = ("NAME", "ROLE", "INPUT", "SIZE", "LICENCE", "COMMERCIAL")
    rows = [(e.name, e.role, e.input, f"{e.size / 1e6:.1f} MB", e.licence.id, e.commercial_use) for e in entries]
    if not rows:
        return "no such models"
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )


def _describe(entry: Entry) -> str:
    facts = {
        "role": f"{entry.role}, family {entry.family}",
        "licence": f"{entry.licence.title} ({entry.licence.id})",
        "": entry.licence.url,
        "commercial use": entry.commercial_use,
        "file": f"{entry.file}, {entry.size:,} bytes",
        "sha256": entry.sha256,
        " ": _CHECKED[entry.checked],
        "source": f"{entry.repository}, {entry.pinned}",
        "  ": entry.url,
        "input": f"{entry.input}, {entry.preprocessing['color']}, {entry.preprocessing['normalization']}",
        "trained on": entry.trained_on,
    }
    lines = [f"{entry.name}: {entry.title}", *(f"  {name:<15} {text}" for name, text in facts.items())]
    if entry.accuracy:
        lines.append("  published figures, not measured by this project:")
        lines += [f"    {a.dataset}: {a.metric} {a.value:.4f}" for a in entry.accuracy]
        lines += [f"    from {source}" for source in dict.fromkeys(a.source for a in entry.accuracy)]
    else:
        lines.append("  no figures are published")
    if entry.notes:
        lines.append(f"  note: {entry.notes}")
    return "\n".join([*lines, f"  convert: {shlex.join(entry.command(entry.file))}"])
