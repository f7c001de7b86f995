"""What can be found of a control."""

from __future__ import annotations

__all__ = ["IN_FORCE", "NOT_IN_FORCE", "NOT_KNOWN", "NOT_NEEDED", "PARTLY", "Finding", "yes_if"]

IN_FORCE, PARTLY, NOT_IN_FORCE, NOT_NEEDED, NOT_KNOWN = (
    *("in force", "partly", "not in force", "not needed", "not known"),
)
Finding = tuple[str, str]
"""A state and why, in one sentence with the figures."""


def yes_if(fulfilled: bool, finding: str) -> Finding:
    """In force or not, and why."""
    return (IN_FORCE if fulfilled else NOT_IN_FORCE), finding
