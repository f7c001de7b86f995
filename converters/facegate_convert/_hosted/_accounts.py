"""Who may ask the hosted server, for which models, and how often."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import math
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from facegate_convert._files import write_file
from facegate_convert._hosted._address import read_private
from facegate_convert.errors import EndpointSetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Account", "Accounts", "Bucket", "Failures", "add_account", "read_accounts", "remove_account"]

MAX_FILE = 1 << 20  # bytes
MAX_PER_MINUTE = 1_000_000
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_FORMAT = 1
_BURST_SECONDS = 10.0
_PREFIX = "fge_"  # so that tools that look for secrets find it


@dataclass(frozen=True, slots=True)
class Account:
    """One who may ask.

    Attributes:
        name: for the operator.
        digest: sha256 of the token. Tokens have 256 random bits, so guessing from a hash is as hopeless as guessing.
        models: names that it may use.
        per_minute: requests.
    """

    name: str
    digest: bytes
    models: frozenset[str]
    per_minute: int


class Bucket:
    """A token bucket: so many a minute, ten seconds' worth of them at once.

    Args:
        per_minute: > 0.
        burst: how many at once; ten seconds' worth if None.
        clock: seconds that never run backwards.
    """

    __slots__ = ("_burst", "_clock", "_last", "_left", "_rate")

    def __init__(
        self, per_minute: float, burst: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1.0, self._rate * _BURST_SECONDS) if burst is None else burst
        self._left = self._burst
        self._clock = clock
        self._last = clock()

    def take(self) -> int:
        """Take one: 0 if there was one, else the whole seconds until there is."""
        wait = self.wait()
        if not wait:
            self._left -= 1
        return wait

    def wait(self) -> int:
        """Whole seconds until there is one; 0 if there is."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._last) * self._rate)
        self._last = now
        return 0 if self._left >= 1 else max(1, math.ceil((1 - self._left) / self._rate))


class Failures:
    """Wrong tokens by address: who guesses has to wait, and is not told whether the guess was right meanwhile.

    Addresses of version 6 count by their network of 64 bits. Of so many addresses at most 1024 are remembered.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until this address may present a token again; 0 if it may."""
        bucket = self._buckets.get(_network(address))
        return bucket.wait() if bucket is not None else 0

    def add(self, address: str) -> None:
        """A wrong token came from there."""
        network = _network(address)
        if network not in self._buckets:
            self._buckets[network] = Bucket(10, 10, clock=self._clock)
            if len(self._buckets) > 1024:  # noqa: PLR2004 - a few hundred kB
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(network)
        self._buckets[network].take()


class Accounts:
    """The accounts of a running server, with what each has left."""

    def __init__(self, accounts: Sequence[Account], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = tuple(accounts)
        self._buckets = {account.name: Bucket(account.per_minute, clock=clock) for account in self._accounts}

    def find(self, token: str) -> Account | None:
        """Whose token this is. All are compared, each in constant time."""
        digest = _digest(token)
        found = None
        for account in self._accounts:
            if hmac.compare_digest(digest, account.digest):
                found = account
        return found

    def take(self, account: Account) -> int:
        """Count a request: 0, or the seconds until the account has one again."""
        return self._buckets[account.name].take()


def read_accounts(path: Path, models: Mapping[str, object] | None = None) -> tuple[Account, ...]:
    """The accounts in a file that nobody but its owner may read.

    Args:
        path: of the file that `add_account` wrote.
        models: those that are served; None to accept any name.

    Raises:
        EndpointSetupError: it cannot be read, others may read it, or it does not hold accounts for these models.
    """
    try:
        data: Any = json.loads(read_private(path, MAX_FILE))
        if type(data) is not dict or data.get("format") != _FORMAT or type(data.get("accounts")) is not dict:
            _no_accounts(path)
        accounts = tuple(_account(name, entry) for name, entry in data["accounts"].items())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, EndpointSetupError):
            raise
        _no_accounts(path)
    for account in accounts:
        unknown = sorted(account.models - set(models)) if models is not None else ()
        if unknown:
            raise EndpointSetupError(
                f"account {account.name} may use {unknown[0]!r}, which is not served",
                hint="serve it with --model, or give the account other models",
            )
    return accounts


def add_account(path: Path, name: str, models: Sequence[str], per_minute: int) -> str:
    """Make an account, or give it a new token, models and rate.

    Returns:
        Its token, which is kept nowhere.

    Raises:
        EndpointSetupError: the file is there and holds something else, or a value cannot be used.
        OutputFileError: it cannot be written.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    entry = {"token_sha256": _digest(token).hex(), "models": sorted(set(models)), "per_minute": per_minute}
    try:
        made = _account(name, entry)
    except (ValueError, TypeError, KeyError):
        raise EndpointSetupError(
            "the account's name, models or rate cannot be used",
            hint="a name is lower-case letters, digits, dots, dashes and underscores; name at least one model",
        ) from None
    kept = [account for account in _existing(path) if account.name != name]
    _write(path, [*kept, made])
    return token


def remove_account(path: Path, name: str) -> bool:
    """Remove an account; whether there was one. A server that runs has to be started again. Raises as `add_account`."""
    accounts = _existing(path)
    kept = [account for account in accounts if account.name != name]
    if len(kept) < len(accounts):
        _write(path, kept)
    return len(kept) < len(accounts)


def _existing(path: Path) -> tuple[Account, ...]:
    return read_accounts(path) if path.exists() else ()


def _write(path: Path, accounts: Sequence[Account]) -> None:
    entries = {
        account.name: {
            "token_sha256": account.digest.hex(),
            "models": sorted(account.models),
            "per_minute": account.per_minute,
        }
        for account in accounts
    }
    text = json.dumps({"format": _FORMAT, "accounts": entries}, indent=1) + "\n"
    write_file(path, [text.encode("ascii")], mode=0o600)


def _account(name: str, entry: Mapping[str, Any]) -> Account:
    """An entry of the file. Raises ValueError, TypeError or KeyError if it is none."""
    digest, models, rate = bytes.fromhex(entry["token_sha256"]), entry["models"], entry["per_minute"]
    right: object = NAME.fullmatch(name) and len(digest) == hashlib.sha256().digest_size and set(entry) == {
        "token_sha256", "models", "per_minute",
    }  # fmt: skip
    right = right and type(models) is list and models and all(type(model) is str for model in models)
    if not right or type(rate) is not int or not 0 < rate <= MAX_PER_MINUTE:
        raise ValueError(name)
    return Account(name, digest, frozenset(models), rate)


def _no_accounts(path: Path) -> NoReturn:
    raise EndpointSetupError(f"{path} holds no accounts", hint="make it with `facegate evaluate account`") from None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
