"""Who is enrolled and who is searched for: an open-set protocol made from a folder for each identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_convert.errors import EvaluationError

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_convert._evaluate._dataset import Dataset
    from facegate_convert._evaluate._similarity import Templates
    from facegate_convert._metrics import OpenSet

    Indices = npt.NDArray[np.intp]

_STRANGERS = 1 / 3
_BLOCK = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """What each photograph is for.

    Attributes:
        gallery: photographs that are enrolled.
        mated: photographs of enrolled people that are searched for.
        nonmated: photographs of people who are not enrolled.
        failed_mated, failed_nonmated: whose the searches are whose photograph shows no usable face, by person.
        not_enrolled: people none of whose photographs could be enrolled; their searches count as failed.
    """

    gallery: Indices
    mated: Indices
    nonmated: Indices
    failed_mated: Indices
    failed_nonmated: Indices
    not_enrolled: int


def assign_roles(dataset: Dataset, usable: npt.NDArray[np.bool_], *, enroll: int = 1) -> Roles:
    """Enroll some people with `enroll` photographs each, and search for the others and for their other photographs.

    People with no more than `enroll` photographs are strangers, and of the rest as many as it takes that a third of all
    people are. Who is drawn, and which photographs are enrolled, is decided by the photographs' sha256: the same data
    always gives the same roles, whatever its files are called.

    Raises:
        EvaluationError: nobody is left to enroll, or nobody to be a stranger.
    """
    by_person: dict[int, list[int]] = {}
    for place in sorted(range(len(dataset.names)), key=lambda i: dataset.sha256[i]):
        by_person.setdefault(int(dataset.identity[place]), []).append(place)

    def lot(person: int) -> str:
        return hashlib.sha256("".join(dataset.sha256[i] for i in by_person[person]).encode()).hexdigest()

    strangers = {person for person, places in by_person.items() if len(places) <= enroll}
    for person in sorted(by_person.keys() - strangers, key=lot):
        if len(strangers) >= len(by_person) * _STRANGERS:
            break
        strangers.add(person)
    gallery, mated, nonmated = [], [], []
    failed_mated, failed_nonmated, not_enrolled = [], [], 0
    for person, places in by_person.items():
        good = [i for i in places if usable[i]]
        if person in strangers:
            nonmated += good
            failed_nonmated += [person] * (len(places) - len(good))
            continue
        gallery += good[:enroll]
        # A photograph that cannot be enrolled is replaced by the next, as at a desk; it is no search.
        searches = len(places) - enroll
        mated += good[enroll:][:searches] if good else []
        failed_mated += [person] * (searches - len(good[enroll:][:searches]))
        not_enrolled += not good
    if not gallery or not mated or not nonmated:
        raise EvaluationError(
            f"{len(gallery)} photographs to enroll, {len(mated)} searches for enrolled people and {len(nonmated)} for "
            "strangers are too few for an open set",
            hint=f"it takes people with more than {enroll} photographs, and strangers",
        )
    first, second, third = (np.array(sorted(places), np.intp) for places in (gallery, mated, nonmated))
    lost, strange = (np.array(people, np.intp) for people in (failed_mated, failed_nonmated))
    return Roles(first, second, third, lost, strange, not_enrolled)


def search(dataset: Dataset, templates: Templates, roles: Roles) -> OpenSet:
    """Search for everybody, some probes at a time."""
    from facegate_convert._metrics import SearchCounter  # noqa: PLC0415 - where it is used

    counter = SearchCounter(dataset.identity[roles.gallery])
    probes = np.concatenate([roles.mated, roles.nonmated])
    step = max(1, _BLOCK // roles.gallery.size)
    for start in range(0, probes.size, step):
        some = probes[start : start + step]
        counter.add(templates.table(some, roles.gallery), dataset.identity[some])
    counter.fail(mated=roles.failed_mated, nonmated=roles.failed_nonmated)
    return counter.result()
