"""Operating points of an evaluation, written into the bundle that was evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from facegate_convert._evaluate._evaluation import reading
from facegate_convert.errors import DatasetError, ResultError
from facegate_edge._manifest import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facegate_convert._evaluate._evaluation import Evaluation
    from facegate_edge._keys import SigningKey, TrustStore

_MIN_COMPARISONS = 30
_MIN_EXPECTED = 0.1  # false matches at the target
_WIDE = 3  # times the target: where the interval ends if comparisons are independent and just enough (rule of 3)


@reading()
def points_from(
    evaluation: Evaluation, targets: Sequence[float] = ()
) -> tuple[tuple[OperatingPoint, ...], tuple[str, ...]]:
    """The operating points of an evaluation, with the wider interval where it has two.

    Args:
        evaluation: of the bundle that they are for.
        targets: FMR targets; those that the evaluation carries (rule of 3) if empty.

    Returns:
        (points by descending FMR, notes): a sentence for each that too few comparisons, or too few people, carry.

    Raises:
        DatasetError: the comparisons say next to nothing about a target, or no threshold keeps to it.
        ResultError: a target was not measured, or the evaluation lacks what one holds.
    """
    known = {point["fmr"]: point for point in evaluation.operating_points}
    missing = [target for target in targets if target not in known]
    if missing:
        raise ResultError(
            f"the result has no operating point for FMR {missing[0]:g}",
            hint=f"`facegate evaluate run --fmr {missing[0]:g}` with the same result folder measures it in no time",
        )
    chosen = sorted(targets or (fmr for fmr, point in known.items() if point["carried"]), reverse=True)
    impostor = evaluation.comparisons["impostor"]
    if not chosen:
        raise DatasetError(
            f"{impostor} impostor comparisons carry no operating point",
            hint="add photographs of other people, or ask for a target with --fmr",
        )
    points, notes = [], []
    for fmr in chosen:
        point = known[fmr]
        if impostor < max(_MIN_COMPARISONS, _MIN_EXPECTED / fmr):
            raise DatasetError(
                f"{impostor} impostor comparisons say nothing about an FMR of {fmr:g}",
                hint="add photographs of other people, or ask for a higher --fmr",
            )
        if not -1 <= point["threshold"] <= 1:
            raise DatasetError(
                f"no threshold keeps to an FMR of {fmr:g}: two people are as alike as one photograph is to itself",
                hint="`facegate evaluate validate` finds copies and wrong labels",
            )
        false_match, false_non_match = point["fmr_measured"], point["fnmr"]
        if not point["carried"]:
            notes.append(point["note"])
        elif false_match["high"] > _WIDE * fmr:
            notes.append(
                f"FMR {fmr:g}: it may be up to {false_match['high']:.2g}: comparisons are many, but only "
                f"{evaluation.comparisons['people']} people stand behind them"
            )
        points.append(
            OperatingPoint(
                fmr=fmr,
                threshold=point["threshold"],
                fmr_upper=false_match["high"],
                fnmr=false_non_match["value"],
                fnmr_low=false_non_match["low"],
                fnmr_high=false_non_match["high"],
                genuine=false_non_match["trials"],
                impostor=false_match["trials"],
                dataset=evaluation.dataset["fingerprint"],
            )
        )
    return tuple(points), tuple(notes)


def calibrate(
    bundle: Path,
    points: Sequence[OperatingPoint],
    evaluation: Evaluation,
    *,
    key: SigningKey,
    output: Path | None = None,
    version: str | None = None,
    trust: TrustStore | None = None,
    write: bool = True,
) -> str | None:
    """Give a bundle other operating points, and sign it. Its models stay byte for byte.

    Args:
        bundle: the file; all of it is checked, who signed it before only with `trust`.
        points: replace those that it has.
        evaluation: that they come from; it must be of this bundle's models.
        key: who signs.
        output: the file to write; the bundle itself is replaced in one step if None.
        version: of the new bundle; as it was if None.
        trust: the keys that must have signed the bundle; None takes it from anybody.
        write: False to stop where the bundle would be written.

    Returns:
        The new bundle's id; None if it was not written.

    Raises:
        ResultError: the evaluation is of other models.
        BundleError, OutputFileError: as `open_bundle` and `write_bundle` raise them.
    """
    from facegate_convert._bundle_writer import write_bundle  # noqa: PLC0415 - where it is used
    from facegate_convert._bundles import created  # noqa: PLC0415
    from facegate_convert._evaluate._sources import models_id  # noqa: PLC0415
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415

    with open_bundle(bundle, trust=trust, development=trust is None) as opened:
        manifest = opened.manifest
        if models_id(manifest) != evaluation.source["id"]:
            raise ResultError(
                f"the result is of {evaluation.source['name']}, whose models are not those of {bundle}",
                hint="evaluate this very bundle: a threshold belongs to a bundle, never to a model",
            )
        models = {model.role: bytes(opened.model_bytes(model.role)) for model in manifest.models}
    if not write:
        return None
    new = replace(manifest, operating_points=tuple(points), created=created(), version=version or manifest.version)
    return write_bundle(output or bundle, new, models, key)
