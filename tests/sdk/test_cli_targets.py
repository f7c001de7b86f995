"""A bundle that was built for another kind of machine, as commands show it."""

from __future__ import annotations

import json

import pytest

from facegate import SigningKey
from facegate.cli import main
from facegate_convert._bundle_writer import write_bundle
from facegate_edge import Pipeline, TargetError, TrustStore, _doctor, _targets, open_bundle
from facegate_edge._machine import MachineFacts

SIGNER = SigningKey.from_seed(bytes(range(32)))
PI4 = MachineFacts("aarch64", "aarch64", "Cortex-A72", ("neon",), "Raspberry Pi 4 Model B", (), "rpi4", 4, 3793)


@pytest.fixture
def on_a_pi(monkeypatch):
    """As if on a Raspberry Pi 4."""
    monkeypatch.setattr(_targets, "this_machine", lambda: PI4)
    monkeypatch.setattr(_doctor, "this_machine", lambda: PI4)


@pytest.fixture
def run(capsys, on_a_pi):  # noqa: ARG001 - it is where the command runs
    """Runs the command line on a Raspberry Pi 4; returns exit code, stdout and stderr."""

    def call(*args):
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def built_for(tmp_path, make_manifest, model_bytes):
    """A function: target -> a signed bundle that says it was built for it, and its signer's public key."""

    def build(name):
        path, key = tmp_path / f"{name}.fgb", tmp_path / "signer.pub"
        write_bundle(path, make_manifest("detector", "recognizer", "liveness", target=name), model_bytes, SIGNER)
        if not key.exists():
            SIGNER.verify_key.save(key)
        return path, key

    return build


@pytest.mark.parametrize(
    ("name", "verdict", "line"),
    [
        ("generic", "yes", "built for any machine (generic)"),
        ("rpi4", "yes", "built for Raspberry Pi 4 (rpi4)"),
        ("rpi5", "warn", "not quite for this machine: the processor lacks fp16 and dotprod"),
        ("x86_64", "refuse", "NOT FOR THIS MACHINE: this system is aarch64, not x86_64"),
        ("board-of-2030", "warn", "built for board-of-2030 (board-of-2030)"),
    ],
)
def test_verify_and_inspect_say_what_a_bundle_was_built_for(run, built_for, name, verdict, line):
    """A bundle for another machine is verified all the same: its signature and hashes are as good there."""
    path, key = built_for(name)
    for command in (("bundle", "verify", path, "--trust", key), ("bundle", "inspect", path)):
        code, out, _ = run(*command)
        assert code == 0
        assert line in out
        assert ("--target" in out or "update" in out) == (verdict != "yes")
        shown = json.loads(run(*command, "--json")[1])["target"]
        assert (shown["name"], shown["verdict"]) == (name, verdict)
        assert bool(shown["reasons"]) == bool(shown["hint"]) == (verdict != "yes")


@pytest.mark.parametrize(("name", "code"), [("generic", 0), ("rpi4", 0), ("rpi5", 0), ("x86_64", 5)])
def test_verify_here_fails_where_a_gate_would_refuse(run, built_for, name, code):
    """`--here` is for the device: exit 5 with the reason and a hint, in text and as JSON."""
    path, key = built_for(name)
    assert run("bundle", "verify", path, "--trust", key, "--here")[0] == code
    shown = json.loads(run("bundle", "verify", path, "--trust", key, "--here", "--json")[1])
    assert ("error" in shown) == (code == 5)
    if code:
        assert shown["error"]["type"] == "TargetError"
        assert "--target rpi4" in shown["error"]["hint"]


def test_doctor_looks_at_a_bundle_too(run, built_for):
    """With --bundle the diagnosis says whether a gate would take it."""
    code, out, _ = run("doctor", "--bundle", built_for("rpi4")[0])
    assert "target            rpi4 (Raspberry Pi 4 Model B)" in out
    assert "built for rpi4, which fits this machine" in out
    assert code == 0
    assert run("doctor", "--bundle", built_for("rpi5")[0])[0] == 0
    code, out, _ = run("doctor", "--bundle", built_for("x86_64")[0])
    assert code == 5
    assert "PROBLEM bundle" in out
    assert run("doctor", "--bundle", "nothing.fgb")[0] == 3
    assert run("doctor", "--bundle", built_for("rpi4")[1])[0] == 3


def test_bench_measures_foreign_bundles_only_if_told_to(run, built_for):
    """The build host measures what it built for others with --any-machine; else exit 5."""
    path, key = built_for("x86_64")
    code, _, err = run("bench", path, "--trust", key)
    assert code == 5
    assert "a PC with AVX2" in err
    # Its models are no models: that is how far it gets.
    assert run("bench", path, "--trust", key, "--any-machine")[0] == 3


def test_init_says_that_a_gate_will_not_open_here(run, built_for, tmp_path):
    """A gate can be made for another machine, on a build host; that it cannot run here is told."""
    path, key = built_for("x86_64")
    blank = json.loads(run("init", "--print-declaration")[1])
    declaration = tmp_path / "declaration.json"
    texts = {name: "entrance" for name, value in blank.items() if value == ""}
    answers = {name: False for name, value in blank.items() if value is None}
    declaration.write_text(json.dumps(blank | texts | answers | {"legal_basis": "explicit_consent"}))
    common = ("init", tmp_path / "gate", "--bundle", path, "--trust", key, "--declaration", declaration, "--dry-run")
    code, out, err = run(*common)
    assert code == 0, err
    assert "NOT FOR THIS MACHINE" in out
    assert json.loads(run(*common, "--json")[1])["bundle"]["target"]["verdict"] == "refuse"


@pytest.mark.usefixtures("on_a_pi")
def test_a_gate_refuses_models_for_another_machine(built_for):
    """What opens a gate with its models makes a pipeline of its bundle, which refuses."""
    path, _ = built_for("x86_64")
    with (
        open_bundle(path, trust=TrustStore([SIGNER.verify_key])) as bundle,
        pytest.raises(TargetError, match="this system is aarch64, not x86_64"),
    ):
        Pipeline(bundle)


@pytest.mark.parametrize(
    ("facts", "code", "verdict"),
    [
        (PI4, 1, "refuse"),
        (MachineFacts("x86_64", "x86_64", features=("avx2", "fma")), 0, "yes"),
        (MachineFacts("x86_64", "x86_64", features=("sse4",)), 0, "warn"),
    ],
)
def test_gate_status_tells(gate_commands, monkeypatch, facts, code, verdict):
    """Exit 1 where the gate cannot open its models; a warning is shown and no more."""
    from facegate._core import GateCore  # noqa: PLC0415 - only here

    monkeypatch.setattr(_targets, "this_machine", lambda: facts)
    original = GateCore.__init__

    def built_for_a_pc(self, bundle, *args, **kwargs):
        original(self, bundle, *args, **kwargs)
        object.__setattr__(self.manifest, "target", "x86_64")

    monkeypatch.setattr(GateCore, "__init__", built_for_a_pc)
    found = gate_commands.json("gate", "status", code=code)
    assert found["target"] == "x86_64"
    assert found["machine"]["verdict"] == verdict
    status, out, _ = gate_commands("gate", "status")
    assert status == code
    assert ("achine " in out or "MACHINE " in out) == (verdict != "yes")
