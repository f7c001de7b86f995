"""`facegate keys`: make and show keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate_edge._keys import SigningKey, VerifyKey
from facegate_edge._passphrase import (
    PASSPHRASE_FILE_VARIABLE,
    PASSPHRASE_VARIABLE,
    ask_passphrase,
    load_signing_key,
    stored_passphrase,
)
from facegate_edge.errors import KeyExistsError, KeyFileError, KeyPassphraseError, KeyTypeError

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command(short_help="Make a key.")
@click.option(
    "-o", "--output", "path", default="facegate.key", show_default=True, type=click.Path(path_type=Path, dir_okay=False)
)
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unprotected but for its file's mode.")
@click.pass_obj
def new(output: Output, path: Path, no_passphrase: bool) -> None:
    """Make a key: the private half in OUTPUT (mode 0600), the public half beside it in OUTPUT.pub.

    The passphrase is asked for at the terminal, or taken from FACEGATE_PASSPHRASE_FILE or FACEGATE_PASSPHRASE.
    """
    public = path.with_name(path.name + ".pub")
    if public.exists():
        raise KeyExistsError(f"{public} exists already", hint="choose another name: a key file is never overwritten")
    passphrase = None
    if not no_passphrase:
        passphrase = stored_passphrase() or ask_passphrase("Passphrase for the new key", confirm=True)
        if passphrase is None:
            raise KeyPassphraseError(
                "no passphrase was given for the new key",
                hint=f"set {PASSPHRASE_FILE_VARIABLE} or {PASSPHRASE_VARIABLE}, or say --no-passphrase",
            )
    key = SigningKey.generate()
    key.save(path, passphrase)
    try:
        key.verify_key.save(public)
    except KeyFileError:
        path.unlink()  # half a pair would only stand in the way of the next attempt
        raise
    output.emit(
        {"key_id": key.key_id, "private": str(path), "public": str(public), "passphrase": passphrase is not None},
        f"made key {key.key_id}\nprivate: {path} (keep it secret, keep a copy)\npublic:  {public} (give it to devices)",
    )


@click.command(short_help="Show a key's id and its public half.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def show(output: Output, path: Path) -> None:
    """Show the id and the public half of a key, public or private."""
    try:
        key, private = VerifyKey.load(path), False
    except KeyTypeError:
        key, private = load_signing_key(path).verify_key, True
    pem = key.to_pem().decode("ascii")
    output.emit({"key_id": key.key_id, "private": private, "pem": pem}, f"key {key.key_id}\n{pem}")
