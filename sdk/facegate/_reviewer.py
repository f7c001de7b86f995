"""The reviewer's role: looking at what a gate would not decide by itself, and reporting where it was wrong."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from facegate._core import Finding
from facegate._decision import is_reference
from facegate._feedback import add_report, build_report, find_report, load_attachment, reports_of
from facegate._rights._archive import whole_or_not, write_archive
from facegate._rights._explanation import about, explain_decision, find_decision, person_today
from facegate.errors import ReviewError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from facegate._core import GateCore, Work
    from facegate._decision import Decision, SignedDecision
    from facegate._feedback import ProblemReport, ReportKind
    from facegate._rights._explanation import About

__all__ = ["QueuedReview", "Reviewer"]

_ROLE = "reviewer"
_LONGEST = 1000  # decisions that are shown at once


@dataclass(frozen=True, slots=True)
class QueuedReview:
    """A decision that waits for a person.

    Attributes:
        decision: the gate's; its outcome is "review" and its reasons say why.
        about: the enrolled person whom the face resembles; the decision itself names nobody. None if they are not
            enrolled any more, or nothing may be decided about them any more (restricted, consent or time run out).
        waiting: for how long.
    """

    decision: Decision
    about: str | None
    waiting: timedelta


class Reviewer:
    """Gives verdicts and reports problems. `Gate.reviewer(credential)` makes one.

    All methods raise GateClosedError, and StoreError if nothing could be written: then nothing has happened.
    """

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    def queue(self) -> tuple[QueuedReview, ...]:
        """What waits for a verdict, the oldest first; up to 1000 at once."""
        gate = self._gate
        with gate.reading(self._label):
            now = gate.now().ms
            waiting = [queued.signed.decision for queued in itertools.islice(gate.outbox.reviews(), _LONGEST)]
            people = self._people([decision.id for decision in waiting])
            times = dict(gate.store.db.read("SELECT id, time FROM decision WHERE review = 'open'"))
            return tuple(
                QueuedReview(d, people.get(d.id), timedelta(milliseconds=max(0, now - times[d.id]))) for d in waiting
            )

    def verdict(
        self,
        decision_id: str,
        outcome: Literal["match", "no_match"],
        *,
        reviewer: str,
        subject: str | None = None,
    ) -> SignedDecision:
        """Decide what the gate left open: a new signed decision of kind "review" that refers to the first.

        Args:
            decision_id: of a decision in the queue.
            outcome: whether it is the person.
            reviewer: who says so, a reference; it stays in the audit log and is not in the decision.
            subject: who it is, on a match; the one whom the gate would have named if None.

        Returns:
            The decision, which goes the way of all decisions: outbox, audit log.

        Raises:
            UnknownDecisionError: there is no such decision (any more).
            ReviewError: it does not wait for a verdict; there is no such outcome; on a match it is not known who it
                is, or that person may not be decided about.
        """
        gate = self._gate
        if outcome not in ("match", "no_match"):
            raise ReviewError("there is no such verdict", hint="it is match or no_match")
        if not is_reference(reviewer):
            raise ReviewError("it must be said who gives the verdict", hint="a reference of the reviewer, not a name")
        with self._work() as work:
            first, _ = find_decision(gate, decision_id)
            if not gate.outbox.close_review(work.tx, decision_id):
                raise ReviewError(
                    "the decision does not wait for a verdict", hint="`facegate review queue` lists those that do"
                )
            whom = about(gate, first)
            known = None if whom is None else whom.reference
            if outcome == "match":
                finding = Finding("match", subject=self._subject(work, subject, whom))
            elif subject is not None:
                raise ReviewError("a verdict of no_match names nobody", hint="leave the subject out")
            else:
                finding = Finding("no_match", ("reviewer",), about=known)
            signed = gate.decide(work, "review", finding, refers_to=decision_id)
            work.log(
                "verdict",
                known,
                {
                    "decision": signed.decision.id,
                    "refers_to": decision_id,
                    "outcome": outcome,
                    "reviewer": reviewer,
                },
            )
        return signed

    def explain(self, decision_id: str) -> dict[str, Any]:
        """What is known about a decision, to judge it by; see `PrivacyOfficer.explain`.

        `about` is as in the queue: nobody who was erased since, or about whom nothing may be decided.
        """
        with self._work() as work:
            told = explain_decision(self._gate, decision_id)
            work.log("decision_explained", told["about"], {"decision": decision_id})
            return {**told, "about": self._people([told["decision"]["id"]]).get(told["decision"]["id"])}

    def report(
        self,
        kind: ReportKind,
        decision_ids: Sequence[str],
        *,
        conditions: Mapping[str, str] | None = None,
        note: str | None = None,
    ) -> ProblemReport:
        """Report that the gate was wrong. What is kept names no person and holds no picture.

        Args:
            kind: false_match, false_non_match, or missed_spoof.
            decision_ids: the decisions that were wrong, 1 to 50.
            conditions: what was the case, in the words of `facegate._feedback.CONDITIONS`.
            note: one line, up to 500 characters.

        Raises:
            ReportError, UnknownDecisionError: see `add_report`.
        """
        with self._work() as work:
            return add_report(self._gate, work, kind, decision_ids, conditions or {}, note)

    def reports(self) -> tuple[ProblemReport, ...]:
        """The reports that were made, the oldest first."""
        with self._gate.reading(self._label):
            return reports_of(self._gate)

    def export_report(
        self, number: str, path: str | os.PathLike[str], *, attachment: str | os.PathLike[str] | None = None
    ) -> Path:
        """Write a report into a signed ZIP, mode 0600, for whoever makes the models.

        Args:
            number: of the report.
            path: a file that does not exist yet.
            attachment: a picture that shows what was wrong. Only with the consent of whoever is in it: it goes into
                this file, re-encoded without what the picture's file says about place, time and camera. The gate keeps
                no copy; that there was one is in the audit log.

        Raises:
            ReportError: there is no report of that number.
            FrameError: the attachment is no picture.
            ExportError: the file is there already or cannot be written; nothing of it is left.
        """
        picture = None if attachment is None else load_attachment(attachment)
        with self._work(path) as work:
            report = find_report(self._gate, number)
            work.log("report_exported", None, {"report": report.number, "attachment": picture is not None})
            return write_archive(path, build_report(self._gate, report, picture, work.now.time))

    # --- inside --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _work(self, path: str | os.PathLike[str] | None = None) -> Iterator[Work]:
        """An operation; the file that it wrote at `path` goes again if it fails, also in its commit."""
        with whole_or_not(path), self._gate.operation(_ROLE, self._label) as work:
            yield work

    def _subject(self, work: Work, given: str | None, whom: About | None) -> str:
        """The person of a match, if anything may be decided about them."""
        if given is not None:
            person = self._gate.store.person(given) if is_reference(given) else None
        else:
            person = None if whom is None else whom.person
        if person is None:
            raise ReviewError("it is not known who the person is", hint="give the subject of an enrolled person")
        refusal = self._gate.refusal(person, work.now)
        if refusal is not None:
            raise ReviewError(
                f"nothing may be decided about that person ({refusal})", hint="close the case with no_match"
            )
        return person.reference

    def _people(self, decision_ids: list[str]) -> dict[str, str]:
        """Whom decisions are about, as they are called today; in one pass over the audit log."""
        if not decision_ids:
            return {}
        marks = ",".join("?" * len(decision_ids))
        rows = self._gate.store.db.read(
            "SELECT json_extract(details, '$.decision') AS decision, reference, seq, time FROM audit"  # noqa: S608 - marks
            f" WHERE action = 'decision' AND reference IS NOT NULL AND decision IN ({marks})",
            *decision_ids,
        )
        today = {decision: person_today(self._gate, reference, seq, time) for decision, reference, seq, time in rows}
        now = self._gate.now()
        return {
            decision: person.reference
            for decision, person in today.items()
            if person is not None and self._gate.refusal(person, now) is None
        }
