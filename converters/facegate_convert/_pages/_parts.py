"""What pages of evaluations and of conversions have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._page import Cell, Mark, Table
from facegate_convert._pages._text import (
    UNKNOWN,
    asked,
    clean,
    count,
    errors,
    interval,
    mapping,
    number,
    numbers,
    percent,
    powers,
    rate,
    rows,
    score,
    share,
    significant,
)

if TYPE_CHECKING:
    from facegate_convert._pages._distributions import Series
    from facegate_convert._pages._page import Page, Status

# Rows of a table behind a curve: enough to draw it again by hand.
_CURVE_ROWS = 25
NOT_MEASURED = "It was not measured."


def absent(value: Any) -> str | None:
    """Why a part of a result has nothing to show, or None if it has.

    Args:
        value: the part; {"not_run": why} says it itself.
    """
    if isinstance(value, Mapping) and value.get("not_run"):
        return sentence(value["not_run"])
    return NOT_MEASURED if value is None or value in ({}, [], ()) else None


def left_out(page: Page, value: Any, name: str) -> bool:
    """Say under its name why a part of a result is not shown, if it has nothing to show; whether that is so."""
    why = absent(value)
    if why:
        page.missing(name, why)
    return bool(why)


def sentence(text: object) -> str:
    """The text with a capital at its beginning and a stop at its end."""
    said = clean(text).strip()
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".") if said else ""


def listed(value: Any) -> list[str]:
    """The texts of a list; a text alone is a list of one."""
    if isinstance(value, str):
        return [value] if value else []
    return [clean(v) for v in value] if isinstance(value, Sequence) else []


def short(digest: object) -> str:
    """The first characters of a hash, which tell it from any other that a reader has."""
    return clean(digest)[:16] if digest else UNKNOWN


def measured(found: Any, confidence: bool = False) -> Cell:
    """A rate with its interval and counts below."""
    if not isinstance(found, Mapping) or not share(found):
        return Cell(UNKNOWN)
    known = [errors(found)] if number(found.get("trials")) is not None else []
    if number(found.get("value")) and number(found.get("low")) is not None:
        sure = number(found.get("confidence"))
        known.append((f"{percent(sure, 0, 100)}: " if confidence and sure else "") + interval(found))
    return Cell(rate(found), tuple(f"{k}," for k in known[:-1]) + tuple(known[-1:]))


def carried(point: Mapping[str, Any]) -> Mark:
    """Whether the data carries an operating point, and what limits it."""
    status: Status = "warn" if point.get("carried") is False else "good" if point.get("carried") else "none"
    return Mark(status, {"warn": "no", "good": "yes"}.get(status, "not said"), sentence(point.get("note")))


def curve_table(curve: Mapping[str, Any], names: Sequence[tuple[str, str]], most: int = _CURVE_ROWS) -> Table | None:
    """Some points of a curve, evenly chosen, with intervals where there are any.

    Args:
        curve: parallel lists; "threshold" comes first.
        names: keys of rates and what they are called.
        most: rows.
    """
    keys = [("threshold", "Threshold"), *names]
    lists = [numbers(curve.get(key)) for key, _ in keys]
    n = min((len(v) for v in lists), default=0)
    if not n:
        return None
    step = max(1, -(-n // most))
    made = []
    for at in range(0, n, step):
        row: list[Any] = [significant(lists[0][at])]
        for (key, _), values in zip(keys[1:], lists[1:], strict=True):
            ends = [numbers(curve.get(f"{key}_{end}")) for end in ("low", "high")]
            known = all(len(e) > at for e in ends)
            text = powers(values[at]) if values[at] < 0.01 else percent(values[at])  # noqa: PLR2004 - 1 %
            row.append(
                Cell(text, f"{percent(ends[0][at], 0, ends[0][at])} to {percent(ends[1][at], 0, ends[1][at])}")
                if known
                else text
            )
        made.append(row)
    return Table.of([name for _, name in keys], made, "r" * len(keys))


def _threshold(point: Mapping[str, Any]) -> Cell:
    """A threshold with the interval of the one that another sample would have given."""
    low, high = number(point.get("threshold_low")), number(point.get("threshold_high"))
    below = (f"{score(low)}\N{EN DASH}{score(high)}",) if low is not None and high is not None else ""
    return Cell(score(point.get("threshold")), below)


def bins_table(series: Sequence[tuple[str, Series]]) -> Table:
    """Counts of all bins that hold anything; totals only, if series are cut into different bins."""
    sound = [(name, s) for name, s in series if s.total > 0]
    edges = list(sound[0][1].edges) if sound else []
    if any(list(s.edges) != edges for _, s in sound):
        return Table.of(("Scores", "How many"), [[name, count(s.total)] for name, s in sound])
    made = [
        [significant(edges[i]), significant(edges[i + 1]), *(count(s.counts[i]) for _, s in sound)]
        for i in range(len(edges) - 1)
        if any(s.counts[i] for _, s in sound)
    ]
    return Table.of(("From", "To", *(name for name, _ in sound)), made, "r" * (len(sound) + 2))


def points_table(points: Any, with_failures: bool = False) -> Table:
    """Operating points: what was asked, the threshold, and what was measured at it."""
    head = ["FMR asked", "Threshold", "FMR measured", "FNMR", *(["FNMR with failures"] if with_failures else [])]
    made = []
    for point in rows(points):
        row: list[Any] = [asked(point.get("fmr")), _threshold(point)]
        row += [measured(point.get("fmr_measured")), measured(point.get("fnmr"))]
        row += [measured(point.get("fnmr_with_failures"))] if with_failures else []
        made.append([*row, carried(point)])
    return Table.of([*head, "Carried by the data"], made, "l" + "r" * (len(head) - 1) + "l")


def spots(points: Any) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Operating points for a plot: those that the data carries."""
    return [
        (f"FMR {asked(p.get('fmr'))}", mapping(p.get("fmr_measured")), mapping(p.get("fnmr")))
        for p in rows(points)
        if p.get("carried") is not False
    ]


def lines_at(points: Any) -> list[tuple[str, float]]:
    """Thresholds for a histogram: those that the data carries."""
    return [
        (f"FMR {asked(p.get('fmr'))}", t)
        for p in rows(points)
        if p.get("carried") is not False and (t := number(p.get("threshold"))) is not None
    ]


def add_warnings(page: Page, warnings: Any) -> None:
    """Warnings as remarks that stand out."""
    for text in listed(warnings):
        page.note("warn", sentence(text))
