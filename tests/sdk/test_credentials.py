"""Credentials: one secret opens one role of one gate, and comes from a file, the environment or a prompt."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import subprocess
import sys

import pytest

from facegate import Credential, errors, find_credential
from facegate._credentials import ROLES, accepts, add_credential, list_credentials, revoke_credential
from facegate._store._store import Store

VARIABLES = ("FACEGATE_CREDENTIAL", "FACEGATE_CREDENTIAL_FILE", "FACEGATE_CREDENTIALS")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """Nothing of the caller's environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(clock):
    """A store in memory."""
    with Store.memory("door-1", "space", 128, clock=clock) as made:
        yield made


def add(store, credential, label, clock) -> None:
    """Let a credential open its role."""
    with store.db.transaction() as tx:
        add_credential(tx, credential, label, clock.now())


# --- the token -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_token_names_its_role_and_holds_256_random_bits(role):
    """The form is fixed, no two are equal, and what is parsed is what was made."""
    credentials = [Credential.new(role) for _ in range(20)]
    assert len({credential.token for credential in credentials}) == 20
    for credential in credentials:
        assert re.fullmatch(rf"fgc_{role}_[A-Za-z0-9_-]{{43}}", credential.token)
        again = Credential.parse(credential.token)
        assert (again.role, again.token, again.digest) == (role, credential.token, credential.digest)
        assert credential.digest == hashlib.sha256(credential.token.encode()).digest()


def test_a_credential_shows_itself_to_nobody():
    """Neither repr nor str nor format has the secret, and it is not pickled."""
    credential = Credential.new("enroller")
    secret = credential.token.rpartition("enroller_")[2]
    for text in (repr(credential), str(credential), f"{credential}", repr([credential])):
        assert secret not in text
        assert "enroller" in text
    with pytest.raises(TypeError):
        pickle.dumps(credential)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fgc_",
        "fgc_enroller_",
        "fgc_enroller_" + "A" * 42,
        "fgc_enroller_" + "A" * 44,
        "fgc_enroller_" + "A" * 42 + "B",  # bits to spare that are not zero
        "fgc_enroller_" + "A" * 42 + "=",
        "fgc_Enroller_" + "A" * 43,
        "fgc_owner_" + "A" * 43,
        "fgc_enroller-" + "A" * 43,
        "FGC_enroller_" + "A" * 43,
        " fgc_enroller_" + "A" * 43,
        "fgc_enroller_" + "A" * 43 + "\n",
        "fgc_enroller_" + "\u0410" * 43,
    ],
)
def test_what_is_no_token_is_refused_without_showing_it(text):
    """A token has one spelling; a wrong one is not repeated, because it may be nearly right."""
    with pytest.raises(errors.CredentialError) as caught:
        Credential.parse(text)
    assert not text or text not in str(caught.value)
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_a_credential_of_no_role_or_half_a_secret_is_none():
    """What is made in a program is checked as well."""
    for role, secret in (("owner", bytes(32)), ("enroller", bytes(31)), ("enroller", b"")):
        with pytest.raises(errors.CredentialError):
            Credential(role, secret)


# --- files and the environment -------------------------------------------------------------------------------------


def test_a_credentials_file_is_its_owners_alone(tmp_path):
    """It is made 0600 whatever the umask, never over another, and not read when others can."""
    path = tmp_path / "enroller.credential"
    before = os.umask(0)
    try:
        credential = Credential.new("enroller")
        credential.save(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Credential.load(path).token == credential.token
    with pytest.raises(FileExistsError):
        credential.save(path)
    for mode in (0o640, 0o604, 0o620, 0o660):
        path.chmod(mode)
        with pytest.raises(errors.CredentialError, match="other users") as caught:
            Credential.load(path)
        assert "chmod 600" in caught.value.hint


def test_a_credential_as_systemd_gives_it(tmp_path, monkeypatch):
    """With User= it is root's, mode 0440, and the user has an ACL (systemd 254): read, in systemd's folder only."""
    (tmp_path / "credentials").mkdir()
    path = tmp_path / "credentials" / "recognizer.credential"
    credential = Credential.new("recognizer")
    credential.save(path)
    path.chmod(0o440)
    with pytest.raises(errors.CredentialError, match="other users"):
        Credential.load(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert Credential.load(path).token == credential.token
    for mode in (0o444, 0o460):
        path.chmod(mode)
        with pytest.raises(errors.CredentialError, match="other users"):
            Credential.load(path)
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(errors.CredentialError, match="other users"):
        Credential.load(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"hello", b"\xff" * 50, b"fgc_enroller_" + b"A" * 300])
def test_a_file_that_holds_no_credential(tmp_path, content):
    """What stands in the file is not repeated."""
    path = tmp_path / "x"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(errors.CredentialError, match="is not a credential") as caught:
        Credential.load(path)
    assert "hello" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    """Absent, a folder, a pipe that nobody writes to: an error, and no waiting."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("absent", ".", "pipe"):
        with pytest.raises(errors.CredentialError):
            Credential.load(tmp_path / name)


def test_a_descriptor_serves_as_a_file():
    """A secret that is handed over through a pipe (FACEGATE_CREDENTIAL_FILE=/dev/fd/3) is read."""
    credential = Credential.new("reviewer")
    reading, writing = os.pipe()
    os.write(writing, credential.token.encode())
    os.close(writing)
    try:
        assert Credential.load(f"/dev/fd/{reading}").token == credential.token
    finally:
        os.close(reading)


def test_where_a_credential_is_looked_for(tmp_path, monkeypatch):
    """The named file comes before the variable, the variable before the folder; each is for its role only."""
    made = {name: Credential.new("enroller") for name in ("file", "variable", "folder")}
    made["file"].save(tmp_path / "mine")
    made["folder"].save(tmp_path / "enroller.credential")
    monkeypatch.setenv("FACEGATE_CREDENTIALS", str(tmp_path))
    assert find_credential("enroller").token == made["folder"].token
    monkeypatch.setenv("FACEGATE_CREDENTIAL", made["variable"].token + "\n")
    assert find_credential("enroller").token == made["variable"].token
    monkeypatch.setenv("FACEGATE_CREDENTIAL_FILE", str(tmp_path / "mine"))
    assert find_credential("enroller").token == made["file"].token


def test_a_credential_of_another_role_is_passed_over(tmp_path, monkeypatch):
    """The variables can stay set for several commands; if none fits, the error says what was found."""
    Credential.new("recognizer").save(tmp_path / "mine")
    reviewer = Credential.new("reviewer")
    reviewer.save(tmp_path / "reviewer.credential")
    monkeypatch.setenv("FACEGATE_CREDENTIAL_FILE", str(tmp_path / "mine"))
    monkeypatch.setenv("FACEGATE_CREDENTIALS", str(tmp_path))
    assert find_credential("reviewer").token == reviewer.token
    with pytest.raises(errors.CredentialError, match="role enroller; what was given is for the role recognizer"):
        find_credential("enroller")


def test_without_a_credential_and_a_terminal_the_ways_to_give_one_are_told():
    """Nobody is asked where nobody can answer."""
    with pytest.raises(errors.CredentialError, match="administrator") as caught:
        find_credential("administrator")
    for name in ("FACEGATE_CREDENTIAL_FILE", "FACEGATE_CREDENTIALS"):
        assert name in caught.value.hint


def test_a_mislabelled_or_broken_source_is_an_error_and_not_passed_over(tmp_path, monkeypatch):
    """A wrong file must not silently fall back to another credential."""
    Credential.new("enroller").save(tmp_path / "enroller.credential")
    monkeypatch.setenv("FACEGATE_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("FACEGATE_CREDENTIAL", "not one")
    with pytest.raises(errors.CredentialError, match="FACEGATE_CREDENTIAL holds is not"):
        find_credential("enroller")


@pytest.mark.parametrize(("typed", "found"), [("good", True), ("", False), ("bad", False), ("no text", False)])
def test_at_a_terminal_it_is_asked_for_without_echo(typed, found):
    """The prompt does not show what is typed; nothing typed is no credential."""
    credential = Credential.new("enroller")
    code = (
        "from facegate import find_credential, errors\n"
        "try:\n    print('found', find_credential('enroller').digest.hex())\n"
        "except errors.CredentialError as error:\n    print('error', error)\n"
    )
    main, terminal = os.openpty()
    answer = {"good": credential.token.encode(), "": b"", "bad": b"nonsense", "no text": b"\xff\xfe"}[typed]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this code
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    shown = b""
    while b"Credential of the role enroller" not in shown:
        shown += os.read(main, 1024)
    os.write(main, answer + b"\n")
    process.wait(timeout=30)
    try:
        while chunk := os.read(main, 4096):
            shown += chunk
    except OSError:
        pass  # the other end is closed
    os.close(main)
    text = shown.decode()
    assert credential.token not in text
    assert "nonsense" not in text
    assert (f"found {credential.digest.hex()}" in text) is found
    assert ("error" in text) is not found


# --- a gate's ------------------------------------------------------------------------------------------------------


def test_a_gate_knows_credentials_by_their_hash(store, clock):
    """A credential opens its own role under its label, no other one opens it, and no token is in the table."""
    mine, other = Credential.new("enroller"), Credential.new("enroller")
    add(store, mine, "desk-1", clock)
    assert accepts(store.db, "enroller", mine) == "desk-1"
    assert accepts(store.db, "enroller", other) is None
    assert accepts(store.db, "reviewer", mine) is None
    kept = str(store.db.read("SELECT * FROM credential"))
    assert mine.token not in kept
    assert mine.token[-20:] not in kept


def test_credentials_are_listed_by_role_and_label(store, clock):
    """Who can open what, and since when; several of one role each by itself."""
    for role, label in (("reviewer", "b"), ("recognizer", "door"), ("reviewer", "a"), ("administrator", "root")):
        add(store, Credential.new(role), label, clock)
    listed = list_credentials(store.db)
    assert [(info.role, info.label) for info in listed] == [
        ("recognizer", "door"), ("reviewer", "a"), ("reviewer", "b"), ("administrator", "root"),
    ]  # fmt: skip
    assert listed[0].made == clock.now()


def test_a_revoked_credential_opens_nothing(store, clock):
    """The others of its role stay."""
    first, second = Credential.new("enroller"), Credential.new("enroller")
    add(store, first, "a", clock)
    add(store, second, "b", clock)
    with store.db.transaction() as tx:
        assert revoke_credential(tx, "a") == "enroller"
    assert accepts(store.db, "enroller", first) is None
    assert accepts(store.db, "enroller", second) == "b"
    with pytest.raises(errors.CredentialError, match="no credential of that label"), store.db.transaction() as tx:
        revoke_credential(tx, "a")


def test_the_last_administrator_is_not_revoked(store, clock):
    """A gate that nobody can administer any more would be lost."""
    add(store, Credential.new("administrator"), "a", clock)
    with pytest.raises(errors.CredentialError, match="last administrator"), store.db.transaction() as tx:
        revoke_credential(tx, "a")
    add(store, Credential.new("administrator"), "b", clock)
    with store.db.transaction() as tx:
        revoke_credential(tx, "a")
    assert [info.label for info in list_credentials(store.db)] == ["b"]


@pytest.mark.parametrize("label", ["", "two words", "a" * 65, None, 7, "\u00e4"])
def test_a_label_is_a_reference(store, clock, label):
    """It stands in the audit log, so it is no name of somebody."""
    with pytest.raises(errors.CredentialError, match="label"):
        add(store, Credential.new("enroller"), label, clock)
    assert list_credentials(store.db) == ()


def test_two_credentials_have_two_labels(store, clock):
    """The audit log must tell them apart, also those of two roles."""
    add(store, Credential.new("enroller"), "desk", clock)
    with pytest.raises(errors.CredentialError, match="already"):
        add(store, Credential.new("reviewer"), "desk", clock)


# --- the administrator ---------------------------------------------------------------------------------------------


def test_an_administrator_hands_out_and_takes_away_credentials(make_gate):
    """A new credential opens its role at once, a revoked one does not; both are in the audit log, no token is."""
    roles = make_gate()
    administrator = roles.administrator
    credential = administrator.add_credential("enroller", "desk-2")
    assert roles.gate.enroller(credential).people() == ()
    assert ("enroller", "desk-2") in [(info.role, info.label) for info in administrator.credentials()]
    administrator.revoke_credential("desk-2")
    with pytest.raises(errors.RoleError):
        roles.gate.enroller(credential)
    log = roles.core.store.db.read("SELECT action, details FROM audit ORDER BY seq")
    actions = [action for action, _ in log]
    assert actions.index("add_credential") < actions.index("revoke_credential") < actions.index("credential_refused")
    assert credential.token[-10:] not in str(log)


def test_a_refused_credential_changes_nothing(make_gate):
    """No role, a label in use: neither a credential nor an audit entry."""
    roles = make_gate()
    before = roles.core.store.db.read("SELECT count(*) FROM audit")
    listed = roles.administrator.credentials()
    for role, label in (("owner", "x"), ("enroller", "enroller"), ("enroller", "a b")):
        with pytest.raises(errors.CredentialError):
            roles.administrator.add_credential(role, label)
    with pytest.raises(errors.CredentialError):
        roles.administrator.revoke_credential("administrator")
    assert roles.administrator.credentials() == listed
    assert roles.core.store.db.read("SELECT count(*) FROM audit") == before


def test_settings_have_defaults_and_limits(make_gate):
    """A setting is read as it was set; the audit log has the old and the new value."""
    roles = make_gate()
    administrator = roles.administrator
    assert administrator.settings()["age_limit"] == 14
    administrator.set("age_limit", 16)
    administrator.set("age_limit", 18)
    administrator.set("ask_age", value=True)
    administrator.set("people_preset", "bipa")
    kept = administrator.settings()
    assert (kept["age_limit"], kept["ask_age"], kept["people_preset"]) == (18, True, "bipa")
    entries = [details for (details,) in roles.core.store.db.read("SELECT details FROM audit WHERE action = 'set'")]
    assert '"new":18,"old":16,"setting":"age_limit"' in entries[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("age", 3),
        ("declaration", "x"),
        ("", 1),
        (None, 1),
        ("age_limit", 0),
        ("age_limit", 22),
        ("age_limit", "14"),
        ("age_limit", True),
        ("age_limit", 14.0),
        ("age_limit", None),
        ("ask_age", 1),
        ("ask_age", "true"),
        ("people_preset", "forever"),
        ("people_preset", []),
    ],
)
def test_what_cannot_be_set_is_refused(make_gate, name, value):
    """An unknown name, another type, a value out of range: nothing is changed."""
    roles = make_gate()
    before = roles.administrator.settings()
    with pytest.raises(errors.SettingError) as caught:
        roles.administrator.set(name, value)
    assert caught.value.hint
    assert roles.administrator.settings() == before
