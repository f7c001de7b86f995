"""The administrator's role: who may open the gate's roles, and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate._administration import Administration
from facegate._credentials import ROLES, Credential, add_credential, list_credentials, revoke_credential
from facegate._settings import read_settings, write_setting
from facegate.errors import CredentialError

if TYPE_CHECKING:
    from facegate._core import GateCore
    from facegate._credentials import CredentialInfo, Role

__all__ = ["Administrator"]


class Administrator(Administration):
    """What the people who run a gate may do with it. Made by `Gate.administrator`; thread-safe as the gate is.

    It sees nobody's data: who is enrolled is the enroller's and the privacy officer's to know.
    """

    def __init__(self, gate: GateCore, label: str) -> None:
        self._gate = gate
        self._label = label

    def credentials(self) -> tuple[CredentialInfo, ...]:
        """Who can open which role, by role and label. The tokens are known to nobody but their holders."""
        with self._gate.reading(self._label):
            return list_credentials(self._gate.store.db)

    def add_credential(self, role: Role, label: str) -> Credential:
        """Make a credential, which opens its role from now on.

        Args:
            role: what it opens.
            label: whose it is, by your name for it: a reference. The audit log says by which label something was done.

        Returns:
            The credential: save it for its holder now, because the gate keeps only its hash.

        Raises:
            CredentialError: there is no such role, or the label is none or in use.
        """
        if role not in ROLES:
            raise CredentialError("there is no such role", hint=f"the roles are {', '.join(ROLES)}")
        credential = Credential.new(role)
        with self._gate.operation("administrator", self._label) as work:
            add_credential(work.tx, credential, label, work.now.time)
            work.log("add_credential", details={"credential": label, "role": role})
        return credential

    def revoke_credential(self, label: str) -> None:
        """Let a credential open nothing any more. What was opened with it, here too, reads and writes nothing from now.

        Raises:
            CredentialError: there is none of that label, or it is the last administrator's.
        """
        with self._gate.operation("administrator", self._label) as work:
            role = revoke_credential(work.tx, label)
            work.log("revoke_credential", details={"credential": label, "role": role})

    def settings(self) -> dict[str, bool | int | str]:
        """All settings by name; `facegate._settings` says what each does and takes."""
        with self._gate.reading(self._label):
            return read_settings(self._gate.store.db)

    def set(self, name: str, value: bool | int | str) -> None:
        """Change a setting. Raises SettingError: there is none of that name, or it cannot have that value."""
        with self._gate.operation("administrator", self._label) as work:
            before = read_settings(self._gate.store.db)
            write_setting(work.tx, name, value)
            old = before[name]
            if name == "captured_seconds":
                work.tx.after_commit(self._gate.captured.clear)  # those that are held were promised another time
            work.log("set", details={"setting": name, "old": old, "new": value})
