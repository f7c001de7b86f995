"""Which secret fits a store, and the change from one to another: at every moment one of them is there and fits.

The order of a rotation, and what `find` does if it ended there:

1. the new secret is kept beside the old one, and `seal.next` in the gate's folder names its provider: discarded
2. the transaction that wraps all keys anew commits: finished by `find`
3. the new secret takes the place of the old one: finished by `find`
4. who keeps the provider's name notes the new one; the old secret and `seal.next` are removed (`settle`)
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from facegate._store._key_providers import SavableKey, SealKey, new_secret, parse_provider
from facegate._store._sealing import Sealer
from facegate.errors import SealKeyError, SealKeyMissingError, StoreError, StoreWriteError

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

    def find(self, gate: str, key_id: str, key_check: bytes) -> tuple[Sealer, str]:
        """The sealer whose secret fits, and the name of its provider; an interrupted rotation is finished or discarded.

        Raises:
            SealKeyMissingError, SealKeyError: there is no secret, or none that fits.
        """
        noted = self._noted()
        failure: StoreError | None = None
        for provider in (self._key, noted):
            if provider is None or (provider is noted and noted.name == self._key.name):
                continue
            sealer, failed = _try(provider, gate, key_id, key_check)
            failure = failure or failed
            if sealer is not None:
                if provider is noted:
                    self._new = noted
                elif noted is not None:
                    self._new = noted
                    self.abandon()
                return sealer, provider.name
        raise failure or SealKeyMissingError("there is no sealing key")

    def prepare(self, new: SealKey, key_id: str, gate: str) -> bytearray:
        """Step 1: the new secret, kept where it will be needed."""
        self._note(new.name)
        self._new = new
        try:
            if isinstance(new, SavableKey):
                secret = new_secret()
                if new.name == self._key.name:
                    new.stage(secret)
                else:
                    new.save(secret)
            else:
                secret = new.load()
            if Sealer(secret, gate).key_id == key_id:
                raise SealKeyError("the new sealing key is the old one", hint="put a new secret there first")
        except BaseException:
            self._forget()
            raise
        return secret

    def abandon(self) -> None:
        """Undo step 1."""
        if isinstance(self._new, SavableKey):
            with contextlib.suppress(StoreError):
                if self._new.name == self._key.name:
                    self._new.discard()
                else:
                    self._new.remove()
        self._forget()

    def promote(self) -> str:
        """Step 3; returns the name of the provider."""
        new = self._new
        if new is None:
            return self._key.name
        if new.name == self._key.name:
            if isinstance(new, SavableKey):
                new.promote()
            self._forget()
        return new.name

    def settle(self) -> None:
        """Step 4."""
        new, old = self._new, self._key
        if new is None:
            return
        if new.name != old.name and isinstance(old, SavableKey):
            old.remove()
        self._key = new
        self._forget()

    def _noted(self) -> SealKey | None:
        try:
            text = (self._folder / _NOTE).read_bytes()[:_MAX_NOTE].decode()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise StoreWriteError(f"the gate's folder cannot be read: {error.strerror}") from error
        with contextlib.suppress(SealKeyError):
            return parse_provider(text.strip(), folder=self._folder)
        return None

    def _note(self, name: str) -> None:
        path = self._folder / _NOTE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, name.encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreWriteError(f"{path} cannot be written: {error.strerror}", hint="nothing was changed") from error

    def _forget(self) -> None:
        self._new = None
        with contextlib.suppress(OSError):
            (self._folder / _NOTE).unlink(missing_ok=True)


def _try(provider: SealKey, gate: str, key_id: str, key_check: bytes) -> tuple[Sealer | None, StoreError | None]:
    """The sealer of a provider's present or next secret, if one of them fits; else what is wrong with the present."""
    failure: StoreError | None = None
    try:
        secret = provider.load()
        try:
            sealer = Sealer(secret, gate)
        finally:
            secret[:] = bytes(len(secret))
        sealer.check(key_check, key_id)
    except StoreError as error:
        failure = error
    else:
        if isinstance(provider, SavableKey):
            with contextlib.suppress(StoreError):
                provider.discard()
        return sealer, None
    if isinstance(provider, SavableKey):
        with contextlib.suppress(StoreError):
            secret = provider.staged() or bytearray()
            try:
                sealer = Sealer(secret, gate)
            finally:
                secret[:] = bytes(len(secret))
            sealer.check(key_check, key_id)
            provider.promote()
            return sealer, None
    return None, failure
