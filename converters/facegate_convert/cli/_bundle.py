"""`facegate bundle build` and `facegate bundle sign`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import (
    FILE,
    check_budget,
    check_labels,
    check_outputs,
    conversion_options,
    load_key,
    make_options,
    parse_fmr,
    parse_name,
    parse_points,
    parse_version,
    progress_bar,
    report_path,
    reported,
    without_effect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facegate_convert._bundles import Model
    from facegate_convert._comparisons import Comparisons
    from facegate_convert._operating_point import Similarities
    from facegate_convert._options import Progress
    from facegate_edge._manifest import OperatingPoint
    from facegate_edge._output import Output

__all__ = ["bundle_build", "bundle_sign"]


@click.command(short_help="Put converted models into a bundle.")
@click.argument("models", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", "target", type=FILE, required=True, help="The bundle to write, NAME.fgb.")
@click.option("--name", required=True, callback=parse_name, help="Name of the bundle, e.g. door.")
@click.option("--version", required=True, callback=parse_version, help="Semantic version, e.g. 1.0.0.")
@click.option("--intended-use", required=True, help="What the bundle is built and measured for, in a sentence.")
@click.option("--key", type=FILE, help="Private key to sign with (`facegate keys new`); else the bundle is unsigned.")
@conversion_options
@click.option(
    "--fmr", type=float, multiple=True, callback=parse_fmr, help="FMR target (repeatable) [default: 0.01 .. 0.0001]."
)
@click.option(
    "--operating-point",
    metavar="FMR=THRESHOLD",
    multiple=True,
    callback=parse_points,
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
    check_budget(given)
    check_outputs(given, given["models"], replace=True)
    key = load_key(given["key"])
    with progress_bar(output) as progress, reported(output, given):
        models = _load(given, progress)
        _bundles.check_pipeline(models)
        points, notes, similarities = _operating_points(given, models, progress)
    converted = [model.info.role for model in models if model.report is not None]
    notes = (*notes, *_bundles.built_for(models, given["device"]), *without_effect(given, converted))
    for note in notes:
        output.progress(f"note: {note}")
    bundle_id = None
    if not given["dry_run"]:
        for model in models:
            if given["report"] and model.report is not None:
                model.report.save(report_path(given["report"], model.info.role, several=True))
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
@click.argument("bundle", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key (`facegate keys new`).")
@click.option("-o", "--output", "target", type=FILE, help="Write a signed copy instead of replacing the bundle.")
@click.pass_obj
def bundle_sign(output: Output, bundle: Path, key: Path, target: Path | None) -> None:
    """Sign BUNDLE, in place of a signature that it may have. Models and manifest stay as they are."""
    from facegate_convert._bundle_writer import sign_bundle  # noqa: PLC0415 - see the module

    signing = load_key(key)
    bundle_id = sign_bundle(bundle, signing, target)
    path = target or bundle
    data = {"file": str(path), "id": bundle_id, "signed_by": signing.key_id}
    output.emit(data, f"signed {path} with the key {signing.key_id}")


def _load(given: dict[str, Any], progress: Progress) -> list[Model]:
    """The models of all files; detectors first, because they prepare the photographs for the others."""
    from facegate_convert._bundles import load_all  # noqa: PLC0415

    return load_all(given["models"], make_options(given), progress=progress)


def _check_operating_points(given: dict[str, Any]) -> None:
    measured = given["pairs"] is not None or given["images"] is not None
    if given["operating_point"] and (measured or given["fmr"]):
        raise click.UsageError(
            "--operating-point states a threshold, --pairs, --images and --fmr measure it: choose one"
        )
    check_labels(given)
    if given["fmr"] and not measured:
        raise click.UsageError("--fmr needs --pairs or --images to measure on")


def _operating_points(
    given: dict[str, Any], models: Sequence[Model], progress: Progress
) -> tuple[tuple[OperatingPoint, ...], tuple[str, ...], Similarities | None]:
    from facegate_convert import _metrics, _operating_point  # noqa: PLC0415
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
        carried = tuple(p for p in found if p.impostor >= _metrics.trials_needed(p.fmr))
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
