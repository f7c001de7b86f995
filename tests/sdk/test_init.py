"""`facegate init` and `open_gate`: a gate's folder and its credentials, whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facegate import (
    Credential,
    Declaration,
    Policy,
    QualityGate,
    SigningKey,
    TrustStore,
    open_bundle,
    open_gate,
    open_reference_bundle,
    reference_policy,
    verify_decision,
)
from facegate import _new_gate as making
from facegate import _reference as reference
from facegate._credentials import ROLES
from facegate._declaration import dump_declaration, parse_declaration
from facegate._gate_folder import read_info, write_info
from facegate._new_gate import create_gate
from facegate._policy_json import dump_policy, parse_policy
from facegate.cli import main
from facegate.errors import (
    BundleError,
    BundleReadError,
    DeclarationError,
    FacegateError,
    GateExistsError,
    GateFolderError,
    GateInUseError,
    GateWriteError,
    KeyPermissionError,
    MissingModelError,
    PolicyError,
    RoleError,
    SealKeyError,
    SealKeyMissingError,
    StoreError,
    StoreExistsError,
    StoreMissingError,
    SubjectError,
    UntrustedKeyError,
)
from facegate_convert._bundle_writer import write_bundle
from facegate_edge._keys import VerifyKey
from facegate_edge._timings import Timings

SIGNER = SigningKey.from_seed(bytes(range(32)))
STRANGER = SigningKey.from_seed(bytes(range(128, 160)))
FILES = [
    *("bundle.fgb", "declaration.json", "device.key", "device.key.pub", "gate.db", "gate.db.lock", "gate.json"),
    *("policy.json", "seal.key", "trust"),
]
CREDENTIALS = sorted(f"{role}.credential" for role in ROLES)
POLICY = Policy(fmr=1e-3)
DECLARATION = dataclasses.replace(
    Declaration.demonstration(), purpose="entrance", legal_basis="explicit_consent", place="Door of the office"
)


@pytest.fixture
def run(capsys):
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def call(*args):
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """Nothing of the caller's environment, and a folder of its own."""
    monkeypatch.delenv("FACEGATE_TRUST", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trust(tmp_path):
    """The signer's public key as a file."""
    path = tmp_path / "keys" / "signer.pub"
    path.parent.mkdir(mode=0o755)
    SIGNER.verify_key.save(path)
    return path


@pytest.fixture
def declared(trust):
    """A declaration's file."""
    path = trust.parent / "declaration.json"
    path.write_text(dump_declaration(DECLARATION))
    return path


@pytest.fixture
def own(bundle_path, trust, declared):
    """The options for a bundle of one's own."""
    return ("--bundle", bundle_path, "--trust", trust, "--declaration", declared)


@pytest.fixture
def made(tmp_path, bundle, clock):
    """Makes a gate's folder; returns it."""

    def make(name="gate", policy=POLICY, signers=(SIGNER,), **changes) -> Path:
        store = TrustStore([signer.verify_key for signer in signers])
        arguments = {"device_id": "door-1", "declaration": DECLARATION, "clock": clock} | changes
        create_gate(tmp_path / name, bundle, store, policy, **arguments)
        return tmp_path / name

    return make


@pytest.fixture
def engine(pipeline, monkeypatch):
    """A pipeline that sees what the test shows it, in the place of the real one."""
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, **__: pipeline)
    return pipeline


def role(gate, folder: Path, name: str):
    """A role of a gate, opened with the credential that `init` wrote."""
    return getattr(gate, name)(Credential.load(f"{folder}-credentials/{name}.credential"))


def left(folder: Path) -> list[str]:
    """What is in a folder, hidden things too."""
    return sorted(p.name for p in folder.iterdir())


# --- making --------------------------------------------------------------------------------------------------------


def test_init_makes_a_whole_gate(run, own, bundle_path, tmp_path):
    """Keys, bundle, trust, rules, declaration, store; only the owner may look in, and only the owner reads the keys."""
    code, out, _ = run("init", "gate", *own, "--fmr", "0.001", "--json")
    assert code == 0
    shown = json.loads(out)
    gate = tmp_path / "gate"
    assert left(gate) == FILES
    assert gate.stat().st_mode & 0o777 == 0o700
    for name in ("device.key", "seal.key", "gate.db"):
        assert (gate / name).stat().st_mode & 0o777 == 0o600
    assert (gate / "bundle.fgb").read_bytes() == bundle_path.read_bytes()
    assert left(gate / "trust") == [f"{SIGNER.key_id}.pub"]
    assert parse_policy((gate / "policy.json").read_bytes()) == POLICY
    assert shown["policy"] == POLICY.id
    assert shown["device_key"] == SigningKey.load(gate / "device.key").key_id
    assert VerifyKey.load(gate / "device.key.pub").key_id == shown["device_key"]
    about = json.loads((gate / "gate.json").read_text())
    assert (about["format"], about["device_id"], about["key"]) == (2, "gate", "file:seal.key")
    assert parse_declaration((gate / "declaration.json").read_bytes()) == DECLARATION
    assert (shown["declaration"], shown["purpose"]) == (DECLARATION.id, "entrance")
    assert left(tmp_path) == ["gate", "gate-credentials", "keys"]


def test_init_writes_one_credential_for_each_role(run, own, tmp_path):
    """Beside the gate, for their owner only, each another; the gate has no token in any of its files."""
    code, out, _ = run("init", "gate", *own, "--fmr", "0.001", "--json")
    assert code == 0
    folder = tmp_path / "gate-credentials"
    assert json.loads(out)["credentials"] == str(folder)
    assert left(folder) == CREDENTIALS
    assert folder.stat().st_mode & 0o777 == 0o700
    tokens = []
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        tokens.append(Credential.load(path).token)
        assert path.name == f"{Credential.load(path).role}.credential"
    assert len({token[-43:] for token in tokens}) == len(ROLES)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "gate").rglob("*") if path.is_file())
    assert not [token for token in tokens if token[-43:].encode() in everything or token[-43:] in out]


def test_the_credentials_may_go_elsewhere(run, own, tmp_path):
    """--credentials names their folder, which must not be the gate's, nor be in use."""
    assert run("init", "gate", *own, "--fmr", "0.001", "--credentials", "badges")[0] == 0
    assert left(tmp_path / "badges") == CREDENTIALS
    for place, problem in (
        ("other", "not kept in the gate"),
        ("other/badges", "not kept in the gate"),
        ("keys", "not empty"),
        ("absent/badges", "no folder"),
        ("badges", "holds credentials already"),
    ):
        code, _, err = run("init", "other", *own, "--fmr", "0.001", "--credentials", place)
        assert code == 3
        assert problem in err
        assert "hint:" in err
    assert left(tmp_path) == ["badges", "gate", "keys"]


def test_init_says_what_it_made_and_what_it_lacks(run, own):
    """The text names the keys, the rules, where the credentials are, that nobody is enrolled, and what passes."""
    code, out, _ = run("init", "gate", *own, "--fmr", "0.001")
    assert code == 0
    for word in (
        "made the gate gate",
        "device.key.pub",
        "FMR 0.001",
        "NOT checked",
        "none yet",
        "photograph",
        "seal.key",
        "gate-credentials",
    ):
        assert word in out
    assert "DEMONSTRATION" not in out


def test_liveness_is_required_by_naming_its_limits(run, own):
    """Both limits make the check a rule; one alone is refused, and no default is made up."""
    assert run("init", "gate", *own, "--fmr", "0.001", "--live-at", "0.9", "--spoof-at", "0.4")[0] == 0
    rules = parse_policy(Path("gate/policy.json").read_bytes())
    assert (rules.require_liveness, rules.live_at, rules.spoof_at) == (True, 0.9, 0.4)
    code, _, err = run("init", "other", *own, "--fmr", "0.001", "--live-at", "0.9")
    assert code == 3
    assert "both limits" in err
    assert not Path("other").exists()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("minors", [False, True])
def test_a_gate_that_may_enroll_minors_asks_for_it(made, clock, minors):
    """The declaration decides whether enrolling must say if the person is a minor."""
    folder = made(declaration=dataclasses.replace(DECLARATION, minors=minors))
    with open_gate(folder, clock=clock) as gate:
        assert role(gate, folder, "administrator").settings()["ask_age"] is minors


def test_rules_may_come_from_another_gate(run, own, tmp_path):
    """--policy takes a file, the options after it change single rules; a missing or broken file makes no gate."""
    rules = Policy(1e-4, quality=QualityGate(max_pitch=60), max_attempts=3)
    (tmp_path / "rules.json").write_text(dump_policy(rules))
    assert run("init", "gate", *own, "--policy", "rules.json", "--fmr", "0.001")[0] == 0
    assert parse_policy(Path("gate/policy.json").read_bytes()) == dataclasses.replace(rules, fmr=1e-3)
    (tmp_path / "rules.json").write_text("{}")
    (tmp_path / "large.json").write_text(" " * 70_000)
    for name in ("rules.json", "absent.json", "large.json", "keys"):
        code, _, err = run("init", "other", *own, "--policy", name)
        assert code == 3
        assert "hint:" in err
    assert not Path("other").exists()


def test_two_gates_have_two_keys(run, own):
    """The device's key is made for each gate, never shared, never guessed."""
    keys = [json.loads(run("init", name, *own, "--fmr", "0.001", "--json")[1])["device_key"] for name in "ab"]
    assert keys[0] != keys[1]


def test_an_empty_folder_may_be_there_already(run, own, tmp_path):
    """Who made the folder first is not told to remove it."""
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate-credentials").mkdir()
    assert run("init", "gate", *own, "--fmr", "0.001")[0] == 0
    assert left(tmp_path / "gate") == FILES
    assert left(tmp_path / "gate-credentials") == CREDENTIALS


def test_the_device_id_is_the_folders_name_or_given(run, own):
    """A folder whose name is no reference needs a device id of its own."""
    assert run("init", "a gate", *own, "--fmr", "0.001")[0] == 3
    assert not Path("a gate").exists()
    code, out, _ = run("init", "a gate", *own, "--fmr", "0.001", "--device-id", "door-7", "--json")
    assert (code, json.loads(out)["device_id"]) == (0, "door-7")


def test_dry_run_checks_everything_and_writes_nothing(run, own, tmp_path):
    """A dry run makes no key and no folder, and fails where the real one would."""
    before = left(tmp_path)
    code, out, _ = run("init", "gate", *own, "--fmr", "0.001", "--dry-run", "--json")
    assert (code, json.loads(out)["device_key"], json.loads(out)["dry_run"]) == (0, None, True)
    assert run("init", "gate", *own, "--fmr", "0.001", "--dry-run")[1].startswith("would make")
    assert run("init", "gate", *own, "--fmr", "1e-9", "--dry-run")[0] == 3
    assert left(tmp_path) == before


def test_the_copy_is_what_was_checked_not_the_file(tmp_path, bundle_path):
    """A bundle that is replaced between the check and the copy does not get into the gate."""
    mine = tmp_path / "mine.fgb"
    checked = bundle_path.read_bytes()
    mine.write_bytes(checked)
    store = TrustStore([SIGNER.verify_key])
    with open_bundle(mine, trust=store) as opened:
        mine.write_bytes(b"something else")
        create_gate(tmp_path / "gate", opened, store, POLICY, device_id="door-1", declaration=DECLARATION)
    assert (tmp_path / "gate/bundle.fgb").read_bytes() == checked


# --- refusing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"gate.json": "{}"}, {".hidden": ""}])
def test_a_folder_that_is_in_use_is_refused(run, own, tmp_path, content):
    """Nothing is overwritten or mixed with what is there; the advice tells a gate from anything else."""
    (tmp_path / "gate").mkdir()
    for name, text in content.items():
        (tmp_path / "gate" / name).write_text(text)
    code, _, err = run("init", "gate", *own, "--fmr", "0.001")
    assert code == 3
    assert ("a gate already" if "gate.json" in content else "not empty") in err
    assert "hint:" in err
    assert left(tmp_path / "gate") == sorted(content)
    assert left(tmp_path) == ["gate", "keys"]


def test_the_current_folder_is_refused(run, own, tmp_path, monkeypatch):
    """The shell that stands in it would stand in a folder that is gone; the advice is to name it from above."""
    (tmp_path / "gate").mkdir()
    monkeypatch.chdir(tmp_path / "gate")
    for name in (".", tmp_path / "gate"):
        code, _, err = run("init", name, *own, "--fmr", "0.001", "--device-id", "door-1")
        assert code == 3
        assert "the current folder" in err
        assert "above" in err
    assert left(tmp_path) == ["gate", "keys"]


def test_a_place_that_may_not_be_looked_at(run, own, tmp_path, monkeypatch):
    """No permission to see what is there is told as that, not as a crash."""

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_symlink", refused)
    code, _, err = run("init", "gate", *own, "--fmr", "0.001")
    assert code == 3
    assert "cannot be read: Permission denied" in err
    assert left(tmp_path) == ["keys"]


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_what_is_no_folder_is_refused(run, own, tmp_path, what):
    """A file and a link, wherever it leads, stay what they are."""
    if what == "file":
        (tmp_path / "gate").write_text("mine")
    else:
        (tmp_path / "gate").symlink_to("keys" if what == "link" else "nowhere")
    assert run("init", "gate", *own, "--fmr", "0.001")[0] == 3
    assert left(tmp_path) == ["gate", "keys"]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["absent/gate"], 3, "no folder"),
        (["gate", "--fmr", "1e-9"], 3, "no operating point"),
        (["gate", "--fmr", "2"], 3, "between 0 and 1"),
        (["gate", "--device-id", "../x"], 3, "no reference"),
        (["gate", "--demonstration"], 2, "choose one"),
    ],
)
def test_what_makes_no_gate_is_told_before_anything_is_written(run, own, tmp_path, arguments, code, problem):
    """Each mistake has its message and its hint, and leaves nothing."""
    found, _, err = run("init", *arguments, *own)
    assert found == code
    assert problem in err
    assert "hint:" in err
    assert left(tmp_path) == ["keys"]


def test_the_bundle_must_be_signed_by_somebody_trusted(run, bundle_path, trust, tmp_path, make_manifest, model_bytes):
    """Without --trust, with another's key, unsigned, damaged: no gate."""
    assert run("init", "gate", "--bundle", bundle_path)[0] == 2
    STRANGER.verify_key.save(tmp_path / "stranger.pub")
    assert run("init", "gate", "--bundle", bundle_path, "--trust", tmp_path / "stranger.pub")[0] == 4
    models = {role: model_bytes[role] for role in ("detector", "recognizer")}
    write_bundle(tmp_path / "unsigned.fgb", make_manifest(), models, None)
    assert run("init", "gate", "--bundle", tmp_path / "unsigned.fgb", "--trust", trust)[0] == 4
    damaged = bytearray(bundle_path.read_bytes())
    damaged[-300] ^= 1
    (tmp_path / "damaged.fgb").write_bytes(damaged)
    assert run("init", "gate", "--bundle", tmp_path / "damaged.fgb", "--trust", trust)[0] in (3, 4)
    assert not (tmp_path / "gate").exists()


def test_a_bundle_opened_in_development_makes_no_gate(tmp_path, bundle_path):
    """Development mode trusts nobody, so the gate could not open the bundle again."""
    with open_bundle(bundle_path, development=True) as opened, pytest.raises(GateFolderError, match="trusts"):
        create_gate(
            tmp_path / "gate",
            opened,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    with (
        open_bundle(bundle_path, trust=TrustStore([SIGNER.verify_key])) as opened,
        pytest.raises(GateFolderError, match="trusts"),
    ):
        create_gate(
            tmp_path / "gate",
            opened,
            TrustStore([STRANGER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    assert left(tmp_path) == []


def test_half_a_bundle_makes_no_gate(tmp_path, make_manifest, model_bytes):
    """A bundle of one model, or without the liveness model that the rules require, is refused."""
    store = TrustStore([SIGNER.verify_key])
    for roles, policy, error in (
        (("recognizer",), POLICY, MissingModelError),
        (("detector",), POLICY, MissingModelError),
        (("detector", "recognizer"), Policy(1e-3, require_liveness=True, live_at=0.9, spoof_at=0.1), PolicyError),
    ):
        path = tmp_path / "half.fgb"
        write_bundle(path, make_manifest(*roles), {role: model_bytes[role] for role in roles}, SIGNER)
        with open_bundle(path, trust=store) as opened, pytest.raises(error) as caught:
            create_gate(tmp_path / "gate", opened, store, policy, device_id="door-1", declaration=DECLARATION)
        assert caught.value.hint
    assert left(tmp_path) == ["half.fgb"]


WRITTEN = [
    *("gate.json", "policy.json", "declaration.json", "bundle.fgb", f"{SIGNER.key_id}.pub", "device.key", "seal.key"),
    *("recognizer.credential", "administrator.credential"),
]


@pytest.mark.parametrize("failing", WRITTEN)
def test_a_full_disk_leaves_nothing(tmp_path, bundle, monkeypatch, failing):
    """Whichever file does not fit, both folders and everything begun are gone again."""
    whole, seen = os.open, []

    def open_(path, flags, *mode, **more):
        if flags & os.O_CREAT and Path(path).name == failing:
            seen.append(path)
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", open_)
    with pytest.raises(FacegateError, match=r"No space left|disk is full") as caught:
        create_gate(
            tmp_path / "gate",
            bundle,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    assert seen
    assert caught.value.exit_code == 5
    assert left(tmp_path) == []


@pytest.mark.parametrize("step", ["save", "begin", "add_credential", "sync_folder"])
def test_an_interrupt_leaves_nothing(tmp_path, bundle, monkeypatch, step):
    """Ctrl-C while a key is made, while the store is filled, before the last step: neither folder is there."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    place = {"save": SigningKey, "begin": making.Audit}.get(step, making)
    monkeypatch.setattr(place, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_gate(
            tmp_path / "gate",
            bundle,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("step", "there"), [(0, []), (1, ["gate-credentials"]), (2, ["gate", "gate-credentials"]), (9, None)]
)
def test_a_process_that_is_killed_leaves_a_whole_gate_or_none(made, engine, clock, tmp_path, step, there):
    """Killed before the folders get their names, between the two, after both: never a gate that cannot be opened."""
    child = os.fork()
    if child == 0:
        rename, left_over = Path.rename, [step]

        def rename_or_die(path, target):
            if left_over[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left_over[0] -= 1
            return rename(path, target)

        Path.rename = rename_or_die
        try:
            made()
            if step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (there is not None)
    visible = [name for name in left(tmp_path) if not name.startswith(".")]
    assert visible == (there if there is not None else ["gate", "gate-credentials"])
    if "gate" in visible:
        with open_gate(tmp_path / "gate", clock=clock) as gate:
            assert role(gate, tmp_path / "gate", "recognizer").identify(engine.show()).decision.sequence == 1
    elif visible:
        with pytest.raises(GateExistsError, match="holds credentials already") as caught:
            made()
        assert "cut off" in caught.value.hint


def test_a_sealing_key_elsewhere_is_removed_if_the_gate_is_not_made(tmp_path, bundle, monkeypatch):
    """What was written outside the folder goes as well; what was there before stays."""
    monkeypatch.setattr(making.Audit, "begin", lambda *_, **__: 1 / 0)
    store = TrustStore([SIGNER.verify_key])
    key = f"file:{tmp_path / 'elsewhere.key'}"
    about = {"device_id": "door-1", "declaration": DECLARATION, "key": key}
    with pytest.raises(ZeroDivisionError):
        create_gate(tmp_path / "gate", bundle, store, POLICY, **about)
    assert left(tmp_path) == []
    (tmp_path / "elsewhere.key").write_text("somebody's")
    with pytest.raises(StoreExistsError):
        create_gate(tmp_path / "gate", bundle, store, POLICY, **about)
    assert (tmp_path / "elsewhere.key").read_text() == "somebody's"
    assert left(tmp_path) == ["elsewhere.key"]


def test_a_gate_that_may_not_reach_the_disk_is_not_made(tmp_path, bundle, monkeypatch):
    """If the last step, the parent folder's own sync, fails, nobody is told of a gate that a power cut may take."""

    def sync(directory):
        if Path(directory) == tmp_path:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(making, "sync_folder", sync)
    before = left(tmp_path)
    with pytest.raises(GateWriteError, match="Input/output error"):
        create_gate(
            tmp_path / "gate",
            bundle,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    assert left(tmp_path) == before


def test_whoever_was_faster_keeps_the_folder(tmp_path, bundle, monkeypatch):
    """A folder that fills up while the gate is being made is not replaced, and no credentials are left for it."""
    sync = making.sync_folder

    def meanwhile(directory):
        (tmp_path / "gate").mkdir(exist_ok=True)
        (tmp_path / "gate" / "mine").touch()
        sync(directory)

    monkeypatch.setattr(making, "sync_folder", meanwhile)
    with pytest.raises(GateExistsError):
        create_gate(
            tmp_path / "gate",
            bundle,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )
    assert left(tmp_path) == ["gate"]
    assert left(tmp_path / "gate") == ["mine"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path, bundle):
    """No permission is the environment's fault, and said so."""
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(GateWriteError, match="Permission denied"):
        create_gate(
            tmp_path / "closed/gate",
            bundle,
            TrustStore([SIGNER.verify_key]),
            POLICY,
            device_id="door-1",
            declaration=DECLARATION,
        )


# --- opening -------------------------------------------------------------------------------------------------------


def test_a_gate_is_opened_by_its_folder(made, engine, clock, consent, faces):
    """Enrolling, verifying and identifying work, signed by the gate's own key, by its rules, with its bundle."""
    person, _, _ = faces
    folder = made()
    with open_gate(folder, clock=clock) as gate:
        enroller, recognizer = role(gate, folder, "enroller"), role(gate, folder, "recognizer")
        assert enroller.enroll("p-1", [engine.show(person(1))], consent).enrolled
        signed = recognizer.identify(engine.show(person(1)))
        assert recognizer.verify("p-1", engine.show(person(2))).decision.outcome == "no_match"
    decision = verify_decision(signed.jws, VerifyKey.load(folder / "device.key.pub"))
    assert (decision.outcome, decision.subject, decision.device) == ("match", "p-1", "door-1")
    assert (decision.policy, decision.declaration, decision.marks) == (POLICY.id, DECLARATION.id, ())
    assert engine.closed


def test_what_an_operator_hands_in_reaches_the_pipeline(made, pipeline, monkeypatch):
    """Timings that were given to `open_gate` are those of the pipeline that it makes."""
    given = []
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, *, timings: given.append(timings) or pipeline)
    timings = Timings()
    with open_gate(made(), timings=timings):
        assert given == [timings]


@pytest.mark.usefixtures("engine")
def test_a_gate_that_was_made_without_a_umask_opens(run, own, tmp_path, clock):
    """A service that starts with umask 0 gets no file that others may write, and so a gate that opens."""
    before = os.umask(0)
    try:
        assert run("init", "gate", *own, "--fmr", "0.001")[0] == 0
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "gate").rglob("*") if path.is_file()]
    assert len(files) == len(FILES)
    assert not any(path.stat().st_mode & 0o022 for path in files)
    open_gate(tmp_path / "gate", clock=clock).close()


def test_people_are_kept(made, engine, clock, consent, faces):
    """Opened again, the gate knows who was enrolled; decisions are numbered on; everything else stays as it was."""
    person, _, _ = faces
    folder = made()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith("gate.db")}
    with open_gate(folder, clock=clock) as gate:
        role(gate, folder, "enroller").enroll("p-1", [engine.show(person(1))], consent)
        assert role(gate, folder, "recognizer").identify(engine.show(person(1))).decision.sequence == 1
    clock.restart()
    with open_gate(folder, clock=clock) as gate:
        assert [info.reference for info in role(gate, folder, "enroller").people()] == ["p-1"]
        decision = role(gate, folder, "recognizer").identify(engine.show(person(1))).decision
        assert (decision.sequence, decision.subject) == (2, "p-1")
    assert {p: p.read_bytes() for p in before} == before
    assert left(folder) == FILES


def test_each_role_has_a_credential_that_opens_no_other(made, clock, engine):
    """What `init` wrote opens its role; another role's, another gate's, none at all open nothing."""
    folder, other = made(), made("other")
    with open_gate(folder, clock=clock) as gate:
        for name in ROLES:
            assert role(gate, folder, name)
        credential = Credential.load("gate-credentials/enroller.credential")
        foreign = Credential.load(f"{other}-credentials/recognizer.credential")
        for wrong in (credential, foreign, Credential.new("recognizer"), None):
            with pytest.raises(RoleError):
                gate.recognizer(wrong)
    assert engine.calls == []


@pytest.mark.usefixtures("engine")
def test_one_process_at_a_time_has_a_gate_open(made, clock):
    """Two would number their decisions alike: the second is told, and the first goes on."""
    folder = made()
    with open_gate(folder, clock=clock) as gate:
        with pytest.raises(GateInUseError) as caught:
            open_gate(folder, clock=clock)
        assert caught.value.hint
        assert gate.status().people == 0


# --- the sealing key -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_the_sealing_key_comes_from_where_it_was_said(made, clock, tmp_path, monkeypatch):
    """A file elsewhere, the environment, a credential of systemd: nothing of it in the gate's folder."""
    secret = "A" * 43
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "seal").write_text(secret)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "systemd"))
    for name, key in (
        ("a", f"file:{tmp_path}/elsewhere.key"),
        ("b", "environment:SEAL"),
        ("c", "credential:seal"),
    ):
        monkeypatch.setenv("SEAL", secret)
        folder = made(name, key=key)
        assert left(folder) == [file for file in FILES if file != "seal.key"]
        assert read_info(folder).key == key
        monkeypatch.setenv("SEAL", secret)
        open_gate(folder, clock=clock).close()
        assert "SEAL" not in os.environ or name != "b"
        with pytest.raises(StoreError):
            open_gate(folder, key="file:absent", clock=clock)


@pytest.mark.usefixtures("engine")
def test_a_key_that_is_given_takes_the_place_of_the_named_one(made, clock, tmp_path):
    """A copy of the key opens the gate; another key does not, and gate.json stays as it was."""
    folder, other = made(), made("other")
    before = (folder / "gate.json").read_bytes()
    (folder / "seal.key").rename(tmp_path / "safe.key")
    open_gate(folder, key=f"file:{tmp_path}/safe.key", clock=clock).close()
    with pytest.raises(SealKeyError):
        open_gate(folder, key=f"file:{other}/seal.key", clock=clock)
    assert (folder / "gate.json").read_bytes() == before


@pytest.mark.usefixtures("engine")
def test_attack_the_store_of_another_gate(made, clock):
    """Another gate's store, with its key, is noticed: its people consented to another gate's purpose."""
    folder = made()
    other = made("other", device_id="door-2", declaration=dataclasses.replace(DECLARATION, purpose="canteen"))
    for name in ("gate.db", "seal.key"):
        (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(GateFolderError, match="another device"):
        open_gate(folder, clock=clock)


@pytest.mark.parametrize(
    "key", ["", "seal.key", "file:", "usb:1", "environment:", "environment:A B", "credential:../x"]
)
def test_a_provider_that_is_none_makes_no_gate(run, own, tmp_path, key):
    """What names no place for the key is refused before anything is written; a dry run refuses it too."""
    for more in ((), ("--dry-run",)):
        code, _, err = run("init", "gate", *own, "--fmr", "0.001", "--key", key, *more)
        assert code in (3, 4)
        assert "hint:" in err
    assert left(tmp_path) == ["keys"]


def test_a_key_that_is_not_there_makes_no_gate(run, own, tmp_path, monkeypatch):
    """A provider that keeps no secret itself must have one: an empty environment makes no gate."""
    monkeypatch.delenv("SEAL", raising=False)
    assert run("init", "gate", *own, "--fmr", "0.001", "--key", "environment:SEAL")[0] != 0
    monkeypatch.setenv("SEAL", "too short")
    assert run("init", "gate", *own, "--fmr", "0.001", "--key", "environment:SEAL")[0] != 0
    assert left(tmp_path) == ["keys"]


@pytest.mark.usefixtures("engine")
def test_a_new_place_of_the_key_is_noted_in_one_step(made, clock, monkeypatch):
    """gate.json is replaced whole or not at all."""
    folder = made()
    before = read_info(folder)
    with monkeypatch.context() as broken:
        broken.setattr("facegate._gate_folder.write_new", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
        with pytest.raises(GateWriteError, match="No space"):
            write_info(folder, dataclasses.replace(before, key="file:other"))
    assert read_info(folder) == before
    write_info(folder, dataclasses.replace(before, key="file:../gate/seal.key"))
    open_gate(folder, clock=clock).close()
    assert left(folder) == FILES


# --- the declaration -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_attack_another_purpose_than_people_agreed_to(made, clock):
    """A declaration that was edited, also one as good as the first, does not open the gate."""
    folder = made()
    path = folder / "declaration.json"
    path.chmod(0o644)
    for purpose in ("canteen", "entrance "):
        document = json.loads(path.read_text()) | {"purpose": purpose}
        path.write_text(json.dumps(document))
        with pytest.raises(DeclarationError):
            open_gate(folder, clock=clock)
    path.write_text(json.dumps(json.loads(dump_declaration(DECLARATION))))  # other spaces, the same answers
    open_gate(folder, clock=clock).close()


def test_a_gate_for_people_declares_what_it_is_for(run, bundle_path, trust, tmp_path):
    """Without --declaration, with a broken or a blank one: no gate, and how to get one is told."""
    real = ("--bundle", bundle_path, "--trust", trust, "--fmr", "0.001")
    code, _, err = run("init", "gate", *real)
    assert code == 2
    assert "--print-declaration" in err
    assert run("init", "gate", *real, "--purpose", "entrance")[0] == 2
    (tmp_path / "blank.json").write_text(run("init", "--print-declaration")[1])
    (tmp_path / "demo.json").write_text(dump_declaration(Declaration.demonstration()))
    for name in ("blank.json", "demo.json", "absent.json", "keys"):
        code, _, err = run("init", "gate", *real, "--declaration", name)
        assert code == 3
        assert "hint:" in err
    assert left(tmp_path) == ["blank.json", "demo.json", "keys"]


def test_a_declaration_is_printed_to_be_filled_in(run):
    """It makes nothing and needs no folder; with --json the questions are there too, wherever it stands."""
    code, out, _ = run("init", "--print-declaration")
    assert code == 0
    assert json.loads(out)["covert"] is None
    for arguments in (("--print-declaration", "--json"), ("--json", "--print-declaration")):
        shown = json.loads(run("init", *arguments)[1])
        assert shown["declaration"].keys() - {"format"} == shown["questions"].keys()
    assert run("init")[0] == 2


@pytest.mark.parametrize(
    ("purpose", "rule"),
    [
        ("Covert surveillance of the yard", "covert_surveillance"),
        ("Emotion analytics", "emotion_inference"),
        ("Gender statistics", "gender_inference"),
        ("Body-worn cameras of the police", "law_enforcement_mobile_camera"),
    ],
)
def test_a_prohibited_purpose_makes_no_gate(run, own, tmp_path, purpose, rule):
    """It is refused by name, in a file and beside it, for a demonstration too, in a dry run too."""
    for more in (own, (*own, "--dry-run"), ("--demonstration",)):
        code, out, _ = run("init", "gate", *more, "--purpose", purpose, "--json")
        assert code == 3
        error = json.loads(out)["error"]
        assert error["type"] == "ProhibitedPurposeError"
        assert rule in error["message"]
    assert left(tmp_path) == ["keys"]


def test_the_purpose_of_a_file_may_be_another(run, own):
    """--purpose takes the place of the one in the file, and of a demonstration's."""
    shown = json.loads(run("init", "gate", *own, "--fmr", "0.001", "--purpose", "canteen", "--json")[1])
    assert shown["purpose"] == "canteen"
    assert parse_declaration(Path("gate/declaration.json").read_bytes()).purpose == "canteen"


def test_rules_are_edited_in_their_file(made, engine, clock):
    """An edited rule counts from the next opening on, and changes the policy that decisions name."""
    folder = made()
    document = json.loads((folder / "policy.json").read_text())
    document["max_attempts"] = 3
    (folder / "policy.json").write_text(json.dumps(document))
    with open_gate(folder, clock=clock) as gate:
        recognizer = role(gate, folder, "recognizer")
        assert recognizer.identify(engine.show()).decision.policy == dataclasses.replace(POLICY, max_attempts=3).id


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *[(name, GateFolderError) for name in ("gate.json", "policy.json", "declaration.json")],
        *[("device.key", FacegateError), ("bundle.fgb", BundleReadError)],
        *[("gate.db", StoreMissingError), ("seal.key", SealKeyMissingError)],
    ],
)
@pytest.mark.usefixtures("engine")
def test_a_missing_file_is_named(made, name, error):
    """Whichever file is gone, the error has advice."""
    folder = made()
    (folder / name).unlink()
    with pytest.raises(error) as caught:
        open_gate(folder)
    assert caught.value.hint
    assert str(folder) in str(caught.value)


@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize("where", ["absent", "keys", "file"])
def test_what_is_no_gate(tmp_path, where):
    """A folder that is absent, another folder, a file: how to make a gate is said."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(GateFolderError, match="there is no gate") as caught:
        open_gate(tmp_path / where)
    assert "facegate init" in caught.value.hint


def info(**changes) -> str:
    """A gate.json with changes."""
    whole = {"format": 2, "device_id": "a", "created": "", "facegate": "", "key": "file:seal.key"}
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[]", "format"),
        ("[" * 5000, "not JSON"),
        ('{"format": true}', "format"),
        ('{"format": 3, "new": 1}', "format 3, this version reads 2"),
        ('{"format": 1, "device_id": "a", "created": "", "facegate": ""}', "format 1, which kept nobody"),
        ('{"format": 2}', "fields"),
        (info(device_id="a b"), "value"),
        (info(created=1), "value"),
        (info(key=None), "value"),
        (info(key="file:" + "x" * 2000), "value"),
        (info(x=1), "fields"),
        (" " * 70000, "too large"),
    ],
)
def test_a_damaged_or_newer_gate_is_refused(made, text, problem):
    """gate.json is read strictly; a newer format says update."""
    folder = made()
    (folder / "gate.json").write_text(text)
    with pytest.raises(GateFolderError, match=problem) as caught:
        open_gate(folder)
    assert caught.value.hint


def test_attack_another_bundle_in_the_gate(made, make_manifest, model_bytes):
    """A bundle of a signer whom the gate does not trust, and a changed one, are not run."""
    folder = made()
    models = {role: model_bytes[role] for role in ("detector", "recognizer")}
    write_bundle(folder / "bundle.fgb", make_manifest(), models, STRANGER)
    with pytest.raises(UntrustedKeyError):
        open_gate(folder)
    folder = made("other")
    data = bytearray((folder / "bundle.fgb").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "bundle.fgb").write_bytes(data)
    with pytest.raises(BundleError):
        open_gate(folder)


def test_attack_a_key_that_others_can_read(made):
    """A device's key whose mode was loosened is not used."""
    folder = made()
    (folder / "device.key").chmod(0o640)
    with pytest.raises(KeyPermissionError):
        open_gate(folder)


def test_a_protected_key_needs_its_passphrase(made, engine, clock):
    """Who protects the device's key with a passphrase gives it when the gate is opened."""
    folder = made()
    key = SigningKey.load(folder / "device.key")
    (folder / "device.key").unlink()
    secret = "correct horse"  # noqa: S105 - of this test
    key.save(folder / "device.key", secret)
    with pytest.raises(FacegateError, match="passphrase"):
        open_gate(folder)
    with open_gate(folder, passphrase=secret, clock=clock) as gate:
        assert verify_decision(role(gate, folder, "recognizer").identify(engine.show()).jws, key.verify_key)


# --- the rules' file -----------------------------------------------------------------------------------------------


def test_policies_survive_their_file():
    """Every rule is written and read back, to the same id."""
    policy = Policy(0.01, 0.4, QualityGate(max_yaw=20), False, True, 0.9, 0.1, 3, 10, 20.5)
    assert parse_policy(dump_policy(policy)) == policy
    assert parse_policy(dump_policy(policy)).id == policy.id


def rules(**changes) -> str:
    """The default rules as JSON with changes; None of a name removes it."""
    document = json.loads(dump_policy(Policy()))
    for name, value in changes.items():
        document.pop(name) if value is None else document.update({name: value})
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        (rules(fmr=None), "lacks the rule 'fmr'"),
        (rules(require_liveness=None), "lacks the rule 'require_liveness'"),
        (rules(quality=None), "lacks the rule 'quality'"),
        (rules(quality={}), "quality lacks"),
        (rules(quality=3), "quality is not"),
        (rules(fmmr=0.1), "'fmmr'"),
        (rules(fmr="low"), "fmr must be a number"),
        (rules(fmr=float("nan")), "fmr must be a number"),
        (rules(max_attempts=True), "max_attempts"),
        (rules(lockout_seconds=10**400), "lockout_seconds must be a number"),
        (rules(quality=json.loads(rules())["quality"] | {"max_yaw": -(10**400)}), "quality limits must be numbers"),
        ('{"fmr": 0.1, "fmr": 0.2}', "twice"),
    ],
)
def test_rules_that_got_lost_or_misspelled_are_refused(text, problem):
    """A missing line turns no check off, and a misspelled one is not passed over."""
    with pytest.raises(PolicyError, match=problem):
        parse_policy(text)


# --- the reference bundle ------------------------------------------------------------------------------------------


def test_without_a_terminal_a_demonstration_is_asked_for_by_name(run, tmp_path):
    """No bundle, nobody to ask: nothing is made, and both ways are told."""
    code, _, err = run("init", "gate")
    assert code == 2
    for word in ("--bundle", "--demonstration", "rendered faces only"):
        assert word in err
    assert run("init", "gate", "--json")[0] == 2
    assert left(tmp_path) == []


def test_an_installation_without_a_reference_bundle_says_so(run, tmp_path, monkeypatch):
    """Its absence is told, with what to do instead."""
    for name in ("BUNDLE", "KEY", "POLICY"):
        monkeypatch.setattr(reference, name, tmp_path / "absent")
    for function in (open_reference_bundle, reference_policy):
        with pytest.raises(BundleReadError, match="no reference bundle") as caught:
            function()
        assert caught.value.hint
    assert run("init", "gate", "--demonstration")[0] == 3
    assert left(tmp_path) == []


def test_a_reference_bundle_without_its_key_is_none(tmp_path, monkeypatch):
    """Half an installation is told as one that has none, with what to do."""
    (tmp_path / "bundle").touch()
    monkeypatch.setattr(reference, "BUNDLE", tmp_path / "bundle")
    monkeypatch.setattr(reference, "KEY", tmp_path / "absent")
    with pytest.raises(BundleReadError, match="no reference bundle") as caught:
        open_reference_bundle()
    assert caught.value.hint


def doctor(run):
    """Exit code, and what doctor says of the reference bundle."""
    code, out, _ = run("doctor", "--json")
    return code, next(c for c in json.loads(out)["checks"] if c["name"] == "reference bundle")


def test_doctor_says_what_the_reference_bundle_is(run):
    """It is there, intact, and for demonstrations only."""
    code, check = doctor(run)
    assert (code, check["status"]) == (0, "ok")
    assert "demonstrations only" in check["value"]


def test_doctor_misses_the_reference_bundle_and_goes_on(run, tmp_path, monkeypatch):
    """A machine without it runs gates all the same."""
    monkeypatch.setattr(reference, "BUNDLE", tmp_path / "absent")
    code, check = doctor(run)
    assert (code, check["status"]) == (0, "warning")
    assert check["advice"]


@pytest.mark.parametrize(("answer", "code", "there"), [("y\n", 0, True), ("n\n", 1, False), ("\n", 1, False)])
def test_at_a_terminal_it_asks(tmp_path, answer, code, there):
    """It says what the reference bundle is, and takes silence for no."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "facegate", "init", "gate"]
    streams = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **streams) as process:  # noqa: S603 - our own command
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, err
    assert b"rendered faces only" in err
    assert (b"made the gate" in out) == there
    assert (tmp_path / "gate").exists() == there


TEXTS = ("Entrance", "Door 2", "Example Ltd", "privacy desk", "explicit_consent", "a sign at the door", "a badge")


@pytest.mark.parametrize(("covert", "code"), [("n", 0), ("y", 3)])
def test_at_a_terminal_it_asks_what_the_gate_is_for(tmp_path, own, covert, code):
    """Every question is asked, none has an answer by default; a prohibited answer makes no gate."""
    ours, theirs = pty.openpty()
    real = [str(word) for word in own[:4]]
    command = [sys.executable, "-m", "facegate", "init", "gate", "--fmr", "0.001", *real]
    answers = [*TEXTS, "n", "n", "n", "n", "", covert, *"nnnnnnn"]  # the empty one is asked again
    streams = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **streams) as process:  # noqa: S603 - our own command
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        _, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, err
    if code:
        assert b"covert_surveillance" in err
        assert left(tmp_path) == ["keys"]
    else:
        made = parse_declaration((tmp_path / "gate/declaration.json").read_bytes())
        assert (made.purpose, made.place, made.legal_basis, made.covert) == (
            "Entrance",
            "Door 2",
            "explicit_consent",
            False,
        )


def test_an_answer_that_is_no_text(tmp_path, own):
    """What a terminal of another encoding sends makes no gate, and the error says what to do."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "facegate", "init", "gate", "--fmr", "0.001", *map(str, own[:4])]
    streams = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    utf8 = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    with subprocess.Popen(command, cwd=tmp_path, env=utf8, **streams) as process:  # noqa: S603 - our own command
        os.write(ours, "Zutritt zum Büro\n".encode("latin-1"))
        _, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 3, err
    assert b"UTF-8" in err
    assert left(tmp_path) == ["keys"]


def test_the_reference_bundle_is_a_demonstration(run):
    """Small, signed, verified with the packaged key, complete, marked; and so is every decision of a gate with it."""
    import numpy as np  # noqa: PLC0415 - for this test only

    from facegate import Frame  # noqa: PLC0415

    assert reference.BUNDLE.stat().st_size < 1_500_000
    with open_reference_bundle() as bundle:
        assert bundle.trusted
        assert bundle.manifest.demonstration
        assert {m.role for m in bundle.manifest.models} == {"detector", "recognizer", "liveness"}
        assert {m.provenance.licence for m in bundle.manifest.models} == {"Apache-2.0"}
        assert {m.precision for m in bundle.manifest.models} == {"int8"}
        point = reference_policy().operating_point(bundle.manifest)
        assert point is not None
        assert point.dataset
        assert point.fmr_upper <= 2 * point.fmr
    assert reference_policy().require_liveness
    code, out, _ = run("init", "gate", "--demonstration")
    assert code == 0
    assert "FOR DEMONSTRATIONS ONLY" in out
    with open_gate("gate") as gate:
        recognizer = role(gate, Path("gate"), "recognizer")
        assert recognizer.identify(Frame(np.zeros((480, 640, 3), np.uint8))).decision.marks == ("demonstration",)
        assert gate.status().purpose == "demonstration"


def test_the_device_id_of_code_is_checked_too(tmp_path, bundle):
    """The functions behind the command check what the command checks."""
    with pytest.raises(SubjectError):
        create_gate(
            tmp_path / "gate", bundle, TrustStore([SIGNER.verify_key]), POLICY, device_id="a b", declaration=DECLARATION
        )


def test_attack_a_demonstrations_bundle_is_exchanged(tmp_path, bundle_path, clock, pipeline):
    """Nobody declared what that gate is for: with a bundle that recognizes people it does not open."""
    with open_reference_bundle() as rendered:
        declared = {"device_id": "door-1", "declaration": Declaration.demonstration(), "clock": clock}
        create_gate(tmp_path / "gate", rendered, TrustStore.load(reference.KEY), reference_policy(), **declared)
    (tmp_path / "gate" / "bundle.fgb").write_bytes(bundle_path.read_bytes())
    SIGNER.verify_key.save(tmp_path / "gate" / "trust" / "mine.pub")  # as somebody would who may write there
    with pytest.raises(DeclarationError, match="recognizes people") as caught:
        open_gate(tmp_path / "gate", clock=clock, pipeline=pipeline)
    assert caught.value.hint


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_attack_a_gates_folder_that_everybody_may_change(gate_folder, mode):
    """Somebody else could put another policy, a link, or a note of a rotation there: it is not opened."""
    gate_folder.folder.chmod(mode)
    with pytest.raises(GateFolderError, match="every user") as caught, gate_folder.open():
        pass
    assert "chmod 700" in caught.value.hint
    gate_folder.folder.chmod(0o755)
    with gate_folder.open():
        pass
