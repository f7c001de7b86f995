"""`facegate audit`: the record of what was done, and whether anybody has changed it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from facegate import SigningKey
from facegate._clock import SystemClock


@pytest.fixture
def run(gate_commands):
    """The command line on a gate in which alice was enrolled."""
    gate_commands.enroll("alice", 10)
    return gate_commands


def tamper(run, sql: str) -> None:
    """What somebody does who can write to the store's file and has no key."""
    connection = sqlite3.connect(run.folder / "gate.db")
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_the_log_shows_what_was_done(run):
    """Who did what about whom; by person, by action, by day."""
    entries = run.json("audit", "show")["entries"]
    assert entries[0]["action"] == "gate_made"
    about = run.json("audit", "show", "--of", "alice")["entries"]
    assert about
    assert {entry["reference"] for entry in about} == {"alice"}
    assert {entry["role"] for entry in about} == {"enroller"}
    action = about[-1]["action"]
    assert run.json("audit", "show", "--action", action, "--limit", 1)["entries"][-1]["action"] == action
    assert run.json("audit", "show", "--before", "2020-01-01")["entries"] == []
    # The command itself opened the gate, which is an entry as well.
    assert run.json("audit", "show", "--since", "2020-01-01")["entries"][: len(entries)] == entries
    code, out, _ = run("audit", "show", "--of", "alice")
    assert code == 0
    assert action in out
    assert "alice" in out
    assert run("audit", "show", "--of", "nobody")[1] == "there is no such entry\n"


def test_only_the_privacy_officer_reads_the_log(run, monkeypatch):
    """It names people's references."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    code, out, err = run("audit", "show")
    assert (code, out) == (4, "")
    assert "privacy_officer" in err
    monkeypatch.setenv("FACEGATE_CREDENTIAL_FILE", str(run.credentials / "administrator.credential"))
    assert run("audit", "show")[0] == 4


def test_a_whole_log_is_said_to_be(run, monkeypatch):
    """Without a credential, in words and as JSON."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    found = run.json("audit", "verify")
    assert (found["ok"], found["problems"], found["earlier_head"]) == (True, [], "nothing")
    assert found["entries"] == found["head"]["entries"] > 1
    code, out, _ = run("audit", "verify")
    assert code == 0
    assert "the audit log is whole" in out
    assert "no earlier head" in out


def test_a_changed_entry_is_named(run):
    """And the command says no."""
    tamper(run, "UPDATE audit SET reference = 'bob' WHERE reference = 'alice'")
    found = run.json("audit", "verify", code=1)
    assert not found["ok"]
    assert {problem["kind"] for problem in found["problems"]} == {"changed"}
    entry = found["problems"][0]["entry"]
    code, out, _ = run("audit", "verify")
    assert code == 1
    assert f"WRONG: entry {entry} " in out
    assert "CHANGED" in out


def test_a_log_without_its_end_is_found_and_the_gate_does_not_open(run):
    """Nothing is added to a log that was shortened."""
    tamper(run, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    assert [p["kind"] for p in run.json("audit", "verify", code=1)["problems"]] == ["truncated"]
    assert run("people", "list")[0] == 4


def test_a_copy_is_verified_with_the_device_s_public_key(run):
    """On another machine, which has nothing else of the gate."""
    shutil.copy(run.folder / "gate.db", run.room / "copy.db")
    shutil.copy(run.folder / "device.key.pub", run.room / "device.pub")
    code, out, _ = run("audit", "verify", "--store", "copy.db", "--key", "device.pub")
    assert (code, "whole" in out) == (0, True)
    SigningKey.generate().verify_key.save(run.room / "other.pub")
    found = run.json("audit", "verify", "--store", "copy.db", "--key", "other.pub", code=1)
    assert found["problems"][0]["kind"] == "head"
    assert found["head"] is None


def test_a_gate_that_was_put_back_is_noticed_with_an_earlier_head(run):
    """The head was kept elsewhere, as text or as JSON."""
    shutil.copytree(run.folder, run.room / "old")
    first = run("audit", "head")[1]
    (run.room / "first.jws").write_text(first)
    run.enroll("bob", 20)
    (run.room / "head.jws").write_text(run("audit", "head")[1])
    (run.room / "head.json").write_text(json.dumps(run.json("audit", "head")))
    assert run.json("audit", "verify", "--head", "first.jws")["earlier_head"] == "continued"
    assert run.json("audit", "verify", "--head", "head.json")["earlier_head"] == "same"
    assert "continues" in run("audit", "verify", "--head", "first.jws")[1]
    for name in ("head.jws", "head.json"):
        found = run.json("audit", "verify", "--gate", run.room / "old", "--head", name, code=1)
        assert [p["kind"] for p in found["problems"]] == ["rolled_back"]
    assert run.json("audit", "verify", "--gate", run.room / "old")["ok"]


def test_the_head_tells_nothing_about_anybody(run, monkeypatch):
    """It can be kept anywhere, and needs no credential."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    found = run.json("audit", "head")
    assert found.keys() == {"entries", "hash", "time", "head"}
    code, out, _ = run("audit", "head")
    assert (code, out.strip()) == (0, found["head"])


def test_old_entries_are_removed_and_the_rest_verifies(run, monkeypatch):
    """Only what is six months old; asked for first; tried without doing it."""
    today = datetime.now(timezone.utc)
    assert run("audit", "purge", "--before", f"{today:%Y-%m-%d}", "--yes")[0] == 3
    genuine = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: genuine(self) + timedelta(days=300))
    run("gate", "accept-clock", "--yes")
    day = f"{today + timedelta(days=2):%Y-%m-%d}"
    tried = run.json("audit", "purge", "--before", day, "--dry-run")
    assert tried["entries"] > 1
    assert run("audit", "purge", "--before", day)[0] == 2
    assert run.json("audit", "purge", "--before", day, "--yes")["entries"] == tried["entries"]
    found = run.json("audit", "verify")
    assert (found["ok"], found["purged"]) == (True, tried["entries"])
    assert run.json("audit", "show", "--action", "audit_purged")["entries"][0]["role"] == "privacy_officer"
    assert run("audit", "purge", "--before", "2020-01-01")[:2] == (0, "0 entries removed\n")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("audit", "verify", "--store", "none.db", "--key", "device.pub"), 3),
        (("audit", "verify", "--store", "text", "--key", "text"), 3),
        (("audit", "verify", "--store", "text"), 2),
        (("audit", "verify", "--head", "none"), 3),
        (("audit", "verify", "--head", "text"), 4),
        (("audit", "verify", "--gate", "none"), 3),
        (("audit", "head", "--gate", "none"), 3),
        (("audit", "purge"), 2),
        (("audit", "purge", "--before", "yesterday"), 2),
        (("audit", "show", "--limit", "0"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_meant_is_an_error(run, args, code):
    """With its exit code, in one sentence, and without a traceback."""
    (run.room / "text").write_text("text")
    (run.room / "device.pub").write_bytes((run.folder / "device.key.pub").read_bytes())
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")


def test_without_a_gate_the_command_asks_for_one(run, monkeypatch):
    """Neither a folder nor a copy was named."""
    monkeypatch.delenv("FACEGATE_GATE")
    assert run("audit", "verify")[0] == 2
