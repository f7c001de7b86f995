"""`facegate decision verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._decision import verify_decision
from facegate.cli._signed import read_signed
from facegate.errors import DecisionSignatureError
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command(short_help="Check a decision's signature and schema, and show it.")
@click.argument("decision", metavar="JWS|FILE|-")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="The device's public key, or a folder of devices' keys (*.pub).",
)
@click.pass_obj
def verify(output: Output, decision: str, key: Path) -> None:
    """Check a decision: its signature by the device's KEY and its schema. Prints it as JSON."""
    keys = TrustStore.load(key)
    found = verify_decision(read_signed(decision, "a signed decision", DecisionSignatureError), keys)
    output.emit({"decision": found.to_dict()}, found.to_json)
