"""`facegate bench`: how long a frame takes with a bundle on this machine, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from facegate.cli._session import yes_option
from facegate.cli._trust import open_trusted, trust_options

if TYPE_CHECKING:
    from facegate_edge import Bundle, Face, Frame, Pipeline, Timings
    from facegate_edge._output import Output

__all__ = ["assumed_face", "bench", "made_up_frame", "run"]

_SIZE = (640, 480)


@click.command(short_help="Measure a bundle on this machine.")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="A photograph to measure with.")
@click.option(
    "--frames", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="How many to measure."
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads for each model.")
@click.option("--engine", type=click.Choice(["litert", "tflite"]), help="Use this engine instead of choosing.")
@click.option("--any-machine", is_flag=True, help="Also measure a bundle that was built for another kind of machine.")
@click.option(
    "--submit-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a measurement to contribute: this machine and its times, with 1, 2 and 4 threads; nothing personal.",
)
@yes_option
@trust_options
@click.pass_context
def bench(
    context: click.Context,
    bundle: Path | None,
    image: Path | None,
    frames: int,
    threads: int,
    engine: str | None,
    any_machine: bool,
    submit_file: Path | None,
    yes: bool,
    trust: Path | None,
    development: bool,
) -> None:
    """Measure how long a frame takes with BUNDLE on this machine, and where the time goes.

    Without BUNDLE it is the reference bundle that comes with Facegate, the same on every machine.

    Every face that is detected is measured, aligned and embedded; its liveness is checked if the bundle has a model for
    that. Without --image the frame is made up, 640x480, and one face is assumed in the middle of it. What is not
    inference is everything but the engine's runs.
    """
    from facegate_edge import Frame, Pipeline, Timings  # noqa: PLC0415 - help must not wait

    output: Output = context.obj
    if submit_file is not None:
        from facegate.cli._measurement import submit  # noqa: PLC0415

        _check_submission(context)
        with _opened(bundle, trust, development=development) as opened:
            submit(output, opened, submit_file, frames=frames, engine=engine, any_machine=any_machine, yes=yes)
        return
    timings = Timings()
    frame = made_up_frame() if image is None else Frame.open(image)
    with (
        _opened(bundle, trust, development=development) as opened,
        Pipeline(opened, threads=threads, engine=engine, timings=timings, any_machine=any_machine) as pipeline,
    ):
        if pipeline.fit.verdict != "yes":
            output.progress(f"note: {pipeline.fit}")
        pipeline.warm_up(*frame.size)
        faces = (assumed_face(frame),) if image is None else None
        output.progress(f"measuring {frames} frames with {pipeline.engine}, threads: {threads}")
        found = run(pipeline, frame, frames, faces)
        report = {
            "bundle": opened.manifest.name,
            "version": opened.manifest.version,
            "target": opened.manifest.target,
            "engine": pipeline.engine,
            "threads": threads,
            "frames": frames,
            "width": frame.size[0],
            "height": frame.size[1],
            "synthetic": image is None,
            "faces": found,
            **summarize(timings),
        }
    output.emit(report, lambda: _text(report))


def _opened(bundle: Path | None, trust: Path | None, *, development: bool) -> Bundle:
    """The bundle that was named, or the one that comes with the package."""
    if bundle is not None:
        return open_trusted(bundle, trust, development=development)
    from facegate._reference import open_reference_bundle  # noqa: PLC0415 - help must not wait

    return open_reference_bundle()


def _check_submission(context: click.Context) -> None:
    """Measurements compare only if they are made alike. Raises click.UsageError."""
    for name in ("image", "threads"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} and --submit-file do not go together: measurements are made alike")


def run(pipeline: Pipeline, frame: Frame, frames: int, faces: tuple[Face, ...] | None) -> int:
    """Send a frame through the pipeline again and again, recording into its timings.

    Args:
        pipeline: with timings.
        frame: the frame.
        frames: how often.
        faces: what to measure and embed instead of the faces that were detected, or None.

    Returns:
        The number of faces that were measured and embedded in each frame.
    """
    timings = pipeline.timings
    if timings is None:
        raise ValueError("the pipeline has no timings")
    used: tuple[Face, ...] = ()
    for _ in range(frames):
        timings.begin()
        detected = pipeline.detect(frame)
        used = detected if faces is None else faces
        for face in used:
            pipeline.measure(frame, face)
            pipeline.embed(frame, face)
            if pipeline.has_liveness:
                pipeline.liveness(frame, face)
        timings.end()
    return len(used)


def summarize(timings: Timings) -> dict[str, Any]:
    """Milliseconds by stage and in all (p50, p95, share of all time), and the share that is not inference."""
    from facegate_edge._timings import INFERENCE  # noqa: PLC0415 - help must not wait

    everything = sum(timings.totals)
    inference = [sum(spent) for spent in zip(*(timings.stages[stage] for stage in INFERENCE), strict=True)]
    other = [total - engine for total, engine in zip(timings.totals, inference, strict=True)]

    def entry(values: list[int]) -> dict[str, float]:
        return {
            "p50_ms": percentile(values, 50) / 1e6,
            "p95_ms": percentile(values, 95) / 1e6,
            "share": sum(values) / everything,
        }

    return {
        "stages": {stage: entry(values) for stage, values in timings.stages.items() if any(values)},
        "inference": entry(inference),
        "not_inference": entry(other),
        "total": entry(timings.totals),
    }


def percentile(values: list[int], percent: int) -> int:
    """The nearest-rank percentile of values that are not empty."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def made_up_frame() -> Frame:
    """Smooth shades with some noise, always the same: what an empty room costs to convert."""
    import numpy as np  # noqa: PLC0415 - help must not wait

    from facegate_edge import Frame  # noqa: PLC0415

    width, height = _SIZE
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 16, (height, width, 3))
    shades = np.stack([x * 200 // width, y * 200 // height, (x + y) * 200 // (width + height)], axis=2)
    return Frame((shades + noise).astype(np.uint8))


def assumed_face(frame: Frame) -> Face:
    """A frontal face, a quarter of the frame's height, in the middle."""
    import numpy as np  # noqa: PLC0415 - help must not wait

    from facegate_edge import Face  # noqa: PLC0415

    width, height = frame.size
    side = height / 4
    x, y = (width - side) / 2, (height - side) / 2
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + (x, y)
    return Face(np.array([x, y, x + side, y + side], np.float32), points.astype(np.float32), 1.0)


def _text(report: dict[str, Any]) -> str:
    made_up = ", made up, one face assumed" if report["synthetic"] else ""
    lines = [
        f"{report['bundle']} {report['version']}, {report['engine']}, threads: {report['threads']}",
        f"{report['frames']} frames of {report['width']}x{report['height']}{made_up}, faces in each: {report['faces']}",
        "",
        f"{'':16}{'p50 ms':>10}{'p95 ms':>10}{'share':>9}",
    ]
    rows = {**report["stages"], "": None, "inference": report["inference"], "not inference": report["not_inference"]}
    for name, entry in {**rows, "total": report["total"]}.items():
        lines.append(
            f"{name:16}{entry['p50_ms']:10.3f}{entry['p95_ms']:10.3f}{entry['share']:9.1%}" if entry is not None else ""
        )
    return "\n".join(lines)
