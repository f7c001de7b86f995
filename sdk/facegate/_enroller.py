"""The enroller's role: people, their faces and consent, groups and face lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from facegate._consents import (
    consent_details,
    consents_of,
    is_guardians,
    moment,
    newest_consent,
    put_consent,
    renew_consent,
)
from facegate._desk import check_reference
from facegate._enrollment import EnrollResult, FaceInfo, PersonInfo, Pictures
from facegate._groups import Groups, find_groups
from facegate._lists import Lists
from facegate._rights._erasure import erase
from facegate.errors import ConsentMissingError, EnrollError, GuardianConsentError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate._certificate import ErasureReason, SignedCertificate
    from facegate._consent import Consent
    from facegate._core import Work
    from facegate._store._store import PersonRow
    from facegate_edge._values import Frame

__all__ = ["Enroller"]


class Enroller(Groups, Lists):
    """What the people at an enrolment desk may do with a gate. Made by `Gate.enroller`; thread-safe as the gate is.

    Every call is written to the disk, with its entry in the audit log, when it returns; if it raises, nothing has
    changed, but for a minor without a guardian's consent, who is erased.
    """

    # --- people --------------------------------------------------------------------------------------------------

    def enroll(
        self,
        reference: str,
        frames: Sequence[Frame],
        consent: Consent | None,
        *,
        minor: bool | None = None,
        groups: Sequence[str] = (),
        allow_duplicate: bool = False,
    ) -> EnrollResult:
        """Enroll a person, or add faces to one who is enrolled. All usable frames are added, or none.

        Faces of a bundle that the gate does not run any more are replaced by the new ones.

        Args:
            reference: the operator's pseudonym: no name, no address; 1 to 64 letters, digits, dots, dashes,
                underscores.
            frames: pictures of the person, each showing one face.
            consent: the record of their consent; of those on record the newest counts.
            minor: whether the person is younger than the setting `age_limit`; must be said if the setting `ask_age` is
                on. None: not asked, or as it is known. Neither age nor birthday is kept.
            groups: join these as well.
            allow_duplicate: enroll even if the same face is enrolled under another reference. Without it, nothing is
                added then, and the result names the other reference: the choice is the operator's.

        Raises:
            ConsentMissingError: there is no record (its subclasses: it has run out, it is for another purpose).
            GuardianConsentError: a minor, and no guardian agreed; whatever the gate had of the person is erased.
            SubjectError: `reference` is none.
            GroupError: there is no such group.
            EnrollError: there is no frame, what is given is none, the person would have more than 16 faces, is
                restricted, or it was not said whether they are a minor.
            GateClosedError: the gate is closed.
            EngineError: a model failed to run.
            StoreError: one of its subclasses: it could not be written.
        """
        gate = self._gate
        check_reference(reference)
        with gate.reading(self._label):
            person = gate.store.person(reference)
            self._check_age_said(minor)
            young = minor if minor is not None else person is not None and person.minor
            if young:
                self._guard_minor(reference, person, consent)
            consent = self._check_consent(consent)
            joined = find_groups(gate.store, groups)
            with Pictures(gate, person, frames) as pictures:
                if not pictures.usable or self._is_told_of(pictures, allow_duplicate=allow_duplicate):
                    return pictures.result(reference, added=False)
                with gate.operation("enroller", self._label) as work:
                    self._check_consent(consent, work.now)  # the models take their time, and it may be over by now
                    known = self._keep(work, reference, person, minor=young)
                    pictures.store(work.tx, known)
                    put_consent(work.tx, known, consent)
                    for group in joined:
                        gate.store.join(work.tx, known, group.id)
                    work.log(
                        "enroll",
                        reference,
                        {
                            "faces": len(pictures.usable),
                            "minor": young,
                            "groups": len(joined),
                            "duplicate_of": pictures.duplicate_of,
                            **consent_details(consent),
                        },
                    )
                return pictures.result(reference, added=True)

    def add_face(self, reference: str, frames: Sequence[Frame], *, allow_duplicate: bool = False) -> EnrollResult:
        """Add faces to an enrolled person, on the consent that is on record.

        Raises:
            SubjectError: there is no such person.
            ConsentMissingError, EnrollError, GateClosedError, EngineError, StoreError: see `enroll`.
        """
        gate = self._gate
        with gate.reading(self._label):
            person = self._person(reference)
            self._check_consent(newest_consent(gate.store.db, person.id))
            if gate.refusal(person, gate.now()) == "unknown_subject":
                raise SubjectError(
                    "the person was not used for so long that nothing of them is kept", hint="enroll them again"
                )
            with Pictures(gate, person, frames) as pictures:
                if not pictures.usable or self._is_told_of(pictures, allow_duplicate=allow_duplicate):
                    return pictures.result(reference, added=False)
                with gate.operation("enroller", self._label) as work:
                    self._check_consent(newest_consent(gate.store.db, person.id), work.now)
                    pictures.store(work.tx, person.id)
                    work.tx.update("person", person.id, used=work.ms)
                    details = {"faces": len(pictures.usable), "duplicate_of": pictures.duplicate_of}
                    work.log("add_face", reference, details)
                return pictures.result(reference, added=True)

    def faces(self, reference: str) -> tuple[FaceInfo, ...]:
        """A person's faces, the oldest first. Raises SubjectError if there is no such person."""
        gate = self._gate
        with gate.reading(self._label):
            person = self._person(reference)
            rows = gate.store.faces(person.id)
            return tuple(FaceInfo(face, moment(added), space == gate.store.space) for face, added, space in rows)

    def remove_face(self, reference: str, face: int) -> None:
        """Remove one face of a person.

        Raises:
            SubjectError: there is no such person, or it is not theirs.
            EnrollError: the person is restricted: what there is of them stays as it is.
        """
        gate = self._gate
        with gate.reading(self._label):
            person = self._unrestricted(reference)
            if type(face) is not int or face not in [row[0] for row in gate.store.faces(person.id)]:
                raise SubjectError("this is no face of that person", hint="`faces` lists the numbers of their faces")
            with gate.operation("enroller", self._label) as work:
                gate.store.remove_face(work.tx, face)
                work.log("remove_face", reference, {"faces": 1})

    def people(self) -> tuple[PersonInfo, ...]:
        """Everybody, by reference."""
        gate = self._gate
        with gate.reading(self._label):
            joined: dict[int, list[str]] = {}
            for person, name in gate.store.db.iterate(
                "SELECT person, name FROM membership JOIN people_group ON people_group.id = people_group ORDER BY name"
            ):
                joined.setdefault(person, []).append(name)
            return tuple(
                PersonInfo(
                    reference=reference,
                    faces=faces,
                    groups=tuple(joined.get(person, ())),
                    enrolled_at=moment(enrolled),
                    minor=bool(minor),
                    restricted=bool(restricted),
                    lapsed=bool(lapsed),
                )
                for person, reference, enrolled, minor, restricted, lapsed, faces in gate.store.db.iterate(
                    "SELECT id, reference, enrolled, minor, restricted, lapsed, "
                    "(SELECT count(*) FROM face WHERE face.person = person.id) FROM person ORDER BY reference"
                )
            )

    def outdated(self) -> tuple[str, ...]:
        """The references of people with faces of a bundle that this gate does not run: to be enrolled again."""
        gate = self._gate
        with gate.reading(self._label):
            return tuple(sorted({face.reference for face in gate.store.outdated() if face.reference is not None}))

    # --- consent -------------------------------------------------------------------------------------------------

    def record_consent(self, reference: str, consent: Consent) -> None:
        """Put a new consent of an enrolled person on record, such as one that takes the place of an expiring one.

        What has expired already is gone: the faces of somebody whose consent is over are erased with it, and the person
        is to be enrolled again.

        Raises:
            SubjectError: there is no such person.
            EnrollError: the person is restricted, and the consent on record has run out.
            ConsentMissingError: it does not count here and now, see `enroll`.
            GuardianConsentError: the person is a minor, and this is no guardian's. Nothing has changed.
        """
        gate = self._gate
        with gate.reading(self._label):
            person = self._person(reference)
            consent = self._check_consent(consent)
            if person.minor and not self._is_guardians(reference, consent):
                raise _not_guardians()
            with gate.operation("enroller", self._label) as work:
                renew_consent(gate.store, work, person, consent)
                work.log("record_consent", reference, consent_details(consent))

    def consents(self, reference: str) -> tuple[Consent, ...]:
        """A person's consents on record, the oldest first; the last one counts. Raises SubjectError."""
        with self._gate.reading(self._label):
            return consents_of(self._gate.store.db, self._person(reference).id)

    def withdraw(self, reference: str) -> SignedCertificate:
        """The person withdraws their consent: everything that the gate has of them is erased at once.

        Returns:
            The certificate for the person. Keep a copy where the backups are: one of before brings them back without.

        Raises:
            SubjectError: there is no such person.
            StoreError: it could not be written; the person is still enrolled.
        """
        return self._erase(reference, "withdraw")

    def remove(self, reference: str) -> SignedCertificate:
        """Erase a person who is not to be recognized any more, for whatever reason; see `withdraw`.

        Raises:
            EnrollError: the person is restricted: their data stays until they or the privacy officer say otherwise.
            SubjectError, StoreError: see `withdraw`.
        """
        return self._erase(reference, "remove")

    def mark_minor(self, reference: str, consent: Consent | None = None) -> None:
        """An enrolled person is found to be a minor: the guardian agreed, or the person is erased.

        Args:
            reference: whose.
            consent: a guardian's; None: perhaps one is on record already.

        Raises:
            GuardianConsentError: no guardian agreed. The person is erased by then.
            SubjectError: there is no such person.
        """
        gate = self._gate
        with gate.reading(self._label):
            person = self._person(reference)
            self._guard_minor(reference, person, consent)
            with gate.operation("enroller", self._label) as work:
                work.tx.update("person", person.id, minor=1)
                details: dict[str, str | int | bool | None] = {"minor": True}
                if consent is not None:
                    renew_consent(gate.store, work, person, consent)
                    details |= consent_details(consent)
                work.log("mark_minor", reference, details)

    # --- inside --------------------------------------------------------------------------------------------------

    def _is_told_of(self, pictures: Pictures, *, allow_duplicate: bool) -> bool:
        """Whether the answer is that the face is another person's.

        Then that one was recognized, and the log says so: else whoever enrolls could find out who somebody is, and
        nobody would ever know.
        """
        found = pictures.duplicate_of
        if found is None:
            return False
        with self._gate.operation("enroller", self._label) as work:
            work.log("duplicate_found", found, {"faces": len(pictures.usable), "allow_duplicate": allow_duplicate})
        return not allow_duplicate

    def _keep(self, work: Work, reference: str, person: PersonRow | None, *, minor: bool) -> int:
        """The number of a person, who is known from now on."""
        if person is None:
            return self._gate.store.add_person(work.tx, reference, minor=minor)
        work.tx.update("person", person.id, minor=int(minor), used=work.ms)
        return person.id

    def _is_guardians(self, reference: str, consent: Consent | None) -> bool:
        """Whether a consent that counts is a guardian's."""
        return is_guardians(self._gate.store, reference, consent)

    def _guard_minor(self, reference: str, person: PersonRow | None, consent: Consent | None) -> None:
        """Return if a guardian agreed; else erase what there is, and say so in the audit log."""
        gate = self._gate

        def agreed(record: Consent | None) -> bool:
            try:
                return self._is_guardians(reference, self._check_consent(record))
            except ConsentMissingError:
                return False

        erased = "; the person is erased" if person is not None else ""
        try:
            self._check_minors_declared()
        except GuardianConsentError as error:
            refused = GuardianConsentError(f"{error}{erased}", hint=error.hint)
        else:
            if agreed(consent):
                return
            if person is not None and agreed(newest_consent(gate.store.db, person.id)):
                if consent is None:
                    return
                raise _not_guardians()
            refused = GuardianConsentError(
                f"a minor needs the consent of a guardian{erased}",
                hint="record the guardian's consent, with `guardian`, and enroll again",
            )
        with gate.operation("enroller", self._label) as work:
            if person is not None:
                erase(gate, work, reference, "erasure", action="minor_refused")
            else:
                work.log("minor_refused", reference, {"minor": True, "removed": 0})
        raise refused

    def _erase(self, reference: str, action: Literal["withdraw", "remove"]) -> SignedCertificate:
        gate = self._gate
        with gate.reading(self._label):
            person = self._person(reference) if action == "withdraw" else self._unrestricted(reference)
            with gate.operation("enroller", self._label) as work:
                reason: ErasureReason = "withdrawal" if action == "withdraw" else "erasure"
                signed = erase(gate, work, person.reference, reason, action=action)
            return signed  # noqa: RET504 - not within the block: it has happened only now

    def _unrestricted(self, reference: str) -> PersonRow:
        person = self._person(reference)
        if person.restricted:
            raise EnrollError(
                "the person's data is restricted: it stays as it is",
                hint="the person can withdraw their consent; else the privacy officer ends the restriction, or erases",
            )
        return person


def _not_guardians() -> GuardianConsentError:
    return GuardianConsentError(
        "the person is a minor, and this is not a guardian's consent; nothing was changed",
        hint="a guardian's consent names them in `guardian`, and they are no minor",
    )
