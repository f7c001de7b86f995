"""`facegate settings`: the small values of a gate, beside its policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facegate._settings import SETTINGS
from facegate.cli._session import as_administrator, gate_option
from facegate.cli._tables import table

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_edge._output import Output


@click.command("list", short_help="List the settings, and what each does.")
@gate_option
@click.pass_obj
def list_(output: Output, folder: Path) -> None:
    """List the settings with their values. Role: administrator."""
    with as_administrator(folder) as administrator:
        values = administrator.settings()
    output.emit(
        {
            "settings": {
                name: {"value": value, "default": SETTINGS[name].default, "takes": SETTINGS[name].expects}
                for name, value in values.items()
            }
        },
        lambda: table(
            ("setting", "value", "what"),
            [(name, _shown(value), SETTINGS[name].says) for name, value in values.items()],
            "there are none",
        ),
    )


@click.command("set", short_help="Change a setting.")
@gate_option
@click.argument("name", type=click.Choice(sorted(SETTINGS)))
@click.argument("value")
@click.pass_obj
def set_(output: Output, folder: Path, name: str, value: str) -> None:
    """Give the setting NAME a VALUE: a whole number, true or false, or a word. Role: administrator."""
    with as_administrator(folder) as administrator:
        administrator.set(name, _parsed(name, value))
    output.emit({"name": name, "value": _parsed(name, value)}, f"{name} = {value}")


def _parsed(name: str, value: str) -> bool | int | str:
    """The value in the setting's type where it can be read as one; else as it is, to be refused by the setting."""
    default = SETTINGS[name].default
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(default, int):
        try:
            return int(value)
        except ValueError:
            return value
    return value


def _shown(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
