"""The committed models, their figures and their cards agree; the command line. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.resources import files
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from facegate_convert._convert import Options, convert
from facegate_convert._families import recognize
from facegate_convert._graph import load_graph
from facegate_train import _card, _loop, cli
from facegate_train._seeds import TRAIN
from facegate_train.errors import MissingExtraError, TrainError

ROLES = ("detector", "recognizer", "liveness")
FAMILIES = {"detector": "yunet", "recognizer": "arcface", "liveness": "minifasnet"}
FOLDER = Path(str(files("facegate_convert") / "reference"))


@pytest.fixture(scope="module")
def figures():
    """What was measured of the committed models."""
    return json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))


def test_the_three_models_take_three_megabytes_at_most():
    """Together they are small enough to be part of the package."""
    sizes = {role: (FOLDER / f"{role}.onnx").stat().st_size for role in ROLES}
    assert sum(sizes.values()) <= 3_000_000


@pytest.mark.parametrize("role", ROLES)
def test_a_model_says_that_it_is_a_demonstration(role):
    """Its metadata carry the mark and the licence, its description says what it is not for."""
    model = onnx.load(FOLDER / f"{role}.onnx")
    marks = {entry.key: entry.value for entry in model.metadata_props}
    assert marks["facegate.demonstration"] == "true"
    assert marks["facegate.licence"] == "Apache-2.0"
    assert "not for people" in model.doc_string
    training = json.loads(marks["facegate.training"])
    assert training["command"].startswith(f"python -m facegate_train {role}")
    assert training["pictures"] > 1000


@pytest.mark.parametrize("role", ROLES)
def test_a_model_is_of_its_family_and_converts_without_flags(role):
    """The converter knows it from its graph alone, finds it marked, and XNNPACK takes it whole."""
    path = FOLDER / f"{role}.onnx"
    match = recognize(load_graph(path))
    assert (match.role, match.family) == (role, FAMILIES[role])
    found = convert(path, Options(measure_latency=False))
    assert found.report.partitions == 1
    assert found.info.provenance.demonstration


@pytest.mark.parametrize("role", ROLES)
def test_figures_are_of_the_committed_model(figures, role):
    """The figures name the very file that is committed, and were measured on all of the test pictures."""
    data = (FOLDER / f"{role}.onnx").read_bytes()
    assert figures["models"][role]["sha256"] == hashlib.sha256(data).hexdigest()
    assert figures["models"][role]["bytes"] == len(data)
    assert figures["share"] == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_card_is_what_its_figures_give(figures, role):
    """No figure in a model card was typed by hand."""
    assert (FOLDER / f"{role}.md").read_text(encoding="utf-8") == _card.card(role, figures["models"][role])


def test_the_recogniser_was_trained_on_training_identities(figures):
    """All identities that it was trained on are of the training split."""
    training = figures["models"]["recognizer"]["training"]
    assert training["identities"] <= TRAIN.width


# The command line


@pytest.mark.parametrize("command", ["detector", "recognizer", "liveness", "all", "evaluate", "render", "cards"])
def test_every_command_explains_itself(command):
    """`--help` says what a command does, without torch."""
    result = CliRunner().invoke(cli.main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_training_without_torch_says_what_to_install(monkeypatch, tmp_path):
    """The error names the extra, before anything is rendered."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="torch") as caught:
        _loop.require_torch()
    assert "facegate[train]" in caught.value.hint
    result = CliRunner().invoke(cli.main, ["detector", "--cache", str(tmp_path / "c")])
    assert isinstance(result.exception, MissingExtraError)
    assert not (tmp_path / "c").exists()


def test_measuring_a_model_that_is_not_there_says_how_to_train_it(tmp_path):
    """A missing file is an error with the command that makes it."""
    arguments = ["evaluate", "liveness", "-o", str(tmp_path), "--cache", str(tmp_path / "c")]
    result = CliRunner().invoke(cli.main, arguments)
    assert isinstance(result.exception, TrainError)
    assert "python -m facegate_train liveness" in result.exception.hint


def test_an_error_is_one_line_and_a_hint(monkeypatch, capsys, tmp_path):
    """The program ends with the error's exit code, its message and what to do."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "argv", ["facegate_train", "liveness", "--cache", str(tmp_path / "c")])
    with pytest.raises(SystemExit) as caught:
        cli.run()
    assert caught.value.code == 5
    assert capsys.readouterr().err.splitlines()[0].startswith("error: torch is not installed")
