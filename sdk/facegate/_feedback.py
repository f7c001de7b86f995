"""Problem reports: that a gate was wrong, and what is needed to find out why. No picture, reference or template."""

from __future__ import annotations

import dataclasses
import io
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from facegate._consents import moment
from facegate._decision import format_time, is_reference
from facegate._rights._archive import as_json, build_archive
from facegate._rights._explanation import find_decision
from facegate._rights._requests import MAX_NOTE, check_note
from facegate.errors import ReportError, RequestError
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import datetime

    from facegate._core import GateCore, Work
    from facegate._decision import Decision

__all__ = [
    "CONDITIONS",
    "ProblemReport",
    "ReportKind",
    "add_report",
    "build_report",
    "find_report",
    "load_attachment",
    "reports_of",
]

ReportKind = Literal["false_match", "false_non_match", "missed_spoof"]
MAX_DECISIONS = 50
_SELECT = "SELECT number, kind, time, content FROM report"
_MAX_SIDE = 4096  # of an attached picture: enough to see what was wrong

# What was the case, in a closed list of words: enough to look for a cause, and nothing that describes a person.
CONDITIONS: dict[str, tuple[str, ...]] = {
    "light": ("daylight", "indoor", "dim", "dark", "backlit", "mixed", "infrared"),
    "distance": ("near", "usual", "far"),
    "movement": ("still", "walking", "turning"),
    "covering": ("none", "glasses", "sunglasses", "mask", "headwear"),
    "camera": ("usual", "moved", "dirty", "replaced"),
    "attack": ("print", "screen", "mask", "other"),
}


@dataclass(frozen=True, slots=True)
class ProblemReport:
    """A report, as the gate keeps it.

    Attributes:
        number: P-, the day, eight random hex digits.
        kind: false_match (somebody was taken for another), false_non_match (not recognized), missed_spoof.
        time: when it was made.
        content: JSON values: decisions, bundle, policy, device, conditions; docs/rights.md has the fields.
    """

    number: str
    kind: ReportKind
    time: datetime
    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"number": self.number, "kind": self.kind, "time": format_time(self.time), **self.content}


def add_report(
    gate: GateCore,
    work: Work,
    kind: str,
    decision_ids: Sequence[str],
    conditions: Mapping[str, str],
    note: str | None,
) -> ProblemReport:
    """Keep a report.

    Raises:
        ReportError: there is no such kind or condition, no decision, or too many.
        UnknownDecisionError: the gate has a decision no more.
    """
    if kind not in get_args(ReportKind):
        raise ReportError("there is no such kind of report", hint=f"it is one of {', '.join(get_args(ReportKind))}")
    if isinstance(decision_ids, str) or not isinstance(decision_ids, Collection):
        raise ReportError("decisions are given as a list of ids", hint="for one too")
    if not 1 <= len(decision_ids) <= MAX_DECISIONS:
        raise ReportError("a report is about decisions", hint=f"give the ids of 1 to {MAX_DECISIONS} of them")
    if not isinstance(conditions, Mapping):
        raise ReportError("conditions are given by name", hint="such as {'light': 'dim'}")
    for name, value in conditions.items():
        if value not in CONDITIONS.get(name, ()):
            known = "; ".join(f"{n}: {', '.join(words)}" for n, words in CONDITIONS.items())
            raise ReportError("there is no such condition", hint=known)
    try:
        note = check_note(note)
    except RequestError as error:
        raise ReportError(str(error), hint=f"one line of up to {MAX_NOTE} characters; nobody's name") from None
    decisions = [find_decision(gate, decision_id)[0] for decision_id in dict.fromkeys(map(str, decision_ids))]
    content = {
        "schema": 1,
        "device": gate.device_id,
        "facegate": VERSION,
        "decisions": [_without_subject(decision) for decision in decisions],
        "bundle": _bundle(gate),
        "policy": {"id": gate.policy_id, "rules": dataclasses.asdict(gate.policy)},
        "conditions": dict(sorted(conditions.items())),
        "note": note,
    }
    number = f"P-{work.now.time:%Y%m%d}-{secrets.token_hex(4)}"
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    work.tx.insert("report", number=number, kind=kind, time=work.ms, content=text)
    work.log("problem_reported", None, {"report": number, "kind": kind, "decisions": len(decisions)})
    return ProblemReport(number, kind, moment(work.ms), json.loads(text))  # type: ignore[arg-type]


def reports_of(gate: GateCore) -> tuple[ProblemReport, ...]:
    """All reports, the oldest first."""
    return tuple(_report(row) for row in gate.store.db.read(f"{_SELECT} ORDER BY id"))


def find_report(gate: GateCore, number: str) -> ProblemReport:
    """The report of that number. Raises ReportError."""
    rows = gate.store.db.read(f"{_SELECT} WHERE number = ?", number if is_reference(number) else "")
    if not rows:
        raise ReportError("there is no report of that number", hint="`facegate review reports` lists them")
    return _report(rows[0])


def build_report(gate: GateCore, report: ProblemReport, attachment: bytes | None, time: datetime) -> bytes:
    """The report as a ZIP that the device signs; with a picture if there is one."""
    members = {"report.json": as_json(report.to_dict())}
    if attachment is not None:
        members["attachment.png"] = attachment
    return build_archive(members, key=gate.device, device=gate.device_id, kind="report", time=format_time(time))


def load_attachment(path: str | os.PathLike[str]) -> bytes:
    """A picture as PNG: its pixels and nothing of what else the file says (place, time, camera, owner).

    Raises:
        FrameError: it is no picture.
    """
    from PIL import Image  # noqa: PLC0415 - reports hardly ever have one

    from facegate_edge._image import load_image  # noqa: PLC0415

    frame = load_image(path)
    picture = Image.fromarray(frame.data).rotate(-frame.rotation, expand=True)
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _report(row: tuple[Any, ...]) -> ProblemReport:
    number, kind, time, content = row
    return ProblemReport(number, kind, moment(time), json.loads(content))


def _without_subject(decision: Decision) -> dict[str, Any]:
    """What the report says of a decision: not whom it named."""
    document = decision.to_dict()
    document.pop("subject", None)
    return document


def _bundle(gate: GateCore) -> dict[str, Any]:
    manifest = gate.manifest
    return {
        "id": gate.bundle_id,
        "name": manifest.name,
        "version": manifest.version,
        "models": [{"role": m.role, "family": m.family, "sha256": m.sha256} for m in manifest.models],
    }
