"""Does a detector find the faces that its source finds?

A detector's scores move when it is quantised, so its threshold moves, too: `recalibrate` finds the one at which the
model finds the faces that its source finds at its own, on the photographs that it was calibrated on; the gates then ask
on others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_convert._gates import _runs
from facegate_convert._gates._findings import Findings, histogram, scatter, worst
from facegate_convert._gates._gate import Gate, level_gate, not_run, paired_gate, rate_gate, rate_of
from facegate_convert._gates._limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._gates._limits import Limits
    from facegate_convert._samples import Inputs, TrueFaces
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import ModelInfo
    from facegate_edge._values import Face

    Array = npt.NDArray[np.float32]
    Found = list[tuple[Face, ...]]

SAME = 0.5  # intersection over union from which two boxes are one face
_LOWEST = 0.1  # score down to which faces are looked at; below are thousands that are none
_STEP = 0.002
_NOTHING = 0.005  # a shift that is none: scores at int8 come in steps of 1/256
# Faces this large in the input, in pixels, are judged by their landmarks: of smaller ones nobody is recognised.
_LARGE = 32
_NEAR = 0.25  # scores this near to the threshold say how it moves


class Reference(NamedTuple):
    """What the source finds, down to a low score: in photographs held back, those calibrated on, those with truth."""

    held_out: Found
    fit: Found
    truth: Found


class Evidence(NamedTuple):
    """Photographs to judge a detector on.

    Attributes:
        held_out: letterboxed photographs that were held back.
        fit: those that it was calibrated on, where its threshold is chosen.
        truth: photographs with known faces, None if there are none.
        synthetic: the photographs are none, and show no faces.
    """

    held_out: Inputs
    fit: Inputs
    truth: TrueFaces | None
    synthetic: bool


def reference(source: Engine, info: ModelInfo, given: Evidence) -> Reference:
    """Ask the source."""
    truth = given.truth.inputs.arrays if given.truth else ()
    if given.synthetic:
        return Reference([], [], _runs.detect(source, info, truth, _LOWEST))
    return Reference(
        *(_runs.detect(source, info, part, _LOWEST) for part in (given.held_out.arrays, given.fit.arrays, truth))
    )


class Recalibrated(NamedTuple):
    """A detector's threshold, and why."""

    threshold: float
    why: str


def recalibrate(known: Reference, engine: Engine, info: ModelInfo, given: Evidence) -> Recalibrated:
    """The score threshold at which a model finds the faces that its source finds at its own.

    Of all thresholds with the fewest faces missed and added, the one nearest to where the scores near the source's
    threshold moved to.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    threshold = _threshold(info)
    if not given.fit.arrays:
        return Recalibrated(threshold, "the family's: there are no photographs to choose another on")
    found = _runs.detect(engine, info, given.fit.arrays, _LOWEST)
    shifts: list[float] = []
    again: list[float] = []  # scores of the faces that the source finds
    extra: list[float] = []  # and of those that it does not
    for theirs, ours in zip(known.fit, found, strict=True):
        match = _match(theirs, ours)
        paired = dict(match)
        for a, face in enumerate(theirs):
            if a in paired and abs(face.score - threshold) <= _NEAR:
                shifts.append(ours[paired[a]].score - face.score)
            if face.score >= threshold:
                again.append(ours[paired[a]].score if a in paired else 0.0)
        known_places = {b for a, b in match if theirs[a].score >= threshold}
        extra += [face.score for b, face in enumerate(ours) if b not in known_places]
    if not again:
        return Recalibrated(threshold, "the family's: the source finds no face in the calibration photographs")
    shift = float(np.median(shifts)) if shifts else 0.0
    moved = threshold + (shift if abs(shift) > _NOTHING else 0.0)
    tried = np.clip(np.arange(-0.3, 0.3 + _STEP / 2, _STEP) + threshold, _LOWEST, 0.99)
    wrong = np.array([sum(s < t for s in again) + sum(s >= t for s in extra) for t in tried])
    best = tried[wrong == wrong.min()]
    chosen = round(float(best[np.abs(best - moved).argmin()]), 4)

    def count(at: float) -> str:
        return f"{sum(s < at for s in again)} of {len(again)} missed, {sum(s >= at for s in extra)} added"

    photographs = f"{len(given.fit)} calibration photographs"
    why = f"in {photographs}, at {threshold:g} {count(threshold)}; at {chosen:g} {count(chosen)}"
    return Recalibrated(chosen, why)


def judge(
    known: Reference,
    engine: Engine,
    info: ModelInfo,
    given: Evidence,
    recalibrated: Recalibrated | None = None,
    limits: Limits = LIMITS,
) -> Findings:
    """Judge a converted detector at its own threshold against its source at the source's.

    Args:
        known: what the source finds.
        engine: the model, compiled.
        info: its manifest entry, with the threshold of the source.
        given: what to judge it on.
        recalibrated: the model's own threshold; the source's if None.
        limits: how far it may be from the source.
    """
    import numpy as np  # noqa: PLC0415

    recalibrated = recalibrated or Recalibrated(_threshold(info), "the family's")
    found = [] if given.synthetic else _runs.detect(engine, info, given.held_out.arrays, _LOWEST)
    seen = _Comparison(known.held_out, found, _threshold(info), recalibrated.threshold)
    total = seen.hits + seen.missed
    evidence = f"{total} faces that the source finds in {len(given.held_out)} photographs"
    missed_title, added_title = "faces of the source that are missed", "faces that the source does not find"
    if given.synthetic:
        why = "no photographs (--calibration)"
        gates = [not_run("recall", missed_title, why), not_run("precision", added_title, why)]
    elif not total:
        why = f"the source finds no face in {len(given.held_out)} photographs"
        gates = [not_run("recall", missed_title, why), _added(seen, len(given.held_out), limits)]
    else:
        gates = [
            rate_gate("recall", missed_title, seen.missed, total, limits.missed, what="missed", evidence=evidence),
            rate_gate(
                "precision",
                added_title,
                seen.added,
                seen.hits + seen.added,
                limits.added,
                what="added",
                evidence=evidence,
            ),
        ]
    gates += _geometry(seen, limits)
    gates += _truth(known, engine, info, given, recalibrated, limits)
    figures = {
        "against": "the source's own detections",
        "photographs": len(known.held_out),
        "source_threshold": _threshold(info),
        "threshold": recalibrated.threshold,
        "threshold_why": recalibrated.why,
        "recall": rate_of(seen.missed, total) if total else None,
        "precision": rate_of(seen.added, seen.hits + seen.added) if seen.hits + seen.added else None,
        "iou": _spread(seen.overlaps, "p1", 1),
        "landmarks": _spread(seen.errors, "p95", 95),
    }
    kinds = np.array(seen.is_face, bool)
    source, model = np.array(seen.source_scores), np.array(seen.model_scores)
    sections: dict[str, Any] = {
        "detections": figures,
        "scores": {
            "what": "score of a face",
            "labels": {"genuine": "faces that the source finds", "impostor": "what it takes for none"},
            "evidence": evidence,
            "source": histogram(source[kinds], source[~kinds], 0.0, 1.0),
            "model": histogram(model[kinds], model[~kinds], 0.0, 1.0),
        }
        if len(kinds)
        else {"not_run": "no face was found"},
        "pairs": scatter(source, model, kinds) if len(kinds) else {"not_run": "no face was found"},
        "worst": worst(given.held_out, seen.wrong, "faces missed or added, and landmark error"),
    }
    if given.synthetic:
        sections = {name: {"not_run": "no photographs (--calibration)"} for name in sections}
    sections["detections"] = figures if given.truth or not given.synthetic else sections["detections"]
    loss = (seen.missed + seen.added + float(np.sum(seen.errors)) + float(np.sum(1 - np.array(seen.overlaps)))) / max(
        total, 1
    )
    return Findings(tuple(gates), sections, loss=loss)


class _Comparison:
    """What two detectors found in the same photographs, each at its own threshold."""

    def __init__(self, theirs: Found, ours: Found, their_threshold: float, our_threshold: float) -> None:
        self.hits = self.missed = self.added = 0
        self.overlaps: list[float] = []
        self.errors: list[float] = []
        self.wrong: list[float] = []
        self.source_scores: list[float] = []
        self.model_scores: list[float] = []
        self.is_face: list[bool] = []
        for a, b in zip(theirs, ours, strict=True):
            pairs = _match(a, b)
            self._scores(a, b, pairs, their_threshold)
            known = [f for f in a if f.score >= their_threshold]
            found = [f for f in b if f.score >= our_threshold]
            both = _match(known, found)
            large = [(i, j) for i, j in both if _side(known[i]) >= _LARGE]
            errors = [e for i, j in large if (e := _landmark_error(known[i], found[j])) is not None]
            self.overlaps += [_overlap(known[i].box, found[j].box) for i, j in both]
            self.errors += errors
            self.hits += len(both)
            self.missed += len(known) - len(both)
            self.added += len(found) - len(both)
            self.wrong.append(len(known) + len(found) - 2 * len(both) + max(errors, default=0.0))

    def _scores(self, a: Sequence[Face], b: Sequence[Face], pairs: list[tuple[int, int]], threshold: float) -> None:
        """Scores of both, of every face that either gives a thought: 0 where the other does not."""
        seen = {j for _, j in pairs}
        rows = [(a[i].score, b[j].score) for i, j in pairs]
        rows += [(f.score, 0.0) for i, f in enumerate(a) if i not in {i for i, _ in pairs}]
        rows += [(0.0, f.score) for j, f in enumerate(b) if j not in seen]
        for score, other in rows:
            self.source_scores.append(score)
            self.model_scores.append(other)
            self.is_face.append(score >= threshold)


def _added(seen: _Comparison, photographs: int, limits: Limits) -> Gate:
    return rate_gate(
        "precision",
        "photographs in which faces are found that the source does not find",
        sum(w > 0 for w in seen.wrong),
        photographs,
        limits.added,
        what="with faces added",
        evidence=f"{photographs} photographs without a face",
    )


def _geometry(seen: _Comparison, limits: Limits) -> list[Gate]:
    import numpy as np  # noqa: PLC0415

    title = "mean distance of landmarks from the source's, {}, in distances between the eyes"
    titles = {50: title.format("median"), 95: title.format("95th percentile")}
    boxes = "intersection over union with the source's boxes, 5th percentile"
    if not seen.overlaps:
        why = "no face was found by both"
        names = (("landmarks-p50", titles[50]), ("landmarks-p95", titles[95]), ("boxes", boxes))
        return [not_run(name, text, why) for name, text in names]
    gates = []
    evidence = f"{len(seen.errors)} faces of at least {_LARGE} pixels in the input"
    for percentile, limit in ((50, limits.landmarks_p50), (95, limits.landmarks_p95)):
        name = f"landmarks-p{percentile}"
        if not seen.errors:
            why = f"the model gives no landmarks, or no face has {_LARGE} pixels in its input"
            gates.append(not_run(name, titles[percentile], why))
            continue
        error = float(np.percentile(seen.errors, percentile))
        why = "faces would be aligned otherwise than with the source"
        gates.append(level_gate(name, titles[percentile], error, limit, unit="", evidence=evidence, why=why))
    found = float(np.percentile(seen.overlaps, 5))
    why = "boxes lie elsewhere than the source's"
    evidence = f"{len(seen.overlaps)} faces that both find"
    gates.append(level_gate("boxes", boxes, found, limits.overlap, unit="", evidence=evidence, at_least=True, why=why))
    return gates


def _truth(
    known: Reference, engine: Engine, info: ModelInfo, given: Evidence, own: Recalibrated, limits: Limits
) -> list[Gate]:
    """Recall and false faces against ground truth, of the model less those of the source."""
    names = {
        "truth-recall": "true faces missed, against the source",
        "truth-precision": "false faces, against the source",
    }
    truth = given.truth
    if truth is None:
        return [not_run(name, title, "no ground truth (--truth)") for name, title in names.items()]
    found = _runs.detect(engine, info, truth.inputs.arrays, own.threshold)
    source = [tuple(f for f in faces if f.score >= _threshold(info)) for faces in known.truth]
    lost = gained = true = source_false = model_false = both_false = 0
    for boxes, theirs, ours in zip(truth.boxes, source, found, strict=True):
        by_source, by_model = dict(_match_boxes(boxes, theirs)), dict(_match_boxes(boxes, ours))
        lost, gained, true = (
            lost + len(by_source.keys() - by_model.keys()),
            gained + len(by_model.keys() - by_source.keys()),
            true + len(boxes),
        )
        false = [f for j, f in enumerate(theirs) if j not in by_source.values()]
        model = [f for j, f in enumerate(ours) if j not in by_model.values()]
        source_false, model_false = source_false + len(false), model_false + len(model)
        both_false += len(_match(false, model))
    evidence = f"{true} true faces in {len(truth.inputs)} photographs; the source finds {source_false} false ones"
    return [
        paired_gate(
            "truth-recall", names["truth-recall"], lost, gained, true, limits.truth, what="lost", evidence=evidence
        ),
        paired_gate(
            "truth-precision",
            names["truth-precision"],
            model_false - both_false,
            source_false - both_false,
            true + model_false,
            limits.truth,
            what="false faces more",
            evidence=evidence,
        ),
    ]


def _threshold(info: ModelInfo) -> float:
    return info.detector.score_threshold if info.detector is not None else 0.5


def _spread(values: Sequence[float], name: str, percentile: int) -> dict[str, Any] | None:
    import numpy as np  # noqa: PLC0415

    if not values:
        return None
    return {"p50": float(f"{np.percentile(values, 50):.6g}"), name: float(f"{np.percentile(values, percentile):.6g}")}


def _match(a: Sequence[Face], b: Sequence[Face]) -> list[tuple[int, int]]:
    """Faces that are the same in both, as places; the pairs that overlap most first, each face once."""
    import numpy as np  # noqa: PLC0415

    return _match_boxes(np.array([f.box for f in a], np.float32).reshape(-1, 4), b)


def _match_boxes(boxes: Array, faces: Sequence[Face]) -> list[tuple[int, int]]:
    import numpy as np  # noqa: PLC0415

    overlaps = _overlaps(boxes, np.array([f.box for f in faces], np.float32).reshape(-1, 4))
    first, second = np.nonzero(overlaps >= SAME)
    order = np.argsort(-overlaps[first, second], kind="stable")
    taken: tuple[set[int], set[int]] = (set(), set())
    found = []
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            found.append((i, j))
    return found


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    return float(_overlaps(a[None], b[None])[0, 0])


def _overlaps(a: Array, b: Array) -> npt.NDArray[np.float64]:
    """Intersection over union of each of the boxes (N, 4) with each of (M, 4), as (N, M)."""
    import numpy as np  # noqa: PLC0415

    x, y = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.maximum(np.minimum(x[..., 2:], y[..., 2:]) - np.maximum(x[..., :2], y[..., :2]), 0)
    inner = sides.prod(axis=-1)
    union = (x[..., 2:] - x[..., :2]).prod(axis=-1) + (y[..., 2:] - y[..., :2]).prod(axis=-1) - inner
    found: npt.NDArray[np.float64] = np.where(union > 0, inner / np.where(union > 0, union, 1), 0.0)
    return found


def _side(face: Face) -> float:
    x1, y1, x2, y2 = face.box.tolist()
    return float(min(x2 - x1, y2 - y1))


def _landmark_error(a: Face, b: Face) -> float | None:
    """The mean distance of the five points, in distances between the eyes of the first."""
    import numpy as np  # noqa: PLC0415

    if a.landmarks is None or b.landmarks is None:
        return None
    eyes = float(np.linalg.norm(a.landmarks[0] - a.landmarks[1]))
    if eyes <= 0:
        return None
    distances = np.linalg.norm(a.landmarks - b.landmarks, axis=1)
    return float(distances.mean()) / eyes
