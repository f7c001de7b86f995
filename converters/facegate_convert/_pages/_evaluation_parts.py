"""The parts of an evaluation's page about groups of people, searches in galleries and attacks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._curves import Line, trade_off, visible
from facegate_convert._pages._groups import MOST_CELLS, MOST_GROUPS, marks_by_threshold, matrix, rates_by_group
from facegate_convert._pages._page import Cell, Mark, Status, Table
from facegate_convert._pages._parts import absent, carried, curve_table, left_out, measured, sentence
from facegate_convert._pages._text import (
    UNKNOWN,
    asked,
    clean,
    count,
    errors,
    factor,
    interval,
    mapping,
    number,
    numbers,
    plural,
    rate,
    rows,
    score,
    significant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._pages._page import Page

VERDICTS: dict[str, Status] = {"met": "good", "not met": "bad", "cannot be told": "warn"}
_MOST_LINES = 6


def add_groups(page: Page, result: Mapping[str, Any]) -> None:
    """A section for each attribute of people: rates by group, between groups, and whether they are alike enough."""
    columns = rows(result.get("groups"))
    if not columns:
        page.section("By group of people")
        page.missing("Groups.", absent(result.get("groups")) or "")
        page.text(
            "Without them nobody can say whether errors fall on some people more than on others: give the groups with"
            " --attributes."
        )
        return
    for column in columns:
        name = clean(column.get("column") or column.get("name") or "group")
        at = [f"threshold {score(column.get('threshold'))}"]
        at += [f"set for FMR {asked(column.get('fmr'))}"] if number(column.get("fmr")) else []
        page.section(
            f"By group: {name}",
            f"Everybody at one {', '.join(at)}, as on a device. Groups are what the data set states.",
        )
        why = absent(column) or (
            None if rows(column.get("groups")) else sentence(column.get("not_run")) or "Nobody has a group."
        )
        if why:
            page.missing("Rates by group.", why)
            continue
        _check(page, column)
        _rates(page, column)
        _curves(page, column)
        _cross(page, column)


def _ratios(column: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The ratios of worst to best group, by rate."""
    given = mapping(column.get("ratios"))
    return [(name, mapping(given[key])) for key, name in (("fmr", "FMR"), ("fnmr", "FNMR")) if mapping(given.get(key))]


def _check(page: Page, column: Mapping[str, Any]) -> None:
    made = []
    for name, ratio in _ratios(column):
        value, low, high = (number(ratio.get(k)) for k in ("value", "low", "high"))
        verdict = clean(ratio.get("verdict") or mapping(column.get("check")).get("verdict") or "cannot be told")
        shown = "the best has no error" if value is None else significant(value)
        ends = (f"{significant(low)} to {factor(high)}",) if low is not None else ()
        made.append(
            [
                name,
                Cell(shown, ends),
                Cell(f"{clean(ratio.get('worst') or UNKNOWN)} against {clean(ratio.get('best') or UNKNOWN)}"),
                Mark(VERDICTS.get(verdict, "none"), verdict),
                clean(ratio.get("why") or ""),
            ]
        )
    if not made:
        page.missing("Worst against best group.", "Fewer than two groups have comparisons.")
        return
    head = ("Rate", "Worst / best", "Groups", "At most 1.25", "Why")
    page.table(
        Table.of(
            head,
            made,
            "lrlll",
            "Differences between groups, by the rule of NIST SP 800-63-4 that none is more than 25 % worse",
        )
    )


def _rates(page: Page, column: Mapping[str, Any]) -> None:
    groups = rows(column.get("groups"))
    for key, name, axis in (
        ("fnmr", "FNMR by group", "False non-match rate (FNMR)"),
        ("fmr", "FMR by group", "False match rate (FMR), two people of the group"),
    ):
        given = [(clean(g.get("name")), mapping(g.get(key))) for g in groups]
        plot = rates_by_group(given, title=name, axis=axis)
        more = f" The first {MOST_GROUPS} of {len(given)} groups." if len(given) > MOST_GROUPS else ""
        if plot:
            page.plot(
                plot,
                "Points with their intervals; an open arrow: no error was seen, and the line ends at the rate that this"
                f" rules out.{more}",
            )
        else:
            page.missing(f"{name}.", "No group has such comparisons.")
    made = [
        [
            Cell(clean(g.get("name")), sentence(g.get("note"))),
            count(g.get("subjects")),
            measured(g.get("fmr")),
            measured(g.get("fnmr")),
        ]
        for g in groups
    ]
    page.table(Table.of(("Group", "People", "FMR", "FNMR"), made))
    left = column.get("unstated")
    if number(left):
        page.note(
            "warn",
            f"{plural(left, 'person has', 'people have')} no group and are in none of these figures.",
        )


def _curves(page: Page, column: Mapping[str, Any]) -> None:
    drawn = [
        Line.of(clean(g.get("name")), mapping(g.get("curve")))
        for g in rows(column.get("groups"))
        if mapping(g.get("curve"))
    ]
    if not drawn:
        page.missing("Error trade-off (DET) by group.", "It was not kept.")
        return
    plot = trade_off(drawn, title="Error trade-off (DET) by group")
    if plot:
        left = f" The first {_MOST_LINES} of {len(drawn)} groups." if len(drawn) > _MOST_LINES else ""
        bare = [line.name for line in drawn[:_MOST_LINES] if not visible(line)]
        if bare:
            left += f" Without a curve, for one of the two rates is zero at nearly every threshold: {', '.join(bare)}."
        page.plot(plot, f"Comparisons within each group.{left}", _curves_table(column))
    else:
        page.missing(
            "Error trade-off (DET) by group.", "No group carries a curve: one of its rates is zero throughout."
        )


def _curves_table(column: Mapping[str, Any]) -> Table:
    """Some points of every group's curve."""
    names = (("fmr", "FMR"), ("fnmr", "FNMR"))
    found = [
        (clean(g.get("name")), curve_table(mapping(g.get("curve")), names, 10)) for g in rows(column.get("groups"))
    ]
    made = [[name, *row] for name, table in found if table for row in table.rows]
    return Table.of(("Group", "Threshold", "FMR", "FNMR"), made)


def _cross(page: Page, column: Mapping[str, Any]) -> None:
    cross = column.get("cross")
    given = mapping(cross)
    names = [clean(n) for n in given["names"]] if isinstance(given.get("names"), list) else []
    cells = [row for row in given["fmr"] if isinstance(row, list)] if isinstance(given.get("fmr"), list) else []
    if not cells or len(cells) != len(names):
        page.missing("False matches between groups.", absent(cross) or "")
        return
    pairs = sorted(
        (
            (mapping(c), names[i], names[j])
            for i, row in enumerate(cells)
            for j, c in enumerate(row)
            if j <= i < len(names) and j < len(names) and number(mapping(c).get("trials"))
        ),
        key=lambda one: (-(number(one[0].get("value")) or 0), one[1], one[2]),
    )
    made = [[a if a == b else f"{a} with {b}", *_three(found)] for found, a, b in pairs]
    table = Table.of(("Pair of groups", "FMR", "Interval", "Counts"), made)
    plot = matrix(names, cells, title="False match rate between groups", axis="One person", other="The other person")
    if plot:
        page.plot(
            plot,
            "The stronger the shade, the more often taken for each other; on the diagonal, two people of one group.",
            table,
        )
        return
    if len(names) > MOST_CELLS:
        page.text(f"{len(names)} groups are too many for a picture; the table has all pairs.")
    page.table(table)


def _three(found: Mapping[str, Any]) -> list[str]:
    return [rate(found), interval(found) if number(found.get("value")) else UNKNOWN, errors(found)]


def add_open_set(page: Page, result: Mapping[str, Any]) -> None:
    """Searches for people who may not be in the gallery."""
    found = mapping(result.get("open_set"))
    page.section("Identification (1:N, open set)")
    if left_out(page, result.get("open_set"), "Searches."):
        return
    first = mapping(found.get("rank1"))
    page.facts(
        [
            ("Gallery", plural(found.get("gallery"), "person", "people")),
            ("Searches of people in it", _searches(found, "mated")),
            ("Searches of strangers", _searches(found, "nonmated")),
            *([("Right person first", f"{rate(first)} ({errors(first)})")] if first else []),
        ]
    )
    curve = mapping(found.get("curve"))
    points = rows(found.get("points"))
    line = Line.of("all", curve, "fpir", "fnir")
    crosses = [
        (f"FPIR {asked(p.get('fpir'))}", mapping(p.get("fpir_measured")), mapping(p.get("fnir")))
        for p in points
        if p.get("carried") is not False
    ]
    plot = trade_off(
        [line],
        crosses,
        title="Errors of searches",
        x_label="False positive identification rate (FPIR)",
        y_label="False negative identification rate (FNIR)",
        trials=number(found.get("nonmated")),
    )
    if plot:
        page.plot(
            plot,
            "FPIR: a stranger is taken for somebody. FNIR: somebody is not found.",
            curve_table(curve, (("fpir", "FPIR"), ("fnir", "FNIR"))),
        )
    else:
        page.missing(
            "Errors of searches, curve.",
            absent(found.get("curve")) or "At every threshold one of the two rates is zero.",
        )
    if not points:
        page.missing("Operating points of searches.", absent(found.get("points")) or "")
        return
    made = [
        [
            asked(p.get("fpir")),
            score(p.get("threshold")),
            measured(p.get("fpir_measured")),
            measured(p.get("fnir")),
            carried(p),
        ]
        for p in points
    ]
    page.table(Table.of(("FPIR asked", "Threshold", "FPIR measured", "FNIR", "Carried by the data"), made, "lrrrl"))


def _searches(found: Mapping[str, Any], kind: str) -> str:
    """How many, and for how many of them there was no template."""
    failed = number(found.get(f"failed_{kind}"))
    return count(found.get(kind)) + (f" ({count(failed)} without a template)" if failed else "")


def add_liveness(page: Page, result: Mapping[str, Any]) -> None:
    """Attacks by species, and live faces that were taken for attacks."""
    found = mapping(result.get("liveness"))
    page.section(
        "Presentation attacks", "Errors of the liveness check (ISO/IEC 30107-3), for each species of attack by itself."
    )
    if left_out(page, result.get("liveness"), "Liveness."):
        return
    species = rows(found.get("species"))
    worst = clean(found.get("worst") or "")
    bona_fide = mapping(found.get("bpcer"))
    made: list[list[Any]] = [["Live faces rejected (BPCER)", *_three(bona_fide)]]
    made += [
        [
            f"Accepted of {clean(s.get('name'))} (APCER){', the worst' if clean(s.get('name')) == worst else ''}",
            *_three(mapping(s.get("apcer"))),
        ]
        for s in species
    ]
    table = Table.of(
        ("Error", "Rate", "Interval", "Counts"),
        made,
        "lrrr",
        f"At the threshold {score(found.get('threshold'))}",
    )
    given = [
        ("live faces (BPCER)", bona_fide),
        *((f"{clean(s.get('name'))} (APCER)", mapping(s.get("apcer"))) for s in species),
    ]
    plot = rates_by_group(given, title="Errors of liveness", axis="Rate of errors")
    if plot:
        page.plot(plot, "Points with their intervals; an open arrow: no error was seen.", table)
    else:
        page.table(table)
    curve = mapping(found.get("curve"))
    x = numbers(curve.get("threshold"))
    by_species = mapping(curve.get("species"))
    lines = [("live faces (BPCER)", x, numbers(curve.get("bpcer")))]
    lines += [(f"{clean(name)} (APCER)", x, numbers(values)) for name, values in by_species.items()]
    if not by_species:
        lines.append(("worst species (APCER)", x, numbers(curve.get("apcer"))))
    kept = [(n, a, b) for n, a, b in lines if len(a) == len(b) and all(math.isfinite(v) for v in (*a, *b))]
    plot = marks_by_threshold(
        kept, title="Errors over the threshold", axis="Liveness score", threshold=number(found.get("threshold"))
    )
    if plot:
        more = f"The first {_MOST_LINES - 1} of {len(by_species)} species." if len(by_species) >= _MOST_LINES else ""
        page.plot(plot, more, curve_table(curve, (("bpcer", "BPCER"), ("apcer", "APCER, worst species"))))
    else:
        page.missing("Errors over the threshold.", absent(found.get("curve")) or "")
    _liveness_points(page, found)


def _liveness_points(page: Page, found: Mapping[str, Any]) -> None:
    """Thresholds for rates of accepted attacks."""
    made = [
        [
            asked(p.get("target")),
            score(p.get("threshold")),
            clean(p.get("worst") or UNKNOWN),
            measured(p.get("apcer")),
            measured(p.get("bpcer")),
            carried(p),
        ]
        for p in rows(found.get("points"))
    ]
    if made:
        head = ("APCER asked", "Threshold", "Worst species", "APCER", "BPCER", "Carried by the data")
        page.table(Table.of(head, made, "lrlrrl", "The lowest thresholds that keep attacks below a rate, as measured"))
