"""What is wrong with a dataset before anybody believes figures that were measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._evaluate._cache import OK, QUALITY, STATUSES
from facegate_edge._quality import Quality, QualityGate

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_convert._evaluate._cache import Records
    from facegate_convert._evaluate._dataset import Dataset
    from facegate_convert._evaluate._similarity import Templates
    from facegate_convert._metrics import Scores

NEAR = 12  # of 256 bits of two photographs' looks
_ALIKE = 0.8  # similarity of the faces of near-identical photographs
_TINY_FILE = 40  # pixels of a photograph's shorter side
_BLOCK = 1 << 21
_ENOUGH = 3  # photographs of a person among which one can be the odd one out
_MOST = 1000  # pairs of a kind that are listed

KINDS = {
    "unreadable": "no image that can be read",
    "no_face": "no face was found",
    "several_faces": "several faces; the policy chose one, or refused",
    "not_alignable": "a face that cannot be aligned",
    "crashed": "a process died of it",
    "no_feature": "the hosted model gave no feature",
    "too_small": "the face is too small",
    "blurred": "the face is blurred",
    "too_dark": "the face is too dark",
    "too_bright": "the face is too bright",
    "turned": "the face is turned away",
    "copy": "the same bytes under several names",
    "near_identical": "nearly the same picture",
    "filed_wrong": "more like somebody else than like its own person",
    "unlike_own": "unlike the other photographs of its person",
    "one_person": "two identities that look like one person",
    "pair_wrong": "a pair whose answer looks wrong",
}
SERIOUS = frozenset(("unreadable", "crashed", "copy", "near_identical", "filed_wrong", "one_person", "pair_wrong"))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should look at.

    Attributes:
        kind: one of `KINDS`.
        photographs: indices into the dataset; of "one_person" one photograph of each identity.
        detail: numbers and names behind it.
    """

    kind: str
    photographs: tuple[int, ...]
    detail: dict[str, Any]


def find_problems(
    dataset: Dataset, records: Records, templates: Templates | None, scores: Scores | None, gate: QualityGate
) -> tuple[Problem, ...]:
    """Everything that looks wrong, by kind.

    Args:
        dataset: the photographs.
        records: what became of them.
        templates: for what can only be told by comparing; None without a source of templates.
        scores: of the comparisons, likewise.
        gate: limits of face size, sharpness, light and pose.
    """
    problems = [Problem("copy", (), {"names": list(names)}) for names in dataset.copies]
    problems += _single(records, gate)
    problems += _near_identical(records, templates)
    if templates is not None and scores is not None:
        # Half of the labels would have to be wrong to move the middle between the two medians.
        middle = (scores.genuine.quantile(0.5) + scores.impostor.quantile(0.5)) / 2
        alike = max(middle, scores.genuine.quantile(0.25))
        unlike = min(middle, scores.impostor.quantile(0.95))
        if dataset.pairs is None:
            problems += _misfiled(dataset, templates, alike, unlike)
        else:
            problems += _wrong_pairs(templates, alike, unlike)
    order = {kind: i for i, kind in enumerate(KINDS)}
    return tuple(sorted(problems, key=lambda p: (order[p.kind], p.photographs)))


def quality_reasons(row: Any, gate: QualityGate) -> tuple[str, ...]:
    """Why a record's face is not good enough; nothing if it was not measured."""
    values = [float(v) for v in row["quality"]]
    if np.isnan(values).all():
        return ()
    return gate.reasons(Quality(**dict(zip(QUALITY, values, strict=True))))


def _single(records: Records, gate: QualityGate) -> list[Problem]:
    found = []
    for place, row in enumerate(records.rows):
        status = STATUSES[int(row["status"])]
        if status in KINDS and status != "several_faces":
            found.append(Problem(status, (place,), {}))
        elif row["faces"] > 1:
            found.append(Problem("several_faces", (place,), {"faces": int(row["faces"])}))
        if row["width"] and min(row["width"], row["height"]) < _TINY_FILE:
            size = {"width": int(row["width"]), "height": int(row["height"])}
            found.append(Problem("too_small", (place,), size))
        if row["status"] != OK:
            continue
        measures = dict(zip(QUALITY, (round(float(v), 2) for v in row["quality"]), strict=True))
        for reason in quality_reasons(row, gate):
            shown = {"too_small": ("eye_distance", "box_side"), "blurred": ("sharpness",), "turned": ("yaw", "pitch")}
            names = shown.get(reason, ("brightness",))
            found.append(Problem(reason, (place,), {n: measures[n] for n in names if measures[n] == measures[n]}))
    return found


def _near_identical(records: Records, templates: Templates | None) -> list[Problem]:
    """Photographs whose looks differ in few bits, and whose faces are alike where both have a template."""
    readable = np.flatnonzero(records.present & (records.rows["width"] > 0))
    bits = np.unpackbits(records.rows["look"][readable], axis=1).astype(np.float32) * 2 - 1
    limit = bits.shape[1] - 2 * NEAR
    found: list[Problem] = []
    step = max(1, _BLOCK // max(1, readable.size))
    for start in range(0, readable.size, step):
        alike = bits[start : start + step] @ bits[start:].T >= limit
        rows, columns = np.nonzero(np.triu(alike, 1))
        a, b = readable[start + rows], readable[start + columns]
        if templates is not None and a.size:
            both = templates.usable[a] & templates.usable[b]
            same = np.ones(a.size, np.bool_)
            same[both] = templates.scores(a[both], b[both]) >= _ALIKE
            a, b = a[same], b[same]
        found += [Problem("near_identical", (int(i), int(j)), {}) for i, j in zip(a.tolist(), b.tolist(), strict=True)][
            : _MOST - len(found)
        ]
    return found


def _misfiled(dataset: Dataset, templates: Templates, alike: float, unlike: float) -> list[Problem]:
    """Photographs that are more like another identity than like their own, and identities that are one person.

    A photograph's similarity to an identity is the mean over its photographs. "Alike" is what three in four comparisons
    of the same person reach, "unlike" what one in twenty of two people exceeds.
    """
    usable = np.flatnonzero(templates.usable)
    people = dataset.identity[usable]
    count = np.bincount(people, minlength=len(dataset.identities)).astype(np.float64)
    unit = templates.directions(usable)
    sums = np.zeros((len(dataset.identities), unit.shape[1]))
    np.add.at(sums, people, unit)
    own_total = np.einsum("ij,ij->i", unit, sums[people]) - np.einsum("ij,ij->i", unit, unit)
    others = count[people] - 1
    own = np.divide(own_total, others, out=np.full(usable.size, np.nan), where=others > 0)
    present = np.flatnonzero(count)
    means = sums[present] / count[present, None]
    found: list[Problem] = []
    step = max(1, _BLOCK // max(1, present.size))
    for start in range(0, usable.size, step):
        table = unit[start : start + step] @ means.T
        mine = np.searchsorted(present, people[start : start + step])
        table[np.arange(len(table)), mine] = -np.inf
        best = table.argmax(axis=1)
        for row, other in enumerate(best.tolist()):
            place = start + row
            to_own, to_other = float(own[place]), float(table[row, other])
            if others[place] and to_other > to_own and to_other >= (alike + unlike) / 2:
                detail = {"own": to_own, "other": to_other, "like": dataset.identities[int(present[other])]}
                found.append(Problem("filed_wrong", (int(usable[place]),), detail))
            elif others[place] >= _ENOUGH - 1 and to_own <= unlike:
                rest = people == people[place]
                rest[place] = False
                if float(np.nanmean(own[rest])) > to_own:
                    found.append(Problem("unlike_own", (int(usable[place]),), {"own": to_own}))
    return found + _one_person(dataset.identities, present, means, _firsts(usable, people), alike)


def _firsts(usable: npt.NDArray[np.intp], people: npt.NDArray[np.int32]) -> dict[int, int]:
    """The first usable photograph of each identity."""
    return dict(zip(people[::-1].tolist(), usable[::-1].tolist(), strict=True))


def _one_person(
    names: tuple[str, ...],
    present: npt.NDArray[np.intp],
    means: npt.NDArray[np.float64],
    first: dict[int, int],
    alike: float,
) -> list[Problem]:
    """Identities whose photographs are as alike as three in four of one person."""
    found: list[tuple[float, Problem]] = []
    step = max(1, _BLOCK // max(1, present.size))
    for start in range(0, present.size, step):
        table = np.triu(means[start : start + step] @ means[start:].T, 1)
        for i, j in zip(*np.nonzero(table >= alike), strict=True):
            one, other = int(present[start + i]), int(present[start + j])
            detail = {"similarity": float(table[i, j]), "names": [names[one], names[other]]}
            found.append((-float(table[i, j]), Problem("one_person", (first[one], first[other]), detail)))
    return [problem for _, problem in sorted(found, key=lambda f: (f[0], f[1].photographs))[:_MOST]]


def _wrong_pairs(templates: Templates, alike: float, unlike: float) -> list[Problem]:
    found = []
    for block in templates.blocks():
        odd = block.score <= unlike if block.genuine else block.score >= alike
        for place in np.flatnonzero(odd).tolist():
            pair = (int(block.a[place]), int(block.b[place]))
            detail = {"said_to_be_same": block.genuine, "similarity": float(block.score[place])}
            found.append(Problem("pair_wrong", pair, detail))
    return found[:_MOST]
