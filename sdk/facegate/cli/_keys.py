"""`facegate keys`: make and show keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._recovery import RecoveryKey, RecoveryPublicKey
from facegate_edge._keys import SigningKey, VerifyKey, read_key_file
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

__all__ = ["load_recovery_key", "new", "show"]


@click.command(short_help="Make a key.")
@click.option(
    "-o", "--output", "path", default="facegate.key", show_default=True, type=click.Path(path_type=Path, dir_okay=False)
)
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unprotected but for its file's mode.")
@click.option("--recovery", is_flag=True, help="Make a recovery key (X25519): its public half locks backups.")
@click.pass_obj
def new(output: Output, path: Path, no_passphrase: bool, recovery: bool) -> None:
    """Make a key: the private half in OUTPUT (mode 0600), the public half beside it in OUTPUT.pub.

    Keys sign bundles or decisions (Ed25519). With --recovery the key opens backups: only OUTPUT.pub goes to devices,
    OUTPUT into a safe.

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
    key: SigningKey | RecoveryKey = RecoveryKey.generate() if recovery else SigningKey.generate()
    key.save(path, passphrase)
    try:
        (key.public if isinstance(key, RecoveryKey) else key.verify_key).save(public)
    except KeyFileError:
        path.unlink()  # half a pair would only stand in the way of the next attempt
        raise
    output.emit(
        {
            "key_id": key.key_id,
            "kind": "recovery" if recovery else "signing",
            "private": str(path),
            "public": str(public),
            "passphrase": passphrase is not None,
        },
        f"made {'recovery ' if recovery else ''}key {key.key_id}\n"
        f"private: {path} (keep it {'off devices, in a safe' if recovery else 'secret'}, keep a copy)\n"
        f"public:  {public} (give it to devices)",
    )


@click.command(short_help="Show a key's id and its public half.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def show(output: Output, path: Path) -> None:
    """Show the id and the public half of a key, public or private, of either kind."""
    key = _find(path)
    kind = "recovery" if isinstance(key, (RecoveryKey, RecoveryPublicKey)) else "signing"
    private = isinstance(key, (SigningKey, RecoveryKey))
    half = key.verify_key if isinstance(key, SigningKey) else key.public if isinstance(key, RecoveryKey) else key
    pem = half.to_pem().decode("ascii")
    text = f"{'recovery ' if kind == 'recovery' else ''}key {key.key_id}\n{pem}"
    output.emit({"key_id": key.key_id, "kind": kind, "private": private, "pem": pem}, text)


def _find(path: Path) -> SigningKey | VerifyKey | RecoveryKey | RecoveryPublicKey:
    """The key of a file, whatever it is."""
    try:
        return VerifyKey.load(path)
    except KeyTypeError as no_signing_key:
        problem = no_signing_key
    if b"PRIVATE KEY-----" not in read_key_file(path)[0]:
        try:
            return RecoveryPublicKey.load(path)
        except KeyTypeError:
            raise problem from None
    try:
        return load_signing_key(path)
    except KeyTypeError as no_signing_key:
        problem = no_signing_key
    try:
        # What has a passphrase is asked for it again: of which kind it is can be seen only when it is open.
        return load_recovery_key(path)
    except KeyTypeError:
        raise problem from None


def load_recovery_key(path: Path) -> RecoveryKey:
    """Load a recovery key's private half, fetching its passphrase only if it has one."""
    try:
        return RecoveryKey.load(path)
    except KeyPassphraseError:
        passphrase = stored_passphrase() or ask_passphrase(f"Passphrase of {path}")
        if passphrase is None:
            raise
    return RecoveryKey.load(path, passphrase)
