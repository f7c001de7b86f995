"""Templates in memory, searched exactly."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate_edge import _kernels
from facegate_edge.errors import GalleryError, KernelError, TemplateSpaceError

if TYPE_CHECKING:
    from types import TracebackType

    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_edge._values import Template

MAX_ROWS = 1 << 24
_ROW_ALIGNMENT = 64
_FIRST_CAPACITY = 64
_MAX_PREPARED = 16
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux 4.14; not in Python's mmap module


@dataclass(frozen=True, slots=True, repr=False)
class Candidate:
    """A row that a search found.

    Attributes:
        index: of the row.
        similarity: cosine of the two templates, -1..1. It stays on the device.
    """

    index: int
    similarity: float

    def __repr__(self) -> str:
        return f"Candidate(index={self.index})"


def compare(a: Template, b: Template) -> float:
    """The similarity of two templates: the cosine of their integer vectors, -1..1.

    Raises:
        TemplateSpaceError: they are of different template spaces.
        KernelError: they are of one space and yet of different lengths.
    """
    if a.space != b.space:
        raise _different_spaces(a.space, b.space)
    return _kernels.compare(a.data, b.data)


def _different_spaces(a: str, b: str) -> TemplateSpaceError:
    return TemplateSpaceError(
        f"a template of the space {a!r} cannot be compared with one of {b!r}",
        hint="make both with the same bundle; people who were enrolled with another one must be enrolled again",
    )


class _Memory:
    """Rows and norms in one anonymous mapping: page aligned, kept out of core dumps, locked into RAM if allowed.

    A forked child gets zeros in its place, or nothing at all on a kernel before 4.14; it must not touch it (`foreign`).
    """

    __slots__ = ("_map", "_owner", "locked", "norms", "rows")

    def __init__(self, capacity: int, stride: int) -> None:
        size = capacity * (stride + 4)
        # Private: Python's default for anonymous memory is shared, and then a forked child's changes are the parent's.
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._owner = os.getpid()
        with contextlib.suppress(OSError, AttributeError):  # best effort: not every kernel and Python has it
            self._map.madvise(mmap.MADV_DONTDUMP)
        try:
            self._map.madvise(_WIPE_ON_FORK)
        except OSError:
            with contextlib.suppress(OSError, AttributeError):
                self._map.madvise(mmap.MADV_DONTFORK)
        data = np.frombuffer(self._map, np.uint8)
        self.locked = _mlock(data.ctypes.data, size)
        self.rows = data[: capacity * stride].view(np.int8).reshape(capacity, stride)
        self.norms = data[capacity * stride :].view(np.int32)

    @property
    def foreign(self) -> bool:
        """Whether this process was forked from the one whose memory it is."""
        return os.getpid() != self._owner

    def close(self) -> None:
        """Wipe and unmap. If somebody still holds a view, it is of zeros."""
        if not self.foreign:
            self.rows[:] = 0
            self.norms[:] = 0
        del self.rows, self.norms
        with contextlib.suppress(BufferError):
            self._map.close()


def _mlock(address: int, size: int) -> bool:
    """Lock memory into RAM, so that it is never swapped out; unmapping unlocks it. False if the limit forbids it."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0)


class Gallery:
    """Templates of one space: one contiguous int8 matrix, scanned from end to end by every search.

    The rows are numbered 0, 1, ... without gaps. Memory grows by doubling, is locked into RAM where the system allows
    it (see `locked`), and is wiped when it is given back. A forked child has none of it: there a gallery can only be
    closed. Not thread safe.

    Args:
        length: D, the number of values of a template, 1..4096.
        space: id of the template space.
        capacity: for how many templates memory is made at first.

    Raises:
        GalleryError: `length` or `capacity` is out of range.
    """

    def __init__(self, length: int, space: str, *, capacity: int = _FIRST_CAPACITY) -> None:
        if not 1 <= length <= _kernels.MAX_LENGTH:
            raise GalleryError(f"a template length of {length}", hint=f"1 to {_kernels.MAX_LENGTH}")
        if not 1 <= capacity <= MAX_ROWS:
            raise GalleryError(f"a capacity of {capacity}", hint=f"1 to {MAX_ROWS}")
        self.length = length
        self.space = space
        self._stride = -(-length // _ROW_ALIGNMENT) * _ROW_ALIGNMENT
        self._memory: _Memory | None = _Memory(capacity, self._stride)
        self._count = 0
        self._mask = np.zeros(capacity, np.uint8)
        self._searches: dict[tuple[int, bool], _kernels.Search] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def locked(self) -> bool:
        """Whether the memory is locked into RAM; if not, raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK)."""
        return self._open().locked

    def _open(self) -> _Memory:
        if self._memory is None:
            raise GalleryError("the gallery is closed", hint="make a new one")
        if self._memory.foreign:
            raise GalleryError("the gallery belongs to another process", hint="make galleries after forking")
        return self._memory

    def add(self, template: Template) -> int:
        """Append a template; returns its index.

        Raises:
            TemplateSpaceError: it is of another space.
            GalleryError: it has another length, or the gallery is full or closed.
        """
        self._check(template)
        return self.extend(template.data.reshape(1, -1))

    def extend(self, rows: npt.NDArray[np.int8]) -> int:
        """Append templates of this gallery's space, int8 (N, D); returns the index of the first.

        Raises:
            GalleryError: the shape or type is wrong, a row is no template (all zero, or with a -128), or the gallery is
                full or closed. Nothing is added then.
        """
        self._open()
        if not isinstance(rows, np.ndarray) or rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != self.length:  # noqa: PLR2004
            raise GalleryError("templates are an int8 array of shape (N, D)", hint=f"D is {self.length} here")
        first, count = self._count, len(rows)
        if count == 0:
            return first
        memory = self._reserve(first + count)
        added = memory.rows[first : first + count]
        added[:, : self.length] = rows
        try:
            _kernels.norm(added, self.length, memory.norms[first : first + count])
        except KernelError:
            added[:] = 0
            raise GalleryError(
                "a row is no template", hint="a template is a non-zero int8 vector with values in -127..127"
            ) from None
        self._count = first + count
        return first

    def _reserve(self, count: int) -> _Memory:
        """Memory for `count` rows: the present one, or one at least twice as large that the rows are moved to."""
        memory = self._open()
        capacity = len(memory.rows)
        if count <= capacity:
            return memory
        if count > MAX_ROWS:
            raise GalleryError(f"a gallery of {count} templates", hint=f"at most {MAX_ROWS}")
        larger = _Memory(min(max(count, 2 * capacity), MAX_ROWS), self._stride)
        larger.rows[: self._count] = memory.rows[: self._count]
        larger.norms[: self._count] = memory.norms[: self._count]
        self._searches.clear()
        self._memory = larger
        self._mask = np.zeros(len(larger.rows), np.uint8)
        memory.close()
        return larger

    def remove(self, index: int) -> int | None:
        """Remove and wipe a row; the last row takes its place.

        Returns:
            The former index of the row that is now at `index`, or None if the removed row was the last one.

        Raises:
            GalleryError: there is no such row, or the gallery is closed.
        """
        memory = self._open()
        if not 0 <= index < self._count:
            raise GalleryError(f"there is no template {index}", hint=f"the gallery holds {self._count}")
        last = self._count - 1
        if index != last:
            memory.rows[index] = memory.rows[last]
            memory.norms[index] = memory.norms[last]
        memory.rows[last] = 0
        memory.norms[last] = 0
        self._count = last
        return None if index == last else last

    def search(
        self, template: Template, k: int = 1, *, selection: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Candidate, ...]:
        """The k most similar rows, most similar first; of equally similar ones the lower index first.

        Exact and the same on every machine. Fewer than k come back if there are fewer.

        Args:
            template: the probe.
            k: 1..1024.
            selection: bool (len(self),), False leaves a row out; None searches all.

        Raises:
            TemplateSpaceError: the probe is of another space.
            GalleryError: it has another length, `k` or the selection is wrong, or the gallery is closed.
        """
        self._open()
        self._check(template)
        if not 1 <= k <= _kernels.MAX_K:
            raise GalleryError(f"{k} candidates cannot be searched for", hint=f"1 to {_kernels.MAX_K}")
        if selection is not None:
            if (
                not isinstance(selection, np.ndarray)
                or selection.dtype != np.bool_
                or selection.shape != (self._count,)
            ):
                raise GalleryError("a selection is a bool array with one value a template", hint="np.ones(n, bool)")
            self._mask[: self._count] = selection
        if self._count == 0:
            return ()
        found, similarities = self._prepared(k, selection is not None).run(template.data, self._count)
        return tuple([Candidate(i, s) for i, s in zip(found.tolist(), similarities.tolist(), strict=True)])

    def _prepared(self, k: int, masked: bool) -> _kernels.Search:
        search = self._searches.get((k, masked))
        if search is None:
            memory = self._open()
            if len(self._searches) >= _MAX_PREPARED:
                self._searches.clear()
            mask = self._mask if masked else None
            search = _kernels.Search(memory.rows, memory.norms, length=self.length, k=k, mask=mask)
            self._searches[k, masked] = search
        return search

    def _check(self, template: Template) -> None:
        if template.space != self.space:
            raise _different_spaces(template.space, self.space)
        if template.data.size != self.length:
            raise GalleryError(f"a template of {template.data.size} values", hint=f"the gallery's have {self.length}")

    def close(self) -> None:
        """Wipe all templates and give the memory back; a second call does nothing."""
        if self._memory is not None:
            self._searches.clear()
            memory, self._memory = self._memory, None
            self._count = 0
            memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gallery({self._count} templates)"
