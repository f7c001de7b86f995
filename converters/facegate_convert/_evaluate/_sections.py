"""The sections of a result, each made of what was counted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert import _metrics as metrics
from facegate_convert._evaluate._cache import OK, STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._evaluate._cache import Records
    from facegate_convert._evaluate._count import Counted, Grouped, WorstPair
    from facegate_convert._evaluate._dataset import Dataset
    from facegate_convert._evaluate._gallery import Roles
    from facegate_convert._evaluate._similarity import Templates
    from facegate_convert._metrics import Bootstrap, Interval, Rate, Scores

Section = dict[str, Any]

HISTOGRAM_BINS = 100
CURVE_POINTS = 200
GROUP_POINTS = 60
SEARCH_POINTS = 200
APCER_TARGETS = (0.1, 0.05, 0.01)
_UNDETECTED = ("unreadable", "no_face", "crashed", "no_feature")


def failures_section(records: Records, counted: Counted) -> Section:
    """Photographs without a template. To detect: no face was found; to enroll: no template, for whatever reason."""
    status = records.rows["status"]
    reasons = {name: int((status == i).sum()) for i, name in enumerate(STATUSES) if i != OK}
    total = int(status.size)
    return {
        "photographs": total,
        "reasons": {name: number for name, number in reasons.items() if number},
        "detect": metrics.failure_rate(sum(reasons[name] for name in _UNDETECTED), total).to_dict(),
        "enroll": metrics.failure_rate(sum(reasons.values()), total).to_dict(),
        "genuine": counted.genuine_failed,
        "impostor": counted.impostor_failed,
    }


def histogram_section(scores: Scores) -> Section:
    """How the scores of both kinds are distributed."""
    edges = np.linspace(-1, 1, HISTOGRAM_BINS + 1)
    return {
        "edges": edges.tolist(),
        "genuine": scores.genuine.histogram(edges).tolist(),
        "impostor": scores.impostor.histogram(edges).tolist(),
    }


def points_section(
    counted: Counted, targets: Sequence[float], bootstrap: Bootstrap | None
) -> tuple[list[Section], list[str]]:
    """A threshold for each FMR, with what was measured at it; and what the data cannot carry."""
    scores = counted.subjects.scores
    found, notes = [], []
    for place, target in enumerate(sorted(set(targets), reverse=True)):
        figure = metrics.fnmr_at_fmr(scores, target)
        point = bootstrap.points[place] if bootstrap is not None else None
        rates = _rates(figure.fmr_measured, figure.fnmr, figure.threshold, counted, point)
        # The note names the end of the interval that stands beside it, which knows that people were sampled.
        ends = {name: rates["fmr_measured"][name] for name in ("low", "high")}
        note = metrics.note_on_fmr(target, replace(figure.fmr_measured, **ends), figure.threshold)
        section = {
            "fmr": target,
            "threshold": figure.threshold,
            **rates,
            "carried": figure.carried,
            "note": "; ".join(filter(None, (note, point.note if point is not None else ""))),
        }
        if point is not None and point.threshold is not None:
            section["threshold_low"], section["threshold_high"] = point.threshold.low, point.threshold.high
        found.append(section)
        if not figure.carried:
            notes.append(note)
    if len(notes) > 1:
        lower = ", ".join(f"{point['fmr']:g}".replace("e-0", "e-") for point in found if not point["carried"])
        notes = [f"{notes[0]}; likewise for FMR {lower.partition(', ')[2]}"]
    return found, notes


def stated_section(
    counted: Counted, stated: Sequence[tuple[float, float]], bootstrap: Bootstrap | None
) -> list[Section]:
    """What is measured at thresholds that somebody else chose: (FMR that they stand for, threshold)."""
    scores = counted.subjects.scores
    found = []
    for place, (fmr, threshold) in enumerate(stated):
        point = bootstrap.points[len(bootstrap.points) - len(stated) + place] if bootstrap is not None else None
        rates = metrics.fmr_at(scores, threshold), metrics.fnmr_at(scores, threshold)
        section = {"fmr": fmr, "threshold": threshold, **_rates(*rates, threshold, counted, point)}
        low, high = section["fmr_measured"]["low"], section["fmr_measured"]["high"]
        section["verdict"] = "met" if high <= fmr else "not met" if low > fmr else "cannot be told"
        found.append(section)
    return found


def _rates(fmr: Rate, fnmr: Rate, threshold: float, counted: Counted, point: Any) -> Section:
    """Rates with the intervals of the bootstrap where there is one, for it knows that people were sampled."""
    missed = metrics.fnmr_with_failures(fnmr, counted.genuine_failed)
    accepted = metrics.fmr_with_failures(fmr, counted.impostor_failed)
    of_fmr = of_fnmr = "Clopper-Pearson"
    first, second = fmr.to_dict(), fnmr.to_dict()
    if point is not None and (point.fmr_measured is None or point.fnmr is None):
        # So few people that they cannot be drawn anew: least of all are their comparisons independent.
        with contextlib.suppress(ValueError):  # a threshold beyond what is kept with whose it is
            whole = metrics.by_group(counted.subjects, ["all"] * counted.subjects.subjects, threshold).groups[0]
            first, second = whole.fmr.to_dict(), whole.fnmr.to_dict()
            of_fmr = of_fnmr = "Clopper-Pearson of as many trials as the people behind them are worth"
    elif point is not None:
        of_fmr, of_fnmr = point.fmr_measured.method, point.fnmr.method
        _replace(first, point.fmr_measured)
        _replace(second, point.fnmr)
    if point is not None:
        missed = _missed_by_person(missed, threshold, counted)
        # A comparison that cannot be made accepts nobody: the interval shrinks as the rate does.
        share = fmr.trials / accepted.trials
        accepted = replace(accepted, low=first["low"] * share, high=first["high"] * share)
    return {
        "fmr_measured": first,
        "fnmr": second,
        "fnmr_with_failures": missed.to_dict(),
        "fmr_with_failures": accepted.to_dict(),
        "interval": of_fnmr,
        "interval_fmr": of_fmr,
    }


def _missed_by_person(missed: Rate, threshold: float, counted: Counted) -> Rate:
    """The FNMR with failures, with an interval that knows whose the failures are: they come by the photograph too."""
    data = counted.subjects
    if threshold > data.genuine.edge:  # not all that were missed are kept with whose they are
        return missed
    wrong = data.genuine.first[data.genuine.scores < threshold]
    errors = np.bincount(wrong, minlength=data.subjects) + counted.failed_of
    return metrics.clustered_rate(errors, data.trials + counted.failed_of, confidence=missed.confidence)


def _replace(rate: Section, interval: Interval) -> None:
    # The measured value lies in its own interval, whatever the replicates say.
    rate["low"], rate["high"] = min(interval.low, rate["value"]), max(interval.high, rate["value"])


def summary_section(scores: Scores, bootstrap: Bootstrap | None) -> Section:
    """Single figures of the curve."""
    equal = metrics.eer(scores).to_dict()
    if bootstrap is not None and bootstrap.eer is not None:
        equal["low"], equal["high"] = bootstrap.eer.low, bootstrap.eer.high
    return {"eer": equal, "auc": metrics.auc(scores), "d_prime": metrics.d_prime(scores)}


def folds_section(dataset: Dataset, templates: Templates) -> Section:
    """Accuracy by fold; a pair that could not be compared is a wrong answer."""
    if dataset.fold is None or dataset.pairs is None or dataset.same is None:
        return {"not_run": "the dataset has no folds"}
    usable = templates.usable[dataset.pairs].all(axis=1)
    genuine: list[Any] = []
    impostor: list[Any] = []
    failed: list[int] = []
    for fold in np.unique(dataset.fold).tolist():
        here = dataset.fold == fold
        for kind, scores in ((True, genuine), (False, impostor)):
            a, b = dataset.pairs[here & usable & (dataset.same == kind)].astype(np.intp).T
            scores.append(templates.scores(a, b))
        failed.append(int((here & ~usable).sum()))
    try:
        return metrics.ten_fold(genuine, impostor, failed=failed).to_dict()
    except ValueError as error:
        return {"not_run": str(error)}


def open_set_section(found: metrics.OpenSet, roles: Roles, targets: Sequence[float]) -> Section:
    """Identification among the enrolled, with strangers."""
    threshold, fpir, fnir = found.det(points=SEARCH_POINTS)
    return {
        "gallery": found.gallery,
        "templates": int(roles.gallery.size),
        "mated": found.mated,
        "nonmated": found.nonmated,
        "failed_mated": found.failed_mated,
        "failed_nonmated": found.failed_nonmated,
        "not_enrolled": roles.not_enrolled,
        "rank1": _complement(found.miss_at_rank(1)),
        "points": [found.fnir_at_fpir(target).to_dict() for target in sorted(set(targets), reverse=True)],
        "curve": {"threshold": threshold.tolist(), "fpir": fpir.tolist(), "fnir": fnir.tolist()},
    }


def _complement(rate: Rate) -> Section:
    right = rate.trials - rate.errors
    value = right / rate.trials if rate.trials else 0.0
    return replace(rate, errors=right, value=value, low=1 - rate.high, high=1 - rate.low).to_dict()


def group_section(grouped: Grouped, fmr: float) -> Section:
    """Rates by group, between groups, and whether the worst is more than 25 % worse than the best."""
    report = grouped.report
    ratios = {kind: getattr(report, kind) for kind in ("fmr", "fnmr")}
    groups = []
    for place, figure in enumerate(report.groups):
        number = grouped.attribute.groups.index(figure.name)
        groups.append(
            {
                "name": figure.name,
                "subjects": figure.subjects,
                "images": grouped.images[figure.name],
                "fmr": report.cross[place][place].to_dict(),
                "fnmr": figure.fnmr.to_dict(),
                "curve": _group_curve(grouped.genuine[number], grouped.impostor[number]),
                "note": figure.note,
            }
        )
    verdicts = {kind: ratio.verdict if ratio is not None else "cannot be told" for kind, ratio in ratios.items()}
    verdict = next((v for v in ("not met", "cannot be told") if v in verdicts.values()), "met")
    why = [f"{kind.upper()}: {r.why if r is not None else 'fewer than two groups'}" for kind, r in ratios.items()]
    return {
        "column": grouped.attribute.name,
        "threshold": report.threshold,
        "fmr": fmr,
        "confidence": report.confidence,
        "groups": groups,
        "unstated": grouped.unstated,
        "cross": {
            "names": [figure.name for figure in report.groups],
            "fmr": [[rate.to_dict() if rate.trials else None for rate in row] for row in report.cross],
        },
        "ratios": {kind: _ratio(ratio) for kind, ratio in ratios.items()},
        "check": {"rule": "NIST SP 800-63-4: no group more than 25 % worse", "verdict": verdict, "why": "; ".join(why)},
    }


def _ratio(ratio: metrics.Ratio | None) -> Section | None:
    if ratio is None:
        return None
    names = ("value", "low", "high", "worst", "best", "confidence", "verdict", "why")
    return {name: getattr(ratio, name) for name in names}


def _group_curve(genuine: Any, impostor: Any) -> Section | None:
    """Error rates of one group at the edges of its bins, at most 60 points, where they change."""
    if not genuine.sum() or not impostor.sum():
        return None
    edges = np.linspace(-1, 1, genuine.size + 1)
    accepted = impostor.sum() - np.concatenate([[0], np.cumsum(impostor)])
    missed = np.concatenate([[0], np.cumsum(genuine)])
    way = np.log(missed + 0.5) - np.log(accepted + 0.5)
    steps = np.linspace(way[0], way[-1], GROUP_POINTS)
    chosen = np.unique(np.clip(np.searchsorted(way, steps), 0, len(way) - 1))
    return {
        "threshold": edges[chosen].tolist(),
        "fmr": (accepted[chosen] / impostor.sum()).tolist(),
        "fnmr": (missed[chosen] / genuine.sum()).tolist(),
    }


def liveness_section(dataset: Dataset, records: Records, live: str, threshold: float) -> Section:
    """APCER for each species and BPCER; a face that was not found is no answer, and is counted."""
    answered = records.rows["status"] == OK
    scores: dict[str, Any] = {}
    silent: dict[str, int] = {}
    for number, name in enumerate(dataset.identities):
        here = dataset.identity == number
        scores[name] = records.rows["live"][here & answered].astype(np.float64)
        silent[name] = int((here & ~answered).sum())
    attacks = {name: values for name, values in scores.items() if name != live}
    figured = {name: values for name, values in attacks.items() if values.size}
    if not scores[live].size or not figured:
        return {"not_run": "no face was found in the photographs of live people, or of attacks"}
    lost = {name: number for name, number in silent.items() if name != live}

    def at(chosen: float) -> Section:
        return metrics.liveness_at(
            scores[live], figured, chosen, no_answer=silent[live], attacks_no_answer=lost
        ).to_dict()

    def point(target: float) -> Section:
        figure = metrics.bpcer_at_apcer(scores[live], figured, target)
        needed, least = metrics.trials_needed(target), min(values.size for values in figured.values())
        note = f"APCER {target:g}: {needed:,} attacks of each species show it (rule of 3), of one there are {least:,}"
        carried = least >= needed
        return {"target": target, **at(figure.threshold), "carried": carried, "note": "" if carried else note}

    return {
        **at(threshold),
        "fingerprint": dataset.fingerprint,
        "photographs": len(dataset.names),
        "curve": metrics.liveness_curve(scores[live], figured).to_dict(),
        "points": [point(target) for target in APCER_TARGETS],
    }


def worst_section(dataset: Dataset, counted: Counted, *, names: bool) -> Section:
    """The pairs that went wrong most, by id; by name only if that was asked for."""
    ids = dataset.ids

    def shown(pair: WorstPair) -> Section:
        row: Section = {"a": ids[pair.a], "b": ids[pair.b], "score": pair.score}
        if names:
            row["a_name"], row["b_name"] = dataset.names[pair.a], dataset.names[pair.b]
        return row

    return {
        "genuine": [shown(pair) for pair in counted.genuine],
        "impostor": [shown(pair) for pair in counted.impostor],
    }
