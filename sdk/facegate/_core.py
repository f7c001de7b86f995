"""What every role of a gate shares: models, rules, store, time, audit log and outbox; and how anything is written.

There is one way to write, `GateCore.operation`: under the gate's lock, at a time that the gate believes, in one
transaction of the store. What it wrote is on the disk when it ends without an error; if it raises, nothing has
happened. A decision is made in the same way, so no answer is ever given that was not recorded.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from facegate._captured import Captured
from facegate._clock import SystemClock
from facegate._clock_guard import ClockGuard
from facegate._credentials import Credential, accepts
from facegate._decision import Decision, SignedDecision, format_time, is_reference, sign_decision
from facegate._examiner import Examiner
from facegate._limits import WINDOW, RateLimit
from facegate._lockout import Lockout
from facegate._retention import Retention, sweep
from facegate._settings import read_setting
from facegate._store._audit import Audit
from facegate._store._outbox import Outbox
from facegate._uuid7 import Uuid7Source
from facegate._work import Among, Finding, Work
from facegate.errors import GateClosedError, GroupError, KeyTypeError, RoleError, SubjectError
from facegate_edge._keys import SigningKey

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from typing_extensions import Self

    from facegate._clock import Clock
    from facegate._clock_guard import TrustedTime
    from facegate._credentials import Role
    from facegate._decision import Kind, Mark, Reason
    from facegate._declaration import Declaration
    from facegate._examiner import GatePipeline
    from facegate._policy import Policy
    from facegate._store._database import Transaction
    from facegate._store._store import PersonRow, Store
    from facegate_edge._bundle import Bundle
    from facegate_edge._values import Template

__all__ = ["Among", "Finding", "GateCore", "Work", "no_reference"]

_MAX_REFUSED = 10  # wrong credentials a minute, after which none is looked at
_DAY_MS = 86_400_000
_SWEEP_EVERY = 3600.0  # seconds
_MAX_SEARCH = 1024
_RECENT_TRIALS = """
SELECT time FROM audit
WHERE seq > (SELECT max(seq) FROM audit) - 20000 AND time > ?
AND action IN ('decision', 'candidates', 'find_similar') AND details NOT LIKE '%rate_limited%'
"""


class GateCore:
    """The shared inside of a gate. Who holds it can do everything: facades hold it, callers never do.

    Thread-safe through `lock`: it takes one operation after the other, because the models' memory can serve only one.

    Args:
        bundle: an opened bundle. It stays the caller's to close, after the gate.
        policy: the rules.
        device: the key that signs decisions and the audit log.
        store: the gate's store; closed with the gate from here on.
        device_id: the device's reference in decisions, 1 to 64 letters, digits, dots, dashes, underscores.
        declaration: what the gate is for.
        clock: where the time comes from.
        pipeline: the models in use.
        owns_pipeline: whether they are closed with the gate.
        demonstration: mark every decision as not real. A bundle with a model that is for demonstrations only does so
            whatever is said here, and whoever signed it.
        folder: the gate's, None for one in memory.

    Raises:
        PolicyError: the bundle has no operating point for the policy, or no liveness model that it requires.
        SubjectError: `device_id` is no reference.
        KeyTypeError: `device` is no private key.
        StoreError: the store cannot be written. Store and pipeline stay open then.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        device: SigningKey,
        store: Store,
        *,
        device_id: str,
        declaration: Declaration,
        pipeline: GatePipeline,
        owns_pipeline: bool,
        clock: Clock | None = None,
        demonstration: bool = False,
        folder: Path | None = None,
    ) -> None:
        check_identity(device_id, device)
        self.manifest = bundle.manifest
        self.threshold = policy.check(bundle.manifest)
        self.policy = policy
        self.policy_id = policy.id
        self.bundle_id = bundle.id
        self.device = device
        self.device_id = device_id
        self.declaration = declaration
        self._declaration_id = declaration.id
        self.folder = folder
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.demonstration = demonstration or bundle.manifest.demonstration
        marks: tuple[tuple[Mark, bool], ...] = (
            ("demonstration", self.demonstration),
            ("development", bundle.development),
        )
        self._marks = tuple(mark for mark, applies in marks if applies)
        self._pipeline = pipeline
        self._owns_pipeline = owns_pipeline
        self.store = store
        self.lock = threading.RLock()
        self.guard = ClockGuard(store.db, self.clock, max_gap_days=read_setting(store.db, "clock_gap_days"))
        believed = _BelievedClock(self.guard, self.clock)
        store.believe(believed)
        self.audit = Audit(store.db, device, believed)
        self.outbox = Outbox(store.db, believed, keys=device.verify_key, lock=self.lock)
        self.examiner = Examiner(pipeline, policy, store)
        self.lockout = Lockout(store.db, policy, self.clock)
        self.captured = Captured(self.lock, self.clock.monotonic)
        self.on_decision: Callable[[], object] = _nothing  # told when one has been committed
        self._ids = Uuid7Source(_last_id(store))
        self._closed = False
        self._pid = os.getpid()
        self._retention: Retention | None = None
        self._sweep_at = float("inf")
        self._inside = 0  # how many of `reading` are open, one in the other
        self._refused = RateLimit(_MAX_REFUSED)
        self.rate = self._resume()
        self._sweep_at = float("-inf")  # not before: a dry run of the sweeper, right after opening, shows what is due

    # --- the ways in -------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise GateClosedError if the gate is closed, or belongs to another process."""
        if self._closed:
            raise GateClosedError("the gate is closed", hint="open it again; one in memory has forgotten everybody")
        if os.getpid() != self._pid:
            # Two processes would sign different decisions with the same sequence number.
            raise GateClosedError("the gate belongs to another process", hint="open gates after forking")

    @contextmanager
    def reading(self, label: str = "") -> Iterator[None]:
        """Under the lock, after a sweep if one is due. For what only reads, and for the models' work.

        Args:
            label: of the credential that opened the role, if it is a role that reads.

        Raises:
            GateClosedError: see `check_open`.
            RoleError: that credential was revoked since.
        """
        with self.lock:
            self.check_open()
            self.check_role(label)
            now = self.clock.monotonic()
            # Not in the middle: whoever came in before must find the people whom they found.
            if self._inside == 0 and now >= self._sweep_at:
                self._sweep_at = now + _SWEEP_EVERY  # first: the sweep comes in here as well
                sweep(self)
            self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1

    @contextmanager
    def operation(self, role: str, label: str) -> Iterator[Work]:
        """The way in for everything that writes: one transaction, committed when it ends.

        Raises:
            GateClosedError: see `check_open`.
            StoreError: it could not be written, and nothing has happened.
            RoleError: the credential that opened the role was revoked since.
        """
        with self.reading(label):
            with self.store.db.transaction() as tx:
                now = self.guard.check(tx)
                if now.changed:
                    action = "clock_suspect" if now.suspect else "clock_trusted"
                    self.audit.append(tx, role="gate", action=action, details={"cause": now.cause or None})
                yield Work(tx, now, role, str(label), self.audit.append)
            if role != "recognizer":
                self._retention = None  # a setting may be another one

    def open_role(self, role: Role, credential: Credential) -> str:
        """The label under which the credential opens the role.

        Raises:
            RoleError: it does not; or too many wrong ones were shown in the last minute, and none is looked at.
        """
        with self.lock:
            self.check_open()
            now = self.clock.monotonic()
            if self._refused.reached(now):
                raise RoleError("too many wrong credentials", hint="wait a minute; the audit log says when they came")
            fits = isinstance(credential, Credential) and credential.role == role
            label = accepts(self.store.db, role, credential) if fits else None
            if label is None:
                self._refused.count(now)
                with self.operation("gate", "") as work:
                    work.log("credential_refused", details={"role": role})
                raise RoleError(
                    f"this credential does not open the role {role}", hint="every role has a credential of its own"
                )
            return _Opened(label, self.store.db.read("SELECT id FROM credential WHERE label = ?", label)[0][0])

    def check_role(self, label: str) -> None:
        """Raise RoleError if the credential that opened a role was revoked since, whoever has its label now."""
        if isinstance(label, _Opened) and not self.store.db.read("SELECT 1 FROM credential WHERE id = ?", label.row):
            raise RoleError(
                "the credential that opened this role was revoked", hint="open the role with one that is valid"
            )

    # --- time, settings, people ----------------------------------------------------------------------------------

    def now(self) -> TrustedTime:
        """The time that counts. What the law asks for goes by it, and never by the machine's clock alone."""
        return self.guard.now()

    def setting(self, name: str) -> Any:
        """A setting's value, or its default."""
        return read_setting(self.store.db, name)

    def refusal(self, person: PersonRow, now: TrustedTime) -> Reason | None:
        """Why that person is not compared with anybody, by the time that counts; None if they may be."""
        if person.restricted:
            return "restricted"
        if person.lapsed or self._consent_over(person, now):
            return "consent_missing"
        return "unknown_subject" if self.retention_rules().person_expired(person.used, now.ms) else None

    def groups(self, names: Sequence[str] | None) -> Among:
        """The people of these groups, or everybody, to search among. Raises GroupError."""
        if names is None:
            return {}
        if isinstance(names, str) or not isinstance(names, Collection) or not names:
            raise GroupError("groups are given as a list of names, one at least", hint="leave them out for everybody")
        found = [self.store.group(name) if is_reference(name) else None for name in names]
        if None in found:
            raise GroupError("there is no such group", hint="an enroller can list the groups")
        return {"groups": frozenset(group.id for group in found if group is not None)}

    def similar_people(self, template: Template, among: Among, k: int) -> list[PersonRow]:
        """The k most similar people above the threshold, most similar first, without those who may not be compared."""
        now, wanted = self.now(), k
        while True:
            matches = self.store.index.best(template, **among, k=wanted)
            similar = [match for match in matches if match.similarity >= self.threshold]
            people = [person for match in similar if (person := self.store.person_by_id(match.owner)) is not None]
            allowed = [person for person in people if self.refusal(person, now) is None]
            if len(allowed) >= k or len(similar) < wanted or wanted >= _MAX_SEARCH:
                return allowed[:k]
            wanted = min(2 * wanted + 8, _MAX_SEARCH)  # some were passed over: who comes next may be similar enough

    def similar_faces(self, template: Template, face_list: int, k: int) -> list[int]:
        """Row ids of the k most similar faces of a list, as far as they are above the threshold and to be kept."""
        matches = self.store.index.similar(template, face_list, k=k)
        found = [match.face for match in matches if match.similarity >= self.threshold]
        rules, now = self.retention_rules(), self.now().ms
        sql = "SELECT added FROM face WHERE id = ?"
        return [face for face in found if not rules.list_face_expired(self.store.db.read(sql, face)[0][0], now)]

    def retention_rules(self) -> Retention:
        """For how long what is kept, as it is set."""
        if self._retention is None:
            self._retention = Retention.read(self.store.db)
        return self._retention

    def _consent_over(self, person: PersonRow, now: TrustedTime) -> bool:
        """Whether the person's latest consent has run out, swept or not, or there is none."""
        rows = self.store.db.read("SELECT expires FROM consent WHERE person = ? ORDER BY id DESC LIMIT 1", person.id)
        return not rows or (rows[0][0] is not None and now.ms >= rows[0][0])

    # --- decisions -----------------------------------------------------------------------------------------------

    def decide(self, work: Work, kind: Kind, finding: Finding, *, refers_to: str | None = None) -> SignedDecision:
        """Number, date and sign what was found; into the outbox and the audit log, in the operation's transaction.

        Give it to the caller only when the operation has ended: it has not happened before.
        """
        marks: tuple[Mark, ...] = ("clock", *self._marks) if work.now.suspect else self._marks
        decision = Decision(
            id=str(self._ids.new(work.ms)),
            device=self.device_id,
            sequence=_next_sequence(work.tx),
            time=format_time(work.now.time),
            kind=kind,
            outcome=finding.outcome,
            subject=finding.subject,
            reasons=finding.reasons,
            liveness=finding.liveness,
            bundle=self.bundle_id,
            policy=self.policy_id,
            declaration=self._declaration_id,
            marks=marks,
            refers_to=refers_to,
        )
        signed = SignedDecision(decision, sign_decision(decision, self.device))
        self.outbox.put(work.tx, signed, review=finding.outcome == "review")
        work.tx.after_commit(self.on_decision)
        about = finding.subject if finding.subject is not None else finding.about
        work.log(
            "decision",
            about,
            {
                "decision": decision.id,
                "kind": kind,
                "outcome": finding.outcome,
                "reasons": ",".join(finding.reasons) or None,
                **({"refers_to": refers_to} if refers_to is not None else {}),
            },
        )
        return signed

    def note_use(self, work: Work, person: PersonRow) -> None:
        """Remember that the person was matched, at most once a day: what is kept is the day, not every passage."""
        if work.ms - person.used >= _DAY_MS:
            work.tx.update("person", person.id, used=work.ms)

    # --- its life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wipe what is in memory, close the store, free the pipeline if the gate made it. Twice does nothing.

        In a process that was forked from the gate's it only ends the gate there: memory and file are the other's.
        """
        with self.lock:
            if self._closed:
                return
            self._closed = True
            if os.getpid() != self._pid:
                return
            self.on_decision()  # what waits for decisions need not wait any longer
            self.captured.clear()
            self.lockout.pause()
            try:
                self.store.close()
            finally:
                if self._owns_pipeline:
                    self._pipeline.close()

    def _resume(self) -> RateLimit:
        """What a start must not undo: running lock-outs, and how often the gate was asked in the last minute."""
        with self.operation("gate", "") as work:
            self.lockout.resume(work.tx)
            work.log("opened", details={"device": self.device_id, "bundle": self.bundle_id, "policy": self.policy_id})
            rows = work.tx.execute(_RECENT_TRIALS, work.ms - int(WINDOW * 1000)).fetchall()
            ages = [(work.ms - time) / 1000 for (time,) in rows]
        return RateLimit(self.policy.max_trials_per_minute, ages=ages, now=self.clock.monotonic())


def _nothing() -> None:
    pass


def _last_id(store: Store) -> uuid.UUID | None:
    """The id of the last decision: those to come sort after it, also if the clock went back between."""
    rows = store.db.read("SELECT id FROM decision ORDER BY sequence DESC LIMIT 1")
    return uuid.UUID(rows[0][0]) if rows else None


def _next_sequence(tx: Transaction) -> int:
    # In the store's state, which its tally covers: a number is never given twice, whatever is put back.
    (number,) = tx.execute("UPDATE state SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence").fetchone()
    return int(number)


class _Opened(str):
    """The label under which a role was opened, and the row of its credential: the label may be another's by now."""

    __slots__ = ("row",)
    row: int

    def __new__(cls, label: str, row: int) -> Self:
        opened = super().__new__(cls, label)
        opened.row = row
        return opened


class _BelievedClock:
    """The time that the gate believes, for what writes it down."""

    def __init__(self, guard: ClockGuard, clock: Clock) -> None:
        self._guard = guard
        self.monotonic = clock.monotonic

    def now(self) -> datetime:
        return self._guard.now().time


def check_identity(device_id: str, device: SigningKey) -> None:
    """Refuse a device that could not sign, before anything is made for it. Raises SubjectError, KeyTypeError."""
    if not is_reference(device_id):
        raise no_reference("device_id")
    if not isinstance(device, SigningKey):
        # Not with the first decision, when people are enrolled already.
        raise KeyTypeError("decisions are signed with a SigningKey", hint="SigningKey.load reads a private key")


def no_reference(what: str) -> SubjectError:
    """The error for what should be a reference and is none."""
    return SubjectError(
        f"{what} is no reference",
        hint="1 to 64 letters, digits, dots, dashes, underscores, the first a letter or digit: a pseudonym, not a name",
    )
