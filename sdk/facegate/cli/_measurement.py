"""A measurement for others to learn from: made by `facegate bench --submit-file`, read by `facegate bench-compare`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate.cli._bench import assumed_face, made_up_frame, run
from facegate.cli._progress import Bar
from facegate.cli._session import is_scripted
from facegate.cli._tables import table
from facegate.errors import MeasurementWriteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_edge import Bundle, Pipeline
    from facegate_edge._output import Output
    from facegate_edge._timings import Timings

__all__ = ["compare", "submit"]

THREADS = (1, 2, 4)
WARM_UP = 10
_STEP = 10  # frames between two drawings of the progress bar


def submit(
    output: Output,
    bundle: Bundle,
    target: Path,
    *,
    frames: int,
    engine: str | None = None,
    any_machine: bool = False,
    yes: bool = False,
    root: Path = Path("/"),
) -> None:
    """Measure a bundle with several numbers of threads, show all that was found, and write it into a file.

    Args:
        output: the command's.
        bundle: what is measured.
        target: the file; it must not exist.
        frames: for each number of threads.
        engine: "litert", "tflite" or None to choose.
        any_machine: also measure a bundle that was built for another kind of machine.
        yes: do not ask before writing.
        root: where /proc and /sys are, for tests.

    Raises:
        MeasurementWriteError: the file exists or cannot be written.
    """
    from facegate._measurement import make_document  # noqa: PLC0415 - help must not wait
    from facegate._measurement_rules import check_document  # noqa: PLC0415
    from facegate_edge import _kernels  # noqa: PLC0415
    from facegate_edge._conditions import conditions  # noqa: PLC0415

    _check_new(target)  # before minutes of work
    before = conditions(root)
    counts = _thread_counts()
    runs = []
    with Bar(output, "measuring") as bar:
        for place, threads in enumerate(counts):
            output.progress(f"measuring {frames} frames, threads: {threads}")

            def progress(done: int, place: int = place) -> None:
                bar(place * frames + done, len(counts) * frames)

            name, found = _measured(bundle, threads, frames, progress, engine=engine, any_machine=any_machine)
            runs.append(found)
    width, height = made_up_frame().size
    document = make_document(
        root,
        bundle,
        name,
        {"width": width, "height": height, "faces": 1},
        runs,
        before,
        conditions(root),
        kernels=_kernels.active_path(),
        rss_peak_mb=max(1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10),
    )
    check_document(document)
    text = _laid_out(document)
    output.progress(f"{text}\nThis is all that the file holds. It is sent to nobody: that is yours to do.")
    if not yes and not is_scripted(output) and not click.confirm(f"Write it to {target}?", default=True, err=True):
        output.emit({"written": False}, "nothing was written")
        click.get_current_context().exit(1)
    _write(target, text)
    output.emit(
        {"file": str(target), "measurement": document},
        lambda: f"{_summary([(target, document)])}\nwrote {target}: {_where_to()}",
    )


@click.command("bench-compare", short_help="Check measurements that were contributed, and compare them.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--emulated", is_flag=True, help="Also take measurements of emulators.")
@click.pass_obj
def compare(output: Output, files: tuple[Path, ...], emulated: bool) -> None:
    """Check FILEs that `facegate bench --submit-file` wrote, and put them side by side.

    Times are medians in milliseconds; behind each stands its ratio to the first file's. Measurements are claims of who
    made them: only contradictions in them are found.
    """
    from facegate._measurement_rules import read_measurement  # noqa: PLC0415 - help must not wait

    found = [(path, read_measurement(path, emulated=emulated)) for path in files]
    documents = [document for _, document in found]
    rows = _rows(documents)
    same = len({document["bundle"]["id"] for document in documents}) == 1
    data = {
        "measurements": [{"file": str(path), **_head(document)} for path, document in found],
        "same_bundle": same,
        "rows": [
            {"threads": threads, "stage": stage, "p50_ms": values, "ratio": _ratios(values)}
            for threads, stage, values in rows
        ],
    }
    output.emit(data, lambda: _summary(found))


def _thread_counts() -> list[int]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [count for count in THREADS if count <= usable]


def _measured(
    bundle: Bundle, threads: int, frames: int, progress: Any, *, engine: str | None, any_machine: bool
) -> tuple[str, dict[str, Any]]:
    """The engine's name, and the figures with so many threads as JSON types."""
    from time import perf_counter_ns  # noqa: PLC0415

    from facegate_edge import Pipeline, Timings  # noqa: PLC0415 - help must not wait

    frame = made_up_frame()
    faces = (assumed_face(frame),)
    timings = Timings()
    with Pipeline(bundle, threads=threads, engine=engine, timings=timings, any_machine=any_machine) as pipeline:
        began = perf_counter_ns()
        run(pipeline, frame, 1, faces)
        first = perf_counter_ns() - began
        run(pipeline, frame, WARM_UP - 1, faces)
        timings = pipeline.timings = Timings()
        for done in range(0, frames, _STEP):
            run(pipeline, frame, min(_STEP, frames - done), faces)
            progress(min(done + _STEP, frames))
        return pipeline.engine, _described(pipeline, timings, threads, first)


def _described(pipeline: Pipeline, timings: Timings, threads: int, first: int) -> dict[str, Any]:
    from facegate._measurement import describe_distribution as described  # noqa: PLC0415 - help must not wait
    from facegate_edge._timings import INFERENCE  # noqa: PLC0415

    del pipeline
    inference = [sum(spent) for spent in zip(*(timings.stages[stage] for stage in INFERENCE), strict=True)]
    other = [total - engine for total, engine in zip(timings.totals, inference, strict=True)]
    return {
        "threads": threads,
        "frames": len(timings.totals),
        "warm_up": {"frames": WARM_UP, "first_ms": round(first / 1e6, 4)},
        "stages": {stage: described(values) for stage, values in timings.stages.items() if any(values)},
        "inference": described(inference),
        "not_inference": described(other),
        "total": described(timings.totals),
    }


def _laid_out(document: dict[str, Any]) -> str:
    """JSON that a person can read through: what holds only figures stays on one line."""
    text = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False)
    return re.sub(r"([{\[])\n\s+([^{}\[\]]*?)\n\s+([}\]])", _joined, text) + "\n"


def _joined(match: re.Match[str]) -> str:
    return match[1] + re.sub(r"\n\s+", " ", match[2]) + match[3]


def _check_new(target: Path) -> None:
    if target.is_symlink() or target.exists():
        raise MeasurementWriteError(f"{target} exists already", hint="choose another name: nothing is overwritten")
    if not target.parent.is_dir():
        raise MeasurementWriteError(f"there is no folder {target.parent}", hint="make it, or choose another one")


def _write(target: Path, text: str) -> None:
    """All of it or nothing, never over something else, and on a stick with FAT as well. Mode 0644: to be given away."""
    try:
        with target.open("x", encoding="ascii") as file:
            try:
                with contextlib.suppress(OSError):  # FAT has no modes
                    os.fchmod(file.fileno(), 0o644)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                target.unlink()
                raise
    except FileExistsError:
        _check_new(target)
    except OSError as error:
        raise MeasurementWriteError(
            f"{target} cannot be written: {error.strerror}", hint="make room, or choose another folder"
        ) from None


def _where_to() -> str:
    return "docs/precision.md of the project says where to send it, if you want to"


def _head(document: dict[str, Any]) -> dict[str, Any]:
    """What a measurement is of, in few words."""
    machine, system, software = document["machine"], document["system"], document["software"]
    return {
        "board": machine["board"] or machine["target"] or machine["architecture"],
        "cpu": machine["cpu"],
        "cores": machine["cores"],
        "system": f"{system['os']}, {system['kernel']}".strip(", "),
        "engine": f"{software['engine']} {software['engine_version']}".strip(),
        "bundle": f"{document['bundle']['name']} {document['bundle']['version']} ({document['bundle']['id'][:12]})",
        "precisions": ", ".join(model["precision"] for model in document["models"]),
        "rss_peak_mb": document["rss_peak_mb"],
        **document["sanity"],
    }


def _rows(documents: Sequence[dict[str, Any]]) -> list[tuple[int, str, list[float | None]]]:
    """(threads, stage, medians): for all that any of the measurements has, None where one has it not."""
    found: dict[tuple[int, str], list[float | None]] = {}
    for place, document in enumerate(documents):
        for one in document["runs"]:
            parts = {**one["stages"], **{name: one[name] for name in ("inference", "not_inference", "total")}}
            for stage, entry in parts.items():
                values = found.setdefault((one["threads"], stage), [None] * len(documents))
                values[place] = entry["p50_ms"]
    last = {"inference": 1, "not_inference": 2, "total": 3}
    order = sorted(found, key=lambda key: (key[0], last.get(key[1], 0)))
    return [(threads, stage, found[threads, stage]) for threads, stage in order]


def _ratios(values: Sequence[float | None]) -> list[float | None]:
    return [round(v / values[0], 3) if v is not None and values[0] else None for v in values]


def _summary(found: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    heads = [_head(document) for _, document in found]
    labels = ("board", "cpu", "cores", "system", "engine", "bundle", "precisions", "rss_peak_mb")
    names = tuple(path.name for path, _ in found)
    lines = [
        table(
            ("", *names),
            [(label.replace("_", " "), *(str(head[label]) for head in heads)) for label in labels],
            "",
        ),
        "",
    ]
    rows = []
    for threads, stage, values in _rows([document for _, document in found]):
        shown = [f"{values[0]:9.3f}" if values[0] is not None else "        -"]
        for value, ratio in zip(values[1:], _ratios(values)[1:], strict=True):
            shown.append("        -" if value is None else f"{value:9.3f}" + (f" ({ratio:.2f})" if ratio else ""))
        rows.append((str(threads), stage.replace("_", " "), *shown))
    lines.append(table(("threads", "median ms", *names), rows, ""))
    for name, head in zip(names, heads, strict=True):
        said = {True: "yes", False: "no", None: "not known"}
        lines.append(f"\n{name}: quiet: {said[head['quiet']]}; slowed down: {said[head['throttled']]}")
        lines += [f"  {note}" for note in head["notes"]]
    if len({document["bundle"]["id"] for _, document in found}) > 1:
        lines.append("\nThe bundles are not the same: a ratio is of the models as much as of the machines.")
    return "\n".join(lines)
