"""Fetching a model: over HTTPS, through a proxy if there is one, from a mirror, or from a folder.

What counts is the hash in the catalogue; TLS, sizes and redirects are checked as well, so that a wrong answer ends
early and is told apart. A transfer that breaks off is taken up where it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from facegate_convert._catalogue._https import answer_to, failures, refusal
from facegate_convert._files import sync_folder
from facegate_convert.errors import (
    LicenceError,
    ModelHashError,
    OutputFileError,
    PullBusyError,
    PullError,
    PullRefusedError,
    PullTrustError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from facegate_convert._catalogue._entry import Entry

    Progress = Callable[[int, int], None]

_BLOCK = 1 << 16
_ATTEMPTS = 4
_SLOWEST, _PATIENCE = 1024, 60.0  # bytes a second, over so many seconds: a server that drips is a server that is down


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is there.

    Attributes:
        path: of the file; its bytes have the catalogue's hash.
        fetched: bytes that were transferred or copied just now; 0 if the file was there already.
        resumed: bytes that an earlier, broken transfer had left.
    """

    path: Path
    fetched: int
    resumed: int


def pull(
    entry: Entry,
    folder: Path,
    *,
    accepted: Collection[str] = (),
    source: str | None = None,
    ca: Path | None = None,
    progress: Progress | None = None,
) -> Pulled:
    """Bring a model into a folder, and check that it is that model.

    Args:
        entry: of the catalogue.
        folder: where to; made if it is not there.
        accepted: ids of the licences that the user has accepted.
        source: None for the entry's own URL; else a folder that holds the file, or the https address of a mirror that
            has it under its name.
        ca: PEM file of the authorities that may vouch for the server; those of the system if None.
        progress: called with (bytes there, bytes in all).

    Raises:
        LicenceError: the licence is not among those accepted. Nothing was fetched.
        ModelHashError: the bytes are not the model's; they were deleted.
        PullError: no connection, or it broke; what came is kept and taken up the next time.
        PullRefusedError: the server has no such file, or answers with something else.
        PullTrustError: the server is not the one that was named, or sends elsewhere over an open line.
        PullBusyError: somebody else is fetching it into this folder.
        OutputFileError: it cannot be written.
    """
    if entry.licence.id not in accepted:
        use = {"yes": "allows commercial use", "no": "allows no commercial use", "unclear": "commercial use unclear"}
        raise LicenceError(
            f"{entry.name} is licensed under: {entry.licence.title} ({use[entry.commercial_use]})",
            hint=f"read {entry.licence.url}, then say --accept-licence {entry.licence.id}",
        )
    tell = progress or (lambda *_: None)
    target = folder / entry.file
    if _is_model(target, entry):
        tell(entry.size, entry.size)
        return Pulled(target, 0, 0)
    part = folder / f".{entry.file}.part"
    with _writing(target), _opened(part, target) as file:
        resumed = file.seek(0, os.SEEK_END)
        if resumed > entry.size:
            resumed = _empty(file)
        if shutil.disk_usage(folder).free < entry.size - resumed:
            raise OutputFileError(
                f"{target} cannot be written: there is no room for {entry.size:,} bytes", hint="make room"
            )
        if source is not None and not source.startswith("https://"):
            resumed = _empty(file)
            _copy(entry, _in_folder(entry, source), file, tell)
        else:
            address = entry.url if source is None else f"{source.rstrip('/')}/{quote(entry.file)}"
            resumed = _fetch(entry, address, file, ca, tell)
        fetched = file.tell() - resumed
        file.flush()
        os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(target)
        sync_folder(folder)
    return Pulled(target, fetched, resumed)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hex, in constant memory. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_model(path: Path, entry: Entry) -> bool:
    """Whether the file is there already; one that is another file is never overwritten silently.

    Raises:
        ModelHashError: there is a file of that name, and it is not the model.
    """
    try:
        if path.stat().st_size == entry.size and sha256_of(path) == entry.sha256:
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputFileError(f"{path} cannot be read: {error.strerror}", hint="check its mode") from error
    raise ModelHashError(
        f"{path} is there, and is not {entry.name}", hint="move it away, or name another folder with --output"
    )


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Failures to write as ours."""
    try:
        yield
    except (PullError, OutputFileError, ModelHashError):
        raise
    except OSError as error:
        raise OutputFileError(
            f"{target} cannot be written: {error.strerror}",
            hint="make room or choose another folder; what was fetched is kept and taken up the next time",
        ) from error


@contextlib.contextmanager
def _opened(part: Path, target: Path) -> Iterator[IO[bytes]]:
    """The file of a transfer that is under way, for this process alone."""
    part.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else's link is followed, and nobody else reads what may be anything until it is checked.
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "r+b") as file:  # noqa: PTH123 - a descriptor, not a path
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PullBusyError(f"{target} is being fetched by another command", hint="wait for it to end") from error
        if not _same(descriptor, part):  # the other command ended, and this is its result, in between
            raise PullBusyError(f"{target} was just fetched by another command", hint="say it again")
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):
                file.flush()
            if not os.fstat(descriptor).st_size and _same(descriptor, part):
                part.unlink()


def _same(descriptor: int, path: Path) -> bool:
    """Whether a name still means the file that was opened under it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _empty(file: IO[bytes]) -> int:
    file.seek(0)
    file.truncate()
    return 0


def _in_folder(entry: Entry, source: str) -> Path:
    folder = Path(source)
    if "://" in source:
        raise PullRefusedError(
            "a mirror is named by its https address", hint="use https, or name a folder that holds the file"
        )
    path = folder / entry.file if folder.is_dir() else folder
    if not path.is_file():
        raise PullRefusedError(f"{folder} does not hold {entry.file}", hint="put the file there under this name")
    return path


def _copy(entry: Entry, path: Path, file: IO[bytes], tell: Progress) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
            tell(min(file.tell(), entry.size), entry.size)
            if file.tell() > entry.size:
                break
    _check(entry, digest.hexdigest(), file, str(path))


def _check(entry: Entry, found: str, file: IO[bytes], where: str) -> None:
    if file.tell() == entry.size and found == entry.sha256:
        return
    size = file.tell()
    _empty(file)
    what = f"{size:,} of {entry.size:,} bytes" if size < entry.size else "other bytes"
    raise ModelHashError(
        f"{where} holds {what}: it is not {entry.name}",
        hint="nothing of it is kept; it was exchanged, or damaged on its way: do not use what is there",
    )


def _fetch(entry: Entry, address: str, file: IO[bytes], ca: Path | None, tell: Progress) -> int:
    """Fetch what is missing, trying again where it broke off; the bytes that were there before."""
    resumed = _complete(entry, address, file, ca, tell)
    digest = _digest(file)
    if resumed and digest != entry.sha256:  # what an earlier run left may have been of another file: once more, whole
        _empty(file)
        resumed = _complete(entry, address, file, ca, tell)
        digest = _digest(file)
    _check(entry, digest, file, urlsplit(address).hostname or "the server")
    return resumed


def _complete(entry: Entry, address: str, file: IO[bytes], ca: Path | None, tell: Progress) -> int:
    """Bring the file to its size, in several attempts if need be; how many bytes of an earlier run were of use."""
    resumed = file.seek(0, os.SEEK_END)
    for attempt in range(_ATTEMPTS - 1):
        try:
            return min(resumed, _transfer(entry, address, file, ca, tell))
        except (PullRefusedError, PullTrustError):  # noqa: PERF203 - an attempt is a connection: what a try costs is nothing
            raise
        except PullError:
            resumed = min(resumed, file.seek(0, os.SEEK_END))
            time.sleep(0.25 * 2**attempt)
    return min(resumed, _transfer(entry, address, file, ca, tell))


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _transfer(entry: Entry, address: str, file: IO[bytes], ca: Path | None, tell: Progress) -> int:
    """Append what the server sends to the file, from where it ends; how many bytes of it were of use."""
    start = file.seek(0, os.SEEK_END)
    if start == entry.size:
        return start
    with answer_to(address, start, ca) as (answer, host):
        if answer.status == http.client.OK:
            start = _empty(file)  # the server gives the whole again: so be it
        elif answer.status != http.client.PARTIAL_CONTENT:
            if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                _empty(file)
            raise refusal(answer.status, host)
        elif answer.headers.get("content-range", "") != f"bytes {start}-{entry.size - 1}/{entry.size}":
            _empty(file)
            raise PullError(f"{host} sent another part than was asked for", hint="try again; it starts anew")
        declared = answer.headers.get("content-length", "")
        if declared.isdigit() and int(declared) != entry.size - start:
            _empty(file)
            raise PullRefusedError(
                f"{host} offers {int(declared) + start:,} bytes, {entry.name} has {entry.size:,}",
                hint="the file there is not the one of the catalogue",
            )
        _receive(entry, answer, file, host, tell)
    return start


def _receive(entry: Entry, answer: Any, file: IO[bytes], host: str, tell: Progress) -> None:
    began, came = time.monotonic(), 0
    while True:
        with failures(host):
            block = answer.read1(_BLOCK, decode_content=False)  # what is there: `read` would wait for a whole block
        if not block:
            break
        if file.tell() + len(block) > entry.size:
            _empty(file)
            raise PullRefusedError(
                f"{host} sends more than the {entry.size:,} bytes of {entry.name}", hint="the file there is another one"
            )
        file.write(block)
        came += len(block)
        tell(file.tell(), entry.size)
        passed = time.monotonic() - began
        if passed > _PATIENCE:
            if came < _SLOWEST * passed:
                raise PullError(f"{host} is too slow to be waited for", hint="try again later; what came is kept")
            began, came = time.monotonic(), 0
    if file.tell() < entry.size:
        raise PullError(
            f"{host} ended the transfer after {file.tell():,} of {entry.size:,} bytes",
            hint="try again; what came is kept",
        )
