"""What the installer refuses, and with which exit code: those of the `facegate` command line."""

from __future__ import annotations

__all__ = [
    "BusyError",
    "DiskError",
    "DowngradeError",
    "InstallerError",
    "MachineError",
    "NotInstalledError",
    "PackageError",
    "PackageHashError",
    "PackageSignatureError",
    "PackageUnsignedError",
    "PackageUntrustedError",
    "StateError",
    "UsageError",
]


class InstallerError(Exception):
    """Base of all refusals.

    Attributes:
        hint: what to do about it.
        exit_code: 2 usage, 3 input, 4 not trusted, 5 environment.
    """

    exit_code = 5

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(InstallerError):
    """The command line cannot be meant."""

    exit_code = 2


class PackageError(InstallerError):
    """The file is no device package, is damaged, or holds what none holds."""

    exit_code = 3


class PackageHashError(PackageError):
    """A file of the package is not the one that its list names."""

    exit_code = 4


class PackageUnsignedError(InstallerError):
    """The package says that nobody signed it."""

    exit_code = 4


class PackageSignatureError(InstallerError):
    """The signature is malformed, or was not made over this package."""

    exit_code = 4


class PackageUntrustedError(InstallerError):
    """Signed by a key that this device does not trust."""

    exit_code = 4


class MachineError(InstallerError):
    """The package is for another processor, Python or C library."""


class DiskError(InstallerError):
    """No room, no permission, or a place that somebody else can change."""


class BusyError(InstallerError):
    """Another installer is at work."""


class DowngradeError(InstallerError):
    """An older package, and nobody said that it is meant."""

    exit_code = 4


class NotInstalledError(InstallerError):
    """Nothing is installed, or nothing to go back to."""

    exit_code = 1


class StateError(InstallerError):
    """What is installed is not as the installer left it, or does not fit the gate."""
