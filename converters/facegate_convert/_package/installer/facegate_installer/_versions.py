"""Which of two versions is the newer one: as PEP 440 and Semantic Versioning agree on it."""

from __future__ import annotations

import re

__all__ = ["order"]

_PARTS = re.compile(r"\d+|[A-Za-z]+")
_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_AFTER = ("post",)


def order(version: str) -> tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]:
    """A key to sort versions by: 1.0rc1 < 1.0-rc.2 < 1.0 = 1.0.0 < 1.0.post1 < 1.0.1. What follows a "+" counts not."""
    version = version.partition("+")[0]
    found = _RELEASE.match(version)
    release = [int(part) for part in found[0].split(".")] if found else []
    while release and release[-1] == 0:
        release.pop()
    rest = version[found.end() if found else 0 :].lower()
    parts = tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in _PARTS.findall(rest))
    stage = 0 if not parts else 1 if parts[0][2] in _AFTER else -1
    return tuple(release), stage, parts
