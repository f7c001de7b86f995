"""The audit log: what gets in, and that nothing of it can be changed without being found."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate import _jws
from facegate._credentials import Credential
from facegate._store import _audit
from facegate._store._audit import MINIMUM_AGE, Audit
from facegate._store._audit_chain import COLUMNS, HEAD_TYPE, first_hash, hash_entry
from facegate._store._audit_details import DETAILS, ROLES, encode_details
from facegate._store._audit_verify import MAX_PROBLEMS, verify_audit
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import Store
from facegate.errors import (
    AuditEntryError,
    AuditRetentionError,
    AuditTamperedError,
    KeyTypeError,
    StoreCorruptError,
    StoreMissingError,
    StoreTamperedError,
    StoreVersionError,
)

from .audit_log import DEVICE, GATE, START, STRANGER, Clock, Log, make_database

KEY = DEVICE.verify_key


# --- writing -------------------------------------------------------------------------------------------------------


def test_entries_come_back_as_they_were_written():
    """Who, what, when, about whom, and the details: all of it can be read again, in order."""
    log = Log()
    log.add(
        "consent_withdrawn", "privacy_officer", reference="p-7", details={"faces": 3, "minor": False, "reason": None}
    )
    first, second = log.audit.entries()
    assert (first.number, first.action, first.role) == (1, "gate_made", "administrator")
    assert (second.number, second.action, second.role) == (2, "consent_withdrawn", "privacy_officer")
    assert (second.reference, second.time) == ("p-7", START + timedelta(seconds=1))
    assert second.details == {"faces": 3, "minor": False, "reason": None}


def test_entries_can_be_asked_for():
    """By person, action, time and number, so many, and the newest first."""
    log = Log(entries=9)
    log.add("person_erased", "privacy_officer", reference="p-3")
    numbers = lambda **wanted: [entry.number for entry in log.audit.entries(**wanted)]  # noqa: E731
    assert numbers(reference="p-3") == [3, 10]
    assert numbers(action="person_erased") == [10]
    assert numbers(since=START + timedelta(seconds=8)) == [9, 10]
    assert numbers(before=START + timedelta(seconds=1)) == [1]
    assert numbers(after_number=7, limit=2) == [8, 9]
    assert numbers(newest_first=True, limit=2) == [10, 9]


def test_the_chain_is_the_one_that_the_documentation_describes():
    """Another program can check the log by the description: recomputed here from scratch, from the rows."""
    import hashlib  # noqa: PLC0415 - as a stranger's program would

    log = Log(entries=3)
    before = hashlib.sha256(b"facegate-audit-1\n" + GATE.encode()).digest()
    for row in log.db.read(f"SELECT {COLUMNS} FROM audit ORDER BY seq"):  # noqa: S608
        text = json.dumps([before.hex(), *row[:6]], separators=(",", ":"))
        before = hashlib.sha256(b"facegate-audit-entry-1\n" + text.encode()).digest()
        assert before == row[6]
    head = json.loads(_jws.b64url_decode(log.audit.head().split(".")[1]))
    assert (head["entries"], head["hash"], head["gate"], head["device"]) == (3, before.hex(), GATE, "door-1")


def test_an_entry_belongs_to_the_transaction_of_what_it_tells():
    """What is rolled back leaves no entry and no head, and the chain goes on as if nothing had been."""
    log = Log(entries=2)
    head = log.audit.head()
    log.fail(lambda tx: log.audit.append(tx, role="enroller", action="person_enrolled"))
    assert log.audit.head() == head
    assert log.add() == 3
    assert log.audit.verify().ok


def test_a_transaction_may_write_several_entries():
    """All of them are under the one head that is signed with the transaction."""
    log = Log()
    with log.db.transaction() as tx:
        numbers = [log.audit.append(tx, role="gate", action="clock_suspect") for _ in range(3)]
    assert numbers == [2, 3, 4]
    assert log.audit.verify().head.entries == 4


def test_the_log_goes_on_where_it_was_when_the_gate_is_opened_again():
    """A new process continues the chain."""
    log = Log(entries=4)
    again = Audit(log.db, DEVICE, log.clock)
    again.check()
    with log.db.transaction() as tx:
        assert again.append(tx, role="gate", action="retention_swept") == 5
    assert again.verify().ok


def test_a_log_begins_once():
    """Neither a second beginning nor an entry before the first is possible."""
    log = Log()
    with log.db.transaction() as tx, pytest.raises(AuditTamperedError):
        log.audit.begin(tx)
    fresh = make_database()
    with fresh.transaction() as tx, pytest.raises(AuditTamperedError):
        Audit(fresh, DEVICE, Clock()).append(tx, role="gate", action="retention_swept")


# --- what cannot get in ----------------------------------------------------------------------------------------------

TEMPLATE = np.arange(128, dtype=np.int8)
SECRET = Credential.new("enroller").token


@pytest.mark.parametrize(
    "details",
    [
        pytest.param({"similarity": 0.83}, id="a score"),
        pytest.param({"similarity": 83}, id="a score as a number"),
        pytest.param({"sequence": 0.83}, id="a score under another name"),
        pytest.param({"sequence": float("nan")}, id="not a number"),
        pytest.param({"sequence": -1}, id="a negative number"),
        pytest.param({"sequence": 1 << 53}, id="a number beyond what JSON keeps"),
        pytest.param({"sequence": True}, id="a flag for a number"),
        pytest.param({"sequence": np.int64(3)}, id="a number of another library"),
        pytest.param({"minor": 1}, id="a number for a flag"),
        pytest.param({"template": "a"}, id="a name that nobody knows"),
        pytest.param({"reason": TEMPLATE.tobytes()}, id="bytes"),
        pytest.param({"reason": TEMPLATE}, id="an array"),
        pytest.param({"reason": TEMPLATE.tolist()}, id="a list"),
        pytest.param({"group": TEMPLATE.tobytes().hex()}, id="a template in hex"),
        pytest.param({"text_sha256": TEMPLATE.tobytes().hex()}, id="a template for a hash"),
        pytest.param({"reason": "0.83"}, id="a score for a word"),
        pytest.param({"reason": "low quality"}, id="two words for one"),
        pytest.param({"reason": "x" * 100}, id="a long word"),
        pytest.param({"reason": {"a": 1}}, id="a mapping"),
        pytest.param({"group": SECRET}, id="a credential"),
        pytest.param({"checked_by": SECRET.upper()}, id="a credential in capitals"),
        pytest.param({"group": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, id="a webhook's secret"),
        pytest.param({"reason": "-----BEGIN PRIVATE KEY-----"}, id="a private key"),
        pytest.param({1: 1}, id="a name that is none"),
        pytest.param({"group": "a\nb"}, id="a line break"),
        pytest.param({"group": "\N{LATIN SMALL LETTER A WITH DIAERESIS}"}, id="beyond ASCII"),
        pytest.param({"statement": "x"}, id="a statement that is none"),
    ],
)
def test_no_biometric_data_and_no_secret_gets_in(details):
    """Whatever is not of the kind that its name has is refused, before anything is written, and is not in the error."""
    log = Log()
    with pytest.raises(AuditEntryError) as caught:
        log.add(details=details)
    for value in details.values():
        assert str(value) not in str(caught.value) + caught.value.hint or str(value) in ("1", "-1", "x", "a", "True")
    assert [entry.number for entry in log.audit.entries()] == [1]


class Word(str):
    """Looks like text, and can be anything."""

    __slots__ = ("hidden",)


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "root"},
        {"role": None},
        {"role": Word("gate")},
        {"action": "Person enrolled"},
        {"action": ""},
        {"action": b"person_enrolled"},
        {"action": Word("person_enrolled")},
        {"action": "checkpoint"},
        {"action": "gate_made"},
        {"action": "audit_purged"},
        {"reference": ""},
        {"reference": "Mr. Smith"},
        {"reference": 7},
        {"reference": SECRET},
        {"reference": Word("p-1")},
        {"details": {"reason": Word("ok")}},
    ],
    ids=str,
)
def test_an_entry_of_another_form_is_refused(fields):
    """Roles are a fixed list, actions words, references those of decisions; what only the log writes is the log's."""
    log = Log()
    with pytest.raises(AuditEntryError):
        log.add(**fields)
    assert [entry.number for entry in log.audit.entries()] == [1]


@given(
    details=st.dictionaries(
        st.sampled_from(sorted(DETAILS)) | st.text(max_size=12),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.binary(max_size=200)
        | st.text(max_size=200)
        | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", fullmatch=True)
        | st.lists(st.integers(-128, 127), max_size=3),
        max_size=3,
    )
)
def test_what_gets_in_is_small_and_of_a_known_form(details):
    """Whatever is tried: a name of the list, and nothing, a flag, a count, or at most 64 plain characters."""
    try:
        text = encode_details(details)
    except AuditEntryError:
        return
    assert text.isascii()
    assert json.loads(text) == details
    assert details.keys() <= DETAILS.keys()
    for value in details.values():
        assert value is None or type(value) in (bool, int) or (type(value) is str and len(value) <= 64)
        assert not isinstance(value, int) or 0 <= value < 1 << 53


def test_no_name_of_a_detail_is_that_of_biometric_data():
    """The closed list itself holds no place for what must not be there, and every kind in it exists."""
    forbidden = {"score", "similarity", "distance", "template", "embedding", "landmark", "image", "pixel", "box",
                 "secret", "token", "passphrase", "name", "birth", "age", "gender"}  # fmt: skip
    assert not forbidden & set(DETAILS)
    log = Log()
    for name in DETAILS:
        log.add(details={name: None})
        with pytest.raises(AuditEntryError):
            log.add(details={name: b"x"})
    assert "gate" in ROLES


# --- tampering -------------------------------------------------------------------------------------------------------


def rewrite(log: Log, begin: int, **changes) -> None:
    """Change an entry, and make all hashes from there on fit again, as somebody does who knows how the log is made."""
    rows = log.db.read(f"SELECT {COLUMNS} FROM audit ORDER BY seq")  # noqa: S608
    names = COLUMNS.split(", ")
    before = first_hash(GATE) if begin == 1 else rows[begin - 2][6]
    for row in rows[begin - 1 :]:
        values = dict(zip(names, row, strict=True)) | (changes if row[0] == begin else {})
        before = hash_entry(before, tuple(values.values()))
        log.raw(
            "UPDATE audit SET time = ?, role = ?, action = ?, reference = ?, details = ?, hash = ? WHERE seq = ?",
            *(values[name] for name in ("time", "role", "action", "reference", "details")),
            before,
            row[0],
        )


EDITS = {
    "time": 0,
    "role": "privacy_officer",
    "action": "person_erased",
    "reference": "p-999",
    "details": '{"sequence":1}',
    "hash": bytes(32),
}


@pytest.mark.parametrize("number", [1, 4, 8])
@pytest.mark.parametrize("column", EDITS)
def test_an_edited_entry_is_named(column, number):
    """Each field of the first, a middle and the last entry."""
    log = Log(entries=8)
    log.raw(f"UPDATE audit SET {column} = ? WHERE seq = ?", EDITS[column], number)  # noqa: S608
    problems = log.audit.verify().problems
    assert [(problem.kind, problem.entry) for problem in problems] == [("changed", number)]
    assert f"entry {number} " in problems[0].message


@pytest.mark.parametrize("number", [1, 4, 8])
def test_an_entry_that_was_rewritten_with_all_hashes_after_it_is_found(number):
    """The chain fits then, and the signed head does not."""
    log = Log(entries=8)
    rewrite(log, number, reference="p-999")
    assert [(p.kind, p.entry, p.last) for p in log.audit.verify().problems] == [("rewritten", 1, 8)]


@pytest.mark.parametrize("number", [1, 4, 7])
def test_an_entry_that_was_deleted_is_named(number):
    """By its number, which is missing."""
    log = Log(entries=8)
    log.raw("DELETE FROM audit WHERE seq = ?", number)
    assert [(p.kind, p.entry, p.last) for p in log.audit.verify().problems] == [("missing", number, number)]


def test_a_log_without_its_end_is_found():
    """One entry less than the device signed is enough."""
    log = Log(entries=8)
    log.raw("DELETE FROM audit WHERE seq >= 8")
    assert [(p.kind, p.entry, p.last) for p in log.audit.verify().problems] == [("truncated", 8, 8)]


def test_an_entry_that_was_inserted_is_found():
    """Between two others, with numbers and hashes made to fit; and after the last, in the same way."""
    log = Log(entries=8)
    log.raw("UPDATE audit SET seq = seq + 100 WHERE seq > 4")
    log.raw("UPDATE audit SET seq = seq - 99 WHERE seq > 100")
    log.raw("INSERT INTO audit SELECT 5, time, role, action, 'p-999', details, hash FROM audit WHERE seq = 4")
    rewrite(log, 5)
    assert "added" in log.kinds()
    log = Log(entries=8)
    log.raw("INSERT INTO audit SELECT 9, time, role, action, 'p-999', details, hash FROM audit WHERE seq = 8")
    rewrite(log, 9)
    assert [(p.kind, p.entry, p.last) for p in log.audit.verify().problems] == [("added", 9, 9)]


@pytest.mark.parametrize("numbers", [(3, 4), (2, 8), (1, 8)])
def test_entries_in_another_order_are_found(numbers):
    """Two entries that changed places are both named."""
    log = Log(entries=8)
    one, other = numbers
    log.raw("UPDATE audit SET seq = 100 WHERE seq = ?", one)
    log.raw("UPDATE audit SET seq = ? WHERE seq = ?", one, other)
    log.raw("UPDATE audit SET seq = ? WHERE seq = 100", other)
    assert {p.entry for p in log.audit.verify().problems if p.kind == "changed"} >= set(numbers)


def test_everything_deleted_is_found():
    """Neither an empty log nor a missing head passes for a new gate's."""
    log = Log(entries=3)
    log.raw("DELETE FROM audit")
    assert log.kinds() == ["truncated"]
    log.raw("DELETE FROM audit_head")
    assert log.kinds() == ["head"]


def test_a_head_that_somebody_else_signed_is_found():
    """The log of another key is not this device's, however consistent."""
    log = Log(entries=3)
    forged = Audit(log.db, STRANGER, log.clock)
    forged._checked, forged._gate, forged._device = True, GATE, "door-1"
    forged._purged = (0, first_hash(GATE).hex())
    with log.db.transaction() as tx:
        forged.append(tx, role="gate", action="retention_swept")
    assert log.kinds() == ["head"]
    assert not verify_audit(log.db, KEY).ok
    assert verify_audit(log.db, STRANGER.verify_key).ok


def test_a_decision_is_no_head():
    """What the device signed for another purpose is not taken for a head."""
    log = Log(entries=2)
    payload = _jws.b64url_decode(log.audit.head().split(".")[1])
    log.raw("UPDATE audit_head SET statement = ?", _jws.sign(payload, DEVICE, typ="facegate-decision+jwt"))
    assert log.kinds() == ["head"]


@pytest.mark.parametrize(
    "change", [{"entries": -1}, {"schema": 2}, {"hash": "0"}, {"purged": 9}, {"extra": 1}, {"gate": 1}]
)
def test_a_signed_head_of_another_form_is_refused(change):
    """Also if the device's own key signed it: nobody guesses what it may mean."""
    log = Log(entries=2)
    payload = json.loads(_jws.b64url_decode(log.audit.head().split(".")[1])) | change
    text = json.dumps(payload, separators=(",", ":")).encode()
    log.raw("UPDATE audit_head SET statement = ?", _jws.sign(text, DEVICE, typ=HEAD_TYPE))
    assert log.kinds() == ["head"]


def test_the_log_of_another_gate_is_found():
    """Also one of the same device's key: the log is bound to the gate's random id."""
    log = Log(entries=3)
    log.raw("UPDATE state SET gate = ?", "f" * 32)
    assert log.kinds() == ["gate"]


def test_an_older_log_beside_a_newer_store_is_found():
    """Log and head were put back, the rest of the store was not: the number of decisions tells."""
    log = Log(entries=3)
    rows, head = log.db.read(f"SELECT {COLUMNS} FROM audit"), log.audit.head()  # noqa: S608
    with log.db.transaction() as tx:
        tx.execute("UPDATE state SET sequence = sequence + 1")
        log.audit.append(tx, role="recognizer", action="decision", details={"outcome": "match"})
    assert log.audit.verify().ok
    log.raw("DELETE FROM audit WHERE seq > ?", len(rows))
    log.raw("UPDATE audit_head SET statement = ?", head)
    assert log.kinds() == ["decisions"]


def test_values_that_no_entry_has_are_found():
    """Not even other types in the columns, which a strict table refuses and a table of the attacker's allows."""
    log = Log(entries=4)
    log.raw("ALTER TABLE audit RENAME TO strict_audit")
    log.raw(f"CREATE TABLE audit ({COLUMNS})")
    log.raw(f"INSERT INTO audit SELECT {COLUMNS} FROM strict_audit")  # noqa: S608
    assert log.audit.verify().ok
    log.raw("UPDATE audit SET reference = x'00' WHERE seq = 2")
    log.raw("UPDATE audit SET hash = 'text' WHERE seq = 3")
    assert [(p.kind, p.entry) for p in log.audit.verify().problems][:2] == [("changed", 2), ("changed", 3)]
    log.raw("UPDATE audit SET seq = 'text' WHERE seq = 4")
    assert {"added", "truncated"} <= set(log.kinds())


ANYTHING = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20) | st.binary(max_size=40)
ROWS = st.lists(
    st.tuples(*[ANYTHING] * 3, st.sampled_from(["checkpoint", "x"]) | ANYTHING, *[ANYTHING] * 3), max_size=6
)


@settings(max_examples=200)
@given(rows=ROWS, head=st.none() | ANYTHING, gate=ANYTHING)
def test_whatever_stands_in_a_copy_is_a_finding_and_no_crash(rows, head, gate):
    """A file of an attacker's making, whose tables take anything."""
    log = Log(entries=3)
    honest = log.audit.head()
    log.raw("DROP TABLE audit")
    log.raw(f"CREATE TABLE audit ({COLUMNS})")
    for table in ("audit_head", "state"):
        log.raw(f"CREATE TABLE copy AS SELECT * FROM {table}")  # noqa: S608
        log.raw(f"DROP TABLE {table}")
        log.raw(f"ALTER TABLE copy RENAME TO {table}")
    for row in rows:
        log.raw(f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)  # noqa: S608
    log.raw("UPDATE state SET gate = ?", gate)
    if head is not None:
        log.raw("UPDATE audit_head SET statement = ?", head)
    assert not log.audit.verify(honest).ok


def test_a_log_that_is_wrong_everywhere_is_told_briefly():
    """A hundred problems are listed, the rest is counted."""
    log = Log(entries=150)
    log.raw("UPDATE audit SET role = 'gate'")
    report = log.audit.verify()
    assert len(report.problems) == MAX_PROBLEMS
    assert report.more == 150 - MAX_PROBLEMS


ENTRIES = 12
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(1, ENTRIES), st.sampled_from(sorted(EDITS)), st.booleans()),
        st.tuples(st.just("delete"), st.integers(1, ENTRIES), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("swap"), st.integers(1, ENTRIES), st.integers(1, ENTRIES), st.booleans()),
        st.tuples(st.just("copy"), st.integers(1, ENTRIES), st.integers(1, ENTRIES + 3), st.booleans()),
        st.tuples(st.just("head"), st.integers(1, ENTRIES), st.none(), st.none()),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(operations=OPERATIONS)
def test_no_tampering_goes_unseen(operations):  # noqa: C901 - five kinds of tampering
    """Any mixture of edits, deletions, exchanges, insertions and old heads, with hashes made to fit or not.

    Whatever leaves the log as it was is no tampering; everything else is found.
    """
    log = Log()
    heads = [log.audit.head()]
    for number in range(2, ENTRIES + 1):
        log.add(reference=f"p-{number}", details={"sequence": number})
        heads.append(log.audit.head())

    def rows():
        return log.db.read(f"SELECT {COLUMNS} FROM audit ORDER BY seq")  # noqa: S608

    honest = (rows(), log.audit.head())
    for kind, number, other, fit in operations:
        present = {row[0]: row for row in rows()}
        if kind == "edit":
            log.raw(f"UPDATE audit SET {other} = ? WHERE seq = ?", EDITS[other], number)  # noqa: S608
        elif kind == "delete":
            log.raw("DELETE FROM audit WHERE seq BETWEEN ? AND ?", number, number + other)
        elif kind == "swap" and number in present and other in present:
            for place, row in ((number, present[other]), (other, present[number])):
                log.raw(f"REPLACE INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", place, *row[1:])  # noqa: S608
        elif kind == "copy" and number in present:
            log.raw(f"REPLACE INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", other, *present[number][1:])  # noqa: S608
        elif kind == "head":
            log.raw("UPDATE audit_head SET statement = ?", heads[number - 1])
        if fit:  # close the gaps, and make every hash fit
            for place, row in enumerate(rows(), 1):
                log.raw("UPDATE audit SET seq = ? WHERE seq = ?", -place, row[0])
            log.raw("UPDATE audit SET seq = -seq WHERE seq < 0")
            rewrite(log, 1)
    last = json.loads(_jws.b64url_decode(log.audit.head().split(".")[1]))["entries"]
    untouched = rows() == honest[0][:last]  # an old head with the log of that time is a rollback: see the next test
    assert log.audit.verify().ok == untouched
    assert log.audit.verify(heads[-1]).ok == ((rows(), log.audit.head()) == honest)


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(monkeypatch):
    """A signed statement within the log after every ten entries."""
    monkeypatch.setattr(_audit, "CHECKPOINT_EVERY", 10)


@pytest.mark.usefixtures("checkpoints")
def test_checkpoints_tell_from_where_on_a_log_was_rewritten():
    """What a signed statement within the log vouches for is not under suspicion."""
    log = Log(entries=40)
    assert log.audit.verify().checkpoints == 4
    assert log.audit.verify().ok
    rewrite(log, 25, reference="p-999")
    problems = log.audit.verify().problems
    assert [(p.kind, p.entry, p.last) for p in problems] == [
        ("checkpoint", 21, 31),
        ("checkpoint", 21, 41),
        ("rewritten", 21, 44),
    ]


@pytest.mark.usefixtures("checkpoints")
def test_a_checkpoint_of_another_place_does_not_fit():
    """A statement that is genuine, and stands where it does not belong."""
    log = Log(entries=25)
    statement = log.db.read("SELECT details FROM audit WHERE action = 'checkpoint' ORDER BY seq")[0][0]
    rewrite(log, 22, action="checkpoint", details=statement)
    assert log.kinds()[0] == "checkpoint"


# --- earlier heads ---------------------------------------------------------------------------------------------------


def test_an_earlier_head_is_continued():
    """A head kept elsewhere is one that today's log continues, or is."""
    log = Log(entries=3)
    head = log.audit.head()
    assert log.audit.verify(head).compared == "same"
    log.add()
    assert log.audit.verify(head).compared == "continued"
    assert log.audit.verify().compared == "nothing"


def test_an_old_copy_of_the_whole_file_is_found_with_a_head_kept_elsewhere(tmp_path):
    """Rolled back as a whole, everything in it fits: only the head shows it."""
    path = tmp_path / "gate.db"
    log = Log(path, entries=3)
    log.db.checkpoint()
    shutil.copy(path, tmp_path / "old.db")
    log.add()
    log.add()
    head = log.audit.head()
    assert verify_audit(tmp_path / "old.db", KEY).ok
    report = verify_audit(tmp_path / "old.db", KEY, head)
    assert [(p.kind, p.entry, p.last) for p in report.problems] == [("rolled_back", 4, 5)]
    assert report.compared == "contradicted"


def test_a_rolled_back_log_that_went_on_differently_is_found(tmp_path):
    """The device itself signed both: the head of one contradicts the other."""
    path = tmp_path / "gate.db"
    log = Log(path, entries=3)
    log.db.checkpoint()
    shutil.copy(path, tmp_path / "old.db")
    log.add(reference="p-1")
    head = log.audit.head()
    log.db.close()
    shutil.copy(tmp_path / "old.db", path)
    other = Log.__new__(Log)
    other.clock = log.clock
    from facegate._store._database import Database  # noqa: PLC0415

    other.db = Database.open(path)
    other.audit = Audit(other.db, DEVICE, log.clock)
    for _ in range(3):
        other.add(reference="p-2")
    assert other.audit.verify().ok
    assert other.kinds(head) == ["diverged"]


@pytest.mark.parametrize("head", ["", "x.y.z", "not a head", "a" * 9000])
def test_an_earlier_head_that_the_device_did_not_sign_is_refused(head):
    """It would say nothing about the log."""
    log = Log(entries=3)
    with pytest.raises(AuditTamperedError):
        log.audit.verify(head)


def test_an_earlier_head_of_another_gate_is_told():
    """Heads are not mixed up."""
    log, other = Log(entries=3), Log(entries=3)
    other.raw("UPDATE state SET gate = ?", "f" * 32)
    fresh = Audit(other.db, DEVICE, other.clock)
    other.raw("DELETE FROM audit")
    other.raw("DELETE FROM audit_head")
    with other.db.transaction() as tx:
        fresh.begin(tx)
    assert log.kinds(fresh.head()) == ["gate"]


# --- nothing is ever added to a log that was tampered with -----------------------------------------------------------


@pytest.mark.parametrize(
    "tamper",
    [
        lambda log: log.raw("DELETE FROM audit WHERE seq = 8"),
        lambda log: log.raw("DELETE FROM audit WHERE seq = 1"),
        lambda log: log.raw("DELETE FROM audit"),
        lambda log: log.raw("DELETE FROM audit_head"),
        lambda log: (log.raw("DELETE FROM audit"), log.raw("DELETE FROM audit_head")),
        lambda log: rewrite(log, 3, reference="p-999"),
        lambda log: log.raw("UPDATE state SET gate = ?", "f" * 32),
        lambda log: log.raw("INSERT INTO audit SELECT 9, time, role, action, 'p-9', details, hash FROM audit LIMIT 1"),
    ],
)
def test_no_new_head_vouches_for_a_log_that_was_tampered_with(tamper):
    """A gate that is opened looks at both ends; otherwise its next signature would cover up what was done."""
    log = Log(entries=8)
    tamper(log)
    again = Audit(log.db, DEVICE, log.clock)
    with pytest.raises(AuditTamperedError) as caught:
        again.check()
    assert caught.value.hint
    with log.db.transaction() as tx, pytest.raises(AuditTamperedError):
        again.append(tx, role="gate", action="retention_swept")


def test_an_edit_in_the_middle_stays_visible_when_the_log_goes_on():
    """The opening gate looks at the ends only; what was done between them is not covered up by later entries."""
    log = Log(entries=8)
    log.raw("UPDATE audit SET reference = 'p-999' WHERE seq = 4")
    again = Audit(log.db, DEVICE, log.clock)
    with log.db.transaction() as tx:
        again.append(tx, role="gate", action="retention_swept")
    assert [(p.kind, p.entry) for p in again.verify().problems] == [("changed", 4)]


def test_a_log_that_was_put_back_to_an_older_state_keeps_the_gate_closed(tmp_path):
    """Log and head of yesterday are genuine, and in themselves whole: the store knows which head it wrote last."""
    key = FileKey(tmp_path / "seal.key")
    key.save(new_secret())
    kept = {"space": "space", "length": 8, "key": key}
    with Store.create(tmp_path, device="door-1", **kept) as store:
        audit = Audit(store.db, DEVICE, Clock())
        with store.db.transaction() as tx:
            audit.begin(tx)
        old = (audit.head(), 1)
        with store.db.transaction() as tx:
            audit.append(tx, role="privacy_officer", action="person_erased", reference="p-1")
    Store.open(tmp_path, **kept).close()
    connection = sqlite3.connect(tmp_path / "gate.db")
    connection.execute("UPDATE audit_head SET statement = ?", old[:1])
    connection.execute("DELETE FROM audit WHERE seq > ?", old[1:])
    connection.commit()
    connection.close()
    assert verify_audit(tmp_path / "gate.db", KEY).ok
    with pytest.raises(StoreTamperedError):
        Store.open(tmp_path, **kept)


# --- purging ---------------------------------------------------------------------------------------------------------


def old_log(**span) -> Log:
    """Five entries, then the given time, then five more."""
    log = Log(entries=5)
    log.clock.wait(**span)
    for number in range(6, 11):
        log.add(reference=f"p-{number}")
    return log


def purge(log: Log, **span) -> int:
    """Purge what is older than that."""
    with log.db.transaction() as tx:
        return log.audit.purge(tx, log.clock.now() - timedelta(**span))


def test_what_is_left_after_a_purge_verifies():
    """The head keeps the number and the hash of the last entry that went; an entry tells of it."""
    log = old_log(days=400)
    early = log.audit.head()
    assert purge(log, days=365) == 5
    entries = list(log.audit.entries())
    assert [entry.number for entry in entries] == [6, 7, 8, 9, 10, 11]
    assert entries[-1].action == "audit_purged"
    assert entries[-1].details["entries"] == entries[-1].details["through"] == 5
    report = log.audit.verify(early)
    assert report.ok
    assert (report.head.purged, report.compared) == (5, "continued")
    assert log.add() == 12
    again = Audit(log.db, DEVICE, log.clock)
    again.check()
    with log.db.transaction() as tx:
        again.append(tx, role="gate", action="retention_swept")
    assert again.verify().ok
    assert again.verify().head.purged == 5


def test_a_head_from_before_the_purged_entries_is_told_so():
    """It can neither be confirmed nor contradicted: what it was about was rightly removed."""
    log = Log(entries=3)
    head = log.audit.head()
    for _ in range(3):
        log.add()
    log.clock.wait(days=400)
    log.add()
    purge(log, days=365)
    report = log.audit.verify(head)
    assert (report.ok, report.compared) == (True, "purged")


def test_entries_are_kept_for_six_months_at_least():
    """Whatever is asked for."""
    log = old_log(days=400)
    assert timedelta(days=184) <= MINIMUM_AGE
    for span in ({"days": 183}, {"days": 0}, {"days": -5}):
        with pytest.raises(AuditRetentionError):
            purge(log, **span)
    assert log.audit.verify().entries == 10


def test_nothing_to_purge_writes_nothing():
    """No entry, no new head."""
    log = Log(entries=3)
    head = log.audit.head()
    assert purge(log, days=200) == 0
    assert log.audit.head() == head


def test_a_purge_never_removes_the_last_entry():
    """A chain needs an end to go on from."""
    log = Log(entries=3)
    log.clock.wait(days=400)
    assert purge(log, days=200) == 2
    assert [entry.number for entry in log.audit.entries()] == [3, 4]
    assert log.audit.verify().ok


def test_a_clock_that_went_back_purges_nothing_too_early():
    """Only entries before the first young one go, whatever stands after it."""
    log = Log(entries=3)
    log.clock.wait(days=-300)
    log.add()
    log.clock.wait(days=500)
    assert purge(log, days=250) == 0


def test_a_purge_does_not_cover_up_what_was_edited():
    """Entries that are not as they were written are not removed."""
    log = old_log(days=400)
    log.raw("UPDATE audit SET reference = 'p-999' WHERE seq = 3")
    with pytest.raises(AuditTamperedError):
        purge(log, days=365)
    assert [(p.kind, p.entry) for p in log.audit.verify().problems] == [("changed", 3)]


def test_a_purge_that_is_rolled_back_has_not_been():
    """The next head says again what is there."""
    log = old_log(days=400)
    log.fail(lambda tx: log.audit.purge(tx, log.clock.now() - timedelta(days=365)))
    log.add()
    report = log.audit.verify()
    assert (report.ok, report.head.purged, report.entries) == (True, 0, 11)


def test_a_purge_by_somebody_else_is_found():
    """The beginning of the log is as well guarded as its end."""
    log = Log(entries=8)
    log.raw("DELETE FROM audit WHERE seq <= 3")
    assert [(p.kind, p.entry, p.last) for p in log.audit.verify().problems] == [("missing", 1, 3)]


# --- with the public key alone, on a copy ----------------------------------------------------------------------------


def test_a_copy_is_verified_with_the_public_key_alone(tmp_path):
    """While the gate has the file open, and from a copy that is read-only: without the sealing key, without a trace."""
    path = tmp_path / "gate.db"
    log = Log(path, entries=6)
    assert verify_audit(path, KEY).ok
    assert verify_audit(str(path), [STRANGER.verify_key, KEY]).entries == 6
    log.db.checkpoint()
    vault = tmp_path / "vault"
    vault.mkdir()
    copy = vault / "copy.db"
    shutil.copy(path, copy)
    copy.chmod(0o400)
    vault.chmod(0o500)
    try:
        before = copy.read_bytes()
        assert verify_audit(copy, KEY).ok
        assert copy.read_bytes() == before
    finally:
        vault.chmod(0o700)


def test_what_is_still_in_the_write_ahead_log_counts(tmp_path):
    """A copy of all files of a running gate has everything that was committed."""
    path = tmp_path / "gate.db"
    log = Log(path, entries=6)
    assert (tmp_path / "gate.db-wal").stat().st_size
    (tmp_path / "copy").mkdir()
    for file in tmp_path.glob("gate.db*"):
        shutil.copy(file, tmp_path / "copy")
    assert verify_audit(tmp_path / "copy" / "gate.db", KEY).entries == 6
    assert log.audit.verify().ok


def test_a_file_that_is_no_store_is_refused(tmp_path):
    """A missing file, a text, another database: an error each, nothing made."""
    with pytest.raises(StoreMissingError):
        verify_audit(tmp_path / "none.db", KEY)
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(StoreCorruptError):
        verify_audit(tmp_path / "text", KEY)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE audit (x)").connection.commit()
    with pytest.raises(StoreCorruptError):
        verify_audit(tmp_path / "other.db", KEY)
    with pytest.raises(KeyTypeError):
        verify_audit(tmp_path / "other.db", ["no key"])


def test_a_damaged_file_is_a_finding(tmp_path):
    """What can be read is checked, and where it ends is said."""
    path = tmp_path / "gate.db"
    log = Log(path, entries=400)
    root = log.db.read("SELECT rootpage FROM sqlite_master WHERE name = 'audit'")[0][0]
    size = log.db.read("PRAGMA page_size")[0][0]
    log.db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : root * size] = bytes(size)
    path.write_bytes(data)
    report = verify_audit(path, KEY)
    assert [problem.kind for problem in report.problems][-1] in ("unreadable", "truncated")
    assert not report.ok


@settings(max_examples=40)
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_found_or_changes_nothing(data, tmp_path_factory):
    """A bit flipped anywhere in the file: the log verifies only if every entry is still what it was."""
    folder = tmp_path_factory.mktemp("bytes")
    path = folder / "gate.db"
    log = Log(path, entries=5)
    honest = [(e.number, e.role, e.action, e.reference, e.details, e.hash) for e in log.audit.entries()]
    log.db.close()
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        report = verify_audit(path, KEY)
    except StoreCorruptError:
        return
    if report.ok:
        rows = sqlite3.connect(path).execute(f"SELECT {COLUMNS} FROM audit ORDER BY seq").fetchall()  # noqa: S608
        assert [(r[0], r[2], r[3], r[4], json.loads(r[5]), r[6].hex()) for r in rows] == honest


def _change_tables(path, old, new, table="audit"):
    """What an attacker does to the tables of a copy: SQLite lets everybody write to its schema."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema=ON")
    sql = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?"
    assert connection.execute(sql, (old, new, table)).rowcount == 1
    connection.commit()
    connection.close()


def test_a_copy_whose_tables_compute_what_they_hold_is_refused(tmp_path):
    """A generated column could take all memory, or make up the whole log, when somebody looks at the copy."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    _change_tables(path, "details TEXT NOT NULL", "details TEXT AS (hex(zeroblob(400000000)))")
    with pytest.raises(StoreCorruptError, match="not as Facegate makes them"):
        verify_audit(path, KEY)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIRTUAL TABLE audit USING fts5(seq, time, role, action, reference, details, hash)",
        "CREATE TABLE audit (seq INTEGER PRIMARY KEY, time, role, action, reference, details, hash)",
        "CREATE VIEW audit AS SELECT 1 AS seq",
    ],
)
def test_a_copy_with_another_kind_of_table_is_refused(tmp_path, sql):
    """A virtual table runs a module's code on hostile data; a view can be anything."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_schema SET sql = ?, rootpage = 0 WHERE name = 'audit'", (sql,))
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorruptError):
        verify_audit(path, KEY)


def test_a_copy_with_an_index_that_says_otherwise_is_refused(tmp_path):
    """SQLite may read an index instead of the table: the table could be forged, and the index hold the true log."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE INDEX cover ON audit ({COLUMNS})")
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorruptError, match="not as Facegate makes them"):
        verify_audit(path, KEY)


def test_a_trigger_or_view_elsewhere_in_a_copy_is_not_run(tmp_path):
    """What is not read is not refused: the log is still whole, and that can be seen."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n"
    )
    connection.commit()
    connection.close()
    assert verify_audit(path, KEY).ok


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot limit the length of a value")
def test_a_row_as_large_as_the_memory_is_a_finding(tmp_path):
    """Nothing longer than any entry is loaded."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO audit VALUES (4, 0, 'gate', 'opened', NULL, hex(zeroblob(1000000)), x'00')")
    connection.commit()
    connection.close()
    kinds = [problem.kind for problem in verify_audit(path, KEY).problems]
    assert kinds[0] == "unreadable"


def test_many_heads_and_many_states_are_not_all_loaded(tmp_path):
    """One too many is enough to know."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    connection.execute("INSERT INTO audit_head SELECT 2, statement FROM audit_head")
    connection.commit()
    connection.close()
    assert [problem.kind for problem in verify_audit(path, KEY).problems] == ["head"]


def test_the_log_of_a_newer_version_is_told_apart_from_a_forged_one(tmp_path):
    """An old `facegate audit verify` says that it is old."""
    path = tmp_path / "gate.db"
    Log(path, entries=3).db.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=999")
    connection.close()
    with pytest.raises(StoreVersionError):
        verify_audit(path, KEY)


@pytest.mark.parametrize(
    "change",
    [
        "details = '[' || details",
        "details = replace(hex(zeroblob(50000)), '00', '[')",
        "time = 9223372036854775807",
        "time = -9223372036854775807",
    ],
)
def test_an_entry_that_cannot_be_read_is_told_when_the_log_is_shown(change):
    """`facegate audit show` names the entry; it does not fall over it."""
    log = Log(entries=4)
    log.raw(f"UPDATE audit SET {change} WHERE seq = 2")  # noqa: S608 - the test's own
    with pytest.raises(AuditTamperedError, match="entry 2"):
        list(log.audit.entries())


@pytest.mark.parametrize("wanted", [{"reference": "\udcff"}, {"reference": "no reference"}, {"action": "\udcff"}])
def test_what_no_entry_can_be_about_is_refused(wanted):
    """Also what a terminal of another encoding makes of it."""
    with pytest.raises(AuditEntryError):
        list(Log(entries=2).audit.entries(**wanted))


def test_more_entries_than_a_number_can_count_are_all_of_them():
    """A limit beyond SQLite's largest number is no limit; a number beyond it is behind the last."""
    log = Log(entries=3)
    assert len(list(log.audit.entries(limit=10**30))) == 3
    assert not list(log.audit.entries(after_number=10**30))
