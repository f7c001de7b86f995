"""What an administrator does with a gate as a whole: backups, keys, the clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from facegate._backup import make_backup
from facegate._decision import format_time
from facegate._gate_folder import read_info, write_info
from facegate._store._key_providers import parse_provider
from facegate.errors import StoreError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from facegate._backup import BackupInfo
    from facegate._clock_guard import TrustedTime
    from facegate._core import GateCore
    from facegate._recovery import Recipient
    from facegate._store._database import Transaction

__all__ = ["Administration"]

_ROLE = "administrator"


class Administration:
    """The part of `Administrator` that is about the gate as a whole."""

    _gate: GateCore
    _label: str

    def backup(
        self,
        path: str | os.PathLike[str],
        recipient: Recipient,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> BackupInfo:
        """Write an encrypted backup to a new file, all of it or nothing. The gate answers nobody meanwhile.

        Args:
            path: where to; nothing may be there.
            recipient: for whom: the public half of a recovery key, or a passphrase.
            progress: is told now and then how many rows of how many are written.

        Raises:
            BackupError: the gate is in memory only, or something is at `path`.
            BackupWriteError: it cannot be written. Nothing is left behind.
            KeyPassphraseError: the passphrase is too short.
        """
        return make_backup(self._gate, path, recipient, label=self._label, progress=progress)

    def rotate_key(self, provider: str | None = None) -> str:
        """Wrap every key anew with another sealing secret; templates and their seals stay as they are.

        Args:
            provider: where the new secret is kept, as `parse_provider` reads it; None: where the old one is. A file
                and a TPM get a new one, elsewhere there must be a new one already. The old one is destroyed.

        Returns:
            The id of the new secret.

        Raises:
            SealKeyError, SealKeyMissingError: there is no new secret, or it is the old one; nothing has changed.
            StoreError: the gate is in memory only, or nothing could be written; nothing has changed.
        """
        gate, folder = self._gate, self._folder()
        with gate.reading(self._label):
            store = gate.store
            old = store.sealer.key_id
            name = store.key_name if provider is None else provider
            store.rotate_key(
                parse_provider(name, folder=folder),
                log=lambda tx: self._log(tx, "rotate_key", key=old, new_key=_state(tx, "key_id"), provider=_kind(name)),
            )
            write_info(folder, replace(read_info(folder), key=store.key_name))
            store.settle_key()
            return store.sealer.key_id

    def renew_rotation(self) -> str:
        """Turn all templates once more, by a new secret: those that were stolen before match nothing any more.

        Returns:
            The id of the new rotation.

        Raises:
            StoreError: nothing could be written; nothing has changed.
        """
        gate = self._gate
        with gate.reading(self._label):
            gate.store.renew_rotation(
                log=lambda tx: self._log(tx, "renew_rotation", rotation=_state(tx, "rotation_id"))
            )
            gate.captured.clear()  # faces of the old rotation are comparable with nobody
            return gate.store.rotation.id

    def accept_clock(self) -> TrustedTime:
        """Believe the device's clock as it is now: it was looked at, and is right.

        Retention goes on by it from here on, and what has run out by it is erased. What was written by a clock that was
        ahead is dated now: nobody is kept for longer because a clock was wrong.

        Returns:
            The time that counts from now on.
        """
        gate = self._gate
        with gate.operation(_ROLE, self._label) as work:
            accepted = gate.guard.accept(work.tx)
            for table, column in (("person", "used"), ("face", "added")):
                sql = f"SELECT id FROM {table} WHERE {column} > ?"  # noqa: S608 - constants
                for (row,) in work.tx.execute(sql, accepted.ms).fetchall():
                    work.tx.update(table, row, **{column: accepted.ms})
            late = "SELECT id, received - ?, due FROM request WHERE received > ? AND closed IS NULL"
            for row, ahead, due in work.tx.execute(late, accepted.ms, accepted.ms).fetchall():
                work.tx.update("request", row, received=accepted.ms, due=due - ahead)
            times = {"wall_time": format_time(work.now.wall), "trusted_time": format_time(work.now.time)}
            work.log("accept_clock", details={"cause": work.now.cause or None, **times})
            return accepted

    def _log(self, tx: Transaction, action: str, **details: str) -> None:
        """An entry of the audit log in a transaction that the store has opened."""
        self._gate.audit.append(tx, role=_ROLE, action=action, details={**details, "by": str(self._label)})

    def _folder(self) -> Path:
        folder = self._gate.folder
        if folder is None:
            raise StoreError("a gate in memory has no key to rotate", hint="its secret is gone when it is closed")
        return folder


def _state(tx: Transaction, column: str) -> str:
    (value,) = tx.execute(f"SELECT {column} FROM state").fetchone()  # noqa: S608 - a constant
    return str(value)


def _kind(provider: str) -> str:
    return provider.partition(":")[0]
