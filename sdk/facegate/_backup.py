"""Making a backup of a gate: every live row of its store and every file of its folder, in one locked file.

The rows are read one after the other and written as JSON lines; the store's file itself is not copied. So nothing goes
along that is not a row any more (SQLite leaves stale copies of deleted cells in pages that it rebalanced), and no copy
ever lies in a temporary file.

Templates stay sealed, each with its owner's key, as they are. The owners' keys are wrapped anew, with a secret that
exists for this backup alone and is in it: the device's own sealing secret stays where it is, and whoever opens a backup
does not hold it.

Entries, in this order: the folder's files (`FILES`, trust/KEYID.pub), `seal` (the backup's secret, 32 bytes),
`contents.json`, and `table/NAME` for each of `TABLES` (see `_backup_rows`).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate._backup_rows import SEQUENCES, TABLES, table_lines
from facegate._backup_stream import BackupWriter
from facegate._decision import format_time
from facegate._files import sync_folder
from facegate._gate_folder import BUNDLE, DECLARATION, GATE, KEY, POLICY, PUBLIC, TRUST
from facegate._store._key_providers import new_secret
from facegate._store._schema import VERSION as SCHEMA
from facegate._store._sealing import Sealer
from facegate.errors import BackupError, BackupWriteError
from facegate_edge._keys import TrustStore
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegate._core import GateCore
    from facegate._recovery import Recipient

__all__ = ["FILES", "BackupInfo", "make_backup"]

FILES = (GATE, POLICY, DECLARATION, KEY, PUBLIC, BUNDLE)
_BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What was backed up.

    Attributes:
        id: the backup's, 32 hex digits.
        path: its file.
        size: in bytes.
        created: when, RFC 3339, UTC.
        device: the device's reference.
        kind: "recovery_key" or "passphrase": what opens it.
        recovery_key: id of the recovery key, None with a passphrase.
        people: how many people are in it.
        decisions: how many decisions are in it.
    """

    id: str
    path: Path
    size: int
    created: str
    device: str
    kind: str
    recovery_key: str | None
    people: int
    decisions: int


def make_backup(
    gate: GateCore,
    path: str | os.PathLike[str],
    recipient: Recipient,
    *,
    label: str,
    progress: Callable[[int, int], object] | None = None,
) -> BackupInfo:
    """Write a backup of an opened gate to a new file, all of it or nothing. The gate's lock is held meanwhile.

    Args:
        gate: whose.
        path: where to; nothing may be there.
        recipient: for whom it is locked.
        label: of the administrator's credential.
        progress: is told now and then how many rows of how many are written.

    Raises:
        BackupError: the gate is in memory only, or something is at `path`.
        BackupWriteError: it cannot be written. Nothing is left behind.
        StoreError: one of its subclasses: the store cannot be read.
    """
    path = Path(path)
    folder = gate.folder
    if folder is None:
        raise BackupError("a gate in memory has no backup", hint="it forgets everything when it is closed")
    with gate.reading(label):
        _check_target(path)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)  # 0600
        except OSError as error:
            raise _unwritable(path, error) from error
        begun = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                info = _write(gate, folder, path, stream, recipient, progress)
                stream.flush()
                os.fsync(stream.fileno())
                size = stream.tell()
            # First what the log says of it, then the file in its place: no backup is there of which nothing is known.
            with gate.operation("administrator", label) as work:
                work.log(
                    "backup",
                    details={
                        "backup": info.id,
                        "recovery_key": info.recovery_key,
                        "kind": info.kind,
                        "people": info.people,
                        "size": size,
                    },
                )
            _place(begun, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                begun.unlink()
            if isinstance(error, OSError) and not isinstance(error, BackupWriteError):
                raise _unwritable(path, error) from error
            raise
    return BackupInfo(**{name: getattr(info, name) for name in info.__slots__ if name != "size"}, size=size)


def _write(
    gate: GateCore,
    folder: Path,
    path: Path,
    stream: Any,
    recipient: Recipient,
    progress: Callable[[int, int], object] | None,
) -> BackupInfo:
    created = format_time(gate.now().time)  # believed: certificates of later erasures are told by it
    writer = BackupWriter(
        stream, recipient=recipient, signer=gate.device, created=created, device=gate.device_id, version=VERSION
    )
    for name in FILES:
        writer.entry(name, _file(folder / name))
    for trusted in TrustStore.load(folder / TRUST):  # by their ids: people may have put files of any name there
        writer.entry(f"{TRUST}/{trusted.key_id}.pub", [trusted.to_pem()])
    store = gate.store
    counts = {table: store.db.read(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}  # noqa: S608 - constants
    contents = {"schema": SCHEMA, "gate": store.gate_id, "rows": counts}
    secret = new_secret()
    try:
        writer.entry("seal", [secret])
        sealer = Sealer(secret, store.gate_id)
    finally:
        secret[:] = bytes(len(secret))
    writer.entry("contents.json", [json.dumps(contents).encode("ascii")])
    total, done = sum(counts.values()), 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(min(done, total), total)

    for table in (*TABLES, SEQUENCES):
        writer.entry(f"table/{table}", table_lines(store, table, sealer, tell))
    writer.finish()
    return BackupInfo(
        id=writer.header.id,
        path=path,
        size=0,
        created=created,
        device=gate.device_id,
        kind=writer.header.kind,
        recovery_key=writer.header.recipient.get("key_id"),
        people=counts["person"],
        decisions=counts["decision"],
    )


def _file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}", hint="mend the gate's folder first") from error


def _check_target(path: Path) -> None:
    if path.is_symlink() or path.exists():
        raise _taken(path)
    if not path.absolute().parent.is_dir():
        raise BackupError(f"there is no folder {path.absolute().parent}", hint="make it first")


def _place(begun: Path, path: Path) -> None:
    """Give the finished file its name, unless somebody else took it meanwhile."""
    try:
        os.link(begun, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a medium without links, such as a stick: claim the name, then take its place
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise _taken(path) from None
        try:
            begun.replace(path)
        except OSError:
            path.unlink()  # claimed, and empty
            raise
    else:
        with contextlib.suppress(OSError):  # a second name of the finished backup does no harm
            begun.unlink()
    sync_folder(path.absolute().parent)


def _taken(path: Path) -> BackupError:
    return BackupError(f"{path} exists already", hint="a backup is never overwritten: choose another name")


def _unwritable(path: Path, error: OSError) -> BackupWriteError:
    return BackupWriteError(
        f"the backup {path} cannot be written: {error.strerror}", hint="make room, or choose another place"
    )
