"""`python -m facegate_train`: one command for each model, one for all of them, one for measuring."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_edge.errors import FacegateError
from facegate_train.errors import FiguresError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[str, int, int], None]

ROLES = ("detector", "recognizer", "liveness")


class _Number(click.FloatRange):
    """A range that a float's "nan", which is in no order, does not slip into."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


_PATH = click.Path(path_type=Path)
_COMMON = (
    click.option("-o", "--output", type=_PATH, default=Path("reference"), help="Folder of the models and their cards."),
    click.option("--cache", type=_PATH, default=Path("~/.cache/facegate/train"), help="Of pictures, about 16 GB."),
    click.option("--stale-cache", is_flag=True, help="Take pictures of another version of the renderer as they are."),
    click.option("--workers", type=click.IntRange(1, 64), default=2, help="Processes that render."),
    click.option("--threads", type=click.IntRange(1, 64), default=2, help="For training."),
    click.option("--share", type=_Number(0.0005, 1.0), default=1.0, help="Of the pictures, for a trial."),
)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_COMMON):
        command = option(command)
    return command


def _training(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--minutes", type=_Number(0.05), help="Training ends by then, the schedule with it."),
        click.option("--epochs", type=_Number(0.01), help="Passes over the pictures."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
    ):
        command = option(command)
    return _common(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Train Facegate's reference models on rendered faces. They recognize rendered faces only; not for people."""


@main.command()
@_training
def detector(**given: Any) -> None:
    """Train the detector (YuNet's outputs, 320x320)."""
    _train("detector", given)


@main.command()
@_training
def recognizer(**given: Any) -> None:
    """Train the recogniser (128 values from 112x112)."""
    _train("recognizer", given)


@main.command()
@_training
def liveness(**given: Any) -> None:
    """Train the liveness model (3 classes from 80x80)."""
    _train("liveness", given)


@main.command(name="all")
@_training
def all_models(**given: Any) -> None:
    """Render, train all three models, measure them, and write their cards."""
    for role in ROLES:
        _train(role, given)
    _evaluate(given, ROLES)


@main.command()
@_common
@click.argument("roles", nargs=-1, type=click.Choice(ROLES))
def render(roles: tuple[str, ...], **given: Any) -> None:
    """Only render the pictures to train on; what is there already stays."""
    from facegate_train import _sets  # noqa: PLC0415 - loads numpy

    with _progress() as progress:
        for role in roles or ROLES:
            _setup(given).pictures(_sets.TRAIN[role], progress)


@main.command()
@_common
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.argument("roles", nargs=-1, type=click.Choice(ROLES))
def evaluate(roles: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Measure the models on the test split, as float32 and as int8, and write their cards."""
    figures = _evaluate(given, roles or ROLES)
    if as_json:
        click.echo(json.dumps(figures, indent=1))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def cards(folder: Path) -> None:
    """Write the model cards of FOLDER again, from its figures.json."""
    from facegate_train._card import write_cards  # noqa: PLC0415

    write_cards(_figures(folder / "figures.json"), folder)


def _figures(path: Path) -> dict[str, Any]:
    """What was measured before.

    Raises:
        FiguresError: the file is absent or no figures are in it.
    """
    hint = f"measure the models again: python -m facegate_train evaluate -o {path.parent}"
    try:
        figures = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FiguresError(f"{path} cannot be read", hint=hint) from error
    if not isinstance(figures, dict) or not isinstance(figures.get("models"), dict):
        raise FiguresError(f"{path} holds no figures", hint=hint)
    return figures


def _setup(given: dict[str, Any]) -> Any:
    from facegate_train._evaluate import Setup  # noqa: PLC0415 - loads numpy and the kernels

    return Setup(
        models=given["output"],
        cache=given["cache"].expanduser(),
        workers=given["workers"],
        threads=given["threads"],
        stale=given["stale_cache"],
        share=given["share"],
    )


def _train(role: str, given: dict[str, Any]) -> None:
    from importlib import import_module  # noqa: PLC0415

    from facegate_train import _cache, _export, _sets  # noqa: PLC0415
    from facegate_train._loop import require_torch  # noqa: PLC0415

    require_torch()  # before an hour of rendering
    setup = _setup(given)
    module = import_module(f"facegate_train._{role}")
    plan = dataclasses.replace(
        module.PLAN,
        seed=given["seed"],
        threads=given["threads"],
        minutes=given["minutes"],
        epochs=given["epochs"] or module.PLAN.epochs,
    )
    with _progress() as progress:
        recipe = _sets.TRAIN[role]
        pictures = setup.pictures(recipe, progress)
        net, facts = module.train(pictures, plan, progress=progress)
        if role == "detector":
            empty = setup.pictures(_sets.VALIDATION_EMPTY, progress)
            facts["calibration"] = module.calibrate(net, empty, threads=plan.threads)
    scaled = setup.scaled(recipe)
    facts |= {
        "renderer": _cache.made_by(scaled, setup.cache),
        "recipe": scaled.settings,
        "seed": plan.seed,
        "batch": plan.batch,
        "rate": plan.rate,
        "parameters": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "command": _command(role, given),
    }
    path = given["output"] / f"{role}.onnx"
    _export.export(role, net, path, {"training": json.dumps(facts, sort_keys=True)})
    click.echo(f"wrote {path}: {path.stat().st_size / 1000:,.0f} kB after {facts['minutes']} minutes", err=True)


def _command(role: str, given: dict[str, Any]) -> str:
    """The command that makes this model again: every option that matters to it."""
    options = {name: given[name] for name in ("seed", "threads", "epochs", "minutes") if given[name] is not None}
    if given["share"] != 1:
        options["share"] = given["share"]
    told = [
        f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}" for name, value in options.items()
    ]
    stale = ["--stale-cache"] if given["stale_cache"] else []
    return " ".join([f"python -m facegate_train {role}", *told, *stale])


def _evaluate(given: dict[str, Any], roles: tuple[str, ...]) -> dict[str, Any]:
    from facegate_convert._files import write_file  # noqa: PLC0415
    from facegate_train._card import summary, write_cards  # noqa: PLC0415
    from facegate_train._evaluate import evaluate as measure  # noqa: PLC0415

    setup = _setup(given)
    path: Path = given["output"] / "figures.json"
    # Models that are not measured now keep their figures; whether they can is asked before the work, not after it.
    before = _figures(path) if path.is_file() else {"models": {}, "share": setup.share}
    if before.get("share") != setup.share:
        raise FiguresError(
            f"{path} was measured on another share of the pictures",
            hint="measure into another folder (-o), or remove that file",
        )
    with _progress() as progress:
        figures = measure(setup, roles, progress=progress)
    figures["models"] = before["models"] | figures["models"]
    text = json.dumps(figures, indent=1, sort_keys=True) + "\n"
    write_file(path, [text.encode()])
    figures = json.loads(text)  # as `cards` will read them, in their order
    write_cards(figures, given["output"])
    click.echo(summary(figures), err=True)
    return figures


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line for each tenth elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            key = what.partition(",")[0]
            if key not in tasks:
                tasks[key] = bar.add_task(what, total=total or None)
            bar.update(tasks[key], description=what, completed=done, total=total or None)

        yield tell


class _Lines:
    """Progress as lines, for a log."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        key, step = what.partition(",")[0], 0 if not total else 50 * done // total
        if self._told.get(key) != step:
            self._told[key] = step
            click.echo(f"{what}: {done} of {total}" if total else what, err=True)


def run() -> None:
    """The command line, with errors as one line and a hint."""
    try:
        main(prog_name="python -m facegate_train")
    except FacegateError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
