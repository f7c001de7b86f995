"""A gate: people enrolled in memory, frames in, signed decisions out."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from facegate._clock import SystemClock
from facegate._consent import Consent
from facegate._decision import Decision, SignedDecision, format_time, is_reference, sign_decision
from facegate._lockout import Lockout
from facegate._people import People
from facegate._uuid7 import Uuid7Source
from facegate.errors import (
    ConsentMissingError,
    EnrollError,
    FrameError,
    GateClosedError,
    KeyTypeError,
    SubjectError,
)
from facegate_edge._gallery import compare
from facegate_edge._keys import SigningKey
from facegate_edge._values import Frame

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate._clock import Clock
    from facegate._decision import Kind, Liveness, Mark, Outcome, Reason
    from facegate._policy import Policy
    from facegate_edge._bundle import Bundle
    from facegate_edge._liveness import LivenessScore
    from facegate_edge._quality import Quality
    from facegate_edge._timings import Timings
    from facegate_edge._values import Face, Template

__all__ = ["EnrollResult", "Gate", "GatePipeline"]

MAX_TEMPLATES = 16  # of one person: more than the poses and lights that help


class GatePipeline(Protocol):
    """What a gate asks of a pipeline; `facegate_edge.Pipeline` is one."""

    space: str
    template_length: int
    has_liveness: bool

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of a frame."""

    def measure(self, frame: Frame, face: Face) -> Quality:
        """A face's quality."""

    def embed(self, frame: Frame, face: Face) -> Template:
        """A face's template."""

    def liveness(self, frame: Frame, face: Face) -> LivenessScore:
        """Whether a face is live."""

    def close(self) -> None:
        """Free it."""


@dataclass(frozen=True, slots=True)
class EnrollResult:
    """What came of an enrolment. It stays with the operator; no decision leaves the device.

    Attributes:
        subject: the person's reference.
        added: how many templates were added, 0 if the person was not enrolled.
        templates: how many the person has now.
        frames: for each frame the reason why it was not used, None if it was: "no_face", "several_faces",
            "low_quality", "liveness_spoof", "liveness_uncertain", or "inconsistent" (not the face of the other frames).
        duplicate_of: the reference under which the same face is enrolled already; nothing was added then, unless
            duplicates were allowed.
    """

    subject: str
    added: int
    templates: int
    frames: tuple[str | None, ...]
    duplicate_of: str | None = None

    @property
    def enrolled(self) -> bool:
        """Whether templates were added."""
        return self.added > 0


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a trial came to, before it is a decision."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    subject: str | None = None
    liveness: Liveness = "not_checked"


@dataclass(frozen=True, slots=True, repr=False)
class _Probe:
    """A face that may be compared, or the reason why not."""

    reason: Reason | None
    liveness: Liveness = "not_checked"
    template: Template | None = None


class Gate:
    """Enrolls people and decides about frames, in memory only: nothing is written, the gallery is wiped on `close`.

    Thread-safe: a lock takes one call after the other, because the models' memory can serve only one.

    Args:
        bundle: an opened bundle. It stays the caller's to close, after the gate.
        policy: the rules.
        device: the key that signs decisions.
        device_id: the device's reference in decisions, 1 to 64 letters, digits, dots, dashes, underscores.
        clock: where the time comes from.
        pipeline: the models in use; made of the bundle, and closed with the gate, if None.
        timings: records where the time goes, in the pipeline that the gate makes; none is recorded with a given one.
        demonstration: mark every decision as not real, and accept enrolment without a legal basis. A bundle with a
            model that is for demonstrations only does so whatever is said here, and whoever signed it.

    Raises:
        PolicyError: the bundle has no operating point for the policy, or no liveness model that it requires.
        SubjectError: `device_id` is no reference.
        KeyTypeError: `device` is no private key.
        ModelError, EngineError: the pipeline cannot be made.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        device: SigningKey,
        *,
        device_id: str,
        clock: Clock | None = None,
        pipeline: GatePipeline | None = None,
        timings: Timings | None = None,
        demonstration: bool = False,
    ) -> None:
        if not is_reference(device_id):
            raise _no_reference("device_id")
        if not isinstance(device, SigningKey):
            # Not with the first decision, when people are enrolled already.
            raise KeyTypeError("decisions are signed with a SigningKey", hint="SigningKey.load reads a private key")
        self._threshold = policy.check(bundle.manifest)
        self._owns_pipeline = pipeline is None
        if pipeline is None:
            from facegate_edge._pipeline import Pipeline  # noqa: PLC0415 - the engine is not needed with a given one

            pipeline = Pipeline(bundle, timings=timings)
        self._pipeline = pipeline
        self._policy = policy
        self._policy_id = policy.id
        self._bundle_id = bundle.id
        self._device = device
        self._device_id = device_id
        self._clock: Clock = clock if clock is not None else SystemClock()
        marks: tuple[tuple[Mark, bool], ...] = (
            ("demonstration", demonstration or bundle.manifest.demonstration),
            ("development", bundle.development),
        )
        self._marks = tuple(mark for mark, applies in marks if applies)
        self._lock = threading.RLock()
        self._people = People(pipeline.template_length, pipeline.space)
        self._lockout = Lockout(policy)
        self._ids = Uuid7Source()
        self._sequence = 0
        self._closed = False
        self._pid = os.getpid()

    def enroll(
        self, subject: str, frames: Sequence[Frame], consent: Consent | None, *, allow_duplicate: bool = False
    ) -> EnrollResult:
        """Enroll a person, or add templates to one who is enrolled. All usable frames are added, or none.

        Args:
            subject: the operator's pseudonym: no name, no address; 1 to 64 letters, digits, dots, dashes, underscores.
            frames: pictures of the person, each showing one face.
            consent: the record of their consent; it replaces an earlier one.
            allow_duplicate: enroll even if the same face is enrolled under another reference.

        Raises:
            ConsentMissingError: there is no record, or it is not valid now.
            SubjectError: `subject` is no reference.
            EnrollError: there is no frame, what is given is none, or the person would have more than 16 templates.
            GateClosedError: the gate is closed.
            EngineError: a model failed to run.
        """
        if not is_reference(subject):
            raise _no_reference("subject")
        with self._lock:
            self._sweep()
            consent = self._check_consent(consent)
            known = self._people.templates(subject)
            if not isinstance(frames, Sequence) or not all(isinstance(frame, Frame) for frame in frames):
                raise EnrollError("frames are a list of Frame", hint="load_image makes a Frame of a file")
            if not frames or len(frames) + known > MAX_TEMPLATES:
                raise EnrollError(
                    f"{len(frames)} frames for a person with {known} templates",
                    hint=f"1 to {MAX_TEMPLATES} templates a person; remove the person to start afresh",
                )
            templates: list[Template] = []
            try:
                reasons = tuple(self._enroll_frame(subject, frame, templates) for frame in frames)
                duplicate = self._duplicate(subject, templates)
                if not templates or (duplicate is not None and not allow_duplicate):
                    return EnrollResult(subject, 0, known, reasons, duplicate)
                self._people.add(subject, templates, consent)
                return EnrollResult(subject, len(templates), known + len(templates), reasons, duplicate)
            finally:
                for template in templates:
                    template.wipe()

    def verify(self, subject: str, frame: Frame) -> SignedDecision:
        """Decide whether the frame shows the person of that reference (1:1).

        Raises:
            SubjectError: `subject` is no reference. One that is not enrolled is a decision, not an error.
            FrameError: `frame` is no Frame.
            GateClosedError, EngineError: see `enroll`.
        """
        if not is_reference(subject):
            raise _no_reference("subject")
        with self._lock:
            self._sweep()
            if self._people.lapsed(subject):
                return self._decide("verify", _Finding("rejected", ("consent_missing",)))
            if self._people.templates(subject) == 0:
                return self._decide("verify", _Finding("rejected", ("unknown_subject",)))
            return self._decide("verify", self._trial(subject, frame))

    def identify(self, frame: Frame) -> SignedDecision:
        """Decide whether the frame shows an enrolled person, and whom (1:N).

        The threshold is the one of verification: with N people enrolled, a stranger is taken for one of them up to N
        times as often as the policy's FMR says.

        Raises:
            GateClosedError, EngineError: see `enroll`.
        """
        with self._lock:
            self._sweep()
            return self._decide("identify", self._trial(None, frame))

    def remove(self, subject: str) -> None:
        """Remove a person and wipe their templates. Raises SubjectError if there is no such person."""
        with self._lock:
            self._check_open()
            if not self._people.remove(subject):
                raise SubjectError("no such person is enrolled", hint="`subjects()` lists the references")
            self._lockout.succeeded(subject)

    def subjects(self) -> tuple[str, ...]:
        """The references of the enrolled people, sorted."""
        with self._lock:
            self._sweep()
            return self._people.subjects()

    def close(self) -> None:
        """Wipe all templates, and free the pipeline if the gate made it. A second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._people.close()
                if self._owns_pipeline:
                    self._pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gate({self._device_id})"

    def _check_open(self) -> None:
        if self._closed:
            raise GateClosedError("the gate is closed", hint="make a new one; people must be enrolled again")
        if os.getpid() != self._pid:
            # Two processes would sign different decisions with the same sequence number.
            raise GateClosedError("the gate belongs to another process", hint="make gates after forking")

    def _sweep(self) -> None:
        """Forget whose consent has expired: nobody is compared with them any more."""
        self._check_open()
        self._people.sweep(self._clock.now())

    def _check_consent(self, consent: Consent | None) -> Consent:
        if not isinstance(consent, Consent):
            raise ConsentMissingError("nobody is enrolled without consent", hint="record it and pass a Consent")
        if not consent.valid_at(self._clock.now()):
            raise ConsentMissingError("the consent has expired or is not given yet", hint="check its dates")
        if consent.legal_basis == "demonstration" and "demonstration" not in self._marks:
            raise ConsentMissingError(
                "a demonstration is no legal basis for enrolling somebody", hint="record the consent of the person"
            )
        return consent

    def _enroll_frame(self, subject: str, frame: Frame, templates: list[Template]) -> str | None:
        """Append the frame's template, or say why it is not usable."""
        probe = self._probe(frame)
        if probe.template is None:
            return probe.reason
        if probe.liveness == "uncertain":
            probe.template.wipe()
            return "liveness_uncertain"
        # One frame of somebody else would open the gate to them for good.
        similarities = [compare(probe.template, template) for template in templates]
        best = self._people.best(probe.template, subject)
        if best is not None:
            similarities.append(best[1])
        if similarities and max(similarities) < self._threshold:
            probe.template.wipe()
            return "inconsistent"
        templates.append(probe.template)
        return None

    def _duplicate(self, subject: str, templates: Sequence[Template]) -> str | None:
        """Another person who is enrolled with the same face."""
        for template in templates:
            best = self._people.best(template, besides=subject)
            if best is not None and best[1] >= self._threshold:
                return best[0]
        return None

    def _trial(self, subject: str | None, frame: Frame) -> _Finding:
        """Compare a frame with one person, or with everybody (None)."""
        now = self._clock.monotonic()
        if self._lockout.locked(subject, now):
            return _Finding("rejected", ("locked_out",))
        probe = self._probe(frame)
        if probe.template is None:
            if probe.reason == "liveness_spoof":
                self._lockout.failed(subject, now)
            return _Finding("rejected", (probe.reason,) if probe.reason else (), liveness=probe.liveness)
        best = self._people.best(probe.template, subject)
        probe.template.wipe()
        uncertain: tuple[Reason, ...] = ("liveness_uncertain",) if probe.liveness == "uncertain" else ()
        if best is None or best[1] < self._threshold:
            self._lockout.failed(subject, now)
            return _Finding("no_match", ("below_threshold", *uncertain), liveness=probe.liveness)
        if uncertain:
            # Neither a failure nor a success: a person decides, and the count of failures stays.
            return _Finding("review", uncertain, liveness=probe.liveness)
        self._lockout.succeeded(subject)
        return _Finding("match", subject=best[0], liveness=probe.liveness)

    def _probe(self, frame: Frame) -> _Probe:
        """The one face of a frame that may be compared; what comes first in this list of reasons is told."""
        if not isinstance(frame, Frame):
            raise FrameError("a gate looks at a Frame", hint="load_image makes one of a file")
        faces = self._pipeline.detect(frame)
        if not faces:
            return _Probe("no_face")
        if len(faces) > 1 and self._policy.one_face_only:
            return _Probe("several_faces")
        face = max(faces, key=_area)
        if self._policy.quality.reasons(self._pipeline.measure(frame, face)):
            return _Probe("low_quality")
        liveness: Liveness = "not_checked"
        if self._policy.require_liveness:
            liveness = self._judge(self._pipeline.liveness(frame, face).live)
            if liveness == "spoof":
                # Before the comparison: an attack learns nothing about how similar it is.
                return _Probe("liveness_spoof", liveness)
        return _Probe(None, liveness, self._pipeline.embed(frame, face))

    def _judge(self, live: float) -> Liveness:
        policy = self._policy
        if policy.live_at is not None and live >= policy.live_at:
            return "live"
        # NaN, which no model should give, is neither and ends here as an attack.
        return "uncertain" if policy.spoof_at is not None and live > policy.spoof_at else "spoof"

    def _decide(self, kind: Kind, finding: _Finding) -> SignedDecision:
        """Number, date and sign what was found."""
        now = self._clock.now()
        self._sequence += 1
        decision = Decision(
            id=str(self._ids.new(int(now.timestamp() * 1000))),
            device=self._device_id,
            sequence=self._sequence,
            time=format_time(now),
            kind=kind,
            outcome=finding.outcome,
            subject=finding.subject,
            reasons=finding.reasons,
            liveness=finding.liveness,
            bundle=self._bundle_id,
            policy=self._policy_id,
            marks=self._marks,
        )
        return SignedDecision(decision, sign_decision(decision, self._device))


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box.tolist()
    return float((x2 - x1) * (y2 - y1))


def _no_reference(what: str) -> SubjectError:
    return SubjectError(
        f"{what} is no reference",
        hint="1 to 64 letters, digits, dots, dashes, underscores, the first a letter or digit: a pseudonym, not a name",
    )
