"""Face lists: faces without a person, the part of the enroller's role that `find_similar` looks through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate._consents import consent_details, moment
from facegate._decision import is_reference
from facegate._desk import Desk, check_name
from facegate._enrollment import EnrollResult, FaceInfo, Pictures
from facegate.errors import ConsentMissingError, GuardianConsentError, ListError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate._consent import Consent
    from facegate._store._store import ListRow, Store
    from facegate_edge._values import Frame

__all__ = ["ListInfo", "Lists", "find_list"]


@dataclass(frozen=True, slots=True)
class ListInfo:
    """A face list: its name, and how many faces are in it."""

    name: str
    faces: int


class Lists(Desk):
    """Making and deleting face lists, and what is in them."""

    def make_list(self, name: str) -> None:
        """Make a face list: faces without a person. Raises ListError: there is one, or the name is no reference."""
        gate = self._gate
        check_name(name, ListError)
        with gate.operation("enroller", self._label) as work:
            if gate.store.face_list(name) is not None:
                raise ListError("there is a list of that name already", hint="choose another name")
            gate.store.add_list(work.tx, name)
            work.log("make_list", name)

    def add_to_list(
        self, name: str, frames: Sequence[Frame], consent: Consent | None, *, minor: bool | None = None
    ) -> EnrollResult:
        """Add faces to a list: each frame is looked at by itself. All usable ones are added, or none.

        The faces have no person with whom a record could be kept or could run out: the consent of the people in the
        frames is checked, and its record is the entry in the audit log; the faces do not outlive it (`list_days`,
        `audit_days`). One that expires is refused.

        Args:
            name: of the list.
            frames: pictures, each showing one face.
            consent: the record of the consent of the people in them.
            minor: whether a minor is among them, who needs a guardian's consent; see `enroll`.

        Raises:
            ListError: there is no such list.
            ConsentMissingError: see `enroll`; also for a consent that expires.
            GuardianConsentError: a minor, and no guardian agreed; nothing was looked at, and the attempt is in the log.
            EnrollError: there is no frame, there are more than 16, what is given is none, or it was not said whether a
                minor is among them.
            GateClosedError, EngineError, StoreError: see `enroll`.
        """
        gate = self._gate
        with gate.reading(self._label):
            found = find_list(gate.store, name)
            self._check_age_said(minor)
            if minor:
                self._guard_minors(name, consent)
            consent = self._check_consent(consent)
            if consent.expires_at is not None:
                raise ConsentMissingError(
                    "a face in a list has no record of consent that could run out",
                    hint="enroll the person, whose consent is kept with them; or record a consent without an end",
                )
            with Pictures(gate, None, frames, together=False) as pictures:
                if not pictures.usable:
                    return pictures.result(name, added=False)
                with gate.operation("enroller", self._label) as work:
                    self._check_consent(consent, work.now)
                    pictures.store_in_list(work.tx, found.id)
                    said = {"faces": len(pictures.usable), "minor": bool(minor), **consent_details(consent)}
                    work.log("add_to_list", name, said)
                return pictures.result(name, added=True)

    def _guard_minors(self, name: str, consent: Consent | None) -> None:
        """Return if a guardian agreed that a minor's face is put into a list; else say so in the audit log."""
        try:
            self._check_minors_declared()
            if self._check_consent(consent).guardian is not None:
                return
            raise GuardianConsentError(
                "a minor needs the consent of a guardian", hint="a guardian's consent names them in `guardian`"
            )
        except ConsentMissingError:
            with self._gate.operation("enroller", self._label) as work:
                work.log("minor_refused", name, {"minor": True, "removed": 0})
            raise

    def remove_from_list(self, name: str, face: int) -> None:
        """Remove a face of a list. Raises ListError: there is no such list, or it is not in it."""
        gate = self._gate
        with gate.reading(self._label):
            found = find_list(gate.store, name)
            if type(face) is not int or face not in [row[0] for row in gate.store.list_faces(found.id)]:
                raise ListError("this face is not in that list", hint="`list_faces` lists the numbers of its faces")
            with gate.operation("enroller", self._label) as work:
                gate.store.remove_face(work.tx, face)
                work.tx.after_commit(gate.captured.clear)  # it may be of whoever the camera saw in the last minutes
                work.log("remove_from_list", name, {"faces": 1})

    def delete_list(self, name: str) -> None:
        """Delete a list and erase its faces. Raises ListError if there is none of that name."""
        gate = self._gate
        with gate.reading(self._label):
            found = find_list(gate.store, name)
            with gate.operation("enroller", self._label) as work:
                gate.store.remove_list(work.tx, found.id)
                work.tx.after_commit(gate.captured.clear)
                work.log("delete_list", name)

    def lists(self) -> tuple[ListInfo, ...]:
        """All lists, by name."""
        with self._gate.reading(self._label):
            rows = self._gate.store.db.read(
                "SELECT name, (SELECT count(*) FROM face WHERE list = face_list.id) FROM face_list ORDER BY name"
            )
            return tuple(ListInfo(name, faces) for name, faces in rows)

    def list_faces(self, name: str) -> tuple[FaceInfo, ...]:
        """A list's faces, the oldest first. Raises ListError if there is none of that name."""
        gate = self._gate
        with gate.reading(self._label):
            found = find_list(gate.store, name)
            rows = gate.store.list_faces(found.id)
            return tuple(FaceInfo(face, moment(added), space == gate.store.space) for face, added, space in rows)


def find_list(store: Store, name: str) -> ListRow:
    """The face list of a name. Raises ListError if there is none."""
    found = store.face_list(name) if is_reference(name) else None
    if found is None:
        raise ListError("there is no such face list", hint="an enroller makes lists, and `lists` lists them")
    return found
