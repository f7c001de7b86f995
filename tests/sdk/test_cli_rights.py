"""`facegate rights`, `review` and `report`: what people ask, what the gate leaves open, what it got wrong."""

from __future__ import annotations

import io
import json
import zipfile
from typing import get_args

import pytest

from facegate._feedback import CONDITIONS, ReportKind
from facegate._rights._requests import RIGHTS, RequestOutcome
from facegate.cli import _report, _rights

CHECKED = ("--checked-by", "passport-seen")


@pytest.fixture
def run(gate_commands):
    """The command line on a gate with alice and bob."""
    gate_commands.enroll("alice", 10)
    gate_commands.enroll("bob", 20)
    return gate_commands


def people(run):
    """The references of everybody."""
    return [p["reference"] for p in run.json("people", "list")["people"]]


def test_the_words_are_the_gates():
    """What commands take is what the gate knows: rights, outcomes, kinds of reports, conditions."""
    assert _rights.RIGHTS == RIGHTS
    assert get_args(RequestOutcome) == _rights.OUTCOMES
    assert get_args(ReportKind) == _report.KINDS
    assert tuple(CONDITIONS) == _report.CONDITIONS


# --- requests ------------------------------------------------------------------------------------------------------


def test_requests_are_logged_and_closed(run):
    """A request has a number and a day when it is due; it is listed, and closed with what came of it."""
    made = run.json("rights", "request", "access", "alice", *CHECKED)
    assert made["number"].startswith("R-")
    assert made["due"] > made["received"]
    (listed,) = run.json("rights", "requests", "--open")["requests"]
    assert listed == made
    assert made["number"] in run("rights", "requests")[1]
    assert run("rights", "requests", "--of", "bob")[1] == "there are no such requests\n"
    assert run("rights", "requests", "--overdue")[0] == 0
    extended = run.json("rights", "extend", made["number"], "30", "--note", "many records")
    assert extended["due"] > made["due"]
    assert run("rights", "extend", made["number"], "61", "--note", "x")[0] == 2
    assert run("rights", "extend", made["number"], "10")[0] == 2
    assert run("rights", "close", made["number"], "refused")[0] == 3  # a refusal has a reason
    closed = run.json("rights", "close", made["number"], "refused", "--note", "identity in doubt")
    assert (closed["outcome"], closed["note"]) == ("refused", "identity in doubt")
    assert run.json("rights", "requests", "--open") == {"requests": []}
    assert run("rights", "close", "R-none", "done")[0] == 3
    assert run("rights", "request", "access", "alice")[0] == 2
    assert run("rights", "request", "money", "alice", *CHECKED)[0] == 2


def test_an_answer_closes_its_request(run):
    """With --request the answer is that to an open request, which is closed by it; without, one is logged with it."""
    number = run.json("rights", "request", "restriction", "alice", *CHECKED)["number"]
    assert run("rights", "restrict", "alice", "--request", number)[0] == 0
    assert run("rights", "restrict", "alice", *CHECKED)[0] == 0
    outcomes = [r["outcome"] for r in run.json("rights", "requests", "--of", "alice")["requests"]]
    assert outcomes == ["done", "done"]
    assert run("rights", "restrict", "bob", "--request", number)[0] == 3  # closed, and about somebody else


ANSWERS = (
    ["access", "alice"],
    ["export", "alice", "e.zip"],
    ["correct", "alice", "--new-reference", "alicia"],
    ["restrict", "alice"],
    ["unrestrict", "alice"],
    ["object", "alice"],
    ["erase", "alice", "--yes"],
    ["withdraw", "alice", "--yes"],
    ["close-account", "alice", "--yes"],
)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[0])
def test_every_right_rests_on_a_request(run, answer):
    """Neither --request nor --checked-by, or both, or nobody of that reference: nothing happens."""
    before = run("people", "list")
    assert run("rights", *answer)[0] == 2
    assert run("rights", *answer, *CHECKED, "--request", "R-1")[0] == 2
    if answer[0] != "access":  # "you hold nothing about me?" is answered as well
        unknown = ["nobody" if part == "alice" else part for part in answer]
        assert run("rights", *unknown, *CHECKED)[0] == 3
    assert run("people", "list") == before
    assert run.json("rights", "requests") == {"requests": []}


# --- each right ----------------------------------------------------------------------------------------------------


def test_access(run):
    """Everything that is held, as JSON; also that nothing is."""
    record = run.json("rights", "access", "alice", *CHECKED)["record"]
    assert "alice" in json.dumps(record)
    assert json.loads(run("rights", "access", "alice", *CHECKED)[1])
    assert run.json("rights", "access", "nobody", *CHECKED)["record"]


def test_export(run):
    """A ZIP that only its owner reads, never over another file, with templates only if asked."""
    code, out, _ = run("rights", "export", "alice", "alice.zip", *CHECKED)
    assert (code, out) == (0, "wrote alice.zip\n")
    path = run.room / "alice.zip"
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        plain = set(archive.namelist())
    assert run("rights", "export", "alice", "alice.zip", *CHECKED)[0] != 0
    run.json("rights", "export", "alice", "more.zip", "--templates", *CHECKED)
    with zipfile.ZipFile(run.room / "more.zip") as archive:
        assert sum(i.file_size for i in archive.infolist()) > 0
        assert plain <= set(archive.namelist())


def test_correction(run, monkeypatch):
    """Reference, groups and consent are corrected together; a consent only if one is named."""
    run("groups", "make", "staff")
    answer = run.json("rights", "correct", "alice", "--new-reference", "alicia", "--join", "staff", *CHECKED)
    assert answer == {"reference": "alicia", "was": "alice"}
    shown = run.json("people", "show", "alicia")
    assert shown["groups"] == ["staff"]
    assert len(shown["consents"]) == 1  # the text in the environment is not meant by itself
    run.json("rights", "correct", "alicia", "--leave", "staff", "--legal-basis", "public_interest", *CHECKED)
    shown = run.json("people", "show", "alicia")
    assert shown["groups"] == []
    assert shown["consents"][-1]["legal_basis"] == "public_interest"
    assert run("rights", "correct", "alicia", *CHECKED)[0] == 2
    assert run("rights", "correct", "alicia", "--new-reference", "bob", *CHECKED)[0] == 3
    monkeypatch.delenv("FACEGATE_CONSENT_TEXT")
    assert run("rights", "correct", "alicia", "--guardian", "g", *CHECKED)[0] == 2


def test_restriction(run):
    """Nothing is decided about a restricted person, until the restriction ends."""
    probe = run.picture("p.png", 10)
    assert run("rights", "restrict", "alice", *CHECKED)[0] == 0
    assert run.json("verify", "alice", probe, code=1)["decisions"][0]["decision"]["reasons"] == ["restricted"]
    assert "restricted" in run("people", "list")[1]
    assert run("rights", "unrestrict", "alice", *CHECKED)[0] == 0
    assert run("verify", "alice", probe)[0] == 0


def test_objection_and_review(run):
    """Who objects is reviewed: the match waits in the queue, and the verdict is a decision that refers to it."""
    probe = run.picture("p.png", 10)
    assert run("rights", "object", "alice", *CHECKED)[0] == 0
    first = run.json("identify", probe, code=1)["decisions"][0]["decision"]
    assert (first["outcome"], first["reasons"]) == ("review", ["objection"])
    (waiting,) = run.json("review", "queue")["queue"]
    assert (waiting["decision"]["id"], waiting["about"]) == (first["id"], "alice")
    assert first["id"] in run("review", "queue")[1]
    verdict = run.json("review", "verdict", first["id"], "match", "--reviewer", "guard-2")
    assert verdict["decision"]["refers_to"] == first["id"]
    assert (verdict["decision"]["kind"], verdict["decision"]["subject"]) == ("review", "alice")
    assert run("review", "queue")[1] == "nothing waits for a verdict\n"
    assert run("review", "verdict", first["id"], "match", "--reviewer", "guard-2")[0] == 3
    assert run("review", "verdict", first["id"], "maybe", "--reviewer", "guard-2")[0] == 2
    assert run("rights", "object", "alice", "--end", *CHECKED)[0] == 0
    assert run("identify", probe)[0] == 0


def test_explanation(run):
    """Why a decision was made, for somebody who asks or for the operator; an unknown decision is told."""
    decision = run.json("identify", run.picture("p.png", 10))["decisions"][0]["decision"]["id"]
    explained = run.json("rights", "explain", decision)["explanation"]
    assert decision in json.dumps(explained)
    assert run.json("rights", "requests") == {"requests": []}
    assert run("rights", "explain", decision, *CHECKED)[0] == 0
    assert [r["right"] for r in run.json("rights", "requests")["requests"]] == ["explanation"]
    assert run("rights", "explain", "none")[0] == 3


@pytest.mark.parametrize("how", ["erase", "withdraw", "close-account"])
def test_erasure_is_certified(run, how):
    """The person is gone, and gets a certificate that anybody can check with the device's public key."""
    code, out, _ = run("rights", how, "alice", *CHECKED, "--yes", "-o", "erased.jws")
    assert (code, out) == (0, "alice is erased; the certificate is in erased.jws\n")
    assert (run.room / "erased.jws").stat().st_mode & 0o777 == 0o600
    assert people(run) == ["bob"]
    key = run.folder / "device.key.pub"
    assert run("rights", "certificate", "erased.jws", "--key", key, "--of", "alice")[0] == 0
    certificate = run.json("rights", "certificate", "erased.jws", "--key", key)["certificate"]
    assert (certificate["faces"], certificate["key_destroyed"]) == (2, True)
    assert "alice" not in json.dumps(certificate)
    assert run("rights", "certificate", "erased.jws", "--key", key, "--of", "bob")[0] not in (0, 70)
    assert run("rights", "certificate", "none.jws", "--key", key)[0] not in (0, 70)


def test_the_certificate_itself_is_answered(run, monkeypatch):
    """Without a file the certificate is printed; it can be checked as an argument and from stdin."""
    jws = run.json("rights", "erase", "alice", *CHECKED, "--yes")["jws"]
    key = run.folder / "device.key.pub"
    assert run("rights", "certificate", jws, "--key", key)[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(jws + "\n"))
    assert run("rights", "certificate", "-", "--key", key)[0] == 0
    assert run("rights", "erase", "bob", *CHECKED, "--yes")[1].count(".") >= 2


def test_a_certificate_that_cannot_be_written_is_not_lost(run):
    """The person is erased all the same, and the certificate is given once more; of nobody else there is one."""
    code, _, err = run("rights", "erase", "alice", *CHECKED, "--yes", "-o", "none/erased.jws")
    assert code not in (0, 70)
    assert "rights certify" in err
    assert people(run) == ["bob"]
    jws = run.json("rights", "certify", "alice")["jws"]
    assert run("rights", "certificate", jws, "--key", run.folder / "device.key.pub", "--of", "alice")[0] == 0
    assert run("rights", "certify", "alice", "-o", "again.jws")[0] == 0
    assert run("rights", "certify", "alice", "-o", "again.jws")[0] not in (0, 70)
    assert run("rights", "certify", "bob")[0] == 3


def test_closing_an_account_gives_the_data_first(run):
    """The export is written before anything is erased, and what else was asked for is closed."""
    run("rights", "request", "access", "alice", *CHECKED)
    assert run("rights", "close-account", "alice", *CHECKED, "--yes", "--export-to", "alice.zip")[0] == 0
    assert zipfile.is_zipfile(run.room / "alice.zip")
    assert run.json("rights", "requests", "--open") == {"requests": []}
    assert people(run) == ["bob"]
    code = run("rights", "close-account", "bob", *CHECKED, "--yes", "--export-to", "none/bob.zip")[0]
    assert code not in (0, 70)
    assert people(run) == ["bob"]


@pytest.mark.parametrize("how", ["erase", "withdraw", "close-account"])
def test_erasing_asks_first(run, how):
    """Where nobody can be asked, --yes is needed; a dry run counts, erases nothing and logs no request."""
    assert run("rights", how, "alice", *CHECKED)[0] == 2
    held = run.json("rights", how, "alice", *CHECKED, "--dry-run")
    assert held == {"reference": "alice", "dry_run": True, "faces": 2, "consents": 1, "groups": 0}
    assert run("rights", how, "nobody", *CHECKED, "--dry-run")[0] == 3
    assert run.json("rights", "requests") == {"requests": []}
    assert people(run) == ["alice", "bob"]


# --- reports -------------------------------------------------------------------------------------------------------


def test_reports(run):
    """A wrong decision is reported with its conditions, listed, and written into a file without a picture."""
    decision = run.json("identify", run.picture("p.png", 10))["decisions"][0]["decision"]["id"]
    args = ["report", "make", "false_match", decision, "--condition", "light=dim", "--condition", "camera=moved"]
    made = run.json(*args, "--note", "at night")
    assert made["number"].startswith("P-")
    assert made["conditions"] == {"camera": "moved", "light": "dim"}
    assert "alice" not in json.dumps(made)
    assert [r["number"] for r in run.json("report", "list")["reports"]] == [made["number"]]
    assert made["number"] in run("report", "list")[1]
    assert run("report", "export", made["number"], "report.zip")[0] == 0
    assert run("report", "export", made["number"], "with.zip", "--attachment", run.picture("w.png", 10))[0] == 0
    names = []
    for name in ("report.zip", "with.zip"):
        with zipfile.ZipFile(run.room / name) as archive:
            names.append(set(archive.namelist()))
    assert len(names[1] - names[0]) == 1
    for bad, code in (
        (["--condition", "light"], 2),
        (["--condition", "weather=rain"], 2),
        (["--condition", "light=purple"], 3),
    ):
        assert run("report", "make", "false_match", decision, *bad)[0] == code
    assert run("report", "make", "false_match", "none")[0] == 3
    assert run("report", "make", "nonsense", decision)[0] == 2
    assert run("report", "export", "P-none", "x.zip")[0] == 3
    assert run("report", "export", made["number"], "y.zip", "--attachment", run.room / "door-2026.txt")[0] == 3
    assert not (run.room / "y.zip").exists()
