"""What a sink is, and the one thing that it takes."""

from __future__ import annotations

import re
from typing import Protocol

from facegate._decision import Decision, SignedDecision
from facegate.errors import DecisionSchemaError
from facegate_edge._keys import b64url_encode

__all__ = ["Sink", "encode", "require_signed"]

_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Sink(Protocol):
    """Where decisions go when they leave the device.

    A sink takes a `SignedDecision` and nothing else, calls `require_signed` before anything, and returns when the
    decision is safe on the other side, or raises `SinkError`. It may be given the same decision again.
    """

    @property
    def name(self) -> str:
        """What the sink is, for people; without a secret."""

    def deliver(self, decision: SignedDecision) -> None:
        """Hand a decision over. Raises SinkError: it was not taken, or nobody knows; it will be sent again."""


def require_signed(signed: SignedDecision) -> Decision:
    """The decision of exactly a `SignedDecision`, whose JWS is about it.

    The JWS's signature is not checked here: the outbox does, and the receiver.

    Raises:
        TypeError: it is something else, or a subclass, which could carry more out.
        DecisionSchemaError: what it holds is no decision, or its JWS is about another one.
    """
    if type(signed) is not SignedDecision:
        raise TypeError("a sink takes a SignedDecision and nothing else")
    if type(signed.decision) is not Decision or type(signed.jws) is not str:
        raise DecisionSchemaError("what is to be sent holds something else than a decision")
    parts = signed.jws.split(".")
    # `to_json` checks every field again: `object.__setattr__` reaches into frozen objects.
    if (
        len(parts) != 3  # noqa: PLR2004 - header, payload, signature
        or parts[1] != b64url_encode(signed.decision.to_json().encode("ascii"))
        or not all(_PART.fullmatch(part) for part in parts)
    ):
        raise DecisionSchemaError("the signed text is not about this decision")
    return signed.decision


def encode(signed: SignedDecision) -> bytes:
    """What is sent: one JSON object without line breaks, the decision to read and the JWS to verify.

    Raises:
        TypeError, DecisionSchemaError: see `require_signed`.
    """
    return f'{{"decision":{require_signed(signed).to_json()},"jws":"{signed.jws}"}}'.encode("ascii")
