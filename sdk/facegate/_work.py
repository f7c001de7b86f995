"""What goes into and comes out of a gate's operations: whom to search, what a trial came to, what is being written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from facegate._clock_guard import TrustedTime
    from facegate._decision import Liveness, Outcome, Reason
    from facegate._store._database import Transaction

__all__ = ["Among", "Finding", "Work"]

_Details = Mapping[str, "str | int | bool | None"]


class Among(TypedDict, total=False):
    """Whom a search is among, as `Index.best` takes it: row ids; neither is everybody."""

    persons: Collection[int]
    groups: Collection[int]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a trial came to, before it is a decision.

    Attributes:
        outcome, reasons, subject, liveness: as in `Decision`.
        about: the person whom the audit log names, also where the decision names nobody.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    subject: str | None = None
    liveness: Liveness = "not_checked"
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One operation while it is being written.

    Attributes:
        tx: the store's transaction.
        now: the time that counts.
        role, label: whose operation it is: the role, and the label of the credential that opened it.
    """

    tx: Transaction
    now: TrustedTime
    role: str
    label: str
    append: Callable[..., int]

    @property
    def ms(self) -> int:
        """The time that counts, in milliseconds since 1970."""
        return self.now.ms

    def log(self, action: str, reference: str | None = None, details: _Details | None = None) -> None:
        """Write an entry of the audit log, in the same transaction. No biometric data, no secret."""
        said = {**(details or {}), "by": self.label} if self.label else details
        self.append(self.tx, role=self.role, action=action, reference=reference, details=said)
