"""Every error of the edge runtime, and the base of every error of Facegate.

An error's message says what is wrong, its `hint` what to do about it. Neither
ever holds a pixel, a landmark, a template, a score or a secret.
"""

from __future__ import annotations

__all__ = [
    "BundleClosedError",
    "BundleError",
    "BundleFormatError",
    "BundleHashError",
    "BundleMemberError",
    "BundleReadError",
    "BundleSignatureError",
    "BundleTooLargeError",
    "BundleTruncatedError",
    "BundleUnsignedError",
    "BundleVersionError",
    "EngineError",
    "EngineUnavailableError",
    "FacegateError",
    "FrameError",
    "GalleryError",
    "InvalidSignatureError",
    "KernelError",
    "KeyExistsError",
    "KeyFileError",
    "KeyPassphraseError",
    "KeyPermissionError",
    "KeyTypeError",
    "KeyWriteError",
    "ManifestError",
    "MissingModelError",
    "ModelError",
    "ProhibitedModelError",
    "TargetError",
    "TemplateSpaceError",
    "UnknownTargetError",
    "UntrustedKeyError",
]


class FacegateError(Exception):
    """Base of all errors that Facegate raises on purpose.

    Attributes:
        hint: what the reader can do about it, one or two sentences.
        exit_code: what the command line exits with (see `facegate --help`):
            3 bad input, 4 not trusted, 5 environment.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FrameError(FacegateError, ValueError):
    """An image or camera frame cannot be used: truncated, wrong size, wrong format."""


class KernelError(FacegateError, ValueError):
    """A native kernel refused its arguments (a size, a type or a range)."""


class ModelError(FacegateError, ValueError):
    """A model is not what its manifest says (tensors, shapes, types)."""


class EngineError(FacegateError, RuntimeError):
    """The inference engine refused a model or failed to run it."""


class EngineUnavailableError(EngineError):
    """No usable inference engine on this machine."""

    exit_code = 5


class TemplateSpaceError(FacegateError, ValueError):
    """Templates of two template spaces cannot be compared."""


class GalleryError(FacegateError, ValueError):
    """A gallery operation cannot be done (unknown entry, wrong length, full)."""


class BundleError(FacegateError, ValueError):
    """Base of everything that can be wrong with a bundle."""


class BundleReadError(BundleError):
    """A bundle's file cannot be read: missing, no permission, not a regular file."""


class BundleFormatError(BundleError):
    """A file is no bundle, or its archive is not laid out exactly as a bundle's must be."""


class BundleTruncatedError(BundleFormatError):
    """A bundle ends too early, or changed its length while it was being read."""


class BundleMemberError(BundleFormatError):
    """An archive member that a bundle must not have: compressed, encrypted, twice, badly named, missing or extra."""


class BundleTooLargeError(BundleError):
    """A bundle or one of its members is larger than a device accepts."""


class BundleVersionError(BundleError):
    """A bundle needs a newer runtime than this one."""


class BundleUnsignedError(BundleError):
    """A bundle carries no signature."""

    exit_code = 4


class BundleSignatureError(BundleError):
    """A bundle's signature is malformed or does not fit its manifest."""

    exit_code = 4


class UntrustedKeyError(BundleError):
    """A bundle is signed by a key that is not among the trusted ones."""

    exit_code = 4


class BundleHashError(BundleError):
    """A model's bytes are not the ones its manifest names (size, sha256 or checksum)."""

    exit_code = 4


class BundleClosedError(BundleError):
    """A bundle was used after it was closed, or closed while a model was still in use."""


class ManifestError(BundleError):
    """A manifest is not valid. The message names the field, e.g. `models[0].input.mean[2]`."""


class ProhibitedModelError(ManifestError):
    """A model that infers gender, age, race, emotion or the like: Facegate neither converts nor runs it."""


class TargetError(BundleError):
    """A bundle was built for another kind of machine than this one."""

    exit_code = 5


class UnknownTargetError(FacegateError, ValueError):
    """There is no device profile of that name."""


class MissingModelError(BundleError):
    """A bundle has no model of the role that is asked for."""


class KeyFileError(FacegateError, ValueError):
    """Base of everything that can be wrong with a key: unreadable, not a key, damaged."""


class KeyTypeError(KeyFileError):
    """A key is not an Ed25519 key, or a public one where a private one is needed (or the reverse)."""


class KeyPassphraseError(KeyFileError):
    """The passphrase of a private key is missing, wrong, or given for a key that has none."""

    exit_code = 4


class KeyPermissionError(KeyFileError):
    """A private key that others may read, or a trusted key that others may replace."""

    exit_code = 4


class KeyExistsError(KeyFileError):
    """A key file is there already and is never overwritten."""


class KeyWriteError(KeyFileError):
    """A key cannot be written: no space, no permission, no such folder. Nothing half-written is left behind."""

    exit_code = 5


class InvalidSignatureError(FacegateError, ValueError):
    """An Ed25519 signature does not fit the message and the key."""

    exit_code = 4
