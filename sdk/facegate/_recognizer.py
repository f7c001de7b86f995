"""The recognizer's role: detect, verify, identify; everything that leaves is a decision."""

from __future__ import annotations

import dataclasses
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from facegate._captured import CapturedFace
from facegate._complete_linkage import complete_linkage
from facegate._core import Finding, no_reference
from facegate._decision import is_reference
from facegate._examiner import Probe
from facegate._lockout import EVERYBODY
from facegate.errors import CapturedFaceError, FrameError, ListError, SearchError, TrialRefusedError
from facegate_edge._values import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facegate._core import Among, GateCore
    from facegate._decision import Kind, Reason, SignedDecision
    from facegate._delivery import Delivery
    from facegate._sinks._sink import Sink
    from facegate._store._outbox import DeliveryReport, Stop
    from facegate._store._store import PersonRow

__all__ = ["Recognizer"]

MAX_CANDIDATES = 100
_FACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Recognizer:
    """What a terminal's program may do with a gate. Made by `Gate.recognizer`; thread-safe as the gate is.

    A face is given as a `Frame`, or as the id of a face that `detect` found a moment ago.
    """

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    def detect(self, frame: Frame) -> tuple[CapturedFace, ...]:
        """The faces of a frame, each held in memory under a random id until its time is over (`captured_seconds`).

        Raises:
            FrameError: it is no Frame.
            GateClosedError: the gate is closed.
            EngineError: a model failed to run.
        """
        gate = self._gate
        with gate.reading(self._label):
            seconds = float(gate.setting("captured_seconds"))
            return tuple([gate.captured.add(face, probe, seconds) for face, probe in gate.examiner.every(frame)])

    def verify(self, reference: str, face: Frame | CapturedFace | str) -> SignedDecision:
        """Decide whether the face is that of the person of that reference (1:1).

        Returns:
            The decision, which is on the disk by then.

        Raises:
            SubjectError: `reference` is none. One that is not enrolled is a decision, not an error.
            FrameError, CapturedFaceError: what was given is no frame, and no face that is held.
            GateClosedError, EngineError: see `detect`.
            StoreError: one of its subclasses: the decision could not be written, so there is none.
        """
        if not is_reference(reference):
            raise no_reference("subject")
        gate = self._gate
        with gate.reading(self._label):
            person = gate.store.person(reference)
            if person is None:
                return self._trial("verify", face, reference, "unknown_subject", {})
            refused = gate.refusal(person, gate.now())
            if refused is None and not gate.store.index.faces(person.id):
                refused = "outdated"
            return self._trial("verify", face, reference, refused, {"persons": (person.id,)})

    def identify(self, face: Frame | CapturedFace | str, *, groups: Sequence[str] | None = None) -> SignedDecision:
        """Decide whether the face is that of an enrolled person, and of whom (1:N).

        The threshold is the one of verification: with N people enrolled, a stranger is taken for one of them up to N
        times as often as the policy's FMR says. Naming groups makes N smaller.

        Args:
            face: see the class.
            groups: compare with the people of these groups only; None: with everybody.

        Raises:
            GroupError: there is no such group, or none is named.
            FrameError, CapturedFaceError, GateClosedError, EngineError, StoreError: see `verify`.
        """
        gate = self._gate
        with gate.reading(self._label):
            return self._trial("identify", face, EVERYBODY, None, gate.groups(groups))

    def candidates(
        self, face: Frame | CapturedFace | str, k: int = 5, *, groups: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """The people whom the face could be, most similar first: all of them above the threshold, and no similarity.

        For the inside of the device, such as asking which of two twins stands there; what leaves is a decision. It is
        a trial as `identify` is: it counts, is refused and is logged like one. Who objected to being decided about by
        a machine is not named: `identify` leaves that to a person.

        Args:
            face: see the class.
            k: at most so many, 1 to 100.
            groups: see `identify`.

        Returns:
            References; none if the face may not be compared (see `CapturedFace.reason`).

        Raises:
            TrialRefusedError: locked out, or asked too often.
            GroupError, FrameError, CapturedFaceError, GateClosedError, EngineError, StoreError: see `identify`.
        """
        check_k(k)
        gate = self._gate
        with gate.reading(self._label):
            among = gate.groups(groups)
            self._check_face(face)
            self._check_allowed("candidates", EVERYBODY)
            with self._probe(face) as probe:
                people = [] if probe.template is None else gate.similar_people(probe.template, among, MAX_CANDIDATES)
            named = [person.reference for person in people if not person.objection][:k]
            failed = probe.reason == "liveness_spoof" or (probe.reason is None and not people)
            with gate.operation("recognizer", self._label) as work:
                if failed:
                    gate.lockout.failed(work.tx, EVERYBODY)
                work.log("candidates", details={"people": len(named)})
                for reference in named:  # so that the record of what was done about a person can tell it
                    work.log("candidate_named", reference)
            return tuple(named)

    def find_similar(self, face: Frame | CapturedFace | str, list_name: str, k: int = 5) -> tuple[int, ...]:
        """The faces of a list that are similar to the face, most similar first: ids, and no similarity.

        A miss is what lists are usually asked for, and is no failed trial; that it was asked is limited and logged.

        Args:
            face: see the class.
            list_name: of the face list.
            k: at most so many, 1 to 100.

        Raises:
            ListError: there is no such list.
            TrialRefusedError: asked too often.
            FrameError, CapturedFaceError, GateClosedError, EngineError, StoreError: see `verify`.
        """
        check_k(k)
        gate = self._gate
        with gate.reading(self._label):
            face_list = gate.store.face_list(list_name) if is_reference(list_name) else None
            if face_list is None:
                raise ListError("there is no such list", hint="an enroller can list the face lists")
            self._check_face(face)
            self._check_allowed("find_similar", None)
            with self._probe(face) as probe:
                found = [] if probe.template is None else gate.similar_faces(probe.template, face_list.id, k)
            with gate.operation("recognizer", self._label) as work:
                work.log("find_similar", list_name, {"faces": len(found)})
            return tuple(found)

    def group(self, face_ids: Sequence[str | CapturedFace]) -> tuple[tuple[str, ...], ...]:
        """Sort captured faces by person, without knowing anybody. Nothing of it is kept.

        Two faces come together only if all faces of the two groups are similar: a face between two people does not
        join them (complete linkage). A face that may not be compared is a group of its own.

        Args:
            face_ids: of faces that `detect` found; each counts once.

        Returns:
            Groups of ids, in the order in which their first faces were given.

        Raises:
            CapturedFaceError: a face is not held any more.
            GateClosedError: the gate is closed.
        """
        gate = self._gate
        with gate.reading(self._label):
            ids = list(dict.fromkeys(face_id(face) for face in face_ids))
            probes = [gate.captured.get(face) for face in ids]
            templates = [None if probe.template is None else probe.template.data for probe in probes]
            return tuple(tuple(ids[i] for i in cluster) for cluster in complete_linkage(templates, gate.threshold))

    # --- what leaves ---------------------------------------------------------------------------------------------

    def deliver(self, sink: Sink, *, limit: int | None = None) -> DeliveryReport:
        """Give the decisions that wait to a sink, the oldest first, until it has them all or does not take one.

        The gate goes on deciding meanwhile. What a sink has taken is marked on the disk before the next one is sent.

        Args:
            sink: where to.
            limit: at most so many.

        Raises:
            OutboxTamperedError: a decision is not as the device signed it; neither it nor a later one is delivered.
            OutboxError: another thread delivers.
            GateClosedError: the gate is closed.
            RoleError: the credential was revoked, perhaps between two decisions.
            StoreError: it could not be marked; the sink is given the same decision again.
        """
        return _RoleOutbox(self._gate, self._label).deliver(sink, limit=limit)

    def delivery(
        self, sink: Sink, *, poll: float = 1.0, on_report: Callable[[DeliveryReport], object] | None = None
    ) -> Delivery:
        """Deliver in the background for as long as the block lasts: `with terminal.delivery(sink): ...`.

        Each decision wakes it; a sink that fails is tried again later and later. It ends, with the reason in `failure`,
        when the gate is closed, the credential revoked or the outbox found changed.

        Args:
            sink: where to.
            poll: seconds between two looks all the same.
            on_report: told after every attempt that delivered something or failed, in the thread that delivers.

        Raises:
            GateClosedError: the gate is closed.
        """
        from facegate._delivery import Delivery  # noqa: PLC0415 - few gates deliver by themselves

        outbox = _RoleOutbox(self._gate, self._label)
        outbox.check()
        delivery = Delivery(outbox, sink, poll=poll, on_report=on_report)
        self._gate.on_decision = delivery.wake
        return delivery

    # --- what they share -----------------------------------------------------------------------------------------

    def _trial(
        self, kind: Kind, face: Frame | CapturedFace | str, scope: str, refused: Reason | None, among: Among
    ) -> SignedDecision:
        """One trial, from the rules that keep it from happening to the decision on the disk."""
        gate = self._gate
        self._check_face(face)
        matched, failed = None, False
        if not gate.rate.allows(gate.clock.monotonic()):
            finding = Finding("rejected", ("rate_limited",))
        elif refused is not None:
            finding = Finding("rejected", (refused,))
        elif gate.lockout.locked(scope):
            finding = Finding("rejected", ("locked_out",))
        else:
            finding, matched, failed = self._compare(face, among)
        if finding.about is None and scope != EVERYBODY:
            finding = dataclasses.replace(finding, about=scope)
        with gate.operation("recognizer", self._label) as work:
            gate.lockout.settle(work.tx)
            if failed:
                gate.lockout.failed(work.tx, scope)
            if finding.outcome == "match":
                gate.lockout.forget(work.tx, scope)
            if matched is not None:
                gate.note_use(work, matched)
            signed = gate.decide(work, kind, finding)
        return signed  # noqa: RET504 - not within the block: it is on the disk only now

    def _compare(self, face: Frame | CapturedFace | str, among: Among) -> tuple[Finding, PersonRow | None, bool]:
        """What a comparison comes to: the finding, who it was, and whether it counts as a failed trial."""
        with self._probe(face) as probe:
            if probe.template is None:
                why = () if probe.reason is None else (probe.reason,)
                return Finding("rejected", why, liveness=probe.liveness), None, probe.reason == "liveness_spoof"
            people = self._gate.similar_people(probe.template, among, 1)
        uncertain: tuple[Reason, ...] = ("liveness_uncertain",) if probe.liveness == "uncertain" else ()
        if not people:
            return Finding("no_match", ("below_threshold", *uncertain), liveness=probe.liveness), None, True
        person = people[0]
        # Who objected to being decided about by a machine is decided about by a person.
        reasons = (*uncertain, "objection") if person.objection else uncertain
        if reasons:
            # Neither a failure nor a success: a person decides, and the count of failures stays.
            about = Finding("review", reasons, liveness=probe.liveness, about=person.reference)
            return about, None if uncertain else person, False
        return Finding("match", subject=person.reference, liveness=probe.liveness), person, False

    @staticmethod
    def _check_face(face: object) -> None:
        if not isinstance(face, (Frame, CapturedFace)):
            face_id(face)

    @contextmanager
    def _probe(self, face: Frame | CapturedFace | str) -> Iterator[Probe]:
        """The face as it may be compared. What came of a frame is wiped at the end."""
        gate = self._gate
        if isinstance(face, Frame):
            probe = gate.examiner.one(face)
            try:
                yield probe
            finally:
                probe.wipe()
            return
        probe = gate.captured.get(face_id(face))
        if probe.template is not None and probe.template.space != gate.store.space:
            raise CapturedFaceError(
                "the face was captured before the gate's rotation was renewed", hint="detect it again"
            )
        if probe.several and gate.policy.one_face_only:
            probe = Probe("several_faces", several=True)
        yield probe

    def _check_allowed(self, action: str, scope: str | None) -> None:
        """Refuse, and write down that it was refused, what a decision would be rejected for."""
        gate = self._gate
        if not gate.rate.allows(gate.clock.monotonic()):
            error = TrialRefusedError("the gate was asked too often", hint="wait a minute")
            reason: Reason = "rate_limited"
        elif scope is not None and gate.lockout.locked(scope):
            error = TrialRefusedError("the gate is locked out after failed trials", hint="wait, and try again")
            reason = "locked_out"
        else:
            return
        with gate.operation("recognizer", self._label) as work:
            work.log(action, details={"reasons": reason})
        raise error


class _RoleOutbox:
    """The gate's outbox, for as long as the gate and the role are open: that is looked at before each decision."""

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    def check(self) -> None:
        """Raise GateClosedError or RoleError."""
        with self._gate.reading(self._label):
            pass

    def deliver(self, sink: Sink, *, limit: int | None = None, stop: Stop | None = None) -> DeliveryReport:
        """See `Outbox.deliver`."""
        self.check()
        return self._gate.outbox.deliver(sink, limit=limit, stop=_Checked(self, stop))

    def waiting(self) -> int:
        """See `Outbox.waiting`."""
        return self._gate.outbox.waiting()


class _Checked:
    """Says when to stop, and raises if the role is not open any more."""

    def __init__(self, outbox: _RoleOutbox, stop: Stop | None) -> None:
        self._outbox = outbox
        self._stop = stop

    def is_set(self) -> bool:
        self._outbox.check()
        return self._stop is not None and self._stop.is_set()


def face_id(face: object) -> str:
    """The id of a captured face. Raises FrameError for what can be none."""
    text = face.id if isinstance(face, CapturedFace) else face
    if type(text) is not str or _FACE_ID.fullmatch(text) is None:
        raise FrameError("a gate looks at a Frame, or at a face that it captured", hint="load_image makes a Frame")
    return text


def check_k(k: object) -> None:
    """Raise SearchError for a number of results that cannot be asked for."""
    if type(k) is not int or not 1 <= k <= MAX_CANDIDATES:
        raise SearchError("k cannot have that value", hint=f"a whole number from 1 to {MAX_CANDIDATES}")
