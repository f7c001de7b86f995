"""The maker's own program: what is taken, and what must not leave the build host."""

from __future__ import annotations

import os

import pytest

from facegate._credentials import Credential
from facegate_convert._package import _app
from facegate_convert._package._app import read_app
from facegate_convert.errors import AppError, SecretFileError
from facegate_edge._keys import SigningKey


@pytest.fixture
def folder(tmp_path):
    """A program's folder."""
    made = tmp_path / "program"
    (made / "data").mkdir(parents=True)
    (made / "__main__.py").write_text("print(1)\n")
    (made / "data" / "sounds.json").write_text("{}\n")
    return made


def test_a_program_is_taken_as_it_is(folder):
    """Every file, by its name, sorted; what Python compiled is left out."""
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    assert [(m.path, m.payload) for m in read_app(folder)] == [
        ("app/__main__.py", b"print(1)\n"),
        ("app/data/sounds.json", b"{}\n"),
    ]


def test_a_package_in_the_folder_is_a_program(tmp_path):
    """One package with a __main__.py is run as `-m package`; two, or none, say nothing."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    with pytest.raises(AppError, match="no program"):
        read_app(tmp_path)
    (tmp_path / "one" / "__main__.py").write_text("")
    assert "app/one/__main__.py" in {m.path for m in read_app(tmp_path)}
    (tmp_path / "two" / "__main__.py").write_text("")
    with pytest.raises(AppError, match="no program"):
        read_app(tmp_path)


def test_the_command_takes_it_instead_of_the_terminal(command, folder, tmp_path):
    """The package runs the maker's program, and holds no terminal."""
    code, data = command(f"--app={folder}", f"--output={tmp_path / 'door.pyz'}")
    assert (code, data["package"]["app"]) == (0, "own")
    names = {part["name"] for part in data["parts"]}
    assert "program" in names
    assert "terminal" not in names


def test_the_package_is_not_written_into_the_program(command, folder):
    """The next one would hold it."""
    code, data = command(f"--app={folder}", f"--output={folder / 'door.pyz'}")
    assert (code, data["error"]["type"]) == (2, "UsageError")


@pytest.mark.parametrize(
    "name",
    ["device.key", "recognizer.credential", "gate.db", "gate.db-wal", "gate.json", "server.pem", "id_ed25519", ".env",
     "sink.TOKEN", "passphrase.txt", "data.sqlite", "webhook.secret", "delivery.env", "seal.cred", "id_ed25519_sk",
     "maker.key.bak", "maker.key~", "maker.pem.old.1", "putty.ppk", "apple.p8", "secrets.toml", "credentials.json",
     "aws_credentials", "db-password.txt"],
)  # fmt: skip
def test_secrets_are_refused_by_name(folder, name):
    """Keys, credentials, a gate's data: wherever in the folder."""
    (folder / "data" / name).write_bytes(b"x")
    with pytest.raises(SecretFileError, match=name.replace(".", r"\.")):
        read_app(folder)


def test_secrets_are_refused_by_content(folder, command):
    """A private key under an innocent name; the error shows no byte of it."""
    pem = SigningKey.generate().to_pem()
    (folder / "data" / "notes.txt").write_bytes(b"see below\n" + pem)
    with pytest.raises(SecretFileError, match=r"notes\.txt") as caught:
        read_app(folder)
    assert pem.split(b"\n")[2].decode() not in str(caught.value) + caught.value.hint
    code, data = command(f"--app={folder}")
    assert (code, data["error"]["type"]) == (3, "SecretFileError")


@pytest.mark.parametrize(
    "text",
    [
        Credential.new("recognizer").token.encode(),
        b"secret = 'whsec_" + b"A" * 43 + b"='",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"PuTTY-User-Key-File-3: ssh-ed25519",
        b"SQLite format 3\0" + bytes(84),
    ],
    ids=["credential", "webhook", "pgp", "encrypted", "putty", "store"],
)
def test_other_secrets_are_refused_by_content_too(folder, text):
    """A role's credential in the program's own text, a webhook's secret, other tools' keys, a gate's store."""
    (folder / "data" / "settings.txt").write_bytes(text)
    with pytest.raises(SecretFileError, match=r"settings\.txt"):
        read_app(folder)


def test_what_is_no_secret_is_taken(folder):
    """The counterpart: a public key, programs that are about secrets, text that names their forms."""
    (folder / "data" / "server.pub").write_bytes(SigningKey.generate().verify_key.to_pem())
    (folder / "data" / "maker.key.pub").write_bytes(SigningKey.generate().verify_key.to_pem())
    (folder / "secrets.py").write_text("# a credential reads fgc_ROLE_..., a webhook's secret whsec_...\n")
    (folder / "password_prompt.py").write_text("")
    assert len(read_app(folder)) == 6


def test_links_are_refused(folder, tmp_path):
    """They lead to what nobody looked at: to a file, to a folder, or the folder itself."""
    (tmp_path / "elsewhere").mkdir()
    for target in ("elsewhere", "program/__main__.py", "nowhere"):
        link = folder / "data" / "link"
        link.symlink_to(tmp_path / target)
        with pytest.raises(AppError, match="link"):
            read_app(folder)
        link.unlink()
    (tmp_path / "alias").symlink_to(folder)
    with pytest.raises(AppError, match="is a link"):
        read_app(tmp_path / "alias")


@pytest.mark.parametrize("name", [".git", ".hidden.py", "a b.py", "größe.py", "new\nline"])
def test_names_that_do_not_travel_are_refused(folder, name):
    """Hidden files, and names that not every system or ZIP reader has."""
    (folder / name).write_text("")
    with pytest.raises(AppError):
        read_app(folder)


def test_what_is_no_file_is_refused(folder):
    """A named pipe would never end."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(AppError, match="neither"):
        read_app(folder)


def test_too_much_is_refused(folder, monkeypatch):
    """Too many bytes, or too many files: it is another folder than was meant."""
    monkeypatch.setattr(_app, "MAX_BYTES", 1 << 20)
    (folder / "video.bin").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(AppError, match="more than 1 MB"):
        read_app(folder)
    (folder / "video.bin").unlink()
    monkeypatch.setattr(_app, "MAX_FILES", 1)
    with pytest.raises(AppError, match="more than 1 files"):
        read_app(folder)


@pytest.mark.parametrize("what", ["absent", "a file"])
def test_a_folder_is_needed(tmp_path, what):
    """No folder, no program."""
    path = tmp_path / "program"
    if what == "a file":
        path.write_text("")
    with pytest.raises(AppError, match="no folder"):
        read_app(path)
