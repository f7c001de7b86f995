"""Every error of the training. The message says what is wrong, `hint` what to do about it."""

from __future__ import annotations

from facegate_edge.errors import FacegateError

__all__ = [
    "CacheError",
    "CacheFullError",
    "DivergedError",
    "EvidenceError",
    "FiguresError",
    "MissingExtraError",
    "StaleCacheError",
    "TrainError",
]


class TrainError(FacegateError):
    """Base of everything that can go wrong while models are trained or measured."""


class MissingExtraError(TrainError, ImportError):
    """A package of the extra `train` is not installed."""

    exit_code = 5


class CacheError(TrainError, OSError):
    """The folder of rendered pictures cannot be read or written."""

    exit_code = 5


class CacheFullError(CacheError):
    """There is not enough disk space for the rendered pictures."""


class StaleCacheError(TrainError, ValueError):
    """The cached pictures were made by another renderer, or with other settings."""


class DivergedError(TrainError, ArithmeticError):
    """The loss is no number any more."""


class EvidenceError(TrainError, ValueError):
    """Too few pictures or comparisons for the figure that was asked for."""


class FiguresError(TrainError, ValueError):
    """The file with the figures of a folder's models is absent, damaged or of a trial."""
