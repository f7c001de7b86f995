"""What a review pack is made of: read once, of the gate, the bundle, the software and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from facegate._credentials import ROLES
from facegate._pack._distributions import find_distributions
from facegate.errors import PackError
from facegate_edge._machine import glibc_version, this_machine
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from facegate._clock_guard import TrustedTime
    from facegate._core import GateCore
    from facegate._declaration import Declaration
    from facegate._pack._distributions import Distribution
    from facegate._pack._evaluation import Result
    from facegate._policy import Policy
    from facegate._retention import Retention
    from facegate_edge._bundle import Bundle
    from facegate_edge._machine import MachineFacts
    from facegate_edge._manifest import Manifest, OperatingPoint

__all__ = ["BundleFacts", "Facts", "GateFacts", "MachineState", "pack_time", "read_bundle", "read_gate", "read_machine"]

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What is counted of a gate, by the table that it is counted in; nobody is named.
_COUNTS = {
    "people": "person",
    "faces": "face WHERE person IS NOT NULL",
    "list_faces": "face WHERE list IS NOT NULL",
    "lists": "face_list",
    "groups": "people_group",
    "consents": "consent",
    "restricted": "person WHERE restricted = 1",
    "objections": "person WHERE objection = 1",
    "minors": "person WHERE minor = 1",
    "decisions": "decision",
    "reviews": "decision WHERE review = 'open'",
    "reports": "report",
    "requests_open": "request WHERE closed IS NULL",
    "requests_closed": "request WHERE closed IS NOT NULL",
}


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """A bundle that was opened and checked.

    Attributes:
        manifest, id, key_id, trusted, development: as `Bundle` has them.
        size, sha256: of the whole file.
    """

    manifest: Manifest
    id: str
    key_id: str | None
    trusted: bool
    development: bool
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class GateFacts:
    """A gate, without anybody in it.

    Attributes:
        device_id, device_key: the device's reference and the id of its key.
        device_key_locked: whether the device's key is encrypted with a passphrase.
        created, made_with: when the gate was made, and by which version.
        provider: kind of the sealing key's provider: file, environment, credential, tpm.
        provider_inside: whether a file of it is in the gate's folder, beside the store.
        others_read: whether other users of the machine may look into the gate's folder.
        declaration, policy, settings, retention: as they are set.
        threshold, point: in force, and the operating point that it is of; None if it was set by hand.
        credentials: how many open each role.
        counts: how many of what is kept; `_COUNTS`.
        overdue: how many requests of people should have been answered.
        outdated: how many templates are of another template space.
        waiting, delivered: decisions in the outbox, and those that were taken and are kept.
        last_backup: when the last one was made, None if the log knows of none.
        clock: "" if the clock is believed, else why not.
        audit_problems: how many problems a check of the whole audit log found.
        marks: marks of every decision.
        demonstration: whether it decides about rendered faces.
        receivers: who takes decisions, as whoever made the pack says: no gate knows it.
    """

    device_id: str
    device_key: str
    device_key_locked: bool
    created: str
    made_with: str
    provider: str
    provider_inside: bool
    others_read: bool
    declaration: Declaration
    policy: Policy
    settings: dict[str, bool | int | str]
    retention: Retention
    threshold: float
    point: OperatingPoint | None
    credentials: dict[str, int]
    counts: dict[str, int]
    overdue: int
    outdated: int
    waiting: int
    delivered: int
    last_backup: str | None
    clock: str
    audit_problems: int
    marks: tuple[str, ...]
    demonstration: bool
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineState:
    """The machine that a pack is made on. Names of hosts, users and folders are not among it.

    Attributes:
        facts: processor, board, memory.
        system, python, libc: in words.
        engine: the one that a gate would choose here, with its version; "" if none can be used.
        swap: whether there is swap, into which freed pictures can go; None if it cannot be told.
    """

    facts: MachineFacts
    system: str
    python: str
    libc: str
    engine: str
    swap: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.

    Attributes:
        time: RFC 3339, UTC.
        time_source: where it comes from, in words.
        bundle, gate, machine: see there; `gate` is None for a bundle alone.
        result: of an evaluation, None if none was given.
        software: what is installed.
    """

    time: str
    time_source: str
    bundle: BundleFacts
    gate: GateFacts | None
    machine: MachineState
    result: Result | None
    software: tuple[Distribution, ...]
    version: str = VERSION

    @classmethod
    def gather(
        cls, bundle: BundleFacts, gate: GateFacts | None, result: Result | None, believed: datetime | None = None
    ) -> Facts:
        """Facts of this machine and moment, with what was read before."""
        time, source = pack_time(believed)
        return cls(time, source, bundle, gate, read_machine(), result, find_distributions())


def pack_time(believed: datetime | None = None) -> tuple[str, str]:
    """The time that a pack says, and where it comes from: SOURCE_DATE_EPOCH, the gate's clock, or the machine's.

    Raises:
        PackError: SOURCE_DATE_EPOCH is no time.
    """
    said = os.environ.get(EPOCH_VARIABLE)
    if said:
        try:
            moment = _EPOCH + timedelta(seconds=int(said))  # what fromtimestamp makes of it depends on the C library
        except (ValueError, OverflowError):
            raise PackError(f"{EPOCH_VARIABLE} is no time", hint="it is a number of seconds since 1970") from None
        return f"{moment:%Y-%m-%dT%H:%M:%SZ}", EPOCH_VARIABLE
    if believed is not None:
        return f"{believed:%Y-%m-%dT%H:%M:%SZ}", "the gate's clock"
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}", "the machine's clock"


def read_bundle(bundle: Bundle) -> BundleFacts:
    """Of an opened bundle: all of it was checked."""
    data = bundle.file_bytes()
    return BundleFacts(
        manifest=bundle.manifest,
        id=bundle.id,
        key_id=bundle.key_id,
        trusted=bundle.trusted,
        development=bundle.development,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read_gate(gate: GateCore, now: TrustedTime, receivers: tuple[str, ...] = ()) -> GateFacts:
    """Of an open gate on disk, under its lock.

    Raises:
        PackError: it is in memory only.
        GateFolderError: gate.json is missing.
    """
    from facegate._credentials import list_credentials  # noqa: PLC0415 - what an open gate has loaded already
    from facegate._gate_folder import KEY, read_info  # noqa: PLC0415
    from facegate._retention import Retention  # noqa: PLC0415
    from facegate._settings import read_settings  # noqa: PLC0415

    folder = gate.folder
    if folder is None:
        raise PackError(
            "a gate in memory has no deployment to review", hint="`facegate init` makes one on disk; or use --bundle"
        )
    info, db = read_info(folder), gate.store.db
    kind, _, place = info.key.partition(":")
    opened = [credential.role for credential in list_credentials(db)]
    status = gate.outbox.status()
    overdue = db.read("SELECT count(*) FROM request WHERE closed IS NULL AND due < ?", now.ms)[0][0]
    backups = db.read("SELECT max(time) FROM audit WHERE action = 'backup'")[0][0]
    return GateFacts(
        device_id=gate.device_id,
        device_key=gate.device.key_id,
        device_key_locked=b"ENCRYPTED PRIVATE KEY" in _head(folder / KEY),
        created=info.created,
        made_with=info.facegate,
        provider=kind,
        provider_inside=kind in ("file", "tpm") and (folder / place).resolve().is_relative_to(folder.resolve()),
        others_read=bool(folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)),
        declaration=gate.declaration,
        policy=gate.policy,
        settings=read_settings(db),
        retention=Retention.read(db),
        threshold=gate.threshold,
        point=gate.policy.operating_point(gate.manifest),
        credentials={role: opened.count(role) for role in ROLES},
        counts={name: db.read(f"SELECT count(*) FROM {table}")[0][0] for name, table in _COUNTS.items()},  # noqa: S608
        overdue=overdue,
        outdated=len(gate.store.outdated()),
        waiting=status.waiting,
        delivered=status.delivered,
        last_backup=None if backups is None else f"{_EPOCH + timedelta(milliseconds=backups):%Y-%m-%d}",
        clock=now.cause,
        audit_problems=_problems(gate),
        marks=tuple(mark for mark, is_so in (("clock", now.suspect), ("demonstration", gate.demonstration)) if is_so),
        demonstration=gate.demonstration,
        receivers=receivers,
    )


def _problems(gate: GateCore) -> int:
    report = gate.audit.verify(None)
    return len(report.problems) + report.more


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error.strerror}", hint="restore the file") from None


def read_machine() -> MachineState:
    """Of this machine; what cannot be found out is empty."""
    libc = glibc_version()
    return MachineState(
        facts=this_machine(),
        system=f"{_release()}{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}, {sys.maxsize.bit_length() + 1} bit",
        libc="glibc " + ".".join(map(str, libc)) if libc else "",
        engine=_engine(),
        swap=_swap(),
    )


def _release() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return f"{name[:80]}, " if name else ""


def _engine() -> str:
    from facegate_edge._engine import choose_engine  # noqa: PLC0415 - may fail, and that is what is asked
    from facegate_edge.errors import FacegateError  # noqa: PLC0415

    try:
        return choose_engine().name
    except FacegateError:
        return ""


def _swap() -> bool | None:
    try:
        with Path("/proc/swaps").open(encoding="ascii", errors="replace") as file:
            return len(file.read(4096).splitlines()) > 1
    except OSError:
        return None
