"""Making a gate: its folder and its credentials, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegate._clock import SystemClock
from facegate._clock_guard import ClockGuard
from facegate._credentials import ROLES, Credential, add_credential
from facegate._decision import format_time, is_reference
from facegate._declaration import dump_declaration
from facegate._files import sync_folder, write_new
from facegate._gate_folder import (
    BUNDLE,
    DECLARATION,
    DECLARED,
    FORMAT_VERSION,
    GATE,
    KEY,
    POLICY,
    PUBLIC,
    SEAL,
    TRUST,
    GateInfo,
    check_demonstration,
    dump_info,
    template_kind,
)
from facegate._policy_json import dump_policy
from facegate._settings import put_value, write_setting
from facegate._store._audit import Audit
from facegate._store._key_providers import SavableKey, new_secret, parse_provider
from facegate._store._store import Store
from facegate.errors import (
    FacegateError,
    GateExistsError,
    GateFolderError,
    GateWriteError,
    SubjectError,
)
from facegate_edge._keys import SigningKey
from facegate_edge._version import VERSION
from facegate_edge.errors import MissingModelError

if TYPE_CHECKING:
    import os

    from facegate._clock import Clock
    from facegate._declaration import Declaration
    from facegate._policy import Policy
    from facegate_edge._bundle import Bundle
    from facegate_edge._keys import TrustStore

__all__ = [
    "DEFAULT_KEY",
    "NewGate",
    "check_new_gate",
    "check_place",
    "create_gate",
    "default_credentials",
    "make_beside",
    "not_made",
    "put_folder",
]

DEFAULT_KEY = f"file:{SEAL}"


@dataclass(frozen=True, slots=True)
class NewGate:
    """What was made.

    Attributes:
        device_key: signs the gate's decisions. It stands in the folder without a passphrase: a device must start
            without anybody at hand.
        credentials: the folder with a credential of each role, ROLE.credential, to be handed out and taken away.
    """

    device_key: SigningKey
    credentials: Path


def default_credentials(folder: Path) -> Path:
    """Where the credentials of a new gate go: beside it, because a copy of the gate must not be one of its keys."""
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}-credentials")


def check_new_gate(
    folder: Path,
    bundle: Bundle,
    policy: Policy,
    device_id: str,
    *,
    declaration: Declaration,
    key: str = DEFAULT_KEY,
    credentials: Path | None = None,
) -> None:
    """Find out whether `create_gate` would succeed, as far as that can be known without writing.

    Raises:
        GateExistsError, GateFolderError: something is in the way, or there is no folder to make it in.
        SubjectError: `device_id` is no reference.
        PolicyError, MissingModelError: the bundle lacks what the rules or a gate need.
        DeclarationError: a demonstration is declared, and the bundle recognizes real people.
        SealKeyError: `key` names no provider.
    """
    if not is_reference(device_id):
        raise SubjectError(
            "the device id is no reference",
            hint="give --device-id: 1 to 64 letters, digits, dots, dashes, underscores, the first a letter or digit",
        )
    for role in ("detector", "recognizer"):
        if bundle.manifest.model(role) is None:
            raise MissingModelError(f"the bundle has no {role}", hint="`facegate bundle build` makes a whole one")
    policy.check(bundle.manifest)
    check_demonstration(declaration, bundle)
    parse_provider(key, folder=folder)
    beside = default_credentials(folder) if credentials is None else credentials
    if folder.absolute() in (beside.absolute(), *beside.absolute().parents):
        raise GateFolderError(
            "the credentials are not kept in the gate", hint="who copies the gate must not get its keys: another folder"
        )
    for place in (folder, beside):
        check_place(place)


def create_gate(
    folder: str | os.PathLike[str],
    bundle: Bundle,
    trust: TrustStore,
    policy: Policy,
    *,
    device_id: str,
    declaration: Declaration,
    key: str = DEFAULT_KEY,
    credentials: str | os.PathLike[str] | None = None,
    clock: Clock | None = None,
) -> NewGate:
    """Make a gate's folder and that of its credentials, mode 0700 each, all of it or nothing.

    Args:
        folder: where; it must not exist yet, or be empty.
        bundle: opened and trusted. What is copied is what was checked, not the file that may have changed since.
        trust: the keys whose bundles the gate runs, this one's signer among them.
        policy: the rules.
        device_id: the device's reference in decisions.
        declaration: what the gate is for.
        key: the provider of the sealing key. A file or a TPM gets a new secret; elsewhere there must be one.
        credentials: the folder for a credential of each role; it must not exist yet, or be empty. None: beside the
            gate, its name and "-credentials".
        clock: where the time comes from.

    Raises:
        GateFolderError: `trust` would not open the bundle again.
        GateWriteError, StoreWriteError, StoreFullError: no space or no permission. Nothing is left behind.
        SealKeyMissingError, SealKeyError, StoreExistsError: the provider has no secret, or has one already.
        GateExistsError, SubjectError, PolicyError, MissingModelError, DeclarationError: see `check_new_gate`.
    """
    folder = Path(folder)
    beside = default_credentials(folder) if credentials is None else Path(credentials)
    check_new_gate(folder, bundle, policy, device_id, declaration=declaration, key=key, credentials=beside)
    if not bundle.trusted or bundle.key_id not in trust:
        raise GateFolderError(
            "a gate runs only bundles of a signer that it trusts", hint="sign the bundle, and give the signer's key"
        )
    clock = clock if clock is not None else SystemClock()
    device = SigningKey.generate()
    with ExitStack() as undo:
        try:
            made, badges = make_beside(folder, undo), make_beside(beside, undo)
            (made / TRUST).mkdir(mode=0o700)
            info = GateInfo(FORMAT_VERSION, device_id, format_time(clock.now()), VERSION, key)
            write_new(made / GATE, [dump_info(info)])
            write_new(made / POLICY, [dump_policy(policy).encode()])
            write_new(made / DECLARATION, [dump_declaration(declaration).encode()], 0o444)
            write_new(made / BUNDLE, [bundle.file_bytes()])
            for trusted in trust:
                write_new(made / TRUST / f"{trusted.key_id}.pub", [trusted.to_pem()])
            device.save(made / KEY)
            device.verify_key.save(made / PUBLIC)
            tokens = [Credential.new(role) for role in ROLES]
            for token in tokens:
                token.save(badges / f"{token.role}.credential")
            _make_store(made, bundle, device, device_id, declaration, key, tokens, clock, undo)
            for directory in (made / TRUST, made, badges):
                sync_folder(directory)
            # The credentials first: a gate that nobody can open would be worse than credentials of no gate.
            put_folder(badges, beside, undo)
            put_folder(made, folder, undo)
        except FacegateError:  # some are OSErrors as well, and say more
            raise
        except OSError as error:
            raise not_made(folder, error) from error
        undo.pop_all()
    return NewGate(device, beside)


def not_made(folder: Path, error: OSError) -> GateWriteError:
    """What to say of a gate that could not be written."""
    return GateWriteError(
        f"the gate {folder} cannot be made: {error.strerror}",
        hint="make room or choose another folder; nothing was made",
    )


def _make_store(
    made: Path,
    bundle: Bundle,
    device: SigningKey,
    device_id: str,
    declaration: Declaration,
    key: str,
    tokens: list[Credential],
    clock: Clock,
    undo: ExitStack,
) -> None:
    provider = parse_provider(key, folder=made)
    if isinstance(provider, SavableKey):
        secret = new_secret()
        try:
            provider.save(secret)
        finally:
            secret[:] = bytes(len(secret))
        undo.callback(provider.remove)  # it need not be in the folder
    templates = template_kind(bundle)
    store = Store.create(
        made,
        device=device_id,
        space=templates.template_space,
        length=templates.template_length,
        key=provider,
        clock=clock,
    )
    try:
        audit = Audit(store.db, device, clock)
        with store.db.transaction() as tx:
            ClockGuard(store.db, clock).check(tx)  # from here on a clock that jumps is noticed
            audit.begin(tx, details={"device": device_id, "bundle": bundle.id, "declaration": declaration.id})
            put_value(tx, DECLARED, declaration.id)
            if declaration.minors:
                write_setting(tx, "ask_age", value=True)
            for token in tokens:
                add_credential(tx, token, token.role, clock.now())
    finally:
        store.close()


def make_beside(place: Path, undo: ExitStack) -> Path:
    """Make a hidden folder where the real one will be, 0700; `undo` removes it. Raises OSError."""
    made = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.absolute().parent))
    undo.callback(shutil.rmtree, made, ignore_errors=True)
    return made


def put_folder(made: Path, place: Path, undo: ExitStack) -> None:
    """Give a folder its name, in one step that reaches the disk; `undo` removes it. Raises GateExistsError, OSError."""
    try:
        made.rename(place)  # onto nothing or an empty folder; anything else is refused by the system
    except OSError as error:
        if _taken(place):  # somebody was faster
            raise _exists(place) from error
        raise
    undo.callback(shutil.rmtree, place, ignore_errors=True)
    sync_folder(place.absolute().parent)


def check_place(place: Path) -> None:
    """Raise GateExistsError or GateFolderError if no folder can be made there."""
    parent = place.absolute().parent
    try:
        if not parent.is_dir():
            raise GateFolderError(f"there is no folder {parent}", hint="make it first; `init` makes only its own")
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise GateExistsError(f"{place} exists and is no folder", hint="choose another name")
        if place.is_dir() and place.samefile(Path.cwd()):
            raise GateExistsError(
                f"{place} is the current folder, and a gate takes its folder's place as a whole",
                hint="go to the folder above it and name it from there",
            )
        taken = _taken(place)
    except OSError as error:
        raise GateFolderError(f"{place} cannot be read: {error.strerror}", hint="check its permissions") from error
    if taken:
        raise _exists(place)


def _taken(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _exists(folder: Path) -> GateExistsError:
    if (folder / GATE).exists():
        hint = "it is never overwritten: use it, or choose another folder; move it away to start afresh"
        return GateExistsError(f"{folder} is a gate already", hint=hint)
    if all(path.suffix == ".credential" for path in folder.iterdir()):
        return GateExistsError(
            f"{folder} holds credentials already",
            hint="another gate's, or of an `init` that was cut off: give another --credentials, or remove the folder",
        )
    return GateExistsError(
        f"{folder} is not empty", hint="a gate and its credentials have a folder each, of their own: choose other names"
    )
