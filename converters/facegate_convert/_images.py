"""Photographs on the build host: finding and fingerprinting them; `facegate_edge` reads them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from facegate_convert.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def list_images(folder: Path) -> tuple[Path, ...]:
    """The photographs in a folder and its subfolders, sorted by path, hidden files left out.

    Raises:
        DatasetError: if the folder cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder", hint="name a folder of photographs")
    try:
        found = [
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}", hint="check its permissions") from error
    return tuple(sorted(found))


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, hex. Raises DatasetError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}", hint="check the file's permissions") from error


def fingerprint(paths: Iterable[Path]) -> str:
    """The sha256 (hex) over the files' own sha256s, sorted: the same set of files, whatever they are called."""
    return hashlib.sha256("".join(sorted(file_sha256(path) for path in paths)).encode()).hexdigest()
