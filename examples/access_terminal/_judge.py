"""What opens the door: a match that this gate has signed just now, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate import verify_decision
from facegate.errors import DecisionError

if TYPE_CHECKING:
    from facegate import Decision, SignedDecision, VerifyKey

__all__ = ["Judge", "Verdict"]


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What the terminal makes of a decision.

    Attributes:
        subject: whom the door may be opened for; None: for nobody.
        why_not: a word for the status and the log, which never holds a name; empty if it may be opened.
    """

    subject: str | None
    why_not: str = ""


class Judge:
    """Reads decisions as a receiver does that trusts the device's key and nothing else.

    Args:
        key: the device's public key.
        device_id: the device's reference in decisions.
        demonstration: also for decisions that are marked as a demonstration's.
        believed_clock: not for decisions whose time the gate does not believe.
        last: number of the last decision before these: none up to it counts, whoever brings it back.
    """

    def __init__(
        self, key: VerifyKey, device_id: str, *, demonstration: bool, believed_clock: bool, last: int = 0
    ) -> None:
        self._key, self._device_id = key, device_id
        self._harmless = ({"demonstration"} if demonstration else set()) | (set() if believed_clock else {"clock"})
        self._last = last

    def judge(self, signed: SignedDecision) -> Verdict:
        """Whether a decision opens the door, and for whom.

        Only what is signed counts, not the object that came with it. Each decision counts once, and none that is older
        than one that was seen.
        """
        try:
            decision = verify_decision(signed.jws, self._key)
        except DecisionError:
            return Verdict(None, "not_verified")
        if decision.sequence <= self._last:
            return Verdict(None, "seen_before")
        self._last = decision.sequence
        why = self._why_not(decision)
        return Verdict(None if why else decision.subject, why)

    def _why_not(self, decision: Decision) -> str:
        if decision.outcome != "match":
            return decision.outcome
        if decision.device != self._device_id or decision.kind != "identify":
            return "not_ours"
        marks = sorted(set(decision.marks) - self._harmless)
        return marks[0] if marks else ""
