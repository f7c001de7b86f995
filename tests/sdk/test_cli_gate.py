"""`facegate gate`, `roles`, `settings` and `wipe`: the gate as a whole."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta

import pytest

from facegate import SigningKey
from facegate._administration import Administration
from facegate._clock import SystemClock
from facegate.cli._output import Output
from facegate.cli._progress import Bar
from facegate_edge._keys import b64url_encode

WORDS = "correct horse battery"


@pytest.fixture
def run(gate_commands):
    """The command line on a gate with alice."""
    gate_commands.enroll("alice", 10)
    return gate_commands


@pytest.fixture
def recovery(run):
    """A recovery key's two files."""
    run.json("keys", "new", "--recovery", "-o", "recovery.key", "--no-passphrase")
    return run.room / "recovery.key"


# --- how it is -----------------------------------------------------------------------------------------------------


def test_status_needs_no_credential_and_names_nobody(run, monkeypatch):
    """Counts, purpose and clock; nothing about anybody."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    found = run.json("gate", "status")
    assert (found["people"], found["clock"], found["purpose"], found["outdated"]) == (1, "", "entrance", 0)
    code, out, _ = run("gate", "status")
    assert code == 0
    assert "alice" not in out


def test_a_clock_that_is_wrong_is_told_and_accepted(run, monkeypatch):
    """A clock that jumped is not believed (1), nothing is swept by it, until an administrator has looked at it."""
    run("gate", "status")
    genuine = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: genuine(self) + timedelta(days=3000))
    code, out, _ = run("gate", "status")
    assert code == 1
    assert "CLOCK" in out
    assert run("gate", "sweep")[0] == 1
    assert run.json("gate", "sweep", code=1)["suspect"] == "forward"
    assert run.json("people", "list")["people"]
    assert run("gate", "accept-clock")[0] == 2
    assert "the clock is believed" in run("gate", "accept-clock", "--yes")[1]
    # It is ten years later, then: nobody has used the gate since.
    swept = run.json("gate", "sweep", "--dry-run")
    assert (swept["dry_run"], swept["suspect"]) == (True, "")


def test_sweeping(run):
    """There is nothing to erase in a gate that is new; a dry run erases nothing."""
    assert run("gate", "sweep")[:2] == (0, "there is nothing to erase\n")
    assert run.json("gate", "sweep", "--dry-run")["people"] == []


def test_sweeping_names_whose_time_is_over_but_restricted(run, monkeypatch):
    """They are kept, and it is for the officer to end it: said in both outputs, also if there is nothing else."""
    assert run("rights", "restrict", "alice", "--checked-by", "passport-seen")[0] == 0
    genuine = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: genuine(self) + timedelta(days=3000))
    assert run("gate", "accept-clock", "--yes")[0] == 0
    swept = run.json("gate", "sweep", "--dry-run")
    assert (swept["held"], swept["people"]) == (["alice"], [])
    assert "kept alice: their time is over, but their data is restricted" in run("gate", "sweep", "--dry-run")[1]


# --- keys ----------------------------------------------------------------------------------------------------------


def test_the_sealing_key_is_rotated(run):
    """The key in the file is another one, gate.json says where it is, and everybody is still known."""
    before = (run.folder / "seal.key").read_text()
    first = run.json("gate", "rotate-key")["key_id"]
    assert (run.folder / "seal.key").read_text() != before
    moved = run.room / "moved.key"
    second = run.json("gate", "rotate-key", "--key", f"file:{moved}")["key_id"]
    assert first != second
    assert not (run.folder / "seal.key").exists()
    assert json.loads((run.folder / "gate.json").read_text())["key"] == f"file:{moved}"
    assert run("identify", run.picture("p.png", 10))[0] == 0
    for provider, code in (("nonsense", 4), ("environment:NONE", 4)):
        assert run("gate", "rotate-key", "--key", provider)[0] in (code, 3, 5)
    assert run("identify", run.picture("p.png", 10))[0] == 0


def test_the_sealing_key_moves_to_a_credential_of_systemd(run, monkeypatch):
    """As docs/operations.md says: a new secret in the service's credentials takes the place of the file."""
    given = run.room / "given"
    given.mkdir()
    (given / "seal").write_text(b64url_encode(os.urandom(32)))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert run("gate", "rotate-key", "--key", "credential:seal")[0] == 0
    assert not (run.folder / "seal.key").exists()
    assert run("identify", run.picture("p.png", 10))[0] == 0
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert run("identify", run.picture("p.png", 10))[0] in (4, 5)


def test_the_rotation_is_renewed(run):
    """Templates are turned by another secret; everybody is still known. It is asked first."""
    assert run("gate", "renew-rotation")[0] == 2
    first, second = (run.json("gate", "renew-rotation", "--yes")["rotation"] for _ in range(2))
    assert first != second
    assert run("identify", run.picture("p.png", 10))[0] == 0


def test_keys_and_clock_are_in_the_audit_log(run):
    """What an administrator does with the gate as a whole leaves an entry each, by label."""
    run("gate", "rotate-key")
    run("gate", "renew-rotation", "--yes")
    run("gate", "accept-clock", "--yes")
    from facegate import open_gate  # noqa: PLC0415 - of this test

    with open_gate(run.folder) as gate:
        entries = {e.action: e for e in gate._core.audit.entries() if e.role == "administrator"}
    assert {"rotate_key", "renew_rotation", "accept_clock"} <= set(entries)
    assert all(entries[a].details["by"] == "administrator" for a in ("rotate_key", "renew_rotation", "accept_clock"))
    assert {name for name in vars(Administration) if not name.startswith("_")} == {
        *("backup", "rotate_key", "renew_rotation", "accept_clock"),
    }


# --- backups -------------------------------------------------------------------------------------------------------


def test_backup_and_restore(run, recovery, monkeypatch):
    """A backup is made with the public half, looked at by anybody, tried, and restored with the private half."""
    made = run.json("gate", "backup", "b.backup", "--recovery", f"{recovery}.pub")
    assert (made["people"], made["kind"]) == (1, "recovery_key")
    info = run.json("gate", "backup-info", "b.backup")
    assert (info["id"], info["device"], info["recovery_key"]) == (made["id"], "door-1", made["recovery_key"])
    assert "opens with the recovery key" in run("gate", "backup-info", "b.backup")[1]
    tried = run.json("gate", "restore", "b.backup", "again", "--recovery", recovery, "--dry-run")
    assert (tried["dry_run"], tried["people"], tried["maker_checked"]) == (True, 1, False)
    assert not (run.room / "again").exists()
    code, out, _ = run(
        *("gate", "restore", "b.backup", "again", "--recovery", recovery),
        *("--device-key", run.folder / "device.key.pub"),
    )
    assert code == 0
    assert "not checked" not in out
    assert "wipe it" in out
    monkeypatch.setenv("FACEGATE_GATE", str(run.room / "again"))
    assert run("identify", run.picture("p.png", 10))[0] == 0


def test_a_backup_with_a_passphrase(run, monkeypatch):
    """Without a recovery key the passphrase comes from the environment; a wrong one restores nothing (4)."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("gate", "backup", "b.backup")[0] == 4
    monkeypatch.setenv("FACEGATE_PASSPHRASE", "short")
    assert run("gate", "backup", "b.backup")[0] == 4
    monkeypatch.setenv("FACEGATE_PASSPHRASE", WORDS)
    assert "its passphrase" in run("gate", "backup", "b.backup")[1]
    assert "its passphrase" in run("gate", "backup-info", "b.backup")[1]
    assert run("gate", "restore", "b.backup", "again")[0] == 0
    monkeypatch.setenv("FACEGATE_PASSPHRASE", "incorrect horse battery")
    assert run("gate", "restore", "b.backup", "other")[0] == 4
    assert not (run.room / "other").exists()


def test_a_recovery_key_with_a_passphrase(run, monkeypatch):
    """The private half's own passphrase is fetched when it is needed."""
    monkeypatch.setenv("FACEGATE_PASSPHRASE", WORDS)
    run.json("keys", "new", "--recovery", "-o", "recovery.key")
    assert run("gate", "backup", "b.backup", "--recovery", "recovery.key.pub")[0] == 0
    assert run("gate", "restore", "b.backup", "again", "--recovery", "recovery.key")[0] == 0


def test_who_was_erased_since_is_erased_again(run, recovery):
    """An erasure certificate given to the restore takes the person out; what else came later is told as lost."""
    run("gate", "backup", "b.backup", "--recovery", f"{recovery}.pub")
    run("rights", "erase", "alice", "--checked-by", "passport-seen", "--yes", "-o", "erased.jws")
    answer = run.json("gate", "restore", "b.backup", "again", "--recovery", recovery, "--erased", "erased.jws")
    assert (answer["erased_again"], answer["people"]) == (["alice"], 0)
    assert run("gate", "restore", "b.backup", "x", "--recovery", recovery, "--erased", "none.jws")[0] not in (0, 70)


def test_backups_that_cannot_be(run, recovery):
    """A file that is there, no such file, no backup, the wrong half or kind of a key, a place that is taken."""
    public = f"{recovery}.pub"
    run("gate", "backup", "b.backup", "--recovery", public)
    SigningKey.generate().save(run.room / "signing.key")
    for args, codes in (
        (["backup", "b.backup", "--recovery", public], (3,)),
        (["backup", "c.backup", "--recovery", "none.pub"], (3,)),
        (["backup", "c.backup", "--recovery", recovery], (3,)),
        (["backup", "c.backup", "--recovery", run.folder / "device.key.pub"], (3,)),
        (["backup", "none/c.backup", "--recovery", public], (3, 5)),
        (["backup-info", "none.backup"], (3,)),
        (["backup-info", "door-2026.txt"], (3,)),
        (["restore", "b.backup", "again"], (2,)),
        (["restore", "none.backup", "again", "--recovery", recovery], (3,)),
        (["restore", "b.backup", "again", "--recovery", public], (3,)),
        (["restore", "b.backup", "again", "--recovery", "signing.key"], (3,)),
        (["restore", "b.backup", run.folder, "--recovery", recovery], (3,)),
        (["restore", "b.backup", "again", "--recovery", recovery, "--key", "nonsense"], (3, 4)),
    ):
        code, out, err = run("gate", *args)
        assert code in codes, (args, code, err)
        assert out == ""
    assert not (run.room / "again").exists()
    assert not (run.room / "c.backup").exists()


def test_backing_up_needs_the_administrator(run, recovery, monkeypatch):
    """Without the administrator's credential nothing is written."""
    (run.credentials / "administrator.credential").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("gate", "backup", "b.backup", "--recovery", f"{recovery}.pub")[0] == 4
    assert not (run.room / "b.backup").exists()


# --- roles and settings --------------------------------------------------------------------------------------------


def test_roles_are_given_and_taken(run, monkeypatch):
    """A credential is written to a file that only its owner reads, opens its role, and opens nothing when revoked."""
    made = run.json("roles", "add", "enroller", "desk-2")
    assert made == {"role": "enroller", "label": "desk-2", "file": "desk-2.credential"}
    path = run.room / "desk-2.credential"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in json.dumps(made)
    labels = [c["label"] for c in run.json("roles", "list")["credentials"]]
    assert "desk-2" in labels
    monkeypatch.setenv("FACEGATE_CREDENTIAL_FILE", str(path))
    assert run("people", "list")[0] == 0
    assert run("roles", "revoke", "desk-2")[0] == 2
    assert run("roles", "revoke", "desk-2", "--yes")[0] == 0
    assert run("people", "list")[0] == 4
    monkeypatch.delenv("FACEGATE_CREDENTIAL_FILE")
    assert run("people", "list")[0] == 0
    assert run("roles", "revoke", "administrator", "--yes")[0] != 0
    assert run("roles", "revoke", "none", "--yes")[0] != 0
    assert run("roles", "add", "king", "x")[0] == 2


def test_a_credential_is_not_overwritten_and_not_lost(run):
    """A file that is there stays; where the file cannot be written, the credential is revoked again."""
    (run.room / "taken.credential").write_text("something")
    assert run("roles", "add", "enroller", "taken")[0] != 0
    assert run("roles", "add", "enroller", "desk-3", "-o", "none/desk-3.credential")[0] != 0
    labels = [c["label"] for c in run.json("roles", "list")["credentials"]]
    assert "taken" not in labels
    assert "desk-3" not in labels


def test_settings(run):
    """Settings are listed with what they take, changed, and refused where they cannot have that value."""
    assert run("settings", "set", "age_limit", "16")[0] == 0
    assert run("settings", "set", "ask_age", "true")[0] == 0
    values = run.json("settings", "list")["settings"]
    assert (values["age_limit"]["value"], values["ask_age"]["value"]) == (16, True)
    assert "ask_age" in run("settings", "list")[1]
    assert run("people", "enroll", "bob", run.picture("b.png", 20))[0] == 3
    assert run("people", "enroll", "bob", run.picture("b.png", 20), "--adult")[0] == 0
    for name, value, code in (("age_limit", "0", 3), ("age_limit", "x", 3), ("ask_age", "1", 3), ("none", "1", 2)):
        assert run("settings", "set", name, value)[0] == code


# --- wiping --------------------------------------------------------------------------------------------------------


def test_a_gate_is_wiped_by_its_name(run, monkeypatch):
    """A dry run lists everything; the device id must be said or typed; then the folder is gone."""
    listed = run.json("wipe", run.folder, "--dry-run")
    assert str(run.folder / "seal.key") == listed["files"][0]
    assert "would destroy" in run("wipe", run.folder, "--dry-run")[1]
    assert run("wipe", run.folder)[0] == 2
    assert run("wipe", run.folder, "--confirm", "door-2")[0] == 2

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("door-2\n"))
    assert run("wipe", run.folder)[0] == 2
    assert run.folder.exists()
    (run.folder / "export.zip").write_text("somebody's")
    assert "export.zip  (no gate makes this)" in run("wipe", run.folder, "--dry-run")[1]
    monkeypatch.setattr("sys.stdin", Terminal("door-1\n"))
    code, out, err = run("wipe", run.folder)
    assert f"made by no gate, and destroyed with it: {run.folder / 'export.zip'}" in err
    assert (code, run.folder.exists()) == (0, False)
    assert "cannot be undone" in err
    assert "is gone" in out
    assert run("wipe", run.folder)[0] == 3


# --- at a terminal -------------------------------------------------------------------------------------------------


def test_the_bar_is_for_terminals_only():
    """At a terminal a bar is drawn on stderr and taken away; elsewhere, and with --json, there is nothing."""
    code = (
        "import sys\nfrom facegate.cli._progress import Bar\nfrom facegate.cli._output import Output\n"
        "with Bar(Output(json=len(sys.argv) > 1), 'working') as bar:\n    bar(0, 4); bar(4, 4)\n"
    )
    for args, drawn in (([], True), (["--json"], False)):
        leader, follower = pty.openpty()
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", code, *args], stdin=follower, stderr=follower, check=True, timeout=60
        )
        os.close(follower)
        try:
            shown = os.read(leader, 4096).decode()
        except OSError:
            shown = ""
        os.close(leader)
        assert ("working [" in shown and "100 %" in shown) == drawn
        assert drawn == (shown.endswith("\r"))


def test_the_bar_without_a_terminal(capsys):
    """In a pipe nothing is drawn."""
    with Bar(Output(), "working") as bar:
        bar(1, 2)
    assert capsys.readouterr().err == ""
