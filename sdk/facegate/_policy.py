"""What counts as a match, as a value with an id, so that a decision can say by which rules it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facegate.errors import PolicyError
from facegate_edge._quality import QualityGate

if TYPE_CHECKING:
    from facegate_edge._manifest import Manifest, OperatingPoint

__all__ = ["Policy"]

_COUNTS = ("max_attempts", "max_trials_per_minute")
_MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a gate.

    Attributes:
        fmr: the false match rate that may not be exceeded, 0..1. The threshold is that of the bundle's loosest
            operating point that keeps it. The default is the limit of NIST SP 800-63B-4 (1 in 10,000).
        threshold: a similarity (-1..1) used in place of an operating point; the decision's rates are then unknown.
        quality: limits below which a face is not compared.
        one_face_only: reject a frame that shows several faces; otherwise the largest one counts.
        require_liveness: check that the face is a live one; the bundle must have a model for it.
        live_at: from this probability (0..1) on a face counts as live. No default: it belongs to a model and a site.
        spoof_at: up to this probability a face counts as an attack; what lies between is for a person to review.
        max_attempts: failed trials in a row before trials are locked out; 0 never locks out.
        lockout_seconds: how long the first lock-out lasts. Every further failed trial locks out for twice as long.
        max_lockout_seconds: where the doubling ends.
        max_trials_per_minute: how often the gate may be asked in any 60 seconds, by everybody together; 0 is no limit.

    Raises:
        PolicyError: a value is out of range, or liveness is required without its two limits.
    """

    fmr: float = 1e-4
    threshold: float | None = None
    quality: QualityGate = field(default_factory=QualityGate)
    one_face_only: bool = True
    require_liveness: bool = False
    live_at: float | None = None
    spoof_at: float | None = None
    max_attempts: int = 5
    lockout_seconds: float = 30.0
    max_lockout_seconds: float = 3600.0
    max_trials_per_minute: int = 60

    def __post_init__(self) -> None:
        """Refuse rules that cannot be meant."""
        for name in ("fmr", "threshold", "live_at", "spoof_at", "lockout_seconds", "max_lockout_seconds"):
            value = getattr(self, name)
            optional = name in ("threshold", "live_at", "spoof_at")
            _require(_is_number(value) or (optional and value is None), f"{name} must be a number")
        for name in ("one_face_only", "require_liveness"):
            _require(type(getattr(self, name)) is bool, f"{name} must be True or False")
        _require(isinstance(self.quality, QualityGate), "quality must be a QualityGate")
        _require(all(map(_is_number, dataclasses.asdict(self.quality).values())), "quality limits must be numbers")
        _require(0 < self.fmr < 1, "fmr must be between 0 and 1")
        _require(self.threshold is None or -1 <= self.threshold <= 1, "threshold must be -1 to 1")
        for name in _COUNTS:
            value = getattr(self, name)
            _require(type(value) is int and 0 <= value <= _MAX_COUNT, f"{name} must be 0 to {_MAX_COUNT}")
        durations = 0 < self.lockout_seconds <= self.max_lockout_seconds
        _require(durations, "lockout_seconds must be above 0 and at most max_lockout_seconds")
        if self.require_liveness or self.live_at is not None or self.spoof_at is not None:
            low, high = self.spoof_at, self.live_at
            if low is None or high is None:
                raise PolicyError(
                    "liveness needs both limits, live_at and spoof_at",
                    hint="measure them with live and attack samples of your site; no model's default fits every camera",
                )
            _require(0 <= low < high <= 1, "spoof_at must be below live_at, both 0 to 1")

    @property
    def id(self) -> str:
        """sha256 of the policy's canonical JSON, 64 hex digits: equal rules have equal ids."""
        text = json.dumps(_spelled(dataclasses.asdict(self)), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def operating_point(self, manifest: Manifest) -> OperatingPoint | None:
        """The operating point that gives the threshold; None if there is none, or `threshold` takes its place."""
        if self.threshold is not None:
            return None
        kept = [point for point in manifest.operating_points if point.fmr <= self.fmr]
        return max(kept, key=lambda point: (bool(point.dataset), point.fmr), default=None)

    def threshold_for(self, manifest: Manifest) -> float:
        """The similarity from which on two templates match.

        Operating points that were measured come before those that were only stated (see `OperatingPoint.dataset`).

        Raises:
            PolicyError: no operating point of the bundle keeps `fmr`.
        """
        if self.threshold is not None:
            return self.threshold
        point = self.operating_point(manifest)
        if point is not None:
            return point.threshold
        offered = ", ".join(f"{point.fmr:g}" for point in sorted(manifest.operating_points, key=lambda p: p.fmr))
        raise PolicyError(
            f"the bundle has no operating point for an FMR of {self.fmr:g}",
            hint=f"it has {offered}: ask for one of these, or evaluate it on more data"
            if offered
            else "it was never evaluated: build it with operating points, or set a threshold yourself",
        )

    def check(self, manifest: Manifest) -> float:
        """The threshold, after making sure that a bundle of that manifest has all that these rules ask for.

        Raises:
            PolicyError: no operating point keeps `fmr`, or liveness is required and there is no model for it.
        """
        threshold = self.threshold_for(manifest)
        if self.require_liveness and manifest.model("liveness") is None:
            raise PolicyError(
                "the policy requires liveness and the bundle has no model for it",
                hint="build the bundle with a liveness model, or change the policy",
            )
        return threshold


def _spelled(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules with 30 and 30.0 spelled alike; counts alone are whole numbers."""
    spelled = {}
    for name, value in rules.items():
        number = type(value) is int and name not in _COUNTS
        spelled[name] = _spelled(value) if isinstance(value, dict) else float(value) if number else value
    return spelled


def _is_number(value: object) -> bool:
    """Whether it is a finite number; True and False are none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max  # also of whole numbers that no float holds


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise PolicyError(problem, hint="see the documentation of Policy")
