"""What came of pictures that were enrolled, told alike by all commands that enroll some."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facegate.cli._pictures import load
from facegate.cli._session import is_scripted
from facegate.cli._tables import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from facegate._enrollment import EnrollResult
    from facegate_edge._output import Output
    from facegate_edge._values import Frame

__all__ = ["report", "with_duplicate_asked"]


def with_duplicate_asked(
    output: Output,
    files: Sequence[Path],
    allow: bool,
    enroll: Callable[[Sequence[Frame], bool], EnrollResult],
) -> EnrollResult:
    """Enroll the files; if the face is another's already, and somebody is at the terminal, ask whether all the same."""
    result = enroll(load(files), allow)
    if result.duplicate_of is None or result.enrolled or is_scripted(output):
        return result
    output.progress(f"the same face is enrolled as {result.duplicate_of}")
    if not click.confirm(f"Enroll it as {result.reference} all the same?", default=False, err=True):
        return result
    return enroll(load(files), True)


def report(output: Output, result: EnrollResult, files: Sequence[Path]) -> None:
    """Tell what was used and what not; exit with 1 if nothing was."""
    for file, reason in zip(files, result.frames, strict=True):
        if reason is not None:
            output.progress(f"{file}: not used: {reason}")
    if result.enrolled:
        text = f"{result.reference}: {count(result.added, 'face')} added, {result.faces} in all"
        if result.duplicate_of is not None:
            text += f"; the same face is enrolled as {result.duplicate_of}"
    elif result.duplicate_of is not None:
        text = f"{result.reference} is not enrolled: the same face is enrolled as {result.duplicate_of}"
    else:
        text = f"{result.reference} is not enrolled: no picture could be used"
    output.emit(
        {
            "reference": result.reference,
            "enrolled": result.enrolled,
            "added": result.added,
            "faces": result.faces,
            "duplicate_of": result.duplicate_of,
            "pictures": [{"file": str(f), "reason": r} for f, r in zip(files, result.frames, strict=True)],
        },
        text,
    )
    if not result.enrolled:
        click.get_current_context().exit(1)
