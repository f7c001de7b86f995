"""A conversion's report as text, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._report import Report

_MARKS = {"passed": "ok", "failed": "FAILED", "unsure": "unsure", "allowed": "ALLOWED", "not run": "not run"}


def to_text(report: Report) -> str:
    """The report for a reader: what it became, what was assumed, what the gates say, how near the outputs are."""
    lines = [
        f"{report.source}: {report.role}, family {report.family}, {report.precision}",
        f"  input    {report.input}",
        f"  target   {report.target['name']} ({report.target['title']})",
        f"  size     {_kilobytes(report.size_source)} ONNX, {_kilobytes(report.size_float)} float32"
        + (f", {_kilobytes(report.size)} {report.precision}" if report.precision != "float32" else ""),
        f"  XNNPACK  {report.partitions} partition{'s' if report.partitions != 1 else ''}",
    ]
    for threads, times in report.latency.items():
        shown = ", ".join(f"{name} {ms:.2f} ms" for name, ms in times.items())
        factor = f" ({times[report.precision] / times['float32']:.2f}x)" if len(times) > 1 else ""
        lines.append(f"  latency  {threads} thread{'s' if threads != '1' else ''}: {shown}{factor}")
    if report.calibration:
        lines.append(
            f"  calibration  {report.calibration_inputs} inputs from {report.calibration_images} photographs"
            f" ({report.unreadable} unreadable, {report.without_face} without a face),"
            f" {report.calibration_method}, set {report.calibration[:12]}"
        )
    if report.asked != report.precision or len(report.recipes) > 1:
        lines.append(f"  chosen   {report.why}")
    if isinstance(report.detections, dict) and "threshold" in report.detections:
        figures = report.detections
        if figures["threshold"] != figures["source_threshold"]:
            lines.append(
                f"  score threshold  {figures['threshold']:g}, the source's is {figures['source_threshold']:g} "
                f"({figures['threshold_why']})"
            )
    lines += [f"  assumed: {text}" for text in report.assumptions]
    lines += [f"  warning: {text}" for text in report.warnings]
    lines += ["", "gates", *_gates(report)]
    lines += [
        "",
        f"against onnxruntime on {report.inputs}; errors relative to the output's range",
        "",
        *_parity(report),
    ]
    if report.refused:
        lines += ["", f"refused: {report.refused}"]
    return "\n".join(lines)


def _gates(report: Report) -> list[str]:
    rows = []
    for gate in report.gates:
        said = gate["measured"]
        if said:
            said += f", {gate['limit']}"
        reason = gate["why"]
        rows.append([gate["name"], _MARKS[gate["status"]], f"{said}{': ' if said and reason else ''}{reason}"])
    return _table(rows)


def _parity(report: Report) -> list[str]:
    rows = [["output", "precision", "cosine min", "p1", "p50", "error max", "mean"]]
    tables = [("float32", report.parity_float)]
    if report.precision != "float32":
        tables.append((report.precision, report.parity))
    for precision, parity in tables:
        for name, figures in parity.items():
            cosines = [f"{figures[key]:.6f}" for key in ("cosine_min", "cosine_p1", "cosine_p50")]
            rows.append([name, precision, *cosines, *(f"{figures[key]:.1e}" for key in ("error_max", "error_mean"))])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB"
