"""The page of an evaluation: how well people are told apart, for whom, at which threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facegate_convert._pages._curves import Line, Series, histogram, trade_off
from facegate_convert._pages._evaluation_parts import add_groups, add_liveness, add_open_set
from facegate_convert._pages._page import Mark, Page, Table
from facegate_convert._pages._parts import (
    absent,
    add_warnings,
    curve_table,
    lines_at,
    points_table,
    spots,
)
from facegate_convert._pages._text import (
    UNKNOWN,
    clean,
    count,
    errors,
    interval,
    mapping,
    number,
    numbers,
    percent,
    plural,
    powers,
    rate,
    rows,
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
    page = Page(
        clean(source.get("name") or "An evaluation"),
        f"evaluated on {clean(dataset.get('name') or 'a data set without a name')}: {_amount(result)}",
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
    _failures(page, result)
    _worst(page, result)
    _about(page, result)
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
    made = [
        f"{clean(c.get('require') or c.get('name') or '?')}: {_check_word(c)}"
        + (f", measured {_figure(c.get('measured'))}" if c.get("measured") is not None else "")
        + (f" - {clean(c['why'])}" if c.get("why") else "")
        for c in checks
    ]
    met = [c.get("met") for c in checks]
    if all(m is True for m in met):
        page.verdict(
            "good",
            f"{plural(len(checks), 'requirement')} met" if len(checks) == 1 else "Every requirement is met",
            made,
        )
    elif any(m is False for m in met):
        page.verdict("bad", f"{met.count(False)} of {plural(len(checks), 'requirement')} not met", made)
    else:
        page.verdict("warn", "The data cannot tell whether every requirement is met", made)


def _check_word(check: Mapping[str, Any]) -> str:
    return {True: "met", False: "not met"}.get(check.get("met"), "cannot be told")  # type: ignore[arg-type]


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{rate(value)} ({interval(value)})"
    return powers(value, 3) if number(value) is not None else clean(value)


def _glance(page: Page, result: Mapping[str, Any]) -> None:
    summary, failures = mapping(result.get("summary")), mapping(result.get("failures"))
    cells = []
    for point in [p for p in rows(result.get("operating_points")) if p.get("carried") is not False][-2:]:
        of = mapping(point.get("fnmr"))
        cells.append((f"FNMR at FMR {powers(point.get('fmr'))}", rate(of), f"{errors(of)}, {interval(of)}"))
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
            ("Accuracy, ten folds", _exactly(folds["mean"]), f"standard deviation {_exactly(folds.get('std'))}")
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
    why = absent(result.get("scores"))
    if why:
        page.missing("Distributions.", why)
        return
    edges = numbers(scores.get("edges"))
    series = [Series(name, edges, numbers(scores.get(name))) for name in ("genuine", "impostor")]
    plot = histogram(series, lines_at(points), title="Distributions of similarities")
    if not plot:
        page.missing("Distributions.", "There was no comparison.")
        return
    made = [
        [significant(edges[i]), significant(edges[i + 1]), *(count(s.counts[i]) for s in series)]
        for i in range(len(edges) - 1)
        if any(len(s.counts) > i and s.counts[i] for s in series)
    ]
    table = (
        Table.of(("From", "To", "Genuine", "Impostor"), made, "rrrr")
        if all(len(s.counts) == len(edges) - 1 for s in series)
        else None
    )
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
        else:
            page.missing(
                "Error trade-off (DET).", "The data carries no curve: at every threshold one of the two rates is zero."
            )
    why = absent(points)
    if why:
        page.missing("Operating points.", why)
        return
    with_failures = any(p.get("fnmr_with_failures") for p in rows(points))
    page.table(points_table(points, with_failures))
    methods = sorted({clean(p["interval"]) for p in rows(points) if p.get("interval")})
    page.text(
        (f"Intervals: {', '.join(methods)}. " if methods else "")
        + "An operating point is carried by the data if it would show in it: an FMR needs three times its inverse in"
        " impostor comparisons to be seen at all (rule of 3), and thirty errors to be known within about a third"
        " (rule of 30). Points that are not carried are not drawn."
    )


def _folds(page: Page, result: Mapping[str, Any]) -> None:
    folds = mapping(result.get("folds"))
    if not rows(folds.get("folds")):
        if isinstance(result.get("folds"), Mapping) and folds.get("not_run"):
            page.section("Accuracy over folds").missing("Folds.", absent(folds) or "")
        return
    page.section(
        "Accuracy over folds",
        "Each fold is decided with the threshold that was best on the other nine (LFW's protocol).",
    )
    made = [
        [
            str(at),
            _exactly(f.get("accuracy")),
            significant(f.get("threshold"), 4),
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


def _failures(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Failures", "Images without a usable face are counted, never skipped.")
    failures = mapping(result.get("failures"))
    known = [
        (name, mapping(failures.get(key)))
        for key, name in (
            ("detect", "Failure to detect a face"),
            ("enroll", "Failure to enroll a person"),
            ("embed", "Failure to embed"),
        )
        if failures.get(key) and not absent(failures.get(key))
    ]
    if not known:
        page.missing("Failures.", absent(result.get("failures")) or "None is in this result.")
        return
    page.table(
        Table.of(("Failure", "Rate", "Interval", "Counts"), [[n, rate(r), interval(r), errors(r)] for n, r in known])
    )
    reasons = mapping(failures.get("reasons"))
    if reasons:
        page.table(Table.of(("Reason", "Images"), [[clean(k), count(v)] for k, v in reasons.items()]))


def _worst(page: Page, result: Mapping[str, Any]) -> None:
    page.section(
        "Worst pairs",
        "The least similar pairs of one person and the most similar of two people, to be looked at on the evaluator's"
        " own disk.",
    )
    worst = mapping(result.get("worst"))
    why = absent(result.get("worst"))
    if why:
        page.missing("Worst pairs.", why)
        return
    for key, caption in (("genuine", "Least similar of the same person"), ("impostor", "Most similar of two people")):
        found = rows(worst.get(key))
        if found:
            made = [[clean(p.get("a")), clean(p.get("b")), significant(p.get("score"), 4)] for p in found]
            page.table(Table.of(("One image", "The other", "Similarity"), made, "ccr", caption))
        else:
            page.missing(f"{caption}.", "There was no such pair.")


def _about(page: Page, result: Mapping[str, Any]) -> None:
    source, dataset = mapping(result.get("source")), mapping(result.get("dataset"))
    page.section("About this evaluation", "What is needed to do it again.")
    given = [
        ("Evaluated", f"{clean(source.get('kind') or 'source')} {clean(source.get('name') or '?')}"),
        ("Identifier", clean(source.get("id") or UNKNOWN)),
        ("Precision", clean(source.get("precision") or "not said")),
        ("Data set", f"{clean(dataset.get('name') or 'without a name')}, {_amount(result)}"),
        ("Fingerprint", clean(dataset.get("fingerprint") or UNKNOWN)),
        ("Lawful basis", clean(dataset["lawful_basis"]) if dataset.get("lawful_basis") else Mark("warn", "not stated")),
        ("Several faces in an image", clean(dataset.get("multi_face") or "not said")),
        ("Protocol", clean(mapping(result.get("comparisons")).get("protocol") or "not said")),
    ]
    again = mapping(result.get("reproduce"))
    given += [(clean(k).replace("_", " "), clean(v)) for k, v in again.items() if not isinstance(v, Mapping | list)]
    page.facts(given)
