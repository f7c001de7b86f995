"""What an administrator may set of a gate, beside the policy: small values with limits, kept in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate.errors import SettingError

if TYPE_CHECKING:
    from facegate._store._database import Database, Transaction

__all__ = ["SETTINGS", "Setting", "read_setting", "read_settings", "write_setting"]

PEOPLE_PRESETS = ("bipa", "cubi", "custom")


@dataclass(frozen=True, slots=True)
class Setting:
    """One of them. The default's type is the setting's type.

    Attributes:
        default: what counts until somebody sets it: True or False, a whole number, or a word.
        says: what it does, one line for people.
        limits: of a number, the lowest and the highest.
        choices: of a word, all that there are.
    """

    default: bool | int | str
    says: str
    limits: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()

    def allows(self, value: object) -> bool:
        """Whether it can have that value. True is no number, and 1 is not True."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, str):
            return value in self.choices
        return self.limits is None or self.limits[0] <= value <= self.limits[1]

    @property
    def expects(self) -> str:
        """What it takes, for people."""
        if isinstance(self.default, bool):
            return "true or false"
        if self.limits is not None:
            return f"a whole number from {self.limits[0]} to {self.limits[1]}"
        return "one of " + ", ".join(self.choices)


SETTINGS: dict[str, Setting] = {
    "ask_age": Setting(False, "enrolling must say whether the person is a minor"),
    "age_limit": Setting(14, "who is younger than this many years is a minor", (1, 21)),
    # How long each class of data is kept, see _retention.
    "captured_seconds": Setting(300, "a detected face is kept in memory for this long", (1, 86_400)),
    "people_preset": Setting(
        "custom", "people are erased this long after their last use: bipa 3 years, cubi 1 year", choices=PEOPLE_PRESETS
    ),
    "people_days": Setting(365, "people are erased this many days after their last use (preset custom)", (1, 3653)),
    "list_days": Setting(365, "faces of a list are erased this many days after they were added", (1, 3653)),
    "audit_days": Setting(365, "audit entries are kept for this many days: at least 6 months", (184, 3653)),
    "delivered_days": Setting(30, "delivered decisions are kept for this many days", (1, 3653)),
    "reports_days": Setting(365, "problem reports are kept for this many days", (1, 3653)),
    "requests_days": Setting(1096, "closed requests of people are kept for this many days", (184, 3653)),
    "request_due_days": Setting(30, "a person's request is due after this many days", (1, 90)),
    "clock_gap_days": Setting(45, "the device may be off for this many days before its clock is doubted", (1, 366)),
}


def read_setting(db: Database, name: str) -> Any:
    """A setting's value: what was set, else its default."""
    rows = db.read("SELECT value FROM setting WHERE name = ?", name)
    return json.loads(rows[0][0]) if rows else SETTINGS[name].default


def read_settings(db: Database) -> dict[str, bool | int | str]:
    """All of them, by name."""
    kept = dict(db.read("SELECT name, value FROM setting"))
    return {name: json.loads(kept[name]) if name in kept else s.default for name, s in SETTINGS.items()}


def write_setting(tx: Transaction, name: str, value: bool | int | str) -> None:
    """Set one.

    Raises:
        SettingError: there is none of that name, or it cannot have that value.
    """
    setting = SETTINGS.get(name) if type(name) is str else None
    if setting is None:
        raise SettingError(f"there is no setting {str(name)[:80]!r}", hint=f"there are {', '.join(sorted(SETTINGS))}")
    if not setting.allows(value):
        raise SettingError(f"{name} cannot have that value", hint=f"it takes {setting.expects}: {setting.says}")
    put_value(tx, name, value)


def put_value(tx: Transaction, name: str, value: bool | int | str) -> None:
    """Write the row. The gate keeps values of its own there, which nobody sets, such as the declaration's id."""
    text = json.dumps(value)
    row = tx.execute("SELECT id FROM setting WHERE name = ?", name).fetchone()
    if row is None:
        tx.insert("setting", name=name, value=text)
    else:
        tx.update("setting", row[0], value=text)
