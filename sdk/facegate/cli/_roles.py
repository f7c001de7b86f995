"""`facegate roles`: who may open which role of a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._credentials import ROLES, Role
from facegate.cli._session import as_administrator, confirm, gate_option, yes_option
from facegate.cli._tables import day, stamp, table
from facegate.errors import CredentialError

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command("list", short_help="List the credentials of a gate.")
@gate_option
@click.pass_obj
def list_(output: Output, folder: Path) -> None:
    """List which labels open which role. The tokens are known to nobody but their holders. Role: administrator."""
    with as_administrator(folder) as administrator:
        credentials = administrator.credentials()
    output.emit(
        {"credentials": [{"role": c.role, "label": c.label, "made": stamp(c.made)} for c in credentials]},
        lambda: table(("role", "label", "made"), [(c.role, c.label, day(c.made)) for c in credentials], "none"),
    )


@click.command(short_help="Make a credential for a role.")
@gate_option
@click.argument("role", type=click.Choice(ROLES))
@click.argument("label")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="The new file for it, mode 0600 [default: LABEL.credential].",
)
@click.pass_obj
def add(output: Output, folder: Path, role: Role, label: str, target: Path | None) -> None:
    """Make a credential that opens ROLE; LABEL is whose it is, by your name for it. Role: administrator.

    It is written to a file and shown nowhere: the gate keeps only its hash.
    """
    path = target if target is not None else Path(f"{label}.credential")
    if path.exists() or path.is_symlink():
        raise CredentialError(f"{path} exists already", hint="a credential is never overwritten: choose another file")
    with as_administrator(folder) as administrator:
        credential = administrator.add_credential(role, label)
        try:
            credential.save(path)
        except OSError as error:
            administrator.revoke_credential(label)  # nobody has it, so nobody must be able to open anything with it
            raise CredentialError(
                f"the credential cannot be written to {path}: {error.strerror}", hint="nothing was made"
            ) from error
    output.emit({"role": role, "label": label, "file": str(path)}, f"made a credential of the role {role}: {path}")


@click.command(short_help="Let a credential open nothing any more.")
@gate_option
@click.argument("label")
@yes_option
@click.pass_obj
def revoke(output: Output, folder: Path, label: str, yes: bool) -> None:
    """Revoke the credential of that LABEL. Role: administrator."""
    confirm(output, f"Revoke the credential {label}?", yes=yes)
    with as_administrator(folder) as administrator:
        administrator.revoke_credential(label)
    output.emit({"label": label}, f"revoked {label}")
