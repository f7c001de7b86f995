"""From similarities, detections and liveness scores to the figures that are reported; numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._statistics import clopper_pearson, threshold_for
from facegate_train.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.integer[Any]]
    Booleans = npt.NDArray[np.bool_]

FMR = 1e-3
FALSE_FACES = 0.01  # per face-free frame
GROUPS = {"Monk 1-3": (1, 2, 3), "Monk 4-6": (4, 5, 6), "Monk 7-10": (7, 8, 9, 10)}
OVERLAP = 0.5  # intersection over union from which a detection is the face
LEAST_VISIBLE = 0.5  # a face of which less shows need not be found, and finding it is no error
EYE_DISTANCES = {"under 16 px": (0, 16), "16-32 px": (16, 32), "over 32 px": (32, math.inf)}  # in this order
_RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Templates:
    """Templates of test pictures.

    Attributes:
        vectors: float32 (N, D), of length 1; zeros where no face was found.
        identity: (N,).
        monk: (N,), 1..10.
    """

    vectors: Floats
    identity: Integers
    monk: Integers


def share(errors: int, trials: int) -> dict[str, Any]:
    """A proportion with its exact 95 % interval."""
    low, high = clopper_pearson(errors, trials)
    return {
        "errors": errors,
        "trials": trials,
        "rate": _rounded(errors / trials) if trials else None,
        "low": _rounded(low),
        "high": _rounded(high),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def impostor_threshold(templates: Templates, rate: float = FMR) -> float:
    """The threshold at which `rate` of all comparisons of different people are accepted.

    Raises:
        EvidenceError: there are too few of them.
    """
    similarities = _pairs(templates)[1]
    if similarities.size < 3 / rate:
        raise EvidenceError(
            f"{similarities.size} impostor comparisons are too few for an FMR of {rate:g}",
            hint="render more identities",
        )
    return threshold_for(np.sort(similarities), rate)  # type: ignore[arg-type]


def _pairs(templates: Templates) -> tuple[Floats, Floats, Integers, Integers]:
    """(genuine similarities, impostor similarities, the genuine ones' first and second picture)."""
    similarities = templates.vectors @ templates.vectors.T
    first, second = np.triu_indices(len(similarities), 1)
    same = templates.identity[first] == templates.identity[second]
    values = similarities[first, second]
    return values[same], values[~same], first[same], second[same]


def recognition(templates: Templates, threshold: float) -> dict[str, Any]:
    """FNMR and FMR at a threshold, over all comparisons and by skin tone.

    The interval of an FNMR is over identities (drawn again with replacement, 1000 times): comparisons of one person are
    not independent. A template that could not be made matches nothing.
    """
    genuine, impostor, first, _ = _pairs(templates)
    missed = genuine < threshold
    who = templates.identity[first]
    tone = templates.monk[first]
    found: dict[str, Any] = {
        "threshold": threshold,
        "identities": len(np.unique(templates.identity)),
        "pictures": len(templates.identity),
        "failed": int((~templates.vectors.any(1)).sum()),
        "fnmr": _clustered(missed, who),
        "fmr": {
            "rate": _rounded(float((impostor >= threshold).mean())),
            "trials": int(impostor.size),
        },
        "groups": {name: _group(templates, missed, who, tone, tones, threshold) for name, tones in GROUPS.items()},
        "tones": {
            str(one): _group(templates, missed, who, tone, (one,), threshold)
            for one in sorted({int(t) for t in templates.monk})
        },
    }
    overall = found["fnmr"]["rate"]
    rates = {name: group["fnmr"]["rate"] for name, group in found["groups"].items() if group["fnmr"]["trials"]}
    worst = max(rates, key=lambda name: rates[name])
    found["worst_group"] = worst
    found["worst_to_overall"] = _rounded(rates[worst] / overall) if overall else None
    return found


def _group(
    templates: Templates, missed: Booleans, who: Integers, tone: Integers, tones: Sequence[int], threshold: float
) -> dict[str, Any]:
    own = np.isin(tone, tones)
    members = np.isin(templates.monk, tones)
    vectors, identity = templates.vectors[members], templates.identity[members]
    upper = np.triu(np.ones((len(vectors), len(vectors)), bool), 1) & (identity[:, None] != identity[None, :])
    impostor = (vectors @ vectors.T)[upper]
    return {
        "identities": len(np.unique(identity)),
        "fnmr": _clustered(missed[own], who[own]),
        "fmr_within": {
            "rate": _rounded(float((impostor >= threshold).mean())) if impostor.size else None,
            "trials": int(impostor.size),
        },
    }


def _clustered(missed: Booleans, who: Integers) -> dict[str, Any]:
    """A rate with a 95 % bootstrap interval over identities."""
    if not missed.size:
        return {"errors": 0, "trials": 0, "rate": None, "low": None, "high": None}
    _, place = np.unique(who, return_inverse=True)
    errors = np.bincount(place, weights=missed)
    trials = np.bincount(place)
    rng = np.random.default_rng(20_260)
    drawn = rng.integers(0, len(trials), (_RESAMPLED, len(trials)))
    rates = errors[drawn].sum(1) / trials[drawn].sum(1)
    return {
        "errors": int(missed.sum()),
        "trials": int(missed.size),
        "rate": _rounded(float(missed.mean())),
        "low": _rounded(float(np.quantile(rates, 0.025))),
        "high": _rounded(float(np.quantile(rates, 0.975))),
    }


# Detection


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in a frame, and the truth.

    Attributes:
        scores: (K,), highest first.
        boxes, landmarks: (K, 4), (K, 5, 2).
        true_boxes, true_landmarks: (F, 4), (F, 5, 2).
        visible, iod: (F,).
    """

    scores: Floats
    boxes: Floats
    landmarks: Floats
    true_boxes: Floats
    true_landmarks: Floats
    visible: Floats
    iod: Floats


def detection_threshold(empty: Sequence[Found], rate: float = FALSE_FACES) -> float:
    """The lowest threshold, of 4 decimals, at which face-free frames give at most `rate` false faces each.

    Raises:
        EvidenceError: there are too few frames.
    """
    if len(empty) < 1 / rate:
        raise EvidenceError(
            f"{len(empty)} face-free frames are too few for {rate:g} false faces each", hint="render more of them"
        )
    scores = np.sort(np.concatenate([f.scores for f in empty]))[::-1]
    allowed = int(rate * len(empty))
    if len(scores) <= allowed:
        return 0.0
    return float(np.floor(scores[allowed] * 10_000 + 1) / 10_000)


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of each box of (K, 4) with each of (F, 4); (K, F)."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(corner, 0), -1)
    areas = np.prod(a[:, 2:] - a[:, :2], -1)[:, None] + np.prod(b[:, 2:] - b[:, :2], -1)[None] - common
    return np.asarray(common / np.maximum(areas, 1e-6), np.float32)


def detection(frames: Sequence[Found], empty: Sequence[Found], threshold: float) -> dict[str, Any]:
    """Recall, precision, false faces and landmark errors at a threshold.

    A landmark's error is over the distance that the eyes would have if the face were turned to the camera: that does
    not shrink as a head turns. The mean is over all faces that were found, however small.
    """
    hits = wanted = false = detections = 0
    errors: list[float] = []
    sizes: list[float] = []
    seen: list[tuple[float, bool]] = []
    for frame in frames:
        keep = frame.scores >= threshold
        overlaps = iou(frame.boxes[keep], frame.true_boxes)
        owner = _matched(overlaps)
        required = frame.visible >= LEAST_VISIBLE
        found = np.isin(np.arange(len(required)), owner[owner >= 0])
        wanted += int(required.sum())
        hits += int((found & required).sum())
        seen += [(float(i), bool(f)) for i, f, r in zip(frame.iod, found, required, strict=True) if r]
        detections += len(owner)
        false += int((owner < 0).sum())
        points = frame.landmarks[keep]
        for place, face in enumerate(owner):
            if face >= 0 and required[face]:
                away = np.linalg.norm(points[place] - frame.true_landmarks[face], axis=1).mean()
                errors.append(float(away / frame.iod[face]))
                sizes.append(float(frame.iod[face]))
    errors_, sizes_ = np.array(errors), np.array(sizes)
    spurious = sum(int((f.scores >= threshold).sum()) for f in empty)
    return {
        "threshold": threshold,
        "frames": len(frames),
        "recall": share(hits, wanted),
        "precision": share(detections - false, detections),
        "face_free_frames": len(empty),
        "false_faces": spurious,
        "false_faces_per_frame": _rounded(spurious / len(empty)) if len(empty) else None,
        "landmarks": _errors(errors_),
        "by_eye_distance": {
            name: {
                "recall": share(sum(f for i, f in seen if low <= i < high), sum(1 for i, _ in seen if low <= i < high)),
                "landmarks": _errors(errors_[(sizes_ >= low) & (sizes_ < high)]),
            }
            for name, (low, high) in EYE_DISTANCES.items()
        },
    }


def _errors(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    if not values.size:
        return {"faces": 0, "mean": None, "p50": None, "p95": None}
    return {
        "faces": int(values.size),
        "mean": _rounded(float(values.mean())),
        "p50": _rounded(float(np.quantile(values, 0.5))),
        "p95": _rounded(float(np.quantile(values, 0.95))),
    }


def _matched(overlaps: Floats) -> npt.NDArray[np.int64]:
    """For each detection, best first, the face that it found, or -1: a second detection of a face is false."""
    owner = np.full(len(overlaps), -1)
    free = np.ones(overlaps.shape[1], bool)
    for place, row in enumerate(overlaps):
        open_ = np.where(free, row, -1.0)
        if open_.size and open_.max() >= OVERLAP:
            owner[place] = int(open_.argmax())
            free[owner[place]] = False
    return owner


# Liveness


def liveness_threshold(live: Floats, rate: float) -> float:
    """The threshold at or above which all but `rate` of the live faces' scores lie; 4 decimals, rounded down.

    Raises:
        EvidenceError: there are too few live faces.
    """
    if len(live) * rate < 1:
        raise EvidenceError(f"{len(live)} live faces are too few for a BPCER of {rate:g}", hint="render more of them")
    return float(np.floor(np.sort(live)[int(rate * len(live))] * 10_000) / 10_000)


def liveness(scores: Floats, species: Integers, names: Sequence[str], threshold: float) -> dict[str, Any]:
    """BPCER, and APCER by species (ISO/IEC 30107-3), at a threshold.

    Args:
        scores: probabilities of being live, (N,).
        species: (N,), the index into `names`, or -1 for live.
        names: of the species.
        threshold: live is what scores at or above it.
    """
    live = scores[species < 0]
    apcer = {
        name: share(int((scores[species == number] >= threshold).sum()), int((species == number).sum()))
        for number, name in enumerate(names)
    }
    worst = max(apcer, key=lambda name: apcer[name]["rate"] or 0.0)
    return {
        "threshold": threshold,
        "bpcer": share(int((live < threshold).sum()), len(live)),
        "apcer": apcer,
        "worst_species": worst,
    }
