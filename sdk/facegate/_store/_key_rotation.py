"""Which secret fits a store, and the change from one to another: at every moment one of them is there and fits.

The order of a rotation, and what becomes of it if it ended there:

1. `prepare`: the new secret is kept beside the old one, and `seal.next` in the gate's folder names its provider. The
   next start finds that the old one fits, and discards the new one.
2. The transaction that wraps all keys anew commits. The next start finds that the new one fits, and goes on.
3. `promote`: within one provider the new secret takes the place of the old one, which is done then.
4. From one provider to another: who keeps the provider's name notes the new one; then `settle` destroys the old secret.
   If that is cut short, the next start does it: the note names both.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from facegate._files import sync_folder
from facegate._store._key_providers import SavableKey, SealKey, new_secret, parse_provider
from facegate._store._sealing import Sealer
from facegate._store._store_errors import not_written
from facegate.errors import SealKeyError, StoreError, StoreExistsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyRotation"]

_NOTE = "seal.next"
_MAX_NOTE = 4096


class KeyRotation:
    """The providers of one store's secret.

    Args:
        folder: the gate's.
        key: the present provider.
    """

    def __init__(self, folder: Path, key: SealKey) -> None:
        self._folder = folder
        self._key = key
        self._new: SealKey | None = None
        self._committed = False

    @property
    def name(self) -> str:
        """Of the provider whose secret the store is sealed with."""
        return self._new.name if self._new is not None and self._committed else self._key.name

    @property
    def undecided(self) -> bool:
        """A commit failed in such a way that only the disk knows which secret fits: both are kept."""
        return self._new is not None and not self._committed

    def find(self, gate: str, key_id: str, key_check: bytes) -> Sealer:
        """The sealer whose secret fits; an interrupted rotation is finished or discarded.

        Raises:
            SealKeyMissingError, SealKeyError: there is no secret, or none that fits.
        """
        before, noted = self._noted()
        try:
            sealer = _fitting(self._key, gate, key_id, key_check)
        except StoreError:
            if noted is None or noted.name == self._key.name:
                raise
            try:
                sealer = _fitting(noted, gate, key_id, key_check)
            except StoreError:
                noted = None
            if noted is None:
                raise
            self._new, self._committed = noted, True
            return sealer
        if noted is not None and noted.name != self._key.name:
            self._new = noted
            self.abandon()
        elif before is not None and before.name != self._key.name and isinstance(before, SavableKey):
            with contextlib.suppress(SealKeyError):  # the note names something else
                before.remove()  # step 4 was cut short
        self._forget()
        return sealer

    def prepare(self, new: SealKey, key_id: str, gate: str) -> bytearray:
        """Step 1: the new secret, kept where it will be needed.

        Raises:
            StoreError: an earlier rotation is not settled.
            StoreExistsError: there is a secret already where the new one was to be kept.
            SealKeyError, SealKeyMissingError: a provider that cannot keep a secret has none, or the present one.
        """
        if self._new is not None:
            raise StoreError("an earlier rotation of the key is not settled", hint="close the gate and open it again")
        same = new.name == self._key.name
        savable = isinstance(new, SavableKey)
        if isinstance(new, SavableKey) and not same and new.exists():
            raise StoreExistsError(f"there is a sealing key at {new.name} already", hint="a key is never overwritten")
        self._note(new.name)
        self._new = new
        try:
            secret = new_secret() if savable else new.load()
            if Sealer(secret, gate).key_id == key_id:
                raise SealKeyError("the new sealing key is the old one", hint="put a new secret there first")  # noqa: TRY301
            if isinstance(new, SavableKey):
                (new.stage if same else new.save)(secret)
        except BaseException:
            self.abandon()
            raise
        return secret

    def abandon(self) -> None:
        """Undo step 1."""
        new = self._new
        if isinstance(new, SavableKey):
            with contextlib.suppress(StoreError):
                if new.name == self._key.name:
                    new.discard()
                else:
                    new.remove()
        self._forget()

    def commit(self) -> None:
        """Step 2 has happened."""
        self._committed = True

    def promote(self) -> None:
        """Step 3, after step 2. Raises StoreWriteError, StoreFullError; the next start does it then."""
        self._committed = True
        new = self._new
        if new is not None and new.name == self._key.name:
            if isinstance(new, SavableKey):
                new.promote()
            self._key = new
            self._forget()

    def settle(self) -> None:
        """Step 4; nothing if there is nothing to settle."""
        new, old = self._new, self._key
        if new is not None and self._committed and new.name != old.name:
            if isinstance(old, SavableKey):
                old.remove()
            self._key = new
            self._forget()

    def _noted(self) -> tuple[SealKey | None, SealKey | None]:
        """The providers from which and to which a rotation was under way."""
        try:
            # O_NONBLOCK: a named pipe must be passed over, not waited for.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(self._folder / _NOTE, flags), "rb") as file:
                regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                before, after, *_ = (file.read(_MAX_NOTE) if regular else b"").decode().splitlines()
            return parse_provider(before, folder=self._folder), parse_provider(after, folder=self._folder)
        except (FileNotFoundError, ValueError, SealKeyError):  # none, or one whose writing was cut short
            return None, None
        except OSError as error:
            raise not_written(error) from error

    def _note(self, name: str) -> None:
        path = self._folder / _NOTE
        if not (self._key.name + name).isprintable():
            raise SealKeyError("a sealing key's name cannot be written down", hint="use letters, digits, punctuation")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, f"{self._key.name}\n{name}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self._folder)
        except OSError as error:
            raise not_written(error) from error

    def _forget(self) -> None:
        self._new, self._committed = None, False
        with contextlib.suppress(OSError):
            (self._folder / _NOTE).unlink(missing_ok=True)


def _fitting(provider: SealKey, gate: str, key_id: str, key_check: bytes) -> Sealer:
    """The sealer of a provider's secret, or of its next one, which takes its place then."""
    try:
        sealer = _checked(provider.load(), gate, key_id, key_check)
    except StoreError:
        staged = provider.staged() if isinstance(provider, SavableKey) else None
        if staged is None or not isinstance(provider, SavableKey):
            raise
        sealer = _checked(staged, gate, key_id, key_check)
        provider.promote()
    else:
        if isinstance(provider, SavableKey):
            with contextlib.suppress(StoreError):
                provider.discard()
    return sealer


def _checked(secret: bytearray, gate: str, key_id: str, key_check: bytes) -> Sealer:
    try:
        sealer = Sealer(secret, gate)
    finally:
        secret[:] = bytes(len(secret))
    sealer.check(key_check, key_id)
    return sealer
