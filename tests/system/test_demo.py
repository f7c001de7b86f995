"""The demo, as `make demo` runs it: with rendered people, and with real models and photographs where they are."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from facegate import VerifyKey, open_gate, verify_decision
from facegate._credentials import ROLES

KIOSK = Path(__file__).parents[2] / "examples/kiosk"
GATE = ["bundle.fgb", "declaration.json", "device.key", "device.key.pub", "gate.db", "gate.db.lock", "gate.json"]
GATE += ["policy.json", "seal.key"]


def run_demo(script, cwd, **variables):
    """Run a demo in a folder of its own."""
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(KIOSK / script)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The demo with rendered people, run once: (what it said, its folder)."""
    cwd = tmp_path_factory.mktemp("demo")
    return run_demo("demo.py", cwd), cwd / "demo-out"


@pytest.fixture(scope="module")
def decisions(played):
    """What left the device, verified with the device's public key."""
    out = played[1]
    key = VerifyKey.load(out / "gate/device.key.pub")
    return [verify_decision(jws, key) for jws in (out / "decisions.jws").read_text().split()]


def test_without_anything_given_every_labelled_decision_is_right(played):
    """No models and no photographs are needed: all visits end as they should."""
    done, _ = played
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    right, labelled = re.search(r"(\d+) of (\d+) labelled decisions are right", done.stdout).groups()
    assert right == labelled
    assert int(labelled) >= 25
    assert "NO:" not in done.stdout


def test_the_day_has_every_kind_of_decision(decisions):
    """Three people matched, strangers, attacks, several, nobody, a lock-out: numbered without gaps, each one marked."""
    assert [d.sequence for d in decisions] == list(range(1, len(decisions) + 1))
    assert {d.marks for d in decisions} == {("demonstration",)}
    assert {d.subject for d in decisions} == {None, "visitor-1", "visitor-2", "visitor-3"}
    reasons = {reason for d in decisions for reason in d.reasons}
    assert {"below_threshold", "liveness_spoof", "several_faces", "no_face", "locked_out"} <= reasons


def test_what_it_prints_is_what_leaves(played, decisions):
    """Each decision is printed with its reason, and one of them as it is sent; no score is among it."""
    done, _ = played
    for decision in decisions:
        assert f"{decision.outcome} {decision.subject or ', '.join(decision.reasons)}" in done.stdout
    shown = json.loads(done.stdout.split("all that is in it:")[1].split("\n\nall that left")[0])
    assert shown in [d.to_dict() for d in decisions]
    for word in ("score", "similarity", "embedding"):
        assert word not in done.stdout.split("all that is in it:")[1]


def test_nothing_biometric_is_written_but_the_page(played):
    """Keys, bundles, the gate, the decisions, and one page that stays on the device; no photograph is left behind."""
    out = played[1]
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.parent.name != "trust")
    names = ("decisions.jws", *(f"gate/{n}" for n in GATE), "index.html", "kiosk.fgb", "maker.key", "maker.key.pub")
    assert written == sorted([*names, *(f"gate-credentials/{role}.credential" for role in ROLES)])
    for key in (
        "maker.key",
        "gate/device.key",
        "gate/seal.key",
        "gate/gate.db",
        "gate-credentials/enroller.credential",
    ):
        assert (out / key).stat().st_mode & 0o777 == 0o600
    assert out.stat().st_mode & 0o777 == 0o700


def test_the_visitors_are_forgotten_as_they_were_told(played, decisions):
    """When the demonstration is over the gate knows nobody; its decisions and its log are complete."""
    done, out = played
    assert "0 people are known to the gate" in done.stdout
    with open_gate(out / "gate") as gate:
        status = gate.status()
        core = gate._core
        assert (status.people, status.decisions, status.demonstration) == (0, len(decisions), True)
        assert core.store.db.read("SELECT count(*) FROM face") == [(0,)]
        assert core.store.db.read("SELECT jws FROM decision ORDER BY sequence") == [
            *((jws,) for jws in (out / "decisions.jws").read_text().split())
        ]
        core.audit.verify()
        assert [entry.reference for entry in core.audit.entries(action="remove")] == [
            *("visitor-1", "visitor-2", "visitor-3")
        ]


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Remember it."""
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_says_where_it_belongs(played, decisions):
    """One file: pictures inside, each described, one for each decision; no script, nothing from elsewhere."""
    text = (played[1] / "index.html").read_text(encoding="utf-8")
    tags = Tags(text).found
    pictures = [attributes for tag, attributes in tags if tag == "img"]
    assert len(pictures) == len(decisions)
    assert all(p["src"].startswith("data:image/jpeg;base64,") and p["alt"] for p in pictures)
    for _, attributes in tags:
        for name in ("src", "href", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert "url(" not in text
    assert "@import" not in text
    assert "stays on the device" in text
    assert "prefers-color-scheme: dark" in text
    (plot,) = [attributes for tag, attributes in tags if tag == "svg"]
    assert plot["role"] == "img"
    assert plot["aria-label"]
    assert "$" not in re.sub(r"base64,[^\"]+", "", text)


# --- what counts as right ------------------------------------------------------------------------------------------


@pytest.fixture
def demo(monkeypatch):
    """The demo as a module."""
    monkeypatch.syspath_prepend(str(KIOSK))
    yield importlib.import_module("demo")
    for name in ("demo", "kiosk", "page"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("cue", "right", "wrong"),
    [
        ({}, ["no_face"], ["match a", "no_match", "locked_out"]),
        ({"people": "ax"}, ["several_faces"], ["match a", "no_match"]),
        ({"people": "a"}, ["match a"], ["match b", "no_match", "review", "liveness_spoof", "low_quality", "no_face"]),
        ({"people": "x"}, ["no_match"], ["match a", "review", "no_face", "liveness_spoof"]),
        ({"people": "a", "light": "dark"}, ["match a", "no_match", "low_quality"], ["match b", "several_faces"]),
        ({"people": "a", "light": "side"}, ["match a", "review"], ["match b", "locked_out"]),
        ({"people": "x", "light": "back"}, ["no_match", "low_quality", "no_face"], ["match a", "several_faces"]),
        ({"people": "a", "wears": ("mask",)}, ["match a", "no_match"], ["match b", "locked_out"]),
        ({"people": "a", "attack": "print"}, ["liveness_spoof", "review", "no_match"], ["match a", "match b"]),
        ({"people": "a", "note": "locked"}, ["locked_out"], ["match a", "no_match"]),
    ],
)
def test_who_may_be_matched_and_who_not(demo, decisions, cue, right, wrong):
    """An enrolled person in good light must be matched; nobody may ever be taken for somebody else."""
    a, b, _ = demo.PEOPLE
    seeds = {"a": a, "x": demo.STRANGER}
    people = tuple(
        demo.Visitor(seeds[who], cue.get("attack", ""), cue.get("wears", ())) for who in cue.get("people", "")
    )
    note = demo.LOCKED if cue.get("note") else ""
    _, allowed = demo.expected(demo.Cue(people, cue.get("light", "even"), note=note))

    nothing = next(d for d in decisions if d.reasons == ("no_face",))
    changes = {
        "match a": {"outcome": "match", "reasons": (), "subject": demo.PEOPLE[a]},
        "match b": {"outcome": "match", "reasons": (), "subject": demo.PEOPLE[b]},
        "no_match": {"outcome": "no_match", "reasons": ("below_threshold",)},
        "review": {"outcome": "review", "reasons": ("liveness_uncertain",), "liveness": "uncertain"},
        "liveness_spoof": {"reasons": ("liveness_spoof",), "liveness": "spoof"},
    }

    def decision(said):
        return dataclasses.replace(nothing, **changes.get(said, {"reasons": (said,)}))

    assert all(demo.is_right(decision(said), allowed) for said in right)
    assert not any(demo.is_right(decision(said), allowed) for said in wrong)


@pytest.mark.parametrize("right", [True, False])
def test_one_wrong_decision_fails_the_demo(demo, played, monkeypatch, tmp_path, right):
    """The exit code says whether all was right; a picture that was taken again counts for neither."""
    out = played[1]
    jws = (out / "decisions.jws").read_text().split()
    key = VerifyKey.load(out / "gate/device.key.pub")
    match = next(j for j in jws if verify_decision(j, key).outcome == "match")
    signed = type("Signed", (), {"jws": match})
    shot = type("Shot", (), {"time_s": 1.0, "cue": demo.Cue()})
    trials = [demo.Trial(shot, signed, verify_decision(match, key), "x", verdict) for verdict in (True, None, right)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    monkeypatch.setattr(demo, "build", lambda _: {})
    monkeypatch.setattr(demo, "make_gate", lambda: out / "gate")
    monkeypatch.setattr(demo, "enroll", lambda *_: None)
    monkeypatch.setattr(demo, "play", lambda *_: iter(trials))
    monkeypatch.setattr(demo, "write_page", lambda *_: None)
    assert demo.main() == (0 if right else 1)


# --- with real models and photographs ------------------------------------------------------------------------------


def test_every_labelled_photograph_is_decided_right_and_nothing_biometric_is_written(shared, tmp_path):
    """Real models and photographs: all labelled decisions are right; bundles, a key and decisions reach the disk."""
    done = run_demo("photographs.py", tmp_path, MODELS=str(shared / "models"), FACES=str(shared / "faces"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "labelled decisions are right" in done.stdout
    assert '"outcome": "match"' in done.stdout
    for word in ("score", "similarity", "embedding"):
        assert word not in done.stdout.split("all that is in it:")[1]
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    names = ("decisions.jws", "detector.fgb", "door.fgb", "maker.key", "maker.key.pub", "recognizer.fgb")
    assert written == [f"demo-out/{name}" for name in names]
    assert (tmp_path / "demo-out/maker.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", ["MODELS", "FACES"])
def test_without_models_or_photographs_it_says_what_to_do(tmp_path, missing):
    """A missing folder is named, with what belongs into it and how to say where it is."""
    there = tmp_path / "there"
    there.mkdir()
    folders = {"MODELS": str(there), "FACES": str(there), missing: str(tmp_path / "absent")}
    done = run_demo("photographs.py", tmp_path, **folders)
    assert done.returncode != 0
    assert str(tmp_path / "absent") in done.stderr
    assert "make demo MODELS=" in done.stderr
    assert "Traceback" not in done.stderr
