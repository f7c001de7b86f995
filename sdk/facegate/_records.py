"""What the privacy officer can read of a gate: the audit log, the decisions that it keeps, and how it is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from facegate._core import GateCore
    from facegate._store._audit_chain import AuditEntry
    from facegate._store._audit_verify import AuditReport
    from facegate._store._outbox import QueuedDecision

__all__ = ["Records"]

_ROLE = "privacy_officer"


class Records:
    """The ground that `PrivacyOfficer` stands on, as far as it is about what is kept of what was done."""

    _gate: GateCore
    _label: str

    def audit_entries(
        self,
        *,
        reference: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> tuple[AuditEntry, ...]:
        """Entries of the audit log, in their order.

        Args:
            reference: only those about that person, group or list.
            action: only that action.
            since: only those of that time or later.
            before: only those of an earlier time.
            limit: at most so many.
            newest_first: the other way round.

        Raises:
            GateClosedError: the gate is closed.
        """
        with self._gate.reading(self._label):
            return tuple(
                self._gate.audit.entries(
                    reference=reference,
                    action=action,
                    since=since,
                    before=before,
                    limit=limit,
                    newest_first=newest_first,
                )
            )

    def verify_audit(self, head: str | None = None) -> AuditReport:
        """Check the whole audit log.

        Args:
            head: an earlier head that was kept elsewhere.

        Raises:
            AuditTamperedError: `head` is not this device's.
        """
        with self._gate.reading(self._label):
            return self._gate.audit.verify(head)

    def audit_head(self) -> str:
        """The signed head of the audit log; keep it elsewhere, it shows later whether the whole gate was put back."""
        with self._gate.reading(self._label):
            return self._gate.audit.head()

    def purge_audit(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove audit entries that are older than `before`; retention does so by itself when their time is over.

        Returns:
            How many, with `dry_run`: would be.

        Raises:
            AuditRetentionError: `before` is less than six months ago.
            AuditTamperedError: what would be removed is not as it was written.
        """
        gate = self._gate
        if dry_run:
            with gate.reading(self._label):
                gate.audit.check_age(before)
                return gate.audit.count_old(before)
        with gate.operation(_ROLE, self._label) as work:
            return gate.audit.purge(work.tx, before, role=_ROLE)

    def decisions(
        self,
        *,
        waiting: bool | None = None,
        after_sequence: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> tuple[QueuedDecision, ...]:
        """The decisions that are kept: those that wait in the outbox (True), that a sink has taken (False), or both.

        Args:
            waiting: see above.
            after_sequence: only those with a higher number.
            limit: at most so many.
            newest_first: the other way round.

        Raises:
            OutboxTamperedError: one is not as the device signed it.
        """
        with self._gate.reading(self._label):
            return tuple(
                self._gate.outbox.decisions(
                    waiting=waiting, after_sequence=after_sequence, limit=limit, newest_first=newest_first
                )
            )

    def review_pack(
        self,
        path: str | os.PathLike[str],
        *,
        evaluation: str | os.PathLike[str] | None = None,
        receivers: Sequence[str] = (),
    ) -> Path:
        """Write what a reviewer asks for about this gate, signed by the device; docs/review-pack.md has the parts.

        It names nobody and holds no biometric data. The gate answers nobody while its state is read for it, which takes
        as long as checking the whole audit log.

        Args:
            path: a new file, if it ends in .zip, else a new folder.
            evaluation: the result of `facegate evaluate run` on this gate's bundle.
            receivers: names of those who take decisions; a gate does not know them.

        Returns:
            The file or folder.

        Raises:
            PackError: the gate is in memory only, or the evaluation is damaged or of something else.
            ExportError: something is at `path`, or it cannot be written; nothing of it is left.
        """
        from facegate._pack._make import pack_gate  # noqa: PLC0415 - hardly ever needed

        return pack_gate(self._gate, self._label, path, evaluation=evaluation, receivers=receivers)
