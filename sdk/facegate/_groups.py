"""Groups of people: the part of the enroller's role that sorts them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate._decision import is_reference
from facegate._desk import Desk, check_name
from facegate.errors import GroupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate._store._store import GroupRow, Store

__all__ = ["GroupInfo", "Groups", "find_group", "find_groups"]


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group: its name, and how many people are in it."""

    name: str
    members: int


class Groups(Desk):
    """Making and deleting groups, and who is in them. A person may be in any number."""

    def make_group(self, name: str) -> None:
        """Make a group. Raises GroupError: there is one of that name, or the name is no reference."""
        gate = self._gate
        check_name(name, GroupError)
        with gate.operation("enroller", self._label) as work:
            if gate.store.group(name) is not None:
                raise GroupError("there is a group of that name already", hint="choose another name")
            gate.store.add_group(work.tx, name)
            work.log("make_group", name)

    def delete_group(self, name: str) -> None:
        """Delete a group; its people stay enrolled. Raises GroupError if there is none of that name."""
        gate = self._gate
        with gate.reading(self._label):
            group = find_group(gate.store, name)
            with gate.operation("enroller", self._label) as work:
                gate.store.remove_group(work.tx, group.id)
                work.log("delete_group", name)

    def join(self, group: str, reference: str) -> None:
        """Put a person into a group; one who is in it stays. Raises GroupError, SubjectError."""
        gate = self._gate
        with gate.reading(self._label):
            found, person = find_group(gate.store, group), self._person(reference)
            with gate.operation("enroller", self._label) as work:
                gate.store.join(work.tx, person.id, found.id)
                work.log("join", reference, {"group": group})

    def leave(self, group: str, reference: str) -> None:
        """Take a person out of a group. Raises GroupError if they are not in it, SubjectError."""
        gate = self._gate
        with gate.reading(self._label):
            found, person = find_group(gate.store, group), self._person(reference)
            if found not in gate.store.groups_of(person.id):
                raise GroupError("the person is not in that group", hint="`members` lists who is")
            with gate.operation("enroller", self._label) as work:
                gate.store.leave(work.tx, person.id, found.id)
                work.log("leave", reference, {"group": group})

    def groups(self) -> tuple[GroupInfo, ...]:
        """All groups, by name."""
        with self._gate.reading(self._label):
            rows = self._gate.store.db.read(
                "SELECT name, (SELECT count(*) FROM membership WHERE people_group = people_group.id) "
                "FROM people_group ORDER BY name"
            )
            return tuple(GroupInfo(name, members) for name, members in rows)

    def members(self, group: str) -> tuple[str, ...]:
        """The references of a group's people, sorted. Raises GroupError if there is no such group."""
        gate = self._gate
        with gate.reading(self._label):
            return tuple(person.reference for person in gate.store.members(find_group(gate.store, group).id))


def find_group(store: Store, name: str) -> GroupRow:
    """The group of a name. Raises GroupError if there is none."""
    group = store.group(name) if is_reference(name) else None
    if group is None:
        raise GroupError("there is no such group", hint="an enroller makes groups, and `groups` lists them")
    return group


def find_groups(store: Store, names: Sequence[str]) -> list[GroupRow]:
    """The groups of some names. Raises GroupError if one is none, or names are no list of them."""
    if isinstance(names, str) or not isinstance(names, Collection):
        raise GroupError("groups are a list of names", hint="for one group too: ['staff']")
    return [find_group(store, name) for name in names]
