"""Templates that were made, kept on the evaluator's disk so that a run can go on where it ended.

One file for each source of templates and each policy, made of records of one size. A record is appended by a single
write and carries a checksum: what a killed run, a full disk or a bad disk leaves behind is found and made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

STATUSES = ("ok", "unreadable", "no_face", "several_faces", "not_alignable", "crashed", "no_feature", "low_quality")
OK = 0
QUALITY = ("eye_distance", "box_side", "sharpness", "brightness", "dark", "bright", "yaw", "pitch", "roll")
HASH_BYTES = 32

_MAGIC = b"facegate-templates\x00\x01"
_HEADER = struct.Struct("<20s32sBxxxI4x")
_CHECK = 16
_DIGEST = 32
_MAX_LENGTH = 1 << 16
_KINDS = ("i1", "f4")


def record_type(length: int, kind: str) -> np.dtype[np.void]:
    """The layout of a record: whose, what became of it, measures, and the template's values.

    `sha256` of the photograph; `status` an index into `STATUSES`; `faces` found; `width`, `height` in pixels;
    `quality` as `QUALITY` (NaN where not measured); `live` 0..1 or NaN; `look`, 256 bits that near-identical pictures
    share; `values` int8 (a template) or float32 (a hosted feature).
    """
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    return np.dtype(
        [
            ("sha256", "u1", 32),
            ("status", "u1"),
            ("faces", "<u2"),
            ("width", "<u2"),
            ("height", "<u2"),
            ("quality", "<f4", len(QUALITY)),
            ("live", "<f4"),
            ("look", "u1", HASH_BYTES),
            ("values", f"<{kind}" if kind != "i1" else "i1", length),
        ]
    )


@dataclass(slots=True, eq=False)
class Records:
    """The records of photographs in order, a structured array (N,) of `record_type`, and which of them are there."""

    rows: npt.NDArray[np.void]
    present: npt.NDArray[np.bool_]


class Cache:
    """A file of records; use as a context manager. One process writes it at a time.

    Args:
        path: of the file, which only its owner can read. None keeps the records in memory alone.
        key: 32 bytes that name the source and the policy; a file of another key is made anew.
        length: values in a template; None if only the first template will tell (a hosted model).
        kind: "i1" or "f4".

    Attributes:
        length: of a template, None as long as it is not known.
        notes: what was found wrong with the file, a sentence each.

    Raises:
        CacheError: the file cannot be made, belongs to somebody else, or another run writes it.
    """

    def __init__(self, path: Path | None, *, key: bytes, length: int | None, kind: str = "i1") -> None:
        self.length = length
        self.notes: list[str] = []
        self._path, self._key, self._kind = path, key, kind
        self._file = -1
        self._stored: list[bytes] = []  # records, each without its checksum
        self._waiting: list[bytes] = []  # heads of photographs without a template, until the length is known
        self._passing: list[bytes] = []  # likewise, not to be kept
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._claim(path)
            self._load(path, os.fstat(self._file).st_size)
        except CacheError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._failed(error) from error

    def _claim(self, path: Path) -> None:
        """Only its owner reads the file, only one run writes it."""
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise CacheError(f"{path} is no file of your own", hint="choose another folder with --cache")
        os.fchmod(self._file, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CacheError(f"another run makes templates in {path.parent}", hint="wait until it has ended") from None

    def _load(self, path: Path, size: int) -> None:
        """Read the records that are whole; cut off what a killed run has left of one."""
        header = os.pread(self._file, _HEADER.size, 0)
        length = _HEADER.unpack(header)[-1] if len(header) == _HEADER.size else 0
        if self.length is None and 0 < length <= _MAX_LENGTH and header == self._header(length):
            self.length = length
        if self.length is None or header != self._header(self.length):
            if size:
                self.notes.append(f"{path.name} was damaged or of another kind; its templates are made again")
            os.ftruncate(self._file, 0)
            if self.length is not None:
                _write(self._file, self._header(self.length))
            return
        record = record_type(self.length, self._kind).itemsize
        step = record + _CHECK
        rest = (size - _HEADER.size) % step
        if rest:
            os.ftruncate(self._file, size - rest)
        os.lseek(self._file, _HEADER.size, os.SEEK_SET)
        damaged = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            while len(data := file.read(step)) == step:
                if _check(data[:record]) == data[record:]:
                    self._stored.append(data[:record])
                else:
                    damaged += 1
        if damaged:
            self.notes.append(f"{damaged} kept template(s) were damaged and are made again")

    def __len__(self) -> int:
        return len(self._stored)

    def find(self, digests: Sequence[str]) -> Records:
        """What is known of photographs, by their sha256 (hex)."""
        import numpy as np  # noqa: PLC0415 - not for the command line's help

        heads = record_type(0, self._kind)
        known = record_type(self.length or 0, self._kind)
        padding = bytes(known.itemsize - heads.itemsize)
        data = self._stored + [head + padding for head in self._waiting + self._passing]
        stored = np.frombuffer(b"".join(data), known) if data else np.zeros(0, known)
        index = {row[:_DIGEST]: i for i, row in enumerate(data)}  # the last one of a photograph counts
        places = np.array([index.get(bytes.fromhex(digest), -1) for digest in digests], np.intp)
        present = places >= 0
        rows = np.zeros(len(digests), known)
        rows[present] = stored[places[present]]
        return Records(rows, present)

    def append(self, head: bytes, values: bytes, *, keep: bool = True) -> None:
        """Keep what became of a photograph.

        Args:
            head: a record of `record_type(0, kind)`.
            values: of its template; empty if there is none.
            keep: False for what another run should try again.

        Raises:
            CacheError: there is no room, or the template has another length than those before it. The file then holds
                all records before it, whole.
        """
        import numpy as np  # noqa: PLC0415 - not for the command line's help

        if not keep:
            self._passing.append(head)
            return
        size = np.dtype(self._kind).itemsize
        if self.length is None:
            if not values:
                self._waiting.append(head)
                return
            self._begin(len(values) // size)
        length = self.length or 0
        if values and len(values) != length * size:
            raise CacheError(
                f"a template of {len(values) // size} values came after templates of {length}",
                hint="the model behind the endpoint has changed: use another folder with --cache",
            )
        self._put(head + (values or bytes(length * size)))

    def _begin(self, length: int) -> None:
        """The length is known: begin the file, with what was waiting for that."""
        self.length = length
        if self._file >= 0:
            try:
                _write(self._file, self._header(length))
            except OSError as error:
                raise self._failed(error) from error
        waiting, self._waiting = self._waiting, []
        for head in waiting:
            self.append(head, b"")

    def _put(self, record: bytes) -> None:
        if self._file >= 0:
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                _write(self._file, record + _check(record))
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, end)
                raise self._failed(error) from error
        self._stored.append(record)

    def close(self) -> None:
        """Bring the file to the disk and let others use it."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _header(self, length: int) -> bytes:
        return _HEADER.pack(_MAGIC, self._key, _KINDS.index(self._kind), length)

    def _failed(self, error: OSError) -> CacheError:
        return CacheError(
            f"templates cannot be kept in {self._path}: {error.strerror}",
            hint="make room, or choose another folder with --cache; what was made so far is kept",
        )


def _check(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=_CHECK).digest()


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
