"""The controls that a reviewer of security asks about: recognition, the bundle, the machine, operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from facegate._pack._controls_state import (
    IN_FORCE,
    NOT_IN_FORCE,
    NOT_KNOWN,
    NOT_NEEDED,
    PARTLY,
    Finding,
    yes_if,
)
from facegate_edge._targets import check_fit

if TYPE_CHECKING:
    from facegate._pack._facts import Facts

__all__ = ["BUNDLE_ROWS"]

_NIST_FMR = 1e-4
_RECOGNITION, _SOFTWARE, _OPERATION = "Recognition", "Models and software", "Operation"
_NO_GATE = (NOT_KNOWN, "a gate's policy decides it, and this pack is about a bundle alone")


def _liveness(facts: Facts) -> Finding:
    gate = facts.gate
    if facts.bundle.manifest.model("liveness") is None:
        return NOT_IN_FORCE, "the bundle has no model for it: a photograph of somebody can be taken for them"
    if gate is None:
        return NOT_KNOWN, "the bundle has a model for it; a gate's policy decides whether it is required"
    policy = gate.policy
    if not policy.require_liveness:
        return NOT_IN_FORCE, "require_liveness is false: a photograph of somebody can be taken for them"
    return IN_FORCE, f"required; an attack up to {policy.spoof_at:g}, live from {policy.live_at:g}, between: a person"


def _liveness_measured(facts: Facts) -> Finding:
    if facts.result is None:
        return NOT_KNOWN, "no evaluation was given"
    section = facts.result.sections["liveness"]
    if "not_run" in section:
        return NOT_KNOWN, f"the evaluation did not measure it: {section['not_run']}"
    worst = next((s for s in section["species"] if s["name"] == section["worst"]), None)
    figure = worst["apcer"] if worst is not None else None
    return IN_FORCE, f"worst species {section['worst']}" + (f": APCER {figure['value']:.1%}" if figure else "")


def _fmr(facts: Facts) -> Finding:
    gate = facts.gate
    if gate is None:
        return _NO_GATE
    if gate.point is None:
        return NOT_IN_FORCE, f"the threshold {gate.threshold:g} was set by hand: its FMR is not known"
    return yes_if(gate.point.fmr <= _NIST_FMR, f"FMR {gate.point.fmr:g} is asked for (threshold {gate.threshold:.4f})")


def _measured(facts: Facts) -> Finding:
    gate, points = facts.gate, facts.bundle.manifest.operating_points
    if gate is None:
        measured = sum(1 for point in points if point.dataset)
        return yes_if(bool(points) and measured == len(points), f"{measured} of {len(points)} thresholds were measured")
    if gate.point is None:
        return NOT_IN_FORCE, "the threshold was set by hand"
    if not gate.point.dataset:
        return NOT_IN_FORCE, "the threshold was stated, not measured"
    found = f"{gate.point.impostor:,} impostor and {gate.point.genuine:,} genuine comparisons"
    if gate.point.fmr_upper > gate.point.fmr * 1.0000001:
        return PARTLY, f"{found}; its FMR may be up to {gate.point.fmr_upper:.3g} (95 %)"
    return IN_FORCE, f"{found}; FMR at most {gate.point.fmr_upper:.3g} (95 %)"


def _groups(facts: Facts) -> Finding:
    if facts.result is None:
        return NOT_KNOWN, "no evaluation was given"
    sections = facts.result.sections["groups"]
    if not sections:
        return NOT_KNOWN, "the evaluation has no groups: it was made without attributes"
    verdicts = {section["column"]: section["check"]["verdict"] for section in sections}
    shown = "; ".join(f"{column}: {verdict}" for column, verdict in verdicts.items())
    if "not met" in verdicts.values():
        return NOT_IN_FORCE, shown
    return (IN_FORCE if set(verdicts.values()) == {"met"} else NOT_KNOWN), shown


def _evaluated(facts: Facts) -> Finding:
    if facts.result is None:
        return NOT_IN_FORCE, "no evaluation was given"
    sections = facts.result.sections
    failed = [check["require"] for check in sections["checks"] if not check["met"]]
    if failed:
        return NOT_IN_FORCE, f"required and not met: {', '.join(failed)}"
    if not sections["checks"]:
        return PARTLY, f"of {facts.result.of}, made {sections['created'][:10]}; nothing was required of it (--require)"
    return IN_FORCE, f"of {facts.result.of}, made {sections['created'][:10]}; {len(sections['warnings'])} warnings"


def _quality(facts: Facts) -> Finding:
    if facts.gate is None:
        return _NO_GATE
    return IN_FORCE, "limits of the policy; see there"


def _signed(facts: Facts) -> Finding:
    bundle = facts.bundle
    if bundle.trusted:
        return IN_FORCE, f"by key {bundle.key_id}, which is trusted; models by sha256 at every opening"
    return NOT_IN_FORCE, f"signed by {bundle.key_id}, which was not checked" if bundle.key_id else "not signed"


def _gates(facts: Facts) -> Finding:
    allowed = [
        f"{m.role}: {', '.join(m.provenance.allowances)}"
        for m in facts.bundle.manifest.models
        if m.provenance.allowances
    ]
    return yes_if(not allowed, f"failed, and accepted on purpose: {'; '.join(allowed)}" if allowed else "no allowance")


def _licence(facts: Facts) -> Finding:
    models = facts.bundle.manifest.models
    refused = [model.role for model in models if model.provenance.commercial_use is False]
    unknown = [model.role for model in models if model.provenance.commercial_use is None]
    if refused:
        return NOT_IN_FORCE, f"not for commercial use: {', '.join(refused)}"
    if unknown:
        return NOT_KNOWN, f"nobody said: {', '.join(unknown)}"
    return IN_FORCE, "all models may be used commercially, as their provenance says"


def _real(facts: Facts) -> Finding:
    if facts.bundle.manifest.demonstration:
        return NOT_IN_FORCE, "a model is for demonstrations only: it recognizes rendered faces, no people"
    return IN_FORCE, "no model is for demonstrations only"


def _fit(facts: Facts) -> Finding:
    if facts.gate is None:
        return NOT_KNOWN, f"built for {facts.bundle.manifest.target}; the machine of a gate is not known"
    fit = check_fit(facts.bundle.manifest.target, facts.machine.facts, any_machine=True)
    state = {"yes": IN_FORCE, "warn": PARTLY, "refuse": NOT_IN_FORCE}[fit.verdict]
    return state, f"built for {facts.bundle.manifest.target}" + (f": {fit}" if fit.reasons else "")


def _folder(facts: Facts) -> Finding:
    if facts.gate is None:
        return _NO_GATE
    if facts.gate.others_read:
        return PARTLY, "other users of the machine may look into the gate's folder; keys and store are 0600"
    return IN_FORCE, "only the gate's own user can look into its folder"


def _device_key(facts: Facts) -> Finding:
    if facts.gate is None:
        return _NO_GATE
    if facts.gate.device_key_locked:
        return IN_FORCE, "encrypted with a passphrase"
    return PARTLY, "a file of mode 0600 without a passphrase: who takes the whole device can sign"


def _swap(facts: Facts) -> Finding:
    if facts.gate is None or facts.machine.swap is None:
        return NOT_KNOWN, "it cannot be told here"
    return yes_if(not facts.machine.swap, "there is swap" if facts.machine.swap else "there is no swap")


def _backups(facts: Facts) -> Finding:
    if facts.gate is None:
        return _NO_GATE
    if facts.gate.last_backup is None:
        return NOT_IN_FORCE, "the log knows of none"
    return IN_FORCE, f"the last one of {facts.gate.last_backup}"


def _delivered(facts: Facts) -> Finding:
    gate = facts.gate
    if gate is None:
        return _NO_GATE
    if not gate.waiting and not gate.delivered:
        return NOT_NEEDED, "no decision is kept"
    return IN_FORCE, f"{gate.delivered} were taken and are kept, {gate.waiting} wait"


Row = tuple[str, str, str, str, Callable[["Facts"], Finding]]

BUNDLE_ROWS: tuple[Row, ...] = (
    (_RECOGNITION, "presentation attacks are rejected", "ISO/IEC 30107-3; Android CDD 7.3.10",
     "policy rule require_liveness, before anything is compared", _liveness),
    (_RECOGNITION, "what the liveness check is worth was measured", "ISO/IEC 30107-3",
     "facegate evaluate run --liveness", _liveness_measured),
    (_RECOGNITION, "at most one false match in 10,000", "NIST SP 800-63B-4", "policy rule fmr", _fmr),
    (_RECOGNITION, "the threshold comes from a measurement of this bundle", "ISO/IEC 19795-1",
     "operating points in the signed manifest", _measured),
    (_RECOGNITION, "no group of people fares more than 25 % worse", "NIST SP 800-63-4",
     "facegate evaluate run --attributes", _groups),
    (_RECOGNITION, "the bundle was evaluated, and what was required of it is met", "ISO/IEC 19795-1; AI Act Art. 15",
     "facegate evaluate run", _evaluated),
    (_RECOGNITION, "faces that are too poor are not compared", "ISO/IEC 29794-5",
     "the policy's quality limits", _quality),
    (_SOFTWARE, "models are those that somebody answers for", "AI Act Art. 15; Codes",
     "the bundle's signature", _signed),
    (_SOFTWARE, "the conversion of the models cost nothing that mattered", "ISO/IEC 19795-1",
     "gates of the converter", _gates),
    (_SOFTWARE, "the models' licences allow the use", "licences", "provenance in the signed manifest", _licence),
    (_SOFTWARE, "the models are for people", "AI Act Art. 13", "the mark of demonstration models", _real),
    (_SOFTWARE, "the machine is of the kind that was measured", "AI Act Art. 15", "the bundle's target", _fit),
    (_OPERATION, "other users of the machine see nothing of the gate", "GDPR Art. 32", "the folder's mode", _folder),
    (_OPERATION, "nobody else can sign as this device", "GDPR Art. 32", "the device key's file", _device_key),
    (_OPERATION, "freed pictures do not get to a disk", "GDPR Art. 32", "no swap; commands leave no core dump", _swap),
    (_OPERATION, "there is a backup", "GDPR Art. 32(1)(c)", "facegate gate backup", _backups),
    (_OPERATION, "decisions are delivered, and none is lost", "AI Act Art. 12", "the outbox", _delivered),
)  # fmt: skip
