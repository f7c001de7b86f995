"""The data-flow diagram: what goes from where to where, as this gate is set up, drawn as SVG."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from facegate._pack._html import Html, join, style, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate._pack._facts import Facts

__all__ = ["Flow", "draw", "flows"]


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow.

    Attributes:
        source, target: what it goes between; names of the diagram.
        data: what flows.
        leaves: whether it crosses the device's boundary outwards.
        biometric: whether it is biometric data.
        when: what makes it flow.
        protection: how it is protected on its way.
    """

    source: str
    target: str
    data: str
    leaves: bool
    biometric: bool
    when: str
    protection: str

    def to_dict(self) -> dict[str, Any]:
        """The flow as JSON values."""
        return asdict(self)


def flows(facts: Facts) -> tuple[Flow, ...]:
    """Every flow of a gate. What leaves the device is complete; a test holds it against what the code can write."""
    gate = facts.gate
    if gate is None:
        return ()
    policy, roles = gate.policy, gate.credentials
    live = "liveness is required" if policy.require_liveness else "NO liveness check"
    receivers = ", ".join(gate.receivers) or "whoever the operator delivers to"
    key = {"file": "file", "environment": "environment", "credential": "systemd credential", "tpm": "TPM 2.0"}
    return (
        Flow("camera", "models", "frames", False, True,
             f"a trial, at most {policy.max_trials_per_minute or 'any number'} a minute", "memory only"),
        Flow("desk", "models", "pictures and a consent", False, True,
             f"an enrollment (role enroller, {_credentials(roles['enroller'])})", "memory only"),
        Flow("models", "comparison", "template of the face", False, True, f"after quality; {live}",
             f"memory only, wiped; captured faces {gate.retention.captured_seconds} s"),
        Flow("models", "store", "templates of enrolled people", False, True, "an enrollment with consent",
             "sealed for each person"),
        Flow("store", "comparison", "opened templates", False, True, "the gate's opening", "locked memory, wiped"),
        Flow("sealing key", "store", "the key that opens templates", False, False, "the gate's opening",
             f"provider: {key.get(gate.provider, gate.provider)}"),
        Flow("comparison", "decision", "match or not", False, False,
             f"threshold {gate.threshold:.4f}; a similarity goes no further", "memory only"),
        Flow("decision", "store", "signed decision, entry of the log", False, False, "each decision",
             "one transaction, hash chain"),
        Flow("store", "receivers", "signed decisions", True, False, f"delivery to {receivers}",
             "signed by the device; TLS with a webhook"),
        Flow("store", "person", "all that is held of them", True, True,
             f"their request (role privacy_officer, {_credentials(roles['privacy_officer'])})",
             "signed ZIP, mode 0600; templates only if asked for"),
        Flow("store", "backup", "the whole gate", True, True,
             f"the administrator ({_credentials(roles['administrator'])})",
             "encrypted for a recovery key or passphrase"),
        Flow("store", "reviewers", "certificates, problem reports, heads of the log, this pack", True, False,
             "privacy officer or reviewer", "signed by the device; nobody is named in reports and packs"),
    )  # fmt: skip


_STYLE = """
.flow { --ink: #1b1f24; --soft: #57606a; --line: #8b949e; --paper: #ffffff; --box: #f6f8fa; --hot: #a8201a;
  --hotbox: #fdf1f0; --out: #0060a8; font: 12.5px system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
@media screen and (prefers-color-scheme: dark) { .flow { --ink: #e6eaef; --soft: #9aa4af; --line: #6e7681;
  --paper: #14181d; --box: #20262d; --hot: #ff8a80; --hotbox: #33201f; --out: #6cb6ff; } }
.flow text { fill: var(--ink); } .flow .soft { fill: var(--soft); font-size: 11.5px; }
.flow .name { font-weight: 600; font-size: 13.5px; }
.flow .edge { fill: var(--ink); font-size: 11.5px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.flow rect { fill: var(--box); stroke: var(--line); stroke-width: 1.2; }
.flow rect.hot { fill: var(--hotbox); stroke: var(--hot); }
.flow rect.device { fill: none; stroke: var(--ink); stroke-width: 1.6; stroke-dasharray: 7 5; }
.flow rect.ground { fill: var(--paper); stroke: none; }
.flow path { fill: none; stroke: var(--ink); stroke-width: 1.4; }
.flow path.hot { stroke: var(--hot); } .flow path.out { stroke: var(--out); stroke-width: 2.6; }
.flow path.hot.out { stroke: var(--hot); }
.flow path.head { fill: var(--ink); stroke: none; } .flow path.head.hot { fill: var(--hot); }
.flow path.head.out { fill: var(--out); stroke: none; }
.flow path.head.hot.out { fill: var(--hot); stroke: none; }
"""
_WIDTH, _HEIGHT = 940, 660
_LINE = 16
_NAMED = 3  # receivers that the drawing has room for


def draw(document: Mapping[str, Any]) -> str:
    """The diagram of a pack about a gate, as an SVG that stands alone and in a page.

    Red: biometric data. Thick and blue: it leaves the device. Each is said in words as well.
    """
    gate, policy = document["deployment"]["gate"], document["policy"]
    models = {model["role"]: f"{model['family']}, {model['precision']}" for model in document["models"]}
    captured = document["settings"]["captured_seconds"]
    live = f"liveness: {models['liveness']}" if policy["require_liveness"] else "liveness: NOT required"
    threshold = next((p["threshold"] for p in document["thresholds"] if p["in_force"]), None)
    place = " in the same folder" if gate["sealing_key_beside_store"] else ""
    receivers = gate["receivers"] or ["not named: no gate knows it"]
    rates = policy["max_trials_per_minute"]
    counts, credentials = gate["counts"], gate["credentials"]
    more = [f"and {len(receivers) - _NAMED} more"] if len(receivers) > _NAMED else []
    boxes = (
        _box(20, 70, 150, ("Camera", "frames"), hot=True),
        _box(20, 262, 150, ("Desk", "pictures, consent", f"credentials: {credentials['enroller']}"),
             hot=True),
        _box(250, 62, 190, ("Models", f"detector: {models.get('detector', 'none')}",
                            f"recognizer: {models.get('recognizer', 'none')}", live), hot=True),
        _box(500, 62, 170, ("Comparison", "in locked memory", f"captured faces: {captured} s",
                            f"threshold {threshold:.4f}" if threshold is not None else ""), hot=True),
        _box(500, 236, 170, ("Decision", "signed by device key", gate["device_key"])),
        _box(250, 382, 420, (
            "Store (gate.db)",
            f"{counts['people']} people, {counts['faces']} sealed templates, {counts['list_faces']} faces of lists",
            f"{counts['consents']} consents; audit log; outbox: {gate['waiting']} wait, {gate['delivered']} kept",
        ), hot=True),
        _box(250, 524, 190, ("Sealing key", f"{gate['sealing_key']}{place}")),
        _box(480, 524, 190, ("Bundle", f"{document['bundle']['name']} {document['bundle']['version']}",
                             f"by {document['bundle']['signed_by'] or 'nobody: not signed'}")),
        _box(760, 232, 160, ("Receivers", *receivers[:_NAMED], *more)),
        _box(760, 352, 160, ("The person", "export on request"), hot=True),
        _box(760, 428, 160, ("Backup", "encrypted"), hot=True),
        _box(760, 504, 160, ("Reviewers", "certificates, reports,", "this pack")),
    )  # fmt: skip
    most = f"{rates} a minute" if rates else "any number"
    arrows = (
        _arrow("hot", (170, 96), (250, 96), f"{most}", (210, 88)),
        _arrow("hot", (170, 290), (345, 290), "enrollment", (214, 283), end=(345, 146)),
        _arrow("hot", (440, 96), (500, 96), "template", (470, 88)),
        _arrow("hot", (290, 146), (290, 382), "sealed templates", (302, 350), anchor="start"),
        _arrow("hot", (470, 382), (470, 190), "opened", (462, 340), anchor="end", end=(530, 146), bend=190),
        _arrow("", (585, 146), (585, 236), "match or not,", (593, 190), anchor="start"),
        _text(593, 205, "no score", "edge"),
        _arrow("", (585, 304), (585, 382), "one transaction", (593, 348), anchor="start"),
        _arrow("", (345, 524), (345, 450), "opens templates", (353, 500), anchor="start"),
        _arrow("out", (670, 398), (712, 398), "", (0, 0), end=(760, 262), bend=712),
        _arrow("hot out", (670, 412), (760, 378), "", (0, 0), bend=724, end=(760, 378)),
        _arrow("hot out", (670, 426), (760, 454), "", (0, 0), bend=724, end=(760, 454)),
        _arrow("out", (670, 440), (712, 440), "", (0, 0), end=(760, 530), bend=712),
    )
    frame = (
        tag("rect", class_="ground", x=0, y=0, width=_WIDTH, height=_HEIGHT),
        tag("rect", class_="device", x=222, y=24, width=472, height=584, rx=10),
        _text(236, 46, f"The device {gate['device']}", "name"),
        _text(20, 46, "Comes in", "name"),
        _text(760, 210, "Leaves the device", "name"),
        _text(20, 634, "Red: biometric data. Thick: leaves the device. Only decisions leave by themselves; the rest"
              " when a person in that role does it.", "soft"),
        _text(20, 652, "Decisions have no picture, template or similarity; a receiver gets a pseudonym on a match.",
              "soft"),
    )  # fmt: skip
    title = f"Data flow of the gate {gate['device']}"
    return tag(
        "svg",
        tag("title", title),
        tag("desc", "Boxes and arrows; the table of flows says the same in words."),
        style(_STYLE),
        *frame,
        *arrows,
        *boxes,
        xmlns="http://www.w3.org/2000/svg",
        class_="flow",
        role="img",
        aria_label=title,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
    )


def _credentials(number: int) -> str:
    return "1 credential" if number == 1 else f"{number} credentials"


def _text(x: float, y: float, text: str, class_: str | None = None, anchor: str | None = None) -> Html:
    return tag("text", text, x=x, y=y, class_=class_, text_anchor=anchor)


def _box(x: int, y: int, width: int, lines: tuple[str, ...], *, hot: bool = False) -> Html:
    """A box with a name and lines, which are cut to its width: all of it stands in the tables."""
    shown = [line for line in lines if line]
    height = 18 + _LINE * len(shown)
    texts = [
        _text(x + 12, y + 22 + _LINE * i, _cut(line, width, bold=not i), "name" if not i else "soft")
        for i, line in enumerate(shown)
    ]
    return join(tag("rect", class_="hot" if hot else None, x=x, y=y, width=width, height=height, rx=5), *texts)


def _cut(text: str, width: int, *, bold: bool) -> str:
    room = int((width - 18) / (7.6 if bold else 6.1))
    return text if len(text) <= room else text[: room - 1] + "\u2026"


def _arrow(
    kind: str,
    start: tuple[int, int],
    corner: tuple[int, int],
    label: str,
    at: tuple[int, int],
    *,
    end: tuple[int, int] | None = None,
    bend: int | None = None,
    anchor: str = "middle",
) -> Html:
    """A line of right angles with a head. `bend`: where it turns, an x for a step sideways or a y for one upwards."""
    if end is None:
        points = [start, corner]
    elif bend is None:
        points = [start, corner, end]
    elif start[0] == corner[0]:  # upwards, sideways at y = bend, upwards
        points = [start, (start[0], bend), (end[0], bend), end]
    else:
        points = [start, (bend, start[1]), (bend, end[1]), end]
    (x0, y0), (x, y) = points[-2], points[-1]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    back = (x - 9 * dx, y - 9 * dy)
    line = "M" + "L".join(f"{a},{b}" for a, b in [*points[:-1], back])
    head = f"M{x},{y}L{back[0] - 4 * dy},{back[1] + 4 * dx}L{back[0] + 4 * dy},{back[1] - 4 * dx}Z"
    drawn = join(tag("path", class_=kind or None, d=line), tag("path", class_=f"head {kind}".strip(), d=head))
    return join(drawn, _text(*at, label, "edge", anchor)) if label else drawn
