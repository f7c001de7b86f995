"""The store of a gate: made, opened and closed, its key and its rotation changed. What is in it: `_contents`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facegate._clock import SystemClock
from facegate._store._contents import Contents
from facegate._store._database import Database, remove_files
from facegate._store._key_providers import new_secret
from facegate._store._key_rotation import KeyRotation
from facegate._store._loading import load_index
from facegate._store._renewal import adopt_space, keep_rotation, read_rotation, rewrap, turn_faces
from facegate._store._rotation import Rotation
from facegate._store._rows import GroupRow, ListRow, OutdatedFace, PersonRow
from facegate._store._sealing import Sealer
from facegate._store._store_errors import corrupt
from facegate.errors import StoreCorruptError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from facegate._clock import Clock
    from facegate._store._database import Transaction
    from facegate._store._index import Index
    from facegate._store._key_providers import SealKey

__all__ = ["FILE", "GroupRow", "ListRow", "OutdatedFace", "PersonRow", "Store"]

FILE = "gate.db"


class Store(Contents):
    """A gate's store, opened. Use `create`, `open` or `memory`. Not thread safe: the gate's lock guards it.

    What changes the store takes an open transaction of `db`; the index in memory follows when it has been committed.
    """

    def __init__(self, db: Database, sealer: Sealer, clock: Clock, keys: KeyRotation | None = None) -> None:
        gate, device, space, length, rotation = db.read(
            "SELECT gate, device, space, template_length, rotation_id FROM state"
        )[0]
        self.rotation = read_rotation(db, sealer, rotation, length)
        turned = self.rotation.space(space)
        super().__init__(db, turned, length, sealer, load_index(db, sealer, turned, length), clock)
        self.gate_id: str = gate
        self.device: str = device
        self.base_space: str = space
        self._keys = keys

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str,
        space: str,
        length: int,
        key: SealKey,
        clock: Clock | None = None,
    ) -> Store:
        """Make a store in a folder.

        Args:
            folder: the gate's; it exists.
            device: the device's reference.
            space: id of the bundle's template space.
            length: of a template.
            key: the provider; it must have a secret already.
            clock: where the time comes from.

        Raises:
            SealKeyMissingError, SealKeyError: the provider has no secret.
            StoreExistsError, StoreWriteError, StoreFullError, GateInUseError: see `Database.create`.
        """
        secret = key.load()
        try:
            db = Database.create(Path(folder) / FILE)
            try:
                keys = KeyRotation(Path(folder), key)
                return cls._fill(db, secret, device, space, length, clock or SystemClock(), keys)
            except BaseException:
                db.close()
                remove_files(Path(folder) / FILE)
                raise
        finally:
            secret[:] = bytes(len(secret))

    @classmethod
    def memory(cls, device: str, space: str, length: int, *, clock: Clock | None = None) -> Store:
        """A store that is gone when it is closed, with a secret of its own."""
        return cls._fill(Database.memory(), new_secret(), device, space, length, clock or SystemClock())

    @classmethod
    def _fill(
        cls,
        db: Database,
        secret: bytearray,
        device: str,
        space: str,
        length: int,
        clock: Clock,
        keys: KeyRotation | None = None,
    ) -> Store:
        gate = os.urandom(16).hex()
        sealer = Sealer(secret, gate)
        rotation = Rotation.new(length)
        with db.transaction() as tx:
            tx.insert(
                "state",
                id=1,
                gate=gate,
                device=device,
                space=space,
                template_length=length,
                key_id=sealer.key_id,
                key_check=sealer.key_check(),
                rotation_id="",
                tally=b"",
                sequence=0,
                clock=b"{}",
            )
            keep_rotation(tx, sealer, rotation)
            db.protect(sealer.tally, new=True)
        rotation.wipe()
        return cls(db, sealer, clock, keys)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        space: str,
        length: int,
        key: SealKey,
        clock: Clock | None = None,
    ) -> Store:
        """Open a folder's store; finish or discard a rotation of the key that was interrupted.

        Args:
            folder: the gate's.
            space: id of the bundle's template space. If it is another than before, faces of the old one stay and are
                `outdated`.
            length: of a template.
            key: the provider. `key_name` says afterwards which one fits: after an interrupted rotation to another
                provider it is that one.
            clock: where the time comes from.

        Raises:
            StoreMissingError, StoreCorruptError, StoreVersionError, GateInUseError: see `Database.open`.
            SealKeyMissingError, SealKeyError: the secret is missing, or not this store's.
            StoreTamperedError: the rows are not those that the gate wrote last.
            SealError: a sealed row does not open.
        """
        folder = Path(folder)
        db = Database.open(folder / FILE)
        try:
            gate, key_id, key_check = _sealed_for(db)
            keys = KeyRotation(folder, key)
            sealer = keys.find(gate, key_id, key_check)
            db.protect(sealer.tally)
            db.clean()  # what a power loss kept from being done after an erasure
            adopt_space(db, sealer, space, length)
            return cls(db, sealer, clock or SystemClock(), keys)
        except BaseException:
            db.close()
            raise

    @property
    def key_name(self) -> str:
        """Of the sealing key's provider, as `parse_provider` reads it; empty for a store in memory."""
        return self._keys.name if self._keys is not None else ""

    # ---------------------------------------------------------------- keys and rotation

    def rotate_key(self, new: SealKey, *, log: Callable[[Transaction], object] | None = None) -> None:
        """Wrap every key anew, with the secret of a provider; templates and their seals stay as they are.

        Args:
            new: the provider. One that can keep a secret (a file, a TPM) gets a new one, also if it is the present
                provider; another must have a new one already.
            log: called with the transaction before its commit, to add an entry to the audit log.

        `key_name` says afterwards where the secret is; whoever keeps the provider's name outside notes the new one and
        then calls `settle_key`, which destroys what is left of the old secret.

        Raises:
            SealKeyError: the new secret is the old one.
        """
        keys = self._rotations()
        if keys.undecided:
            self._decide_key(keys)
        secret = keys.prepare(new, self.sealer.key_id, self.gate_id)
        try:
            sealer = Sealer(secret, self.gate_id)
        finally:
            secret[:] = bytes(len(secret))
        committed: list[bool] = []

        def commit() -> None:  # with the commit, so that no interrupt finds the store and its key of two minds
            committed.append(True)
            self.sealer = sealer
            keys.commit()

        try:
            with self.db.transaction() as tx:
                tx.after_commit(commit)
                rewrap(tx, self.db, self.sealer, sealer)
                if log is not None:
                    log(tx)
        except BaseException:
            with contextlib.suppress(StoreError):
                if committed:
                    keys.promote()
                else:
                    self._decide_key(keys)
            raise
        keys.promote()

    def _decide_key(self, keys: KeyRotation) -> None:
        """After a commit that failed: make sure that the store on the disk is sealed with the present secret.

        A commit whose last write failed may still be found after a power loss. One that succeeds after it takes its
        place; until then the new secret must not be thrown away.
        """
        with self.db.transaction() as tx:
            # SQLite writes no page that has not changed: this one does, and gets its old value back with the commit.
            tx.execute("UPDATE state SET tally = x'' WHERE id = 1")
        keys.abandon()

    def settle_key(self) -> None:
        """The provider's name has been noted: the old secret is destroyed, if it was in another provider."""
        self._rotations().settle()

    def _rotations(self) -> KeyRotation:
        if self._keys is None:
            raise StoreError("a store in memory has no key to rotate", hint="its secret is gone when it is closed")
        return self._keys

    def renew_rotation(self, *, log: Callable[[Transaction], object] | None = None) -> None:
        """Rotate all templates once more, with a new secret: one that was stolen before matches nobody any more.

        How similar the gate's people are to each other stays: a whole set of before links to the whole set of after.

        Faces of other template spaces are destroyed: their bundle could not make use of them any more.

        Args:
            log: called with the transaction before its commit, to add an entry to the audit log.
        """
        turn = Rotation.new(self.length)
        rotation = self.rotation.then(turn)
        space = rotation.space(self.base_space)
        try:
            with self.db.transaction() as tx:
                turn_faces(tx, self.db, self.sealer, turn, self.space, space)
                keep_rotation(tx, self.sealer, rotation, others=False)
                index = load_index(self.db, self.sealer, space, self.length)
                tx.after_commit(lambda: self._turned(rotation, index))
                if log is not None:
                    log(tx)
        finally:
            turn.wipe()

    def _turned(self, rotation: Rotation, index: Index) -> None:
        self.index.close()
        self.rotation.wipe()
        self.rotation, self.index, self.space = rotation, index, index.space

    def close(self) -> None:
        """Wipe everything in memory and close the file; a second call does nothing."""
        self.index.close()
        self.rotation.wipe()
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.device})"


def _sealed_for(db: Database) -> tuple[str, str, bytes]:
    """The gate, and what tells the right key."""
    state = db.read("SELECT gate, key_id, key_check FROM state")
    if not state:
        raise StoreCorruptError("the store was never finished", hint="make a new gate, or restore a backup")
    gate, key_id, key_check = state[0]
    if not (isinstance(gate, str) and isinstance(key_id, str) and isinstance(key_check, bytes)):
        raise corrupt()
    return gate, key_id, key_check
