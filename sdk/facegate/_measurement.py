"""A measurement that the owner of a board contributes: what it holds, and what can be believed of it.

It holds what a machine is and how long a bundle takes there, and nothing about whose machine it is: no name, address,
serial number, path or time of day, no pixel. docs/precision.md says how to contribute one; the form is checked by
`_measurement_rules`, on writing as on reading. Nothing is signed: a measurement is a claim, and only contradictions in
it can be found.
"""

from __future__ import annotations

import dataclasses
from importlib import metadata
from typing import TYPE_CHECKING, Any

from facegate_edge._conditions import Conditions, Frequency, is_emulated, is_virtual, kernel_release, os_release
from facegate_edge._machine import this_machine
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from facegate_edge._bundle import Bundle
    from facegate_edge._machine import MachineFacts

__all__ = ["FORMAT", "FORMAT_VERSION", "describe_conditions", "describe_distribution", "make_document", "sanity"]

FORMAT, FORMAT_VERSION = "facegate-measurement", 1

# A machine is quiet if hardly anything else ran when it began, and slow frames are not much slower than the fastest.
_QUIET_LOAD = 0.5
_QUIET_SPREAD = 1.5  # of the 90th percentile to the smallest
_HOT = 80.0  # degrees Celsius: the Raspberry Pi's firmware begins to slow down there
_DISTRIBUTIONS = {"ai-edge-litert": "litert", "tflite-runtime": "tflite"}


def make_document(
    root: Path,
    bundle: Bundle,
    engine: str,
    frame: Mapping[str, int],
    runs: Sequence[Mapping[str, Any]],
    before: Conditions,
    after: Conditions,
    *,
    kernels: str,
    rss_peak_mb: int,
) -> dict[str, Any]:
    """The document of a measurement, as JSON types.

    Args:
        root: where /proc and /sys are, for tests.
        bundle: what was measured.
        engine: "litert" or "tflite".
        frame: its width, height and the faces that were looked at in it.
        runs: one for each number of threads.
        before: the conditions when it began.
        after: the conditions at its end.
        kernels: the path of the native kernels, e.g. "neon".
        rss_peak_mb: the process's largest memory, MiB.
    """
    manifest = bundle.manifest
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "machine": _machine(this_machine(root)),
        "system": {"kernel": kernel_release(), "os": os_release(root), "glibc": _glibc(this_machine(root))},
        "software": {
            "python": _python(),
            "facegate": VERSION,
            "engine": engine,
            "engine_version": _engine_version(engine),
            "kernels": kernels,
        },
        "bundle": {
            "id": bundle.id,
            "name": manifest.name[:80],
            "version": manifest.version[:80],
            "target": manifest.target[:80],
        },
        "models": [
            {
                "role": model.role,
                "family": model.family,
                "precision": model.precision,
                "arithmetic": model.arithmetic,
                "size": len(bundle.model_bytes(model.role)),
                "sha256": model.sha256,
            }
            for model in manifest.models
        ],
        "frame": dict(frame),
        "before": describe_conditions(before),
        "after": describe_conditions(after),
        "runs": [dict(run) for run in runs],
        "rss_peak_mb": rss_peak_mb,
        "emulated": is_emulated(root),
        "virtual": is_virtual(root),
    }
    return {**document, "sanity": sanity(document)}


def describe_conditions(found: Conditions) -> dict[str, Any]:
    """Conditions as JSON types."""
    return {
        "load": found.load,
        "memory_available_mb": found.memory_available_mb,
        "celsius": found.temperature,
        "frequencies": [
            {"governor": f.governor, "least_khz": f.least, "most_khz": f.most, "now_khz": f.now}
            for f in found.frequencies
        ],
        "cooling": found.cooling,
        "firmware": found.firmware,
    }


def describe_distribution(nanoseconds: Sequence[int]) -> dict[str, Any]:
    """How long something took, as JSON types; milliseconds, nearest ranks."""
    ordered = sorted(nanoseconds)

    def at(percent: int) -> float:
        return round(ordered[max(0, -(-percent * len(ordered) // 100) - 1)] / 1e6, 4)

    return {
        "n": len(ordered),
        "min_ms": at(0),
        "p50_ms": at(50),
        "p90_ms": at(90),
        "p99_ms": at(99),
    }


def sanity(document: Mapping[str, Any]) -> dict[str, Any]:
    """What can be believed of a measurement, from the rest of its document; None where nothing says so or not.

    Computed again by whoever reads one, so that it cannot be written otherwise.
    """
    before, after = (_conditions(document[name]) for name in ("before", "after"))
    spreads = [run["total"]["p90_ms"] / max(run["total"]["min_ms"], 1e-4) for run in document["runs"]]
    quiet = None
    if before.load is not None:
        quiet = before.load <= _QUIET_LOAD and max(spreads) <= _QUIET_SPREAD
    throttled = after.throttled_since(before)
    notes = []
    if document["emulated"]:
        notes.append("emulated: its times are those of an emulator")
    if document["virtual"]:
        notes.append("virtual: other machines may have had the processor")
    if before.load is not None and before.load > _QUIET_LOAD:
        notes.append(f"busy: {before.load:g} processes were running on average when it began")
    if max(spreads) > _QUIET_SPREAD:
        notes.append(f"noisy: the 90th percentile is {max(spreads):.2f} times the smallest")
    if throttled:
        notes.append("throttled: the processor was slowed down by heat or by its supply")
    elif after.temperature is not None and after.temperature >= _HOT:
        notes.append(f"hot: {after.temperature:g} degrees Celsius at the end")
    governors = {f.governor for f in before.frequencies if f.governor not in (None, "performance")}
    if governors:
        notes.append(f"governor: {' and '.join(sorted(map(str, governors)))}: the frequency may have varied")
    return {"quiet": quiet, "throttled": throttled, "notes": notes}


def _conditions(described: Mapping[str, Any]) -> Conditions:
    return Conditions(
        load=described["load"],
        memory_available_mb=described["memory_available_mb"],
        temperature=described["celsius"],
        frequencies=tuple(
            Frequency(f["governor"], f["least_khz"], f["most_khz"], f["now_khz"]) for f in described["frequencies"]
        ),
        cooling=described["cooling"],
        firmware=described["firmware"],
    )


def _machine(facts: MachineFacts) -> dict[str, Any]:
    found = dataclasses.asdict(facts)
    return {
        "architecture": facts.machine,
        "cpu": facts.cpu,
        "features": list(facts.features),
        "board": facts.board or None,
        "compatible": [c for c in facts.compatible if "," in c][:8],
        "target": facts.target or None,
        "cores": found["cores"],
        "memory_mb": found["memory_mb"],
    }


def _glibc(facts: MachineFacts) -> str:
    return ".".join(map(str, facts.glibc)) if facts.glibc else ""


def _python() -> str:
    import platform  # noqa: PLC0415 - 2 ms that only this takes

    return platform.python_version().split("+")[0]


def _engine_version(engine: str) -> str:
    for distribution, name in _DISTRIBUTIONS.items():
        if name == engine:
            try:
                return metadata.version(distribution)
            except metadata.PackageNotFoundError:  # a device package has the library without its metadata
                return ""
    return ""
