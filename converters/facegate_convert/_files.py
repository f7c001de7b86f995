"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from facegate_convert.errors import OutputFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_file(path: Path, pieces: Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write a new file beside the old one, to the disk, then put it in its place: a reader sees one or the other.

    Args:
        path: of the file.
        pieces: its bytes, one after the other.
        mode: its mode, whatever the umask: a bundle that only its builder can read is of no use on a device.

    Raises:
        OutputFileError: no name, no space, no permission, no such folder. Nothing was changed then.
    """
    if not path.name:
        raise OutputFileError(f"{str(path)!r} names no file to write", hint="give the file a name")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                os.fchmod(descriptor, mode)
                file.writelines(pieces)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise OutputFileError(
            f"{path} cannot be written: {error.strerror}",
            hint="make room or choose another folder; nothing was changed",
        ) from error
    # The file is complete under its name from here on; that the name survives a power cut is all that is still missing.
    with contextlib.suppress(OSError):
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder survive a power cut. Raises OSError."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
