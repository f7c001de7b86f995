"""A gate from `facegate init` to `facegate wipe`, by commands alone, with the reference models and rendered people."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from facegate.cli import main

ALICE, BOB, STRANGER = 3_000_001, 3_000_002, 3_000_009  # seeds that belong to tests


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command that must exit with 0, or with `code`; what it answers."""
    monkeypatch.chdir(tmp_path)
    for name in ("FACEGATE_TRUST", "FACEGATE_PASSPHRASE", "FACEGATE_PASSPHRASE_FILE", "FACEGATE_CREDENTIAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACEGATE_GATE", "door-7")
    monkeypatch.setenv("FACEGATE_CREDENTIALS", "door-7-credentials")

    def call(*args, code=0):
        found = main([*map(str, args), "--json"])
        out = capsys.readouterr().out
        assert found == code, out
        return json.loads(out)

    return call


@pytest.fixture
def pictures(tmp_path, rendered):
    """Writes pictures of a person at a terminal; returns their names."""

    def take(name, identity, numbers):
        files = [f"{name}-{n}.png" for n in numbers]
        for n, file in zip(numbers, files, strict=True):
            Image.fromarray(rendered.terminal(identity, number=n).pixels).save(tmp_path / file)
        return files

    return take


def outcomes(answer):
    """What was decided, and whom it named."""
    return [(entry["decision"]["outcome"], entry["decision"].get("subject")) for entry in answer["decisions"]]


def test_a_gate_from_init_to_wipe(run, pictures, tmp_path, monkeypatch):
    """Make, enroll, identify, erase with a certificate, back up, restore, wipe: what the README shows, and more."""
    (tmp_path / "told.txt").write_text("What they were told.")
    consent = ("--text", "told.txt", "--taken-by", "reception")
    run("init", "door-7", "--demonstration")
    assert run("people", "enroll", "alice", *pictures("alice", ALICE, (0, 1, 2)), *consent)["enrolled"]
    assert run("people", "enroll", "bob", *pictures("bob", BOB, (0, 1, 2)), *consent)["enrolled"]
    twin = run("people", "enroll", "twin", *pictures("twin", ALICE, (3,)), *consent, code=1)
    assert twin["duplicate_of"] == "alice"
    probes = [*pictures("p", ALICE, (5,)), *pictures("q", BOB, (5,)), *pictures("s", STRANGER, (5,))]
    found = run("identify", *probes, code=1)
    assert outcomes(found)[:2] == [("match", "alice"), ("match", "bob")]
    assert outcomes(found)[2][1] is None
    run("keys", "new", "--recovery", "-o", "recovery.key", "--no-passphrase")
    run("gate", "backup", "before.backup", "--recovery", "recovery.key.pub")
    run("rights", "erase", "alice", "--checked-by", "passport-seen", "--yes", "-o", "alice.jws")
    run("rights", "certificate", "alice.jws", "--key", "door-7/device.key.pub", "--of", "alice")
    assert outcomes(run("identify", probes[0], code=1)) == [("no_match", None)]
    run("gate", "rotate-key")
    run("gate", "renew-rotation", "--yes")
    assert outcomes(run("identify", probes[1])) == [("match", "bob")]
    restored = run("gate", "restore", "before.backup", "door-8", "--recovery", "recovery.key", "--erased", "alice.jws")
    assert restored["erased_again"] == ["alice"]
    run("wipe", "door-7", "--confirm", "door-7")
    assert not (tmp_path / "door-7").exists()
    monkeypatch.setenv("FACEGATE_GATE", "door-8")
    assert outcomes(run("identify", probes[1])) == [("match", "bob")]
    assert outcomes(run("identify", probes[0], code=1)) == [("no_match", None)]
    assert run("gate", "status")["people"] == 1
