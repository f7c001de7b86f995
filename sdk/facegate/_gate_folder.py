"""A gate on disk: what `facegate init` makes and `open_gate` opens.

gate.json         what this folder is: format, device id, when it was made, where its sealing key comes from
policy.json       the rules; people edit it
declaration.json  what the gate is for; read-only: another purpose is another gate
bundle.fgb        the models, a copy of the bundle as it was verified
trust/            the keys whose bundles this gate runs, KEYID.pub each
device.key        signs decisions and the audit log; 0600, made here, leaves the device never
device.key.pub    what a receiver of decisions needs
gate.db           people, sealed faces, consents, audit log, outbox (and SQLite's gate.db-wal while it is open)
seal.key          what opens the sealed faces; 0600; not here if the key comes from elsewhere
"""

from __future__ import annotations

import contextlib
import json
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate._core import GateCore
from facegate._decision import is_reference
from facegate._declaration import parse_declaration
from facegate._files import sync_folder, write_new
from facegate._gate import Gate
from facegate._policy_json import parse_policy
from facegate._store._key_providers import parse_provider
from facegate._store._store import FILE as STORE
from facegate._store._store import Store
from facegate.errors import DeclarationError, GateFolderError, GateWriteError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore
from facegate_edge.errors import MissingModelError

if TYPE_CHECKING:
    import os

    from facegate._clock import Clock
    from facegate._declaration import Declaration
    from facegate._examiner import GatePipeline
    from facegate._store._database import Database
    from facegate._store._key_providers import SealKey
    from facegate_edge._bundle import Bundle
    from facegate_edge._manifest import RecognizerInfo
    from facegate_edge._timings import Timings

__all__ = [
    "BUNDLE",
    "DECLARATION",
    "FORMAT_VERSION",
    "GATE",
    "KEY",
    "POLICY",
    "PUBLIC",
    "SEAL",
    "STORE",
    "TRUST",
    "GateInfo",
    "check_declaration",
    "check_demonstration",
    "open_gate",
    "read_declaration",
    "read_info",
    "template_kind",
    "write_info",
]

FORMAT_VERSION = 2
GATE, POLICY, DECLARATION, BUNDLE, TRUST, KEY, PUBLIC, SEAL = (
    *("gate.json", "policy.json", "declaration.json", "bundle.fgb", "trust"),
    *("device.key", "device.key.pub", "seal.key"),
)
DECLARED = "declaration"  # the row among the settings that holds the declaration's id
_MAX_FILE = 64 * 1024
_MAX_PROVIDER = 1024


@dataclass(frozen=True, slots=True)
class GateInfo:
    """gate.json.

    Attributes:
        format: version of the folder's layout.
        device_id: the device's reference in decisions.
        created: RFC 3339, UTC.
        facegate: the version that made the folder.
        key: the provider of the sealing key, as `parse_provider` reads it.
    """

    format: int
    device_id: str
    created: str
    facegate: str
    key: str


def open_gate(
    folder: str | os.PathLike[str],
    *,
    key: str | SealKey | None = None,
    passphrase: str | bytes | None = None,
    clock: Clock | None = None,
    timings: Timings | None = None,
    pipeline: GatePipeline | None = None,
) -> Gate:
    """Open a gate that `facegate init` made. One process at a time can have it open.

    Args:
        folder: the gate's.
        key: the provider of the sealing key; None: the one that gate.json names.
        passphrase: of the device's key, if somebody protected it.
        clock: where the time comes from.
        timings: records where the time goes.
        pipeline: the models in use, and the caller's to close; None: made of the gate's bundle.

    Raises:
        GateFolderError: there is no gate, a file of it is missing, everybody may change it, or a newer version made it.
        DeclarationError: declaration.json is not the one that the gate was made with, or a demonstration's, and the
            bundle recognizes people.
        PolicyError: policy.json is not valid, or asks for what the bundle does not have.
        KeyFileError, KeyPermissionError: the device's key or a trusted one cannot be used.
        BundleError: one of its subclasses: the bundle is not as it was signed.
        StoreError: one of its subclasses: no sealing key or a wrong one, another process has the gate open, the store
            is damaged, was changed or is newer.
        ModelError, EngineError: the models cannot be run here.
    """
    folder = Path(folder)
    info = read_info(folder)
    _check_folder(folder)
    policy = parse_policy(_read(folder, POLICY))
    declaration = read_declaration(folder)
    trust = TrustStore.load(folder / TRUST)
    device = SigningKey.load(folder / KEY, passphrase)
    named = info.key if key is None else key
    provider = parse_provider(named, folder=folder) if isinstance(named, str) else named
    # The engines hold on to the models' memory for as long as they need it: the bundle itself may go.
    with open_bundle(folder / BUNDLE, trust=trust) as bundle, contextlib.ExitStack() as stack:
        check_demonstration(declaration, bundle)
        templates = template_kind(bundle)
        store = Store.open(
            folder, space=templates.template_space, length=templates.template_length, key=provider, clock=clock
        )
        stack.callback(store.close)
        if store.device != info.device_id:
            raise GateFolderError("the store is that of another device", hint="restore the gate's own gate.db")
        check_declaration(store.db, declaration)
        if store.key_name != provider.name:
            # A change of the key to another provider was cut off after it had been decided.
            write_info(folder, GateInfo(**{**asdict(info), "key": store.key_name}))
            store.settle_key()
        owned = pipeline is None
        if pipeline is None:
            from facegate_edge._pipeline import Pipeline  # noqa: PLC0415 - the engine is not needed with a given one

            pipeline = Pipeline(bundle, timings=timings)
            stack.callback(pipeline.close)
        core = GateCore(
            *(bundle, policy, device, store),
            device_id=info.device_id,
            declaration=declaration,
            pipeline=pipeline,
            owns_pipeline=owned,
            clock=clock,
            folder=folder,
        )
        stack.pop_all()  # store and pipeline are the gate's to close from here on
        return Gate(core)


def _check_folder(folder: Path) -> None:
    """Raise GateFolderError if everybody may put other files, or links, in the place of a gate's."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH:
        raise GateFolderError(
            f"every user of this machine can change {folder} (mode {mode & 0o7777:04o})",
            hint=f"run: chmod 700 {folder} - and look whether its files are still those of this gate",
        )


def check_demonstration(declaration: Declaration, bundle: Bundle) -> None:
    """Raise DeclarationError if a demonstration is declared, and the bundle recognizes real people.

    At every opening: else a gate that nobody declared would be a demonstration whose bundle was exchanged.
    """
    if declaration.legal_basis == "demonstration" and not bundle.manifest.demonstration:
        raise DeclarationError(
            "a demonstration is declared, and this bundle recognizes people",
            hint="make a gate with this bundle, and declare what it is for",
        )


def template_kind(bundle: Bundle) -> RecognizerInfo:
    """What templates a bundle makes. Raises MissingModelError: none, it has no recognizer."""
    model = bundle.manifest.model("recognizer")
    if model is None or model.recognizer is None:
        raise MissingModelError("the bundle has no recognizer", hint="`facegate bundle build` makes a whole one")
    return model.recognizer


def read_info(folder: Path) -> GateInfo:
    """gate.json. Raises GateFolderError: there is no gate, or not one that this version reads."""
    hint = f"{GATE} is written by `facegate init` and not edited; restore it, or make a new gate"
    data = _read(folder, GATE)
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise GateFolderError(f"{GATE} is not JSON", hint=hint) from None
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise GateFolderError(f"{GATE} says nothing about its format", hint=hint)
    if document["format"] > FORMAT_VERSION:
        # Before the fields: a newer format may have others, and the reader should be told to update, not of a field.
        raise GateFolderError(
            f"the gate has format {document['format']}, this version reads {FORMAT_VERSION}",
            hint="update facegate on this device",
        )
    if document["format"] < FORMAT_VERSION:
        raise GateFolderError(
            f"the gate has format {document['format']}, which kept nobody; this version reads {FORMAT_VERSION}",
            hint="move the folder away and make the gate again with `facegate init`",
        )
    if document.keys() != {field.name for field in fields(GateInfo)}:
        raise GateFolderError(f"{GATE} has not the fields that it should have", hint=hint)
    texts = all(type(document[name]) is str for name in ("created", "facegate", "key"))
    if not is_reference(document["device_id"]) or not texts or len(document["key"]) > _MAX_PROVIDER:
        raise GateFolderError(f"{GATE} holds a value that it cannot have", hint=hint)
    return GateInfo(**document)


def dump_info(info: GateInfo) -> bytes:
    """gate.json's bytes."""
    return (json.dumps(asdict(info), indent=2) + "\n").encode()


def write_info(folder: Path, info: GateInfo) -> None:
    """Replace gate.json in one step. Raises GateWriteError; the old one is still there then."""
    fresh = folder / f".{GATE}.new"
    try:
        fresh.unlink(missing_ok=True)
        write_new(fresh, [dump_info(info)])
        fresh.replace(folder / GATE)
        sync_folder(folder)
    except OSError as error:
        raise GateWriteError(
            f"{folder / GATE} cannot be written: {error.strerror}", hint="make room, or look at the permissions"
        ) from error


def read_declaration(folder: Path) -> Declaration:
    """declaration.json. Raises GateFolderError, DeclarationError."""
    return parse_declaration(_read(folder, DECLARATION))


def check_declaration(db: Database, declaration: Declaration) -> None:
    """Raise DeclarationError unless it is the one that the store was made for: people agreed to its purpose."""
    rows = db.read("SELECT value FROM setting WHERE name = ?", DECLARED)
    if not rows or rows[0][0] != json.dumps(declaration.id):  # as text: a restored backup can hold anything
        raise DeclarationError(
            f"{DECLARATION} is not the declaration that this gate was made with",
            hint="restore the file; what people agreed to does not change: for another purpose make another gate",
        )


def _read(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        if name != GATE:
            raise GateFolderError(
                f"the gate {folder} has no {name}", hint="restore the file, or make a new gate"
            ) from None
        raise GateFolderError(f"there is no gate {folder}", hint=f"`facegate init {folder}` makes one") from None
    except OSError as error:
        raise GateFolderError(
            f"{folder / name} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    if len(data) > _MAX_FILE:
        raise GateFolderError(f"{folder / name} is far too large", hint="restore the file, or make a new gate")
    return data
