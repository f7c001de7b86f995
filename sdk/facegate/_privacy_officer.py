"""The privacy officer's role: the rights of people, each one call; and retention."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from facegate._consents import check_consent, consent_details, is_guardians, renew_consent
from facegate._core import no_reference
from facegate._decision import is_reference
from facegate._groups import find_group
from facegate._records import Records
from facegate._retention import sweep
from facegate._rights._archive import whole_or_not, write_archive
from facegate._rights._erasure import certify_again, erase, known_person
from facegate._rights._explanation import explain_decision, who_may_ask
from facegate._rights._export import build_export
from facegate._rights._record import person_record
from facegate._rights._requests import (
    check_erased,
    close,
    close_all,
    extend,
    find,
    open_request,
    rename_open,
    requests_of,
    settle,
)
from facegate.errors import GuardianConsentError, RequestError, SubjectError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from facegate._certificate import ErasureReason, SignedCertificate
    from facegate._consent import Consent
    from facegate._core import GateCore, Work
    from facegate._retention import Retention, SweepReport
    from facegate._rights._requests import Request, Right

__all__ = ["PrivacyOfficer"]

_ROLE = "privacy_officer"


class PrivacyOfficer(Records):
    """Answers what people ask of a gate. `Gate.privacy_officer(credential)` makes one.

    What is done for a person rests on their request. Every such method takes exactly one of

        request: the number of an open request (`open_request`), which is closed by it, or
        checked_by: how the person's identity was checked, such as "passport-seen"; a request is then recorded and
            closed in the same transaction,

    and raises RequestError otherwise: for neither or both, and for a request that is not known, closed, or about
    somebody or something else. All of them raise SubjectError for what is no reference, GateClosedError, and
    StoreError if nothing could be written: then nothing has happened.
    """

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    # --- requests ------------------------------------------------------------------------------------------------

    def open_request(self, right: Right, reference: str, *, checked_by: str, note: str | None = None) -> Request:
        """Record what a person asks for, today; it is due after `request_due_days`.

        Args:
            right: which of their rights.
            reference: the person's, enrolled or not: "you hold nothing about me?" is a request as well.
            checked_by: how their identity was checked, a reference.
            note: one line, up to 500 characters.
        """
        with self._work() as work:
            return open_request(work, right, reference, checked_by, days=self._days(), note=note)

    def requests(self, reference: str | None = None, *, open_only: bool = False) -> tuple[Request, ...]:
        """The requests about a person, or all of them; what is due first comes first. Raises SubjectError."""
        if reference is not None and not is_reference(reference):
            raise no_reference("reference")
        with self._gate.reading(self._label):
            return requests_of(self._gate.store.db, reference, open_only=open_only)

    def request(self, number: str) -> Request:
        """One of them."""
        with self._gate.reading(self._label):
            return find(self._gate.store.db, number)

    def overdue(self) -> tuple[Request, ...]:
        """The open requests that should have been answered by now."""
        with self._gate.reading(self._label):
            now = self._gate.now().time
            return tuple(r for r in requests_of(self._gate.store.db, open_only=True) if r.overdue(now))

    def close_request(self, number: str, outcome: str, *, note: str | None = None) -> Request:
        """Close a request that no other method closes: "refused" (the note says why), "canceled", or "done".

        That somebody was erased is not said of who is still enrolled: `erase` and its like close such requests.
        """
        with self._work() as work:
            check_erased(work, self._gate.store, number, outcome)
            return close(work, number, outcome, note)

    def extend_request(self, number: str, days: int, *, note: str) -> Request:
        """Give an open request up to 60 days more, once. The note says why, and the person must be told."""
        with self._work() as work:
            return extend(work, number, days, note)

    def held(self, reference: str) -> dict[str, int]:
        """How many faces, consents and memberships are held of a person: what is said before they are erased.

        Counts only, so nothing is logged, and it is no answer to a request.

        Raises:
            SubjectError: nobody of that reference is enrolled.
        """
        with self._gate.reading(self._label):
            person = known_person(self._gate, reference)
            tables = {"faces": "face", "consents": "consent", "groups": "membership"}
            return {
                name: self._gate.store.db.read(f"SELECT count(*) FROM {table} WHERE person = ?", person.id)[0][0]  # noqa: S608
                for name, table in tables.items()
            }

    # --- what is held --------------------------------------------------------------------------------------------

    def access(self, reference: str, *, request: str | None = None, checked_by: str | None = None) -> dict[str, Any]:
        """All that the gate holds of a person, and why, as JSON values (GDPR Art. 15). docs/rights.md has the fields.

        Somebody who is not enrolled gets what is left: requests, decisions, audit entries; or that there is nothing.
        """
        with self._work() as work:
            self._settle(work, "access", reference, request, checked_by)
            work.log("access_given", reference)
            return person_record(self._gate, reference, work.now)

    def export(
        self,
        reference: str,
        path: str | os.PathLike[str],
        *,
        templates: bool = False,
        request: str | None = None,
        checked_by: str | None = None,
    ) -> Path:
        """Write all that `access` gives into a signed ZIP, mode 0600 (GDPR Art. 20).

        Args:
            reference: the person's; they must be enrolled.
            path: a file that does not exist yet.
            templates: put the templates in as well. They are biometric data: whoever gets the file has them.
            request: see the class.
            checked_by: see the class.

        Returns:
            The file.

        Raises:
            SubjectError: nobody of that reference is enrolled.
            ExportError: the file is there already or cannot be written; nothing of it is left.
        """
        with self._work(path) as work:
            known_person(self._gate, reference)
            self._settle(work, "export", reference, request, checked_by)
            return self._write(work, reference, path, templates=templates)

    def explain(self, decision_id: str, *, request: str | None = None, checked_by: str | None = None) -> dict[str, Any]:
        """Why a decision was made as it was, as JSON values (GDPR Art. 15(1)(h), AI Act Art. 86).

        Args:
            decision_id: of a decision that the store still has.
            request: see the class; neither, if it is not a person who asks.
            checked_by: see the class.

        Raises:
            UnknownDecisionError: the store has it no more.
            RequestError: a person asks, and the decision is not about them.
        """
        with self._work() as work:
            told = explain_decision(self._gate, decision_id)
            if request is not None or checked_by is not None:
                self._settle(work, "explanation", who_may_ask(self._gate, decision_id), request, checked_by)
            work.log("decision_explained", told["about"], {"decision": decision_id})
            return told

    # --- what is changed -----------------------------------------------------------------------------------------

    def correct(
        self,
        reference: str,
        *,
        new_reference: str | None = None,
        join: Iterable[str] = (),
        leave: Iterable[str] = (),
        consent: Consent | None = None,
        request: str | None = None,
        checked_by: str | None = None,
    ) -> None:
        """Correct what is recorded of a person (GDPR Art. 16); all of it or nothing.

        Args:
            reference: the person's.
            new_reference: theirs from now on; decisions that were made stay as they were signed.
            join: names of groups that they are in from now on.
            leave: names of groups that they are not in any more.
            consent: the record as it should have been. The earlier one stays, as proof; this one counts.
            request: see the class.
            checked_by: see the class.

        Raises:
            SubjectError: nobody of that reference is enrolled, or the new one is taken.
            GroupError: there is no such group.
            ConsentMissingError: the record does not count for this gate.
            GuardianConsentError: the person is a minor, and this is no guardian's.
        """
        gate = self._gate
        with self._work() as work:
            person = known_person(gate, reference)
            self._settle(work, "correction", reference, request, checked_by)
            for name in leave:
                gate.store.leave(work.tx, person.id, find_group(gate.store, name).id)
                work.log("group_left", reference, {"group": name})
            for name in join:
                gate.store.join(work.tx, person.id, find_group(gate.store, name).id)
                work.log("group_joined", reference, {"group": name})
            if consent is not None:
                check_consent(consent, gate.declaration, work.now.time, demonstration=gate.demonstration)
                if person.minor and not is_guardians(gate.store, reference, consent):
                    raise GuardianConsentError(
                        "the person is a minor, and this is not a guardian's consent; nothing was changed",
                        hint="a guardian's consent names them in `guardian`, and they are no minor",
                    )
                renew_consent(gate.store, work, person, consent)
                work.log("consent_corrected", reference, consent_details(consent))
            if new_reference is not None and new_reference != reference:
                self._rename(work, person.id, reference, new_reference)

    def restrict(self, reference: str, *, request: str | None = None, checked_by: str | None = None) -> None:
        """Decide nothing about the person for the time being (GDPR Art. 18).

        Their data stays as it is, also when its time is over: the sweeper names them, and enrollers remove nothing.

        Raises:
            SubjectError: nobody of that reference is enrolled.
        """
        self._mark("restriction", reference, "restricted", request, checked_by, value=True)

    def unrestrict(self, reference: str, *, request: str | None = None, checked_by: str | None = None) -> None:
        """End a restriction; the person is to be told before (GDPR Art. 18(3))."""
        self._mark("restriction", reference, "restricted", request, checked_by, value=False)

    def object_automated(
        self,
        reference: str,
        objects: bool = True,
        *,
        request: str | None = None,
        checked_by: str | None = None,
    ) -> None:
        """From now on the person's matches are for a person to review, or no longer (GDPR Art. 21, 22)."""
        if type(objects) is not bool:
            raise RequestError("objects is True or False", hint="whether the person objects from now on")
        self._mark("objection", reference, "objection", request, checked_by, value=objects)

    # --- what is erased ------------------------------------------------------------------------------------------

    def erase(self, reference: str, *, request: str | None = None, checked_by: str | None = None) -> SignedCertificate:
        """Erase a person: their key, templates, consents, memberships (GDPR Art. 17).

        When this returns, neither the store's file nor its log holds a copy. The audit log, decisions and requests
        keep the reference until their own time is over; they hold nothing biometric.

        Returns:
            The certificate for the person.

        Raises:
            SubjectError: nobody of that reference is enrolled.
        """
        return self._erase("erasure", "erasure", reference, request, checked_by)

    def certify_again(self, reference: str) -> SignedCertificate:
        """Another certificate of the last erasure of that reference, here or at the desk; with another id and salt.

        Raises:
            SubjectError: the audit log knows of none (any more), or only of one whose time was over.
        """
        with self._work() as work:
            return certify_again(self._gate, work, reference)

    def withdraw(
        self, reference: str, *, request: str | None = None, checked_by: str | None = None
    ) -> SignedCertificate:
        """The person withdraws their consent (GDPR Art. 7(3)): they are erased at once, see `erase`."""
        return self._erase("withdrawal", "withdrawal", reference, request, checked_by)

    def close_account(
        self,
        reference: str,
        *,
        export_to: str | os.PathLike[str] | None = None,
        request: str | None = None,
        checked_by: str | None = None,
    ) -> SignedCertificate:
        """Give the person their data if they want it, erase them, and close what else they have asked for.

        Args:
            reference: the person's.
            export_to: a file for their data, see `export`; it is written before anything is erased.
            request: see the class.
            checked_by: see the class.
        """
        with self._work(export_to) as work:
            return self._erase_in(work, "closing", "closing", reference, request, checked_by, export_to)

    # --- retention -----------------------------------------------------------------------------------------------

    def retention(self) -> Retention:
        """For how long what is kept."""
        with self._gate.reading(self._label):
            return self._gate.retention_rules()

    def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """Erase what has been kept long enough; the gate does so by itself at opening and every hour."""
        with self._gate.lock:
            self._gate.check_open()
            self._gate.check_role(self._label)  # and not `reading`, which sweeps before it tells
            return sweep(self._gate, dry_run=dry_run)

    # --- inside --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _work(self, path: str | os.PathLike[str] | None = None) -> Iterator[Work]:
        """An operation; the file that it wrote at `path` goes again if it fails, also in its commit."""
        with whole_or_not(path), self._gate.operation(_ROLE, self._label) as work:
            yield work

    def _days(self) -> int:
        return int(self._gate.setting("request_due_days"))

    def _settle(self, work: Work, right: Right, reference: str, request: str | None, checked_by: str | None) -> None:
        if not is_reference(reference):
            raise no_reference("reference")
        person, days = self._gate.store.person(reference), self._days()
        settle(work, right, reference, request=request, checked_by=checked_by, days=days, person=person)

    def _mark(
        self, right: Right, reference: str, column: str, request: str | None, checked_by: str | None, *, value: bool
    ) -> None:
        with self._work() as work:
            person = known_person(self._gate, reference)
            self._settle(work, right, reference, request, checked_by)
            work.tx.update("person", person.id, **{column: int(value)})
            work.log(right, reference, {column: value})

    def _rename(self, work: Work, person: int, reference: str, new: str) -> None:
        if not is_reference(new):
            raise no_reference("new_reference")
        if self._gate.store.person(new) is not None:
            raise SubjectError("the new reference is taken", hint="choose another one")
        work.tx.update("person", person, reference=new)
        # What runs about them goes on under the new one: failed trials, and requests that nobody has answered yet.
        work.tx.execute("UPDATE OR REPLACE lockout SET scope = ? WHERE scope = ?", new, reference)
        rename_open(work, reference, new)
        work.log("reference_corrected", reference, {"new_reference": new})
        work.log("reference_corrected", new, {"old_reference": reference})

    def _erase(
        self, right: Right, reason: ErasureReason, reference: str, request: str | None, checked_by: str | None
    ) -> SignedCertificate:
        with self._work() as work:
            return self._erase_in(work, right, reason, reference, request, checked_by, None)

    def _erase_in(
        self,
        work: Work,
        right: Right,
        reason: ErasureReason,
        reference: str,
        request: str | None,
        checked_by: str | None,
        export_to: str | os.PathLike[str] | None,
    ) -> SignedCertificate:
        known_person(self._gate, reference)  # first: for who is not enrolled nothing is recorded
        self._settle(work, right, reference, request, checked_by)
        if reason == "closing":
            close_all(work, reference)
        if export_to is not None:
            self._write(work, reference, export_to, templates=False)
        return erase(self._gate, work, reference, reason)

    def _write(self, work: Work, reference: str, path: str | os.PathLike[str], *, templates: bool) -> Path:
        work.log("export_written", reference, {"templates": int(templates)})
        return write_archive(path, build_export(self._gate, reference, work.now, templates=templates))
