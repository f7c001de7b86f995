"""The declaration of intended use: what a gate is for, said once by its operator, and named by every decision."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from facegate._consent import LegalBasis
from facegate._prohibited import refuse_prohibited
from facegate.errors import DeclarationError
from facegate_edge._json import repeated

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DECLARATION_FORMAT",
    "QUESTIONS",
    "Declaration",
    "blank_declaration",
    "dump_declaration",
    "load_declaration",
    "parse_declaration",
]

DECLARATION_FORMAT = 1
_MAX_FILE = 64 * 1024
_MAX_TEXT = 500
MAX_PURPOSE = 200
_HINT = "`facegate init --print-declaration` prints one to fill in; docs/roles.md explains the answers"

# In the order of the fields; `facegate init` asks them at a terminal.
QUESTIONS: dict[str, str] = {
    "purpose": "What is the gate for? In the words that people are told",
    "place": "Where is the camera?",
    "operator": "Who operates it, and answers for it?",
    "contact": "Whom can people turn to, and how?",
    "legal_basis": "On which legal basis?",
    "informed": "Who is informed of it, and how?",
    "alternative": "What is offered to people who do not want to be recognized?",
    "minors": "May minors be among the people who are enrolled?",
    "public_space": "Is the camera in a place that is open to the public?",
    "mobile_camera": "Is the camera carried, or on a vehicle?",
    "law_enforcement": "Is it used by or for law enforcement?",
    "covert": "Are people recognized without knowing of it?",
    "tracking": "Are people followed over time or from place to place?",
    "infers_emotion": "Is inferred what people feel?",
    "infers_gender": "Is inferred which gender people have?",
    "infers_traits": "Is inferred age, race, religion, politics, health, orientation or the like?",
    "scraped_faces": "Are faces taken from the internet or from video surveillance?",
    "scores_people": "Are people scored by their behavior or character?",
    "predicts_crime": "Is predicted who will commit an offence?",
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a gate is for. A gate keeps the one that it was made with; another purpose is another gate.

    Attributes:
        purpose: what for, 1 to 200 characters; the purpose that people consent to, letter by letter.
        place, operator, contact: where the camera is, who answers for the gate, whom people can turn to.
        legal_basis: one of `LegalBasis`.
        informed: who is informed, and how.
        alternative: what is offered to people who do not want to be recognized.
        minors: minors may be among the people: the gate then asks with each enrolment (setting `ask_age`), and they
            need a guardian's consent. If not, none is enrolled, whoever agreed.
        public_space, mobile_camera, law_enforcement: where and by whom.
        covert, tracking, infers_emotion, infers_gender, infers_traits, scraped_faces, scores_people, predicts_crime:
            prohibited; the answer is on record.

    Raises:
        DeclarationError: an answer is missing or cannot be meant.
        ProhibitedPurposeError: naming the rule that it breaks.
    """

    purpose: str
    place: str
    operator: str
    contact: str
    legal_basis: LegalBasis
    informed: str
    alternative: str
    minors: bool
    public_space: bool
    mobile_camera: bool
    law_enforcement: bool
    covert: bool
    tracking: bool
    infers_emotion: bool
    infers_gender: bool
    infers_traits: bool
    scraped_faces: bool
    scores_people: bool
    predicts_crime: bool

    def __post_init__(self) -> None:
        """Check every answer, then what they say together."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                _require(type(value) is bool, field.name, "true or false")
            elif field.name == "legal_basis":
                _require(value in get_args(LegalBasis), field.name, f"one of {', '.join(get_args(LegalBasis))}")
            else:
                limit = MAX_PURPOSE if field.name == "purpose" else _MAX_TEXT
                _require(_is_text(value, limit), field.name, f"1 to {limit} characters on one line")
        refuse_prohibited(self)

    @classmethod
    def demonstration(cls) -> Declaration:
        """That of a gate that recognizes rendered faces only."""
        return cls(
            purpose="demonstration",
            place="this device",
            operator="whoever runs the demonstration",
            contact="whoever runs the demonstration",
            legal_basis="demonstration",
            informed="whoever runs the demonstration; it recognizes rendered faces, no people",
            alternative="not needed: no person is recognized",
            **{field.name: False for field in dataclasses.fields(cls) if field.type == "bool"},
        )

    @property
    def id(self) -> str:
        """sha256 of the declaration's canonical JSON, 64 hex digits: every decision of the gate names it."""
        text = json.dumps(_document(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def dump_declaration(declaration: Declaration) -> str:
    """The declaration as JSON, in the order of its questions."""
    return json.dumps(_document(declaration), indent=2, ensure_ascii=False) + "\n"


def blank_declaration() -> str:
    """A declaration to fill in: no answer is given, and as it stands it is refused."""
    blanks = {field.name: None if field.type == "bool" else "" for field in dataclasses.fields(Declaration)}
    return json.dumps({"format": DECLARATION_FORMAT} | blanks, indent=2) + "\n"


def parse_declaration(text: str | bytes, *, purpose: str | None = None) -> Declaration:
    """Read what `dump_declaration` wrote or somebody filled in. Every question must be answered.

    Args:
        text: the JSON.
        purpose: takes the place of the one in the text.

    Raises:
        DeclarationError: naming the answer that is missing, unknown, given twice or out of range.
        ProhibitedPurposeError: naming the rule that it breaks.
    """
    try:
        document: Any = json.loads(text, object_pairs_hook=_object)
    except DeclarationError:  # which is a ValueError, and says more
        raise
    except (ValueError, RecursionError):
        raise DeclarationError("the declaration is not JSON", hint=_HINT) from None
    if not isinstance(document, dict):
        raise DeclarationError("the declaration is not a JSON object", hint=_HINT)
    kind = document.pop("format", None)
    if type(kind) is not int or kind < 1:
        raise DeclarationError("the declaration says nothing about its format", hint=_HINT)
    if kind > DECLARATION_FORMAT:
        raise DeclarationError(
            f"the declaration has format {kind}, this version reads {DECLARATION_FORMAT}", hint="update facegate"
        )
    if purpose is not None:
        document["purpose"] = purpose
    unknown = next((name for name in document if name not in QUESTIONS), None)
    if unknown is not None:
        raise DeclarationError(f"the declaration answers {unknown[:80]!r}, which is not asked", hint=_HINT)
    missing = next((name for name in QUESTIONS if name not in document), None)
    if missing is not None:
        raise DeclarationError(f"the declaration lacks the answer {missing!r}", hint=_HINT)
    return Declaration(**document)


def load_declaration(path: Path, *, purpose: str | None = None) -> Declaration:
    """Read a declaration's file. Raises DeclarationError, ProhibitedPurposeError: see `parse_declaration`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise DeclarationError(
            f"the declaration {path} cannot be read: {error.strerror}", hint="check the path"
        ) from None
    if len(data) > _MAX_FILE:
        raise DeclarationError(f"{path} is far too large for a declaration", hint=_HINT)
    return parse_declaration(data, purpose=purpose)


def _document(declaration: Declaration) -> dict[str, Any]:
    return {"format": DECLARATION_FORMAT} | dataclasses.asdict(declaration)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(pairs)
    if twice is not None:
        raise DeclarationError(f"the declaration answers {twice[:80]!r} twice", hint=_HINT)
    return dict(pairs)


def _is_text(value: object, limit: int) -> bool:
    """Whether it is a line that people can read: no control and no invisible characters."""
    if type(value) is not str or not 0 < len(value) <= limit or value != value.strip():
        return False
    return not any(unicodedata.category(letter).startswith("C") for letter in value)


def _require(condition: bool, name: str, expected: str) -> None:
    if not condition:
        raise DeclarationError(f"the declaration's answer {name!r} is none", hint=f"it takes {expected}; {_HINT}")
