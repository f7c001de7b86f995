"""Erasing a person, and certifying it: who is erased can show it, and a restored backup erases them again by it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from facegate._certificate import ErasureCertificate, hash_reference, new_salt, sign_certificate
from facegate._core import no_reference
from facegate._decision import format_time, is_reference
from facegate._uuid7 import Uuid7Source
from facegate.errors import SubjectError

if TYPE_CHECKING:
    from facegate._certificate import ErasureReason, SignedCertificate
    from facegate._core import GateCore, Work
    from facegate._store._store import PersonRow

__all__ = ["certify_again", "erase", "known_person"]

_ids = Uuid7Source()


def known_person(gate: GateCore, reference: str) -> PersonRow:
    """The person of that reference, enrolled or lapsed. Raises SubjectError."""
    if not is_reference(reference):
        raise no_reference("reference")
    person = gate.store.person(reference)
    if person is None:
        raise SubjectError("no such person is enrolled", hint="`facegate people list` lists the references")
    return person


# What the audit log calls an erasure that is certified: on request, at the desk (twice), of a minor without a guardian.
_ACTIONS = ("person_erased", "withdraw", "remove", "minor_refused")


def erase(
    gate: GateCore, work: Work, reference: str, reason: ErasureReason, *, action: str = "person_erased"
) -> SignedCertificate:
    """Erase a person in the operation's transaction; what was in the files is gone once it has ended.

    Args:
        gate: whose.
        work: the operation; the certificate counts only when it has ended without an error.
        reference: the person's.
        reason: why.
        action: what the audit log calls it, one of `_ACTIONS`.

    Returns:
        The certificate. It is in the audit log by its hash.

    Raises:
        SubjectError: there is no such person.
    """
    person = known_person(gate, reference)
    counts = [
        work.tx.execute(f"SELECT count(*) FROM {table} WHERE person = ?", person.id).fetchone()[0]  # noqa: S608
        for table in ("face", "consent", "membership")
    ]
    signed = _certify(gate, work, reference, reason, counts, format_time(work.now.time), suspect=work.now.suspect)
    gate.store.erase_person(work.tx, person.id)
    gate.lockout.forget(work.tx, reference)
    # Faces that were captured in the last minutes may be this person's, and nobody knows which.
    work.tx.after_commit(gate.captured.clear)
    said: dict[str, str | int | bool | None] = {
        "reason": reason,
        "faces": counts[0],
        "consents": counts[1],
        "groups": counts[2],
        "certificate": _digest(signed),
        "marks": "clock" if work.now.suspect else None,
    }
    if action == "minor_refused":
        said |= {"minor": True, "removed": 1}
    work.log(action, reference, said)
    return signed


def certify_again(gate: GateCore, work: Work, reference: str) -> SignedCertificate:
    """Another certificate of the last erasure of whoever had that reference, by what the audit log says of it.

    Raises:
        SubjectError: the log knows of no erasure (any more), or only of one whose time was over.
    """
    if not is_reference(reference):
        raise no_reference("reference")
    for entry in gate.audit.entries(reference=reference, newest_first=True):
        said = entry.details
        if entry.action not in _ACTIONS or "certificate" not in said:
            continue
        counts = [int(said[name] or 0) for name in ("faces", "consents", "groups")]
        suspect = said.get("marks") == "clock"
        signed = _certify(gate, work, reference, said["reason"], counts, format_time(entry.time), suspect=suspect)
        work.log("certified_again", reference, {"certificate": _digest(signed)})
        return signed
    raise SubjectError(
        "the gate knows of no erasure of that reference by a person's hand",
        hint="the audit log is kept for `audit_days`; what retention erased has no certificate",
    )


def _certify(
    gate: GateCore, work: Work, reference: str, reason: Any, counts: list[int], time: str, *, suspect: bool
) -> SignedCertificate:
    salt = new_salt()
    certificate = ErasureCertificate(
        id=str(_ids.new(work.ms)),
        gate=gate.store.gate_id,
        device=gate.device_id,
        time=time,
        clock_suspect=suspect,
        reason=reason,
        salt=salt,
        subject=hash_reference(salt, reference),
        faces=counts[0],
        consents=counts[1],
        groups=counts[2],
    )
    return sign_certificate(certificate, gate.device)


def _digest(signed: SignedCertificate) -> str:
    return hashlib.sha256(signed.jws.encode("ascii")).hexdigest()
