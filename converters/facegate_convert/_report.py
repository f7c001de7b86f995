"""What a conversion did, assumed, measured and cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from facegate_convert._files import write_file

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1

# Sections that only some kinds of model have; where one was not measured it is {"not_run": "why"}.
NOT_MEASURED = ("scores", "pairs", "curves", "operating_points", "detections", "liveness", "worst")


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one conversion; its fields are the keys of the JSON document.

    What depends on the model alone (parity, sizes) also goes into the manifest. What depends on the machine or the
    moment (latency) stays here, so that the same inputs give the same bundle. Photographs are named by the first digits
    of their sha256, never by their files. Where a section was not measured it is {"not_run": "why"}. A rate is
    {"errors", "trials", "value", "low", "high", "confidence", ...}.

    Attributes:
        source: file name of the ONNX model, without its folder.
        source_sha256: of its bytes, hex.
        role, family: what it is.
        asked, precision: what was asked for ("auto" is a choice), and what it became.
        via: how its float32 form was made.
        target: {"name", "title"} of the device profile.
        input: e.g. "112x112 RGB, (pixel - 127.5) * 0.00784314".
        assumptions: what the graph does not say and the converter assumed, each with the option that changes it.
        warnings: what the reader should know before trusting the model.
        inputs: what the parity figures were measured on.
        calibration: fingerprint of the calibration set (sha256 hex), "" if there was none.
        calibration_method: how activations were brought to integers, e.g. "mean ranges, equalised, PReLU left float".
        calibration_images, calibration_inputs: photographs read, and model inputs made from them.
        unreadable, without_face: photographs left out.
        parity_float: per output, the float32 model against onnxruntime.
        parity: per output, the written model against onnxruntime.
        size_source, size_float, size: bytes of the ONNX file, of the float32 model, of the written one.
        partitions: pieces into which XNNPACK cuts the written model, 1 is best.
        latency: by number of threads ("1", "2"): {"float32": ms, precision: ms}, medians on this machine.
        why: why this recipe was chosen.
        recipes: what was tried: [{"text", "precision", "error", "size", "partitions", "loss", "accepted", "chosen",
            "why"}].
        graph: {"before", "after"}: {"nodes", "operators": {kind: count}, "flow": [[kind, count in a row, shape]],
            "partitions", "outside": {kind: count}}; "before" is the ONNX graph, without dead nodes and constants.
        layers: error of each operator of the written model against float32, in order: see `_quantize.LayerError`.
        gates: see `_gates.Gate`.
        operators: time by operator: [{"operator", "count", "float32_ms", "ms"}].
        scores: {"what", "labels": {"genuine", "impostor"}, "evidence", "source": histogram, "model": histogram}; a
            histogram is {"edges", "genuine", "impostor"}.
        pairs: [[source's score, model's score, 1 if genuine]], at most 2000.
        curves: {"source", "model"}: error rates over thresholds, see `_metrics.Curve`.
        operating_points: {"source", "model"}: [see `_metrics.OperatingFigure`].
        detections: a detector's faces against its source's, and its threshold.
        liveness: a liveness model's decisions against its source's.
        worst: [{"id", "what", "value"}], the worst first.
        allowances: names of gates that failed and were accepted.
        refused: why the model is refused; "" if it is not.
        seconds: how long each step took here.
        format: of this document.
    """

    source: str
    source_sha256: str
    role: str
    family: str
    asked: str
    precision: str
    via: str
    target: dict[str, str]
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
    latency: dict[str, dict[str, float]]
    why: str
    recipes: list[dict[str, Any]]
    graph: dict[str, Any]
    layers: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    operators: Any
    scores: Any
    pairs: Any
    curves: Any
    operating_points: Any
    detections: Any
    liveness: Any
    worst: Any
    allowances: list[str]
    refused: str
    seconds: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as JSON text, keys in the order above."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """The report for a reader: a few lines and tables."""
        from facegate_convert._report_text import to_text  # noqa: PLC0415 - only where somebody reads

        return to_text(self)

    def to_html(self) -> str:
        """The report as one HTML page that needs no other file."""
        from facegate_convert._pages import conversion_page  # noqa: PLC0415 - matplotlib takes a second

        return conversion_page(json.loads(self.to_json()))

    def save(self, path: Path) -> None:
        """Write the report: as a page if the name ends in `.html`, else as JSON.

        Raises:
            OutputFileError: it cannot be written.
        """
        html = path.suffix.lower() in (".html", ".htm")
        write_file(path, [(self.to_html() if html else self.to_json()).encode()])
