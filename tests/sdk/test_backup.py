"""Backups: everything comes back, on another device too, for the recovery key only; who was erased does not."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone

import numpy as np
import pytest

from facegate import Policy, SigningKey, _backup_rows, open_gate
from facegate._backup_rows import OWNERS, SEQUENCES, TABLES, parse_row, read_value, split_lines, table_lines
from facegate._backup_stream import BackupReader, BackupWriter
from facegate._recovery import Passphrase, RecoveryKey
from facegate._restore import restore_backup
from facegate._store._key_providers import new_secret
from facegate._store._renewal import rotation_place
from facegate._store._rotation import MAX_LENGTH, Rotation
from facegate._store._schema import MIGRATIONS
from facegate._store._sealing import Sealer
from facegate._store._store import FILE, Store
from facegate.errors import (
    BackupError,
    BackupFormatError,
    BackupKeyError,
    BackupTamperedError,
    BackupWriteError,
    CertificateError,
    FacegateError,
    GateExistsError,
    GateWriteError,
    SealError,
    SealKeyError,
    SealKeyMissingError,
    StoreExistsError,
)
from facegate_edge._keys import VerifyKey, b64url_encode

RECOVERY = RecoveryKey.generate()
GAP = 10_000_000


@pytest.fixture
def peopled(gate_folder, shows, consent):
    """A gate on disk with two people, a group, a list, decisions and a request; closed. Returns its folder."""
    with gate_folder.open() as roles:
        for name, identity in (("alice", 1), ("bob", 2)):
            assert roles.enroller.enroll(name, [shows(identity), shows(identity)], consent).enrolled
        roles.enroller.make_group("staff")
        roles.enroller.join("staff", "alice")
        roles.enroller.make_list("guests")
        roles.enroller.add_to_list("guests", [shows(7)], consent)
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice"
        assert roles.recognizer.identify(shows(3)).decision.outcome == "no_match"
        roles.officer.restrict("bob", checked_by="passport-seen")
    return gate_folder


def back_up(gate, path, recipient=RECOVERY.public, **kwargs):
    """Make a backup of a closed gate."""
    with gate.open() as roles:
        return roles.administrator.backup(path, recipient, **kwargs)


def restore(path, folder, opener=RECOVERY, **kwargs):
    """Restore a backup."""
    with path.open("rb") as stream:
        return restore_backup(stream, folder, opener, **kwargs)


def entries_of(path, opener=RECOVERY):
    """What a backup holds, opened."""
    with path.open("rb") as stream:
        return {name: b"".join(pieces) for name, pieces in BackupReader(stream, opener).entries()}


def rewritten(path, change, recipient=RECOVERY.public, signer=None):
    """A backup with other entries, as somebody who has its key could make it."""
    with path.open("rb") as stream:
        reader = BackupReader(stream, RECOVERY)
        entries = change({name: b"".join(pieces) for name, pieces in reader.entries()})
        header = reader.header
    out = io.BytesIO()
    writer = BackupWriter(
        out,
        recipient=recipient,
        signer=signer or SigningKey.from_pem(entries["device.key"]),
        created=header.created,
        device=header.device,
        version=header.facegate,
    )
    for name, data in entries.items():
        writer.entry(name, [data])
    writer.finish()
    other = path.with_name("rewritten.backup")
    other.write_bytes(out.getvalue())
    return other


# --- there and back ------------------------------------------------------------------------------------------------


def test_everything_comes_back(peopled, tmp_path, shows, clock):
    """People, groups, lists, rights, roles, log and numbers are as they were; the gate decides as before."""
    made = back_up(peopled, tmp_path / "b.backup")
    assert (made.people, made.kind, made.recovery_key) == (2, "recovery_key", RECOVERY.key_id)
    assert made.size == (tmp_path / "b.backup").stat().st_size
    assert (tmp_path / "b.backup").stat().st_mode & 0o777 == 0o600
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    assert (info.people, info.backup, info.erased_again, info.dry_run) == (2, made.id, (), False)
    with peopled.open(tmp_path / "again") as roles:
        assert roles.people() == ("alice", "bob")
        assert [g.name for g in roles.enroller.groups()] == ["staff"]
        assert roles.enroller.members("staff") == ("alice",)
        assert [entry.faces for entry in roles.enroller.lists()] == [1]
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice"
        assert roles.recognizer.verify("bob", shows(2)).decision.reasons == ("restricted",)
        assert roles.recognizer.find_similar(shows(7), "guests")
        assert roles.core.audit.verify().ok


def test_every_table_is_backed_up():
    """No table of the schema is forgotten, owners come before what they own, and their keys are known as keys."""
    db = sqlite3.connect(":memory:")
    for script in MIGRATIONS:
        db.executescript(script)
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {*TABLES, SEQUENCES} == tables
    for table in TABLES:
        owners = {row[2] for row in db.execute(f"PRAGMA foreign_key_list({table})")}
        assert all(TABLES.index(owner) < TABLES.index(table) for owner in owners)
    wrapped = {t for t in TABLES if "wrapped_key" in [row[1] for row in db.execute(f"PRAGMA table_info({t})")]}
    assert wrapped == set(OWNERS)


def test_the_rows_are_the_same(peopled, tmp_path, clock):
    """Every row of every table comes back, but for keys wrapped anew and what a restore adds."""

    def rows(folder):
        with sqlite3.connect(folder / FILE) as db:
            return {t: db.execute(f"SELECT * FROM {t} ORDER BY 1").fetchall() for t in TABLES}  # noqa: S608

    back_up(peopled, tmp_path / "b.backup")
    before = rows(peopled.folder)
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    after = rows(tmp_path / "again")
    for table in TABLES:
        if table in OWNERS:
            assert [(r[0], r[1]) for r in before[table]] == [(r[0], r[1]) for r in after[table]]
            assert all(a[2] != b[2] for a, b in zip(before[table], after[table], strict=True))
        elif table == "audit":
            # The backup's own entry came after the backup.
            assert after[table][:-1] == before[table][: len(after[table]) - 1]
            assert (before[table][-1][3], after[table][-1][3]) == ("backup", "restored")
        elif table not in ("state", "audit_head", "rotation"):
            assert before[table] == after[table], table


def test_a_backup_of_a_backup(peopled, tmp_path, clock, shows):
    """A restored gate is backed up and restored like any other."""
    back_up(peopled, tmp_path / "1.backup")
    restore(tmp_path / "1.backup", tmp_path / "one", clock=clock)
    with peopled.open(tmp_path / "one") as roles:
        roles.administrator.backup(tmp_path / "2.backup", RECOVERY.public)
    restore(tmp_path / "2.backup", tmp_path / "two", clock=clock)
    with peopled.open(tmp_path / "two") as roles:
        assert roles.recognizer.identify(shows(2)).decision.reasons
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice"


def test_ids_are_not_used_again(peopled, tmp_path, clock, shows, consent):
    """The number of an erased person is not given to the next one, before a restore and after."""
    with peopled.open() as roles:
        (last,) = roles.core.store.db.read("SELECT max(id) FROM person")[0]
        roles.enroller.withdraw("bob")
    back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with peopled.open(tmp_path / "again") as roles:
        assert roles.enroller.enroll("carol", [shows(5)], consent).enrolled
        assert roles.core.store.person("carol").id > last


def test_numbers_of_decisions_do_not_come_again(peopled, tmp_path, clock, shows):
    """What the old gate decided after the backup has numbers that the restored one leaves out."""
    back_up(peopled, tmp_path / "b.backup")
    with peopled.open() as roles:
        lost = roles.recognizer.identify(shows(1)).decision.sequence
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with peopled.open(tmp_path / "again") as roles:
        assert roles.recognizer.identify(shows(1)).decision.sequence == info.sequence + 1
    assert info.sequence == lost - 1 + GAP
    clock.wait(100 * 86400)
    later = restore(tmp_path / "b.backup", tmp_path / "later", clock=clock)
    assert later.sequence == lost - 1 + 100 * 86400 * 1000  # one for each millisecond


def test_a_device_that_thinks_it_is_1970(peopled, tmp_path, clock):
    """A restore is not before its backup, whatever the clock says: neither numbers nor the log go back."""
    made = back_up(peopled, tmp_path / "b.backup")
    clock.moment = datetime(1970, 1, 1, tzinfo=timezone.utc)
    clock.boots, clock.seconds = 7, 5.0
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with peopled.open(tmp_path / "again") as roles:
        (entry,) = roles.core.audit.entries(action="restored")
        assert entry.details["made"] == made.created == info.created
        assert entry.time >= max(e.time for e in roles.core.audit.entries() if e.number < entry.number)


def test_both_ends_are_in_the_audit_log(peopled, tmp_path, clock):
    """The old gate tells of the backup, the new one of the restore, each with the backup's id."""
    made = back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with peopled.open() as roles:
        (entry,) = roles.core.audit.entries(action="backup")
        assert (entry.role, entry.details["backup"]) == ("administrator", made.id)
        assert entry.details["recovery_key"] == RECOVERY.key_id
    with peopled.open(tmp_path / "again") as roles:
        (entry,) = roles.core.audit.entries(action="restored")
        assert (entry.details["backup"], entry.details["made"]) == (made.id, made.created)


def test_trusted_keys_come_back_whatever_their_files_were_called(peopled, tmp_path, clock):
    """An operator may have put a key into trust/ under any name."""
    (key,) = (peopled.folder / "trust").glob("*.pub")
    key.rename(key.with_name("Der Schlüssel.pub"))
    SigningKey.generate().verify_key.save(peopled.folder / "trust" / "UPPER.pub")
    back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    assert len(list((tmp_path / "again" / "trust").iterdir())) == 2
    with peopled.open(tmp_path / "again") as roles:
        assert roles.people() == ("alice", "bob")


def test_progress_is_told(peopled, tmp_path, clock):
    """Both directions say how many rows of how many are done, up to all of them."""
    for told, call in (
        ([], lambda p: back_up(peopled, tmp_path / "b.backup", progress=p)),
        ([], lambda p: restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, progress=p)),
    ):
        call(lambda done, total, told=told: told.append((done, total)))
        assert told[-1][0] == told[-1][1] > 10
        assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- keys ----------------------------------------------------------------------------------------------------------


def test_the_device_secret_stays_on_the_device(peopled, tmp_path, clock):
    """The backup has a secret of its own, and the restored gate another one again."""
    back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    own, inside = (peopled.folder / "seal.key").read_bytes(), entries_of(tmp_path / "b.backup")
    secrets = {own.strip(), b64url_encode(inside["seal"]).encode(), (tmp_path / "again/seal.key").read_bytes().strip()}
    assert len(secrets) == 3
    assert not any(own.strip() in data for data in inside.values())


def test_another_key_restores_nothing(peopled, tmp_path, clock):
    """Without the recovery key, on this device or another, there is nothing to be had: and nothing is left behind."""
    back_up(peopled, tmp_path / "b.backup")
    before = sorted(tmp_path.iterdir())
    for opener in (RecoveryKey.generate(), Passphrase("correct horse battery")):
        with pytest.raises(BackupKeyError):
            restore(tmp_path / "b.backup", tmp_path / "again", opener, clock=clock)
    assert sorted(tmp_path.iterdir()) == before


def test_a_passphrase_will_do(peopled, tmp_path, clock, shows):
    """A backup can be locked with a passphrase in place of a key."""
    made = back_up(peopled, tmp_path / "b.backup", Passphrase("correct horse battery"))
    assert (made.kind, made.recovery_key) == ("passphrase", None)
    restore(tmp_path / "b.backup", tmp_path / "again", Passphrase("correct horse battery"), clock=clock)
    with peopled.open(tmp_path / "again") as roles:
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice"


def test_the_sealing_key_goes_where_it_is_wanted(peopled, tmp_path, clock, monkeypatch, shows):
    """The restored gate's secret is kept by another provider, if one is named."""
    back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "outside", clock=clock, key=f"file:{tmp_path / 'own.key'}")
    assert not (tmp_path / "outside" / "seal.key").exists()
    with peopled.open(tmp_path / "outside") as roles:
        assert roles.people() == ("alice", "bob")
    secret = b64url_encode(bytes(new_secret()))
    monkeypatch.setenv("SEAL", secret)
    restore(tmp_path / "b.backup", tmp_path / "service", clock=clock, key="environment:SEAL")
    monkeypatch.setenv("SEAL", secret)
    with peopled.open(tmp_path / "service") as roles:
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice"


def test_a_provider_that_does_not_work(peopled, tmp_path, clock):
    """No secret, a key that is there already, no such provider: nothing is made, and nobody's key is touched."""
    back_up(peopled, tmp_path / "b.backup")
    (tmp_path / "own.key").write_text("somebody's")
    for key, error in (
        ("environment:NO_SUCH_VARIABLE", SealKeyMissingError),
        (f"file:{tmp_path / 'own.key'}", StoreExistsError),
        ("nonsense", SealKeyError),
    ):
        with pytest.raises(error):
            restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, key=key)
        assert not (tmp_path / "again").exists()
    assert (tmp_path / "own.key").read_text() == "somebody's"


def test_a_restore_that_fails_late_destroys_the_key_that_it_made(peopled, tmp_path, clock):
    """A provider outside the folder keeps nothing of a gate that was not made."""
    back_up(peopled, tmp_path / "b.backup")
    with pytest.raises(CertificateError):
        restore(tmp_path / "b.backup", tmp_path / "x", clock=clock, key=f"file:{tmp_path / 'k'}", certificates=["no"])
    assert not (tmp_path / "k").exists()
    assert not (tmp_path / "x").exists()


# --- erasure -------------------------------------------------------------------------------------------------------


def test_who_was_erased_is_in_no_backup_made_afterwards(peopled, tmp_path, shows, clock):
    """Neither their sealed templates nor their key nor their reference among the people is in the opened backup."""
    with peopled.open() as roles:
        db = roles.core.store.db
        (bob,) = db.read("SELECT id, wrapped_key FROM person WHERE reference = 'bob'")
        key = roles.core.store.sealer.unwrap(bob[1], "person", bob[0])
        sealed = [row[0] for row in db.read("SELECT sealed FROM face WHERE person = ?", bob[0])]
        plain = [t.data.tobytes() for t in roles.core.store.templates_of(bob[0])]
        roles.enroller.withdraw("bob")
    back_up(peopled, tmp_path / "b.backup")
    inside = entries_of(tmp_path / "b.backup")
    assert sealed
    for secret in (key, *sealed, *plain):
        for data in inside.values():
            assert secret not in data
            assert b64url_encode(secret).encode() not in data
            assert b64url_encode(secret[16:31]).encode() not in data
    assert b'"bob"' not in inside["table/person"]
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with peopled.open(tmp_path / "again") as roles:
        assert roles.people() == ("alice",)
        assert roles.recognizer.identify(shows(2)).decision.outcome == "no_match"


def test_certificates_erase_again_who_was_erased_after_the_backup(peopled, tmp_path, clock, shows):
    """An old backup brings nobody back whose erasure certificate is at hand; the log says so."""
    back_up(peopled, tmp_path / "b.backup")
    with peopled.open() as roles:
        sql = "SELECT sealed FROM face JOIN person ON person.id = face.person WHERE reference = 'alice'"
        sealed = [row[0] for row in roles.core.store.db.read(sql)]
        certificate = roles.officer.erase("alice", checked_by="passport-seen")
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, certificates=[certificate.jws])
    assert info.erased_again == ("alice",)
    assert info.people == 1
    with peopled.open(tmp_path / "again") as roles:
        assert roles.people() == ("bob",)
        assert roles.recognizer.identify(shows(1)).decision.outcome == "no_match"
    raw = b"".join(path.read_bytes() for path in (tmp_path / "again").glob("gate.db*"))
    assert sealed
    assert not any(secret in raw for secret in sealed)
    with peopled.open(tmp_path / "again") as roles:
        (entry,) = roles.core.audit.entries(action="person_erased")
        assert (entry.reference, entry.details["backup"]) == ("alice", info.backup)
        assert roles.officer.certify_again("alice").certificate.is_about("alice")


def test_a_certificate_from_before_the_backup_erases_nobody(peopled, tmp_path, clock, shows, consent):
    """Somebody who was erased, enrolled again and then backed up is restored: their certificate is about before."""
    with peopled.open() as roles:
        old = roles.officer.erase("alice", checked_by="passport-seen")
        clock.wait(60)
        assert roles.enroller.enroll("alice", [shows(1)], consent).enrolled
    back_up(peopled, tmp_path / "b.backup")
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, certificates=[old.jws])
    assert (info.erased_again, info.people) == ((), 2)


def test_certificates_of_another_gate_are_refused(peopled, tmp_path, clock, make_gate, shows, consent):
    """A certificate that another device signed erases nobody here."""
    back_up(peopled, tmp_path / "b.backup")
    other = make_gate(device=SigningKey.generate())
    assert other.enroller.enroll("alice", [shows(1)], consent).enrolled
    foreign = other.officer.erase("alice", checked_by="passport-seen")
    with pytest.raises(CertificateError):
        restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, certificates=[foreign.jws])
    assert not (tmp_path / "again").exists()


# --- cut off -------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from datetime import datetime, timezone
from pathlib import Path
from facegate import Credential, RecoveryKey, open_gate, restore_backup

room, what, at = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def progress(done, total):
    if done >= at * total:
        os.kill(os.getpid(), signal.SIGKILL)

if what == "backup":
    with open_gate(room / "gate", pipeline=object()) as gate:
        administrator = gate.administrator(Credential.load(room / "gate-credentials" / "administrator.credential"))
        administrator.backup(room / "killed.backup", RecoveryKey.load(room / "recovery.key").public, progress=progress)
else:
    with (room / "b.backup").open("rb") as stream:
        restore_backup(stream, room / "killed", RecoveryKey.load(room / "recovery.key"), progress=progress)
"""


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_a_kill_leaves_a_whole_one_or_none(peopled, tmp_path, clock, what):
    """Killed at any row, there is no backup and no gate under their names; the next attempt succeeds."""
    RECOVERY.save(tmp_path / "recovery.key")
    back_up(peopled, tmp_path / "b.backup")
    for at in (0.0, 0.5, 1.0):
        killed = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", KILLED, str(tmp_path), what, str(at)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "killed").exists()
        assert not (tmp_path / "killed.backup").exists()
    back_up(peopled, tmp_path / "killed.backup")
    assert restore(tmp_path / "killed.backup", tmp_path / "killed", clock=clock).people == 2


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_gate_in_memory_has_no_backup(make_gate, tmp_path):
    """There is nothing of it that could be restored."""
    with pytest.raises(BackupError):
        make_gate().administrator.backup(tmp_path / "b.backup", RECOVERY.public)


def test_nothing_is_overwritten(peopled, tmp_path, clock):
    """A file in the place of the backup, a folder in the place of the gate: both stay as they are."""
    (tmp_path / "taken").write_text("something")
    with pytest.raises(BackupError):
        back_up(peopled, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "something"
    back_up(peopled, tmp_path / "b.backup")
    for place in (peopled.folder, tmp_path / "taken"):
        with pytest.raises(GateExistsError):
            restore(tmp_path / "b.backup", place, clock=clock)


def test_a_backup_that_cannot_be_written(peopled, tmp_path, monkeypatch):
    """No such folder, no permission, no space: nothing is left, and the log tells of no backup."""
    with pytest.raises(BackupError):
        back_up(peopled, tmp_path / "none" / "b.backup")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("facegate._backup.os.fsync", full)
        with pytest.raises(BackupWriteError, match="No space"):
            back_up(peopled, tmp_path / "b.backup")
    assert not list(tmp_path.glob("*b.backup*"))
    assert not list(tmp_path.glob(".*"))
    with peopled.open() as roles:
        assert not list(roles.core.audit.entries(action="backup"))


def test_a_medium_without_links(peopled, tmp_path, monkeypatch):
    """On a stick that has no hard links a backup gets its name as well, and overwrites nothing that came meanwhile."""

    def none(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("facegate._backup.os.link", none)
    back_up(peopled, tmp_path / "b.backup")
    assert entries_of(tmp_path / "b.backup")

    def meanwhile(*_, **__):
        (tmp_path / "c.backup").write_text("somebody's")
        none()

    monkeypatch.setattr("facegate._backup.os.link", meanwhile)
    with pytest.raises(BackupError, match="exists"):
        back_up(peopled, tmp_path / "c.backup")
    assert (tmp_path / "c.backup").read_text() == "somebody's"
    assert not list(tmp_path.glob(".*"))


def test_a_restore_without_room(peopled, tmp_path, clock, monkeypatch):
    """A full disk leaves nothing of the gate behind."""
    back_up(peopled, tmp_path / "b.backup")
    before = sorted(tmp_path.iterdir())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("facegate._restored_folder.write_new", full)
    with pytest.raises(GateWriteError, match="No space"):
        restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_keeps_nothing_and_checks_everything(peopled, tmp_path, clock):
    """A backup can be tried: it is opened, every seal and the log are checked, and nothing is left."""
    back_up(peopled, tmp_path / "b.backup")
    before = sorted(tmp_path.iterdir())
    info = restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, dry_run=True, key="environment:NONE")
    assert (info.dry_run, info.people) == (True, 2)
    assert sorted(tmp_path.iterdir()) == before
    broken = rewritten(tmp_path / "b.backup", lambda e: e | {"table/face": e["table/face"].replace(b"A", b"B", 5)})
    with pytest.raises(SealError):
        restore(broken, tmp_path / "again", clock=clock, dry_run=True)


def test_attack_a_changed_byte(peopled, tmp_path, clock):
    """A backup that was changed anywhere restores nothing."""
    back_up(peopled, tmp_path / "b.backup")
    data = (tmp_path / "b.backup").read_bytes()
    generator = np.random.default_rng(4)
    for place in generator.integers(0, len(data), 12):
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises((BackupFormatError, BackupTamperedError, BackupKeyError)):
            restore_backup(io.BytesIO(bytes(changed)), tmp_path / "again", RECOVERY, clock=clock)
        assert not (tmp_path / "again").exists()


def test_attack_a_backup_of_a_strangers_making(peopled, tmp_path, clock):
    """Anybody can lock a backup for a recovery key; with the device's public key at hand a foreign one is refused."""
    back_up(peopled, tmp_path / "b.backup")
    device = VerifyKey.load(peopled.folder / "device.key.pub")
    stranger = SigningKey.generate()
    forged = rewritten(tmp_path / "b.backup", lambda e: e | {"device.key": stranger.to_pem()}, signer=stranger)
    with pytest.raises(BackupTamperedError, match=stranger.key_id):
        restore(forged, tmp_path / "again", clock=clock, maker=device)
    assert restore(tmp_path / "b.backup", tmp_path / "again", clock=clock, maker=device).device_key == device.key_id


def test_attack_the_device_key_is_exchanged(peopled, tmp_path, clock):
    """The key in a backup is the one that signed it, or nothing is restored."""
    back_up(peopled, tmp_path / "b.backup")
    original = SigningKey.load(peopled.folder / "device.key")
    forged = rewritten(
        tmp_path / "b.backup", lambda e: e | {"device.key": SigningKey.generate().to_pem()}, signer=original
    )
    with pytest.raises(BackupTamperedError, match="device key"):
        restore(forged, tmp_path / "again", clock=clock)


def line(data, number, change):
    """A table with another line."""
    lines = data.split(b"\n")
    lines[number] = json.dumps(change(json.loads(lines[number]))).encode()
    return b"\n".join(lines)


FORGERIES = (
    lambda e: {n: d for n, d in e.items() if n != "policy.json"},
    lambda e: {n: d for n, d in e.items() if n != "seal"},
    lambda e: {n: d for n, d in e.items() if not n.startswith("trust/")},
    lambda e: {n: d for n, d in e.items() if n != "table/report"},
    lambda e: {n: d for n, d in e.items() if n != "contents.json"},
    lambda e: dict(reversed(e.items())),
    lambda e: e | {"extra.json": b"{}"},
    lambda e: e | {"table/extra": b"[]\n"},
    lambda e: e | {"seal": b"short"},
    lambda e: e | {"contents.json": b"[]"},
    lambda e: e | {"contents.json": b"{"},
    lambda e: e | {"contents.json": b'{"schema": true, "rows": {}}'},
    lambda e: e | {"policy.json": bytes(70_000)},
    lambda e: e | {"table/person": b""},
    lambda e: e | {"table/person": b"{}\n"},
    lambda e: e | {"table/person": b'["id", "nonsense"]\n[1, 2]\n'},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: r[:-1])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: [*r[:2], 7, *r[3:]])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: [*r[:2], {"b": 7}, *r[3:]])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: [*r[:2], {"b": "AAAA"}, *r[3:]])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: ["x", *r[1:]])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: [r[0], "\ud800", *r[2:]])},
    lambda e: e | {"table/person": line(e["table/person"], 1, lambda r: [2**70, *r[1:]])},
    lambda e: e | {"table/sqlite_sequence": b'["name", "seq"]\n["person", 1180591620717411303424]\n'},
    lambda e: e | {"table/sqlite_sequence": b'["name"]\n["person"]\n'},
    lambda e: e | {"table/state": b'["id"]\n[1]\n'},
    lambda e: e | {"table/audit": line(e["table/audit"], 1, lambda r: [*r[:2], "reviewer", *r[3:]])},
    lambda e: e | {"gate.json": b"{}"},
    lambda e: e | {"gate.json": e["gate.json"].replace(b"door-1", b"door-2")},
    lambda e: e | {"policy.json": e["policy.json"].replace(b"0.001", b"1e-9")},
    lambda e: e | {"declaration.json": e["declaration.json"].replace(b"entrance", b"exits")},
    lambda e: e | {"device.key": b"none"},
    lambda e: e | {"device.key.pub": SigningKey.generate().verify_key.to_pem()},
    lambda e: e | {"table/setting": line(e["table/setting"], 1, lambda r: [*r[:2], "x"])},
    lambda e: e | {"bundle.fgb": b"none"},
)


def test_attack_a_backup_made_by_hand(peopled, tmp_path, clock):
    """Whatever somebody with the keys puts into a backup: an error of ours (never a bug), and no gate."""
    back_up(peopled, tmp_path / "b.backup")
    signer = SigningKey.load(peopled.folder / "device.key")
    before = sorted(tmp_path.iterdir())
    for number, change in enumerate(FORGERIES):
        forged = rewritten(tmp_path / "b.backup", change, signer=signer)
        with pytest.raises(FacegateError):
            pytest.fail(f"forgery {number} made {restore(forged, tmp_path / 'again', clock=clock)}")
        forged.unlink()
        assert sorted(tmp_path.iterdir()) == before


def test_a_newer_backup_asks_for_an_update(peopled, tmp_path, clock):
    """Tables of a newer version are not guessed at."""
    back_up(peopled, tmp_path / "b.backup")

    def newer(entries):
        contents = json.loads(entries["contents.json"]) | {"schema": 99}
        return entries | {"contents.json": json.dumps(contents).encode()}

    with pytest.raises(BackupFormatError, match="newer"):
        restore(rewritten(tmp_path / "b.backup", newer), tmp_path / "again", clock=clock)


def test_a_restored_gate_opens_like_any_other(peopled, tmp_path, clock, pipeline):
    """`open_gate` takes it, with the policy, the declaration and the bundle that it had."""
    back_up(peopled, tmp_path / "b.backup")
    restore(tmp_path / "b.backup", tmp_path / "again", clock=clock)
    with open_gate(tmp_path / "again", clock=clock, pipeline=pipeline) as gate, peopled.open() as old:
        assert gate.status().purpose == old.gate.status().purpose
        assert gate._core.policy == old.core.policy == Policy(fmr=1e-3)
        assert gate._core.bundle_id == old.core.bundle_id


@pytest.mark.parametrize("length", [128, 1024])
def test_the_rotation_of_long_templates_comes_back(length):
    """Its row is the largest of all, and grows with the square of a template's length: 6 MB for 1024 values."""
    store = Store.memory("door-1", "space", length)
    other = Sealer(new_secret(), store.gate_id)
    pieces = table_lines(store, "rotation", other, lambda _: None)
    columns, row = map(parse_row, split_lines(part for piece in pieces for part in (piece[:1000], piece[1000:])))
    values = {name: read_value(value) for name, value in zip(columns, row, strict=True)}
    again = Rotation.from_bytes(other.unseal(values["sealed"], rotation_place(values["id"])))
    assert again.to_bytes() == store.rotation.to_bytes()
    store.close()


def test_the_largest_rotation_that_there_can_be_fits_into_a_line():
    """Else there would be gates whose backups nobody can restore."""
    sealed = 12 + 24 + 4 * MAX_LENGTH**2 + 16
    assert sealed * 4 / 3 + 200 < _backup_rows._MAX_LINE


def test_attack_a_row_in_very_small_pieces():
    """Half a million pieces of one byte take no more time than their number asks for; a row without end is refused."""
    assert list(split_lines(b"x" for _ in range(500_000))) == [b"x" * 500_000]
    with pytest.raises(BackupFormatError, match="too large"):
        list(split_lines(bytes(1024 * 1024) for _ in range(1000)))
