"""What every part of the enroller's role needs: the gate, a person by reference, a consent that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate._consents import check_consent
from facegate._core import no_reference
from facegate._decision import is_reference
from facegate.errors import ConsentExpiredError, EnrollError, GuardianConsentError, SubjectError

if TYPE_CHECKING:
    from facegate._clock_guard import TrustedTime
    from facegate._consent import Consent
    from facegate._core import GateCore
    from facegate._store._store import PersonRow
    from facegate.errors import GroupError, ListError

__all__ = ["Desk", "check_name", "check_reference"]


class Desk:
    """The ground that `Enroller` stands on. The gate's lock is held where these are called.

    Args:
        gate: the gate's inside.
        label: of the credential that opened the role.
    """

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    def _person(self, reference: str) -> PersonRow:
        check_reference(reference)
        person = self._gate.store.person(reference)
        if person is None:
            raise SubjectError("no such person is enrolled", hint="`people` lists the references")
        return person

    def _check_consent(self, consent: Consent | None, now: TrustedTime | None = None) -> Consent:
        """The consent, if it counts now, or at the time of an operation."""
        gate = self._gate
        now = gate.now() if now is None else now
        try:
            return check_consent(consent, gate.declaration, now.time, demonstration=gate.demonstration)
        except ConsentExpiredError as error:
            if not now.suspect:
                raise
            hint = "the gate does not believe the device's clock: see `facegate gate status`, then set or accept it"
            raise ConsentExpiredError(str(error), hint=hint) from None

    def _check_age_said(self, minor: bool | None) -> None:
        """Raise EnrollError unless it was said whether somebody is a minor, if it has to be."""
        if minor is not None and type(minor) is not bool:
            raise EnrollError("minor is True, False or None", hint="say whether the person is a minor")
        if minor is None and self._gate.setting("ask_age"):
            raise EnrollError(
                "it was not said whether the person is a minor",
                hint=f"younger than {self._gate.setting('age_limit')} years: minor=True (--minor); else minor=False "
                "(--adult)",
            )

    def _check_minors_declared(self) -> None:
        """Raise GuardianConsentError if the gate was declared to be for no minors: no guardian's consent counts then.

        A demonstration may: it recognizes nobody.
        """
        declaration = self._gate.declaration
        if not declaration.minors and declaration.legal_basis != "demonstration":
            raise GuardianConsentError(
                "this gate was declared to be for no minors, so that no guardian can agree",
                hint="what a gate is declared for does not change: for minors make another gate",
            )


def check_reference(reference: object) -> None:
    """Raise SubjectError if it is no reference."""
    if not is_reference(reference):
        raise no_reference("reference")


def check_name(name: object, kind: type[GroupError | ListError]) -> None:
    """Raise an error of that kind if it cannot name a group or a list."""
    if not is_reference(name):
        raise kind(
            "this cannot be a name",
            hint="1 to 64 letters, digits, dots, dashes, underscores, the first a letter or digit",
        )
