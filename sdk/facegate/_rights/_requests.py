"""Requests of people: which right, received when, due when, how the person's identity was checked, what came of it."""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from facegate._consents import moment
from facegate._core import no_reference
from facegate._decision import format_time, is_reference
from facegate.errors import RequestError

if TYPE_CHECKING:
    from datetime import datetime

    from facegate._core import Work
    from facegate._store._database import Database
    from facegate._store._store import PersonRow, Store

__all__ = [
    "MAX_NOTE",
    "RIGHTS",
    "Request",
    "RequestOutcome",
    "Right",
    "check_erased",
    "check_note",
    "close",
    "close_all",
    "extend",
    "find",
    "open_request",
    "rename_open",
    "requests_of",
    "settle",
]

Right = Literal[
    "access",
    "export",
    "correction",
    "erasure",
    "withdrawal",
    "closing",
    "restriction",
    "objection",
    "explanation",
]
RIGHTS: tuple[Right, ...] = get_args(Right)
RequestOutcome = Literal["done", "refused", "canceled"]

MAX_NOTE = 500
MAX_EXTENSION_DAYS = 60
_ERASURES: tuple[Right, ...] = ("erasure", "withdrawal", "closing")
_NOT_ONE_LINE = ("Cc", "Cs", "Zl", "Zp")
_COLUMNS = "number, kind, reference, received, due, checked_by, closed, outcome, note"
_DAY_MS = 86_400_000
_FIND = f"SELECT {_COLUMNS} FROM request WHERE number = ?"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Request:
    """A person's request.

    Attributes:
        number: R-, the day, eight random hex digits: what the person is given to ask about it.
        right: one of `RIGHTS`.
        reference: whose data it is about, enrolled or not.
        received: when it was recorded.
        due: by when it must be answered (GDPR Art. 12(3): within a month).
        checked_by: how the person's identity was checked, a reference such as "passport-seen".
        closed: when it was answered, None while it is open.
        outcome: "done", "refused" (the note says why) or "canceled" by the person; None while it is open.
        note: the operator's.
    """

    number: str
    right: Right
    reference: str
    received: datetime
    due: datetime
    checked_by: str
    closed: datetime | None = None
    outcome: RequestOutcome | None = None
    note: str | None = None

    def overdue(self, now: datetime) -> bool:
        """Whether it is open and should have been answered by `now`."""
        return self.closed is None and now > self.due

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values."""
        return {
            "number": self.number,
            "right": self.right,
            "reference": self.reference,
            "received": format_time(self.received),
            "due": format_time(self.due),
            "checked_by": self.checked_by,
            "closed": None if self.closed is None else format_time(self.closed),
            "outcome": self.outcome,
            "note": self.note,
        }


def open_request(work: Work, right: str, reference: str, checked_by: str, *, days: int, note: str | None) -> Request:
    """Record a request.

    Raises:
        RequestError: there is no such right, or it was not said how the identity was checked.
        SubjectError: `reference` is none.
    """
    if right not in RIGHTS:
        raise RequestError("there is no such right", hint=f"the rights are {', '.join(RIGHTS)}")
    if not is_reference(reference):
        raise no_reference("reference")
    if not is_reference(checked_by):
        raise RequestError(
            "it must be said how the person's identity was checked",
            hint='a word such as "passport-seen": letters, digits, dots, dashes, underscores; nobody\'s name',
        )
    note = check_note(note)
    due = work.ms + days * _DAY_MS
    number = f"R-{work.now.time:%Y%m%d}-{secrets.token_hex(4)}"
    work.tx.insert(
        "request",
        number=number,
        kind=right,
        reference=reference,
        received=work.ms,
        due=due,
        checked_by=checked_by,
        note=note,
    )
    said = {"request": number, "right": right, "due": format_time(moment(due)), "checked_by": checked_by}
    work.log("request_opened", reference, said)
    return Request(number, right, reference, moment(work.ms), moment(due), checked_by, note=note)


def settle(
    work: Work,
    right: Right,
    reference: str,
    *,
    request: str | None,
    checked_by: str | None,
    days: int,
    person: PersonRow | None,
) -> Request:
    """The open request that is answered with this, closed as done in the same transaction.

    Args:
        work: the operation that answers it.
        right: what is done.
        reference: about whom.
        request: the number of an open request; or ...
        checked_by: ... how the person's identity was checked: a request is then recorded here.
        days: when it would be due.
        person: who has the reference now, if anybody.

    Raises:
        RequestError: neither or both are given; the request is not known, closed, about somebody else or something
            else, or of somebody who had the reference before.
    """
    if (request is None) == (checked_by is None):
        raise RequestError(
            "a right is exercised on a request: give its number, or how the person's identity was checked",
            hint="one of request=... and checked_by=...",
        )
    if request is not None:
        found = _find(work, request)
        if (found.right, found.reference) != (right, reference):
            raise RequestError(
                f"the request is not about {right} of this person", hint="`facegate rights list` shows what it is about"
            )
        if person is not None and found.received < moment(person.enrolled):
            raise RequestError(
                "the request is older than the person's enrolment: somebody else may have had that reference",
                hint="cancel it, and open another one if it is this person who asks",
            )
    else:
        found = open_request(work, right, reference, checked_by or "", days=days, note=None)
    return close(work, found.number, "done", None)


def close(work: Work, number: str, outcome: str, note: str | None) -> Request:
    """Close a request.

    Raises:
        RequestError: it is not known or closed, there is no such outcome, or it is refused without a reason.
    """
    found = _find(work, number)
    if found.closed is not None:
        raise RequestError("the request is closed already", hint="open another one if the person asks again")
    if outcome not in get_args(RequestOutcome):
        raise RequestError("there is no such outcome", hint=f"it is one of {', '.join(get_args(RequestOutcome))}")
    note = check_note(note)
    if outcome == "refused" and note is None:
        raise RequestError("a request is not refused without a reason", hint="give it as the note (GDPR Art. 12(4))")
    (row,) = work.tx.execute("SELECT id FROM request WHERE number = ?", number).fetchone()
    changes: dict[str, Any] = {"closed": work.ms, "outcome": outcome}
    if note is not None:
        changes["note"] = note
    work.tx.update("request", row, **changes)
    said = {"request": number, "right": found.right, "outcome": outcome}
    work.log("request_closed", found.reference, said)
    return _find(work, number)


def extend(work: Work, number: str, days: int, note: str | None) -> Request:
    """Give an open request more time, once; the person is to be told why within the first month (GDPR Art. 12(3)).

    Raises:
        RequestError: it is not known, closed or extended already, there is no reason, or it is more than 60 days.
    """
    found = _find(work, number)
    if found.closed is not None:
        raise RequestError("the request is closed already", hint="open another one if the person asks again")
    if type(days) is not int or not 1 <= days <= MAX_EXTENSION_DAYS:
        raise RequestError("a request is extended by two months at most", hint=f"1 to {MAX_EXTENSION_DAYS} days")
    note = check_note(note)
    if note is None:
        raise RequestError("a request is not extended without a reason", hint="give it as the note")
    extended = "SELECT 1 FROM audit WHERE action = 'request_extended' AND json_extract(details, '$.request') = ?"
    if work.tx.execute(extended, found.number).fetchone() is not None:
        raise RequestError("the request was extended before", hint="answer it, or refuse it with a reason")
    row, due = work.tx.execute("SELECT id, due FROM request WHERE number = ?", number).fetchone()
    due += days * _DAY_MS
    work.tx.update("request", row, due=due, note=note)
    said = {"request": number, "right": found.right, "due": format_time(moment(due))}
    work.log("request_extended", found.reference, said)
    return _find(work, number)


def close_all(work: Work, reference: str) -> int:
    """Close what else a person has asked for, because their account is closed. Returns how many."""
    rows = work.tx.execute("SELECT number FROM request WHERE reference = ? AND closed IS NULL", reference).fetchall()
    for (number,) in rows:
        close(work, number, "canceled", "account closed")
    return len(rows)


def check_erased(work: Work, store: Store, number: str, outcome: str) -> None:
    """Raise RequestError if an erasure is to be closed as done, and the person is still enrolled."""
    found = _find(work, number)
    if outcome == "done" and found.right in _ERASURES and store.person(found.reference) is not None:
        raise RequestError(
            f"{found.right} is not done: the person is still enrolled", hint=f"do it with --request {found.number}"
        )


def rename_open(work: Work, reference: str, new: str) -> None:
    """A person has another reference from now on: what they asked for and nobody has answered is about that one."""
    rows = work.tx.execute("SELECT id FROM request WHERE reference = ? AND closed IS NULL", reference).fetchall()
    for (row,) in rows:
        work.tx.update("request", row, reference=new)


def find(db: Database, number: str) -> Request:
    """The request of that number. Raises RequestError."""
    return _only(db.read(_FIND, _number(number)))


def requests_of(db: Database, reference: str | None = None, *, open_only: bool = False) -> tuple[Request, ...]:
    """The requests about a person, or all; what is due first comes first."""
    conditions = ["1"]
    values: list[object] = []
    if reference is not None:
        conditions.append("reference = ?")
        values.append(reference)
    if open_only:
        conditions.append("closed IS NULL")
    sql = f"SELECT {_COLUMNS} FROM request WHERE {' AND '.join(conditions)} ORDER BY due, id"  # noqa: S608 - constants
    return tuple(_request(row) for row in db.read(sql, *values))


def check_note(note: str | None) -> str | None:
    """A note as it is kept, None if there is nothing in it. Raises RequestError."""
    if note is None:
        return None
    if not isinstance(note, str) or len(note) > MAX_NOTE or any(unicodedata.category(c) in _NOT_ONE_LINE for c in note):
        raise RequestError("the note is none", hint=f"one line of up to {MAX_NOTE} characters; no names are needed")
    return note.strip() or None


def _find(work: Work, number: str) -> Request:
    return _only(work.tx.execute(_FIND, _number(number)).fetchall())


def _number(number: object) -> str:
    """A number to look for; what can be none is "", which no request has."""
    return str(number) if is_reference(number) else ""


def _only(rows: list[tuple[Any, ...]]) -> Request:
    if not rows:
        raise RequestError("there is no request of that number", hint="`facegate rights list` lists them")
    return _request(rows[0])


def _request(row: tuple[Any, ...]) -> Request:
    number, kind, reference, received, due, checked_by, closed, outcome, note = row
    ended = None if closed is None else moment(closed)
    return Request(number, kind, reference, moment(received), moment(due), checked_by, ended, outcome, note)
