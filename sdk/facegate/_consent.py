"""The record without which nobody is enrolled."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, get_args

from facegate._decision import is_reference
from facegate.errors import ConsentMissingError

__all__ = ["Consent", "LegalBasis"]

# The first three are those of GDPR Art. 9(2) that access control can rest on: (a), (b), (g). The last is none: only a
# gate that is marked as a demonstration accepts it.
LegalBasis = Literal["explicit_consent", "employment_law", "public_interest", "demonstration"]

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_PURPOSE = 200
# What every calendar and every time zone can show, and the store can count.
_FIRST = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST = datetime(9999, 12, 31, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Consent:
    """That a person agreed to be recognized: to what, on which basis, when, who took it, and until when.

    Attributes:
        purpose: what for, in the words that the person was told; 1 to 200 characters. A gate takes the consent only if
            these are the words of its declaration.
        legal_basis: one of `LegalBasis`.
        text_version: which version of the text was agreed to, by the operator's name for it, such as "entrance-2".
        text_sha256: sha256 (hex) of that text, which the operator keeps.
        given_at: when, with a time zone; from 1970 on.
        taken_by: the reference of who took it.
        expires_at: until when; from then on the person is not recognized any more. None: until they are erased.
        guardian: the reference of a minor's guardian, who gave it in their place.

    Raises:
        ConsentMissingError: a part of the record is missing or cannot be meant.
    """

    purpose: str
    legal_basis: LegalBasis
    text_version: str
    text_sha256: str
    given_at: datetime
    taken_by: str
    expires_at: datetime | None = None
    guardian: str | None = None

    def __post_init__(self) -> None:
        """Refuse a record that records nothing."""
        _require(isinstance(self.purpose, str) and 0 < len(self.purpose.strip()) <= _MAX_PURPOSE, "purpose")
        _require(self.legal_basis in get_args(LegalBasis), "legal_basis")
        _require(is_reference(self.text_version), "text_version")
        _require(isinstance(self.text_sha256, str) and _SHA256.fullmatch(self.text_sha256) is not None, "text_sha256")
        for name in ("given_at", "expires_at"):
            moment = getattr(self, name)
            aware = isinstance(moment, datetime) and moment.utcoffset() is not None and _FIRST <= moment < _LAST
            _require(aware or (name == "expires_at" and moment is None), name)
        _require(is_reference(self.taken_by), "taken_by")
        _require(self.expires_at is None or self.expires_at > self.given_at, "expires_at")
        _require(self.guardian is None or is_reference(self.guardian), "guardian")

    @classmethod
    def to_text(
        cls,
        text: str,
        *,
        purpose: str,
        legal_basis: LegalBasis,
        text_version: str,
        given_at: datetime,
        taken_by: str,
        expires_at: datetime | None = None,
        guardian: str | None = None,
    ) -> Consent:
        """The record of a consent to `text`, hashed and not kept. Raises ConsentMissingError: see the class."""
        _require(isinstance(text, str) and bool(text.strip()), "text")
        # "surrogatepass": whatever a file's name or a form gave, it has a hash; of usual text that of its UTF-8.
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(purpose, legal_basis, text_version, digest, given_at, taken_by, expires_at, guardian)

    def valid_at(self, now: datetime) -> bool:
        """Whether it was given by `now` and has not expired."""
        return self.given_at <= now and not self.expired_at(now)

    def expired_at(self, now: datetime) -> bool:
        """Whether it has run out by `now`."""
        return self.expires_at is not None and now >= self.expires_at


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise ConsentMissingError(
            f"the record of consent lacks a valid {name}", hint="record the consent before enrolling anybody"
        )
