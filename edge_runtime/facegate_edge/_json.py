"""What `json.loads` lets pass and this project does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["repeated"]


def repeated(pairs: Iterable[tuple[str, object]]) -> str | None:
    """The first name that stands for a second time among an object's (name, value) pairs, None if there is none.

    JSON readers differ in which of the two counts. The time is linear: the pairs may be a stranger's.
    """
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return None
