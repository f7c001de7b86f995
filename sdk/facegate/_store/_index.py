"""The gallery in memory: whose each row is, and who resembles a probe most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate.errors import GalleryError
from facegate_edge._gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import numpy.typing as npt

    from facegate_edge._values import Template

__all__ = ["Index", "Match"]

_MAX_K = 1024  # of the kernel
_MAX_MASKS = 8


@dataclass(frozen=True, slots=True, repr=False)
class Match:
    """Who was found.

    Attributes:
        owner: row id of the person, or of the list.
        face: row id of the most similar face of theirs.
        similarity: cosine, -1..1. It stays on the device.
    """

    owner: int
    face: int
    similarity: float

    def __repr__(self) -> str:
        return f"Match(owner={self.owner}, face={self.face})"


class Index:
    """Faces by person and list, people by group. Not thread safe: the gate's lock guards it.

    Args:
        length: of a template.
        space: id of the template space, rotation included.
        capacity: for how many faces memory is made at first.
    """

    def __init__(self, length: int, space: str, *, capacity: int = 64) -> None:
        self._gallery = Gallery(length, space, capacity=max(capacity, 1))
        self._faces = np.zeros(max(capacity, 1), np.int64)
        self._owners = np.zeros(max(capacity, 1), np.int64)  # a person's id; a list's id, negative
        self._listed = 0  # how many rows are of lists
        self._groups: dict[int, npt.NDArray[np.int64]] = {}  # sorted ids of people
        self._masks: dict[object, npt.NDArray[np.bool_]] = {}

    @property
    def space(self) -> str:
        """Id of the template space."""
        return self._gallery.space

    @property
    def locked(self) -> bool:
        """Whether the templates are locked into RAM."""
        return self._gallery.locked

    def __len__(self) -> int:
        return len(self._gallery)

    def add(
        self,
        faces: Sequence[int] | npt.NDArray[np.int64],
        owners: Sequence[int] | npt.NDArray[np.int64],
        rows: npt.NDArray[np.int8],
    ) -> None:
        """Add faces.

        Args:
            faces: row ids (N,).
            owners: (N,) ids of their people; those of lists are negative.
            rows: int8 (N, D).

        Raises:
            GalleryError: a row is no template; nothing is added then.
        """
        first = self._gallery.extend(rows)
        count = first + len(rows)
        if count > len(self._faces):
            size = max(count, 2 * len(self._faces))
            self._faces = np.concatenate([self._faces[:first], np.zeros(size - first, np.int64)])
            self._owners = np.concatenate([self._owners[:first], np.zeros(size - first, np.int64)])
        self._faces[first:count] = faces
        self._owners[first:count] = owners
        self._listed += int(np.count_nonzero(self._owners[first:count] < 0))
        self._masks.clear()

    def remove_faces(self, faces: Collection[int]) -> None:
        """Wipe faces; those that are not here are not missed."""
        self._remove(np.isin(self._faces[: len(self)], list(faces)))

    def remove_person(self, person: int) -> None:
        """Wipe a person's faces and leave all groups."""
        self._remove(self._owners[: len(self)] == person)
        for group in self._groups:
            self.leave(person, group)

    def remove_list(self, face_list: int) -> None:
        """Wipe a list's faces."""
        self._remove(self._owners[: len(self)] == -face_list)

    def _remove(self, selected: npt.NDArray[np.bool_]) -> None:
        # From the end, because a removed row is replaced by the last one.
        for index in np.flatnonzero(selected)[::-1].tolist():
            self._listed -= int(self._owners[index] < 0)
            moved = self._gallery.remove(index)
            if moved is not None:
                self._faces[index] = self._faces[moved]
                self._owners[index] = self._owners[moved]
        self._masks.clear()

    def faces(self, person: int) -> tuple[int, ...]:
        """Row ids of a person's faces that can be compared, in ascending order."""
        return tuple(sorted(self._faces[: len(self)][self._owners[: len(self)] == person].tolist()))

    def join(self, person: int, group: int) -> None:
        """A person is of a group."""
        members = self._groups.get(group)
        if members is None:
            self._groups[group] = np.array([person], np.int64)
        else:
            place = int(np.searchsorted(members, person))
            if place == len(members) or members[place] != person:
                self._groups[group] = np.insert(members, place, person)
        self._masks.clear()

    def leave(self, person: int, group: int) -> None:
        """A person is not of a group any more."""
        members = self._groups.get(group)
        if members is not None:
            self._groups[group] = members[members != person]
            self._masks.clear()

    def set_group(self, group: int, people: Iterable[int]) -> None:
        """A group is these people, whatever it was."""
        self._groups[group] = np.unique(np.fromiter(people, np.int64))
        self._masks.clear()

    def remove_group(self, group: int) -> None:
        """A group is no more."""
        self._groups.pop(group, None)
        self._masks.clear()

    def best(
        self,
        template: Template,
        *,
        persons: Collection[int] | None = None,
        groups: Collection[int] | None = None,
        besides: int | None = None,
        k: int = 1,
    ) -> tuple[Match, ...]:
        """The most similar people, each with their most similar face; of equally similar ones the lower id first.

        Args:
            template: the probe, rotated.
            persons: compare with these people only.
            groups: compare with the people of these groups only, of one or several of them.
            besides: compare with everybody but this person.
            k: how many people at most.

        Raises:
            TemplateSpaceError: the probe is of another space.
            GalleryError: `k` is not 1..1024.
        """
        return self._best(template, self._people(persons, groups, besides), k, by_owner=True)

    def similar(self, template: Template, face_list: int, *, k: int = 1) -> tuple[Match, ...]:
        """The most similar faces of a list, see `best`."""
        return self._best(template, self._owners[: len(self)] == -face_list, k, by_owner=False)

    def _best(
        self, template: Template, selection: npt.NDArray[np.bool_] | None, k: int, *, by_owner: bool
    ) -> tuple[Match, ...]:
        if not 1 <= k <= _MAX_K:
            raise GalleryError(f"{k} candidates cannot be searched for", hint=f"1 to {_MAX_K}")
        # One more than asked for shows whether the last place is shared; several faces of one person take several.
        wanted = min(k + 1, _MAX_K)
        while True:
            found = self._gallery.search(template, wanted, selection=selection)
            matches: dict[int, Match] = {}
            for candidate in found:
                owner, face = int(self._owners[candidate.index]), int(self._faces[candidate.index])
                match = Match(abs(owner), face, candidate.similarity)
                kept = matches.setdefault(owner if by_owner else face, match)
                if kept.similarity == match.similarity and match.face < kept.face:
                    matches[owner if by_owner else face] = match
            ranked = sorted(matches.values(), key=lambda match: (-match.similarity, match.owner, match.face))[:k]
            complete = len(found) < wanted or wanted >= _MAX_K
            if complete or (len(ranked) == k and found[-1].similarity < ranked[-1].similarity):
                return tuple(ranked)
            wanted = min(2 * wanted, _MAX_K)

    def _people(
        self, persons: Collection[int] | None, groups: Collection[int] | None, besides: int | None
    ) -> npt.NDArray[np.bool_] | None:
        """The rows to compare with; None for all."""
        owners = self._owners[: len(self)]
        selection: npt.NDArray[np.bool_] | None = None
        if persons is not None:
            selection = owners == next(iter(persons)) if len(persons) == 1 else np.isin(owners, list(persons))
        elif self._listed and groups is None:
            selection = self._masks.get("people")
            if selection is None:
                selection = self._masks["people"] = owners > 0
        if groups is not None:
            of_groups = self._of_groups(frozenset(groups))
            selection = of_groups if selection is None else selection & of_groups
        if besides is not None:
            others = owners != besides
            selection = others if selection is None else selection & others
        return selection

    def _of_groups(self, groups: frozenset[int]) -> npt.NDArray[np.bool_]:
        mask = self._masks.get(groups)
        if mask is None:
            owners = self._owners[: len(self)]
            # A table by id is quicker than any search: ids are dense.
            members = np.zeros(int(owners.max(initial=0)) + 1, np.bool_)
            for group in groups:
                people = self._groups.get(group)
                if people is not None:
                    members[people[people < len(members)]] = True
            mask = members[np.maximum(owners, 0)]  # nobody has the id 0: lists are left out
            if len(self._masks) >= _MAX_MASKS:
                self._masks.clear()
            self._masks[groups] = mask
        return mask

    def close(self) -> None:
        """Wipe everything."""
        self._gallery.close()
        self._groups.clear()
        self._masks.clear()

    def __repr__(self) -> str:
        return f"Index({len(self)} faces)"
