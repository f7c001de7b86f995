"""The table of controls: which demand is met by which control, and whether it is in force in this gate.

The demands of law and of codes of conduct are those of docs/privacy.md, as data (`controls.json`; a test compares the
two). To them come those on recognition, software and operation, which a reviewer of security asks about. What no
setting can turn off is in force because of the code; the tests that show it are named. The rest is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facegate._pack._controls_bundle import BUNDLE_ROWS
from facegate._pack._controls_state import IN_FORCE, NOT_KNOWN, NOT_NEEDED, PARTLY, Finding, yes_if

if TYPE_CHECKING:
    from facegate._pack._facts import Facts, GateFacts

__all__ = ["STATES", "Control", "controls", "demands"]

STATES: dict[str, str] = {
    "in force": "the code does it whatever is set, or this gate's settings fulfill it",
    "partly": "it is done, and something is left open that is named",
    "not in force": "this gate's settings, or what was measured, do not fulfill it",
    "not needed": "there is nothing here that it would be about",
    "not known": "it cannot be told from what the pack was made of",
}
_DATA = Path(__file__).parents[1] / "controls.json"
_MONTH, _DAY_SECONDS, _SIX_MONTHS, _YEAR, _THREE_YEARS = 31, 86_400, 184, 366, 3 * 365 + 1
_ATTEMPTS, _LOCK_SECONDS = 5, 30

Check = Callable[["GateFacts"], Finding]


@dataclass(frozen=True, slots=True)
class Control:
    """A demand and what meets it.

    Attributes:
        chapter, demand, source, control: as in docs/privacy.md.
        state: one of `STATES`.
        finding: why, with this gate's figures.
        tests: names of the tests that show the control; they come with the source of facegate.
    """

    chapter: str
    demand: str
    source: str
    control: str
    state: Literal["in force", "partly", "not in force", "not needed", "not known"]
    finding: str
    tests: tuple[str, ...]


def demands() -> list[dict[str, Any]]:
    """The demands of docs/privacy.md."""
    found: list[dict[str, Any]] = json.loads(_DATA.read_text(encoding="ascii"))
    return found


def controls(facts: Facts) -> tuple[Control, ...]:
    """All of them, with what was found."""
    made = []
    for row in demands():
        state, finding = _judge(row["demand"], facts)
        texts = (row["chapter"], row["demand"], row["source"], row["control"])
        made.append(Control(*texts, state, finding, tuple(row["tests"])))  # type: ignore[arg-type]
    for chapter, demand, source, control, check in BUNDLE_ROWS:
        state, finding = check(facts)
        made.append(Control(chapter, demand, source, control, state, finding, ()))  # type: ignore[arg-type]
    return tuple(made)


def _judge(demand: str, facts: Facts) -> Finding:
    check = CHECKS.get(demand)
    if check is None:
        return IN_FORCE, f"by the code of facegate {facts.version}; no setting turns it off"
    if facts.gate is None:
        return NOT_KNOWN, "a gate's settings decide it, and this pack is about a bundle alone"
    return check(facts.gate)


def _answers(gate: GateFacts) -> Finding:
    due = gate.settings["request_due_days"]
    if gate.overdue:
        return yes_if(False, f"{gate.overdue} of {gate.counts['requests_open']} open requests are overdue")
    return yes_if(int(due) <= _MONTH, f"requests are due after {due} days; none is overdue")


def _no_minors(gate: GateFacts) -> Finding:
    if gate.declaration.minors:
        return NOT_NEEDED, "the declaration says that minors may be among the people"
    return IN_FORCE, "the declaration says none; none is enrolled"


def _guardian(gate: GateFacts) -> Finding:
    if not gate.declaration.minors:
        return NOT_NEEDED, "the declaration says that there are no minors: none is enrolled"
    return IN_FORCE, f"minors need a guardian's consent; {gate.counts['minors']} are enrolled"


def _asks_age(gate: GateFacts) -> Finding:
    asks, limit = bool(gate.settings["ask_age"]), gate.settings["age_limit"]
    if not gate.declaration.minors and not asks:
        return NOT_NEEDED, "the declaration says that there are no minors"
    return yes_if(asks, f"ask_age is {'on' if asks else 'off'}, age_limit {limit}")


def _demonstration(gate: GateFacts) -> Finding:
    if gate.demonstration:
        return PARTLY, "this gate is a demonstration: it takes people without a basis, and marks every decision"
    return IN_FORCE, "this gate is no demonstration"


def _people_days(limit: int, law: str) -> Check:
    def check(gate: GateFacts) -> Finding:
        days = gate.retention.people_days
        return yes_if(days <= limit, f"{days} days after the last match (preset {gate.retention.people_preset}); {law}")

    return check


def _kept(gate: GateFacts) -> Finding:
    rules = gate.retention
    return (
        IN_FORCE,
        f"people {rules.people_days} days, preset {rules.people_preset}; whether all of it is needed is the operator's",
    )


def _records(gate: GateFacts) -> Finding:
    rules = gate.retention
    return (
        IN_FORCE,
        f"decisions {rules.delivered_days}, reports {rules.reports_days}, requests {rules.requests_days} days",
    )


def _clock(gate: GateFacts) -> Finding:
    if gate.clock:
        why = {"back": "it went back", "forward": "it is far ahead"}[gate.clock]
        return yes_if(False, f"the clock is not believed ({why}): nothing is erased until somebody looks at it")
    return IN_FORCE, f"the clock is believed, also after being off for {gate.settings['clock_gap_days']} days"


def _confidential(gate: GateFacts) -> Finding:
    if gate.provider == "file":
        place = "in a file beside the store" if gate.provider_inside else "in a file outside the gate's folder"
        return PARTLY, f"the sealing key is {place}: who takes the whole device can open the templates"
    if gate.provider == "environment":
        return PARTLY, "the sealing key comes from the environment: who may look into the process has it"
    return IN_FORCE, {"tpm": "the sealing key is sealed to this machine's TPM"}.get(
        gate.provider, "the sealing key is a credential of systemd"
    )


def _integrity(gate: GateFacts) -> Finding:
    return yes_if(
        gate.audit_problems == 0,
        "all rows were checked when the gate was opened, the whole log when this pack was made"
        if gate.audit_problems == 0
        else f"the audit log shows {gate.audit_problems} problems: `facegate audit verify` names them",
    )


def _leaves(gate: GateFacts) -> Finding:
    receivers = f"{gate.delivered + gate.waiting} decisions are kept"
    return IN_FORCE, f"nothing by itself ({receivers}); a backup, encrypted, and a person's export are made on purpose"


def _other_models(gate: GateFacts) -> Finding:
    if gate.outdated:
        return PARTLY, f"{gate.outdated} templates are of another bundle: not compared, to be enrolled again"
    return IN_FORCE, "no template is of another bundle"


def _overseen(gate: GateFacts) -> Finding:
    number, waiting = gate.credentials["reviewer"], gate.counts["reviews"]
    return yes_if(number > 0, f"{number} credentials open the role reviewer; {waiting} decisions wait for a person")


def _review(gate: GateFacts) -> Finding:
    number, policy = gate.credentials["reviewer"], gate.policy
    if number == 0:
        return yes_if(False, "nobody has a credential of the role reviewer")
    if policy.live_at is None:
        return PARTLY, "only matches of people who objected are for review: liveness is not checked"
    return IN_FORCE, f"matches with liveness from {policy.spoof_at:g} to {policy.live_at:g}, and of who objected"


def _lockout(gate: GateFacts) -> Finding:
    policy = gate.policy
    if policy.max_attempts == 0:
        return yes_if(False, "max_attempts is 0: nobody is ever locked out")
    fulfilled = policy.max_attempts <= _ATTEMPTS and policy.lockout_seconds >= _LOCK_SECONDS
    grows = f"then longer, up to {policy.max_lockout_seconds:g} s"
    return yes_if(fulfilled, f"{policy.max_attempts} failed trials lock for {policy.lockout_seconds:g} s, {grows}")


def _rate(gate: GateFacts) -> Finding:
    most = gate.policy.max_trials_per_minute
    return yes_if(most > 0, f"{most} trials a minute" if most else "max_trials_per_minute is 0: there is no limit")


def _declared(gate: GateFacts) -> Finding:
    if gate.declaration.legal_basis == "demonstration":
        return PARTLY, "declared as a demonstration, which names no purpose"
    return IN_FORCE, f"declared: {gate.declaration.purpose}; basis {gate.declaration.legal_basis}"


def _roles(gate: GateFacts) -> Finding:
    shown = ", ".join(f"{role} {number}" for role, number in gate.credentials.items())
    lacking = [role for role, number in gate.credentials.items() if not number]
    if lacking:
        return PARTLY, f"nobody has the role {', '.join(lacking)}; credentials: {shown}"
    return IN_FORCE, f"credentials: {shown}"


CHECKS: dict[str, Check] = {
    "an answer within a month, one extension with reasons, refusal with reasons": _answers,
    "a demonstration is no basis": _demonstration,
    "a guardian consents for a minor": _guardian,
    "no minors where none were declared": _no_minors,
    "age is asked where minors are to be expected": _asks_age,
    "captured faces: at most 24 hours": lambda g: yes_if(
        g.retention.captured_seconds <= _DAY_SECONDS, f"captured_seconds is {g.retention.captured_seconds}"
    ),
    "people: three years after the last interaction": _people_days(_THREE_YEARS, "BIPA allows three years"),
    "people: within a year": _people_days(_YEAR, "CUBI allows one year"),
    "people: no longer than needed": _kept,
    "faces without a person: no longer than needed, nor than the record of their consent": lambda g: (
        IN_FORCE,
        f"{g.retention.list_days} days; {g.counts['list_faces']} are kept",
    ),
    "decisions, reports, requests: no longer than needed": _records,
    "logs: six months at least, and not for ever": lambda g: yes_if(
        g.retention.audit_days >= _SIX_MONTHS, f"{g.retention.audit_days} days"
    ),
    "retention happens without anybody's doing": _clock,
    "confidential": _confidential,
    "nothing biometric leaves the device": _leaves,
    "integrity": _integrity,
    "events are recorded and cannot be changed unseen": _integrity,
    "templates of another model are not compared": _other_models,
    "a person can decide instead of the gate": _review,
    "oversight is somebody's task and not anybody's": _overseen,
    "a gate that is no real one says so": lambda g: (
        IN_FORCE,
        f"marks of every decision: {', '.join(g.marks) or 'none, it is a real one'}",
    ),
    "five false trials lock for 30 seconds, then longer": _lockout,
    "no trying without end": _rate,
    "the intended use is declared before, and named ever after": _declared,
    "each may do only what is theirs to do": _roles,
}
"""What settings, or the state of a gate, can turn off or leave open, by demand."""
