"""The parts of a conversion's page about scores: of both models, on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_convert._pages._curves import Line, trade_off
from facegate_convert._pages._distributions import Series, compared, scatter
from facegate_convert._pages._page import Table
from facegate_convert._pages._parts import (
    absent,
    bins_table,
    carried,
    curve_table,
    left_out,
    lines_at,
    measured,
    sentence,
)
from facegate_convert._pages._text import (
    asked,
    clean,
    count,
    mapping,
    number,
    numbers,
    rows,
    score,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._pages._page import Page

_KINDS = ("genuine", "impostor")


def add_scores(page: Page, report: Mapping[str, Any], names: tuple[str, str], role: str) -> None:
    """How scores are distributed by both models, what that does to error rates, and sample by sample.

    Args:
        page: what to add to.
        report: the conversion's.
        names: of the source and of the converted model.
        role: of the model; error rates of people are a recogniser's.
    """
    page.section("Scores of both models", "The same samples, scored by the ONNX model and by the converted one.")
    _distributions(page, report, names)
    if role == "recognizer" or not absent(report.get("curves")):
        _curves(page, report, names)
        _points(page, report, names)
    _samples(page, report, names)


def _labels(report: Mapping[str, Any]) -> tuple[str, str]:
    """What the two kinds of samples are called."""
    given = mapping(mapping(report.get("scores")).get("labels"))
    return clean(given.get("genuine") or "genuine"), clean(given.get("impostor") or "impostor")


def _axis(report: Mapping[str, Any]) -> str:
    what = clean(mapping(report.get("scores")).get("what") or "score")
    return what[:1].upper() + what[1:]


def _thresholds(report: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """A name for the thresholds, that of the source and that of the model: at the lowest FMR that the data carries."""
    points = mapping(report.get("operating_points"))
    shared = [
        (fmr, first, second)
        for m in rows(points.get("model"))
        for s in rows(points.get("source"))
        if m.get("carried") is not False
        and (fmr := number(m.get("fmr"))) is not None
        and fmr == number(s.get("fmr"))
        and (first := number(s.get("threshold"))) is not None
        and (second := number(m.get("threshold"))) is not None
    ]
    if shared:
        fmr, first, second = min(shared)
        return f"both thresholds at FMR {asked(fmr)}", first, second
    found = mapping(report.get("detections"))
    own = number(found.get("threshold"))
    if own is not None:
        before = number(found.get("source_threshold"))
        return "both score thresholds", own if before is None else before, own
    own = number(mapping(report.get("liveness")).get("threshold"))
    return None if own is None else ("the threshold of liveness", own, own)


def _distributions(page: Page, report: Mapping[str, Any], names: tuple[str, str]) -> None:
    scores = mapping(report.get("scores"))
    if left_out(page, report.get("scores"), "Score distributions."):
        return
    both = [
        [
            Series(name, numbers(mapping(scores.get(of)).get("edges")), numbers(mapping(scores.get(of)).get(kind)))
            for kind, name in zip(_KINDS, _labels(report), strict=True)
        ]
        for of in ("source", "model")
    ]
    points = lines_at(mapping(report.get("operating_points")).get("model"))
    limits = _thresholds(report)
    if not points and limits:
        points = [("threshold", limits[2])]
    plot = compared(both[0], both[1], names, points, title="Score distributions", axis=_axis(report))
    if not plot:
        page.missing("Score distributions.", "There is no score in them.")
        return
    table = bins_table([(f"{s.name}, {name}", s) for kind, name in zip(both, names, strict=True) for s in kind])
    page.plot(plot, f"Filled: ONNX. Lines: {names[1]}. {sentence(scores.get('evidence'))}", table)


def _curves(page: Page, report: Mapping[str, Any], names: tuple[str, str]) -> None:
    curves = mapping(report.get("curves"))
    if left_out(page, report.get("curves"), "Error trade-off (DET)."):
        return
    lines = [Line.of(name, mapping(curves.get(of))) for name, of in zip(names, ("source", "model"), strict=True)]
    points = rows(mapping(report.get("operating_points")).get("model"))
    trials = [n for p in points if (n := number(mapping(p.get("fmr_measured")).get("trials")))]
    plot = trade_off(lines, title="Error trade-off (DET)", trials=max(trials, default=None))
    if not plot:
        page.missing("Error trade-off (DET).", "The data carries no curve: one of the error rates is zero throughout.")
        return
    shaded = " Shaded at the left: less than one error in all impostor comparisons." if trials else ""
    table = curve_table(mapping(curves.get("model")), (("fmr", "FMR"), ("fnmr", "FNMR")))
    page.plot(
        plot,
        f"Shade ({names[0]}) and thin lines ({names[1]}): 95 % intervals of FNMR.{shaded}"
        f" The table is that of {names[1]}.",
        table,
    )


def _points(page: Page, report: Mapping[str, Any], names: tuple[str, str]) -> None:
    points = mapping(report.get("operating_points"))
    if left_out(page, report.get("operating_points"), "Operating points."):
        return
    source = {number(p.get("fmr")): p for p in rows(points.get("source"))}
    made = []
    for point in rows(points.get("model")):
        before = mapping(source.get(number(point.get("fmr"))))
        made.append(
            [
                asked(point.get("fmr")),
                score(before.get("threshold")),
                score(point.get("threshold")),
                measured(before.get("fnmr")),
                measured(point.get("fnmr")),
                carried(point),
            ]
        )
    of = [f"{what}, {name}" for what in ("Threshold", "FNMR") for name in names]
    caption = "Operating points, with the threshold found anew for each model"
    page.table(Table.of(("FMR", *of, "Carried by the data"), made, "lrrrrl", caption))


def _samples(page: Page, report: Mapping[str, Any], names: tuple[str, str]) -> None:
    if left_out(page, report.get("pairs"), "Sample by sample."):
        return
    three = 3  # two scores, and the kind
    given = report["pairs"] if isinstance(report["pairs"], list | tuple) else ()
    triples = [tuple(p) for p in given if isinstance(p, list | tuple) and len(p) == three]
    pairs = [(a, b, bool(g)) for x, y, g in triples if (a := number(x)) is not None and (b := number(y)) is not None]
    limits = _thresholds(report)
    plot = scatter(
        pairs,
        limits[1:] if limits else None,
        title="The same samples by both models",
        names=names,
        kinds=_labels(report),
        axis=_axis(report),
    )
    if not plot:
        page.missing("Sample by sample.", "None has two scores.")
        return
    text = "On the line both models agree."
    if not limits:
        page.plot(plot, text)
        return
    text += f" Dashed: {limits[0]}; what lies above one and below the other is decided differently."
    page.plot(plot, text, _decided(pairs, limits[1:], _labels(report)))


def _decided(pairs: list[tuple[float, float, bool]], limits: tuple[float, float], labels: tuple[str, str]) -> Table:
    """How many of each kind are above both thresholds, above one, above none."""
    made = []
    for name, genuine in zip(labels, (True, False), strict=True):
        chosen = [(a >= limits[0], b >= limits[1]) for a, b, g in pairs if g is genuine]
        counts = [chosen.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
        if chosen:
            made.append([name, *(count(c) for c in counts)])
    return Table.of(("Above the threshold", "In both", "Only ONNX", "Only converted", "In neither"), made)
