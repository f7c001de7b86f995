"""Credentials: a random token opens one role of one gate.

The gate keeps the SHA-256 of each token. A slow hash, as passwords need, would add nothing: a token has 256 random
bits, and nobody guesses one. A token is in a file of mode 0600, in the environment or typed at a prompt; never on a
command line, where every user of the machine can read it.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, cast, get_args

from facegate._decision import is_reference
from facegate._files import strangers_rights, write_new
from facegate.errors import CredentialError
from facegate_edge._keys import b64url_decode, b64url_encode

if TYPE_CHECKING:
    from facegate._store._database import Database, Transaction

__all__ = [
    "CREDENTIALS_VARIABLE",
    "CREDENTIAL_FILE_VARIABLE",
    "CREDENTIAL_VARIABLE",
    "ROLES",
    "Credential",
    "CredentialInfo",
    "Role",
    "accepts",
    "add_credential",
    "find_credential",
    "list_credentials",
    "revoke_credential",
]

Role = Literal["recognizer", "enroller", "reviewer", "privacy_officer", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)

CREDENTIAL_FILE_VARIABLE = "FACEGATE_CREDENTIAL_FILE"
CREDENTIAL_VARIABLE = "FACEGATE_CREDENTIAL"
CREDENTIALS_VARIABLE = "FACEGATE_CREDENTIALS"  # a folder with ROLE.credential in it

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_BYTES = 32
_TOKEN = re.compile(rf"fgc_({'|'.join(ROLES)})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_MAX_FILE = 256
_HINT = "a credential reads fgc_ROLE_ and 43 letters; `facegate init` and an administrator make them"


class Credential:
    """A role's secret token. Its repr and its errors show the role only; it cannot be pickled."""

    __slots__ = ("_secret", "role")

    def __init__(self, role: Role, secret: bytes) -> None:
        """Make a credential of its 32 secret bytes; `new`, `parse` and `load` are the usual ways.

        Raises:
            CredentialError: there is no such role, or the secret has not 32 bytes.
        """
        if role not in ROLES:
            raise CredentialError("there is no such role", hint=f"the roles are {', '.join(ROLES)}")
        if not isinstance(secret, bytes) or len(secret) != _BYTES:
            raise CredentialError(f"a credential has {_BYTES} secret bytes", hint=_HINT)
        self.role: Role = role
        self._secret = secret

    @classmethod
    def new(cls, role: Role) -> Credential:
        """A new random credential."""
        return cls(role, secrets.token_bytes(_BYTES))

    @classmethod
    def parse(cls, text: str, *, source: str = "the credential") -> Credential:
        """Read what `token` gives. Raises CredentialError, which does not show the text."""
        found = _TOKEN.fullmatch(text) if isinstance(text, str) else None
        try:
            secret = b64url_decode(found[2]) if found is not None else b""
        except ValueError:  # the last letter has bits to spare, and they are not zero
            secret = b""
        if found is None or not secret:
            raise CredentialError(f"{source} is not a credential", hint=_HINT)
        return cls(cast("Role", found[1]), secret)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Credential:
        """Read a credential's file.

        Raises:
            CredentialError: it cannot be read, others may read or change it, or it holds no credential.
        """
        path = Path(path)
        try:
            # O_NONBLOCK: a named pipe that nobody writes to must be refused, not waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                mode = os.fstat(descriptor).st_mode
                os.set_blocking(descriptor, True)  # a pipe that somebody does write to (/dev/fd/3) may come slowly
                data = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise CredentialError(
                f"the credential {path} cannot be read: {error.strerror}", hint="check the path and who may read it"
            ) from None
        if stat.S_ISREG(mode) and mode & strangers_rights(path):
            raise CredentialError(
                f"the credential {path} can be read or changed by other users (mode {mode & 0o777:04o})",
                hint=f"run: chmod 600 {path} - and replace the credential if somebody may have copied it",
            )
        return cls.parse(data[:_MAX_FILE].decode("ascii", "replace").strip(), source=f"what {path} holds")

    @property
    def token(self) -> str:
        """The secret, for the one who will use it: `fgc_ROLE_` and 43 letters."""
        return f"fgc_{self.role}_{b64url_encode(self._secret)}"

    @property
    def digest(self) -> bytes:
        """What a gate keeps of it: the SHA-256 of the token, 32 bytes."""
        return hashlib.sha256(self.token.encode("ascii")).digest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the token to a new file of mode 0600. Raises OSError: it is there already, or cannot be written."""
        write_new(Path(path), [self.token.encode("ascii") + b"\n"], 0o600)

    def __repr__(self) -> str:
        return f"Credential({self.role})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled")


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """What a gate tells of a credential.

    Attributes:
        role: what it opens.
        label: whose it is, by the administrator's name for it.
        made: when.
    """

    role: Role
    label: str
    made: datetime


def find_credential(role: Role) -> Credential:
    """The credential of a role, as an operator gives it to a command.

    Looked at in this order: the file named in FACEGATE_CREDENTIAL_FILE, the token in FACEGATE_CREDENTIAL, the file
    ROLE.credential in the folder named in FACEGATE_CREDENTIALS, and a prompt if there is a terminal. One of another
    role is passed over, so that the variables can stay set for several commands.

    Raises:
        CredentialError: there is none for the role, or one of these is no credential or not kept from others.
    """
    others: list[str] = []
    for source in (_from_file, _from_variable, _from_folder, _from_prompt):
        credential = source(role)
        if credential is not None and credential.role == role:
            return credential
        if credential is not None:
            others.append(credential.role)
    found = f"; what was given is for the role {', '.join(others)}" if others else ""
    raise CredentialError(
        f"this needs the credential of the role {role}{found}",
        hint=f"name its file in {CREDENTIAL_FILE_VARIABLE}, or the folder that `facegate init` made in "
        f"{CREDENTIALS_VARIABLE}",
    )


def add_credential(tx: Transaction, credential: Credential, label: str, now: datetime) -> None:
    """Let a credential open its role from now on.

    Raises:
        CredentialError: the label is none, or in use.
    """
    if not is_reference(label):
        raise CredentialError(
            "the label is none", hint="1 to 64 letters, digits, dots, dashes, underscores, the first a letter or digit"
        )
    if tx.execute("SELECT 1 FROM credential WHERE label = ?", label).fetchone():
        raise CredentialError("there is a credential of that label already", hint="revoke it first, or choose another")
    made = int(now.timestamp() * 1000)
    tx.insert("credential", role=credential.role, label=label, digest=credential.digest, made=made)


def revoke_credential(tx: Transaction, label: str) -> Role:
    """Let a credential open nothing any more.

    Returns:
        The role it was for.

    Raises:
        CredentialError: there is none of that label, or it is the last administrator's.
    """
    known = label if is_reference(label) else ""
    row = tx.execute("SELECT id, role FROM credential WHERE label = ?", known).fetchone()
    if row is None:
        raise CredentialError("there is no credential of that label", hint="an administrator can list the labels")
    identifier, role = row
    (left,) = tx.execute("SELECT count(*) FROM credential WHERE role = ?", role).fetchone()
    if role == "administrator" and left == 1:
        raise CredentialError(
            "the last administrator's credential is not revoked: nobody could make another",
            hint="make a new one first, then revoke this one",
        )
    tx.delete("credential", identifier)
    return cast("Role", role)


def list_credentials(db: Database) -> tuple[CredentialInfo, ...]:
    """All of them, by role and label; the tokens are known to nobody but their holders."""
    rows = db.read("SELECT role, label, made FROM credential")
    # Counted from 1970: a C library with 32 bits for the time can make no moment after January 2038 of a number.
    made = [CredentialInfo(role, label, _EPOCH + timedelta(milliseconds=t)) for role, label, t in rows]
    return tuple(sorted(made, key=lambda info: (ROLES.index(info.role), info.label)))


def accepts(db: Database, role: Role, credential: Credential) -> str | None:
    """The label under which the gate knows the credential for that role, or None.

    The time it takes says nothing about how close a wrong token is: digests are compared, all of them, each in constant
    time.
    """
    digest = credential.digest
    label = None
    for kept, name in db.read("SELECT digest, label FROM credential WHERE role = ?", role):
        if hmac.compare_digest(kept, digest):
            label = name
    return label


def _from_file(_: Role) -> Credential | None:
    named = os.environ.get(CREDENTIAL_FILE_VARIABLE)
    return Credential.load(named) if named else None


def _from_variable(_: Role) -> Credential | None:
    token = os.environ.get(CREDENTIAL_VARIABLE)
    return Credential.parse(token.strip(), source=f"what {CREDENTIAL_VARIABLE} holds") if token else None


def _from_folder(role: Role) -> Credential | None:
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / f"{role}.credential"
    try:
        if not path.exists():  # a folder with some roles only is how an operator is given some roles only
            return None
    except OSError:
        pass  # not to be looked at: `load` says so
    return Credential.load(path)


def _from_prompt(role: Role) -> Credential | None:
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    try:
        typed = getpass.getpass(f"Credential of the role {role}: ").strip()
    except UnicodeDecodeError:  # what was typed or pasted is no text
        typed = "?"
    return Credential.parse(typed, source="what was entered") if typed else None
