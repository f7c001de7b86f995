"""Every command on a gate, with every credential but the right one: it says which role it needs, and does nothing."""

from __future__ import annotations

import io
import sqlite3

import click
import pytest

from facegate._credentials import ROLES
from facegate.cli._commands import root

CHECKED = ["--checked-by", "passport-seen"]
COMMANDS = {
    "recognizer": {
        "verify": ["alice", "p.png"],
        "identify": ["p.png"],
        "candidates": ["p.png"],
        "cluster": ["p.png"],
        "lists similar": ["guests", "p.png"],
    },
    "enroller": {
        "people list": [],
        "people show": ["alice"],
        "people enroll": ["carol", "p.png"],
        "people remove": ["alice", "--yes"],
        "people minor": ["alice"],
        "faces list": ["alice"],
        "faces add": ["alice", "p.png"],
        "faces remove": ["alice", "1", "--yes"],
        "consent record": ["alice"],
        "consent withdraw": ["alice", "--yes"],
        "groups list": [],
        "groups make": ["staff"],
        "groups delete": ["staff", "--yes"],
        "groups members": ["staff"],
        "groups join": ["staff", "alice"],
        "groups leave": ["staff", "alice"],
        "lists list": [],
        "lists show": ["guests"],
        "lists make": ["guests"],
        "lists delete": ["guests", "--yes"],
        "lists add": ["guests", "p.png"],
        "lists remove": ["guests", "1", "--yes"],
    },
    "reviewer": {
        "review queue": [],
        "review verdict": ["x", "match", "--reviewer", "guard-7"],
        "report make": ["false_match", "x"],
        "report list": [],
        "report export": ["P-1", "never.zip"],
    },
    "privacy_officer": {
        "rights request": ["access", "alice", *CHECKED],
        "rights requests": [],
        "rights extend": ["R-1", "3", "--note", "much to do"],
        "rights close": ["R-1", "done"],
        "rights access": ["alice", *CHECKED],
        "rights export": ["alice", "never.zip", *CHECKED],
        "rights explain": ["x"],
        "rights correct": ["alice", "--new-reference", "bob", *CHECKED],
        "rights restrict": ["alice", *CHECKED],
        "rights unrestrict": ["alice", *CHECKED],
        "rights object": ["alice", *CHECKED],
        "rights erase": ["alice", "--yes", *CHECKED],
        "rights withdraw": ["alice", "--yes", *CHECKED],
        "rights close-account": ["alice", "--yes", *CHECKED],
        "rights certify": ["alice"],
        "gate sweep": [],
        "audit show": [],
        "audit purge": ["--before", "2020-01-01", "--yes"],
        "outbox list": [],
        "report pack": ["-o", "never.zip"],
    },
    "administrator": {
        "gate accept-clock": ["--yes"],
        "gate rotate-key": [],
        "gate renew-rotation": ["--yes"],
        "gate backup": ["never.fgbk", "--recovery", "recovery.pub"],
        "roles list": [],
        "roles add": ["enroller", "desk-9"],
        "roles revoke": ["reviewer", "--yes"],
        "settings list": [],
        "settings set": ["age_limit", "15"],
    },
}
# What they tell is about nobody, or what whoever has the files has anyway; each says so in its help.
FREE = {"gate status", "audit verify", "audit head", "outbox status", "outbox deliver"}


def leaves(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """All commands, by what is typed."""
    context, found = click.Context(group), {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= leaves(command, f"{path}{name} ")
        elif command is not None:
            found[path + name] = command
    return found


def test_every_command_on_a_gate_belongs_to_a_role():
    """A command that opens a gate is listed here under one role, or says that it needs no credential."""
    on_gates = {name: c for name, c in leaves(root).items() if any("--gate" in p.opts for p in c.params)}
    listed = {name for commands in COMMANDS.values() for name in commands}
    assert on_gates.keys() == listed | FREE
    for role, commands in COMMANDS.items():
        for name in commands:
            texts = " ".join((on_gates[name].help or "").split())
            assert f"Role: {role.replace('_', ' ')}." in texts, name
    for name in FREE:
        assert "credential" in " ".join((on_gates[name].help or "").split()), name


def content(folder):
    """Everything that the store has."""
    db = sqlite3.connect(f"file:{folder / 'gate.db'}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608
    finally:
        db.close()


@pytest.mark.parametrize("role", ROLES)
def test_attack_every_command_without_its_credential(gate_commands, monkeypatch, role):
    """With the credentials of all other roles at hand: exit 4, the role is named, nothing is told, nothing changed."""
    run = gate_commands
    run.enroll("alice", 10)
    run.picture("p.png", 10)
    assert run("keys", "new", "--recovery", "--no-passphrase", "-o", "recovery")[0] == 0
    (run.credentials / f"{role}.credential").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = content(run.folder)
    for name, arguments in COMMANDS[role].items():
        code, out, err = run(*name.split(), *arguments)
        assert (code, out) == (4, ""), (name, err)
        assert role in err, name
        assert "alice" not in err, name
    assert content(run.folder) == before
    assert not list(run.room.glob("never*"))


@pytest.mark.parametrize("role", ROLES)
def test_attack_a_credential_that_was_renamed(gate_commands, monkeypatch, role):
    """A token of another role under this role's name opens nothing."""
    run = gate_commands
    other = ROLES[ROLES.index(role) - 1]
    path = run.credentials / f"{role}.credential"
    path.write_bytes((run.credentials / f"{other}.credential").read_bytes())
    path.chmod(0o600)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    name = next(iter(COMMANDS[role]))
    run.picture("p.png", 10)
    code, out, err = run(*name.split(), *COMMANDS[role][name])
    assert (code, out) == (4, "")
    assert role in err
    assert other in err
