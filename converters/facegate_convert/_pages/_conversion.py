"""The page of a conversion: whether the model still decides as its source did, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facegate_convert._pages._conversion_model import add_model
from facegate_convert._pages._conversion_scores import add_scores
from facegate_convert._pages._page import Cell, Mark, Page, Status, Table
from facegate_convert._pages._parts import absent, add_warnings, left_out, listed, measured, sentence, short
from facegate_convert._pages._text import (
    clean,
    count,
    errors,
    mapping,
    milliseconds,
    number,
    percent,
    plural,
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
_WAYS = {"own": "Facegate's own lowering"}
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
    add_scores(page, report, ("ONNX", precision), role)
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
    counts = [(len(by_status[s]), s) for s in _STATUSES if s in by_status]
    counted = ", ".join(f"{plural(n, 'gate') if not at else n} {s}" for at, (n, s) in enumerate(counts))
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
        below = " ".join(
            sentence(text) for text in (f"on {gate['evidence']}" if gate.get("evidence") else "", gate.get("why"))
        )
        made.append(
            [
                Mark(_STATUSES.get(status, "none"), status),
                clean(gate.get("title") or gate.get("name")),
                Cell(clean(gate.get("measured") or "\N{EM DASH}"), below.strip()),
                clean(gate.get("limit") or "\N{EM DASH}"),
            ]
        )
    page.table(Table.of(("Result", "Gate", "Measured", "Limit"), made, "llll"))
    allowed = listed(report.get("allowances"))
    if allowed:
        page.note("warn", f"Failures that were allowed, and are recorded in the bundle: {', '.join(allowed)}.")


def _detections(page: Page, report: Mapping[str, Any]) -> None:
    found = mapping(report.get("detections"))
    page.section(
        "Faces found", "The converted detector's faces against those that the ONNX model finds in the same photographs."
    )
    if left_out(page, report.get("detections"), "Detections."):
        return
    recall, precision = mapping(found.get("recall")), mapping(found.get("precision"))
    overlap, marks = mapping(found.get("iou")), mapping(found.get("landmarks"))
    unit = clean(marks.get("unit") or "distance between the eyes")
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
    if left_out(page, report.get("liveness"), "Liveness."):
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
    made = [[clean(w.get("id")), clean(w.get("what") or ""), score(w.get("value"))] for w in found]
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
            ("Converted by", _WAYS.get(clean(report.get("via") or "own"), clean(report.get("via")))),
            ("Input", clean(report.get("input") or "unknown")),
            ("Calibration", calibration),
            ("Figures measured on", clean(report.get("inputs") or "nothing")),
            *([("Build machine", clean(machine))] if machine else []),
            *_duration(report.get("seconds")),
        ]
    )
    assumed = listed(report.get("assumptions"))
    if assumed:
        page.table(Table.of(("Assumed, because the graph does not say",), [[a] for a in assumed]))
    else:
        page.text("Nothing was assumed about the model's input and outputs.")


def _duration(seconds: Any) -> list[tuple[str, str]]:
    """How long the conversion took, and what took most of it."""
    if not isinstance(seconds, Mapping):
        return [("Time taken", f"{significant(seconds)} s")] if number(seconds) else []
    steps = [(clean(name), t) for name, given in seconds.items() if (t := number(given)) and name != "all"]
    whole = number(seconds.get("all")) or sum(t for _, t in steps)
    longest = ", ".join(f"{name} {significant(t, 2)} s" for name, t in sorted(steps, key=lambda s: -s[1])[:4])
    return [("Time taken", f"{significant(whole)} s: {longest}" if longest else f"{significant(whole)} s")]
