"""`facegate bundle calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE, load_key, parse_fmr, parse_version, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facegate_convert._evaluate import Evaluation
    from facegate_edge._output import Output

__all__ = ["bundle_calibrate"]


def _parse_version(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else parse_version(ctx, param, value)


@click.command(short_help="Write measured operating points into a bundle.")
@click.argument("bundle", type=FILE)
@click.argument("measured", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key to sign with (`facegate keys new`).")
@click.option("-o", "--output", "target", type=FILE, help="Write a copy instead of replacing the bundle.")
@click.option("--version", callback=_parse_version, help="Version of the calibrated bundle [default: as it was].")
@click.option(
    "--fmr", type=float, multiple=True, callback=parse_fmr, help="FMR target (repeatable) [default: all carried ones]."
)
@click.option("--images", type=FILE, help="With a pairs file: the folder of its photographs.")
@click.option("--lawful-basis", help="With a dataset: by what right its photographs are processed.")
@click.option("--jobs", type=click.IntRange(1, 256), help="With a dataset: processes [default: one a processor].")
@click.option("--trust", type=FILE, help="Public key, or folder of them, that must have signed the bundle before.")
@click.option("--dry-run", is_flag=True, help="Do everything but write the bundle.")
@click.pass_obj
def bundle_calibrate(output: Output, /, **given: Any) -> None:
    """Replace the operating points of BUNDLE by what was MEASURED with it, and sign it again.

    MEASURED is a folder that `facegate evaluate run` wrote for this bundle, or a dataset to evaluate it on now; no
    templates are kept then. A threshold belongs to a bundle, so a result of other models is refused.
    """
    from facegate_convert import _evaluate as room  # noqa: PLC0415 - see the module
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    key = load_key(given["key"])
    measured: Path = given["measured"]
    if (measured / room.RESULT).is_file() or measured.name == room.RESULT:
        if given["images"] is not None or given["lawful_basis"] is not None:
            raise click.UsageError("--images and --lawful-basis go with a dataset, not with a result")
        evaluation = room.load_evaluation(measured)
    else:
        with progress_bar(output) as progress:
            evaluation = _evaluate(given, progress)
    points, notes = room.points_from(evaluation, given["fmr"])
    trust = TrustStore.load(given["trust"]) if given["trust"] is not None else None
    bundle_id = room.calibrate(
        given["bundle"],
        points,
        evaluation,
        key=key,
        output=given["target"],
        version=given["version"],
        trust=trust,
        write=not given["dry_run"],
    )
    if trust is None:
        notes = (*notes, "who signed the bundle before was not checked (--trust): your signature now vouches for it")
    path = given["target"] or given["bundle"]
    data = {
        "file": None if given["dry_run"] else str(path),
        "id": bundle_id,
        "signed_by": key.key_id,
        "operating_points": [{name: getattr(p, name) for name in p.__slots__} for p in points],
        "notes": list(notes),
    }
    lines = [f"{'would calibrate' if bundle_id is None else 'calibrated'} {path}, signed by {key.key_id}"]
    lines += [
        f"  FMR {p.fmr:g}: threshold {p.threshold:.4f}, at most {p.fmr_upper:.2g} (95 %), FNMR {p.fnmr:.2g} "
        f"({p.fnmr_low:.2g}..{p.fnmr_high:.2g})"
        for p in points
    ]
    output.emit(data, "\n".join([*lines, *(f"  WARNING: {note}" for note in notes)]))


def _evaluate(given: dict[str, Any], progress: Callable[[str, int, int], None]) -> Evaluation:
    from facegate_convert import _evaluate as room  # noqa: PLC0415

    if not (given["lawful_basis"] or "").strip():
        raise click.UsageError("a dataset needs --lawful-basis: by what right its photographs are processed")
    opened = room.open_source(str(given["bundle"]), room.Named(trust=given["trust"]), progress=progress)
    if opened.source.kind != "bundle":
        raise click.BadParameter(f"{given['bundle']} is no bundle", param_hint="'BUNDLE'")
    dataset = room.read_dataset(given["measured"], given["images"], progress=progress)
    manifest = room.make_manifest(
        dataset,
        lawful_basis=given["lawful_basis"],
        pairs=given["measured"] if dataset.pairs is not None else None,
    )
    settings = room.Settings(fmr=given["fmr"] or room.FMR_TARGETS, worst=0, jobs=given["jobs"])
    return room.evaluate(
        opened.source, dataset, manifest, name=given["measured"].resolve().stem, settings=settings, progress=progress
    )
