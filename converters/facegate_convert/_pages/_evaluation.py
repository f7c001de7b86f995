"""The page of an evaluation: how well people are told apart, for whom, at which threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facegate_convert._pages._curves import Line, roc, trade_off
from facegate_convert._pages._distributions import Series, histogram
from facegate_convert._pages._evaluation_data import add_about, add_failures, add_worst
from facegate_convert._pages._evaluation_parts import VERDICTS, add_groups, add_liveness, add_open_set
from facegate_convert._pages._page import Mark, Page, Table
from facegate_convert._pages._parts import (
    absent,
    add_warnings,
    bins_table,
    curve_table,
    left_out,
    lines_at,
    measured,
    points_table,
    spots,
)
from facegate_convert._pages._text import (
    UNKNOWN,
    asked,
    between,
    clean,
    count,
    errors,
    factor,
    interval,
    mapping,
    number,
    numbers,
    percent,
    plural,
    rate,
    rows,
    score,
    significant,
)


def evaluation_page(result: Mapping[str, Any]) -> str:
    """An evaluation's result as one HTML page.

    Args:
        result: the result's JSON; what is missing in it is said on the page.

    Returns:
        The page, self-contained; the same result gives the same page.
    """
    source, dataset = mapping(result.get("source")), mapping(result.get("dataset"))
    amount = _amount(result)
    page = Page(
        clean(source.get("name") or "An evaluation"),
        f"evaluated on {clean(dataset.get('name') or 'a data set without a name')}: {amount}",
        "Evaluation",
    )
    _verdict(page, result)
    _glance(page, result)
    _scores(page, result)
    _points(page, result)
    _folds(page, result)
    add_groups(page, result)
    add_open_set(page, result)
    add_liveness(page, result)
    add_failures(page, result)
    add_worst(page, result)
    add_about(page, result, amount)
    page.footer(
        "Intervals are those of 95 % where nothing else is said. A rate without an error is given as the highest that"
        " its interval reaches.",
        "Identifiers are those of the data set; the page holds no picture of a person, and groups are what the data set"
        " states: none was inferred from a picture.",
    )
    return page.to_html()


def _amount(result: Mapping[str, Any]) -> str:
    dataset, compared = mapping(result.get("dataset")), mapping(result.get("comparisons"))
    parts = [
        plural(value, one, many)
        for value, one, many in (
            (dataset.get("images"), "image", "images"),
            (dataset.get("identities"), "person", "people"),
            (compared.get("genuine"), "genuine comparison", "genuine comparisons"),
            (compared.get("impostor"), "impostor comparison", "impostor comparisons"),
        )
        if number(value) is not None
    ]
    return ", ".join(parts) or "amount not said"


def _verdict(page: Page, result: Mapping[str, Any]) -> None:
    checks = rows(result.get("checks"))
    if not checks:
        return
    met = [c.get("met") for c in checks]
    made = [_check(c) for c in checks]
    if all(m is True for m in met):
        page.verdict("good", "The requirement is met" if len(checks) == 1 else "Every requirement is met", made)
    else:
        page.verdict("bad", f"{len(met) - met.count(True)} of {plural(len(checks), 'requirement')} not met", made)


def _check(check: Mapping[str, Any]) -> str:
    """One requirement in a line: what was asked, whether it is met, and what was measured."""
    asked = clean(check.get("require") or "?")
    value, low, high = (check.get(k) for k in ("measured", "low", "high"))
    if number(value) is None:
        said = "not measured"
    elif asked.startswith("group-ratio"):
        said = f"measured {significant(value)} ({significant(low)} to {factor(high)})"
    else:
        said = f"measured {percent(value, low, high)} ({between(low, high)})"
    strict = "; judged by the worse end of the interval" if check.get("strict") else ""
    note = f"; {clean(check['note'])}" if check.get("note") else ""
    return f"{asked} is {'met' if check.get('met') is True else 'not met'}: {said}{strict}{note}"


def _glance(page: Page, result: Mapping[str, Any]) -> None:
    summary, failures = mapping(result.get("summary")), mapping(result.get("failures"))
    cells: list[tuple[str, str, str | tuple[str, ...]]] = []
    for point in [p for p in rows(result.get("operating_points")) if p.get("carried") is not False][-2:]:
        of = mapping(point.get("fnmr"))
        cells.append((f"FNMR at FMR {asked(point.get('fmr'))}", rate(of), (f"{errors(of)},", interval(of))))
    equal = summary.get("eer")
    if equal is not None:
        of = equal if isinstance(equal, Mapping) else {"value": equal}
        known = number(of.get("low")) is not None
        cells.append(
            ("Equal error rate", percent(of.get("value"), of.get("low"), of.get("high")), interval(of) if known else "")
        )
    folds = mapping(result.get("folds"))
    if number(folds.get("mean")) is not None:
        cells.append(
            (
                f"Accuracy, {len(rows(folds.get('folds')))} folds",
                _exactly(folds["mean"]),
                f"standard deviation {_exactly(folds.get('std'))}",
            )
        )
    detect = mapping(failures.get("detect"))
    if detect:
        cells.append(("Failure to detect", rate(detect), errors(detect)))
    page.section("At a glance")
    if cells:
        page.figures(cells)
    else:
        page.missing("No figures.", "Nothing in this result was measured.")
    add_warnings(page, result.get("warnings"))


def _scores(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Similarities", "Comparisons of the same person (genuine) and of two people (impostor).")
    scores = mapping(result.get("scores"))
    points = result.get("operating_points")
    if left_out(page, result.get("scores"), "Distributions."):
        return
    edges = numbers(scores.get("edges"))
    series = [Series(name, edges, numbers(scores.get(name))) for name in ("genuine", "impostor")]
    plot = histogram(series, lines_at(points), title="Distributions of similarities")
    if not plot:
        page.missing("Distributions.", "There was no comparison.")
        return
    table = bins_table([(s.name, s) for s in series])
    page.plot(plot, "Each kind as shares of its own; vertical lines: thresholds.", table)
    summary = mapping(result.get("summary"))
    known = [
        (name, significant(summary.get(key), digits))
        for key, name, digits in (
            ("auc", "Area under the ROC curve", 5),
            ("d_prime", "d\N{PRIME} (distance of the means)", 3),
        )
        if number(summary.get(key)) is not None
    ]
    if known:
        page.facts(known)


def _points(page: Page, result: Mapping[str, Any]) -> None:
    page.section(
        "Errors and thresholds",
        "The false match rate (FMR) is how often a stranger is accepted; the false non-match rate (FNMR), how often the"
        " right person is not.",
    )
    points = result.get("operating_points")
    curve = mapping(result.get("curve"))
    why = absent(result.get("curve"))
    if why:
        page.missing("Error trade-off (DET).", why)
    else:
        line = Line.of("all", curve)
        trials = number(mapping(result.get("comparisons")).get("impostor"))
        plot = trade_off([line], spots(points), title="Error trade-off (DET)", trials=trials)
        table = curve_table(curve, (("fmr", "FMR"), ("fnmr", "FNMR")))
        if plot:
            shaded = " Shaded at the left: less than one error in all impostor comparisons." if trials else ""
            crosses = " Crosses: operating points with the intervals of both rates." if spots(points) else ""
            page.plot(plot, f"Band: 95 % interval of FNMR.{crosses}{shaded}", table)
            other = roc([line], title="Right people accepted (ROC)")
            if other:
                page.plot(other, "The same figures in another form: 100 % less FNMR, over FMR.")
        else:
            page.missing(
                "Error trade-off (DET).", "The data carries no curve: at every threshold one of the two rates is zero."
            )
    if left_out(page, points, "Operating points."):
        return
    with_failures = any(p.get("fnmr_with_failures") for p in rows(points))
    page.table(points_table(points, with_failures))
    methods = sorted({clean(p["interval"]) for p in rows(points) if p.get("interval")})
    page.text(
        (f"Intervals of FNMR: {'; or '.join(methods)}. " if methods else "")
        + "An operating point is carried by the data if it would show in it: an FMR needs three times its inverse in"
        " impostor comparisons to be seen at all (rule of 3), and thirty errors to be known within about a third"
        " (rule of 30). Points that are not carried are not drawn."
    )
    _stated(page, result)


def _stated(page: Page, result: Mapping[str, Any]) -> None:
    """What was measured at the thresholds that the bundle came with."""
    found = rows(result.get("stated_points"))
    if not found:
        return
    made = []
    for point in found:
        verdict = clean(point.get("verdict") or "cannot be told")
        made.append(
            [
                asked(point.get("fmr")),
                score(point.get("threshold")),
                measured(point.get("fmr_measured")),
                measured(point.get("fnmr")),
                Mark(VERDICTS.get(verdict, "none"), verdict),
            ]
        )
    head = ("FMR stated", "Threshold", "FMR measured", "FNMR", "FMR kept")
    page.table(Table.of(head, made, "lrrrl", "At the thresholds that the bundle came with"))


def _folds(page: Page, result: Mapping[str, Any]) -> None:
    folds = mapping(result.get("folds"))
    if not rows(folds.get("folds")):
        if isinstance(result.get("folds"), Mapping) and folds.get("not_run"):
            page.section("Accuracy over folds").missing("Folds.", absent(folds) or "")
        return
    page.section(
        "Accuracy over folds",
        "Each fold is decided with the threshold that was best on all others (LFW's protocol).",
    )
    made = [
        [
            str(at),
            _exactly(f.get("accuracy")),
            score(f.get("threshold")),
            count(f.get("pairs")),
            count(f.get("failed") or 0),
        ]
        for at, f in enumerate(rows(folds.get("folds")), 1)
    ]
    page.table(Table.of(("Fold", "Accuracy", "Threshold", "Pairs", "of these without a face"), made))
    page.text(
        f"Mean {_exactly(folds.get('mean'))}, standard deviation {_exactly(folds.get('std'))},"
        f" standard error {_exactly(folds.get('standard_error'))}."
    )


def _exactly(value: Any) -> str:
    """An accuracy with the two decimals that are usual for it."""
    found = number(value)
    return UNKNOWN if found is None else f"{100 * found:.2f} %"
