"""From an enrolment's pictures to the faces that are kept, and what the operator is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate.errors import EnrollError
from facegate_edge._gallery import compare
from facegate_edge._values import Frame

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from facegate._core import GateCore
    from facegate._store._database import Transaction
    from facegate._store._store import PersonRow
    from facegate_edge._values import Template

__all__ = ["MAX_FACES", "EnrollResult", "FaceInfo", "PersonInfo", "Pictures"]

MAX_FACES = 16  # of one person: more than the poses and lights that help


@dataclass(frozen=True, slots=True)
class EnrollResult:
    """What came of an enrolment. It stays with the operator; no decision leaves the device.

    Attributes:
        reference: the person's, or the list's name.
        added: how many faces were added, 0 if nothing was changed.
        faces: how many the person has now; of a list, how many were added.
        frames: for each frame the reason why it was not used, None if it was usable: "no_face", "several_faces",
            "low_quality", "liveness_spoof", "liveness_uncertain", or "inconsistent" (not the face of the other
            frames).
        duplicate_of: the reference under which the same face is enrolled already; nothing was added then, unless
            duplicates were allowed.
    """

    reference: str
    added: int
    faces: int
    frames: tuple[str | None, ...]
    duplicate_of: str | None = None

    @property
    def enrolled(self) -> bool:
        """Whether faces were added."""
        return self.added > 0


@dataclass(frozen=True, slots=True)
class FaceInfo:
    """A face that is kept.

    Attributes:
        id: its number, which is never used again.
        added_at: when.
        current: whether the gate's models can compare it; if not, the person must be enrolled again.
    """

    id: int
    added_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """A person, as an enroller sees them.

    Attributes:
        reference: the operator's pseudonym.
        faces: how many are kept.
        groups: the groups that they are in, sorted.
        enrolled_at: when first.
        minor, restricted: what is known of them.
        lapsed: their consent has run out, and nothing but this is kept.
    """

    reference: str
    faces: int
    groups: tuple[str, ...]
    enrolled_at: datetime
    minor: bool
    restricted: bool
    lapsed: bool


class Pictures:
    """The pictures of one enrolment, looked at. A context: its templates are wiped when it ends.

    Args:
        gate: whose models and rules; its lock is held.
        person: whose pictures, None for somebody new.
        frames: the pictures, each to show one face.
        together: they show one person, so those that do not fit are left out, and other people are searched for the
            same face.

    Attributes:
        usable: the templates that may be kept.
        reasons: for each frame, see `EnrollResult`.
        duplicate_of: see `EnrollResult`.

    Raises:
        EnrollError: there is no frame, there are too many, what is given is none, or the person is restricted.
        EngineError: a model failed to run.
    """

    def __init__(
        self, gate: GateCore, person: PersonRow | None, frames: Sequence[Frame], *, together: bool = True
    ) -> None:
        self._gate = gate
        self._person = person
        self._together = together
        self._over = False  # whether nothing of the person may be used any more: consent or time has run out
        self._old: list[int] = []
        self._known = 0
        if person is not None:
            if person.restricted:
                raise EnrollError(
                    "the person's data may be stored and not used: no face is added",
                    hint="the privacy officer ends the restriction",
                )
            self._over = gate.refusal(person, gate.now()) is not None
            kept = gate.store.faces(person.id)
            self._old = [face for face, _, space in kept if self._over or space != gate.store.space]
            self._known = len(kept) - len(self._old)
        if not isinstance(frames, Sequence) or not all(isinstance(frame, Frame) for frame in frames):
            raise EnrollError("frames are a list of Frame", hint="load_image makes a Frame of a file")
        if not frames or len(frames) + self._known > MAX_FACES:
            raise EnrollError(
                f"{len(frames)} frames for a person with {self._known} faces" if together else f"{len(frames)} frames",
                hint=f"1 to {MAX_FACES} faces a person; remove faces to start afresh"
                if together
                else f"1 to {MAX_FACES} at a time",
            )
        self.usable: list[Template] = []
        self.reasons: tuple[str | None, ...] = ()
        self.duplicate_of: str | None = None
        try:
            self.reasons = tuple([self._look(frame) for frame in frames])
            if together:
                self.duplicate_of = self._duplicate()
        except BaseException:
            self._wipe()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self._wipe()

    def store(self, tx: Transaction, person: int) -> None:
        """Keep them for a person, in the place of faces that may not or cannot be compared any more."""
        store = self._gate.store
        if self._over:
            store.lapse_person(tx, person)  # a new consent, or a new time, does not bring back what was over
        else:
            for face in self._old:
                store.remove_face(tx, face)
        store.add_faces(tx, person, self.usable)

    def store_in_list(self, tx: Transaction, face_list: int) -> None:
        """Keep them in a face list."""
        self._gate.store.add_list_faces(tx, face_list, self.usable)

    def result(self, reference: str, *, added: bool) -> EnrollResult:
        """What the operator is told."""
        count = len(self.usable) if added else 0
        known = self._known if added else self._known + len(self._old)
        return EnrollResult(reference, count, known + count, self.reasons, self.duplicate_of)

    def _look(self, frame: Frame) -> str | None:
        """Add the frame's template to the usable ones, or say why it is not."""
        probe = self._gate.examiner.one(frame)
        if probe.template is None:
            return probe.reason
        if probe.liveness == "uncertain":
            probe.wipe()
            return "liveness_uncertain"
        if self._together and not self._consistent(probe.template):
            probe.wipe()
            return "inconsistent"
        self.usable.append(probe.template)
        return None

    def _consistent(self, template: Template) -> bool:
        """Whether it is the face of the others: one frame of somebody else would open the gate to them for good."""
        similarities = [compare(template, other) for other in self.usable]
        if self._known and self._person is not None:
            found = self._gate.store.index.best(template, persons=[self._person.id])
            similarities += [match.similarity for match in found]
        return not similarities or max(similarities) >= self._gate.threshold

    def _duplicate(self) -> str | None:
        """Another person who is enrolled with the same face."""
        own = None if self._person is None else self._person.id
        for template in self.usable:
            for person in self._gate.similar_people(template, {}, 2):  # one of them may be the person themselves
                if person.id != own:
                    return person.reference
        return None

    def _wipe(self) -> None:
        for template in self.usable:
            template.wipe()
