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
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from facegate._backup import FILES
from facegate._backup_rows import SEQUENCES, TABLES, parse_row, read_value, rewrap, split_lines
from facegate._backup_stream import BackupReader
from facegate._certificate import verify_certificate
from facegate._clock import SystemClock
from facegate._files import sync_folder, write_new
from facegate._gate_folder import BUNDLE, DECLARATION, KEY, TRUST, read_info, template_kind, write_info
from facegate._new_gate import DEFAULT_KEY, check_place, make_beside, put_folder
from facegate._store._audit import Audit
from facegate._store._database import Database
from facegate._store._key_providers import SavableKey, new_secret, parse_provider
from facegate._store._schema import VERSION as SCHEMA
from facegate._store._sealing import Sealer
from facegate._store._store import FILE, Store
from facegate.errors import AuditTamperedError, BackupFormatError, BackupTamperedError, FacegateError, GateWriteError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from facegate._backup_stream import BackupHeader
    from facegate._clock import Clock
    from facegate._recovery import Opener
    from facegate._store._database import Transaction
    from facegate._store._key_providers import SealKey
    from facegate_edge._keys import VerifyKey

__all__ = ["RestoreInfo", "restore_backup"]

_MAX_FILE = 64 * 1024
_MAX_BUNDLE = 2 * 1024**3
_GAP = 10_000_000  # decisions: at least so many numbers are left out; and one for each millisecond since the backup
_COPY = "use another copy of the backup"
_T = TypeVar("_T")


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
            since = _Since(clock, reader.header)
            restored = undo.enter_context(_Restored(made, reader.header, provider, since, progress))
            restored.take(reader)
            info = restored.finish(folder, key, certificates, passphrase, dry_run=dry_run)
            if not dry_run:
                for inside in (made / TRUST, made):
                    sync_folder(inside)
                put_folder(made, folder, undo)
                undo.pop_all()
                restored.close()
        except FacegateError:  # some are OSErrors as well, and say more
            raise
        except OSError as error:
            raise GateWriteError(
                f"the gate {folder} cannot be made: {error.strerror}",
                hint="make room or choose another folder; nothing was made",
            ) from error
    return info


class _Restored:
    """A gate's folder while it is being made of a backup's entries."""

    def __init__(
        self,
        folder: Path,
        header: BackupHeader,
        provider: SealKey,
        clock: Clock,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._folder = folder
        self._header = header
        self._provider = provider
        self._clock = clock
        self._progress = progress
        self._db: Database | None = None
        self._secret = bytearray()  # of the backup
        self._fresh = bytearray()  # of the gate that is made
        self._saved = False
        self._old: Sealer | None = None
        self._sealer: Sealer | None = None
        self._rows: Mapping[str, int] = {}
        self._done = 0
        (folder / TRUST).mkdir(mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        """The gate was not wanted, or could not be made: its secret is destroyed with it."""
        self.close()
        if self._saved and isinstance(self._provider, SavableKey):
            self._provider.remove()

    def take(self, reader: BackupReader) -> None:
        """Write the entries. They count only when the last one was read, with the signature behind it."""
        entries = reader.entries()
        seen: list[str] = []
        expected = [f"table/{table}" for table in (*TABLES, SEQUENCES)]
        tables: list[str] = []
        with contextlib.ExitStack() as stack:
            tx: Transaction | None = None
            for name, pieces in entries:
                if name.startswith("table/"):
                    if tx is None:
                        tx = self._begin(stack)
                    tables.append(name)
                    if tables != expected[: len(tables)]:
                        raise BackupFormatError("the backup holds a table that none has", hint=_COPY)
                    self._table(tx, name.partition("/")[2], pieces)
                else:
                    seen.append(name)
                    self._file(name, pieces)
            needed = {*FILES, "seal", "contents.json"}
            if tables != expected or not needed <= set(seen) or not any(n.startswith(f"{TRUST}/") for n in seen):
                raise BackupFormatError("the backup is not whole", hint=_COPY)
        # The transaction is committed by now: the signature was right, or an exception has left it.

    def _file(self, name: str, pieces: Iterable[bytes]) -> None:
        if name == "seal":
            self._secret += b"".join(_counted(pieces, _MAX_FILE))
        elif name == "contents.json":
            self._contents(b"".join(_counted(pieces, _MAX_FILE)))
        elif name in FILES or name.startswith(f"{TRUST}/"):
            mode = {KEY: 0o600, DECLARATION: 0o444}.get(name, 0o644)
            limit = _MAX_BUNDLE if name == BUNDLE else _MAX_FILE
            write_new(self._folder / name, _counted(pieces, limit), mode)
        else:
            raise BackupFormatError("the backup holds a file that no gate has", hint=_COPY)

    def _contents(self, data: bytes) -> None:
        try:
            contents = json.loads(data)
            schema, rows = contents["schema"], contents["rows"]
            if type(schema) is not int or not all(type(rows[table]) is int for table in TABLES):
                raise TypeError  # noqa: TRY301 - all that can be wrong here has one answer
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BackupFormatError("the backup's contents are not as they are", hint=_COPY) from None
        if schema > SCHEMA:
            raise BackupFormatError("a newer version of facegate made this backup", hint="update facegate")
        self._rows = rows

    def _begin(self, stack: contextlib.ExitStack) -> Transaction:
        self._db = Database.create(self._folder / FILE)
        return stack.enter_context(self._db.transaction())

    def _table(self, tx: Transaction, table: str, pieces: Iterable[bytes]) -> None:
        lines = split_lines(pieces)
        columns: list[str] = parse_row(next(lines, b""))
        if table != SEQUENCES:
            known = {name for (name,) in tx.execute("SELECT name FROM pragma_table_info(?)", table)}
            if not all(isinstance(name, str) and name in known for name in columns):
                raise BackupFormatError("the backup holds a column that no table has", hint=_COPY)
        for number, line in enumerate(lines, 1):
            row: list[Any] = parse_row(line)
            if len(row) != len(columns):
                raise BackupFormatError("the backup holds a row that is not whole", hint=_COPY)
            values = {name: read_value(value) for name, value in zip(columns, row, strict=True)}
            if table == SEQUENCES:
                tx.execute("DELETE FROM sqlite_sequence WHERE name = ?", values.get("name"))
                tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", *map(values.get, ("name", "seq")))
            else:
                try:
                    tx.insert(table, **self._rewrapped(table, values))
                except (KeyError, TypeError, OverflowError):  # who made it knows the recovery key, and made it by hand
                    raise BackupFormatError("the backup holds a row that no table has", hint=_COPY) from None
                self._done += 1
            if number % 1000 == 0:
                self._tell()
        self._tell()

    def _rewrapped(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        """Lock with the new secret what the backup's secret locks."""
        if table == "state":
            self._open_seals(values)
            _need(self._db).protect(_need(self._sealer).tally, new=True)
            _need(self._old).check(values["key_check"], values["key_id"])
        return rewrap(table, values, _need(self._old), _need(self._sealer))

    def _open_seals(self, state: Mapping[str, Any]) -> None:
        gate = state["gate"]
        self._old = Sealer(self._secret, gate)
        self._secret[:] = bytes(len(self._secret))
        if isinstance(self._provider, SavableKey):
            self._fresh += new_secret()
            self._provider.save(self._fresh)
            self._saved = True
        else:
            self._fresh += self._provider.load()
        self._sealer = Sealer(self._fresh, gate)

    def finish(
        self,
        folder: Path,
        key: str,
        certificates: Sequence[str],
        passphrase: str | bytes | None,
        *,
        dry_run: bool,
    ) -> RestoreInfo:
        """Check what was made, go on with the numbers and the audit log, erase who was erased since."""
        device = SigningKey.load(self._folder / KEY, passphrase)
        if device.verify_key != self._header.maker:
            raise BackupTamperedError("the backup holds another device key than the one that signed it", hint=_COPY)
        info = read_info(self._folder)
        write_info(self._folder, replace(info, key=key))
        _need(self._db).close()  # what follows opens the store as a gate does
        erasures = [(verify_certificate(jws, device.verify_key), jws) for jws in certificates]
        # Somebody may have been erased, enrolled again and backed up. Where the clock was not believed, rather erase.
        later = [(c, jws) for c, jws in erasures if c.clock_suspect or c.time >= self._header.created]
        with open_bundle(self._folder / BUNDLE, trust=TrustStore.load(self._folder / TRUST)) as bundle:
            templates = template_kind(bundle)
        space, length = templates.template_space, templates.template_length
        with Store.open(
            self._folder, space=space, length=length, key=_HeldKey(key, self._fresh), clock=self._clock
        ) as store:
            store.db.check()
            audit = Audit(store.db, device, self._clock)
            if not audit.verify().ok:
                raise AuditTamperedError(
                    "the audit log in the backup is not whole: it was changed before the backup was made",
                    hint="restore an older backup, and find out who could write to that device",
                )
            people = [
                (person, *found)
                for person in store.people()
                if (found := next((each for each in later if each[0].is_about(person.reference)), None)) is not None
            ]
            sequence = self._sequence(store)
            with store.db.transaction() as tx:
                tx.execute("UPDATE state SET sequence = ? WHERE id = 1", sequence)
                details: dict[str, str | int | bool | None] = {
                    "backup": self._header.id,
                    "made": self._header.created,
                    "sequence": sequence,
                }
                audit.append(tx, role="administrator", action="restored", details=details)
                for person, certificate, jws in people:
                    store.erase_person(tx, person.id)
                    said: dict[str, str | int | bool | None] = {
                        "reason": certificate.reason,
                        "faces": certificate.faces,
                        "consents": certificate.consents,
                        "groups": certificate.groups,
                        "certificate": hashlib.sha256(jws.encode("ascii")).hexdigest(),
                        "backup": self._header.id,
                    }
                    audit.append(
                        tx, role="administrator", action="person_erased", reference=person.reference, details=said
                    )
            ((enrolled,),) = store.db.read("SELECT count(*) FROM person")
            ((decisions,),) = store.db.read("SELECT count(*) FROM decision")
            store.db.checkpoint()
        return RestoreInfo(
            backup=self._header.id,
            created=self._header.created,
            device=self._header.device,
            device_key=device.key_id,
            folder=folder,
            people=enrolled,
            decisions=decisions,
            erased_again=tuple(person.reference for person, _, _ in people),
            sequence=sequence,
            dry_run=dry_run,
        )

    def _sequence(self, store: Store) -> int:
        ((last,),) = store.db.read("SELECT sequence FROM state")
        passed = int((self._clock.now() - self._header.moment).total_seconds() * 1000)
        return int(last) + max(_GAP, passed)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, sum(self._rows.values()))

    def close(self) -> None:
        """Wipe the secrets, close the store."""
        for secret in (self._secret, self._fresh):
            secret[:] = bytes(len(secret))
        if self._db is not None:
            self._db.close()


class _Since:
    """A clock that is not before the backup: a device that was just switched on may think that it is 1970."""

    def __init__(self, clock: Clock, header: BackupHeader) -> None:
        self._clock = clock
        self._created = header.moment
        self.monotonic = clock.monotonic

    def now(self) -> datetime:
        """The time of day, or that of the backup."""
        return max(self._clock.now(), self._created)


class _HeldKey:
    """The new secret for as long as the restore takes: not every provider gives it twice."""

    def __init__(self, name: str, secret: bytearray) -> None:
        self.name = name
        self._secret = secret

    def load(self) -> bytearray:
        """A copy of it."""
        return bytearray(self._secret)


def _need(value: _T | None) -> _T:
    """What an earlier entry must have brought."""
    if value is None:
        raise BackupFormatError("the backup's entries are not in their order", hint=_COPY)
    return value


def _counted(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            raise BackupFormatError("the backup holds a file that is far too large", hint=_COPY)
        yield piece
