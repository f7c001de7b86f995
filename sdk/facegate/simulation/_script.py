"""What happens before the simulated camera: a small closed language, as values and as JSON.

A script is a list of cues, played one after the other. In each cue people come up to the terminal, look, and leave; a
cue without people is an empty room. There are no other verbs. docs/simulation.md shows the JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from facegate.errors import ScriptError
from facegate.simulation._attack import ATTACKS
from facegate_edge._json import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ATTACKS", "LIGHTS", "WEARS", "Cue", "Script", "Visitor", "default_script"]

FORMAT_VERSION = 1
LIGHTS = ("even", "side", "dark", "back")
WEARS = ("glasses", "sunglasses", "mask", "cap", "beanie", "scarf")
_ONE_OF_EACH = (("glasses", "sunglasses"), ("cap", "beanie", "scarf"))
MAX_PEOPLE, MAX_CUES, MAX_SECONDS = 3, 1000, 600.0
_MAX_SEED = 1 << 53
_MAX_TEXT = 200
_HINT = "docs/simulation.md describes the file"
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who comes up to the terminal.

    Attributes:
        identity: seed of `Identity.draw`: who it is, or whose face an attack shows.
        attack: what is held up instead of coming in person, one of `ATTACKS`; "" for the live person.
        wears: some of `WEARS`, at most one pair of glasses and one covering; a mask hides mouth and nose.

    Raises:
        ScriptError: a value is none of these.
    """

    identity: int
    attack: str = ""
    wears: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _require(type(self.identity) is int and 0 <= self.identity < _MAX_SEED, "identity", "a seed, 0 to 2^53 - 1")
        _require(self.attack in ("", *ATTACKS), "attack", f"one of {', '.join(ATTACKS)}, or left out")
        known = isinstance(self.wears, tuple) and all(thing in WEARS for thing in self.wears)
        _require(known and len(set(self.wears)) == len(self.wears), "wears", f"a list of {', '.join(WEARS)}, each once")
        for group in _ONE_OF_EACH:
            _require(len(set(group) & set(self.wears)) <= 1, "wears", f"only one of {', '.join(group)}")


@dataclass(frozen=True, slots=True)
class Cue:
    """One visit, or an empty room.

    Attributes:
        people: up to three, side by side, all at once; nobody if empty.
        light: one of `LIGHTS`: even, a lamp from the side, dark, a bright window behind.
        approach, look, leave: how long each lasts, in seconds of the scene; an empty room lasts for their sum.
        note: what the cue is for, for whoever reads the script.

    Raises:
        ScriptError: a value is out of range.
    """

    people: tuple[Visitor, ...] = ()
    light: str = "even"
    approach: float = 1.2
    look: float = 1.0
    leave: float = 0.8
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        right = isinstance(self.people, tuple) and all(isinstance(p, Visitor) for p in self.people)
        _require(right and len(self.people) <= MAX_PEOPLE, "people", f"a list of up to {MAX_PEOPLE} visitors")
        _require(len({p.identity for p in self.people}) == len(self.people), "people", "a list of different people")
        _require(self.light in LIGHTS, "light", f"one of {', '.join(LIGHTS)}")
        for name in ("approach", "look", "leave"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            _require(number and 0 <= value <= MAX_SECONDS, name, f"seconds, 0 to {MAX_SECONDS:g}")
        _require(self.seconds > 0, "look", "more than nothing: the cue would have no moment")
        note = type(self.note) is str and len(self.note) <= _MAX_TEXT and self.note.isprintable()
        _require(note, "note", f"printable text of up to {_MAX_TEXT} characters")

    @property
    def seconds(self) -> float:
        """How long the cue lasts."""
        return self.approach + self.look + self.leave


@dataclass(frozen=True, slots=True)
class Script:
    """A scene to play.

    Attributes:
        cues: one after the other.
        background: seed of the room behind the people; a terminal's camera does not move.
        name: of the script.

    Raises:
        ScriptError: a value is out of range.
    """

    cues: tuple[Cue, ...]
    background: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        right = isinstance(self.cues, tuple) and all(isinstance(cue, Cue) for cue in self.cues)
        _require(right and 1 <= len(self.cues) <= MAX_CUES, "cues", f"a list of 1 to {MAX_CUES} cues")
        seed = type(self.background) is int and 0 <= self.background < _MAX_SEED
        _require(seed, "background", "a seed, 0 to 2^53 - 1")
        name = type(self.name) is str and len(self.name) <= _MAX_TEXT and self.name.isprintable()
        _require(name, "name", f"printable text of up to {_MAX_TEXT} characters")

    @property
    def seconds(self) -> float:
        """How long all cues last."""
        return sum(cue.seconds for cue in self.cues)

    def to_json(self) -> str:
        """The script as JSON, every field written."""
        document = {"format": FORMAT_VERSION, "name": self.name, "background": self.background}
        return json.dumps(document | {"cues": [asdict(cue) for cue in self.cues]}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Script:
        """Read a script. Fields with a default may be left out; others than these are refused.

        Raises:
            ScriptError: naming the place, e.g. `cues[2].people[0].attack`.
        """
        try:
            document = json.loads(text, object_pairs_hook=_object)
        except ScriptError:  # which is a ValueError, and says more
            raise
        except (ValueError, RecursionError):
            raise ScriptError("the script is not JSON", hint=_HINT) from None
        given = _fields(document, ("format", *(f.name for f in fields(cls))), "", needed=("format", "cues"))
        version = given.pop("format")
        _require(type(version) is int and version == FORMAT_VERSION, "format", f"{FORMAT_VERSION}")
        given["cues"] = _list(given["cues"], "cues", _cue)
        return cls(**given)


def default_script(enrolled: Sequence[int], *, stranger: int = 3_000_900, background: int = 3_000_000) -> Script:
    """What a terminal sees on an ordinary day, and on a bad one: every kind of visit, in under two minutes.

    Args:
        enrolled: seeds of three identities that are enrolled.
        stranger: seed of the first identity that is not; the next four are used as well.
        background: seed of the room.

    Raises:
        ScriptError: these are not three, or a stranger is one of them.
    """
    ids, others = tuple(enrolled), tuple(range(stranger, stranger + 5))
    if len(set(ids)) != 3 or set(ids) & set(others):  # noqa: PLR2004
        raise ScriptError("the script is written for three enrolled people and five others", hint="name three seeds")
    a, b, c = ids

    def one(identity: int, *wears: str, light: str = "even", attack: str = "", note: str) -> Cue:
        return Cue((Visitor(identity, attack, wears),), light, note=note)

    def several(*people: int, note: str) -> Cue:
        return Cue(tuple(Visitor(identity) for identity in people), note=note)

    def attack(identity: int, species: str) -> Cue:
        return one(identity, attack=species, note=f"an attack: {species.replace('_', ' ')}")

    def enrolled_person(identity: int) -> Cue:
        return one(identity, note="an enrolled person")

    # In an order in which no terminal locks that allows five failures in a row: somebody who is known comes in time.
    cues = [
        Cue(note="nobody"),
        *(enrolled_person(who) for who in ids),
        *(one(who, note="an unknown person") for who in others[:2]),
        *(one(who, light="side", note="an enrolled person, light from the side") for who in (a, b)),
        one(c, "glasses", note="an enrolled person, with glasses"),
        *(attack(who, species) for who, species in zip(ids, ATTACKS, strict=True)),
        one(b, "cap", note="an enrolled person, with a cap"),
        several(a, others[2], note="two people at once"),
        several(b, c, others[3], note="three people at once"),
        *(one(who, light="dark", note="an enrolled person, in the dark") for who in (a, b)),
        one(others[2], light="dark", note="an unknown person, in the dark"),
        enrolled_person(c),
        *(one(who, light="back", note="an enrolled person, against the light") for who in (a, b)),
        one(others[3], light="back", note="an unknown person, against the light"),
        enrolled_person(a),
        one(a, "mask", note="an enrolled person, masked"),
        one(b, "sunglasses", note="an enrolled person, with sunglasses"),
        one(others[0], "mask", note="an unknown person, masked"),
        enrolled_person(b),
        *(attack(who, species) for who, species in zip((b, c, a), ATTACKS, strict=True)),
        enrolled_person(c),
    ]
    return Script(tuple(cues), background, "an ordinary day, and a bad one")


def _cue(document: Any, path: str) -> Cue:
    given = _fields(document, tuple(f.name for f in fields(Cue)), path)
    if "people" in given:
        given["people"] = _list(given["people"], f"{path}.people", _visitor)
    return _made(Cue, given, path)


def _visitor(document: Any, path: str) -> Visitor:
    given = _fields(document, tuple(f.name for f in fields(Visitor)), path, needed=("identity",))
    if isinstance(given.get("wears"), list):
        given["wears"] = tuple(given["wears"])
    return _made(Visitor, given, path)


def _made(kind: type[Made], given: dict[str, Any], path: str) -> Made:
    """A value of the given fields; what it refuses is told with its place."""
    try:
        return kind(**given)
    except ScriptError as error:
        raise ScriptError(f"{path}.{error}", hint=error.hint) from None


def _list(value: Any, path: str, read: Callable[[Any, str], Any]) -> tuple[Any, ...]:
    _require(isinstance(value, list) and len(value) <= MAX_CUES, path, f"a list of at most {MAX_CUES}")
    return tuple(read(item, f"{path}[{number}]") for number, item in enumerate(value))


def _fields(document: Any, known: tuple[str, ...], path: str, *, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a JSON object that has the needed ones and none that is not known."""
    _require(isinstance(document, dict), path or "the script", "an object")
    dot = f"{path}." if path else ""
    for name in document:
        if name not in known:
            raise ScriptError(f"{dot}{name[:80]}: there is no such field; known are {', '.join(known)}", hint=_HINT)
    for name in needed:
        if name not in document:
            raise ScriptError(f"{dot}{name}: the field is missing", hint=_HINT)
    return dict(document)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(pairs)
    if twice is not None:
        raise ScriptError(f"{twice[:80]}: the field stands twice", hint=_HINT)
    return dict(pairs)


def _require(condition: bool, path: str, what: str) -> None:
    if not condition:
        raise ScriptError(f"{path}: this must be {what}", hint=_HINT)
