"""`facegate people`, `faces`, `consent`, `groups`, `lists` and what decides: on a gate's folder, with credentials."""

from __future__ import annotations

import io
import json

import pytest

from facegate import verify_decision
from facegate._credentials import ROLES
from facegate_edge._keys import VerifyKey


class Terminal(io.StringIO):
    """Somebody at a terminal, who types this."""

    def isatty(self):
        """It is one."""
        return True


@pytest.fixture
def types(monkeypatch):
    """Has somebody at the terminal who types the text."""

    def at_terminal(text):
        monkeypatch.setattr("sys.stdin", Terminal(text))

    return at_terminal


# --- people --------------------------------------------------------------------------------------------------------


def test_people_are_enrolled_listed_shown_and_removed(gate_commands):
    """The whole life of a person at a gate, a command each."""
    run = gate_commands
    made = run.enroll("alice", 10, "--expires-at", "2099-12-31")
    assert (made["enrolled"], made["added"], made["faces"], made["duplicate_of"]) == (True, 2, 2, None)
    (listed,) = run.json("people", "list")["people"]
    assert (listed["reference"], listed["faces"], listed["groups"], listed["minor"]) == ("alice", 2, [], False)
    shown = run.json("people", "show", "alice")
    assert len(shown["face_numbers"]) == 2
    (consent,) = shown["consents"]
    assert (consent["purpose"], consent["legal_basis"]) == ("entrance", "explicit_consent")
    assert (consent["text_version"], consent["taken_by"]) == ("door-2026", "reception")
    assert consent["expires"] == "2099-12-31T00:00:00.000Z"
    text = run("people", "show", "alice")[1]
    assert "door-2026" in text
    assert "2 faces" in text
    assert run("people", "remove", "alice", "--yes")[0] == 0
    assert run.json("people", "list") == {"people": []}
    assert run("people", "list")[1] == "nobody is enrolled\n"


def test_enrolling_says_what_was_not_used(gate_commands):
    """Pictures without a face or with several are named with the reason; if none is left, nobody is enrolled (1)."""
    run = gate_commands
    good, empty, two = run.picture("g.png", 10), run.picture("e.png"), run.picture("t.png", 10, 20)
    code, out, err = run("people", "enroll", "alice", good, empty, two)
    assert code == 0
    assert out == "alice: 1 face added, 1 in all\n"
    assert "e.png: not used: no_face" in err
    assert "t.png: not used: several_faces" in err
    code, out, _ = run("people", "enroll", "bob", empty)
    assert (code, out) == (1, "bob is not enrolled: no picture could be used\n")
    answer = run.json("people", "enroll", "bob", two, code=1)
    assert answer["pictures"] == [{"file": str(two), "reason": "several_faces"}]
    assert [p["reference"] for p in run.json("people", "list")["people"]] == ["alice"]


def test_the_same_face_under_another_reference(gate_commands, types):
    """It is not enrolled (1) and the other reference told; the operator has the choice, asked or by an option."""
    run = gate_commands
    run.enroll("alice", 10)
    picture = run.picture("twin.png", 10)
    answer = run.json("people", "enroll", "twin", picture, code=1)
    assert (answer["enrolled"], answer["duplicate_of"]) == (False, "alice")
    types("n\n")
    code, out, err = run("people", "enroll", "twin", picture)
    assert code == 1
    assert "not enrolled: the same face is enrolled as alice" in out
    assert "Enroll it as twin all the same?" in err
    types("y\n")
    code, out, _ = run("people", "enroll", "twin", picture)
    assert code == 0
    assert "the same face is enrolled as alice" in out
    assert run.json("people", "enroll", "third", picture, "--allow-duplicate")["enrolled"]


def test_a_folder_stands_for_its_pictures(gate_commands):
    """A folder's pictures are taken in the order of their names; other files are not looked at."""
    run = gate_commands
    for n in (2, 1):
        run.picture(f"alice/{n}.png", 10)
    (run.room / "alice" / "notes.txt").write_text("none")
    answer = run.json("people", "enroll", "alice", run.room / "alice")
    assert [p["file"][-5:] for p in answer["pictures"]] == ["1.png", "2.png"]
    (run.room / "void").mkdir()
    assert run("people", "enroll", "bob", run.room / "void")[0] == 3


def test_nobody_is_enrolled_without_a_consent(gate_commands, monkeypatch):
    """A text and a taker must be named, the text must be there, the purpose the declared one, and the time now."""
    run = gate_commands
    picture = run.picture("a.png", 10)
    (run.room / "empty.txt").write_text(" \n")
    for args, code, word in (
        (["--text", "none.txt"], 3, "cannot be read"),
        (["--text", "empty.txt"], 3, "no text"),
        (["--purpose", "marketing"], 3, "purpose"),
        (["--expires-at", "2020-01-01", "--given-at", "2019-01-01"], 3, "expired"),
        (["--given-at", "2099-01-01"], 3, ""),
        (["--legal-basis", "demonstration"], 3, "demonstration"),
        (["--given-at", "yesterday"], 2, "no time"),
        (["--text-version", "a b"], 2, "--text-version"),
        (["--legal-basis", "because"], 2, ""),
    ):
        found, _, err = run("people", "enroll", "alice", picture, *args)
        assert found == code, (args, err)
        assert word in err
    monkeypatch.delenv("FACEGATE_CONSENT_TEXT")
    code, _, err = run("people", "enroll", "alice", picture)
    assert code == 2
    assert "--text" in err
    assert run.json("people", "list") == {"people": []}


@pytest.mark.parametrize("gate_commands", [{"minors": True}], indirect=True)
def test_minors_need_their_guardian(gate_commands):
    """A minor is enrolled with a guardian's consent; an enrolled person found to be one is erased without it."""
    run = gate_commands
    assert "--minor" in run("people", "enroll", "kim", run.picture("b.png", 11))[2]
    assert run("settings", "set", "ask_age", "false")[0] == 0
    picture = run.picture("a.png", 10)
    code, _, err = run("people", "enroll", "kim", picture, "--minor")
    assert code == 3
    assert "guardian" in err
    assert run.json("people", "enroll", "kim", picture, "--minor", "--guardian", "parent-1")["enrolled"]
    assert run.json("people", "list")["people"][0]["minor"]
    assert "minor" in run("people", "list")[1]
    run.enroll("lee", 20)
    code, _, err = run("people", "minor", "lee")
    assert code == 3
    assert "erased" in err
    run.enroll("max", 30)
    assert run.json("people", "minor", "max", "--guardian", "parent-2")["minor"]
    assert [p["reference"] for p in run.json("people", "list")["people"]] == ["kim", "max"]


def test_removing_asks_first(gate_commands, types):
    """At a terminal it is asked, elsewhere --yes is needed; a dry run counts and erases nothing."""
    run = gate_commands
    run.enroll("alice", 10)
    for command in (["people", "remove"], ["consent", "withdraw"]):
        assert run.json(*command, "alice", "--dry-run") == {
            "reference": "alice",
            "dry_run": True,
            "faces": 2,
            "consents": 1,
            "groups": 0,
        }
        assert run(*command, "alice", "--json")[0] == 2
        types("n\n")
        code, out, _ = run(*command, "alice")
        assert (code, out.strip()) == (1, "nothing was done")  # some versions of click give the prompt's last space
    assert run.json("people", "show", "alice")["faces"] == 2
    types("y\n")
    code, out, err = run("consent", "withdraw", "alice")
    assert (code, out.splitlines()[0].strip()) == (0, "erased alice: 2 faces, 1 consent, 0 groups")
    word, certificate = out.splitlines()[1].split()
    (run.room / "alice.jws").write_text(certificate)
    assert word == "certificate:"
    checked = ("alice.jws", "--of", "alice", "--key", run.folder / "device.key.pub")
    assert run("rights", "certificate", *checked)[0] == 0
    assert "cannot be undone" in err
    for command in (["people", "remove"], ["consent", "withdraw"], ["people", "show"], ["faces", "list"]):
        assert run(*command, "alice", *(["--yes"] if command[1] in ("remove", "withdraw") else []))[0] == 3


# --- faces and consent ---------------------------------------------------------------------------------------------


def test_faces_come_and_go(gate_commands):
    """Faces are added on the consent on record, listed by number, and removed by it."""
    run = gate_commands
    run.enroll("alice", 10)
    assert run.json("faces", "add", "alice", run.picture("more.png", 10))["faces"] == 3
    assert run("faces", "add", "alice", run.picture("other.png", 20))[0] == 1
    numbers = [f["face"] for f in run.json("faces", "list", "alice")["faces"]]
    assert len(numbers) == 3
    assert run("faces", "remove", "alice", numbers[0], "--yes")[0] == 0
    assert [f["face"] for f in run.json("faces", "list", "alice")["faces"]] == numbers[1:]
    assert run("faces", "remove", "alice", numbers[0], "--yes")[0] == 3
    assert "face" in run("faces", "list", "alice")[1]


def test_consent_is_recorded_anew(gate_commands):
    """A new consent stands beside the earlier one, and the last one counts."""
    run = gate_commands
    run.enroll("alice", 10)
    (run.room / "door-2027.txt").write_text("I still agree.")
    recorded = run.json("consent", "record", "alice", "--text", "door-2027.txt", "--taken-by", "office")
    assert recorded["text_version"] == "door-2027"
    versions = [c["text_version"] for c in run.json("people", "show", "alice")["consents"]]
    assert versions == ["door-2026", "door-2027"]
    assert run("consent", "record", "nobody")[0] == 3


# --- groups and lists ----------------------------------------------------------------------------------------------


def test_groups(gate_commands):
    """Groups are made, joined, left and deleted; their people stay enrolled."""
    run = gate_commands
    run.enroll("alice", 10)
    run.enroll("bob", 20)
    assert run("groups", "make", "staff")[0] == 0
    assert run.json("groups", "join", "staff", "alice", "bob")["joined"] == ["alice", "bob"]
    assert run.json("groups", "list") == {"groups": [{"name": "staff", "members": 2}]}
    assert run.json("groups", "members", "staff") == {"name": "staff", "members": ["alice", "bob"]}
    assert run("groups", "leave", "staff", "bob")[0] == 0
    assert [p["reference"] for p in run.json("people", "list", "--group", "staff")["people"]] == ["alice"]
    assert run.json("groups", "delete", "staff", "--dry-run")["members"] == 1
    assert run("groups", "delete", "staff")[0] == 2
    assert run("groups", "delete", "staff", "--yes")[0] == 0
    assert run("groups", "list")[1] == "there are no groups\n"
    assert len(run.json("people", "list")["people"]) == 2
    for args in (["members", "none"], ["join", "none", "alice"], ["delete", "none", "--yes"], ["make", "a b"]):
        assert run("groups", *args)[0] == 3


def test_enrolling_into_groups(gate_commands):
    """A person joins groups with the enrolment; an unknown group enrolls nobody."""
    run = gate_commands
    run("groups", "make", "staff")
    run.enroll("alice", 10, "--group", "staff")
    assert run.json("groups", "members", "staff")["members"] == ["alice"]
    assert run("people", "enroll", "bob", run.picture("b.png", 20), "--group", "none")[0] == 3
    assert len(run.json("people", "list")["people"]) == 1


def test_lists(gate_commands):
    """Lists keep faces without people, and similar ones are found among them."""
    run = gate_commands
    assert run("lists", "make", "guests")[0] == 0
    assert run.json("lists", "add", "guests", run.picture("g.png", 10), run.picture("h.png", 20))["added"] == 2
    assert run.json("lists", "list") == {"lists": [{"name": "guests", "faces": 2}]}
    numbers = [f["face"] for f in run.json("lists", "show", "guests")["faces"]]
    assert run.json("lists", "similar", "guests", run.picture("p.png", 10)) == {"name": "guests", "faces": numbers[:1]}
    assert run("lists", "similar", "guests", run.picture("q.png", 30))[:2] == (1, "no face is similar\n")
    assert run("lists", "remove", "guests", numbers[0], "--yes")[0] == 0
    assert run.json("lists", "delete", "guests", "--dry-run")["faces"] == 1
    assert run("lists", "delete", "guests", "--yes")[0] == 0
    assert run("lists", "list")[1] == "there are no lists\n"
    assert run("lists", "similar", "guests", run.picture("p.png", 10))[0] == 3


# --- decisions -----------------------------------------------------------------------------------------------------


def test_pictures_are_decided_about(gate_commands):
    """Decisions are signed, numbered and scoreless; all matches exit with 0, anything else with 1."""
    run = gate_commands
    run.enroll("alice", 10)
    probe, stranger, empty = run.picture("p.png", 10), run.picture("s.png", 30), run.picture("e.png")
    assert run("identify", probe)[:2] == (0, f"{probe}: match alice\n")
    answer = run.json("identify", probe, stranger, empty, code=1)
    found = [entry["decision"] for entry in answer["decisions"]]
    assert [d["outcome"] for d in found] == ["match", "no_match", "rejected"]
    assert [d["sequence"] for d in found] == [2, 3, 4]
    key = VerifyKey.load(run.folder / "device.key.pub")
    for entry in answer["decisions"]:
        assert verify_decision(entry["jws"], key).to_dict() == entry["decision"]
    assert run("verify", "alice", probe)[:2] == (0, f"{probe}: match alice\n")
    assert run("verify", "alice", stranger)[:2] == (1, f"{stranger}: no_match below_threshold\n")
    assert run("verify", "nobody", probe)[:2] == (1, f"{probe}: rejected unknown_subject\n")
    assert run("verify", "a b", probe)[0] == 3
    assert run("identify", run.room / "none.png")[0] == 3
    assert "score" not in json.dumps(answer)


def test_identifying_within_groups(gate_commands):
    """Only people of the named groups are compared with."""
    run = gate_commands
    run.enroll("alice", 10)
    run("groups", "make", "staff")
    probe = run.picture("p.png", 10)
    assert run("identify", probe, "--group", "staff")[0] == 1
    run("groups", "join", "staff", "alice")
    assert run("identify", probe, "--group", "staff")[0] == 0
    assert run("identify", probe, "--group", "none")[0] == 3


def test_candidates_and_clusters(gate_commands):
    """Who it could be is listed without scores; faces are sorted by person without knowing anybody."""
    run = gate_commands
    run.enroll("alice", 10)
    probe, pair = run.picture("p.png", 10), run.picture("q.png", 10, 30)
    assert run.json("candidates", probe) == {"candidates": ["alice"]}
    assert run("candidates", run.picture("s.png", 40))[:2] == (1, "nobody\n")
    assert run("candidates", probe, "-k", "0")[0] in (2, 3)
    people = run.json("cluster", probe, pair)["people"]
    assert sorted(map(sorted, people)) == sorted([sorted([f"{probe}:1", f"{pair}:1"]), [f"{pair}:2"]])
    assert run("cluster", run.picture("e.png"))[1] == "there is no face\n"


# --- credentials ---------------------------------------------------------------------------------------------------

COMMANDS = {
    "enroller": ["people", "list"],
    "recognizer": ["identify", "p.png"],
    "reviewer": ["review", "queue"],
    "privacy_officer": ["rights", "requests"],
    "administrator": ["settings", "list"],
}


@pytest.mark.parametrize("role", ROLES)
def test_each_command_needs_its_role(gate_commands, monkeypatch, role):
    """With every other role's credential a command does nothing: a role is opened, never assumed."""
    run = gate_commands
    run.picture("p.png", 10)
    assert run(*COMMANDS[role])[0] in (0, 1)
    (run.credentials / f"{role}.credential").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, out, err = run(*COMMANDS[role])
    assert code == 4
    assert out == ""
    assert role in err


def test_a_credential_of_another_gate_opens_nothing(gate_commands):
    """A credential that this gate never gave is refused, and the token is not shown."""
    run = gate_commands
    path = run.credentials / "enroller.credential"
    other = path.read_text().strip()[:-4] + "AAAA"
    path.write_text(other + "\n")
    code, _, err = run("people", "list")
    assert code == 4
    assert other not in err


def test_every_command_on_a_gate_names_it(gate_commands, monkeypatch):
    """--gate, or FACEGATE_GATE; without both the command line is wrong, and a folder that is no gate is told."""
    run = gate_commands
    monkeypatch.delenv("FACEGATE_GATE")
    code, _, err = run("people", "list")
    assert code == 2
    assert "--gate" in err
    assert run("people", "list", "--gate", run.folder)[0] == 0
    assert run("people", "list", "--gate", run.room)[0] == 3


def test_a_gate_in_use_is_told(gate_commands):
    """While another process has the gate open, a command says so (5) and changes nothing."""
    run = gate_commands
    with (run.folder / "gate.db.lock").open() as lock:
        import fcntl  # noqa: PLC0415 - for this test only

        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run("people", "list")
    assert code == 5
    assert "process" in err
    assert run("people", "list")[0] == 0
