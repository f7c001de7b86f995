"""What can go wrong with the emulated machines."""

from __future__ import annotations


class MachineError(Exception):
    """A machine cannot be made or used.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FetchError(MachineError):
    """Packages cannot be fetched: there is no network, or the server does not answer. Not an error of the project."""
