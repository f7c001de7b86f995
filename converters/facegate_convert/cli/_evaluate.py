"""`facegate evaluate run` and `facegate evaluate validate`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE, PRESETS, parse_fmr, parse_size, printable, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facegate_convert._evaluate import Evaluation, Opened, Problem, Settings
    from facegate_edge._output import Output

__all__ = ["run", "source_options", "validate"]

FACES = ("largest", "central", "refuse")
_SHOWN = 20  # problems of a kind
_NOTHING = 1e-9  # the end of an interval that is as good as 0


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what goes with a source of templates."""
    for option in reversed(
        (
            click.option("--detector", type=FILE, help="With an ONNX recogniser or a hosted model: finds the faces."),
            click.option("--liveness-model", type=FILE, help="With an ONNX recogniser, for --liveness."),
            click.option("--preprocess", type=click.Choice(PRESETS), help="Normalisation of an ONNX recogniser."),
            click.option("--input-size", metavar="WxH", callback=parse_size, help="For detectors that leave it open."),
            click.option("--trust", type=FILE, help="Public key, or folder of them, that must have signed a bundle."),
            click.option("--endpoint", metavar="URL", help="Of a hosted model; better in FACEGATE_ENDPOINT."),
            click.option("--token-file", type=FILE, help="Token for it; or FACEGATE_ENDPOINT_TOKEN."),
            click.option(
                "--faces",
                type=click.Choice(FACES),
                default="largest",
                show_default=True,
                help="Which face of a photograph that shows several.",
            ),
            click.option("--jobs", type=click.IntRange(1, 256), help="Processes [default: one a processor]."),
            click.option("--engine", type=click.Choice(["litert", "tflite"]), help="Use this engine."),
        )
    ):
        command = option(command)
    return command


@click.command(short_help="Measure a source of templates on a dataset.")
@click.argument("source")
@click.argument("dataset", type=FILE)
@click.option("-o", "--output", "target", type=FILE, required=True, help="Folder for the result; made if need be.")
@click.option("--lawful-basis", required=True, help="By what right these photographs are processed; it is noted.")
@click.option("--images", type=FILE, help="Folder of a pairs file's photographs [default: the file's own].")
@click.option("--infer-pairs", is_flag=True, help="Add the comparisons that follow from a CSV file's pairs.")
@click.option("--name", help="What the dataset is called in the result [default: its file's name].")
@click.option("--manifest", type=FILE, help="Refuse photographs that are not those of this manifest.json.")
@click.option("--attributes", type=FILE, help="CSV: a column `identity` or `image`, others are groups of people.")
@click.option("--by", multiple=True, help="Use only this column of the attributes (repeatable).")
@click.option("--liveness", type=FILE, help="Folder of a folder `live` and one for each species of attack.")
@click.option("--liveness-threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option("--open-set", is_flag=True, help="Also measure identification: enroll some, search for all.")
@click.option("--enroll", type=click.IntRange(1, 100), default=1, show_default=True, help="Photographs a person.")
@click.option("--fmr", type=float, multiple=True, callback=parse_fmr, help="FMR target [default: 1e-2 .. 1e-6].")
@click.option("--group-fmr", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Compare groups there.")
@click.option("--quality-gate", is_flag=True, help="Photographs that a gate would refuse count as failures.")
@click.option(
    "--replicates", type=click.IntRange(0, 100_000), default=1000, show_default=True, help="Of the bootstrap."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--worst", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Worst pairs to list.")
@click.option("--names", is_flag=True, help="List them by file name too, not by id alone.")
@click.option("--require", multiple=True, metavar="FIGURE<=N", help="E.g. fnmr@1e-3<=0.02; else exit 1 (repeatable).")
@click.option("--strict", is_flag=True, help="Requirements must hold for the worse end of the interval.")
@click.option("--cache", type=FILE, help="Folder for templates [default: in the result's].")
@click.option("--no-cache", is_flag=True, help="Keep no templates on the disk; a run that is broken off starts anew.")
@source_options
@click.pass_obj
def run(output: Output, /, **given: Any) -> None:
    """Measure how well SOURCE tells the people of DATASET apart.

    SOURCE is a bundle, an ONNX recogniser with --detector, a folder or file of features (.npy), or hosted:MODEL_NAME
    with --detector. DATASET is a folder that holds a folder for each identity, LFW's pairs.txt, or a CSV of pairs.

    The same command again goes on where it was broken off. Exit code 1: something that was required is not met.
    """
    from facegate_convert import _evaluate as room  # noqa: PLC0415 - see the module
    from facegate_convert._files import write_file  # noqa: PLC0415

    if not given["lawful_basis"].strip():
        raise click.UsageError("--lawful-basis says by what right these photographs are processed; it cannot be empty")
    if given["no_cache"] and given["cache"] is not None:
        raise click.UsageError("--cache and --no-cache exclude each other")
    if given["by"] and given["attributes"] is None:
        raise click.UsageError("--by chooses columns of --attributes")
    settings = _settings(given)
    with progress_bar(output) as progress:
        opened = room.open_source(given["source"], _named(given), progress=progress)
        dataset = room.read_dataset(given["dataset"], given["images"], infer=given["infer_pairs"], progress=progress)
        notes: list[str] = []
        attributes: Any = ()
        if given["attributes"] is not None:
            attributes, said = room.read_attributes(given["attributes"], dataset, given["by"])
            notes += said
        shown = None
        if given["liveness"] is not None:
            shown = room.read_presentations(given["liveness"], progress=progress)
        manifest = room.make_manifest(
            dataset,
            lawful_basis=given["lawful_basis"],
            pairs=given["dataset"] if dataset.pairs is not None else None,
            attributes=given["attributes"],
            presentations=shown[0] if shown is not None else None,
        )
        if given["manifest"] is not None:
            room.check_manifest(room.load_manifest(given["manifest"]), manifest)
        folder = room.make_folder(given["target"])
        write_file(folder / room.MANIFEST, [manifest.to_bytes()], mode=0o600)
        templates = None if given["no_cache"] else given["cache"] or folder / "templates"
        try:
            evaluation = room.evaluate(
                opened.source,
                dataset,
                manifest,
                name=given["name"] or given["dataset"].resolve().stem,
                settings=_with_stated(settings, opened),
                attributes=attributes,
                presentations=shown,
                folder=templates,
                notes=[*opened.notes, *notes],
                progress=progress,
            )
        except KeyboardInterrupt:
            if templates is not None:
                output.progress("interrupted; the same command goes on from here")
            raise
    path = room.save_evaluation(evaluation, folder)
    data = {"result": str(path), "manifest": str(folder / room.MANIFEST), "evaluation": _shown(evaluation)}
    output.emit(data, lambda: describe(evaluation, path))
    if not evaluation.passed:
        click.get_current_context().exit(1)


def _settings(given: dict[str, Any]) -> Settings:
    from facegate_convert import _evaluate as room  # noqa: PLC0415

    return room.Settings(
        faces=given["faces"],
        quality=given["quality_gate"],
        fmr=given["fmr"] or room.FMR_TARGETS,
        group_fmr=given["group_fmr"],
        open_set=given["open_set"],
        enroll=given["enroll"],
        liveness_threshold=given["liveness_threshold"],
        replicates=given["replicates"],
        seed=given["seed"],
        worst=given["worst"],
        names=given["names"],
        requirements=tuple(room.parse_requirement(text) for text in given["require"]),
        strict=given["strict"],
        jobs=given["jobs"],
        engine=given["engine"],
    )


def _with_stated(settings: Settings, opened: Opened) -> Settings:
    from dataclasses import replace  # noqa: PLC0415

    return replace(settings, stated=opened.stated)


def _named(given: dict[str, Any]) -> Any:
    from facegate_convert import _evaluate as room  # noqa: PLC0415

    return room.Named(
        detector=given["detector"],
        liveness=given["liveness_model"],
        preprocess=given["preprocess"],
        input_size=given["input_size"],
        trust=given["trust"],
        endpoint=given["endpoint"],
        token=given["token_file"],
    )


def _shown(evaluation: Evaluation) -> dict[str, Any]:
    """What goes to the standard output: figures, and no score of two photographs."""
    found = evaluation.to_dict()
    for name in ("scores", "curve", "worst"):
        del found[name]
    return found


def describe(evaluation: Evaluation, path: Path) -> str:
    """The result for people."""
    e = evaluation
    head = (
        f"{e.source['name']} on {e.dataset['name']}: {e.dataset['images']} photographs of "
        f"{e.dataset['identities']} identities, {e.comparisons['genuine']} genuine and {e.comparisons['impostor']} "
        "impostor comparisons"
    )
    lines = [
        head,
        f"  failure to detect {_rate(e.failures['detect'])}, to enroll {_rate(e.failures['enroll'])}",
        f"  equal error rate {_percent(e.summary['eer']['value'])}",
    ]
    lines += [
        f"  FMR {point['fmr']:g}: threshold {point['threshold']:.4f}, FNMR {_rate(point['fnmr'])}, "
        f"with failures {_percent(point['fnmr_with_failures']['value'])}"
        for point in e.operating_points
        if point["carried"]
    ]
    lines += [
        f"  the bundle's threshold {p['threshold']:.4f} for FMR {p['fmr']:g}: FMR {_rate(p['fmr_measured'])} "
        f"({p['verdict']}), FNMR {_rate(p['fnmr'])}"
        for p in e.stated_points
    ]
    if "mean" in e.folds:
        lines.append(f"  accuracy over {len(e.folds['folds'])} folds {_percent(e.folds['mean'])}")
    if "rank1" in e.open_set:
        lines.append(
            f"  1:N with {e.open_set['gallery']} enrolled: rank 1 {_rate(e.open_set['rank1'])}"
            + "".join(
                f", FNIR {_percent(p['fnir']['value'])} at FPIR {p['fpir']:g}"
                for p in e.open_set["points"]
                if p["carried"]
            )
        )
    for group in e.groups:
        lines.append(f"  by {group['column']} at threshold {group['threshold']:.4f}: {group['check']['verdict']}")
        lines += [f"    {g['name']}: FMR {_rate(g['fmr'])}, FNMR {_rate(g['fnmr'])}" for g in group["groups"]]
    if "apcer" in e.liveness:
        lines.append(
            f"  liveness at {e.liveness['threshold']:g}: APCER {_rate(e.liveness['apcer'])} ({e.liveness['worst']}), "
            f"BPCER {_rate(e.liveness['bpcer'])}"
        )
    lines += [f"  look at: {number} x {kind.replace('_', ' ')}" for kind, number in e.problems.items()]
    lines += [f"  note: {text}" for text in e.warnings]
    for check in e.checks:
        measured = "not measured" if check["measured"] is None else f"{check['measured']:.6g}"
        note = f" ({check['note']})" if check["note"] else ""
        lines.append(f"  {'met' if check['met'] else 'NOT MET'}: {check['require']}: {measured}{note}")
    return "\n".join(printable(line) for line in [*lines, f"wrote {path}"])


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _rate(rate: dict[str, Any]) -> str:
    low = rate["low"] if rate["low"] > _NOTHING else 0.0
    return f"{_percent(rate['value'])} ({100 * low:.3g}..{100 * rate['high']:.3g})"


@click.command(short_help="Find what is wrong with a dataset.")
@click.argument("dataset", type=FILE)
@click.option("--images", type=FILE, help="Folder of a pairs file's photographs [default: the file's own].")
@click.option("--source", help="As for `evaluate run`: also look at the faces, and compare them.")
@click.option("-o", "--output", "target", type=FILE, help="Folder for validation.json and templates, as of a result.")
@source_options
@click.pass_obj
def validate(output: Output, /, **given: Any) -> None:
    """Find what is wrong with DATASET before anybody believes figures that were measured on it.

    Copies and near-identical pictures, files that cannot be read; with --source also photographs without a face or with
    several, small, blurred, dark or turned faces, and photographs that are filed under somebody else. Exit code 1:
    there is something that makes figures wrong.
    """
    from facegate_convert import _evaluate as room  # noqa: PLC0415 - see the module
    from facegate_convert._files import write_file  # noqa: PLC0415

    folder = room.make_folder(given["target"]) if given["target"] is not None else None
    with progress_bar(output) as progress:
        dataset = room.read_dataset(given["dataset"], given["images"], progress=progress)
        opened = None
        if given["source"] is not None:
            opened = room.open_source(given["source"], _named(given), progress=progress)
        found = room.validate(
            dataset,
            opened.source if opened is not None else None,
            faces=given["faces"],
            folder=folder / "templates" if folder is not None else None,
            jobs=given["jobs"],
            engine=given["engine"],
            progress=progress,
        )
    problems = [_problem(dataset.names, problem) for problem in found]
    serious = sum(problem.kind in room.SERIOUS for problem in found)
    if folder is not None:
        document = {"format": "facegate-validation", "version": 1, "fingerprint": dataset.fingerprint}
        rows = [{**_problem(dataset.names, p), "detail": p.detail} for p in found]
        write_file(folder / "validation.json", [room.dump({**document, "problems": rows})], mode=0o600)
    data = {
        "photographs": len(dataset.names),
        "identities": len(dataset.identities),
        "looked_at_faces": opened is not None,
        "problems": problems,
        "serious": serious,
        "notes": list(dataset.notes),
    }
    output.emit(data, lambda: _describe_problems(data))
    if serious:
        click.get_current_context().exit(1)


def _problem(names: tuple[str, ...], problem: Problem) -> dict[str, Any]:
    """A problem without the similarities behind it: those stay in the folder."""
    return {
        "kind": problem.kind,
        "photographs": list(problem.detail.get("names", ())) or [names[i] for i in problem.photographs],
    }


def _describe_problems(data: dict[str, Any]) -> str:
    from facegate_convert import _evaluate as room  # noqa: PLC0415

    lines = [f"{data['photographs']} photographs of {data['identities']} identities"]
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for problem in data["problems"]:
        by_kind.setdefault(problem["kind"], []).append(problem)
    for kind, problems in by_kind.items():
        serious = "  <- makes figures wrong" if kind in room.SERIOUS else ""
        lines.append(f"{len(problems)} x {kind.replace('_', ' ')}: {room.PROBLEM_KINDS[kind]}{serious}")
        lines += [f"    {'  '.join(map(printable, problem['photographs']))}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"    and {len(problems) - _SHOWN} more (--json lists all)")
    lines += [f"note: {printable(note)}" for note in data["notes"]]
    if not data["looked_at_faces"]:
        lines.append("note: faces were not looked at; name a bundle with --source")
    if not data["problems"]:
        lines.append("nothing looks wrong")
    return os.linesep.join(lines)
