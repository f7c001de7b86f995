"""The review pack of a gate: it tells of this very gate, names nobody, and is there whole and signed or not at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import stat
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import pytest

import facegate
from facegate._backup import FILES
from facegate._backup_rows import TABLES
from facegate._files import write_new
from facegate._pack._distributions import find_distributions
from facegate._pack._inventory import data_classes
from facegate._pack._make import pack_bundle
from facegate._pack._write import verify_pack, whole_or_no_pack
from facegate._store._schema import MIGRATIONS
from facegate.errors import ExportError, PackError, PackSignatureError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore

MEMBERS = {
    *("index.html", "pack.json", "data-flow.svg", "sbom.cdx.json", "controls.csv", "data-classes.csv"),
    *("licences.csv", "statement.jws"),
}
SIGNER = SigningKey.from_seed(bytes(range(32)))


@pytest.fixture(autouse=True)
def at_a_time(monkeypatch):
    """Packs of these tests say one time; what is installed is looked up once."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    monkeypatch.setattr("facegate._pack._facts.find_distributions", installed)


@functools.cache
def installed():
    """What is installed: it takes half a second to hash."""
    return find_distributions()


def read(path) -> dict[str, bytes]:
    """The files of a pack."""
    if path.is_dir():
        return {entry.name: entry.read_bytes() for entry in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def document(path):
    """The document of a pack."""
    return json.loads(read(path)["pack.json"])


def state(found, demand):
    """State and finding of a control."""
    (control,) = [c for c in found["controls"] if c["demand"] == demand]
    return control["state"], control["finding"]


@pytest.fixture
def device(gate_folder):
    """The public key of the gate's device."""
    return TrustStore.load(gate_folder.folder / "device.key.pub")


@pytest.fixture
def packed(gate_folder, tmp_path):
    """A pack of a gate, as its document, made anew each time."""

    def make(change=None, name="pack.zip", **options):
        with gate_folder.open() as roles:
            if change is not None:
                change(roles)
            return document(roles.officer.review_pack(tmp_path / name, **options))

    return make


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pack.zip", "pack"])
def test_a_pack_is_signed_by_the_device_and_its_owners_alone(gate_folder, device, tmp_path, name):
    """A ZIP, or a folder if the name does not end in .zip: every file 0600, the device's signature over all of them."""
    with gate_folder.open() as roles:
        path = roles.officer.review_pack(tmp_path / name)
    assert set(read(path)) == MEMBERS
    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    if path.is_dir():
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}
    else:
        with zipfile.ZipFile(path) as archive:
            assert {info.external_attr >> 16 for info in archive.infolist()} == {0o600}
    assert set(verify_pack(path, device)) == MEMBERS - {"statement.jws"}
    with pytest.raises(PackSignatureError):
        verify_pack(path, TrustStore([SigningKey.generate().verify_key]))


@pytest.mark.parametrize("damage", ["changed", "added", "removed", "unsigned", "pipe", "link", "folder"])
def test_attack_a_pack_that_was_improved(gate_folder, device, tmp_path, damage):
    """A control that was turned green, a file more or less, a signature that is gone: all are noticed."""
    with gate_folder.open() as roles:
        path = roles.officer.review_pack(tmp_path / "pack")
    page = path / "index.html"
    if damage == "changed":
        page.write_text(page.read_text().replace("not in force", "in force"))
    elif damage == "added":
        (path / "more.html").write_text("all is well")
    elif damage == "pipe":
        os.mkfifo(path / "more")
    elif damage == "link":
        page.rename(tmp_path / "index.html")
        page.symlink_to(tmp_path / "index.html")
    elif damage == "folder":
        (path / "more").mkdir()
    else:
        (page if damage == "removed" else path / "statement.jws").unlink()
    with pytest.raises(PackSignatureError):
        verify_pack(path, device)


def test_attack_another_archive_of_the_device(gate_folder, device, tmp_path):
    """A person's export is signed by the same key, and is no review pack."""
    from facegate._rights._archive import build_archive, write_archive  # noqa: PLC0415

    with gate_folder.open() as roles:
        core = roles.core
        data = build_archive({"person.json": b"{}"}, key=core.device, device="door-1", kind="person", time="2026")
    write_archive(tmp_path / "export.zip", data)
    with pytest.raises(PackSignatureError):
        verify_pack(tmp_path / "export.zip", device)


def test_the_same_gate_gives_the_same_bytes(gate_folder, tmp_path):
    """Packs of one gate, made at a time that was said, do not differ; not even in the signature."""
    made = []
    for number in range(2):
        with gate_folder.open() as roles:
            made.append(roles.officer.review_pack(tmp_path / f"{number}.zip").read_bytes())
    assert made[0] == made[1]
    assert document(tmp_path / "0.zip")["time"] == "2026-09-21T14:13:20Z"
    assert document(tmp_path / "0.zip")["time_source"] == "SOURCE_DATE_EPOCH"


def test_the_time_is_the_gates(packed, monkeypatch, clock):
    """Without SOURCE_DATE_EPOCH it is the time that the gate believes, and the pack says so; nonsense is refused."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    found = packed()
    assert found["time"] == f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
    assert found["time_source"] == "the gate's clock"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(PackError, match="SOURCE_DATE_EPOCH"):
        packed(name="again.zip")


def test_what_was_written_is_in_the_log(gate_folder, tmp_path):
    """The entry has the hash of the document: it can be shown later which pack was given out."""
    with gate_folder.open() as roles:
        path = roles.officer.review_pack(tmp_path / "pack.zip")
        (entry,) = roles.officer.audit_entries(action="review_pack_written")
    assert entry.role == "privacy_officer"
    assert entry.reference is None
    assert entry.details["pack"] == hashlib.sha256(read(path)["pack.json"]).hexdigest()


@pytest.mark.parametrize("name", ["pack.zip", "pack"])
def test_nothing_is_written_over(gate_folder, tmp_path, name):
    """What is there stays as it is, a file or a folder, an empty one too; the log has no entry."""
    path = tmp_path / name
    path.mkdir() if name == "pack" else path.write_text("mine")
    with gate_folder.open() as roles:
        with pytest.raises(ExportError, match="exists"):
            roles.officer.review_pack(path)
        assert roles.officer.audit_entries(action="review_pack_written") == ()
    assert path.is_dir() if name == "pack" else path.read_text() == "mine"


@pytest.mark.parametrize("name", ["pack.zip", "pack"])
def test_a_full_disk_leaves_nothing(gate_folder, tmp_path, monkeypatch, name):
    """No part of a pack and no entry in the log, whichever file the disk has no room for."""
    room = tmp_path / "room"
    room.mkdir()
    real, left = write_new, [3]

    def failing(path, pieces, mode=0o644):
        left[0] -= 1
        if name == "pack.zip" or left[0] == 0:
            real(path, [b"half"], mode)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, pieces, mode)

    monkeypatch.setattr("facegate._rights._archive.write_new", failing)
    monkeypatch.setattr("facegate._pack._write.write_new", failing)
    with gate_folder.open() as roles:
        with pytest.raises(ExportError, match="No space"):
            roles.officer.review_pack(room / name)
        assert roles.officer.audit_entries(action="review_pack_written") == ()
    assert list(room.iterdir()) == []


@pytest.mark.parametrize("name", ["pack.zip", "pack"])
def test_a_commit_that_fails_takes_the_pack_with_it(gate_folder, tmp_path, monkeypatch, name):
    """What the log does not know of is not given out."""
    with gate_folder.open() as roles:
        officer, db = roles.officer, roles.core.store.db
        real = type(db)._write_mark

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(type(db), "_write_mark", staticmethod(fail))
        with pytest.raises(Exception, match=r"space|full|written"):
            officer.review_pack(tmp_path / name)
        monkeypatch.setattr(type(db), "_write_mark", staticmethod(real))
    assert not (tmp_path / name).exists()


def test_what_was_there_before_stays_when_something_fails(tmp_path):
    """Only what the failed operation itself has made is removed."""
    (tmp_path / "kept").mkdir()
    with pytest.raises(RuntimeError), whole_or_no_pack(tmp_path / "kept"):
        raise RuntimeError
    assert (tmp_path / "kept").is_dir()


# --- nobody is in it -----------------------------------------------------------------------------------------------


def test_nobody_nothing_biometric_and_no_secret_is_in_it(gate_folder, shows, consent, tmp_path):
    """Every byte of a pack is searched for references, sealed and opened templates, keys, tokens and folders."""
    with gate_folder.open() as roles:
        for name, identity in (("alice-4711", 1), ("bob-0815", 2)):
            assert roles.enroller.enroll(name, [shows(identity), shows(identity)], consent).enrolled
        roles.enroller.make_group("night-shift")
        roles.enroller.join("night-shift", "alice-4711")
        assert roles.recognizer.identify(shows(1)).decision.subject == "alice-4711"
        roles.administrator.add_credential("enroller", "ms-miller")
        secrets = [b"alice-4711", b"bob-0815", b"night-shift", b"ms-miller", b"reception", b"fgc_"]
        db = roles.core.store.db
        secrets += [bytes(row[0]) for row in db.read("SELECT sealed FROM face")]
        secrets += [bytes(row[0]) for row in db.read("SELECT wrapped_key FROM person")]
        secrets += [match.encode() for (match,) in db.read("SELECT jws FROM decision")]
        path = roles.officer.review_pack(tmp_path / "pack")
        found = document(path)
    secrets += [(gate_folder.folder / name).read_bytes().strip() for name in ("seal.key", "device.key")]
    secrets += [bytes(str(tmp_path), "utf-8"), b"/home/", b"site-packages"]
    for name, data in read(path).items():
        for secret in secrets:
            assert secret not in data, (name, secret[:20])
        assert not re.search(rb"PNG|JFIF|data:image", data), name
    assert found["deployment"]["gate"]["counts"] | {"people": 2, "faces": 4} == found["deployment"]["gate"]["counts"]
    assert found["deployment"]["gate"]["waiting"] == 1


@pytest.mark.parametrize(
    "receiver",
    ["https://user:pw@host/hook", "/dev/ttyS0", "whsec_abc", "a@b.example", "two\nlines", "", " x", "x" * 101],
)
def test_receivers_are_names(gate_folder, tmp_path, receiver):
    """An address, a secret or a path does not go into a pack."""
    with gate_folder.open() as roles, pytest.raises(PackError, match="receiver"):
        roles.officer.review_pack(tmp_path / "pack.zip", receivers=[receiver])
    assert not (tmp_path / "pack.zip").exists()


def test_receivers_that_are_said_are_drawn(packed):
    """No gate knows who takes its decisions: whoever makes the pack says it, and it is in the diagram and the flows."""
    found = packed(receivers=["door controller"])
    assert found["deployment"]["gate"]["receivers"] == ["door controller"]
    assert any("door controller" in flow["when"] for flow in found["flows"])
    assert "not named" not in json.dumps(found["flows"])


# --- it tells of this gate -----------------------------------------------------------------------------------------


def test_every_table_and_every_file_of_a_gate_is_in_the_inventory(gate_folder):
    """Nothing is kept that is not told: the tables of the store's schema, the files that a gate's folder has."""
    from facegate._pack._facts import read_gate  # noqa: PLC0415

    with gate_folder.open() as roles:
        classes = data_classes(read_gate(roles.core, roles.core.now()))
    tables = {name for step in MIGRATIONS for name in re.findall(r"CREATE TABLE (\w+)", step)}
    assert {table for each in classes for table in each.tables} == tables
    files = {entry.name for entry in gate_folder.folder.iterdir()} - {
        "gate.db",
        "gate.db-wal",
        "gate.db-shm",
        "gate.db.lock",
    }
    assert {file for each in classes for file in each.files} == files


def test_what_a_backup_holds_is_said(packed):
    """Every table, every file that a backup has; not what is in memory only, and not the sealing key."""
    classes = packed()["data_classes"]
    assert {table for each in classes if each["in_backup"] for table in each["tables"]} == set(TABLES)
    assert {file for each in classes if each["in_backup"] for file in each["files"]} == {*FILES, "trust"}
    assert {each["name"] for each in classes if not each["in_backup"]} == {
        *("Pictures", "Captured faces", "Gallery in use", "Sealing key"),
    }


WAYS_OUT = {
    "_sinks/_http.py": "receivers",
    "_sinks/_json_lines.py": "receivers",
    "_sinks/_webhook.py": "receivers",
    "_privacy_officer.py": "person",
    "cli/_rights.py": "reviewers",  # certificates
    "_reviewer.py": "reviewers",
    "_pack/_write.py": "reviewers",
    "cli/_pack.py": "reviewers",
    "_backup.py": "backup",
}
# They write the gate's own files, its credentials beside it, or what the others above are given.
WITHIN = {
    *("_new_gate.py", "_restored_folder.py", "_store/_key_providers.py", "_gate_folder.py", "_credentials.py"),
    *("_files.py", "_rights/_archive.py", "_store/_files.py", "_store/_key_rotation.py"),
}
# It measures a machine, with a bundle and no gate: nothing of a gate's can be in what it writes.
NOT_OF_A_GATE = {"cli/_measurement.py"}


def test_every_way_out_of_the_device_is_in_the_diagram(packed):
    """Whatever in the code speaks to a network or makes a file is known here, and its flow is told to leave."""
    root = Path(facegate.__file__).parent
    speaks = re.compile(
        r"^\s*(?:import|from) (?:socket|ssl|http|urllib3?)\b"
        r"|write_archive\(|write_new\(|mkstemp|mkdtemp|write_(?:bytes|text)\("
        r"|\bO_(?:CREAT|EXCL)\b|\bopen\([^)]*\"[wax]b?\"",
        re.MULTILINE,
    )
    sources = [path for path in root.rglob("*.py") if "simulation" not in path.parts]
    files = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sources}
    assert {name for name, text in files.items() if speaks.search(text)} == WAYS_OUT.keys() | WITHIN | NOT_OF_A_GATE
    assert {flow["target"] for flow in packed()["flows"] if flow["leaves"]} == set(WAYS_OUT.values())


def test_the_inventory_has_the_periods_that_are_set(packed):
    """A changed setting is a changed inventory."""

    def change(roles):
        roles.administrator.set("people_preset", "bipa")
        roles.administrator.set("delivered_days", 7)
        roles.administrator.set("captured_seconds", 60)

    kept = {each["name"]: each["kept"] for each in packed(change)["data_classes"]}
    assert kept["Templates of people"].startswith("1,095 days after the last match (preset bipa)")
    assert kept["Decisions"].startswith("7 days")
    assert kept["Captured faces"] == "60 seconds"


def test_a_clock_that_is_not_believed_is_told(packed, clock):
    """Nothing is erased then: retention is not in force."""
    packed(name="before.zip")
    clock.moment = datetime(2020, 1, 1, tzinfo=timezone.utc)
    found = packed()
    assert state(found, "retention happens without anybody's doing")[0] == "not in force"
    assert "clock" in found["deployment"]["gate"]["marks"]


def test_requests_that_are_overdue_are_told(packed, clock):
    """How many, and not whose."""
    packed(lambda roles: roles.officer.open_request("access", "alice", checked_by="passport-seen"), name="before.zip")
    clock.wait(31 * 86_400)
    found = packed()
    demand = "an answer within a month, one extension with reasons, refusal with reasons"
    assert state(found, demand) == ("not in force", "1 of 1 open requests are overdue")


def test_nobody_who_reviews_is_told(packed):
    """Without a credential of the role there is no human oversight."""
    found = packed(lambda roles: roles.administrator.revoke_credential("reviewer"))
    assert state(found, "oversight is somebody's task and not anybody's")[0] == "not in force"
    assert state(found, "a person can decide instead of the gate")[0] == "not in force"
    assert state(found, "each may do only what is theirs to do")[0] == "partly"


def test_a_log_that_was_changed_is_told(gate_folder, tmp_path):
    """The pack checks the whole log, and says what it found, before it adds to it."""
    import sqlite3  # noqa: PLC0415

    with gate_folder.open():
        pass
    db = sqlite3.connect(gate_folder.folder / "gate.db")
    with db:
        db.execute("UPDATE audit SET action = 'nothing' WHERE seq = 2")
    db.close()
    with gate_folder.open() as roles:
        found = document(roles.officer.review_pack(tmp_path / "pack.zip"))
    assert state(found, "events are recorded and cannot be changed unseen")[0] == "not in force"


def test_where_the_sealing_key_is_and_whether_there_is_a_backup(gate_folder, tmp_path):
    """A file beside the store is no full protection; a path outside the gate's folder is not told."""
    from facegate import RecoveryKey  # noqa: PLC0415

    with gate_folder.open() as roles:
        first = document(roles.officer.review_pack(tmp_path / "1.zip"))
        roles.administrator.rotate_key(f"file:{tmp_path / 'elsewhere.key'}")
        roles.administrator.backup(tmp_path / "b.fgbackup", RecoveryKey.generate().public)
        second = document(roles.officer.review_pack(tmp_path / "2.zip"))
    assert state(first, "confidential") == (
        "partly", "the sealing key is in a file beside the store: who takes the whole device can open the templates"
    )  # fmt: skip
    assert "outside" in state(second, "confidential")[1]
    assert "elsewhere" not in json.dumps(second)
    assert state(first, "there is a backup")[0] == "not in force"
    assert state(second, "there is a backup") == ("in force", "the last one of 2026-03-01")


def test_a_gate_in_memory_has_no_pack(make_gate, tmp_path):
    """There is nothing on a disk that a reviewer could look at."""
    with pytest.raises(PackError, match="memory"):
        make_gate().officer.review_pack(tmp_path / "pack.zip")


def test_attack_a_bundle_that_was_exchanged_under_an_open_gate(gate_folder, make_manifest, model_bytes, tmp_path):
    """The pack tells of what runs: another file in its place is refused."""
    from facegate_convert._bundle_writer import write_bundle  # noqa: PLC0415

    with gate_folder.open() as roles:
        (gate_folder.folder / "bundle.fgb").unlink()
        manifest = make_manifest("detector", "recognizer", "liveness", name="better")
        write_bundle(gate_folder.folder / "bundle.fgb", manifest, model_bytes, SIGNER)
        with pytest.raises(PackError, match="another one"):
            roles.officer.review_pack(tmp_path / "pack.zip")


# --- a bundle alone ------------------------------------------------------------------------------------------------


def test_a_bundle_without_a_gate(bundle, tmp_path):
    """What depends on a gate is said to be unknown, nothing is signed, there is no diagram."""
    path = pack_bundle(bundle, tmp_path / "pack")
    assert set(read(path)) == MEMBERS - {"statement.jws", "data-flow.svg", "data-classes.csv"}
    found = document(path)
    assert found["about"] == "bundle"
    assert found["bundle"]["id"] == bundle.id
    assert state(found, "confidential")[0] == "not known"
    assert state(found, "models are those that somebody answers for")[0] == "in force"
    assert "is not signed" in read(path)["index.html"].decode()


def test_a_bundle_that_nobody_trusts_says_so(bundle_path, tmp_path):
    """Opened in development mode it can be packed; the control is not in force."""
    with open_bundle(bundle_path, development=True) as opened:
        found = document(pack_bundle(opened, tmp_path / "pack.zip"))
    assert state(found, "models are those that somebody answers for")[0] == "not in force"
