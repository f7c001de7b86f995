"""`facegate models`: listing, showing, fetching and recognizing upstream models."""

from __future__ import annotations

import hashlib
import json

import pytest

from facegate.cli import main
from facegate_convert._catalogue import catalogue

from ...sdk.webhook_server import Authority, Server  # noqa: TID252
from .test_catalogue import entry_of
from .test_pull import DATA, serving


@pytest.fixture(autouse=True)
def nothing_accepted(monkeypatch):
    """No licence is accepted by the environment, and no proxy is used."""
    for name in ("FACEGATE_ACCEPT_LICENCES", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mirror(tmp_path):
    """A catalogue of one's own, its authority, and a server that has its model."""
    authority = Authority(tmp_path)
    with Server(serving(), authority.server_context()) as server:
        data = entry_of(url=server.url, size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps(data))
        yield ["--catalogue", str(path)], ["--ca", str(authority.path)], server


def run(capsys, *arguments):
    """(exit code, JSON) of a command."""
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_list(capsys):
    """All of them, one role, or only those for commercial use."""
    code, data = run(capsys, "models", "list")
    assert code == 0
    assert [model["name"] for model in data["models"]] == list(catalogue())
    _, detectors = run(capsys, "models", "list", "--role", "detector")
    assert {model["role"] for model in detectors["models"]} == {"detector"}
    _, free = run(capsys, "models", "list", "--commercial")
    assert {model["commercial_use"] for model in free["models"]} == {"yes"}
    assert main(["models", "list"]) == 0
    assert "COMMERCIAL" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(catalogue()))
def test_show(capsys, name):
    """Where a model is, its licence, and the command that converts it."""
    assert main(["models", "show", name]) == 0
    text = capsys.readouterr().out
    entry = catalogue()[name]
    assert entry.sha256 in text
    assert entry.licence.url in text
    assert "facegate convert" in text


def test_pull_and_verify(capsys, tmp_path, mirror):
    """From the server into a folder; the answer says what to do next, and `verify` knows the file again."""
    own, ca, _ = mirror
    folder = tmp_path / "models"
    code, data = run(capsys, "models", "pull", "NET-1", "-o", folder, "--accept-licence", "MIT", *own, *ca)
    assert code == 0
    assert data["models"][0]["command"][:3] == ["facegate", "convert", str(folder / "net.onnx")]
    assert (folder / "net.onnx").read_bytes() == DATA
    assert run(capsys, "models", "verify", folder / "net.onnx", *own)[1]["files"][0]["name"] == "net-1"


def test_licences_may_be_accepted_by_the_environment(capsys, tmp_path, mirror, monkeypatch):
    """For scripts: several, with commas between."""
    own, ca, _ = mirror
    monkeypatch.setenv("FACEGATE_ACCEPT_LICENCES", "apache-2.0, mit")
    assert run(capsys, "models", "pull", "net-1", "-o", tmp_path, *own, *ca)[0] == 0


def test_a_dry_run_fetches_nothing(capsys, tmp_path, mirror):
    """It says what would be fetched, and whether the licence is accepted."""
    own, ca, server = mirror
    code, data = run(capsys, "models", "pull", "net-1", "-o", tmp_path / "models", "--dry-run", *own, *ca)
    assert code == 0
    assert data["models"] == [{"name": "net-1", "size": len(DATA), "accepted": False}]
    assert not server.requests
    assert not (tmp_path / "models").exists()


def test_refusals(capsys, tmp_path, mirror):
    """An unaccepted licence, an unknown model, an unknown file: each its own error and exit code."""
    own, ca, server = mirror
    code, data = run(capsys, "models", "pull", "net-1", "-o", tmp_path, *own, *ca)
    assert (code, data["error"]["type"]) == (3, "LicenceError")
    assert not server.requests
    code, data = run(capsys, "models", "show", "net-2", *own)
    assert (code, data["error"]["type"]) == (3, "UnknownModelError")
    (tmp_path / "other.onnx").write_bytes(b"other")
    code, data = run(capsys, "models", "verify", tmp_path / "other.onnx")
    assert (code, data["files"][0]["name"]) == (1, None)
    code, data = run(capsys, "models", "verify", tmp_path / "absent.onnx")
    assert (code, data["error"]["type"]) == (3, "ModelFileError")
    assert main(["models", "pull", "--json"]) == 2
