"""The deployment, the rules and the models, as JSON values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facegate._pack._distributions import ENGINE
from facegate._pack._sbom import TASKS
from facegate._settings import SETTINGS
from facegate_edge._targets import check_fit, targets

if TYPE_CHECKING:
    from facegate._pack._facts import Facts, GateFacts
    from facegate_edge._manifest import ModelInfo, OperatingPoint

__all__ = ["bundle_card", "deployment", "model_cards", "rules", "thresholds"]

PROVIDERS = {
    "file": "a file",
    "environment": "a variable of the environment",
    "credential": "a credential of systemd",
    "tpm": "a TPM 2.0",
}


def bundle_card(facts: Facts) -> dict[str, Any]:
    """The bundle."""
    bundle, manifest = facts.bundle, facts.bundle.manifest
    profile = targets().get(manifest.target)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "id": bundle.id,
        "sha256": bundle.sha256,
        "size": bundle.size,
        "created": manifest.created,
        "signed_by": bundle.key_id,
        "trusted": bundle.trusted,
        "development": bundle.development,
        "demonstration": manifest.demonstration,
        "target": manifest.target,
        "target_title": profile.title if profile else manifest.target,
        "minimum_runtime": manifest.minimum_runtime,
        "intended_use": manifest.intended_use,
        "prohibited_uses": list(manifest.prohibited_uses),
    }


def deployment(facts: Facts) -> dict[str, Any]:
    """The machine and the software on it; of a gate, its keys too."""
    machine = facts.machine
    fit = check_fit(facts.bundle.manifest.target, machine.facts, any_machine=True)
    document: dict[str, Any] = {
        "machine": {
            "architecture": machine.facts.machine,
            "processor": machine.facts.cpu,
            "features": list(machine.facts.features),
            "board": machine.facts.board,
            "cores": machine.facts.cores,
            "memory_mb": machine.facts.memory_mb,
        },
        "system": machine.system,
        "libc": machine.libc,
        "python": machine.python,
        "engine": _engine(facts),
        "facegate": facts.version,
        "fit": {"verdict": fit.verdict, "reasons": list(fit.reasons)},
    }
    gate = facts.gate
    if gate is not None:
        document["gate"] = {
            "device": gate.device_id,
            "device_key": gate.device_key,
            "device_key_locked": gate.device_key_locked,
            "created": gate.created,
            "made_with": gate.made_with,
            "sealing_key": PROVIDERS.get(gate.provider, gate.provider),
            "sealing_key_beside_store": gate.provider_inside,
            "folder_open_to_others": gate.others_read,
            "last_backup": gate.last_backup,
            "clock": gate.clock,
            "marks": list(gate.marks),
            "credentials": dict(gate.credentials),
            "counts": dict(gate.counts),
            "receivers": list(gate.receivers),
            "waiting": gate.waiting,
            "delivered": gate.delivered,
        }
    return document


def _engine(facts: Facts) -> str:
    """The engine and the version of the distribution that brings it."""
    name = facts.machine.engine
    package = {"litert": ENGINE, "tflite": "tflite-runtime"}.get(name)
    return " ".join((name, *(found.version for found in facts.software if found.name == package)))


def rules(gate: GateFacts) -> dict[str, Any]:
    """Declaration, policy and settings."""
    return {
        "declaration": {"id": gate.declaration.id, **dataclasses.asdict(gate.declaration)},
        "policy": {"id": gate.policy.id, **dataclasses.asdict(gate.policy)},
        "settings": dict(gate.settings),
        "settings_mean": {name: SETTINGS[name].says for name in gate.settings},
    }


def thresholds(facts: Facts) -> list[dict[str, Any]]:
    """The operating points of the bundle with their evidence, the strictest first; which one is in force is said."""
    points = sorted(facts.bundle.manifest.operating_points, key=lambda point: point.fmr)
    found = [_point(point, used=facts.gate is not None and facts.gate.point == point) for point in points]
    if facts.gate is not None and facts.gate.point is None:
        found.append({"threshold": facts.gate.threshold, "fmr": None, "in_force": True, "evidence": "set by hand"})
    return found


def _point(point: OperatingPoint, *, used: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"fmr": point.fmr, "threshold": point.threshold, "in_force": used}
    if not point.dataset:
        return shown | {"evidence": "stated"}
    return (
        shown
        | {"evidence": "measured"}
        | {
            name: getattr(point, name)
            for name in ("fmr_upper", "fnmr", "fnmr_low", "fnmr_high", "genuine", "impostor", "dataset")
        }
    )


def model_cards(facts: Facts) -> list[dict[str, Any]]:
    """A card for each model of the bundle."""
    return [_card(model, facts) for model in facts.bundle.manifest.models]


def _card(model: ModelInfo, facts: Facts) -> dict[str, Any]:
    manifest, provenance = facts.bundle.manifest, model.provenance
    height, width = model.input.tensor.shape[1:3]
    return {
        "role": model.role,
        "task": TASKS[model.role],
        "family": model.family,
        "precision": model.precision,
        "arithmetic": model.arithmetic,
        "sha256": model.sha256,
        "size": model.size,
        "input": f"{width}x{height} {model.input.color}, {model.input.tensor.dtype}",
        "output": _output(model),
        "source_sha256": provenance.source_sha256,
        "licence": provenance.licence,
        "commercial_use": provenance.commercial_use,
        "converter": provenance.converter,
        "calibration": provenance.calibration,
        "parity": {name: dict(figures) for name, figures in provenance.parity.items()},
        "allowances": list(provenance.allowances),
        "demonstration": provenance.demonstration,
        "intended_use": manifest.intended_use,
        "prohibited_uses": list(manifest.prohibited_uses),
        "evaluation": _evaluation(model, facts),
    }


def _output(model: ModelInfo) -> str:
    if model.recognizer is not None:
        return f"template of {model.recognizer.template_length} numbers, space {model.recognizer.template_space}"
    if model.liveness is not None:
        return f"probability that a face is live, among {model.liveness.classes} classes"
    return "boxes, landmarks and scores of faces; no attribute of a person"


def _evaluation(model: ModelInfo, facts: Facts) -> str:
    """In one sentence: what was measured of it."""
    if facts.result is None:
        return "none was given with this pack"
    sections = facts.result.sections
    if model.role == "liveness":
        found = sections["liveness"]
        return found.get("not_run") or f"see the evaluation: worst species {found['worst']}"
    if model.role == "detector":
        rate = sections["failures"]["detect"]
        return f"no face found in {rate['value']:.1%} of {rate['trials']:,} photographs" if rate else "not measured"
    points = [point for point in sections["operating_points"] if point["fnmr"] is not None]
    if not points:
        return "not measured"
    last = [point for point in points if point["carried"]][-1:] or points[:1]
    return f"FNMR {last[0]['fnmr']['value']:.2%} at FMR {last[0]['fmr']:g}, see the evaluation"
