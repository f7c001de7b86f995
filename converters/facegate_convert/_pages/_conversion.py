"""The page of a conversion: whether the model still decides as its source did, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facegate_convert._pages._conversion_model import add_model
from facegate_convert._pages._curves import Line, Series, compared, scatter, trade_off
from facegate_convert._pages._page import Cell, Mark, Page, Status, Table
from facegate_convert._pages._parts import (
    absent,
    add_warnings,
    bins_table,
    carried,
    curve_table,
    lines_at,
    listed,
    measured,
    sentence,
    short,
)
from facegate_convert._pages._text import (
    asked,
    clean,
    count,
    errors,
    mapping,
    milliseconds,
    number,
    numbers,
    percent,
    plural,
    powers,
    rate,
    rows,
    score,
    significant,
    size,
)

_STATUSES: dict[str, Status] = {
    "passed": "good",
    "failed": "bad",
    "unsure": "warn",
    "allowed": "warn",
    "not run": "none",
}
_KINDS = {"recognizer": "recogniser", "detector": "detector", "liveness": "liveness model"}


def conversion_page(report: Mapping[str, Any]) -> str:
    """A conversion's report as one HTML page.

    Args:
        report: the report's JSON; what is missing in it is said on the page.

    Returns:
        The page, self-contained; the same report gives the same page.
    """
    precision = clean(report.get("precision") or "?")
    role = clean(report.get("role") or "model")
    target = _target(report)
    page = Page(
        f"{clean(report.get('source') or 'A model')} as {precision}",
        f"{_KINDS.get(role, role)}, family {clean(report.get('family') or '?')}{f', for {target}' if target else ''}",
        "Conversion",
    )
    _verdict(page, report)
    _glance(page, report, precision)
    _gates(page, report)
    if role == "detector" or not absent(report.get("detections")):
        _detections(page, report)
    if role == "liveness" or not absent(report.get("liveness")):
        _liveness(page, report, precision)
    _decisions(page, report, precision, role)
    _worst(page, report)
    add_model(page, report, precision)
    _about(page, report)
    page.footer(
        f"Source {clean(report.get('source') or '?')}, sha256 {clean(report.get('source_sha256') or 'unknown')}.",
        "Identifiers of samples are the beginnings of their content's hashes; the page holds no picture of a person.",
    )
    return page.to_html()


def _target(report: Mapping[str, Any]) -> str:
    target = report.get("target")
    return (
        clean(target.get("title") or target.get("name") or "") if isinstance(target, Mapping) else clean(target or "")
    )


def _verdict(page: Page, report: Mapping[str, Any]) -> None:
    gates = rows(report.get("gates"))
    by_status: dict[str, list[Mapping[str, Any]]] = {}
    for gate in gates:
        by_status.setdefault(str(gate.get("status")), []).append(gate)
    counted = ", ".join(f"{len(by_status[s])} {s}" for s in _STATUSES if s in by_status)
    lines = []
    for status in ("failed", "allowed", "unsure", "not run"):
        for gate in by_status.get(status, ()):
            said = [clean(gate[k]) for k in ("measured", "why") if gate.get(k)]
            lines.append(f"{status}: {clean(gate.get('title') or gate.get('name'))} - {'; '.join(said)}")
    refused = report.get("refused")
    if refused:
        page.verdict("bad", f"Refused: {clean(refused)}", lines)
    elif not gates:
        page.verdict("none", "No gate was run: nothing is known about this model's decisions")
    elif "failed" in by_status:
        page.verdict("bad", f"Not every gate was passed: {counted}", lines)
    elif any(s in by_status for s in ("allowed", "unsure")):
        page.verdict("warn", f"Converted, with reservations: {counted}", lines)
    elif "passed" not in by_status:
        page.verdict("none", "No gate could be run: nothing is known about this model's decisions", lines)
    else:
        page.verdict("good", f"Converted: {counted}", lines)


def _glance(page: Page, report: Mapping[str, Any], precision: str) -> None:
    before, after = number(report.get("size_source")), number(report.get("size"))
    share = f"of {size(before)} ONNX" if before else ""
    cells: list[tuple[str, str, str | tuple[str, ...]]] = [("Size", size(after), share)]
    latency = mapping(report.get("latency"))
    for threads in [] if absent(latency) else sorted(latency, key=str)[:1]:
        times = mapping(latency[threads])
        base, own = number(times.get("float32")), number(times.get(precision))
        factor = (
            f"{own / base:.2f} times float32's {milliseconds(base)}" if base and own and precision != "float32" else ""
        )
        cells.append(
            (f"Time, {plural(int(threads) if str(threads).isdigit() else 0, 'thread')}", milliseconds(own), factor)
        )
    parity = mapping(report.get("parity"))
    for name, figures in [] if absent(parity) else list(parity.items())[:1]:
        half = mapping(figures).get("cosine_p50")
        cells.append((f"Median cosine, {clean(name, 20)}", significant(half, 4), "against the ONNX model"))
    pieces = number(report.get("partitions"))
    if pieces is not None:
        cells.append(("XNNPACK pieces", count(pieces), "1 is best"))
    page.section("At a glance").figures(cells)
    add_warnings(page, report.get("warnings"))


def _gates(page: Page, report: Mapping[str, Any]) -> None:
    page.section(
        "Gates",
        "A gate asks whether the converted model still decides as its source did, at the speed that was promised.",
    )
    gates = rows(report.get("gates"))
    if not gates:
        page.missing("No gates.", absent(report.get("gates")) or "")
        return
    made = []
    for gate in gates:
        status = str(gate.get("status"))
        below = "; ".join(clean(gate[k]) for k in ("evidence",) if gate.get(k))
        why = sentence(gate.get("why"))
        made.append(
            [
                Mark(_STATUSES.get(status, "none"), status),
                Cell(clean(gate.get("title") or gate.get("name")), why),
                Cell(clean(gate.get("measured") or "\N{EM DASH}"), f"on {below}" if below else ""),
                clean(gate.get("limit") or "\N{EM DASH}"),
            ]
        )
    page.table(Table.of(("Result", "Gate", "Measured", "Limit"), made, "llll"))
    allowed = listed(report.get("allowances"))
    if allowed:
        page.note("warn", f"Failures that were allowed, and are recorded in the bundle: {', '.join(allowed)}.")


def _decisions(page: Page, report: Mapping[str, Any], precision: str, role: str) -> None:
    scores = mapping(report.get("scores"))
    names = ("ONNX", precision)
    about = "Similarities of the same pairs by both models." if role == "recognizer" else "Scores by both models."
    page.section("Scores of both models", about)
    why = absent(report.get("scores"))
    points = mapping(report.get("operating_points"))
    if why:
        page.missing("Score distributions.", why)
    else:
        axis = clean(scores.get("what") or "similarity")
        labels = mapping(scores.get("labels"))
        both = [
            [
                Series(
                    clean(labels.get(kind) or kind),
                    numbers(mapping(scores.get(of)).get("edges")),
                    numbers(mapping(scores.get(of)).get(kind)),
                )
                for kind in ("genuine", "impostor")
            ]
            for of in ("source", "model")
        ]
        plot = compared(
            both[0],
            both[1],
            names,
            lines_at(points.get("model")),
            title="Score distributions",
            axis=axis[:1].upper() + axis[1:],
        )
        if plot:
            page.plot(
                plot,
                f"Filled: ONNX. Lines: {precision}. {sentence(scores.get('evidence'))}",
                bins_table([(f"{s.name}, {name}", s) for kind, name in zip(both, names, strict=True) for s in kind]),
            )
        else:
            page.missing("Score distributions.", "There is no score in them.")
    if role != "recognizer" and absent(report.get("curves")):
        return
    _curves(page, report, names)
    _pairs(page, report, names, points)


def _curves(page: Page, report: Mapping[str, Any], names: tuple[str, str]) -> None:
    curves = mapping(report.get("curves"))
    points = mapping(report.get("operating_points"))
    why = absent(report.get("curves"))
    if why:
        page.missing("Error trade-off (DET).", why)
    else:
        lines = [Line.of(name, mapping(curves.get(of))) for name, of in zip(names, ("source", "model"), strict=True)]
        trials = max(
            (number(mapping(p.get("fmr_measured")).get("trials")) or 0 for p in rows(points.get("model"))), default=0
        )
        plot = trade_off(lines, title="Error trade-off (DET)", trials=trials or None)
        table = curve_table(mapping(curves.get("model")), (("fmr", "FMR"), ("fnmr", "FNMR")))
        if plot:
            page.plot(plot, f"Bands: 95 % intervals of FNMR. The table is that of {names[1]}.", table)
        else:
            page.missing(
                "Error trade-off (DET).", "The data carries no curve: one of the error rates is zero throughout."
            )
    why = absent(report.get("operating_points"))
    if why:
        page.missing("Operating points.", why)
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
    head = (
        "FMR",
        "Threshold, ONNX",
        f"Threshold, {names[1]}",
        "FNMR, ONNX",
        f"FNMR, {names[1]}",
        "Carried by the data",
    )
    page.table(Table.of(head, made, "lrrrrl", "Operating points, with the threshold found anew for each model"))


def _pairs(page: Page, report: Mapping[str, Any], names: tuple[str, str], points: Mapping[str, Any]) -> None:
    why = absent(report.get("pairs"))
    if why:
        page.missing("Pair by pair.", why)
        return
    three = 3  # two scores, and whether the pair is genuine
    pairs = [(p[0], p[1], bool(p[2])) for p in report["pairs"] if isinstance(p, list | tuple) and len(p) == three]
    shared = [
        (number(s.get("threshold")), number(m.get("threshold")), m.get("fmr"))
        for s in rows(points.get("source"))
        for m in rows(points.get("model"))
        if s.get("fmr") == m.get("fmr") and m.get("carried") is not False
    ]
    at = min((s for s in shared if s[0] is not None and s[1] is not None), key=lambda s: s[2] or 1, default=None)
    limits = (at[0], at[1]) if at and at[0] is not None and at[1] is not None else None
    plot = scatter(pairs, limits, title="The same pairs by both models", names=names)
    if not plot:
        page.missing("Pair by pair.", "No pair has two scores.")
        return
    text = "Each point is a pair; on the line both models agree."
    table = None
    if at and limits:
        table = _flips(pairs, limits)
        text += (
            f" Dashed: both thresholds at FMR {powers(at[2])}; pairs above one and below the other are decided"
            " differently."
        )
    page.plot(plot, text, table)


def _flips(pairs: list[tuple[Any, Any, bool]], limits: tuple[float, float]) -> Table:
    made = []
    for name, genuine in (("the same person", True), ("two people", False)):
        chosen = [
            (a >= limits[0], b >= limits[1])
            for a, b, g in pairs
            if g is genuine and number(a) is not None and number(b) is not None
        ]
        counts = [chosen.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
        if chosen:
            made.append([name, *(count(c) for c in counts)])
    return Table.of(("Pairs shown of", "Match in both", "Only ONNX", "Only converted", "In neither"), made)


def _detections(page: Page, report: Mapping[str, Any]) -> None:
    found = mapping(report.get("detections"))
    page.section(
        "Faces found", "The converted detector's faces against those that the ONNX model finds in the same photographs."
    )
    why = absent(report.get("detections"))
    if why:
        page.missing("Detections.", why)
        return
    recall, precision = mapping(found.get("recall")), mapping(found.get("precision"))
    overlap, marks = mapping(found.get("iou")), mapping(found.get("landmarks"))
    unit = clean(marks.get("unit") or "")
    page.facts(
        [
            ("Photographs", count(found.get("photographs"))),
            ("Faces missed", f"{rate(recall)} ({errors(recall)})"),
            ("Faces added", f"{rate(precision)} ({errors(precision)})"),
            (
                "Overlap (IoU)",
                f"median {significant(overlap.get('p50'))}, 1st percentile {significant(overlap.get('p1'))}",
            ),
            (
                "Landmark error",
                f"median {percent(marks.get('p50'))}, 95th percentile {percent(marks.get('p95'))} of the {unit}",
            ),
            (
                "Score threshold",
                f"{score(found.get('threshold'))} (ONNX: {score(found.get('source_threshold'))})",
            ),
        ]
    )
    if found.get("threshold_why"):
        page.text(sentence(found["threshold_why"]))
    truth = mapping(found.get("truth"))
    if absent(found.get("truth")):
        page.missing("Against ground truth.", absent(found.get("truth")) or "")
        return
    made: list[list[Any]] = []
    for key, name in (("recall", "Labelled faces missed"), ("precision", "Faces found where none is labelled")):
        both = mapping(truth.get(key))
        made.append([name, measured(both.get("source")), measured(both.get("model"))])
    errors_of = mapping(truth.get("landmarks"))
    places = [mapping(errors_of.get(of)) for of in ("source", "model")]
    made.append(["Landmark error, median", *(percent(p.get("p50")) for p in places)])
    made.append(["Landmark error, 95th percentile", *(percent(p.get("p95")) for p in places)])
    page.table(Table.of(("Against ground truth", "ONNX", "Converted"), made))


def _liveness(page: Page, report: Mapping[str, Any], precision: str) -> None:
    found = mapping(report.get("liveness"))
    page.section(
        "Live faces and attacks", "Errors of both models on the same faces, at the same threshold (ISO/IEC 30107-3)."
    )
    why = absent(report.get("liveness"))
    if why:
        page.missing("Liveness.", why)
        return
    agreement = mapping(found.get("agreement"))
    page.facts(
        [
            ("Threshold", score(found.get("threshold"))),
            ("Judged differently", f"{rate(agreement)} ({errors(agreement)})"),
        ]
    )
    both = [mapping(found.get(of)) for of in ("source", "model")]
    made = [["Live faces rejected (BPCER)", *(measured(b.get("bpcer")) for b in both)]]
    species = {clean(s.get("name")): None for b in both for s in rows(b.get("species"))}
    for name in species:
        rates = [
            next((s.get("apcer") for s in rows(b.get("species")) if clean(s.get("name")) == name), None) for b in both
        ]
        worst = " (worst)" if any(clean(b.get("worst")) == name for b in both) else ""
        made.append([f"Attacks accepted (APCER): {name}{worst}", *(measured(r) for r in rates)])
    page.table(Table.of(("Errors", "ONNX", precision), made))


def _worst(page: Page, report: Mapping[str, Any]) -> None:
    page.section(
        "Worst samples", "Where the two models differ most; each is named by the beginning of its content's hash."
    )
    found = rows(report.get("worst"))
    if not found:
        page.missing("Worst samples.", absent(report.get("worst")) or "")
        return
    made = [
        [clean(w.get("id")), clean(w.get("what") or ""), significant(w.get("value", w.get("cosine")), 4)] for w in found
    ]
    page.table(Table.of(("Sample", "What", "Figure"), made, "clr"))


def _about(page: Page, report: Mapping[str, Any]) -> None:
    used = number(report.get("calibration_images"))
    calibration = "none"
    if report.get("calibration"):
        left = ", ".join(
            f"{count(report.get(k))} {text}"
            for k, text in (("unreadable", "unreadable"), ("without_face", "without a face"))
            if number(report.get(k))
        )
        calibration = (
            f"{plural(report.get('calibration_inputs'), 'input')} from {plural(used, 'photograph')}"
            f"{f' ({left})' if left else ''}, {clean(report.get('calibration_method') or '')};"
            f" set {short(report['calibration'])}"
        )
    machine = report.get("machine")
    if isinstance(machine, Mapping):
        machine = ", ".join(f"{clean(k)} {clean(v)}" for k, v in machine.items())
    page.section("About this conversion").facts(
        [
            ("Source", f"{clean(report.get('source') or '?')}, {size(report.get('size_source'))}"),
            (
                "Precision",
                f"{clean(report.get('precision') or '?')} (asked for: {clean(report.get('asked') or 'the same')})",
            ),
            ("Target", _target(report) or "generic"),
            ("Converted by", clean(report.get("via") or "own lowering")),
            ("Input", clean(report.get("input") or "unknown")),
            ("Calibration", calibration),
            ("Figures measured on", clean(report.get("inputs") or "nothing")),
            ("Build machine", clean(machine or "not said")),
            *([("Time taken", f"{significant(report.get('seconds'), 3)} s")] if number(report.get("seconds")) else []),
        ]
    )
    assumed = listed(report.get("assumptions"))
    if assumed:
        page.table(Table.of(("Assumed, because the graph does not say",), [[a] for a in assumed]))
    else:
        page.text("Nothing was assumed about the model's input and outputs.")
