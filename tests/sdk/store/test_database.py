"""The database: whole transactions, one process, and every change from outside noticed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from facegate._store import _database
from facegate._store._database import APPLICATION_ID, Database
from facegate._store._schema import VERSION
from facegate._store._tally import Tally
from facegate.errors import (
    GateInUseError,
    StoreConflictError,
    StoreCorruptError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreMissingError,
    StoreTamperedError,
    StoreVersionError,
    StoreWriteError,
)

TALLY = Tally(b"k" * 32)
PERSON = {"wrapped_key": b"w" * 60, "enrolled": 1, "used": 1}


@pytest.fixture
def path(tmp_path):
    """Where a test's store is."""
    return tmp_path / "gate.db"


def start(db: Database) -> Database:
    """Write the gate's state, and count from here on."""
    with db.transaction() as tx:
        tx.insert(
            "state",
            id=1,
            gate="g",
            device="d",
            space="s",
            template_length=64,
            key_id="k",
            key_check=b"c",
            rotation_id="r",
            tally=b"",
            sequence=0,
            clock=b"{}",
        )
        db.protect(TALLY, new=True)
    return db


@pytest.fixture
def db(path):
    """A store with anna and ben, who have a face each."""
    made = start(Database.create(path))
    with made.transaction() as tx:
        for name in ("anna", "ben"):
            person = tx.insert("person", reference=name, **PERSON)
            tx.insert("face", person=person, space="s", sealed=name.encode() * 20, added=1)
    yield made
    made.close()


def names(db):
    """Who is in it."""
    return [row[0] for row in db.read("SELECT reference FROM person ORDER BY id")]


@contextlib.contextmanager
def outsider(path):
    """Somebody who has the file, and SQLite, but no key."""
    connection = sqlite3.connect(path)
    yield connection
    connection.commit()
    connection.close()


def reopened(db, path):
    """Close and open again, with the tally counted anew."""
    db.close()
    again = Database.open(path)
    try:
        again.protect(TALLY)
    except BaseException:
        again.close()
        raise
    return again


# ---------------------------------------------------------------- files


def test_nobody_else_can_read_the_files(db, path, tmp_path):
    """The database, its log, the log's index and the lock are 0600, whatever the umask."""
    assert {file.name for file in tmp_path.iterdir()} == {"gate.db", "gate.db-wal", "gate.db-shm", "gate.db.lock"}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    db.close()
    path.chmod(0o644)
    with contextlib.closing(Database.open(path)):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_commit_that_returned_has_reached_the_disk(db):
    """Write-ahead log, synchronous FULL; what is deleted is overwritten; references hold; nothing temporary on disk."""
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "temp_store": 2}
    pragmas |= {"trusted_schema": 0, "cell_size_check": 1}
    pragmas |= {"application_id": APPLICATION_ID, "user_version": VERSION}
    assert {name: db.read(f"PRAGMA {name}")[0][0] for name in pragmas} == pragmas


def test_what_was_committed_is_there_after_a_restart(db, path):
    """And its tally is right."""
    with contextlib.closing(reopened(db, path)) as again:
        assert names(again) == ["anna", "ben"]
        again.check()


def test_a_store_is_never_made_over_another(db, path):
    """Nor over any other file; what is there stays."""
    db.close()
    with pytest.raises(StoreExistsError) as caught:
        Database.create(path)
    assert caught.value.hint
    with contextlib.closing(Database.open(path)) as again:
        assert names(again) == ["anna", "ben"]


def test_a_store_that_is_not_there_is_told(tmp_path):
    """Nothing is made where one was to be opened."""
    for path in (tmp_path / "gate.db", tmp_path / "no" / "gate.db"):
        with pytest.raises(StoreMissingError) as caught:
            Database.open(path)
        assert caught.value.hint
    with pytest.raises(StoreMissingError):
        Database.create(tmp_path / "no" / "gate.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\0" + bytes(100), bytes(4096)])
def test_what_is_no_store_is_refused(path, content):
    """Empty, something else, or the beginning of a database."""
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError) as caught:
        Database.open(path)
    assert caught.value.hint
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused(path):
    """A SQLite file that is no store is not touched."""
    with outsider(path) as connection:
        connection.execute("CREATE TABLE person (name)")
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError, match="no store"):
        Database.open(path)
    assert path.read_bytes() == before


def test_links_and_folders_are_refused(db, path, tmp_path):
    """A link could lead to another gate's store."""
    db.close()
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder.db").mkdir()
    for name in ("link.db", "folder.db"):
        with pytest.raises(StoreCorruptError):
            Database.open(tmp_path / name)


def test_a_newer_store_is_refused(db, path):
    """And stays as it is."""
    db.close()
    with outsider(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreVersionError) as caught:
        Database.open(path)
    assert "newer" in str(caught.value)
    assert caught.value.hint
    assert path.read_bytes() == before


def test_a_corrupt_page_is_told(db, path):
    """At the latest by `check`: whatever page was hit, nothing but our error comes out."""
    with db.transaction() as tx:
        for i in range(300):
            tx.insert("person", reference=f"p{i}", **PERSON)
    db.close()
    whole = path.read_bytes()
    told = 0
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        with pytest.raises((StoreCorruptError, StoreTamperedError)) as caught:  # noqa: PT012
            opened = Database.open(path)
            with contextlib.closing(opened):
                opened.protect(TALLY)
                opened.check()
        told += isinstance(caught.value, StoreCorruptError)
    assert told > len(whole) // 4096 // 2


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_told(db, path, part):
    """By a failed copy, for instance."""
    with db.transaction() as tx:
        for i in range(300):
            tx.insert("person", reference=f"p{i}", **PERSON)
    db.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises((StoreCorruptError, StoreTamperedError)):  # noqa: PT012
        opened = Database.open(path)
        with contextlib.closing(opened):
            opened.protect(TALLY)
            opened.check()


# ---------------------------------------------------------------- one process


def test_a_gate_belongs_to_one_process_at_a_time(db, path):
    """Another one is refused, and one after it is not; opening twice in one process is refused as well."""
    code = (
        "import sys; from facegate._store._database import Database; from facegate.errors import GateInUseError\n"
        "try: Database.open(sys.argv[1]).close()\n"
        "except GateInUseError as error: print(error.hint); sys.exit(7)"
    )
    child = [sys.executable, "-c", code, str(path)]
    refused = subprocess.run(child, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert refused.returncode == 7, refused.stderr
    assert "one process" in refused.stdout
    with pytest.raises(GateInUseError):
        Database.open(path)
    assert names(db) == ["anna", "ben"]
    db.close()
    assert subprocess.run(child, check=False, timeout=60).returncode == 0  # noqa: S603


def test_a_process_that_was_killed_leaves_no_lock(db, path):
    """The system drops it, whatever happened; what was committed is there."""
    db.close()
    code = (
        "import sys; from facegate._store._database import Database; db = Database.open(sys.argv[1])\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(GateInUseError):
            Database.open(path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with contextlib.closing(Database.open(path)) as again:
        assert names(again) == ["anna", "ben"]


def test_a_look_keeps_nobody_out(db, path):
    """Read-only: beside the gate's process, and nothing can be written."""
    with contextlib.closing(Database.open(path, read_only=True)) as look:
        assert names(look) == ["anna", "ben"]
        with pytest.raises(StoreWriteError), look.transaction() as tx:
            tx.execute("UPDATE state SET sequence = 9")
        with db.transaction() as tx:
            tx.insert("person", reference="carl", **PERSON)
        assert names(look) == ["anna", "ben", "carl"]


# ---------------------------------------------------------------- transactions


def test_an_exception_rolls_everything_back(db, path):
    """Rows, tally and what was to follow; the next transaction is as if nothing had been."""
    calls = []
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:  # noqa: PT012
        tx.insert("person", reference="carl", **PERSON)
        tx.delete("face", 1)
        tx.after_commit(lambda: calls.append("committed"))
        tx.at_end(lambda: calls.append("over"))
        _ = 1 / 0
    assert names(db) == ["anna", "ben"]
    assert calls == ["over"]
    with db.transaction() as tx:
        tx.insert("person", reference="dora", **PERSON)
    with contextlib.closing(reopened(db, path)) as again:
        assert names(again) == ["anna", "ben", "dora"]


def test_what_follows_a_commit_comes_in_order(db):
    """Before it, after it, at its end; what comes before it is part of it."""
    calls = []
    with db.transaction() as tx:
        tx.at_end(lambda: calls.append("over"))
        tx.after_commit(lambda: calls.append(("first", names(db))))
        tx.after_commit(lambda: calls.append("second"))
        tx.before_commit(lambda: tx.insert("person", reference="carl", **PERSON))
        assert names(db) == ["anna", "ben"]
    assert calls == [("first", ["anna", "ben", "carl"]), "second", "over"]


def test_what_fails_before_the_commit_rolls_back(db):
    """The last moment is as good as any."""

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError), db.transaction() as tx:  # noqa: PT012
        tx.insert("person", reference="carl", **PERSON)
        tx.before_commit(fail)
    assert names(db) == ["anna", "ben"]


def test_what_fails_after_the_commit_stops_nothing_else(db):
    """The rest runs, then it is raised; the commit stays."""
    calls = []

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError), db.transaction() as tx:  # noqa: PT012
        tx.insert("person", reference="carl", **PERSON)
        tx.after_commit(fail)
        tx.after_commit(lambda: calls.append("next"))
    assert calls == ["next"]
    assert names(db) == ["anna", "ben", "carl"]


def test_one_transaction_at_a_time(db):
    """One in another would commit with it; one that is over does nothing any more."""
    with db.transaction() as tx, pytest.raises(StoreError, match="open already"), db.transaction():
        pass
    with pytest.raises(StoreError, match="is over"):
        tx.insert("person", reference="carl", **PERSON)
    with pytest.raises(StoreError, match="is over"):
        tx.execute("SELECT 1")


def test_a_closed_store_does_nothing(db):
    """Closing twice is no error."""
    db.close()
    db.close()
    with pytest.raises(StoreError, match="closed"):
        db.read("SELECT 1")
    with pytest.raises(StoreError, match="closed"), db.transaction():
        pass


def test_a_name_that_is_taken_is_a_conflict(db):
    """Also a row that others refer to; a caller may go on after it, and nothing of it stays."""
    with db.transaction() as tx:
        with pytest.raises(StoreConflictError) as caught:
            tx.insert("person", reference="anna", **PERSON)
        assert "anna" not in str(caught.value)
        assert caught.value.hint
        with pytest.raises(StoreConflictError):
            tx.delete("person", 1)
        tx.insert("person", reference="carl", **PERSON)
    assert names(db) == ["anna", "ben", "carl"]


def test_a_row_that_is_not_there_cannot_be_changed(db):
    """Its own error instead of nothing."""
    with db.transaction() as tx:
        with pytest.raises(StoreError, match="no such row of person"):
            tx.update("person", 99, used=2)
        with pytest.raises(StoreError, match="no such row of face"):
            tx.delete("face", 99)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO person (reference) VALUES ('x')",
        "  insert or replace into face DEFAULT VALUES",
        "UPDATE person SET used = 1",
        "DELETE FROM consent",
        "REPLACE INTO setting VALUES (1, 'a', 'b')",
        "UPDATE OR IGNORE credential SET role = 'x'",
    ],
)
def test_protected_rows_are_not_written_past_the_tally(db, sql):
    """A slip in the code is known when it runs first, not when the gate is opened next."""
    with db.transaction() as tx, pytest.raises(TypeError, match="protected"):
        tx.execute(sql)


@pytest.mark.parametrize("name", ["person; DROP TABLE face", "Person", "", "a b"])
def test_names_of_tables_and_columns_are_names(db, name):
    """Nothing else ever becomes part of a statement."""
    with db.transaction() as tx:
        with pytest.raises(TypeError):
            tx.insert(name, reference="x")
        with pytest.raises(TypeError):
            tx.update("report", 1, **{name: 1})


def test_protected_rows_need_the_tally(path):
    """Without its key they can be read, not written."""
    with (
        contextlib.closing(Database.create(path)) as db,
        pytest.raises(StoreError, match="key"),
        db.transaction() as tx,
    ):
        tx.insert("person", reference="anna", **PERSON)


def test_an_id_is_known_before_its_row_is_written(db):
    """And is never used again, not even after the row with the highest one is gone."""
    with db.transaction() as tx:
        assert tx.next_id("people_group") == 1
        assert tx.next_id("person") == 3
        tx.delete("face", 2)
        tx.delete("person", 2)
        assert tx.next_id("person") == 3
        assert tx.insert("person", reference="carl", **PERSON) == 3


# ---------------------------------------------------------------- what somebody else did


TAMPERING = {
    "a row changed": "UPDATE person SET restricted = 1 WHERE id = 1",
    "a row removed": "DELETE FROM face WHERE id = 2",
    "a row added": "INSERT INTO setting (name, value) VALUES ('x', '1')",
    "two rows exchanged": "UPDATE face SET sealed = (SELECT sealed FROM face AS f WHERE f.id = 3 - face.id)",
    "two owners exchanged": "UPDATE face SET person = 3 - person",
    "two references exchanged": "UPDATE person SET reference = iif(id = 1, 'ben ', 'anna ')",
    "an id changed": "UPDATE face SET id = 7 WHERE id = 2",
    "a byte of a sealed row": "UPDATE face SET sealed = CAST(x'00' || substr(sealed, 2) AS BLOB) WHERE id = 1",
    "a text that goes on after a NUL": "UPDATE person SET reference = reference || char(0) || 'x' WHERE id = 1",
    "the sequence of decisions": "UPDATE state SET sequence = 5",
    "the clock": "UPDATE state SET clock = x'7b7d20'",
    "the gate": "UPDATE state SET gate = 'other'",
    "the rotation": "UPDATE state SET rotation_id = 'other'",
    "the tally": "UPDATE state SET tally = zeroblob(32)",
    "the state": "DELETE FROM state",
    "a trigger": "CREATE TRIGGER keep BEFORE DELETE ON face BEGIN INSERT INTO report VALUES (1, 'a', 'b', 1, 'c'); END",
    "a table": "CREATE TABLE copies (sealed)",
    "an index": "DROP INDEX face_person",
    "a view": "CREATE VIEW everybody AS SELECT * FROM person",
}


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING)
def test_what_somebody_else_changed_is_noticed(db, path, sql):
    """Rows, state and tables: whatever was done to them, the gate does not open."""
    db.close()
    with outsider(path) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(sql)
    with pytest.raises(StoreTamperedError) as caught:
        reopened(db, path)
    assert caught.value.hint


def test_an_old_row_that_was_put_back_is_noticed(db, path):
    """A replay: the row is right in itself, and was erased."""
    old = db.read("SELECT * FROM face WHERE id = 1")[0]
    with db.transaction() as tx:
        tx.delete("face", 1)
    db.close()
    with outsider(path) as connection:
        connection.execute("INSERT INTO face VALUES (?, ?, ?, ?, ?, ?)", old)
    with pytest.raises(StoreTamperedError):
        reopened(db, path)


def test_an_old_tally_fits_old_rows_only(db, path):
    """The mark of before a change, put back after it, is wrong again."""
    old = db.read("SELECT tally FROM state")[0]
    with db.transaction() as tx:
        tx.update("person", 1, restricted=1)
    db.close()
    with outsider(path) as connection:
        connection.execute("UPDATE state SET tally = ?", old)
    with pytest.raises(StoreTamperedError):
        reopened(db, path)


def test_what_is_not_protected_may_change(db, path):
    """The outbox and the audit log have chains of their own."""
    db.close()
    with outsider(path) as connection:
        connection.execute("INSERT INTO report (number, kind, time, content) VALUES ('1', 'a', 1, '{}')")
    reopened(db, path).close()


def test_the_tally_is_kept_through_every_change(db, path):
    """Whatever was inserted, changed and deleted, in one transaction or many."""
    with db.transaction() as tx:
        person = tx.insert("person", reference="carl", **PERSON)
        tx.update("person", person, used=5, objection=1)
        tx.update("person", 1, reference="anne")
        face = tx.insert("face", person=person, space="s", sealed=b"x", added=1)
        tx.update("face", face, id=face + 10)
        tx.delete("face", 1)
    with db.transaction() as tx:
        tx.delete("person", 1)
        tx.execute("UPDATE state SET sequence = sequence + 1")
    with contextlib.closing(reopened(db, path)) as again:
        assert names(again) == ["ben", "carl"]


# ---------------------------------------------------------------- disks


def test_a_full_disk_changes_nothing(db, path):
    """Its own error; nothing half done; the gate goes on when there is room again."""
    pages = db.read("PRAGMA page_count")[0][0]
    db.read(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StoreFullError) as caught, db.transaction() as tx:  # noqa: PT012
        for i in range(1000):
            tx.insert("person", reference=f"p{i}", **PERSON)
    assert caught.value.hint
    assert caught.value.exit_code == 5
    assert names(db) == ["anna", "ben"]
    db.read("PRAGMA max_page_count=100000")
    with db.transaction() as tx:
        tx.insert("person", reference="carl", **PERSON)
    with contextlib.closing(reopened(db, path)) as again:
        assert names(again) == ["anna", "ben", "carl"]


def test_a_transaction_that_the_disk_ended_is_over(db):
    """A caller that ignores the error cannot go on writing outside of any transaction."""
    pages = db.read("PRAGMA page_count")[0][0]
    db.read(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StoreError), db.transaction() as tx:  # noqa: PT012
        with contextlib.suppress(StoreFullError):
            for i in range(1000):
                tx.insert("person", reference=f"p{i}", **PERSON)
        db.read("PRAGMA max_page_count=100000")
        db._connection.execute("ROLLBACK") if db._connection.in_transaction else None
        tx.insert("person", reference="carl", **PERSON)
    assert names(db) == ["anna", "ben"]


def test_a_read_only_store_is_told(db):
    """Its own error, before anything is changed."""
    db.read("PRAGMA query_only=1")
    with pytest.raises(StoreWriteError, match="read-only") as caught, db.transaction() as tx:
        tx.insert("person", reference="carl", **PERSON)
    assert caught.value.exit_code == 5
    db.read("PRAGMA query_only=0")
    assert names(db) == ["anna", "ben"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(db, path, tmp_path):
    """The permissions of somebody else's folder."""
    db.close()
    (tmp_path / "gate.db.lock").unlink()
    tmp_path.chmod(0o500)
    with pytest.raises(StoreWriteError):
        Database.open(path)
    tmp_path.chmod(0o700)


def test_a_checkpoint_empties_the_log(db, tmp_path):
    """Everything is in the file then."""
    log = tmp_path / "gate.db-wal"
    assert log.stat().st_size > 0
    assert db.checkpoint()
    assert log.stat().st_size == 0


def test_a_checkpoint_that_a_reader_held_up_is_done_later(db, path, tmp_path):
    """With the first commit after the reader is gone."""
    with contextlib.closing(Database.open(path, read_only=True)) as look:
        rows = look.iterate("SELECT * FROM person")
        next(rows)
        with db.transaction() as tx:
            tx.insert("report", number="1", kind="a", time=1, content="{}")
        assert not db.checkpoint(wait=False)
        assert db.checkpoint_due
        with db.transaction() as tx:
            tx.insert("report", number="2", kind="a", time=1, content="{}")
        assert db.checkpoint_due
        rows.close()
        with db.transaction() as tx:
            tx.insert("report", number="3", kind="a", time=1, content="{}")
    assert not db.checkpoint_due
    assert (tmp_path / "gate.db-wal").stat().st_size == 0


def test_errors_hold_nothing_of_a_statement(db):
    """Neither SQL nor values nor SQLite's words."""
    with pytest.raises(StoreError) as caught:
        db.read("SELECT secret_column FROM person WHERE reference = 'anna'")
    assert not {"secret_column", "anna", "SELECT"} & set(str(caught.value).replace("'", " ").split())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_store_in_memory_is_one_as_well(database):
    """The same tables, no file, nothing to wait for."""
    start(database)
    with database.transaction() as tx:
        tx.insert("person", reference="anna", **PERSON)
    database.protect(TALLY)
    database.check()
    assert database.checkpoint()
    assert repr(database) == "Database('in memory')"


def test_a_writer_beside_the_gate_changes_what_is_not_protected(db, path):
    """Such as a process that delivers decisions: it takes no lock, and the gate's tally stays right."""
    with contextlib.closing(Database.open(path, shared=True)) as beside:
        with beside.transaction() as tx:
            tx.insert("report", number="1", kind="a", time=1, content="{}")
        with pytest.raises(StoreError, match="key"), beside.transaction() as tx:
            tx.insert("person", reference="carl", **PERSON)
    with db.transaction() as tx:
        tx.insert("person", reference="dora", **PERSON)
    reopened(db, path).close()


def test_an_older_audit_log_that_was_put_back_is_noticed(db, path):
    """With the head that it had then: the tally's mark covers the head of now."""
    for head in ("one", "two"):
        with db.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO audit_head (id, statement) VALUES (1, ?)", head)
    db.close()
    with outsider(path) as connection:
        connection.execute("UPDATE audit_head SET statement = 'one'")
    with pytest.raises(StoreTamperedError):
        reopened(db, path)


FORK = """
import os, sys
from facegate._store._database import Database
from facegate.errors import GateInUseError, StoreError
path = sys.argv[1]
db = Database.open(path)
with db.transaction() as tx:
    tx.insert("report", number="1", kind="a", time=1, content="{}")
child = os.fork()
if child == 0:
    try: db.read("SELECT 1")
    except StoreError: pass
    else: os._exit(3)
    try: Database.open(path)
    except GateInUseError: sys.exit(0)  # an end as usual: what is left is deallocated
    os._exit(4)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert os.path.getsize(path + "-wal") > 0
with db.transaction() as tx:
    tx.insert("report", number="2", kind="a", time=1, content="{}")
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    os.read(read, 1)
    sys.exit(0)
db.close()
db = Database.open(path)  # the child that is still there keeps nobody out
assert db.read("SELECT count(*) FROM report") == [(2,)]
db.check()
os.close(write)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_leaves_the_store_alone(db, path):
    """It can neither use nor close it, and does not hold the gate when its parent lets it go."""
    db.close()
    child = [sys.executable, "-c", FORK, str(path)]
    done = subprocess.run(child, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_a_trigger_that_hides_behind_a_name_is_noticed(db, path):
    """No name is left out when the tables are compared."""
    db.close()
    sql = "CREATE TRIGGER sqlite_stat1 BEFORE DELETE ON person BEGIN DELETE FROM report; END"
    with outsider(path) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_schema VALUES ('trigger', 'sqlite_stat1', 'person', 0, ?)", (sql,))
    with pytest.raises(StoreTamperedError, match="tables"):
        reopened(db, path)


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [("sqlite_autoindex_person_1", "person", "reference"), ("face_person", "face", "person")],
)
def test_an_index_that_leads_to_another_row_is_noticed(db, path, name, table, column):
    """All rows are right, and yet `anna` would be found to be ben, and anna's face to be his."""
    db.close()
    with outsider(path) as connection:
        connection.execute(f"CREATE TABLE shadow (id INTEGER PRIMARY KEY, {column})")
        connection.execute(f"INSERT INTO shadow SELECT 3 - id, {column} FROM {table}")  # noqa: S608
        connection.execute(f"CREATE INDEX shade ON shadow ({column})")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'shade') "
            "WHERE name = ?",
            (name,),
        )
        connection.execute("DELETE FROM sqlite_schema WHERE tbl_name = 'shadow'")
    with outsider(path) as connection:
        sql = f"SELECT id FROM {table} INDEXED BY {name} WHERE {column} = ?"  # noqa: S608
        assert connection.execute(sql, ("anna" if table == "person" else 1,)).fetchone() == (2,)
    with pytest.raises(StoreCorruptError):
        reopened(db, path)


def test_a_value_of_another_type_is_noticed(db, path):
    """Tables are strict to those who write, not to somebody who edits the file: 1 is not '1'."""
    db.close()
    with outsider(path) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'person'").fetchone()[0]
        loose = sql.replace("STRICT", "").replace("used INTEGER", "used BLOB")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'person'", (loose,))
    with outsider(path) as connection:
        connection.execute("UPDATE person SET used = '1' WHERE id = 1")
        assert connection.execute("SELECT typeof(used) FROM person WHERE id = 1").fetchone() == ("text",)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'person'", (sql,))
    with pytest.raises((StoreCorruptError, StoreTamperedError)):
        reopened(db, path)


def test_a_damaged_schema_is_told(db, path):
    """SQLite's own message about it need not be UTF-8; it is ours that comes out, and repeats nothing of it."""
    db.close()
    content = path.read_bytes()
    statement = content.index(b"CREATE TABLE people_group")
    told = 0
    for at in range(statement, statement + 30):
        path.write_bytes(content[:at] + b"\x85" + content[at + 1 :])
        with pytest.raises((StoreCorruptError, StoreTamperedError)) as caught:
            reopened(db, path)
        told += "\x85" not in str(caught.value)
    assert told == 30


def test_an_error_of_the_callers_stays_the_callers(db):
    """What is raised in a transaction and is none of SQLite's is not taken for damage."""
    with pytest.raises(UnicodeDecodeError), db.transaction():
        b"\xff".decode()
    with pytest.raises(StoreError), db.transaction():
        raise sqlite3.OperationalError


def test_a_look_trusts_nothing_either(db, path):  # noqa: ARG001
    """Read-only as well, a schema that somebody wrote can call no function."""
    with contextlib.closing(Database.open(path, read_only=True)) as look:
        assert look.read("PRAGMA trusted_schema") == look.read("PRAGMA query_only") == [(0,)]
        assert look.read("PRAGMA cell_size_check") == [(1,)]


def test_attack_a_trigger_that_waits_for_the_next_version(db, path, monkeypatch):
    """An update of Facegate changes rows while it brings the tables up to date: nobody's trigger is there by then."""
    db.close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER wait AFTER UPDATE ON person BEGIN DELETE FROM audit; END")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    monkeypatch.setattr(_database, "MIGRATIONS", (*_database.MIGRATIONS, "UPDATE person SET used = used;"))
    monkeypatch.setattr(_database, "VERSION", _database.VERSION + 1)
    with pytest.raises(StoreTamperedError):
        Database.open(path)
    assert path.read_bytes() == before
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER wait")
    connection.commit()
    connection.close()
    with contextlib.closing(Database.open(path)) as opened:
        assert opened.read("PRAGMA user_version") == [(_database.VERSION,)]
