"""`facegate convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import (
    FILE,
    PRESETS,
    check_budget,
    check_labels,
    check_outputs,
    conversion_options,
    make_options,
    parse_channels,
    progress_bar,
    reported,
)

if TYPE_CHECKING:
    from facegate_edge._output import Output

__all__ = ["convert"]


@click.command(short_help="Turn an ONNX model into a quantized TFLite model.")
@click.argument("model", type=FILE)
@click.option("-o", "--output", "target", type=FILE, help="File to write: NAME.fgb (default), or NAME.tflite alone.")
@click.option("--detector", type=FILE, help="Detector (ONNX or bundle) that finds the faces in photographs.")
@click.option(
    "--color", type=click.Choice(("RGB", "BGR")), help="Colour order of the input, if the assumed one is wrong."
)
@click.option("--preprocess", type=click.Choice(PRESETS), help="Normalisation by name.")
@click.option(
    "--mean", metavar="V|V,V,V", callback=parse_channels, help="Normalisation (pixel - mean) * scale, pixel 0..255."
)
@click.option("--scale", metavar="V|V,V,V", callback=parse_channels, help="See --mean.")
@click.option("--crop-scale", type=click.FloatRange(0.5, 10), help="For liveness models: crop, in sizes of the face.")
@conversion_options
@click.option("--dry-run", is_flag=True, help="Do everything but write files.")
@click.pass_obj
def convert(output: Output, /, **given: Any) -> None:
    """Convert the ONNX file MODEL for the device, hold it against its source, and say what was assumed.

    The result is an unsigned bundle of one model; `facegate bundle build` puts several together. A model that decides
    otherwise than its source, is slower than its target's profile allows or is cut in pieces is refused (exit code 1).
    """
    from facegate_convert import _bundles  # noqa: PLC0415 - see the module
    from facegate_convert._convert import convert as run  # noqa: PLC0415

    source: Path = given["model"]
    check_labels(given)
    check_budget(given)
    check_outputs(given, [path for path in (source, given["detector"]) if path is not None])
    with progress_bar(output) as progress, reported(output, given):
        result = run(source, make_options(given), progress=progress)
    path: Path = given["target"] or Path(f"{source.stem}-{result.info.precision}.fgb")
    for name in result.unreadable:
        output.progress(f"left out, no image that can be read: {name}")
    data: dict[str, object] = {"file": None if given["dry_run"] else str(path), "report": result.report.to_dict()}
    text = result.report.to_text()
    if not given["dry_run"]:
        if given["report"]:
            result.report.save(given["report"])
        _bundles.save(result, path)
        text += f"\n\nwrote {path}"
    output.emit(data, text)
