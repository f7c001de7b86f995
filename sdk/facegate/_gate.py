"""A gate: it opens a role to whoever shows the credential for it, and does nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate._core import GateCore, check_identity
from facegate._credentials import ROLES, Credential, add_credential

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate._administrator import Administrator
    from facegate._clock import Clock
    from facegate._credentials import Role
    from facegate._declaration import Declaration
    from facegate._enroller import Enroller
    from facegate._examiner import GatePipeline
    from facegate._policy import Policy
    from facegate._privacy_officer import PrivacyOfficer
    from facegate._recognizer import Recognizer
    from facegate._reviewer import Reviewer
    from facegate_edge._bundle import Bundle
    from facegate_edge._keys import SigningKey
    from facegate_edge._timings import Timings

__all__ = ["Gate", "GateStatus"]


@dataclass(frozen=True, slots=True)
class GateStatus:
    """How a gate is; nothing about anybody. What can be told without a credential.

    Attributes:
        device_id: the device's reference.
        demonstration: whether every decision is marked as not real.
        people: how many are enrolled.
        decisions: how many were made.
        waiting: how many of them wait in the outbox.
        reviews: how many wait for a person to look.
        outdated: how many templates are of another template space: never compared, to be enrolled again.
        clock: "" if the clock is believed; else "back" or "forward": it is not, and nothing is deleted by its time.
        declaration: id of the declaration of intended use.
        purpose: what the gate is for.
        target: the kind of machine that its bundle was built for.
    """

    device_id: str
    demonstration: bool
    people: int
    decisions: int
    waiting: int
    reviews: int
    outdated: int
    clock: str
    declaration: str
    purpose: str
    target: str


class Gate:
    """People's templates, rules and a device's key, behind roles.

    A role is opened with its credential, never assumed: `gate.recognizer(credential)` gives what a terminal needs,
    `enroller`, `reviewer`, `privacy_officer` and `administrator` what these people need, and none anything else.
    (Within one Python process that is a guard against mistakes; against an attacker in the process nothing is.)

    `open_gate` opens a gate's folder, `Gate.in_memory` makes one that forgets everything when it is closed.
    """

    def __init__(self, core: GateCore) -> None:
        self._core = core

    @classmethod
    def in_memory(
        cls,
        bundle: Bundle,
        policy: Policy,
        device: SigningKey,
        *,
        device_id: str,
        declaration: Declaration | None = None,
        clock: Clock | None = None,
        pipeline: GatePipeline | None = None,
        timings: Timings | None = None,
        demonstration: bool = False,
    ) -> tuple[Gate, dict[Role, Credential]]:
        """A gate that writes nothing to any disk, and a credential for each of its roles.

        Args:
            bundle: an opened bundle. It stays the caller's to close, after the gate.
            policy: the rules.
            device: the key that signs decisions.
            device_id: the device's reference in decisions, 1 to 64 letters, digits, dots, dashes, underscores.
            declaration: what the gate is for; None: a demonstration.
            clock: where the time comes from.
            pipeline: the models in use; made of the bundle, and closed with the gate, if None.
            timings: records where the time goes, in the pipeline that the gate makes.
            demonstration: mark every decision as not real, and accept enrolment without a legal basis. A bundle with a
                model that is for demonstrations only does so whatever is said here, and whoever signed it.

        Raises:
            PolicyError, SubjectError, KeyTypeError, ModelError, EngineError: see `GateCore`.
        """
        from facegate._clock import SystemClock  # noqa: PLC0415 - what a gate on disk has already loaded otherwise
        from facegate._declaration import Declaration  # noqa: PLC0415
        from facegate._settings import write_setting  # noqa: PLC0415
        from facegate._store._audit import Audit  # noqa: PLC0415
        from facegate._store._store import Store  # noqa: PLC0415

        check_identity(device_id, device)
        policy.check(bundle.manifest)
        clock = clock if clock is not None else SystemClock()
        declared = declaration if declaration is not None else Declaration.demonstration()
        owned = None
        if pipeline is None:
            from facegate_edge._pipeline import Pipeline  # noqa: PLC0415 - the engine is not needed with a given one

            owned = pipeline = Pipeline(bundle, timings=timings)
        store = None
        try:
            store = Store.memory(device_id, pipeline.space, pipeline.template_length, clock=clock)
            credentials = {role: Credential.new(role) for role in ROLES}
            with store.db.transaction() as tx:
                Audit(store.db, device, clock).begin(tx, role="gate", details={"device": device_id})
                for role, credential in credentials.items():
                    add_credential(tx, credential, role, clock.now())
                if declared.minors:
                    write_setting(tx, "ask_age", value=True)
            core = GateCore(
                *(bundle, policy, device, store),
                device_id=device_id,
                declaration=declared,
                clock=clock,
                pipeline=pipeline,
                owns_pipeline=owned is not None,
                demonstration=demonstration,
            )
        except BaseException:
            if store is not None:
                store.close()
            if owned is not None:
                owned.close()
            raise
        return cls(core), credentials

    def recognizer(self, credential: Credential) -> Recognizer:
        """Detect, verify, identify.

        Raises:
            RoleError: the credential is not for this role, or not known, or too many wrong ones were shown.
            GateClosedError: the gate is closed.
        """
        from facegate._recognizer import Recognizer  # noqa: PLC0415 - each role loads what it needs

        return Recognizer(self._core, self._core.open_role("recognizer", credential))

    def enroller(self, credential: Credential) -> Enroller:
        """People, their faces and consents, groups and lists. Raises as `recognizer` does."""
        from facegate._enroller import Enroller  # noqa: PLC0415

        return Enroller(self._core, self._core.open_role("enroller", credential))

    def reviewer(self, credential: Credential) -> Reviewer:
        """Decisions that a person must look at, and reports of wrong ones. Raises as `recognizer` does."""
        from facegate._reviewer import Reviewer  # noqa: PLC0415

        return Reviewer(self._core, self._core.open_role("reviewer", credential))

    def privacy_officer(self, credential: Credential) -> PrivacyOfficer:
        """The rights of people, and retention. Raises as `recognizer` does."""
        from facegate._privacy_officer import PrivacyOfficer  # noqa: PLC0415

        return PrivacyOfficer(self._core, self._core.open_role("privacy_officer", credential))

    def administrator(self, credential: Credential) -> Administrator:
        """Credentials, settings, keys, backups, the outbox. Raises as `recognizer` does."""
        from facegate._administrator import Administrator  # noqa: PLC0415

        return Administrator(self._core, self._core.open_role("administrator", credential))

    def status(self) -> GateStatus:
        """How the gate is. Raises GateClosedError."""
        core = self._core
        with core.reading():
            db = core.store.db
            ((people,),) = db.read("SELECT count(*) FROM person WHERE lapsed = 0")
            ((decisions,),) = db.read("SELECT sequence FROM state")
            ((reviews,),) = db.read("SELECT count(*) FROM decision WHERE review = 'open'")
            return GateStatus(
                device_id=core.device_id,
                demonstration=core.demonstration,
                people=people,
                decisions=decisions,
                waiting=core.outbox.waiting(),
                reviews=reviews,
                outdated=len(core.store.outdated()),
                clock=core.now().cause,
                declaration=core.declaration.id,
                purpose=core.declaration.purpose,
                target=core.manifest.target,
            )

    def close(self) -> None:
        """Wipe all that is in memory, and free the pipeline if the gate made it. A second call does nothing."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gate({self._core.device_id})"
