"""Getting pinned wheels: from the cache, or by pip, which knows the user's index, proxy and certificates.

pip checks the hash, and so does this module, each time, also of what the cache holds: a package is made of the pinned
bytes or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_convert._files import sync_folder
from facegate_convert.errors import FetchError, OutputFileError, PinError, PinHashError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._package._pins import DebPin, WheelPin

    Runner = Callable[[list[str]], subprocess.CompletedProcess[str]]

__all__ = ["cached", "default_cache", "fetch_wheel", "keep", "no_cache", "run", "said", "workroom"]

_PATIENCE = 600  # seconds for one file
_LINE = 160  # characters of what a tool says that an error repeats


def default_cache() -> Path:
    """Where fetched files are kept: facegate/wheels in the user's cache folder."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if named.startswith("/") else Path("~").expanduser() / ".cache"
    return base / "facegate" / "wheels"


def cached(cache: Path, pin: WheelPin | DebPin) -> bytes | None:
    """The bytes of a pinned file if the cache has it, None if not.

    Raises:
        PinHashError: the cache holds another file under its name.
        FetchError: it cannot be read.
    """
    path = cache / pin.file
    try:
        if path.stat().st_size != pin.size:
            raise _tampered(path, pin)
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "check its mode, or name another --cache"
        raise FetchError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    if hashlib.sha256(data).hexdigest() != pin.sha256:
        raise _tampered(path, pin)
    return data


def fetch_wheel(
    pin: WheelPin, cache: Path, *, platforms: tuple[str, ...], offline: bool = False, runner: Runner | None = None
) -> bytes:
    """The bytes of a pinned wheel.

    Args:
        pin: which.
        cache: where fetched files are kept; made if it is not there.
        platforms: of the device, as pip knows them.
        offline: fetch nothing.
        runner: runs a command; for tests.

    Raises:
        PinHashError: what came, or what the cache holds, is not the pinned wheel.
        PinError: the index has no such wheel any more.
        FetchError: no connection, no pip, or `offline` and it is not in the cache.
        OutputFileError: the cache cannot be written.
    """
    data = cached(cache, pin)
    if data is not None:
        return data
    if offline:
        raise FetchError(
            f"{pin.file} is not in {cache}", hint="run the command once without --offline, or copy the file there"
        )
    with workroom(cache) as name:
        folder = Path(name)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{pin.distribution}=={pin.version} --hash=sha256:{pin.sha256}\n", encoding="ascii")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--retries=2", "--timeout=30"]
        command += ["--python-version", pin.pythons[0], "--implementation=cp", "--dest", name]
        command += [f"--platform={platform}" for platform in platforms]
        answer = (runner or run)([*command, "--requirement", str(wanted)])
        if answer.returncode:
            raise _pip_failed(pin, answer.stdout + answer.stderr, cache)
        return keep(folder / pin.file, pin, cache)


def keep(path: Path, pin: WheelPin | DebPin, cache: Path) -> bytes:
    """Check a file that was fetched, and put it into the cache in one step.

    Raises:
        PinHashError: it is not the pinned one, which is not kept.
        OutputFileError: the cache cannot be written.
    """
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != pin.sha256:
            raise PinHashError(
                f"what was fetched as {pin.file} is not the pinned file: its sha256 differs",
                hint="nothing of it is kept; it was exchanged or damaged on its way: ask whoever runs the index",
            )
        path.chmod(0o644)
        path.replace(cache / pin.file)
        sync_folder(cache)
    except OSError as error:
        raise no_cache(cache, error) from error
    return data


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end. Raises FetchError if it takes too long or cannot be started."""
    try:
        return subprocess.run(  # noqa: S603 - our own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{Path(command[0]).name} did not end in {_PATIENCE} s", hint="try again") from error
    except OSError as error:
        raise FetchError(f"{command[0]} cannot be run: {error.strerror}", hint="install it") from error


def workroom(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder in the cache for one transfer, gone afterwards, whatever happens. Raises OutputFileError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache)
    except OSError as error:
        raise no_cache(cache, error) from error


def _pip_failed(pin: WheelPin, text: str, cache: Path) -> Exception:
    """What pip said, as an error of ours."""
    if "No module named pip" in text:
        hint = f"run: {Path(sys.executable).name} -m ensurepip"
        return FetchError("this Python has no pip to fetch wheels with", hint=hint)
    if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text or os.strerror(errno.EACCES) in text:
        return OutputFileError(
            f"{pin.file} cannot be put into {cache}", hint="make room, or name another folder with --cache"
        )
    if "DO NOT MATCH THE HASHES" in text:
        return PinHashError(
            f"the index has another {pin.distribution} {pin.version} than the pinned {pin.file}",
            hint="nothing of it is kept; ask whoever runs the index, or take another",
        )
    if re.search(r"connection|retrying|temporary failure|timed out|ssl|proxy|name or service", text, re.IGNORECASE):
        return FetchError(
            f"{pin.file} cannot be fetched: no connection to the package index",
            hint="check the network and the proxy; with all files in the cache, --offline needs neither",
        )
    if "No matching distribution" in text or "Could not find a version" in text:
        return PinError(
            f"the index has no {pin.file}",
            hint="pip's index is not complete, or the pins are older than it keeps files",
        )
    return FetchError(f"pip could not fetch {pin.file}", hint=f"it says: {said(text)}")


def said(text: str) -> str:
    """The last line of what a tool said, as an error may repeat it."""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")
    return "".join(c for c in last if c.isprintable())[:_LINE]


def _tampered(path: Path, pin: WheelPin | DebPin) -> PinHashError:
    return PinHashError(
        f"{path} is not the pinned {pin.file}: its size or sha256 differs",
        hint="it was changed or damaged; delete it, and it is fetched again",
    )


def no_cache(cache: Path, error: OSError) -> OutputFileError:
    """The cache cannot be written."""
    return OutputFileError(
        f"{cache} cannot be written: {error.strerror}", hint="make room, or name another folder with --cache"
    )
