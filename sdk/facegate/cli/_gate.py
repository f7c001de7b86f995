"""`facegate gate`: the gate as a whole: how it is, its clock, its keys, its backups."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._backup_stream import BackupHeader, read_header
from facegate._recovery import Passphrase, RecoveryPublicKey
from facegate.cli._keys import load_recovery_key
from facegate.cli._memory import refuse_core_dumps
from facegate.cli._progress import Bar
from facegate.cli._session import as_administrator, as_officer, confirm, gate_option, opened, yes_option
from facegate.cli._tables import count, stamp
from facegate.errors import BackupError, CertificateError, KeyPassphraseError
from facegate_edge._keys import VerifyKey
from facegate_edge._passphrase import (
    PASSPHRASE_FILE_VARIABLE,
    PASSPHRASE_VARIABLE,
    ask_passphrase,
    stored_passphrase,
)
from facegate_edge._targets import check_fit

if TYPE_CHECKING:
    from facegate._recovery import Opener
    from facegate._retention import SweepReport
    from facegate_edge._output import Output

_MAX_CERTIFICATE = 64 * 1024
_NOT_BELIEVED = {
    "back": "the device's clock went back",
    "forward": "the device's clock is far ahead",
}


@click.command(short_help="Show how a gate is.")
@gate_option
@click.pass_obj
def status(output: Output, folder: Path) -> None:
    """Show how a gate is; nothing about anybody, so no credential is needed.

    Exits with 1 if something waits for an operator: the clock is not believed, faces are of another bundle, or the
    bundle was built for a kind of machine that this one is not.
    """
    with opened(folder) as gate:
        found = gate.status()
    fit = check_fit(found.target, any_machine=True)
    lines = [
        f"{found.device_id}, for {found.purpose!r}{', A DEMONSTRATION' if found.demonstration else ''}",
        f"  people     {found.people}",
        f"  decisions  {found.decisions}, {found.waiting} of them wait in the outbox",
        f"  reviews    {found.reviews} wait for a person",
    ]
    if found.outdated:
        lines.append(f"  outdated   {found.outdated} faces of another bundle: `facegate people list --outdated`")
    if found.clock:
        lines.append(f"  CLOCK      {_NOT_BELIEVED[found.clock]}: nothing is deleted by it.")
        lines.append("             Set it right, or look at it and run `facegate gate accept-clock`")
    if fit.verdict != "yes":
        lines.append(f"  {'MACHINE' if fit.verdict == 'refuse' else 'machine'}    {fit}")
        lines.append(f"             {fit.hint}")
    machine = {"verdict": fit.verdict, "reasons": list(fit.reasons), "hint": fit.hint}
    output.emit(asdict(found) | {"machine": machine}, "\n".join(lines))
    if found.clock or found.outdated or fit.verdict == "refuse":
        click.get_current_context().exit(1)


@click.command(short_help="Erase what has been kept long enough.")
@gate_option
@click.option("--dry-run", is_flag=True, help="Say what would be erased, erase nothing.")
@click.pass_obj
def sweep(output: Output, folder: Path, dry_run: bool) -> None:
    """Erase what has been kept long enough, as a running gate does every hour. Role: privacy officer.

    Exits with 1 if the clock is not believed: then nothing is erased.
    """
    with as_officer(folder) as officer:
        swept = officer.sweep(dry_run=dry_run)
    output.emit(
        asdict(swept) | {"time": stamp(swept.time), "people": list(swept.people), "lapsed": list(swept.lapsed)},
        lambda: _swept(swept),
    )
    if swept.suspect:
        click.get_current_context().exit(1)


@click.command("accept-clock", short_help="Believe the device's clock as it is now.")
@gate_option
@yes_option
@click.pass_obj
def accept_clock(output: Output, folder: Path, yes: bool) -> None:
    """Believe the device's clock: you looked at it, and it is right. Role: administrator.

    Retention goes by it from then on: what has run out by it is erased with the next sweep.
    """
    confirm(output, "Is the device's clock right now? What has run out by it will be erased.", yes=yes)
    with as_administrator(folder) as administrator:
        accepted = administrator.accept_clock()
    output.emit({"time": stamp(accepted.time)}, f"the clock is believed: it is {stamp(accepted.time)}")


@click.command("rotate-key", short_help="Exchange the sealing key for a new one.")
@gate_option
@click.option(
    "--key",
    "provider",
    help="Where it is: file:PATH, environment:NAME, credential:NAME, tpm:PATH [default: where the old one is].",
)
@click.pass_obj
def rotate_key(output: Output, folder: Path, provider: str | None) -> None:
    """Wrap all keys anew with a new sealing key; the old one is destroyed. Role: administrator.

    Do it when somebody may have copied the key, or to move it. Backups have keys of their own and stay good.
    """
    with as_administrator(folder) as administrator:
        key = administrator.rotate_key(provider)
    output.emit({"key_id": key}, f"the sealing key is {key}")


@click.command("renew-rotation", short_help="Make templates that were stolen match nothing any more.")
@gate_option
@yes_option
@click.pass_obj
def renew_rotation(output: Output, folder: Path, yes: bool) -> None:
    """Turn all templates by a new secret rotation. Role: administrator.

    Do it when somebody may have copied templates in use. Faces of another bundle are destroyed: they could never be
    compared again.
    """
    confirm(output, "Turn all templates, and destroy the faces of other bundles?", yes=yes)
    with as_administrator(folder) as administrator:
        rotation = administrator.renew_rotation()
    output.emit({"rotation": rotation}, f"the rotation is {rotation}")


@click.command(short_help="Write an encrypted backup.")
@gate_option
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--recovery",
    type=click.Path(path_type=Path),
    envvar="FACEGATE_RECOVERY",
    help="Public half of the recovery key, KEY.pub. Also from FACEGATE_RECOVERY.",
)
@click.pass_obj
def backup(output: Output, folder: Path, target: Path, recovery: Path | None) -> None:
    """Write an encrypted backup of the gate to FILE. Role: administrator.

    It opens with the recovery key only (`facegate keys new --recovery`). Without --recovery a passphrase is asked for,
    or taken from FACEGATE_PASSPHRASE_FILE or FACEGATE_PASSPHRASE. Who was erased before is not in it.
    """
    recipient = RecoveryPublicKey.load(recovery) if recovery is not None else _passphrase(confirm=True)
    with as_administrator(folder) as administrator, Bar(output, "backing up") as bar:
        made = administrator.backup(target, recipient, progress=bar)
    opens = f"the recovery key {made.recovery_key}" if made.recovery_key else "its passphrase"
    holds = f"{made.size / 1e6:.1f} MB, {count(made.people, 'person', 'people')}"
    output.emit(
        asdict(made) | {"path": str(made.path)},
        f"wrote {made.path} ({holds}); it opens with {opens}",
    )


@click.command("backup-info", short_help="Show what anybody can see of a backup.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def backup_info(output: Output, path: Path) -> None:
    """Show of which device a backup is, when it was made, what opens it. Nothing of it is proven before it opens."""
    header = _header(path)
    opens = f"the recovery key {header.recipient.get('key_id')}" if header.kind == "recovery_key" else "its passphrase"
    output.emit(
        {
            "id": header.id,
            "created": header.created,
            "device": header.device,
            "device_key": header.maker.key_id,
            "facegate": header.facegate,
            "kind": header.kind,
            "recovery_key": header.recipient.get("key_id"),
        },
        f"backup {header.id}\nmade {header.created} on {header.device} (device key {header.maker.key_id})\n"
        f"opens with {opens}",
    )


@click.command(short_help="Make a gate of a backup.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--recovery", type=click.Path(path_type=Path), help="The recovery key's private half.")
@click.option(
    "--device-key", type=click.Path(path_type=Path), help="Public key of the device that must have made the backup."
)
@click.option(
    "--erased",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An erasure certificate given after the backup: whom it is about is erased again. Repeatable.",
)
@click.option(
    "--key",
    default="file:seal.key",
    show_default=True,
    help="Where the new sealing key is: file:PATH, environment:NAME, credential:NAME, tpm:PATH.",
)
@click.option("--dry-run", is_flag=True, help="Check all of the backup, keep nothing.")
@click.pass_obj
def restore(
    output: Output,
    path: Path,
    target: Path,
    recovery: Path | None,
    device_key: Path | None,
    erased: tuple[Path, ...],
    key: str,
    dry_run: bool,
) -> None:
    """Make the gate DIR of the backup FILE: all of it or nothing. DIR must not exist yet, or be empty.

    Needs the recovery key, or the passphrase, that the backup was locked with. The gate goes on with the same device
    key and credentials: the old one must not run beside it. Who was erased after the backup comes back, unless their
    certificate is given with --erased.
    """
    from facegate._restore import restore_backup  # noqa: PLC0415 - help comes without numpy

    refuse_core_dumps()
    header = _header(path)
    opener = _opener(header, recovery)
    maker = VerifyKey.load(device_key) if device_key is not None else None
    certificates = [_certificate(file) for file in erased]
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with stream, Bar(output, "restoring") as bar:
        made = restore_backup(
            stream, target, opener, key=key, maker=maker, certificates=certificates, progress=bar, dry_run=dry_run
        )
    holds = f"{count(made.people, 'person', 'people')}, {count(made.decisions, 'decision')}"
    lines = [
        f"the backup is good: {holds}; nothing was kept" if dry_run else f"restored {made.device} to {target}: {holds}",
        f"it was made {made.created} by device key {made.device_key}",
        *(f"erased again: {reference}" for reference in made.erased_again),
    ]
    if maker is None:
        lines.append("note: who made it was not checked: compare that key's id with the device's, or use --device-key")
    if not dry_run:
        lines.append(f"decisions go on after number {made.sequence}; the old gate must not be used any more: wipe it")
        lines.append("note: who was erased, restricted or enrolled after the backup is as it was then")
    output.emit(
        asdict(made)
        | {"folder": str(target), "erased_again": list(made.erased_again), "maker_checked": maker is not None},
        "\n".join(lines),
    )


def _opener(header: BackupHeader, recovery: Path | None) -> Opener:
    """What opens the backup: the key that was named, or a passphrase."""
    if recovery is not None:
        return load_recovery_key(recovery)
    if header.kind == "recovery_key":
        raise click.UsageError(
            f"this backup needs the recovery key {header.recipient.get('key_id')}: give --recovery KEY"
        )
    return _passphrase(confirm=False)


def _passphrase(*, confirm: bool) -> Passphrase:
    passphrase = stored_passphrase() or ask_passphrase("Passphrase of the backup", confirm=confirm)
    if passphrase is None:
        raise KeyPassphraseError(
            "neither a recovery key nor a passphrase was given",
            hint=f"give --recovery KEY, or set {PASSPHRASE_FILE_VARIABLE} or {PASSPHRASE_VARIABLE}",
        )
    return Passphrase(passphrase)


def _header(path: Path) -> BackupHeader:
    try:
        with path.open("rb") as stream:
            return read_header(stream)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BackupError:
    return BackupError(f"the backup {path} cannot be read: {error.strerror}", hint="check the path and its permissions")


def _certificate(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_MAX_CERTIFICATE).strip()
    except (OSError, ValueError):
        raise CertificateError(f"{path} holds no erasure certificate", hint="give the file with its text") from None


def _swept(swept: SweepReport) -> str:
    if swept.suspect:
        return f"nothing was erased: {_NOT_BELIEVED[swept.suspect]}; see `facegate gate status`"
    done = "would erase" if swept.dry_run else "erased"
    held = [f"kept {reference}: their time is over, but their data is restricted" for reference in swept.held]
    if swept.empty:
        return "\n".join(["there is nothing to erase", *held])
    lines = [
        *held,
        *(f"{done} {reference}: not used for too long" for reference in swept.people),
        *(f"{done} the faces of {reference}: the consent has expired" for reference in swept.lapsed),
    ]
    counts = {
        "faces of lists": swept.list_faces,
        "audit entries": swept.audit,
        "decisions": swept.decisions,
        "reports": swept.reports,
        "requests": swept.requests,
    }
    lines += [f"{done} {number} {name}" for name, number in counts.items() if number]
    return "\n".join(lines)
