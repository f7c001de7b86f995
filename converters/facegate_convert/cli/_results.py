"""`facegate evaluate report` and `facegate evaluate compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._evaluate import Evaluation
    from facegate_edge._output import Output

__all__ = ["compare", "report"]

_ANY = 1000  # times as bad: nothing is known


@click.command(short_help="Make the page of a result.")
@click.argument("result", type=FILE)
@click.option("-o", "--output", "target", type=FILE, help="HTML file [default: report.html in the result's folder].")
@click.option("--photographs", type=FILE, help="The dataset's folder: also show the worst pairs, in worst.html.")
@click.pass_obj
def report(output: Output, result: Path, target: Path | None, photographs: Path | None) -> None:
    """Write one self-contained HTML page about RESULT, a folder that `facegate evaluate run` wrote.

    It shows no photograph. --photographs makes a second page, of the pairs that went wrong most; it shows people.
    """
    from facegate_convert import _evaluate as room  # noqa: PLC0415 - see the module
    from facegate_convert._files import write_file  # noqa: PLC0415
    from facegate_convert._pages import evaluation_page  # noqa: PLC0415

    evaluation = room.load_evaluation(result)
    path = target or (result if result.is_dir() else result.parent) / "report.html"
    # Scores' distributions and ids of photographs are in it: it is the evaluator's to pass on.
    write_file(path, [evaluation_page(evaluation.to_dict()).encode()], mode=0o600)
    worst = None
    if photographs is not None:
        folder = result if result.is_dir() else result.parent
        page = room.worst_page(evaluation, room.load_manifest(folder / room.MANIFEST), photographs)
        worst = path.with_name("worst.html")
        write_file(worst, [page.encode()], mode=0o600)
    data = {"file": str(path), "size": path.stat().st_size, "worst": None if worst is None else str(worst)}
    output.emit(data, f"wrote {path}" + (f" and {worst}, which shows people" if worst is not None else ""))


@click.command(short_help="Put two results side by side.")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.pass_obj
def compare(output: Output, first: Path, second: Path) -> None:
    """Put the figures of two results side by side, e.g. of a cloud model and a bundle on the same photographs.

    Exit code 1: the two are not of the same comparisons, so their difference says little.
    """
    from facegate_convert import _evaluate as room  # noqa: PLC0415 - see the module

    one, other = room.load_evaluation(first), room.load_evaluation(second)
    found = room.compare(one, other)
    output.emit(found, lambda: _describe(found, one, other))
    if not found["same_dataset"]:
        click.get_current_context().exit(1)


def _describe(found: dict[str, Any], one: Evaluation, other: Evaluation) -> str:
    head = ("", one.source["name"], other.source["name"], "difference")
    rows = [
        (row["figure"], *(_interval(row[side]) for side in ("first", "second")), _number(row["difference"]))
        for row in found["figures"]
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([*(line.rstrip() for line in lines), *(f"note: {note}" for note in found["notes"])])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.5f}"


def _interval(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    if found["low"] is None:
        return f"{found['value']:.5f}"
    if found["high"] is None or found["high"] > _ANY:
        return f"{found['value']:.5f} ({found['low']:.5f}..any)"
    return f"{found['value']:.5f} ({found['low']:.5f}..{found['high']:.5f})"
