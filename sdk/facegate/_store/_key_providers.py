"""Where the device's sealing secret comes from: a file, the environment, a credential of systemd, a TPM.

Spelled as one text, `parse_provider`:

    file:PATH           a file 0600 of its owner; relative to the gate's folder
    environment:NAME    a variable of the environment, base64url; it is removed from there when it has been read
    credential:NAME     a credential of systemd (LoadCredentialEncrypted=), in $CREDENTIALS_DIRECTORY
    tpm:PATH            sealed to this machine's TPM 2.0; the file at PATH is of no use anywhere else
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Protocol, runtime_checkable

from facegate._files import sync_folder
from facegate._store._sealing import SECRET_LENGTH
from facegate.errors import SealKeyError, SealKeyMissingError, StoreExistsError, StoreFullError, StoreWriteError
from facegate_edge._keys import b64url_decode, b64url_encode

__all__ = ["CredentialKey", "EnvironmentKey", "FileKey", "SavableKey", "SealKey", "new_secret", "parse_provider"]

_MAX_FILE = 4096
_NEXT = ".next"
# What a file of ours holds: a secret as base64url, or what a TPM sealed (see _tpm).
_FORM = re.compile(
    rb'[\w-]{43}\n?|\{"format": [0-9]+, "private": "[\w-]{1,2000}", "public": "[\w-]{1,2000}"\}\n'  # \w: ASCII
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


@runtime_checkable
class SealKey(Protocol):
    """A provider of the device's sealing secret."""

    @property
    def name(self) -> str:
        """As `parse_provider` reads it."""

    def load(self) -> bytearray:
        """The secret, 32 bytes; the caller wipes it. Raises SealKeyMissingError, SealKeyError."""


@runtime_checkable
class SavableKey(SealKey, Protocol):
    """A provider that can also keep a secret, and exchange it for another without a moment in which neither is there.

    `stage` keeps a second secret beside the first, `promote` puts it in its place, `discard` forgets it.
    """

    def exists(self) -> bool:
        """Whether it keeps a secret, or something in its place."""

    def save(self, secret: bytearray) -> None:
        """Keep the first secret. Raises StoreExistsError if there is one."""

    def stage(self, secret: bytearray) -> None:
        """Keep the next secret beside the present one."""

    def staged(self) -> bytearray | None:
        """The next secret, if there is one."""

    def promote(self) -> None:
        """The next secret is the present one; the old one is destroyed."""

    def discard(self) -> None:
        """Destroy the next secret, if there is one."""

    def remove(self) -> None:
        """Destroy the present secret."""


def new_secret() -> bytearray:
    """A random secret of 32 bytes."""
    return bytearray(os.urandom(SECRET_LENGTH))


class FileKey:
    """A file with the secret as base64url.

    Everybody who can read the file and the store can open every template: it protects a stolen backup or database, not
    a stolen device.

    Args:
        path: of the file.
        name: as it was spelled; `file:PATH` if None.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name if name is not None else f"file:{self.path}"

    def load(self) -> bytearray:
        """The file's secret.

        Raises:
            SealKeyMissingError: there is no such file.
            SealKeyError: it is no regular file, others may read or change it, it belongs to somebody else, or holds no
                secret.
        """
        return self._read(self.path)

    def exists(self) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self.path)

    def save(self, secret: bytearray) -> None:
        """Make the file, 0600 from its first byte. Raises StoreExistsError, StoreWriteError, StoreFullError."""
        self._write(self.path, secret)

    def stage(self, secret: bytearray) -> None:
        """Keep the next secret in a second file."""
        self.discard()
        self._write(self._next, secret)

    def staged(self) -> bytearray | None:
        """The secret of the second file."""
        return self._read(self._next) if self._next.exists() else None

    def promote(self) -> None:
        """Put the second file in the place of the first, whose bytes are overwritten then."""
        try:
            old = _open_to_overwrite(self.path)
            try:
                self._next.replace(self.path)
                sync_folder(self.path.parent)
                _overwrite(old)
            finally:
                if old is not None:
                    os.close(old)
        except OSError as error:
            raise _not_written(self.path, error) from error

    def discard(self) -> None:
        """Destroy the second file."""
        _destroy(self._next)

    def remove(self) -> None:
        """Destroy the file. Raises SealKeyError if it is no sealing key, StoreWriteError."""
        _destroy(self.path)

    @property
    def _next(self) -> Path:
        return self.path.with_name(self.path.name + _NEXT)

    def _read(self, path: Path) -> bytearray:
        return self._decoded(_read_own(path), str(path))

    def _write(self, path: Path, secret: bytearray) -> None:
        _write_new(path, self._encoded(secret))

    def _encoded(self, secret: bytearray) -> bytes:
        """What the file holds."""
        return b64url_encode(bytes(secret)).encode("ascii") + b"\n"

    def _decoded(self, data: bytearray, source: str) -> bytearray:
        """The secret of what the file holds."""
        return _decoded(data, source)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"


class EnvironmentKey:
    """A variable of the environment with the secret as base64url. It is removed from there when it has been read.

    Args:
        variable: its name.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.name = f"environment:{variable}"

    def load(self) -> bytearray:
        """The variable's secret; it can be read once. Raises SealKeyMissingError, SealKeyError."""
        text = os.environ.pop(self.variable, None)
        if text is None:
            raise SealKeyMissingError(
                f"the environment has no {self.variable}", hint="set it to the sealing key, for this process only"
            )
        return _decoded(bytearray(text.encode("utf-8", "surrogateescape")), self.variable)

    def __repr__(self) -> str:
        return f"EnvironmentKey({self.variable})"


class CredentialKey:
    """A credential that systemd gives a service: the secret as base64url, or its 32 bytes.

    Args:
        credential: its name, as in LoadCredentialEncrypted=NAME:PATH.
    """

    def __init__(self, credential: str) -> None:
        self.credential = credential
        self.name = f"credential:{credential}"

    def load(self) -> bytearray:
        """The credential's secret. Raises SealKeyMissingError, SealKeyError."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SealKeyMissingError(
                "there are no credentials of systemd",
                hint=f"start the gate as a service with LoadCredentialEncrypted={self.credential}:PATH",
            )
        path = Path(folder) / self.credential
        try:
            # Read-only for everybody by systemd's doing; the folder is what keeps others out.
            data = bytearray(path.read_bytes()[:_MAX_FILE])
        except OSError as error:
            raise SealKeyMissingError(
                f"there is no credential {self.credential}: {error.strerror}",
                hint=f"give the service LoadCredentialEncrypted={self.credential}:PATH",
            ) from None
        return data if len(data) == SECRET_LENGTH else _decoded(data, self.name)

    def __repr__(self) -> str:
        return f"CredentialKey({self.credential})"


def parse_provider(text: str, *, folder: str | os.PathLike[str] = ".") -> SealKey:
    """The provider that a text names; relative paths are of `folder`.

    Raises:
        SealKeyError: it names none.
    """
    kind, _, rest = text.partition(":")
    if not text.isprintable():  # names stand in files, one a line
        kind = ""
    if kind in ("file", "tpm") and rest:
        path = Path(folder) / rest
        if kind == "file":
            return FileKey(path, name=text)
        from facegate._store._tpm import TpmKey  # noqa: PLC0415 - few devices use one

        return TpmKey(path, name=text)
    if kind == "environment" and _NAME.fullmatch(rest):
        return EnvironmentKey(rest)
    if kind == "credential" and _NAME.fullmatch(rest):
        return CredentialKey(rest)
    raise SealKeyError(
        "not a provider of a sealing key", hint="file:PATH, environment:NAME, credential:NAME or tpm:PATH"
    )


def _read_own(path: Path) -> bytearray:
    """The bytes of a file that nobody else may read or change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SealKeyMissingError(
            f"there is no sealing key {path}", hint="without it nobody's templates can be opened: use its backup"
        ) from None
    except OSError as error:
        if path.is_symlink():
            raise SealKeyError(f"the sealing key {path} is a link", hint="name the file itself") from None
        raise SealKeyMissingError(
            f"the sealing key {path} cannot be read: {error.strerror}", hint="look at the permissions of its folder"
        ) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SealKeyError(f"the sealing key {path} is no regular file", hint="name a file")
        if found.st_mode & 0o077:
            raise SealKeyError(
                f"the sealing key {path} can be read or changed by other users (mode {found.st_mode & 0o777:04o})",
                hint=f"run: chmod 600 {path} - and rotate the key if somebody may have copied it",
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise SealKeyError(f"the sealing key {path} belongs to another user", hint="it must be the gate's own")
        return bytearray(os.read(descriptor, _MAX_FILE))
    except OSError as error:
        raise SealKeyMissingError(
            f"the sealing key {path} cannot be read: {error.strerror}", hint="look at the system's log"
        ) from None
    finally:
        os.close(descriptor)


def _decoded(data: bytearray, source: str) -> bytearray:
    try:
        secret = bytearray(b64url_decode(data.decode("ascii").strip()))
    except (UnicodeDecodeError, ValueError):
        secret = bytearray()
    data[:] = bytes(len(data))
    if len(secret) != SECRET_LENGTH:
        raise SealKeyError(
            f"{source} holds no sealing key", hint=f"it is {SECRET_LENGTH} bytes as base64url: use its backup"
        )
    return secret


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise StoreExistsError(f"there is a sealing key {path} already", hint="a key is never overwritten") from None
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise _not_written(path, error) from error


def _open_to_overwrite(path: Path) -> int | None:
    """A key's file, to be destroyed. Raises SealKeyError if it is none: the names of providers stand in plain files."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        data = os.pread(descriptor, _MAX_FILE + 1, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"?"
        if data.strip(b"\0") and _FORM.fullmatch(data) is None:
            raise SealKeyError(  # noqa: TRY301
                f"{path} is no sealing key: it is not destroyed", hint="look who named it as one"
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _overwrite(descriptor: int | None) -> None:
    """Overwrite a file in place. What the medium keeps elsewhere (flash, journals) is out of reach."""
    if descriptor is not None:
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)


def _destroy(path: Path) -> None:
    try:
        descriptor = _open_to_overwrite(path)
        if descriptor is None:
            return
        try:
            _overwrite(descriptor)
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> StoreWriteError | StoreFullError:
    if error.errno == 28:  # noqa: PLR2004 - ENOSPC
        return StoreFullError(f"the disk is full: {path} was not written", hint="make room and try again")
    return StoreWriteError(f"{path} cannot be written: {error.strerror}", hint="look at the folder's permissions")
