"""The classes of data: what they are, where they are, how they are protected, how long they are kept, as it is set.

Each names the tables of the store and the files of the gate's folder that it is about; a test holds the list against
the store's schema and against a gate's folder, so that nothing is kept that is not told here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from facegate._backup import FILES
from facegate._gate_folder import TRUST

if TYPE_CHECKING:
    from facegate._pack._facts import GateFacts

__all__ = ["KINDS", "DataClass", "data_classes"]

Kind = Literal["biometric", "personal", "operational", "secret"]
KINDS: dict[Kind, str] = {
    "biometric": "biometric data",
    "personal": "personal data",
    "operational": "no personal data",
    "secret": "secret",
}
_MEMORY = "memory of the gate's process only"
_STORE = "gate.db"
_DEVICE = "on the device, in the gate's folder"


@dataclass(frozen=True, slots=True)
class DataClass:
    """A class of data.

    Attributes:
        name: for people.
        what: what exactly.
        kind: how much protection it needs.
        where: where it is.
        protection: how it is protected there.
        kept: for how long, with this gate's figures.
        ends: what ends it.
        leaves: whether and how it leaves the device, beside an encrypted backup.
        now: how many there are at this moment; None where nothing is counted.
        tables, files: of the store and of the gate's folder.
    """

    name: str
    what: str
    kind: Kind
    where: str
    protection: str
    kept: str
    ends: str
    leaves: str
    now: int | None = None
    tables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def in_backup(self) -> bool:
        """Whether an encrypted backup, which the administrator makes, holds it: every table, and most files."""
        return bool(self.tables) or any(file in (*FILES, TRUST) for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """The class as JSON values."""
        lists = {"tables": list(self.tables), "files": list(self.files)}
        return asdict(self) | {"kind": KINDS[self.kind], "in_backup": self.in_backup} | lists


def data_classes(gate: GateFacts) -> tuple[DataClass, ...]:
    """All of them, the most sensitive first."""
    return (*_biometric(gate), *_personal(gate), *_operational(gate), *_secrets(gate))


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number:,} days"


def _biometric(gate: GateFacts) -> tuple[DataClass, ...]:
    rules, counts = gate.retention, gate.counts
    preset = f" (preset {rules.people_preset})" if rules.people_preset != "custom" else ""
    sealed = "AES-256-GCM, a key of its own for each person, wrapped by the sealing key; turned by the gate's rotation"
    return (
        DataClass(
            name="Pictures",
            what="frames of the camera, and pictures of an enrollment",
            kind="biometric",
            where=_MEMORY,
            protection="never written by the gate; freed, not wiped",
            kept="not kept",
            ends="the end of the trial or of the enrollment",
            leaves="no",
        ),
        DataClass(
            name="Captured faces",
            what="templates of faces before the camera, also of people who are not enrolled",
            kind="biometric",
            where=_MEMORY,
            protection="never written; wiped",
            kept=f"{rules.captured_seconds:,} seconds",
            ends="its time, or the gate's closing",
            leaves="no",
        ),
        DataClass(
            name="Gallery in use",
            what="the opened templates, turned by the gate's secret rotation",
            kind="biometric",
            where=_MEMORY,
            protection="locked into memory where the system allows it, kept out of core dumps; wiped",
            kept="while the gate is open",
            ends="the gate's closing",
            leaves="no",
        ),
        DataClass(
            name="Templates of people",
            what="templates of the faces of enrolled people",
            kind="biometric",
            where=_STORE,
            protection=sealed,
            kept=f"{_days(rules.people_days)} after the last match{preset}, and no longer than the consent",
            ends="retention, withdrawal, erasure: the person's key is destroyed first",
            leaves="to the person, in an export that they ask for with templates",
            now=counts["faces"],
            tables=("face",),
        ),
        DataClass(
            name="Faces of lists",
            what="templates of faces without a person",
            kind="biometric",
            where=_STORE,
            protection=sealed.replace("person", "list"),
            kept=f"{_days(rules.list_days)} after they were added",
            ends="retention, removal",
            leaves="no",
            now=counts["list_faces"],
            tables=("face", "face_list"),
        ),
    )


def _personal(gate: GateFacts) -> tuple[DataClass, ...]:
    rules, counts = gate.retention, gate.counts
    tally = "a keyed tally over all rows notices any change; not encrypted"
    return (
        DataClass(
            name="People",
            what="a pseudonym, the days of enrollment and of the last match, marks (minor, restriction, objection)",
            kind="personal",
            where=_STORE,
            protection=tally,
            kept=f"{_days(rules.people_days)} after the last match",
            ends="retention, erasure",
            leaves="to the person, in an export; the pseudonym in a decision that names them",
            now=counts["people"],
            tables=("person",),
        ),
        DataClass(
            name="Groups",
            what="names of groups, and who is in them",
            kind="personal",
            where=_STORE,
            protection=tally,
            kept="as long as the person; a group until it is deleted",
            ends="erasure, leaving, deletion",
            leaves="as people do",
            now=counts["groups"],
            tables=("people_group", "membership"),
        ),
        DataClass(
            name="Consents",
            what="purpose, legal basis, version and hash of the text, when, before whom, until when, guardian",
            kind="personal",
            where=_STORE,
            protection=tally,
            kept="as long as the person; what is on record of it in the log, as long as the log",
            ends="retention, erasure",
            leaves="to the person, in an export",
            now=counts["consents"],
            tables=("consent",),
        ),
        DataClass(
            name="Decisions",
            what="outcome, reasons, pseudonym on a match, time; no picture, template or similarity",
            kind="personal",
            where=_STORE,
            protection="signed by the device",
            kept=f"{_days(rules.delivered_days)} after they were made; those that wait for delivery or a person stay",
            ends="retention",
            leaves="to whoever the gate's operator delivers decisions to",
            now=counts["decisions"],
            tables=("decision",),
        ),
        DataClass(
            name="Audit log",
            what="what was done, when, with which credential, about which pseudonym",
            kind="personal",
            where=_STORE,
            protection="hash-chained, its head signed by the device with every transaction",
            kept=f"{_days(rules.audit_days)}",
            ends="retention, a purge of what is older than six months",
            leaves="to the person, as far as it is about them",
            tables=("audit", "audit_head"),
        ),
        DataClass(
            name="Requests of people",
            what="which right, pseudonym, how the identity was checked, outcome, a note",
            kind="personal",
            where=_STORE,
            protection=tally,
            kept=f"{_days(rules.requests_days)} after they were closed",
            ends="retention",
            leaves="to the person, in an export",
            now=counts["requests_open"] + counts["requests_closed"],
            tables=("request",),
        ),
        DataClass(
            name="Lock-outs",
            what="failed trials in a row, by pseudonym",
            kind="personal",
            where=_STORE,
            protection="the folder's permissions",
            kept="until the next success",
            ends="success, erasure",
            leaves="no",
            tables=("lockout",),
        ),
    )


def _operational(gate: GateFacts) -> tuple[DataClass, ...]:
    rules, counts = gate.retention, gate.counts
    return (
        DataClass(
            name="Problem reports",
            what="ids and reasons of decisions, conditions; no pseudonym and no picture",
            kind="operational",
            where=_STORE,
            protection="the folder's permissions",
            kept=f"{_days(rules.reports_days)}",
            ends="retention",
            leaves="when somebody exports one; a picture goes into that file alone, if one is attached on purpose",
            now=counts["reports"],
            tables=("report",),
        ),
        DataClass(
            name="Configuration",
            what="device, policy, declaration of intended use, settings, state of the clock",
            kind="operational",
            where=_DEVICE,
            protection="hashes of declaration and policy stand in every decision; a keyed tally for settings, state",
            kept="as long as the gate",
            ends="facegate wipe",
            leaves="in this pack",
            tables=("setting", "state"),
            files=("gate.json", "policy.json", "declaration.json"),
        ),
        DataClass(
            name="Models and trusted keys",
            what="the bundle, the public keys of its signers and of the device",
            kind="operational",
            where=_DEVICE,
            protection="the bundle's signature and hashes are checked at every opening",
            kept="as long as the gate",
            ends="facegate wipe",
            leaves="the device's public key, to receivers of decisions",
            files=("bundle.fgb", "trust", "device.key.pub"),
        ),
    )


def _secrets(gate: GateFacts) -> tuple[DataClass, ...]:
    places = {
        "file": "a file of mode 0600" + (" beside the store" if gate.provider_inside else " outside the gate's folder"),
        "environment": "the environment of the process, which removes it when it has been read",
        "credential": "an encrypted credential of systemd",
        "tpm": "sealed to this machine's TPM 2.0",
    }
    return (
        DataClass(
            name="Sealing key",
            what="opens the keys of people",
            kind="secret",
            where=places.get(gate.provider, gate.provider),
            protection=f"by its provider ({gate.provider})",
            kept="until it is exchanged",
            ends="facegate gate rotate-key, facegate wipe",
            leaves="no",
            files=("seal.key",),
        ),
        DataClass(
            name="Secret rotation",
            what="turns the template space of this gate",
            kind="secret",
            where=_STORE,
            protection="sealed by the sealing key",
            kept="until it is renewed",
            ends="facegate gate renew-rotation, facegate wipe",
            leaves="no",
            tables=("rotation",),
        ),
        DataClass(
            name="Device key",
            what="signs decisions, the log, certificates and this pack",
            kind="secret",
            where=_DEVICE,
            protection="mode 0600" + (", encrypted with a passphrase" if gate.device_key_locked else ", no passphrase"),
            kept="as long as the gate",
            ends="facegate wipe",
            leaves="no",
            files=("device.key",),
        ),
        DataClass(
            name="Credentials of roles",
            what="SHA-256 of 256 random bits, a label, a role",
            kind="secret",
            where=_STORE,
            protection="the gate does not have them, only their hashes",
            kept="until they are revoked",
            ends="facegate roles revoke",
            leaves="no",
            now=sum(gate.credentials.values()),
            tables=("credential",),
        ),
    )
