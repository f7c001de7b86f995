"""Image files as arguments: files, or folders of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegate_edge._values import Frame

__all__ = ["load", "load_picture", "photographs", "pictures_argument"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}


def pictures_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add PICTURES: one or more image files or folders, as `pictures`."""
    return click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path(path_type=Path))(
        command
    )


def photographs(paths: Sequence[Path]) -> list[Path]:
    """The files, and those of the folders in the order of their names. Raises FrameError for an empty folder."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
        if not files:
            raise FrameError(f"{path} holds no picture", hint=f"known are {', '.join(sorted(_SUFFIXES))}")
        found += files
    return found


def load(paths: Sequence[Path]) -> list[Frame]:
    """The pictures. Raises FrameError if one cannot be read."""
    return [load_picture(path) for path in paths]


def load_picture(path: Path) -> Frame:
    """One picture. Raises FrameError if it cannot be read."""
    from facegate_edge._image import load_image  # noqa: PLC0415 - help comes without numpy

    return load_image(path)
