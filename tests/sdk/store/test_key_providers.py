"""Where the sealing secret comes from; what each provider refuses."""

from __future__ import annotations

import os

import pytest

from facegate._store._key_providers import (
    CredentialKey,
    EnvironmentKey,
    FileKey,
    SavableKey,
    SealKey,
    new_secret,
    parse_provider,
)
from facegate._store._tpm import TpmKey
from facegate.errors import SealKeyError, SealKeyMissingError, StoreExistsError, StoreWriteError
from facegate_edge._keys import b64url_encode


@pytest.fixture
def secret():
    """A new secret."""
    return new_secret()


@pytest.fixture
def key(tmp_path):
    """A file that is not there yet."""
    return FileKey(tmp_path / "seal.key")


def test_secrets_are_random():
    """32 bytes, others each time."""
    assert len({bytes(new_secret()) for _ in range(100)}) == 100
    assert len(new_secret()) == 32


def test_a_file_keeps_a_secret(key, secret):
    """0600 from its first byte, as base64url; what comes back can be wiped by its reader."""
    key.save(secret)
    loaded = key.load()
    assert isinstance(loaded, bytearray)
    assert loaded == secret
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert key.path.read_text() == b64url_encode(bytes(secret)) + "\n"


def test_a_key_is_never_overwritten(key, secret):
    """Whoever saves twice is told, and the first one stays."""
    key.save(secret)
    with pytest.raises(StoreExistsError) as caught:
        key.save(new_secret())
    assert caught.value.hint
    assert key.load() == secret


def test_a_file_that_is_missing_is_told(key, tmp_path):
    """Its own error, with what to do about it."""
    for missing in (key, FileKey(tmp_path / "no" / "folder")):
        with pytest.raises(SealKeyMissingError) as caught:
            missing.load()
        assert caught.value.hint
    with pytest.raises(StoreWriteError):
        FileKey(tmp_path / "no" / "folder").save(new_secret())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_use_is_refused(key, secret, mode):
    """Readable or writable by group or others; the hint names the remedy."""
    key.save(secret)
    key.path.chmod(mode)
    with pytest.raises(SealKeyError, match=f"{mode:04o}") as caught:
        key.load()
    assert "chmod 600" in caught.value.hint


def test_what_is_no_file_is_refused(key, secret, tmp_path):
    """A link, a folder, a named pipe: none is followed or waited for."""
    key.save(secret)
    (tmp_path / "link").symlink_to(key.path)
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "folder", "pipe"):
        with pytest.raises(SealKeyError):
            FileKey(tmp_path / name).load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(key, secret):
    """They could read the secret whenever they want."""
    key.save(secret)
    os.chown(key.path, 12345, 12345)
    with pytest.raises(SealKeyError, match="another user"):
        key.load()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short", b"A" * 42, b"A" * 44, b"A" * 43 + b"=", b"\xff" * 43, b"*" * 43, b"A" * 9000]
)
def test_what_is_no_secret_is_refused(key, content):
    """Damaged, cut short, too long, no base64url; the error does not repeat it."""
    key.path.write_bytes(content)
    key.path.chmod(0o600)
    with pytest.raises(SealKeyError) as caught:
        key.load()
    assert not content.strip() or content.decode("latin-1").strip() not in str(caught.value)


def test_one_secret_takes_the_place_of_another(key, secret):
    """Staged beside it, then promoted; the old one's bytes are overwritten, not only unlinked."""
    key.save(secret)
    second = new_secret()
    with key.path.open("rb") as old:
        key.stage(second)
        assert key.load() == secret
        assert key.staged() == second
        key.promote()
        assert set(old.read()) == {0}
    assert key.load() == second
    assert key.staged() is None
    assert key.path.stat().st_mode & 0o777 == 0o600


def test_a_staged_secret_can_be_discarded(key, secret):
    """The present one stays; staging again replaces what was staged; discarding nothing is no error."""
    key.save(secret)
    key.stage(new_secret())
    third = new_secret()
    key.stage(third)
    assert key.staged() == third
    key.discard()
    key.discard()
    assert key.staged() is None
    assert key.load() == secret


def test_a_removed_key_is_gone(key, secret):
    """Overwritten, then removed."""
    key.save(secret)
    assert key.exists()
    with key.path.open("rb") as old:
        key.remove()
        assert set(old.read()) == {0}
    assert not key.exists()
    key.remove()


@pytest.mark.parametrize("content", [b"My thesis, the only copy.\n", b"A" * 5000, b'{"format": 1}\n'])
def test_only_a_sealing_key_is_destroyed(key, content):
    """Names of providers stand in plain files of the gate's folder: another file must not go by such a name."""
    key.path.write_bytes(content)
    key._next.write_bytes(content)
    for destroy in (key.remove, key.discard, key.promote):
        with pytest.raises(SealKeyError, match="no sealing key"):
            destroy()
    assert key.path.read_bytes() == key._next.read_bytes() == content


@pytest.mark.parametrize("content", [b"", bytes(44), b"A" * 43])
def test_what_is_left_of_a_sealing_key_is_destroyed(key, content):
    """A write that was cut short, or a file that was overwritten before."""
    key.path.write_bytes(content)
    key.remove()
    assert not key.exists()


def test_the_environment_gives_a_secret_once(monkeypatch, secret):
    """It is removed from there: no child process and no later look finds it."""
    monkeypatch.setenv("GATE_KEY", b64url_encode(bytes(secret)))
    key = EnvironmentKey("GATE_KEY")
    assert key.load() == secret
    assert "GATE_KEY" not in os.environ
    with pytest.raises(SealKeyMissingError, match="GATE_KEY"):
        key.load()


def test_an_environment_with_something_else_is_refused(monkeypatch):
    """Its value is in no error."""
    monkeypatch.setenv("GATE_KEY", "not-a-key")
    with pytest.raises(SealKeyError) as caught:
        EnvironmentKey("GATE_KEY").load()
    assert "not-a-key" not in str(caught.value)


@pytest.mark.parametrize("raw", [True, False])
def test_systemd_gives_a_secret(monkeypatch, tmp_path, secret, raw):
    """As base64url or as 32 bytes, from the folder that it names."""
    (tmp_path / "facegate").write_bytes(bytes(secret) if raw else b64url_encode(bytes(secret)).encode())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert CredentialKey("facegate").load() == secret


def test_a_credential_that_systemd_does_not_give_is_told(monkeypatch, tmp_path):
    """No service of systemd, no such credential, or one that is no secret."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SealKeyMissingError, match="systemd"):
        CredentialKey("facegate").load()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SealKeyMissingError) as caught:
        CredentialKey("facegate").load()
    assert "LoadCredentialEncrypted=facegate" in caught.value.hint
    (tmp_path / "facegate").write_bytes(b"something else")
    with pytest.raises(SealKeyError):
        CredentialKey("facegate").load()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("file:seal.key", FileKey),
        ("file:/etc/facegate/seal.key", FileKey),
        ("environment:FACEGATE_SEAL_KEY", EnvironmentKey),
        ("credential:facegate-seal", CredentialKey),
        ("tpm:seal.tpm", TpmKey),
    ],
)
def test_a_provider_is_spelled_as_a_text(tmp_path, text, kind):
    """And says its name as it was spelled; a relative path is one of the gate's folder."""
    provider = parse_provider(text, folder=tmp_path)
    assert type(provider) is kind
    assert isinstance(provider, SealKey)
    assert isinstance(provider, SavableKey) == issubclass(kind, FileKey)
    assert provider.name == text
    assert repr(provider) == f"{kind.__name__}({text if issubclass(kind, FileKey) else text.partition(':')[2]})"


def test_a_relative_path_is_of_the_folder(tmp_path):
    """An absolute one is what it is."""
    assert parse_provider("file:seal.key", folder=tmp_path).path == tmp_path / "seal.key"
    assert parse_provider("file:/etc/seal.key", folder=tmp_path).path.as_posix() == "/etc/seal.key"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file",
        "file:",
        "seal.key",
        "vault:x",
        "environment:",
        "environment:a b",
        "credential:../x",
        "tpm:\0",
        "file:a\nb",
        "file:a\x1b[0m",
    ],
)
def test_what_is_no_provider_is_refused(text):
    """The hint says what is one."""
    with pytest.raises(SealKeyError) as caught:
        parse_provider(text)
    assert "file:PATH" in caught.value.hint
