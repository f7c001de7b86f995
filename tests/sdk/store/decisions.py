"""Decisions as a gate signs them, made up."""

from __future__ import annotations

from facegate import Decision, SignedDecision, SigningKey, sign_decision
from facegate._decision import format_time
from facegate._uuid7 import Uuid7Source

from .audit_log import DEVICE, START

_IDS = Uuid7Source()


def make_signed(sequence: int = 1, key: SigningKey = DEVICE, **changes) -> SignedDecision:
    """A match, signed by the device."""
    fields = {
        "id": str(_IDS.new(sequence)),
        "device": "door-1",
        "sequence": sequence,
        "time": format_time(START),
        "kind": "identify",
        "outcome": "match",
        "subject": f"p-{sequence}",
        "reasons": (),
        "liveness": "live",
        "bundle": "a" * 64,
        "policy": "b" * 64,
        "declaration": "c" * 64,
    }
    decision = Decision(**(fields | changes))
    return SignedDecision(decision, sign_decision(decision, key))


class ListSink:
    """Keeps what it is given; fails when it is told to.

    Attributes:
        taken: sequence numbers, in the order in which they came.
        fail: raised instead of taking the next decision, then forgotten.
    """

    name = "list"

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.ids: list[str] = []
        self.fail: BaseException | None = None
        self.fail_after: BaseException | None = None

    def deliver(self, decision: SignedDecision) -> None:
        """Take it, or fail before or after."""
        failure, self.fail = self.fail, None
        if failure is not None:
            raise failure
        self.taken.append(decision.decision.sequence)
        self.ids.append(decision.decision.id)
        failure, self.fail_after = self.fail_after, None
        if failure is not None:
            raise failure
