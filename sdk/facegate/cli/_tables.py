"""Rows as aligned text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["count", "day", "stamp", "table"]


def table(head: tuple[str, ...], rows: Sequence[Sequence[str]], empty: str) -> str:
    """The rows under their head, or the sentence `empty` if there are none."""
    if not rows:
        return empty
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def count(number: int, word: str, words: str = "") -> str:
    """A number of things: 1 face, 2 faces; `words` where that is no added s."""
    return f"{number} {word if number == 1 else words or word + 's'}"


def stamp(moment: datetime | None) -> str | None:
    """A time as JSON has it: RFC 3339, UTC, or None."""
    from facegate._decision import format_time  # noqa: PLC0415 - little for tables without times

    return None if moment is None else format_time(moment)


def day(moment: datetime | None) -> str:
    """A time for people: its day, or a dash."""
    return "-" if moment is None else f"{moment:%Y-%m-%d}"
