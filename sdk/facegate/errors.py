"""Every error of Facegate: those of the edge runtime, and those of people, policy, decisions and the command line."""

from __future__ import annotations

from facegate_edge import errors as _edge
from facegate_edge.errors import *  # noqa: F403 - one place to catch from
from facegate_edge.errors import FacegateError

__all__ = [
    "CommandUnavailableError",
    "ConsentExpiredError",
    "ConsentMissingError",
    "ConsentPurposeError",
    "CredentialError",
    "DecisionError",
    "DecisionSchemaError",
    "DecisionSignatureError",
    "DeclarationError",
    "EnrollError",
    "GateClosedError",
    "GateExistsError",
    "GateFolderError",
    "GateWriteError",
    "GroupError",
    "GuardianConsentError",
    "ListError",
    "PolicyError",
    "ProhibitedPurposeError",
    "ScriptError",
    "SettingError",
    "SubjectError",
]
__all__ += _edge.__all__


class PolicyError(FacegateError, ValueError):
    """A policy is not valid, or asks for what the bundle cannot give."""


class SubjectError(FacegateError, ValueError):
    """A subject reference is not of the form of one, or not enrolled."""


class ConsentMissingError(FacegateError, PermissionError):
    """Somebody was to be enrolled without a record of their consent."""


class EnrollError(FacegateError, ValueError):
    """An enrolment cannot be attempted: no frames, or too many templates."""


class GateClosedError(FacegateError, RuntimeError):
    """A gate was used after it was closed."""


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


class GroupError(FacegateError, ValueError):
    """There is no such group, there is one already, or its name cannot be one."""


class ListError(FacegateError, ValueError):
    """There is no such face list, there is one already, or its name cannot be one."""


class SettingError(FacegateError, ValueError):
    """There is no such setting, or it cannot have that value."""
