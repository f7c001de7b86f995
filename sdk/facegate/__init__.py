"""Decide on the device whether a face belongs to an enrolled person; only the signed decision leaves it.

Everything public is imported when it is first used: `import facegate` loads neither numpy nor an engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from facegate import errors
    from facegate._administrator import Administrator
    from facegate._backup import BackupInfo
    from facegate._captured import CapturedFace
    from facegate._certificate import ErasureCertificate, SignedCertificate, verify_certificate
    from facegate._clock import Clock, SystemClock
    from facegate._consent import Consent
    from facegate._credentials import Credential, CredentialInfo, find_credential
    from facegate._decision import Decision, SignedDecision, sign_decision, verify_decision
    from facegate._declaration import Declaration, load_declaration
    from facegate._delivery import Delivery
    from facegate._enroller import Enroller
    from facegate._enrollment import EnrollResult, FaceInfo, PersonInfo
    from facegate._feedback import ProblemReport
    from facegate._gate import Gate, GateStatus
    from facegate._gate_folder import open_gate
    from facegate._groups import GroupInfo
    from facegate._lists import ListInfo
    from facegate._policy import Policy
    from facegate._privacy_officer import PrivacyOfficer
    from facegate._recognizer import Recognizer
    from facegate._recovery import Passphrase, RecoveryKey, RecoveryPublicKey
    from facegate._reference import open_reference_bundle, reference_policy
    from facegate._restore import RestoreInfo, restore_backup
    from facegate._retention import Retention, SweepReport
    from facegate._reviewer import QueuedReview, Reviewer
    from facegate._rights._archive import verify_archive
    from facegate._rights._requests import Request
    from facegate._sinks._json_lines import JsonLinesSink
    from facegate._sinks._sink import Sink
    from facegate._sinks._webhook import ClientCertificate, WebhookSink, load_webhook_secrets
    from facegate._store._audit_chain import AuditEntry
    from facegate._store._audit_verify import AuditReport, verify_audit
    from facegate._store._outbox import DeliveryReport, QueuedDecision
    from facegate._wipe import WipePlan, plan_wipe, wipe_gate
    from facegate_edge._bundle import Bundle, open_bundle
    from facegate_edge._image import load_image
    from facegate_edge._keys import SigningKey, TrustStore, VerifyKey
    from facegate_edge._quality import QualityGate
    from facegate_edge._values import Frame, PixelFormat

__all__ = [
    "Administrator",
    "AuditEntry",
    "AuditReport",
    "BackupInfo",
    "Bundle",
    "CapturedFace",
    "ClientCertificate",
    "Clock",
    "Consent",
    "Credential",
    "CredentialInfo",
    "Decision",
    "Declaration",
    "Delivery",
    "DeliveryReport",
    "EnrollResult",
    "Enroller",
    "ErasureCertificate",
    "FaceInfo",
    "Frame",
    "Gate",
    "GateStatus",
    "GroupInfo",
    "JsonLinesSink",
    "ListInfo",
    "Passphrase",
    "PersonInfo",
    "PixelFormat",
    "Policy",
    "PrivacyOfficer",
    "ProblemReport",
    "QualityGate",
    "QueuedDecision",
    "QueuedReview",
    "Recognizer",
    "RecoveryKey",
    "RecoveryPublicKey",
    "Request",
    "RestoreInfo",
    "Retention",
    "Reviewer",
    "SignedCertificate",
    "SignedDecision",
    "SigningKey",
    "Sink",
    "SweepReport",
    "SystemClock",
    "TrustStore",
    "VerifyKey",
    "WebhookSink",
    "WipePlan",
    "__version__",
    "errors",
    "find_credential",
    "load_declaration",
    "load_image",
    "load_webhook_secrets",
    "open_bundle",
    "open_gate",
    "open_reference_bundle",
    "plan_wipe",
    "reference_policy",
    "restore_backup",
    "sign_decision",
    "verify_archive",
    "verify_audit",
    "verify_certificate",
    "verify_decision",
    "wipe_gate",
]

__version__ = VERSION

_HOME = {
    "Administrator": "facegate._administrator",
    "AuditEntry": "facegate._store._audit_chain",
    "AuditReport": "facegate._store._audit_verify",
    "BackupInfo": "facegate._backup",
    "Bundle": "facegate_edge._bundle",
    "CapturedFace": "facegate._captured",
    "ClientCertificate": "facegate._sinks._webhook",
    "Clock": "facegate._clock",
    "Consent": "facegate._consent",
    "Credential": "facegate._credentials",
    "CredentialInfo": "facegate._credentials",
    "Decision": "facegate._decision",
    "Declaration": "facegate._declaration",
    "Delivery": "facegate._delivery",
    "DeliveryReport": "facegate._store._outbox",
    "EnrollResult": "facegate._enrollment",
    "Enroller": "facegate._enroller",
    "ErasureCertificate": "facegate._certificate",
    "FaceInfo": "facegate._enrollment",
    "Frame": "facegate_edge._values",
    "Gate": "facegate._gate",
    "GateStatus": "facegate._gate",
    "GroupInfo": "facegate._groups",
    "JsonLinesSink": "facegate._sinks._json_lines",
    "ListInfo": "facegate._lists",
    "Passphrase": "facegate._recovery",
    "PersonInfo": "facegate._enrollment",
    "PixelFormat": "facegate_edge._values",
    "Policy": "facegate._policy",
    "PrivacyOfficer": "facegate._privacy_officer",
    "ProblemReport": "facegate._feedback",
    "QualityGate": "facegate_edge._quality",
    "QueuedDecision": "facegate._store._outbox",
    "QueuedReview": "facegate._reviewer",
    "Recognizer": "facegate._recognizer",
    "RecoveryKey": "facegate._recovery",
    "RecoveryPublicKey": "facegate._recovery",
    "Request": "facegate._rights._requests",
    "RestoreInfo": "facegate._restore",
    "Retention": "facegate._retention",
    "Reviewer": "facegate._reviewer",
    "SignedCertificate": "facegate._certificate",
    "SignedDecision": "facegate._decision",
    "SigningKey": "facegate_edge._keys",
    "Sink": "facegate._sinks._sink",
    "SweepReport": "facegate._retention",
    "SystemClock": "facegate._clock",
    "TrustStore": "facegate_edge._keys",
    "VerifyKey": "facegate_edge._keys",
    "WebhookSink": "facegate._sinks._webhook",
    "WipePlan": "facegate._wipe",
    "find_credential": "facegate._credentials",
    "load_declaration": "facegate._declaration",
    "load_image": "facegate_edge._image",
    "load_webhook_secrets": "facegate._sinks._webhook",
    "open_bundle": "facegate_edge._bundle",
    "open_gate": "facegate._gate_folder",
    "open_reference_bundle": "facegate._reference",
    "plan_wipe": "facegate._wipe",
    "reference_policy": "facegate._reference",
    "restore_backup": "facegate._restore",
    "sign_decision": "facegate._decision",
    "verify_archive": "facegate._rights._archive",
    "verify_audit": "facegate._store._audit_verify",
    "verify_certificate": "facegate._certificate",
    "verify_decision": "facegate._decision",
    "wipe_gate": "facegate._wipe",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "errors":
        return importlib.import_module("facegate.errors")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'facegate' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
