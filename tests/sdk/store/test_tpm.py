"""A sealing secret in a TPM 2.0, against a software TPM (swtpm) on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time

import pytest

from facegate._store import _tpm
from facegate._store._key_providers import new_secret, parse_provider
from facegate._store._tpm import TpmKey
from facegate.errors import SealKeyError, SealKeyMissingError, StoreExistsError


def free_ports() -> tuple[int, int]:
    """Two neighboring ports on which nobody listens: swtpm's, and its control's."""
    for port in range(23210, 23310, 2):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1
    pytest.fail("no free ports for a software TPM")


@pytest.fixture(scope="module")
def make_tpm(tmp_path_factory):
    """Starts software TPMs, each a chip of its own; gives the way to it."""
    swtpm = shutil.which("swtpm")
    if swtpm is None:
        pytest.skip("no software TPM (Debian: swtpm)")
    pytest.importorskip("tpm2_pytss", reason="tpm2-pytss (extra `tpm`) or libtss2 is not installed")
    started = []

    def start() -> str:
        state = tmp_path_factory.mktemp("tpm")
        port, control = free_ports()
        command = [swtpm, "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"]
        command += ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1"]
        command += ["--ctrl", f"type=tcp,port={control},bindaddr=127.0.0.1"]
        started.append(subprocess.Popen(command))  # noqa: S603 - found above
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", control)) == 0:
                    return f"swtpm:host=127.0.0.1,port={port}"
            time.sleep(0.05)
        pytest.fail("the software TPM did not start")

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def chip(make_tpm):
    """One machine's TPM."""
    return make_tpm()


@pytest.fixture(scope="module")
def other_chip(make_tpm, chip):  # noqa: ARG001 - the ports are taken in turn
    """Another machine's."""
    return make_tpm()


def test_the_chip_that_sealed_it_opens_it(tmp_path, chip):
    """The file holds no byte of the secret, is 0600, and is never overwritten."""
    secret = new_secret()
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    key.save(secret)
    assert key.load() == secret
    assert bytes(secret) not in key.path.read_bytes()
    assert key.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreExistsError):
        key.save(new_secret())


def test_another_machines_chip_does_not(tmp_path, chip, other_chip):
    """A stolen file is of no use elsewhere."""
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    key.save(new_secret())
    with pytest.raises(SealKeyError, match="does not open") as caught:
        TpmKey(key.path, tcti=other_chip).load()
    assert "recovery key" in caught.value.hint


def test_one_secret_takes_the_place_of_another(tmp_path, chip):
    """As with a file."""
    first, second = new_secret(), new_secret()
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    key.save(first)
    key.stage(second)
    assert (key.load(), key.staged()) == (first, second)
    key.promote()
    assert (key.load(), key.staged()) == (second, None)


def test_nothing_is_left_in_the_chip(tmp_path, chip):
    """A chip has room for three objects: what is loaded is given back each time."""
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    key.save(new_secret())
    for _ in range(8):
        key.load()


@pytest.mark.parametrize("part", ["private", "public", "format"])
def test_a_damaged_file_is_refused(tmp_path, chip, part):
    """Whichever part of it is damaged."""
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    key.save(new_secret())
    content = json.loads(key.path.read_text())
    value = content[part]
    if isinstance(value, int):
        content[part] = value + 1
    else:
        content[part] = value[:30] + ("B" if value[30] == "A" else "A") + value[31:]
    key.path.write_text(json.dumps(content))
    with pytest.raises(SealKeyError):
        key.load()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1, "private": 2, "public": "AA"}', b"\xff\xfe"])
def test_what_is_no_sealed_key_is_refused(tmp_path, content):
    """Before any chip is asked."""
    path = tmp_path / "seal.tpm"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealKeyError):
        TpmKey(path, tcti="swtpm:host=127.0.0.1,port=1").load()


def test_a_missing_file_and_a_missing_chip_are_told(tmp_path, chip):
    """Each with what to do about it."""
    key = TpmKey(tmp_path / "seal.tpm", tcti=chip)
    with pytest.raises(SealKeyMissingError):
        key.load()
    key.save(new_secret())
    with pytest.raises(SealKeyMissingError, match="TPM cannot be used") as caught:
        TpmKey(key.path, tcti="swtpm:host=127.0.0.1,port=1").load()
    assert "FACEGATE_TPM" in caught.value.hint


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    """A device that needs no TPM installs none of it."""
    monkeypatch.setitem(__import__("sys").modules, "tpm2_pytss", None)
    with pytest.raises(SealKeyMissingError) as caught:
        TpmKey(tmp_path / "seal.tpm").save(new_secret())
    assert "facegate[tpm]" in caught.value.hint
    assert not (tmp_path / "seal.tpm").exists()


def test_the_environment_says_how_the_chip_is_reached(tmp_path, chip, monkeypatch):
    """For devices whose TPM is not at the usual place."""
    monkeypatch.setenv(_tpm.TCTI_VARIABLE, chip)
    key = parse_provider("tpm:seal.tpm", folder=tmp_path)
    assert isinstance(key, TpmKey)
    key.save(new_secret())
    assert len(key.load()) == 32
