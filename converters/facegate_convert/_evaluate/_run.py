"""An evaluation from beginning to end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._checks import Requirement, check, targets_of
from facegate_convert._evaluate._evaluation import Evaluation, finite
from facegate_convert.errors import EvaluationError
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facegate_convert._evaluate._attributes import Attribute
    from facegate_convert._evaluate._cache import Records
    from facegate_convert._evaluate._count import Counted
    from facegate_convert._evaluate._dataset import Dataset, Progress
    from facegate_convert._evaluate._manifest import DatasetManifest
    from facegate_convert._evaluate._similarity import Templates
    from facegate_convert._evaluate._sources import Source
    from facegate_convert._evaluate._validate import Problem

FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
_FEW_PEOPLE = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate.

    Attributes:
        faces: "largest", "central" or "refuse": which face of a photograph that shows several.
        quality: whether a photograph that a device would refuse for its quality counts as a failure.
        fmr: FMR targets.
        group_fmr: the target at whose threshold groups are compared; the lowest carried one up to 1e-3 if None.
        open_set: whether to measure identification too.
        enroll: photographs that each enrolled person of it has.
        fpir: FPIR targets.
        liveness_threshold: a face is taken for live at this score or above, 0..1.
        stated: (FMR, threshold) pairs whose error rates are measured too: the bundle's own operating points.
        replicates: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
        worst: pairs of each kind that are listed.
        names: whether they are listed by file name too.
        requirements: what must hold.
        strict: whether the intervals must hold it.
        jobs: processes; one a processor if None.
        engine: "litert" or "tflite" to force one.
    """

    faces: str = "largest"
    quality: bool = False
    fmr: tuple[float, ...] = FMR_TARGETS
    group_fmr: float | None = None
    open_set: bool = False
    enroll: int = 1
    fpir: tuple[float, ...] = FPIR_TARGETS
    liveness_threshold: float = 0.5
    stated: tuple[tuple[float, float], ...] = ()
    replicates: int = 1000
    seed: int = 0
    worst: int = 20
    names: bool = False
    requirements: tuple[Requirement, ...] = ()
    strict: bool = False
    jobs: int | None = None
    engine: str | None = None


def evaluate(
    source: Source,
    dataset: Dataset,
    manifest: DatasetManifest,
    *,
    name: str,
    settings: Settings | None = None,
    attributes: tuple[Attribute, ...] = (),
    presentations: tuple[Dataset, str] | None = None,
    folder: Path | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well a source tells the people of a dataset apart.

    Args:
        source: of the templates.
        dataset: photographs and comparisons.
        manifest: of the dataset, with the lawful basis.
        name: of the dataset, for people.
        settings: how.
        attributes: groups of people.
        presentations: photographs for liveness, and the folder of live ones.
        folder: where templates are kept; nowhere if None.
        notes: what the reader should know already.
        progress: is told (step, done, total).

    Raises:
        EvaluationError: there is nothing to measure.
        FacegateError: what the source's own errors are.
    """
    from facegate_convert import _metrics as metrics  # noqa: PLC0415 - numpy is not for the command line's help
    from facegate_convert._evaluate import _sections as sections  # noqa: PLC0415
    from facegate_convert._evaluate._count import count  # noqa: PLC0415
    from facegate_convert._evaluate._similarity import Templates  # noqa: PLC0415
    from facegate_convert._evaluate._sources import get_records, records_id  # noqa: PLC0415

    how = settings or Settings()
    asked = targets_of(how.requirements, "fnmr") + targets_of(how.requirements, "fnmr-with-failures")
    how = replace(
        how,
        fmr=tuple({*how.fmr, *asked, *(() if how.group_fmr is None else (how.group_fmr,))}),
        fpir=tuple({*how.fpir, *targets_of(how.requirements, "fnir")}),
    )
    if not manifest.lawful_basis.strip():
        raise EvaluationError(
            "by what right the photographs are processed is not said", hint="--lawful-basis 'consent of ...'"
        )
    if presentations is not None and not source.has_liveness:
        raise EvaluationError("the source has no liveness model", hint="leave --liveness out, or bundle one")
    records, kept = get_records(
        source, dataset, faces=how.faces, folder=folder, jobs=how.jobs, engine=how.engine, progress=progress
    )
    if not source.id:
        source = replace(source, id=records_id(records))
    warnings = [*notes, *dataset.notes, *kept]
    if how.quality:
        _refuse_low_quality(records)
    templates = Templates(dataset, records)
    warnings += templates.notes
    counted = count(dataset, templates, worst=how.worst, progress=progress)
    scores = counted.subjects.scores
    drawn = None
    if how.replicates:
        drawn = metrics.bootstrap(
            counted.subjects,
            fmr=sorted(how.fmr),
            thresholds=[threshold for _, threshold in how.stated],
            replicates=how.replicates,
            seed=how.seed,
            progress=None if progress is None else lambda done, total: progress("drawing people anew", done, total),
        )
    points, missing = sections.points_section(counted, how.fmr, drawn)
    warnings += missing
    people = int((counted.subjects.trials > 0).sum())
    if people < _FEW_PEOPLE:
        warnings.append(f"{people} people are compared with themselves: too few to speak for anybody else")
    result: dict[str, Any] = {
        "source": {"kind": source.kind, "name": source.name, "id": source.id, **source.description},
        "dataset": _dataset_section(dataset, manifest, name, how, attributes),
        "problems": _problems(dataset, records, templates, scores),
        "comparisons": {
            "genuine": scores.genuine.total,
            "impostor": scores.impostor.total,
            "protocol": "listed pairs" if dataset.pairs is not None else "every two photographs",
            "people": people,
            "exact": scores.resolution == 0,
            "resolution": scores.resolution,
        },
        "failures": sections.failures_section(records, counted),
        "scores": sections.histogram_section(scores),
        "curve": metrics.det(scores, sections.CURVE_POINTS).to_dict(),
        "operating_points": points,
        "stated_points": sections.stated_section(counted, how.stated, drawn),
        "summary": sections.summary_section(scores, drawn),
        "folds": sections.folds_section(dataset, templates),
        "open_set": _open_set(dataset, templates, how, warnings),
        "groups": _groups(dataset, templates, attributes, points, how, progress),
        "liveness": _liveness(source, presentations, how, folder, progress, warnings),
        "worst": sections.worst_section(dataset, counted, names=how.names),
        "warnings": warnings,
        "reproduce": _reproduce(source, manifest, how, counted),
    }
    result["checks"] = [check(r, finite(result), strict=how.strict) for r in how.requirements]
    from facegate_convert._bundles import created  # noqa: PLC0415 - where it is used

    return Evaluation(created=created(), **finite(result))


def validate(
    dataset: Dataset,
    source: Source | None,
    *,
    faces: str = "largest",
    folder: Path | None = None,
    jobs: int | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> tuple[Problem, ...]:
    """What is wrong with a dataset; see `KINDS` in `_validate`.

    Args:
        dataset: to look at.
        source: of templates; without one only files are looked at.
        faces: which face of several.
        folder: where templates are kept; nowhere if None.
        jobs: processes; one a processor if None.
        engine: "litert" or "tflite" to force one.
        progress: is told (step, done, total).

    Raises:
        FacegateError: what the source's own errors are.
    """
    from facegate_convert._evaluate._count import count  # noqa: PLC0415 - numpy is not for the command line's help
    from facegate_convert._evaluate._similarity import Templates  # noqa: PLC0415
    from facegate_convert._evaluate._sources import files_source, get_records  # noqa: PLC0415
    from facegate_convert._evaluate._validate import find_problems  # noqa: PLC0415
    from facegate_edge._quality import QualityGate  # noqa: PLC0415

    records, _ = get_records(
        source or files_source(), dataset, faces=faces, folder=folder, jobs=jobs, engine=engine, progress=progress
    )
    templates = scores = None
    if source is not None:
        templates = Templates(dataset, records)
        with contextlib.suppress(EvaluationError):  # too few are left to compare: the problems say why
            scores = count(dataset, templates, worst=0, progress=progress).subjects.scores
    return find_problems(dataset, records, templates, scores, QualityGate())


def _refuse_low_quality(records: Records) -> None:
    from facegate_convert._evaluate._cache import OK, STATUSES  # noqa: PLC0415 - where it is used
    from facegate_convert._evaluate._validate import quality_reasons  # noqa: PLC0415
    from facegate_edge._quality import QualityGate  # noqa: PLC0415

    gate = QualityGate()
    for row in records.rows:
        if row["status"] == OK and quality_reasons(row, gate):
            row["status"] = STATUSES.index("low_quality")


def _dataset_section(
    dataset: Dataset, manifest: DatasetManifest, name: str, how: Settings, attributes: tuple[Attribute, ...]
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": dataset.kind,
        "fingerprint": dataset.fingerprint,
        "manifest_sha256": manifest.sha256,
        "images": len(dataset.names),
        "identities": len(dataset.identities),
        "folds": 0 if dataset.fold is None else int(dataset.fold.max()) + 1,
        "lawful_basis": manifest.lawful_basis,
        "multi_face": how.faces,
        "quality_gate": how.quality,
        "attributes": [attribute.name for attribute in attributes],
    }


def _problems(dataset: Dataset, records: Records, templates: Templates, scores: Any) -> dict[str, Any]:
    from facegate_convert._evaluate._validate import find_problems  # noqa: PLC0415 - where it is used
    from facegate_edge._quality import QualityGate  # noqa: PLC0415

    found: dict[str, int] = {}
    for problem in find_problems(dataset, records, templates, scores, QualityGate()):
        found[problem.kind] = found.get(problem.kind, 0) + 1
    return found


def _open_set(dataset: Dataset, templates: Templates, how: Settings, warnings: list[str]) -> dict[str, Any]:
    from facegate_convert._evaluate._gallery import assign_roles, search  # noqa: PLC0415 - where it is used
    from facegate_convert._evaluate._sections import open_set_section  # noqa: PLC0415

    if not how.open_set:
        return {"not_run": "not asked for (--open-set)"}
    if dataset.kind == "pairs":
        return {"not_run": "a pairs file does not say who all the people are"}
    try:
        roles = assign_roles(dataset, templates.usable, enroll=how.enroll)
    except EvaluationError as error:  # the other figures stand
        warnings.append(f"identification was not measured: {error}; {error.hint}")
        return {"not_run": str(error)}
    return open_set_section(search(dataset, templates, roles), roles, how.fpir)


def _groups(
    dataset: Dataset,
    templates: Templates,
    attributes: tuple[Attribute, ...],
    points: list[dict[str, Any]],
    how: Settings,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    from facegate_convert._evaluate._count import count_groups  # noqa: PLC0415 - where it is used
    from facegate_convert._evaluate._sections import group_section  # noqa: PLC0415

    if not attributes:
        return []
    # Each point has enough comparisons for its FMR as a whole; a group has fewer: not the lowest FMR that is carried.
    carried = [p for p in points if p["carried"] and p["fmr"] >= 1e-3]  # noqa: PLR2004
    point = min(carried or points[:1], key=lambda p: float(p["fmr"]))
    if how.group_fmr is not None:
        point = next(p for p in points if p["fmr"] == how.group_fmr)
    grouped = count_groups(dataset, templates, attributes, point["threshold"], progress=progress)
    return [group_section(one, point["fmr"]) for one in grouped]


def _liveness(
    source: Source,
    presentations: tuple[Dataset, str] | None,
    how: Settings,
    folder: Path | None,
    progress: Progress | None,
    warnings: list[str],
) -> dict[str, Any]:
    from facegate_convert._evaluate._sections import liveness_section  # noqa: PLC0415 - where it is used
    from facegate_convert._evaluate._sources import get_records  # noqa: PLC0415

    if presentations is None:
        return {"not_run": "no photographs of attacks were given (--liveness)"}
    shown, live = presentations
    records, kept = get_records(
        source,
        shown,
        faces=how.faces,
        want="liveness",
        folder=folder,
        jobs=how.jobs,
        engine=how.engine,
        progress=progress,
    )
    warnings += [*shown.notes, *kept]
    return liveness_section(shown, records, live, how.liveness_threshold)


def _reproduce(source: Source, manifest: DatasetManifest, how: Settings, counted: Counted) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415 - where it is used

    from facegate_edge._engine import choose_engine  # noqa: PLC0415

    engine = choose_engine(how.engine).name if source.kind in ("bundle", "onnx") else None
    return {
        "facegate": VERSION,
        "numpy": np.__version__,
        "engine": engine,
        "source": source.id,
        "manifest_sha256": manifest.sha256,
        "faces": how.faces,
        "quality_gate": how.quality,
        "open_set": how.open_set,
        "enroll": how.enroll,
        "liveness_threshold": how.liveness_threshold,
        "replicates": how.replicates,
        "seed": how.seed,
        "subjects": counted.subjects.subjects,
    }
