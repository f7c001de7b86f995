"""What a conversion did, assumed and cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one conversion.

    What depends on the model alone (parity, sizes) also goes into the manifest. What depends on the machine or the
    moment (latency) stays here, so that the same inputs give the same bundle.

    Attributes:
        source: file name of the ONNX model, without its folder.
        source_sha256: of its bytes, hex.
        role, family, precision: what it became.
        input: e.g. "112x112 RGB, (pixel - 127.5) * 0.00784314".
        assumptions: what the graph does not say and the converter assumed, each with the option that changes it.
        warnings: what the reader should know before trusting the model.
        inputs: what the parity figures were measured on.
        calibration: fingerprint of the calibration set (sha256 hex), "" if there was none.
        calibration_method: how the ranges of activations were made of those of the inputs ("mean" or "extreme"), and
            what became of PReLU, e.g. "mean ranges, PReLU left float".
        calibration_images, calibration_inputs: photographs read, and model inputs made from them.
        unreadable, without_face: photographs left out.
        parity_float: per output, the float32 model against onnxruntime.
        parity: per output, the written model against onnxruntime.
        size_source, size_float, size: bytes of the ONNX file, of the float32 model, of the written one.
        partitions: pieces into which XNNPACK cuts the written model, 1 is best.
        latency: by number of threads ("1", "2"): {"float32": ms, precision: ms}, medians on this machine.
    """

    source: str
    source_sha256: str
    role: str
    family: str
    precision: str
    input: str
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    inputs: str
    calibration: str
    calibration_method: str
    calibration_images: int
    calibration_inputs: int
    unreadable: int
    without_face: int
    parity_float: dict[str, dict[str, float]]
    parity: dict[str, dict[str, float]]
    size_source: int
    size_float: int
    size: int
    partitions: int
    latency: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON types."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as JSON text, keys in the order above."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_text(self) -> str:
        """The report for a reader: a few lines and a table."""
        lines = [
            f"{self.source}: {self.role}, family {self.family}, {self.precision}",
            f"  input    {self.input}",
            f"  size     {_kilobytes(self.size_source)} ONNX, {_kilobytes(self.size_float)} float32"
            + (f", {_kilobytes(self.size)} {self.precision}" if self.precision != "float32" else ""),
            f"  XNNPACK  {self.partitions} partition{'s' if self.partitions != 1 else ''}",
        ]
        for threads, times in self.latency.items():
            shown = ", ".join(f"{name} {ms:.2f} ms" for name, ms in times.items())
            factor = f" ({times[self.precision] / times['float32']:.2f}x)" if len(times) > 1 else ""
            lines.append(f"  latency  {threads} thread{'s' if threads != '1' else ''}: {shown}{factor}")
        if self.calibration:
            lines.append(
                f"  calibration  {self.calibration_inputs} inputs from {self.calibration_images} photographs"
                f" ({self.unreadable} unreadable, {self.without_face} without a face),"
                f" {self.calibration_method}, set {self.calibration[:12]}"
            )
        lines += [f"  assumed: {text}" for text in self.assumptions]
        lines += [f"  warning: {text}" for text in self.warnings]
        lines += ["", f"against onnxruntime on {self.inputs}; errors relative to the output's range", ""]
        rows = [["output", "precision", "cosine min", "p1", "p50", "error max", "mean"]]
        tables = [("float32", self.parity_float)]
        if self.precision != "float32":
            tables.append((self.precision, self.parity))
        for precision, parity in tables:
            for name, figures in parity.items():
                cosines = [f"{figures[key]:.6f}" for key in ("cosine_min", "cosine_p1", "cosine_p50")]
                rows.append(
                    [name, precision, *cosines, *(f"{figures[key]:.1e}" for key in ("error_max", "error_mean"))]
                )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB"
