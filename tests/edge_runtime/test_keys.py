"""Keys: made safely, named by their id, refused with advice."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from facegate_edge import _passphrase
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore, VerifyKey, b64url_decode, b64url_encode
from facegate_edge.errors import (
    InvalidSignatureError,
    KeyExistsError,
    KeyFileError,
    KeyPassphraseError,
    KeyPermissionError,
    KeyTypeError,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ed25519.json").read_text())


@pytest.fixture(autouse=True)
def no_passphrase(monkeypatch):
    """No passphrase in the environment."""
    monkeypatch.delenv(_passphrase.PASSPHRASE_VARIABLE, raising=False)
    monkeypatch.delenv(_passphrase.PASSPHRASE_FILE_VARIABLE, raising=False)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["name"])
def test_known_answers(vector):
    """Signatures and key ids are those of RFC 8032's test vectors, and of an independent computation of the ids."""
    key = SigningKey.from_seed(bytes.fromhex(vector["seed"]))
    assert key.verify_key.raw.hex() == vector["public"]
    assert key.key_id == key.verify_key.key_id == vector["key_id"]
    assert key.sign(bytes.fromhex(vector["message"])).hex() == vector["signature"]
    key.verify_key.verify(bytes.fromhex(vector["signature"]), bytes.fromhex(vector["message"]))


@pytest.mark.parametrize("passphrase", [None, "correct horse", "pässwörd"])
def test_a_key_is_saved_and_loaded(tmp_path, passphrase):
    """A saved key is the same key, with or without a passphrase."""
    key = SigningKey.generate()
    key.save(tmp_path / "k.pem", passphrase)
    key.verify_key.save(tmp_path / "k.pub")
    assert SigningKey.load(tmp_path / "k.pem", passphrase).verify_key == key.verify_key
    assert VerifyKey.load(tmp_path / "k.pub") == key.verify_key
    assert (b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()) == (passphrase is not None)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_whatever_the_umask(tmp_path, umask):
    """A private key is 0600 and a public one 0644 under every umask."""
    before = os.umask(umask)
    try:
        key = SigningKey.generate()
        key.save(tmp_path / "k.pem")
        key.verify_key.save(tmp_path / "k.pub")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "k.pub").stat().st_mode) == 0o644


def test_attack_a_key_file_is_never_overwritten(tmp_path):
    """Neither a file nor a link, dangling or not, is written through."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(KeyExistsError):
            SigningKey.generate().save(tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660, 0o777])
def test_a_private_key_that_others_can_read_is_refused(tmp_path, mode):
    """A group- or world-accessible private key is refused with the command that mends it."""
    path = tmp_path / "k.pem"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(KeyPermissionError) as caught:
        SigningKey.load(path)
    assert f"chmod 600 {path}" in caught.value.hint


def test_a_public_keys_file_in_a_private_ones_place(tmp_path):
    """It is readable by everybody, as it should be: what is said is which of the two files is meant."""
    path = tmp_path / "k.pub"
    key = SigningKey.generate()
    key.verify_key.save(path)
    with pytest.raises(KeyTypeError, match="public key where a private one is needed") as caught:
        SigningKey.load(path)
    assert "without .pub" in caught.value.hint
    path.write_bytes(path.read_bytes() + key.to_pem())
    with pytest.raises(KeyPermissionError):
        SigningKey.load(path)


def test_wrong_and_missing_passphrases(tmp_path):
    """A protected key needs its passphrase, and says which of the two is the matter; empty ones are refused."""
    path = tmp_path / "k.pem"
    SigningKey.generate().save(path, "right")
    with pytest.raises(KeyPassphraseError, match="none was given"):
        SigningKey.load(path)
    with pytest.raises(KeyPassphraseError, match="wrong"):
        SigningKey.load(path, "wrong")
    with pytest.raises(KeyPassphraseError, match="empty"):
        SigningKey.generate().save(tmp_path / "other.pem", "")
    assert not (tmp_path / "other.pem").exists()


def test_a_passphrase_for_a_key_without_one_does_no_harm(tmp_path):
    """One passphrase in the environment may serve a mixture of keys."""
    SigningKey.generate().save(tmp_path / "k.pem")
    SigningKey.load(tmp_path / "k.pem", "unneeded")


def pem(key, passphrase=None) -> bytes:
    """A foreign key as PEM."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        x25519.X25519PrivateKey.generate(),
    ],
    ids=["P-256", "RSA", "X25519"],
)
def test_keys_of_other_kinds_are_refused(key):
    """Only Ed25519 keys are keys here."""
    with pytest.raises(KeyTypeError):
        SigningKey.from_pem(pem(key))
    with pytest.raises(KeyTypeError):
        SigningKey.from_pem(pem(key, b"secret"), "secret")
    with pytest.raises(KeyTypeError):
        VerifyKey.from_pem(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_private_and_public_are_not_mistaken_for_each_other(tmp_path):
    """A private key where a public one belongs is refused with advice, and the reverse."""
    key = SigningKey.generate()
    with pytest.raises(KeyTypeError, match="private key where a public one"):
        VerifyKey.from_pem(key.to_pem())
    with pytest.raises(KeyTypeError, match="public key where a private one"):
        SigningKey.from_pem(key.verify_key.to_pem())
    key.save(tmp_path / "k.pub")
    with pytest.raises(KeyTypeError):
        TrustStore.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\x00" * 100, b"x" * 70_000],
)
def test_damaged_key_files(tmp_path, content):
    """What is no key is refused as a key file, by both kinds of keys."""
    path = tmp_path / "k.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    for load in (SigningKey.load, VerifyKey.load):
        with pytest.raises(KeyFileError):
            load(path)


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_every_flipped_byte_of_a_key_is_refused(passphrase):
    """Damage to a key's file gives an error, or the same key: never another key.

    An encrypted PKCS#8 file is not authenticated, so without the line that names the key this would not hold.
    """
    key = SigningKey.from_seed(bytes(32))
    data = key.to_pem(passphrase)
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 0x01
        try:
            found = SigningKey.from_pem(bytes(damaged), passphrase)
        except KeyFileError:
            continue
        assert found.key_id == key.key_id or position < len("Key-Id: ")


def test_keys_of_other_tools_are_read():
    """A PKCS#8 key without the line that names it, as openssl writes it, is a key too."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert SigningKey.from_pem(pem(key)).key_id == SigningKey.from_seed(bytes(32)).key_id


def test_missing_files_and_pipes(tmp_path):
    """A key that is not there, a folder and a named pipe are refused at once."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("none", "pipe", "folder"):
        with pytest.raises(KeyFileError):
            SigningKey.load(tmp_path / name)
    with pytest.raises(KeyFileError, match="cannot be written"):
        SigningKey.generate().save(tmp_path / "none" / "k.pem")


def test_a_signature_of_another_key_or_message_is_refused():
    """A signature counts for its key and its message only."""
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"message")
    key.verify_key.verify(signature, b"message")
    for verify_key, sig, message in (
        (other.verify_key, signature, b"message"),
        (key.verify_key, signature, b"massage"),
        (key.verify_key, signature[:-1], b"message"),
        (key.verify_key, b"", b"message"),
        (key.verify_key, bytes(64), b"message"),
    ):
        with pytest.raises(InvalidSignatureError):
            verify_key.verify(sig, message)


def test_attack_malleable_signature():
    """S + L in place of S (RFC 8032, section 5.1.7) is no second valid signature."""
    order = 2**252 + 27742317777372353535851937790883648493
    key = SigningKey.from_seed(bytes(32))
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(InvalidSignatureError):
        key.verify_key.verify(signature[:32] + s.to_bytes(32, "little"), b"message")


def test_a_private_key_does_not_show_itself():
    """Neither repr nor pickle gives a private key away."""
    key = SigningKey.from_seed(bytes(range(32)))
    assert repr(key) == f"SigningKey({key.key_id})"
    with pytest.raises(TypeError):
        pickle.dumps(key)


# --- trust stores ---------------------------------------------------------------------------------


def test_a_trust_store_is_a_folder_of_public_keys(tmp_path):
    """Every *.pub file of a folder is trusted, other files are not looked at; one file will do as well."""
    keys = [SigningKey.generate().verify_key for _ in range(3)]
    for i, key in enumerate(keys):
        key.save(tmp_path / f"{i}.pub")
    (tmp_path / "README").write_text("not a key")
    store = TrustStore.load(tmp_path)
    assert set(store) == set(keys)
    assert len(store) == 3
    assert keys[0].key_id in store
    assert store.get("0" * 16) is None
    assert list(TrustStore.load(tmp_path / "1.pub")) == [keys[1]]


def test_a_folder_without_keys_is_a_mistake(tmp_path):
    """Trusting nobody by accident is refused; so is a store that is not there."""
    with pytest.raises(KeyFileError, match="no trusted key"):
        TrustStore.load(tmp_path)
    with pytest.raises(KeyFileError, match="no key"):
        TrustStore.load(tmp_path / "none")


def test_a_damaged_key_spoils_the_store(tmp_path):
    """A file that should be a key and is not is told, not skipped."""
    SigningKey.generate().verify_key.save(tmp_path / "good.pub")
    (tmp_path / "bad.pub").write_text("damaged")
    with pytest.raises(KeyFileError, match=r"bad\.pub"):
        TrustStore.load(tmp_path)


def test_what_is_no_key_is_not_trusted(tmp_path):
    """Paths, and private keys, in the place of public ones are refused where they are given."""
    for wrong in ("signer.pub", [tmp_path], [SigningKey.generate()]):
        with pytest.raises(KeyTypeError):
            TrustStore(wrong)
        with pytest.raises(KeyTypeError):
            open_bundle(tmp_path / "none.fgb", trust=wrong)


def test_attack_trust_that_anybody_can_write(tmp_path):
    """A trusted key, or a folder of them, that every user may change is refused."""
    SigningKey.generate().verify_key.save(tmp_path / "k.pub")
    (tmp_path / "k.pub").chmod(0o646)
    with pytest.raises(KeyPermissionError):
        TrustStore.load(tmp_path)
    (tmp_path / "k.pub").chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(KeyPermissionError):
        TrustStore.load(tmp_path)


def test_two_keys_of_one_id_are_refused():
    """A collision of key ids is an error, not a choice."""
    a, b = SigningKey.generate().verify_key, SigningKey.generate().verify_key
    b.key_id = a.key_id
    with pytest.raises(KeyFileError, match="two different keys"):
        TrustStore([a, b])
    TrustStore([a, a])


# --- base64url ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"f", b"fo", b"foo", b"\xff\xfe\xfd\xfc"])
def test_base64url_round_trip(data):
    """Every byte string has one spelling, without padding."""
    assert b64url_decode(b64url_encode(data)) == data
    assert "=" not in b64url_encode(data)


@pytest.mark.parametrize("text", ["Zg==", "Zh", "Z", "Zm9v\n", "Zm 9v", "+/+/", "Zm9vé", "Zg="])
def test_base64url_has_no_second_spelling(text):
    """Padding, spare bits, white space and the other alphabet are refused."""
    with pytest.raises(ValueError, match="base64url"):
        b64url_decode(text)


# --- passphrases ----------------------------------------------------------------------------------


def test_the_passphrase_file_comes_before_the_environment(tmp_path, monkeypatch):
    """FACEGATE_PASSPHRASE_FILE's first line wins over FACEGATE_PASSPHRASE; without both there is none."""
    assert _passphrase.stored_passphrase() is None
    monkeypatch.setenv("FACEGATE_PASSPHRASE", "from the environment")
    assert _passphrase.stored_passphrase() == "from the environment"
    file = tmp_path / "pass"
    file.write_text("from the file\nsecond line\n")
    file.chmod(0o600)
    monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", str(file))
    assert _passphrase.stored_passphrase() == "from the file"


def test_unusable_passphrase_files(tmp_path, monkeypatch):
    """A passphrase file that is missing, empty, no text or readable by others is refused."""
    monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", str(tmp_path / "none"))
    with pytest.raises(KeyPassphraseError):
        _passphrase.stored_passphrase()
    file = tmp_path / "pass"
    monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", str(file))
    for content, mode, error in (
        (b"", 0o600, KeyPassphraseError),
        (b"\nsecond", 0o600, KeyPassphraseError),
        (b"\xff\xfe", 0o600, KeyPassphraseError),
        (b"x" * 5000, 0o600, KeyPassphraseError),
        (b"good", 0o644, KeyPermissionError),
    ):
        file.write_bytes(content)
        file.chmod(mode)
        with pytest.raises(error):
            _passphrase.stored_passphrase()


def test_an_empty_passphrase_variable_is_a_mistake(monkeypatch):
    """An empty variable is refused rather than taken for no passphrase."""
    monkeypatch.setenv("FACEGATE_PASSPHRASE", "")
    with pytest.raises(KeyPassphraseError):
        _passphrase.stored_passphrase()


def test_loading_a_key_asks_only_if_it_must(tmp_path, monkeypatch):
    """The prompt comes for a protected key without a stored passphrase, and for no other."""
    plain, protected = tmp_path / "plain.pem", tmp_path / "protected.pem"
    key = SigningKey.generate()
    key.save(plain)
    key.save(protected, "secret")
    asked = []
    monkeypatch.setattr(_passphrase, "ask_passphrase", lambda prompt: asked.append(prompt) or "secret")
    assert _passphrase.load_signing_key(plain).key_id == key.key_id
    assert asked == []
    assert _passphrase.load_signing_key(protected).key_id == key.key_id
    assert len(asked) == 1
    monkeypatch.setenv("FACEGATE_PASSPHRASE", "wrong")
    with pytest.raises(KeyPassphraseError, match="wrong"):
        _passphrase.load_signing_key(protected)
    assert len(asked) == 1


def test_the_passphrase_of_a_pipe_is_read_once(tmp_path, monkeypatch):
    """A wrong passphrase from a pipe is told as one; the empty pipe is not read again."""
    path = tmp_path / "k.pem"
    SigningKey.generate().save(path, "secret")
    for passphrase, message in ((b"wrong\n", "the passphrase is wrong"), (b"\n", "no usable first line")):
        reader, writer = os.pipe()
        os.write(writer, passphrase)
        os.close(writer)
        monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", f"/dev/fd/{reader}")
        with pytest.raises(KeyPassphraseError, match=message):
            _passphrase.load_signing_key(path)
        os.close(reader)


def test_a_key_without_passphrase_needs_no_passphrase_file(tmp_path, monkeypatch):
    """What the environment says about passphrases is looked at only for a key that has one."""
    path = tmp_path / "k.pem"
    key = SigningKey.generate()
    key.save(path)
    monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", str(tmp_path / "none"))
    assert _passphrase.load_signing_key(path).key_id == key.key_id


def test_without_a_terminal_nobody_is_asked(tmp_path, monkeypatch):
    """In a script a missing passphrase is an error, not a prompt that hangs."""
    path = tmp_path / "k.pem"
    SigningKey.generate().save(path, "secret")
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    with pytest.raises(KeyPassphraseError, match="none was given"):
        _passphrase.load_signing_key(path)
