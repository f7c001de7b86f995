"""Every error of the edge runtime, and the base of every error of Facegate.

An error's message says what is wrong, its `hint` what to do about it. Neither
ever holds a pixel, a landmark, a template, a score or a secret.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "EngineError",
    "EngineUnavailableError",
    "FacegateError",
    "FrameError",
    "GalleryError",
    "KernelError",
    "ModelError",
    "TemplateSpaceError",
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
