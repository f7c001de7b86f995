"""Making a gate of a backup again: on this device or another, in a new folder, all of it or nothing.

The restored gate has the device id, the device key and the credentials of the old one, and a sealing secret of its own.
Two gates with one device key must not run side by side: wipe the old one.

What happened after the backup, the backup cannot know. Two things follow. Decisions that the old gate made later have
sequence numbers that must not come again, so the restored gate goes on beyond any that the old one can have reached.
And people may have been erased later: their erasure certificates, given to `restore_backup`, erase them again.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from facegate._backup_stream import BackupReader
from facegate._certificate import verify_certificate
from facegate._clock import SystemClock
from facegate._files import sync_folder
from facegate._gate_folder import (
    BUNDLE,
    KEY,
    POLICY,
    PUBLIC,
    TRUST,
    check_declaration,
    read_declaration,
    read_info,
    template_kind,
    write_info,
)
from facegate._new_gate import DEFAULT_KEY, check_place, make_beside, not_made, put_folder
from facegate._policy_json import load_policy
from facegate._restored_folder import RestoredFolder
from facegate._store._audit import Audit
from facegate._store._key_providers import parse_provider
from facegate._store._store import Store
from facegate.errors import AuditTamperedError, BackupTamperedError, FacegateError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore, VerifyKey

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from facegate._backup_stream import BackupHeader
    from facegate._certificate import ErasureCertificate
    from facegate._clock import Clock
    from facegate._recovery import Opener
    from facegate._store._database import Transaction
    from facegate._store._key_providers import SealKey

__all__ = ["RestoreInfo", "restore_backup"]

_GAP = 10_000_000  # decisions: at least so many numbers are left out; and one for each millisecond since the backup
_Details = dict[str, "str | int | bool | None"]


@dataclass(frozen=True, slots=True)
class RestoreInfo:
    """What was restored, or would be.

    Attributes:
        backup: id of the backup.
        created: when it was made, RFC 3339, UTC.
        device: the device's reference.
        device_key: id of the key that signed the backup, and will sign the gate's decisions.
        folder: the gate's.
        people: how many people are enrolled in it.
        decisions: how many decisions are in it.
        erased_again: references of people who were erased after the backup, by the given certificates.
        sequence: the number after which the gate's decisions go on.
        dry_run: nothing was kept.
    """

    backup: str
    created: str
    device: str
    device_key: str
    folder: Path
    people: int
    decisions: int
    erased_again: tuple[str, ...]
    sequence: int
    dry_run: bool


def restore_backup(
    stream: BinaryIO,
    folder: str | os.PathLike[str],
    opener: Opener,
    *,
    key: str = "file:seal.key",
    maker: VerifyKey | None = None,
    certificates: Sequence[str] = (),
    passphrase: str | bytes | None = None,
    clock: Clock | None = None,
    progress: Callable[[int, int], object] | None = None,
    dry_run: bool = False,
) -> RestoreInfo:
    """Make a gate's folder of a backup.

    Args:
        stream: the backup.
        folder: where; it must not exist yet, or be empty.
        opener: the recovery key or the passphrase.
        key: where the sealing secret is kept from now on, see `parse_provider`. A new one is made if the provider can
            keep one; another must have one.
        maker: the key of the device that must have made the backup. None: whoever's; see `RestoreInfo.device_key`.
        certificates: of erasures after the backup, the JWS of each: who they are about is not restored.
        passphrase: of the device's key, if somebody protected it.
        clock: where the time comes from.
        progress: is told now and then how many rows of how many are restored.
        dry_run: restore, look at every seal and the whole audit log, and keep nothing.

    Raises:
        BackupFormatError, BackupKeyError, BackupTamperedError: see `BackupReader`.
        CertificateError: a certificate is not of this device.
        GateExistsError, GateFolderError, GateWriteError: there is something at `folder`, or it cannot be written.
        SealKeyMissingError, SealKeyError: the provider has no secret.
        AuditTamperedError, StoreTamperedError: what was backed up had been changed by somebody before.
        BundleError, KeyFileError: one of their subclasses: what was backed up is damaged.
    """
    folder, clock = Path(folder), clock if clock is not None else SystemClock()
    check_place(folder)
    with contextlib.ExitStack() as undo:
        try:
            made = make_beside(folder, undo)
            provider = parse_provider(DEFAULT_KEY if dry_run else key, folder=made)
            reader = BackupReader(stream, opener, maker=maker)
            with RestoredFolder(made, provider, progress) as restored:
                restored.take(reader)
                work = _Work(made, reader.header, _Since(clock, reader.header), passphrase)
                write_info(made, replace(read_info(made), key=key))
                info = work.finish(restored.held_key(key), certificates, folder, dry_run=dry_run)
                if not dry_run:
                    for inside in (made / TRUST, made):
                        sync_folder(inside)
                    put_folder(made, folder, undo)
                    restored.keep()
                    undo.pop_all()
        except FacegateError:  # some are OSErrors as well, and say more
            raise
        except OSError as error:
            raise not_made(folder, error) from error
    return info


class _Work:
    """What remains to be done in a folder that holds what the backup held.

    Raises:
        BackupTamperedError: its parts do not belong together.
        KeyFileError, KeyPassphraseError: the device's key cannot be opened.
    """

    def __init__(self, folder: Path, header: BackupHeader, clock: _Since, passphrase: str | bytes | None) -> None:
        self._folder = folder
        self._header = header
        self._clock = clock
        self._device = SigningKey.load(folder / KEY, passphrase)
        keys = {self._device.verify_key, VerifyKey.load(folder / PUBLIC)}  # receivers and auditors are given the latter
        if keys != {header.maker} or read_info(folder).device_id != header.device:
            raise BackupTamperedError(
                "the backup holds another device key or device id than the one that signed it",
                hint="use another copy of the backup",
            )

    def finish(self, key: SealKey, certificates: Sequence[str], folder: Path, *, dry_run: bool) -> RestoreInfo:
        """Check what was made as a gate's opening does, go on with numbers and log, erase who was erased since."""
        erasures = [(verify_certificate(jws, self._device.verify_key), jws) for jws in certificates]
        with self._opened(key) as store:
            audit = Audit(store.db, self._device, self._clock)
            if not audit.verify().ok:
                raise AuditTamperedError(
                    "the audit log in the backup is not whole: it was changed before the backup was made",
                    hint="restore an older backup, and find out who could write to that device",
                )
            people = list(self._erased(store, erasures))
            sequence = self._sequence(store)
            with store.db.transaction() as tx:
                tx.execute("UPDATE state SET sequence = ? WHERE id = 1", sequence)
                said: _Details = {"backup": self._header.id, "made": self._header.created, "sequence": sequence}
                audit.append(tx, role="administrator", action="restored", details=said)
                for person, reference, certificate, jws in people:
                    store.erase_person(tx, person)
                    self._log_erasure(audit, tx, reference, certificate, jws)
            ((enrolled,),) = store.db.read("SELECT count(*) FROM person")
            ((decisions,),) = store.db.read("SELECT count(*) FROM decision")
            store.db.checkpoint()
        return RestoreInfo(
            backup=self._header.id,
            created=self._header.created,
            device=self._header.device,
            device_key=self._device.key_id,
            folder=folder,
            people=enrolled,
            decisions=decisions,
            erased_again=tuple(reference for _, reference, _, _ in people),
            sequence=sequence,
            dry_run=dry_run,
        )

    @contextlib.contextmanager
    def _opened(self, key: SealKey) -> Iterator[Store]:
        """The store, after everything has been checked that opening the gate will check. Every seal is opened."""
        with open_bundle(self._folder / BUNDLE, trust=TrustStore.load(self._folder / TRUST)) as bundle:
            templates = template_kind(bundle)
            load_policy(self._folder / POLICY).check(bundle.manifest)
        with Store.open(
            self._folder,
            space=templates.template_space,
            length=templates.template_length,
            key=key,
            clock=self._clock,
        ) as store:
            store.db.check()
            check_declaration(store.db, read_declaration(self._folder))
            yield store

    def _erased(
        self, store: Store, erasures: Iterable[tuple[ErasureCertificate, str]]
    ) -> Iterator[tuple[int, str, ErasureCertificate, str]]:
        """Number and reference of each person who was erased after the backup, with the certificate.

        Somebody may have been erased, enrolled again and backed up. Where the clock was not believed, rather erase.
        """
        later = [(c, jws) for c, jws in erasures if c.clock_suspect or c.time >= self._header.created]
        for person in store.people():
            for certificate, jws in later:
                if certificate.is_about(person.reference):
                    yield person.id, person.reference, certificate, jws
                    break

    def _log_erasure(
        self, audit: Audit, tx: Transaction, reference: str, certificate: ErasureCertificate, jws: str
    ) -> None:
        said: _Details = {
            "reason": certificate.reason,
            "faces": certificate.faces,
            "consents": certificate.consents,
            "groups": certificate.groups,
            "certificate": hashlib.sha256(jws.encode("ascii")).hexdigest(),
            "backup": self._header.id,
        }
        audit.append(tx, role="administrator", action="person_erased", reference=reference, details=said)

    def _sequence(self, store: Store) -> int:
        ((last,),) = store.db.read("SELECT sequence FROM state")
        passed = int((self._clock.now() - self._header.moment).total_seconds() * 1000)
        return int(last) + max(_GAP, passed)


class _Since:
    """A clock that is not before the backup: a device that was just switched on may think that it is 1970."""

    def __init__(self, clock: Clock, header: BackupHeader) -> None:
        self._clock = clock
        self._created = header.moment
        self.monotonic = clock.monotonic

    def now(self) -> datetime:
        """The time of day, or that of the backup."""
        return max(self._clock.now(), self._created)
