"""Every error of Facegate: those of the edge runtime, and those of people, policy, decisions and the command line."""

from __future__ import annotations

from facegate_edge import errors as _edge
from facegate_edge.errors import *  # noqa: F403 - one place to catch from
from facegate_edge.errors import FacegateError

__all__ = [
    "AuditEntryError",
    "AuditError",
    "AuditRetentionError",
    "AuditTamperedError",
    "BackupError",
    "BackupFormatError",
    "BackupKeyError",
    "BackupTamperedError",
    "BackupWriteError",
    "CapturedFaceError",
    "CertificateError",
    "CommandUnavailableError",
    "ConsentExpiredError",
    "ConsentMissingError",
    "ConsentPurposeError",
    "CredentialError",
    "DecisionError",
    "DecisionSchemaError",
    "DecisionSignatureError",
    "DeclarationError",
    "EmulatedMeasurementError",
    "EnrollError",
    "ExportError",
    "GateClosedError",
    "GateExistsError",
    "GateFolderError",
    "GateInUseError",
    "GateWriteError",
    "GroupError",
    "GuardianConsentError",
    "ListError",
    "MeasurementContradictionError",
    "MeasurementError",
    "MeasurementVersionError",
    "MeasurementWriteError",
    "OutboxError",
    "OutboxTamperedError",
    "PackError",
    "PackSignatureError",
    "PolicyError",
    "ProhibitedPurposeError",
    "ReportError",
    "RequestError",
    "ReviewError",
    "RoleError",
    "ScriptError",
    "SealError",
    "SealKeyError",
    "SealKeyMissingError",
    "SearchError",
    "SettingError",
    "SinkClosedError",
    "SinkError",
    "SinkRefusedError",
    "SinkSetupError",
    "StoreConflictError",
    "StoreCorruptError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreMissingError",
    "StoreTamperedError",
    "StoreVersionError",
    "StoreWriteError",
    "SubjectError",
    "TrialRefusedError",
    "UnknownDecisionError",
    "WipeError",
]
__all__ += _edge.__all__


class PolicyError(FacegateError, ValueError):
    """A policy is not valid, or asks for what the bundle cannot give."""


class SubjectError(FacegateError, ValueError):
    """A subject reference is not of the form of one, or not enrolled."""


class ConsentMissingError(FacegateError, PermissionError):
    """Somebody was to be enrolled without a record of their consent."""


class EnrollError(FacegateError, ValueError):
    """An enrolment cannot be attempted or undone: no frames, too many templates, or the person is restricted."""


class GateClosedError(FacegateError, RuntimeError):
    """A gate was used after it was closed."""


class SearchError(FacegateError, ValueError):
    """A search cannot be asked for in this way."""


class TrialRefusedError(FacegateError, PermissionError):
    """A search that gives no decision is refused: the gate is locked out, or was asked too often."""


class CapturedFaceError(FacegateError, LookupError):
    """No captured face of that id is held: it never was, or its time is over."""


class GateFolderError(FacegateError, ValueError):
    """A gate's folder is missing, incomplete, or holds what no gate has."""


class GateExistsError(GateFolderError):
    """Where a gate was to be made there is something already."""


class GateWriteError(GateFolderError):
    """A gate's folder cannot be written: no space, no permission. Nothing half made is left behind."""

    exit_code = 5


class ScriptError(FacegateError, ValueError):
    """A script of the simulated camera is not valid. The message names the place, e.g. `cues[2].people[0].attack`."""


class DecisionError(FacegateError, ValueError):
    """Base of everything that can be wrong with a decision."""


class DecisionSchemaError(DecisionError):
    """A decision holds what its schema does not allow. The message names the field, never its value."""


class DecisionSignatureError(DecisionError):
    """A signed decision is malformed, or not signed by a key that counts."""

    exit_code = 4


class CommandUnavailableError(FacegateError, ImportError):
    """A command's packages are not installed."""

    exit_code = 5


class ConsentExpiredError(ConsentMissingError):
    """The record of consent is there, and does not count today: it has run out, or is dated in the future."""


class ConsentPurposeError(ConsentMissingError):
    """Consent was given for another purpose than the gate's, or rests on a basis that this gate cannot use."""


class GuardianConsentError(ConsentMissingError):
    """A minor without the consent of a guardian. What the gate had of them is erased already."""


class DeclarationError(FacegateError, ValueError):
    """A declaration of intended use is missing, incomplete, or not the one that the gate was made with."""


class ProhibitedPurposeError(DeclarationError):
    """The codes of conduct prohibit the declared purpose. `rule` names which rule."""

    def __init__(self, message: str, *, rule: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class CredentialError(FacegateError, PermissionError):
    """A credential is missing, malformed, not kept from others, or may not be revoked."""

    exit_code = 4


class RoleError(FacegateError, PermissionError):
    """A credential does not open the role that was asked for, or too many wrong ones were tried."""

    exit_code = 4


class GroupError(FacegateError, ValueError):
    """There is no such group, there is one already, or its name cannot be one."""


class ListError(FacegateError, ValueError):
    """There is no such face list, there is one already, or its name cannot be one."""


class SettingError(FacegateError, ValueError):
    """There is no such setting, or it cannot have that value."""


class BackupError(FacegateError, ValueError):
    """Base of everything that can be wrong with a backup."""


class BackupFormatError(BackupError):
    """A file is no backup, is cut short, or holds what none has."""


class BackupKeyError(BackupError):
    """A backup is locked for another recovery key, or with another passphrase."""

    exit_code = 4


class BackupTamperedError(BackupError):
    """A backup was changed after it was made, or made by another device than is expected."""

    exit_code = 4


class BackupWriteError(BackupError):
    """A backup cannot be written: no space, no permission. Nothing half-written is left behind."""

    exit_code = 5


class WipeError(FacegateError, OSError):
    """A gate cannot be wiped, or not all of it: the message names what is left."""

    exit_code = 5


class StoreError(FacegateError, RuntimeError):
    """Base of everything that can be wrong with a gate's store. No message holds a row's content."""


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no store where one was to be opened."""


class StoreExistsError(StoreError, FileExistsError):
    """Where a store was to be made there is one already."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of Facegate."""


class StoreCorruptError(StoreError):
    """The store's file is damaged, or is none."""

    exit_code = 4


class StoreTamperedError(StoreError):
    """The store's rows are not those that the gate wrote last: changed, removed, brought back or exchanged."""

    exit_code = 4


class StoreConflictError(StoreError, ValueError):
    """What was to be written contradicts what is there: a name is taken, or something refers to what was to go."""


class StoreFullError(StoreError):
    """There is no room for what was to be written. Nothing of it was."""

    exit_code = 5


class StoreWriteError(StoreError):
    """The store cannot be written or read: no permission, a read-only file system, an I/O error."""

    exit_code = 5


class GateInUseError(StoreError):
    """Another process has the gate open."""

    exit_code = 5


class SealKeyMissingError(StoreError):
    """The sealing key's provider has no key."""

    exit_code = 5


class SealKeyError(StoreError):
    """The sealing key is not the one that this store was sealed with, or is none."""

    exit_code = 4


class SealError(StoreError):
    """What was sealed does not open: it was changed, or belongs to another row."""

    exit_code = 4


class AuditError(FacegateError):
    """Base of everything that can be wrong with the audit log."""


class AuditEntryError(AuditError, ValueError):
    """An entry holds what the audit log does not take. The message names the field, never its value."""


class AuditTamperedError(AuditError):
    """The audit log is not as the device signed it: edited, shortened, or replaced."""

    exit_code = 4


class AuditRetentionError(AuditError, ValueError):
    """Entries were to be purged that are too young for it."""


class OutboxError(FacegateError):
    """Base of everything that can be wrong with the outbox."""


class OutboxTamperedError(OutboxError):
    """A decision that waits in the outbox is not as the device signed it. Nothing after it is delivered."""

    exit_code = 4


class SinkError(FacegateError, OSError):
    """A sink did not take a decision. It stays in the outbox and is sent again.

    Attributes:
        retry_after: seconds that the other side asks to wait, or None.
    """

    exit_code = 5

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class SinkRefusedError(SinkError):
    """The other side answered, and will not take decisions from this device until somebody changes something."""


class SinkClosedError(SinkError):
    """The reader of a stream has gone."""

    exit_code = 141


class SinkSetupError(FacegateError, ValueError):
    """A sink cannot be used as it was set up: its address, its secret, its certificates, its file."""


class RequestError(FacegateError, ValueError):
    """A request of a person is not known, closed already, about somebody else, or was not recorded as it must be."""


class CertificateError(FacegateError, ValueError):
    """An erasure certificate is malformed, was not signed by a key that counts, or is about somebody else."""

    exit_code = 4


class UnknownDecisionError(FacegateError, LookupError):
    """The gate has no decision of that id, or not any more."""


class ReviewError(FacegateError, ValueError):
    """A decision does not wait for anybody's verdict, or the verdict cannot be one."""


class ReportError(FacegateError, ValueError):
    """A problem report is not known, or holds what none may hold."""


class ExportError(FacegateError, OSError):
    """A file for a person or a report cannot be written. Nothing of it is left behind."""

    exit_code = 5


class PackError(FacegateError, ValueError):
    """A review pack cannot be made of what was given: an evaluation that is damaged or of another bundle, no gate."""


class PackSignatureError(PackError):
    """A review pack is not as the device signed it, or another device signed it."""

    exit_code = 4


class MeasurementError(FacegateError, ValueError):
    """A file is no measurement, or says what no machine can have measured."""


class MeasurementVersionError(MeasurementError):
    """A measurement is of a version that this one does not know."""


class MeasurementContradictionError(MeasurementError):
    """The figures of a measurement contradict each other: it was changed after it was written."""


class EmulatedMeasurementError(MeasurementError):
    """A measurement was made on an emulator, whose times say nothing about a board."""


class MeasurementWriteError(FacegateError, OSError):
    """A measurement cannot be written: the file exists, no space, no permission."""

    exit_code = 5
