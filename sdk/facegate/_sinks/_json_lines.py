"""Decisions as JSON lines: in a file that only grows, or on a stream."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facegate._files import sync_folder
from facegate._sinks._sink import encode
from facegate.errors import SinkClosedError, SinkError, SinkSetupError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from facegate._decision import SignedDecision

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """Writes `{"decision": {...}, "jws": "..."}`, one a line.

    A file is made with mode 0600, is appended to only, and every line is on the disk before the next one comes. A line
    that could not be written as a whole is taken back; one that was cut off by a power loss is ended with a line break,
    so that a reader skips at most that one. When somebody moves the file away (logrotate), a new one is begun.

    Args:
        target: a path, or a stream that is open for writing, which stays the caller's to close.

    Raises:
        SinkSetupError: the file is no regular file, another process writes to it, it is somebody else's, others may
            read or change it, or it cannot be opened.
    """

    def __init__(self, target: str | os.PathLike[str] | IO[Any]) -> None:
        self._file: int | None = None
        self._torn = False
        if isinstance(target, (str, os.PathLike)):
            self._path: Path | None = Path(target)
            self._stream: IO[Any] | None = None
            self._open(self._path)
        else:
            self._path, self._stream = None, target

    @property
    def name(self) -> str:
        """The file's path, or "stream"."""
        return "stream" if self._path is None else str(self._path)

    def deliver(self, decision: SignedDecision) -> None:
        """Write one line.

        Raises:
            TypeError, DecisionSchemaError: what is given is no `SignedDecision`.
            SinkError: no space, an I/O error.
            SinkClosedError: the stream's reader has gone.
        """
        line = encode(decision) + b"\n"
        try:
            if self._path is not None:
                self._append(self._path, line)
            elif self._stream is not None:
                _write(self._stream, line)
        except SinkError:  # an OSError as well
            raise
        except BrokenPipeError:
            raise SinkClosedError("the reader of the decisions has gone") from None
        except OSError as error:
            raise SinkError(
                f"the decision cannot be written to {self.name}: {error.strerror}", hint="make room, check the medium"
            ) from None

    def close(self) -> None:
        """Close the file; a stream stays open."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> int:
        # O_NONBLOCK: a named pipe must be refused, not waited for.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        new = True
        try:
            try:
                file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                new, file = False, os.open(path, flags)
        except OSError as error:
            raise SinkSetupError(
                f"{path} cannot be opened for writing: {error.strerror}", hint="name a file in a folder that is there"
            ) from None
        try:
            _check(path, file, new=new)
            self._torn = _is_torn(file)
            if new:
                sync_folder(path.absolute().parent)
        except BaseException as error:
            os.close(file)
            if isinstance(error, OSError) and not isinstance(error, SinkSetupError):
                raise SinkSetupError(f"{path} cannot be used: {error.strerror}", hint="check the medium") from None
            raise
        self._file = file
        return file

    def _append(self, path: Path, line: bytes) -> None:
        file = self._current(path)
        size = os.fstat(file).st_size
        data = b"\n" + line if self._torn else line
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except BaseException:
            # Whether all of it reached the disk is not known: it is written again, and only once.
            # If it cannot be taken back, the next line must not continue it: a reader would lose both.
            self._torn = True
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
                self._torn = _is_torn(file)
            raise
        self._torn = False

    def _current(self, path: Path) -> int:
        """The descriptor of the file that has the path's name now."""
        if self._file is not None:
            ours = os.fstat(self._file)
            try:
                named = os.lstat(path)
            except FileNotFoundError:
                named = None
            if named is not None and (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino):
                return self._file
            self.close()
        try:
            return self._open(path)
        except SinkSetupError as error:  # what was right when the sink was made may be no more
            raise SinkError(str(error), hint=error.hint) from None


def _is_torn(file: int) -> bool:
    """Whether the last line has no end. Raises OSError."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _check(path: Path, file: int, *, new: bool) -> None:
    found = os.fstat(file)
    mode = found.st_mode
    if not stat.S_ISREG(mode):
        raise SinkSetupError(f"{path} is no regular file", hint="name a file, or - for the standard output")
    if mode & 0o026:
        raise SinkSetupError(
            f"other users may read or change {path} (mode {mode & 0o777:04o})",
            hint=f"decisions hold people's references; run: chmod 600 {path} (640 lets a group read)",
        )
    if not new and found.st_uid != os.geteuid():  # a shared file system may give what is new to somebody else
        raise SinkSetupError(
            f"{path} belongs to another user, who could read it",
            hint="name a file of your own, in a folder of your own",
        )
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SinkSetupError(f"another process writes to {path}", hint="stop it, or choose another file") from None


def _write(stream: IO[Any], line: bytes) -> None:
    try:
        if isinstance(stream, io.TextIOBase):
            stream.write(line.decode("ascii"))
        else:
            rest = memoryview(line)
            while rest:
                count = stream.write(rest)
                if not count:
                    raise SinkError("the stream takes nothing now", hint="use one that blocks")
                rest = rest[count:]
        stream.flush()
    except ValueError:  # what Python says of a closed file
        raise SinkClosedError("the stream for the decisions is closed") from None
