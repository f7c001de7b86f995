"""Writes tests/vectors/graphs: the architectures, as PyTorch's exporters write them, without weights.

    python tests/converters/generality/export.py [NAME...]
    python tests/converters/generality/export.py --check [NAME...]

Needs torch and onnxscript. What is written is what `torch.onnx.export` gives for randomly initialised nets. `--check`
writes nothing: it exports every architecture in every operator set of both exporters, and compares each with
onnxruntime (six minutes).
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from pathlib import Path

import onnx
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import graphs
import nets_detectors
import nets_recognizers

NETS = {**nets_recognizers.NETS, **nets_detectors.NETS}
# Each architecture is kept in two operator sets of the old exporter and one of the new, taken in turn.
LEGACY, DYNAMO = tuple(range(11, 21)), tuple(range(18, 21))
FIRST = {"normalisations": 14, "vit": 14}  # the first operator set in which the old exporter can write them
OPEN = ("fpn_pan", "yolo8_face")  # also with batch, height and width left open


def plan() -> list[tuple[str, str, int, str]]:
    """Every graph that is kept: architecture, exporter, operator set, "" or "open"."""
    rows = []
    for number, name in enumerate(sorted(NETS)):
        for place in (number * 2, number * 2 + 7):
            opset = LEGACY[place % len(LEGACY)]
            rows.append((name, "legacy", opset + 4 if opset < FIRST.get(name, 0) else opset, ""))
        rows.append((name, "dynamo", DYNAMO[number % len(DYNAMO)], ""))
        if name in OPEN:
            rows += [(name, "legacy", 13, "open"), (name, "dynamo", 18, "open")]
    return rows


def file_name(name: str, exporter: str, opset: int, variant: str = "") -> str:
    """The name under which a graph is kept."""
    return f"{name}.{exporter}-{opset}" + (f".{variant}" if variant else "")


def export(name: str, exporter: str, opset: int, variant: str = "") -> onnx.ModelProto:
    """One architecture as one exporter writes it."""
    make, side = NETS[name]
    torch.manual_seed(1)
    net = make().eval()
    with torch.no_grad():  # scales of 1 and terms of 0 would be no work for anybody
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    image = torch.randn(2 if variant else 1, 3, side, side)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # torch prints graphs
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        if exporter == "legacy":
            axes = {"input": {0: "batch", 2: "height", 3: "width"}} if variant else {"input": {0: "batch"}}
            torch.onnx.export(
                net, (image,), buffer, opset_version=opset, dynamo=False, input_names=["input"], dynamic_axes=axes
            )  # fmt: skip
        else:
            dims = ({0: "batch", 2: "height", 3: "width"},) if variant else None
            torch.onnx.export(
                net, (image,), buffer, opset_version=opset, dynamo=True, input_names=["input"], dynamic_shapes=dims,
                verbose=False,
            )  # fmt: skip
        logging.disable(logging.NOTSET)
    return onnx.ModelProto.FromString(buffer.getvalue())


def check(chosen: list[str]) -> int:
    """Export, lower and compare everything; how many of them differ, or are refused by us."""
    import table  # noqa: PLC0415 - it needs onnxruntime

    from facegate_convert import load_graph, lower  # noqa: PLC0415 - as above
    from facegate_convert._interpreter import quiet  # noqa: PLC0415

    helpers = table._helpers()
    plans = [(n, "legacy", o) for n in sorted(NETS) for o in LEGACY] + [
        (n, "dynamo", o) for n in sorted(NETS) for o in DYNAMO
    ]
    bad = done = 0
    for name, exporter, opset in plans:
        if chosen and name not in chosen:
            continue
        try:
            data = graphs.filled(graphs.stripped(export(name, exporter, opset))).SerializeToString()
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            sys.stdout.write(f"{file_name(name, exporter, opset):34} not exported: {type(error).__name__}\n")
            continue
        done += 1
        feeds = graphs.feeds(data)
        try:
            lowered = lower(load_graph(data))
            with quiet():
                error = helpers._difference(lowered, helpers._reference(data, feeds), helpers._run(lowered, feeds))
            if error > helpers.TOLERANCE:
                raise AssertionError(error)  # noqa: TRY301 - told with the others
        except Exception as error:  # noqa: BLE001 - told, and the next one is tried
            bad += 1
            sys.stdout.write(f"{file_name(name, exporter, opset):34} {type(error).__name__}: {str(error)[:200]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{done} graphs, {bad} of them not lowered as onnxruntime computes\n")
    return bad


def main(chosen: list[str]) -> None:
    """Write the graphs, all of them or those of some architectures."""
    if "--check" in chosen:
        sys.exit(1 if check([n for n in chosen if n != "--check"]) else 0)
    graphs.FOLDER.mkdir(parents=True, exist_ok=True)
    for row in plan():
        if chosen and row[0] not in chosen:
            continue
        data = graphs.stripped(export(*row))
        (graphs.FOLDER / f"{file_name(*row)}.onnx.xz").write_bytes(data)
        sys.stdout.write(f"{file_name(*row):40} {len(data):6} bytes\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
