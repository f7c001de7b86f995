"""`facegate decision verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._decision import verify_decision
from facegate.errors import DecisionSignatureError
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from facegate_edge._output import Output

_MAX_FILE = 64 * 1024


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
    found = verify_decision(_read(decision), keys)
    output.emit({"decision": found.to_dict()}, found.to_json)


def _read(given: str) -> str:
    """The signed decision itself, or what a file or stdin holds."""
    if given.count(".") == 2 and given.startswith("ey"):  # noqa: PLR2004 - every JWS starts with base64 of '{"'
        return given
    try:
        if given == "-":
            text = sys.stdin.read(_MAX_FILE)
        else:
            with Path(given).open(encoding="ascii") as file:
                text = file.read(_MAX_FILE)
    except (OSError, ValueError):
        raise DecisionSignatureError(
            "this is neither a signed decision nor a file that holds one", hint="give the three-part text or its file"
        ) from None
    return text.strip()
