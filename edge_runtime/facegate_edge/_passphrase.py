"""Where a private key's passphrase comes from: a file, the environment or a prompt, never the command line."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from facegate_edge._keys import SigningKey
from facegate_edge.errors import KeyPassphraseError, KeyPermissionError

__all__ = ["PASSPHRASE_FILE_VARIABLE", "PASSPHRASE_VARIABLE", "ask_passphrase", "load_signing_key", "stored_passphrase"]

PASSPHRASE_FILE_VARIABLE = "FACEGATE_PASSPHRASE_FILE"  # noqa: S105 - its name
PASSPHRASE_VARIABLE = "FACEGATE_PASSPHRASE"  # noqa: S105 - its name
_MAX_LENGTH = 4096


def stored_passphrase() -> str | None:
    """The passphrase of the file named in FACEGATE_PASSPHRASE_FILE (its first line), else of FACEGATE_PASSPHRASE.

    Returns:
        The passphrase, or None if neither variable is set.

    Raises:
        KeyPassphraseError: the file cannot be read, or what was found is empty.
        KeyPermissionError: others may read the file.
    """
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    if named is None:
        passphrase = os.environ.get(PASSPHRASE_VARIABLE)
        if passphrase == "":
            raise KeyPassphraseError(f"{PASSPHRASE_VARIABLE} is empty", hint="unset it, or put the passphrase there")
        return passphrase
    try:
        with Path(named).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # A pipe or a descriptor (/dev/fd/3) has an owner's mode of its own; a file must be the owner's alone.
            if stat.S_ISREG(mode) and mode & 0o077:
                raise KeyPermissionError(
                    f"the passphrase file {named} can be read or changed by other users", hint=f"run: chmod 600 {named}"
                )
            line = file.readline(_MAX_LENGTH + 2).rstrip(b"\r\n")
        passphrase = line.decode()
    except (OSError, UnicodeDecodeError):
        raise KeyPassphraseError(
            f"the passphrase file {named} cannot be read", hint=f"check {PASSPHRASE_FILE_VARIABLE}"
        ) from None
    if not passphrase or len(line) > _MAX_LENGTH:
        raise KeyPassphraseError(
            f"the passphrase file {named} has no usable first line", hint="put the passphrase on its first line"
        )
    return passphrase


def ask_passphrase(prompt: str, *, confirm: bool = False) -> str | None:
    """Ask at the terminal, without echo; None if nothing was entered or there is no terminal to ask at.

    Raises:
        KeyPassphraseError: the two entries differ.
    """
    if not sys.stdin.isatty():
        return None
    first = getpass.getpass(f"{prompt}: ")
    if first and confirm and getpass.getpass("The same again: ") != first:
        raise KeyPassphraseError("the two passphrases differ", hint="try again")
    return first or None


def load_signing_key(path: str | os.PathLike[str]) -> SigningKey:
    """Load a private key, fetching its passphrase only if it has one. Raises what `SigningKey.load` raises."""
    try:
        return SigningKey.load(path)
    except KeyPassphraseError:
        # Once: a pipe that holds the passphrase can be read only once.
        passphrase = stored_passphrase()
        if passphrase is None:
            passphrase = ask_passphrase(f"Passphrase of {os.fspath(path)}")
        if passphrase is None:
            raise
    return SigningKey.load(path, passphrase)
