"""The table of controls of a review pack: the demands of docs/privacy.md, and what settings make of them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from facegate import Policy, open_gate
from facegate._declaration import Declaration
from facegate._new_gate import create_gate
from facegate._pack._controls import CHECKS, STATES, controls, demands
from facegate._pack._controls_bundle import BUNDLE_ROWS
from facegate._pack._facts import Facts, read_bundle, read_gate, read_machine
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore

ROOT = Path(__file__).parents[2]
SIGNER = SigningKey.from_seed(bytes(range(32)))
DECLARATION = dataclasses.replace(
    Declaration.demonstration(), purpose="entrance", legal_basis="explicit_consent", place="a test's own gate"
)


class NoModels:
    """In the place of a pipeline: nobody is looked at here."""

    space, template_length, has_liveness = "test-space", 128, True

    def close(self):
        """There is nothing to free."""


@pytest.fixture(scope="module")
def facts(bundle_path, tmp_path_factory) -> Facts:
    """Those of a gate as `facegate init` makes one."""
    folder = tmp_path_factory.mktemp("facts") / "gate"
    trust = TrustStore([SIGNER.verify_key])
    with open_bundle(bundle_path, trust=trust) as bundle:
        create_gate(folder, bundle, trust, Policy(fmr=1e-3), device_id="door-1", declaration=DECLARATION)
        facts = read_bundle(bundle)
    with open_gate(folder, pipeline=NoModels()) as gate:
        found = read_gate(gate._core, gate._core.now())
    return Facts("2026-03-01T12:00:00Z", "a test", facts, found, read_machine(), None, ())


def judged(facts, demand):
    """State and finding of a control."""
    (found,) = [(each.state, each.finding) for each in controls(facts) if each.demand == demand]
    return found


def changed(facts, **changes):
    """The facts with another gate."""
    return dataclasses.replace(facts, gate=dataclasses.replace(facts.gate, **changes))


def test_the_table_of_controls_is_that_of_the_documentation():
    """Demands, sources, controls and tests are those of docs/privacy.md, row by row, none more and none less."""
    rows, chapter = [], ""
    for line in (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        elif line.startswith("| ") and not line.startswith("| demand "):
            cells = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell.strip()) for cell in line.strip("|").split(" | ")]
            texts = dict(zip(("demand", "source", "control"), (cell.replace("`", "") for cell in cells), strict=False))
            rows.append({"chapter": chapter, **texts, "tests": re.findall(r"`(tests/\S+::\w+)`", cells[3])})
    assert demands() == rows


def test_every_check_is_of_a_demand_that_there_is():
    """A demand that was reworded keeps its check."""
    assert CHECKS.keys() <= {row["demand"] for row in demands()}


def test_every_control_has_a_known_state(facts):
    """And a sentence; the ones of the pack's own come after those of the documentation."""
    found = controls(facts)
    assert len(found) == len(demands()) + len(BUNDLE_ROWS)
    assert all(control.state in STATES and control.finding for control in found)
    alone = controls(dataclasses.replace(facts, gate=None))
    assert [control.demand for control in alone] == [control.demand for control in found]
    assert all(control.state == "not known" for control in alone if control.demand in CHECKS)


ANSWER = "an answer within a month, one extension with reasons, refusal with reasons"
AGE = "age is asked where minors are to be expected"
YEARS = "people: three years after the last interaction"


@pytest.mark.parametrize(
    ("demand", "settings", "expected"),
    [
        (YEARS, {"people_days": 1097}, "not in force"),
        (YEARS, {"people_days": 1095}, "in force"),
        ("people: within a year", {"people_days": 400}, "not in force"),
        ("people: within a year", {"people_days": 365}, "in force"),
        (ANSWER, {"request_due_days": 60}, "not in force"),
        (ANSWER, {"request_due_days": 31}, "in force"),
        (AGE, {"ask_age": False}, "not needed"),
        (AGE, {"ask_age": True}, "in force"),
        ("captured faces: at most 24 hours", {"captured_seconds": 86_400}, "in force"),
        ("captured faces: at most 24 hours", {"captured_seconds": 86_401}, "not in force"),
        ("logs: six months at least, and not for ever", {"audit_days": 183}, "not in force"),
        ("logs: six months at least, and not for ever", {"audit_days": 184}, "in force"),
    ],
)
def test_settings_decide_which_controls_are_in_force(facts, demand, settings, expected):
    """A setting that does not fulfill a demand is named as such, with its value."""
    rules = {name: value for name, value in settings.items() if hasattr(facts.gate.retention, name)}
    retention = dataclasses.replace(facts.gate.retention, **rules)
    state, finding = judged(changed(facts, settings=facts.gate.settings | settings, retention=retention), demand)
    assert state == expected
    (value,) = settings.values()
    assert isinstance(value, bool) or str(value) in finding


FOLDER, KEY = "other users of the machine see nothing of the gate", "nobody else can sign as this device"
MINORS = dataclasses.replace(DECLARATION, minors=True)


@pytest.mark.parametrize(
    ("demand", "change", "expected"),
    [
        ("confidential", {"provider": "tpm"}, "in force"),
        ("confidential", {"provider": "credential"}, "in force"),
        ("confidential", {"provider": "environment"}, "partly"),
        ("confidential", {"provider": "file", "provider_inside": False}, "partly"),
        (FOLDER, {"others_read": True}, "partly"),
        (FOLDER, {"others_read": False}, "in force"),
        (KEY, {"device_key_locked": True}, "in force"),
        (KEY, {"device_key_locked": False}, "partly"),
        ("there is a backup", {"last_backup": None}, "not in force"),
        ("there is a backup", {"last_backup": "2026-03-01"}, "in force"),
        ("integrity", {"audit_problems": 2}, "not in force"),
        ("templates of another model are not compared", {"outdated": 3}, "partly"),
        ("retention happens without anybody's doing", {"clock": "forward"}, "not in force"),
        (AGE, {"declaration": MINORS}, "not in force"),
        ("no minors where none were declared", {"declaration": MINORS}, "not needed"),
        ("a guardian consents for a minor", {"declaration": MINORS}, "in force"),
        ("a guardian consents for a minor", {}, "not needed"),
        ("a demonstration is no basis", {"demonstration": True}, "partly"),
        ("the intended use is declared before, and named ever after", {"declaration": Declaration.demonstration()},
         "partly"),
        ("decisions are delivered, and none is lost", {"delivered": 4}, "in force"),
        ("decisions are delivered, and none is lost", {}, "not needed"),
    ],
)  # fmt: skip
def test_the_state_of_the_gate_decides_which_controls_are_in_force(facts, demand, change, expected):
    """Keys, permissions, backups, the log, the clock, the declaration."""
    assert judged(changed(facts, **change), demand)[0] == expected


ATTACKS, FALSE_MATCH = "presentation attacks are rejected", "at most one false match in 10,000"
MEASURED = "the threshold comes from a measurement of this bundle"
LOCKED = "five false trials lock for 30 seconds, then longer"


@pytest.mark.parametrize(
    ("rules", "demand", "expected", "said"),
    [
        ({}, ATTACKS, "not in force", "require_liveness is false"),
        ({"require_liveness": True, "live_at": 0.9, "spoof_at": 0.4}, ATTACKS, "in force", "0.4"),
        ({"fmr": 1e-4}, FALSE_MATCH, "in force", "0.0001"),
        ({}, FALSE_MATCH, "not in force", "0.001"),
        ({"threshold": 0.3}, FALSE_MATCH, "not in force", "by hand"),
        ({"threshold": 0.3}, MEASURED, "not in force", "by hand"),
        ({}, MEASURED, "partly", "up to 0.002"),
        ({"max_attempts": 0}, LOCKED, "not in force", "nobody"),
        ({"max_attempts": 20}, LOCKED, "not in force", "20 failed"),
        ({"lockout_seconds": 5}, LOCKED, "not in force", "for 5 s"),
        ({}, LOCKED, "in force", "5 failed"),
        ({"max_trials_per_minute": 0}, "no trying without end", "not in force", "no limit"),
        ({}, "no trying without end", "in force", "60 trials"),
        ({"require_liveness": True, "live_at": 0.9, "spoof_at": 0.4}, "a person can decide instead of the gate",
         "in force", "0.4 to 0.9"),
        ({}, "a person can decide instead of the gate", "partly", "not checked"),
    ],
)  # fmt: skip
def test_the_policy_decides_which_controls_are_in_force(facts, rules, demand, expected, said):
    """A rule that does not fulfill a demand is named as such."""
    policy = dataclasses.replace(facts.gate.policy, **rules)
    manifest = facts.bundle.manifest
    there = {"policy": policy, "threshold": policy.check(manifest), "point": policy.operating_point(manifest)}
    state, finding = judged(changed(facts, **there), demand)
    assert state == expected
    assert said in finding


@pytest.mark.parametrize(("swap", "expected"), [(True, "not in force"), (False, "in force"), (None, "not known")])
def test_swap_is_looked_at(facts, swap, expected):
    """Pictures are freed and not wiped: they must not get to a disk."""
    machine = dataclasses.replace(facts.machine, swap=swap)
    assert judged(dataclasses.replace(facts, machine=machine), "freed pictures do not get to a disk")[0] == expected


@pytest.mark.parametrize(("commercial", "expected"), [(True, "in force"), (False, "not in force"), (None, "not known")])
def test_licences_decide(facts, commercial, expected):
    """A model that may not be used commercially is named; one that nobody spoke of is not taken for allowed."""
    models = [*facts.bundle.manifest.models]
    others = [dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, commercial_use=True)) for m in models]
    changed_model = dataclasses.replace(
        others[0], provenance=dataclasses.replace(others[0].provenance, commercial_use=commercial)
    )
    manifest = dataclasses.replace(facts.bundle.manifest, models=(changed_model, *others[1:]))
    bundle = dataclasses.replace(facts.bundle, manifest=manifest)
    state, finding = judged(dataclasses.replace(facts, bundle=bundle), "the models' licences allow the use")
    assert state == expected
    assert commercial or "detector" in finding


def test_allowances_are_named(facts):
    """A gate of the converter that failed, and was accepted, is not in force."""
    models = [*facts.bundle.manifest.models]
    models[1] = dataclasses.replace(
        models[1], provenance=dataclasses.replace(models[1].provenance, allowances=("drift-p1",))
    )
    bundle = dataclasses.replace(
        facts.bundle, manifest=dataclasses.replace(facts.bundle.manifest, models=tuple(models))
    )
    demand = "the conversion of the models cost nothing that mattered"
    assert judged(facts, demand)[0] == "in force"
    state, finding = judged(dataclasses.replace(facts, bundle=bundle), demand)
    assert state == "not in force"
    assert "recognizer: drift-p1" in finding
