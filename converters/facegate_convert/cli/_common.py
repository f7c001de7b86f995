"""What the converter's commands share: kinds of arguments, keys, progress."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facegate_convert._options import Options, Progress
    from facegate_edge._output import Output

    Command = Callable[..., Any]

FILE = click.Path(path_type=Path)
COMMERCIAL = {"yes": True, "no": False, "unknown": None}
PRECISIONS = ("float32", "float16", "dynamic", "int8", "mixed", "auto")
WAYS = ("own", "onnx-tf")
PRESETS = ("arcface", "imagenet", "raw", "unit")


def parse_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", value)
    if not found:
        raise click.BadParameter(f"'{value}' is no size; write e.g. 320x320")
    return int(found[1]), int(found[2])


def parse_channels(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = parse_numbers(value.split(","))
    if numbers is None or len(numbers) not in (1, 3):
        raise click.BadParameter(f"'{value}' is neither one number nor three with commas between")
    return numbers * (3 // len(numbers))


def parse_points(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[float, float]:
    found = {}
    for value in values:
        numbers = parse_numbers(value.split("="))
        if numbers is None or len(numbers) != 2 or not 0 < numbers[0] < 1 or not -1 <= numbers[1] <= 1:  # noqa: PLR2004
            raise click.BadParameter(f"'{value}' is no operating point; write e.g. 0.001=0.42")
        found[numbers[0]] = numbers[1]
    return found


def parse_numbers(texts: Sequence[str]) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def parse_fmr(_ctx: click.Context, _param: click.Parameter, values: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < value < 1 for value in values):
        raise click.BadParameter("an FMR lies between 0 and 1, e.g. 0.001")
    return values


def parse_name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value):
        raise click.BadParameter("up to 64 lower-case letters, digits, dots, dashes and underscores")
    return value


def parse_version(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from facegate_edge._manifest_rules import version_tuple  # noqa: PLC0415

    if version_tuple(value) is None:
        raise click.BadParameter("a semantic version has three numbers, e.g. 1.0.0")
    return value


def parse_target(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from facegate_edge._targets import target  # noqa: PLC0415 - reads the profiles

    return target(value).name


def conversion_options(command: Command) -> Command:
    """The options of `convert` that `bundle build` has for its ONNX files, too."""
    for add in reversed(
        (
            click.option(
                "--precision",
                type=click.Choice(PRECISIONS),
                default="float32",
                show_default=True,
                help="For ONNX files; auto chooses for the target.",
            ),
            click.option(
                "--target",
                "device",
                default="generic",
                show_default=True,
                callback=parse_target,
                help="Device profile (docs/targets.md).",
            ),
            click.option(
                "--via", type=click.Choice(WAYS), default="own", show_default=True, help="How float32 is made of ONNX."
            ),
            click.option("--calibration", type=FILE, help="Folder of photographs to calibrate (int8) and compare on."),
            click.option("--input-size", metavar="WxH", callback=parse_size, help="For models that leave it open."),
            click.option(
                "--float16-arithmetic", is_flag=True, help="Calculate float16 models in float16 on the target."
            ),
            click.option(
                "--size-budget", type=click.IntRange(1), metavar="BYTES", help="For mixed and auto: bytes, at most."
            ),
            click.option("--licence", default="unknown", show_default=True, help="SPDX expression, of the weights."),
            click.option(
                "--commercial-use", type=click.Choice(tuple(COMMERCIAL)), default="unknown", show_default=True
            ),
            click.option("--pairs", type=FILE, help="CSV (file_x,file_y,Decision) of who is who, to measure on."),
            click.option("--images", type=FILE, help="Folder of its files; without --pairs one subfolder an identity."),
            click.option("--infer-pairs", is_flag=True, help="Add the comparisons that follow from those listed."),
            click.option("--truth", type=FILE, help="CSV (file,x1,y1,x2,y2) of true faces, for a detector."),
            click.option("--attacks", type=FILE, help="Folder of live/ and a folder a species, for a liveness model."),
            click.option("--report", type=FILE, help="Also write the report: NAME.html, or JSON."),
            click.option("--allow-drift", is_flag=True, help="Accept a model that decides otherwise than its source."),
            click.option(
                "--allow-slower", is_flag=True, help="Accept a model slower than its target's profile allows."
            ),
            click.option("--allow-partitions", is_flag=True, help="Accept a model that XNNPACK takes in more pieces."),
            click.option("--strict", is_flag=True, help="Also refuse what too few photographs leave open."),
            click.option("--no-latency", is_flag=True, help="Do not time the model on this machine."),
        )
    ):
        command = add(command)
    return command


def make_options(given: dict[str, Any]) -> Options:
    from facegate_convert._convert import Options  # noqa: PLC0415

    return Options(
        precision=given["precision"],
        input_size=given["input_size"],
        color=given.get("color"),
        mean=given.get("mean"),
        scale=given.get("scale"),
        preprocess=given.get("preprocess"),
        crop_scale=given.get("crop_scale"),
        target=given["device"],
        via=given["via"],
        calibration=given["calibration"],
        detector=given.get("detector"),
        pairs=given["pairs"],
        images=given["images"],
        infer_pairs=given["infer_pairs"],
        truth=given["truth"],
        attacks=given["attacks"],
        float16_arithmetic=given["float16_arithmetic"],
        size_budget=given["size_budget"],
        licence=given["licence"],
        commercial_use=COMMERCIAL[given["commercial_use"]],
        allow_drift=given["allow_drift"],
        allow_slower=given["allow_slower"],
        allow_partitions=given["allow_partitions"],
        strict=given["strict"],
        measure_latency=not given["no_latency"],
    )


def check_labels(given: dict[str, Any]) -> None:
    """Refuse options that make no sense without another. Raises click.UsageError."""
    if given["pairs"] is not None and given["images"] is None:
        raise click.UsageError("--pairs needs --images, the folder that its file names are in")
    if given["infer_pairs"] and given["pairs"] is None:
        raise click.UsageError("--infer-pairs needs --pairs")


def check_budget(given: dict[str, Any]) -> None:
    """Refuse a size for a precision that has but one. Raises click.UsageError."""
    if given["size_budget"] is not None and given["precision"] not in ("mixed", "auto"):
        raise click.UsageError("--size-budget is for --precision mixed or auto: the others have one size")


def check_outputs(given: dict[str, Any], sources: Sequence[Path], *, replace: bool = False) -> None:
    """Refuse outputs that cannot be, before the work: over an input, over each other, in a folder that is not there.

    Args:
        given: the command's options.
        sources: files that are read.
        replace: a bundle among them may be replaced by the one that is built of it.

    Raises:
        click.UsageError: an output would destroy what is read, or another output.
        OutputFileError: its folder does not exist.
    """
    from facegate_convert.errors import OutputFileError  # noqa: PLC0415 - see the module

    named = {"-o": given["target"], "--report": given["report"]}
    read = {path.resolve(): str(path) for path in sources}
    seen: dict[Path, str] = {}
    for option, path in named.items():
        if path is None or given["dry_run"]:
            continue
        place = path.resolve()
        if place in read and not (replace and option == "-o" and path.suffix == ".fgb"):
            raise click.UsageError(f"{option} would overwrite {read[place]}, which is read")
        if place in seen:
            raise click.UsageError(f"{option} and {seen[place]} are the same file")
        seen[place] = option
        if not place.parent.is_dir():
            raise OutputFileError(
                f"{path} cannot be written: there is no folder {path.parent}", hint="make the folder or choose another"
            )


def without_effect(given: dict[str, Any], converted: Sequence[str]) -> tuple[str, ...]:
    """What to say of options that changed nothing, because no model was converted that they are for.

    Args:
        given: the options of `bundle build`.
        converted: roles of the models that were converted on the way.
    """
    notes = [
        f"--{option} was not looked at: no {role}'s ONNX file is among the models"
        for option, role in (("truth", "detector"), ("attacks", "liveness model"))
        if given[option] is not None and role.split()[0] not in converted
    ]
    asked = [
        f"--{name.replace('_', '-')}"
        for name, default in (("precision", "float32"), ("calibration", None), ("strict", False))
        if given[name] != default
    ]
    if asked and not converted:
        notes.append(f"{', '.join(asked)} changed nothing: the models are converted already")
    return tuple(notes)


@contextlib.contextmanager
def reported(output: Output, given: dict[str, Any]) -> Iterator[None]:
    """Write the report of a conversion that is refused, too, if one was asked for."""
    from facegate_convert._report import Report  # noqa: PLC0415
    from facegate_convert.errors import GateError  # noqa: PLC0415

    try:
        yield
    except GateError as error:
        if not isinstance(error.report, Report):
            raise
        if given["report"] is None:
            error.hint += "; --report FILE.html shows what was measured"
        elif not given["dry_run"]:
            path = report_path(given["report"], error.report.role, several="models" in given)
            error.report.save(path)
            output.progress(f"wrote {path}, which shows what was measured")
        raise


def report_path(path: Path, role: str, *, several: bool) -> Path:
    """Where the report of one of several models goes: door.html, of the detector door-detector.html."""
    return path.with_name(f"{path.stem}-{role}{path.suffix}") if several else path


def load_key(path: Path | None) -> Any:
    if path is None:
        return None
    from facegate_edge._passphrase import load_signing_key  # noqa: PLC0415

    return load_signing_key(path)


def printable(text: str) -> str:
    """A line as a terminal may get it: names of files, columns and groups can hold anything."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@contextlib.contextmanager
def progress_bar(output: Output) -> Iterator[Progress]:
    """A progress bar if a person watches, a line for each step otherwise."""
    if not sys.stderr.isatty():
        last = ""

        def tell(step: str, _done: int, _total: int) -> None:
            nonlocal last
            if step != last:
                last = step
                output.progress(printable(step))

        yield tell
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        # A step may name a column of somebody's table: "[/b]" would be markup, and end the run.
        yield lambda step, done, total: bar.update(
            task, description=escape(printable(step)), completed=done, total=total or None
        )
