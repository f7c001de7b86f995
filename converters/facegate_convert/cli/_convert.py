"""`facegate convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import (
    COMMERCIAL,
    FILE,
    PRECISIONS,
    PRESETS,
    make_options,
    parse_channels,
    parse_size,
    progress_bar,
)

if TYPE_CHECKING:
    from facegate_edge._output import Output

__all__ = ["convert"]


@click.command(short_help="Turn an ONNX model into a quantized TFLite model.")
@click.argument("model", type=FILE)
@click.option("-o", "--output", "target", type=FILE, help="File to write: NAME.fgb (default), or NAME.tflite alone.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True)
@click.option("--calibration", type=FILE, help="Folder of photographs to calibrate (int8) and compare on.")
@click.option("--detector", type=FILE, help="Detector (ONNX or bundle) that finds the faces in them.")
@click.option("--input-size", metavar="WxH", callback=parse_size, help="For models that leave it open.")
@click.option(
    "--color", type=click.Choice(("RGB", "BGR")), help="Colour order of the input, if the assumed one is wrong."
)
@click.option("--preprocess", type=click.Choice(PRESETS), help="Normalisation by name.")
@click.option(
    "--mean", metavar="V|V,V,V", callback=parse_channels, help="Normalisation (pixel - mean) * scale, pixel 0..255."
)
@click.option("--scale", metavar="V|V,V,V", callback=parse_channels, help="See --mean.")
@click.option("--crop-scale", type=click.FloatRange(0.5, 10), help="For liveness models: crop, in sizes of the face.")
@click.option("--licence", default="unknown", show_default=True, help="SPDX expression of the weights' licence.")
@click.option("--commercial-use", type=click.Choice(tuple(COMMERCIAL)), default="unknown", show_default=True)
@click.option("--report", type=FILE, help="Also write the report as JSON to this file.")
@click.option("--allow-drift", is_flag=True, help="Accept a float32 model that differs from its source.")
@click.option("--no-latency", is_flag=True, help="Do not time the model on this machine.")
@click.option("--dry-run", is_flag=True, help="Do everything but write files.")
@click.pass_obj
def convert(output: Output, /, **given: Any) -> None:
    """Convert the ONNX file MODEL for the device, compare it with its source, and say what was assumed.

    The result is an unsigned bundle of one model; `facegate bundle build` puts several together.
    """
    from facegate_convert import _bundles  # noqa: PLC0415 - see the module
    from facegate_convert._convert import convert as run  # noqa: PLC0415
    from facegate_convert._files import write_file  # noqa: PLC0415

    source: Path = given["model"]
    path: Path = given["target"] or Path(f"{source.stem}-{given['precision']}.fgb")
    with progress_bar(output) as progress:
        result = run(source, make_options(given), progress=progress)
    for name in result.unreadable:
        output.progress(f"left out, no image that can be read: {name}")
    data: dict[str, object] = {"file": None if given["dry_run"] else str(path), "report": result.report.to_dict()}
    text = result.report.to_text()
    if not given["dry_run"]:
        _bundles.save(result, path)
        if given["report"]:
            write_file(given["report"], [result.report.to_json().encode()])
        text += f"\n\nwrote {path}"
    output.emit(data, text)
