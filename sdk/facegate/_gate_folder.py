"""A gate on disk: what `facegate init` makes and `open_gate` opens.

    gate.json       what this folder is: format, device id, when it was made
    policy.json     the rules; people edit it
    bundle.fgb      the models, a copy of the bundle as it was verified
    trust/          the keys whose bundles this gate runs, KEYID.pub each
    device.key      signs decisions; 0600, made here, leaves the device never
    device.key.pub  what a receiver of decisions needs

People are not in it yet: they are enrolled in memory and gone when the gate is closed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate._decision import format_time, is_reference
from facegate._gate import Gate
from facegate._policy_json import dump_policy, parse_policy
from facegate.errors import GateExistsError, GateFolderError, GateWriteError, SubjectError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore
from facegate_edge._version import VERSION
from facegate_edge.errors import MissingModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegate._clock import Clock
    from facegate._policy import Policy
    from facegate_edge._bundle import Bundle
    from facegate_edge._timings import Timings

__all__ = ["FORMAT_VERSION", "GateInfo", "check_new_gate", "create_gate", "open_gate"]

FORMAT_VERSION = 1
GATE, POLICY, BUNDLE, TRUST, KEY, PUBLIC = (
    *("gate.json", "policy.json", "bundle.fgb", "trust"),
    *("device.key", "device.key.pub"),
)
_MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class GateInfo:
    """gate.json.

    Attributes:
        format: version of the folder's layout.
        device_id: the device's reference in decisions.
        created: RFC 3339, UTC.
        facegate: the version that made the folder.
    """

    format: int
    device_id: str
    created: str
    facegate: str


def check_new_gate(folder: Path, bundle: Bundle, policy: Policy, device_id: str) -> None:
    """Find out whether `create_gate` would succeed, as far as that can be known without writing.

    Raises:
        GateExistsError, GateFolderError: something is in the way, or there is no folder to make it in.
        SubjectError: `device_id` is no reference.
        PolicyError, MissingModelError: the bundle lacks what the rules or a gate need.
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
    parent = folder.absolute().parent
    try:
        if not parent.is_dir():
            raise GateFolderError(f"there is no folder {parent}", hint="make it first; `init` makes only its own")
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise GateExistsError(f"{folder} exists and is no folder", hint="choose another name")
        if folder.is_dir() and folder.samefile(Path.cwd()):
            raise GateExistsError(
                f"{folder} is the current folder, and a gate takes its folder's place as a whole",
                hint="go to the folder above it and name it from there",
            )
        taken = _taken(folder)
    except OSError as error:
        raise _unreadable(folder, error) from error
    if taken:
        raise _exists(folder)


def create_gate(
    folder: str | os.PathLike[str], bundle: Bundle, trust: TrustStore, policy: Policy, *, device_id: str
) -> SigningKey:
    """Make a gate's folder, mode 0700, all of it or nothing.

    Args:
        folder: where; it must not exist yet, or be empty.
        bundle: opened and trusted. What is copied is what was checked, not the file that may have changed since.
        trust: the keys whose bundles the gate runs, this one's signer among them.
        policy: the rules.
        device_id: the device's reference in decisions.

    Returns:
        The device's key, which was made for this gate and stands in it without a passphrase: a device must start
        without anybody at hand.

    Raises:
        GateFolderError: `trust` would not open the bundle again.
        GateWriteError: no space or no permission. Nothing is left behind.
        GateExistsError, SubjectError, PolicyError, MissingModelError: see `check_new_gate`.
    """
    folder = Path(folder)
    check_new_gate(folder, bundle, policy, device_id)
    if not bundle.trusted or bundle.key_id not in trust:
        raise GateFolderError(
            "a gate runs only bundles of a signer that it trusts", hint="sign the bundle, and give the signer's key"
        )
    info = GateInfo(FORMAT_VERSION, device_id, format_time(datetime.now(timezone.utc)), VERSION)
    key = SigningKey.generate()
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))  # 0700
    except OSError as error:
        raise _unwritable(folder, error) from error
    begun = made
    try:
        (made / TRUST).mkdir(mode=0o700)
        _write(made / GATE, [(json.dumps(asdict(info), indent=2) + "\n").encode()])
        _write(made / POLICY, [dump_policy(policy).encode()])
        _write(made / BUNDLE, [bundle.file_bytes()])
        for trusted in trust:
            _write(made / TRUST / f"{trusted.key_id}.pub", [trusted.to_pem()])
        key.save(made / KEY)
        key.verify_key.save(made / PUBLIC)
        for directory in (made / TRUST, made):
            _sync(directory)
        made.rename(folder)  # onto nothing or an empty folder; anything else is refused by the system
        begun = folder
        _sync(folder.absolute().parent)
    except BaseException as error:
        shutil.rmtree(begun, ignore_errors=True)
        if isinstance(error, OSError):
            if begun is made and _taken(folder):  # somebody was faster
                raise _exists(folder) from error
            raise _unwritable(folder, error) from error
        raise
    return key


def open_gate(
    folder: str | os.PathLike[str],
    *,
    passphrase: str | bytes | None = None,
    clock: Clock | None = None,
    timings: Timings | None = None,
) -> Gate:
    """Open a gate that `facegate init` made. People are enrolled in memory, and gone when it is closed.

    Args:
        folder: the gate's.
        passphrase: of the device's key, if somebody protected it.
        clock: where the time comes from.
        timings: records where the time goes.

    Raises:
        GateFolderError: there is no gate, a file of it is missing, or a newer version made it.
        PolicyError: policy.json is not valid, or asks for what the bundle does not have.
        KeyFileError, KeyPermissionError: the device's key or a trusted one cannot be used.
        BundleError: one of its subclasses: the bundle is not as it was signed.
        ModelError, EngineError: the models cannot be run here.
    """
    folder = Path(folder)
    info = _info(folder)
    policy = parse_policy(_read(folder, POLICY))
    trust = TrustStore.load(folder / TRUST)
    device = SigningKey.load(folder / KEY, passphrase)
    # The engines hold on to the models' memory for as long as they need it: the bundle itself may go.
    with open_bundle(folder / BUNDLE, trust=trust) as bundle:
        return Gate(bundle, policy, device, device_id=info.device_id, clock=clock, timings=timings)


def _info(folder: Path) -> GateInfo:
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
    if document.keys() != {field.name for field in fields(GateInfo)} or document["format"] != FORMAT_VERSION:
        raise GateFolderError(f"{GATE} has not the fields that it should have", hint=hint)
    if not is_reference(document["device_id"]) or not all(type(document[n]) is str for n in ("created", "facegate")):
        raise GateFolderError(f"{GATE} holds a value that it cannot have", hint=hint)
    return GateInfo(**document)


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
        raise _unreadable(folder / name, error) from error
    if len(data) > _MAX_FILE:
        raise GateFolderError(f"{folder / name} is far too large", hint="restore the file, or make a new gate")
    return data


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    # Whatever the umask: a key that anybody may write is not trusted again when the gate is opened.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _exists(folder: Path) -> GateExistsError:
    if (folder / GATE).exists():
        hint = "it is never overwritten: use it, or choose another folder; move it away to start afresh"
        return GateExistsError(f"{folder} is a gate already", hint=hint)
    return GateExistsError(f"{folder} is not empty", hint="a gate has a folder of its own: choose another name")


def _unreadable(path: Path, error: OSError) -> GateFolderError:
    return GateFolderError(f"{path} cannot be read: {error.strerror}", hint="check its permissions")


def _unwritable(folder: Path, error: OSError) -> GateWriteError:
    return GateWriteError(
        f"the gate {folder} cannot be made: {error.strerror}",
        hint="make room or choose another folder; nothing was made",
    )
