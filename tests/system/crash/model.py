"""What a gate must hold after a list of operations, by a model that is too simple to be wrong."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

__all__ = ["Model", "Operation", "choose"]

MAX_FACES = 6
MOST_PEOPLE = 40  # above it, erasing is likelier than enrolling


@dataclass(frozen=True)
class Operation:
    """One call of a gate.

    Attributes:
        name: which.
        arguments: all that its effect depends on; what JSON can hold.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """What is in a gate.

    Attributes:
        people: by reference: identity, how many faces, groups, flags.
        groups: names.
        lists: names and how many faces.
        following: number of the next person, group and list.
    """

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    lists: dict[str, int] = field(default_factory=dict)
    following: int = 1

    def view(self) -> dict[str, Any]:
        """All of it that can be seen in a gate."""
        return {
            "people": {
                reference: {
                    "faces": person["faces"],
                    "groups": sorted(person["groups"]),
                    "restricted": person["restricted"],
                    "objects": person["objects"],
                }
                for reference, person in sorted(self.people.items())
            },
            "groups": sorted(self.groups),
            "lists": dict(sorted(self.lists.items())),
        }

    def after(self, operation: Operation) -> Model:
        """The model when the operation has happened."""
        model = copy.deepcopy(self)
        effect = getattr(model, f"_{operation.name}", None)
        if effect is not None:
            effect(**operation.arguments)
        model.following = max(model.following, operation.arguments.get("number", 0) + 1)
        return model

    def _enroll(self, reference: str, number: int, faces: int, groups: list[str]) -> None:
        self.people[reference] = {
            "identity": number,
            "faces": faces,
            "groups": list(groups),
            "restricted": False,
            "objects": False,
        }

    def _add_face(self, reference: str, picture: int) -> None:
        self.people[reference]["faces"] += 1

    def _remove_face(self, reference: str) -> None:
        self.people[reference]["faces"] -= 1

    def _erase(self, reference: str) -> None:
        del self.people[reference]

    _withdraw = _remove = _erase

    def _correct(self, reference: str, fresh: str, number: int) -> None:
        self.people[fresh] = self.people.pop(reference)

    def _restrict(self, reference: str) -> None:
        self.people[reference]["restricted"] = True

    def _unrestrict(self, reference: str) -> None:
        self.people[reference]["restricted"] = False

    def _object(self, reference: str, objects: bool) -> None:
        self.people[reference]["objects"] = objects

    def _make_group(self, name: str, number: int) -> None:
        self.groups.append(name)

    def _delete_group(self, name: str) -> None:
        self.groups.remove(name)
        for person in self.people.values():
            if name in person["groups"]:
                person["groups"].remove(name)

    def _join(self, name: str, reference: str) -> None:
        self.people[reference]["groups"].append(name)

    def _leave(self, name: str, reference: str) -> None:
        self.people[reference]["groups"].remove(name)

    def _make_list(self, name: str, number: int) -> None:
        self.lists[name] = 0

    def _add_to_list(self, name: str, number: int) -> None:
        self.lists[name] += 1

    def _delete_list(self, name: str) -> None:
        del self.lists[name]


# How often each is chosen, where it is possible.
WEIGHTS = {
    "enroll": 12,
    "add_face": 4,
    "remove_face": 3,
    "erase": 4,
    "withdraw": 3,
    "remove": 2,
    "correct": 2,
    "restrict": 1,
    "unrestrict": 2,
    "object": 2,
    "make_group": 2,
    "delete_group": 1,
    "join": 3,
    "leave": 2,
    "make_list": 1,
    "add_to_list": 2,
    "delete_list": 1,
    "identify": 16,
    "verify": 6,
    "stranger": 5,
    "deliver": 8,
    "rotate_key": 1,
    "move_key": 1,
    "renew_rotation": 1,
    "backup": 1,
    "sweep": 2,
    "checkpoint": 1,
}


def choose(model: Model, rng: random.Random) -> Operation:
    """An operation that is possible now."""
    while True:
        weights = dict(WEIGHTS)
        if len(model.people) > MOST_PEOPLE:
            weights["enroll"] = 1
        name = rng.choices(list(weights), list(weights.values()))[0]
        arguments = _arguments(name, model, rng)
        if arguments is not None:
            return Operation(name, arguments)


def _arguments(name: str, model: Model, rng: random.Random) -> dict[str, Any] | None:  # noqa: C901, PLR0911 - a table
    """Arguments of an operation; None if it is not possible."""
    number = model.following
    free = [r for r, p in model.people.items() if not p["restricted"]]
    if name == "enroll":
        groups = [g for g in sorted(model.groups) if rng.random() < 0.3]
        return {"reference": f"person-{number}", "number": number, "faces": rng.randint(1, 3), "groups": groups}
    if name in {"make_group", "make_list"}:
        few = len(model.groups if name == "make_group" else model.lists) < 4
        return {"name": f"{name[5:]}-{number}", "number": number} if few else None
    if name == "delete_group":
        return {"name": rng.choice(sorted(model.groups))} if model.groups else None
    if name in {"add_to_list", "delete_list"}:
        if not model.lists:
            return None
        return {"name": rng.choice(sorted(model.lists)), **({"number": number} if name == "add_to_list" else {})}
    if name in {"join", "leave"}:
        pairs = [
            (group, reference)
            for group in sorted(model.groups)
            for reference, person in sorted(model.people.items())
            if (group in person["groups"]) == (name == "leave")
        ]
        return dict(zip(("name", "reference"), rng.choice(pairs), strict=True)) if pairs else None
    candidates = {
        "add_face": [r for r in free if model.people[r]["faces"] < MAX_FACES],
        "remove_face": [r for r in free if model.people[r]["faces"] > 1],
        "unrestrict": [r for r in model.people if model.people[r]["restricted"]],
        "restrict": free,
        "remove": free,
        "identify": free,
        "verify": free,
    }.get(name, list(model.people))
    if name in {"stranger", "deliver", "rotate_key", "move_key", "renew_rotation", "backup", "sweep", "checkpoint"}:
        return {"number": number} if name == "stranger" else {}
    if not candidates:
        return None
    reference = rng.choice(sorted(candidates))
    extra: dict[str, Any] = {}
    if name == "correct":
        extra = {"fresh": f"person-{number}", "number": number}
    elif name == "object":
        extra = {"objects": not model.people[reference]["objects"]}
    elif name in {"add_face", "identify", "verify"}:
        extra = {"picture": rng.randint(100, 1 << 30)}
    return {"reference": reference, **extra}
