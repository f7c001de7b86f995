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
    from collections.abc import Iterator, Sequence

    from facegate_convert._convert import Options, Progress
    from facegate_edge._output import Output

FILE = click.Path(path_type=Path)
COMMERCIAL = {"yes": True, "no": False, "unknown": None}
PRECISIONS = ("float32", "int8", "dynamic")
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
        calibration=given["calibration"],
        detector=given.get("detector"),
        licence=given["licence"],
        commercial_use=COMMERCIAL[given["commercial_use"]],
        allow_drift=given.get("allow_drift", False),
        measure_latency=not given.get("no_latency", True),
    )


def load_key(path: Path | None) -> Any:
    if path is None:
        return None
    from facegate_edge._passphrase import load_signing_key  # noqa: PLC0415

    return load_signing_key(path)


@contextlib.contextmanager
def progress_bar(output: Output) -> Iterator[Progress]:
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
