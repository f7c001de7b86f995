"""Accounts: how they are made, kept and counted."""

from __future__ import annotations

import json

import pytest

from facegate_convert._hosted._accounts import Accounts, Bucket, add_account, read_accounts, remove_account
from facegate_convert.errors import EndpointSetupError, OutputFileError


def test_an_account_is_made_and_found_by_its_token(tmp_path):
    """The file holds no token, only the hash of one, and is its owner's alone."""
    path = tmp_path / "accounts.json"
    tokens = {name: add_account(path, name, ["door", "gate", "door"], 60) for name in ("a", "b")}
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [token for token in tokens.values() if token in path.read_text()]
    assert all(len(token) > 40 for token in tokens.values())
    found = read_accounts(path, {"door": 1, "gate": 1})
    accounts = Accounts(found)
    for name, token in tokens.items():
        account = accounts.find(token)
        assert (account.name, account.models, account.per_minute) == (name, {"door", "gate"}, 60)
    assert accounts.find("") is None
    assert accounts.find(tokens["a"][:-1]) is None


def test_making_an_account_again_gives_it_a_new_token(tmp_path):
    """The old token is worth nothing any more; other accounts stay."""
    path = tmp_path / "accounts.json"
    old, other = add_account(path, "a", ["door"], 60), add_account(path, "b", ["door"], 60)
    new = add_account(path, "a", ["gate"], 5)
    accounts = Accounts(read_accounts(path))
    assert accounts.find(old) is None
    assert accounts.find(new).models == {"gate"}
    assert accounts.find(other).name == "b"


def test_an_account_is_removed(tmp_path):
    """Removing says whether there was one."""
    path = tmp_path / "accounts.json"
    add_account(path, "a", ["door"], 60)
    assert not remove_account(path, "b")
    assert remove_account(path, "a")
    assert read_accounts(path) == ()
    assert not remove_account(tmp_path / "none.json", "a")


def test_an_account_for_a_model_that_is_not_served_is_told(tmp_path):
    """A server does not start with accounts that could never be answered."""
    path = tmp_path / "accounts.json"
    add_account(path, "a", ["gate"], 60)
    with pytest.raises(EndpointSetupError, match="gate"):
        read_accounts(path, {"door": 1})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o700 | 0o020])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    """Who can read or change the file of accounts can become one."""
    path = tmp_path / "accounts.json"
    add_account(path, "a", ["door"], 60)
    path.chmod(mode)
    with pytest.raises(EndpointSetupError, match="other users"):
        read_accounts(path)
    with pytest.raises(EndpointSetupError, match="other users"):
        add_account(path, "b", ["door"], 60)


ENTRY = {"token_sha256": "0" * 64, "models": ["door"], "per_minute": 60}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"\xff", b"[" * 100_000,
        {}, {"format": 2, "accounts": {}}, {"format": 1, "accounts": []}, {"format": 1, "accounts": {"a": None}},
        *({"format": 1, "accounts": {"a": ENTRY | change}} for change in (
            {"token_sha256": ""}, {"token_sha256": "zz"}, {"token_sha256": 5}, {"models": []}, {"models": "door"},
            {"models": [1]}, {"per_minute": 0}, {"per_minute": 1.5}, {"per_minute": True}, {"per_minute": 10**9},
            {"more": 1},
        )),
        {"format": 1, "accounts": {"A b": ENTRY}}, {"format": 1, "accounts": {"": ENTRY}},
    ],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused(tmp_path, data):
    """Anything but what was written is refused, and left as it is by whoever wants to add to it."""
    path = tmp_path / "accounts.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    path.chmod(0o600)
    before = path.read_bytes()
    for do in (lambda: read_accounts(path), lambda: add_account(path, "b", ["door"], 60)):
        with pytest.raises(EndpointSetupError, match="accounts") as caught:
            do()
        assert caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "models", "rate"), [("A", ["door"], 1), ("a", [], 1), ("a", ["door"], 0)])
def test_an_account_that_cannot_be_is_not_made(tmp_path, name, models, rate):
    """A wrong name, no model, no rate: nothing is written."""
    with pytest.raises(EndpointSetupError):
        add_account(tmp_path / "accounts.json", name, models, rate)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_error_of_its_own(tmp_path):
    """A folder that is not there."""
    with pytest.raises(OutputFileError):
        add_account(tmp_path / "none" / "accounts.json", "a", ["door"], 60)


def test_a_bucket_gives_ten_seconds_at_once_and_then_its_rate():
    """A rate of 60 a minute: ten at once, then one a second; what is not used does not pile up."""
    now = [0.0]
    bucket = Bucket(60, clock=lambda: now[0])
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1]
    now[0] += 0.5
    assert bucket.take() == 1
    now[0] += 0.5
    assert [bucket.take(), bucket.take()] == [0, 1]
    now[0] += 10_000
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1]


def test_a_slow_bucket_says_how_long_to_wait():
    """Two a minute: one at once, the next in 30 seconds."""
    now = [0.0]
    bucket = Bucket(2, clock=lambda: now[0])
    assert [bucket.take(), bucket.take()] == [0, 30]
    now[0] += 29.5
    assert bucket.take() == 1
    now[0] += 0.5
    assert bucket.take() == 0
