"""The converter's commands: `facegate convert`, `facegate bundle build` and `facegate bundle sign`.

The `facegate` command line finds them through its entry points and gives them an `Output`. What a command needs is
imported when it runs: `--help` must not wait for onnx.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facegate_convert._bundles import Model
    from facegate_convert._comparisons import Comparisons
    from facegate_convert._convert import Options, Progress
    from facegate_convert._operating_point import Similarities
    from facegate_edge._manifest import OperatingPoint
    from facegate_edge._output import Output

__all__ = ["bundle_build", "bundle_sign", "convert"]

_FILE = click.Path(path_type=Path)
_COMMERCIAL = {"yes": True, "no": False, "unknown": None}
_PRECISIONS = ("float32", "int8", "dynamic")
_PRESETS = ("arcface", "imagenet", "raw", "unit")


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", value)
    if not found:
        raise click.BadParameter(f"'{value}' is no size; write e.g. 320x320")
    return int(found[1]), int(found[2])


def _channels(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = _numbers(value.split(","))
    if numbers is None or len(numbers) not in (1, 3):
        raise click.BadParameter(f"'{value}' is neither one number nor three with commas between")
    return numbers * (3 // len(numbers))


def _points(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[float, float]:
    found = {}
    for value in values:
        numbers = _numbers(value.split("="))
        if numbers is None or len(numbers) != 2 or not 0 < numbers[0] < 1 or not -1 <= numbers[1] <= 1:  # noqa: PLR2004
            raise click.BadParameter(f"'{value}' is no operating point; write e.g. 0.001=0.42")
        found[numbers[0]] = numbers[1]
    return found


def _numbers(texts: Sequence[str]) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _fmr(_ctx: click.Context, _param: click.Parameter, values: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < value < 1 for value in values):
        raise click.BadParameter("an FMR lies between 0 and 1, e.g. 0.001")
    return values


def _name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value):
        raise click.BadParameter("up to 64 lower-case letters, digits, dots, dashes and underscores")
    return value


def _version(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from facegate_edge._manifest_rules import version_tuple  # noqa: PLC0415

    if version_tuple(value) is None:
        raise click.BadParameter("a semantic version has three numbers, e.g. 1.0.0")
    return value


@click.command(short_help="Turn an ONNX model into a quantized TFLite model.")
@click.argument("model", type=_FILE)
@click.option("-o", "--output", "target", type=_FILE, help="File to write: NAME.fgb (default), or NAME.tflite alone.")
@click.option("--precision", type=click.Choice(_PRECISIONS), default="float32", show_default=True)
@click.option("--calibration", type=_FILE, help="Folder of photographs to calibrate (int8) and compare on.")
@click.option("--detector", type=_FILE, help="Detector (ONNX or bundle) that finds the faces in them.")
@click.option("--input-size", metavar="WxH", callback=_size, help="For models that leave it open.")
@click.option(
    "--color", type=click.Choice(("RGB", "BGR")), help="Colour order of the input, if the assumed one is wrong."
)
@click.option("--preprocess", type=click.Choice(_PRESETS), help="Normalisation by name.")
@click.option(
    "--mean", metavar="V|V,V,V", callback=_channels, help="Normalisation (pixel - mean) * scale, pixel 0..255."
)
@click.option("--scale", metavar="V|V,V,V", callback=_channels, help="See --mean.")
@click.option("--crop-scale", type=click.FloatRange(0.5, 10), help="For liveness models: crop, in sizes of the face.")
@click.option("--licence", default="unknown", show_default=True, help="SPDX expression of the weights' licence.")
@click.option("--commercial-use", type=click.Choice(tuple(_COMMERCIAL)), default="unknown", show_default=True)
@click.option("--report", type=_FILE, help="Also write the report as JSON to this file.")
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
    with _progress(output) as progress:
        result = run(source, _options(given), progress=progress)
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


@click.command(short_help="Put converted models into a bundle.")
@click.argument("models", type=_FILE, nargs=-1, required=True)
@click.option("-o", "--output", "target", type=_FILE, required=True, help="The bundle to write, NAME.fgb.")
@click.option("--name", required=True, callback=_name, help="Name of the bundle, e.g. door.")
@click.option("--version", required=True, callback=_version, help="Semantic version, e.g. 1.0.0.")
@click.option("--intended-use", required=True, help="What the bundle is built and measured for, in a sentence.")
@click.option("--target", "device", default="generic", callback=_name, show_default=True, help="Device profile.")
@click.option("--key", type=_FILE, help="Private key to sign with (`facegate keys new`); else the bundle is unsigned.")
@click.option(
    "--precision", type=click.Choice(_PRECISIONS), default="float32", show_default=True, help="For ONNX files."
)
@click.option("--calibration", type=_FILE, help="For ONNX files at int8: folder of photographs.")
@click.option("--input-size", metavar="WxH", callback=_size, help="For ONNX detectors that leave it open.")
@click.option("--licence", default="unknown", help="For ONNX files: SPDX expression of the weights' licence.")
@click.option("--commercial-use", type=click.Choice(tuple(_COMMERCIAL)), default="unknown", help="For ONNX files.")
@click.option("--pairs", type=_FILE, help="CSV (file_x,file_y,Decision) to measure operating points on.")
@click.option("--images", type=_FILE, help="Folder of the pairs' files; without --pairs one subfolder an identity.")
@click.option("--infer-pairs", is_flag=True, help="Add the comparisons that follow from those listed.")
@click.option(
    "--fmr", type=float, multiple=True, callback=_fmr, help="FMR target (repeatable) [default: 0.01 .. 0.0001]."
)
@click.option(
    "--operating-point",
    metavar="FMR=THRESHOLD",
    multiple=True,
    callback=_points,
    help="State a threshold instead of measuring it.",
)
@click.option("--dry-run", is_flag=True, help="Do everything but write the bundle.")
@click.pass_obj
def bundle_build(output: Output, /, **given: Any) -> None:
    """Build a bundle of MODELS: a detector, a recogniser and perhaps a liveness model.

    Each is a file that `facegate convert` wrote, a bundle to take models from, or an ONNX file to convert on the way.
    Operating points are measured on --pairs or --images through the very pipeline that the bundle will run.
    """
    from facegate_convert import _bundles  # noqa: PLC0415 - see the module

    _check_operating_points(given)
    key = _load_key(given["key"])
    with _progress(output) as progress:
        models = _load(given, progress)
        _bundles.check_pipeline(models)
        points, notes, similarities = _operating_points(given, models, progress)
    for note in notes:
        output.progress(f"note: {note}")
    bundle_id = None
    if not given["dry_run"]:
        bundle_id = _bundles.build(
            given["target"],
            models,
            name=given["name"],
            version=given["version"],
            intended_use=given["intended_use"],
            target=given["device"],
            operating_points=points,
            key=key,
        )
    data = {
        "file": None if given["dry_run"] else str(given["target"]),
        "id": bundle_id,
        "signed_by": key.key_id if key else None,
        "models": [
            {"role": m.info.role, "family": m.info.family, "precision": m.info.precision, "size": m.info.size}
            for m in models
        ],
        "operating_points": [{name: getattr(p, name) for name in p.__slots__} for p in points],
        "photographs": similarities.images if similarities else 0,
        "without_face": similarities.failed if similarities else 0,
        "notes": list(notes),
    }
    output.emit(data, lambda: _describe_bundle(data, models, points, similarities))


@click.command(short_help="Sign a bundle.")
@click.argument("bundle", type=_FILE)
@click.option("--key", type=_FILE, required=True, help="Private key (`facegate keys new`).")
@click.option("-o", "--output", "target", type=_FILE, help="Write a signed copy instead of replacing the bundle.")
@click.pass_obj
def bundle_sign(output: Output, bundle: Path, key: Path, target: Path | None) -> None:
    """Sign BUNDLE, in place of a signature that it may have. Models and manifest stay as they are."""
    from facegate_convert._bundle_writer import sign_bundle  # noqa: PLC0415 - see the module

    signing = _load_key(key)
    bundle_id = sign_bundle(bundle, signing, target)
    path = target or bundle
    data = {"file": str(path), "id": bundle_id, "signed_by": signing.key_id}
    output.emit(data, f"signed {path} with the key {signing.key_id}")


def _options(given: dict[str, Any]) -> Options:
    from facegate_convert._convert import Options  # noqa: PLC0415

    return Options(
        precision=given["precision"],
        input_size=given["input_size"],
        color=given.get("color"),
        mean=given.get("mean"),
        scale=given.get("scale"),
        preprocess=given.get("preprocess"),
        crop_scale=given.get("crop_scale"),
        calibration=given["calibration"],
        detector=given.get("detector"),
        licence=given["licence"],
        commercial_use=_COMMERCIAL[given["commercial_use"]],
        allow_drift=given.get("allow_drift", False),
        measure_latency=not given.get("no_latency", True),
    )


def _load_key(path: Path | None) -> Any:
    if path is None:
        return None
    from facegate_edge._passphrase import load_signing_key  # noqa: PLC0415

    return load_signing_key(path)


def _load(given: dict[str, Any], progress: Progress) -> list[Model]:
    """The models of all files; detectors first, because they prepare the photographs for the others."""
    from facegate_convert._bundles import load_all  # noqa: PLC0415

    return load_all(given["models"], _options(given), progress=progress)


def _check_operating_points(given: dict[str, Any]) -> None:
    measured = given["pairs"] is not None or given["images"] is not None
    if given["operating_point"] and (measured or given["fmr"]):
        raise click.UsageError(
            "--operating-point states a threshold, --pairs, --images and --fmr measure it: choose one"
        )
    if given["pairs"] is not None and given["images"] is None:
        raise click.UsageError("--pairs needs --images, the folder that its file names are in")
    if given["infer_pairs"] and given["pairs"] is None:
        raise click.UsageError("--infer-pairs needs --pairs")
    if given["fmr"] and not measured:
        raise click.UsageError("--fmr needs --pairs or --images to measure on")


def _operating_points(
    given: dict[str, Any], models: Sequence[Model], progress: Progress
) -> tuple[tuple[OperatingPoint, ...], tuple[str, ...], Similarities | None]:
    from facegate_convert import _operating_point, _statistics  # noqa: PLC0415
    from facegate_convert._pipeline import embedder  # noqa: PLC0415

    if given["operating_point"]:
        stated: dict[float, float] = given["operating_point"]
        points = tuple(_operating_point.stated_operating_point(f, t) for f, t in sorted(stated.items(), reverse=True))
        return points, ("the operating points are stated, not measured",), None
    comparisons = _comparisons(given)
    if comparisons is None:
        return (
            (),
            ("no operating point: devices need one to decide; give --pairs, --images or --operating-point",),
            None,
        )
    with embedder(models) as embed:
        done = 0

        def embed_and_tell(path: Path) -> Any:
            nonlocal done
            done += 1
            progress("measuring similarities", done, len(comparisons.images))
            return embed(path)

        similarities = _operating_point.compare(comparisons, embed_and_tell)
    targets = given["fmr"] or _operating_point.FMR_TARGETS
    if given["fmr"]:
        _operating_point.check_evidence(similarities, targets)
    found, notes = _operating_point.operating_points(similarities, targets)
    if not given["fmr"]:
        # Nobody asked for these targets by name: those that the data cannot carry would claim more than is known.
        carried = tuple(p for p in found if p.impostor >= _statistics.trials_needed(p.fmr))
        dropped = ", ".join(f"{p.fmr:g}" for p in found[len(carried) :])
        notes = (
            (f"too few comparisons for FMR {dropped}: left out; --fmr asks for one all the same",) if dropped else ()
        )
        found = carried
    return found, notes, similarities


def _comparisons(given: dict[str, Any]) -> Comparisons | None:
    from facegate_convert._comparisons import read_identities, read_pairs  # noqa: PLC0415

    if given["pairs"] is not None:
        return read_pairs(given["pairs"], given["images"], infer=given["infer_pairs"])
    return read_identities(given["images"]) if given["images"] is not None else None


def _describe_bundle(
    data: dict[str, Any], models: Sequence[Model], points: Sequence[OperatingPoint], similarities: Similarities | None
) -> str:
    lines = []
    for model in models:
        if model.report is not None:
            lines += [model.report.to_text(), ""]
    signed = (
        f"signed by {data['signed_by']}" if data["signed_by"] else "not signed: devices open it in development only"
    )
    lines.append(f"{'would write' if data['file'] is None else 'wrote'} {data['file'] or 'the bundle'}, {signed}")
    lines += [f"  {m.info.role}: {m.info.family}, {m.info.precision}, {m.info.size / 1000:,.0f} kB" for m in models]
    if similarities is not None:
        lines.append(
            f"  measured on {similarities.images} photographs ({similarities.failed} without a usable face): "
            f"{len(similarities.genuine)} genuine, {len(similarities.impostor)} impostor comparisons"
        )
    for point in points:
        known = (
            f"at most {point.fmr_upper:.2g} (95 %), FNMR {point.fnmr:.2g} ({point.fnmr_low:.2g}..{point.fnmr_high:.2g})"
        )
        lines.append(
            f"  FMR {point.fmr:g}: threshold {point.threshold:.4f}, {known if point.impostor else 'not measured'}"
        )
    return "\n".join(lines)


@contextlib.contextmanager
def _progress(output: Output) -> Iterator[Progress]:
    """A progress bar if a person watches, a line for each step otherwise."""
    if not sys.stderr.isatty():
        last = ""

        def tell(step: str, _done: int, _total: int) -> None:
            nonlocal last
            if step != last:
                last = step
                output.progress(step)

        yield tell
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total or None)
