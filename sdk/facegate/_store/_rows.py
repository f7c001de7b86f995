"""What can be read of a store without any key: people, lists, groups, and which faces they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate._store._database import Database

__all__ = ["GroupRow", "ListRow", "OutdatedFace", "PersonRow", "Rows"]

_PAGE = 1000
_PERSON = ("id", "reference", "enrolled", "used", "minor", "restricted", "objection", "lapsed")
_SELECT_PERSON = f"SELECT {', '.join(_PERSON)} FROM person"  # noqa: S608 - constants
_SELECT_MEMBER = (
    f"SELECT {', '.join(f'p.{name}' for name in _PERSON)} FROM person AS p "  # noqa: S608 - constants
    "JOIN membership AS m ON m.person = p.id WHERE m.people_group = ? ORDER BY p.reference"
)


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person. Times are milliseconds since 1970 in UTC.

    Attributes:
        id: row id, never used again.
        reference: the operator's pseudonym.
        enrolled: since when.
        used: the last match, at most a day late.
        minor: enrolled with a guardian's consent.
        restricted: not to be decided about.
        objection: matches are for a person to review.
        lapsed: the consent has expired: no face is kept, only that the person was enrolled.
    """

    id: int
    reference: str
    enrolled: int
    used: int
    minor: bool
    restricted: bool
    objection: bool
    lapsed: bool


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of people; `made` in milliseconds since 1970 in UTC."""

    id: int
    name: str
    made: int


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list of faces without people; `made` in milliseconds since 1970 in UTC."""

    id: int
    name: str
    made: int


@dataclass(frozen=True, slots=True)
class OutdatedFace:
    """A face of another template space: it is never compared, the person must be enrolled again.

    Attributes:
        face: row id.
        reference: of the person, or None.
        face_list: name of the list, or None.
        space: of the template.
    """

    face: int
    reference: str | None
    face_list: str | None
    space: str


class Rows:
    """The readable part of a store.

    Args:
        db: the database.
        space: id of the template space that is in use, rotation included.
    """

    def __init__(self, db: Database, space: str) -> None:
        self.db = db
        self.space = space

    def person(self, reference: str) -> PersonRow | None:
        """The person of a reference."""
        found = self.db.read(f"{_SELECT_PERSON} WHERE reference = ?", reference)
        return _person(found[0]) if found else None

    def person_by_id(self, person: int) -> PersonRow | None:
        """The person of a row id."""
        found = self.db.read(f"{_SELECT_PERSON} WHERE id = ?", person)
        return _person(found[0]) if found else None

    def people(self) -> Iterator[PersonRow]:
        """Everybody, by reference; the store may change while they are looked at."""
        last = ""
        while True:
            page = self.db.read(f"{_SELECT_PERSON} WHERE reference > ? ORDER BY reference LIMIT ?", last, _PAGE)
            yield from map(_person, page)
            if len(page) < _PAGE:
                return
            last = page[-1][1]

    def faces(self, person: int) -> list[tuple[int, int, str]]:
        """Row id, time and template space of each of a person's faces."""
        return self.db.read("SELECT id, added, space FROM face WHERE person = ? ORDER BY id", person)

    def outdated(self) -> list[OutdatedFace]:
        """Faces of another template space."""
        return [
            OutdatedFace(*row)
            for row in self.db.read(
                "SELECT face.id, person.reference, face_list.name, face.space FROM face "
                "LEFT JOIN person ON person.id = face.person LEFT JOIN face_list ON face_list.id = face.list "
                "WHERE face.space <> ? ORDER BY face.id",
                self.space,
            )
        ]

    def face_list(self, name: str) -> ListRow | None:
        """The list of a name."""
        found = self.db.read("SELECT id, name, made FROM face_list WHERE name = ?", name)
        return ListRow(*found[0]) if found else None

    def face_lists(self) -> list[ListRow]:
        """All lists, by name."""
        return [ListRow(*row) for row in self.db.read("SELECT id, name, made FROM face_list ORDER BY name")]

    def list_faces(self, face_list: int) -> list[tuple[int, int, str]]:
        """Row id, time and template space of each of a list's faces."""
        return self.db.read("SELECT id, added, space FROM face WHERE list = ? ORDER BY id", face_list)

    def group(self, name: str) -> GroupRow | None:
        """The group of a name."""
        found = self.db.read("SELECT id, name, made FROM people_group WHERE name = ?", name)
        return GroupRow(*found[0]) if found else None

    def groups(self) -> list[GroupRow]:
        """All groups, by name."""
        return [GroupRow(*row) for row in self.db.read("SELECT id, name, made FROM people_group ORDER BY name")]

    def groups_of(self, person: int) -> list[GroupRow]:
        """The groups that a person is in, by name."""
        return [
            GroupRow(*row)
            for row in self.db.read(
                "SELECT g.id, g.name, g.made FROM people_group AS g JOIN membership AS m ON m.people_group = g.id "
                "WHERE m.person = ? ORDER BY g.name",
                person,
            )
        ]

    def members(self, group: int) -> list[PersonRow]:
        """The people of a group, by reference."""
        return [_person(row) for row in self.db.read(_SELECT_MEMBER, group)]


def _person(row: tuple[Any, ...]) -> PersonRow:
    row_id, reference, enrolled, used, minor, restricted, objection, lapsed = row
    return PersonRow(row_id, reference, enrolled, used, bool(minor), bool(restricted), bool(objection), bool(lapsed))
