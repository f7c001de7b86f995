"""Signed texts (compact JWS), given on the command line, in a file or on stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegate.errors import FacegateError

__all__ = ["read_signed"]

_MAX_FILE = 64 * 1024


def read_signed(given: str, what: str, error: type[FacegateError]) -> str:
    """The signed text itself, or what a file, or stdin if it is "-", holds.

    Args:
        given: by the user.
        what: it should be, with its article.
        error: raised if it is neither.
    """
    if given.count(".") == 2 and given.startswith("ey"):  # noqa: PLR2004 - every JWS starts with base64 of '{"'
        return given
    try:
        if given == "-":
            return sys.stdin.read(_MAX_FILE).strip()
        with Path(given).open(encoding="ascii") as file:
            return file.read(_MAX_FILE).strip()
    except (OSError, ValueError):
        raise error(
            f"this is neither {what} nor a file that holds one", hint="give the three-part text or its file"
        ) from None
