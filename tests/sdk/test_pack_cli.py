"""`facegate report pack`, `sbom` and `verify` as somebody types them."""

from __future__ import annotations

import io
import json

import pytest

from facegate import open_gate
from facegate_edge._keys import SigningKey

SIGNER = SigningKey.from_seed(bytes(range(32)))


@pytest.fixture
def signer(tmp_path):
    """The public key of the bundle's signer."""
    path = tmp_path / "signer.pub"
    SIGNER.verify_key.save(path)
    return path


def test_a_pack_of_a_gate_and_its_check(gate_commands):
    """It is written, says what is not in force, and is verified with the device's public key."""
    run = gate_commands
    made = run.json("report", "pack", "-o", "pack.zip", "--receiver", "door controller")
    assert made["about"] == "gate"
    assert any("require_liveness" in line for line in made["not_in_force"])
    assert sum(made["controls"].values()) > 80
    found = run.json("report", "verify", "pack.zip", "--key", run.folder / "device.key.pub")
    assert (found["device"], found["controls"]) == ("door-1", made["controls"])
    code, out, err = run("report", "pack", "-o", "folder")
    assert (code, err) == (0, "")
    assert "NOT IN FORCE: presentation attacks are rejected" in out
    code, out, _ = run("report", "verify", "folder", "--key", run.folder / "device.key.pub")
    assert code == 0
    assert "as the device door-1 signed it" in out
    shown = run.json("audit", "show", "--action", "review_pack_written")["entries"]
    assert [entry["role"] for entry in shown] == ["privacy_officer"] * 2


def test_a_pack_of_a_bundle_needs_no_gate_and_no_credential(gate_commands, bundle_path, signer, monkeypatch):
    """Also where FACEGATE_GATE names one: --bundle is asked for by name."""
    run = gate_commands
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    made = run.json("report", "pack", "-o", "pack.zip", "--bundle", bundle_path, "--trust", signer)
    assert (made["about"], made["signed_by"]) == ("bundle", None)
    assert run("report", "verify", "pack.zip", "--key", signer)[0] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "p.zip", "--gate", "x", "--bundle", "y"], "a gate has its own bundle"),
        (["-o", "p.zip", "--trust", "y"], "are for --bundle"),
        (["-o", "p.zip", "--development"], "are for --bundle"),
        (["-o", "p.zip", "--bundle", "y"], "--trust"),
        (["-o", "p.zip", "--bundle", "y", "--development", "--receiver", "x"], "--receiver is for a gate"),
        ([], "--output"),
    ],
)
def test_wrong_command_lines(gate_commands, arguments, said):
    """Exit 2, and what was meant."""
    code, out, err = gate_commands("report", "pack", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_without_a_gate_or_a_bundle(gate_commands, monkeypatch):
    """It is said that one of them is needed."""
    monkeypatch.delenv("FACEGATE_GATE")
    code, _, err = gate_commands("report", "pack", "-o", "p.zip")
    assert code == 2
    assert "--gate DIR" in err


def test_failures_have_their_exit_codes(gate_commands):
    """An evaluation that is none: 3. A name that is taken: 5. A pack that was changed: 4. None leaves a file."""
    run = gate_commands
    (run.room / "result.json").write_text("{}")
    code, out, err = run("report", "pack", "-o", "pack.zip", "--evaluation", "result.json")
    assert (code, out) == (3, "")
    assert "evaluation" in err
    assert "hint:" in err
    code, _, err = run("report", "pack", "-o", "pack.zip", "--evaluation", "nowhere")
    assert code == 3
    code, _, err = run("report", "pack", "-o", "pack.zip", "--receiver", "https://a/b")
    assert code == 3
    assert not (run.room / "pack.zip").exists()
    (run.room / "pack.zip").write_text("mine")
    assert run("report", "pack", "-o", "pack.zip")[0] == 5
    assert (run.room / "pack.zip").read_text() == "mine"
    assert run("report", "pack", "-o", "none/pack.zip")[0] == 5
    assert run("report", "pack", "-o", "none/pack")[0] == 5
    assert run("report", "verify", "pack.zip", "--key", run.folder / "device.key.pub")[0] == 4
    assert run("report", "verify", "gone", "--key", run.folder / "device.key.pub")[0] == 4


def test_a_gate_that_is_in_use(gate_commands, pipeline):
    """As for every command on a gate: the program that has it open makes the pack itself."""
    run = gate_commands
    with open_gate(run.folder, pipeline=pipeline):
        code, out, err = run("report", "pack", "-o", "pack.zip")
    assert (code, out) == (5, "")
    assert "another process" in err or "in use" in err


def test_a_bill_of_materials(gate_commands, bundle_path, signer, monkeypatch):
    """Printed or written, with a bundle's models or without; a name that is taken is refused."""
    run = gate_commands
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    code, out, err = run("report", "sbom")
    assert (code, err) == (0, "")
    plain = json.loads(out)
    assert plain["metadata"]["timestamp"] == "2026-09-21T14:13:20Z"
    assert not any(c["type"] == "machine-learning-model" for c in plain["components"])
    assert run.json("report", "sbom")["sbom"] == plain
    made = run.json("report", "sbom", "-o", "sbom.json", "--bundle", bundle_path, "--trust", signer)
    written = json.loads((run.room / "sbom.json").read_text())
    assert made["components"] == len(written["components"]) == len(plain["components"]) + 4
    assert run("report", "sbom", "-o", "sbom.json")[0] == 5
    assert run("report", "sbom", "-o", "none/sbom.json")[0] == 5
    assert run("report", "sbom", "--bundle", bundle_path)[0] == 2
    assert run("report", "sbom", "--bundle", "gone.fgb", "--development")[0] == 3
