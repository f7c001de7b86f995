"""Files that a gate is made of, created whole and with their final mode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["strangers_rights", "sync_folder", "write_new"]


def strangers_rights(path: str | os.PathLike[str]) -> int:
    """The bits of a secret's mode that let others than its owner at it.

    Whom systemd 254 and later give a credential stands in an ACL, whose mask is seen where a group's rights are: 0440.
    The folder that systemd made for this service, named in CREDENTIALS_DIRECTORY, keeps everybody else out.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return 0o037 if folder and Path(path).parent == Path(folder) else 0o077


def write_new(path: Path, pieces: Iterable[bytes | memoryview], mode: int = 0o644) -> None:
    """Create a file that was not there, with its mode from the first byte on, and put it on the disk.

    Whatever the umask: a file that anybody may write is not trusted again.

    Raises:
        OSError: it exists, or cannot be written. A part of it may be left, for the caller to remove.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make sure that names that came, changed or went in a folder survive a power loss. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
