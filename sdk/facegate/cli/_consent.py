"""`facegate consent`: record and withdraw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facegate.cli._consent_options import ConsentOptions, consent_options
from facegate.cli._people import erase
from facegate.cli._session import as_enroller, dry_run_option, gate_option, yes_option

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_edge._output import Output


@click.command(short_help="Record a new consent of an enrolled person.")
@gate_option
@click.argument("reference")
@consent_options
@click.pass_obj
def record(output: Output, folder: Path, reference: str, consent: ConsentOptions) -> None:
    """Record a new consent, such as one that takes the place of an expiring one. Role: enroller."""
    given = consent.record(folder)
    with as_enroller(folder) as enroller:
        enroller.record_consent(reference, given)
    output.emit(
        {"reference": reference, "text_version": given.text_version, "text_sha256": given.text_sha256},
        f"recorded the consent of {reference} to {given.text_version}",
    )


@click.command(short_help="Withdraw a person's consent: they are erased at once.")
@gate_option
@click.argument("reference")
@yes_option
@dry_run_option
@click.pass_obj
def withdraw(output: Output, folder: Path, reference: str, yes: bool, dry_run: bool) -> None:
    """The person withdraws their consent: all that the gate has of them is erased at once. Role: enroller.

    Prints the signed certificate for the person. `facegate rights withdraw` does the same and logs the request too.
    """
    erase(output, folder, reference, yes=yes, dry_run=dry_run, how="withdraw")
